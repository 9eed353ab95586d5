//! Instants of wall time as plain values. Reading the clock is `clock`'s.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Later than every instant that a clock shows.
    pub const NEVER: Self = Self(u64::MAX);

    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Whole seconds since the epoch.
    pub const fn secs(self) -> u64 {
        self.0 / 1000
    }

    /// The time from `earlier` to `self`; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }

    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(millis))
    }

    /// Reads an instant as people write it: a date, which means its last millisecond (UTC), so that all of that day counts; or date and time with an
    /// offset (RFC 3339), also in the basic form of ISO 8601, `20260301t120000z`, for places where no colon may stand.
    pub fn from_text(text: &str) -> Option<Self> {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let is_plain = |byte: u8| byte.is_ascii_digit() || b"+-:.tTzZ".contains(&byte);
        if !text.bytes().all(is_plain) {
            return None;
        }
        let time = match text.contains(['t', 'T']) {
            true => text.parse::<jiff::Timestamp>().ok()?,
            false => {
                let is_date =
                    |digits: usize| text.bytes().filter(u8::is_ascii_digit).count() == digits;
                let date: jiff::civil::Date = text.parse().ok().filter(|_| is_date(8))?;
                let start = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
                let start = Self(u64::try_from(start.as_millisecond()).ok()?);
                // The last day of all ends before it is over everywhere.
                return Some(Self((start.plus(DAY).0 - 1).min(last())));
            }
        };
        u64::try_from(time.as_millisecond()).ok().map(Self)
    }

    /// `2026-03-01T12:00:00Z`, with milliseconds where there are any.
    pub fn to_rfc3339(self) -> String {
        self.to_jiff().to_string()
    }

    /// `2026-03-01T12:00:00.000Z`: all of one length, so that texts are in the order of instants.
    pub fn to_rfc3339_millis(self) -> String {
        format!("{:.3}", self.to_jiff())
    }

    /// What is past the last date is that.
    fn to_jiff(self) -> jiff::Timestamp {
        let millis = i64::try_from(self.0).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX)
    }

    /// Parses the three date forms of RFC 9110 section 5.6.7.
    pub fn from_http_date(text: &str) -> Option<Self> {
        httpdate::parse_http_date(text).ok().map(Self::from)
    }

    /// `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub fn to_http_date(self) -> String {
        httpdate::fmt_http_date(self.into())
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let span = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
    }
}

impl From<Timestamp> for SystemTime {
    /// Instants past the year 9999, which no HTTP date can say, become the last one that it can.
    fn from(time: Timestamp) -> Self {
        const LAST_HTTP_DATE_SECS: u64 = 253_402_300_799;
        UNIX_EPOCH + Duration::from_millis(time.0.min(LAST_HTTP_DATE_SECS * 1000))
    }
}

/// The last millisecond that can be written as a date.
fn last() -> u64 {
    u64::try_from(jiff::Timestamp::MAX.as_millisecond()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_go_both_ways() {
        let time = Timestamp::from_secs(784_111_777);
        assert_eq!(time.to_http_date(), "Sun, 06 Nov 1994 08:49:37 GMT");
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(Timestamp::from_http_date(text), Some(time), "{text}");
        }
        assert_eq!(Timestamp::from_http_date("0"), None);
    }

    /// The last days of the year 9999, and what is for ever, used to be written as the first day of 1970.
    #[test]
    fn the_end_of_time_is_not_written_as_its_beginning() {
        let last_day = Timestamp::from_text("9999-12-30").expect("a date");
        assert_eq!(Timestamp::from_text(&last_day.to_rfc3339()), Some(last_day));
        assert!(last_day.to_rfc3339().starts_with("9999-12-30T"));
        assert_eq!(Timestamp::NEVER.to_rfc3339(), last_day.to_rfc3339());
    }

    #[test]
    fn instants_are_read_as_people_write_them() {
        let check = |text: &str, expected: Option<&str>| {
            let read = Timestamp::from_text(text).map(Timestamp::to_rfc3339);
            assert_eq!(read.as_deref(), expected, "{text}");
        };
        check("2026-03-01", Some("2026-03-01T23:59:59.999Z"));
        check("20260301", Some("2026-03-01T23:59:59.999Z"));
        check("2026-03-01T12:00:00Z", Some("2026-03-01T12:00:00Z"));
        check("2026-03-01T12:00:00.25+02:00", Some("2026-03-01T10:00:00.25Z"));
        check("20260301t120000z", Some("2026-03-01T12:00:00Z"));
        for text in [
            "",
            "prod",
            "2026",
            "2026-3-1",
            "2026-02-30",
            "2026-03-01T12:00:00",
            "2026-03-01 12:00Z",
            "1969-12-31",
            "12:00",
            "2026-03",
            "2026-03-01[UTC]",
        ] {
            check(text, None);
        }
        assert!(!Timestamp::NEVER.to_rfc3339().is_empty());
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::NEVER.plus(Duration::MAX), Timestamp::NEVER);
        assert_eq!(Timestamp(5).minus(Duration::MAX), Timestamp(0));
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
        assert!(!Timestamp::NEVER.to_http_date().is_empty());
    }
}
