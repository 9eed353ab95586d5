//! One transfer from upstream into a partial file, followed by any number of readers.
//!
//! Bytes go upstream -> file and hasher -> readers. Readers follow the file, never the socket: a slow one slows nobody, and one that
//! leaves stops nothing. A [`Fill`] is what both sides share:
//!
//! ```text
//! adopt      a fill of an answer that somebody else asked for (exchanges), in place of registry and transfer
//! registry   at most one fill per key; a fill leaves when it has ended
//! transfer   the task that drives a fill: asks, reads the answer (answer), starts lanes, verifies, keeps
//! pump       lanes at work
//! lane       one upstream body, written where it belongs; several may run, none brings a byte twice (map), as many as pay (width), all of one body (identity)
//! scan       looks into the body as it is hashed; what may do harm ends the fill
//! sink       where lanes put bytes: the partial (or nowhere) and the verifier (verify), or a ring in memory when the disk is full
//! handle     what people see of a transfer, and how they end one
//! state      what has come, who reads, how it ended; readers sleep here (release says how far they may see)
//! ```
//!
//! Left out: whether a fill is needed at all (`artifact`), and how bytes become HTTP bodies (`body`).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::Notify;

use crate::cache::fill::handle::Handle;
use crate::cache::fill::state::{Ending, Look, Opened, State};
use crate::inspect::Report;
use crate::store::ReadAt;
use crate::types::CacheKey;

mod adopt;
mod answer;
mod handle;
mod identity;
mod lane;
mod map;
mod nowhere;
mod pump;
mod registry;
mod release;
mod ring;
mod scan;
mod sink;
pub(crate) mod state;
mod transfer;
mod verify;
mod width;

pub(crate) use adopt::{Adopted, Adoption, adopt};
pub use handle::Transfer;
pub(crate) use identity::as_whole;
pub(crate) use registry::{Fills, Place};
pub(crate) use release::{SMALL_BYTES, View};
pub(crate) use transfer::{Complete, start};
pub(crate) use verify::{Verified, verify_at_rest};

/// A transfer under way, as its readers and its lanes see it.
pub struct Fill {
    key: CacheKey,
    handle: Handle,
    /// Its bytes go to those whom a waiver excepts, whatever is found in them.
    is_excepted: bool,
    verify_before_range: bool,
    state: Mutex<State>,
    /// A reader waits for bytes that no lane is about to bring.
    wanted: Notify,
    /// The first reader came, or the last one left.
    attendance: Notify,
    /// The ring has been read from.
    room: Notify,
}

/// A place among the readers of a fill. While somebody has one, the fill is not abandoned.
#[derive(Debug)]
pub struct Reader {
    fill: Arc<Fill>,
    seat: u64,
}

/// What somebody who joins a fill waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// The head, and that the first byte may be seen: for a small body, that it is verified.
    Head,
    /// That the body is verified.
    Digest,
}

impl Fill {
    fn new(key: CacheKey, is_excepted: bool, verify_before_range: bool) -> Arc<Self> {
        Arc::new(Self {
            key,
            handle: Handle::new(),
            is_excepted,
            verify_before_range,
            state: Mutex::default(),
            wanted: Notify::new(),
            attendance: Notify::new(),
            room: Notify::new(),
        })
    }

    /// The head and what belongs to it, as soon as upstream gave it.
    pub(crate) fn opened(&self) -> Option<Arc<Opened>> {
        self.lock().opened.clone()
    }

    /// Length of the body, once known.
    pub fn total(&self) -> Option<u64> {
        self.lock().map.total
    }

    /// Whether it is for those alone whom a waiver excepts.
    pub(crate) const fn is_excepted(&self) -> bool {
        self.is_excepted
    }

    /// Takes a place among the readers.
    pub(crate) fn read(self: &Arc<Self>) -> Reader {
        let (seat, first) = self.lock().sit();
        if first {
            self.attendance.notify_one();
        }
        Reader { fill: Arc::clone(self), seat }
    }

