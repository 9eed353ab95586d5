//! A disk whose every change is written down.
//!
//! [`Disk`] lets the store work on real files in memory, writes down each call, and lets those fail that a test names. What may be found on it after a
//! loss of power says [`Platter`].

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::ops::Bound;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use redb::backends::FileBackend;
use redb::{BackendError, Builder, Database, DatabaseError, StorageBackend};

use super::platter::Platter;
use crate::store::disk::device::Device;

/// A file, whatever its names.
pub(crate) type Inode = u64;

/// One call, done.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    MakeDirectory(PathBuf),
    Open { path: PathBuf, inode: Inode },
    Write { inode: Inode, offset: u64, bytes: Arc<[u8]> },
    SetLength { inode: Inode, length: u64 },
    SyncFile { inode: Inode, done: bool },
    SyncDirectory { path: PathBuf, done: bool },
    Rename { from: PathBuf, to: PathBuf },
    Remove(PathBuf),
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    Error,
    Full,
}

impl Failure {
    fn error(self) -> io::Error {
        match self {
            Self::Error => io::Error::other("the disk is failing"),
            Self::Full => io::ErrorKind::StorageFull.into(),
        }
    }
}

/// A directory whose every change is written down. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    root: PathBuf,
    boot: u64,
    record: Arc<Mutex<Record>>,
    /// Reads of the index.
    pub(crate) reads: Arc<AtomicU64>,
    /// Repairs of the index.
    pub(crate) repairs: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Record {
    ops: Vec<Op>,
    /// What stands for the file with this inode number.
    inodes: HashMap<u64, Inode>,
    directories: HashMap<u64, PathBuf>,
    next: Inode,
    /// The calls that fail, counted from the beginning.
    failing: Option<(u64, u64, Failure)>,
    calls: u64,
}

impl Disk {
    /// Takes over the directory `root`, in which everything is durable.
    pub(crate) fn over(root: &Path, boot: u64) -> Self {
        let disk = Self {
            root: root.to_owned(),
            boot,
            record: Arc::default(),
            reads: Arc::default(),
            repairs: Arc::default(),
        };
        let mut record = disk.lock();
        record.directories.insert(number(&File::open(root).expect("it is there")), PathBuf::new());
        for (path, file) in walk(root) {
            match file.metadata().expect("it is there").is_dir() {
                true => drop(record.directories.insert(number(&file), path)),
                false => drop(record.inode(&file)),
            }
        }
        drop(record);
        disk
    }

    /// What is durable at the beginning. Comes before the first call.
    pub(crate) fn platter(&self) -> Platter {
        let files = walk(&self.root).into_iter().map(|(path, file)| {
            let is_file = file.metadata().expect("it is there").is_file();
            let inode = is_file.then(|| self.lock().inode(&file));
            (path, file, inode)
        });
        Platter::of(files.collect())
    }

    pub(crate) fn ops(&self) -> Vec<Op> {
        self.lock().ops.clone()
    }

    /// Calls so far.
    pub(crate) fn position(&self) -> usize {
        self.lock().ops.len()
    }

    /// Attempts so far, those that failed included.
    pub(crate) fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Lets `many` calls fail from the one with the number `first` on.
    pub(crate) fn fail(&self, first: u64, many: u64, how: Failure) {
        self.lock().failing = Some((first, first.saturating_add(many), how));
    }

    pub(crate) fn heal(&self) {
        self.lock().failing = None;
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("no panic")
    }

    fn relative(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).map_or_else(|_| PathBuf::new(), Path::to_owned)
    }

    /// Does a call and writes it down; both at once, so that the record has the order in which things happened.
    fn call<T>(
        &self,
        work: impl FnOnce() -> io::Result<T>,
        op: impl FnOnce(&mut Record, &T) -> Op,
    ) -> io::Result<T> {
        let mut record = self.lock();
        record.attempt()?;
        let done = work()?;
        let op = op(&mut record, &done);
        record.ops.push(op);
        Ok(done)
    }
}

