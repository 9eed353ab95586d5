//! A request for one of Larder's own addresses, as the way in has read it.

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::server::RequestBody;

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
    pub right: Right,
    /// The name of the access token that was shown.
    pub client: Option<String>,
    /// How the visitor sees the root of this server, without a trailing slash.
    pub base: String,
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
            right: Right::Administrator,
            client: None,
            base: String::new(),
        }
    }
}
