//! The index while its disk takes no writes: what was committed last, for reading.
//!
//! Opening an index writes to it, and one that failed cannot be read before it is opened anew. So on a disk that is full, failing or mounted read-only
//! what would be written stays in memory, and nothing of it is ever kept. It is a few blocks: recovery reads what the last commit left for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, Builder, Database, DatabaseError, StorageBackend};

const BLOCK: u64 = 4096;

/// Opens the index at `path` for reading. The answer must not be committed to.
pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<Database, DatabaseError> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let locks = FileBackend::new(file.try_clone()?)?;
    let written = Mutex::new(Written { length, blocks: BTreeMap::new() });
    let mut builder = Builder::new();
    builder.set_cache_size(cache_bytes);
    builder.create_with_backend(Overlay { file, locks, written })
}

/// A file and what was written over it, in memory.
#[derive(Debug)]
struct Overlay {
    file: File,
    locks: FileBackend,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    length: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    fn lock(&self) -> MutexGuard<'_, Written> {
        // A panic in between leaves blocks that are whole.
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads from the file; what is behind its end is zeros.
    fn read_file(&self, offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        let mut at = offset;
        while !out.is_empty() {
            match self.file.read_at(out, at) {
                Ok(0) => {
                    out.fill(0);
                    break;
                }
                Ok(count) => {
                    at += count as u64;
                    out = &mut out[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The parts of `offset..offset + length` by block: its number, and from where to where within it.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset + length as u64;
    (offset / BLOCK..end.div_ceil(BLOCK)).map(move |number| {
        let start = number * BLOCK;
        let from = offset.max(start) - start;
        let to = end.min(start + BLOCK) - start;
        (number, from as usize, to as usize)
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_file(offset, out)?;
        let written = self.lock();
        let mut rest = out;
        for (number, from, to) in parts(offset, rest.len()) {
            let (part, behind) = rest.split_at_mut(to - from);
            if let Some(block) = written.blocks.get(&number) {
                part.copy_from_slice(&block[from..to]);
            }
            rest = behind;
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.lock().length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut written = self.lock();
        let mut rest = bytes;
        for (number, from, to) in parts(offset, bytes.len()) {
            let (part, behind) = rest.split_at(to - from);
            let block = match written.blocks.entry(number) {
                std::collections::btree_map::Entry::Occupied(there) => there.into_mut(),
                std::collections::btree_map::Entry::Vacant(free) => {
                    let mut block = vec![0; BLOCK as usize];
                    self.read_file(number * BLOCK, &mut block)?;
                    free.insert(block)
                }
            };
            block[from..to].copy_from_slice(part);
            rest = behind;
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.locks.close()
    }

    /// Readers keep a second process from writing, too.
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.locks.try_lock_shared_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use redb::{ReadableDatabase, TableDefinition};

    use super::*;

    const ROWS: TableDefinition<'_, u64, u64> = TableDefinition::new("rows");

    #[test]
    fn what_was_committed_is_read_and_the_file_stays_as_it_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("index");
        let database = Database::create(&path).expect("it is new");
        for row in 0..200 {
            let mut transaction = database.begin_write().expect("nobody else writes");
            transaction.set_quick_repair(true);
            transaction.open_table(ROWS).expect("a table").insert(row, row).expect("there is room");
            transaction.commit().expect("there is room");
        }
        // As a kill leaves it.
        let copy = directory.path().join("copy");
        std::fs::copy(&path, &copy).expect("there is room");
        let before = std::fs::read(&copy).expect("it is there");
        for _ in 0..2 {
            let standby = open(&copy, 1 << 20).expect("it can be read");
            let rows = standby.begin_read().expect("it can be read").open_table(ROWS);
            let row = rows.expect("it is there").get(199).expect("it is read");
            assert_eq!(row.map(|row| row.value()), Some(199));
        }
        assert!(before == std::fs::read(&copy).expect("it is there"), "it was written to");
    }

    #[test]
    fn writes_are_seen_over_the_file_wherever_they_begin_and_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        let mut expected: Vec<u8> = (0..20_000_u32).map(|at| (at / 7) as u8).collect();
        std::fs::write(&path, &expected).expect("there is room");
        let file = File::open(&path).expect("it is there");
        let locks = FileBackend::new(file.try_clone().expect("a descriptor")).expect("a file");
        let written = Mutex::new(Written { length: 20_000, blocks: BTreeMap::new() });
        let overlay = Overlay { file, locks, written };
        for (offset, length) in [(0, 1), (4095, 2), (5000, 9000), (8192, 4096), (19_000, 3000)] {
            let bytes: Vec<u8> = (0..length).map(|at| at as u8 ^ 0x5a).collect();
            overlay.write(offset as u64, &bytes).expect("memory takes it");
            expected.resize(expected.len().max(offset + length), 0);
            expected[offset..offset + length].copy_from_slice(&bytes);
        }
        for (offset, length) in [(0, expected.len()), (4090, 20), (12_287, 2), (13_999, 3)] {
            let mut read = vec![0; length];
            overlay.read(offset as u64, &mut read).expect("it is read");
            assert!(read == expected[offset..offset + length], "{offset} {length}");
        }
    }
}
