//! A request for one of Larder's own addresses, as the way in has read it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use http::{HeaderMap, Method, Request, Response, StatusCode};

use crate::server::{Body, RequestBody};

/// What a visitor may do here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Whoever may use this server: read what concerns every client.
    Client,
    /// An administrator: read who did what, and change what is kept.
    Administrator,
}

/// A request for one of Larder's own addresses.
#[derive(Debug)]
pub struct Visit {
    pub method: Method,
    /// The whole path, without a token's prefix, still percent-encoded: `/-/api/v1/status`.
    pub path: String,
    /// Without the question mark.
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub body: RequestBody,
    pub caller: Caller,
}

/// Whoever sent a request.
#[derive(Debug)]
pub struct Caller {
    pub right: Right,
    /// The name of the access token that was shown.
    pub client: Option<String>,
    /// How he sees the root of this server, without a trailing slash.
    pub base: String,
    /// Asks the mounts on his behalf.
    pub visitor: Visitor,
}

/// Somebody on whose behalf the mounts can be asked, with no more rights than he has. Cheap to clone.
#[derive(Clone)]
pub struct Visitor(Arc<Ask>);

type Ask = dyn Fn(Request<RequestBody>) -> BoxFuture<'static, Response<Body>> + Send + Sync;

impl Visitor {
    /// `ask` answers requests for paths below the root, without a token's prefix.
    pub fn new(
        ask: impl Fn(Request<RequestBody>) -> BoxFuture<'static, Response<Body>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(ask))
    }

    /// One for whom there are no mounts.
    pub fn nobody() -> Self {
        Self::new(|_| ready(super::text(StatusCode::NOT_FOUND, "there are no mounts\n")).boxed())
    }

    /// What a mount answers him.
    pub fn ask(&self, request: Request<RequestBody>) -> BoxFuture<'static, Response<Body>> {
        (self.0)(request)
    }
}

impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Visitor")
    }
}

impl Visit {
    /// A visit that reads `path`, by an administrator; for whoever calls without a server.
    pub fn reading(path: &str) -> Self {
        Self {
            method: Method::GET,
            path: path.to_owned(),
            query: None,
            headers: HeaderMap::new(),
            body: Bytes::new().into(),
            caller: Caller {
                right: Right::Administrator,
                client: None,
                base: String::new(),
                visitor: Visitor::nobody(),
            },
        }
    }
}
