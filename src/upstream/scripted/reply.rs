//! One answer of the script: what it says, how it arrives, where it breaks.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use url::Url;

use super::Gate;
use crate::types::Head;
use crate::upstream::{Hop, OriginRequest, UpstreamError};

/// An answer, built field by field: `Reply::file(bytes, "\"v1\"").chunks_of(1000).cut_after(5000)`.
#[derive(Debug, Clone)]
pub struct Reply {
    outcome: Result<Content, UpstreamError>,
    head_gate: Option<Gate>,
    gates: Vec<(usize, Gate)>,
    chunk_bytes: usize,
    pause: Duration,
    cut_after: Option<usize>,
    failure: Option<UpstreamError>,
    length: Length,
    hops: Vec<Hop>,
    url: Option<Url>,
}

#[derive(Debug, Clone)]
struct Content {
    head: Head,
    body: Bytes,
    conditional: Conditional,
}

/// Whether ranges and conditions of the request are honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conditional {
    Honoured,
    Ignored,
}

/// What `Content-Length` says.
#[derive(Debug, Clone, Copy)]
enum Length {
    Right,
    Announced(u64),
    Absent,
}

/// What came of a reply once the request was known.
pub(super) struct Answer {
    pub head: Head,
    pub hops: Vec<Hop>,
    pub url: Url,
    pub body: Vec<Segment>,
}

/// A step of a body.
pub(super) enum Segment {
    Bytes(Bytes),
    Wait(Gate),
    Pause(Duration),
    Break(&'static str),
    Fail(UpstreamError),
}

impl Reply {
    /// A status, no fields but `Content-Length`, and an empty body.
    pub fn new(status: StatusCode) -> Self {
        Self::from_outcome(Ok(Content {
            head: Head::new(status),
            body: Bytes::new(),
            conditional: Conditional::Ignored,
        }))
    }

    /// No answer at all.
    pub fn error(error: UpstreamError) -> Self {
        Self::from_outcome(Err(error))
    }

    /// A file with a strong validator that honours `Range` (one range), `If-Range` and `If-None-Match`.
    pub fn file(bytes: impl Into<Bytes>, etag: &str) -> Self {
        let mut reply = Self::new(StatusCode::OK).body(bytes).header("etag", etag);
        if let Ok(content) = &mut reply.outcome {
            content.head.headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            content.conditional = Conditional::Honoured;
        }
        reply
    }

    #[must_use]
    pub fn body(mut self, bytes: impl Into<Bytes>) -> Self {
        if let Ok(content) = &mut self.outcome {
            content.body = bytes.into();
        }
        self
    }

    /// Adds a field, beside others of the same name.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a script names valid fields");
        let value = HeaderValue::from_str(value).expect("a script names valid fields");
        if let Ok(content) = &mut self.outcome {
            content.head.headers.append(name, value);
        }
        self
    }

    /// Holds the head back until the gate opens; an error too.
    #[must_use]
    pub fn pause_head(mut self, gate: &Gate) -> Self {
        self.head_gate = Some(gate.clone());
        self
    }

    /// Holds the body back after this many bytes of what is sent until the gate opens. Several gates may be set, in order of offset.
    #[must_use]
    pub fn pause_at(mut self, offset: usize, gate: &Gate) -> Self {
        self.gates.push((offset, gate.clone()));
        self
    }

    /// Sends the body in parts of this many bytes.
    #[must_use]
    pub fn chunks_of(mut self, bytes: usize) -> Self {
        self.chunk_bytes = bytes.max(1);
        self
    }

    /// Lets this much time pass before each part of the body.
    #[must_use]
    pub const fn every(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Breaks the connection after this many bytes of what is sent.
    #[must_use]
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.cut_after = Some(bytes);
        self
    }

    /// Fails with `error` after this many bytes of what is sent.
    #[must_use]
    pub fn fail_after(mut self, bytes: usize, error: UpstreamError) -> Self {
        self.failure = Some(error);
        self.cut_after(bytes)
    }

    /// Says this in `Content-Length`: beyond the body, it breaks at its end; within, the rest is never seen.
    #[must_use]
    pub const fn announced(mut self, length: u64) -> Self {
        self.length = Length::Announced(length);
        self
    }

    /// Sends no `Content-Length`: the body ends when it ends.
    #[must_use]
    pub const fn without_length(mut self) -> Self {
        self.length = Length::Absent;
        self
    }

    /// A redirect that was followed before this answer, and where it led.
    #[must_use]
    pub fn behind(mut self, hop: Hop, url: &str) -> Self {
        self.hops.push(hop);
        self.url = Some(super::address(url));
        self
    }

