//! Looking at everything that is kept, at once and with the data directory to itself: `larder verify`.
//!
//! The index first (its own checksums, then every row: can it be read, do the rows that belong to it lead back to it, do bodies in rows have their
//! digests), then every blob byte for byte, then files that no entry names. Without [`Repair::Yes`] nothing is changed, except that an index that needs
//! repair after a crash is repaired, as any start would do. A server does the same for blobs, slowly (`scrub`).

use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable};
use serde::Serialize;

use super::blobs::{Blobs, LAST_SHARD};
use super::check::{Check, Damage, Progress};
use super::device::Machine;
use super::index::{self, Retire, Tables};
use super::read::Buffers;
use super::record::{self, ENTRIES, KEYS};
use super::view::View;
use super::{Config, Device};
use crate::store::lost::Loss;
use crate::store::{Entry, StoreError, Stored};
use crate::types::{Algorithm, BlobId, CacheKey, Digest, Hasher, Timestamp};

/// Blobs looked up together.
const WINDOW: usize = 256;
/// Names told of one damaged thing.
const MOST_NAMES: usize = 10;
/// Entries of one damaged blob that are noted as lost.
const MOST_NOTES: usize = 100;

/// Whether what is wrong is put right: damaged bodies are set aside, their entries removed and noted as lost ([`Loss`]), so that they are fetched again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    No,
    Yes,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub entries: u64,
    pub blobs: u64,
    /// Bytes of blobs that were read.
    pub bytes: u64,
    /// Everything that is wrong.
    pub damaged: Vec<Damaged>,
    /// Files that no entry names: a crash leaves such, and a running server removes them in time.
    pub orphans: u64,
    pub orphan_bytes: u64,
    /// Whether what is damaged has been set aside.
    pub repaired: bool,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damaged {
    /// The SHA-256 of a blob; `None` for something within the index.
    pub blob: Option<String>,
    pub damage: Damage,
    /// Length that it should have.
    pub bytes: u64,
    /// What it is kept as; some of many.
    pub names: Vec<String>,
    /// Where it came from, when the names do not tell.
    pub origin: Option<String>,
    /// The same as those names, and more of them.
    #[serde(skip)]
    pub keys: Vec<CacheKey>,
}

/// Looks at everything in `directory`, and tells `progress` now and then how far it is. Blocking, for as long as reading everything takes.
///
/// # Errors
///
/// [`StoreError::Unusable`] when there is no store, when another process uses it, or when a newer program wrote it; other errors when looking itself
/// fails. What is damaged is no error.
pub fn verify(
    directory: &Path,
    config: &Config,
    repair: Repair,
    progress: &mut dyn FnMut(&Report),
) -> Result<Report, StoreError> {
    if !directory.join(index::FILE).is_file() {
        return Err(StoreError::Unusable(format!(
            "there is nothing kept in {}; name the data directory with --data-dir",
            directory.display()
        )));
    }
    let device: Arc<dyn Device> = Arc::new(Machine);
    let cache = usize::try_from(config.index_cache.bytes()).unwrap_or(usize::MAX);
    let mut database = index::open(directory, cache, &device)?;
    let whole = database.check_integrity().map_err(StoreError::index)?;
    let buffers = Arc::new(Buffers::default());
    let blobs = Blobs::prepare(directory, device, 1, Arc::clone(&buffers))
        .map_err(|error| StoreError::io("look at the data directory", error))?;
    let view = View::of(&database).map_err(StoreError::index)?;
    let mut search = Search { view, blobs, buffers, report: Report::default(), rows: Vec::new() };
    if !whole {
        search.report.damaged.push(Damaged::in_index("the index; it has been repaired"));
    }
    search.rows(&database).map_err(StoreError::index)?;
    search.blobs(progress)?;
    search.orphans()?;
    if repair == Repair::Yes && !search.report.damaged.is_empty() {
        search.repair(&database)?;
    }
    let Search { report, view, .. } = search;
    drop(view);
    database.close().map_err(|error| StoreError::Index(Box::new(error)))?;
    Ok(report)
}

impl Report {
    pub fn is_right(&self) -> bool {
        self.damaged.is_empty()
    }
}

impl Damaged {
    fn in_index(name: &str) -> Self {
        let names = vec![name.to_owned()];
        let (damage, keys) = (Damage::Record, Vec::new());
        Self { blob: None, damage, bytes: 0, names, origin: None, keys }
    }

    /// What was kept and is not any more, once it has been set aside.
    fn losses(&self) -> impl Iterator<Item = Loss> {
        let blob = self.blob.as_deref().and_then(blob_of);
        self.keys.iter().map(move |key| Loss::new(key, blob, self.bytes, self.damage.name()))
    }
}

/// A verification under way.
struct Search {
    view: View,
    blobs: Blobs,
    buffers: Arc<Buffers>,
    report: Report,
    /// Entries that are damaged themselves.
    rows: Vec<u64>,
}

