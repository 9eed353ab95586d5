//! What is known of a thing that is asked for: the facts that rules rest on.
//!
//! Each [`Fact`] has a name, a kind and the places where it can be known at all; [`Facts`] are the values for one subject. Adapters fill in what their documents
//! say and leave out what they do not: a fact that is missing is never made up. Left out: how a fact is found, which is the adapters'.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::policy::State;
use crate::types::{ByteSize, Timestamp};

/// Which kind of registry a subject is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ecosystem {
    #[serde(rename = "pypi")]
    PyPi,
    /// The Hugging Face hub.
    Hf,
    Oci,
}

/// When a subject is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Point {
    /// As one entry of a list: a project's page, the files of a commit, the tags of an image.
    Listing,
    /// When it is described, without its bytes: what lies beside a file, a manifest.
    Metadata,
    /// When its bytes are asked for.
    Content,
}

impl Ecosystem {
    pub const ALL: [Self; 3] = [Self::PyPi, Self::Hf, Self::Oci];

    /// As policy files and names write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PyPi => "pypi",
            Self::Hf => "hf",
            Self::Oci => "oci",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

impl Point {
    pub const ALL: [Self; 3] = [Self::Listing, Self::Metadata, Self::Content];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Listing => "listing",
            Self::Metadata => "metadata",
            Self::Content => "content",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// How the values of a fact look, and so which conditions there are on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `FACT = true`.
    Flag,
    /// `FACT_lt`, `FACT_gte`: a count, as a number or as `"7B"`.
    Count,
    /// The same for `"5 GB"`.
    Bytes,
    /// The same for `7.5`: a score from 0 to 10, held in tenths.
    Score,
    /// `FACT_age_lt`, `FACT_age_gte`: how long ago, as `"7 days"`.
    Time,
    /// `FACT_in`, `FACT_not_in`: texts, with `*` for any run of characters.
    Text,
    /// The same for facts of several texts, of which one is enough.
    Texts,
    /// The same for facts of several texts that stand for one another: on a list when one is, and not on it when none is.
    AnyOf,
    /// The same for licence expressions, which are read.
    Licence,
}

/// Where a fact can be known, a bit for each [`Point`].
type Known = u8;

const L: Known = 1 << Point::Listing as u8;
const M: Known = 1 << Point::Metadata as u8;
const C: Known = 1 << Point::Content as u8;
const ALL: Known = L | M | C;
const NOT: Known = 0;

macro_rules! facts {
    ($($(#[$doc:meta])* $fact:ident = $name:literal, $kind:ident, [$pypi:expr, $hf:expr, $oci:expr];)*) => {
        /// One thing that can be known of a subject.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fact { $($(#[$doc])* $fact,)* }

        impl Fact {
            /// All facts, in the order in which they are told.
            pub const ALL: &'static [Self] = &[$(Self::$fact,)*];

            /// As policy files write it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$fact => $name,)* }
            }

            pub const fn kind(self) -> Kind {
                match self { $(Self::$fact => Kind::$kind,)* }
            }

            const fn known(self) -> [Known; 3] {
                match self { $(Self::$fact => [$pypi, $hf, $oci],)* }
            }
        }
    };
}

// The columns: where it can be known of Python packages, of the hub's repositories, of images.
facts! {
    /// The project, repository or image.
    Name = "name", Text, [ALL, ALL, ALL];
    /// The release, commit, tag or digest.
    Version = "version", Text, [ALL, M | C, ALL];
    /// The file's name or path.
    File = "file", Text, [ALL, ALL, NOT];
    /// The host that it is from.
    Upstream = "upstream", Text, [ALL, ALL, ALL];
    /// Who publishes it: the owner of a repository, the namespace of an image.
    Publisher = "publisher", Text, [NOT, ALL, ALL];
    Size = "size", Bytes, [ALL, M | C, NOT];
    /// What kind of file it is, by its name: `wheel`, `sdist`, `safetensors`, `pickle`, `gguf`, ….
    Format = "format", Text, [ALL, ALL, NOT];
    /// When it was published: a file's upload, a repository's last change, an image's creation.
    Release = "release", Time, [ALL, ALL, M];
    /// When its project or repository began.
    Project = "project", Time, [ALL, ALL, NOT];
    /// Whether its project has a release of later date.
    NewerVersion = "newer_version", Flag, [ALL, NOT, NOT];
    /// Whether its author withdrew it.
    Yanked = "yanked", Flag, [ALL, NOT, NOT];
    /// The project's status, as the index tells it: `active`, `archived`, `deprecated`, `quarantined`.
    Status = "project_status", Text, [ALL, NOT, NOT];
    /// Whether the index has a provenance object for it, or its repository a signature. What that says was not verified.
    Attested = "attested", Flag, [ALL, ALL, M];
    /// Whether an advisory says that it is malicious. Of it and the three that follow nothing is known without advisories.
    Malicious = "malicious", Flag, [ALL, NOT, NOT];
    /// The advisories that concern it, by all their names.
    Vulnerability = "vulnerability", Texts, [ALL, NOT, NOT];
    /// The highest CVSS score among them; 0 where there is none.
    Cvss = "cvss", Score, [ALL, NOT, NOT];
    /// Whether there are some, and all of them are mended in a later version.
    FixAvailable = "fix_available", Flag, [ALL, NOT, NOT];
    /// Whether its attestations were verified: signatures, the log that they stand in, and that the publisher made them for this very file; of the hub, that somebody who
    /// is believed signed this very file as part of its model; of images, that one signature was.
    AttestationVerified = "attestation_verified", Flag, [M | C, M | C, M];
    /// Why they were not.
    AttestationFault = "attestation_fault", Text, [M | C, M | C, M];
    /// Who published it by verified attestations: `GitHub:owner/name`.
    AttestedPublisher = "attested_publisher", Text, [M | C, NOT, NOT];
    /// The identities that verified attestations were signed with: those of certificates, or `key:NAME`.
    SignedBy = "signed_by", AnyOf, [M | C, M | C, M];
    /// Its licence, as its metadata, card or label declares it.
    Licence = "license", Licence, [M | C, ALL, M];
    /// Whether it declares no licence, or one that means none.
    LicenceUnknown = "license_unknown", Flag, [M | C, ALL, M];
    /// Whether its licence is another one than that of the release before, than the one that was first seen of its repository, or than that of the image which its tag
    /// stood for before.
    LicenceChanged = "license_changed", Flag, [M | C, ALL, M];
    /// Its licence with those of all models that it was made from.
    LicenceEffective = "license_effective", Licence, [NOT, M | C, NOT];
    /// Whether the text of a licence among its files is another's than what its card declares.
    LicenceMismatch = "license_mismatch", Flag, [NOT, M | C, NOT];
    /// Whether another publisher vouched for a release before, or somebody did and nobody does for this one.
    PublisherChanged = "publisher_changed", Flag, [M | C, NOT, NOT];
    /// How many accounts may publish releases.
    Maintainers = "maintainers", Count, [M | C, NOT, NOT];
    /// Downloads of the last thirty days.
    Downloads = "downloads", Count, [NOT, ALL, NOT];
    Likes = "likes", Count, [NOT, ALL, NOT];
    /// Whether its terms have to be agreed to.
    Gated = "gated", Flag, [NOT, ALL, NOT];
    /// Another repository has its name on the hub now, and nobody has accepted that one.
    IdentityChanged = "identity_changed", Flag, [NOT, ALL, NOT];
    /// Its task, such as `text-generation`.
    Pipeline = "pipeline", Text, [NOT, ALL, NOT];
    /// The library that it is made for.
    Library = "library", Text, [NOT, ALL, NOT];
    /// The models that it was made from.
    BaseModel = "base_model", Texts, [NOT, ALL, NOT];
    /// What it was trained on.
    Dataset = "dataset", Texts, [NOT, ALL, NOT];
    Tag = "tag", Texts, [NOT, ALL, NOT];
    /// Whether it brings code that loading it may run: Python files, or a configuration that leads to some.
    RemoteCode = "remote_code", Flag, [NOT, ALL, NOT];
    Parameters = "parameters", Count, [NOT, ALL, NOT];
    /// The worst that the hub's scanners said: `safe`, `suspicious`, `unsafe`, ….
    HubScan = "hub_scan", Text, [NOT, M | C, NOT];
    /// What Larder's own inspection found in it, by kinds: `clean`, or `unsafe` with `import`, `template`, ...; `unparsable`. A rule that looks at it makes Larder look
    /// into a file before anybody gets any of it.
    Inspection = "inspection", Texts, [NOT, C, C];
    /// What it is by its bytes: `pickle`, `torch`, `safetensors`, ...; `other`. Found as the former is.
    InspectedFormat = "inspected_format", Text, [NOT, C, C];
    /// The repository that its label names as its source.
    Source = "source", Text, [NOT, NOT, M];
    /// Whether it is one of the default registry's curated images.
    OfficialImage = "official_image", Flag, [NOT, NOT, ALL];
    /// Whether it was asked for by a name that may lead elsewhere tomorrow: a tag, a branch.
    MutableReference = "mutable_reference", Flag, [NOT, M | C, M];
}

impl Fact {
    /// Whether it can be known there.
    pub const fn is_known(self, ecosystem: Ecosystem, point: Point) -> bool {
        self.known()[ecosystem as usize] & (1 << point as u8) != 0
    }

    /// Whether it is found out for single files only, and not for what they belong to.
    pub const fn is_of_file(self) -> bool {
        matches!(
            self,
            Self::File
                | Self::Size
                | Self::Format
                | Self::HubScan
                | Self::Attested
                | Self::AttestationVerified
                | Self::AttestationFault
                | Self::SignedBy
                | Self::Inspection
                | Self::InspectedFormat
                | Self::LicenceEffective
                | Self::LicenceMismatch
        )
    }

    pub(super) const fn bit(self) -> u64 {
        1 << self as u32
    }
}

/// A fact's value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value<'a> {
    #[default]
    Unknown,
    Flag(bool),
    Number(u64),
    Time {
        /// Milliseconds since the epoch.
        at: u64,
    },
    Text(Cow<'a, str>),
    Texts(Vec<Cow<'a, str>>),
}

impl Value<'_> {
    /// Without borrowing.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Unknown => Value::Unknown,
            Value::Flag(flag) => Value::Flag(flag),
            Value::Number(number) => Value::Number(number),
            Value::Time { at } => Value::Time { at },
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Texts(texts) => {
                Value::Texts(texts.into_iter().map(|text| Cow::Owned(text.into_owned())).collect())
            }
        }
    }

