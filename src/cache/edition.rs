//! Whether anything was learnt since.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that changes with every change of what answers are made from: a document read or confirmed or found unreachable, a file or a response kept or
/// thrown away. The same question gets the same answer while it stays, but for what time brings about. Cheap to clone; clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edition(Arc<AtomicU64>);

impl Edition {
    /// To be read before an answer is made, not after.
    pub(crate) fn number(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// To be called when a change can be seen, not before.
    pub(crate) fn turn(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}
