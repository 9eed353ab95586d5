//! Taking in the body of an answer that is to be kept.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::header;

use crate::cache::failure::Failure;
use crate::store::INLINE_LIMIT_BYTES;
use crate::types::Head;
use crate::upstream::OriginBody;

/// A body taken in, or left as it was.
pub(super) enum Captured {
    Whole(Bytes),
    Passing(OriginBody),
}

/// Whether the end of a body can be told from a connection that broke: without that a part would be kept as the whole (RFC 9112 section 8).
pub(super) fn is_framed(head: &Head) -> bool {
    let chunked = |value: &http::HeaderValue| {
        value.to_str().is_ok_and(|text| text.to_ascii_lowercase().ends_with("chunked"))
    };
    let has_no_body = matches!(head.status.as_u16(), 204 | 205);
    let length = head.content_length().is_some();
    has_no_body || length || head.headers.get(header::TRANSFER_ENCODING).is_some_and(chunked)
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
