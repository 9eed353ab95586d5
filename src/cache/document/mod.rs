//! Documents: bounded, parsed things that change upstream and are merged into what is kept.
//!
//! The way through [`Cache::document`]: what is kept (hot, or read from the store) is judged by age; fresh is served at once; stale is
//! refreshed in a single flight that the client waits for no longer than the time budget; what cannot be refreshed is
//! served all the same and says so. How a fresh answer is fetched, read and written down is in [`refresh`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::sync::Cache as Memory;
use tokio::time::{Instant, timeout};

use crate::cache::failure::Failure;
use crate::cache::flight::Flights;
use crate::cache::found::Trace;
use crate::cache::lookup::{Demand, Document, Parsed, Stale};
use crate::cache::{Cache, Config, Parts};
use crate::semantics::cache_status::{CacheStatus, Forward};
use crate::store::{Entry, Stored};
use crate::types::{BlobId, CacheKey, Presence, Timestamp};
use crate::upstream::Availability;

mod amend;
mod at_hand;
mod body;
mod gone;
mod refresh;
mod tell;
#[cfg(test)]
mod tests;

pub use amend::Edit;

/// A document in memory, with the entry that it was read from.
#[derive(Debug)]
pub struct Loaded {
    pub parsed: Parsed,
    /// Changes whenever the content does.
    pub version: u64,
    pub entry: Arc<Entry>,
    /// When upstream last failed to confirm it; 0 when it did not fail since the entry was validated.
    failed: AtomicU64,
}

/// A document and how it came about.
#[derive(Debug, Clone)]
pub struct Got {
    pub loaded: Arc<Loaded>,
    pub trace: Trace,
    /// Upstream could not be asked when it should have been.
    pub offline: bool,
}

/// What the cache knows of documents beside the store.
#[derive(Debug)]
pub(crate) struct Documents {
    hot: Memory<CacheKey, Arc<Loaded>>,
    /// The document that was used last of those too large to be `hot`: whoever asks about a vast list asks about it again and again.
    vast: Mutex<Option<(CacheKey, Arc<Loaded>)>>,
    /// What `hot` may hold.
    capacity: u64,
    /// Until when "does not exist" is believed.
    absent: Memory<CacheKey, Timestamp>,
    refreshes: Flights<Refreshed>,
    loads: Flights<Result<Option<Arc<Loaded>>, Failure>>,
}

/// What a refresh ended with, shared by all who waited.
#[derive(Debug, Clone)]
pub(crate) struct Refreshed {
    outcome: Result<Arc<Loaded>, Failure>,
    /// Status of upstream's last answer.
    status: Option<u16>,
}

/// Most names that "does not exist" is remembered for.
const MOST_ABSENT: u64 = 100_000;

/// A parsed document is larger in memory than the bytes it was read from, by about this factor.
const PARSED_FACTOR: u64 = 3;

impl Documents {
    /// Takes half of the memory, since parsed documents are the largest of what is hot; rendered pages and small files share the other.
    pub(crate) fn new(config: &Config) -> Self {
        let capacity = config.memory.bytes() / 2;
        Self {
            hot: Memory::builder()
                .max_capacity(capacity)
                .weigher(|key: &CacheKey, loaded: &Arc<Loaded>| {
                    let bytes = loaded.weight() + key.as_str().len() as u64;
                    u32::try_from(bytes).unwrap_or(u32::MAX)
                })
                .build(),
            vast: Mutex::new(None),
            capacity,
            absent: Memory::builder().max_capacity(MOST_ABSENT).build(),
            refreshes: Flights::new(),
            loads: Flights::new(),
        }
    }

    /// Refreshes under way, for metrics.
    pub(crate) fn under_way(&self) -> usize {
        self.refreshes.len()
    }

