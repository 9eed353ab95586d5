//! Virtual xorbs: how a plain file looks to clients that fetch chunks.
//!
//! A Xet client rebuilds a file from runs of chunks of "xorbs". Larder keeps plain files, so it invents the xorbs: each file is cut, by arithmetic
//! alone, into runs of [`CHUNKS_PER_XORB`] uncompressed chunks of [`CHUNK_BYTES`]. Nothing has to be known of the bytes, so a file can be described
//! before its first byte is here, and nothing is stored twice.
//!
//! Both numbers stay within what clients accept: chunks of at most 128 KiB, xorbs of at most 64 MiB and 8192 chunks. They are part of
//! every xorb's name, because clients keep chunks under that name: whoever changes them changes [`NAMING`] too.

use std::num::NonZeroU32;
use std::ops::Range;

use sha2::{Digest as _, Sha256};

use crate::cache::lookup::{CHUNK_HEADER_BYTES, Chunking};
use crate::types::Digest;

/// Bytes of the file in every chunk but the last.
pub const CHUNK_BYTES: NonZeroU32 = NonZeroU32::new(64 << 10).expect("not zero");

/// Chunks in every xorb but the last.
pub const CHUNKS_PER_XORB: u64 = 1000;

/// Bytes of the file in every xorb but the last.
const XORB_BYTES: u64 = CHUNKS_PER_XORB * CHUNK_BYTES.get() as u64;

/// What the names of virtual xorbs are derived from, beside the file and the index: this layout.
const NAMING: &[u8] = b"larder xorb of 1000 chunks of 65536 bytes";

/// A file of known size as a row of virtual xorbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub size: u64,
}

/// Consecutive chunks of one xorb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Which xorb of the file.
    pub xorb: u64,
    /// Which of its chunks.
    pub chunks: Range<u64>,
    /// The bytes of the file that they hold.
    pub content: Range<u64>,
    /// Where they are in the xorb as it is transferred, headers included.
    pub bytes: Range<u64>,
}

impl Layout {
    /// The chunks that hold `range` of the file, one run per xorb, in order. The range must lie within the file.
    pub fn runs(self, range: Range<u64>) -> impl Iterator<Item = Run> {
        let last = range.end.min(self.size);
        let first = if range.start < last { range.start / XORB_BYTES } else { u64::MAX };
        let xorbs = first..last.div_ceil(XORB_BYTES);
        xorbs.map(move |xorb| self.run(xorb, &(range.start..last)))
    }

    fn run(self, xorb: u64, range: &Range<u64>) -> Run {
        let chunk = u64::from(CHUNK_BYTES.get());
        let start = xorb * XORB_BYTES;
        let first = range.start.saturating_sub(start) / chunk;
        let last = (range.end - start).div_ceil(chunk).min(CHUNKS_PER_XORB);
        let content = start + first * chunk..(start + last * chunk).min(self.size);
        let begin = first * (chunk + CHUNK_HEADER_BYTES);
        let length = content.end - content.start + (last - first) * CHUNK_HEADER_BYTES;
        Run { xorb, chunks: first..last, content, bytes: begin..begin + length }
    }

    /// A xorb as the view of the file that is transferred. `None` beyond the file's end.
    pub fn chunking(self, xorb: u64) -> Option<Chunking> {
        let start = xorb.checked_mul(XORB_BYTES).filter(|start| *start < self.size)?;
        Some(Chunking {
            window: start..self.size.min(start + XORB_BYTES),
            chunk_bytes: CHUNK_BYTES,
            header: chunk_header,
        })
    }
}

/// The name of a virtual xorb: the same for the same bytes under any path, never that of a real xorb, since clients keep chunks under it.
pub fn xorb_name(file: &Digest, xorb: u64) -> String {
    let name = Sha256::new()
        .chain_update(NAMING)
        .chain_update(file.to_string())
        .chain_update(xorb.to_be_bytes())
        .finalize();
    hex::encode(name)
}

