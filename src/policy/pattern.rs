//! Lists of texts with `*` for any run of characters. Case does not count: registries differ in it, and a rule must not be got around by it.

use std::cmp::Ordering;

/// A list of patterns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns {
    /// In lower case and in the order of [`compare`]. Most lists are short, and few texts are as long as one that is on them: their bytes are not even looked at.
    exact: Vec<Box<str>>,
    globs: Vec<Glob>,
    /// As they were written.
    written: Vec<Box<str>>,
}

/// A text with at least one `*`, cut at them, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Glob(Vec<Box<str>>);

impl Patterns {
    pub fn of<'a>(written: impl IntoIterator<Item = &'a str>) -> Self {
        let mut patterns = Self::default();
        for text in written {
            let lower = text.to_ascii_lowercase();
            match lower.contains('*') {
                true => patterns.globs.push(Glob(lower.split('*').map(Into::into).collect())),
                false => patterns.exact.push(lower.into()),
            }
            patterns.written.push(text.into());
        }
        patterns.exact.sort_unstable_by(|one, other| compare(one, other));
        patterns.exact.dedup();
        patterns
    }

    /// Whether one of them fits.
    pub fn fit(&self, text: &str) -> bool {
        let is_exact = self.exact.binary_search_by(|known| compare(known, text)).is_ok();
        is_exact || self.globs.iter().any(|glob| glob.fits(text.as_bytes()))
    }

    pub const fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// As they were written.
    pub fn written(&self) -> impl Iterator<Item = &str> {
        self.written.iter().map(AsRef::as_ref)
    }
}

impl Glob {
    fn fits(&self, text: &[u8]) -> bool {
        let Some((first, rest)) = self.0.split_first() else { return false };
        let Some((last, middle)) = rest.split_last() else { return false };
        let Some(text) = strip(text, first.as_bytes()) else { return false };
        let end = text.len().checked_sub(last.len());
        let Some(end) = end.filter(|end| text[*end..].eq_ignore_ascii_case(last.as_bytes())) else {
            return false;
        };
        let mut text = &text[..end];
        for part in middle.iter().map(|part| part.as_bytes()).filter(|part| !part.is_empty()) {
            let found = text.windows(part.len()).position(|some| some.eq_ignore_ascii_case(part));
            let Some(at) = found else { return false };
            text = &text[at + part.len()..];
        }
        true
    }
}

/// Orders by length, then by bytes. The case of `text` does not count; `lower` has none.
fn compare(lower: &str, text: &str) -> Ordering {
    let bytes = || lower.bytes().cmp(text.bytes().map(|byte| byte.to_ascii_lowercase()));
    lower.len().cmp(&text.len()).then_with(bytes)
}

fn strip<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_run() {
        let check = |pattern: &str, text: &str, expected: bool| {
            assert_eq!(Patterns::of([pattern]).fit(text), expected, "{pattern} {text}");
        };
        check("six", "six", true);
        check("Six", "sIX", true);
        check("six", "sixty", false);
        check("acme-*", "acme-core", true);
        check("acme-*", "ACME-", true);
        check("acme-*", "acme", false);
        check("*.bin", "a/b.bin", true);
        check("*", "", true);
        check("a*b*c", "aXbYbZc", true);
        check("a*b*c", "abc", true);
        check("a*b*c", "acb", false);
        check("aa*aa", "aaa", false);
        check("**x**", "x", true);
    }

    #[test]
    fn a_list_is_searched_whatever_its_order_and_case() {
        let written = ["torch", "SIX", "a", "bb", "Bc", "numpy", "six", "ccc", "a-*", "é"];
        let list = Patterns::of(written);
        for text in written {
            assert!(list.fit(text) && list.fit(&text.to_ascii_uppercase()), "{text}");
        }
        for text in ["", "b", "ba", "bd", "sixt", "cccc", "torcha", "É"] {
            assert!(!list.fit(text), "{text}");
        }
    }
}
