//! Bytes that found no room on the disk, held in memory until the readers under way have taken them.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

/// A window of a body in memory, without gaps: bytes enter at its end and leave at its start.
#[derive(Debug)]
pub(super) struct Ring {
    chunks: VecDeque<Bytes>,
    start: u64,
    end: u64,
    capacity: u64,
}

impl Ring {
    /// An empty ring at `offset` for up to `capacity` bytes.
    pub(super) const fn new(offset: u64, capacity: u64) -> Self {
        Self { chunks: VecDeque::new(), start: offset, end: offset, capacity }
    }

    /// Where the next bytes must belong.
    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether `length` more bytes may enter. An empty ring takes any chunk, so that a large one cannot block for ever.
    pub(super) const fn has_room(&self, length: u64) -> bool {
        self.is_empty() || self.end - self.start + length <= self.capacity
    }

    pub(super) fn push(&mut self, chunk: Bytes) {
        self.end += chunk.len() as u64;
        self.chunks.push_back(chunk);
    }

    /// An empty ring of the same capacity at `offset`: behind bytes that are in the file already.
    pub(super) const fn at(&self, offset: u64) -> Self {
        Self::new(offset, self.capacity)
    }

    /// What is held from `offset` on, as far as one chunk reaches; `None` outside the window.
    pub(super) fn get(&self, offset: u64) -> Option<Bytes> {
        let mut ahead = offset.checked_sub(self.start)?;
        for chunk in &self.chunks {
            let length = chunk.len() as u64;
            if ahead < length {
                return Some(chunk.slice(usize::try_from(ahead).unwrap_or(usize::MAX)..));
            }
            ahead -= length;
        }
        None
    }

    /// Lets go of everything before `offset`. True when that made room.
    pub(super) fn trim(&mut self, offset: u64) -> bool {
        let start = self.start;
        while self.start < offset.min(self.end) {
            let Some(first) = self.chunks.front_mut() else { break };
            let surplus = offset - self.start;
            if first.len() as u64 <= surplus {
                self.start += first.len() as u64;
                self.chunks.pop_front();
            } else {
                first.advance(usize::try_from(surplus).unwrap_or(usize::MAX));
                self.start = offset;
            }
        }
        self.start > start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_a_window_that_moves_on() {
        let mut ring = Ring::new(100, 8);
        ring.push(Bytes::from_static(b"abcd"));
        ring.push(Bytes::from_static(b"efgh"));
        assert!(!ring.has_room(1));
        assert_eq!(ring.get(99), None);
        assert_eq!(ring.get(102).as_deref(), Some(&b"cd"[..]));
        assert_eq!(ring.get(108), None);
        ring.trim(105);
        assert_eq!((ring.get(104), ring.get(105).as_deref()), (None, Some(&b"fgh"[..])));
        assert!(ring.has_room(5) && !ring.has_room(6));
        ring.trim(200);
        assert!(ring.has_room(1_000) && ring.end() == 108);
    }
}
