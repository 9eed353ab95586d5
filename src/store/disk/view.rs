//! Looking things up in the index, as of its last commit.
//!
//! The tables stay open between look-ups: opening them costs as much as the look-up itself. The writer puts a new view in place after each
//! commit, before it answers those who wait for that commit, so everybody reads what they wrote.

use std::fmt;
use std::sync::Arc;

use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable};

use super::record::{self, ALIASES, Access, ENTRIES, KEYS, REFS};
use crate::store::Entry;
use crate::types::{BlobId, CacheKey, Digest};

pub(super) struct View {
    keys: ReadOnlyTable<&'static str, u64>,
    entries: ReadOnlyTable<u64, &'static [u8]>,
    refs: ReadOnlyTable<&'static [u8; 24], &'static [u8; 5]>,
    aliases: ReadOnlyTable<&'static [u8; 25], ()>,
}

/// An entry, or why there is none.
pub(super) enum Found {
    Entry(Arc<Entry>),
    Nothing,
    /// There is a record, and it cannot be read.
    Undecodable,
}

/// A blob that might have to go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) blob: BlobId,
    pub(super) size: u64,
    pub(super) access: Access,
}

impl View {
    pub(super) fn of(database: &Database) -> Result<Self, redb::Error> {
        let transaction = database.begin_read()?;
        Ok(Self {
            keys: transaction.open_table(KEYS)?,
            entries: transaction.open_table(ENTRIES)?,
            refs: transaction.open_table(REFS)?,
            aliases: transaction.open_table(ALIASES)?,
        })
    }

    pub(super) fn get(&self, key: &CacheKey) -> Result<Found, redb::Error> {
        let Some(id) = self.keys.get(key.as_str())? else { return Ok(Found::Nothing) };
        let Some(record) = self.entries.get(id.value())? else { return Ok(Found::Nothing) };
        Ok(record::decode(record.value()).map_or(Found::Undecodable, Found::Entry))
    }

    pub(super) fn scan(
        &self,
        prefix: &str,
        after: Option<&CacheKey>,
        limit: usize,
    ) -> Result<Vec<CacheKey>, redb::Error> {
        let start = after.map_or("", CacheKey::as_str).max(prefix);
        let mut found = Vec::new();
        for row in self.keys.range(start..)? {
            let (key, id) = row?;
            if found.len() == limit || !key.value().starts_with(prefix) {
                break;
            }
            if after.is_some_and(|after| after.as_str() == key.value()) {
                continue;
            }
            if self.entries.get(id.value())?.is_some() {
                found.extend(CacheKey::from_encoded(key.value()));
            }
        }
        Ok(found)
    }

    pub(super) fn resolve(&self, digest: &Digest) -> Result<Option<BlobId>, redb::Error> {
        if let Some(blob) = digest.blob_id() {
            return Ok(self.is_named(blob)?.then_some(blob));
        }
        let range = record::alias_key(digest, 0)..=record::alias_key(digest, u64::MAX);
        for row in self.aliases.range::<&[u8; 25]>(&range.start()..=&range.end())? {
            let Some(links) = self.links(record::id_of(row?.0.value()))? else { continue };
            if let Some((blob, _)) = links.blob
                && links.digests.contains(digest)
            {
                return Ok(Some(blob));
            }
        }
        Ok(None)
    }

