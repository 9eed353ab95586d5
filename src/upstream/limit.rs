//! How many requests go to one host at a time, and how many may wait for their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time;

/// A bounded number of places with a bounded queue before them.
#[derive(Debug)]
pub struct Limit {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
}

/// A place, held until the answer's body has ended or is dropped.
pub type Place = OwnedSemaphorePermit;

/// The queue is full, or no place became free in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Limit {
    pub fn new(places: usize, queue: usize) -> Self {
        let places = places.clamp(1, Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(places)), waiting: AtomicUsize::new(0), queue }
    }

    /// Takes a place, waiting for `patience` at most. First come, first served. Safe to drop.
    pub async fn enter(&self, patience: Duration) -> Result<Place, Full> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let _turn = Turn::take(&self.waiting, self.queue)?;
        let place = time::timeout(patience, Arc::clone(&self.places).acquire_owned()).await;
        place.map_err(|_| Full)?.map_err(|_| Full)
    }
}

/// A position in the queue; leaves it when dropped.
struct Turn<'a>(&'a AtomicUsize);

impl<'a> Turn<'a> {
    fn take(waiting: &'a AtomicUsize, queue: usize) -> Result<Self, Full> {
        let joined = waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
            (count < queue).then_some(count + 1)
        });
        joined.map(|_| Self(waiting)).map_err(|_| Full)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn places_and_queue_are_bounded() {
        let limit = Limit::new(1, 1);
        let first = limit.enter(PATIENCE).await.expect("a free place");
        let mut second = Box::pin(limit.enter(PATIENCE));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(limit.enter(PATIENCE).await.is_err(), "the queue is full");
        drop(first);
        let second = second.await.expect("the place is free again");
        assert!(limit.enter(PATIENCE).await.is_err(), "patience ends");
        drop(second);
        assert!(limit.enter(PATIENCE).await.is_ok());
    }

    #[tokio::test]
    async fn a_request_that_leaves_the_queue_makes_room() {
        let limit = Limit::new(1, 1);
        let _place = limit.enter(PATIENCE).await.expect("a free place");
        let mut waiting = Box::pin(limit.enter(PATIENCE));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(waiting);
        assert!(limit.enter(PATIENCE).now_or_never().is_none(), "it waits rather than fails");
    }
}