    /// What is in memory.
    pub(crate) fn recall(&self, key: &CacheKey) -> Option<Arc<Loaded>> {
        self.hot.get(key).or_else(|| {
            let vast = self.vast.lock().unwrap_or_else(PoisonError::into_inner);
            vast.as_ref().filter(|(kept, _)| kept == key).map(|(_, loaded)| Arc::clone(loaded))
        })
    }

    /// Lets go of what is in memory of a key.
    pub(crate) fn forget(&self, key: &CacheKey) {
        let mut vast = self.vast.lock().unwrap_or_else(PoisonError::into_inner);
        vast.take_if(|(kept, _)| kept == key);
        self.hot.invalidate(key);
        self.absent.invalidate(key);
    }

    /// Keeps a document in memory, in place of what was there under the same key.
    pub(crate) fn remember(&self, key: &CacheKey, loaded: &Arc<Loaded>) {
        let mut vast = self.vast.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.weight() > self.capacity {
            self.hot.invalidate(key);
            *vast = Some((key.clone(), Arc::clone(loaded)));
        } else {
            vast.take_if(|(kept, _)| kept == key);
            self.hot.insert(key.clone(), Arc::clone(loaded));
        }
    }
}

impl Loaded {
    fn new(parsed: Parsed, content: BlobId, entry: Arc<Entry>) -> Self {
        let (head, _) = content.0.split_first_chunk().expect("a blob id has 32 bytes");
        Self { parsed, version: u64::from_be_bytes(*head), entry, failed: AtomicU64::new(0) }
    }

    /// What it costs in memory, about.
    fn weight(&self) -> u64 {
        self.entry.body.len() * PARSED_FACTOR + 512
    }

    /// The same content under a renewed entry.
    fn with_entry(&self, entry: Entry) -> Self {
        Self {
            parsed: self.parsed.clone(),
            version: self.version,
            entry: Arc::new(entry),
            failed: AtomicU64::new(0),
        }
    }

    fn failed_now(&self, now: Timestamp) {
        self.failed.store(now.0, Ordering::Release);
    }

    fn failed_at(&self) -> Timestamp {
        Timestamp(self.failed.load(Ordering::Acquire))
    }
}

impl Cache {
    /// Gets a document as current as its `demand` says. An outage is an error only when nothing is kept, or when
    /// what is kept may not be served unconfirmed ([`Stale::Never`]).
    pub async fn document(&self, document: &Document) -> Result<Got, Failure> {
        let parts = &self.parts;
        let now = parts.clock.now();
        let Some(loaded) = self.load(document).await? else {
            return match document.demand {
                Demand::Prompt => self.fetch_promptly(document, now).await,
                _ => self.fetch(document, now).await,
            };
        };
        match parts.currency(document, &loaded, now) {
            Currency::Fresh => Ok(parts.got(loaded, CacheStatus::hit(), now)),
            Currency::Unconfirmed => {
                parts.unconfirmed(document, loaded, "upstream-unreachable", now)
            }
            Currency::Stale => self.revalidate(document, loaded, now).await,
        }
    }

    /// What is kept, from memory or from the store; concurrent readers of a cold one parse it once.
    async fn load(&self, document: &Document) -> Result<Option<Arc<Loaded>>, Failure> {
        let documents = &self.parts.documents;
        let key = &document.lookup.key;
        if let Some(loaded) = documents.recall(key) {
            return Ok(Some(loaded));
        }
        let Some(entry) = self.parts.store.get(key)? else { return Ok(None) };
        let mut seat = documents.loads.board(key, &self.parts.tasks, |pilot| {
            let (parts, document) = (Arc::clone(&self.parts), document.clone());
            async move {
                let loaded = parts.read_entry(&document, entry).await;
                if let Ok(Some(loaded)) = &loaded {
                    parts.documents.remember(&document.lookup.key, loaded);
                }
                pilot.publish(loaded);
            }
        });
        seat.answer().await.unwrap_or(Ok(None))
    }

