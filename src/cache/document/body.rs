//! Reading a document's body: bounded in size and time, complete, content coding removed.

use std::io::Write;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flate2::write::{GzDecoder, ZlibDecoder};
use futures_util::StreamExt;
use http::header;
use tokio::time::{Instant, timeout_at};

use crate::cache::failure::Failure;
use crate::types::Head;
use crate::upstream::OriginBody;

/// Work on more bytes than this is done off the async workers.
const OFF_WORKER_BYTES: usize = 64 << 10;

/// A document, unlike a file, is of no use until it is whole, and everybody waits for the same one. So besides silence, which upstream's
/// own time-out ends, dripping ends it: beyond this long, it must have come faster than [`LEAST_BYTES_PER_SECOND`].
const UNHURRIED: Duration = Duration::from_secs(10);

/// Slower than any line that packages are installed over.
const LEAST_BYTES_PER_SECOND: u32 = 1 << 10;

/// Reads and decodes a whole body of at most `limit` bytes, before and after decoding.
pub(super) async fn read(head: &Head, body: OriginBody, limit: u64) -> Result<Bytes, Failure> {
    if head.content_length().is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let coding = Coding::of(head)?;
    let encoded = collect(body, limit).await?;
    match coding {
        Coding::Identity => Ok(encoded),
        // The answer to a `HEAD` names the coding of a body that does not come.
        _ if encoded.is_empty() => Ok(encoded),
        _ => off_worker(encoded.len(), move || coding.decode(&encoded, limit)).await,
    }
}

/// Runs pure work where it does not hold up other requests, when there is much of it.
pub(super) async fn off_worker<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    if bytes <= OFF_WORKER_BYTES {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn collect(mut body: OriginBody, limit: u64) -> Result<Bytes, Failure> {
    let begun = Instant::now();
    let mut whole = BytesMut::new();
    loop {
        let earned = Duration::from_secs(whole.len() as u64) / LEAST_BYTES_PER_SECOND;
        let Ok(chunk) = timeout_at(begun + UNHURRIED + earned, body.next()).await else {
            return Err(Failure::BadAnswer("the document comes too slowly".to_owned()));
        };
        let Some(chunk) = chunk else { return Ok(whole.freeze()) };
        let chunk = chunk?;
        if (whole.len() + chunk.len()) as u64 > limit {
            return Err(too_large(limit));
        }
        whole.extend_from_slice(&chunk);
    }
}

fn too_large(limit: u64) -> Failure {
    Failure::BadAnswer(format!("the document is larger than {limit} bytes"))
}

/// A content coding that we ask for or know all the same (RFC 9110 section 8.4.1).
#[derive(Debug, Clone, Copy)]
enum Coding {
    Identity,
    Gzip,
    Deflate,
}

impl Coding {
    fn of(head: &Head) -> Result<Self, Failure> {
        match head.text(&header::CONTENT_ENCODING).map(str::trim) {
            None if head.headers.contains_key(header::CONTENT_ENCODING) => {
                Err(Failure::BadAnswer("several content codings".to_owned()))
            }
            None | Some("" | "identity") => Ok(Self::Identity),
            Some("gzip" | "x-gzip") => Ok(Self::Gzip),
            Some("deflate") => Ok(Self::Deflate),
            Some(other) => {
                Err(Failure::BadAnswer(format!("content coding {other:?} was not asked for")))
            }
        }
    }

    fn decode(self, encoded: &[u8], limit: u64) -> Result<Bytes, Failure> {
        let sink = Bounded { bytes: Vec::new(), limit };
        let decoded = match self {
            Self::Identity => return Ok(Bytes::copy_from_slice(encoded)),
            Self::Gzip => {
                let mut decoder = GzDecoder::new(sink);
                decoder.write_all(encoded).and_then(|()| decoder.finish())
            }
            Self::Deflate => {
                let mut decoder = ZlibDecoder::new(sink);
                decoder.write_all(encoded).and_then(|()| decoder.finish())
            }
        };
        match decoded {
            Ok(sink) => Ok(sink.bytes.into()),
            Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => Err(too_large(limit)),
            Err(error) => Err(Failure::BadAnswer(format!("the content coding is broken: {error}"))),
        }
    }
}

/// Collects decoded bytes up to a limit, so that a small body cannot unpack into a huge one.
struct Bounded {
    bytes: Vec<u8>,
    limit: u64,
}

impl Write for Bounded {
    fn write(&mut self, chunk: &[u8]) -> std::io::Result<usize> {
        if (self.bytes.len() + chunk.len()) as u64 > self.limit {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(chunk);
        Ok(chunk.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};
    use http::StatusCode;

    use super::*;

    async fn decoded(coding: Option<&str>, body: Vec<u8>, limit: u64) -> Result<Bytes, String> {
        let mut head = Head::new(StatusCode::OK);
        if let Some(coding) = coding {
            head.headers.insert(header::CONTENT_ENCODING, coding.parse().expect("a field value"));
        }
        let body = futures_util::stream::iter([Ok(Bytes::from(body))]).boxed();
        read(&head, body, limit).await.map_err(|failure| failure.to_string())
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("writing to memory");
        encoder.finish().expect("writing to memory")
    }

    #[tokio::test]
    async fn bodies_are_bounded_before_and_after_decoding() {
        let bomb = gzip(&vec![0; 10_000_000]);
        assert!(bomb.len() < 20_000);
        let refused = decoded(Some("gzip"), bomb, 1_000_000).await;
        assert!(refused.is_err_and(|reason| reason.contains("larger than 1000000")));
        assert!(decoded(None, vec![0; 11], 10).await.is_err());
        assert_eq!(decoded(None, vec![0; 10], 10).await.map(|body| body.len()), Ok(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_document_is_read_and_a_dripping_one_is_given_up() {
        let parts = |count: usize, bytes: usize| {
            let parts = futures_util::stream::iter(0..count);
            let part = move |_| async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(Bytes::from(vec![0; bytes]))
            };
            parts.then(part).boxed()
        };
        let read = async |body| collect(body, u64::MAX).await.map(|bytes| bytes.len());
        assert!(matches!(read(parts(100, 2000)).await, Ok(200_000)));
        assert!(matches!(read(parts(9, 1)).await, Ok(9)));
        assert!(matches!(read(parts(100, 1)).await, Err(Failure::BadAnswer(_))));
    }

    #[tokio::test]
    async fn broken_and_unknown_codings_are_refused() {
        let mut cut = gzip(b"hello hello hello");
        cut.truncate(cut.len() - 4);
        assert!(decoded(Some("gzip"), cut, 100).await.is_err());
        assert!(decoded(Some("br"), b"x".to_vec(), 100).await.is_err());
        assert_eq!(decoded(Some("gzip"), gzip(b"hi"), 100).await, Ok(Bytes::from_static(b"hi")));
        assert_eq!(
            decoded(Some("identity"), b"hi".to_vec(), 100).await,
            Ok(Bytes::from_static(b"hi"))
        );
    }
}
