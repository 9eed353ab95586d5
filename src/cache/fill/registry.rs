//! The fills under way, at most one per key, and how many may run at once.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::cache::Config;
use crate::cache::fill::{Fill, Reader, Transfer};
use crate::types::CacheKey;

/// Every fill under way.
pub(crate) struct Fills {
    running: Running,
    permits: Arc<Semaphore>,
    /// Lanes beyond the first, by the origin that they are for.
    spare: Mutex<HashMap<Arc<str>, Arc<Semaphore>>>,
    lanes_per_origin: usize,
    verify_before_range: bool,
    waiting: Gauge,
    transferring: Gauge,
    full: AtomicBool,
    /// Things of which was told that upstream sends other bytes than it promises.
    told: Mutex<HashSet<CacheKey>>,
}

/// Things that are remembered as told of.
const MOST_TOLD: usize = 4096;

type Running = Arc<Mutex<HashMap<CacheKey, Arc<Fill>>>>;

/// A place among the readers of a fill.
#[derive(Debug)]
pub(crate) enum Place {
    /// The fill was under way.
    Joined(Reader),
    /// There was none: the caller must start it with this registration.
    First(Reader, Registration),
}

/// Keeps a fill findable. Dropping it lets the next request look for itself.
#[derive(Debug)]
pub(crate) struct Registration {
    running: Running,
    pub(super) fill: Arc<Fill>,
}

/// The right to a lane that fetches in parallel. Origins are declared, so there are few of them.
pub(super) type LanePermit = OwnedSemaphorePermit;

/// The right to transfer, counted while it is held.
pub(super) struct Permit {
    _counted: Counted,
    _right: OwnedSemaphorePermit,
}

impl Fills {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            running: Running::default(),
            permits: Arc::new(Semaphore::new(config.fills.max(1))),
            spare: Mutex::default(),
            lanes_per_origin: config.lanes_per_origin,
            verify_before_range: config.verify_before_range,
            waiting: metrics::gauge!("larder_fills", "state" => "waiting"),
            transferring: metrics::gauge!("larder_fills", "state" => "running"),
            full: AtomicBool::new(false),
            told: Mutex::default(),
        }
    }

    /// Whether nothing was told of a thing yet; from now on it was.
    pub(super) fn is_news(&self, key: &CacheKey) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= MOST_TOLD {
            told.clear();
        }
        told.insert(key.clone())
    }

    /// Joins the fill of `key`, or begins one, which is then for those whom a waiver excepts if `is_excepted`.
    pub(crate) fn join(&self, key: &CacheKey, is_excepted: bool) -> Place {
        let mut running = lock(&self.running);
        if let Some(fill) = running.get(key).filter(|fill| fill.is_open()) {
            return Place::Joined(fill.read());
        }
        let fill = Fill::new(key.clone(), is_excepted, self.verify_before_range);
        running.insert(key.clone(), Arc::clone(&fill));
        drop(running);
        let reader = fill.read();
        Place::First(reader, Registration { running: Arc::clone(&self.running), fill })
    }

    /// The fill of `key`, if one is under way.
    pub(crate) fn find(&self, key: &CacheKey) -> Option<Reader> {
        lock(&self.running).get(key).filter(|fill| fill.is_open()).map(Fill::read)
    }

    /// How every fill under way stands, the oldest first.
    pub(crate) fn transfers(&self) -> Vec<Transfer> {
        let running: Vec<Arc<Fill>> = lock(&self.running).values().cloned().collect();
        let mut all: Vec<Transfer> = running.iter().map(|fill| fill.transfer()).collect();
        all.sort_by_key(|transfer| transfer.number);
        all
    }

    /// Ends the fill of this number; false when there is none. What it brought stays for the next one.
    pub(crate) fn cancel(&self, number: u64) -> bool {
        let running = lock(&self.running);
        let fill = running.values().find(|fill| fill.handle.number == number);
        fill.is_some_and(|fill| {
            fill.handle.cancelled.cancel();
            true
        })
    }

    /// Fills under way.
    pub(crate) fn len(&self) -> usize {
        lock(&self.running).len()
    }

    /// Waits for the right to transfer.
    pub(super) async fn permit(&self) -> Permit {
        let waiting = Counted::new(&self.waiting);
        let right = Arc::clone(&self.permits).acquire_owned().await;
        drop(waiting);
        Permit {
            _counted: Counted::new(&self.transferring),
            _right: right.expect("the semaphore is never closed"),
        }
    }

    /// The right to one lane more for a body of `origin`; `None` while its bodies have all that they may have together.
    pub(super) fn lane(&self, origin: &Arc<str>) -> Option<LanePermit> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Arc::new(Semaphore::new(self.lanes_per_origin));
        let lanes = spare.entry(Arc::clone(origin)).or_insert_with(fresh);
        Arc::clone(lanes).try_acquire_owned().ok()
    }

    /// Whether this is the first time since [`Fills::disk_has_room`] that the disk is full: then it is worth a line in the log.
    pub(super) fn disk_is_full(&self) -> bool {
        !self.full.swap(true, Ordering::Relaxed)
    }

    pub(super) fn disk_has_room(&self) {
        self.full.store(false, Ordering::Relaxed);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut running = lock(&self.running);
        if running.get(&self.fill.key).is_some_and(|fill| Arc::ptr_eq(fill, &self.fill)) {
            running.remove(&self.fill.key);
        }
    }
}

/// Counts itself in a gauge.
struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.increment(1);
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

impl fmt::Debug for Fills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fills({})", lock(&self.running).len())
    }
}

/// The map is whole whenever its lock is free.
fn lock(running: &Running) -> MutexGuard<'_, HashMap<CacheKey, Arc<Fill>>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}