    /// In words, seen at `now`.
    pub fn told(&self, kind: Kind, now: Timestamp) -> String {
        match self {
            Value::Unknown => "unknown".to_owned(),
            Value::Flag(flag) => flag.to_string(),
            Value::Number(number) if kind == Kind::Bytes => ByteSize(*number).to_string(),
            Value::Number(number) if kind == Kind::Score => super::words::score(*number),
            Value::Number(number) => number.to_string(),
            Value::Time { at } => {
                format!("{} ago", super::words::span(now.since(Timestamp(*at))))
            }
            Value::Text(text) => text.to_string(),
            Value::Texts(texts) if texts.is_empty() => "none".to_owned(),
            Value::Texts(texts) => texts.join(", "),
        }
    }
}

impl From<bool> for Value<'_> {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<Timestamp> for Value<'_> {
    fn from(time: Timestamp) -> Self {
        Self::Time { at: time.0 }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl<'a> From<Cow<'a, str>> for Value<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<String>> for Value<'_> {
    fn from(texts: Vec<String>) -> Self {
        Self::Texts(texts.into_iter().map(Cow::Owned).collect())
    }
}

impl<'a, T: Into<Self>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Unknown, Into::into)
    }
}

/// What is known of one subject.
#[derive(Clone, PartialEq, Eq)]
pub struct Facts<'a> {
    pub ecosystem: Ecosystem,
    /// In which state upstream has it, and when it was published: what the lifecycle rests on. `None`: nothing out of the ordinary.
    pub state: Option<(State, Timestamp)>,
    /// Whether it is about a repository as a whole, so that rules on single files have nothing to say.
    pub is_whole: bool,
    /// The digest of its bytes, `sha256:…`, where it is known.
    pub digest: Option<Cow<'a, str>>,
    /// What could not be found out just now, a bit for each fact: whoever asks again may hear more.
    pending: u64,
    values: [Value<'a>; Fact::ALL.len()],
}

