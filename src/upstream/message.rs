//! What is written to the wire, and what is believed of what comes back.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use tokio::time::{self, Instant};

use super::request::UploadStream;
use super::{Credentials, OriginRequest, OutgoingBody, UpstreamError};
use crate::types::Head;

/// A request's body on its way out.
pub type Outgoing = UnsyncBoxBody<Bytes, io::Error>;

const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("larder/", env!("CARGO_PKG_VERSION")));

/// Fields that the client sets itself or that must not go further.
const NOT_PASSED_ON: [HeaderName; 11] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Fields of the same kind that no registry of names covers.
const NOT_PASSED_ON_BY_NAME: [&str; 3] = ["http2-settings", "keep-alive", "proxy-connection"];

/// Writes `request` for `uri`, which is its address. Credentials and cookies go to the origin's own scheme, host and port only.
pub fn outgoing(
    request: &OriginRequest,
    uri: Uri,
    progress: &Progress,
) -> Result<http::Request<Outgoing>, io::Error> {
    let mut headers = request.headers.clone();
    for name in &NOT_PASSED_ON {
        headers.remove(name);
    }
    for name in NOT_PASSED_ON_BY_NAME {
        headers.remove(name);
    }
    headers.entry(header::USER_AGENT).or_insert(USER_AGENT);
    if request.origin.owns(&request.url) {
        let credentials = request.credentials.as_ref().or(request.origin.credentials.as_ref());
        if let Some(value) = credentials.map(authorization).transpose()?.flatten() {
            headers.insert(header::AUTHORIZATION, value);
        }
    } else {
        headers.remove(header::COOKIE);
    }
    let body = match &request.body {
        OutgoingBody::Empty => {
            if matches!(request.method, Method::POST | Method::PUT | Method::PATCH) {
                headers.insert(header::CONTENT_LENGTH, 0.into());
            }
            Empty::new().map_err(|never| match never {}).boxed_unsync()
        }
        OutgoingBody::Bytes(bytes) => {
            Full::new(bytes.clone()).map_err(|never| match never {}).boxed_unsync()
        }
        OutgoingBody::Stream(upload) => {
            let taken = upload.lock().expect("nothing panics while it holds an upload").take();
            let upload = taken.ok_or_else(|| io::Error::other("the upload was sent before"))?;
            let length = content_length(&request.headers).ok().flatten();
            Upload { stream: upload, length, progress: progress.clone() }.boxed_unsync()
        }
    };
    let mut message = http::Request::new(body);
    *message.method_mut() = request.method.clone();
    *message.uri_mut() = uri;
    *message.headers_mut() = headers;
    Ok(message)
}

/// The field's value; `None` for what is only shown on a challenge.
fn authorization(credentials: &Credentials) -> Result<Option<HeaderValue>, io::Error> {
    let text = match credentials {
        Credentials::Basic { username, password } => {
            let pair = format!("{username}:{}", password.expose());
            format!("Basic {}", BASE64_STANDARD.encode(pair))
        }
        Credentials::Bearer(token) => format!("Bearer {}", token.expose()),
        Credentials::Verbatim(value) => value.expose().to_owned(),
        Credentials::Challenged(_) => return Ok(None),
    };
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| io::Error::other("the credentials hold characters that no field may"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Reads an answer's head. What hyper lets through and a cache must not believe is refused: two lengths, a length beside another framing,
/// codings that were not asked for, a change of protocol.
pub fn incoming(host: &str, parts: response::Parts) -> Result<Head, UpstreamError> {
    let malformed = |detail: &str| UpstreamError::Malformed {
        host: host.to_owned(),
        detail: detail.to_owned(),
    };
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(malformed("it switched protocols unasked"));
    }
    let length = content_length(&parts.headers).map_err(malformed)?;
    let mut codings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => {}
        (Some(_), _) if length.is_some() => {
            return Err(malformed("both Content-Length and Transfer-Encoding"));
        }
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {}
        _ => return Err(malformed("a transfer coding that was not asked for")),
    }
    Ok(Head { status: parts.status, headers: parts.headers })
}

/// The one `Content-Length`, if there is any (RFC 9110 section 8.6).
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err("more than one Content-Length");
    }
    let text = value.to_str().unwrap_or_default();
    match text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse()) {
        Some(Ok(length)) => Ok(Some(length)),
        _ => Err("a Content-Length that is no number"),
    }
}