/// The header of an uncompressed chunk: version 0, length as transferred, scheme 0, length as it is; both lengths are 24 bits, little-endian.
fn chunk_header(length: u32) -> [u8; CHUNK_HEADER_BYTES as usize] {
    let [a, b, c, _] = length.to_le_bytes();
    [0, a, b, c, 0, a, b, c]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Algorithm;

    const CHUNK: u64 = 65536;

    fn check(size: u64, range: Range<u64>, expected: &[Run]) {
        let runs: Vec<Run> = Layout { size }.runs(range.clone()).collect();
        assert_eq!(runs, expected, "{range:?} of {size}");
    }

    const fn run(xorb: u64, chunks: Range<u64>, content: Range<u64>, bytes: Range<u64>) -> Run {
        Run { xorb, chunks, content, bytes }
    }

    #[test]
    fn a_range_is_covered_by_whole_chunks() {
        check(5, 0..5, &[run(0, 0..1, 0..5, 0..13)]);
        check(0, 0..0, &[]);
        check(10, 10..10, &[]);
        let size = 2 * XORB_BYTES + 10;
        check(size, CHUNK..CHUNK + 1, &[run(0, 1..2, CHUNK..2 * CHUNK, 65544..131_088)]);
        check(size, CHUNK - 1..CHUNK + 1, &[run(0, 0..2, 0..2 * CHUNK, 0..131_088)]);
        let crossing = [
            run(0, 999..1000, XORB_BYTES - CHUNK..XORB_BYTES, 999 * 65544..1000 * 65544),
            run(1, 0..1, XORB_BYTES..XORB_BYTES + CHUNK, 0..65544),
        ];
        check(size, XORB_BYTES - 1..XORB_BYTES + 1, &crossing);
        check(size, size - 1..size, &[run(2, 0..1, 2 * XORB_BYTES..size, 0..18)]);
    }

    #[test]
    fn runs_follow_each_other_and_fit_the_transferred_view() {
        for size in [1, 65535, 65536, 65537, XORB_BYTES, XORB_BYTES + 1, 3 * XORB_BYTES + 70_000] {
            let layout = Layout { size };
            let mut at = 0;
            for run in layout.runs(0..size) {
                assert_eq!(run.content.start, at, "{size}");
                at = run.content.end;
                let view = layout.chunking(run.xorb).expect("a xorb of the file");
                assert_eq!(view.window, run.content, "{size}");
                assert_eq!(view.len(), run.bytes.end, "{size}");
            }
            assert_eq!(at, size);
            let beyond = layout.runs(0..size).count() as u64;
            assert!(layout.chunking(beyond).is_none() && layout.chunking(u64::MAX).is_none());
        }
    }

    #[test]
    fn very_large_files_are_described_without_their_bytes() {
        let size = 60_000_000_000;
        let range = 50_000_000_000..50_000_000_001;
        let run = Layout { size }.runs(range).next().expect("a run");
        assert!(run.content.contains(&50_000_000_000));
        assert_eq!(run.xorb, 50_000_000_000 / XORB_BYTES);
        assert_eq!(Layout { size }.runs(0..size).count(), 916);
    }

    #[test]
    fn headers_are_those_of_plain_chunks() {
        assert_eq!(chunk_header(0x0001_0000), [0, 0, 0, 1, 0, 0, 0, 1]);
        assert_eq!(chunk_header(5), [0, 5, 0, 0, 0, 5, 0, 0]);
    }

    #[test]
    fn names_depend_on_content_and_index_alone() {
        let digest = |byte| Digest::new(Algorithm::Sha256, &[byte; 32]).expect("32 bytes");
        assert_eq!(xorb_name(&digest(1), 0), xorb_name(&digest(1), 0));
        assert_ne!(xorb_name(&digest(1), 0), xorb_name(&digest(1), 1));
        assert_ne!(xorb_name(&digest(1), 0), xorb_name(&digest(2), 0));
        assert_eq!(xorb_name(&digest(1), 0).len(), 64);
    }
}
