//! Single flight: one question to upstream, however many ask it, and no matter who of them leaves.
//!
//! A flight runs on the cache's task set, not in the client that began it. Its answer can be published before the flight
//! ends: waiters go on at once while what was learnt is still being written down. Whoever asks after that asks anew, in a flight
//! that takes off when the one before has landed, so that what is written stays in order.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::types::CacheKey;

/// Flights of one kind, at most one per key.
pub(crate) struct Flights<T> {
    running: Running<T>,
}

type Running<T> = Arc<Mutex<HashMap<CacheKey, watch::Receiver<Option<T>>>>>;

/// The flight before, still writing down.
struct Predecessor<T>(watch::Receiver<Option<T>>);

/// A place among those who wait for a flight.
pub(crate) struct Seat<T> {
    answer: watch::Receiver<Option<T>>,
    /// Whether the flight was under way already.
    pub(crate) joined: bool,
}

/// Held by the flight's task: publishes the answer, and ends the flight when dropped, however the task ends.
pub(crate) struct Pilot<T> {
    key: CacheKey,
    running: Running<T>,
    answer: watch::Sender<Option<T>>,
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    pub(crate) fn new() -> Self {
        Self { running: Arc::default() }
    }

    /// Joins the flight of `key` if it has no answer yet, or starts one with `fly` on `tasks`.
    pub(crate) fn board<F>(
        &self,
        key: &CacheKey,
        tasks: &TaskTracker,
        fly: impl FnOnce(Pilot<T>) -> F,
    ) -> Seat<T>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut running = lock(&self.running);
        let before = running.get(key).cloned();
        if let Some(answer) = &before
            && answer.borrow().is_none()
        {
            return Seat { answer: answer.clone(), joined: true };
        }
        let (sender, answer) = watch::channel(None);
        running.insert(key.clone(), answer.clone());
        drop(running);
        let pilot = Pilot { key: key.clone(), running: Arc::clone(&self.running), answer: sender };
        let flight = fly(pilot);
        tasks.spawn(async move {
            if let Some(before) = before {
                Predecessor(before).landed().await;
            }
            flight.await;
        });
        Seat { answer, joined: false }
    }

    /// Flights under way.
    pub(crate) fn len(&self) -> usize {
        lock(&self.running).len()
    }
}

impl<T: Clone> Seat<T> {
    /// Waits for the answer. `None` when the flight ended without one (its task was cut down at shutdown). Dropping this
    /// leaves the flight alone.
    pub(crate) async fn answer(&mut self) -> Option<T> {
        let answer = self.answer.wait_for(Option::is_some).await.ok()?;
        answer.clone()
    }

    /// Waits until the flight has ended: what it learnt is written down, and the next passenger starts a new one.
    pub(crate) async fn landed(mut self) {
        while self.answer.changed().await.is_ok() {}
    }
}

impl<T> Predecessor<T> {
    async fn landed(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

impl<T> Pilot<T> {
    /// Gives the answer to everybody who waits or joins from now on.
    pub(crate) fn publish(&self, answer: T) {
        self.answer.send_replace(Some(answer));
    }
}

impl<T> Drop for Pilot<T> {
    fn drop(&mut self) {
        let mut running = lock(&self.running);
        let own = self.answer.subscribe();
        if running.get(&self.key).is_some_and(|latest| latest.same_channel(&own)) {
            running.remove(&self.key);
        }
    }
}

impl<T> fmt::Debug for Flights<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flights({})", lock(&self.running).len())
    }
}

/// The map holds no invariant that a panicking thread could break half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;
    use crate::types::Audience;

    fn key() -> CacheKey {
        CacheKey::new("test", &Audience::Public, "x")
    }

    #[tokio::test]
    async fn many_passengers_share_one_flight_and_leaving_changes_nothing() {
        let flights: Flights<u32> = Flights::new();
        let tasks = TaskTracker::new();
        let gate = Arc::new(Notify::new());
        let flown = Arc::new(AtomicUsize::new(0));
        let board = || {
            let (gate, flown) = (Arc::clone(&gate), Arc::clone(&flown));
            flights.board(&key(), &tasks, |pilot| async move {
                gate.notified().await;
                flown.fetch_add(1, Ordering::SeqCst);
                pilot.publish(7);
            })
        };
        drop(board());
        let (mut second, mut third) = (board(), board());
        assert!(second.joined && third.joined);
        gate.notify_one();
        assert_eq!((second.answer().await, third.answer().await), (Some(7), Some(7)));
        tasks.close();
        tasks.wait().await;
        assert_eq!((flown.load(Ordering::SeqCst), flights.len()), (1, 0));
    }

    #[tokio::test]
    async fn who_comes_after_the_answer_flies_again_once_the_first_has_landed() {
        let flights: Flights<u32> = Flights::new();
        let tasks = TaskTracker::new();
        let (writing, landed) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let fly = |answer: u32, wait: bool| {
            let (writing, landed) = (Arc::clone(&writing), Arc::clone(&landed));
            move |pilot: Pilot<u32>| async move {
                pilot.publish(answer + landed.load(Ordering::SeqCst) as u32);
                if wait {
                    writing.notified().await;
                }
                landed.fetch_add(10, Ordering::SeqCst);
            }
        };
        assert_eq!(flights.board(&key(), &tasks, fly(1, true)).answer().await, Some(1));
        let mut second = flights.board(&key(), &tasks, fly(2, false));
        assert!(!second.joined);
        writing.notify_one();
        assert_eq!(second.answer().await, Some(12), "the second began after the first had ended");
        tasks.close();
        tasks.wait().await;
        assert_eq!(flights.len(), 0);
    }

    #[tokio::test]
    async fn a_flight_that_panics_frees_its_key_and_its_passengers() {
        let flights: Flights<u32> = Flights::new();
        let tasks = TaskTracker::new();
        let mut seat = flights.board(&key(), &tasks, |pilot| async move {
            let _pilot = pilot;
            panic!("the flight goes down");
        });
        assert_eq!(seat.answer().await, None);
        assert_eq!(flights.len(), 0);
    }
}
