//! What of all this the API offers: the check of a list, and bundles out and in.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures_util::future::{BoxFuture, ready};
use futures_util::stream::{self, StreamExt};
use futures_util::{FutureExt, TryStreamExt};
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::BodyStream;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::admin::Right;
use crate::admin::api::{Call, Operation, Problem, Resource, json};
use crate::bundle::export::{Audiences, Contained, Export};
use crate::bundle::import::{Forget, Import, ImportError, Report};
use crate::bundle::key::{PublicKey, SigningKey};
use crate::bundle::offline::{Build, Offline};
use crate::bundle::take::probe;
use crate::bundle::walk::{Item, Miss, Plan};
use crate::bundle::{Door, DoorError};
use crate::clock::Clock;
use crate::collect::Want;
use crate::ecosystem::naming::Naming;
use crate::server::Body;
use crate::store::{Entry, Store, StoreError};
use crate::types::CacheKey;

/// The largest list.
const LIST_LIMIT_BYTES: usize = 64 << 20;

/// Files that are looked for at once.
const AT_ONCE: usize = 16;

/// The operations of bundles.
pub struct Bundles {
    pub store: Arc<dyn Store>,
    pub build: Build,
    pub clock: Clock,
    /// Vouches for the bundles that are made here.
    pub key: Arc<SigningKey>,
    /// Whose bundles are believed, beside its own.
    pub trusted: Vec<PublicKey>,
    pub namings: Vec<Arc<dyn Naming>>,
    pub forget: Forget,
}

/// What is to be looked at.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    pub wants: Vec<Want>,
}

/// What goes into a bundle.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Empty: everything that is kept.
    #[serde(default)]
    pub wants: Vec<Want>,
    /// Whether what Larder's own credentials opened goes along.
    #[serde(default)]
    pub service: bool,
    /// Whether to go on without what is not kept.
    #[serde(default)]
    pub partial: bool,
}

/// The key that vouches for the bundles made here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Signer {
    pub key: String,
}

/// Whether everything of a list could be had if every upstream vanished now.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Readiness {
    /// Files that are kept.
    pub ready: u64,
    pub bytes: u64,
    pub missing: Vec<Missing>,
    /// What is worth knowing and no fault.
    pub notes: Vec<String>,
}

/// Something that could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    pub what: String,
    pub reason: String,
}

impl Resource for Bundles {
    fn operations(&self) -> Vec<Operation> {
        vec![
            Operation::new("check", Method::POST, "check", Right::Client),
            Operation::new("bundle-key", Method::GET, "bundle/key", Right::Client),
            Operation::new("bundle-export", Method::POST, "bundle/export", Right::Administrator),
            Operation::new("bundle-import", Method::POST, "bundle/import", Right::Administrator),
        ]
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Response<Body>, Problem>> {
        match call.operation {
            "check" => {
                let offline =
                    root(&call.caller.base).map(|root| self.offline(root, Audiences::Service));
                async move {
                    let wanted: Wanted = Call::json(call.body, LIST_LIMIT_BYTES).await?;
                    Ok(json(&check(&offline?, wanted.wants).await))
                }
                .boxed()
            }
            "bundle-key" => {
                let key = self.key.public().to_string();
                ready(Ok(json(&Signer { key }))).boxed()
            }
            "bundle-export" => self.export(call),
            _ => self.import(call),
        }
    }
}

impl Bundles {
    fn offline(&self, root: Url, audiences: Audiences) -> Offline {
        Offline::new(&self.build, Arc::clone(&self.store), root, audiences)
    }

    fn export(&self, call: Call) -> BoxFuture<'static, Result<Response<Body>, Problem>> {
        let (build, root) = (Arc::clone(&self.build), root(&call.caller.base));
        let (store, key, now) = (Arc::clone(&self.store), Arc::clone(&self.key), self.clock.now());
        let namings = self.namings.clone();
        async move {
            let order: Order = Call::json(call.body, LIST_LIMIT_BYTES).await?;
            let audiences = if order.service { Audiences::Service } else { Audiences::Public };
            let what = order.wants.iter().map(|want| want.what.to_string()).collect();
            let contained = match order.wants.is_empty() {
                true => Contained::All(namings),
                false => {
                    let offline = Offline::new(&build, Arc::clone(&store), root?, audiences);
                    Contained::These(gather(&offline, order).await?)
                }
            };
            let export = Export { store, key, now, what, contained, audiences };
            let mut response = Response::new(export.body());
            let kind = HeaderValue::from_static("application/x-tar");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            Ok(response)
        }
        .boxed()
    }

