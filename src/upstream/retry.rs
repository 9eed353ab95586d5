//! When a request is sent again, and after how long. Pure, but for the dice.
//!
//! Only GET and HEAD, only before a head was passed on, and never more often than both the number of attempts and the host's [`Budget`]
//! allow: retries must not turn an outage into a flood. Time-outs are not retried; the time is spent.

use std::time::Duration;

use http::{Method, StatusCode, header};

use super::quota;
use super::request::Retries;
use super::{OriginRequest, OutgoingBody, UpstreamError};
use crate::types::{Head, Timestamp};

/// How often and how long.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Attempts beside the first.
    pub retries: u32,
    /// The first pause is at most this long; each further one may be twice the one before.
    pub pause: Duration,
    /// The longest pause that is waited out when a host asks for one by `Retry-After`.
    pub wait_max: Duration,
}

/// The longest pause between two attempts that nobody asked for.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What one attempt came to, as far as trying again goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// A final answer, good or bad.
    Done,
    /// Worth another attempt.
    Failed,
    /// The host asks to be left alone for this long.
    Paused(Duration),
}

impl Attempt {
    pub fn of(outcome: Result<&Head, &UpstreamError>) -> Self {
        match outcome {
            Ok(head) => Self::of_head(head),
            Err(
                UpstreamError::Dns { .. }
                | UpstreamError::Refused { .. }
                | UpstreamError::Broken { .. },
            ) => Self::Failed,
            Err(UpstreamError::Proxy { cause, .. }) => Self::of(Err(cause)),
            Err(_) => Self::Done,
        }
    }

    fn of_head(head: &Head) -> Self {
        let pause = retry_after(head).or_else(|| quota::used_up(head));
        match (head.status, pause) {
            (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, Some(pause)) => {
                Self::Paused(pause)
            }
            (
                StatusCode::REQUEST_TIMEOUT
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT,
                _,
            ) => Self::Failed,
            _ => Self::Done,
        }
    }
}

/// The pause that `Retry-After` asks for, in seconds or until a date (RFC 9110 section 10.2.3). A date is read against the
/// answer's own `Date`, so that clocks that differ do not matter.
fn retry_after(head: &Head) -> Option<Duration> {
    let text = head.text(&header::RETRY_AFTER)?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let now = Timestamp::from_http_date(head.text(&header::DATE)?)?;
            Some(Timestamp::from_http_date(text)?.since(now))
        }
    }
}

/// Whether a request may be sent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    Allowed,
    Never,
}

impl Repeat {
    pub fn of(request: &OriginRequest) -> Self {
        let safe = matches!(request.method, Method::GET | Method::HEAD);
        match request.body {
            _ if request.retries == Retries::Never => Self::Never,
            OutgoingBody::Empty | OutgoingBody::Bytes(_) if safe => Self::Allowed,
            _ => Self::Never,
        }
    }
}

/// The attempts of one request.
#[derive(Debug)]
pub struct Attempts {
    settings: Settings,
    left: u32,
    made: u32,
}

impl Attempts {
    pub const fn new(settings: Settings, repeat: Repeat) -> Self {
        let left = match repeat {
            Repeat::Allowed => settings.retries,
            Repeat::Never => 0,
        };
        Self { settings, left, made: 0 }
    }

    /// How long to wait before the next attempt; `None`: no further attempt. `jitter` in 0..=1 is the part of a pause of our
    /// own that is waited.
    pub fn next(&mut self, attempt: Attempt, budget: &mut Budget, jitter: f64) -> Option<Duration> {
        let pause = match attempt {
            Attempt::Done => return None,
            Attempt::Paused(pause) if pause > self.settings.wait_max => return None,
            Attempt::Paused(pause) => pause,
            Attempt::Failed => {
                let longest = self.settings.pause.saturating_mul(1 << self.made.min(20));
                longest.min(PAUSE_MAX).mul_f64(jitter)
            }
        };
        if self.left == 0 || !budget.withdraw() {
            return None;
        }
        self.left -= 1;
        self.made += 1;
        Some(pause)
    }
}

/// A bucket of retries: every request pays in a share of one, every retry takes a whole one out.
#[derive(Debug)]
pub struct Budget {
    /// Hundredths of a retry.
    cents: u32,
    percent: u32,
}

