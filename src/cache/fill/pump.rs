//! Lanes at work: which are started, what becomes of those that end, until every byte of a body has come.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{self, Instant};

use crate::cache::failure::Failure;
use crate::cache::fill::identity::{Identity, Ranges};
use crate::cache::fill::lane::{Ended, Errand, Lane, Outcome, Shortcut, Why};
use crate::cache::fill::map::{BLOCK_BYTES, LaneId};
use crate::cache::fill::registry::LanePermit;
use crate::cache::fill::release::Promise;
use crate::cache::fill::sink::{Refused, Sink, off_worker};
use crate::cache::fill::state::Ending;
use crate::cache::fill::transfer::{Break, Fault, changed};
use crate::cache::fill::width::{self, Standing, Width};
use crate::cache::{Config, Parts};
use crate::upstream::{OriginBody, OriginRequest, UpstreamError};

/// The shortest and the longest pause between failed requests.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A circuit that says how long it stays open is waited for, up to this long.
const LONGEST_CIRCUIT_PAUSE: Duration = Duration::from_secs(30);

/// Pieces in the window for each lane: one that it brings, and one that it can begin while a slower one holds up what is hashed.
const PIECES_PER_LANE: u64 = 2;

/// Where a body comes from.
pub(super) struct Source {
    /// The request that was accepted.
    pub(super) request: OriginRequest,
    pub(super) shortcut: Shortcut,
    pub(super) identity: Identity,
    pub(super) promise: Promise,
    pub(super) ranges: Ranges,
    /// Where the first answer's bytes begin.
    pub(super) start: u64,
}

impl Source {
    /// Whether parts of the body may be fetched side by side: it is large, the origin gives ranges, and something proves in the end, or tells at
    /// once, that all of them are of one body.
    fn may_spread(&self, config: &Config) -> bool {
        let window = config.read_ahead.bytes();
        window > 0
            && self.ranges == Ranges::Announced
            && (self.identity.etag.is_some() || self.promise == Promise::Digest)
            && self.identity.total.is_some_and(|total| total.saturating_sub(self.start) > window)
    }
}

/// Drives the lanes of one attempt.
pub(super) struct Pump {
    parts: Arc<Parts>,
    sink: Arc<Sink>,
    source: Source,
    lanes: FuturesUnordered<BoxFuture<'static, Ended>>,
    hashing: Option<BoxFuture<'static, io::Result<()>>>,
    noting: Option<BoxFuture<'static, ()>>,
    began: Instant,
    width: Width,
    /// The lanes that fetch what comes next beside the first.
    beside: HashMap<LaneId, LanePermit>,
    /// The lane that brings the first bytes that are missing.
    front: Option<LaneId>,
    failures: u32,
    arrived_at_failure: u64,
    pause: Duration,
}

impl Pump {
    pub(super) fn new(parts: Arc<Parts>, sink: Arc<Sink>, source: Source) -> Self {
        let most = if source.may_spread(&parts.config) { parts.config.lanes } else { 1 };
        Self {
            parts,
            sink,
            source,
            lanes: FuturesUnordered::new(),
            hashing: None,
            noting: None,
            began: Instant::now(),
            width: Width::new(most),
            beside: HashMap::new(),
            front: None,
            failures: 0,
            arrived_at_failure: 0,
            pause: Duration::ZERO,
        }
    }

