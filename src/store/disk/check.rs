//! Reading a blob again: whether its file still has the bytes that its name says.
//!
//! What the page cache does not have yet is read and given back to it at once, so that looking at everything does not push out what is in use.
//! Left out: which blobs and when (`scrub`, `verify`), and what becomes of wrong ones (`writer`).

use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::Advice;
use serde::Serialize;

use super::blobs::{Blobs, is_link, open_itself};
use super::read::{Buffers, FileReader};
use crate::store::ReadAt;
use crate::types::{Algorithm, BlobId, Hasher};

/// What is read at once.
const CHUNK: usize = 256 << 10;

/// What is wrong with something that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Damage {
    /// There is no file.
    Missing,
    /// The file is longer or shorter than the entry says.
    Length,
    /// Other bytes than the digest names.
    Digest,
    /// The disk gives an error.
    Unreadable,
    /// A row of the index that cannot be read, or that leads nowhere.
    Record,
}

impl Damage {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Length => "length",
            Self::Digest => "digest",
            Self::Unreadable => "unreadable",
            Self::Record => "record",
        }
    }
}

/// A blob that is being read.
pub(super) struct Check {
    blob: BlobId,
    reader: FileReader,
    /// Which file it is: another one may get the name meanwhile.
    pub(super) inode: u64,
    hasher: Hasher,
    offset: u64,
}

/// How far a [`Check`] has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// There is more to read.
    Under,
    Whole,
    Wrong(Damage),
}

impl Check {
    /// Begins with a blob of `size` bytes. `Err` when there is nothing to read.
    pub(super) fn begin(
        blobs: &Blobs,
        buffers: &Arc<Buffers>,
        blob: BlobId,
        size: u64,
    ) -> Result<(Self, Progress), Damage> {
        let file = open_itself(&blobs.path(blob)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Damage::Missing,
            _ if is_link(&error) => Damage::Missing,
            _ => Damage::Unreadable,
        })?;
        let metadata = file.metadata().map_err(|_| Damage::Unreadable)?;
        let progress = match metadata.len() == size {
            true => Progress::Under,
            false => Progress::Wrong(Damage::Length),
        };
        let hasher = Hasher::new(Algorithm::Sha256).expect("a SHA-256 needs no length");
        let reader = FileReader::new(file, Arc::clone(buffers));
        Ok((Self { blob, reader, inode: metadata.ino(), hasher, offset: 0 }, progress))
    }

    /// Reads on, about `bytes`. Blocking.
    pub(super) fn step(&mut self, bytes: u64) -> Progress {
        let until = self.offset.saturating_add(bytes);
        while self.offset < until {
            match self.chunk() {
                Ok(chunk) if chunk.is_empty() => return self.end(),
                Ok(chunk) => {
                    self.hasher.update(&chunk);
                    self.offset += chunk.len() as u64;
                }
                Err(error) => {
                    tracing::warn!(blob = %self.blob, %error, "a blob cannot be read");
                    return Progress::Wrong(Damage::Unreadable);
                }
            }
        }
        Progress::Under
    }

    fn chunk(&self) -> io::Result<Bytes> {
        if let Some(chunk) = self.reader.try_read(self.offset, CHUNK)? {
            return Ok(chunk);
        }
        let chunk = self.reader.read(self.offset, CHUNK)?;
        let length = NonZeroU64::new(chunk.len() as u64);
        // A hint: where it is not taken, these pages go when others are wanted.
        let _ = rustix::fs::fadvise(self.reader.file(), self.offset, length, Advice::DontNeed);
        Ok(chunk)
    }

    fn end(&self) -> Progress {
        match self.hasher.clone().finish() == self.blob.digest() {
            true => Progress::Whole,
            false => Progress::Wrong(Damage::Digest),
        }
    }
}
