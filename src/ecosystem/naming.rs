//! What is kept, in the words of its registry: `hf:org/model@main`, `pypi:six==1.17.0`, `oci:registry.example/team/app:1.0`.
//!
//! Each adapter maps between such names and its keys ([`Naming`]). A *group* is what the registry lists versions of (a repository, a project); a *thing*
//! is one version of it (a commit, a release, an image); its *parts* are the entries that make it up, kept or not. Some parts belong to other things as
//! well ([`Part::is_shared`]): whoever removes or unpins one looks at the others first.
//!
//! Pure in the way of [`View`](super::View): what is kept is read through [`Contents`], which whoever calls provides. Left out: sizes on disk, dates, pins, removal:
//! all that is the same for every ecosystem (`keep`).

use std::fmt;

use bytes::Bytes;

use crate::types::{Audience, CacheKey, Digest, Timestamp};

/// Keys looked at together.
const RUN: usize = 256;

/// A mount's words for what it keeps. Its methods may read from the disk and are called where that is no harm.
pub trait Naming: Send + Sync + fmt::Debug + 'static {
    /// What stands before the colon: `hf`.
    fn scheme(&self) -> &'static str;

    /// The space of its keys.
    fn space(&self) -> &str;

    /// What is kept under a key of this space, from the key's text alone. `None`: it has no name that a person would use.
    fn name_of(&self, key: &CacheKey) -> Option<Name>;

    /// Reads a name without its scheme. `Ok(None)`: it is well-formed, and of another mount of the same scheme.
    fn read(&self, text: &str) -> Result<Option<Wanted>, Misnamed>;

    /// Whether the name of a group may be told to every client. One that a client wrote a secret into may not.
    fn is_told(&self, group: &str) -> bool {
        let _ = group;
        true
    }

    /// The groups of which something is kept on a shelf, in order, as far as they come after `after`; at most `limit`.
    fn groups(
        &self,
        shelf: &Shelf<'_>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Unreadable>;

    /// The versions of a group of which something is kept.
    fn things(&self, shelf: &Shelf<'_>, group: &str) -> Result<Vec<Thing>, Unreadable>;

    /// Everything that makes up a thing, kept or not, one after the other; the entries that only this group has first.
    fn parts(
        &self,
        shelf: &Shelf<'_>,
        thing: &Thing,
        visit: &mut dyn FnMut(Part),
    ) -> Result<(), Unreadable>;

    /// What upstream says of a thing, and has done with it since, as far as that is kept.
    fn account(&self, shelf: &Shelf<'_>, thing: &Thing) -> Result<Account, Unreadable> {
        let _ = (shelf, thing);
        Ok(Account::default())
    }

    /// What is kept of a group as a whole and of no version alone: its description, its lists, the rights to it.
    fn about(
        &self,
        shelf: &Shelf<'_>,
        group: &str,
        visit: &mut dyn FnMut(CacheKey),
    ) -> Result<(), Unreadable>;

    /// How clients ask for what is kept under a key, so that it can be fetched again by asking the same. What the key does not tell is looked for among all
    /// that the shelf holds, which may take long. `None`: nothing that is kept leads there.
    fn way_to(&self, shelf: &Shelf<'_>, key: &CacheKey) -> Result<Option<Way>, Unreadable> {
        let _ = (shelf, key);
        Ok(None)
    }
}

/// A request that leads to something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Below Larder's root, without a leading slash.
    pub address: String,
    /// What the request must accept.
    pub accept: Option<&'static str>,
}

/// A name. Displayed with its scheme: `hf:org/model@main`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub scheme: &'static str,
    /// The group, in the registry's words: `datasets/org/name`, `six`, `registry.example/team/app`.
    pub group: String,
    /// With what parts it from the group: `@main`, `==1.17.0`, `:3.20`, `@sha256:...`. Empty for the group as a whole.
    pub version: String,
    /// What of it: the path of a file. Empty for the thing itself.
    pub part: String,
}

