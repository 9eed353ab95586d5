//! How much may still be written.
//!
//! Two bounds: the budget, which eviction keeps, and the free space that the index needs to stay writable. Without a budget nothing is ever
//! evicted, so a full disk means that nothing new is kept.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use super::device::Device;
use crate::store::StoreError;

#[derive(Debug)]
pub(super) struct Room {
    device: Arc<dyn Device>,
    directory: PathBuf,
    budget: Option<u64>,
    min_free: u64,
    /// Free space that a body was refused for want of.
    wanted: AtomicU64,
    /// Told when there may be something to evict.
    pub(super) short: Notify,
}

impl Room {
    pub(super) fn new(
        device: Arc<dyn Device>,
        directory: PathBuf,
        budget: Option<u64>,
        min_free: u64,
    ) -> Self {
        let (wanted, short) = (AtomicU64::new(0), Notify::new());
        Self { device, directory, budget, min_free, wanted, short }
    }

    pub(super) fn budget(&self) -> Option<u64> {
        self.budget
    }

    /// [`StoreError::Full`] when a body of `length` bytes is more than the budget, or `more` bytes of it would take space that must stay free.
    pub(super) fn check(&self, length: u64, more: u64) -> Result<(), StoreError> {
        if self.budget.is_some_and(|budget| length > budget) {
            return Err(StoreError::Full);
        }
        if self.free()?.saturating_sub(more) < self.min_free {
            self.wanted.fetch_max(more, Ordering::Relaxed);
            self.short.notify_one();
            return Err(StoreError::Full);
        }
        Ok(())
    }

    /// Bytes of blobs that have to go when there are `kept`. Zero without a budget.
    pub(super) fn excess(&self, kept: u64) -> Result<u64, StoreError> {
        let Some(budget) = self.budget else { return Ok(0) };
        let needed = self.min_free.saturating_add(self.wanted.load(Ordering::Relaxed));
        let missing = needed.saturating_sub(self.free()?);
        Ok(kept.saturating_sub(budget).max(missing))
    }

    /// What was wanted has been made, or cannot be.
    pub(super) fn settle(&self) {
        self.wanted.store(0, Ordering::Relaxed);
    }

    fn free(&self) -> Result<u64, StoreError> {
        let free = self.device.free(&self.directory);
        free.map_err(|error| StoreError::io("ask for free space", error))
    }
}
