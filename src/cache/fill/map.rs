//! Which bytes of a body have come, and which are on their way: pure bookkeeping, byte-exact.
//!
//! What has come is a set of disjoint runs. What is on its way are claims, one per lane; claims never overlap, so no byte
//! is asked for twice. A body of any size costs memory only for its runs and lanes.

use std::collections::BTreeMap;
use std::ops::Range;

/// Claims of readers ahead begin and end at multiples of this, so that small reads leave few gaps behind.
pub(super) const BLOCK_BYTES: u64 = 1 << 20;

/// A byte this close ahead of a lane is waited for: the lane, its connection and the kernel may have received it already, and what
/// they hold behind the place where another lane takes over is lost.
pub(super) const NEAR_BYTES: u64 = 8 << 20;

/// For a reader who wants more than [`NEAR_BYTES`], near is farther: clients that read one body by many ranges with open ends (containerd
/// from 2.1) would cut a lane at each of them.
pub(super) const NEAR_FOR_LONG_BYTES: u64 = 32 << 20;

/// Disjoint runs of bytes that do not touch, by their start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Runs(BTreeMap<u64, u64>);

impl Runs {
    /// Adds a run, merged with those that it overlaps or touches.
    pub(super) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let Range { mut start, mut end } = range;
        while let Some((&run_start, &run_end)) = self.0.range(..=end).next_back() {
            if run_end < start {
                break;
            }
            start = start.min(run_start);
            end = end.max(run_end);
            self.0.remove(&run_start);
        }
        self.0.insert(start, end);
    }

    /// Where the run that covers `offset` ends; `offset` itself when none does.
    pub(super) fn end_of(&self, offset: u64) -> u64 {
        match self.0.range(..=offset).next_back() {
            Some((_, &end)) => end.max(offset),
            None => offset,
        }
    }

    /// Where the last run before or at `offset` ends, 0 when there is none.
    fn end_before(&self, offset: u64) -> u64 {
        self.0.range(..=offset).next_back().map_or(0, |(_, &end)| end)
    }

    /// Where the next run after `offset` starts.
    fn start_after(&self, offset: u64) -> Option<u64> {
        self.0.range(offset..).next().map(|(&start, _)| start)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }
}

/// Names a lane of one fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LaneId(u32);

/// Where a lane must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) end: u64,
    /// It is the end of the body.
    pub(super) is_last: bool,
}

/// What has come of a body and what is on its way.
#[derive(Debug, Default)]
pub(super) struct Map {
    /// Length of the body, once known.
    pub(super) total: Option<u64>,
    arrived: Runs,
    claims: BTreeMap<LaneId, Range<u64>>,
    lanes_named: u32,
}

impl Map {
    /// A body of which `0..prefix` is there already.
    pub(super) fn new(total: Option<u64>, prefix: u64) -> Self {
        let mut arrived = Runs::default();
        arrived.insert(0..prefix);
        Self { total, arrived, ..Self::default() }
    }

    pub(super) const fn arrived(&self) -> &Runs {
        &self.arrived
    }

    /// How far the bytes reach from the start without a gap.
    pub(super) fn prefix(&self) -> u64 {
        self.arrived.end_of(0)
    }

    /// Every byte has come.
    pub(super) fn is_complete(&self) -> bool {
        self.total.is_some_and(|total| self.prefix() >= total)
    }

    /// Gives `range` to a new lane. The caller took it from [`Map::gap`] or [`Map::block_for`].
    pub(super) fn claim(&mut self, range: Range<u64>) -> LaneId {
        let id = LaneId(self.lanes_named);
        self.lanes_named += 1;
        for claim in self.claims.values_mut() {
            if claim.start < range.start && range.start < claim.end {
                claim.end = range.start;
            }
        }
        self.claims.insert(id, range);
        id
    }

    /// Lets a lane stop `length` bytes from where it is; what it had claimed beyond is a gap again.
    pub(super) fn shorten(&mut self, lane: LaneId, length: u64) {
        if let Some(claim) = self.claims.get_mut(&lane) {
            claim.end = claim.end.min(claim.start.saturating_add(length));
        }
    }

    /// What the lane has to bring. Its end moves towards the start when a reader ahead takes a block out of the lane's way.
    pub(super) fn claim_of(&self, lane: LaneId) -> Claim {
        let end = self.claims.get(&lane).map_or(0, |claim| claim.end);
        Claim { end, is_last: self.total == Some(end) }
    }

