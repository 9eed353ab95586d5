//! Composition root: the only file that names every module.
//!
//! Builds each component from its own part of the configuration, wires them, owns the task sets in which everything is
//! spawned, and winds them up in order: the server stops taking requests and its clients finish, transfers note how far
//! they are, the index is closed. Left out: arguments and exit codes (`main`), what any component does.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::api::Resource;
use crate::admin::{self, Admin, Phase, Right};
use crate::banner;
use crate::bundle::import::Forget;
use crate::bundle::key::SigningKey;
use crate::bundle::resource::Bundles;
use crate::cache::Cache;
use crate::cache::witness::Notebook;
use crate::clock::Clock;
use crate::config::Config;
use crate::ecosystem::{Ecosystem, generic, huggingface, oci, pypi};
use crate::import::folder::Folder;
use crate::import::source::Openness;
use crate::import::{self, Import};
use crate::proxy::access::{self, Access};
use crate::proxy::routes::{Route, Routes};
use crate::proxy::{self, Proxy};
use crate::server::{Body, Handler, Peer, RequestBody, Server, ServerError, limits};
use crate::store::disk::DiskStore;
use crate::store::{Store, StoreError};
use crate::telemetry::{Metrics, TelemetryError};
use crate::types::{ByteSize, Secret, Signer};
use crate::upstream::client::Client;
use crate::upstream::{Resolve, System, Upstream};

mod offline;

use offline::offline;

/// Larder, built and bound, not serving yet.
pub struct App {
    server: Server,
    handler: Arc<dyn Handler>,
    phase: watch::Sender<Phase>,
    metrics: Metrics,
    tasks: Tasks,
}

/// Everything that is spawned, by what must end before what.
#[derive(Default)]
struct Tasks {
    /// Listeners and connections.
    serving: TaskTracker,
    /// Transfers and refreshes.
    transfers: TaskTracker,
    /// The store's upkeep, ended last.
    upkeep: TaskTracker,
    stop_transfers: CancellationToken,
    stop_upkeep: CancellationToken,
}

/// Why Larder cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("the data directory cannot be used: {0}")]
    Store(#[source] StoreError),
    /// The settings fit each other on paper but not this machine: a secret that cannot be read, an address taken twice.
    #[error("{}", .0.join("\n"))]
    Settings(Vec<String>),
    #[error("no connection to upstream can be made: {0}")]
    Upstream(#[source] crate::upstream::ConfigError),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error("{action}")]
    Io { action: String, source: io::Error },
}

/// Longest that transfers may take to note how far they are, once no client is left.
const WIND_UP: Duration = Duration::from_secs(5);

/// How often samples of histograms are folded together.
const FOLD_EVERY: Duration = Duration::from_secs(5);

/// The key of everything that is signed or named by a keyed hash; made once for a data directory.
const SECRET_FILE: &str = "secret";

/// The key that vouches for bundles; made once for a data directory.
const BUNDLE_KEY_FILE: &str = "bundle-key";

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
        Ok(Self { server, handler: wired.handler, phase: wired.phase, metrics, tasks })
    }

    /// Where it listens, with the ports that the system chose for port 0.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.server.local_addrs()
    }

    /// Serves until `stop` is cancelled, then winds up.
    pub async fn run(self, stop: CancellationToken) {
        let Self { server, handler, phase, metrics, tasks } = self;
        let open_files = limits::raise_open_files();
        tracing::debug!(open_files, "descriptors that this process may hold");
        tasks.upkeep.spawn(fold_samples(metrics, tasks.stop_upkeep.clone()));
        phase.send_replace(Phase::Serving);
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
        let store = open_store(&config, &clock, tasks)?;
        let secret = secret(&config.data_dir)?;
        let routes = routes(&config, &Signer::new(secret))?;
        let upstream: Arc<dyn Upstream> = Arc::new(
            Client::with_resolver(config.upstream.clone(), names).map_err(AppError::Upstream)?,
        );
        let cache = Cache::new(
            config.cache.clone(),
            Arc::clone(&store),
            upstream,
            clock.clone(),
            Arc::new(Notebook::default()),
            tasks.transfers.clone(),
            tasks.stop_transfers.clone(),
        );
        let (phase, watched) = watch::channel(Phase::Starting);
        let guides = banner::guides(&config, addresses);
        let scraped = metrics.clone();
        let scrape = Arc::new(move || scraped.scrape());
        let bundles = Bundles {
            store: Arc::clone(&store),
            build: offline(&config, &clock, secret, tasks),
            clock: clock.clone(),
            key: Arc::new(SigningKey::new(&key_of(&config.data_dir, BUNDLE_KEY_FILE)?)),
            trusted: config.bundle.trusted().map_err(AppError::settings)?,
            namings: routes.namings(),
            forget: forgetting(&cache),
        };
        let resources: Vec<Arc<dyn Resource>> = vec![Arc::new(bundles)];
        let state = admin::State { store, phase: watched, guides };
        let handler: Arc<dyn Handler> = Arc::new(Proxy::new(proxy::Parts {
            memory: ByteSize(config.cache.memory.bytes() / 4),
            secret,
            public_url: config.public_url,
            cache,
            clock,
            routes,
            access,
            own: own_pages(Admin::new(state, resources, scrape)),
        }));
        Ok(Self { handler, phase })
    }
}

