//! Answers that are words: failures, refusals, and what an adapter says by itself.

use http::{HeaderValue, Method, Response, StatusCode, header};

use crate::cache::failure::Failure;
use crate::ecosystem::{Ask, Ecosystem, Reply};
use crate::proxy::deliver::{self, Content};
use crate::server::AccessNote;

/// A failure in the words of the mount's clients, with its `Cache-Status`.
pub(super) fn explained(mount: &dyn Ecosystem, ask: &Ask, failure: &Failure) -> Reply {
    let mut reply = mount.explain(ask, failure);
    let status = match failure {
        Failure::Absent => "larder; fwd=uri-miss; fwd-status=404",
        Failure::Refused { .. } => "larder; fwd=uri-miss; detail=refused",
        Failure::Unsafe { .. } => "larder; detail=unsafe",
        Failure::Unjudged => "larder; detail=unjudged",
        Failure::NotKept => "larder; fwd=request; detail=not-kept",
        Failure::Unreachable(_) | Failure::Unavailable { .. } => {
            "larder; fwd=uri-miss; detail=upstream-unreachable"
        }
        Failure::BadAnswer(_) => "larder; fwd=uri-miss; detail=upstream-bad-answer",
        Failure::Store(_) => "larder; fwd=uri-miss; detail=store-failed",
    };
    reply.headers.insert("cache-status", HeaderValue::from_static(status));
    reply
}

/// A small answer as a response.
pub(super) fn replied(reply: Reply, method: &Method, mount: &str) -> Response<Content> {
    let Reply { status, headers, body } = reply;
    let mut response = deliver::empty(status);
    *response.headers_mut() = headers;
    let cache = match response.headers().get("cache-status").map(HeaderValue::to_str) {
        Some(Ok(given)) => given.to_owned(),
        _ => "larder; detail=generated".to_owned(),
    };
    if let Ok(value) = HeaderValue::from_str(&cache) {
        response.headers_mut().insert("cache-status", value);
    }
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    if *method != Method::HEAD {
        *response.body_mut() = Content::from(body);
    }
    response.extensions_mut().insert(AccessNote {
        cache: cache.into(),
        mount: mount.into(),
        upstream_ms: None,
        ended: None,
    });
    response
}

/// A refusal before any mount was found.
pub(super) fn refusal(status: StatusCode, detail: &str) -> Response<Content> {
    let title = status.canonical_reason().unwrap_or("Refused");
    replied(Reply::problem(status, title, detail), &Method::GET, "")
}