    /// Nothing is kept: waits for upstream, whose own time-outs bound the wait, unless the demand does.
    async fn fetch(&self, document: &Document, now: Timestamp) -> Result<Got, Failure> {
        let documents = &self.parts.documents;
        if documents.absent.get(&document.lookup.key).is_some_and(|until| now < until) {
            return Err(Failure::Absent);
        }
        if document.lookup.origins.is_empty() && document.keep.bytes_of().is_none() {
            return Err(Failure::NotKept);
        }
        let started = Instant::now();
        let (refreshed, collapsed) = self.refresh(document, None).await;
        let loaded = refreshed.outcome?;
        let status = CacheStatus {
            forward_status: refreshed.status,
            stored: true,
            collapsed,
            ..CacheStatus::forwarded(Forward::UriMiss)
        };
        let mut got = self.parts.got(loaded, status, now);
        got.trace.upstream_ms = Some(millis(started));
        Ok(got)
    }

    /// As [`Cache::fetch`], within the time budget.
    async fn fetch_promptly(&self, document: &Document, now: Timestamp) -> Result<Got, Failure> {
        let parts = &self.parts;
        let fetched = timeout(parts.config.revalidate_budget, self.fetch(document, now)).await;
        fetched.unwrap_or_else(|_| {
            if let Some(request) = document.lookup.origins.first() {
                parts.upstream.report_slow(request);
            }
            Err(Failure::NotKept)
        })
    }

    /// Something stale is kept: asks upstream, within the time budget when the answer may be served stale.
    async fn revalidate(
        &self,
        document: &Document,
        loaded: Arc<Loaded>,
        now: Timestamp,
    ) -> Result<Got, Failure> {
        let parts = &self.parts;
        let request = &document.lookup.origins[0];
        let may_be_stale = document.lookup.stale == Stale::Always;
        if may_be_stale
            && let Availability::Open { retry_after } = parts.upstream.availability(request)
        {
            if retry_after.is_zero() {
                // The circuit allows a probe; let this document be it, without a client waiting for it.
                self.begin_refresh(document, Some(Arc::clone(&loaded)));
            }
            return parts.unconfirmed(document, loaded, "upstream-unreachable", now);
        }
        if may_be_stale && parts.within_grace(&loaded, now) {
            self.begin_refresh(document, Some(Arc::clone(&loaded)));
            return Ok(parts.stale(loaded, "stale-while-revalidate", now));
        }
        let started = Instant::now();
        let asked = self.refresh(document, Some(Arc::clone(&loaded)));
        let budget = if may_be_stale { parts.config.revalidate_budget } else { Duration::MAX };
        let Ok((refreshed, collapsed)) = timeout(budget, asked).await else {
            parts.upstream.report_slow(request);
            metrics::counter!("larder_cache_revalidations_total", "outcome" => "slow").increment(1);
            return parts.unconfirmed(document, loaded, "upstream-slow", now);
        };
        let mut got = match refreshed.outcome {
            Ok(fresh) => {
                let status = CacheStatus {
                    forward_status: refreshed.status,
                    stored: true,
                    collapsed,
                    ..CacheStatus::forwarded(Forward::Stale)
                };
                parts.got(fresh, status, now)
            }
            Err(failure) => parts.after_failure(document, loaded, failure, now)?,
        };
        got.trace.upstream_ms = Some(millis(started));
        Ok(got)
    }
}

/// How what is kept stands to what is demanded.
enum Currency {
    Fresh,
    /// Stale, and upstream failed to confirm it a moment ago: not asked again yet.
    Unconfirmed,
    Stale,
}

impl Parts {
    fn currency(&self, document: &Document, loaded: &Loaded, now: Timestamp) -> Currency {
        let entry = &loaded.entry;
        let fresh = match document.demand {
            Demand::AnyAge | Demand::Prompt => {
                document.lookup.stale == Stale::Always || now < entry.fresh_until
            }
            Demand::Fresh => now < entry.fresh_until,
            Demand::Revalidated => now.since(entry.validated) < self.config.revalidate_interval,
        };
        let failed = loaded.failed_at();
        if fresh {
            Currency::Fresh
        } else if document.lookup.origins.is_empty()
            || failed > entry.validated && now.since(failed) < self.config.retry_after_failure
        {
            Currency::Unconfirmed
        } else {
            Currency::Stale
        }
    }

