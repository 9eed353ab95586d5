//! What is kept: an index of entries over content-addressed blobs.
//!
//! [`Store`] is the seam; [`disk`] is the product, [`memory`] its twin for tests, and [`conformance`] the one suite that
//! both pass. The order of every write is: bytes durable, digest verified, blob linked into place, index committed. So a
//! row never names a blob that was not whole, and a crash leaves at worst a blob that no row names (`disk::sweep`). What
//! was kept and is damaged leaves a note behind ([`lost`]).
//!
//! Left out: which digest is right (`cache` verifies before it seals), freshness, HTTP.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::types::{BlobId, CacheKey, Digest, Head, Presence, Timestamp};

pub mod conformance;
pub mod disk;
pub mod lost;
pub mod memory;

/// Bodies up to this many bytes live in the index row itself.
pub const INLINE_LIMIT_BYTES: usize = 16 << 10;

/// An index of entries over content-addressed blobs.
///
/// Look-ups are synchronous: they touch memory, rarely a page of the index, never the network. An `Ok` of
/// [`Store::commit`] means durable: no crash loses it. Every method may be called from any thread.
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// The entry under `key`. A row that can no longer be read is `Ok(None)`: a miss that heals.
    fn get(&self, key: &CacheKey) -> Result<Option<Arc<Entry>>, StoreError>;

    /// Keys that start with `prefix` (the encoded form of [`CacheKey::as_str`]) and come after `after`, in order.
    fn scan(
        &self,
        prefix: &str,
        after: Option<&CacheKey>,
        limit: usize,
    ) -> Result<Vec<CacheKey>, StoreError>;

    /// Applies all changes or none, durably. Concurrent callers share one commit of the index.
    /// A [`Change::Put`] whose blob is no longer there fails with [`StoreError::BlobMissing`] and nothing of its list is applied.
    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'static, Result<(), StoreError>>;

    /// Notes that a blob was asked for; batched, may be lost in a crash.
    fn touch(&self, blob: BlobId);

    /// Opens a sealed blob; `None` when it is not there (any row naming it is then a miss). Open readers survive eviction.
    fn open(&self, blob: BlobId) -> Result<Option<Arc<dyn ReadAt>>, StoreError>;

    /// Somebody has read bytes of a blob that are not its own. Looks at it, and sets it aside if that is so: from then on every entry that names
    /// it is a miss that heals.
    fn suspect(&self, blob: BlobId) -> BoxFuture<'static, ()>;

    /// The blob that has this digest, of whatever algorithm, if one is kept.
    fn resolve(&self, digest: &Digest) -> Result<Option<BlobId>, StoreError>;

    /// The partial body of `key`: the one that an earlier fill left, or an empty one. At most one is open per key:
    /// a second call while the first is alive gives [`StoreError::Busy`]. Blocking; call off the async workers.
    fn partial(&self, key: &CacheKey) -> Result<Arc<dyn Partial>, StoreError>;

    /// Whether the entry under `key` is protected from eviction.
    fn is_pinned(&self, key: &CacheKey) -> Result<bool, StoreError>;

    /// How many entries name a blob.
    fn namers(&self, blob: BlobId) -> Result<usize, StoreError>;

    /// Frees those of `blobs` that no entry names, now instead of when upkeep comes by. Those that one names stay, and so do those that were sealed
    /// just now and may be named in a moment.
    fn release(&self, blobs: Vec<BlobId>) -> BoxFuture<'static, Result<Freed, StoreError>>;

    /// Does all of the upkeep now: what no entry names, interrupted transfers, and what the budget has no room for.
    fn tidy(&self, how: Tidy) -> BoxFuture<'static, Result<Tidied, StoreError>>;

    /// Sizes and counters, for metrics and limits.
    fn usage(&self) -> Usage;
}

/// Bytes at rest that can be read at any offset, by many readers at once.
pub trait ReadAt: Send + Sync + fmt::Debug + 'static {
    /// Up to `length` bytes at `offset` if memory (the page cache) has them; `Ok(None)` when the disk would be waited for.
    /// An empty answer means the end.
    fn try_read(&self, offset: u64, length: usize) -> io::Result<Option<Bytes>>;

    /// Up to `length` bytes at `offset`, waiting for the disk. Blocking; call off the async workers.
    fn read(&self, offset: u64, length: usize) -> io::Result<Bytes>;

    /// The open file that holds these bytes at the same offsets, where one does; the kernel can send it by itself.
    fn descriptor(self: Arc<Self>) -> Option<Arc<dyn AsFd + Send + Sync>> {
        None
    }
}

/// A body in the making: bytes written at any offset, a progress note that survives a restart, and in the end a blob.
/// Dropping it keeps what the last checkpoint covered for the next fill. Once sealed or discarded it is used up: its key is free for
/// another [`Store::partial`], those who follow it read on, and further writes fail. All methods block; call them off the async workers.
pub trait Partial: ReadAt {
    /// What the last [`Partial::checkpoint`] said, if its bytes can still be trusted (same boot, or made durable).
    fn progress(&self) -> Option<Progress>;

    /// Reserves room for a body of `length` bytes. [`StoreError::Full`] when there is none: then nothing was written.
    fn reserve(&self, length: u64) -> Result<(), StoreError>;

    /// Writes all `chunks`, one behind the other, from `offset` on.
    fn write(&self, offset: u64, chunks: &[Bytes]) -> Result<(), StoreError>;

    /// Records how far a contiguous prefix has got and which upstream body it belongs to.
    fn checkpoint(&self, progress: &Progress) -> Result<(), StoreError>;

