//! From what was found to a response: preconditions, ranges, `HEAD`, and the marks of a cache.
//!
//! Until [`finished`], a response still says where its bytes are, so that it can be given again (`repeat`) and its file be sent as one.
//! Left out: finding (`cache`), rendering (`rendering`), wording of failures (`ecosystem`).

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::BodyExt;

use crate::cache;
use crate::cache::found::{Found, Source, Trace};
use crate::proxy::multipart;
use crate::semantics::conditional::{self, Precondition, Validators};
use crate::semantics::range::{self, Selection};
use crate::semantics::warning::warn;
use crate::server::{AccessNote, Body, FileBody};
use crate::types::{Head, Presence, Timestamp};

/// Fields of a 304 (RFC 9110 section 15.4.5); the others describe a body that is not sent. Extension fields go along: clients of some registries read
/// there which version they have.
const NOT_MODIFIED_FIELDS: [header::HeaderName; 7] = [
    header::CACHE_CONTROL,
    header::CONTENT_LOCATION,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::VARY,
];

/// The body of a response.
pub(crate) enum Content {
    Cached(cache::body::Body),
    /// Put together on its way out.
    Made(Body),
}

impl Content {
    pub(crate) fn nothing() -> Self {
        Self::from(Bytes::new())
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self::Cached(bytes.into())
    }
}

/// The response as the server takes it, with the file that its body is in, if it is in one.
pub(crate) fn finished(mut response: Response<Content>) -> Response<Body> {
    if let Content::Cached(body) = response.body()
        && let Some((file, range)) = body.file()
    {
        response.extensions_mut().insert(FileBody { file, range });
    }
    response.map(|content| match content {
        Content::Cached(body) => Body::new(body.map_err(Into::into)),
        Content::Made(body) => body,
    })
}

/// Answers a request with what was found.
pub(crate) fn deliver(
    method: &Method,
    request: &HeaderMap,
    found: Found,
    mount: &str,
    now: Timestamp,
) -> Response<Content> {
    let Found { head, source, trace } = found;
    let mut response = match sliceable(method, &head, &source) {
        Some(size) => selected(method, request, head, source, size),
        None => whole(method, head, source),
    };
    let status = trace.status.to_string();
    mark(response.headers_mut(), &status, &trace, now);
    response.extensions_mut().insert(AccessNote {
        cache: status.into(),
        mount: mount.into(),
        upstream_ms: trace.upstream_ms,
        ended: None,
    });
    response
}

/// `Cache-Status`, `Age`, and `Warning` where something is stale or gone upstream.
fn mark(headers: &mut HeaderMap, status: &str, trace: &Trace, now: Timestamp) {
    if let Ok(value) = HeaderValue::from_str(status) {
        headers.append("cache-status", value);
    }
    let age_secs = trace.age_secs.unwrap_or_else(|| now.since(trace.validated).as_secs());
    headers.insert(header::AGE, HeaderValue::from(age_secs));
    let warning = match trace.presence {
        Presence::Gone { .. } => "gone upstream, served from what was kept",
        Presence::Withdrawn { .. } => "withdrawn upstream, served from what was kept",
        Presence::Present if trace.stale => "response is stale: upstream could not be asked",
        Presence::Present => return,
    };
    warn(headers, warning);
}

/// The size of a body that preconditions and ranges apply to: a whole 200 whose bytes can be had at any offset.
fn sliceable(method: &Method, head: &Head, source: &Source) -> Option<u64> {
    let selects = matches!(*method, Method::GET | Method::HEAD);
    match source {
        Source::Stream { .. } => None,
        _ if selects && head.status == StatusCode::OK => source.len(),
        _ => None,
    }
}

fn selected(
    method: &Method,
    request: &HeaderMap,
    head: Head,
    source: Source,
    size: u64,
) -> Response<Content> {
    let validators = Validators {
        etag: head.text(&header::ETAG),
        last_modified: head.text(&header::LAST_MODIFIED).and_then(Timestamp::from_http_date),
    };
    match conditional::evaluate(method, request, validators) {
        Precondition::NotModified => return not_modified(&head),
        Precondition::Failed => return empty(StatusCode::PRECONDITION_FAILED),
        Precondition::Proceed => {}
    }
    // RFC 9110 section 14.2: a range is defined for GET only.
    let specs = match *method == Method::GET && conditional::range_applies(request, validators) {
        true => range::parse(request),
        false => None,
    };
    let mut response = match range::select(specs.as_deref(), size) {
        Selection::Whole => whole(method, head, source),
        Selection::Single(part) => single(head, source, part, size),
        Selection::Several(parts) => multipart::respond(head, source, parts, size),
        Selection::Unsatisfiable => unsatisfiable(size),
    };
    response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response
}

fn whole(method: &Method, head: Head, source: Source) -> Response<Content> {
    let length = source.len();
    let mut response = empty(head.status);
    *response.headers_mut() = head.headers;
    if let Some(length) = length
        && !bodiless(head.status)
    {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if *method != Method::HEAD {
        *response.body_mut() = Content::Cached(source.body(None));
    }
    response
}

/// Statuses that never have a body (RFC 9110 sections 15.2, 15.3.5, 15.4.5).
fn bodiless(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn single(head: Head, source: Source, part: Range<u64>, size: u64) -> Response<Content> {
    let mut response = empty(StatusCode::PARTIAL_CONTENT);
    *response.headers_mut() = head.headers;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(part.end - part.start));
    headers.insert(header::CONTENT_RANGE, content_range(&part, size));
    *response.body_mut() = Content::Cached(source.body(Some(part)));
    response
}

/// `bytes 0-9/100`.
pub(crate) fn content_range(part: &Range<u64>, size: u64) -> HeaderValue {
    let text = format!("bytes {}-{}/{size}", part.start, part.end - 1);
    HeaderValue::from_str(&text).expect("digits and slashes are a field value")
}

fn unsatisfiable(size: u64) -> Response<Content> {
    let mut response = empty(StatusCode::RANGE_NOT_SATISFIABLE);
    let text = format!("bytes */{size}");
    let value = HeaderValue::from_str(&text).expect("digits and slashes are a field value");
    response.headers_mut().insert(header::CONTENT_RANGE, value);
    response
}

fn not_modified(head: &Head) -> Response<Content> {
    let mut response = empty(StatusCode::NOT_MODIFIED);
    for name in NOT_MODIFIED_FIELDS {
        for value in head.headers.get_all(&name) {
            response.headers_mut().append(&name, value.clone());
        }
    }
    let extensions = head.headers.iter().filter(|(name, _)| name.as_str().starts_with("x-"));
    for (name, value) in extensions {
        response.headers_mut().append(name, value.clone());
    }
    response
}

/// A response without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Content> {
    let mut response = Response::new(Content::nothing());
    *response.status_mut() = status;
    response
}