/// A Larder for whoever is in this process: the same as one that serves, without listeners, and nobody but its owner to ask it.
pub struct Inside {
    handler: Arc<dyn Handler>,
    tasks: Tasks,
}

impl Inside {
    /// Opens the data directory. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`AppError::Store`] when a server holds the data directory.
    pub fn open(config: Config, clock: Clock) -> Result<Self, AppError> {
        let tasks = Tasks::default();
        let metrics = Metrics::of_process()?;
        let config = Config { access: access::Config::default(), ..config };
        let addresses = config.listen.clone();
        let wired = Wired::new(config, clock, Arc::new(System), &addresses, &metrics, &tasks)?;
        wired.phase.send_replace(Phase::Serving);
        Ok(Self { handler: wired.handler, tasks })
    }

    /// Answers as if `request` had come from this machine.
    pub async fn ask(&self, request: Request<RequestBody>) -> Response<Body> {
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        self.handler.handle(request, Peer { address: here, local: here, tls: false }).await
    }

    /// Waits until everything that was fetched is kept, and closes the data directory.
    pub async fn close(self) {
        self.tasks.transfers.close();
        self.tasks.transfers.wait().await;
        self.tasks.wind_up().await;
    }
}

/// Hands the visits that `proxy` has let in to Larder's own pages.
fn own_pages(admin: Admin) -> proxy::Own {
    let answer = move |visit: proxy::Visit| {
        let (head, body) = visit.request.into_parts();
        let right = if visit.is_admin { Right::Administrator } else { Right::Client };
        admin.answer(admin::Visit {
            method: head.method,
            path: visit.path,
            query: head.uri.query().map(str::to_owned),
            headers: head.headers,
            body,
            right,
            client: visit.client,
            base: visit.base,
        })
    };
    proxy::Own { claims: is_own, answer: Box::new(answer) }
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
    let signer = Signer::new(secret(&config.data_dir)?);
    let origin = Arc::clone(&hub.origin);
    let source = import::source::Source {
        folder: Arc::clone(&folder),
        base: origin.base.clone(),
        openness,
        hub: Arc::new(Client::new(config.upstream.clone()).map_err(AppError::Upstream)?),
    };
    let cache = Cache::new(
        config.cache.clone(),
        store,
        Arc::new(source),
        clock.clone(),
        Arc::new(Notebook::default()),
        tasks.transfers.clone(),
        tasks.stop_transfers.clone(),
    );
    let handler = Proxy::new(proxy::Parts {
        memory: ByteSize(config.cache.memory.bytes() / 4),
        secret: secret(&config.data_dir)?,
        public_url: None,
        cache: cache.clone(),
        clock,
        routes: Routes::new(hub_routes(hub, &signer))
            .map_err(|conflict| AppError::settings(vec![conflict]))?,
        access: Access::new(&access::Config::default()).map_err(AppError::settings)?,
        own: proxy::Own {
            claims: |_| false,
            answer: Box::new(|_| unreachable!("nothing is claimed")),
        },
    });
    let report = Import { cache, handler: Arc::new(handler), folder, origin }.run().await;
    // What was verified is being written down: all of it, before anything is ended.
    tasks.transfers.close();
    tasks.transfers.wait().await;
    tasks.wind_up().await;
    Ok(report)
}

