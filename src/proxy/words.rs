//! Answers that are words: failures, refusals, and what an adapter says by itself.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use hyper::ext::ReasonPhrase;

use crate::cache::failure::Failure;
use crate::ecosystem::{Ask, Ecosystem, Reply};
use crate::proxy::deliver::{self, Content};
use crate::server::AccessNote;

/// The longest reason that is put into a head.
const MOST_CHARACTERS: usize = 600;

/// A failure in the words of the mount's clients, with its `Cache-Status`. A refusal for what is in a file is in the phrase of its status, too: Xet's clients show nothing else.
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
    if let Failure::Unsafe { reason } = failure {
        reply.phrase = Some(format!("Refused for what is in it: {reason}").into());
    }
    reply
}

/// A small answer as a response.
pub(super) fn replied(reply: Reply, method: &Method, mount: &str) -> Response<Content> {
    let Reply { status, headers, body, phrase } = reply;
    let mut response = deliver::empty(status);
    *response.headers_mut() = headers;
    let cache = match response.headers().get("cache-status").map(HeaderValue::to_str) {
        Some(Ok(given)) => given.to_owned(),
        _ => "larder; detail=generated".to_owned(),
    };
    if let Ok(value) = HeaderValue::from_str(&cache) {
        response.headers_mut().insert("cache-status", value);
    }
    let phrase = phrase.map(|phrase| ReasonPhrase::try_from(Bytes::from(plain(&phrase))));
    if let Some(Ok(phrase)) = phrase {
        response.extensions_mut().insert(phrase);
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

/// A text as it can stand in a head.
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii() && !c.is_control()).take(MOST_CHARACTERS).collect()
}

/// A refusal before any mount was found.
pub(super) fn refusal(status: StatusCode, detail: &str) -> Response<Content> {
    let title = status.canonical_reason().unwrap_or("Refused");
    replied(Reply::problem(status, title, detail), &Method::GET, "")
}
