//! What a fill and its readers share: what has come, who reads where, how it ended.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use crate::cache::ask::Answered;
use crate::cache::failure::Failure;
use crate::cache::fill::Patience;
use crate::cache::fill::map::{LaneId, Map, NEAR_BYTES, Runs};
use crate::cache::fill::release::{self, Hold, Promise, View};
use crate::cache::fill::ring::Ring;
use crate::inspect::Report;
use crate::store::ReadAt;
use crate::types::{Head, Timestamp};

/// What upstream's head said, as it is replayed to every reader.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) head: Head,
    /// Status of upstream's answer.
    pub(crate) status: u16,
    /// What upstream took to answer.
    pub(crate) elapsed: Duration,
    pub(crate) opened: Timestamp,
    /// Why the body will not be kept, when that is clear: it goes through memory to those who came in time.
    pub(crate) obstacle: Option<&'static str>,
}

/// How a fill ended.
#[derive(Debug, Clone)]
pub(crate) enum Ending {
    /// Complete and right; readers read on to the end.
    Verified,
    /// Given up with nobody there, or what it was for had been kept just before: look again.
    Again,
    /// Upstream's answer cannot be kept and passes through; why, as a `Cache-Status` detail.
    Through(&'static str),
    Failed(Failure),
}

/// What has just come stays in memory up to this many bytes, for all who follow closely: they need not read it back from the file.
const RECENT_BYTES: u64 = 1 << 20;

/// What a reader finds at an offset.
pub(crate) enum Look {
    /// The bytes up to this offset are in the file.
    File(Arc<dyn ReadAt>, u64),
    /// These bytes, in memory because they have just come, or because the disk is full.
    Memory(Bytes),
    End,
    /// The reader must be cut off.
    Cut(Failure),
}

/// The shared state of a fill.
pub(super) struct State {
    pub(super) opened: Option<Arc<Opened>>,
    pub(super) map: Map,
    pub(super) promise: Promise,
    /// What inspection leaves to be seen, while it is not done.
    pub(super) hold: Option<Hold>,
    /// What was found in it, once nothing more is to be found.
    pub(super) found: Option<Arc<Report>>,
    /// An answer that passes through, for the first who takes it.
    pub(super) unkept: Option<Answered>,
    ending: Option<Ending>,
    file: Option<Arc<dyn ReadAt>>,
    recent: Ring,
    overflow: Option<Overflow>,
    seats: BTreeMap<u64, Seat>,
    seats_named: u64,
    /// Bytes that an earlier transfer had brought.
    resumed: u64,
    /// Somebody was given the head, so that another body can no longer take its place.
    given: bool,
}

/// Where the bytes are since the disk is full.
struct Overflow {
    /// What had reached the file.
    in_file: Runs,
    ring: Ring,
    /// Where the ring began, when none of its bytes were ever to be kept: who comes once that is gone is too late.
    begin: Option<u64>,
}

/// A reader's place.
#[derive(Default)]
struct Seat {
    waker: Option<Waker>,
    /// What is left to read, for those who read a body.
    reading: Option<Range<u64>>,
    /// Sleeps until the first byte of `reading` is there.
    waits: bool,
    /// Kept everybody waiting for room in the ring for too long.
    too_slow: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            opened: None,
            map: Map::default(),
            promise: Promise::default(),
            hold: None,
            found: None,
            unkept: None,
            ending: None,
            file: None,
            recent: Ring::new(0, RECENT_BYTES),
            overflow: None,
            seats: BTreeMap::new(),
            seats_named: 0,
            resumed: 0,
            given: false,
        }
    }
}

impl State {
    /// Takes a place; tells whether it is the only one. Who comes too late for a body that was never to be kept gets nothing of it.
    pub(super) fn sit(&mut self) -> (u64, bool) {
        let seat = self.seats_named;
        self.seats_named += 1;
        let passes = self.overflow.as_ref().is_some_and(|overflow| overflow.begin.is_some());
        let reading = passes.then_some(0..u64::MAX);
        let too_slow = self.is_gone();
        self.seats.insert(seat, Seat { reading, too_slow, ..Seat::default() });
        (seat, self.seats.len() == 1)
    }

