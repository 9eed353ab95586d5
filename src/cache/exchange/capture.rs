//! Taking in the body of an answer that is to be kept.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use crate::cache::failure::Failure;
use crate::store::INLINE_LIMIT_BYTES;
use crate::types::Head;
use crate::upstream::OriginBody;

/// A body taken in, or left as it was.
pub(super) enum Captured {
    Whole(Bytes),
    Passing(OriginBody),
}

/// Takes in the body that belongs to `head`. `Err`: it broke off.
pub(super) async fn capture(head: &Head, body: OriginBody) -> Result<Captured, Failure> {
    let limit = INLINE_LIMIT_BYTES as u64;
    match head.content_length() {
        Some(length) if length <= limit => collect(body).await.map(Captured::Whole),
        _ if head.status == http::StatusCode::NO_CONTENT => Ok(Captured::Whole(Bytes::new())),
        _ => Ok(Captured::Passing(body)),
    }
}

/// Reads a body whose announced length is within the limit; the client of upstream sees to it that no more comes.
async fn collect(mut body: OriginBody) -> Result<Bytes, Failure> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes.freeze())
}
