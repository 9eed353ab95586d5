//! The way in: listeners, TLS, HTTP/1.1 and HTTP/2, limits, draining, the access log.
//!
//! [`Handler`] is the seam. This layer imports nothing of ours and knows no handler.
//!
//! ```text
//! listen -> connection: limits -> tls -> inspect (HTTP/1 heads, `strict`) -> hyper -> answer: checks, Handler, access_log
//!                                           ├─▶ echo: the same request as a moment ago        │
//!                                         wire ◀─ sendfile: bodies that are files ◀───────────┘
//! ```
//!
//! hyper is lenient where a cache must not be: what two parties can read in two ways poisons a cache. [`inspect`] therefore reads every
//! HTTP/1 head before hyper does, and [`strict`] decides. Requests that cannot be served here are answered here, as plain text that says
//! what was wrong: 400, 405 (CONNECT, TRACE), 408, 414, 431, 500 (a handler that panicked) and 503 (full), see [`refusal`].
//!
//! Left out: WebSocket and other upgrades (an `Upgrade` field is ignored, as RFC 9110 section 7.8 allows, because common clients send one with
//! every first request), HTTP/3, the PROXY protocol.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use serde::{Deserialize, Serialize};

mod access_log;
mod answer;
mod body;
mod certificate;
mod connection;
mod drain;
mod echo;
mod inspect;
pub mod limits;
mod listen;
mod memory;
mod refusal;
mod sendfile;
mod stream;
pub(crate) mod strict;
pub mod tls;
mod wire;

pub use body::{Crowded, RequestBody, Stalled};
pub use certificate::ClientAuth;
pub use echo::{Moment, Repeatable};
pub use listen::{Server, ServerError};
pub use sendfile::{FileBody, OpenFile};
pub use tls::TlsConfig;

/// An error in the middle of a body: the connection (HTTP/1.1) or the stream (HTTP/2) is cut, never ended cleanly.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a response.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// Answers requests.
///
/// The server has checked framing, method, target, `Host` and sizes before it calls. The target is in origin form (`/path?query`, or `*` for
/// OPTIONS) whatever form the client used; it is visible ASCII without backslashes and, as it stands, without dot segments; what its
/// percent-encodings hide is unchecked. `Host` is there exactly once and well-formed, but may be missing from HTTP/1.0.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Dropping the future (the client left) must leave nothing half done.
    fn handle(
        &self,
        request: Request<RequestBody>,
        peer: Peer,
    ) -> BoxFuture<'static, Response<Body>>;

    /// The moment that it is now, for those who mark responses as [`Repeatable`].
    fn moment(&self) -> Option<Moment> {
        None
    }

    /// A number that is the same for peers whose like requests get like answers. `None`: each is to be asked about.
    fn class(&self, peer: &Peer) -> Option<u64> {
        let _ = peer;
        None
    }

    /// Called whenever a [`Repeatable`] response was given again.
    fn note_repeat(&self) {}
}

/// Who is at the other end of the connection.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: SocketAddr,
    /// The listener's own address.
    pub local: SocketAddr,
    pub tls: bool,
    /// What the certificate calls it that it showed: `cert:NAME`.
    pub certificate: Option<Arc<str>>,
}

/// What a handler wants said of a response in the access log, and told of it; put into the response's extensions.
#[derive(Debug, Clone, Default)]
pub struct AccessNote {
    /// The `Cache-Status` value, or empty.
    pub cache: Arc<str>,
    /// The mount that answered: `pypi/default`.
    pub mount: Arc<str>,
    /// Milliseconds waited for upstream, when it was asked.
    pub upstream_ms: Option<u64>,
    /// Who wants to know how it ended.
    pub ended: Option<Arc<dyn Ended>>,
}

/// Told of the end of each answer whose [`AccessNote`] names it, also of those that are given again. Must be quick.
pub trait Ended: fmt::Debug + Send + Sync {
    /// So many bytes of the body were sent; `whole`: to its end.
    fn ended(&self, bytes: u64, whole: bool);
}

/// Settings of the server, `[server]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Longest from a head's first byte to its last; also for the TLS handshake and for a new connection's first byte. Default 10 s.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// A connection on which nothing is asked or answered is closed after this long. Default 75 s.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// Longest pause within a request's body while the handler waits for it. Default 30 s.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    /// A client that takes nothing of what is there for it for this long is cut. Default 60 s.
    #[serde(with = "humantime_serde")]
    pub write_stall_timeout: Duration,
    /// On shutdown, longest that answers under way may take. Default 30 s.
    #[serde(with = "humantime_serde")]
    pub drain_deadline: Duration,
    /// Connections at once; further ones get 503. Default 8192.
    pub max_connections: usize,
    /// Connections at once from one address (IPv6: from one /64); further ones get 503. Default 1024.
    pub max_connections_per_address: usize,
    /// Largest head, request line included, in bytes; beyond it 431 (414 when the request line alone is too long). Default 65536.
    pub max_header_bytes: usize,
    /// Most fields in a head; beyond it 431. Default 100.
    pub max_headers: usize,
    /// HTTP/2 requests at once on one connection. Default 128.
    pub max_concurrent_streams: u32,
    /// Memory of the process beyond which new requests get 503. Default: 85 % of what its control group allows, if that is limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_memory_bytes: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            write_stall_timeout: Duration::from_secs(60),
            drain_deadline: Duration::from_secs(30),
            max_connections: 8192,
            max_connections_per_address: 1024,
            max_header_bytes: 65_536,
            max_headers: 100,
            max_concurrent_streams: 128,
            max_memory_bytes: None,
        }
    }
}

#[cfg(test)]
mod tests;