impl Budget {
    /// Retries that a host may cause at once, whatever went before.
    const RESERVE_CENTS: u32 = 10 * 100;

    /// `percent` retries for each hundred requests, beside a reserve.
    pub const fn new(percent: u32) -> Self {
        Self { cents: Self::RESERVE_CENTS, percent }
    }

    /// Notes a request.
    pub fn deposit(&mut self) {
        self.cents = self.cents.saturating_add(self.percent).min(Self::RESERVE_CENTS);
    }

    fn withdraw(&mut self) -> bool {
        let left = self.cents.checked_sub(100);
        self.cents = left.unwrap_or(self.cents);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings {
        retries: 2,
        pause: Duration::from_millis(100),
        wait_max: Duration::from_secs(5),
    };

    fn head(status: u16, retry_after: Option<&'static str>) -> Head {
        let mut head = Head::new(StatusCode::from_u16(status).expect("a status"));
        let date = http::HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
        head.headers.insert(header::DATE, date);
        if let Some(value) = retry_after {
            head.headers.insert(header::RETRY_AFTER, http::HeaderValue::from_static(value));
        }
        head
    }

    #[test]
    fn answers_are_read_as_final_failed_or_paused() {
        for (status, retry_after, attempt) in [
            (200, None, Attempt::Done),
            (404, None, Attempt::Done),
            (500, None, Attempt::Done),
            (429, None, Attempt::Done),
            (408, None, Attempt::Failed),
            (502, Some("3"), Attempt::Failed),
            (503, None, Attempt::Failed),
            (503, Some("soon"), Attempt::Failed),
            (504, None, Attempt::Failed),
            (503, Some("3"), Attempt::Paused(Duration::from_secs(3))),
            (429, Some("3"), Attempt::Paused(Duration::from_secs(3))),
            (429, Some("Sun, 06 Nov 1994 08:49:47 GMT"), Attempt::Paused(Duration::from_secs(10))),
            (429, Some("Sun, 06 Nov 1994 08:49:07 GMT"), Attempt::Paused(Duration::ZERO)),
        ] {
            let head = head(status, retry_after);
            assert_eq!(Attempt::of(Ok(&head)), attempt, "{status} {retry_after:?}");
        }
        let host = || "h".to_owned();
        for (error, attempt) in [
            (UpstreamError::Refused { host: host() }, Attempt::Failed),
            (UpstreamError::Broken { host: host(), detail: host() }, Attempt::Failed),
            (UpstreamError::TimedOut { host: host(), stage: "head" }, Attempt::Done),
            (UpstreamError::Malformed { host: host(), detail: host() }, Attempt::Done),
            (UpstreamError::Tls { host: host(), detail: host() }, Attempt::Done),
        ] {
            assert_eq!(Attempt::of(Err(&error)), attempt, "{error}");
        }
    }

    #[test]
    fn pauses_grow_and_end_with_the_attempts() {
        let mut budget = Budget::new(20);
        let mut attempts = Attempts::new(SETTINGS, Repeat::Allowed);
        let mut next = |attempt| attempts.next(attempt, &mut budget, 1.0);
        assert_eq!(next(Attempt::Failed), Some(Duration::from_millis(100)));
        assert_eq!(next(Attempt::Failed), Some(Duration::from_millis(200)));
        assert_eq!(next(Attempt::Failed), None);
    }

    #[test]
    fn a_long_pause_and_an_unsafe_method_are_not_tried_again() {
        let mut budget = Budget::new(20);
        let long = Attempt::Paused(Duration::from_secs(6));
        assert_eq!(Attempts::new(SETTINGS, Repeat::Allowed).next(long, &mut budget, 1.0), None);
        let mut posting = Attempts::new(SETTINGS, Repeat::Never);
        assert_eq!(posting.next(Attempt::Failed, &mut budget, 1.0), None);
    }

    #[test]
    fn the_budget_bounds_retries_over_all_requests() {
        let mut budget = Budget::new(20);
        let retries = (0..1000)
            .filter(|_| {
                budget.deposit();
                let mut attempts = Attempts::new(SETTINGS, Repeat::Allowed);
                attempts.next(Attempt::Failed, &mut budget, 1.0).is_some()
            })
            .count();
        assert!((200..=210).contains(&retries), "{retries}");
    }
}
