//! Names of the distribution specification: repositories, tags, digests.

use std::fmt;
use std::sync::Arc;

use crate::types::{Algorithm, Digest};

/// The longest repository name that is taken, what the client wrote before it included: many clients have the same bound.
const LONGEST_NAME_BYTES: usize = 255;

/// The longest tag.
const LONGEST_TAG_BYTES: usize = 128;

/// A repository's name within its registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository(Arc<str>);

/// What a manifest is asked for by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    Tag(Tag),
    Digest(Digest),
}

/// A tag's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);

/// Why a text is no digest that this server can check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no digest: write sha256 or sha512, a colon, and as many hexadecimal digits as it has, in lower case"
)]
pub struct NoDigest(String);

impl Repository {
    /// Reads `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, one or several of them between slashes.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.len() <= LONGEST_NAME_BYTES && text.split('/').all(is_component);
        fits.then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Tag {
    /// Reads `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
    pub fn parse(text: &str) -> Option<Self> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let first = text.bytes().next().is_some_and(word);
        let rest = text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-');
        (first && rest && text.len() <= LONGEST_TAG_BYTES).then(|| Self(text.into()))
    }

    /// The tag under which registries without the referrers interface list what refers to `subject`: the algorithm up to 32 characters, its
    /// digits up to 64.
    pub fn of_referrers(subject: &Digest) -> Self {
        let digits = subject.to_hex();
        let shown = &digits[..digits.len().min(64)];
        Self(format!("{}-{shown}", subject.algorithm().name()).into())
    }

    /// The same with a suffix: how signatures were filed before there were referrers.
    #[must_use]
    pub fn with_suffix(&self, suffix: &str) -> Self {
        Self(format!("{}.{suffix}", self.0).into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Reference {
    /// Reads what stands behind `manifests/`: a digest where there is a colon, else a tag. `Ok(None)`: no tag can have this name.
    pub fn parse(text: &str) -> Result<Option<Self>, NoDigest> {
        match text.contains(':') {
            true => digest(text).map(|digest| Some(Self::Digest(digest))),
            false => Ok(Tag::parse(text).map(Self::Tag)),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// Reads a digest of an algorithm that the image specification registers. Digits in upper case are another name for the same bytes, and
/// therefore none.
pub fn digest(text: &str) -> Result<Digest, NoDigest> {
    let fault = || NoDigest(text.chars().take(LONGEST_NAME_BYTES).collect());
    let digest: Digest = text.parse().map_err(|_| fault())?;
    let is_registered =
        matches!(digest.algorithm(), Algorithm::Sha256 | Algorithm::Sha384 | Algorithm::Sha512);
    let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    if is_registered && is_lower { Ok(digest) } else { Err(fault()) }
}

/// One part of a name: runs of letters and digits, parted by one dot, one or two underscores, or dashes.
fn is_component(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let Some(first) = text.bytes().next() else { return false };
    let Some(last) = text.bytes().next_back() else { return false };
    if !plain(first) || !plain(last) {
        return false;
    }
    let separators = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_separator =
        |run: &str| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|byte| byte == b'-');
    separators.into_iter().all(is_separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_read_by_the_specification() {
        let check = |text: &str, expected: bool| {
            assert_eq!(Repository::parse(text).is_some(), expected, "{text}");
        };
        for text in ["a", "library/alpine", "a/b/c/d", "a.b", "a_b", "a__b", "a---b", "0/1"] {
            check(text, true);
        }
        for text in [
            "", "/", "a/", "/a", "a//b", "A", "a/B", "a..b", "a___b", "a._b", ".a", "a.", "-a",
            "a-", "a b", "a%2fb", "a:b", "ä", "..", "a/../b",
        ] {
            check(text, false);
        }
        check(&"a".repeat(255), true);
        check(&"a".repeat(256), false);
    }

    #[test]
    fn references_are_tags_or_digests() {
        let hex = "a".repeat(64);
        let check = |text: &str, expected: Option<&str>| {
            let read = Reference::parse(text).ok().flatten().map(|reference| reference.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        };
        for text in ["latest", "_x", "3.20", "v1.0-rc.1_2", &"a".repeat(128)] {
            check(text, Some(text));
        }
        for text in ["", ".x", "-x", "a/b", "ä", &"a".repeat(129), "sha256:12", "md5:x", "crc:00"]
        {
            check(text, None);
        }
        check(&format!("sha256:{hex}"), Some(&format!("sha256:{hex}")));
        check(&format!("sha512:{hex}{hex}"), Some(&format!("sha512:{hex}{hex}")));
        check(&format!("sha256:{}", hex.to_uppercase()), None);
        check(&format!("sha256:{hex}a"), None);
        check(&format!("sha512:{hex}"), None);
        check("md5:d41d8cd98f00b204e9800998ecf8427e", None);
    }

    #[test]
    fn referrers_are_filed_under_a_tag() {
        let hex = "ab".repeat(64);
        let long = digest(&format!("sha512:{hex}")).expect("a digest");
        assert_eq!(Tag::of_referrers(&long).as_str(), format!("sha512-{}", &hex[..64]));
        let short = digest(&format!("sha256:{}", &hex[..64])).expect("a digest");
        let signature = Tag::of_referrers(&short).with_suffix("sig");
        assert_eq!(signature.as_str(), format!("sha256-{}.sig", &hex[..64]));
        assert!(Tag::parse(signature.as_str()).is_some());
    }
}
