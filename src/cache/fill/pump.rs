//! Lanes at work: which are started, what becomes of those that end, until every byte of a body has come.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::cache::failure::Failure;
use crate::cache::fill::identity::{Identity, Ranges};
use crate::cache::fill::lane::{Ended, Errand, Lane, Outcome, Why};
use crate::cache::fill::map::{BLOCK_BYTES, LaneId};
use crate::cache::fill::release::Promise;
use crate::cache::fill::sink::{Refused, Sink, off_worker};
use crate::cache::fill::state::Ending;
use crate::cache::fill::transfer::{Break, Fault, changed};
use crate::cache::{Config, Parts};
use crate::upstream::{OriginBody, OriginRequest, UpstreamError};

/// The shortest and the longest pause between failed requests.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A circuit that says how long it stays open is waited for, up to this long.
const LONGEST_CIRCUIT_PAUSE: Duration = Duration::from_secs(30);

/// Where a body comes from.
pub(super) struct Source {
    /// The request that was accepted.
    pub(super) request: OriginRequest,
    pub(super) identity: Identity,
    pub(super) promise: Promise,
    pub(super) ranges: Ranges,
    /// Where the first answer's bytes begin.
    pub(super) start: u64,
}

/// Drives the lanes of one attempt.
pub(super) struct Pump {
    parts: Arc<Parts>,
    sink: Arc<Sink>,
    source: Source,
    lanes: FuturesUnordered<BoxFuture<'static, Ended>>,
    hashing: Option<BoxFuture<'static, io::Result<()>>>,
    /// The lane that brings the first bytes that are missing.
    front: Option<LaneId>,
    failures: u32,
    arrived_at_failure: u64,
    pause: Duration,
}

impl Pump {
    pub(super) fn new(parts: Arc<Parts>, sink: Arc<Sink>, source: Source) -> Self {
        Self {
            parts,
            sink,
            source,
            lanes: FuturesUnordered::new(),
            hashing: None,
            front: None,
            failures: 0,
            arrived_at_failure: 0,
            pause: Duration::ZERO,
        }
    }

    /// Brings the whole body, beginning with the answer at hand. `Ok` means that every byte has come.
    pub(super) async fn run(mut self, body: OriginBody) -> Result<(), Break> {
        self.take_up(body);
        while !self.sink.fill.lock().map.is_complete() {
            self.close_gap()?;
            self.send_ahead();
            self.hash();
            tokio::select! {
                Some(ended) = self.lanes.next() => self.ended(ended)?,
                read = done(&mut self.hashing), if self.hashing.is_some() => {
                    self.hashing = None;
                    read.map_err(disk)?;
                }
                () = self.sink.fill.wanted.notified() => {}
            }
        }
        Ok(())
    }

    /// The first lane: the answer that the fill was opened with.
    fn take_up(&mut self, body: OriginBody) {
        let Some(gap) = self.gap() else { return };
        let id = self.sink.fill.lock().map.claim(gap);
        self.front = Some(id);
        let lane = Lane { id, sink: Arc::clone(&self.sink), at: self.source.start, skip: 0 };
        self.lanes.push(lane.run(body).boxed());
    }

    /// The first bytes that nobody brings; of a body that is fetched in parallel, one lane's piece of them.
    fn gap(&self) -> Option<Range<u64>> {
        let gap = self.sink.fill.lock().map.gap()?;
        let end = if self.is_parallel() { gap.end.min(gap.start + self.piece()) } else { gap.end };
        Some(gap.start..end)
    }

    /// Whether free lanes fetch ahead of the front: a body larger than the window, of an origin with ranges, on a disk with room.
    fn is_parallel(&self) -> bool {
        let window = self.parts.config.read_ahead.bytes();
        window > 0
            && self.can_send_ahead()
            && self.source.ranges == Ranges::Announced
            && self.source.identity.total.is_some_and(|total| total > window)
            && !self.sink.fill.lock().has_overflowed()
    }

    fn piece(&self) -> u64 {
        let Config { read_ahead, lanes, .. } = &self.parts.config;
        (read_ahead.bytes() / (*lanes).max(1) as u64).next_multiple_of(BLOCK_BYTES)
    }

    fn can_send_ahead(&self) -> bool {
        self.source.ranges != Ranges::No
            && self.source.identity.can_continue(self.source.promise == Promise::Digest)
    }

    /// Fetches what readers ahead sleep for; then, in parallel, what comes next.
    fn send_ahead(&mut self) {
        while self.can_send_ahead() && self.lanes.len() < self.parts.config.lanes {
            let wanted = self.sink.fill.change(|state| state.claim_wanted());
            let Some((id, block)) = wanted.or_else(|| self.claim_next()) else { return };
            self.send(id, block.start, Some(block.end), Why::Ahead);
        }
    }

