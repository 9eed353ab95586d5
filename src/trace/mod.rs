//! What became of things: the ledger of what happened, and who pulled what.
//!
//! - [`ledger`]: an append-only log whose every state is signed; [`merkle`], [`note`] and [`record`] are its forms, pure
//! - [`pulls`]: counted at the end of each answer, written down in batches
//!
//! Left out: what happened, which adapters, `proxy`, `keep` and `heal` say (`types::event`).

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::ledger::Ledger;
use self::pulls::{Clients, Pulls};
use crate::cache::witness::Witness;
use crate::clock::Clock;
use crate::store::Store;

pub mod ledger;
pub mod merkle;
pub mod note;
pub mod pulls;
pub mod record;

/// Everything that records, open.
#[derive(Debug, Clone)]
pub struct Recording {
    pub ledger: Ledger,
    /// Who writes into the ledger.
    pub witness: Arc<dyn Witness>,
    pub pulls: Pulls,
}

impl Recording {
    /// Opens the ledger in `directory`, and keeps rows in `store`. The ledger's task is on `tasks` and ends after `stop`.
    pub fn open(
        config: &Config,
        directory: &Path,
        store: &Arc<dyn Store>,
        clock: &Clock,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> io::Result<Self> {
        let (ledger, scribe) = Ledger::open(directory, config.queue, clock.clone(), tasks, stop)?;
        let witness: Arc<dyn Witness> = Arc::new(scribe);
        let pulls = Pulls::new(config, Arc::clone(store), Arc::clone(&witness), clock.clone());
        Ok(Self { ledger, witness, pulls })
    }
}

/// Settings of what is recorded, `[trace]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Events that may wait for the disk; further ones are lost, and recorded as lost.
    pub queue: usize,
    /// As what clients are remembered.
    pub clients: Clients,
    /// Most rows of pulls: one for each thing, digest and client. 0: pulls are not recorded.
    pub pulls: usize,
    /// How long after its last pull a row is kept.
    #[serde(with = "humantime_serde")]
    pub pulls_for: Duration,
    /// How often what was counted is written down.
    #[serde(with = "humantime_serde")]
    pub write_every: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            queue: 4096,
            clients: Clients::Token,
            pulls: 200_000,
            pulls_for: Duration::from_secs(400 * 24 * 3600),
            write_every: Duration::from_secs(30),
        }
    }
}