    /// Ends a lane's claim. What it did not bring is a gap again; when it brought nothing at all, the lane that stops there goes on.
    pub(super) fn release(&mut self, lane: LaneId) {
        let Some(released) = self.claims.remove(&lane) else { return };
        if self.arrived.end_of(released.start) > released.start {
            return;
        }
        let end = self.next_taken(released.start).or(self.total).unwrap_or(u64::MAX);
        let before = self.claims.values_mut().find(|claim| claim.end == released.start);
        if let Some(before) = before {
            before.end = end;
        }
    }

    /// Notes bytes that a lane brought.
    pub(super) fn bring(&mut self, lane: LaneId, range: Range<u64>) {
        if let Some(claim) = self.claims.get_mut(&lane) {
            claim.start = claim.start.max(range.end);
        }
        self.arrived.insert(range);
    }

    /// The first bytes that neither came nor are claimed.
    pub(super) fn gap(&self) -> Option<Range<u64>> {
        let limit = self.total.unwrap_or(u64::MAX);
        let mut start = 0;
        loop {
            let beyond = self.arrived.end_of(start).max(self.end_of_claims_over(start));
            if beyond == start {
                break;
            }
            start = beyond;
        }
        (start < limit).then(|| start..self.next_taken(start).unwrap_or(limit).min(limit))
    }

    /// The blocks to fetch for a reader that waits for `wanted`; `None` when they came or will come soon enough, or when the
    /// body's length is unknown.
    pub(super) fn block_for(&self, wanted: &Range<u64>) -> Option<Range<u64>> {
        let total = self.total?;
        let at = wanted.start;
        if at >= total || self.arrived.end_of(at) > at || self.is_near(wanted, total) {
            return None;
        }
        let floor = at - at % BLOCK_BYTES;
        let start = floor.max(self.arrived.end_before(at)).max(self.end_of_claims_before(at));
        let wanted_end = wanted.end.clamp(at + 1, total).next_multiple_of(BLOCK_BYTES);
        let end = self.next_taken(at).unwrap_or(total).min(wanted_end).min(total);
        (start < end).then_some(start..end)
    }

    /// Whether a lane will soon bring the first byte of what is wanted.
    fn is_near(&self, wanted: &Range<u64>, total: u64) -> bool {
        let offset = wanted.start;
        let near = match wanted.end.min(total).saturating_sub(offset) > NEAR_BYTES {
            true => NEAR_FOR_LONG_BYTES,
            false => NEAR_BYTES,
        };
        self.claims.values().any(|claim| claim.contains(&offset) && offset - claim.start <= near)
    }

    fn end_of_claims_over(&self, offset: u64) -> u64 {
        let over = self.claims.values().find(|claim| claim.contains(&offset));
        over.map_or(offset, |claim| claim.end)
    }

    fn end_of_claims_before(&self, offset: u64) -> u64 {
        let before = self.claims.values().filter(|claim| claim.end <= offset);
        before.map(|claim| claim.end).max().unwrap_or(0)
    }

