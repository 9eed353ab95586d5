//! What the hub calls things: repositories of several types, revisions, commits, paths of files; and how they are written in addresses.
//!
//! Everything here was checked when it was read, so that it can go into an address, a key or a header as it is.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// What clients leave unescaped: RFC 3986's unreserved characters.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The same for paths, whose slashes part their segments.
const PLAIN_PATH: &AsciiSet = &PLAIN.remove(b'/');

/// The longest name of a revision and the longest path: beyond them nothing is real.
const MOST_BYTES: usize = 4096;

/// A type of repository that has revisions and files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RepositoryType {
    Models,
    Datasets,
    Spaces,
    Kernels,
}

impl RepositoryType {
    /// As the API writes it: `models`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Datasets => "datasets",
            Self::Spaces => "spaces",
            Self::Kernels => "kernels",
        }
    }

    /// What stands before the id in addresses of pages and files: nothing for models.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Models => "",
            Self::Datasets => "datasets/",
            Self::Spaces => "spaces/",
            Self::Kernels => "kernels/",
        }
    }

    /// Reads [`RepositoryType::name`].
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Models, Self::Datasets, Self::Spaces, Self::Kernels]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// One repository. Cheap to clone. Displayed as `models/org/name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Repository {
    pub kind: RepositoryType,
    id: Arc<str>,
}

impl Repository {
    /// Reads an id of one or two decoded segments. `None` for what cannot be the name of a repository.
    pub fn parse(kind: RepositoryType, id: &str) -> Option<Self> {
        let fits = |segment: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !segment.is_empty()
                && segment.len() <= 200
                && !segment.starts_with('.')
                && !segment.starts_with('-')
                && segment.bytes().all(plain)
        };
        let is_id = match id.split_once('/') {
            Some((namespace, name)) => fits(namespace) && fits(name),
            None => fits(id),
        };
        is_id.then(|| Self { kind, id: id.into() })
    }

    /// `org/name`, or a name alone.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Below the hub's root: `api/models/org/name`.
    pub fn api_path(&self) -> String {
        format!("api/{self}")
    }

    /// Below the hub's root: `datasets/org/name`, `org/name`.
    pub fn web_path(&self) -> String {
        format!("{}{}", self.kind.prefix(), self.id)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.name(), self.id)
    }
}

impl FromStr for Repository {
    type Err = ();

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (kind, id) = text.split_once('/').ok_or(())?;
        RepositoryType::parse(kind).and_then(|kind| Self::parse(kind, id)).ok_or(())
    }
}

/// The name of a commit: forty lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Commit(Arc<str>);

impl Commit {
    pub fn parse(text: &str) -> Option<Self> {
        is_hex(text, 40).then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Commit> for String {
    fn from(commit: Commit) -> Self {
        commit.0.as_ref().into()
    }
}

impl TryFrom<String> for Commit {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a commit is named with 40 hexadecimal digits")
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a client calls a state of a repository: a commit, or a branch, tag or other reference that leads to one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Revision {
    Commit(Commit),
    Name(Arc<str>),
}

/// The branch that a repository begins with, and that its document tells the commit of.
pub const MAIN: &str = "main";

impl Revision {
    /// Reads a decoded revision. `None` for what git would not take as the name of a reference.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(commit) = Commit::parse(text) {
            return Some(Self::Commit(commit));
        }
        let odd = |letter: char| letter.is_control() || " ~^:?*[\\".contains(letter);
        let is_name = !text.is_empty()
            && text.len() <= MOST_BYTES
            && !text.contains(odd)
            && !text.contains("..")
            && text.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
        is_name.then(|| Self::Name(text.into()))
    }

    /// Decoded.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Commit(commit) => commit.as_str(),
            Self::Name(name) => name,
        }
    }

    /// As one segment of an address: `refs%2Fpr%2F1`.
    pub fn encoded(&self) -> String {
        utf8_percent_encode(self.as_str(), PLAIN).to_string()
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The path of a file or folder within a repository, decoded. Never empty, without slashes at its ends, dot segments and control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(Arc<str>);

impl FilePath {
    /// Reads a decoded path.
    pub fn parse(text: &str) -> Option<Self> {
        let is_path = text.len() <= MOST_BYTES
            && !text.contains(char::is_control)
            && text.split('/').all(|part| !matches!(part, "" | "." | ".."));
        is_path.then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// As it is written in addresses of files: slashes stay.
    pub fn encoded(&self) -> String {
        utf8_percent_encode(&self.0, PLAIN_PATH).to_string()
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Percent-decodes one segment of an address; `None` when that is not UTF-8.
pub fn decoded(segment: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(segment).decode_utf8().ok()
}

/// Escapes a text for one segment of an address or a value of a query.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// Whether a text is so many lower-case hexadecimal digits.
pub fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_are_refused() {
        let check = |id: &str, expected: bool| {
            let read = Repository::parse(RepositoryType::Models, id);
            assert_eq!(read.is_some(), expected, "{id}");
        };
        check("org/name", true);
        check("gpt2", true);
        check("a.b-c_d/E.1", true);
        for id in ["", "/", "a/", "/a", "a/b/c", "..", "a/..", ".a", "-a", "a b", "ä", "a%2Fb"] {
            check(id, false);
        }
    }

    #[test]
    fn repositories_are_written_as_the_hub_writes_them() {
        let check = |text: &str, web: &str| {
            let repository: Repository = text.parse().expect("a repository");
            assert_eq!(repository.to_string(), text);
            assert_eq!(repository.api_path(), format!("api/{text}"));
            assert_eq!(repository.web_path(), web);
        };
        check("models/org/name", "org/name");
        check("models/gpt2", "gpt2");
        check("datasets/squad", "datasets/squad");
        check("kernels/org/name", "kernels/org/name");
        assert!("buckets/org/name".parse::<Repository>().is_err());
    }

    #[test]
    fn revisions_and_paths_are_checked_and_encoded() {
        let check = |text: &str, expected: Option<&str>| {
            let read = Revision::parse(text).map(|revision| revision.encoded());
            assert_eq!(read.as_deref(), expected, "{text}");
        };
        check("main", Some("main"));
        check("refs/pr/1", Some("refs%2Fpr%2F1"));
        check("v1.0+cu", Some("v1.0%2Bcu"));
        for text in ["", "a..b", "/a", "a//b", "a b", "a\n", ".hidden"] {
            check(text, None);
        }
        assert!(matches!(Revision::parse(&"a1".repeat(20)), Some(Revision::Commit(_))));
        assert!(matches!(Revision::parse(&"A1".repeat(20)), Some(Revision::Name(_))));

        let path = FilePath::parse("sub dir/a+b.txt").expect("a path");
        assert_eq!((path.encoded().as_str(), path.name()), ("sub%20dir/a%2Bb.txt", "a+b.txt"));
        for text in ["", "/a", "a/", "a/../b", ".", "a//b", "a\0"] {
            assert_eq!(FilePath::parse(text), None, "{text:?}");
        }
    }
}
