//! The form of a bundle: a tar (POSIX ustar, with GNU's numbers for members of 8 GiB and more), written and read in one pass.
//!
//! A tar, because everybody's tools list it, unpack it and split it, and because it needs no index in front or behind: both sides of a pipe hold one
//! chunk of it at a time. Members:
//!
//! ```text
//! bundle.json                  who made it, when, of what                 bundle.json.sig
//! parts/00000001.jsonl         entries, one a line (`record`)             parts/00000001.jsonl.sig
//! blobs/sha256/<hex>           each body that those name and no part before did
//! parts/00000002.jsonl ...
//! end.json                     how much it was: nothing was cut off       end.json.sig
//! ```
//!
//! A signature (`key`) stands behind what it is of, and covers the bundle's number and the member's name, so that parts of different bundles cannot be mixed
//! and none can be left out or moved. Bodies need none: their names are their digests, and the signed parts name them. Because entries come before
//! their bodies, and are signed in small parts, each can be kept for good as soon as it is there; an import that was interrupted loses nothing, and
//! passes over what it has. Left out: compression, since model files, wheels and layers have theirs.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

/// Bytes of a header, and what members are rounded up to.
const BLOCK: usize = 512;

/// The largest number that eleven octal digits hold.
const MOST_OCTAL: u64 = 0o777_7777_7777;

/// An archive that cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    #[error("it is no bundle: {0}")]
    Malformed(String),
    #[error("it ends too early, in {0}")]
    Truncated(String),
    #[error("it could not be read on: {0}")]
    Broken(String),
}

/// A member's name and length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub bytes: u64,
}

/// The bytes before a member's own. Names of bundles are short.
pub fn header(name: &str, bytes: u64, time_secs: u64) -> Bytes {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    debug_assert!(name.len() < 100);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    match bytes {
        0..=MOST_OCTAL => put(124, format!("{bytes:011o}\0").as_bytes()),
        _ => {
            put(124, &[0x80, 0, 0, 0]);
            put(128, &bytes.to_be_bytes());
        }
    }
    put(136, format!("{:011o}\0", time_secs.min(MOST_OCTAL)).as_bytes());
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(checksum(sum).as_bytes());
    Bytes::copy_from_slice(&block)
}

/// What fills up the last block of a member of `bytes` bytes.
pub fn padding(bytes: u64) -> Bytes {
    Bytes::from_static(&[0; BLOCK]).slice(..padding_bytes(bytes))
}

/// What an archive ends with.
pub fn trailer() -> Bytes {
    Bytes::from_static(&[0; 2 * BLOCK])
}

fn padding_bytes(bytes: u64) -> usize {
    usize::try_from(bytes.next_multiple_of(BLOCK as u64) - bytes).unwrap_or_default()
}

/// An archive as it arrives.
pub type Source = BoxStream<'static, Result<Bytes, String>>;

/// Reads members one after the other.
pub struct Reader {
    source: Source,
    /// What arrived and was not read yet.
    pending: Bytes,
    /// Bytes of the current member that were not read yet, and what fills up its last block.
    left: u64,
    padding: usize,
    name: String,
}

impl Reader {
    /// A reader that has read nothing yet.
    pub const fn new(source: Source) -> Self {
        Self { source, pending: Bytes::new(), left: 0, padding: 0, name: String::new() }
    }

    /// The next member, whatever is left of the one before. `None`: the end.
    pub async fn next(&mut self) -> Result<Option<Member>, ArchiveError> {
        while self.chunk().await?.is_some() {}
        let padding = std::mem::take(&mut self.padding);
        self.exactly(padding).await?;
        let block = self.exactly(BLOCK).await?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let member = read_header(&block)?;
        self.left = member.bytes;
        self.padding = padding_bytes(member.bytes);
        self.name.clone_from(&member.name);
        Ok(Some(member))
    }

