//! A kept response with its body at hand.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::cache::exchange::record::Note;
use crate::cache::fill::Fill;
use crate::cache::found::Source;
use crate::semantics::freshness::Freshness;
use crate::semantics::vary::Selection;
use crate::store::{Entry, ReadAt, Store, StoreError, Stored};
use crate::types::{BlobId, CacheKey, Head, Presence, Timestamp};

/// A response that may answer requests: from the store, or on its way there.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// Where it lies.
    pub(super) row: CacheKey,
    /// While the body is still arriving, without it.
    pub(super) entry: Arc<Entry>,
    pub(super) freshness: Freshness,
    pub(super) selection: Selection,
    pub(super) body: Body,
}

/// A body that can be read at any offset.
#[derive(Clone)]
pub(super) enum Body {
    Memory(Bytes),
    Blob { id: BlobId, reader: Arc<dyn ReadAt>, size: u64 },
    Fill(Arc<Fill>),
}

impl Kept {
    /// Reads an entry's note and opens its body. `None`: either is not there any more, which makes it a miss that heals.
    pub(super) fn open(
        store: &dyn Store,
        row: &CacheKey,
        entry: Arc<Entry>,
        freshness: Freshness,
        selection: Selection,
    ) -> Result<Option<Self>, StoreError> {
        let body = match &entry.body {
            Stored::None => Body::Memory(Bytes::new()),
            Stored::Inline(bytes) => Body::Memory(bytes.clone()),
            Stored::Blob { id, size } => match store.open(*id)? {
                Some(reader) => Body::Blob { id: *id, reader, size: *size },
                None => return Ok(None),
            },
        };
        Ok(Some(Self { row: row.clone(), entry, freshness, selection, body }))
    }

    /// A new response.
    pub(super) fn new(
        row: CacheKey,
        head: Head,
        first_kept: Option<Timestamp>,
        freshness: Freshness,
        selection: Selection,
        body: Body,
    ) -> Self {
        let stored = match &body {
            Body::Memory(bytes) => Stored::Inline(bytes.clone()),
            Body::Blob { id, size, .. } => Stored::Blob { id: *id, size: *size },
            Body::Fill(_) => Stored::None,
        };
        let entry = Entry {
            head,
            body: stored,
            origin: None,
            first_kept: first_kept.unwrap_or(freshness.received),
            validated: freshness.received,
            fresh_until: freshness.fresh_until(),
            presence: Presence::Present,
            digests: Vec::new(),
            note: Note::Response { freshness, selection: selection.clone() }.encode(),
        };
        Self { row, entry: Arc::new(entry), freshness, selection, body }
    }

    /// The same body under a changed entry.
    pub(super) fn with(
        &self,
        row: CacheKey,
        selection: Selection,
        freshness: Freshness,
        change: impl FnOnce(&mut Entry),
    ) -> Self {
        let mut entry = Entry::clone(&self.entry);
        change(&mut entry);
        entry.fresh_until = freshness.fresh_until();
        entry.note = Note::Response { freshness, selection: selection.clone() }.encode();
        Self { row, entry: Arc::new(entry), freshness, selection, body: self.body.clone() }
    }

    /// The same response, to be confirmed before it is served again.
    pub(super) fn expired(&self) -> Self {
        let freshness = Freshness { lifetime_secs: 0, ..self.freshness };
        self.with(self.row.clone(), self.selection.clone(), freshness, |_| {})
    }

    /// Whether its body is all there, so that the entry can be written again.
    pub(super) const fn is_whole(&self) -> bool {
        !matches!(self.body, Body::Fill(_))
    }

    /// Length of the body, once known.
    pub(super) fn len(&self) -> Option<u64> {
        match &self.body {
            Body::Memory(bytes) => Some(bytes.len() as u64),
            Body::Blob { size, .. } => Some(*size),
            Body::Fill(fill) => fill.total(),
        }
    }

    pub(super) fn source(&self) -> Source {
        match &self.body {
            Body::Memory(bytes) => Source::Memory(bytes.clone()),
            Body::Blob { reader, size, .. } => {
                Source::Blob { reader: Arc::clone(reader), size: *size }
            }
            Body::Fill(fill) => Source::Fill(fill.read()),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(bytes) => write!(f, "Memory({})", bytes.len()),
            Self::Blob { id, size, .. } => write!(f, "Blob({id}, {size})"),
            Self::Fill(_) => f.write_str("Fill"),
        }
    }
}
