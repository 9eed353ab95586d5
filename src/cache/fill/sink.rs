//! Where lanes put what they bring: the partial file and the verifier, or memory when the disk takes no more.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use metrics::Counter;

use crate::cache::Config;
use crate::cache::fill::Fill;
use crate::cache::fill::map::LaneId;
use crate::cache::fill::release::{Promise, SMALL_BYTES};
use crate::cache::fill::state::Push;
use crate::cache::fill::verify::{Verified, Verifier, VerifyError};
use crate::inspect::Report;
use crate::store::{Partial, Progress, StoreError};

/// A note of how far the file has got is left behind every so many bytes.
const CHECKPOINT_BYTES: u64 = 8 << 20;

/// Readers are told every so many bytes how far a body was looked into, while it is read back.
const STEP_BYTES: u64 = 8 << 20;

/// Where one attempt at a body goes.
pub(super) struct Sink {
    pub(super) fill: Arc<Fill>,
    pub(super) partial: Arc<dyn Partial>,
    verifier: Mutex<Verifier>,
    promise: Promise,
    /// The note, but for the prefix.
    note: Progress,
    /// The prefix that was noted last.
    noted: AtomicU64,
    /// Held while a note is written, so that no older one comes after it.
    noting: Mutex<()>,
    /// How far the body is hashed.
    hashed: AtomicU64,
    /// Somebody looks into the body.
    is_looked_into: bool,
    refusal: OnceLock<(Arc<Report>, String)>,
    limits: Limits,
    received: Counter,
}

/// Bounds for the time when the disk is full.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) ring_bytes: u64,
    /// Longest that the ring waits for its slowest reader.
    pub(super) stall: Duration,
}

impl Limits {
    pub(super) fn of(config: &Config) -> Self {
        // A small body is seen only as a whole, so all of it must find room.
        let ring_bytes = config.overflow.bytes().max(SMALL_BYTES);
        Self { ring_bytes, stall: config.overflow_stall }
    }
}

/// Why bytes were not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The disk is full, and these bytes are not the next that readers need.
    OutOfTurn,
    /// The disk is full, and nobody reads any more.
    Deserted,
}

impl Sink {
    pub(super) fn new(
        fill: &Arc<Fill>,
        partial: Arc<dyn Partial>,
        verifier: Verifier,
        promise: Promise,
        note: Progress,
        limits: Limits,
    ) -> Arc<Self> {
        Arc::new(Self {
            fill: Arc::clone(fill),
            partial,
            is_looked_into: verifier.scan().is_some(),
            refusal: OnceLock::new(),
            verifier: Mutex::new(verifier),
            promise,
            noted: AtomicU64::new(note.prefix),
            noting: Mutex::default(),
            hashed: AtomicU64::new(0),
            note,
            limits,
            received: metrics::counter!("larder_fill_bytes_total"),
        })
    }

    /// Takes `chunks`, which belong one behind the other at `offset`. Readers see them as soon as they are written.
    pub(super) async fn put(
        self: Arc<Self>,
        lane: LaneId,
        offset: u64,
        chunks: Vec<Bytes>,
    ) -> Result<(), Refused> {
        self.received.increment(chunks.iter().map(|chunk| chunk.len() as u64).sum());
        if !self.fill.lock().has_overflowed() {
            let (sink, copies) = (Arc::clone(&self), chunks.clone());
            match off_worker(move || sink.write(lane, offset, &copies)).await {
                Ok(()) => return Ok(()),
                Err(error) => self.overflow(&error),
            }
        }
        self.hold(lane, offset, chunks).await
    }

    /// Whether the hasher waits for bytes that are in the file.
    pub(super) fn is_behind(&self) -> bool {
        // Somebody who holds it is hashing, and will be asked again when done.
        self.verifier.try_lock().is_ok_and(|verifier| verifier.at() < self.hashable())
    }

    /// Hashes from the file as far as it reaches. Blocking.
    pub(super) fn catch_up(&self) -> io::Result<()> {
        let mut verifier = self.verifier();
        loop {
            let end = self.hashable();
            if verifier.at() >= end {
                return Ok(());
            }
            let end = end.min(verifier.at() + STEP_BYTES);
            verifier.catch_up(self.partial.as_ref(), end)?;
            self.note_progress(&verifier);
        }
    }

    /// Whether every byte must be seen in order, whether or not it is kept.
    pub(super) fn is_verified(&self) -> bool {
        self.promise == Promise::Digest || self.is_looked_into
    }

    /// What was found in the body, once that is enough to refuse it, and why.
    pub(super) fn refusal(&self) -> Option<&(Arc<Report>, String)> {
        self.refusal.get()
    }

    /// Notes how far the body is hashed and looked into.
    fn note_progress(&self, verifier: &Verifier) {
        self.hashed.store(verifier.at(), Ordering::Relaxed);
        let Some(scan) = verifier.scan() else { return };
        let hold = scan.hold();
        if hold.is_some() || self.fill.lock().hold.is_some() {
            self.fill.change(|state| state.hold = hold);
        }
        if let Some(report) = scan.report()
            && self.fill.lock().found.is_none()
        {
            let report = Arc::new(report.clone());
            self.fill.change(|state| state.found = Some(report));
        }
        if let Some((report, reason)) = scan.refusal()
            && self.refusal.set((Arc::new(report.clone()), reason)).is_ok()
        {
            // The driver ends the fill.
            self.fill.wanted.notify_one();
        }
    }