    /// Where the next bytes behind `offset` start that came or are claimed.
    fn next_taken(&self, offset: u64) -> Option<u64> {
        let claimed = self.claims.values().map(|claim| claim.start).filter(|start| *start > offset);
        claimed.chain(self.arrived.start_after(offset)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn runs_merge_when_they_touch() {
        let mut runs = Runs::default();
        for range in [10..20, 30..40, 20..25, 5..10, 24..31, 50..50] {
            runs.insert(range);
        }
        assert_eq!(runs.0.into_iter().collect::<Vec<_>>(), [(5, 40)]);
    }

    #[test]
    fn long_reads_wait_longer_for_the_lane_that_is_coming() {
        let total = 100 * MIB;
        let mut map = Map::new(Some(total), 0);
        map.claim(map.gap().expect("nothing has come"));
        assert_eq!(map.block_for(&(20 * MIB..total)), None, "soon there");
        assert_eq!(map.block_for(&(20 * MIB..u64::MAX)), None, "soon there");
        assert_eq!(map.block_for(&(20 * MIB..21 * MIB)), Some(20 * MIB..21 * MIB), "a short look");
        assert_eq!(map.block_for(&(40 * MIB..total)), Some(40 * MIB..total), "far ahead");
    }

    #[test]
    fn a_reader_ahead_takes_blocks_out_of_a_lanes_way() {
        let total = 100 * MIB;
        let mut map = Map::new(Some(total), 0);
        let first = map.claim(map.gap().expect("nothing has come"));
        assert_eq!(map.gap(), None);
        assert_eq!(map.block_for(&(2 * MIB..3 * MIB)), None, "soon there");
        let block = map.block_for(&(total - 10..total)).expect("far ahead");
        assert_eq!(block, 99 * MIB..total);
        let second = map.claim(block);
        assert_eq!(map.claim_of(first).end, 99 * MIB);
        assert_eq!(map.block_for(&(total - 10..total)), None, "claimed");
        map.bring(second, 99 * MIB..total);
        map.release(second);
        map.bring(first, 0..99 * MIB);
        map.release(first);
        assert!(map.is_complete());
    }

    #[test]
    fn what_a_lane_left_is_a_gap_up_to_what_is_taken() {
        let mut map = Map::new(Some(100 * MIB), 3);
        let first = map.claim(3..100 * MIB);
        let second = map.claim(map.block_for(&(50 * MIB + 7..51 * MIB)).expect("far ahead"));
        assert_eq!(map.claim_of(second).end, 51 * MIB);
        assert_eq!(map.gap(), Some(51 * MIB..100 * MIB));
        map.bring(first, 3..10);
        map.release(first);
        assert_eq!(map.gap(), Some(10..50 * MIB));
        assert_eq!(map.prefix(), 10);
    }

    #[test]
    fn a_lane_goes_on_where_one_ahead_brought_nothing() {
        let mut map = Map::new(Some(100 * MIB), 0);
        let first = map.claim(0..100 * MIB);
        let second = map.claim(map.block_for(&(50 * MIB..51 * MIB)).expect("far ahead"));
        map.release(second);
        assert_eq!((map.claim_of(first).end, map.gap()), (100 * MIB, None));
    }

    #[test]
    fn a_lane_that_is_shortened_leaves_a_gap() {
        let mut map = Map::new(Some(100 * MIB), 0);
        let first = map.claim(0..100 * MIB);
        map.bring(first, 0..MIB);
        map.shorten(first, 2 * MIB);
        assert_eq!((map.claim_of(first).end, map.gap()), (3 * MIB, Some(3 * MIB..100 * MIB)));
        assert!(!map.claim_of(first).is_last);
    }

    #[test]
    fn nothing_is_fetched_ahead_in_a_body_of_unknown_length() {
        let mut map = Map::new(None, 0);
        map.claim(map.gap().expect("nothing has come"));
        assert_eq!(map.block_for(&(50 * MIB..51 * MIB)), None);
        assert!(!map.is_complete());
    }

    /// Whatever readers ask for, in whatever order lanes come and go: claims never overlap, and every byte is brought once.
    #[test]
    fn no_byte_is_claimed_twice() {
        use proptest::prelude::*;
        let total = 40 * MIB + 5;
        let steps = proptest::collection::vec((0..3_u8, 0..total), 1..60);
        proptest!(|(steps in steps)| {
            let mut map = Map::new(Some(total), 0);
            let mut brought = 0;
            let mut lanes: Vec<(LaneId, u64)> = Vec::new();
            for (kind, at) in steps {
                match kind {
                    0 => if let Some(gap) = map.gap() {
                        let start = gap.start;
                        lanes.push((map.claim(gap), start));
                    },
                    1 => if let Some(block) = map.block_for(&(at..at + 1)) {
                        prop_assert!(block.contains(&at));
                        let start = block.start;
                        lanes.push((map.claim(block), start));
                    },
                    _ if !lanes.is_empty() => {
                        let (lane, position) = lanes.swap_remove(at as usize % lanes.len());
                        let end = map.claim_of(lane).end.min(position + at);
                        prop_assert!(map.arrived.end_of(position) == position || end == position);
                        brought += end - position;
                        map.bring(lane, position..end);
                        map.release(lane);
                    }
                    _ => {}
                }
                let mut claims: Vec<_> = map.claims.values().cloned().collect();
                claims.sort_by_key(|claim| claim.start);
                prop_assert!(claims.windows(2).all(|pair| pair[0].end <= pair[1].start));
                prop_assert_eq!(map.arrived.bytes(), brought);
            }
        });
    }
}
