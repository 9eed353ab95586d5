//! Larder's own pages and API: every resource, and the way that leads there.

use std::sync::Arc;

use tokio::sync::Semaphore;
use url::Url;

use super::AppError;
use super::data::{BUNDLE_KEY_FILE, key_of};
use super::inside::{forgetting, offline, unseen};
use super::mounts::{read_secret, trust};
use super::tasks::Tasks;
use crate::admin::api::entries::Entries;
use crate::admin::api::fills::Fills;
use crate::admin::api::log::Log;
use crate::admin::api::policy::Policy;
use crate::admin::api::provenance::Provenance;
use crate::admin::api::pulls::Pulled;
use crate::admin::api::{Resource, SnapshotsResource};
use crate::admin::{self, Admin, Right, Scrape};
use crate::bundle::door::Indoors;
use crate::bundle::key::SigningKey;
use crate::bundle::resource::Bundles;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::{Config, DEFAULT_TOML};
use crate::ecosystem::huggingface;
use crate::ecosystem::naming::Naming;
use crate::feed::{self, Feed};
use crate::heal::resource::Damage;
use crate::heal::{self, Healer};
use crate::identity::Identities;
use crate::keep::Keeper;
use crate::models::{Models, Recorded};
use crate::proxy;
use crate::rulings::Rulings;
use crate::snapshots::Snapshots;
use crate::trace::Recording;

/// What the pages show, and what the API works on.
pub(super) struct Pages<'a> {
    pub(super) config: &'a Config,
    pub(super) clock: &'a Clock,
    pub(super) secret: [u8; 32],
    pub(super) tasks: &'a Tasks,
    pub(super) state: admin::State,
    pub(super) cache: &'a Cache,
    /// The words of each mount for what it keeps.
    pub(super) words: Vec<Arc<dyn Naming>>,
    pub(super) recording: Recording,
    pub(super) rulings: &'a Rulings,
    pub(super) feed: Arc<Feed>,
    pub(super) snapshots: Arc<Snapshots>,
    pub(super) scrape: Scrape,
}

/// How Larder sees its own root where it asks itself. Nobody else is told of it.
const INDOORS: &str = "http://127.0.0.1/";

impl Pages<'_> {
    /// Fetches again what is damaged, as clients would that may read whatever the mounts' own credentials open.
    pub(super) fn healer(&self) -> Healer {
        let Self { config, clock, cache, rulings, .. } = *self;
        let (store, granting) = (&self.state.store, config.clone().granting_all());
        let (cache, store) = (cache.clone(), Arc::clone(store));
        let handler =
            unseen(&granting, clock, self.secret, rulings, cache.clone(), Arc::clone(&store));
        let base = Url::parse(INDOORS).expect("it is an address");
        Healer::new(heal::Parts {
            config: config.heal.clone(),
            store,
            cache,
            clock: clock.clone(),
            door: Arc::new(Indoors::new(handler, base)),
            words: self.words.clone(),
            keeper: self.keeper(),
            witness: Arc::clone(&self.recording.witness),
            turn: Semaphore::new(1),
        })
    }

    /// Builds them.
    pub(super) fn build(self, healer: Healer) -> Result<Admin, AppError> {
        let resources = self.resources(healer)?;
        let Self { state, scrape, feed, .. } = self;
        let admin = Admin::new(state, resources, scrape);
        debug_assert_eq!(admin.disagreements(), Vec::<String>::new(), "openapi.json is not true");
        Ok(admin.with_api(feed::PREFIX, Arc::new(feed::Osv(feed))))
    }

    fn keeper(&self) -> Keeper {
        let (store, witness) = (&self.state.store, &self.recording.witness);
        Keeper::new(
            Arc::clone(store),
            self.cache.clone(),
            self.words.clone(),
            Arc::clone(witness),
            self.clock.clone(),
        )
    }

    fn resources(&self, healer: Healer) -> Result<Vec<Arc<dyn Resource>>, AppError> {
        let Self { config, clock, cache, .. } = *self;
        let hub = config.huggingface.is_on().then(|| config.huggingface.resolve(read_secret));
        let hub = hub.transpose().map_err(AppError::settings)?.map(Arc::new);
        let store = Arc::clone(&self.state.store);
        let words = self.words.clone();
        let Recording { ledger, pulls, .. } = self.recording.clone();
        let keeper = self.keeper();
        let recorded =
            Recorded { pulls: pulls.clone(), keeper: keeper.clone(), clock: clock.clone() };
        Ok(vec![
            Arc::new(Models::new(known_hub(), trust(config)?, recorded, clock.clone())),
            Arc::new(Entries(keeper.clone())),
            Arc::new(Fills(keeper.clone())),
            Arc::new(Damage(healer)),
            Arc::new(SnapshotsResource::new(Arc::clone(&self.snapshots), clock.clone())),
            Arc::new(Identities::new(cache.clone(), hub)),
            Arc::new(Log::new(ledger, clock.clone())),
            Arc::new(Provenance { keeper, recording: self.recording.clone() }),
            Arc::new(Pulled::new(pulls, clock.clone())),
            Arc::new(Bundles {
                store,
                build: offline(config, clock, self.secret, self.rulings, self.tasks),
                clock: clock.clone(),
                key: Arc::new(SigningKey::new(&key_of(&config.data_dir, BUNDLE_KEY_FILE)?)),
                trusted: config.bundle.trusted().map_err(AppError::settings)?,
                namings: words,
                forget: forgetting(cache),
            }),
            Arc::new(Policy(self.rulings.clone())),
            Arc::new(feed::Known(Arc::clone(&self.feed))),
        ])
    }
}

/// The hub that package URLs mean when they name none: the one before which Larder stands unless it is told otherwise.
fn known_hub() -> Option<String> {
    let defaults: toml::Table = DEFAULT_TOML.parse().ok()?;
    Some(defaults.get("huggingface")?.get("upstream")?.as_str()?.to_owned())
}

/// Hands the visits that `proxy` has let in to Larder's own pages.
pub(super) fn own_pages(admin: Admin) -> proxy::Own {
    let answer = move |visit: proxy::Visit| {
        let (head, body) = visit.request.into_parts();
        let right = if visit.is_admin { Right::Administrator } else { Right::Client };
        let visitor = visit.visitor;
        admin.answer(admin::Visit {
            method: head.method,
            path: visit.path,
            query: head.uri.query().map(str::to_owned),
            headers: head.headers,
            body,
            caller: admin::Caller {
                right,
                client: visit.client,
                base: visit.base,
                visitor: admin::Visitor::new(move |request| visitor.ask(request)),
            },
        })
    };
    proxy::Own { claims: is_own, answer: Box::new(answer) }
}

/// Whether a path is one of Larder's own pages, and not one that a mount hands out to its clients.
fn is_own(path: &str) -> bool {
    Admin::claims(path) && !path.trim_start_matches('/').starts_with(huggingface::route::OWN)
}
