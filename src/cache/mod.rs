//! Get: from memory, from the store, or from upstream once for everybody.
//!
//! Three kinds of things are had from a [`Cache`]: artifacts (`artifact`: immutable bytes with a digest), documents
//! (`document`: bounded, parsed, merged over time) and exchanges (`exchange`: RFC 9111 to the letter). All three ask upstream through single
//! flights that outlive the client who started them, and all three serve what is kept when upstream cannot be asked.
//!
//! What is in artifacts is looked into on the way (`verdicts`), or later, in the background (`review`).
//!
//! Knows no ecosystem: what a path means is in the [`lookup`] that an adapter wrote.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metrics::Counter;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cache::artifact::Artifacts;
use crate::cache::document::Documents;
use crate::cache::edition::Edition;
use crate::cache::exchange::Exchanges;
use crate::cache::failure::Failure;
use crate::cache::fill::Fills;
use crate::cache::verdicts::Verdicts;
use crate::cache::waiting::Waiting;
use crate::cache::witness::Witness;
use crate::clock::Clock;
use crate::inspect::{Nature, Report, Rules};
use crate::semantics::cache_status::CacheStatus;
use crate::store::{Store, StoreError};
use crate::types::{BlobId, ByteSize, CacheKey, Digest};
use crate::upstream::Upstream;

pub mod artifact;
mod ask;
mod assemble;
pub mod body;
mod chunked;
pub mod document;
mod edition;
pub mod exchange;
pub mod failure;
pub mod fill;
mod flight;
mod follow;
pub mod found;
mod hand;
pub mod lookup;
mod review;
pub(crate) mod verdicts;
mod waiting;
pub mod witness;

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
    /// For this long past its freshness a document is served at once while it is refreshed in the background.
    #[serde(with = "humantime_serde")]
    pub stale_while_revalidate: Duration,
    /// After an outage, how long what is kept is served before upstream is asked again.
    #[serde(with = "humantime_serde")]
    pub retry_after_failure: Duration,
    /// A transfer that nobody reads any more goes on this long before it is given up (its bytes are kept for the next one).
    #[serde(with = "humantime_serde")]
    pub abandon_after: Duration,
    /// Ranges of a file that is still arriving wait for its digest. Without it, small looks ahead see every part, longer ranges all
    /// but the last 64 KiB, before the digest is right.
    pub verify_before_range: bool,
    /// Transfers from upstream under way at once; further ones wait.
    pub fills: usize,
    /// Things that what was just kept refers to (the tree of a commit, the platforms of an image) fetched in the background at once.
    pub follow_ups: usize,
    /// Requests that one transfer may have open at once: one brings the body in order, the others fetch what readers ahead of it
    /// wait for, or what comes next of a large file that comes slowly.
    pub lanes: usize,
    /// Of those that fetch what comes next, how many one origin has to bear over all transfers.
    pub lanes_per_origin: usize,
    /// How far beyond what is hashed they fetch; 0: they do not. Only larger files are fetched so.
    pub read_ahead: ByteSize,
    /// How often in a row, without a MiB of progress, a broken transfer asks for the rest before its readers are cut.
    pub resume_attempts: u32,
    /// When the disk fills up in the middle of a transfer, its readers go on from this much memory.
    pub overflow: ByteSize,
    /// In that state, how long the others wait for the slowest reader before it is cut.
    #[serde(with = "humantime_serde")]
    pub overflow_stall: Duration,
    /// Memory for hot documents, rendered pages and small files.
    pub memory: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            revalidate_budget: Duration::from_millis(500),
            revalidate_interval: Duration::from_secs(5),
            absent_for: Duration::from_secs(60),
            stale_while_revalidate: Duration::ZERO,
            retry_after_failure: Duration::from_secs(10),
            abandon_after: Duration::from_secs(600),
            verify_before_range: false,
            fills: 64,
            follow_ups: 4,
            lanes: 8,
            lanes_per_origin: 16,
            read_ahead: ByteSize::mib(128),
            resume_attempts: 5,
            overflow: ByteSize::mib(8),
            overflow_stall: Duration::from_secs(30),
            memory: ByteSize::mib(256),
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
    pub(crate) witness: Arc<dyn Witness>,
    /// Transfers and revalidations run here, so that they outlive clients and shutdown can wait for them.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the time to drain is over.
    pub(crate) stop: CancellationToken,
    pub(crate) documents: Documents,
    pub(crate) artifacts: Artifacts,
    pub(crate) exchanges: Exchanges,
    pub(crate) fills: Fills,
    pub(crate) verdicts: Verdicts,
    pub(crate) edition: Edition,
    pub(crate) waiting: Waiting,
    /// Bounds what is fetched because something kept refers to it.
    pub(crate) follow_ups: Semaphore,
    counters: Counters,
}

/// What a cache stands on: each can be another one, in tests and elsewhere.
pub struct Seams {
    /// Where bodies and what is known of them are kept.
    pub store: Arc<dyn Store>,
    /// Where they come from.
    pub upstream: Arc<dyn Upstream>,
    /// Who is told what upstream did.
    pub witness: Arc<dyn Witness>,
    pub clock: Clock,
    /// Transfers and revalidations run here, so that they outlive clients and shutdown can wait for them.
    pub tasks: TaskTracker,
    /// Cancelled when the time to drain is over.
    pub stop: CancellationToken,
}

