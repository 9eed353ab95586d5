//! Taking in the body of an answer that is to be kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;

use crate::cache::Parts;
use crate::cache::exchange::kept::Body;
use crate::cache::exchange::question::without_preconditions;
use crate::cache::failure::Failure;
use crate::cache::fill::{Adopted, Adoption, adopt};
use crate::store::{INLINE_LIMIT_BYTES, Stored};
use crate::types::{CacheKey, Head};
use crate::upstream::{OriginBody, OriginRequest};

/// A body taken in, or left as it was.
pub(super) enum Captured {
    /// Readable from now on; where it lies in the end is told by `stored`, unless it is all there already.
    Taken {
        body: Body,
        stored: Option<Arriving>,
    },
    Passing {
        body: OriginBody,
        why: &'static str,
    },
}

/// The rest of a transfer: it goes on while this is awaited. `None`: it could not be completed.
pub(super) type Arriving = BoxFuture<'static, Option<Stored>>;

/// Takes in the body that belongs to `head`: a small one at once, any other while it is read by others. `Err`: a small one broke off.
pub(super) async fn capture(
    parts: &Arc<Parts>,
    row: &CacheKey,
    request: &OriginRequest,
    head: &Head,
    elapsed: Duration,
    body: OriginBody,
) -> Result<Captured, Failure> {
    let in_memory = |bytes| Captured::Taken { body: Body::Memory(bytes), stored: None };
    match head.content_length() {
        _ if matches!(head.status.as_u16(), 204 | 205) => return Ok(in_memory(Bytes::new())),
        Some(length) if length <= INLINE_LIMIT_BYTES as u64 => {
            return collect(body).await.map(in_memory);
        }
        _ => {}
    }
    let adoption = Adoption {
        key: row.clone(),
        request: without_preconditions(request),
        head: head.clone(),
        elapsed,
        body,
    };
    Ok(match adopt(parts, adoption).await {
        Adopted::Filling { fill, stored } => {
            Captured::Taken { body: Body::Fill(fill), stored: Some(stored) }
        }
        Adopted::Through { body, why } => Captured::Passing { body, why },
    })
}

/// Reads a body whose announced length is within the limit; the client of upstream sees to it that no more comes.
async fn collect(mut body: OriginBody) -> Result<Bytes, Failure> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes.freeze())
}