/// What a person's text asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// As [`Naming::groups`] gives it.
    pub group: String,
    /// Without what parts it from the group; `None`: all versions.
    pub version: Option<String>,
}

/// A version of which something is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thing {
    /// As [`Naming::groups`] gives it.
    pub group: String,
    /// By its best name.
    pub name: Name,
    /// What the registry calls it: `model`, `release`, `image`.
    pub kind: &'static str,
    /// Versions by which it may be asked for, without what parts them from the group: branches, tags; the best first.
    pub versions: Vec<String>,
    /// What it is, whatever it is called: a commit, a digest. Empty where its version says that.
    pub identity: String,
}

/// What upstream says of a thing, and has done with it since.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// The licence that it declares: an SPDX expression, or whatever it is called.
    pub licence: Option<String>,
    /// What upstream calls that which it belongs to, whatever its name is.
    pub identity: Option<String>,
    /// What has become of it: `moved`, `yanked`, `deleted`, `gated`, …. `None`: nothing out of the ordinary.
    pub state: Option<&'static str>,
    pub since: Option<Timestamp>,
    /// In upstream's words, or in ours where it has none.
    pub reason: Option<String>,
}

/// An entry that makes up a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub key: CacheKey,
    pub role: Role,
    /// What a person calls it: a path, a file name, a platform.
    pub name: String,
    /// As far as what names it says so.
    pub size: Option<u64>,
    pub digest: Option<Digest>,
    /// Other things may be made up of the same entry.
    pub is_shared: bool,
}

/// What an entry is to its thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A name that leads to it and may lead elsewhere tomorrow: a branch, a tag.
    Reference,
    /// What says which contents there are: a list of files, a manifest.
    Manifest,
    /// Bytes that people come for.
    Content,
    /// Small and of use to Larder alone: the head of a file, a link.
    Note,
}

/// What is kept, as whoever calls provides it.
pub trait Contents {
    /// Keys that begin with `prefix` and come after `after`, in order.
    fn keys(
        &self,
        prefix: &str,
        after: Option<&CacheKey>,
        limit: usize,
    ) -> Result<Vec<CacheKey>, Unreadable>;

    fn holds(&self, key: &CacheKey) -> Result<bool, Unreadable>;

    /// The whole body of a kept document.
    fn body(&self, key: &CacheKey) -> Result<Option<Bytes>, Unreadable>;
}

/// What is kept of one space for one audience.
#[derive(Clone, Copy)]
pub struct Shelf<'a> {
    pub contents: &'a dyn Contents,
    pub space: &'a str,
    pub audience: &'a Audience,
}

/// Where a walk over keys goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Onward {
    Next,
    /// Behind everything whose name begins with this.
    Behind(String),
    Stop,
}

/// What is kept cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// A text that names nothing: in words that say what does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misnamed(pub String);

impl Thing {
    /// Whether this is the version that somebody asks for: by any of its names, or by enough of what it is.
    pub fn is_called(&self, version: &str) -> bool {
        const ENOUGH: usize = 7;
        let digits = self.identity.rsplit(':').next().unwrap_or_default();
        let is_start = |whole: &str| {
            let is_hex = version.bytes().all(|byte| byte.is_ascii_hexdigit());
            version.len() >= ENOUGH && is_hex && whole.starts_with(version)
        };
        version == self.identity
            || self.versions.iter().any(|one| one == version)
            || is_start(digits)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, group, version, part } = self;
        write!(f, "{scheme}:{group}{version}")?;
        match part.is_empty() {
            true => Ok(()),
            false => write!(f, "/{part}"),
        }
    }
}

impl Name {
    /// A group as a whole.
    pub fn of_group(scheme: &'static str, group: impl Into<String>) -> Self {
        Self { scheme, group: group.into(), version: String::new(), part: String::new() }
    }

    /// A version of it; `mark` parts the two.
    #[must_use]
    pub fn version(mut self, mark: &str, version: &str) -> Self {
        self.version = format!("{mark}{version}");
        self
    }