impl Search {
    /// Reads every row of the index.
    fn rows(&mut self, database: &Database) -> Result<(), redb::Error> {
        let transaction = database.begin_read()?;
        let entries = transaction.open_table(ENTRIES)?;
        let mut wrong = Vec::new();
        for row in entries.iter()? {
            let (id, record) = row?;
            self.report.entries += 1;
            let damage = match record::decode(record.value()) {
                Err(_) => Some(Damage::Record),
                Ok(entry) if !self.view.is_linked(id.value(), &entry)? => Some(Damage::Record),
                Ok(entry) => (!has_its_digests(&entry)).then_some(Damage::Digest),
            };
            if let Some(damage) = damage {
                wrong.push((id.value(), damage, record.value().len() as u64));
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let keys = transaction.open_table(KEYS)?;
        for row in keys.iter()? {
            let (key, id) = row?;
            let Some((_, damage, bytes)) = wrong.iter().find(|(wrong, ..)| *wrong == id.value())
            else {
                continue;
            };
            let mut damaged = Damaged::in_index(&record::display_key(key.value()));
            (damaged.damage, damaged.bytes) = (*damage, *bytes);
            damaged.keys.extend(CacheKey::from_encoded(key.value()));
            self.report.damaged.push(damaged);
        }
        self.rows = wrong.into_iter().map(|(id, ..)| id).collect();
        Ok(())
    }

    /// Reads every blob that an entry names.
    fn blobs(&mut self, progress: &mut dyn FnMut(&Report)) -> Result<(), StoreError> {
        let mut hand = Some(BlobId([0; 32]));
        while let Some(from) = hand {
            let (window, next) = self.view.blobs_from(from, WINDOW).map_err(StoreError::index)?;
            for candidate in window {
                self.blob(candidate.blob, candidate.size)?;
                progress(&self.report);
            }
            hand = next;
        }
        Ok(())
    }

    fn blob(&mut self, blob: BlobId, size: u64) -> Result<(), StoreError> {
        self.report.blobs += 1;
        let damage = match Check::begin(&self.blobs, &self.buffers, blob, size) {
            Err(damage) => damage,
            Ok((_, Progress::Wrong(damage))) => damage,
            Ok((mut check, _)) => match check.step(u64::MAX) {
                Progress::Wrong(damage) => damage,
                Progress::Whole | Progress::Under => {
                    self.report.bytes += size;
                    return Ok(());
                }
            },
        };
        let keys = self.view.keys_of(blob, MOST_NOTES).map_err(StoreError::index)?;
        let names = keys.iter().take(MOST_NAMES).map(ToString::to_string).collect();
        let origin = self.view.origin_of(blob).map_err(StoreError::index)?;
        let blob = Some(blob.to_hex());
        self.report.damaged.push(Damaged { blob, damage, bytes: size, names, origin, keys });
        Ok(())
    }

    /// Counts files that no entry names.
    fn orphans(&mut self) -> Result<(), StoreError> {
        for shard in 0..=LAST_SHARD {
            let found = self.blobs.shard(shard, Timestamp::NEVER);
            let found = found.map_err(|error| StoreError::io("look at the blobs", error))?;
            for blob in found {
                if !self.view.is_named(blob).map_err(StoreError::index)? {
                    self.report.orphans += 1;
                    self.report.orphan_bytes += self.blobs.length(blob).unwrap_or(0);
                }
            }
        }
        Ok(())
    }

    /// Removes the rows of what is damaged, durably, then sets the files aside.
    fn repair(&mut self, database: &Database) -> Result<(), StoreError> {
        let damaged = self.report.damaged.iter().filter_map(|damaged| damaged.blob.as_deref());
        let damaged: Vec<BlobId> = damaged.filter_map(blob_of).collect();
        self.remove_rows(database, &damaged).map_err(StoreError::index)?;
        for blob in damaged {
            if self.blobs.length(blob).is_some() {
                let aside = self.blobs.quarantine(blob, Timestamp(0));
                aside.map_err(|error| StoreError::io("set a damaged blob aside", error))?;
            }
        }
        self.report.repaired = true;
        Ok(())
    }

    fn remove_rows(&self, database: &Database, damaged: &[BlobId]) -> Result<(), redb::Error> {
        let transaction = index::begin(database)?;
        let mut tables = Tables::open(&transaction, Timestamp(0))?;
        for blob in damaged {
            tables.retire(*blob, 0, Retire::Lost)?;
        }
        for id in &self.rows {
            tables.remove_entry(*id)?;
        }
        for loss in self.report.damaged.iter().flat_map(Damaged::losses) {
            tables.apply(&mut index::step(loss.note()))?;
        }
        tables.close()?;
        Ok(transaction.commit()?)
    }
}

fn blob_of(hex: &str) -> Option<BlobId> {
    Digest::from_hex(Algorithm::Sha256, hex).ok()?.blob_id()
}

/// Whether a body in a row has the digests that the row names. Other bodies are read as blobs.
fn has_its_digests(entry: &Entry) -> bool {
    let Stored::Inline(body) = &entry.body else { return true };
    entry.digests.iter().all(|digest| {
        let hasher = match digest.algorithm() {
            Algorithm::GitSha1 => Ok(Hasher::git_blob(body.len() as u64)),
            other => Hasher::new(other),
        };
        hasher.is_ok_and(|mut hasher| {
            hasher.update(body);
            hasher.finish() == *digest
        })
    })
}
