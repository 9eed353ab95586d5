//! The ledger's head: how much of it counts. All that comes after a crash is told by it, whatever else is on the disk.
//!
//! Two slots of one file are written in turns, each a block of its own, so that one that was not written to its end leaves the other one. A slot holds the
//! hexadecimal SHA-256 of what follows, a line's end, and JSON, padded with blanks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::trace::merkle::{Frontier, Hash};
use crate::trace::note::Signer;

/// Bytes of a slot: a block of all common disks, or several.
pub(super) const SLOT_BYTES: usize = 4096;

/// What counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// Rises with each head that is written.
    pub(super) sequence: u64,
    /// Bytes of the segment that is written to.
    pub(super) offset: u64,
    pub(super) frontier: Frontier,
    /// The signed note.
    pub(super) checkpoint: String,
}

#[derive(Serialize, Deserialize)]
struct Row {
    sequence: u64,
    size: u64,
    offset: u64,
    peaks: Vec<String>,
    checkpoint: String,
}

impl Head {
    /// The head of an empty ledger.
    pub(super) fn empty(signer: &Signer) -> Self {
        let frontier = Frontier::default();
        let checkpoint = signer.checkpoint(0, &frontier.root());
        Self { sequence: 0, offset: 0, frontier, checkpoint }
    }

    /// Where its slot begins.
    pub(super) const fn place(&self) -> u64 {
        self.sequence % 2 * SLOT_BYTES as u64
    }

    pub(super) fn slot(&self) -> Vec<u8> {
        let row = Row {
            sequence: self.sequence,
            size: self.frontier.size(),
            offset: self.offset,
            peaks: self.frontier.peaks().iter().map(|peak| STANDARD.encode(peak)).collect(),
            checkpoint: self.checkpoint.clone(),
        };
        let row = serde_json::to_string(&row).expect("plain values have a form in JSON");
        let mut slot = format!("{}\n{row}", hex::encode(Sha256::digest(&row))).into_bytes();
        debug_assert!(slot.len() <= SLOT_BYTES, "64 peaks and a note fit into a slot");
        slot.resize(SLOT_BYTES, b' ');
        slot
    }

    /// The newest of the slots that are whole.
    pub(super) fn newest(file: &[u8]) -> Option<Self> {
        file.chunks(SLOT_BYTES).filter_map(Self::read).max_by_key(|head| head.sequence)
    }

    fn read(slot: &[u8]) -> Option<Self> {
        let (digest, row) = std::str::from_utf8(slot).ok()?.trim_end().split_once('\n')?;
        if hex::encode(Sha256::digest(row)) != digest {
            return None;
        }
        let Row { sequence, size, offset, peaks, checkpoint } = serde_json::from_str(row).ok()?;
        let peak = |text: &String| Hash::try_from(STANDARD.decode(text).ok()?).ok();
        let peaks = peaks.iter().map(peak).collect::<Option<Vec<Hash>>>()?;
        let frontier = Frontier::of(size, peaks)?;
        Some(Self { sequence, offset, frontier, checkpoint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_slot_counts() {
        let signer = Signer::new(&[7; 32]);
        let first = Head { sequence: 4, ..Head::empty(&signer) };
        let mut frontier = first.frontier.clone();
        for number in 0..u8::MAX {
            frontier.push([number; 32], 0);
        }
        let second = Head { sequence: 5, offset: 9, frontier, ..first.clone() };
        assert_eq!((first.place(), second.place()), (0, SLOT_BYTES as u64));
        let mut file = [first.slot(), second.slot()].concat();
        assert_eq!(Head::newest(&file), Some(second.clone()));
        for at in [0, 70, 200] {
            let mut torn = file.clone();
            torn[SLOT_BYTES + at] ^= 1;
            assert_eq!(Head::newest(&torn), Some(first.clone()), "{at}");
        }
        assert_eq!(Head::newest(&file[..SLOT_BYTES + 100]), Some(first));
        file[..SLOT_BYTES].fill(0);
        assert_eq!(Head::newest(&file), Some(second));
        assert_eq!(Head::newest(&[]), None);
        assert_eq!(Head::newest(&[0; 2 * SLOT_BYTES]), None);
    }

    #[test]
    fn the_largest_head_fits_its_slot() {
        let signer = Signer::new(&[7; 32]);
        let frontier = Frontier::of((1 << 40) - 1, vec![[255; 32]; 40]).expect("it fits");
        let checkpoint = signer.checkpoint(u64::MAX, &frontier.root());
        let head = Head { sequence: u64::MAX, offset: u64::MAX, frontier, checkpoint };
        assert_eq!(Head::newest(&head.slot()), Some(head));
    }
}
