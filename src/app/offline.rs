//! Larders like the one that serves, over the same mounts, with no way out.

use std::sync::Arc;

use super::{Tasks, routes};
use crate::bundle::offline::Build;
use crate::cache::Cache;
use crate::cache::witness::Notebook;
use crate::clock::Clock;
use crate::config::Config;
use crate::proxy::access::{self, Access};
use crate::proxy::routes::Routes;
use crate::proxy::{self, Proxy};
use crate::types::{ByteSize, Signer};

/// Makes Larders like this one that have no way out, for whoever wants to know what can be answered without: only what is public, or granted to
/// everybody, since nobody shows them a credential.
pub(super) fn offline(config: &Config, clock: &Clock, secret: [u8; 32], tasks: &Tasks) -> Build {
    let (config, clock) = (config.clone(), clock.clone());
    let (transfers, stop) = (tasks.transfers.clone(), tasks.stop_transfers.clone());
    Arc::new(move |store, upstream| {
        let cache = Cache::new(
            config.cache.clone(),
            store,
            upstream,
            clock.clone(),
            Arc::new(Notebook::default()),
            transfers.clone(),
            stop.clone(),
        );
        // The settings were found good when the server that serves was built; what is wrong with them since leaves fewer mounts.
        let routes = routes(&config, &Signer::new(secret)).or_else(|_| Routes::new(Vec::new()));
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
        }))
    })
}