    /// Makes the body of `length` bytes durable and visible as `blob`, whose digest the caller has verified. The partial is
    /// used up. Returns a reader of the sealed blob. Where the blob is there already, one of the two copies stays, and readers of either
    /// go on. The blob is safe from eviction and sweeping until the caller's commit that names it, or for an hour.
    fn seal(&self, blob: BlobId, length: u64) -> Result<Arc<dyn ReadAt>, StoreError>;

    /// Throws the bytes away: wrong digest, changed upstream. [`Store::partial`] then gives an empty one.
    fn discard(&self);
}

/// One kept thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Status and the fields worth replaying; hop-by-hop fields and those of the transfer are gone.
    pub head: Head,
    pub body: Stored,
    /// The address that gave the bytes when the key does not tell it (a redirect led elsewhere); no credentials in it.
    pub origin: Option<Box<str>>,
    /// When it was first kept. Later refreshes leave it.
    pub first_kept: Timestamp,
    /// When upstream last confirmed it.
    pub validated: Timestamp,
    /// Until when it is served without asking. [`Timestamp::NEVER`] for what cannot change.
    pub fresh_until: Timestamp,
    /// What upstream said last.
    pub presence: Presence,
    /// Verified digests beside the blob's SHA-256; each is an alias that [`Store::resolve`] finds.
    pub digests: Vec<Digest>,
    /// Belongs to whoever wrote the entry (HTTP caching state, an adapter's sidecar); opaque to the store.
    pub note: Bytes,
}

impl Entry {
    /// A body and nothing about it: kept, and confirmed, `now`, and fresh for ever.
    pub fn new(body: Stored, now: Timestamp) -> Self {
        Self {
            head: Head::new(http::StatusCode::OK),
            body,
            origin: None,
            first_kept: now,
            validated: now,
            fresh_until: Timestamp::NEVER,
            presence: Presence::Present,
            digests: Vec::new(),
            note: Bytes::new(),
        }
    }
}

/// Where an entry's body is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// No body: a redirect, a 204, a note.
    None,
    /// In the row; at most [`INLINE_LIMIT_BYTES`].
    Inline(Bytes),
    Blob {
        id: BlobId,
        size: u64,
    },
}

impl Stored {
    /// Length of the body in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Blob { size, .. } => *size,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn blob(&self) -> Option<BlobId> {
        match self {
            Self::Blob { id, .. } => Some(*id),
            Self::None | Self::Inline(_) => None,
        }
    }
}

/// One step of a commit.
#[derive(Debug, Clone)]
pub enum Change {
    /// Writes or replaces an entry. Its digests become aliases of its blob.
    Put { key: CacheKey, entry: Arc<Entry> },
    /// Removes an entry; its blob goes when no other entry names it and the sweep comes by.
    Remove { key: CacheKey },
    /// Protects the blob of an entry from eviction, or ends that. Outlives a [`Change::Put`] of the same key; nothing happens when
    /// there is no entry.
    Pin { key: CacheKey, pinned: bool },
}

/// How far a partial body is, and of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Bytes `0..prefix` are written.
    pub prefix: u64,
    /// Length of the whole body, when upstream said.
    pub total: Option<u64>,
    /// Strong entity tag of the upstream body, for `If-Range`.
    pub etag: Option<String>,
    /// Its `Last-Modified`, used when there is no entity tag.
    pub last_modified: Option<String>,
    /// Digest that was promised, if any.
    pub promised: Vec<String>,
    /// Address the bytes came from, without credentials or signatures.
    pub origin: String,
}

/// What is freed, in number and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freed {
    pub count: u64,
    pub bytes: u64,
}

/// How [`Store::tidy`] goes about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tidy {
    /// Only says what would go.
    pub dry_run: bool,
    /// Interrupted transfers go whatever their age, and not only those that nobody has taken up for long.
    pub all_partials: bool,
}

/// What [`Store::tidy`] freed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tidied {
    /// Blobs that no entry names.
    pub orphans: Freed,
    /// Interrupted transfers.
    pub partials: Freed,
    /// Blobs that the budget has no room for. How many those are is known once they are gone; before, how many bytes.
    pub evicted: Freed,
}

/// What the store holds and how it fares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub entries: u64,
    pub blobs: u64,
    pub blob_bytes: u64,
    pub index_bytes: u64,
    /// The budget, when one is set.
    pub budget_bytes: Option<u64>,
    pub evicted_blobs: u64,
    /// Blobs read again since the start, to see whether they are still right, and those that were not.
    pub checked_blobs: u64,
    pub damaged_blobs: u64,
    /// False while the index refuses writes: what is kept is served, nothing new is kept.
    pub writable: bool,
}

/// What went wrong, by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room: serve through without keeping.
    #[error("the disk or the budget is full (`store.min_free`, `store.budget`)")]
    Full,
    /// Somebody else has it open: join them or try later.
    #[error("{0} is being filled already")]
    Busy(CacheKey),
    /// The entry names a blob that is not there: fetch it again.
    #[error("blob {0} is not in the store")]
    BlobMissing(BlobId),
    /// The index refuses writes until it is reopened: serve what is kept, keep nothing new.
    #[error("the index refuses writes")]
    Refusing,
    /// A data directory that this program must not open; the text says why and what to do.
    #[error("{0}")]
    Unusable(String),
    #[error("{action}")]
    Io { action: String, source: io::Error },
    #[error("the index failed")]
    Index(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// Wraps an I/O error; a full disk or quota becomes [`StoreError::Full`].
    pub fn io(action: impl Into<String>, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io { action: action.into(), source },
        }
    }

    /// Wraps an error of the index.
    fn index(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Index(Box::new(source))
    }

    /// A sealed or discarded partial was asked to take more.
    fn used_up(key: &CacheKey) -> Self {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "it is sealed or discarded");
        Self::io(format!("write the partial body of {key}"), source)
    }
}
