//! A body seen as a row of chunks, each behind a header: Larder stores plain bytes, and some protocols transfer them framed.
//!
//! All positions are arithmetic, so a range of the view needs only the bytes that it shows, wherever they are. Left out: what the
//! headers say, which the adapter's [`Chunking::header`] knows.

use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, ready};

use bytes::Bytes;
use http_body::Body as _;

use crate::cache::body::{Body, BodyFault, Chunk};
use crate::cache::lookup::{CHUNK_HEADER_BYTES, Chunking};

impl Chunking {
    /// Length of the view.
    #[expect(clippy::len_without_is_empty, reason = "whether a view is empty is nobody's question")]
    pub fn len(&self) -> u64 {
        let content = self.window.end - self.window.start;
        content + content.div_ceil(self.chunk()) * CHUNK_HEADER_BYTES
    }

    /// Which bytes of the artifact a range of the view shows.
    pub fn content(&self, range: &Range<u64>) -> Range<u64> {
        self.position(range.start)..self.position(range.end)
    }

    /// The first byte of the artifact that is shown at or after `at`.
    fn position(&self, at: u64) -> u64 {
        let stride = self.chunk() + CHUNK_HEADER_BYTES;
        let within = (at % stride).saturating_sub(CHUNK_HEADER_BYTES);
        (self.window.start + at / stride * self.chunk() + within).min(self.window.end)
    }

    /// What stands at a position of the view.
    fn place(&self, at: u64) -> Place {
        let stride = self.chunk() + CHUNK_HEADER_BYTES;
        let (index, within) = (at / stride, at % stride);
        let start = self.window.start + index * self.chunk();
        let length = self.chunk().min(self.window.end - start);
        if within < CHUNK_HEADER_BYTES {
            let length = u32::try_from(length).expect("a chunk's length has 32 bits");
            let header = (self.header)(length);
            let skipped = usize::try_from(within).expect("a header has 8 bytes");
            return Place::Header(Bytes::copy_from_slice(&header[skipped..]));
        }
        Place::Content { left: length + CHUNK_HEADER_BYTES - within }
    }

    fn chunk(&self) -> u64 {
        u64::from(self.chunk_bytes.get())
    }
}

enum Place {
    /// The header from here on.
    Header(Bytes),
    /// Content of the artifact, this much to the end of the chunk.
    Content { left: u64 },
}

/// A range of a chunked view on its way.
pub(super) struct ChunkedSlice {
    chunking: Chunking,
    left: Range<u64>,
    content: Body,
    /// Content that has come and was not given yet.
    held: Bytes,
}

impl ChunkedSlice {
    /// `content` must be the body of [`Chunking::content`] of the same range.
    pub(super) const fn new(chunking: Chunking, range: Range<u64>, content: Body) -> Self {
        Self { chunking, left: range, content, held: Bytes::new() }
    }

    pub(super) const fn left(&self) -> u64 {
        self.left.end - self.left.start
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Chunk {
        if self.left.is_empty() {
            return Chunk::Ready(None);
        }
        let most = self.left();
        let chunk = match self.chunking.place(self.left.start) {
            Place::Header(header) => header.slice(..clamp(most, header.len())),
            Place::Content { left } => {
                if self.held.is_empty() {
                    self.held = match ready!(Pin::new(&mut self.content).poll_frame(context)) {
                        Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                        Some(Err(fault)) => return Chunk::Ready(Some(Err(fault))),
                        None => return Chunk::Ready(Some(Err(BodyFault::Missing))),
                    };
                }
                self.held.split_to(clamp(most.min(left), self.held.len()))
            }
        };
        self.left.start += chunk.len() as u64;
        Chunk::Ready(Some(Ok(chunk)))
    }
}

fn clamp(most: u64, length: usize) -> usize {
    usize::try_from(most).map_or(length, |most| most.min(length))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use http_body_util::BodyExt;

    use super::*;
    use crate::cache::found::Source;

    fn header(length: u32) -> [u8; 8] {
        (u64::from(length) | 0xAB00_0000_0000_0000).to_be_bytes()
    }

    /// The view as it would be stored.
    fn stored(content: &[u8], window: Range<usize>, chunk: usize) -> Vec<u8> {
        let chunks = content[window].chunks(chunk);
        chunks
            .flat_map(|chunk| {
                let length = u32::try_from(chunk.len()).expect("a small chunk");
                [&header(length)[..], chunk].concat()
            })
            .collect()
    }

    #[expect(clippy::disallowed_methods, reason = "these bodies are small")]
    #[tokio::test]
    async fn every_range_of_the_view_is_what_would_be_stored() {
        let content: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for (window, chunk) in [(0..1000, 100), (0..1000, 64), (300..301, 64), (128..999, 64)] {
            let expected = stored(&content, window.clone(), chunk);
            let chunking = Chunking {
                window: window.start as u64..window.end as u64,
                chunk_bytes: NonZeroU32::new(u32::try_from(chunk).expect("small")).expect("not 0"),
                header,
            };
            let source = Source::Memory(Bytes::from(content.clone())).chunked(chunking);
            assert_eq!(source.len(), Some(expected.len() as u64));
            for start in (0..expected.len()).step_by(7) {
                for end in [start + 1, start + 9, start + 200, expected.len()] {
                    let end = end.min(expected.len());
                    let body = source.body(Some(start as u64..end as u64));
                    let got = body.collect().await.expect("no fault").to_bytes();
                    assert_eq!(got[..], expected[start..end], "{window:?} {chunk} {start}..{end}");
                }
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "these bodies are small")]
    #[tokio::test]
    async fn a_body_that_breaks_cuts_the_view() {
        let chunking =
            Chunking { window: 0..10, chunk_bytes: NonZeroU32::new(4).expect("not 0"), header };
        let body = Source::Unread(10).chunked(chunking).body(None);
        assert!(body.collect().await.is_err());
    }
}
