//! What the cache answers with: a head, a body that can be sliced, and how it came about.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::cache::fill::Reader;
use crate::cache::lookup::Chunking;
use crate::semantics::cache_status::CacheStatus;
use crate::store::ReadAt;
use crate::types::{Head, Presence, Timestamp};
use crate::upstream::OriginBody;

/// An answer: the head to replay, where the body is, how it came about.
#[derive(Debug)]
pub struct Found {
    pub head: Head,
    pub source: Source,
    pub trace: Trace,
}

/// Where the bytes are. `Source::body` (in `body`) turns it, or a range of it, into a body.
pub enum Source {
    Memory(Bytes),
    Blob {
        reader: Arc<dyn ReadAt>,
        size: u64,
    },
    /// A transfer that is under way; readers follow its file.
    Fill(Reader),
    /// Passed through, not kept. Cannot be sliced, and is read once.
    Stream {
        body: Once,
        length: Option<u64>,
    },
    /// Another source, seen as a row of chunks.
    Chunked {
        inner: Box<Self>,
        chunking: Chunking,
    },
    /// The answer to a `HEAD`: a body of this length could be had, its bytes are not at hand.
    Unread(u64),
}

/// A body that can be taken once.
pub struct Once(Mutex<Option<OriginBody>>);

impl Source {
    /// This source seen as a row of chunks. What passes through must be the bytes that will be read of the view ([`Want::window`]).
    ///
    /// [`Want::window`]: crate::cache::artifact::Want::window
    #[must_use]
    pub fn chunked(self, chunking: Chunking) -> Self {
        Self::Chunked { inner: Box::new(self), chunking }
    }

    /// What passes through.
    pub fn stream(body: OriginBody, length: Option<u64>) -> Self {
        Self::Stream { body: Once(Mutex::new(Some(body))), length }
    }
}

impl Once {
    pub(crate) fn take(&self) -> Option<OriginBody> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory(bytes) => write!(f, "Memory({})", bytes.len()),
            Self::Blob { size, .. } => write!(f, "Blob({size})"),
            Self::Fill(_) => f.write_str("Fill"),
            Self::Chunked { inner, .. } => write!(f, "Chunked({inner:?})"),
            Self::Unread(size) => write!(f, "Unread({size})"),
            Self::Stream { length, .. } => write!(f, "Stream({length:?})"),
        }
    }
}

/// How a response came about, for `Cache-Status`, `Age`, marks of staleness, the access log and metrics.
#[derive(Debug, Clone)]
pub struct Trace {
    pub status: CacheStatus,
    /// Waited for upstream, in milliseconds, when it was asked.
    pub upstream_ms: Option<u64>,
    /// When upstream last confirmed what is served.
    pub validated: Timestamp,
    pub presence: Presence,
    /// The `Age` to tell (RFC 9111 section 4.2.3) when it is more than the time since `validated`: upstream was a cache itself.
    pub age_secs: Option<u64>,
    /// Older than its freshness allows; why it is served all the same stands in `status.detail`.
    pub stale: bool,
}