    /// Whether the first bytes of a body that was never to be kept are gone.
    pub(super) fn is_gone(&self) -> bool {
        let overflow = self.overflow.as_ref();
        overflow.is_some_and(|over| over.begin.is_some_and(|begin| over.ring.start() > begin))
    }

    /// What `from` was going to read, another place will.
    pub(super) fn hand_over(&mut self, from: u64) {
        if let Some(seat) = self.seats.get_mut(&from) {
            seat.reading = None;
        }
    }

    /// Gives a place up; tells whether it was the last.
    pub(super) fn leave(&mut self, seat: u64) -> bool {
        self.seats.remove(&seat);
        self.trim();
        self.seats.is_empty()
    }

    /// Bytes that an earlier transfer had brought.
    pub(super) const fn resumed(&self) -> u64 {
        self.resumed
    }

    pub(super) fn readers(&self) -> usize {
        self.seats.len()
    }

    pub(super) fn has_readers(&self) -> bool {
        !self.seats.is_empty()
    }

    /// Whether a reader follows closely, so that it would have the rest sooner if it came sooner.
    pub(super) fn is_followed(&self) -> bool {
        let close = self.map.prefix().saturating_sub(NEAR_BYTES);
        let mut readings = self.seats.values().filter_map(|seat| seat.reading.as_ref());
        readings.any(|reading| reading.start >= close && !reading.is_empty())
    }

    pub(super) fn wait<T>(&mut self, seat: u64, waker: &Waker) -> Poll<T> {
        if let Some(seat) = self.seats.get_mut(&seat) {
            seat.waker = Some(waker.clone());
        }
        Poll::Pending
    }

    pub(super) fn take_wakers(&mut self) -> Vec<Waker> {
        self.seats.values_mut().filter_map(|seat| seat.waker.take()).collect()
    }

    /// Begins: the head is there, and `file` may hold a prefix from an earlier fill.
    pub(super) fn open(
        &mut self,
        opened: Opened,
        file: Arc<dyn ReadAt>,
        map: Map,
        promise: Promise,
        hold: Option<Hold>,
    ) {
        self.hold = hold;
        self.opened = Some(Arc::new(opened));
        self.file = Some(file);
        self.resumed = map.arrived().bytes();
        self.map = map;
        self.promise = promise;
    }

    /// Forgets everything that came, unless somebody was given the head of it. True when it was forgotten.
    pub(super) fn restart(&mut self) -> bool {
        if self.given || self.overflow.is_some() {
            return false;
        }
        self.opened = None;
        self.file = None;
        self.recent = Ring::new(0, RECENT_BYTES);
        self.map = Map::default();
        true
    }

    /// Notes chunks that a lane has written to `range` of the file.
    pub(super) fn bring(&mut self, lane: LaneId, range: Range<u64>, chunks: &[Bytes]) {
        self.map.bring(lane, range.clone());
        // Those who read in order are here; what came ahead of them will be old when they get there.
        if self.map.prefix() == range.end {
            self.recent.remember(range.start, chunks);
        }
    }

    pub(super) fn end(&mut self, ending: Ending) {
        if !matches!(ending, Ending::Verified) {
            self.file = None;
            self.overflow = None;
            self.recent = Ring::new(0, RECENT_BYTES);
        }
        self.ending = Some(ending);
    }

    /// Readers go on in the sealed blob.
    pub(super) fn swap_file(&mut self, file: Arc<dyn ReadAt>) {
        self.file = Some(file);
        self.recent = Ring::new(0, RECENT_BYTES);
    }

    /// Whether somebody who joins may go on, or how the fill ended without a body. Who goes on was given the head.
    pub(super) fn admit(
        &mut self,
        seat: u64,
        patience: Patience,
    ) -> Option<Result<Arc<Opened>, Ending>> {
        if self.seats.get(&seat).is_some_and(|seat| seat.too_slow) {
            return Some(Err(Ending::Again));
        }
        let opened = match &self.ending {
            None => self.opened.as_ref().filter(|_| self.is_visible(patience))?,
            Some(Ending::Verified) => self.opened.as_ref()?,
            Some(ending) => return Some(Err(ending.clone())),
        };
        self.given = true;
        Some(Ok(Arc::clone(opened)))
    }

