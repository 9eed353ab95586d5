//! The only reader of wall time.
//!
//! Everything that depends on the date takes a [`Timestamp`] or holds a [`Clock`], so that tests move time by hand.
//! Left out: time-outs and intervals, which are the runtime's monotonic timers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::types::Timestamp;

/// Wall time, of the machine or of a test.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<AtomicU64>>);

impl Clock {
    /// The machine's clock.
    pub const fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still until [`Clock::advance`] moves it.
    pub fn manual(start: Timestamp) -> Self {
        Self(Some(Arc::new(AtomicU64::new(start.0))))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Some(millis) => Timestamp(millis.load(Ordering::Acquire)),
            None => SystemTime::now().into(),
        }
    }

    /// Moves a manual clock on; the machine's clock is not ours to move, so nothing happens to it.
    pub fn advance(&self, span: Duration) {
        if let Some(millis) = &self.0 {
            let step = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
            millis.fetch_add(step, Ordering::AcqRel);
        }
    }
}

/// Lets other tasks run until they have brought about what a test waits for; panics with `what` when a minute was not enough.
///
/// For tests whose timers stand still: the runtime moves them on as soon as it is idle, so such a test must not sleep.
#[cfg(test)]
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_by_hand() {
        let clock = Clock::manual(Timestamp::from_secs(10));
        let shared = clock.clone();
        shared.advance(Duration::from_secs(5));
        assert_eq!(clock.now(), Timestamp::from_secs(15));
    }
}
