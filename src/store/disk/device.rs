//! The calls by which a disk forgets, fails or fills up, as a seam: tests put a twin here that does.
//!
//! The provided methods are the machine's own. Left out: reading, which goes to the file system directly: what it gives back is either right or an
//! error, or a digest finds out.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use redb::{Builder, Database, DatabaseError};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

pub(crate) trait Device: Send + Sync + fmt::Debug + 'static {
    /// Opens the file at `path` for reading and writing, and makes it if there is none.
    fn open(&self, path: &Path) -> io::Result<File> {
        File::options().read(true).write(true).create(true).truncate(false).open(path)
    }

    /// Writes some bytes of `chunks` at `offset` and says how many.
    fn write(&self, file: &File, chunks: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(file, chunks, offset)?)
    }

    /// Cuts a file to `length` bytes, or lengthens it by zeros.
    fn set_len(&self, file: &File, length: u64) -> io::Result<()> {
        file.set_len(length)
    }

    /// Sets blocks aside for the first `length` bytes without changing the file's length.
    fn reserve(&self, file: &File, length: u64) -> io::Result<()> {
        match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, length) {
            // Without this call a full disk is noticed later, in the middle of the body.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Makes a file's bytes and length, or a directory's names, durable. After an error the file is lost: the kernel reports a failed
    /// write-back once and forgets the pages.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// Gives the file at `from` the name `to`, and takes that from whatever had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// Removes a file's name.
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    /// Makes a directory in one that is there, for this user alone: what is kept may be private, and whoever may write here owns what is served.
    fn make_directory(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(path)
    }

    /// Bytes that the file system of `path` can still take from this user.
    fn free(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Differs after each start of the machine: what was written before and not synced counts only while it is the same. `None` where the
    /// kernel does not tell: then nothing unsynced is trusted.
    fn boot(&self) -> Option<String> {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(id.trim().to_owned())
    }

    fn open_index(&self, builder: &mut Builder, path: &Path) -> Result<Database, DatabaseError> {
        builder.create(path)
    }
}

/// The machine's own file systems.
#[derive(Debug)]
pub(crate) struct Machine;

impl Device for Machine {}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(device: &dyn Device, path: &Path) -> io::Result<()> {
    device.sync(&File::open(path)?)
}

/// Makes a directory, durably, unless it is there; those that it is in as well.
pub(crate) fn make_directories(device: &dyn Device, path: &Path) -> io::Result<()> {
    let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.is_dir();
    let missing: Vec<&Path> = path.ancestors().take_while(missing).collect();
    for path in missing.into_iter().rev() {
        match device.make_directory(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_directory(device, parent.unwrap_or_else(|| Path::new(".")))?;
    }
    Ok(())
}

/// Removes a file that somebody else may be removing too.
pub(crate) fn remove_if_there(device: &dyn Device, path: &Path) -> io::Result<()> {
    match device.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
