//! How long a response may be reused (RFC 9111 section 4.2), how old it is, and what a request makes of that.
//!
//! [`Freshness`] is worked out once, when a response arrives, and kept beside it; every later question is arithmetic on it.
//! The lifetime itself is `http-cache-semantics`' word, given only the one field that counts, in canonical form: handed a whole
//! response, that crate misreads odd `Cache-Control`, `Age` and `Expires` fields, never reuses `proxy-revalidate` responses, ignores the apparent
//! age and knows neither stale-while-revalidate nor stale-if-error nor targeted fields. Left out: what may be stored at all (`storing`).

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_cache_semantics::{CacheOptions, CachePolicy};
use serde::{Deserialize, Serialize};

use crate::semantics::cache_control::{
    Reach, RequestDirectives, ResponseDirectives, delta_seconds, split_outside_quotes,
};
use crate::semantics::targeted;
use crate::types::{Head, Timestamp};

/// A heuristic lifetime is at most this, however long ago the last change was.
pub const MOST_HEURISTIC_SECS: u64 = 24 * 3600;

/// Without a `stale-if-error` of the origin, a response is served this long past its lifetime while the origin cannot be reached.
pub const MOST_STALE_SECS: u64 = 7 * 24 * 3600;

/// Statuses whose responses may be reused by heuristics (RFC 9110 section 15.1), but for 206, which is kept apart.
const HEURISTIC_STATUSES: [u16; 11] = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];

/// How a response stands in time, from the moment it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freshness {
    pub received: Timestamp,
    /// `corrected_initial_age` of section 4.2.3.
    pub initial_age_secs: u64,
    pub lifetime_secs: u64,
    pub basis: Basis,
    pub demand: Demand,
    pub while_revalidate_secs: u64,
    pub if_error_secs: Option<u64>,
    pub immutable: bool,
}

/// Where a lifetime comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Basis {
    /// The origin said it.
    Explicit,
    /// A tenth of the time since the last change (section 4.2.2).
    Heuristic,
    /// Nothing to go by: never fresh.
    Nothing,
}

/// When the origin insists on being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Demand {
    /// Not even when stale and unreachable.
    Never,
    /// Once stale: `must-revalidate`, `proxy-revalidate`, `s-maxage`.
    WhenStale,
    /// Each time: `no-cache`.
    Always,
}

/// Whether a stored response answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    Fresh,
    /// Stale, and the client said that this will do (`max-stale`).
    StaleAccepted,
    /// Stale, and served at once while it is revalidated behind the client's back (RFC 5861 section 3).
    StaleWhileRevalidating,
    /// Only after the origin has confirmed it.
    Validate,
}

/// The directives that rule a response for this cache: a usable targeted field in place of `Cache-Control` and `Expires`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    pub directives: ResponseDirectives,
    pub targeted: bool,
}

impl Rules {
    pub fn read(headers: &HeaderMap) -> Self {
        match targeted::read(headers) {
            Some(directives) => Self { directives, targeted: true },
            None => Self { directives: ResponseDirectives::read(headers), targeted: false },
        }
    }

    /// Whether the origin gave a lifetime, be it zero (section 4.2.1).
    pub fn is_explicit(&self, headers: &HeaderMap) -> bool {
        self.directives.max_age.is_some()
            || self.directives.s_maxage.is_some()
            || (!self.targeted && headers.contains_key(header::EXPIRES))
    }
}

impl Freshness {
    /// Reads the head of a response that was asked for at `requested` and arrived at `received`.
    pub fn of(head: &Head, rules: &Rules, requested: Timestamp, received: Timestamp) -> Self {
        let directives = &rules.directives;
        let (basis, lifetime_secs) = lifetime(head, rules, received);
        Self {
            received,
            initial_age_secs: initial_age_secs(&head.headers, requested, received),
            lifetime_secs,
            basis,
            demand: demand(directives),
            while_revalidate_secs: directives.stale_while_revalidate.unwrap_or(0),
            if_error_secs: directives.stale_if_error,
            immutable: directives.immutable,
        }
    }