    fn import(&self, call: Call) -> BoxFuture<'static, Result<Response<Body>, Problem>> {
        let named = call.query.get("trust").map_or("", String::as_str);
        let named = PublicKey::read_all(&named.replace(',', "\n"));
        let mut trusted = self.trusted.clone();
        trusted.push(self.key.public());
        let is_service = call.query.get("audience").is_some_and(|audience| audience == "service");
        let audiences = if is_service { Audiences::Service } else { Audiences::Public };
        let (store, forget) = (Arc::clone(&self.store), Arc::clone(&self.forget));
        let spaces = self.namings.iter().map(|naming| naming.space().to_owned()).collect();
        async move {
            trusted.extend(named.map_err(|fault| Problem::bad(fault.to_string()))?);
            let frames = BodyStream::new(call.body).map_err(|error| error.to_string());
            let source = frames.try_filter_map(async |frame| Ok(frame.into_data().ok())).boxed();
            let import = Import { store, trusted, audiences, spaces, forget };
            import
                .run(source)
                .await
                .map(|report| json(&report))
                .map_err(|(error, report)| told(&error, &report))
        }
        .boxed()
    }
}

/// What has to be kept to answer for everything that is wanted.
async fn gather(
    offline: &Offline,
    order: Order,
) -> Result<BTreeMap<CacheKey, Arc<Entry>>, Problem> {
    let is_partial = order.partial;
    let readiness = check(offline, order.wants).await;
    if let (Some(first), false) = (readiness.missing.first(), is_partial) {
        let more = match readiness.missing.len() {
            1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        let hint = match offline.has_hidden() {
            true => "something of it is not open to everybody: --audience service takes that along",
            false => "pull it first, or export without what is missing (--partial)",
        };
        let detail = format!("{} is not kept: {}{more}; {hint}", first.what, first.reason);
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    Ok(offline.read())
}

/// Why a bundle was not taken in, and how much of it was.
fn told(error: &ImportError, report: &Report) -> Problem {
    let status = match error {
        ImportError::Untrusted(_) => StatusCode::FORBIDDEN,
        ImportError::Store(StoreError::Full) => StatusCode::INSUFFICIENT_STORAGE,
        ImportError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        ImportError::Archive(_) | ImportError::Forged(_) | ImportError::Unusable(_) => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
    };
    let cause = std::error::Error::source(error).filter(|_| matches!(error, ImportError::Store(_)));
    let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
    let kept = match report.new {
        0 => String::new(),
        count => format!(" ({count} entries were filed before, and stay)"),
    };
    Problem::new(status, format!("{error}{cause}{kept}"))
}

impl std::fmt::Debug for Bundles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundles").finish_non_exhaustive()
    }
}

impl From<Miss> for Missing {
    fn from(miss: Miss) -> Self {
        Self { what: miss.what, reason: miss.error.to_string() }
    }
}

/// Looks for everything that is wanted behind a door that leads nowhere else.
pub async fn check(door: &dyn Door, wants: Vec<Want>) -> Readiness {
    let plan = Plan::make(door, wants).await;
    let mut readiness = Readiness::default();
    let probes = plan.items().into_iter().map(|item| async move {
        let found = probe(door, &item).await;
        (item, found)
    });
    let probed: Vec<(Item, Result<(), DoorError>)> =
        stream::iter(probes).buffered(AT_ONCE).collect().await;
    let kept: HashSet<&str> =
        probed.iter().filter(|(_, found)| found.is_ok()).map(|(item, _)| &*item.address).collect();
    let spared = plan.spared(|item| kept.contains(&*item.address));
    readiness.notes = plan.walked.iter().flat_map(|walked| walked.notes.clone()).collect();
    for (item, found) in &probed {
        let what = format!("{} {}", item.of, item.name);
        match found {
            Ok(()) => {
                readiness.ready += 1;
                readiness.bytes += item.size.unwrap_or_default();
            }
            Err(_) if spared.contains(&*item.address) => readiness.notes.push(format!(
                "{what} is not kept, and not needed: installers take a wheel that is"
            )),
            Err(error) => readiness.missing.push(Missing { what, reason: error.to_string() }),
        }
    }
    readiness.missing.extend(plan.missed.into_iter().map(Missing::from));
    readiness
}

/// How the caller sees the root, as an address that others can be joined to.
fn root(base: &str) -> Result<Url, Problem> {
    Url::parse(&format!("{base}/")).map_err(|_| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("{base:?} is no address of this server"),
        )
    })
}
