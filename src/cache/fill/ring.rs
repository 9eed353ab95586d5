//! A stretch of a body in memory: what has just come, for readers close behind it, and what found no room on the disk, until the readers
//! under way have taken it.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

/// A window of a body in memory, without gaps: bytes enter at its end and leave at its start.
#[derive(Debug)]
pub(super) struct Ring {
    /// Each with the offset at which it begins.
    chunks: VecDeque<(u64, Bytes)>,
    start: u64,
    end: u64,
    capacity: u64,
}

impl Ring {
    /// An empty ring at `offset` for up to `capacity` bytes.
    pub(super) const fn new(offset: u64, capacity: u64) -> Self {
        Self { chunks: VecDeque::new(), start: offset, end: offset, capacity }
    }

    /// Where what is held begins.
    pub(super) const fn start(&self) -> u64 {
        self.start
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
        let offset = self.end;
        self.end += chunk.len() as u64;
        self.chunks.push_back((offset, chunk));
    }

    /// Remembers `chunks`, which belong at `offset`, and forgets what came longest ago. What does not continue the ring takes its place.
    pub(super) fn remember(&mut self, offset: u64, chunks: &[Bytes]) {
        if self.end != offset {
            *self = self.at(offset);
        }
        for chunk in chunks {
            self.push(chunk.clone());
        }
        self.trim(self.end.saturating_sub(self.capacity));
    }

    /// An empty ring of the same capacity at `offset`: behind bytes that are in the file already.
    pub(super) const fn at(&self, offset: u64) -> Self {
        Self::new(offset, self.capacity)
    }

    /// What is held from `offset` on, as far as one chunk reaches; `None` outside the window.
    pub(super) fn get(&self, offset: u64) -> Option<Bytes> {
        if !(self.start..self.end).contains(&offset) {
            return None;
        }
        let behind = self.chunks.partition_point(|(start, _)| *start <= offset);
        let (start, chunk) = self.chunks.get(behind.checked_sub(1)?)?;
        Some(chunk.slice(usize::try_from(offset - start).ok()?..))
    }

    /// Lets go of everything before `offset`. True when that made room.
    pub(super) fn trim(&mut self, offset: u64) -> bool {
        let start = self.start;
        while self.start < offset.min(self.end) {
            let Some((at, first)) = self.chunks.front_mut() else { break };
            let surplus = offset - self.start;
            if first.len() as u64 <= surplus {
                self.start += first.len() as u64;
                self.chunks.pop_front();
            } else {
                first.advance(usize::try_from(surplus).unwrap_or(usize::MAX));
                self.start = offset;
                *at = offset;
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

    #[test]
    fn what_has_just_come_is_remembered() {
        let mut ring = Ring::new(0, 6);
        ring.remember(0, &[Bytes::from_static(b"abcd"), Bytes::from_static(b"efgh")]);
        assert_eq!((ring.get(1), ring.get(3).as_deref()), (None, Some(&b"d"[..])));
        ring.remember(8, &[Bytes::from_static(b"ij")]);
        assert_eq!((ring.get(3), ring.get(5).as_deref()), (None, Some(&b"fgh"[..])));
        ring.remember(50, &[Bytes::from_static(b"xy")]);
        assert_eq!((ring.get(8), ring.get(51).as_deref()), (None, Some(&b"y"[..])));
    }
}