    /// `current_age` of section 4.2.3: what `Age` says.
    pub fn age_secs(&self, now: Timestamp) -> u64 {
        self.initial_age_secs.saturating_add(now.since(self.received).as_secs())
    }

    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.lifetime_secs > self.age_secs(now)
    }

    /// Seconds of freshness left; negative when stale.
    pub fn ttl_secs(&self, now: Timestamp) -> i64 {
        let lifetime = i64::try_from(self.lifetime_secs).unwrap_or(i64::MAX);
        lifetime.saturating_sub(i64::try_from(self.age_secs(now)).unwrap_or(i64::MAX))
    }

    /// When it stops being fresh.
    pub fn fresh_until(&self) -> Timestamp {
        let left = self.lifetime_secs.saturating_sub(self.initial_age_secs);
        self.received.plus(Duration::from_secs(left))
    }

    /// Whether it answers a request that asks for `wishes`.
    pub fn judge(&self, wishes: &RequestDirectives, now: Timestamp) -> Reuse {
        let age = self.age_secs(now);
        let fresh = self.is_fresh(now);
        if self.demand == Demand::Always || wishes.no_cache {
            return Reuse::Validate;
        }
        // RFC 8246 section 2: a reload alone does not lead to a question about what cannot have changed.
        let settled = self.immutable && fresh;
        if !settled && wishes.max_age.is_some_and(|most| most == 0 || age > most) {
            return Reuse::Validate;
        }
        let left = self.lifetime_secs.saturating_sub(age);
        if wishes.min_fresh.is_some_and(|least| left < least) {
            return Reuse::Validate;
        }
        if fresh {
            return Reuse::Fresh;
        }
        let stale_for = age - self.lifetime_secs;
        if self.demand == Demand::WhenStale {
            Reuse::Validate
        } else if wishes.max_stale.is_some_and(|most| stale_for <= most) {
            Reuse::StaleAccepted
        } else if self.while_revalidate_secs > 0 && stale_for <= self.while_revalidate_secs {
            Reuse::StaleWhileRevalidating
        } else {
            Reuse::Validate
        }
    }

    /// Whether it may be served when the origin cannot be reached or answers with an outage (section 4.2.4, RFC 5861 section 4).
    pub fn may_stand_in(&self, wishes: &RequestDirectives, now: Timestamp) -> bool {
        let stale_for = self.age_secs(now).saturating_sub(self.lifetime_secs);
        let bound = self.if_error_secs.unwrap_or(MOST_STALE_SECS);
        match self.demand {
            Demand::Always => false,
            Demand::WhenStale => self.is_fresh(now) && !wishes.no_cache,
            Demand::Never => stale_for <= bound && !wishes.no_cache,
        }
    }
}

/// Whether heuristics apply to a response (section 4.2.2): by its status, or because it is marked `public`.
pub fn is_heuristically_cacheable(head: &Head, directives: &ResponseDirectives) -> bool {
    directives.public || HEURISTIC_STATUSES.contains(&head.status.as_u16())
}

/// Reads a date field: the three forms of RFC 9110 section 5.6.7, in any case and with any day of the week, which says nothing that the date
/// does not. Given twice, or anything else: `None`.
pub fn date(headers: &HeaderMap, name: &HeaderName) -> Option<Timestamp> {
    let mut values = headers.get_all(name).iter();
    let text = values.next()?.to_str().ok()?;
    match values.next() {
        Some(_) => None,
        None => {
            let text = canonical_case(text.trim());
            Timestamp::from_http_date(&text).or_else(|| on_any_weekday(&text))
        }
    }
}

fn on_any_weekday(text: &str) -> Option<Timestamp> {
    const WEEKDAYS: [&str; 7] =
        ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    let (said, rest) = text.split_at(text.find([',', ' '])?);
    let is_short = said.len() == 3;
    let shown = |day: &'static str| if is_short { &day[..3] } else { day };
    if !WEEKDAYS.iter().any(|day| shown(day) == said) {
        return None;
    }
    WEEKDAYS.iter().find_map(|day| Timestamp::from_http_date(&format!("{}{rest}", shown(day))))
}

