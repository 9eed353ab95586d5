//! What the store tells the metrics. Handles are made once: looking one up by name costs as much as a look-up in the index.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::check::Damage;
use super::index::Counters;

/// One look-up in this many is timed.
const SAMPLE: u64 = 64;

pub(super) struct Meters {
    commits: Counter,
    commit_jobs: Histogram,
    commit_seconds: Histogram,
    get_seconds: Histogram,
    evicted_blobs: Counter,
    evicted_bytes: Counter,
    entries: Gauge,
    blobs: Gauge,
    blob_bytes: Gauge,
    scrubbed_blobs: Counter,
    scrubbed_bytes: Counter,
    scrub_rounds: Counter,
    gets: AtomicU64,
}

impl Meters {
    pub(super) fn new() -> Self {
        Self {
            commits: counter!("larder_store_commits_total"),
            commit_jobs: histogram!("larder_store_commit_jobs"),
            commit_seconds: histogram!("larder_store_commit_seconds"),
            get_seconds: histogram!("larder_store_get_seconds"),
            evicted_blobs: counter!("larder_store_evicted_blobs_total"),
            evicted_bytes: counter!("larder_store_evicted_bytes_total"),
            entries: gauge!("larder_store_entries"),
            blobs: gauge!("larder_store_blobs"),
            blob_bytes: gauge!("larder_store_blob_bytes"),
            scrubbed_blobs: counter!("larder_scrub_blobs_total"),
            scrubbed_bytes: counter!("larder_scrub_bytes_total"),
            scrub_rounds: counter!("larder_scrub_rounds_total"),
            gets: AtomicU64::new(0),
        }
    }

    /// Times `look` if its turn has come.
    pub(super) fn get<T>(&self, look: impl FnOnce() -> T) -> T {
        if !self.gets.fetch_add(1, Ordering::Relaxed).is_multiple_of(SAMPLE) {
            return look();
        }
        let started = Instant::now();
        let found = look();
        self.get_seconds.record(started.elapsed());
        found
    }

    pub(super) fn commit(&self, jobs: usize, took: Duration, counters: Counters) {
        self.commits.increment(1);
        self.commit_jobs.record(jobs as f64);
        self.commit_seconds.record(took);
        self.show(counters);
    }

    pub(super) fn show(&self, counters: Counters) {
        self.entries.set(counters.entries as f64);
        self.blobs.set(counters.blobs as f64);
        self.blob_bytes.set(counters.blob_bytes as f64);
    }

    pub(super) fn scrubbed(&self, bytes: u64) {
        self.scrubbed_blobs.increment(1);
        self.scrubbed_bytes.increment(bytes);
    }

    pub(super) fn scrubbed_round(&self) {
        self.scrub_rounds.increment(1);
    }

    /// Rare, so it is looked up by name.
    pub(super) fn damaged(&self, damage: Damage) {
        counter!("larder_scrub_damaged_total", "kind" => damage.name()).increment(1);
    }

    pub(super) fn evicted(&self, blobs: u64, bytes: u64) {
        self.evicted_blobs.increment(blobs);
        self.evicted_bytes.increment(bytes);
    }
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meters")
    }
}
