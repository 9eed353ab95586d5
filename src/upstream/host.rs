//! What is remembered of each host: its circuit, its pause, its places and its budget of retries.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use moka::sync::Cache;
use tokio::time::{self, Instant};
use url::Url;

use super::breaker::{Breaker, Ticket};
use super::config::Config;
use super::limit::{Limit, Place};
use super::meter;
use super::redirect::host_of;
use super::retry::{Attempt, Attempts, Budget};
use super::{Availability, UpstreamError};

/// Hosts that are remembered at once. An origin that is allowed a whole domain could name any number.
const MOST_HOSTS: u64 = 10_000;

/// All hosts that were asked lately, by scheme, name and port.
#[derive(Debug)]
pub struct Hosts {
    config: Config,
    known: Cache<String, Arc<Host>>,
}

impl Hosts {
    pub fn new(config: Config) -> Self {
        Self { config, known: Cache::new(MOST_HOSTS) }
    }

    pub fn of(&self, url: &Url) -> Arc<Host> {
        let authority = url.origin().ascii_serialization();
        self.known.get_with(authority, || Arc::new(Host::new(host_of(url), &self.config)))
    }
}

/// One host.
#[derive(Debug)]
pub struct Host {
    pub name: String,
    limit: Limit,
    /// The longest time in the queue.
    patience: Duration,
    wait_max: Duration,
    pause_max: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    breaker: Breaker,
    budget: Budget,
    /// Until when the host asked to be left alone.
    paused_until: Option<Instant>,
    /// What the last failure was.
    fault: Arc<str>,
}

impl Host {
    fn new(name: String, config: &Config) -> Self {
        Self {
            name,
            limit: Limit::new(config.per_host_requests, config.per_host_queue),
            patience: config.head_timeout,
            wait_max: config.retry_after_max,
            pause_max: config.breaker_pause_max,
            state: Mutex::new(State {
                breaker: Breaker::new(config.breaker()),
                budget: Budget::new(config.retry_budget_percent),
                paused_until: None,
                fault: "it failed just now".into(),
            }),
        }
    }

    /// Whether somebody who has something kept should wait for this host.
    pub fn availability(&self) -> Availability {
        let (now, state) = (Instant::now(), self.state());
        match (state.breaker.availability(now), state.pause_left(now)) {
            (open @ Availability::Open { .. }, _) => open,
            (Availability::Closed, Some(retry_after)) => Availability::Open { retry_after },
            (Availability::Closed, None) => Availability::Closed,
        }
    }

    /// Counts the host as slow.
    pub fn trip(&self) {
        self.change(|breaker, now| breaker.trip(now, fastrand::f64()));
    }

    /// Waits for leave to send one attempt: a short pause to end, then a place, then the circuit's word.
    pub async fn enter(self: &Arc<Self>) -> Result<Pass, UpstreamError> {
        self.wait_out_pause().await?;
        let refusal = self.state().breaker.refusal(Instant::now());
        if let Some(retry_after) = refusal {
            return Err(self.failing(retry_after));
        }
        let place = self.limit.enter(self.patience).await;
        let place = place.map_err(|_| UpstreamError::Overloaded { host: self.name.clone() })?;
        let admitted = self.state().breaker.admit(Instant::now());
        let ticket = admitted.map_err(|retry_after| self.failing(retry_after))?;
        Ok(Pass { host: Arc::clone(self), ticket, told: Told::Nothing, place: Some(place) })
    }

    /// Pays for the retries of one request into the budget.
    pub fn note_request(&self) {
        self.state().budget.deposit();
    }

    /// How long to wait before the next attempt. A pause that the host asked for holds for everybody.
    pub fn next_attempt(&self, attempts: &mut Attempts, attempt: Attempt) -> Option<Duration> {
        let mut state = self.state();
        if let Attempt::Paused(pause) = attempt {
            let until = Instant::now() + pause.min(self.pause_max);
            state.paused_until = state.paused_until.max(Some(until));
        }
        attempts.next(attempt, &mut state.budget, fastrand::f64())
    }

    async fn wait_out_pause(&self) -> Result<(), UpstreamError> {
        let left = self.state().pause_left(Instant::now());
        match left {
            None => Ok(()),
            Some(left) if left <= self.wait_max => {
                time::sleep(left).await;
                Ok(())
            }
            Some(left) => Err(self.open(left, "it asked to be left alone".into())),
        }
    }

