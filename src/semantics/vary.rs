//! Selecting a stored response by `Vary` (RFC 9111 section 4.1).
//!
//! The nominated request fields are compared in a normal form that keeps their meaning: lines are joined, blanks around commas dropped; in the
//! negotiation fields, where neither case nor the order of equally wanted members matters, those are evened out too.

use http::{HeaderMap, HeaderName, header};
use serde::{Deserialize, Serialize};

use crate::semantics::cache_control::split_outside_quotes;

/// The request fields that select a response, sorted; empty when there are none. `None`: `*`, which no request matches.
pub fn fields(response: &HeaderMap) -> Option<Vec<HeaderName>> {
    let mut fields = Vec::new();
    for line in response.get_all(header::VARY) {
        for member in line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if member.is_empty() {
                continue;
            }
            // A name that is none, `*` first of all, can never be shown to match.
            fields.push(HeaderName::from_bytes(member).ok().filter(|name| name != "*")?);
        }
    }
    fields.sort_unstable_by(|left, right| left.as_str().cmp(right.as_str()));
    fields.dedup();
    Some(fields)
}

/// What one request has in the selecting fields, in normal form: equal selections select the same response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection(Vec<(String, Option<String>)>);

impl Selection {
    /// Reads `fields` of a request. An absent field is unlike an empty one.
    pub fn of(fields: &[HeaderName], request: &HeaderMap) -> Self {
        let value = |name| request.contains_key(name).then(|| normal_form(name, request));
        Self(fields.iter().map(|name| (name.as_str().to_owned(), value(name))).collect())
    }

    /// Whether nothing of the request matters.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of its fields, for reading the same ones of another request.
    pub fn fields(&self) -> impl Iterator<Item = HeaderName> {
        self.0.iter().filter_map(|(name, _)| name.parse().ok())
    }

    /// Whether a response selected by it, written in `language`, is what `request` would be given too: all fields alike, or all but
    /// `Accept-Language`, of which the request wants that one language above all others.
    pub fn suits(&self, request: &HeaderMap, language: Option<&str>) -> bool {
        self.0.iter().all(|(name, value)| {
            let Ok(name) = name.parse::<HeaderName>() else { return false };
            let same = match value {
                Some(value) => request.contains_key(&name) && normal_form(&name, request) == *value,
                None => !request.contains_key(&name),
            };
            same || (name == header::ACCEPT_LANGUAGE && wants(request, language))
        })
    }

    /// A text that is equal for equal selections only.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.0 {
            text.push_str(name);
            match value {
                Some(value) => text.push_str(&format!("={}:{value};", value.len())),
                None => text.push(';'),
            }
        }
        text
    }
}

fn normal_form(name: &HeaderName, request: &HeaderMap) -> String {
    match *name {
        header::ACCEPT
        | header::ACCEPT_CHARSET
        | header::ACCEPT_ENCODING
        | header::ACCEPT_LANGUAGE => {
            let mut wanted = preferences(name, request);
            wanted.sort_unstable_by(|left, right| right.1.cmp(&left.1).then(left.0.cmp(&right.0)));
            let shown = wanted.iter().map(|(value, quality)| format!("{value};q={quality}"));
            shown.collect::<Vec<_>>().join(",")
        }
        _ => members(name, request).join(","),
    }
}

fn members(name: &HeaderName, request: &HeaderMap) -> Vec<String> {
    let lines = request.get_all(name).iter();
    lines
        .flat_map(|line| {
            // Bytes that are no UTF-8 stay apart from each other, unlike under a lossy conversion.
            let line = String::from_utf8(line.as_bytes().to_vec())
                .unwrap_or_else(|_| line.as_bytes().escape_ascii().to_string());
            split_outside_quotes(&line).map(|item| item.trim().to_owned()).collect::<Vec<_>>()
        })
        .filter(|item| !item.is_empty())
        .collect()
}