impl<'a> Facts<'a> {
    /// Of a subject by its name.
    pub fn of(ecosystem: Ecosystem, name: impl Into<Value<'a>>) -> Self {
        const UNKNOWN: Value<'static> = Value::Unknown;
        let values = [UNKNOWN; Fact::ALL.len()];
        Self { ecosystem, state: None, is_whole: false, digest: None, pending: 0, values }
            .with(Fact::Name, name)
    }

    #[must_use]
    pub fn with(mut self, fact: Fact, value: impl Into<Value<'a>>) -> Self {
        self.set(fact, value);
        self
    }

    pub fn set(&mut self, fact: Fact, value: impl Into<Value<'a>>) {
        self.values[fact as usize] = value.into();
    }

    /// Says that these could not be found out just now.
    pub fn await_all(&mut self, facts: &[Fact]) {
        self.pending = facts.iter().fold(self.pending, |bits, fact| bits | fact.bit());
    }

    /// Whether it is not known, and may be soon.
    pub fn is_pending(&self, fact: Fact) -> bool {
        self.pending & fact.bit() != 0 && *self.get(fact) == Value::Unknown
    }

    pub const fn get(&self, fact: Fact) -> &Value<'a> {
        &self.values[fact as usize]
    }

    /// A fact that is one text.
    pub fn text(&self, fact: Fact) -> Option<&str> {
        match self.get(fact) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// All that is known, in the order of [`Fact::ALL`].
    pub fn known(&self) -> impl Iterator<Item = (Fact, &Value<'a>)> {
        let all = Fact::ALL.iter().map(|fact| (*fact, self.get(*fact)));
        all.filter(|(_, value)| **value != Value::Unknown)
    }

    /// Without borrowing.
    pub fn into_owned(self) -> Facts<'static> {
        Facts {
            ecosystem: self.ecosystem,
            state: self.state,
            is_whole: self.is_whole,
            digest: self.digest.map(|digest| Cow::Owned(digest.into_owned())),
            pending: self.pending,
            values: self.values.map(Value::into_owned),
        }
    }

    /// The subject in the names that the command line takes: `pypi:six==1.17.0`, `hf:org/model@COMMIT`, `oci:IMAGE:TAG`.
    pub fn named(&self) -> String {
        let name = self.text(Fact::Name).unwrap_or("?");
        let ecosystem = self.ecosystem.name();
        let Some(version) = self.text(Fact::Version) else { return format!("{ecosystem}:{name}") };
        let mark = match self.ecosystem {
            Ecosystem::PyPi => "==",
            Ecosystem::Oci if !version.contains(':') => ":",
            Ecosystem::Hf | Ecosystem::Oci => "@",
        };
        format!("{ecosystem}:{name}{mark}{version}")
    }
}

