//! Upkeep at once, because somebody asks for it: what `sweep` and `evict` do slowly, and freeing what was removed by hand.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::Shared;
use super::blobs::{GRACE, LAST_SHARD};
use super::evict::Evictor;
use super::index::Retire;
use super::partials::{Partials, Removal};
use super::sweep::unnamed;
use super::writer::Job;
use crate::store::{Freed, StoreError, Tidied, Tidy};
use crate::types::{BlobId, Timestamp};

/// Blobs that one job of the writer's removes, so that commits have their turn in between.
const MOST_AT_ONCE: usize = 1024;

/// What sweeps by hand.
pub(super) struct Broom {
    pub(super) shared: Arc<Shared>,
    pub(super) partials: Arc<Partials>,
    pub(super) jobs: mpsc::WeakSender<Job>,
    pub(super) tasks: TaskTracker,
    pub(super) partial_ttl: Duration,
}

impl Broom {
    /// Removes those of `blobs` that no entry names.
    pub(super) async fn release(&self, blobs: Vec<BlobId>) -> Result<Freed, StoreError> {
        let jobs = self.jobs.upgrade().ok_or(StoreError::Refusing)?;
        let mut freed = Freed::default();
        for some in blobs.chunks(MOST_AT_ONCE) {
            let (done, answer) = oneshot::channel();
            let job = Job::Retire { blobs: some.to_vec(), why: Retire::Sweep, done };
            jobs.send(job).await.map_err(|_| StoreError::Refusing)?;
            let retired = answer.await.map_err(|_| StoreError::Refusing)?;
            freed.count += retired.blobs;
            freed.bytes += retired.bytes;
        }
        let shared = self.shared.clone();
        let emptied = self.tasks.spawn_blocking(move || shared.blobs.empty_trash()).await;
        let emptied = emptied.map_err(|_| StoreError::Refusing)?;
        emptied.map_err(|error| StoreError::io("empty the trash", error))?;
        Ok(freed)
    }

    /// Does everything, or says what it would do.
    pub(super) async fn tidy(&self, mut evictor: Evictor, how: Tidy) -> Result<Tidied, StoreError> {
        let (orphans, found) = self.orphans().await?;
        let partials = self.stale_partials(how).await?;
        let excess = self.shared.room.excess(self.shared.counters().blob_bytes)?;
        if how.dry_run {
            let evicted = Freed { count: 0, bytes: excess };
            return Ok(Tidied { orphans: found, partials, evicted });
        }
        let orphans = self.release(orphans).await?;
        let before = self.shared.counters();
        evictor.make_room().await?;
        let after = self.shared.counters();
        let evicted = Freed {
            count: before.blobs.saturating_sub(after.blobs),
            bytes: before.blob_bytes.saturating_sub(after.blob_bytes),
        };
        Ok(Tidied { orphans, partials, evicted })
    }

    /// Blobs that no entry names and no seal awaits, and the room that they take.
    async fn orphans(&self) -> Result<(Vec<BlobId>, Freed), StoreError> {
        let shared = self.shared.clone();
        let look = self.tasks.spawn_blocking(move || {
            let before = shared.now.get().minus(GRACE);
            let (mut found, mut freed) = (Vec::new(), Freed::default());
            for shard in 0..=LAST_SHARD {
                let blobs = shared.blobs.shard(shard, before);
                let blobs = blobs.map_err(|error| StoreError::io("look at the blobs", error))?;
                for blob in shared.read(|view| unnamed(view, &blobs))? {
                    freed.count += 1;
                    freed.bytes += shared.blobs.length(blob).unwrap_or(0);
                    found.push(blob);
                }
            }
            Ok((found, freed))
        });
        look.await.map_err(|_| StoreError::Refusing)?
    }

    async fn stale_partials(&self, how: Tidy) -> Result<Freed, StoreError> {
        let (shared, partials) = (self.shared.clone(), self.partials.clone());
        let removal = if how.dry_run { Removal::No } else { Removal::Yes };
        let ttl = self.partial_ttl;
        let look = self.tasks.spawn_blocking(move || {
            let before = match how.all_partials {
                true => Timestamp::NEVER,
                false => shared.now.get().minus(ttl),
            };
            let freed = partials.stale(before, removal);
            freed.map_err(|error| StoreError::io("look at the partials", error))
        });
        look.await.map_err(|_| StoreError::Refusing)?
    }
}