fn canonical_case(date: &str) -> String {
    let word = |word: &str| match word.to_ascii_lowercase() {
        gmt if gmt == "gmt" => "GMT".to_owned(),
        other => other[..1].to_ascii_uppercase() + &other[1..],
    };
    let mut canonical = String::with_capacity(date.len());
    let mut rest = date;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        let (before, tail) = rest.split_at(start);
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        canonical.push_str(before);
        canonical.push_str(&word(&tail[..end]));
        rest = &tail[end..];
    }
    canonical + rest
}

fn demand(directives: &ResponseDirectives) -> Demand {
    if directives.no_cache == Reach::Everything {
        return Demand::Always;
    }
    let insists =
        directives.must_revalidate || directives.proxy_revalidate || directives.s_maxage.is_some();
    if insists { Demand::WhenStale } else { Demand::Never }
}

fn lifetime(head: &Head, rules: &Rules, received: Timestamp) -> (Basis, u64) {
    let directives = &rules.directives;
    if let Some(seconds) = directives.s_maxage.or(directives.max_age) {
        let field = HeaderValue::from(seconds);
        let mut value = b"max-age=".to_vec();
        value.extend_from_slice(field.as_bytes());
        let value = HeaderValue::from_bytes(&value).expect("digits make a field value");
        return (Basis::Explicit, ask_crate(&[(header::CACHE_CONTROL, value)], received));
    }
    let born = date(&head.headers, &header::DATE).unwrap_or(received);
    if !rules.targeted && head.headers.contains_key(header::EXPIRES) {
        let Some(expires) = date(&head.headers, &header::EXPIRES) else {
            return (Basis::Explicit, 0);
        };
        let fields = [(header::DATE, field(born)), (header::EXPIRES, field(expires))];
        return (Basis::Explicit, ask_crate(&fields, received));
    }
    // What sets a cookie was made for one client, unless the origin says how long all may have it.
    let personal = head.headers.contains_key(header::SET_COOKIE);
    match date(&head.headers, &header::LAST_MODIFIED) {
        Some(changed) if !personal && is_heuristically_cacheable(head, directives) => {
            let fields = [(header::DATE, field(born)), (header::LAST_MODIFIED, field(changed))];
            (Basis::Heuristic, ask_crate(&fields, received).min(MOST_HEURISTIC_SECS))
        }
        _ => (Basis::Nothing, 0),
    }
}

fn field(date: Timestamp) -> HeaderValue {
    HeaderValue::try_from(date.to_http_date()).expect("a date is visible ASCII")
}

/// The lifetime that `http-cache-semantics` reads from `fields`: no `Age`, a plain status, nothing of any client.
fn ask_crate(fields: &[(HeaderName, HeaderValue)], received: Timestamp) -> u64 {
    let request = Request::new(());
    let mut response = Response::new(());
    response.headers_mut().extend(fields.iter().cloned());
    let options = CacheOptions { shared: true, cache_heuristic: 0.1, ..CacheOptions::default() };
    let policy = CachePolicy::new_options(&request, &response, received.into(), options);
    policy.time_to_live(received.into()).as_secs()
}

fn initial_age_secs(headers: &HeaderMap, requested: Timestamp, received: Timestamp) -> u64 {
    let apparent =
        date(headers, &header::DATE).map_or(0, |born| received.secs().saturating_sub(born.secs()));
    let delay = received.since(requested).as_secs();
    apparent.max(age_value_secs(headers).saturating_add(delay))
}

