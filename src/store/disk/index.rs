//! The index file: opening it, and changing its tables within one write transaction.
//!
//! Left out: when transactions are made and committed (`writer`), and reading (`view`). What the tables hold is said in `record`.

use std::path::Path;
use std::sync::Arc;

use redb::{Builder, Database, DatabaseError, ReadableDatabase, Table, TableError};
use redb::{ReadableTable, WriteTransaction};

use super::device::{Device, remove_if_there, sync_directory};
use super::record::{self, ALIASES, Access, ENTRIES, KEYS, Links, META, REFS, VERSION};
use crate::store::{Change, INLINE_LIMIT_BYTES, StoreError};
use crate::types::{BlobId, CacheKey, Timestamp};

/// Name of the index in the data directory.
pub(super) const FILE: &str = "index.redb";

/// Opens the index in `directory`, making it if it is not there, without reading more than its first pages.
pub(super) fn open(
    directory: &Path,
    cache_bytes: usize,
    device: &Arc<dyn Device>,
) -> Result<Database, StoreError> {
    if !directory.join(FILE).exists() {
        make(directory, cache_bytes, device)?;
    }
    let database = open_file(&directory.join(FILE), directory, cache_bytes, device)?;
    match version(&database).map_err(|error| StoreError::Index(Box::new(error)))? {
        Some(VERSION) => Ok(database),
        Some(other) => Err(StoreError::Unusable(format!(
            "the data directory {} has format version {other}, and this program knows version {VERSION}; \
             use a newer program, or choose another data_dir",
            directory.display()
        ))),
        None => {
            initialise(&database).map_err(|error| StoreError::Index(Box::new(error)))?;
            Ok(database)
        }
    }
}

/// Makes an index that is there as a whole or not at all: half of one, left by a first start that was cut short, would keep every later start
/// from opening it.
fn make(directory: &Path, cache_bytes: usize, device: &Arc<dyn Device>) -> Result<(), StoreError> {
    let fresh = directory.join(format!("{FILE}.fresh"));
    let io = |error| StoreError::io(format!("make {}", fresh.display()), error);
    remove_if_there(&**device, &fresh).map_err(io)?;
    let database = open_file(&fresh, directory, cache_bytes, device)?;
    initialise(&database).map_err(|error| StoreError::Index(Box::new(error)))?;
    database.close().map_err(|error| StoreError::Index(Box::new(error)))?;
    device.rename(&fresh, &directory.join(FILE)).map_err(io)?;
    sync_directory(&**device, directory).map_err(io)
}

fn open_file(
    path: &Path,
    directory: &Path,
    cache_bytes: usize,
    device: &Arc<dyn Device>,
) -> Result<Database, StoreError> {
    let mut builder = Builder::new();
    builder.set_cache_size(cache_bytes);
    builder.set_repair_callback(|session| {
        tracing::warn!(progress = session.progress(), "the index is being repaired");
    });
    device.open_index(&mut builder, path).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::Unusable(format!(
            "another process uses the data directory {}; stop it, or choose another data_dir",
            directory.display()
        )),
        DatabaseError::UpgradeRequired(_) => StoreError::Unusable(format!(
            "{} has another file format than this program; use the program that wrote it, or choose another data_dir",
            path.display()
        )),
        other => StoreError::Index(Box::new(other)),
    })
}

