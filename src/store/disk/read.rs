//! Reading files at any offset, without waiting where the page cache has the bytes.
//!
//! `preadv2` with `RWF_NOWAIT` answers from memory or says that it would wait, so an async worker can try it. Where the file system does
//! not know the flag, every try says "would wait" and the caller takes the blocking way.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, ReadWriteFlags};

use crate::store::ReadAt;

/// A file open for reading at any offset.
pub(super) struct FileReader {
    file: File,
    buffers: Arc<Buffers>,
}

impl FileReader {
    pub(super) fn new(file: File, buffers: Arc<Buffers>) -> Self {
        Self { file, buffers }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

impl fmt::Debug for FileReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileReader").field(&self.file).finish()
    }
}

impl ReadAt for FileReader {
    /// Answers with at most [`Buffers::LENGTH`] bytes.
    fn try_read(&self, offset: u64, length: usize) -> io::Result<Option<Bytes>> {
        if length == 0 || beyond_any_file(offset) {
            return Ok(Some(Bytes::new()));
        }
        let mut buffer = self.buffers.take(length);
        loop {
            let mut target = [IoSliceMut::new(buffer.room(length))];
            match rustix::io::preadv2(&self.file, &mut target, offset, ReadWriteFlags::NOWAIT) {
                Ok(count) => return Ok(Some(buffer.freeze(count))),
                Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        if beyond_any_file(offset) {
            return Ok(Bytes::new());
        }
        let rest = self.file.metadata()?.len().saturating_sub(offset);
        let length = usize::try_from(rest).unwrap_or(usize::MAX).min(length);
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let position = offset + bytes.len() as u64;
            match rustix::io::pread(&self.file, spare_capacity(&mut bytes), position) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bytes.truncate(length);
        Ok(bytes.into())
    }

    fn descriptor(self: Arc<Self>) -> Option<Arc<dyn AsFd + Send + Sync>> {
        Some(self)
    }
}

impl AsFd for FileReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The kernel takes offsets as signed numbers and refuses what would be negative.
fn beyond_any_file(offset: u64) -> bool {
    i64::try_from(offset).is_err()
}

/// Buffers used over and over, so that serving from memory neither clears nor maps pages for each slice.
#[derive(Default)]
pub(super) struct Buffers {
    idle: Mutex<Vec<Vec<u8>>>,
}

impl Buffers {
    /// Length of a pooled buffer in bytes.
    const LENGTH: usize = 256 << 10;
    /// Reads up to this many bytes get a buffer of their own: clearing it costs less than holding a large one.
    const SMALL: usize = 16 << 10;
    /// Buffers kept idle; with more readers than this at once the rest is allocated and freed.
    const MOST_IDLE: usize = 64;

    fn take(self: &Arc<Self>, length: usize) -> Buffer {
        if length <= Self::SMALL {
            return Buffer { bytes: vec![0; length], used: 0, home: None };
        }
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = idle.unwrap_or_else(|| vec![0; Self::LENGTH]);
        Buffer { bytes, used: 0, home: Some(self.clone()) }
    }

    fn put_back(&self, bytes: Vec<u8>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < Self::MOST_IDLE {
            idle.push(bytes);
        }
    }
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Buffers")
    }
}

/// A buffer that goes home when its last reader is done with it.
struct Buffer {
    bytes: Vec<u8>,
    used: usize,
    home: Option<Arc<Buffers>>,
}

impl Buffer {
    fn room(&mut self, length: usize) -> &mut [u8] {
        let length = length.min(self.bytes.len());
        &mut self.bytes[..length]
    }

    fn freeze(mut self, used: usize) -> Bytes {
        self.used = used;
        if used <= Buffers::SMALL {
            // A short answer must not keep a long buffer alive.
            return Bytes::copy_from_slice(self.as_ref());
        }
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.used]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.put_back(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_home_and_show_only_what_was_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        let content: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
        std::fs::write(&path, &content).expect("there is room");
        let buffers = Arc::new(Buffers::default());
        let reader = FileReader::new(File::open(&path).expect("it is there"), buffers.clone());

        assert_eq!(reader.read(7, 200_000).expect("it is read"), content[7..200_007]);
        assert_eq!(reader.read(u64::MAX, 1).expect("it is read"), "");
        let Some(first) = reader.try_read(5, 100_000).expect("it is read") else {
            return; // This file system never answers at once, which the contract allows.
        };
        assert_eq!(first, content[5..5 + first.len()]);
        assert_eq!(buffers.idle.lock().expect("no panic").len(), 0);
        drop(first);
        assert_eq!(buffers.idle.lock().expect("no panic").len(), 1);
        let tail = reader.try_read(299_990, 100_000).expect("it is read").expect("it is cached");
        assert_eq!(tail, content[299_990..]);
        assert_eq!(buffers.idle.lock().expect("no panic").len(), 1, "a short answer is a copy");
    }
}
