//! The circuit breaker of one host, as a pure machine over instants.
//!
//! It opens after several failures in a row. Open, it lets nobody through until its pause is over; then it lets one request
//! through, the probe, whose outcome closes it or opens it for longer. A host that a caller found too slow is still asked, since
//! slow is better than nothing for whoever has nothing kept; but nobody who has is told to wait for it until it has answered again.

use std::time::Duration;

use tokio::time::Instant;

use super::Availability;

/// How a breaker opens.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Failures in a row that open it; 0 is read as 1.
    pub failures: u32,
    /// The first pause; each probe that fails doubles it.
    pub pause: Duration,
    pub pause_max: Duration,
}

/// The state of the circuit to one host.
#[derive(Debug)]
pub struct Breaker {
    settings: Settings,
    state: State,
    /// Openings and trips since the host last answered.
    openings: u32,
    /// Set while the host counts as slow: when it may be tried again in the background.
    slow_until: Option<Instant>,
    /// Counts state changes: what a request says that was sent before the last one is old news and does not count.
    epoch: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    Probing,
}

/// Leave to send one request. Its outcome must be told by [`Breaker::succeeded`], [`Breaker::failed`] or [`Breaker::abandoned`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    epoch: u64,
}

impl Breaker {
    pub const fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Closed { failures: 0 },
            openings: 0,
            slow_until: None,
            epoch: 0,
        }
    }

    /// Whether somebody who has something kept should wait for the host. `Open` with nothing left to wait means that a probe is due.
    pub fn availability(&self, now: Instant) -> Availability {
        let open_until = |until: Instant| Availability::Open {
            retry_after: until.saturating_duration_since(now),
        };
        match (self.state, self.slow_until) {
            (State::Open { until }, _) | (State::Closed { .. }, Some(until)) => open_until(until),
            (State::Probing, _) => Availability::Open { retry_after: self.settings.pause },
            (State::Closed { .. }, None) => Availability::Closed,
        }
    }

    /// How long [`Breaker::admit`] would refuse.
    pub fn refusal(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Open { until } if now < until => Some(until - now),
            State::Probing => Some(self.settings.pause),
            State::Closed { .. } | State::Open { .. } => None,
        }
    }

    /// Whether nothing keeps requests back, neither a pause nor a probe.
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// Leave to send, or how long not to ask again.
    pub fn admit(&mut self, now: Instant) -> Result<Ticket, Duration> {
        if let Some(retry_after) = self.refusal(now) {
            return Err(retry_after);
        }
        if matches!(self.state, State::Open { .. }) {
            self.turn(State::Probing);
        }
        Ok(Ticket { epoch: self.epoch })
    }

    /// The host answered.
    pub fn succeeded(&mut self, ticket: Ticket) {
        if ticket.epoch != self.epoch {
            return;
        }
        self.openings = 0;
        self.slow_until = None;
        match &mut self.state {
            State::Closed { failures } => *failures = 0,
            State::Probing | State::Open { .. } => self.turn(State::Closed { failures: 0 }),
        }
    }

    /// No connection, or no head on it. `jitter` in 0..=1 spreads the pause over the upper half of its length.
    pub fn failed(&mut self, ticket: Ticket, now: Instant, jitter: f64) {
        if ticket.epoch != self.epoch {
            return;
        }
        match &mut self.state {
            State::Closed { failures } if *failures + 1 < self.settings.failures => *failures += 1,
            State::Closed { .. } | State::Probing => self.open(now, jitter),
            State::Open { .. } => {}
        }
    }

    /// The request was given up before its outcome was known; if it was the probe, the next request is.
    pub fn abandoned(&mut self, ticket: Ticket, now: Instant) {
        if ticket.epoch == self.epoch && self.state == State::Probing {
            self.turn(State::Open { until: now });
        }
    }

    /// A caller waited in vain: the host counts as slow until it answers a request sent from now on.
    pub fn trip(&mut self, now: Instant, jitter: f64) {
        let tried_again = self.slow_until.is_none_or(|until| until <= now);
        if tried_again && matches!(self.state, State::Closed { .. }) {
            self.slow_until = Some(now + self.next_pause(jitter));
            self.epoch += 1;
        }
    }

    fn open(&mut self, now: Instant, jitter: f64) {
        let until = now + self.next_pause(jitter);
        self.turn(State::Open { until });
    }

    fn next_pause(&mut self, jitter: f64) -> Duration {
        let doublings = self.openings.min(20);
        let pause = self.settings.pause.saturating_mul(1 << doublings).min(self.settings.pause_max);
        self.openings = self.openings.saturating_add(1);
        pause.mul_f64(0.5 + jitter / 2.0)
    }

    fn turn(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> Breaker {
        Breaker::new(Settings { failures: 3, pause: 2 * SECOND, pause_max: 10 * SECOND })
    }

    fn open(breaker: &mut Breaker, now: Instant, jitter: f64) {
        for _ in 0..3 {
            let ticket = breaker.admit(now).expect("a request is let through");
            breaker.failed(ticket, now, jitter);
        }
    }

    fn fail(breaker: &mut Breaker, now: Instant) {
        let ticket = breaker.admit(now).expect("a request is let through");
        breaker.failed(ticket, now, 1.0);
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let (mut breaker, now) = (breaker(), Instant::now());
        fail(&mut breaker, now);
        fail(&mut breaker, now);
        let ticket = breaker.admit(now).expect("still closed");
        breaker.succeeded(ticket);
        fail(&mut breaker, now);
        fail(&mut breaker, now);
        assert_eq!(breaker.availability(now), Availability::Closed);
        fail(&mut breaker, now);
        assert_eq!(breaker.admit(now), Err(2 * SECOND));
    }

    #[test]
    fn one_probe_passes_and_each_failed_one_doubles_the_pause_to_the_cap() {
        let (mut breaker, mut now) = (breaker(), Instant::now());
        open(&mut breaker, now, 1.0);
        for pause in [2, 4, 8, 10, 10] {
            assert_eq!(breaker.admit(now), Err(pause * SECOND));
            now += pause * SECOND;
            let probe = breaker.admit(now).expect("the pause is over");
            assert!(breaker.admit(now).is_err(), "a second probe");
            breaker.failed(probe, now, 1.0);
        }
        now += 10 * SECOND;
        let probe = breaker.admit(now).expect("the pause is over");
        breaker.succeeded(probe);
        assert_eq!(breaker.availability(now), Availability::Closed);
        open(&mut breaker, now, 0.0);
        assert_eq!(breaker.admit(now), Err(SECOND), "the pause starts small again, halved");
    }

    #[test]
    fn an_abandoned_probe_leaves_the_next_request_to_probe() {
        let (mut breaker, now) = (breaker(), Instant::now());
        open(&mut breaker, now, 1.0);
        let later = now + 2 * SECOND;
        let probe = breaker.admit(later).expect("the pause is over");
        breaker.abandoned(probe, later);
        assert!(breaker.admit(later).is_ok());
        assert!(breaker.admit(later).is_err());
    }

    #[test]
    fn what_was_sent_before_the_circuit_opened_does_not_count() {
        let (mut breaker, now) = (breaker(), Instant::now());
        let early = breaker.admit(now).expect("closed");
        open(&mut breaker, now, 1.0);
        breaker.succeeded(early);
        assert_eq!(breaker.admit(now), Err(2 * SECOND), "an old answer closes nothing");
        breaker.failed(early, now + SECOND, 1.0);
        assert_eq!(breaker.admit(now), Err(2 * SECOND), "an old failure prolongs nothing");
    }
    #[test]
    fn a_slow_host_is_still_asked_but_not_waited_for() {
        let (mut breaker, now) = (breaker(), Instant::now());
        let early = breaker.admit(now).expect("closed");
        breaker.trip(now, 1.0);
        breaker.trip(now, 1.0);
        let wait = |left: u32| Availability::Open { retry_after: left * SECOND };
        assert_eq!(breaker.availability(now), wait(2));
        assert_eq!(breaker.availability(now + 3 * SECOND), wait(0), "a probe is due");
        breaker.succeeded(early);
        assert_eq!(
            breaker.availability(now),
            wait(2),
            "the answer that came too late closes nothing"
        );
        let late = breaker.admit(now).expect("who has nothing kept may ask");
        breaker.succeeded(late);
        assert_eq!(breaker.availability(now), Availability::Closed);
    }
}
