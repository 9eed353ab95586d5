//! Spans of time and counts as people read and write them.

use std::time::Duration;

/// A span in its largest unit that leaves at least two of it: `36 hours`, `7 days`.
pub fn span(span: Duration) -> String {
    let secs = span.as_secs();
    let units = [(86_400, "day"), (3600, "hour"), (60, "minute")];
    let fit = units.into_iter().find(|(unit, _)| secs >= 2 * unit);
    let (count, unit) = fit.map_or((secs, "second"), |(unit, name)| (secs / unit, name));
    match count {
        1 => format!("1 {unit}"),
        _ => format!("{count} {unit}s"),
    }
}

/// Reads `7 days`.
pub fn parse_span(text: &str) -> Option<Duration> {
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, StrDeserializer};
    let text: StrDeserializer<'_, Error> = text.into_deserializer();
    humantime_serde::deserialize(text).ok()
}

/// Reads `1000`, `7B`, `1.5M`.
pub fn parse_count(text: &str) -> Option<u64> {
    let text = text.trim().replace('_', "");
    let (number, factor) = match text.char_indices().next_back()? {
        (at, 'k' | 'K') => (&text[..at], 1e3),
        (at, 'm' | 'M') => (&text[..at], 1e6),
        (at, 'b' | 'B') => (&text[..at], 1e9),
        (at, 't' | 'T') => (&text[..at], 1e12),
        _ => (text.as_str(), 1.0),
    };
    let number: f64 = number.trim().parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some((number * factor).round() as u64)
}

/// A score from 0 to 10 as people write it, in tenths.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 100")]
pub fn parse_score(text: &str) -> Option<u64> {
    let score: f64 = text.trim().replace('_', "").parse().ok()?;
    (0.0..=10.0).contains(&score).then_some((score * 10.0).round() as u64)
}

/// A score from tenths: `9.8`.
pub fn score(tenths: u64) -> String {
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_counts_go_as_people_write_them() {
        for (secs, expected) in
            [(0, "0 seconds"), (1, "1 second"), (90, "90 seconds"), (7200, "2 hours")]
        {
            assert_eq!(span(Duration::from_secs(secs)), expected);
        }
        assert_eq!(span(Duration::from_secs(7 * 86_400)), "7 days");
        assert_eq!(parse_span("7 days"), Some(Duration::from_secs(7 * 86_400)));
        assert_eq!(parse_span("soon"), None);
        for (text, expected) in
            [("7B", Some(7_000_000_000)), ("1.5M", Some(1_500_000)), ("1_000", Some(1000))]
        {
            assert_eq!(parse_count(text), expected, "{text}");
        }
        for text in ["", "B", "-1", "many"] {
            assert_eq!(parse_count(text), None, "{text}");
        }
        for (text, expected) in
            [("7", Some(70)), ("9.8", Some(98)), ("10", Some(100)), ("11", None), ("-1", None)]
        {
            assert_eq!(parse_score(text), expected, "{text}");
        }
        assert_eq!(score(98), "9.8");
    }
}
