//! Composition root: the only place that names every module.
//!
//! Builds each component from its own part of the configuration, wires them, owns the task sets in which everything is
//! spawned, and winds them up in order: the server stops taking requests and its clients finish, transfers note how far
//! they are, the index is closed. Left out: arguments and exit codes (`cli`), what any component does.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Phase};
use crate::banner;
use crate::cache::{Cache, Seams};
use crate::clock::Clock;
use crate::config::Config;
use crate::feed::{self, Feed};
use crate::heal::Healer;
use crate::import::folder::Folder;
use crate::import::source::Openness;
use crate::import::{self, Import};
use crate::inspect::Rules;
use crate::proxy::access::{self, Access};
use crate::proxy::routes::Routes;
use crate::proxy::{self, Proxy};
use crate::rulings::Rulings;
use crate::server::{Handler, Server, ServerError, limits};
use crate::snapshots::Snapshots;
use crate::store::StoreError;
use crate::telemetry::{Metrics, TelemetryError};
use crate::trace::Recording;
use crate::types::{ByteSize, Signer};
use crate::upstream::client::Client;
use crate::upstream::{Resolve, System, Upstream};

mod data;
mod inside;
mod mounts;
mod pages;
mod tasks;

use data::{open_recording, open_store, secret};
pub use inside::Inside;
use mounts::{hub_routes, read_secret, routes};
use pages::{Pages, own_pages};
use tasks::{Tasks, fold_samples};

/// Larder, built and bound, not serving yet.
pub struct App {
    server: Server,
    handler: Arc<dyn Handler>,
    phase: watch::Sender<Phase>,
    healer: Healer,
    metrics: Metrics,
    tasks: Tasks,
    review: BoxFuture<'static, ()>,
}