    /// Brings the whole body, beginning with the answer at hand. `Ok` means that every byte has come.
    pub(super) async fn run(mut self, body: OriginBody) -> Result<(), Break> {
        self.take_up(body);
        let mut beat = time::interval(width::INTERVAL);
        while !self.sink.fill.lock().map.is_complete() {
            if let Some((_, reason)) = self.sink.refusal() {
                let failure = Failure::Unsafe { reason: reason.clone() };
                return Err(Break::Wrong(Fault::Refused, failure));
            }
            self.close_gap()?;
            self.send_ahead();
            self.hash();
            self.note();
            tokio::select! {
                Some(ended) = self.lanes.next() => self.ended(ended)?,
                read = done(&mut self.hashing), if self.hashing.is_some() => {
                    self.hashing = None;
                    read.map_err(disk)?;
                }
                () = done(&mut self.noting), if self.noting.is_some() => self.noting = None,
                () = self.sink.fill.wanted.notified() => {}
                _ = beat.tick(), if self.width.is_open() => self.spread(),
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

    /// Whether several lanes fetch what comes next, each a piece of it.
    fn is_parallel(&self) -> bool {
        self.width.lanes() > 1
            && self.source.ranges == Ranges::Announced
            && !self.sink.fill.lock().has_overflowed()
    }

    fn piece(&self) -> u64 {
        let Config { read_ahead, lanes, .. } = &self.parts.config;
        let pieces = PIECES_PER_LANE * (*lanes).max(1) as u64;
        (read_ahead.bytes() / pieces).next_multiple_of(BLOCK_BYTES)
    }

    /// Looks whether further lanes would pay, or have paid. The lane that was to bring everything then leaves the rest to them.
    fn spread(&mut self) {
        let piece = self.piece();
        let was_parallel = self.is_parallel();
        let mut state = self.sink.fill.lock();
        if state.has_overflowed() {
            return;
        }
        let (at, arrived) = (self.began.elapsed(), state.map.arrived().bytes());
        let left = state.map.total.unwrap_or_default().saturating_sub(arrived);
        let awaited = state.is_followed();
        self.width.look(Standing { at, arrived, left, awaited });
        if let Some(front) = self.front.filter(|_| !was_parallel && self.width.lanes() > 1) {
            state.map.shorten(front, PIECES_PER_LANE * piece);
        }
    }

    fn can_send_ahead(&self) -> bool {
        self.source.ranges != Ranges::No
            && self.source.identity.can_continue(self.source.promise == Promise::Digest)
    }

    /// Fetches what readers ahead sleep for; then, in parallel, what comes next.
    fn send_ahead(&mut self) {
        while self.can_send_ahead() && self.lanes.len() < self.parts.config.lanes {
            let wanted = self.sink.fill.change(|state| state.claim_wanted());
            let (why, claim) = match wanted {
                None => (Why::Beside, self.claim_next()),
                wanted => (Why::Ahead, wanted),
            };
            let Some((id, block)) = claim else { return };
            self.send(id, block.start, Some(block.end), why);
        }
    }

    fn claim_next(&mut self) -> Option<(LaneId, Range<u64>)> {
        if !self.is_parallel() || self.lanes.len() >= self.width.lanes() {
            return None;
        }
        let gap = self.gap()?;
        if gap.start >= self.sink.hashed() + self.parts.config.read_ahead.bytes() {
            return None;
        }
        let permit = self.parts.fills.lane(&self.source.request.origin.id)?;
        let id = self.sink.fill.lock().map.claim(gap.clone());
        self.beside.insert(id, permit);
        Some((id, gap))
    }

    /// Fetches the first bytes that nobody brings: behind a block that was fetched ahead, or where a lane broke.
    fn close_gap(&mut self) -> Result<(), Break> {
        if self.front.is_some() || !self.beside.is_empty() {
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
            shortcut: Arc::clone(&self.source.shortcut),
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

    /// Leaves a note of how far the file has got.
    fn note(&mut self) {
        if self.noting.is_none() && self.sink.is_note_due() {
            let sink = Arc::clone(&self.sink);
            self.noting = Some(off_worker(move || sink.checkpoint()).boxed());
        }
    }

    fn ended(&mut self, ended: Ended) -> Result<(), Break> {
        let Ended { lane, outcome } = ended;
        if self.front == Some(lane) {
            self.front = None;
        }
        let was_beside = self.beside.remove(&lane).is_some();
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
            Outcome::Broken(_) | Outcome::Status(_) if was_beside => {
                self.width.retreat();
                Ok(())
            }
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

async fn done<T>(work: &mut Option<BoxFuture<'static, T>>) -> T {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}