/// When a request last made progress: it was sent, or a part of its upload was.
#[derive(Debug, Clone)]
pub struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    /// Starts now.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// Ends when nothing has happened for `limit`.
    pub async fn stalled(&self, limit: Duration) {
        loop {
            let deadline = *self.0.lock().expect("setting an instant does not panic") + limit;
            if deadline <= Instant::now() {
                return;
            }
            time::sleep_until(deadline).await;
        }
    }

    fn note(&self) {
        *self.0.lock().expect("setting an instant does not panic") = Instant::now();
    }
}

/// A client's upload: sent as it arrives, with the length that was announced for it or in chunks.
struct Upload {
    stream: UploadStream,
    length: Option<u64>,
    progress: Progress,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let part = ready!(self.stream.as_mut().poll_next(cx));
        self.progress.note();
        Poll::Ready(part.map(|part| part.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::types::Secret;
    use crate::upstream::{HostRule, Origin};

    fn sent(url: &str, headers: &[(&str, &str)], body: OutgoingBody) -> HeaderMap {
        let origin = Arc::new(Origin {
            id: "test".into(),
            base: "https://index.example/".parse().expect("an address"),
            hosts: vec![HostRule::Exact("files.example".to_owned())],
            credentials: Some(Credentials::Basic {
                username: "u".to_owned(),
                password: Secret::new("p"),
            }),
            allow_private: false,
        });
        let mut request = OriginRequest::get(&origin, url.parse::<Url>().expect("an address"));
        if !matches!(body, OutgoingBody::Empty) {
            request.method = Method::POST;
        }
        request.body = body;
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a field name");
            request.headers.append(name, value.parse().expect("a field value"));
        }
        let uri = url.parse().expect("an address");
        let message = outgoing(&request, uri, &Progress::new()).expect("a message");
        message.headers().clone()
    }

    #[test]
    fn framing_and_foreign_credentials_are_not_passed_on() {
        let headers = sent(
            "https://index.example/x",
            &[
                ("host", "evil.example"),
                ("authorization", "Bearer stolen"),
                ("connection", "x-secret"),
                ("content-length", "7"),
                ("transfer-encoding", "chunked"),
                ("te", "trailers"),
                ("keep-alive", "1"),
                ("user-agent", "pip/26"),
                ("cookie", "a=b"),
            ],
            OutgoingBody::Empty,
        );
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["authorization", "cookie", "user-agent"]);
        assert_eq!(headers["authorization"], "Basic dTpw");
        assert_eq!(headers["user-agent"], "pip/26");
    }

    #[test]
    fn credentials_and_cookies_stay_on_the_base() {
        for url in
            ["https://files.example/x", "https://index.example:8443/x", "http://index.example/x"]
        {
            let headers = sent(url, &[("cookie", "a=b")], OutgoingBody::Empty);
            assert_eq!(headers.keys().collect::<Vec<_>>(), [header::USER_AGENT], "{url}");
        }
    }

    #[test]
    fn heads_that_frame_a_body_twice_are_refused() {
        for (status, fields, accepted) in [
            (200, vec![("content-length", "5")], true),
            (200, vec![("transfer-encoding", "Chunked")], true),
            (304, vec![("content-length", "5")], true),
            (200, vec![], true),
            (200, vec![("content-length", "5"), ("content-length", "5")], false),
            (200, vec![("content-length", "5"), ("content-length", "6")], false),
            (200, vec![("content-length", "5, 5")], false),
            (200, vec![("content-length", "+5")], false),
            (200, vec![("content-length", "")], false),
            (200, vec![("content-length", "99999999999999999999")], false),
            (200, vec![("content-length", "5"), ("transfer-encoding", "chunked")], false),
            (200, vec![("transfer-encoding", "gzip, chunked")], false),
            (200, vec![("transfer-encoding", "identity")], false),
            (101, vec![("upgrade", "h2c")], false),
        ] {
            let mut response = http::Response::builder().status(status);
            for (name, value) in &fields {
                response = response.header(*name, *value);
            }
            let (parts, ()) = response.body(()).expect("a response").into_parts();
            let head = incoming("index.example", parts);
            assert_eq!(head.is_ok(), accepted, "{status} {fields:?}: {head:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn progress_puts_the_stall_off() {
        let (progress, start) = (Progress::new(), Instant::now());
        let limit = Duration::from_secs(10);
        let stalled = progress.stalled(limit);
        tokio::pin!(stalled);
        time::timeout(Duration::from_secs(7), &mut stalled).await.expect_err("not yet");
        progress.note();
        stalled.await;
        assert_eq!(start.elapsed(), Duration::from_secs(17));
    }
}