    #[must_use]
    pub fn part(mut self, part: impl Into<String>) -> Self {
        self.part = part.into();
        self
    }
}

impl Role {
    /// As interfaces write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Manifest => "manifest",
            Self::Content => "content",
            Self::Note => "note",
        }
    }
}

impl Part {
    /// A part that no other thing has.
    pub fn own(key: CacheKey, role: Role, name: impl Into<String>) -> Self {
        Self { key, role, name: name.into(), size: None, digest: None, is_shared: false }
    }

    /// A part that other things may have, too.
    pub fn shared(key: CacheKey, role: Role, name: impl Into<String>) -> Self {
        Self { is_shared: true, ..Self::own(key, role, name) }
    }

    #[must_use]
    pub fn of(mut self, digest: Option<Digest>, size: Option<u64>) -> Self {
        (self.digest, self.size) = (digest, size);
        self
    }
}

impl Shelf<'_> {
    /// The key of a name on this shelf.
    pub fn key(&self, name: &str) -> CacheKey {
        CacheKey::new(self.space, self.audience, name)
    }

    pub fn holds(&self, name: &str) -> Result<bool, Unreadable> {
        self.contents.holds(&self.key(name))
    }

    /// The body of the document under a name.
    pub fn body(&self, name: &str) -> Result<Option<Bytes>, Unreadable> {
        self.contents.body(&self.key(name))
    }

    /// What `read` makes of the document under a name. What it cannot read counts as not kept.
    pub fn read<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Bytes) -> Result<T, String>,
    ) -> Result<Option<T>, Unreadable> {
        Ok(self.body(name)?.and_then(|body| read(&body).ok()))
    }

    /// Visits the keys whose names begin with `prefix` and come after `after`, in order, as far as the visitor likes.
    pub fn each(
        &self,
        prefix: &str,
        after: Option<&str>,
        mut visit: impl FnMut(&CacheKey) -> Result<Onward, Unreadable>,
    ) -> Result<(), Unreadable> {
        let start = self.key(prefix);
        let mut after = after.map(|name| self.key(name));
        loop {
            let keys = self.contents.keys(start.as_str(), after.as_ref(), RUN)?;
            let Some(last) = keys.last() else { return Ok(()) };
            after = Some(last.clone());
            let mut behind: Option<CacheKey> = None;
            for key in &keys {
                if behind.as_ref().is_some_and(|behind| key < behind) {
                    continue;
                }
                match visit(key)? {
                    Onward::Next => behind = None,
                    Onward::Behind(name) => behind = Some(self.key(&name).behind()),
                    Onward::Stop => return Ok(()),
                }
            }
            after = behind.or(after);
        }
    }

    /// The keys whose names begin with `prefix`.
    pub fn keys(&self, prefix: &str) -> Result<Vec<CacheKey>, Unreadable> {
        let mut found = Vec::new();
        self.each(prefix, None, |key| {
            found.push(key.clone());
            Ok(Onward::Next)
        })?;
        Ok(found)
    }
}

impl fmt::Debug for Shelf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("space", &self.space).finish_non_exhaustive()
    }
}

impl Way {
    pub const fn to(address: String) -> Self {
        Self { address, accept: None }
    }
}

