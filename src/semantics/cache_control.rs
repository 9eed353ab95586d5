//! `Cache-Control` (RFC 9111 section 5.2): directives of requests and of responses, read the same way whatever a sender made of them.
//!
//! The rules for odd input: the first occurrence of a number wins; a number that is none counts as zero where zero is the careful
//! reading (section 4.2.1); names know no case; quoted and bare arguments are the same; a comma inside quotes parts nothing, but a
//! quote that is never closed hides nothing. Left out: what the directives mean for one response (`freshness`, `storing`).

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, header};

/// The largest number of seconds that is told apart (RFC 9111 section 1.2.2): 68 years.
pub const MOST_SECONDS: u64 = 1 << 31;

/// What a response's `Cache-Control`, or a targeted field in its place, says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    pub max_age: Option<u64>,
    pub s_maxage: Option<u64>,
    /// RFC 5861 section 3.
    pub stale_while_revalidate: Option<u64>,
    /// RFC 5861 section 4.
    pub stale_if_error: Option<u64>,
    pub no_cache: Reach,
    pub private: Reach,
    pub no_store: bool,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    /// RFC 8246: while it is fresh, a client's wish to revalidate finds nothing new.
    pub immutable: bool,
}

/// How much of a response a directive covers that may name fields (`private="set-cookie"`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Reach {
    #[default]
    Nothing,
    Fields(Vec<HeaderName>),
    Everything,
}

/// What a request's `Cache-Control` asks of a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    pub max_age: Option<u64>,
    pub min_fresh: Option<u64>,
    /// [`u64::MAX`] when any staleness will do.
    pub max_stale: Option<u64>,
    pub no_cache: bool,
    pub no_store: bool,
    pub only_if_cached: bool,
}

impl ResponseDirectives {
    /// Reads the `Cache-Control` fields of a response.
    pub fn read(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for_each_member(headers, |member| directives.add(&member));
        directives
    }

    fn add(&mut self, member: &Member<'_>) {
        match member.name.to_ascii_lowercase().as_str() {
            "max-age" => keep_first(&mut self.max_age, member.seconds().unwrap_or(0)),
            "s-maxage" => keep_first(&mut self.s_maxage, member.seconds().unwrap_or(0)),
            "stale-while-revalidate" => {
                keep_first(&mut self.stale_while_revalidate, member.seconds().unwrap_or(0));
            }
            "stale-if-error" => {
                keep_first(&mut self.stale_if_error, member.seconds().unwrap_or(0));
            }
            "no-cache" => self.no_cache.widen(member.reach()),
            "private" => self.private.widen(member.reach()),
            "no-store" => self.no_store = true,
            "public" => self.public = true,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "must-understand" => self.must_understand = true,
            "immutable" => self.immutable = true,
            _ => {}
        }
    }
}

impl RequestDirectives {
    /// Reads a request's `Cache-Control`; `Pragma: no-cache` counts when there is none (RFC 9111 section 5.4).
    pub fn read(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for_each_member(headers, |member| directives.add(&member));
        if !headers.contains_key(header::CACHE_CONTROL) {
            directives.no_cache = headers.get_all(header::PRAGMA).iter().any(|value| {
                value
                    .as_bytes()
                    .split(|byte| *byte == b',')
                    .any(|item| item.trim_ascii().eq_ignore_ascii_case(b"no-cache"))
            });
        }
        directives
    }

    fn add(&mut self, member: &Member<'_>) {
        match member.name.to_ascii_lowercase().as_str() {
            "max-age" => keep_first(&mut self.max_age, member.seconds().unwrap_or(0)),
            "min-fresh" => {
                self.min_fresh = self.min_fresh.or_else(|| member.seconds());
            }
            "max-stale" if member.argument.is_none() => keep_first(&mut self.max_stale, u64::MAX),
            "max-stale" => self.max_stale = self.max_stale.or_else(|| member.seconds()),
            "no-cache" => self.no_cache = true,
            "no-store" => self.no_store = true,
            "only-if-cached" => self.only_if_cached = true,
            _ => {}
        }
    }
}

impl Reach {
    /// Extends it by another occurrence of the directive.
    pub fn widen(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Everything, _) | (_, Self::Nothing) => {}
            (Self::Fields(mine), Self::Fields(others)) => mine.extend(others),
            (_, wider) => *self = wider,
        }
    }

    /// The fields that `names` lists; everything when it lists none, or one that is no field name.
    pub fn of_fields<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let fields: Result<Vec<HeaderName>, _> =
            names.map(str::trim).filter(|name| !name.is_empty()).map(str::parse).collect();
        match fields {
            Ok(fields) if !fields.is_empty() => Self::Fields(fields),
            _ => Self::Everything,
        }
    }

    /// The fields named, when it covers only those.
    pub fn fields(&self) -> &[HeaderName] {
        match self {
            Self::Fields(fields) => fields,
            Self::Nothing | Self::Everything => &[],
        }
    }
}

/// Reads a number of seconds: ASCII digits and nothing else, capped at [`MOST_SECONDS`].
pub fn delta_seconds(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(MOST_SECONDS).min(MOST_SECONDS))
}

/// One directive of a list, as it was written.
struct Member<'a> {
    name: &'a str,
    /// Without its quotes. A blank beside the equals sign stays, so that a number there is none.
    argument: Option<Cow<'a, str>>,
}

