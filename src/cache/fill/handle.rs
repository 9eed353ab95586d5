//! What people see of a transfer, and how they end one.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cache::fill::Fill;
use crate::types::CacheKey;

/// Numbers are given once in the life of a process.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A transfer under way, as it stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Names it until it ends.
    pub number: u64,
    pub key: CacheKey,
    /// The address that is asked, without credentials and signatures.
    pub from: String,
    /// Bytes that have come, those of an earlier transfer that this one goes on with included.
    pub arrived: u64,
    /// Of these, the ones that were there before.
    pub resumed: u64,
    pub total: Option<u64>,
    pub readers: usize,
    /// Since it was asked for.
    pub running: Duration,
    /// Upstream has answered.
    pub is_open: bool,
}

/// The outside of a fill.
pub(super) struct Handle {
    pub(super) number: u64,
    pub(super) began: Instant,
    /// Known when the transfer starts.
    pub(super) from: OnceLock<String>,
    pub(super) cancelled: CancellationToken,
}

impl Handle {
    pub(super) fn new() -> Self {
        Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            began: Instant::now(),
            from: OnceLock::new(),
            cancelled: CancellationToken::new(),
        }
    }
}

impl Fill {
    /// How it stands.
    pub(super) fn transfer(&self) -> Transfer {
        let handle = &self.handle;
        let state = self.lock();
        Transfer {
            number: handle.number,
            key: self.key.clone(),
            from: handle.from.get().cloned().unwrap_or_default(),
            arrived: state.map.arrived().bytes(),
            resumed: state.resumed(),
            total: state.map.total,
            readers: state.readers(),
            running: handle.began.elapsed(),
            is_open: state.opened.is_some(),
        }
    }
}
