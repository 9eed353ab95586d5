//! The hub's own addresses in what it says, and Larder's in their place: links to further pages, redirects, addresses in JSON.
//!
//! A client that followed one of them would go, with its token, past Larder.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use url::Url;

use crate::ecosystem::huggingface::config::Settings;

/// The address of the next page, from a `Link` field (RFC 8288).
pub fn next_of(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(header::LINK).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(members).find_map(|(target, parameters)| {
        let is_next = parameters.split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            name.trim().eq_ignore_ascii_case("rel")
                && value.trim().trim_matches('"').split(' ').any(|rel| rel == "next")
        });
        is_next.then(|| target.to_owned())
    })
}

/// The targets of a `Link` field with their parameters.
fn members(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('<') {
        let Some((target, after)) = after.split_once('>') else { break };
        let end = after.find(",<").or_else(|| after.find(", <")).unwrap_or(after.len());
        found.push((target, &after[..end]));
        rest = &after[end..];
    }
    found
}

/// An address below one of several bases, as the same path below another.
pub fn transplanted(url: &Url, from: &[Url], to: &Url) -> Option<Url> {
    let text = from.iter().find_map(|base| url.as_str().strip_prefix(base.as_str()))?;
    Url::parse(&format!("{to}{text}")).ok()
}

/// Puts Larder's root in the place of the hub's, in every address of a text.
pub fn rewritten(settings: &Settings, base: &str, text: &Bytes) -> Bytes {
    let mut text = text.clone();
    for name in names(settings) {
        text = replaced(&text, name.as_bytes(), base.as_bytes());
    }
    text
}

/// The same for the fields of a head: `Location` and `Link`.
pub fn rewrite_head(settings: &Settings, base: &str, headers: &mut HeaderMap) {
    for name in [header::LOCATION, header::LINK, header::CONTENT_LOCATION] {
        let values: Vec<HeaderValue> = headers.get_all(&name).iter().cloned().collect();
        if values.is_empty() {
            continue;
        }
        headers.remove(&name);
        for value in values {
            let text = rewritten(settings, base, &Bytes::copy_from_slice(value.as_bytes()));
            if let Ok(value) = HeaderValue::from_bytes(&text) {
                headers.append(&name, value);
            }
        }
    }
}

/// What the hub calls its root, without the last slash.
fn names(settings: &Settings) -> impl Iterator<Item = &str> {
    let bases = std::iter::once(&settings.origin.base).chain(&settings.aliases);
    bases.map(|base| base.as_str().trim_end_matches('/'))
}

/// Replaces an address's root wherever it ends there: the name of another host may begin with it.
fn replaced(text: &Bytes, from: &[u8], to: &[u8]) -> Bytes {
    let finder = memchr::memmem::Finder::new(from);
    let mut places = finder
        .find_iter(text)
        .filter(|at| {
            let next = text.get(at + from.len());
            next.is_none_or(|byte| !byte.is_ascii_alphanumeric() && !b"-._:@%".contains(byte))
        })
        .peekable();
    if places.peek().is_none() {
        return text.clone();
    }
    let mut written = Vec::with_capacity(text.len() + to.len());
    let mut done = 0;
    for at in places {
        written.extend_from_slice(&text[done..at]);
        written.extend_from_slice(to);
        done = at + from.len();
    }
    written.extend_from_slice(&text[done..]);
    written.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_other_links() {
        let check = |value: &'static str, expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::LINK, HeaderValue::from_static(value));
            assert_eq!(next_of(&headers).as_deref(), expected, "{value}");
        };
        check("<http://h.example/a?b=1>; rel=\"next\"", Some("http://h.example/a?b=1"));
        check("<http://h.example/a>; rel=next", Some("http://h.example/a"));
        check("<http://a/>; rel=\"prev\", <http://b/>; rel=\"next\"", Some("http://b/"));
        check("<http://a/?x=1,2>; rel=\"prev\"", None);
        check("nonsense", None);
    }

    #[test]
    fn only_the_hub_s_own_address_is_replaced() {
        let check = |text: &'static str, expected: &str| {
            let text = Bytes::from_static(text.as_bytes());
            let written = replaced(&text, b"https://hub.example", b"http://l:1");
            assert_eq!(written, expected.as_bytes());
        };
        check("{\"a\":\"https://hub.example/x\"}", "{\"a\":\"http://l:1/x\"}");
        check("https://hub.example", "http://l:1");
        check("https://hub.example.evil/x", "https://hub.example.evil/x");
        check("https://hub.example:8443/x", "https://hub.example:8443/x");
        check("https://hub.example/a https://hub.example/b", "http://l:1/a http://l:1/b");
    }
}
