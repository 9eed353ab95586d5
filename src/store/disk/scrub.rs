//! The scrubber: reads all blobs again, slowly, and sets aside what is no longer right before anybody is served it.
//!
//! It goes round in the order of the digests, from a random place on, so that restarts do not look at the same blobs over and over. A blob
//! that somebody found wrong while reading it ([`Store::suspect`]) is looked at at once. What is wrong loses its rows and is moved to `quarantine`:
//! whoever asks for it next finds nothing kept and fetches it again. What those rows were is noted ([`Loss`]), for whoever fetches it again unasked. Left out:
//! rows of the index (`verify`).
//!
//! [`Store::suspect`]: crate::store::Store::suspect

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Shared;
use super::check::{Check, Damage, Progress};
use super::index::{self, Step};
use super::read::Buffers;
use super::writer::Job;
use crate::store::StoreError;
use crate::store::lost::Loss;
use crate::types::{BlobId, CacheKey};

/// Blobs looked up together.
const WINDOW: usize = 64;
/// What is read between two pauses.
const SLICE: u64 = 1 << 20;
/// What a blob costs at least, however short: opening a file is work, too.
const LEAST: u64 = 64 << 10;
/// How often it is looked whether the store is still there while nothing is to be done.
const IDLE: Duration = Duration::from_secs(60);
/// Shorter pauses between rounds would be none.
const LEAST_PAUSE: Duration = Duration::from_millis(10);
/// Entries of a damaged blob that are noted as lost.
const MOST_NOTES: usize = 100;
/// Those of them that are told in the log.
const MOST_NAMES: usize = 10;

/// Blobs that somebody found wrong, and what became of all that was looked at.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    waiting: Mutex<HashMap<BlobId, Vec<oneshot::Sender<()>>>>,
    told: Notify,
    pub(super) checked: AtomicU64,
    pub(super) damaged: AtomicU64,
}

impl Suspects {
    /// The answer comes when the blob has been looked at.
    pub(super) fn add(&self, blob: BlobId) -> oneshot::Receiver<()> {
        let (done, looked) = oneshot::channel();
        self.waiting().entry(blob).or_default().push(done);
        self.told.notify_one();
        looked
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<BlobId, Vec<oneshot::Sender<()>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Goes round the blobs.
pub(super) struct Scrubber {
    pub(super) shared: Arc<Shared>,
    pub(super) buffers: Arc<Buffers>,
    pub(super) jobs: mpsc::WeakSender<Job>,
    pub(super) tasks: TaskTracker,
    /// Bytes a second of a round; zero: there are none.
    pub(super) rate: u64,
    /// From the beginning of one round to that of the next.
    pub(super) interval: Duration,
}

impl Scrubber {
    /// One round after the other.
    pub(super) async fn go_round(self, stop: CancellationToken) {
        while self.rate > 0 && self.jobs.strong_count() > 0 {
            let next = Instant::now() + self.interval;
            let mut start = BlobId([0; 32]);
            start.0.fill_with(|| fastrand::u8(..));
            match stop.run_until_cancelled(self.round(start)).await {
                None => return,
                Some(Ok(())) => self.shared.meters.scrubbed_round(),
                Some(Err(error)) => {
                    tracing::warn!(error = %error, "looking at the blobs again failed");
                }
            }
            while Instant::now() < next && self.jobs.strong_count() > 0 {
                let pause = next.duration_since(Instant::now()).clamp(LEAST_PAUSE, IDLE);
                if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                    return;
                }
            }
        }
    }

    /// Looks at blobs as somebody finds them wrong.
    pub(super) async fn look_at_suspects(self, stop: CancellationToken) {
        while self.jobs.strong_count() > 0 {
            let told = timeout(IDLE, self.shared.suspects.told.notified());
            if stop.run_until_cancelled(told).await.is_none() {
                return;
            }
            let waiting = std::mem::take(&mut *self.shared.suspects.waiting());
            for (blob, done) in waiting {
                match stop.run_until_cancelled(self.look_at_suspect(blob)).await {
                    None => return,
                    Some(Ok(())) => {}
                    Some(Err(error)) => {
                        tracing::warn!(error = %error, "looking at a blob again failed");
                    }
                }
                for done in done {
                    // Who asked may have gone.
                    let _ = done.send(());
                }
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
                    self.look_at(candidate.blob, candidate.size, self.rate).await?;
                }
            }
        }
        Ok(())
    }

