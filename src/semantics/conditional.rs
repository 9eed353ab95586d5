//! Conditional requests (RFC 9110 section 13) and entity tags (section 8.8.3).

use http::{HeaderMap, Method, header};

use crate::types::Timestamp;

/// The validators of a selected representation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Validators<'a> {
    /// The entity tag with its quotes and, when weak, its `W/`.
    pub etag: Option<&'a str>,
    pub last_modified: Option<Timestamp>,
}

/// What the preconditions say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// Evaluates the preconditions of a request in the order of RFC 9110 section 13.2.2. `If-Range` is [`range_applies`].
pub fn evaluate(method: &Method, headers: &HeaderMap, validators: Validators<'_>) -> Precondition {
    let safe = matches!(*method, Method::GET | Method::HEAD);
    if headers.contains_key(header::IF_MATCH) {
        if !any_tag(headers, header::IF_MATCH, validators.etag, strong_match) {
            return Precondition::Failed;
        }
    } else if let Some(limit) = date(headers, header::IF_UNMODIFIED_SINCE)
        && validators.last_modified.is_some_and(|modified| modified.secs() > limit.secs())
    {
        return Precondition::Failed;
    }
    if headers.contains_key(header::IF_NONE_MATCH) {
        return match any_tag(headers, header::IF_NONE_MATCH, validators.etag, weak_match) {
            true if safe => Precondition::NotModified,
            true => Precondition::Failed,
            false => Precondition::Proceed,
        };
    }
    if safe
        && let Some(since) = date(headers, header::IF_MODIFIED_SINCE)
        && validators.last_modified.is_some_and(|modified| modified.secs() <= since.secs())
    {
        return Precondition::NotModified;
    }
    Precondition::Proceed
}

/// Whether a `Range` field counts, given `If-Range` (RFC 9110 section 13.1.5): a strong comparison of tags, or an exact date.
pub fn range_applies(headers: &HeaderMap, validators: Validators<'_>) -> bool {
    let Some(value) = headers.get(header::IF_RANGE) else { return true };
    let Ok(text) = value.to_str() else { return false };
    let text = text.trim();
    if text.starts_with('"') || text.starts_with("W/") {
        return validators.etag.is_some_and(|etag| strong_match(text, etag));
    }
    match (Timestamp::from_http_date(text), validators.last_modified) {
        (Some(date), Some(modified)) => date.secs() == modified.secs(),
        _ => false,
    }
}

/// Both strong and the same (RFC 9110 section 8.8.3.2).
pub fn strong_match(left: &str, right: &str) -> bool {
    !left.starts_with("W/") && left == right
}

/// The same apart from `W/`.
pub fn weak_match(left: &str, right: &str) -> bool {
    left.trim_start_matches("W/") == right.trim_start_matches("W/")
}

fn date(headers: &HeaderMap, name: header::HeaderName) -> Option<Timestamp> {
    Timestamp::from_http_date(headers.get(name)?.to_str().ok()?)
}

fn any_tag(
    headers: &HeaderMap,
    name: header::HeaderName,
    etag: Option<&str>,
    same: fn(&str, &str) -> bool,
) -> bool {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        list.trim() == "*"
            || etag.is_some_and(|etag| tags(list).any(|candidate| same(candidate, etag)))
    })
}

/// The entity tags of a list. A comma may stand inside a tag's quotes, so commas alone do not part them.
fn tags(list: &str) -> impl Iterator<Item = &str> {
    let mut rest = list;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([',', ' ', '\t']);
        let opening = rest.find('"')?;
        let closing = opening + 1 + rest[opening + 1..].find('"')?;
        let (tag, tail) = rest.split_at(closing + 1);
        rest = tail;
        Some(tag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn request(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().expect("a field value"));
        }
        headers
    }

    fn validators() -> Validators<'static> {
        Validators { etag: Some("\"a,b\""), last_modified: Timestamp::from_http_date(MODIFIED) }
    }

    #[test]
    fn preconditions_are_evaluated_in_order() {
        use Precondition::{Failed, NotModified, Proceed};
        let check = |method: Method, fields: &[(&'static str, &str)], expected| {
            assert_eq!(evaluate(&method, &request(fields), validators()), expected, "{fields:?}");
        };
        check(Method::GET, &[], Proceed);
        check(Method::GET, &[("if-none-match", "\"x\", W/\"a,b\"")], NotModified);
        check(Method::GET, &[("if-none-match", "*")], NotModified);
        check(Method::GET, &[("if-none-match", "\"a\"")], Proceed);
        check(Method::PUT, &[("if-none-match", "*")], Failed);
        check(Method::GET, &[("if-none-match", "\"x\""), ("if-modified-since", LATER)], Proceed);
        check(Method::HEAD, &[("if-modified-since", MODIFIED)], NotModified);
        check(Method::GET, &[("if-modified-since", EARLIER)], Proceed);
        check(Method::GET, &[("if-modified-since", "yesterday")], Proceed);
        check(Method::GET, &[("if-match", "W/\"a,b\"")], Failed);
        check(Method::GET, &[("if-match", "\"a,b\""), ("if-unmodified-since", EARLIER)], Proceed);
        check(Method::GET, &[("if-unmodified-since", EARLIER)], Failed);
    }

    #[test]
    fn if_range_wants_a_strong_tag_or_the_exact_date() {
        let check = |value: &str, expected| {
            assert_eq!(
                range_applies(&request(&[("if-range", value)]), validators()),
                expected,
                "{value}"
            );
        };
        assert!(range_applies(&HeaderMap::new(), validators()));
        check("\"a,b\"", true);
        check("W/\"a,b\"", false);
        check("\"z\"", false);
        check(MODIFIED, true);
        check(LATER, false);
        check("garbage", false);
    }
}