    fn claim_next(&self) -> Option<(LaneId, Range<u64>)> {
        let gap = self.gap().filter(|_| self.is_parallel())?;
        let mut state = self.sink.fill.lock();
        let window = state.map.prefix() + self.parts.config.read_ahead.bytes();
        (gap.start < window).then(|| (state.map.claim(gap.clone()), gap))
    }

    /// Fetches the first bytes that nobody brings: behind a block that was fetched ahead, or where a lane broke.
    fn close_gap(&mut self) -> Result<(), Break> {
        if self.front.is_some() {
            return Ok(());
        }
        let Some(gap) = self.gap() else { return Ok(()) };
        if !self.source.identity.can_continue(self.source.promise == Promise::Digest) {
            return Err(changed("nothing tells whether the rest is of the same body".to_owned()));
        }
        let id = self.sink.fill.lock().map.claim(gap.clone());
        self.front = Some(id);
        let end =
            (gap.end != u64::MAX && Some(gap.end) != self.source.identity.total).then_some(gap.end);
        self.send(id, gap.start, end, Why::Gap);
        Ok(())
    }

    fn send(&mut self, id: LaneId, start: u64, end: Option<u64>, why: Why) {
        let errand = Errand {
            upstream: Arc::clone(&self.parts.upstream),
            request: self.source.request.clone(),
            identity: self.source.identity.clone(),
            promised: self.source.promise == Promise::Digest,
            last: end.map(|end| end - 1),
            pause: std::mem::take(&mut self.pause),
            why,
        };
        let lane = Lane { id, sink: Arc::clone(&self.sink), at: start, skip: 0 };
        self.lanes.push(lane.fetch(errand).boxed());
    }

    /// Reads back for hashing what did not come in order.
    fn hash(&mut self) {
        if self.hashing.is_none() && self.sink.is_behind() {
            let sink = Arc::clone(&self.sink);
            self.hashing = Some(off_worker(move || sink.catch_up()).boxed());
        }
    }

    fn ended(&mut self, ended: Ended) -> Result<(), Break> {
        let Ended { lane, outcome } = ended;
        if self.front == Some(lane) {
            self.front = None;
        }
        let total = self.sink.fill.change(|state| {
            state.map.release(lane);
            if let (None, Outcome::Ended(at)) = (state.map.total, &outcome) {
                state.map.total = Some(*at);
            }
            state.map.total
        });
        match outcome {
            Outcome::Filled | Outcome::Refused(Refused::OutOfTurn) => Ok(()),
            Outcome::Ended(at) if total == Some(at) => Ok(()),
            Outcome::Ended(at) => self.failed(Failure::BadAnswer(format!(
                "it ended at byte {at} of {}",
                total.unwrap_or_default()
            ))),
            Outcome::Broken(error) => {
                if let UpstreamError::CircuitOpen { retry_after, .. } = &error {
                    self.pause = (*retry_after).min(LONGEST_CIRCUIT_PAUSE);
                }
                self.failed(error.into())
            }
            Outcome::Status(status) => {
                self.failed(Failure::Unavailable { status, retry_after_secs: None })
            }
            Outcome::NoRanges => {
                self.source.ranges = Ranges::No;
                Ok(())
            }
            Outcome::Changed(how) => Err(changed(how)),
            Outcome::TooLong => {
                let reason = format!("it is longer than {} bytes", total.unwrap_or_default());
                Err(Break::Wrong(Fault::Overlong, Failure::BadAnswer(reason)))
            }
            Outcome::Refused(Refused::Deserted) => Err(Break::End(Ending::Again)),
        }
    }

    /// A request for the rest follows after a pause, as long as there is progress.
    fn failed(&mut self, failure: Failure) -> Result<(), Break> {
        let arrived = self.sink.fill.lock().map.arrived().bytes();
        if arrived >= self.arrived_at_failure + BLOCK_BYTES {
            self.failures = 0;
        }
        self.arrived_at_failure = arrived;
        self.failures += 1;
        if self.failures > self.parts.config.resume_attempts {
            return Err(Break::Wrong(Fault::Upstream, failure));
        }
        let backed_off = PAUSE.saturating_mul(1 << (self.failures - 1).min(16)).min(LONGEST_PAUSE);
        self.pause = self.pause.max(backed_off);
        metrics::counter!("larder_fill_resumed_total").increment(1);
        tracing::info!(
            cache.key = %self.sink.fill.key, error = %failure, fill.attempt = self.failures,
            pause_ms = self.pause.as_millis(), "a transfer broke and is resumed"
        );
        Ok(())
    }
}

fn disk(error: io::Error) -> Break {
    Break::Wrong(Fault::Store, Failure::Store(format!("reading back: {error}")))
}

async fn done(hashing: &mut Option<BoxFuture<'static, io::Result<()>>>) -> io::Result<()> {
    match hashing {
        Some(hashing) => hashing.await,
        None => std::future::pending().await,
    }
}
