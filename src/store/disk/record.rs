//! The disk format, version 1.
//!
//! # The data directory
//!
//! ```text
//! index.redb          the index, a redb file; its lock keeps a second process out
//! index.redb.fresh    one in the making, before the first start is through
//! blobs/<aa>/<hex>    a sealed body; <hex> is its SHA-256, <aa> the first two digits of it
//! partials/<hex>      a body in the making; <hex> is the SHA-256 of its encoded key (`partials`)
//! partials/<hex>.note how far it is, as JSON (`partials`)
//! trash/<n>           blobs on their way out
//! quarantine/<hex>    blobs that were found damaged; nothing reads them
//! ```
//!
//! All 256 blob directories are made with the data directory. One level is enough: ten million blobs are 40,000 names a directory, which
//! file systems with hashed directories do not mind, and a second level would cost a directory per blob.
//!
//! # The index
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `meta` | name | number: `version`, `next_id`, and the counters `entries`, `blobs`, `blob_bytes` |
//! | `keys` | encoded [`CacheKey`](crate::types::CacheKey) | entry id |
//! | `entries` | entry id | record |
//! | `refs` | first 16 bytes of the blob's SHA-256, entry id | [`Access`] |
//! | `aliases` | algorithm, first 16 bytes of the digest, entry id | nothing |
//!
//! Entry ids ascend and are never given twice. Records are apart from keys because keys come in random order and fill their pages to two
//! thirds, while ids ascend and fill them whole. `refs` finds the entries that name a blob; `aliases` finds an entry by another digest of its
//! body. Both keep 16 bytes of the digest: who follows them reads the record, which has all of it, and passes over what does not fit. Numbers
//! inside these keys are big-endian, so that rows of one digest are neighbours.
//!
//! A row of `keys` whose entry is gone is a key that was evicted: a miss. It goes when the key is kept again, or when `sweep` comes by. So
//! eviction needs no way back from an entry to its key, which would cost as much as the key itself.
//!
//! # A record
//!
//! One byte of format ([`FORMAT`]), one byte of flags (bit 0: pinned), then [`Row`] in postcard: numbers as varints, texts and byte strings
//! with their length in front. `validated` and `fresh_until` are differences, which are short. The head has a coding of its own (`head`).
//! What cannot be decoded is a miss.
//!
//! # Changes
//!
//! A change that an older program would misread raises [`VERSION`], comes with a reader of the old form, and is described here. A program
//! refuses a data directory whose version is newer than its own.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use redb::TableDefinition;
use serde::{Deserialize, Serialize};

use super::head;
use crate::store::{Entry, Stored};
use crate::types::{Algorithm, BlobId, CacheKey, Digest, Presence, Timestamp};

/// Version of the data directory that this program writes.
pub(super) const VERSION: u64 = 1;

pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(super) const KEYS: TableDefinition<'_, &str, u64> = TableDefinition::new("keys");
pub(super) const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
pub(super) const REFS: TableDefinition<'_, &[u8; 24], &[u8; 5]> = TableDefinition::new("refs");
pub(super) const ALIASES: TableDefinition<'_, &[u8; 25], ()> = TableDefinition::new("aliases");

/// First byte of a record.
const FORMAT: u8 = 1;
/// Position of the flags in a record.
const FLAGS: usize = 1;
const PINNED: u8 = 1;

/// An entry as its record holds it.
#[derive(Debug, Serialize, Deserialize)]
struct Row<'a> {
    first_kept: u64,
    /// Milliseconds from `first_kept`.
    validated: i64,
    /// Milliseconds from `validated`; `None` for never stale.
    fresh_until: Option<i64>,
    presence: Presence,
    #[serde(borrow)]
    body: Body<'a>,
    origin: Option<&'a str>,
    /// Algorithm by the number of [`algorithm_code`], and the digest.
    #[serde(borrow)]
    digests: Vec<(u8, &'a [u8])>,
    note: &'a [u8],
    head: &'a [u8],
}

#[derive(Debug, Serialize, Deserialize)]
enum Body<'a> {
    None,
    Inline(&'a [u8]),
    Blob { id: [u8; 32], size: u64 },
}

/// A record that this program cannot read: damaged, or of another format.
#[derive(Debug)]
pub(crate) struct Undecodable;

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the record cannot be decoded")
    }
}

/// The record of `entry`, not pinned.
pub(crate) fn encode(entry: &Entry) -> Vec<u8> {
    let head = head::encode(&entry.head);
    let row = Row {
        first_kept: entry.first_kept.0,
        validated: difference(entry.validated.0, entry.first_kept.0),
        fresh_until: (entry.fresh_until != Timestamp::NEVER)
            .then(|| difference(entry.fresh_until.0, entry.validated.0)),
        presence: entry.presence,
        body: match &entry.body {
            Stored::None => Body::None,
            Stored::Inline(bytes) => Body::Inline(bytes),
            Stored::Blob { id, size } => Body::Blob { id: id.0, size: *size },
        },
        origin: entry.origin.as_deref(),
        digests: entry
            .digests
            .iter()
            .map(|digest| (algorithm_code(digest.algorithm()), digest.as_bytes()))
            .collect(),
        note: &entry.note,
        head: &head,
    };
    postcard::to_extend(&row, vec![FORMAT, 0]).expect("a row of plain values is always encoded")
}

