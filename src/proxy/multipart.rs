//! Several ranges in one response: `multipart/byteranges` (RFC 9110 section 14.6).

use std::ops::Range;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use crate::cache::found::Source;
use crate::proxy::deliver::{Content, content_range, empty};
use crate::server::{Body, BodyError};
use crate::types::{BlobId, Head};

/// Sends `parts` of a body of `size` bytes, each behind a head of its own.
pub(crate) fn respond(
    head: Head,
    source: Source,
    parts: Vec<Range<u64>>,
    size: u64,
) -> Response<Content> {
    let mut response = empty(StatusCode::PARTIAL_CONTENT);
    *response.headers_mut() = head.headers;
    let content_type = response.headers_mut().remove(header::CONTENT_TYPE);
    let boundary = boundary(&parts, size);
    let heads: Vec<Bytes> =
        parts.iter().map(|part| part_head(&boundary, content_type.as_ref(), part, size)).collect();
    let tail = Bytes::from(format!("\r\n--{boundary}--\r\n"));
    let length = tail.len() as u64
        + heads.iter().map(|head| head.len() as u64).sum::<u64>()
        + parts.iter().map(|part| part.end - part.start).sum::<u64>();
    let pieces = stream::iter(heads.into_iter().zip(parts)).flat_map(move |(head, part)| {
        let body = source.body(Some(part)).into_data_stream();
        one(head).chain(body.map(|data| data.map(Frame::data).map_err(BodyError::from)))
    });
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let kind = format!("multipart/byteranges; boundary={boundary}");
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_str(&kind).expect("a boundary is made of hexadecimal digits"),
    );
    *response.body_mut() = Content::Made(Body::new(StreamBody::new(pieces.chain(one(tail)))));
    response
}

fn one(bytes: Bytes) -> stream::Once<std::future::Ready<Result<Frame<Bytes>, BodyError>>> {
    stream::once(std::future::ready(Ok(Frame::data(bytes))))
}

fn part_head(
    boundary: &str,
    content_type: Option<&HeaderValue>,
    part: &Range<u64>,
    size: u64,
) -> Bytes {
    let mut head = format!("\r\n--{boundary}\r\n").into_bytes();
    if let Some(content_type) = content_type {
        head.extend_from_slice(b"Content-Type: ");
        head.extend_from_slice(content_type.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"Content-Range: ");
    head.extend_from_slice(content_range(part, size).as_bytes());
    head.extend_from_slice(b"\r\n\r\n");
    head.into()
}

/// A text that no part is likely to hold, the same for the same question.
fn boundary(parts: &[Range<u64>], size: u64) -> String {
    let seed = format!("larder {size} {parts:?}");
    BlobId::of(seed.as_bytes()).to_hex()[..32].to_owned()
}