impl<'a> Member<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim_matches(BLANKS);
        let Some((name, argument)) = text.split_once('=') else {
            return (!text.is_empty()).then_some(Self { name: text, argument: None });
        };
        let argument = if name.ends_with(BLANKS) { Cow::Borrowed(" ") } else { unquote(argument) };
        Some(Self { name: name.trim_end_matches(BLANKS), argument: Some(argument) })
    }

    fn seconds(&self) -> Option<u64> {
        delta_seconds(self.argument.as_deref()?)
    }

    fn reach(&self) -> Reach {
        match &self.argument {
            None => Reach::Everything,
            Some(list) => Reach::of_fields(list.split(',')),
        }
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

fn keep_first(slot: &mut Option<u64>, value: u64) {
    slot.get_or_insert(value);
}

fn for_each_member(headers: &HeaderMap, mut act: impl FnMut(Member<'_>)) {
    for value in headers.get_all(header::CACHE_CONTROL) {
        let line = String::from_utf8_lossy(value.as_bytes());
        for text in split_outside_quotes(&line) {
            if let Some(member) = Member::parse(text) {
                act(member);
            }
        }
    }
}

/// Splits a list at its commas, leaving quoted strings whole. An opening quote that nothing closes is an ordinary character.
pub(crate) fn split_outside_quotes(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let end = comma_outside_quotes(line);
        rest = end.map(|at| &line[at + 1..]);
        Some(end.map_or(line, |at| &line[..at]))
    })
}

fn comma_outside_quotes(line: &str) -> Option<usize> {
    let bytes = line.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b',' => return Some(at),
            b'"' => at = closing_quote(bytes, at).unwrap_or(at),
            _ => {}
        }
        at += 1;
    }
    None
}

fn closing_quote(bytes: &[u8], opening: usize) -> Option<usize> {
    let mut at = opening + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

fn unquote(argument: &str) -> Cow<'_, str> {
    let inner = argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner {
        Some(inner) if inner.contains('\\') => Cow::Owned(inner.replace('\\', "")),
        Some(inner) => Cow::Borrowed(inner),
        None => Cow::Borrowed(argument),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(name: HeaderName, lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name.clone(), line.parse().expect("a field value"));
        }
        headers
    }

    #[test]
    fn numbers_are_read_carefully() {
        let check = |written: &[&str], expected: Option<u64>| {
            let headers = lines(header::CACHE_CONTROL, written);
            assert_eq!(ResponseDirectives::read(&headers).max_age, expected, "{written:?}");
        };
        check(&["no-transform"], None);
        check(&["max-age=60"], Some(60));
        check(&["MaX-aGe=60"], Some(60));
        check(&["max-age=003600"], Some(3600));
        check(&["max-age=\"60\""], Some(60));
        check(&["max-age=99999999999999999999999"], Some(MOST_SECONDS));
        for none in ["-1", "60.0", "'60'", "a60", "60a", " 60", ""] {
            check(&[&format!("max-age={none}")], Some(0));
        }
        check(&["max-age =60"], Some(0));
        check(&["max-age"], Some(0));
        check(&["max-age=1800, max-age=1"], Some(1800));
        check(&["max-age=1", "max-age=1800"], Some(1));
        check(&["extension=\"max-age=3600\", max-age=1"], Some(1));
        check(&["extension=\"a\\\"b, max-age=3600\""], None);
        check(&["extension=\"open, max-age=5"], Some(5));
        check(&[",, ,max-age=5,"], Some(5));
    }

    #[test]
    fn fields_may_be_named() {
        let check = |written: &[&str], expected: Reach| {
            let headers = lines(header::CACHE_CONTROL, written);
            assert_eq!(ResponseDirectives::read(&headers).no_cache, expected, "{written:?}");
        };
        let a = HeaderName::from_static("a");
        let b = HeaderName::from_static("b");
        check(&["max-age=1"], Reach::Nothing);
        check(&["No-Cache"], Reach::Everything);
        check(&["no-cache=\"a, B\""], Reach::Fields(vec![a.clone(), b.clone()]));
        check(&["no-cache=a", "no-cache=\"b\""], Reach::Fields(vec![a, b]));
        check(&["no-cache=\"a\", no-cache"], Reach::Everything);
        check(&["no-cache=\"\""], Reach::Everything);
        check(&["no-cache=\"not a name\""], Reach::Everything);
    }

    #[test]
    fn requests_say_what_they_accept() {
        let check = |written: &[&str], expected: RequestDirectives| {
            let headers = lines(header::CACHE_CONTROL, written);
            assert_eq!(RequestDirectives::read(&headers), expected, "{written:?}");
        };
        let none = RequestDirectives::default();
        check(&["nothing-to-see-here"], none);
        check(&["no-cache"], RequestDirectives { no_cache: true, ..none });
        check(&["max-age=x"], RequestDirectives { max_age: Some(0), ..none });
        check(&["max-stale"], RequestDirectives { max_stale: Some(u64::MAX), ..none });
        check(&["max-stale=x"], none);
        check(
            &["max-stale=7, min-fresh=3, only-if-cached"],
            RequestDirectives {
                max_stale: Some(7),
                min_fresh: Some(3),
                only_if_cached: true,
                ..none
            },
        );
    }

    #[test]
    fn pragma_counts_only_alone() {
        let check = |headers: &HeaderMap, expected: bool| {
            assert_eq!(RequestDirectives::read(headers).no_cache, expected, "{headers:?}");
        };
        let mut headers = lines(header::PRAGMA, &["x, No-Cache"]);
        check(&headers, true);
        headers.insert(header::CACHE_CONTROL, "max-age=3".parse().expect("a field value"));
        check(&headers, false);
        check(&lines(header::PRAGMA, &["x-no-cache"]), false);
    }
}
