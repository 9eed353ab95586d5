//! How many requests wait for upstream's word just now.
//!
//! A question and a transfer are shared by all who want the same. Who waits for one of them is counted here from the moment when its place is taken, so that
//! an operator sees how many clients hang on a slow upstream, and a test when everybody has joined.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts those who wait. Clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiting(Arc<AtomicUsize>);

/// One who waits, until this is dropped: a client that leaves is not counted on.
#[must_use]
pub(crate) struct One(Arc<AtomicUsize>);

impl Waiting {
    /// Those who wait now.
    pub(crate) fn number(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// Counts one more.
    pub(crate) fn begin(&self) -> One {
        self.0.fetch_add(1, Ordering::AcqRel);
        One(Arc::clone(&self.0))
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_the_word_or_leaves_waits_no_more() {
        let waiting = Waiting::default();
        let (first, second) = (waiting.begin(), waiting.begin());
        assert_eq!(waiting.number(), 2);
        drop(first);
        assert_eq!(waiting.number(), 1);
        drop(second);
        assert_eq!(waiting.number(), 0);
    }
}