/// Reads a record back.
pub(crate) fn decode(record: &[u8]) -> Result<Arc<Entry>, Undecodable> {
    let row = row(record)?;
    let validated = row.first_kept.wrapping_add_signed(row.validated);
    Ok(Arc::new(Entry {
        head: head::decode(row.head).ok_or(Undecodable)?,
        body: match row.body {
            Body::None => Stored::None,
            Body::Inline(bytes) => Stored::Inline(Bytes::copy_from_slice(bytes)),
            Body::Blob { id, size } => Stored::Blob { id: BlobId(id), size },
        },
        origin: row.origin.map(Into::into),
        first_kept: Timestamp(row.first_kept),
        validated: Timestamp(validated),
        fresh_until: row
            .fresh_until
            .map_or(Timestamp::NEVER, |span| Timestamp(validated.wrapping_add_signed(span))),
        presence: row.presence,
        digests: digests(&row)?,
        note: Bytes::copy_from_slice(row.note),
    }))
}

/// What the index itself needs to know of a record: the rows of other tables that belong to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Links {
    /// The blob it names and that blob's size.
    pub(super) blob: Option<(BlobId, u64)>,
    pub(super) digests: Vec<Digest>,
    pub(super) pinned: bool,
}

/// Reads only the links of a record.
pub(crate) fn links(record: &[u8]) -> Result<Links, Undecodable> {
    let row = row(record)?;
    Ok(Links {
        blob: match row.body {
            Body::Blob { id, size } => Some((BlobId(id), size)),
            Body::None | Body::Inline(_) => None,
        },
        digests: digests(&row)?,
        pinned: record[FLAGS] & PINNED != 0,
    })
}

/// Sets or clears the flag of a record that [`encode`] made.
pub(super) fn set_pinned(record: &mut [u8], pinned: bool) {
    record[FLAGS] = if pinned { PINNED } else { 0 };
}

fn row(record: &[u8]) -> Result<Row<'_>, Undecodable> {
    match record {
        [FORMAT, _flags, row @ ..] => postcard::from_bytes(row).map_err(|_| Undecodable),
        _ => Err(Undecodable),
    }
}

fn digests(row: &Row<'_>) -> Result<Vec<Digest>, Undecodable> {
    let read = |&(code, raw): &(u8, &[u8])| Digest::new(algorithm_of(code)?, raw).ok();
    row.digests.iter().map(|digest| read(digest).ok_or(Undecodable)).collect()
}

/// `value - base`, exact for any two instants because [`u64::wrapping_add_signed`] undoes it.
fn difference(value: u64, base: u64) -> i64 {
    value.wrapping_sub(base).cast_signed()
}

const ALGORITHMS: [Algorithm; 8] = [
    Algorithm::Md5,
    Algorithm::Sha1,
    Algorithm::GitSha1,
    Algorithm::Sha224,
    Algorithm::Blake2b256,
    Algorithm::Sha256,
    Algorithm::Sha384,
    Algorithm::Sha512,
];

/// Number of an algorithm on disk, whatever its place in the type.
fn algorithm_code(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Md5 => 0,
        Algorithm::Sha1 => 1,
        Algorithm::GitSha1 => 2,
        Algorithm::Sha224 => 3,
        Algorithm::Blake2b256 => 4,
        Algorithm::Sha256 => 5,
        Algorithm::Sha384 => 6,
        Algorithm::Sha512 => 7,
    }
}

fn algorithm_of(code: u8) -> Option<Algorithm> {
    ALGORITHMS.get(usize::from(code)).copied()
}

/// Key of `refs`.
pub(super) fn ref_key(blob: BlobId, id: u64) -> [u8; 24] {
    let mut key = [0; 24];
    key[..16].copy_from_slice(&blob.0[..16]);
    key[16..].copy_from_slice(&id.to_be_bytes());
    key
}

/// The entry id at the end of a key of `refs` or `aliases`.
pub(super) fn id_of(key: &[u8]) -> u64 {
    let (_, id) = key.split_last_chunk().expect("these keys end in the eight bytes of an id");
    u64::from_be_bytes(*id)
}

/// A key of `keys` as people read it.
pub(super) fn display_key(text: &str) -> String {
    CacheKey::from_encoded(text).map_or_else(|| text.to_owned(), |key| key.to_string())
}

