//! The scrubber: reads all blobs again, slowly, and sets aside what is no longer right before anybody is served it.
//!
//! It goes round in the order of the digests, from a random place on, so that restarts do not look at the same blobs over and over. A blob
//! that somebody found wrong while reading it ([`Store::suspect`]) comes first. What is wrong loses its rows and is moved to `quarantine`:
//! whoever asks for it next finds nothing kept and fetches it again. Left out: rows of the index (`verify`).
//!
//! [`Store::suspect`]: crate::store::Store::suspect

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Shared;
use super::check::{Check, Damage, Progress};
use super::read::Buffers;
use super::writer::Job;
use crate::store::StoreError;
use crate::types::BlobId;

/// Blobs looked up together.
const WINDOW: usize = 64;
/// What is read between two pauses.
const SLICE: u64 = 1 << 20;
/// What a blob costs at least, however short: opening a file is work, too.
const LEAST: u64 = 64 << 10;
/// How often it is looked whether the store is still there while nothing is to be done.
const IDLE: Duration = Duration::from_secs(60);
/// Most blobs that wait because somebody found them wrong; more are met again.
const MOST_SUSPECTS: usize = 1024;
/// Names told of a damaged blob.
const MOST_NAMES: usize = 10;

/// Blobs that somebody found wrong, and what became of all that was looked at.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    waiting: Mutex<HashSet<BlobId>>,
    told: Notify,
    pub(super) checked: AtomicU64,
    pub(super) damaged: AtomicU64,
}

impl Suspects {
    pub(super) fn add(&self, blob: BlobId) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MOST_SUSPECTS {
            waiting.insert(blob);
        }
        self.told.notify_one();
    }

    fn take(&self) -> HashSet<BlobId> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Goes round the blobs.
pub(super) struct Scrubber {
    pub(super) shared: Arc<Shared>,
    pub(super) buffers: Arc<Buffers>,
    pub(super) jobs: mpsc::WeakSender<Job>,
    pub(super) tasks: TaskTracker,
    /// Bytes a second; zero: only suspects are looked at.
    pub(super) rate: u64,
    /// From the beginning of one round to that of the next.
    pub(super) interval: Duration,
}

impl Scrubber {
    pub(super) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.go_round()).await;
    }

    async fn go_round(&self) {
        let mut next_round = Instant::now();
        while self.jobs.strong_count() > 0 {
            if self.rate > 0 && Instant::now() >= next_round {
                next_round = Instant::now() + self.interval;
                let mut start = BlobId([0; 32]);
                start.0.fill_with(|| fastrand::u8(..));
                match self.round(start).await {
                    Ok(()) => self.shared.meters.scrubbed_round(),
                    Err(error) => {
                        tracing::warn!(error = %error, "looking at the blobs again failed");
                    }
                }
            }
            let _ = timeout(IDLE, self.shared.suspects.told.notified()).await;
            if let Err(error) = self.look_at_suspects().await {
                tracing::warn!(error = %error, "looking at a blob again failed");
            }
        }
    }

    /// Looks at all blobs once: from `start` to the end, then those before it.
    pub(super) async fn round(&self, start: BlobId) -> Result<(), StoreError> {
        for (from, to) in [(start, None), (BlobId([0; 32]), Some(start))] {
            let mut hand = Some(from);
            while let Some(from) = hand {
                let shared = self.shared.clone();
                let look = move || shared.read(|view| view.blobs_from(from, WINDOW));
                let (window, next) = self.blocking(look).await??;
                hand = next.filter(|next| to.is_none_or(|to| *next < to));
                for candidate in window {
                    if self.jobs.strong_count() == 0 || to.is_some_and(|to| candidate.blob >= to) {
                        return Ok(());
                    }
                    self.look_at(candidate.blob, candidate.size).await?;
                    self.look_at_suspects().await?;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn look_at_suspects(&self) -> Result<(), StoreError> {
        for blob in self.shared.suspects.take() {
            let shared = self.shared.clone();
            let size = move || shared.read(|view| view.size_of(blob));
            if let Some(size) = self.blocking(size).await?? {
                self.look_at(blob, size).await?;
            }
        }
        Ok(())
    }

    async fn look_at(&self, blob: BlobId, size: u64) -> Result<(), StoreError> {
        let (shared, buffers) = (self.shared.clone(), self.buffers.clone());
        let begin = move || Check::begin(&shared.blobs, &buffers, blob, size);
        let (mut check, mut progress) = match self.blocking(begin).await? {
            Ok(begun) => begun,
            Err(Damage::Missing) => {
                let jobs = self.jobs.upgrade().ok_or(StoreError::Refusing)?;
                return jobs.send(Job::Lost(blob)).await.map_err(|_| StoreError::Refusing);
            }
            Err(damage) => {
                tracing::warn!(blob = %blob, damage = damage.name(), "a blob cannot be opened");
                return Ok(());
            }
        };
        self.pause(LEAST).await;
        while progress == Progress::Under {
            let step = move || {
                let progress = check.step(SLICE);
                (check, progress)
            };
            (check, progress) = self.blocking(step).await?;
            self.pause(size.min(SLICE)).await;
        }
        self.shared.suspects.checked.fetch_add(1, Ordering::Relaxed);
        self.shared.meters.scrubbed(size);
        match progress {
            Progress::Wrong(damage) => self.set_aside(blob, check.inode, size, damage).await,
            Progress::Under | Progress::Whole => Ok(()),
        }
    }

    async fn set_aside(
        &self,
        blob: BlobId,
        inode: u64,
        size: u64,
        damage: Damage,
    ) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        let names = move || shared.read(|view| view.names_of(blob, MOST_NAMES));
        let names = self.blocking(names).await??;
        let jobs = self.jobs.upgrade().ok_or(StoreError::Refusing)?;
        let (done, answer) = oneshot::channel();
        let job = Job::Quarantine { blob, inode, done };
        jobs.send(job).await.map_err(|_| StoreError::Refusing)?;
        if answer.await.map_err(|_| StoreError::Refusing)? {
            self.shared.suspects.damaged.fetch_add(1, Ordering::Relaxed);
            self.shared.meters.damaged(damage);
            tracing::error!(
                blob = %blob, bytes = size, damage = damage.name(), names = ?names,
                "a blob is damaged and set aside; whoever asks for it next has it fetched again"
            );
        }
        Ok(())
    }

    /// Waits as long as `bytes` take at the rate allowed.
    async fn pause(&self, bytes: u64) {
        if self.rate > 0 {
            sleep(Duration::from_secs_f64(bytes as f64 / self.rate as f64)).await;
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        self.tasks.spawn_blocking(work).await.map_err(|_| StoreError::Refusing)
    }
}