impl Tasks {
    /// Ends what is left, in order: connections are gone, transfers note how far they are, the index is closed.
    async fn wind_up(self) {
        self.serving.close();
        self.transfers.close();
        self.stop_transfers.cancel();
        if tokio::time::timeout(WIND_UP, self.transfers.wait()).await.is_err() {
            tracing::warn!("transfers did not end in time; they go on from their last note");
        }
        self.upkeep.close();
        self.stop_upkeep.cancel();
        self.upkeep.wait().await;
    }
}

impl AppError {
    fn settings<E: fmt::Display>(errors: Vec<E>) -> Self {
        Self::Settings(errors.iter().map(ToString::to_string).collect())
    }
}

/// Folds the raw samples of histograms together now and then; they would pile up where nobody scrapes.
async fn fold_samples(metrics: Metrics, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(FOLD_EVERY);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        metrics.upkeep();
    }
}

fn open_store(config: &Config, clock: &Clock, tasks: &Tasks) -> Result<Arc<dyn Store>, AppError> {
    let clock = clock.clone();
    let store = DiskStore::open(
        &config.data_dir,
        &config.store,
        move || clock.now(),
        &tasks.upkeep,
        &tasks.stop_upkeep,
    );
    Ok(Arc::new(store.map_err(AppError::Store)?))
}

/// The ways into every mount. An ecosystem is two lines here.
fn routes(config: &Config, signer: &Signer) -> Result<Routes, AppError> {
    let mut mounts = Mounts::default();
    if config.huggingface.is_on() {
        mounts.add(config.huggingface.resolve(read_secret), |hub| hub_routes(hub, signer));
    }
    for (name, index) in &config.pypi.indexes {
        mounts.add(index.resolve(name, &config.policy, read_secret), pypi_routes);
    }
    for (name, origin) in &config.generic {
        mounts.add(origin.resolve(name, read_secret), |mount| generic_routes(name, origin, mount));
    }
    mounts.add(config.oci.resolve(&config.policy, read_secret), |all| oci_routes(all, signer));
    let Mounts { routes, faults } = mounts;
    if !faults.is_empty() {
        return Err(AppError::Settings(faults));
    }
    Routes::new(routes).map_err(|conflict| AppError::settings(vec![conflict]))
}

/// Routes collected so far, and what is wrong with the settings of some.
#[derive(Default)]
struct Mounts {
    routes: Vec<Route>,
    faults: Vec<String>,
}

impl Mounts {
    fn add<T, E: fmt::Display>(
        &mut self,
        resolved: Result<T, Vec<E>>,
        routes: impl FnOnce(T) -> Vec<Route>,
    ) {
        match resolved {
            Ok(mount) => self.routes.extend(routes(mount)),
            Err(errors) => self.faults.extend(errors.iter().map(ToString::to_string)),
        }
    }
}

/// Whether a path is one of Larder's own pages, and not one that a mount hands out to its clients.
fn is_own(path: &str) -> bool {
    Admin::claims(path) && !path.trim_start_matches('/').starts_with(huggingface::route::OWN)
}

