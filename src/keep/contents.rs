//! The store as adapters read it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::ecosystem::naming::{Contents, Unreadable};
use crate::store::{ReadAt, Store, StoreError, Stored};
use crate::types::CacheKey;

/// Read at once.
const CHUNK_BYTES: usize = 4 << 20;

/// What is kept. Blocking.
pub(super) struct Kept<'a>(pub(super) &'a dyn Store);

impl Contents for Kept<'_> {
    fn keys(
        &self,
        prefix: &str,
        after: Option<&CacheKey>,
        limit: usize,
    ) -> Result<Vec<CacheKey>, Unreadable> {
        self.0.scan(prefix, after, limit).map_err(unreadable)
    }

    fn holds(&self, key: &CacheKey) -> Result<bool, Unreadable> {
        Ok(self.0.get(key).map_err(unreadable)?.is_some())
    }

    fn body(&self, key: &CacheKey) -> Result<Option<Bytes>, Unreadable> {
        let Some(entry) = self.0.get(key).map_err(unreadable)? else { return Ok(None) };
        match &entry.body {
            Stored::None => Ok(Some(Bytes::new())),
            Stored::Inline(bytes) => Ok(Some(bytes.clone())),
            Stored::Blob { id, size } => {
                let Some(reader) = self.0.open(*id).map_err(unreadable)? else { return Ok(None) };
                whole(&reader, *size).map(Some)
            }
        }
    }
}

fn whole(reader: &Arc<dyn ReadAt>, size: u64) -> Result<Bytes, Unreadable> {
    let mut body = BytesMut::new();
    while (body.len() as u64) < size {
        let chunk = reader.read(body.len() as u64, CHUNK_BYTES);
        let chunk = chunk.map_err(|error| Unreadable(error.to_string()))?;
        if chunk.is_empty() {
            return Err(Unreadable("a blob is shorter than it should be".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn unreadable(error: StoreError) -> Unreadable {
    Unreadable(error.to_string())
}
