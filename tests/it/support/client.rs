//! A client that speaks HTTP, keeps what it got of a body that was cut, and says that it was cut.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::origin::Pattern;

/// What pip sends with a page's request.
pub const ACCEPT_PAGE: &str = "application/vnd.pypi.simple.v1+json, \
    application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01";

/// A client with connections of its own.
#[derive(Clone)]
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
}

impl Client {
    /// HTTP/1.1.
    pub fn new() -> Self {
        Self { pool: Pool::builder(TokioExecutor::new()).build_http() }
    }

    /// HTTP/2 with prior knowledge.
    pub fn http2() -> Self {
        Self { pool: Pool::builder(TokioExecutor::new()).http2_only(true).build_http() }
    }

    pub fn get(&self, url: impl AsRef<str>) -> Ask {
        self.ask(Method::GET, url)
    }

    pub fn head(&self, url: impl AsRef<str>) -> Ask {
        self.ask(Method::HEAD, url)
    }

    pub fn ask(&self, method: Method, url: impl AsRef<str>) -> Ask {
        let uri = url.as_ref().parse().expect("an address");
        let mut request = Request::new(Full::default());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        Ask { pool: self.pool.clone(), request }
    }
}

/// A request in the making.
pub struct Ask {
    pool: Pool<HttpConnector, Full<Bytes>>,
    request: Request<Full<Bytes>>,
}

impl Ask {
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.request.headers_mut().append(name, value.parse().expect("a field value"));
        self
    }

    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        *self.request.body_mut() = Full::new(body.into());
        self
    }

    /// Sends it and waits for the head.
    pub async fn open(self) -> Open {
        let response = self.pool.request(self.request).await.expect("an answer comes");
        let (head, body) = response.into_parts();
        Open { status: head.status, headers: head.headers, body }
    }

    /// Sends it and reads what comes of an answer; `None` when the connection is cut before its head is there.
    pub async fn try_send(self) -> Option<Reply> {
        let response = self.pool.request(self.request).await.ok()?;
        let (head, body) = response.into_parts();
        Some(Open { status: head.status, headers: head.headers, body }.rest().await)
    }

    /// Sends it and reads the whole answer.
    pub async fn send(self) -> Reply {
        self.open().await.rest().await
    }
}

/// An answer whose body is still to be read.
pub struct Open {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Incoming,
}

impl Open {
    /// The next bytes of the body; `None` at its end. `Err` when it was cut.
    pub async fn next(&mut self) -> Result<Option<Bytes>, hyper::Error> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(bytes) = frame?.into_data() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    pub async fn rest(mut self) -> Reply {
        let mut body = BytesMut::new();
        let cut = loop {
            match self.next().await {
                Ok(Some(bytes)) => body.extend_from_slice(&bytes),
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        Reply { status: self.status, headers: self.headers, body: body.freeze(), cut }
    }

    /// Reads the body and compares it with `pattern` from `offset` on. Answers how many right bytes came and whether the body ended cleanly;
    /// panics at a wrong byte.
    pub async fn compare(mut self, pattern: &Pattern, offset: u64) -> (u64, bool) {
        let mut read = 0;
        loop {
            match self.next().await {
                Ok(Some(bytes)) => {
                    assert!(
                        pattern.matches(offset + read, &bytes),
                        "a wrong byte behind {}",
                        offset + read
                    );
                    read += bytes.len() as u64;
                }
                Ok(None) => return (read, true),
                Err(_) => return (read, false),
            }
        }
    }
}

/// A whole answer, or what came of it.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The body ended before its framing said.
    pub cut: bool,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }
}