impl Record {
    fn attempt(&mut self) -> io::Result<()> {
        let call = self.calls;
        self.calls += 1;
        match self.failing {
            Some((from, to, how)) if (from..to).contains(&call) => Err(how.error()),
            _ => Ok(()),
        }
    }

    fn inode(&mut self, file: &File) -> Inode {
        let next = &mut self.next;
        *self.inodes.entry(number(file)).or_insert_with(|| {
            *next += 1;
            *next
        })
    }

    fn sync(&self, file: &File, done: bool) -> Op {
        match self.directories.get(&number(file)) {
            Some(path) => Op::SyncDirectory { path: path.clone(), done },
            None => Op::SyncFile { inode: self.inodes[&number(file)], done },
        }
    }
}

/// File systems in memory give each file a number of its own, however many came before.
fn number(file: &File) -> u64 {
    file.metadata().expect("it is open").ino()
}

/// Everything below `root`, directories before what is in them.
fn walk(root: &Path) -> Vec<(PathBuf, File)> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(root.join(&directory)).expect("it is there") {
            let entry = entry.expect("it is read");
            let path = directory.join(entry.file_name());
            if entry.file_type().expect("it is read").is_dir() {
                waiting.push(path.clone());
            }
            found.push((path, File::open(entry.path()).expect("it is there")));
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

impl Device for Disk {
    fn open(&self, path: &Path) -> io::Result<File> {
        let open =
            || File::options().read(true).write(true).create(true).truncate(false).open(path);
        self.call(open, |record, file| Op::Open {
            path: self.relative(path),
            inode: record.inode(file),
        })
    }

    fn write(&self, file: &File, chunks: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let bytes: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.iter().copied()).collect();
        self.call(
            || file.write_all_at(&bytes, offset),
            |record, ()| Op::Write {
                inode: record.inode(file),
                offset,
                bytes: bytes.as_slice().into(),
            },
        )?;
        Ok(bytes.len())
    }

    fn set_len(&self, file: &File, length: u64) -> io::Result<()> {
        self.call(
            || file.set_len(length),
            |record, ()| Op::SetLength { inode: record.inode(file), length },
        )
    }

    fn reserve(&self, _file: &File, _length: u64) -> io::Result<()> {
        self.lock().attempt()
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let mut record = self.lock();
        let outcome = record.attempt();
        let op = record.sync(file, outcome.is_ok());
        record.ops.push(op);
        outcome
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(
            || fs::rename(from, to),
            |_, ()| Op::Rename { from: self.relative(from), to: self.relative(to) },
        )
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(|| fs::remove_file(path), |_, ()| Op::Remove(self.relative(path)))
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        self.call(
            || {
                fs::create_dir(path)?;
                File::open(path)
            },
            |record, directory| {
                record.directories.insert(number(directory), self.relative(path));
                Op::MakeDirectory(self.relative(path))
            },
        )?;
        Ok(())
    }

    fn free(&self, _path: &Path) -> io::Result<u64> {
        Ok(1 << 40)
    }

    fn boot(&self) -> Option<String> {
        Some(self.boot.to_string())
    }

    fn open_index(&self, builder: &mut Builder, path: &Path) -> Result<Database, DatabaseError> {
        let repairs = Arc::clone(&self.repairs);
        builder.set_repair_callback(move |_| {
            repairs.fetch_add(1, Ordering::Relaxed);
        });
        let file = self.open(path)?;
        let locks = FileBackend::new(file.try_clone()?)?;
        builder.create_with_backend(IndexFile { disk: self.clone(), file, locks })
    }
}

/// The index on that disk.
#[derive(Debug)]
struct IndexFile {
    disk: Disk,
    file: File,
    locks: FileBackend,
}

impl StorageBackend for IndexFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.reads.fetch_add(1, Ordering::Relaxed);
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.set_len(&self.file, length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync(&self.file)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.write(&self.file, &[IoSlice::new(bytes)], offset).map(drop)
    }

    fn close(&self) -> io::Result<()> {
        self.locks.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.locks.try_lock_range(start, end)
    }
}