/// The first member of `Age`; anything but digits is ignored (section 5.1).
fn age_value_secs(headers: &HeaderMap) -> u64 {
    headers
        .get(header::AGE)
        .and_then(|value| value.to_str().ok())
        .and_then(|line| split_outside_quotes(line).next())
        .and_then(|first| delta_seconds(first.trim()))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(784_111_777);
    const DATE: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");

    fn head(status: u16, fields: &[(&'static str, &str)]) -> Head {
        let mut head = Head::new(StatusCode::from_u16(status).expect("a status"));
        for (name, value) in fields {
            head.headers.append(*name, value.parse().expect("a field value"));
        }
        head
    }

    fn freshness(status: u16, fields: &[(&'static str, &str)]) -> Freshness {
        let head = head(status, fields);
        Freshness::of(&head, &Rules::read(&head.headers), NOW, NOW)
    }

    #[test]
    fn the_lifetime_comes_from_the_strongest_field() {
        let check = |fields: &[(&'static str, &str)], basis: Basis, seconds: u64| {
            let read = freshness(200, fields);
            assert_eq!((read.basis, read.lifetime_secs), (basis, seconds), "{fields:?}");
        };
        use Basis::{Explicit, Heuristic, Nothing};
        let future = ("expires", "Sun, 06 Nov 1994 08:50:37 GMT");
        check(&[], Nothing, 0);
        check(&[("cache-control", "max-age=10"), future, DATE], Explicit, 10);
        check(&[("cache-control", "max-age=10, s-maxage=20")], Explicit, 20);
        check(&[("cache-control", "max-age=10, proxy-revalidate"), DATE], Explicit, 10);
        check(&[("cdn-cache-control", "max-age=5"), ("cache-control", "no-store")], Explicit, 5);
        check(&[("cdn-cache-control", "x"), ("cache-control", "max-age=9"), future], Nothing, 0);
        check(&[future, DATE], Explicit, 60);
        check(&[future, ("date", "foo")], Explicit, 60);
        check(&[future, ("date", "Sun, 06 Nov 1994 08:51:37 GMT")], Explicit, 0);
        check(&[("expires", "0"), ("last-modified", "Sun, 06 Nov 1994 07:49:37 GMT")], Explicit, 0);
        check(&[future, future, DATE], Explicit, 0);
        check(&[DATE, ("last-modified", "Sun, 06 Nov 1994 08:32:57 GMT")], Heuristic, 100);
        check(&[DATE, ("last-modified", "Sun, 06 Nov 1974 08:32:57 GMT")], Heuristic, 86_400);
        let changed = ("last-modified", "Sun, 06 Nov 1994 08:32:57 GMT");
        check(&[DATE, changed, ("set-cookie", "a=b")], Nothing, 0);
    }

    #[test]
    fn heuristics_need_a_status_or_public() {
        let changed = ("last-modified", "Sun, 06 Nov 1994 08:32:57 GMT");
        for (status, seconds) in [(200, 100), (404, 100), (201, 0), (403, 0), (503, 0), (599, 0)] {
            assert_eq!(freshness(status, &[DATE, changed]).lifetime_secs, seconds, "{status}");
        }
        let public = [DATE, changed, ("cache-control", "public")];
        assert_eq!(freshness(599, &public).lifetime_secs, 100);
    }

    #[test]
    fn dates_are_read_in_any_case_and_no_other_form() {
        let check = |text: &str, valid: bool| {
            let head = head(200, &[("expires", text)]);
            assert_eq!(date(&head.headers, &header::EXPIRES).is_some(), valid, "{text}");
        };
        check("THU, 18 Aug 2050 02:01:18 GMT", true);
        check("Thu, 18 AUG 2050 02:01:18 gMT", true);
        check("Thursday, 18-Aug-50 02:01:18 GMT", true);
        check("Thu Aug  8 02:01:18 2050", true);
        for odd in [
            "0",
            "",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
        ] {
            check(odd, false);
        }
    }

    #[test]
    fn the_age_is_the_larger_of_what_is_said_and_what_is_seen() {
        let check = |fields: &[(&'static str, &str)], expected: u64| {
            assert_eq!(freshness(200, fields).initial_age_secs, expected, "{fields:?}");
        };
        check(&[], 0);
        check(&[DATE, ("age", "30")], 30);
        check(&[("date", "Sun, 06 Nov 1994 08:48:37 GMT"), ("age", "30")], 60);
        check(&[("date", "Sun, 06 Nov 1994 08:50:37 GMT")], 0);
        check(&[("age", "7200, 0")], 7200);
        check(&[("age", "0"), ("age", "7200")], 0);
        check(&[("age", "99999999999999999999999")], 1 << 31);
        for odd in ["abc", "-7200", "7200.0", "7200;foo=bar", ""] {
            check(&[("age", odd)], 0);
        }
        let head = head(200, &[DATE, ("age", "30")]);
        let later = NOW.plus(Duration::from_secs(5));
        let read = Freshness::of(&head, &Rules::read(&head.headers), NOW, later);
        assert_eq!(read.initial_age_secs, 35, "the answer's delay counts");
        assert_eq!(read.age_secs(later.plus(Duration::from_secs(7))), 42);
    }

    #[test]
    fn requests_bend_the_rules() {
        let check = |stored: &str, after: u64, asked: &str, expected: Reuse| {
            let read = freshness(200, &[("cache-control", stored)]);
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, asked.parse().expect("a field value"));
            let wishes = RequestDirectives::read(&headers);
            let now = NOW.plus(Duration::from_secs(after));
            assert_eq!(read.judge(&wishes, now), expected, "{stored} after {after} s, {asked}");
        };
        use Reuse::{Fresh, StaleAccepted, StaleWhileRevalidating, Validate};
        check("max-age=10", 9, "x", Fresh);
        check("max-age=10", 10, "x", Validate);
        check("max-age=0", 0, "x", Validate);
        check("max-age=10", 1, "no-cache", Validate);
        check("max-age=10, no-cache", 1, "x", Validate);
        check("max-age=10, no-cache=\"a\"", 1, "x", Fresh);
        check("max-age=10", 1, "max-age=0", Validate);
        check("max-age=10", 5, "max-age=4", Validate);
        check("max-age=10", 5, "max-age=5", Fresh);
        check("max-age=10, immutable", 5, "max-age=0", Fresh);
        check("max-age=10, immutable", 10, "max-age=0", Validate);
        check("max-age=10, immutable", 5, "no-cache", Validate);
        check("max-age=10", 5, "min-fresh=6", Validate);
        check("max-age=10", 5, "min-fresh=5", Fresh);
        check("max-age=10", 15, "max-stale=4", Validate);
        check("max-age=10", 15, "max-stale=5", StaleAccepted);
        check("max-age=10", 1_000_000, "max-stale", StaleAccepted);
        check("max-age=10, must-revalidate", 15, "max-stale", Validate);
        check("s-maxage=10", 15, "max-stale", Validate);
        check("max-age=10, stale-while-revalidate=5", 15, "x", StaleWhileRevalidating);
        check("max-age=10, stale-while-revalidate=5", 16, "x", Validate);
        check("max-age=10, stale-while-revalidate=5, must-revalidate", 11, "x", Validate);
    }

    #[test]
    fn what_may_stand_in_for_a_lost_origin() {
        let check = |stored: &str, after: u64, expected: bool| {
            let read = freshness(200, &[("cache-control", stored)]);
            let now = NOW.plus(Duration::from_secs(after));
            let wishes = RequestDirectives::default();
            assert_eq!(read.may_stand_in(&wishes, now), expected, "{stored} after {after} s");
        };
        check("max-age=10", 20, true);
        check("max-age=10", 11 + MOST_STALE_SECS, false);
        check("max-age=10, stale-if-error=5", 15, true);
        check("max-age=10, stale-if-error=5", 16, false);
        check("max-age=10, must-revalidate", 20, false);
        check("max-age=10, proxy-revalidate, stale-if-error=60", 20, false);
        check("s-maxage=10", 20, false);
        check("max-age=10, no-cache", 5, false);
    }
}
