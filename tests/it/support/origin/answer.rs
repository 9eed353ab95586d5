//! What an origin answers: a status, fields and content, which is held, computed or never-ending.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};

/// A response before any fault is put on it.
#[derive(Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub content: Content,
}

impl Answer {
    pub fn new(status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("a status code");
        Self { status, headers: HeaderMap::new(), content: Content::Bytes(Bytes::new()) }
    }

    pub fn ok(content_type: &str, content: impl Into<Content>) -> Self {
        Self::new(200).with("content-type", content_type).of(content)
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a field name");
        self.headers.append(name, HeaderValue::from_str(value).expect("a field value"));
        self
    }

    #[must_use]
    pub fn of(mut self, content: impl Into<Content>) -> Self {
        self.content = content.into();
        self
    }

    /// The part of this 200 that `request` asks for: `Range` (first, last or middle bytes, one range), held back by an `If-Range` that does
    /// not name the entity tag, 416 beyond the end.
    #[must_use]
    pub fn ranged(mut self, request: &HeaderMap) -> Self {
        self = self.with("accept-ranges", "bytes");
        let text = |name| request.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let (Some(range), Some(total)) = (text(header::RANGE), self.content.length()) else {
            return self;
        };
        let tag = self.headers.get(header::ETAG).and_then(|value| value.to_str().ok());
        let date = self.headers.get(header::LAST_MODIFIED).and_then(|value| value.to_str().ok());
        let condition = text(header::IF_RANGE);
        if condition.is_some_and(|named| Some(named) != tag && Some(named) != date) {
            return self;
        }
        match bounds(range, total) {
            Ok((first, last)) => {
                self.status = StatusCode::PARTIAL_CONTENT;
                self.content =
                    Content::Part { of: Box::new(self.content), first, length: last + 1 - first };
                self.with("content-range", &format!("bytes {first}-{last}/{total}"))
            }
            Err(Unsatisfiable) => Self::new(416).with("content-range", &format!("bytes */{total}")),
        }
    }
}

struct Unsatisfiable;

fn bounds(range: &str, total: u64) -> Result<(u64, u64), Unsatisfiable> {
    let (first, last) =
        range.strip_prefix("bytes=").and_then(|spec| spec.split_once('-')).ok_or(Unsatisfiable)?;
    let end = total.checked_sub(1).ok_or(Unsatisfiable)?;
    let bounds = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => (first, last.min(end)),
        (Ok(first), Err(_)) => (first, end),
        (Err(_), Ok(suffix)) => (total.saturating_sub(suffix), end),
        (Err(_), Err(_)) => return Err(Unsatisfiable),
    };
    (bounds.0 <= bounds.1).then_some(bounds).ok_or(Unsatisfiable)
}

/// The bytes of a response.
#[derive(Clone)]
pub enum Content {
    Bytes(Bytes),
    /// Computed when asked for, so that neither side has to hold it.
    Pattern(Pattern),
    Part {
        of: Box<Self>,
        first: u64,
        length: u64,
    },
    /// Sent chunked: the chunk of each number, until there is none.
    Chunks(Arc<dyn Fn(u64) -> Option<Bytes> + Send + Sync>),
}

impl Content {
    /// Its length; `None` when it is sent in chunks.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::Pattern(pattern) => Some(pattern.length),
            Self::Part { length, .. } => Some(*length),
            Self::Chunks(_) => None,
        }
    }

    /// Some bytes at `offset`, at most `most`; empty at the end.
    pub fn at(&self, offset: u64, most: usize) -> Bytes {
        match self {
            Self::Bytes(bytes) => {
                let start = (offset as usize).min(bytes.len());
                bytes.slice(start..(start + most).min(bytes.len()))
            }
            Self::Pattern(pattern) => pattern.at(offset, most),
            Self::Part { of, first, length } => {
                of.at(first + offset, most.min((length - offset) as usize))
            }
            Self::Chunks(_) => unreachable!("chunks are asked for by number"),
        }
    }

    pub fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        let mut offset = 0;
        loop {
            let piece = self.at(offset, 1 << 20);
            if piece.is_empty() {
                return hex::encode(hasher.finalize());
            }
            offset += piece.len() as u64;
            hasher.update(&piece);
        }
    }
}

impl<T: Into<Bytes>> From<T> for Content {
    fn from(bytes: T) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<Pattern> for Content {
    fn from(pattern: Pattern) -> Self {
        Self::Pattern(pattern)
    }
}

impl Content {
    /// The same with so many bytes more or fewer at its end.
    pub fn resized(&self, change: i64) -> Self {
        let length = self.length().expect("what is sent in chunks has no length to change");
        let Ok(extra) = usize::try_from(change) else {
            let length = length.saturating_add_signed(change);
            return Self::Part { of: Box::new(self.clone()), first: 0, length };
        };
        let mut bytes = BytesMut::new();
        while (bytes.len() as u64) < length {
            bytes.extend_from_slice(&self.at(bytes.len() as u64, 1 << 20));
        }
        bytes.resize(bytes.len() + extra, b'x');
        Self::Bytes(bytes.freeze())
    }
}

/// A body of any length whose every byte is known: pseudo-random blocks of 64 KiB, each marked with its number.
#[derive(Clone)]
pub struct Pattern {
    block: Bytes,
    pub length: u64,
}

const BLOCK: usize = 64 << 10;

impl Pattern {
    pub fn new(seed: u64, length: u64) -> Self {
        let mut state = seed | 1;
        let mut next = || {
            // Xorshift: any generator does, as long as neighbouring blocks and seeds differ.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        let block: Vec<u8> = (0..BLOCK / 8).flat_map(|_| next()).collect();
        Self { block: block.into(), length }
    }

    /// The bytes from `offset` to the end of its block or the body, at most `most`.
    fn at(&self, offset: u64, most: usize) -> Bytes {
        if offset >= self.length {
            return Bytes::new();
        }
        let (number, within) = (offset / BLOCK as u64, (offset % BLOCK as u64) as usize);
        let rest = usize::try_from(self.length - offset).unwrap_or(usize::MAX);
        let end = within + most.min(BLOCK - within).min(rest);
        let mut block = self.block.to_vec();
        block[..8].copy_from_slice(&number.to_le_bytes());
        Bytes::from(block).slice(within..end)
    }

    /// Whether `bytes` are what stands at `offset`.
    pub fn matches(&self, mut offset: u64, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let expected = self.at(offset, bytes.len());
            if expected.is_empty() || expected != bytes[..expected.len()] {
                return false;
            }
            offset += expected.len() as u64;
            bytes = &bytes[expected.len()..];
        }
        true
    }
}
