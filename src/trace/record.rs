//! One line of the ledger: an event with its place, as JSON in the canonical form of RFC 8785, so that everybody writes and hashes the same bytes.
//!
//! Members stand in the order of their names, there is no space between tokens, and a member that says nothing is not there.

use jiff::SpanRelativeTo;
use serde::{Deserialize, Serialize};

use crate::types::event::Kind;
use crate::types::{Event, Timestamp, What};

/// The longest text of a member, in bytes. What upstream says may be as long as it likes; what is recorded of it may not.
const MOST_TEXT_BYTES: usize = 4096;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after: Option<String>,
    /// RFC 3339, in UTC, to the millisecond.
    pub at: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
    /// Its place in the ledger, from 0.
    pub index: u64,
    pub kind: Kind,
    pub mount: String,
    pub subject: String,
}

impl Record {
    /// An event at its place.
    pub fn new(index: u64, event: &Event) -> Self {
        let Event { at, mount, what } = event;
        let What { kind, subject, before, after, detail } = what;
        let bounded = |text: &String| bounded(text).to_owned();
        Self {
            after: after.as_ref().map(bounded),
            at: at.to_rfc3339_millis(),
            before: before.as_ref().map(bounded),
            detail: detail.as_ref().map(bounded),
            index,
            kind: *kind,
            mount: bounded(mount),
            subject: bounded(subject),
        }
    }

    /// The line, without its end.
    pub fn line(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain values have a form in JSON")
    }

    /// When it happened.
    pub fn happened(&self) -> Timestamp {
        self.at.parse::<jiff::Timestamp>().map_or(Timestamp(0), of_jiff)
    }
}

/// An instant as people write it: a date (its beginning in UTC), an instant of RFC 3339, or a time before `now`: `2h`, `7 days`.
pub fn instant(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(of_jiff(at));
    }
    if let Ok(date) = text.parse::<jiff::civil::Date>() {
        let start = date.to_zoned(jiff::tz::TimeZone::UTC);
        return start.map(|start| of_jiff(start.timestamp())).map_err(|error| error.to_string());
    }
    let span = text
        .parse::<jiff::Span>()
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
    match span.map(|span| span.unsigned_abs()) {
        Ok(span) => Ok(now.minus(span)),
        Err(_) => Err(format!(
            "{text:?} is no time: write a date (2026-03-01), an instant (2026-03-01T12:00:00Z) or how long ago (2h, 7d)"
        )),
    }
}

fn of_jiff(at: jiff::Timestamp) -> Timestamp {
    Timestamp(u64::try_from(at.as_millisecond()).unwrap_or_default())
}

/// The beginning of a text, up to a whole character.
fn bounded(text: &str) -> &str {
    let end = (0..=MOST_TEXT_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp(1_772_366_400_007);

    #[test]
    fn lines_are_canonical() {
        let what = What::new(Kind::Moved, "hf:o/m@main").before("a").after("b\u{1f}\"é");
        let record = Record::new(7, &what.at(NOON, "hub"));
        let line = record.line();
        assert_eq!(
            String::from_utf8_lossy(&line),
            r#"{"after":"b\u001f\"é","at":"2026-03-01T12:00:00.007Z","before":"a","index":7,"kind":"moved","mount":"hub","subject":"hf:o/m@main"}"#
        );
        assert_eq!(serde_json::from_slice::<Record>(&line).expect("it reads"), record);
        assert_eq!(record.happened(), NOON);
        // The same members in the order of their names, as a map that sorts them writes them.
        let sorted: std::collections::BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(&line).expect("an object");
        assert_eq!(serde_json::to_vec(&sorted).expect("JSON"), line);
    }

    #[test]
    fn texts_are_bounded_at_whole_characters() {
        let what = What::new(Kind::Refused, "é".repeat(3000));
        let record = Record::new(0, &what.at(Timestamp(0), "hub"));
        assert_eq!(record.subject, "é".repeat(2048));
        assert_eq!(record.at, "1970-01-01T00:00:00.000Z");
        assert!(!Timestamp::NEVER.to_rfc3339_millis().is_empty());
    }

    #[test]
    fn instants_are_read_as_people_write_them() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(instant(text, NOON).ok().map(|at| at.0), expected, "{text}");
        };
        check("2026-03-01", Some(1_772_323_200_000));
        check("2026-03-01T12:00:00Z", Some(1_772_366_400_000));
        check("2026-03-01T13:00:00+01:00", Some(1_772_366_400_000));
        check("2h", Some(NOON.0 - 7_200_000));
        check("7 days", Some(NOON.0 - 7 * 86_400_000));
        check("yesterday", None);
        check("2026-13-01", None);
        check("", None);
    }
}
