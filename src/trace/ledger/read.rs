//! Reading the ledger: its lines, and proofs about them. All of it blocks; call it off the async workers.

use std::fs::File;
use std::io;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memchr_iter;
use serde::{Deserialize, Serialize};

use super::files::{HASH_BYTES, SEGMENT_LEVEL, SEGMENT_RECORDS, segment_path};
use super::head::Head;
use crate::trace::merkle::{self, Frontier, Hash};
use crate::trace::note::{Checkpoint, NoteError, Verifier};
use crate::trace::record::Record;

/// The ledger as it was at one moment. Later appends change nothing of it.
#[derive(Debug, Clone)]
pub struct View {
    pub(super) directory: Arc<PathBuf>,
    pub(super) head: Arc<Head>,
    pub(super) key: Arc<Verifier>,
}

/// That a record is in the ledger: everything that somebody needs who trusts the key alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The line, as it was hashed.
    pub record: String,
    pub index: u64,
    /// Hashes that lead from the record to the root, lowest first, in base64.
    pub path: Vec<String>,
    /// The signed note with the root.
    pub checkpoint: String,
    /// The key that it is signed by.
    pub key: String,
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("the checkpoint is not to be believed: {0}")]
    Checkpoint(#[from] NoteError),
    #[error("a hash of the path is none")]
    Hash,
    #[error("the path does not lead from this record to the checkpoint's root")]
    Root,
    #[error("the record says that it is another one")]
    Index,
}

impl View {
    /// How many records there are.
    pub fn size(&self) -> u64 {
        self.head.frontier.size()
    }

    /// The signed note of this state.
    pub fn checkpoint(&self) -> &str {
        &self.head.checkpoint
    }

    pub fn key(&self) -> &Verifier {
        &self.key
    }

    /// The roots of full segments, by which a changed record is found among the others.
    pub fn segment_roots(&self) -> io::Result<Vec<Hash>> {
        let full = self.size() / SEGMENT_RECORDS;
        if full == 0 {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; usize::try_from(full * HASH_BYTES).map_err(io::Error::other)?];
        File::open(self.directory.join("roots"))?.read_exact_at(&mut bytes, 0)?;
        let (hashes, _) = bytes.as_chunks();
        Ok(hashes.to_vec())
    }