/// Why Larder cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("the data directory cannot be used (--data-dir or `data_dir` names another)")]
    Store(#[source] StoreError),
    /// The settings fit each other on paper but not this machine: a secret that cannot be read, an address taken twice.
    #[error("{}", .0.join("\n"))]
    Settings(Vec<String>),
    #[error("no connection to upstream can be made")]
    Upstream(#[source] crate::upstream::ConfigError),
    #[error("`advisories.folder` cannot be used")]
    Advisories(#[from] feed::Unread),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error("{action}")]
    Io { action: String, source: io::Error },
}

impl App {
    /// Opens the data directory, binds the listeners and wires everything. Must be called within a tokio runtime.
    pub fn build(config: Config, clock: Clock) -> Result<Self, AppError> {
        Self::build_with_names(config, clock, Arc::new(System))
    }

    /// As [`App::build`], with another source of addresses of upstream's names than the system's: names that fail, lead astray or change.
    pub fn build_with_names(
        config: Config,
        clock: Clock,
        names: Arc<dyn Resolve>,
    ) -> Result<Self, AppError> {
        let tasks = Tasks::default();
        let metrics = Metrics::of_process()?;
        access::guard_listen(&config.listen, &config.access)
            .map_err(|error| AppError::Settings(vec![error.to_string()]))?;
        let server = Server::bind(config.server.clone(), &config.tls, &config.listen)?;
        let addresses = server.local_addrs();
        let wired = Wired::new(config, clock, names, &addresses, &metrics, &tasks)?;
        let Wired { handler, phase, healer, review } = wired;
        Ok(Self { server, handler, phase, healer, metrics, tasks, review })
    }

    /// Where it listens, with the ports that the system chose for port 0.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.server.local_addrs()
    }

    /// Serves until `stop` is cancelled, then winds up.
    pub async fn run(self, stop: CancellationToken) {
        let Self { server, handler, phase, healer, metrics, tasks, review } = self;
        let open_files = limits::raise_open_files();
        tracing::debug!(open_files, "descriptors that this process may hold");
        tasks.upkeep.spawn(fold_samples(metrics, tasks.stop_upkeep.clone()));
        tasks.upkeep.spawn(healer.watch(stop.clone()));
        phase.send_replace(Phase::Serving);
        let ending = tasks.stop_upkeep.clone();
        tasks.upkeep.spawn(async move {
            ending.run_until_cancelled(review).await;
        });
        let draining = stop.clone();
        tasks.upkeep.spawn(async move {
            draining.cancelled().await;
            phase.send_replace(Phase::Draining);
        });
        server.run(handler, tasks.serving.clone(), stop).await;
        tasks.wind_up().await;
    }
}

/// Everything between the way in and the way out, wired.
struct Wired {
    handler: Arc<dyn Handler>,
    phase: watch::Sender<Phase>,
    healer: Healer,
    /// Looks into what was kept before it could be, for as long as there is time.
    review: BoxFuture<'static, ()>,
}

impl Wired {
    fn new(
        config: Config,
        clock: Clock,
        names: Arc<dyn Resolve>,
        addresses: &[SocketAddr],
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<Self, AppError> {
        let access = Access::new(&config.access).map_err(AppError::settings)?;
        let access = access.among(config.granted_networks(), config.public_url.as_deref());
        let store = open_store(&config, &clock, tasks)?;
        let rulings = Rulings::open(config.policy.clone(), &config.data_dir, clock.clone())
            .map_err(|error| AppError::settings(vec![format!("`[policy]`: {error}")]))?;
        rulings.tend(&tasks.upkeep, &tasks.stop_upkeep);
        let secret = secret(&config.data_dir)?;
        let routes = routes(&config, &Signer::new(secret))?;
        let words: Vec<_> =
            routes.mounts().into_iter().filter_map(|mount| mount.naming()).collect();
        let upstream: Arc<dyn Upstream> = Arc::new(
            Client::with_resolver(config.upstream.clone(), names).map_err(AppError::Upstream)?,
        );
        let recording = open_recording(&config, &store, &clock, tasks)?;
        let Recording { witness, pulls, .. } = recording.clone();
        let seams = Seams {
            store: Arc::clone(&store),
            upstream: Arc::clone(&upstream),
            witness,
            clock: clock.clone(),
            tasks: tasks.transfers.clone(),
            stop: tasks.stop_transfers.clone(),
        };
        let cache = Cache::new(config.cache.clone(), seams).inspecting(inspection_rules(&config)?);
        let review = review(&config, &routes, &cache);
        let feed = Arc::new(Feed::open(
            config.advisories.clone(),
            &config.data_dir.join("advisories"),
            clock.clone(),
        )?);
        let stop = tasks.stop_upkeep.clone();
        rulings.advise(feed.advisories());
        let advised = rulings.clone();
        let advise = move |advisories| advised.advise(advisories);
        tasks.upkeep.spawn(Arc::clone(&feed).watch(upstream, tasks.upkeep.clone(), stop, advise));
        let snapshots = Snapshots::open(Arc::clone(&store)).map_err(AppError::Store)?;
        let snapshots = Arc::new(snapshots);
        let (phase, watched) = watch::channel(Phase::Starting);
        let guides = banner::guides(&config, addresses);
        let scraped = metrics.clone();
        let scrape = Arc::new(move || scraped.scrape());
        let waited = cache.clone();
        let waiting = Arc::new(move || waited.waiting());
        let state = admin::State { store, phase: watched, guides, waiting };
        let pages = Pages {
            config: &config,
            clock: &clock,
            secret,
            tasks,
            state,
            cache: &cache,
            words,
            recording,
            rulings: &rulings,
            feed,
            snapshots: Arc::clone(&snapshots),
            scrape,
        };
        let healer = pages.healer();
        let own = own_pages(pages.build(healer.clone())?);
        let handler: Arc<dyn Handler> = Arc::new(Proxy::new(proxy::Parts {
            memory: ByteSize(config.cache.memory.bytes() / 4),
            secret,
            public_url: config.public_url,
            cache,
            clock,
            routes,
            access,
            own,
            rulings,
            pulls,
            snapshots: Arc::new(move |name| snapshots.at(name)),
        }));
        Ok(Self { handler, phase, healer, review })
    }
}

/// Looks into everything that mounts keep and nobody has looked into yet.
fn review(config: &Config, routes: &Routes, cache: &Cache) -> BoxFuture<'static, ()> {
    let stocks: Vec<_> = routes.mounts().iter().filter_map(|mount| mount.stock()).collect();
    let (cache, rate) = (cache.clone(), config.inspect.review_rate.bytes());
    Box::pin(async move { cache.review(&stocks, rate).await })
}

/// Takes over what a hub client has downloaded to `folder`. Must be called within a tokio runtime, with the data directory to itself.
///
/// # Errors
///
/// [`AppError::Store`] when a server holds the data directory, [`AppError::Settings`] when the configuration has no hub.
pub async fn import(
    config: Config,
    clock: Clock,
    folder: &Path,
    openness: Openness,
) -> Result<import::Report, AppError> {
    let tasks = Tasks::default();
    if !config.huggingface.is_on() {
        let fault = "`huggingface.upstream` is not set: there is no hub that this could be from";
        return Err(AppError::Settings(vec![fault.to_owned()]));
    }
    let hub = config.huggingface.resolve(read_secret).map_err(AppError::settings)?;
    let io =
        |source| AppError::Io { action: format!("{} cannot be read", folder.display()), source };
    fs::metadata(folder).map_err(io)?;
    let folder = Arc::new(Folder::read(folder).map_err(io)?);
    let store = open_store(&config, &clock, &tasks)?;
    let secret = secret(&config.data_dir)?;
    let signer = Signer::new(secret);
    let origin = Arc::clone(&hub.origin);
    let source = import::source::Source {
        folder: Arc::clone(&folder),
        base: origin.base.clone(),
        openness,
        hub: Arc::new(Client::new(config.upstream.clone()).map_err(AppError::Upstream)?),
    };
    let recording = open_recording(&config, &store, &clock, &tasks)?;
    let seams = Seams {
        store,
        upstream: Arc::new(source),
        witness: recording.witness,
        clock: clock.clone(),
        tasks: tasks.transfers.clone(),
        stop: tasks.stop_transfers.clone(),
    };
    let cache = Cache::new(config.cache.clone(), seams).inspecting(inspection_rules(&config)?);
    let handler = Proxy::new(proxy::Parts {
        memory: ByteSize(config.cache.memory.bytes() / 4),
        secret,
        public_url: None,
        cache: cache.clone(),
        rulings: Rulings::of_lifecycle(config.policy.clone(), clock.clone()),
        pulls: recording.pulls,
        clock,
        routes: Routes::new(hub_routes(hub, &signer))
            .map_err(|conflict| AppError::settings(vec![conflict]))?,
        access: Access::new(&access::Config::default()).map_err(AppError::settings)?,
        own: proxy::Own {
            claims: |_| false,
            answer: Box::new(|_| unreachable!("nothing is claimed")),
        },
        snapshots: Arc::new(|_| None),
    });
    let report = Import { cache, handler: Arc::new(handler), folder, origin }.run().await;
    // What was verified is being written down: all of it, before anything is ended.
    tasks.transfers.close();
    tasks.transfers.wait().await;
    tasks.wind_up().await;
    Ok(report)
}

impl AppError {
    /// Whether a setting, or a file that one names, is at fault: then starting again does not mend it.
    pub const fn is_of_settings(&self) -> bool {
        matches!(
            self,
            Self::Settings(_)
                | Self::Upstream(_)
                | Self::Advisories(_)
                | Self::Server(ServerError::Tls(_))
        )
    }

    fn settings<E: fmt::Display>(errors: Vec<E>) -> Self {
        Self::Settings(errors.iter().map(ToString::to_string).collect())
    }
}

/// What may be in files, where they are looked into.
fn inspection_rules(config: &Config) -> Result<Option<Arc<Rules>>, AppError> {
    let rules = Rules::new(&config.inspect).map_err(AppError::settings)?;
    Ok(rules.map(Arc::new))
}
