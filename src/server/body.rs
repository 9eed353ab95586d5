//! The body of a request: hyper's, with a limit on how long it may pause.

use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
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

/// The body of a request. A pause longer than `body_timeout` while it is awaited is an error, and then nothing more comes. Dropping it before its
/// end closes an HTTP/1 connection after the answer, unless the little that was missing had arrived already.
pub struct RequestBody {
    source: Source,
    patience: Duration,
    /// Set while the client is awaited.
    pause: Option<Pin<Box<Sleep>>>,
}

enum Source {
    Network(Incoming),
    Memory(Full<Bytes>),
    /// Never locked: the one who polls it has it to himself, and the lock lets others hold it by reference.
    Stream(Mutex<BoxStream<'static, Result<Bytes, BodyError>>>),
}

impl RequestBody {
    pub(crate) fn new(incoming: Incoming, patience: Duration) -> Self {
        Self { source: Source::Network(incoming), patience, pause: None }
    }
}

impl RequestBody {
    /// A body that comes from within this process, for whoever calls a handler without a server.
    pub fn stream(source: BoxStream<'static, Result<Bytes, BodyError>>) -> Self {
        Self { source: Source::Stream(Mutex::new(source)), patience: Duration::ZERO, pause: None }
    }
}

/// A body that is there already, for whoever calls a handler without a server.
impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        Self { source: Source::Memory(Full::new(bytes)), patience: Duration::ZERO, pause: None }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestBody({:?})", self.size_hint())
    }
}

/// The client paused for longer than it may in the middle of a body.
#[derive(Debug, thiserror::Error)]
#[error("the client sent nothing of its body for {} s", .0.as_secs_f32())]
struct Stalled(Duration);

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