/// A page of groups that were gathered in any order.
pub fn page_of(
    groups: std::collections::BTreeSet<String>,
    after: Option<&str>,
    limit: usize,
) -> Vec<String> {
    groups
        .into_iter()
        .filter(|group| after.is_none_or(|after| **group > *after))
        .take(limit)
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Contents held in memory; keys of one space.
    #[derive(Debug, Default)]
    pub(crate) struct Held(pub(crate) BTreeMap<CacheKey, Bytes>);

    impl Held {
        pub(crate) fn put(&mut self, space: &str, name: &str, body: impl Into<Bytes>) -> CacheKey {
            let key = CacheKey::new(space, &Audience::Public, name);
            self.0.insert(key.clone(), body.into());
            key
        }

        pub(crate) fn shelf<'a>(&'a self, space: &'a str) -> Shelf<'a> {
            Shelf { contents: self, space, audience: &Audience::Public }
        }
    }

    /// Looks at what the words call the entry `name` of a space.
    pub(crate) fn check_name(words: &dyn Naming, space: &str, name: &str, expected: Option<&str>) {
        let key = CacheKey::new(space, &Audience::Public, name);
        let found = words.name_of(&key).map(|name| name.to_string());
        assert_eq!(found.as_deref(), expected, "{name}");
    }

    /// Looks at the group and version that the words read out of a text; nothing where they understand none.
    pub(crate) fn check_read(
        words: &dyn Naming,
        text: &str,
        expected: Option<(&str, Option<&str>)>,
    ) {
        let read = words.read(text).ok().flatten();
        let read = read.as_ref().map(|one| (one.group.as_str(), one.version.as_deref()));
        assert_eq!(read, expected, "{text}");
    }

    /// The best names of things.
    pub(crate) fn names_of(things: &[Thing]) -> Vec<String> {
        things.iter().map(|thing| thing.name.to_string()).collect()
    }

    /// All parts of a thing.
    pub(crate) fn parts_of(words: &dyn Naming, shelf: &Shelf<'_>, thing: &Thing) -> Vec<Part> {
        let mut parts = Vec::new();
        words.parts(shelf, thing, &mut |part| parts.push(part)).expect("they can be read");
        parts
    }

    impl Contents for Held {
        fn keys(
            &self,
            prefix: &str,
            after: Option<&CacheKey>,
            limit: usize,
        ) -> Result<Vec<CacheKey>, Unreadable> {
            let fits = |key: &&CacheKey| {
                key.as_str().starts_with(prefix) && after.is_none_or(|after| *key > after)
            };
            Ok(self.0.keys().filter(fits).take(limit).cloned().collect())
        }

        fn holds(&self, key: &CacheKey) -> Result<bool, Unreadable> {
            Ok(self.0.contains_key(key))
        }

        fn body(&self, key: &CacheKey) -> Result<Option<Bytes>, Unreadable> {
            Ok(self.0.get(key).cloned())
        }
    }

    #[test]
    fn a_walk_leaps_over_what_it_is_told_to() {
        let mut held = Held::default();
        for group in ["a", "a-b", "ab", "b"] {
            for at in 0..300 {
                held.put("s", &format!("k/{group}/{at:03}"), "");
            }
        }
        held.put("s", "l/a", "");
        let mut seen = Vec::new();
        let walk = held.shelf("s").each("k/", None, |key| {
            let group = key.name().rsplit_once('/').map_or("", |(group, _)| group);
            seen.push(group.to_owned());
            Ok(Onward::Behind(format!("{group}/")))
        });
        assert_eq!(walk, Ok(()));
        assert_eq!(seen, ["k/a-b", "k/a", "k/ab", "k/b"]);
        assert_eq!(held.shelf("s").keys("k/a/").map(|keys| keys.len()), Ok(300));
    }

    #[test]
    fn a_thing_answers_to_its_names_and_to_enough_of_what_it_is() {
        let thing = Thing {
            group: "g".to_owned(),
            name: Name::of_group("x", "g").version(":", "1"),
            kind: "image",
            versions: vec!["1".to_owned(), "latest".to_owned()],
            identity: "sha256:0123456789abcdef".to_owned(),
        };
        let check = |version: &str, expected: bool| {
            assert_eq!(thing.is_called(version), expected, "{version}");
        };
        check("1", true);
        check("latest", true);
        check("sha256:0123456789abcdef", true);
        check("0123456", true);
        check("012345", false);
        check("0123457", false);
        check("", false);
        assert_eq!(thing.name.to_string(), "x:g:1");
        assert_eq!(thing.name.clone().part("d/f").to_string(), "x:g:1/d/f");
    }
}
