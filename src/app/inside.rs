//! Larders for whoever is in this process, without listeners.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};

use super::mounts::routes;
use super::tasks::Tasks;
use super::{AppError, Wired};
use crate::admin::Phase;
use crate::bundle::import::Forget;
use crate::bundle::offline::Build;
use crate::cache::witness::Notebook;
use crate::cache::{Cache, Seams};
use crate::clock::Clock;
use crate::config::Config;
use crate::proxy::access::{self, Access};
use crate::proxy::routes::Routes;
use crate::proxy::{self, Proxy};
use crate::rulings::Rulings;
use crate::server::{Body, Handler, Peer, RequestBody};
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::trace;
use crate::trace::pulls::Pulls;
use crate::types::{ByteSize, Signer};
use crate::upstream::System;

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
        self.handler
            .handle(request, Peer { address: here, local: here, tls: false, certificate: None })
            .await
    }

    /// Waits until everything that was fetched is kept, and closes the data directory.
    pub async fn close(self) {
        self.tasks.transfers.close();
        self.tasks.transfers.wait().await;
        self.tasks.wind_up().await;
    }
}

/// Makes Larders like this one that have no way out, for whoever wants to know what can be answered without: only what is public, or granted to
/// everybody, since nobody shows them a credential.
pub(super) fn offline(
    config: &Config,
    clock: &Clock,
    secret: [u8; 32],
    rulings: &Rulings,
    tasks: &Tasks,
) -> Build {
    let (config, clock, rulings) = (config.clone(), clock.clone(), rulings.clone());
    let (transfers, stop) = (tasks.transfers.clone(), tasks.stop_transfers.clone());
    Arc::new(move |store, upstream| {
        let seams = Seams {
            store: Arc::clone(&store),
            upstream,
            witness: Arc::new(Notebook::default()),
            clock: clock.clone(),
            tasks: transfers.clone(),
            stop: stop.clone(),
        };
        let cache = Cache::new(config.cache.clone(), seams);
        unseen(&config, &clock, secret, &rulings, cache, store)
    })
}

/// A Larder over a cache for those in this process, whose requests nobody counts.
pub(super) fn unseen(
    config: &Config,
    clock: &Clock,
    secret: [u8; 32],
    rulings: &Rulings,
    cache: Cache,
    store: Arc<dyn Store>,
) -> Arc<dyn Handler> {
    let nothing = trace::Config { pulls: 0, ..trace::Config::default() };
    let pulls = Pulls::new(&nothing, store, Arc::new(Notebook::default()), clock.clone());
    // The settings were found good when the server that serves was built; what is wrong with them since leaves fewer mounts.
    let routes = routes(config, &Signer::new(secret)).or_else(|_| Routes::new(Vec::new()));
    let access = Access::new(&access::Config::default());
    Arc::new(Proxy::new(proxy::Parts {
        memory: ByteSize(0),
        secret,
        public_url: config.public_url.clone(),
        cache,
        clock: clock.clone(),
        routes: routes.expect("no routes are no conflict"),
        access: access.expect("the built-in settings are good"),
        own: proxy::Own {
            claims: |_| false,
            answer: Box::new(|_| unreachable!("nothing is claimed")),
        },
        rulings: rulings.clone(),
        pulls,
        snapshots: Arc::new(|_| None),
    }))
}

/// Makes `cache` forget what somebody else has written into its store.
pub(super) fn forgetting(cache: &Cache) -> Forget {
    let cache = cache.clone();
    Arc::new(move |keys| cache.forget(keys))
}
