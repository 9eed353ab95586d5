//! An answer's body: bytes as they come, with a limit on silence, and a clean end only when the framing says so.
//!
//! Short bodies and broken chunks are hyper's to notice. Trailers are dropped.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body::Body as _;
use hyper::body::Incoming;
use metrics::Counter;
use tokio::time::{self, Instant, Sleep};

use super::limit::Place;
use super::{OriginBody, UpstreamError, fault};

/// Turns hyper's body into ours. The place is given back when the body ends or is dropped.
pub fn receive(
    incoming: Incoming,
    host: String,
    silence: Duration,
    received: Counter,
    place: Place,
) -> OriginBody {
    if incoming.is_end_stream() {
        return stream::empty().boxed();
    }
    let timer = Box::pin(time::sleep(silence));
    let receiving =
        Receiving { incoming, host, silence, timer, state: Waiting::No, received, _place: place };
    Receiver(Some(receiving)).boxed()
}

/// The body, until it has ended one way or the other.
struct Receiver(Option<Receiving>);

struct Receiving {
    incoming: Incoming,
    host: String,
    silence: Duration,
    timer: Pin<Box<Sleep>>,
    state: Waiting,
    received: Counter,
    _place: Place,
}

/// Whether the timer runs. It is set only when there is nothing to read, so that a body that flows does not touch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Yes,
    No,
}

impl Stream for Receiver {
    type Item = Result<Bytes, UpstreamError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(receiving) = &mut self.0 else { return Poll::Ready(None) };
        let polled = receiving.poll(cx);
        if !matches!(polled, Poll::Pending | Poll::Ready(Some(Ok(_)))) {
            self.0 = None;
        }
        polled
    }
}

impl Receiving {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, UpstreamError>>> {
        loop {
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Pending => return self.poll_silence(cx).map(Some),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Some(Err(fault::of_body(&self.host, &error))));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    self.state = Waiting::No;
                    if let Ok(bytes) = frame.into_data() {
                        self.received.increment(bytes.len() as u64);
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
            }
        }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, UpstreamError>> {
        if self.state == Waiting::No {
            self.timer.as_mut().reset(Instant::now() + self.silence);
            self.state = Waiting::Yes;
        }
        self.timer
            .as_mut()
            .poll(cx)
            .map(|()| Err(UpstreamError::TimedOut { host: self.host.clone(), stage: "body" }))
    }
}