    fn from_outcome(outcome: Result<Content, UpstreamError>) -> Self {
        Self {
            outcome,
            head_gate: None,
            gates: Vec::new(),
            chunk_bytes: usize::MAX,
            pause: Duration::ZERO,
            cut_after: None,
            failure: None,
            length: Length::Right,
            hops: Vec::new(),
            url: None,
        }
    }

    pub(super) async fn answer(self, request: &OriginRequest) -> Result<Answer, UpstreamError> {
        if let Some(gate) = &self.head_gate {
            gate.passed().await;
        }
        let mut content = self.outcome?;
        if content.conditional == Conditional::Honoured {
            content.select(&request.headers);
        }
        let Content { mut head, mut body, .. } = content;
        let mut short = false;
        match self.length {
            Length::Right if head.status == StatusCode::NOT_MODIFIED => {}
            Length::Right => set_length(&mut head, body.len() as u64),
            Length::Announced(length) => {
                set_length(&mut head, length);
                short = length > body.len() as u64;
                body.truncate(usize::try_from(length).unwrap_or(usize::MAX));
            }
            Length::Absent => {}
        }
        let url = self.url.unwrap_or_else(|| request.url.clone());
        let body = match request.method {
            Method::HEAD => Vec::new(),
            _ => {
                let cut = self.cut_after.filter(|cut| *cut <= body.len());
                body.truncate(cut.unwrap_or(usize::MAX));
                let mut segments = segments(&body, self.chunk_bytes, &self.gates);
                if !self.pause.is_zero() {
                    let slow = |segment| [Segment::Pause(self.pause), segment];
                    segments = segments.into_iter().flat_map(slow).collect();
                }
                match (cut, self.failure) {
                    (Some(_), Some(error)) => segments.push(Segment::Fail(error)),
                    (Some(_), None) => segments.push(Segment::Break("reset")),
                    (None, _) if short => segments.push(Segment::Break("short body")),
                    (None, _) => {}
                }
                segments
            }
        };
        Ok(Answer { head, hops: self.hops, url, body })
    }
}

impl Content {
    /// Applies the conditions and the one range of a request to a file.
    fn select(&mut self, asked: &HeaderMap) {
        let etag = self.head.headers.get(ETAG).cloned();
        if asked.contains_key(IF_NONE_MATCH) && asked.get(IF_NONE_MATCH) == etag.as_ref() {
            self.head.status = StatusCode::NOT_MODIFIED;
            self.body = Bytes::new();
            return;
        }
        if asked.contains_key(IF_RANGE) && asked.get(IF_RANGE) != etag.as_ref() {
            return;
        }
        let size = self.body.len();
        match asked.get(RANGE).and_then(|value| one_range(value.to_str().ok()?, size)) {
            None => {}
            Some(range) if range.is_empty() => {
                self.head.status = StatusCode::RANGE_NOT_SATISFIABLE;
                self.body = Bytes::new();
                self.set_content_range(format!("bytes */{size}"));
            }
            Some(range) => {
                self.head.status = StatusCode::PARTIAL_CONTENT;
                self.set_content_range(format!("bytes {}-{}/{size}", range.start, range.end - 1));
                self.body = self.body.slice(range);
            }
        }
    }

    fn set_content_range(&mut self, text: String) {
        let value = text.try_into().expect("digits are a valid field value");
        self.head.headers.insert(CONTENT_RANGE, value);
    }
}

fn set_length(head: &mut Head, length: u64) {
    head.headers.insert(CONTENT_LENGTH, length.into());
}

/// The range that `text` selects of `size` bytes: empty when it cannot be satisfied, `None` when it is not one plain range.
fn one_range(text: &str, size: usize) -> Option<Range<usize>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first, last) {
        ("", suffix) => size.saturating_sub(suffix.parse().ok()?)..size,
        (first, "") => first.parse().ok()?..size,
        (first, last) => first.parse().ok()?..size.min(last.parse::<usize>().ok()? + 1),
    };
    Some(if range.start < range.end { range } else { 0..0 })
}

/// Cuts a body at every chunk and every gate.
fn segments(body: &Bytes, chunk_bytes: usize, gates: &[(usize, Gate)]) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut at = 0;
    let mut push = |segments: &mut Vec<Segment>, to: usize| {
        while at < to {
            let end = to.min(at.saturating_add(chunk_bytes));
            segments.push(Segment::Bytes(body.slice(at..end)));
            at = end;
        }
    };
    for (offset, gate) in gates {
        push(&mut segments, body.len().min(*offset));
        segments.push(Segment::Wait(gate.clone()));
    }
    push(&mut segments, body.len());
    segments
}
