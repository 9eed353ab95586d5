//! An answer's body: bytes as they come, with a limit on silence, and a clean end only when the framing says so.
//!
//! Short bodies and broken chunks are hyper's to notice. Trailers are dropped.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body::Body;
use metrics::Counter;
use tokio::time::{self, Instant, Sleep};

use super::limit::Place;
use super::{OriginBody, UpstreamError, fault};

/// Turns hyper's body into ours. The place is given back when the body ends or is dropped.
pub fn receive(
    incoming: impl Body<Data = Bytes, Error = hyper::Error> + Send + Unpin + 'static,
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
struct Receiver<B>(Option<Receiving<B>>);

struct Receiving<B> {
    incoming: B,
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

impl<B: Body<Data = Bytes, Error = hyper::Error> + Unpin> Stream for Receiver<B> {
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

impl<B: Body<Data = Bytes, Error = hyper::Error> + Unpin> Receiving<B> {
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

#[cfg(test)]
mod tests {
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;
    use crate::upstream::limit::Limit;

    /// Reads a body whose parts come after these pauses, with ten seconds of patience.
    async fn read(pauses: Vec<u64>) -> Vec<Result<Bytes, UpstreamError>> {
        let parts = stream::iter(pauses).then(|seconds| async move {
            time::sleep(Duration::from_secs(seconds)).await;
            Ok(Frame::data(Bytes::from_static(b"x")))
        });
        let limit = Limit::new(1, 0);
        let place = limit.enter(Duration::ZERO).await.expect("a free place");
        let incoming = Box::pin(StreamBody::new(parts));
        let silence = Duration::from_secs(10);
        let mut body = receive(incoming, "h".to_owned(), silence, Counter::noop(), place);
        let mut read = Vec::new();
        while let Some(part) = body.next().await {
            read.push(part);
        }
        assert!(limit.enter(Duration::ZERO).await.is_ok(), "an ended body gives its place back");
        read
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_is_read_to_its_end_and_a_silent_one_is_not() {
        let slow = read(vec![9; 100]).await;
        assert!(slow.len() == 100 && slow.iter().all(Result::is_ok), "{slow:?}");
        let silent = read(vec![9, 0, 11]).await;
        assert_eq!(silent.iter().filter(|part| part.is_ok()).count(), 2);
        assert!(
            matches!(silent.last(), Some(Err(UpstreamError::TimedOut { stage: "body", .. }))),
            "{silent:?}"
        );
    }
}
