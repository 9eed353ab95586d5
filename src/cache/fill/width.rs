//! How many lanes a body deserves: more only while the last ones made it come faster. Pure.
//!
//! Some origins give each connection a share of their line, and a long way bounds what one connection can carry. Whether that is so here, only trying
//! tells. A body that comes slowly and will take a while longer gets twice the lanes, after a moment to get up to speed what they bring is
//! measured, and unless they paid they are given up for good. Left out: what lanes fetch, which is `pump`'s.

use std::time::Duration;

/// How long a rate is measured, and how long new lanes have before that.
pub(super) const INTERVAL: Duration = Duration::from_millis(500);

/// What comes at this many bytes a second comes fast enough: further connections would cost the origin more than they give.
const ENOUGH_PER_SECOND: u64 = 100 << 20;

/// What will be there sooner than this is not worth further connections.
const SOON: Duration = Duration::from_secs(2);

/// Of what twice the lanes could bring at most, they must bring this share.
const LEAST_GAIN: f64 = 0.5;

/// Decides how many lanes a transfer may use to fetch a body in parallel.
#[derive(Debug)]
pub(super) struct Width {
    lanes: usize,
    most: usize,
    stage: Stage,
    /// When the measurement began, and how much had come by then.
    since: Duration,
    from: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    /// New lanes get up to speed.
    Warming(Option<Before>),
    Measuring(Option<Before>),
    /// Further lanes were tried, to no avail.
    Settled,
}

/// What lanes on trial must better.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Before {
    lanes: usize,
    /// Bytes a second.
    rate: f64,
}

/// How a transfer stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    /// Since the transfer began.
    pub(super) at: Duration,
    pub(super) arrived: u64,
    pub(super) left: u64,
    /// Somebody waits for what comes next. Nobody gains where readers are slower than the transfer.
    pub(super) awaited: bool,
}

impl Width {
    /// One lane, and up to `most` of them later.
    pub(super) const fn new(most: usize) -> Self {
        let stage = Stage::Warming(None);
        Self { lanes: 1, most, stage, since: Duration::ZERO, from: 0 }
    }

    pub(super) const fn lanes(&self) -> usize {
        self.lanes
    }

    /// Whether looking now and then may change anything.
    pub(super) fn is_open(&self) -> bool {
        self.most > 1 && self.stage != Stage::Settled
    }

    /// Takes note of how the transfer stands.
    pub(super) fn look(&mut self, standing: Standing) {
        let elapsed = standing.at.saturating_sub(self.since);
        if !self.is_open() || elapsed < INTERVAL / 2 {
            return;
        }
        let came = standing.arrived.saturating_sub(self.from);
        (self.since, self.from) = (standing.at, standing.arrived);
        match self.stage {
            Stage::Warming(before) => self.stage = Stage::Measuring(before),
            // A silence says nothing of the line.
            Stage::Measuring(_) if came == 0 => {}
            Stage::Measuring(before) => {
                self.judge(before, came as f64 / elapsed.as_secs_f64(), standing);
            }
            Stage::Settled => {}
        }
    }

    /// Gives further lanes up for good: the origin does not want them.
    pub(super) const fn retreat(&mut self) {
        self.lanes = if self.lanes > 2 { self.lanes / 2 } else { 1 };
        self.stage = Stage::Settled;
    }

    fn judge(&mut self, before: Option<Before>, rate: f64, standing: Standing) {
        if let Some(before) = before {
            let possible = self.lanes as f64 / before.lanes as f64 - 1.0;
            if rate < before.rate * (1.0 + LEAST_GAIN * possible) {
                self.lanes = before.lanes;
                self.stage = Stage::Settled;
                return;
            }
        }
        self.stage = Stage::Measuring(None);
        let fast = rate >= ENOUGH_PER_SECOND as f64;
        let soon = (standing.left as f64) < rate * SOON.as_secs_f64();
        if self.lanes < self.most && standing.awaited && !fast && !soon {
            let before = Before { lanes: self.lanes, rate };
            self.lanes = (self.lanes * 2).min(self.most);
            self.stage = Stage::Warming(Some(before));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// How many lanes are used in the end for a body of `total` bytes when `lanes` of them bring `rate(lanes)` bytes a second.
    fn settles_at(total: u64, awaited: bool, rate: impl Fn(usize) -> u64) -> usize {
        let mut width = Width::new(8);
        let (mut at, mut arrived) = (Duration::ZERO, 0);
        while arrived < total {
            at += INTERVAL;
            arrived += rate(width.lanes()).max(1) / 2;
            let left = total.saturating_sub(arrived);
            width.look(Standing { at, arrived, left, awaited });
        }
        width.lanes()
    }

    #[test]
    fn lanes_are_added_while_they_pay() {
        let gib = 1024 * MIB;
        for (what, total, awaited, expected, rate) in [
            (
                "each lane has its share",
                gib,
                true,
                8,
                (|lanes| lanes as u64 * 10 * MIB) as fn(usize) -> u64,
            ),
            ("one lane fills the line", gib, true, 1, |_| 20 * MIB),
            ("two lanes fill the line", gib, true, 2, |lanes| lanes.min(2) as u64 * 20 * MIB),
            ("it comes fast enough", gib, true, 1, |_| 200 * MIB),
            ("four lanes are fast enough", gib, true, 4, |lanes| lanes as u64 * 40 * MIB),
            ("it is there soon", 30 * MIB, true, 1, |lanes| lanes as u64 * 20 * MIB),
            ("readers are slower", gib, false, 1, |lanes| lanes as u64 * 20 * MIB),
        ] {
            assert_eq!(settles_at(total, awaited, rate), expected, "{what}");
        }
    }

    #[test]
    fn a_silence_is_no_reason_and_a_refusal_is_final() {
        let mut width = Width::new(8);
        for halves in 1..20 {
            let at = INTERVAL * halves;
            width.look(Standing { at, arrived: 0, left: 1024 * MIB, awaited: true });
        }
        assert_eq!(width.lanes(), 1);
        for (halves, arrived) in [(20, MIB), (21, 2 * MIB)] {
            let at = INTERVAL * halves;
            width.look(Standing { at, arrived, left: 1024 * MIB, awaited: true });
        }
        assert_eq!((width.lanes(), width.is_open()), (2, true));
        width.retreat();
        assert_eq!((width.lanes(), width.is_open()), (1, false));
    }
}
