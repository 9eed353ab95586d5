//! The partial body of what cannot be kept: it takes nothing, so that all of it goes through memory.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::store::{Partial, Progress, ReadAt, StoreError};
use crate::types::BlobId;

/// A place that takes no bytes.
#[derive(Debug)]
struct Nowhere;

pub(super) fn nowhere() -> Arc<dyn Partial> {
    Arc::new(Nowhere)
}

impl Partial for Nowhere {
    fn progress(&self) -> Option<Progress> {
        None
    }

    fn reserve(&self, _length: u64) -> Result<(), StoreError> {
        Err(StoreError::Full)
    }

    fn write(&self, _offset: u64, _chunks: &[Bytes]) -> Result<(), StoreError> {
        Err(StoreError::Full)
    }

    fn checkpoint(&self, _progress: &Progress) -> Result<(), StoreError> {
        Ok(())
    }

    fn seal(&self, _blob: BlobId, _length: u64) -> Result<Arc<dyn ReadAt>, StoreError> {
        Err(StoreError::Full)
    }

    fn discard(&self) {}
}

impl ReadAt for Nowhere {
    fn try_read(&self, _offset: u64, _length: usize) -> io::Result<Option<Bytes>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn read(&self, _offset: u64, _length: usize) -> io::Result<Bytes> {
        Err(io::ErrorKind::NotFound.into())
    }
}
