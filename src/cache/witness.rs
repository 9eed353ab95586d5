//! Whoever is told of events.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use crate::types::Event;

/// Takes note of events. [`Witness::witness`] itself never blocks and never fails: what cannot be taken is counted and told of by the witness, so that
/// nobody who serves clients has to care.
pub trait Witness: Send + Sync + fmt::Debug + 'static {
    /// Takes note, in order. What it gives back is ready when the events are durable, or cannot be made so for now; dropping it changes nothing.
    fn witness(&self, events: Vec<Event>) -> BoxFuture<'static, ()>;
}

/// Remembers events in memory, without bound: the twin for tests, and for runs whose events nobody asks about.
#[derive(Debug, Clone, Default)]
pub struct Notebook(Arc<Mutex<Vec<Event>>>);

impl Notebook {
    /// What was witnessed since it was last asked.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Witness for Notebook {
    fn witness(&self, mut events: Vec<Event>) -> BoxFuture<'static, ()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).append(&mut events);
        ready(()).boxed()
    }
}
