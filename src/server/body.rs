//! The body of a request: hyper's, with a limit on how long it may pause.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::BodyError;
use super::memory::Memory;

/// The body of a request. A pause longer than `body_timeout` while it is awaited is an error, and then nothing more comes. Dropping it before its
/// end closes an HTTP/1 connection after the answer, unless the little that was missing had arrived already.
pub struct RequestBody {
    source: Source,
    patience: Duration,
    /// Set while the client is awaited.
    pause: Option<Pin<Box<Sleep>>>,
    /// What the body is gathered in, if it is.
    gathered: Option<Arc<Memory>>,
    memory: Option<Arc<Memory>>,
}

enum Source {
    Network(Incoming),
    Memory(Full<Bytes>),
    /// Never locked: the one who polls it has it to himself, and the lock lets others hold it by reference.
    Stream(Mutex<BoxStream<'static, Result<Bytes, BodyError>>>),
}

impl RequestBody {
    pub(crate) fn new(incoming: Incoming, patience: Duration, memory: Arc<Memory>) -> Self {
        let source = Source::Network(incoming);
        Self { source, patience, pause: None, gathered: None, memory: Some(memory) }
    }

    /// The same for who gathers all of it in memory: it ends with [`Crowded`] where there is none left for that.
    #[must_use]
    pub fn to_be_gathered(mut self) -> Self {
        self.gathered = self.memory.take();
        self
    }
}

impl RequestBody {
    /// A body that comes from within this process, for whoever calls a handler without a server.
    pub fn stream(source: BoxStream<'static, Result<Bytes, BodyError>>) -> Self {
        let source = Source::Stream(Mutex::new(source));
        Self { source, patience: Duration::ZERO, pause: None, gathered: None, memory: None }
    }
}

/// A body that is there already, for whoever calls a handler without a server.
impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        let source = Source::Memory(Full::new(bytes));
        Self { source, patience: Duration::ZERO, pause: None, gathered: None, memory: None }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestBody({:?})", self.size_hint())
    }
}

/// There is no memory left to gather a body in: 503.
#[derive(Debug, thiserror::Error)]
#[error("memory is short; try again in a few seconds")]
pub struct Crowded;

/// The client paused for longer than it may in the middle of a body: 408. Nothing is wrong with what it sent, so that it may ask again.
#[derive(Debug, thiserror::Error)]
#[error("the client sent nothing of its body for {} s", .0.as_secs_f32())]
pub struct Stalled(Duration);

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let incoming = match &mut this.source {
            Source::Memory(full) => {
                return Pin::new(full).poll_frame(cx).map_err(|never| match never {});
            }
            Source::Stream(stream) => {
                let stream = stream.get_mut().unwrap_or_else(PoisonError::into_inner);
                return stream.poll_next_unpin(cx).map_ok(Frame::data);
            }
            Source::Network(incoming) => incoming,
        };
        if let Poll::Ready(frame) = Pin::new(incoming).poll_frame(cx) {
            this.pause = None;
            if this.gathered.as_ref().is_some_and(|memory| memory.is_crowded()) {
                return Poll::Ready(Some(Err(Crowded.into())));
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)));
        }
        let deadline = || Box::pin(tokio::time::sleep_until(Instant::now() + this.patience));
        let pause = this.pause.get_or_insert_with(deadline);
        match pause.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err(Stalled(this.patience).into()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Network(incoming) => incoming.is_end_stream(),
            Source::Memory(full) => full.is_end_stream(),
            Source::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Network(incoming) => incoming.size_hint(),
            Source::Memory(full) => full.size_hint(),
            Source::Stream(_) => SizeHint::default(),
        }
    }
}
