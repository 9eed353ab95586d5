//! How an ecosystem spells the names of its packages and orders their versions.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// The rules of one ecosystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// Python's: names by PEP 503, versions by PEP 440.
    Python,
    /// Names and versions are equal or not.
    Exact,
}

/// A version as its ecosystem reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Version {
    Python(pep440_rs::Version),
    /// One that has no place in an order.
    Text(Box<str>),
}

impl Scheme {
    /// The rules of an ecosystem by its OSV name.
    pub(super) fn of(ecosystem: &str) -> Self {
        match ecosystem {
            "PyPI" => Self::Python,
            _ => Self::Exact,
        }
    }

    /// The spelling under which a package is filed.
    pub(super) fn name(self, name: &str) -> Cow<'_, str> {
        match self {
            Self::Exact => Cow::Borrowed(name),
            Self::Python => normalised(name),
        }
    }

    pub(super) fn version(self, text: &str) -> Version {
        let read = match self {
            Self::Python => pep440_rs::Version::from_str(text.trim()).ok(),
            Self::Exact => None,
        };
        read.map_or_else(|| Version::Text(text.trim().into()), Version::Python)
    }

    /// The spelling under which a version is listed: equal versions have equal ones.
    pub(super) fn spelling(self, text: &str) -> String {
        self.version(text).spelling()
    }
}

impl Version {
    pub(super) fn spelling(&self) -> String {
        match self {
            Self::Text(text) => text.to_string(),
            Self::Python(version) => {
                let release = version.release();
                let zeros = release.iter().rev().take_while(|number| **number == 0).count();
                let kept = release.len().saturating_sub(zeros).max(1);
                version.clone().with_release(release[..kept].to_vec()).to_string()
            }
        }
    }

    /// Their order, where there is one.
    pub(super) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Python(one), Self::Python(other)) => Some(one.cmp(other)),
            _ => None,
        }
    }

    /// Whether it is a build of somebody's own (PEP 440's `+local`).
    pub(super) fn is_local(&self) -> bool {
        matches!(self, Self::Python(version) if version.is_local())
    }

    /// The version that a local build was made from: a record speaks of it, and means the build, too.
    pub(super) fn public(&self) -> Cow<'_, Self> {
        match self {
            Self::Python(version) if version.is_local() => {
                Cow::Owned(Self::Python(version.clone().without_local()))
            }
            _ => Cow::Borrowed(self),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Python(version) => version.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// PEP 503.
fn normalised(name: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if name.bytes().all(is_plain) {
        return Cow::Borrowed(name);
    }
    let mut text = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '-' | '_' | '.' if text.ends_with('-') => {}
            '-' | '_' | '.' => text.push('-'),
            other => text.push(other.to_ascii_lowercase()),
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions_are_spelt_one_way() {
        assert_eq!(Scheme::Python.name("Zope.Interface__x"), "zope-interface-x");
        assert_eq!(Scheme::Exact.name("@Scope/name"), "@Scope/name");
        for (version, expected) in [
            ("1.0.0", "1"),
            ("v1.0", "1"),
            ("1.0-rc.1", "1rc1"),
            ("0.0", "0"),
            ("2.1.0.post1", "2.1.post1"),
            ("1!2.0+cu118", "1!2+cu118"),
            ("2004d", "2004d"),
        ] {
            assert_eq!(Scheme::Python.spelling(version), expected, "{version}");
        }
    }

    #[test]
    fn only_versions_of_an_order_are_compared() {
        let version = |text| Scheme::Python.version(text);
        assert_eq!(version("1.10").order(&version("1.9")), Some(Ordering::Greater));
        assert_eq!(version("1.0rc1").order(&version("1.0")), Some(Ordering::Less));
        assert_eq!(version("2004d").order(&version("1")), None);
        assert_eq!(Scheme::Exact.version("1").order(&Scheme::Exact.version("2")), None);
        assert_eq!(version("1.0+x").public().spelling(), "1");
    }
}