fn hub_routes(settings: huggingface::Settings, signer: &Signer) -> Vec<Route> {
    let hub = huggingface::Hub::new(settings, signer.clone());
    let vhosts = hub.vhosts().to_vec();
    let mount: Arc<dyn Ecosystem> = Arc::new(hub);
    let mut routes = vec![
        Route::below("/".to_owned(), "", &mount),
        Route::at_label("datasets-server", huggingface::DATASETS_SERVER, &mount),
    ];
    routes.extend(vhosts.iter().map(|host| Route::at_root_of(host, &mount)));
    routes
}

fn pypi_routes(settings: pypi::Settings) -> Vec<Route> {
    let index = pypi::Index::new(settings);
    let (entrances, hosts) = (index.entrances(), index.hosts().to_vec());
    let mount: Arc<dyn Ecosystem> = Arc::new(index);
    let by_path = entrances
        .into_iter()
        .map(|entrance| Route::below(entrance.prefix, entrance.relative, &mount));
    by_path.chain(hosts.iter().map(|host| Route::at_root_of(host, &mount))).collect()
}

fn oci_routes(settings: Option<oci::Settings>, signer: &Signer) -> Vec<Route> {
    let Some(settings) = settings else { return Vec::new() };
    let registries = oci::Registries::new(settings, signer.clone());
    let entrances = registries.entrances();
    let mount: Arc<dyn Ecosystem> = Arc::new(registries);
    let below = |one: oci::Entrance| Route::below(one.prefix, &one.relative, &mount);
    entrances.into_iter().map(below).collect()
}

fn generic_routes(name: &str, settings: &generic::Config, mount: generic::Generic) -> Vec<Route> {
    let mount: Arc<dyn Ecosystem> = Arc::new(mount);
    let by_path = Route::below(format!("/generic/{name}/"), "", &mount);
    let by_host = settings.hosts.iter().map(|host| Route::at_root_of(host, &mount));
    by_host.chain([by_path]).collect()
}

/// Secrets come from files or the environment, never from the configuration itself.
fn read_secret(source: &pypi::SecretSource) -> Result<Secret, String> {
    let text = match source {
        pypi::SecretSource::File(path) => fs::read_to_string(path)
            .map_err(|error| format!("{} cannot be read: {error}", path.display()))?,
        pypi::SecretSource::Environment(name) => std::env::var(name)
            .map_err(|_| format!("the environment variable {name} is not set, or not text"))?,
    };
    Ok(Secret::new(text.trim()))
}

/// Makes `cache` forget what somebody else has written into its store.
fn forgetting(cache: &Cache) -> Forget {
    let cache = cache.clone();
    Arc::new(move |keys| cache.forget(keys))
}

/// Reads the data directory's key, or makes it.
fn secret(data_dir: &Path) -> Result<[u8; 32], AppError> {
    key_of(data_dir, SECRET_FILE)
}

/// Reads one of the data directory's keys, or makes it.
fn key_of(data_dir: &Path, file: &str) -> Result<[u8; 32], AppError> {
    let path = data_dir.join(file);
    let fault = |source| AppError::Io {
        action: format!("{} cannot be read or made", path.display()),
        source,
    };
    let mut key = [0; 32];
    match fs::File::open(&path) {
        Ok(mut file) => file.read_exact(&mut key).map_err(fault)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            random(&mut key).and_then(|()| write_key(data_dir, file, &key)).map_err(fault)?;
        }
        Err(error) => return Err(fault(error)),
    }
    Ok(key)
}

/// Writes the key so that it is there as a whole or not at all, whenever the machine stops. The data directory's lock is held, so nobody else does.
fn write_key(data_dir: &Path, file_name: &str, key: &[u8; 32]) -> io::Result<()> {
    let fresh = data_dir.join(format!("{file_name}.fresh"));
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(key)?;
    file.sync_all()?;
    fs::rename(&fresh, data_dir.join(file_name))?;
    fs::File::open(data_dir)?.sync_all()
}

/// Random bytes of the kernel's.
fn random(bytes: &mut [u8]) -> io::Result<()> {
    fs::File::open("/dev/urandom")?.read_exact(bytes)
}