    fn is_visible(&self, patience: Patience) -> bool {
        let view = match patience {
            Patience::Head => View::Sequential,
            Patience::Digest => View::Verified,
        };
        self.limit(view) > 0
    }

    fn limit(&self, view: View) -> u64 {
        match self.ending {
            Some(Ending::Verified) => u64::MAX,
            _ => {
                let held = self.hold.map_or(u64::MAX, |hold| hold.limit(view));
                release::limit(self.promise, self.map.total, self.map.prefix(), view).min(held)
            }
        }
    }

    /// Whether inspection leaves the byte at `offset` to be seen. Nothing is held back once the fill has ended.
    pub(super) fn is_shown(&self, offset: u64) -> bool {
        let is_seen = |hold: Hold| hold.limit(View::Sequential) > offset;
        self.ending.is_some() || self.hold.is_none_or(is_seen)
    }

    /// What was found in it, or that nobody will know any more.
    pub(super) fn findings(&self) -> Option<Option<Arc<Report>>> {
        match (&self.found, &self.ending) {
            (Some(found), _) => Some(Some(Arc::clone(found))),
            (None, Some(_)) => Some(None),
            (None, None) => None,
        }
    }

    /// Notes what a reader still wants. True when that made room in the ring.
    pub(super) fn moved(&mut self, seat: u64, at: u64, end: Option<u64>) -> bool {
        let end = end.or(self.map.total).unwrap_or(u64::MAX);
        if let Some(seat) = self.seats.get_mut(&seat) {
            seat.reading = Some(at..end);
            seat.waits = false;
        }
        self.trim()
    }

    /// What a reader finds at `at`; `None` when it must wait.
    pub(super) fn look(
        &mut self,
        seat: u64,
        at: u64,
        end: Option<u64>,
        view: View,
    ) -> Option<Look> {
        match &self.ending {
            None | Some(Ending::Verified) => {}
            Some(Ending::Failed(failure)) => return Some(Look::Cut(failure.clone())),
            Some(Ending::Again | Ending::Through(_)) => return Some(Look::Cut(given_up())),
        }
        let end = end.or(self.map.total).unwrap_or(u64::MAX);
        if at >= end {
            return Some(Look::End);
        }
        let until = self.limit(view).min(end);
        let found = self.find(at, until);
        let seat = self.seats.get_mut(&seat)?;
        if seat.too_slow {
            return Some(Look::Cut(slow()));
        }
        seat.waits = found.is_none();
        found
    }

    fn find(&self, at: u64, until: u64) -> Option<Look> {
        if at >= until {
            return None;
        }
        if let Some(chunk) = self.recent.get(at) {
            return Some(Look::memory(chunk, until - at));
        }
        let in_file =
            self.overflow.as_ref().map_or_else(|| self.map.arrived(), |over| &over.in_file);
        let file_end = in_file.end_of(at).min(until);
        if file_end > at {
            return self.file.as_ref().map(|file| Look::File(Arc::clone(file), file_end));
        }
        let overflow = self.overflow.as_ref()?;
        if let Some(chunk) = overflow.ring.get(at) {
            return Some(Look::memory(chunk, until - at));
        }
        // It came and went: this reader was too late for it.
        (self.map.arrived().end_of(at) > at).then(|| Look::Cut(slow()))
    }

    /// Whether a reader sleeps for bytes that no lane is about to bring.
    pub(super) fn is_wanted(&self, seat: u64) -> bool {
        self.seats.get(&seat).is_some_and(|seat| self.block_for(seat).is_some())
    }

    /// Gives the blocks that a reader ahead sleeps for to a new lane.
    pub(super) fn claim_wanted(&mut self) -> Option<(LaneId, Range<u64>)> {
        if self.overflow.is_some() {
            return None;
        }
        let block = self.seats.values().find_map(|seat| self.block_for(seat))?;
        Some((self.map.claim(block.clone()), block))
    }

    fn block_for(&self, seat: &Seat) -> Option<Range<u64>> {
        let wanted = seat.reading.as_ref().filter(|_| seat.waits && self.ending.is_none())?;
        self.map.block_for(wanted)
    }

