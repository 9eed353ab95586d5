//! What of all this the API offers: the check of a list, and bundles out and in.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use http::{Method, Response, StatusCode};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::admin::Right;
use crate::admin::api::{Call, Operation, Problem, Resource, json};
use crate::bundle::Door;
use crate::bundle::offline::{Build, Offline};
use crate::bundle::take::probe;
use crate::bundle::walk::{Miss, Plan};
use crate::collect::Want;
use crate::server::Body;
use crate::store::Store;

/// The largest list.
const LIST_LIMIT_BYTES: usize = 64 << 20;

/// Files that are looked for at once.
const AT_ONCE: usize = 16;

/// The operations of bundles.
pub struct Bundles {
    pub store: Arc<dyn Store>,
    pub build: Build,
}

/// What is to be looked at.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    pub wants: Vec<Want>,
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
        vec![Operation::new("check", Method::POST, "check", Right::Client)]
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Response<Body>, Problem>> {
        let (store, build) = (Arc::clone(&self.store), Arc::clone(&self.build));
        async move {
            let offline = Offline::new(&build, store, root(&call.base)?);
            let wanted: Wanted = Call::json(call.body, LIST_LIMIT_BYTES).await?;
            Ok(json(&check(&offline, wanted.wants).await))
        }
        .boxed()
    }
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
    let mut probes = stream::iter(probes).buffered(AT_ONCE);
    while let Some((item, found)) = probes.next().await {
        match found {
            Ok(()) => {
                readiness.ready += 1;
                readiness.bytes += item.size.unwrap_or_default();
            }
            Err(error) => {
                let what = format!("{} {}", item.of, item.name);
                readiness.missing.push(Missing { what, reason: error.to_string() });
            }
        }
    }
    drop(probes);
    readiness.notes = plan.walked.iter().flat_map(|walked| walked.notes.clone()).collect();
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
