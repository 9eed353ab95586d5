//! The way in: listeners, TLS, HTTP/1.1 and HTTP/2, limits, draining, the access log.
//!
//! [`Handler`] is the seam. This layer imports nothing of ours and knows no handler; it answers 400, 408, 431 and 503 itself.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;

/// An error in the middle of a body: the connection (HTTP/1.1) or the stream (HTTP/2) is cut, never ended cleanly.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a response.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// Answers requests. The server has checked framing, `Host` and sizes before it calls.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Dropping the future (the client left) must leave nothing half done.
    fn handle(&self, request: Request<Incoming>, peer: Peer) -> BoxFuture<'static, Response<Body>>;
}

/// Who is at the other end of the connection.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: SocketAddr,
    /// The listener's own address.
    pub local: SocketAddr,
    pub tls: bool,
}

/// What a handler wants said of a response in the access log; put into the response's extensions.
#[derive(Debug, Clone, Default)]
pub struct AccessNote {
    /// The `Cache-Status` value, or empty.
    pub cache: String,
    /// The mount that answered: `pypi/default`.
    pub mount: String,
    /// Milliseconds waited for upstream, when it was asked.
    pub upstream_ms: Option<u64>,
}