    /// From now on bytes go to a ring of `capacity` bytes in memory. Idempotent.
    pub(super) fn overflow(&mut self, capacity: u64) {
        if self.overflow.is_none() {
            let ring = Ring::new(self.map.prefix(), capacity);
            let in_file = self.map.arrived().clone();
            self.overflow = Some(Overflow { in_file, ring, begin: None });
            if !self.given {
                // Whoever is here waits to be let in, and will read from the start.
                for seat in self.seats.values_mut() {
                    seat.reading.get_or_insert(0..u64::MAX);
                }
            }
        }
    }

    /// As [`State::overflow`], before the first byte: whoever is here will read from the start, and the ring waits for them.
    pub(super) fn pass_through(&mut self, capacity: u64) {
        self.overflow(capacity);
        if let Some(overflow) = &mut self.overflow {
            overflow.begin = Some(overflow.ring.start());
        }
        for seat in self.seats.values_mut() {
            seat.reading = Some(0..u64::MAX);
        }
    }

    pub(super) const fn has_overflowed(&self) -> bool {
        self.overflow.is_some()
    }

    /// How far the file reaches from the start without a gap.
    pub(super) fn in_file_prefix(&self) -> u64 {
        self.overflow.as_ref().map_or_else(|| self.map.prefix(), |over| over.in_file.end_of(0))
    }

    /// Whether the bytes at `offset` are those that the ring must take next.
    pub(super) fn is_next(&self, offset: u64) -> bool {
        self.overflow.as_ref().is_some_and(|over| {
            over.ring.end() == offset || over.in_file.end_of(over.ring.end()) == offset
        })
    }

    /// Puts a chunk that belongs at `offset` into the ring.
    pub(super) fn push(&mut self, lane: LaneId, offset: u64, chunk: &Bytes) -> Push {
        self.trim();
        let Some(overflow) = &mut self.overflow else { return Push::OutOfTurn };
        if self.seats.is_empty() {
            return Push::Deserted;
        }
        let passed = overflow.in_file.end_of(overflow.ring.end());
        if passed > overflow.ring.end() && offset == passed {
            if !overflow.ring.is_empty() {
                return Push::NoRoom;
            }
            overflow.ring = overflow.ring.at(passed);
        }
        let length = chunk.len() as u64;
        match overflow.ring.end() == offset {
            false => Push::OutOfTurn,
            true if !overflow.ring.has_room(length) => Push::NoRoom,
            true => {
                overflow.ring.push(chunk.clone());
                self.map.bring(lane, offset..offset + length);
                Push::Taken
            }
        }
    }

    /// Gives up the readers that are furthest behind, for whom the ring has waited too long.
    pub(super) fn cut_slowest(&mut self) {
        let Some(slowest) = self.slowest() else { return };
        for seat in self.seats.values_mut() {
            if seat.reading.as_ref().is_some_and(|reading| reading.start == slowest) {
                seat.too_slow = true;
            }
        }
    }

    /// Lets go of what every reader has taken. True when that made room.
    fn trim(&mut self) -> bool {
        let slowest = self.slowest();
        let Some(overflow) = &mut self.overflow else { return false };
        overflow.ring.trim(slowest.unwrap_or_else(|| overflow.ring.end()))
    }

    /// The position of the reader furthest behind among those who still need the ring.
    fn slowest(&self) -> Option<u64> {
        let end = self.overflow.as_ref()?.ring.end();
        let seats = self.seats.values().filter(|seat| !seat.too_slow);
        let positions = seats.filter_map(|seat| {
            let reading = seat.reading.as_ref()?;
            (reading.start < end && reading.end > reading.start).then_some(reading.start)
        });
        positions.min()
    }
}

/// What became of a chunk that was offered to the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Push {
    Taken,
    NoRoom,
    /// Other bytes come first.
    OutOfTurn,
    /// Nobody reads, and nothing can be stored.
    Deserted,
}

impl Look {
    /// At most `most` bytes of `chunk`.
    fn memory(mut chunk: Bytes, most: u64) -> Self {
        chunk.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        Self::Memory(chunk)
    }
}

fn given_up() -> Failure {
    Failure::Store("the transfer was given up".to_owned())
}

fn slow() -> Failure {
    Failure::Store("the disk is full and this reader was too slow to go on from memory".to_owned())
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("ending", &self.ending).finish_non_exhaustive()
    }
}