    fn failing(&self, retry_after: Duration) -> UpstreamError {
        let cause = Arc::clone(&self.state().fault);
        self.open(retry_after, cause)
    }

    fn open(&self, retry_after: Duration, cause: Arc<str>) -> UpstreamError {
        UpstreamError::CircuitOpen { host: self.name.clone(), retry_after, cause }
    }

    fn change(&self, change: impl FnOnce(&mut Breaker, Instant)) {
        let now = Instant::now();
        let mut state = self.state();
        let before = state.breaker.is_closed();
        change(&mut state.breaker, now);
        let (after, fault) = (state.breaker.is_closed(), Arc::clone(&state.fault));
        drop(state);
        match (before, after) {
            (true, false) => {
                meter::circuit_opened(&self.name);
                tracing::warn!(
                    origin.host = %self.name, error = %fault,
                    "upstream is away: it is tried now and then, and what is kept is served meanwhile"
                );
            }
            (false, true) => {
                meter::circuit_closed(&self.name);
                tracing::info!(origin.host = %self.name, "upstream answers again");
            }
            _ => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds a host's state")
    }
}

impl State {
    fn pause_left(&self, now: Instant) -> Option<Duration> {
        let left = self.paused_until?.checked_duration_since(now)?;
        (!left.is_zero()).then_some(left)
    }
}

/// Leave to send one attempt. Dropped without a word about its outcome, it tells the circuit that nothing was learnt.
#[derive(Debug)]
pub struct Pass {
    host: Arc<Host>,
    ticket: Ticket,
    told: Told,
    place: Option<Place>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Outcome,
}

impl Pass {
    /// The host answered; the place is held for the body.
    pub fn succeeded(mut self) -> Place {
        self.told = Told::Outcome;
        self.host.change(|breaker, _| breaker.succeeded(self.ticket));
        self.place.take().expect("a pass holds its place until it ends")
    }

    /// No connection, or no head on it.
    pub fn failed(mut self, error: &UpstreamError) {
        self.told = Told::Outcome;
        self.host.state().fault = error.to_string().into();
        self.host.change(|breaker, now| breaker.failed(self.ticket, now, fastrand::f64()));
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.told == Told::Nothing {
            self.host.change(|breaker, now| breaker.abandoned(self.ticket, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::retry;

    const SECOND: Duration = Duration::from_secs(1);

    fn host() -> Arc<Host> {
        let config = Config {
            breaker_failures: 1,
            breaker_pause: 2 * SECOND,
            retry_after_max: 5 * SECOND,
            ..Config::default()
        };
        Hosts::new(config).of(&"http://index.example/".parse().expect("an address"))
    }

    fn pause(host: &Host, seconds: u32) -> Option<Duration> {
        let settings = retry::Settings { retries: 1, pause: SECOND, wait_max: 5 * SECOND };
        let mut attempts = Attempts::new(settings, retry::Repeat::Allowed);
        host.next_attempt(&mut attempts, Attempt::Paused(seconds * SECOND))
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_pause_is_waited_out_by_everybody() {
        let host = host();
        assert_eq!(pause(&host, 3), Some(3 * SECOND));
        assert_eq!(host.availability(), Availability::Open { retry_after: 3 * SECOND });
        let before = Instant::now();
        drop(host.enter().await.expect("the pause ends").succeeded());
        assert_eq!(before.elapsed(), 3 * SECOND);
        assert_eq!(host.availability(), Availability::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_pause_fails_at_once_and_is_capped() {
        let host = host();
        assert_eq!(pause(&host, 86_400), None);
        let Err(UpstreamError::CircuitOpen { retry_after, .. }) = host.enter().await else {
            panic!("a request passed in the pause");
        };
        assert_eq!(retry_after, Config::default().breaker_pause_max);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_dropped_lets_the_next_request_probe() {
        let host = host();
        let error = UpstreamError::Dns { host: "index.example".to_owned() };
        host.enter().await.expect("closed").failed(&error);
        let refused = host.enter().await.expect_err("the circuit is open").to_string();
        assert!(refused.ends_with("ms: index.example could not be resolved"), "{refused}");
        assert!(host.enter().await.is_err());
        time::advance(2 * SECOND).await;
        drop(host.enter().await.expect("the probe"));
        let probe = host.enter().await.expect("the next probe");
        assert!(host.enter().await.is_err(), "only one at a time");
        drop(probe.succeeded());
        assert!(host.enter().await.is_ok());
    }
}