    /// How far the body is hashed.
    pub(super) fn hashed(&self) -> u64 {
        self.hashed.load(Ordering::Relaxed)
    }

    /// Compares the digests of the complete body of `length` bytes. Blocking.
    pub(super) fn finish(&self, length: u64) -> Result<Verified, VerifyError> {
        let mut verifier =
            std::mem::replace(&mut *self.verifier(), Verifier::new(Vec::new(), None, None));
        verifier.catch_up(self.partial.as_ref(), length)?;
        verifier.finish(self.partial.as_ref(), length)
    }

    /// Whether the file has got so much further since the last note that the next one is due.
    pub(super) fn is_note_due(&self) -> bool {
        let prefix = self.fill.lock().in_file_prefix();
        prefix >= self.noted.load(Ordering::Relaxed) + CHECKPOINT_BYTES
    }

    /// Leaves a note for the next fill of this key. Blocking, at times until the disk has taken everything so far: never in the way of a lane.
    pub(super) fn checkpoint(&self) {
        let _turn = self.noting.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.fill.lock();
        let (prefix, total) = (state.in_file_prefix(), state.map.total);
        drop(state);
        self.noted.store(prefix, Ordering::Relaxed);
        let noted = self.partial.checkpoint(&Progress { prefix, total, ..self.note.clone() });
        if let Err(error) = noted {
            tracing::debug!(cache.key = %self.fill.key, %error, "a fill's progress was not noted");
        }
    }

    /// Writes, shows, hashes. Readers need not wait for the hasher: `release` holds back what must be verified first.
    fn write(&self, lane: LaneId, offset: u64, chunks: &[Bytes]) -> Result<(), StoreError> {
        self.partial.write(offset, chunks)?;
        let end = offset + chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        self.fill.change(|state| state.bring(lane, offset..end, chunks));
        let fed = match self.verifier.try_lock() {
            Ok(mut verifier) if verifier.at() == offset => {
                verifier.feed(offset, chunks);
                self.note_progress(&verifier);
                true
            }
            // Somebody reads back for hashing, or these bytes lie ahead.
            _ => false,
        };
        if !fed || self.is_note_due() {
            // The driver sees to it.
            self.fill.wanted.notify_one();
        }
        Ok(())
    }

    /// The disk takes no more: those who read go on from memory, and nothing is kept.
    fn overflow(&self, error: &StoreError) {
        let first = self.fill.change(|state| {
            let first = !state.has_overflowed();
            state.overflow(self.limits.ring_bytes);
            first
        });
        if first {
            tracing::warn!(cache.key = %self.fill.key, %error, "a transfer goes on without being kept");
            metrics::counter!("larder_fill_failures_total", "kind" => "not-kept").increment(1);
        }
    }

    /// Holds bytes in memory until the readers have taken them.
    async fn hold(
        self: Arc<Self>,
        lane: LaneId,
        mut offset: u64,
        chunks: Vec<Bytes>,
    ) -> Result<(), Refused> {
        for chunk in chunks {
            self.push(lane, offset, &chunk).await?;
            offset += chunk.len() as u64;
        }
        Ok(())
    }

    async fn push(
        self: &Arc<Self>,
        lane: LaneId,
        offset: u64,
        chunk: &Bytes,
    ) -> Result<(), Refused> {
        if self.is_verified() && self.fill.lock().is_next(offset) {
            let (sink, copy) = (Arc::clone(self), chunk.clone());
            // What cannot be hashed cannot be verified in the end either: the last bytes stay held.
            off_worker(move || sink.hash(offset, copy)).await.map_err(|_| Refused::Deserted)?;
        }
        loop {
            match self.fill.change(|state| state.push(lane, offset, chunk)) {
                Push::Taken => return Ok(()),
                Push::OutOfTurn => return Err(Refused::OutOfTurn),
                Push::Deserted => return Err(Refused::Deserted),
                Push::NoRoom => self.wait_for_room().await,
            }
        }
    }

    async fn wait_for_room(&self) {
        let room = self.fill.room.notified();
        if tokio::time::timeout(self.limits.stall, room).await.is_err() {
            self.fill.change(|state| state.cut_slowest());
        }
    }

    fn hash(&self, offset: u64, chunk: Bytes) -> io::Result<()> {
        let mut verifier = self.verifier();
        verifier.catch_up(self.partial.as_ref(), offset)?;
        verifier.feed(offset, &[chunk]);
        self.note_progress(&verifier);
        Ok(())
    }

    fn hashable(&self) -> u64 {
        self.fill.lock().in_file_prefix()
    }

    fn verifier(&self) -> MutexGuard<'_, Verifier> {
        self.verifier.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs blocking work; a panic in it goes on here.
pub(super) async fn off_worker<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
