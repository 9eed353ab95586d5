//! Making room: what nobody has asked for longest goes, whole blobs at a time.
//!
//! There is no list of blobs in order of age, which would cost memory or writes for each of them. Instead a hand goes round the blobs in
//! the order of their digests. Since digests are random, what lies before the hand is a fair sample, and the worst few of a sample are
//! about as old as the worst of all. Where all blobs fit one window, the choice is exact.
//!
//! Off without a budget. Pinned blobs and blobs just sealed are never taken; the writer decides that, in order with the commits.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Shared;
use super::index::Retire;
use super::view::Candidate;
use super::writer::Job;
use crate::store::StoreError;
use crate::types::{BlobId, Timestamp};

/// Blobs looked at together.
const WINDOW: usize = 256;
/// Blobs given up of a window behind which there are more.
const MOST_OF_WINDOW: usize = WINDOW / 8;
/// How often the free space is looked at when nobody complains.
const INTERVAL: Duration = Duration::from_secs(30);

/// Goes round.
pub(super) struct Evictor {
    pub(super) shared: Arc<Shared>,
    pub(super) jobs: mpsc::WeakSender<Job>,
    pub(super) tasks: TaskTracker,
    pub(super) hand: BlobId,
}

impl Evictor {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut interval = tokio::time::interval(INTERVAL);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.shared.room.short.notified() => {}
                _ = interval.tick() => {}
            }
            if self.jobs.strong_count() == 0 {
                return;
            }
            let made = tokio::select! {
                () = stop.cancelled() => return,
                made = self.make_room() => made,
            };
            if let Err(error) = made {
                tracing::warn!(error = %error, "making room failed");
            }
            self.shared.room.settle();
        }
    }

    /// Evicts until there is room or nothing more may go.
    pub(super) async fn make_room(&mut self) -> Result<(), StoreError> {
        let mut spared = HashSet::new();
        let mut fruitless_rounds = 0;
        while let excess @ 1.. = self.shared.room.excess(self.shared.counters().blob_bytes)? {
            let (victims, next) = self.look(excess, &spared).await?;
            self.hand = next.unwrap_or(BlobId([0; 32]));
            if next.is_none() {
                fruitless_rounds += 1;
            }
            if self.evict(victims, &mut spared).await? {
                fruitless_rounds = 0;
            } else if fruitless_rounds >= 2 {
                tracing::warn!(
                    excess_bytes = excess,
                    "no room can be made: all that is left is pinned or in use"
                );
                return Ok(());
            }
        }
        Ok(())
    }

    /// Chooses what goes from the window before the hand, and says where the next one starts.
    async fn look(
        &self,
        excess: u64,
        spared: &HashSet<BlobId>,
    ) -> Result<(Vec<BlobId>, Option<BlobId>), StoreError> {
        let (shared, hand) = (self.shared.clone(), self.hand);
        let window =
            self.tasks.spawn_blocking(move || shared.read(|view| view.blobs_from(hand, WINDOW)));
        let (mut window, next) = window.await.map_err(|_| StoreError::Refusing)??;
        // A window that starts at the beginning and reaches the end is the whole store.
        let whole = next.is_none() && hand == BlobId([0; 32]);
        window.retain(|candidate| !spared.contains(&candidate.blob));
        let most = if whole { WINDOW } else { MOST_OF_WINDOW };
        Ok((choose(window, self.shared.now.get(), excess, most), next))
    }

    /// True when something went.
    async fn evict(
        &self,
        blobs: Vec<BlobId>,
        spared: &mut HashSet<BlobId>,
    ) -> Result<bool, StoreError> {
        if blobs.is_empty() {
            return Ok(false);
        }
        let jobs = self.jobs.upgrade().ok_or(StoreError::Refusing)?;
        let (done, answer) = oneshot::channel();
        let job = Job::Retire { blobs, why: Retire::Evict, done };
        jobs.send(job).await.map_err(|_| StoreError::Refusing)?;
        let retired = answer.await.map_err(|_| StoreError::Refusing)?;
        spared.extend(retired.stayed);
        self.shared.evicted.fetch_add(retired.blobs, Ordering::Relaxed);
        self.shared.meters.evicted(retired.blobs, retired.bytes);
        let shared = self.shared.clone();
        let freed = self.tasks.spawn_blocking(move || shared.blobs.empty_trash());
        let freed = freed.await.map_err(|_| StoreError::Refusing)?;
        freed.map_err(|error| StoreError::io("empty the trash", error))?;
        Ok(retired.blobs > 0)
    }
}

/// The worst of `window`, as many as free `excess` bytes, at most `most`.
fn choose(mut window: Vec<Candidate>, now: Timestamp, excess: u64, most: usize) -> Vec<BlobId> {
    window.sort_by_key(|candidate| {
        Reverse((candidate.access.score(now, candidate.size), candidate.size))
    });
    let mut freed = 0_u64;
    window
        .into_iter()
        .take(most)
        .take_while(|candidate| {
            let needed = freed < excess;
            freed = freed.saturating_add(candidate.size);
            needed
        })
        .map(|candidate| candidate.blob)
        .collect()
}
