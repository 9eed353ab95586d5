//! Updating a stored head from a later one: a 304 (RFC 9111 section 4.3.4) or the answer to a `HEAD` (section 4.3.5).

use http::{HeaderMap, HeaderName, header};

use crate::semantics::conditional::weak_match;
use crate::semantics::hop_by_hop;

/// Fields that describe the stored bytes; a head that comes without them cannot change them (section 3.2).
const OF_THE_BODY: [HeaderName; 3] =
    [header::CONTENT_ENCODING, header::CONTENT_LENGTH, header::CONTENT_RANGE];

/// Replaces the stored fields by those that the newer head names. Several values replace all old ones.
pub fn update(stored: &mut HeaderMap, newer: &HeaderMap) {
    let mut newer = newer.clone();
    hop_by_hop::strip(&mut newer);
    for name in OF_THE_BODY {
        newer.remove(name);
    }
    for name in newer.keys() {
        stored.remove(name);
        for value in newer.get_all(name) {
            stored.append(name.clone(), value.clone());
        }
    }
}

/// Whether a 304 speaks of this stored response: the validators that it names are the stored ones. One without validators
/// speaks of the response that was asked about.
pub fn is_confirmed(stored: &HeaderMap, confirming: &HeaderMap) -> bool {
    match (confirming.get(header::ETAG), confirming.get(header::LAST_MODIFIED)) {
        (Some(tag), _) => stored.get(header::ETAG).is_some_and(|kept| {
            match (tag.to_str(), kept.to_str()) {
                // A weak tag selects by weak comparison, a strong one by strong (section 4.3.4).
                (Ok(tag), Ok(kept)) if tag.starts_with("W/") => weak_match(tag, kept),
                _ => tag == kept,
            }
        }),
        (None, Some(date)) => stored.get(header::LAST_MODIFIED).is_none_or(|kept| kept == date),
        (None, None) => true,
    }
}

/// Whether the answer to a `HEAD` describes this stored response: every validator it has is the stored one, and the length is the same.
pub fn is_described(stored: &HeaderMap, body_bytes: u64, described: &HeaderMap) -> bool {
    let same = |name: HeaderName| {
        described.get(&name).is_none_or(|value| stored.get(&name) == Some(value))
    };
    let length = described.get(header::CONTENT_LENGTH).is_none_or(|value| {
        value.to_str().ok().and_then(|text| text.parse().ok()) == Some(body_bytes)
    });
    same(header::ETAG) && same(header::LAST_MODIFIED) && length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().expect("a field value"));
        }
        headers
    }

    #[test]
    fn newer_fields_replace_all_values_but_never_the_bytes_description() {
        let mut stored = fields(&[
            ("etag", "\"a\""),
            ("x-a", "1"),
            ("x-a", "2"),
            ("x-kept", "1"),
            ("content-length", "36"),
            ("content-encoding", "gzip"),
        ]);
        let newer = fields(&[
            ("x-a", "3"),
            ("x-new", "1"),
            ("x-new", "2"),
            ("content-length", "0"),
            ("content-encoding", "br"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
        ]);
        update(&mut stored, &newer);
        let mut found: Vec<_> = stored
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().expect("visible ASCII")))
            .collect();
        found.sort_unstable();
        let expected = [
            ("content-encoding", "gzip"),
            ("content-length", "36"),
            ("etag", "\"a\""),
            ("x-a", "3"),
            ("x-kept", "1"),
            ("x-new", "1"),
            ("x-new", "2"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_304_confirms_what_it_names() {
        let stored = fields(&[("etag", "\"a\""), ("last-modified", "then")]);
        let check = |confirming: &[(&'static str, &str)], expected: bool| {
            assert_eq!(is_confirmed(&stored, &fields(confirming)), expected, "{confirming:?}");
        };
        check(&[], true);
        check(&[("etag", "\"a\"")], true);
        check(&[("etag", "\"a\""), ("last-modified", "now")], true);
        check(&[("etag", "W/\"a\"")], true);
        check(&[("etag", "\"b\"")], false);
        check(&[("last-modified", "then")], true);
        check(&[("last-modified", "now")], false);
    }

    #[test]
    fn a_head_describes_what_it_matches() {
        let stored = fields(&[("etag", "\"a\"")]);
        let check = |described: &[(&'static str, &str)], expected: bool| {
            assert_eq!(is_described(&stored, 36, &fields(described)), expected, "{described:?}");
        };
        check(&[], true);
        check(&[("etag", "\"a\""), ("content-length", "36")], true);
        check(&[("etag", "\"b\"")], false);
        check(&[("last-modified", "now")], false);
        check(&[("content-length", "37")], false);
    }
}