/// Members in lower case with their quality in thousandths (RFC 9110 section 12.4.2).
fn preferences(name: &HeaderName, request: &HeaderMap) -> Vec<(String, u32)> {
    members(name, request)
        .iter()
        .map(|member| {
            let mut parts = member.split(';').map(|part| part.trim().to_ascii_lowercase());
            let mut value = parts.next().unwrap_or_default();
            let mut quality = 1000;
            for part in parts {
                match part.strip_prefix("q=").map(str::parse::<f32>) {
                    Some(Ok(number)) => quality = (number.clamp(0.0, 1.0) * 1000.0).round() as u32,
                    _ => value = format!("{value};{part}"),
                }
            }
            (value, quality)
        })
        .collect()
}

/// Whether one language alone is wanted most, and it is `language`.
fn wants(request: &HeaderMap, language: Option<&str>) -> bool {
    let Some(language) = language else { return false };
    let wanted = preferences(&header::ACCEPT_LANGUAGE, request);
    let most = wanted.iter().map(|(_, quality)| *quality).max().unwrap_or(0);
    let mut best = wanted.iter().filter(|(_, quality)| *quality == most && most > 0);
    match (best.next(), best.next()) {
        (Some((tag, _)), None) => tag.eq_ignore_ascii_case(language),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().expect("a field value"));
        }
        headers
    }

    #[test]
    fn a_star_anywhere_matches_nothing() {
        let check = |lines: &[&str], expected: Option<&[&str]>| {
            let lines: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
            let found = fields(&request(&lines));
            let names = found
                .as_ref()
                .map(|names| names.iter().map(HeaderName::as_str).collect::<Vec<_>>());
            assert_eq!(names.as_deref(), expected, "{lines:?}");
        };
        for star in [&["*"] as &[&str], &["*, *"], &["", "*"], &[", *"], &["*, foo"], &["foo, *"]] {
            check(star, None);
        }
        check(&["not a name"], None);
        check(&[], Some(&[]));
        check(&["Foo, bar", "foo,"], Some(&["bar", "foo"]));
    }

    #[test]
    fn requests_that_mean_the_same_select_the_same() {
        let check = |name: &'static str, left: &[&str], right: &[&str], same: bool| {
            let selection = |lines: &[&str]| {
                let lines: Vec<_> = lines.iter().map(|line| (name, *line)).collect();
                Selection::of(&[HeaderName::from_static(name)], &request(&lines)).text()
            };
            assert_eq!(selection(left) == selection(right), same, "{name}: {left:?} {right:?}");
        };
        check("foo", &["1"], &["2"], false);
        check("foo", &["1"], &[], false);
        check("foo", &[""], &[], false);
        check("foo", &["1, 2"], &["1", "2"], true);
        check("foo", &["1,2"], &[" 1 , 2 "], true);
        check("foo", &["1,2"], &["2,1"], false);
        check("foo", &["a"], &["A"], false);
        check("foo", &["\"1,2\""], &["\"1, 2\""], false);
        check("accept-language", &["en, de"], &["De,  eN"], true);
        check("accept-language", &["en, de;q=0.5"], &["de;q=0.50, en;q=1"], true);
        check("accept-language", &["en, de;q=0.5"], &["de, en;q=0.5"], false);
        check("accept-encoding", &["gzip, br"], &["br,gzip"], true);
        check("accept", &["text/html;level=1"], &["text/html;level=2"], false);
    }

    #[test]
    fn a_language_that_is_wanted_most_suits() {
        let stored = request(&[("accept-language", "en, de")]);
        let selection = Selection::of(&[header::ACCEPT_LANGUAGE], &stored);
        let check = |asked: &str, language: Option<&str>, expected: bool| {
            let asked = request(&[("accept-language", asked)]);
            assert_eq!(selection.suits(&asked, language), expected, "{asked:?} {language:?}");
        };
        check("de, en", None, true);
        check("fr;q=0.5, de;q=1.0", Some("de"), true);
        check("fr;q=0.5, de;q=1.0", Some("fr"), false);
        check("fr, de", Some("de"), false);
        check("de;q=0", Some("de"), false);
        check("fr;q=0.5, de;q=1.0", None, false);
        assert!(!selection.suits(&HeaderMap::new(), Some("de")));
    }
}
