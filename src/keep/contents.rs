//! The store as adapters read it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::ecosystem::naming::{Contents, Unreadable};
use crate::store::{ReadAt, Store, StoreError, Stored};
use crate::types::{BlobId, CacheKey};

/// Read at once.
const CHUNK_BYTES: usize = 4 << 20;

/// What is kept, as the mounts' words read it. Blocking. What is not the bytes that it is named by counts as not there.
pub struct Kept<'a>(pub &'a dyn Store);

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
                let body = whole(&reader, *size)?;
                Ok((BlobId::of(&body) == *id).then_some(body))
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
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn unreadable(error: StoreError) -> Unreadable {
    Unreadable(error.to_string())
}
