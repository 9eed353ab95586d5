//! Bytes as they come, for readers that want them in pieces of their own: what is too short is held until more is there, what nobody needs is
//! skipped.

/// A reader that is fed by a [`Tap`].
pub(super) trait Machine {
    type Notes;

    /// Reads from the beginning of `input`, which is never empty. It is shown what it leaves again, with more behind it.
    fn advance(&mut self, input: &[u8], notes: &mut Self::Notes) -> Step;
}

/// What a reader made of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It took this many bytes, at least one.
    Used(usize),
    /// It took this many bytes, and of those that follow it needs none of so many.
    Skip(usize, u64),
    /// It can do nothing before it sees this many at once: more than it was shown.
    Need(usize),
    /// It took this many bytes and wants no more; what follows is not its own.
    Done(usize),
}

/// How far a piece of input was used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// All of it.
    Drained,
    /// The reader is done; this many bytes of the piece are left.
    Done(usize),
}

/// Holds what a reader has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Tap {
    held: Vec<u8>,
    /// How many bytes the reader wants to see at once.
    needed: usize,
    skip: u64,
}

impl Tap {
    /// How many of the next bytes nobody needs to see.
    pub(super) const fn skips(&self) -> u64 {
        self.skip
    }

    /// Whether bytes are held that the reader has not taken.
    pub(super) const fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Passes over bytes that nobody needs to see.
    pub(super) fn pass(&mut self, count: u64) {
        self.skip = self.skip.saturating_sub(count);
    }

    /// Feeds `machine`. When it is done, nothing is held; how much of `bytes` is not its own is told. A reader that is done must have taken
    /// what was held of earlier pieces: it asks for no more than what belongs to it.
    pub(super) fn feed<M: Machine>(
        &mut self,
        bytes: &[u8],
        machine: &mut M,
        notes: &mut M::Notes,
    ) -> Flow {
        let mut at = 0;
        loop {
            let held_before = self.held.len();
            if held_before > 0 && held_before >= self.needed {
                let step = machine.advance(&self.held, notes);
                if let Step::Done(used) = step {
                    self.held.clear();
                    return Flow::Done((bytes.len() - at + held_before - used).min(bytes.len()));
                }
                self.take(step);
                // What is left of it and came with this piece is read where it lies.
                if self.held.len() <= at {
                    at -= self.held.len();
                    self.held.clear();
                }
                continue;
            }
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len() - at);
            self.skip -= skipped as u64;
            at += skipped;
            if at == bytes.len() {
                return Flow::Drained;
            }
            if held_before > 0 {
                let missing = (self.needed - held_before).min(bytes.len() - at);
                self.held.extend_from_slice(&bytes[at..at + missing]);
                at += missing;
                continue;
            }
            match machine.advance(&bytes[at..], notes) {
                Step::Used(used) => at += used,
                Step::Skip(used, skip) => {
                    at += used;
                    self.skip = skip;
                }
                Step::Need(needed) => {
                    self.needed = needed.max(bytes.len() - at + 1);
                    self.held.extend_from_slice(&bytes[at..]);
                    return Flow::Drained;
                }
                Step::Done(used) => return Flow::Done(bytes.len() - at - used),
            }
        }
    }

    /// Lets go of what a reader took of what is held.
    fn take(&mut self, step: Step) {
        self.needed = 0;
        match step {
            Step::Used(used) | Step::Done(used) => drop(self.held.drain(..used)),
            Step::Skip(used, skip) => {
                self.held.drain(..used);
                let early = self.held.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
                self.held.drain(..early);
                self.skip = skip - early as u64;
            }
            Step::Need(needed) => self.needed = needed.max(self.held.len() + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a length, that many bytes, and skips as many, until a zero.
    #[derive(Default)]
    struct Lengths;

    impl Machine for Lengths {
        type Notes = Vec<Vec<u8>>;

        fn advance(&mut self, input: &[u8], notes: &mut Self::Notes) -> Step {
            let length = usize::from(input[0]);
            if length == 0 {
                return Step::Done(1);
            }
            match input.get(1..=length) {
                Some(bytes) => {
                    notes.push(bytes.to_vec());
                    Step::Skip(1 + length, length as u64)
                }
                None => Step::Need(1 + length),
            }
        }
    }

    #[test]
    fn how_bytes_arrive_makes_no_difference() {
        let bytes = b"\x03abc---\x01d-\x05efghi-----\0rest";
        for size in 1..bytes.len() {
            let (mut tap, mut machine, mut notes) = (Tap::default(), Lengths, Vec::new());
            let mut left = None;
            for (index, piece) in bytes.chunks(size).enumerate() {
                if let Flow::Done(unused) = tap.feed(piece, &mut machine, &mut notes) {
                    left = Some(bytes.len() - (index * size + piece.len()) + unused);
                    break;
                }
            }
            assert_eq!(notes, [b"abc".to_vec(), b"d".to_vec(), b"efghi".to_vec()], "{size}");
            assert_eq!(left, Some(4), "{size}");
            assert!(!tap.is_holding());
        }
    }
}