    async fn look_at_suspect(&self, blob: BlobId) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        let size = move || shared.read(|view| view.size_of(blob));
        match self.blocking(size).await?? {
            Some(size) => self.look_at(blob, size, 0).await,
            None => Ok(()),
        }
    }

    /// Reads a blob again, at most `rate` bytes a second (0: as fast as it goes), and sets it aside if it is damaged.
    async fn look_at(&self, blob: BlobId, size: u64, rate: u64) -> Result<(), StoreError> {
        let (shared, buffers) = (self.shared.clone(), self.buffers.clone());
        let begin = move || Check::begin(&shared.blobs, &buffers, blob, size);
        let (mut check, mut progress) = match self.blocking(begin).await? {
            Ok(begun) => begun,
            Err(Damage::Missing) => {
                let notes = notes(&self.keys_of(blob).await?, blob, size, Damage::Missing);
                let jobs = self.jobs.upgrade().ok_or(StoreError::Refusing)?;
                let job = Job::Lost { blob, notes };
                return jobs.send(job).await.map_err(|_| StoreError::Refusing);
            }
            Err(damage) => {
                tracing::warn!(blob = %blob, damage = damage.name(), "a blob cannot be opened");
                return Ok(());
            }
        };
        pause(LEAST, rate).await;
        while progress == Progress::Under {
            let step = move || {
                let progress = check.step(SLICE);
                (check, progress)
            };
            (check, progress) = self.blocking(step).await?;
            pause(size.min(SLICE), rate).await;
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
        self.shared.blobs.distrust(blob, inode);
        let keys = self.keys_of(blob).await?;
        let notes = notes(&keys, blob, size, damage);
        let jobs = self.jobs.upgrade().ok_or(StoreError::Refusing)?;
        let (done, answer) = oneshot::channel();
        let job = Job::Quarantine { blob, inode, notes, done };
        jobs.send(job).await.map_err(|_| StoreError::Refusing)?;
        if answer.await.map_err(|_| StoreError::Refusing)? {
            self.shared.suspects.damaged.fetch_add(1, Ordering::Relaxed);
            self.shared.meters.damaged(damage);
            let names = &keys[..keys.len().min(MOST_NAMES)];
            tracing::error!(
                blob = %blob, bytes = size, damage = damage.name(), ?names,
                "a blob is damaged and set aside, to be fetched again"
            );
        }
        Ok(())
    }

    async fn keys_of(&self, blob: BlobId) -> Result<Vec<CacheKey>, StoreError> {
        let shared = self.shared.clone();
        let look = move || shared.read(|view| view.keys_of(blob, MOST_NOTES));
        self.blocking(look).await?
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        self.tasks.spawn_blocking(work).await.map_err(|_| StoreError::Refusing)
    }
}

/// What is lost with a blob.
fn notes(keys: &[CacheKey], blob: BlobId, size: u64, damage: Damage) -> Vec<Step> {
    let losses = keys.iter().map(|key| Loss::new(key, Some(blob), size, damage.name()));
    losses.map(|loss| index::step(loss.note())).collect()
}

/// Waits as long as `bytes` take at `rate` bytes a second; not at all at none.
async fn pause(bytes: u64, rate: u64) {
    if rate > 0 {
        sleep(Duration::from_secs_f64(bytes as f64 / rate as f64)).await;
    }
}
