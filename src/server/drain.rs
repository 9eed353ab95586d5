//! The end of a connection: closed by itself, idle for too long, or the server stops.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hyper_util::server::graceful::GracefulConnection;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What goes on on a connection.
#[derive(Debug)]
pub(crate) struct Activity {
    opened: Instant,
    begun: AtomicU64,
    under_way: AtomicUsize,
    /// Milliseconds from `opened` to the last end of an exchange.
    quiet_since_ms: AtomicU64,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            opened: Instant::now(),
            begun: AtomicU64::new(0),
            under_way: AtomicUsize::new(0),
            quiet_since_ms: AtomicU64::new(0),
        }
    }

    /// Notes that an exchange begins.
    pub(crate) fn begin(&self) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether so many exchanges have begun, and all have ended.
    pub(crate) fn is_done_with(&self, exchanges: u64) -> bool {
        self.begun.load(Ordering::Relaxed) == exchanges
            && self.under_way.load(Ordering::Relaxed) == 0
    }

    /// Notes that an exchange ended.
    pub(crate) fn end(&self, now: Instant) {
        let quiet_since = u64::try_from((now - self.opened).as_millis()).unwrap_or(u64::MAX);
        self.quiet_since_ms.fetch_max(quiet_since, Ordering::Relaxed);
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    /// Waits until nothing has been under way for `span`.
    async fn quiet_for(&self, span: Duration) {
        let mut wake = Instant::now() + span;
        loop {
            tokio::time::sleep_until(wake).await;
            let quiet_since_ms = self.quiet_since_ms.load(Ordering::Relaxed);
            let quiet_at = self.opened + Duration::from_millis(quiet_since_ms) + span;
            let now = Instant::now();
            let is_busy = self.under_way.load(Ordering::Relaxed) > 0;
            wake = if is_busy { now + span } else { quiet_at };
            if wake <= now {
                return;
            }
        }
    }
}

/// How long a connection may go on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spans {
    /// Without anything under way.
    pub(crate) idle: Duration,
    /// After it was asked to end.
    pub(crate) drain: Duration,
}

/// Drives a connection to its end. When it was idle for too long or `stop` is cancelled, it is asked to end: HTTP/1 closes after the answer
/// under way, HTTP/2 says GOAWAY. What is not done by then is cut.
pub(crate) async fn drive<C: GracefulConnection>(
    connection: C,
    activity: &Activity,
    stop: &CancellationToken,
    spans: Spans,
) -> Result<(), C::Error> {
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        () = stop.cancelled() => {}
        () = activity.quiet_for(spans.idle) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::time::timeout(spans.drain, connection).await.unwrap_or(Ok(()))
}