/// Key of `aliases`.
pub(super) fn alias_key(digest: &Digest, id: u64) -> [u8; 25] {
    let mut key = [0; 25];
    key[0] = algorithm_code(digest.algorithm());
    key[1..17].copy_from_slice(&digest.as_bytes()[..16]);
    key[17..].copy_from_slice(&id.to_be_bytes());
    key
}

/// When a blob was asked for: hour of the last time since the epoch (4 bytes, little-endian), and in how many later hours it was asked for
/// again (1 byte, at most [`Access::MOST`]). Kept in the blob's first row of `refs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access {
    hour: u32,
    again: u8,
}

impl Access {
    /// Being asked for more often than this makes no difference.
    const MOST: u8 = 3;

    pub(super) fn new(now: Timestamp) -> Self {
        Self { hour: hour(now), again: 0 }
    }

    /// The same blob asked for at `now`; `None` when the hour has not changed and nothing need be written.
    pub(super) fn touched(self, now: Timestamp) -> Option<Self> {
        let again = self.again.saturating_add(1).min(Self::MOST);
        (hour(now) > self.hour).then(|| Self { hour: hour(now), again })
    }

    /// How readily a blob of `size` bytes is given up at `now`. Age leads: whole hours that nobody asked. Size counts fivefold between 16 KiB
    /// and 16 GiB, since one big blob makes the room of many small ones; having been asked for again in later hours counts up to
    /// fourfold against it, since most things are asked for once.
    pub(super) fn score(self, now: Timestamp, size: u64) -> u64 {
        let idle = u64::from(hour(now).saturating_sub(self.hour));
        let magnitude = u64::BITS - size.leading_zeros();
        idle * u64::from(magnitude.saturating_sub(10).max(1)) / (1 + u64::from(self.again))
    }

    pub(super) fn encode(self) -> [u8; 5] {
        let [a, b, c, d] = self.hour.to_le_bytes();
        [a, b, c, d, self.again]
    }

    pub(super) fn decode(&[a, b, c, d, again]: &[u8; 5]) -> Self {
        Self { hour: u32::from_le_bytes([a, b, c, d]), again }
    }
}

fn hour(time: Timestamp) -> u32 {
    u32::try_from(time.secs() / 3600).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::conformance;

    #[test]
    fn every_algorithm_keeps_its_number() {
        for algorithm in ALGORITHMS {
            assert_eq!(algorithm_of(algorithm_code(algorithm)), Some(algorithm));
        }
        assert_eq!(algorithm_of(8), None);
    }

    #[test]
    fn instants_survive_in_any_order() {
        let instants = [0, 1, 1_700_000_000_000, u64::MAX - 1, u64::MAX].map(Timestamp);
        for first_kept in instants {
            for validated in instants {
                for fresh_until in instants {
                    let entry =
                        Entry { first_kept, validated, fresh_until, ..conformance::entry() };
                    assert_eq!(*decode(&encode(&entry)).expect("it was just encoded"), entry);
                }
            }
        }
    }

    #[test]
    fn the_pin_is_beside_the_entry() {
        let entry = conformance::entry_of(BlobId([7; 32]), 9);
        let mut record = encode(&entry);
        set_pinned(&mut record, true);
        let links = links(&record).expect("it was just encoded");
        assert_eq!((links.blob, links.pinned), (Some((BlobId([7; 32]), 9)), true));
        assert_eq!(*decode(&record).expect("it was just encoded"), entry);
    }

    #[test]
    fn damage_never_panics() {
        let mut record = encode(&conformance::entry_of(BlobId([7; 32]), 9));
        for cut in 0..record.len() {
            assert!(decode(&record[..cut]).is_err(), "cut at {cut}");
            let _ = links(&record[..cut]);
        }
        for index in 0..record.len() {
            for flip in [1, 0x80, 0xff] {
                record[index] ^= flip;
                let _ = (decode(&record), links(&record));
                record[index] ^= flip;
            }
        }
        record[0] = FORMAT + 1;
        assert!(decode(&record).is_err(), "another format");
    }

    #[test]
    fn age_leads_then_size_then_demand() {
        let start = Timestamp::from_secs(1_700_000_000);
        let later = |hours: u64| start.plus(Duration::from_secs(3600 * hours));
        let old = Access::new(start);
        let again = old.touched(later(2)).expect("two hours have passed");
        assert_eq!(old.touched(start.plus(Duration::from_secs(1))), None);
        assert!(old.score(later(9), 1 << 14) > Access::new(later(6)).score(later(9), 1 << 18));
        assert!(old.score(later(9), 1 << 34) > old.score(later(9), 1 << 14));
        assert!(again.score(later(4), 1 << 14) < Access::new(later(2)).score(later(4), 1 << 14));
        assert_eq!(old.score(start, 1 << 34), 0);
        assert_eq!(Access::decode(&again.encode()), again);
    }
}