fn version(database: &Database) -> Result<Option<u64>, redb::Error> {
    match database.begin_read()?.open_table(META) {
        Ok(meta) => Ok(meta.get("version")?.map(|version| version.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes all tables, so that readers find them.
fn initialise(database: &Database) -> Result<(), redb::Error> {
    let transaction = begin(database)?;
    Tables::open(&transaction, Timestamp(0))?.close()?;
    transaction.open_table(META)?.insert("version", VERSION)?;
    Ok(transaction.commit()?)
}

/// Begins a write transaction whose commit is durable and costs no repair after a crash. Every durable commit must be such a one: the last
/// one before the crash decides.
pub(super) fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// Counts kept beside the rows they count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counters {
    next_id: u64,
    pub(super) entries: u64,
    pub(super) blobs: u64,
    pub(super) blob_bytes: u64,
}

/// The counters as of the last commit.
pub(super) fn counters(database: &Database) -> Result<Counters, redb::Error> {
    Counters::read(&database.begin_read()?.open_table(META)?)
}

impl Counters {
    fn read(meta: &impl ReadableTable<&'static str, u64>) -> Result<Self, redb::Error> {
        let count = |name| Ok::<_, redb::Error>(meta.get(name)?.map_or(0, |value| value.value()));
        Ok(Self {
            next_id: count("next_id")?,
            entries: count("entries")?,
            blobs: count("blobs")?,
            blob_bytes: count("blob_bytes")?,
        })
    }
}

/// One step of a commit, with its record encoded before the writer's thread sees it.
#[derive(Debug)]
pub(super) enum Step {
    Put { key: CacheKey, record: Vec<u8>, links: Links },
    Remove { key: CacheKey },
    Pin { key: CacheKey, pinned: bool },
}

/// Encodes a change here, on its caller's thread, so that the writer's does as little as it can.
pub(super) fn step(change: Change) -> Step {
    match change {
        Change::Put { key, entry } => {
            debug_assert!(
                entry.body.blob().is_some() || entry.body.len() <= INLINE_LIMIT_BYTES as u64,
                "the inline body of {key} is too long"
            );
            let links = Links {
                blob: entry.body.blob().map(|blob| (blob, entry.body.len())),
                digests: entry.digests.clone(),
                pinned: false,
            };
            Step::Put { key, record: record::encode(&entry), links }
        }
        Change::Remove { key } => Step::Remove { key },
        Change::Pin { key, pinned } => Step::Pin { key, pinned },
    }
}

/// Why the rows of a blob go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retire {
    /// For room: never what is pinned.
    Evict,
    /// No entry is known to name it: never what one names after all.
    Sweep,
    /// Its file is gone, or has other bytes: always.
    Lost,
}

/// The tables within one write transaction.
pub(super) struct Tables<'t> {
    meta: Table<'t, &'static str, u64>,
    keys: Table<'t, &'static str, u64>,
    entries: Table<'t, u64, &'static [u8]>,
    refs: Table<'t, &'static [u8; 24], &'static [u8; 5]>,
    aliases: Table<'t, &'static [u8; 25], ()>,
    counters: Counters,
    now: Timestamp,
}

impl<'t> Tables<'t> {
    pub(super) fn open(
        transaction: &'t WriteTransaction,
        now: Timestamp,
    ) -> Result<Self, redb::Error> {
        let meta = transaction.open_table(META)?;
        let counters = Counters::read(&meta)?;
        Ok(Self {
            meta,
            keys: transaction.open_table(KEYS)?,
            entries: transaction.open_table(ENTRIES)?,
            refs: transaction.open_table(REFS)?,
            aliases: transaction.open_table(ALIASES)?,
            counters,
            now,
        })
    }

    /// Writes the counters back and ends the use of the tables.
    pub(super) fn close(mut self) -> Result<Counters, redb::Error> {
        let counters = self.counters;
        for (name, value) in [
            ("next_id", counters.next_id),
            ("entries", counters.entries),
            ("blobs", counters.blobs),
            ("blob_bytes", counters.blob_bytes),
        ] {
            self.meta.insert(name, value)?;
        }
        Ok(counters)
    }

    pub(super) fn apply(&mut self, step: &mut Step) -> Result<(), redb::Error> {
        match step {
            Step::Put { key, record, links } => self.put(key.as_str(), record, links),
            Step::Remove { key } => self.remove(key.as_str()),
            Step::Pin { key, pinned } => self.pin(key.as_str(), *pinned),
        }
    }

    fn put(&mut self, key: &str, record: &mut [u8], new: &Links) -> Result<(), redb::Error> {
        let id = self.id(key)?;
        let old = self.links(id)?;
        if old.is_none() {
            self.counters.entries += 1;
        }
        let old = old.unwrap_or_default();
        record::set_pinned(record, old.pinned);
        self.entries.insert(id, &*record)?;
        if old.blob != new.blob {
            if let Some((blob, size)) = old.blob {
                self.unref(blob, id, size)?;
            }
            if let Some((blob, size)) = new.blob {
                self.add_ref(blob, id, size)?;
            }
        }
        for digest in old.digests.iter().filter(|digest| !new.digests.contains(digest)) {
            self.aliases.remove(&record::alias_key(digest, id))?;
        }
        for digest in new.digests.iter().filter(|digest| !old.digests.contains(digest)) {
            self.aliases.insert(&record::alias_key(digest, id), ())?;
        }
        Ok(())
    }

    fn remove(&mut self, key: &str) -> Result<(), redb::Error> {
        let id = self.keys.remove(key)?.map(|id| id.value());
        if let Some(id) = id {
            self.remove_entry(id)?;
        }
        Ok(())
    }

    fn pin(&mut self, key: &str, pinned: bool) -> Result<(), redb::Error> {
        let Some(id) = self.keys.get(key)?.map(|id| id.value()) else { return Ok(()) };
        let record = self.entries.get(id)?.map(|record| record.value().to_vec());
        if let Some(mut record) = record
            && record::links(&record).is_ok()
        {
            record::set_pinned(&mut record, pinned);
            self.entries.insert(id, record.as_slice())?;
        }
        Ok(())
    }

    /// Removes the record under `key` if it cannot be read.
    pub(super) fn heal(&mut self, key: &str) -> Result<(), redb::Error> {
        let Some(id) = self.keys.get(key)?.map(|id| id.value()) else { return Ok(()) };
        let unreadable = {
            let record = self.entries.get(id)?;
            record.is_some_and(|record| record::decode(record.value()).is_err())
        };
        if unreadable { self.remove(key) } else { Ok(()) }
    }

    /// Removes `key` if it has no entry.
    pub(super) fn forget(&mut self, key: &str) -> Result<(), redb::Error> {
        let Some(id) = self.keys.get(key)?.map(|id| id.value()) else { return Ok(()) };
        if self.entries.get(id)?.is_none() {
            self.keys.remove(key)?;
        }
        Ok(())
    }

    /// Removes all rows of a blob, of `length` bytes as far as its file tells. `None` when it has to stay or is not
    /// known, otherwise the bytes it held.
    pub(super) fn retire(
        &mut self,
        blob: BlobId,
        length: u64,
        why: Retire,
    ) -> Result<Option<u64>, redb::Error> {
        let mut namers = Vec::new();
        let mut strays = Vec::new();
        let mut size = length;
        for id in self.ids_of(blob)? {
            let links = self.links(id)?.unwrap_or_default();
            match links.blob {
                Some((named, known_size)) if named == blob => {
                    if why == Retire::Sweep || (why == Retire::Evict && links.pinned) {
                        return Ok(None);
                    }
                    size = known_size;
                    namers.push(id);
                }
                // A blob whose digest starts with the same 16 bytes.
                Some(_) => {}
                None => strays.push(id),
            }
        }
        if why != Retire::Sweep && namers.is_empty() && strays.is_empty() {
            return Ok(None);
        }
        for id in namers {
            self.remove_entry(id)?;
        }
        for id in strays {
            self.unref(blob, id, size)?;
        }
        Ok(Some(size))
    }

    /// Notes that `blob` was asked for. True when that changed a row.
    pub(super) fn touch(&mut self, blob: BlobId) -> Result<bool, redb::Error> {
        let Some((id, access)) = self.first_ref(blob)? else { return Ok(false) };
        let Some(touched) = access.touched(self.now) else { return Ok(false) };
        self.refs.insert(&record::ref_key(blob, id), &touched.encode())?;
        Ok(true)
    }

    /// Whether a row leads from `blob` to an entry.
    pub(super) fn is_referred_to(&self, blob: BlobId) -> Result<bool, redb::Error> {
        Ok(self.first_ref(blob)?.is_some())
    }

    /// Removes an entry and what links to it, except its key.
    pub(super) fn remove_entry(&mut self, id: u64) -> Result<(), redb::Error> {
        let Some(links) = self.links(id)? else { return Ok(()) };
        self.entries.remove(id)?;
        self.counters.entries = self.counters.entries.saturating_sub(1);
        if let Some((blob, size)) = links.blob {
            self.unref(blob, id, size)?;
        }
        for digest in &links.digests {
            self.aliases.remove(&record::alias_key(digest, id))?;
        }
        Ok(())
    }

    fn add_ref(&mut self, blob: BlobId, id: u64, size: u64) -> Result<(), redb::Error> {
        let access = match self.first_ref(blob)? {
            Some((_, access)) => access,
            None => {
                self.counters.blobs += 1;
                self.counters.blob_bytes += size;
                Access::new(self.now)
            }
        };
        self.refs.insert(&record::ref_key(blob, id), &access.encode())?;
        Ok(())
    }

    fn unref(&mut self, blob: BlobId, id: u64, size: u64) -> Result<(), redb::Error> {
        let Some(access) = self.first_ref(blob)?.map(|(_, access)| access) else { return Ok(()) };
        if self.refs.remove(&record::ref_key(blob, id))?.is_none() {
            return Ok(());
        }
        match self.first_ref(blob)? {
            // The row that is first now has to tell when the blob was asked for.
            Some((next, _)) => {
                self.refs.insert(&record::ref_key(blob, next), &access.encode())?;
            }
            None => {
                self.counters.blobs = self.counters.blobs.saturating_sub(1);
                self.counters.blob_bytes = self.counters.blob_bytes.saturating_sub(size);
            }
        }
        Ok(())
    }

    fn first_ref(&self, blob: BlobId) -> Result<Option<(u64, Access)>, redb::Error> {
        let (from, to) = (record::ref_key(blob, 0), record::ref_key(blob, u64::MAX));
        let first = self.refs.range::<&[u8; 24]>(&from..=&to)?.next().transpose()?;
        Ok(first.map(|(key, access)| (record::id_of(key.value()), Access::decode(access.value()))))
    }

    fn ids_of(&self, blob: BlobId) -> Result<Vec<u64>, redb::Error> {
        let (from, to) = (record::ref_key(blob, 0), record::ref_key(blob, u64::MAX));
        let rows = self.refs.range::<&[u8; 24]>(&from..=&to)?;
        rows.map(|row| Ok(record::id_of(row?.0.value()))).collect()
    }

    /// The id of `key`, given to it now if it has none.
    fn id(&mut self, key: &str) -> Result<u64, redb::Error> {
        if let Some(id) = self.keys.get(key)? {
            return Ok(id.value());
        }
        let id = self.counters.next_id;
        self.counters.next_id += 1;
        self.keys.insert(key, id)?;
        Ok(id)
    }

    /// The links of an entry; none of its links are known when its record cannot be read.
    fn links(&self, id: u64) -> Result<Option<Links>, redb::Error> {
        let record = self.entries.get(id)?;
        Ok(record.map(|record| record::links(record.value()).unwrap_or_default()))
    }
}
