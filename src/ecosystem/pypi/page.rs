//! The model of a project page: everything that upstream ever listed, with when it did.
//!
//! A file carries its attributes in *spells*: stretches of time in which upstream listed it so. A gap between spells is a
//! time in which it was not listed, so that the page can be told for any instant. The kept form is a version byte and postcard; equal pages give equal
//! bytes, since nothing in them moves while upstream says the same.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ecosystem::pypi::links;
use crate::policy::State;
use crate::types::{Algorithm, Digest, Timestamp};

/// The first byte of the kept form.
const FORMAT: u8 = 1;

/// A project's page as merged over time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Normalised.
    pub name: Box<str>,
    /// Base addresses of the upstreams that files came from.
    pub sources: Vec<Box<str>>,
    /// Index into `sources`: the upstream that has the project. Files of others are not listed.
    pub source: u16,
    /// `X-PyPI-Last-Serial` of the last representation.
    pub serial: Option<Box<str>>,
    /// Minor of the API version that upstream spoke; 0 for HTML without one.
    pub api_minor: u32,
    /// Versions as upstream listed them last.
    pub versions: Vec<Box<str>>,
    /// PEP 792. The last is the current one; empty or ended: active, as for upstreams that do not speak of it.
    pub status: Vec<Spell<Status>>,
    /// Keys that we do not know.
    pub extra: Vec<Extra>,
    pub first_seen: Timestamp,
    /// Since when the whole project is absent upstream.
    pub gone_since: Option<Timestamp>,
    /// What a person should know of the last change that was out of the ordinary.
    pub notice: Option<Box<str>>,
    /// In upstream's order; a file that vanished stays behind its last predecessor.
    pub files: Vec<File>,
}

/// A distribution file. What identifies it is here; what may change is in the spells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    pub filename: Box<str>,
    /// Absolute, without fragment.
    pub url: Box<str>,
    /// Addresses that it had before; the first names it in the cache for ever.
    pub former_urls: Vec<Box<str>>,
    pub hashes: Hashes,
    pub size: Option<u64>,
    /// As upstream wrote it.
    pub upload_time: Option<Box<str>>,
    pub source: u16,
    /// Another file had this address before: this one needs a name of its own in the cache.
    pub is_twin: bool,
    pub first_seen: Timestamp,
    /// Never empty, in order of time.
    pub spells: Vec<Spell<Attributes>>,
}

/// A stretch of time in which upstream said `value`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spell<T> {
    pub from: Timestamp,
    /// When it was first seen to have ended, and how; `None`: it goes on.
    pub end: Option<End>,
    pub value: T,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    pub at: Timestamp,
    pub cause: Cause,
}

/// How a spell ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The next spell begins where this one ends.
    Changed,
    /// The file vanished from a page that is still there.
    Deleted,
    /// The whole project vanished.
    ProjectDeleted,
    /// The project was quarantined.
    Quarantined,
    /// Other bytes appeared under the same address.
    Replaced,
}

/// What upstream says of a file and may say otherwise tomorrow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    pub requires_python: Option<Box<str>>,
    pub yanked: Yanked,
    pub core_metadata: Sidecar,
    pub provenance: Provenance,
    pub gpg_sig: Option<bool>,
    pub extra: Vec<Extra>,
}

/// PEP 592.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Yanked {
    #[default]
    No,
    Yes,
    Because(Box<str>),
}

/// PEP 714: whether the metadata can be had beside the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sidecar {
    #[default]
    Unsaid,
    No,
    Yes,
    Hashed(Hashes),
}

/// PEP 740.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Provenance {
    #[default]
    Unsaid,
    None,
    At(Box<str>),
}

/// PEP 792.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub status: Box<str>,
    pub reason: Option<Box<str>>,
}

/// A key that we do not know, and its value as JSON text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extra {
    pub key: Box<str>,
    pub json: Box<str>,
}

/// Digests as a page names them; SHA-256 is kept as bytes, the others as written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hashes {
    sha256: Option<[u8; 32]>,
    others: Vec<(Box<str>, Box<str>)>,
}

