//! Waiting for a condition, never for a time: every wait has a deadline that only a fault reaches.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// Longer than any wait takes on a loaded two-core machine; reaching it is a failure.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Looks at `condition` until it holds; panics with `what` at the deadline.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Awaits `future`; panics with `what` at the deadline.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout_at(Instant::now() + DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// Tries `attempt` until it succeeds; panics with `what` at the deadline.
pub async fn eventually(what: &str, mut attempt: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !attempt().await {
        assert!(Instant::now() < end, "waited in vain until {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
