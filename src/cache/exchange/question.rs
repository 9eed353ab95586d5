//! What a client asks, and how upstream is asked in its place.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, header};

use crate::cache::exchange::kept::Kept;
use crate::cache::exchange::record::row_of;
use crate::cache::lookup::{Exchange, Mode};
use crate::semantics::cache_control::RequestDirectives;
use crate::semantics::storing::{Asked, Authorization, has_validator};
use crate::semantics::vary::Selection;
use crate::types::CacheKey;
use crate::upstream::{OriginRequest, OutgoingBody};

/// When a stale response of at most this many bytes is asked for a range, the whole is validated, and fetched anew if it has changed; of a
/// larger one only the range is, and what comes then passes through.
pub(super) const RENEW_WHOLE_BYTES: u64 = 8 << 20;

/// Preconditions of a client (RFC 9110 section 13.1). They are about the client's copy and say nothing of ours.
const PRECONDITIONS: [HeaderName; 4] = [
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

/// A client's request.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) key: CacheKey,
    pub(super) request: OriginRequest,
    pub(super) mode: Mode,
    pub(super) wishes: RequestDirectives,
}

/// A request to upstream, and which kept responses a 304 to it would confirm.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) request: OriginRequest,
    pub(super) confirms: Vec<Arc<Kept>>,
}

impl Question {
    pub(super) fn new(exchange: Exchange) -> Self {
        let Exchange { key, request, mode } = exchange;
        let wishes = RequestDirectives::read(&request.headers);
        Self { key, request, mode, wishes }
    }

    /// Whether a kept response could answer it: a `GET` or `HEAD`. One with a body may mean something else to the origin than its target
    /// says, so it goes through and leaves no trace.
    pub(super) fn is_read(&self) -> bool {
        matches!(self.request.method, Method::GET | Method::HEAD)
            && matches!(self.request.body, OutgoingBody::Empty)
    }

    pub(super) fn is_head(&self) -> bool {
        self.request.method == Method::HEAD
    }

    /// Whether its answer could serve others who ask for the same: nothing in it is about this client's own copy.
    pub(super) fn is_common(&self) -> bool {
        let about_itself =
            self.mode == Mode::ByTheBook && (self.is_partial() || self.is_conditional());
        self.request.method == Method::GET
            && self.request.credentials.is_none()
            && !about_itself
            && !self.wishes.no_store
            && !self.wishes.no_cache
    }

    /// What decides whether the answer to `sent` may be stored.
    pub(super) fn asked<'a>(&'a self, sent: &'a OriginRequest) -> Asked<'a> {
        let authorization = match self.request.credentials {
            Some(_) => Authorization::Present,
            None => Authorization::Absent,
        };
        Asked {
            method: &sent.method,
            url: &sent.url,
            headers: &sent.headers,
            wishes: &self.wishes,
            authorization,
        }
    }

    /// The request to send when `candidates` are kept: asking only whether one of them still holds, if that can be asked; else for the whole in
    /// [`Mode::Keep`], which wants to have it; else just as the client asks.
    pub(super) fn send(&self, candidates: Vec<Arc<Kept>>) -> Sent {
        let confirmable = |kept: &Arc<Kept>| has_validator(&kept.entry.head.headers);
        let confirms: Vec<_> = candidates.into_iter().filter(confirmable).collect();
        if self.is_head() || (confirms.is_empty() && self.mode == Mode::ByTheBook) {
            return self.send_as_asked();
        }
        let mut request = self.request.clone();
        for name in PRECONDITIONS {
            request.headers.remove(name);
        }
        if self.mode == Mode::Keep || confirms.iter().all(|kept| is_small(kept)) {
            request.headers.remove(header::RANGE);
            request.headers.remove(header::IF_RANGE);
        }
        ask_whether(&mut request, &confirms);
        Sent { request, confirms }
    }

    /// The request as the client made it.
    pub(super) fn send_as_asked(&self) -> Sent {
        Sent { request: self.request.clone(), confirms: Vec::new() }
    }

    /// The request to send when nothing kept is to be confirmed and the whole is wanted.
    pub(super) fn send_whole(&self) -> Sent {
        Sent { request: without_preconditions(&self.request), confirms: Vec::new() }
    }

    /// The same question without this client's wishes, for a renewal that nobody waits for.
    pub(super) fn in_background(&self) -> Self {
        let Sent { mut request, .. } = self.send_whole();
        request.method = Method::GET;
        request.headers.remove(header::CACHE_CONTROL);
        request.headers.remove(header::PRAGMA);
        Self { request, wishes: RequestDirectives::default(), ..self.clone() }
    }

    /// Where the response lies that its fields select.
    pub(super) fn row_of(&self, selection: &Selection) -> CacheKey {
        row_of(&self.key, selection)
    }

    fn is_partial(&self) -> bool {
        self.request.headers.contains_key(header::RANGE)
    }

    fn is_conditional(&self) -> bool {
        PRECONDITIONS.iter().any(|name| self.request.headers.contains_key(name))
    }
}

/// The same request for the whole, whatever the client has of it.
pub(super) fn without_preconditions(request: &OriginRequest) -> OriginRequest {
    let mut request = request.clone();
    for name in PRECONDITIONS.iter().chain(&[header::RANGE, header::IF_RANGE]) {
        request.headers.remove(name);
    }
    request
}

fn is_small(kept: &Kept) -> bool {
    kept.len().is_some_and(|bytes| bytes <= RENEW_WHOLE_BYTES)
}

/// Adds the validators of what is kept (RFC 9111 section 4.3.1). Several responses are told apart by their tags only.
fn ask_whether(request: &mut OriginRequest, confirms: &[Arc<Kept>]) {
    let tags: Vec<&[u8]> = confirms
        .iter()
        .filter_map(|kept| kept.entry.head.headers.get(header::ETAG))
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(value) = HeaderValue::from_bytes(&tags.join(&b", "[..]))
        && !tags.is_empty()
    {
        request.headers.insert(header::IF_NONE_MATCH, value);
    }
    if let [only] = confirms
        && let Some(date) = only.entry.head.headers.get(header::LAST_MODIFIED)
    {
        request.headers.insert(header::IF_MODIFIED_SINCE, date.clone());
    }
}
