//! Get: from memory, from the store, or from upstream once for everybody.
//!
//! Three kinds of things are had from a [`Cache`]: artifacts (`artifact`: immutable bytes with a digest), documents
//! (`document`: bounded, parsed, merged over time) and exchanges (`exchange`: RFC 9111 to the letter). All three ask upstream through single
//! flights that outlive the client who started them, and all three serve what is kept when upstream cannot be asked.
//!
//! Knows no ecosystem: what a path means is in the [`lookup`] that an adapter wrote.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::store::Store;
use crate::types::ByteSize;
use crate::upstream::Upstream;

pub mod failure;
pub mod fill;
pub mod found;
pub mod lookup;

/// Settings of the cache, `[cache]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Longest that a client waits for upstream's word while something is kept to serve.
    #[serde(with = "humantime_serde")]
    pub revalidate_budget: Duration,
    /// A client's `no-cache` leads to at most one question to upstream in this time.
    #[serde(with = "humantime_serde")]
    pub revalidate_interval: Duration,
    /// How long "does not exist" is remembered.
    #[serde(with = "humantime_serde")]
    pub absent_for: Duration,
    /// After an outage, how long what is kept is served before upstream is asked again.
    #[serde(with = "humantime_serde")]
    pub retry_after_failure: Duration,
    /// A transfer that nobody reads any more goes on this long before it is given up (its bytes are kept for the next one).
    #[serde(with = "humantime_serde")]
    pub abandon_after: Duration,
    /// Ranges of a file that is still arriving wait for its digest.
    pub verify_before_range: bool,
    /// Transfers from upstream under way at once; further ones wait.
    pub fills: usize,
    /// Memory for hot documents, rendered pages and small files.
    pub memory: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            revalidate_budget: Duration::from_millis(500),
            revalidate_interval: Duration::from_secs(5),
            absent_for: Duration::from_secs(60),
            retry_after_failure: Duration::from_secs(10),
            abandon_after: Duration::from_secs(600),
            verify_before_range: false,
            fills: 64,
            memory: ByteSize::mib(64),
        }
    }
}

/// The cache. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cache {
    parts: Arc<Parts>,
}

/// What the kinds share.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) upstream: Arc<dyn Upstream>,
    pub(crate) clock: Clock,
    /// Transfers and revalidations run here, so that they outlive clients and shutdown can wait for them.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the time to drain is over.
    pub(crate) stop: CancellationToken,
}

impl Cache {
    pub fn new(
        config: Config,
        store: Arc<dyn Store>,
        upstream: Arc<dyn Upstream>,
        clock: Clock,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self { parts: Arc::new(Parts { config, store, upstream, clock, tasks, stop }) }
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("config", &self.config).finish_non_exhaustive()
    }
}
