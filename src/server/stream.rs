//! HTTP/2 streams: where they run, and the limit on a client that grants no window.
//!
//! A client that opens streams and never lets them send holds their answers for ever (the "broke window" attack). TCP shows nothing of it, and hyper
//! does not poll a body that has no window to go to. What can be seen is a body that has given a frame and is not asked for the next: [`Pace`] notes it in
//! the body, [`StreamTasks`] watches it around the stream and drops a stream that stays so for too long, which resets it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::{Instant, Sleep};
use tokio_util::task::TaskTracker;

tokio::task_local! {
    static PACE: Arc<Pace>;
}

/// Whether a stream's answer waits for its client.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    frames: AtomicU64,
    /// The last frame was taken and the next one not asked for.
    given: AtomicBool,
}

impl Pace {
    /// That of the HTTP/2 stream in whose task this is called.
    pub(crate) fn current() -> Option<Arc<Self>> {
        PACE.try_with(Arc::clone).ok()
    }

    /// Notes that the body waits for its source.
    pub(crate) fn wait(&self) {
        self.given.store(false, Ordering::Relaxed);
    }

    /// Notes that the body has given a frame.
    pub(crate) fn give(&self) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.given.store(true, Ordering::Relaxed);
    }
}

/// Runs the streams of HTTP/2 connections.
#[derive(Debug, Clone)]
pub(crate) struct StreamTasks {
    pub(crate) tasks: TaskTracker,
    pub(crate) patience: Duration,
}

impl<F> Executor<F> for StreamTasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let pace = Arc::new(Pace::default());
        let paced = Paced {
            stream: Box::pin(stream),
            pace: Arc::clone(&pace),
            patience: self.patience,
            seen: 0,
            stall: None,
        };
        self.tasks.spawn(PACE.scope(pace, paced));
    }
}

/// A stream that ends when its client lets nothing of its answer through for too long.
struct Paced<F> {
    stream: Pin<Box<F>>,
    pace: Arc<Pace>,
    patience: Duration,
    /// How many frames had been given when `stall` was set.
    seen: u64,
    stall: Option<Pin<Box<Sleep>>>,
}

impl<F: Future<Output = ()>> Future for Paced<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !this.pace.given.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        let frames = this.pace.frames.load(Ordering::Relaxed);
        let deadline = Instant::now() + this.patience;
        let stall = this.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if frames != this.seen {
            this.seen = frames;
            stall.as_mut().reset(deadline);
        }
        stall.as_mut().poll(cx)
    }
}
