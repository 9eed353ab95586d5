//! Byte ranges (RFC 9110 section 14): what a `Range` field asks of a body of known size.

use std::ops::Range;

use http::{HeaderMap, header};

/// More ranges than this are an attack or a mistake; the whole body is sent instead (RFC 9110 section 14.2).
pub const MOST_RANGES: usize = 16;

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The whole body with 200: no `Range`, another unit, malformed, or too many.
    Whole,
    /// One part with 206.
    Single(Range<u64>),
    /// Several parts as `multipart/byteranges`.
    Several(Vec<Range<u64>>),
    /// 416.
    Unsatisfiable,
}

/// One requested range, before the size is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spec {
    /// `first-last`, both included, or `first-`.
    From { first: u64, last: Option<u64> },
    /// `-length`.
    Suffix { length: u64 },
}

/// Parses the one `Range` field of a request. `None`: absent, given twice, another unit or malformed, all of which a
/// recipient ignores.
pub fn parse(headers: &HeaderMap) -> Option<Vec<Spec>> {
    let mut values = headers.get_all(header::RANGE).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    let (unit, list) = value.to_str().ok()?.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let specs = list
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(spec)
        .collect::<Option<Vec<_>>>()?;
    (!specs.is_empty()).then_some(specs)
}

/// Applies requested ranges to a body of `size` bytes.
pub fn select(specs: Option<&[Spec]>, size: u64) -> Selection {
    let Some(specs) = specs else { return Selection::Whole };
    if specs.len() > MOST_RANGES {
        return Selection::Whole;
    }
    let ranges: Vec<_> = specs.iter().filter_map(|spec| resolve(*spec, size)).collect();
    match ranges.as_slice() {
        [] => Selection::Unsatisfiable,
        [only] => Selection::Single(only.clone()),
        several if overlaps(several) => Selection::Whole,
        _ => Selection::Several(ranges),
    }
}

fn spec(item: &str) -> Option<Spec> {
    let (first, last) = item.split_once('-')?;
    match (number(first)?, number(last)?) {
        (None, None) => None,
        (None, Some(length)) => Some(Spec::Suffix { length }),
        (Some(first), Some(last)) if last < first => None,
        (Some(first), last) => Some(Spec::From { first, last }),
    }
}

/// `None` when it is no number, `Some(None)` when it is empty. Numbers past `u64` mean past the end.
fn number(text: &str) -> Option<Option<u64>> {
    if text.is_empty() {
        return Some(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Some(text.parse().unwrap_or(u64::MAX)))
}

fn resolve(spec: Spec, size: u64) -> Option<Range<u64>> {
    let range = match spec {
        Spec::From { first, last } => {
            first..last.map_or(size, |last| last.saturating_add(1).min(size))
        }
        Spec::Suffix { length } => size.saturating_sub(length)..size,
    };
    (range.start < range.end).then_some(range)
}

/// Overlapping parts would send bytes twice: such a request gets the whole (CVE-2011-3192 class).
fn overlaps(ranges: &[Range<u64>]) -> bool {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable_by_key(|range| range.start);
    sorted.windows(2).any(|pair| pair[0].end > pair[1].start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, size: u64, expected: Selection) {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, value.parse().expect("a field value"));
        assert_eq!(select(parse(&headers).as_deref(), size), expected, "{value} of {size}");
    }

    #[test]
    fn ranges_are_selected_by_the_book() {
        use Selection::{Several, Single, Unsatisfiable, Whole};
        check("bytes=0-0", 10, Single(0..1));
        check("bytes=5-", 10, Single(5..10));
        check("bytes=-3", 10, Single(7..10));
        check("bytes=-30", 10, Single(0..10));
        check("bytes=2-99", 10, Single(2..10));
        check("Bytes= 2-3", 10, Single(2..4));
        check("bytes=0-1,4-5", 10, Several(vec![0..2, 4..6]));
        check("bytes=0-1, 20-30", 10, Single(0..2));
        check("bytes=0-5,3-8", 10, Whole);
        check("bytes=10-", 10, Unsatisfiable);
        check("bytes=-0", 10, Unsatisfiable);
        check("bytes=0-", 0, Unsatisfiable);
        check("bytes=99999999999999999999-", 10, Unsatisfiable);
        check("bytes=0-99999999999999999999", 10, Single(0..10));
        for ignored in ["bytes=5-2", "bytes=a-b", "bytes=-", "items=0-1", "bytes", "bytes=+1-2"] {
            check(ignored, 10, Whole);
        }
        check(&format!("bytes={}", vec!["0-0"; 17].join(",")), 10, Whole);
    }
}
