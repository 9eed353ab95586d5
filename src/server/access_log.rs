//! What is said of every response when it has ended: one log line (target `larder::access`) and metrics.
//!
//! A response ends when its body has been handed to the connection whole, or is dropped before that: then it was `aborted`, by the client, a stall, a failing
//! body or shutdown. Up to a few hundred kilobytes may be on their way in buffers at that time; the line does not wait for them.
//! Left out of the line: queries, which carry signatures, and tokens in paths.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{Method, Response, StatusCode, Uri, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tokio::time::Instant;

use super::answer::Session;
use super::inspect::is_stand_in;
use super::memory::Right;
use super::refusal::Refusal;
use super::sendfile::Frames;
use super::stream::Pace;
use super::{AccessNote, Body, BodyError, FileBody};

/// Logged for a client that left before it was answered. No such status is ever sent.
const CLIENT_LEFT: u16 = 499;

/// Metric handles, created once.
pub(crate) struct Metrics {
    /// By the status's first digit; the first of all is for clients that left unanswered.
    requests: [Counter; 6],
    bytes_sent: Counter,
    seconds: Histogram,
    pub(crate) connections: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let classes = ["aborted", "1xx", "2xx", "3xx", "4xx", "5xx"];
        Self {
            requests: classes.map(|class| counter!("larder_http_requests_total", "class" => class)),
            bytes_sent: counter!("larder_http_bytes_sent_total"),
            seconds: histogram!("larder_http_seconds"),
            connections: gauge!("larder_http_connections"),
        }
    }
}

/// One exchange, from its request's head on. Says what there is to say when it is dropped.
pub(crate) struct Exchange {
    session: Arc<Session>,
    method: Method,
    target: Uri,
    started: Instant,
    first_byte: Option<Duration>,
    status: Option<StatusCode>,
    refusal: Option<Refusal>,
    note: Option<AccessNote>,
    sent: u64,
    ending: Ending,
    right: Option<Right>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// So many bytes are to come.
    Expected(u64),
    /// Until the body says so.
    Unknown,
    Reached,
}

impl Exchange {
    pub(crate) fn begin(session: Arc<Session>, method: Method, target: Uri) -> Self {
        session.activity.begin();
        Self {
            session,
            method,
            target,
            started: Instant::now(),
            first_byte: None,
            status: None,
            refusal: None,
            note: None,
            sent: 0,
            ending: Ending::Unknown,
            right: None,
        }
    }

    pub(crate) const fn target(&self) -> &Uri {
        &self.target
    }

    /// Holds on to the right to be under way until all of it is over.
    pub(crate) fn hold(&mut self, right: Right) {
        self.right = Some(right);
    }

    /// Notes that the server itself answers.
    pub(crate) const fn refuse(&mut self, refusal: Refusal) {
        self.refusal = Some(refusal);
    }

    /// Notes that a response which was kept as bytes is sent again.
    pub(crate) fn repeat(&mut self, status: StatusCode, note: AccessNote) {
        (self.status, self.note) = (Some(status), Some(note));
    }

    /// Notes that all of it was written, with a body of so many bytes.
    pub(crate) fn repeated(&mut self, bytes: usize) {
        self.sent(bytes);
        self.ending = Ending::Reached;
    }

    /// Follows the response to its end.
    pub(crate) fn follow(mut self, mut response: Response<Body>) -> Response<Followed> {
        let status = response.status();
        self.status = Some(status);
        self.note = response.extensions_mut().remove();
        let file = response.extensions_mut().remove::<FileBody>();
        let has_no_body = self.method == Method::HEAD
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || response.body().is_end_stream();
        self.ending = if has_no_body {
            Ending::Reached
        } else {
            expected(&response).map_or(Ending::Unknown, Ending::Expected)
        };
        // A body of another length than the head says is cut by hyper, which needs the bytes for that.
        let is_whole = |file: &FileBody| self.ending == Ending::Expected(file.length());
        let source = match (file.filter(|file| file.pays() && is_whole(file)), &self.session.outbox)
        {
            (Some(file), Some(outbox)) => Some(Frames::new(file, outbox.clone())),
            _ => None,
        };
        let pace = Pace::current();
        response.map(|body| Followed {
            body: source.map_or(Sent::Bytes(body), Sent::File),
            exchange: self,
            pace,
        })
    }

