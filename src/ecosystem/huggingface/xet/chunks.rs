//! Reads chunks as upstream's storage sends them: a header of eight bytes, then the bytes as they are, compressed, or regrouped and compressed.
//!
//! What is read is checked against the headers alone; the digest of the whole file is what proves it.

use std::io::Read;

use bytes::{Buf, Bytes, BytesMut};
use lz4_flex::frame::FrameDecoder;

/// Bytes of a chunk's header.
const HEADER_BYTES: usize = 8;

/// The largest chunk, before it is compressed.
const MOST_CONTENT_BYTES: usize = 128 << 10;

/// The largest chunk as it is sent: what does not compress may grow a little.
const MOST_SENT_BYTES: usize = 2 * MOST_CONTENT_BYTES;

/// Chunks on their way.
#[derive(Debug, Default)]
pub struct Decoder {
    /// What has come of a chunk that is not whole yet.
    pending: BytesMut,
    /// Chunks to pass over first.
    skip: u64,
}

/// A chunk's header.
struct Header {
    sent: usize,
    content: usize,
    scheme: u8,
}

impl Decoder {
    /// One that passes over so many chunks first.
    pub fn behind(skip: u64) -> Self {
        Self { pending: BytesMut::new(), skip }
    }

    /// Takes what has come and gives the content of every chunk that is whole by now.
    pub fn decode(&mut self, arrived: &[u8]) -> Result<Vec<Bytes>, String> {
        self.pending.extend_from_slice(arrived);
        let mut chunks = Vec::new();
        while let Some(header) = Header::read(&self.pending)? {
            if self.pending.len() < HEADER_BYTES + header.sent {
                break;
            }
            self.pending.advance(HEADER_BYTES);
            let sent = self.pending.split_to(header.sent).freeze();
            match self.skip {
                0 => chunks.push(header.content_of(sent)?),
                _ => self.skip -= 1,
            }
        }
        Ok(chunks)
    }
}

impl Header {
    /// `None`: it has not come yet.
    fn read(sent: &[u8]) -> Result<Option<Self>, String> {
        let Some((header, _)) = sent.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let [version, a, b, c, scheme, d, e, f] = *header;
        let length = |bytes: [u8; 3]| {
            let [low, middle, high] = bytes.map(usize::from);
            low | middle << 8 | high << 16
        };
        let header = Self { sent: length([a, b, c]), content: length([d, e, f]), scheme };
        if version != 0 || header.sent > MOST_SENT_BYTES || header.content > MOST_CONTENT_BYTES {
            return Err(format!(
                "a chunk of version {version} with {} bytes of {}",
                header.sent, header.content
            ));
        }
        Ok(Some(header))
    }

    fn content_of(&self, sent: Bytes) -> Result<Bytes, String> {
        let content = match self.scheme {
            0 => sent,
            1 => decompressed(&sent, self.content)?.into(),
            2 => regrouped(&decompressed(&sent, self.content)?).into(),
            other => return Err(format!("a chunk is compressed by scheme {other}")),
        };
        match content.len() == self.content {
            true => Ok(content),
            false => {
                Err(format!("a chunk has {} bytes instead of {}", content.len(), self.content))
            }
        }
    }
}

/// Undoes LZ4. A chunk that turns out longer than its header says is not read to its end.
fn decompressed(sent: &[u8], length: usize) -> Result<Vec<u8>, String> {
    let mut content = Vec::with_capacity(length);
    let most = length as u64 + 1;
    FrameDecoder::new(sent)
        .take(most)
        .read_to_end(&mut content)
        .map_err(|error| format!("a chunk cannot be decompressed: {error}"))?;
    Ok(content)
}

/// Undoes the regrouping: all first bytes of four came first, then all second ones, and so on.
fn regrouped(planes: &[u8]) -> Vec<u8> {
    let mut content = vec![0; planes.len()];
    let mut planes = planes.iter();
    for first in 0..4 {
        for (place, byte) in content.iter_mut().skip(first).step_by(4).zip(planes.by_ref()) {
            *place = *byte;
        }
    }
    content
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use lz4_flex::frame::FrameEncoder;

    use super::*;

    fn compressed(content: &[u8]) -> Vec<u8> {
        let mut encoder = FrameEncoder::new(Vec::new());
        encoder.write_all(content).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    }

    fn planes(content: &[u8]) -> Vec<u8> {
        (0..4).flat_map(|first| content.iter().skip(first).step_by(4).copied()).collect()
    }

    fn framed(scheme: u8, sent: &[u8], length: usize) -> Vec<u8> {
        let [a, b, c, ..] = sent.len().to_le_bytes();
        let [d, e, f, ..] = length.to_le_bytes();
        [&[0, a, b, c, scheme, d, e, f], sent].concat()
    }

    fn decoded(sent: &[u8], step: usize) -> Result<Vec<u8>, String> {
        let mut decoder = Decoder::default();
        let mut content = Vec::new();
        for part in sent.chunks(step) {
            for chunk in decoder.decode(part)? {
                content.extend_from_slice(&chunk);
            }
        }
        if decoder.pending.is_empty() { Ok(content) } else { Err("unfinished".to_owned()) }
    }

    #[test]
    fn every_scheme_is_read_in_pieces_of_any_size() {
        let content: Vec<u8> = (0..10_003_u32).map(|n| (n / 7 % 251) as u8).collect();
        let sent = [
            framed(0, &content, content.len()),
            framed(1, &compressed(&content), content.len()),
            framed(2, &compressed(&planes(&content)), content.len()),
            framed(2, &compressed(&planes(b"abc")), 3),
        ]
        .concat();
        let expected = [&content[..], &content, &content, b"abc"].concat();
        for step in [1, 7, 8, 4096, sent.len()] {
            assert_eq!(decoded(&sent, step).as_ref(), Ok(&expected), "{step}");
        }
    }

    #[test]
    fn chunks_are_passed_over() {
        let sent = [framed(0, b"one", 3), framed(0, b"two", 3), framed(0, b"three", 5)].concat();
        let chunks = Decoder::behind(2).decode(&sent).expect("three chunks");
        assert_eq!(chunks, [Bytes::from_static(b"three")]);
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        let bomb = compressed(&vec![0; 1 << 20]);
        for (name, sent) in [
            ("version", vec![1, 1, 0, 0, 0, 1, 0, 0, 9]),
            ("scheme", framed(9, b"x", 1)),
            ("too long", framed(0, b"xy", 1)),
            ("too short", framed(1, &compressed(b"x"), 2)),
            ("no LZ4", framed(1, b"nonsense", 8)),
            ("a bomb", framed(1, &bomb, 100)),
            ("huge", vec![0, 255, 255, 255, 0, 255, 255, 255]),
            ("cut", framed(0, b"xyz", 3)[..10].to_vec()),
        ] {
            assert!(decoded(&sent, 4096).is_err(), "{name}");
        }
    }
}