impl fmt::Debug for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.known()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_fact_is_known_somewhere() {
        let mut names: Vec<&str> = Fact::ALL.iter().map(|fact| fact.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Fact::ALL.len());
        assert!(Fact::ALL.len() <= 64, "a bit for each");
        for fact in Fact::ALL {
            let somewhere = |eco: &Ecosystem| Point::ALL.iter().any(|at| fact.is_known(*eco, *at));
            assert!(Ecosystem::ALL.iter().any(somewhere), "{fact:?}");
        }
    }

    #[test]
    fn subjects_are_named_as_on_the_command_line() {
        let check = |ecosystem, name: &str, version: Option<&str>, expected: &str| {
            let facts = Facts::of(ecosystem, name).with(Fact::Version, version);
            assert_eq!(facts.named(), expected);
        };
        check(Ecosystem::PyPi, "six", None, "pypi:six");
        check(Ecosystem::PyPi, "six", Some("1.0"), "pypi:six==1.0");
        check(Ecosystem::Hf, "org/m", Some("ab"), "hf:org/m@ab");
        check(Ecosystem::Oci, "r.example/a", Some("3"), "oci:r.example/a:3");
        check(Ecosystem::Oci, "r.example/a", Some("sha256:ab"), "oci:r.example/a@sha256:ab");
    }
}