    /// Whether an entry names `blob`.
    pub(super) fn is_named(&self, blob: BlobId) -> Result<bool, redb::Error> {
        let range = record::ref_key(blob, 0)..=record::ref_key(blob, u64::MAX);
        for row in self.refs.range::<&[u8; 24]>(&range.start()..=&range.end())? {
            let links = self.links(record::id_of(row?.0.value()))?;
            if links.and_then(|links| links.blob).is_some_and(|(named, _)| named == blob) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the entry under `key` is protected from eviction.
    pub(super) fn is_pinned(&self, key: &CacheKey) -> Result<bool, redb::Error> {
        let Some(id) = self.keys.get(key.as_str())? else { return Ok(false) };
        Ok(self.links(id.value())?.is_some_and(|links| links.pinned))
    }

    /// How many entries name `blob`.
    pub(super) fn namers(&self, blob: BlobId) -> Result<usize, redb::Error> {
        let mut count = 0;
        for id in self.ids_of(blob)? {
            let named = self.links(id)?.and_then(|links| links.blob);
            count += usize::from(named.is_some_and(|(named, _)| named == blob));
        }
        Ok(count)
    }

    /// Up to `limit` blobs from `hand` on, in the order of their digests; and where to go on, unless that was the end.
    pub(super) fn blobs_from(
        &self,
        hand: BlobId,
        limit: usize,
    ) -> Result<(Vec<Candidate>, Option<BlobId>), redb::Error> {
        let mut found = Vec::with_capacity(limit);
        let mut last = None;
        for row in self.refs.range::<&[u8; 24]>(&record::ref_key(hand, 0)..)? {
            let (key, access) = row?;
            let start: &[u8; 16] = key.value().first_chunk().expect("16 of 24 bytes");
            // Only the first row of a blob says when it was asked for.
            if last.replace(*start) == Some(*start) {
                continue;
            }
            if found.len() == limit {
                let mut next = [0; 32];
                next[..16].copy_from_slice(start);
                return Ok((found, Some(BlobId(next))));
            }
            let links = self.links(record::id_of(key.value()))?;
            if let Some((blob, size)) = links.and_then(|links| links.blob) {
                found.push(Candidate { blob, size, access: Access::decode(access.value()) });
            }
        }
        Ok((found, None))
    }

    /// The size of a blob by the first entry that names it.
    pub(super) fn size_of(&self, blob: BlobId) -> Result<Option<u64>, redb::Error> {
        for id in self.ids_of(blob)? {
            let named = self.links(id)?.and_then(|links| links.blob);
            if let Some((_, size)) = named.filter(|(named, _)| *named == blob) {
                return Ok(Some(size));
            }
        }
        Ok(None)
    }

    /// Where the bytes of a blob came from, by the first entry that names it and says so.
    pub(super) fn origin_of(&self, blob: BlobId) -> Result<Option<String>, redb::Error> {
        for id in self.ids_of(blob)? {
            let Some(record) = self.entries.get(id)? else { continue };
            let entry = record::decode(record.value()).ok();
            if let Some(origin) = entry.and_then(|entry| entry.origin.clone()) {
                return Ok(Some(origin.into()));
            }
        }
        Ok(None)
    }

    /// Whether the rows that belong to an entry are there.
    pub(super) fn is_linked(&self, id: u64, entry: &Entry) -> Result<bool, redb::Error> {
        if let Some(blob) = entry.body.blob()
            && self.refs.get(&record::ref_key(blob, id))?.is_none()
        {
            return Ok(false);
        }
        for digest in &entry.digests {
            if self.aliases.get(&record::alias_key(digest, id))?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Keys of entries that name `blob`, at most `most`. There is no way back from an entry to its key, so this may read all of them.
    pub(super) fn keys_of(&self, blob: BlobId, most: usize) -> Result<Vec<CacheKey>, redb::Error> {
        let ids = self.ids_of(blob)?;
        let mut keys = Vec::new();
        for row in self.keys.iter()? {
            if keys.len() == ids.len().min(most) {
                break;
            }
            let (key, id) = row?;
            if ids.contains(&id.value()) {
                keys.extend(CacheKey::from_encoded(key.value()));
            }
        }
        Ok(keys)
    }

    fn ids_of(&self, blob: BlobId) -> Result<Vec<u64>, redb::Error> {
        let range = record::ref_key(blob, 0)..=record::ref_key(blob, u64::MAX);
        let rows = self.refs.range::<&[u8; 24]>(&range.start()..=&range.end())?;
        rows.map(|row| Ok(record::id_of(row?.0.value()))).collect()
    }

    /// Those of the `limit` keys from `from` on that have no entry; and where to go on, unless that was the end.
    pub(super) fn idle_keys(
        &self,
        from: &str,
        limit: usize,
    ) -> Result<(Vec<String>, Option<String>), redb::Error> {
        let mut idle = Vec::new();
        for (count, row) in self.keys.range(from..)?.enumerate() {
            let (key, id) = row?;
            if count == limit {
                return Ok((idle, Some(key.value().to_owned())));
            }
            if self.entries.get(id.value())?.is_none() {
                idle.push(key.value().to_owned());
            }
        }
        Ok((idle, None))
    }

    fn links(&self, id: u64) -> Result<Option<record::Links>, redb::Error> {
        let record = self.entries.get(id)?;
        Ok(record.and_then(|record| record::links(record.value()).ok()))
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("View")
    }
}