impl Page {
    /// Reads the kept form.
    pub fn decode(kept: &[u8]) -> Result<Self, String> {
        match kept.split_first() {
            Some((&FORMAT, rest)) => postcard::from_bytes(rest).map_err(|error| error.to_string()),
            Some((version, _)) => Err(format!("a page in form {version}, which is not known")),
            None => Err("an empty page".to_owned()),
        }
    }

    /// Writes the kept form.
    pub fn encode(&self) -> Bytes {
        let start = Vec::with_capacity(256 + 300 * self.files.len());
        let mut bytes = start;
        bytes.push(FORMAT);
        postcard::to_extend(self, bytes)
            .expect("a page has no values that postcard cannot write")
            .into()
    }

    /// The status that upstream gives the project, unless it gives none.
    pub fn current_status(&self) -> Option<&Status> {
        self.status.last().filter(|spell| spell.end.is_none()).map(|spell| &spell.value)
    }

    pub fn is_quarantined(&self) -> bool {
        self.current_status().is_some_and(|status| &*status.status == "quarantined")
    }

    /// The files that belong on the page as the project's present upstream tells it, whatever became of them.
    pub fn listed(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.source == self.source && !file.is_replaced())
    }

    /// The file at an upstream address, the newest when several were there; encoding differences do not count.
    pub fn file_at(&self, url: &str) -> Option<&File> {
        let mut newest_first = self.files.iter().rev().filter(|file| !file.is_replaced());
        let place = |file: &&File| file.addresses().any(|known| links::same_place(known, url));
        let exact = |file: &&File| file.addresses().any(|known| known == url);
        newest_first.clone().find(exact).or_else(|| newest_first.find(place))
    }

    /// Whether one of the files names `url` as its provenance.
    pub fn names_provenance(&self, url: &str) -> Option<&File> {
        self.files.iter().find(|file| match &file.attributes().provenance {
            Provenance::At(known) => links::same_place(known, url),
            Provenance::Unsaid | Provenance::None => false,
        })
    }

    /// The state of one of its files.
    pub fn state(&self, file: &File) -> State {
        if self.is_quarantined() {
            return State::Quarantined;
        }
        match file.current().end {
            None if file.attributes().yanked != Yanked::No => State::Yanked,
            None => State::Listed,
            Some(End { at, cause }) => match cause {
                Cause::Quarantined => State::Quarantined,
                Cause::ProjectDeleted => State::ProjectDeleted { since: at },
                Cause::Changed | Cause::Deleted | Cause::Replaced => State::Deleted { since: at },
            },
        }
    }
}

impl File {
    /// The spell that goes on, or the last one.
    pub fn current(&self) -> &Spell<Attributes> {
        self.spells.last().expect("a file is made with a spell and never loses its last")
    }

    /// What upstream said of it last.
    pub fn attributes(&self) -> &Attributes {
        &self.current().value
    }

    pub fn is_live(&self) -> bool {
        self.current().end.is_none()
    }

    pub fn is_replaced(&self) -> bool {
        self.current().end.is_some_and(|end| end.cause == Cause::Replaced)
    }

    /// When it was published, or first seen here when upstream does not say.
    pub fn published(&self) -> Timestamp {
        self.uploaded().unwrap_or(self.first_seen)
    }

    /// When it was uploaded, by upstream's word.
    pub fn uploaded(&self) -> Option<Timestamp> {
        let time = self.upload_time.as_deref()?.parse::<jiff::Timestamp>().ok()?;
        u64::try_from(time.as_millisecond()).ok().map(Timestamp)
    }

    /// Every address it has or had.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.url).chain(self.former_urls.iter().map(AsRef::as_ref))
    }

    /// The address that names it in the cache: the first it had, so that a move upstream loses nothing.
    pub fn first_url(&self) -> &str {
        self.former_urls.first().unwrap_or(&self.url)
    }
}