    fn within_grace(&self, loaded: &Loaded, now: Timestamp) -> bool {
        let fresh_until = loaded.entry.fresh_until;
        let grace = fresh_until..fresh_until.plus(self.config.stale_while_revalidate);
        loaded.failed_at() <= loaded.entry.validated && grace.contains(&now)
    }

    /// A refresh failed: what is kept is served as stale, unless the failure is upstream's refusal of this very client.
    fn after_failure(
        &self,
        document: &Document,
        loaded: Arc<Loaded>,
        failure: Failure,
        now: Timestamp,
    ) -> Result<Got, Failure> {
        if document.lookup.stale == Stale::Never {
            return Err(failure);
        }
        let detail = match failure {
            Failure::BadAnswer(_) => "upstream-bad-answer",
            _ => "upstream-unreachable",
        };
        self.unconfirmed(document, loaded, detail, now)
    }

    /// Serves what upstream could not confirm, where that is allowed.
    fn unconfirmed(
        &self,
        document: &Document,
        loaded: Arc<Loaded>,
        detail: &'static str,
        now: Timestamp,
    ) -> Result<Got, Failure> {
        if document.lookup.stale == Stale::Never {
            return Err(Failure::NotKept);
        }
        let mut got = self.stale(loaded, detail, now);
        got.offline = true;
        Ok(got)
    }

    fn stale(&self, loaded: Arc<Loaded>, detail: &'static str, now: Timestamp) -> Got {
        metrics::counter!("larder_cache_stale_total").increment(1);
        self.got(loaded, CacheStatus::hit().with_detail(detail), now)
    }

    fn got(&self, loaded: Arc<Loaded>, mut status: CacheStatus, now: Timestamp) -> Got {
        let entry = &loaded.entry;
        let stale = now >= entry.fresh_until;
        let is_finite = entry.fresh_until != Timestamp::NEVER;
        let ttl = entry.fresh_until.secs() as i64 - now.secs() as i64;
        status.ttl_secs = is_finite.then_some(ttl);
        if status.detail.is_none() {
            status.detail = match entry.presence {
                Presence::Present => None,
                Presence::Gone { .. } => Some("gone-upstream"),
                Presence::Withdrawn { .. } => Some("withdrawn-upstream"),
            };
        }
        self.count(&status);
        let trace = Trace {
            status,
            upstream_ms: None,
            validated: entry.validated,
            presence: entry.presence,
            age_secs: None,
            stale,
        };
        Got { loaded, trace, offline: false }
    }

    /// Reads a document back from its entry. What cannot be read is a miss that heals.
    async fn read_entry(
        &self,
        document: &Document,
        entry: Arc<Entry>,
    ) -> Result<Option<Arc<Loaded>>, Failure> {
        let (bytes, content) = match &entry.body {
            Stored::None => return Ok(None),
            Stored::Inline(bytes) => (bytes.clone(), BlobId::of(bytes)),
            Stored::Blob { id, size } => match self.read_blob(*id, *size).await? {
                Some(bytes) => (bytes, *id),
                None => return Ok(None),
            },
        };
        let keep = Arc::clone(&document.keep);
        match body::off_worker(bytes.len(), move || keep.read(&bytes)).await {
            Ok(parsed) => Ok(Some(Arc::new(Loaded::new(parsed, content, entry)))),
            Err(reason) => {
                tracing::warn!(cache.key = %document.lookup.key, %reason, "a kept document cannot be read and is fetched again");
                Ok(None)
            }
        }
    }
}

fn millis(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}
