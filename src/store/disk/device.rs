//! The few calls by which a disk fails in interesting ways, as a seam: tests put a failing twin here.
//!
//! Everything else (open, rename, unlink, read) goes to the file system directly.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;

use redb::{Builder, Database, DatabaseError};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

pub(super) trait Device: Send + Sync + fmt::Debug + 'static {
    /// Writes some bytes of `chunks` at `offset` and says how many.
    fn write(&self, file: &File, chunks: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Sets blocks aside for the first `length` bytes without changing the file's length.
    fn reserve(&self, file: &File, length: u64) -> io::Result<()>;

    /// Makes a file's bytes and length, or a directory's names, durable. After an error the file is lost: the kernel reports a failed
    /// write-back once and forgets the pages.
    fn sync(&self, file: &File) -> io::Result<()>;

    /// Bytes that the file system of `path` can still take from this user.
    fn free(&self, path: &Path) -> io::Result<u64>;

    fn open_index(&self, builder: &mut Builder, path: &Path) -> Result<Database, DatabaseError>;
}

/// The machine's own file systems.
#[derive(Debug)]
pub(super) struct Machine;

impl Device for Machine {
    fn write(&self, file: &File, chunks: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(file, chunks, offset)?)
    }

    fn reserve(&self, file: &File, length: u64) -> io::Result<()> {
        match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, length) {
            // Without this call a full disk is noticed later, in the middle of the body.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            other => Ok(other?),
        }
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn free(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn open_index(&self, builder: &mut Builder, path: &Path) -> Result<Database, DatabaseError> {
        builder.create(path)
    }
}