impl Hashes {
    /// Adds a digest under the name that the page gives it.
    pub fn insert(&mut self, name: &str, value: &str) {
        match Digest::from_hex(Algorithm::Sha256, value) {
            Ok(digest) if name == "sha256" => self.sha256 = digest.blob_id().map(|id| id.0),
            _ if self.others.iter().any(|(known, _)| **known == *name) => {}
            _ => {
                self.others.push((name.into(), value.into()));
                self.others.sort();
            }
        }
    }

    /// Names and hexadecimal values, SHA-256 first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, String)> {
        let sha256 = self.sha256.map(|bytes| ("sha256", hex::encode(bytes)));
        let others = self.others.iter().map(|(name, value)| (&**name, value.to_string()));
        sha256.into_iter().chain(others)
    }

    /// In hexadecimal digits.
    pub fn sha256(&self) -> Option<String> {
        self.sha256.map(hex::encode)
    }

    pub fn is_empty(&self) -> bool {
        self.sha256.is_none() && self.others.is_empty()
    }

    /// Every digest that can be computed. `Err` when the page names one that no bytes can have: then nothing may pass for the file.
    pub fn digests(&self) -> Result<Vec<Digest>, String> {
        let known = |name: &str| match name.parse() {
            Ok(Algorithm::GitSha1) | Err(_) => None,
            Ok(algorithm) => Some(algorithm),
        };
        let named = self.iter().filter_map(|(name, value)| Some((known(name)?, value)));
        named
            .map(|(algorithm, value)| {
                Digest::from_hex(algorithm, &value)
                    .map_err(|error| format!("upstream names {value:?} as a digest: {error}"))
            })
            .collect()
    }

    /// Whether the two cannot be of the same bytes.
    pub fn contradict(&self, other: &Self) -> bool {
        let sha256 = matches!((self.sha256, other.sha256), (Some(a), Some(b)) if a != b);
        let differs = |(name, value): &(Box<str>, Box<str>)| {
            let known = other.others.iter().find(|(known, _)| known == name);
            known.is_some_and(|(_, known)| !known.eq_ignore_ascii_case(value))
        };
        sha256 || self.others.iter().any(differs)
    }

    /// Whether the two name a common digest and agree on it.
    pub fn agree(&self, other: &Self) -> bool {
        let sha256 = self.sha256.is_some() && self.sha256 == other.sha256;
        let common = self.others.iter().any(|one| other.others.contains(one));
        !self.contradict(other) && (sha256 || common)
    }

    /// Takes over what `other` knows more.
    pub fn complete_from(&mut self, other: &Self) {
        if self.sha256.is_none() {
            self.sha256 = other.sha256;
        }
        for (name, value) in &other.others {
            self.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_forms_that_are_not_known_are_refused() {
        for kept in [&b""[..], &[FORMAT], &[9, 1, 2], b"{\"files\": []}"] {
            assert!(Page::decode(kept).is_err(), "{kept:?}");
        }
    }

    #[test]
    fn a_malformed_digest_is_never_taken_for_none() {
        let mut hashes = Hashes::default();
        hashes.insert("sha256", "00ff");
        assert!(hashes.digests().is_err());
        let mut hashes = Hashes::default();
        hashes.insert("sha3_256", "anything");
        assert_eq!(hashes.digests(), Ok(Vec::new()), "what cannot be computed cannot be checked");
    }

    #[test]
    fn digests_agree_and_contradict_by_what_both_name() {
        let hashes = |pairs: &[(&str, &str)]| {
            let mut hashes = Hashes::default();
            pairs.iter().for_each(|(name, value)| hashes.insert(name, value));
            hashes
        };
        let (a, b) = ("0".repeat(64), "1".repeat(64));
        let one = hashes(&[("sha256", &a), ("md5", "00")]);
        assert!(one.contradict(&hashes(&[("sha256", &b)])));
        assert!(one.contradict(&hashes(&[("sha256", &a), ("md5", "01")])));
        assert!(!one.contradict(&hashes(&[("sha512", "22")])));
        assert!(!one.agree(&hashes(&[("sha512", "22")])));
        assert!(one.agree(&hashes(&[("sha256", &a)])));
    }
}