    /// Whether there is something in it for those who come now.
    pub(super) fn is_open(&self) -> bool {
        !self.lock().is_gone()
    }

    /// Readers go on in `file`, which holds the same bytes.
    pub(crate) fn swap_file(&self, file: Arc<dyn ReadAt>) {
        self.lock().swap_file(file);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between calls, and no call leaves it half changed when it panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes the readers.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let outcome = change(&mut state);
        let wakers = state.take_wakers();
        drop(state);
        wakers.into_iter().for_each(std::task::Waker::wake);
        outcome
    }

    fn end(&self, ending: Ending) {
        self.change(|state| state.end(ending));
    }

    /// Ready once nobody has read for `patience`.
    async fn abandoned(&self, patience: std::time::Duration) {
        loop {
            let attendance = self.attendance.notified();
            let occupied = self.lock().has_readers();
            match occupied {
                true => attendance.await,
                false if tokio::time::timeout(patience, attendance).await.is_err() => return,
                false => {}
            }
        }
    }
}

impl Reader {
    pub(crate) fn fill(&self) -> &Arc<Fill> {
        &self.fill
    }

    /// Waits until what `patience` names is there. `Err` tells how the fill ended without it.
    pub(crate) async fn opened(&self, patience: Patience) -> Result<Arc<Opened>, Ending> {
        std::future::poll_fn(|context| {
            let mut state = self.fill.lock();
            match state.admit(self.seat, patience) {
                Some(outcome) => Poll::Ready(outcome),
                None => state.wait(self.seat, context.waker()),
            }
        })
        .await
    }

    /// Waits until inspection leaves the byte at `offset` to be seen, or the fill has ended.
    pub(crate) async fn is_shown(&self, offset: u64) {
        std::future::poll_fn(|context| {
            let mut state = self.fill.lock();
            match state.is_shown(offset) {
                true => Poll::Ready(()),
                false => state.wait(self.seat, context.waker()),
            }
        })
        .await;
    }

    /// Waits until it is known what is in the body. `None`: the fill ended before.
    pub(crate) async fn found(&self) -> Option<Arc<Report>> {
        std::future::poll_fn(|context| {
            let mut state = self.fill.lock();
            match state.findings() {
                Some(found) => Poll::Ready(found),
                None => state.wait(self.seat, context.waker()),
            }
        })
        .await
    }

    /// The first answer that passes through instead of being kept, if nobody has taken it yet.
    pub(crate) fn take_answer(&self) -> Option<crate::cache::ask::Answered> {
        self.fill.lock().unkept.take()
    }

    /// The view that a body of `range` has.
    pub(crate) fn view(&self, range: Option<&std::ops::Range<u64>>) -> View {
        let prefix = self.fill.lock().map.prefix();
        View::of(range, prefix, self.fill.verify_before_range)
    }

    /// Looks for the bytes at `at`, of a body that is read up to `end` (the body's own end when `None`).
    pub(crate) fn poll_look(
        &self,
        context: &Context<'_>,
        at: u64,
        end: Option<u64>,
        view: View,
    ) -> Poll<Look> {
        let mut state = self.fill.lock();
        if state.moved(self.seat, at, end) {
            self.fill.room.notify_one();
        }
        match state.look(self.seat, at, end, view) {
            Some(look) => Poll::Ready(look),
            None => {
                if state.is_wanted(self.seat) {
                    self.fill.wanted.notify_one();
                }
                state.wait(self.seat, context.waker())
            }
        }
    }
}

impl Clone for Reader {
    /// Takes another place, which takes over what this one was going to read.
    fn clone(&self) -> Self {
        let reader = self.fill.read();
        self.fill.lock().hand_over(self.seat);
        reader
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let last = self.fill.lock().leave(self.seat);
        self.fill.room.notify_one();
        if last {
            self.fill.attendance.notify_one();
        }
    }
}

impl fmt::Debug for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fill").field("key", &self.key).finish_non_exhaustive()
    }
}