    /// Shows lines, in order, until told to stop.
    pub fn lines(
        &self,
        range: Range<u64>,
        show: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> io::Result<()> {
        let end = range.end.min(self.size());
        let mut at = range.start;
        while at < end {
            let number = at / SEGMENT_RECORDS;
            let first = number * SEGMENT_RECORDS;
            for (index, line) in (first..end).zip(Lines::of(&self.segment(number)?)) {
                if index >= at && show(index, line).is_break() {
                    return Ok(());
                }
            }
            at = first + SEGMENT_RECORDS;
        }
        Ok(())
    }

    /// Shows lines, last first, until told to stop.
    pub fn lines_backwards(
        &self,
        show: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> io::Result<()> {
        for number in (0..self.size().div_ceil(SEGMENT_RECORDS)).rev() {
            let first = number * SEGMENT_RECORDS;
            let segment = self.segment(number)?;
            let lines: Vec<(u64, &[u8])> = (first..).zip(Lines::of(&segment)).collect();
            for (index, line) in lines.into_iter().rev() {
                if show(index, line).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The bytes of a segment that count.
    pub fn segment(&self, number: u64) -> io::Result<Vec<u8>> {
        let file = File::open(segment_path(&self.directory, number))?;
        let length = match number == self.size() / SEGMENT_RECORDS {
            true => self.head.offset,
            false => file.metadata()?.len(),
        };
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Proves that a record is in this state of the ledger. `None`: there is no such record.
    pub fn prove(&self, index: u64) -> io::Result<Option<Proof>> {
        let mut record = None;
        self.lines(index..index.saturating_add(1), &mut |_, line| {
            record = Some(String::from_utf8_lossy(line).into_owned());
            ControlFlow::Break(())
        })?;
        let Some(record) = record.filter(|_| index < self.size()) else { return Ok(None) };
        let mut hashes = Hashes::of(self)?;
        let path = merkle::inclusion(index, self.size(), &mut |range| hashes.subtree(range))?;
        Ok(Some(Proof {
            record,
            index,
            path: path.iter().map(|hash| STANDARD.encode(hash)).collect(),
            checkpoint: self.checkpoint().to_owned(),
            key: self.key.to_string(),
        }))
    }

    /// Proves that this state begins with the one of `earlier` records. `None`: there were never so many.
    pub fn prove_consistency(&self, earlier: u64) -> io::Result<Option<Vec<Hash>>> {
        if earlier > self.size() {
            return Ok(None);
        }
        let mut hashes = Hashes::of(self)?;
        merkle::consistency(earlier, self.size(), &mut |range| hashes.subtree(range)).map(Some)
    }
}

impl Proof {
    /// Checks the proof, by `key` or else by the one that it names itself, and gives the checkpoint that the record is in.
    pub fn check(&self, key: Option<&Verifier>) -> Result<Checkpoint, ProofError> {
        let own: Verifier = self.key.parse()?;
        let checkpoint = key.unwrap_or(&own).checkpoint(&self.checkpoint)?;
        let decode = |text: &String| Hash::try_from(STANDARD.decode(text).ok()?).ok();
        let path: Option<Vec<Hash>> = self.path.iter().map(decode).collect();
        let record = merkle::leaf(self.record.as_bytes());
        let path = path.ok_or(ProofError::Hash)?;
        let root = merkle::root_by_inclusion(record, self.index, checkpoint.size, &path);
        if root != Some(checkpoint.root) {
            return Err(ProofError::Root);
        }
        let said: Option<Record> = serde_json::from_str(&self.record).ok();
        match said.is_none_or(|record| record.index == self.index) {
            true => Ok(checkpoint),
            false => Err(ProofError::Index),
        }
    }
}

/// Lines of a segment, without their ends.
pub struct Lines<'a> {
    text: &'a [u8],
    ends: memchr::Memchr<'a>,
    start: usize,
}

impl<'a> Lines<'a> {
    pub fn of(text: &'a [u8]) -> Self {
        Self { text, ends: memchr_iter(b'\n', text), start: 0 }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = self.ends.next()?;
        let line = &self.text[self.start..end];
        self.start = end + 1;
        Some(line)
    }
}

/// Roots of stretches of the ledger. Keeps the hashes of the segments it had to read: a proof needs two of them at most.
struct Hashes<'a> {
    view: &'a View,
    roots: Vec<Hash>,
    read: Vec<(u64, Vec<Hash>)>,
}

impl<'a> Hashes<'a> {
    fn of(view: &'a View) -> io::Result<Self> {
        Ok(Self { view, roots: view.segment_roots()?, read: Vec::new() })
    }

    /// The root of a stretch that begins at a multiple of the power of two that its length does not exceed.
    fn subtree(&mut self, range: Range<u64>) -> io::Result<Hash> {
        let mut frontier = Frontier::default();
        let mut at = range.start;
        while at < range.end {
            let number = at / SEGMENT_RECORDS;
            let whole = number * SEGMENT_RECORDS..(number + 1) * SEGMENT_RECORDS;
            let place = usize::try_from(number).map_err(io::Error::other)?;
            match self.roots.get(place) {
                Some(root) if range.start <= whole.start && whole.end <= range.end => {
                    frontier.push_full(*root, SEGMENT_LEVEL);
                }
                _ => {
                    let leaves = self.leaves(number)?;
                    let within = (at - whole.start) as usize
                        ..(range.end.min(whole.end) - whole.start) as usize;
                    let lost = || io::Error::other("a segment lacks records");
                    for leaf in leaves.get(within).ok_or_else(lost)? {
                        frontier.push(*leaf, u32::MAX);
                    }
                }
            }
            at = whole.end;
        }
        Ok(frontier.root())
    }

    fn leaves(&mut self, number: u64) -> io::Result<&[Hash]> {
        let known = self.read.iter().position(|(read, _)| *read == number);
        let place = match known {
            Some(place) => place,
            None => {
                let segment = self.view.segment(number)?;
                self.read.push((number, Lines::of(&segment).map(merkle::leaf).collect()));
                self.read.len() - 1
            }
        };
        Ok(&self.read[place].1)
    }
}
