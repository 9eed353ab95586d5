//! Tidying up, slowly: blobs that no entry names, partials that nobody continues, keys that lead nowhere.
//!
//! A crash can leave such things and nothing else, and none of them is ever served, so there is no hurry: start-up waits for nothing, and each
//! step looks at one of the 256 blob directories and a bounded run of keys. Left out: checking the bytes of blobs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Shared;
use super::blobs::{GRACE, LAST_SHARD};
use super::index::Retire;
use super::partials::{Partials, Removal};
use super::writer::Job;
use crate::store::StoreError;
use crate::types::BlobId;

/// Keys looked at in one step.
const KEYS: usize = 4096;

/// Goes round the blob directories and the keys.
pub(super) struct Sweeper {
    pub(super) shared: Arc<Shared>,
    pub(super) partials: Arc<Partials>,
    pub(super) jobs: mpsc::WeakSender<Job>,
    pub(super) tasks: TaskTracker,
    /// Partials untouched for this long go.
    pub(super) partial_ttl: Duration,
    /// The blob directory that is next.
    pub(super) shard: u8,
    /// The key that is next.
    pub(super) key: String,
}

/// What one look found to be in nobody's use.
struct Litter {
    blobs: Vec<BlobId>,
    keys: Vec<String>,
    next_key: String,
}

impl Sweeper {
    /// Sweeps everything once in `round`, one step after the other, the first not at once.
    pub(super) async fn run(mut self, round: Duration, stop: CancellationToken) {
        let pause = (round / (u32::from(LAST_SHARD) + 1)).max(Duration::from_millis(10));
        let mut interval = interval_at(Instant::now() + pause, pause);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = interval.tick() => {}
            }
            if self.jobs.strong_count() == 0 {
                return;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                swept = self.step() => if let Err(error) = swept {
                    tracing::warn!(error = %error, "sweeping failed");
                },
            }
        }
    }

    /// Sweeps one directory and one run of keys.
    pub(super) async fn step(&mut self) -> Result<(), StoreError> {
        let shard = self.shard;
        self.shard = shard.wrapping_add(1);
        let (shared, partials) = (self.shared.clone(), self.partials.clone());
        let (key, partial_ttl) = (self.key.clone(), self.partial_ttl);
        let look = self.tasks.spawn_blocking(move || {
            let now = shared.now.get();
            if shard == 0 {
                let removed = partials.stale(now.minus(partial_ttl), Removal::Yes);
                removed.map_err(|error| StoreError::io("sweep the partials", error))?;
            }
            let blobs = shared.blobs.shard(shard, now.minus(GRACE));
            let mut blobs = blobs.map_err(|error| StoreError::io("sweep the blobs", error))?;
            let (keys, next) = shared.read(|view| {
                blobs = unnamed(view, &blobs)?;
                view.idle_keys(&key, KEYS)
            })?;
            Ok(Litter { blobs, keys, next_key: next.unwrap_or_default() })
        });
        let litter: Result<Litter, StoreError> = look.await.map_err(|_| StoreError::Refusing)?;
        let Litter { blobs, keys, next_key } = litter?;
        self.key = next_key;
        self.remove(blobs, keys).await
    }

    async fn remove(&self, blobs: Vec<BlobId>, keys: Vec<String>) -> Result<(), StoreError> {
        let jobs = self.jobs.upgrade().ok_or(StoreError::Refusing)?;
        if !keys.is_empty() {
            jobs.send(Job::Forget(keys)).await.map_err(|_| StoreError::Refusing)?;
        }
        if !blobs.is_empty() {
            let (done, answer) = oneshot::channel();
            let job = Job::Retire { blobs, why: Retire::Sweep, done };
            jobs.send(job).await.map_err(|_| StoreError::Refusing)?;
            let retired = answer.await.map_err(|_| StoreError::Refusing)?;
            tracing::info!(
                blobs = retired.blobs,
                bytes = retired.bytes,
                "swept blobs that no entry names"
            );
        }
        // Also what an eviction that was cut short left there.
        let shared = self.shared.clone();
        let freed = self.tasks.spawn_blocking(move || shared.blobs.empty_trash());
        let freed = freed.await.map_err(|_| StoreError::Refusing)?;
        freed.map_err(|error| StoreError::io("empty the trash", error))
    }
}

/// Those of `blobs` that no entry names.
pub(super) fn unnamed(
    view: &super::view::View,
    blobs: &[BlobId],
) -> Result<Vec<BlobId>, redb::Error> {
    let mut found = Vec::new();
    for blob in blobs {
        if !view.is_named(*blob)? {
            found.push(*blob);
        }
    }
    Ok(found)
}