impl Cache {
    pub fn new(config: Config, seams: Seams) -> Self {
        let Seams { store, upstream, witness, clock, tasks, stop } = seams;
        let documents = Documents::new(&config);
        let artifacts = Artifacts::new(&config);
        let fills = Fills::new(&config);
        let counters = Counters::new();
        let edition = Edition::default();
        let follow_ups = Semaphore::new(config.follow_ups.max(1));
        let parts = Parts {
            config,
            store,
            upstream,
            clock,
            witness,
            tasks,
            stop,
            documents,
            artifacts,
            exchanges: Exchanges::new(edition.clone()),
            fills,
            verdicts: Verdicts::new(None),
            edition,
            waiting: Waiting::default(),
            follow_ups,
            counters,
        };
        Self { parts: Arc::new(parts) }
    }

    /// The same, with rules on what may be in artifacts. To be called before it is shared with anybody.
    #[must_use]
    pub fn inspecting(mut self, rules: Option<Arc<Rules>>) -> Self {
        let parts =
            Arc::get_mut(&mut self.parts).expect("nobody shares a cache that was just made");
        parts.verdicts = Verdicts::new(rules);
        self
    }
}

/// What is known of content.
impl Cache {
    /// What was found in the bytes of a digest, as far as anybody has looked, now or before a restart.
    pub fn report(&self, nature: Nature, digest: &Digest) -> Option<Arc<Report>> {
        self.parts.report(nature, digest)
    }
}

impl Cache {
    /// Whether an entry is kept under `key`. Trouble with the index counts as no.
    pub fn is_kept(&self, key: &CacheKey) -> bool {
        self.parts.store.get(key).is_ok_and(|entry| entry.is_some())
    }

    /// Names of what is kept, in order: those that begin with `under` and come after `after`.
    pub fn names(
        &self,
        under: &CacheKey,
        after: Option<&CacheKey>,
        limit: usize,
    ) -> Result<Vec<CacheKey>, Failure> {
        Ok(self.parts.store.scan(under.as_str(), after, limit)?)
    }

    /// A number that stays while nothing is learnt: an answer that was made from hits alone is made again in the same way as long as this has not
    /// changed since before it was made, but for what time brings about.
    pub fn edition(&self) -> u64 {
        self.parts.edition.number()
    }

    /// Counts a hit that was given again without being looked up.
    pub fn count_repeat(&self) {
        self.parts.counters.hits.increment(1);
    }

    /// Requests that wait for an answer of upstream's or for the beginning of a transfer, be it begun for them or for somebody else.
    pub fn waiting(&self) -> usize {
        self.parts.waiting.number()
    }

    /// Refreshes of documents under way.
    pub fn refreshes_under_way(&self) -> usize {
        self.parts.documents.under_way()
    }
}

impl Parts {
    /// Counts an answer as hit or miss.
    pub(crate) fn count(&self, status: &CacheStatus) {
        match status.is_hit() {
            true => self.counters.hits.increment(1),
            false => self.counters.misses.increment(1),
        }
    }

    /// Reads a whole blob of `size` bytes; `None` when it is gone, or no longer what it was. Meant for documents, whose size is bounded.
    pub(crate) async fn read_blob(
        &self,
        blob: BlobId,
        size: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        let Some(reader) = self.store.open(blob)? else { return Ok(None) };
        self.store.touch(blob);
        let length = usize::try_from(size).unwrap_or(usize::MAX);
        let read = move || reader.read(0, length);
        let read = move || read().map(|bytes| (BlobId::of(&bytes) == blob).then_some(bytes));
        match tokio::task::spawn_blocking(read).await {
            Ok(Ok(Some(bytes))) => Ok(Some(bytes)),
            Ok(Ok(None)) => {
                self.store.suspect(blob).await;
                Ok(None)
            }
            Ok(Err(error)) => Err(StoreError::io("reading a blob", error)),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// Seals bytes whose digest is `blob` as a blob, ready to be named by a commit.
    pub(crate) async fn store_blob(
        &self,
        key: &CacheKey,
        blob: BlobId,
        bytes: Bytes,
    ) -> Result<(), StoreError> {
        let (store, key) = (Arc::clone(&self.store), key.clone());
        let seal = move || {
            let partial = store.partial(&key)?;
            let length = bytes.len() as u64;
            partial.reserve(length)?;
            partial.write(0, &[bytes])?;
            partial.seal(blob, length).map(|_reader| ())
        };
        match tokio::task::spawn_blocking(seal).await {
            Ok(sealed) => sealed,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

/// Counters of the hot path, made once.
struct Counters {
    hits: Counter,
    misses: Counter,
}

impl Counters {
    fn new() -> Self {
        Self {
            hits: metrics::counter!("larder_cache_hits_total"),
            misses: metrics::counter!("larder_cache_misses_total"),
        }
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("config", &self.config).finish_non_exhaustive()
    }
}
