//! Where the texts of records are read from when somebody wants to see one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use flate2::read::DeflateDecoder;
use serde::Deserialize;

use super::folder::{RECORD_LIMIT_BYTES, limited};
use crate::advisory::{Form, Place};

/// A file of the folder.
#[derive(Debug)]
pub(super) enum Source {
    /// One record.
    File(Box<Path>),
    /// Many, in a file that is held open: where it is replaced, what was read of it can still be read.
    Archive { path: Box<Path>, file: File },
}

/// Enough of a record to know which one it is.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    id: std::borrow::Cow<'a, str>,
}

impl Source {
    pub(super) fn file(path: &Path) -> Self {
        Self::File(path.into())
    }

    pub(super) fn archive(path: &Path, file: File) -> Self {
        Self::Archive { path: path.into(), file }
    }

    /// The archive's address; a single record's is not worth telling.
    pub(super) fn archive_path(&self) -> Option<&Path> {
        match self {
            Self::File(_) => None,
            Self::Archive { path, .. } => Some(path),
        }
    }

    /// The text of the record `id`. Blocks.
    ///
    /// # Errors
    ///
    /// When another text stands there by now: somebody wrote into the file, and it will be read again soon.
    pub(super) fn read(&self, place: Place, id: &str) -> io::Result<Vec<u8>> {
        let text = match self {
            Self::File(path) => limited(File::open(path)?, RECORD_LIMIT_BYTES)?,
            Self::Archive { file, .. } => {
                let mut written = vec![0; place.bytes as usize];
                file.read_exact_at(&mut written, place.offset)?;
                match place.form {
                    Form::Plain => written,
                    Form::Deflated => {
                        limited(DeflateDecoder::new(written.as_slice()), RECORD_LIMIT_BYTES)?
                    }
                }
            }
        };
        let named: Named<'_> = serde_json::from_slice(&text)?;
        match named.id == id {
            true => Ok(text),
            false => Err(io::Error::other(format!("{} stands where {id} stood", named.id))),
        }
    }
}