    fn sent(&mut self, bytes: usize) {
        if self.first_byte.is_none() {
            self.first_byte = Some(self.started.elapsed());
        }
        self.sent += bytes as u64;
        self.session.metrics.bytes_sent.increment(bytes as u64);
        if self.ending == Ending::Expected(self.sent) {
            self.ending = Ending::Reached;
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let now = Instant::now();
        let duration = now - self.started;
        if let Some(ended) = self.note.as_ref().and_then(|note| note.ended.as_ref()) {
            ended.ended(self.sent, self.ending == Ending::Reached);
        }
        self.session.activity.end(now);
        let class = self.status.map_or(0, |status| usize::from(status.as_u16() / 100));
        if let Some(requests) = self.session.metrics.requests.get(class) {
            requests.increment(1);
        }
        self.session.metrics.seconds.record(duration.as_secs_f64());
        if !tracing::enabled!(target: "larder::access", tracing::Level::INFO) {
            return;
        }
        let note = self.note.take().unwrap_or_default();
        let (method, path) = match is_stand_in(&self.method) {
            true => ("-", Cow::Borrowed("-")),
            false => (self.method.as_str(), mask_secrets(self.target.path())),
        };
        tracing::info!(
            target: "larder::access",
            {
                client.address = %self.session.peer.address.ip(),
                http.method = method,
                http.path = &*path,
                http.status = self.status.map_or(CLIENT_LEFT, |status| status.as_u16()),
                http.bytes = self.sent,
                duration_ms = millis(duration),
                first_byte_ms = millis(self.first_byte.unwrap_or(duration)),
                cache = &*note.cache,
                mount = &*note.mount,
                upstream_ms = note.upstream_ms,
                aborted = self.ending != Ending::Reached,
                refusal = self.refusal.map(Refusal::reason),
            },
            "answered"
        );
    }
}

/// A response's body on its way to the client.
pub(crate) struct Followed {
    body: Sent,
    exchange: Exchange,
    /// On HTTP/2.
    pace: Option<Arc<Pace>>,
}

/// What is sent: a handler's bytes, or the file that they are in.
enum Sent {
    Bytes(Body),
    File(Frames),
}

impl Sent {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Bytes(body) => Pin::new(body).poll_frame(cx),
            Self::File(frames) => {
                let frame = frames.poll(cx);
                frame.map(|frame| frame.map(|bytes| bytes.map(Frame::data).map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Bytes(body) => body.is_end_stream(),
            Self::File(frames) => frames.left() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Bytes(body) => body.size_hint(),
            Self::File(frames) => SizeHint::with_exact(frames.left()),
        }
    }
}

impl HttpBody for Followed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = this.body.poll_frame(cx);
        match &polled {
            Poll::Pending => {
                if let Some(pace) = &this.pace {
                    pace.wait();
                }
            }
            Poll::Ready(None) => this.exchange.ending = Ending::Reached,
            Poll::Ready(Some(Err(error))) => {
                let path = mask_secrets(this.exchange.target.path());
                tracing::warn!(http.path = %path, %error, "the response is cut: its body failed");
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(pace) = &this.pace {
                    pace.give();
                }
                this.exchange.sent(frame.data_ref().map_or(0, Buf::remaining));
                if this.body.is_end_stream() {
                    this.exchange.ending = Ending::Reached;
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The length that hyper will hold the body to.
fn expected(response: &Response<Body>) -> Option<u64> {
    match response.headers().get(header::CONTENT_LENGTH) {
        Some(length) => length.to_str().ok()?.parse().ok(),
        None => response.body().size_hint().exact(),
    }
}

/// Hides what opens something by itself. Tokens may come in the path, as `/-/t/TOKEN/...`, and addresses of Larder's own making (those with a segment `-`)
/// may carry a capability, which is longer than any digest. Who checks either is above this layer, but the line is written here.
pub(crate) fn mask_secrets(path: &str) -> Cow<'_, str> {
    const MASK: &str = "***";
    let is_own = |segment: &str| segment == "-";
    if !path.split('/').any(is_own) {
        return path.into();
    }
    let is_token_next = path.starts_with("/-/t/");
    let mut masked = String::with_capacity(path.len());
    let mut after_own = false;
    for (number, segment) in path.split('/').enumerate() {
        if number > 0 {
            masked.push('/');
        }
        let is_secret = is_token_next && number == 3 || after_own && is_capability(segment);
        masked.push_str(if is_secret { MASK } else { segment });
        after_own |= is_own(segment);
    }
    masked.into()
}

/// Whether a segment may be a [capability](crate::types::Signer): URL-safe base64 and dots, and longer than names are that stand in addresses of Larder's own.
fn is_capability(segment: &str) -> bool {
    const LONGEST_NAME: usize = 100;
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_hex = |byte: u8| byte.is_ascii_hexdigit();
    segment.len() > LONGEST_NAME && segment.bytes().all(is_safe) && !segment.bytes().all(is_hex)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_the_path_is_masked() {
        for (path, shown) in [
            ("/-/t/s3cret/simple/six/", "/-/t/***/simple/six/"),
            ("/-/t/s3cret", "/-/t/***"),
            ("/-/t/", "/-/t/***"),
            ("/-/health", "/-/health"),
            ("/simple/-/t/x/", "/simple/-/t/x/"),
        ] {
            assert_eq!(mask_secrets(path), shown);
        }
    }

    #[test]
    fn a_capability_in_the_path_is_masked() {
        let sealed = "Xy-_9.".repeat(30);
        let digest = "0a".repeat(64);
        for (path, shown) in [
            (format!("/-/hf/xet/xorb/{sealed}/7"), "/-/hf/xet/xorb/***/7".to_owned()),
            (format!("/@2026-03-01/-/hf/blob/{sealed}"), "/@2026-03-01/-/hf/blob/***".to_owned()),
            (format!("/-/t/s3cret/-/hf/blob/{sealed}"), "/-/t/***/-/hf/blob/***".to_owned()),
            (format!("/-/hf/xet/v2/{digest}"), format!("/-/hf/xet/v2/{digest}")),
            (
                format!("/org/model/resolve/main/{sealed}"),
                format!("/org/model/resolve/main/{sealed}"),
            ),
        ] {
            assert_eq!(mask_secrets(&path), shown);
        }
    }
}