    /// More of the current member's bytes. `None`: that was all.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ArchiveError> {
        if self.left == 0 {
            return Ok(None);
        }
        if self.pending.is_empty() {
            self.fill().await?;
        }
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.pending.len());
        self.left -= length as u64;
        Ok(Some(self.pending.split_to(length)))
    }

    /// The current member, whole.
    pub async fn whole(&mut self, limit_bytes: u64) -> Result<Bytes, ArchiveError> {
        if self.left > limit_bytes {
            let fault = format!("{} has more than {limit_bytes} bytes", self.name);
            return Err(ArchiveError::Malformed(fault));
        }
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// Reads whatever still comes, so that whoever sends it can be answered.
    pub async fn drain(&mut self) {
        while let Some(Ok(_)) = self.source.next().await {}
    }

    async fn exactly(&mut self, bytes: usize) -> Result<Bytes, ArchiveError> {
        let mut taken = BytesMut::with_capacity(bytes);
        while taken.len() < bytes {
            if self.pending.is_empty() {
                self.fill().await?;
            }
            let length = self.pending.len().min(bytes - taken.len());
            taken.extend_from_slice(&self.pending.split_to(length));
        }
        Ok(taken.freeze())
    }

    async fn fill(&mut self) -> Result<(), ArchiveError> {
        while self.pending.is_empty() {
            let place = if self.name.is_empty() { "its beginning" } else { self.name.as_str() };
            match self.source.next().await {
                Some(Ok(chunk)) => self.pending = chunk,
                Some(Err(error)) => return Err(ArchiveError::Broken(error)),
                None => return Err(ArchiveError::Truncated(place.to_owned())),
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("name", &self.name)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

fn read_header(block: &[u8]) -> Result<Member, ArchiveError> {
    let malformed = |fault: &str| ArchiveError::Malformed(fault.to_owned());
    let is_checksum = |at: usize| (148..156).contains(&at);
    let plain =
        block.iter().enumerate().map(|(at, byte)| if is_checksum(at) { b' ' } else { *byte });
    let sum = plain.map(u32::from).sum();
    if block[148..156] != *checksum(sum).as_bytes() {
        return Err(malformed("what should be the header of a member is none, or damaged"));
    }
    let name = block[..100].split(|byte| *byte == 0).next().unwrap_or_default();
    let name = str::from_utf8(name).map_err(|_| malformed("a member's name is no text"))?;
    if !matches!(block[156], b'0' | 0) {
        return Err(ArchiveError::Malformed(format!("{name} is no plain file")));
    }
    let size = &block[124..136];
    let bytes = match size.split_first() {
        Some((0x80, digits)) => {
            let (high, low) =
                digits.split_last_chunk::<8>().ok_or_else(|| malformed("a size is none"))?;
            high.iter().all(|byte| *byte == 0).then(|| u64::from_be_bytes(*low))
        }
        _ => octal(size),
    };
    let bytes = bytes.filter(|bytes| *bytes <= i64::MAX as u64);
    let bytes =
        bytes.ok_or_else(|| ArchiveError::Malformed(format!("the size of {name} is no number")))?;
    Ok(Member { name: name.to_owned(), bytes })
}

/// The sum of a header's bytes as every common tar writes it.
fn checksum(sum: u32) -> String {
    format!("{sum:06o}\0 ")
}

fn octal(text: &[u8]) -> Option<u64> {
    let text = str::from_utf8(text).ok()?.trim_matches(['\0', ' ']);
    u64::from_str_radix(text, 8).ok()
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut whole = Vec::new();
        for (name, bytes) in members {
            whole.extend_from_slice(&header(name, bytes.len() as u64, 1));
            whole.extend_from_slice(bytes);
            whole.extend_from_slice(&padding(bytes.len() as u64));
        }
        whole.extend_from_slice(&trailer());
        whole
    }

    async fn read(bytes: &[u8], chunk: usize) -> Result<Vec<(String, Vec<u8>)>, ArchiveError> {
        let chunks: Vec<_> =
            bytes.chunks(chunk).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
        let mut reader = Reader::new(stream::iter(chunks).boxed());
        let mut members = Vec::new();
        while let Some(member) = reader.next().await? {
            members.push((member.name, reader.whole(10_000).await?.to_vec()));
        }
        Ok(members)
    }

    #[tokio::test]
    async fn members_are_read_back_however_they_arrive() {
        let long = vec![7; 1300];
        let whole =
            archive(&[("a.json", b"{}"), ("empty", b""), ("blobs/x", &long), ("exact", &[1; 512])]);
        for chunk in [1, 7, 512, 100_000] {
            let members = read(&whole, chunk).await.expect("an archive");
            assert_eq!(members.len(), 4);
            assert_eq!(members[2], ("blobs/x".to_owned(), long.clone()));
        }
        assert_eq!(
            read_header(&header("big", 100 << 30, 1)).map(|member| member.bytes),
            Ok(100 << 30)
        );
    }

    #[tokio::test]
    async fn what_is_cut_or_damaged_says_where() {
        let whole = archive(&[("a.json", b"{}"), ("b.json", &[1; 600])]);
        let check = async |bytes: &[u8], expected: &str| {
            let error = read(bytes, 300).await.expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(&whole[..0], "in its beginning").await;
        check(&whole[..1100], "in a.json").await;
        check(&whole[..1600], "in b.json").await;
        check(&whole[..2100], "in b.json").await;
        check(&[b'x'; 600], "no bundle").await;
        let mut damaged = whole.clone();
        damaged[1024] ^= 1;
        check(&damaged, "damaged").await;
        damaged.clone_from(&whole);
        damaged[156] = b'2';
        check(&damaged, "damaged").await;
    }
}
