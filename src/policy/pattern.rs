//! Lists of texts with `*` for any run of characters. Case does not count: registries differ in it, and a rule must not be got around by it.

use std::collections::HashSet;

/// A list of patterns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns {
    exact: HashSet<Box<str>>,
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
                false => {
                    patterns.exact.insert(lower.into());
                }
            }
            patterns.written.push(text.into());
        }
        patterns
    }

    /// Whether one of them fits.
    pub fn fit(&self, text: &str) -> bool {
        let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        let is_exact = match is_lower {
            _ if self.exact.is_empty() => false,
            true => self.exact.contains(text),
            false => self.exact.contains(text.to_ascii_lowercase().as_str()),
        };
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
}
