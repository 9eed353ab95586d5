//! What of a page is listed now: files that pass the policy, with their marks, and the versions that follow from them.
//!
//! The three renderings share it, so that they cannot disagree on what may be seen.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use crate::ecosystem::View;
use crate::ecosystem::pypi::facts::OfPage;
use crate::ecosystem::pypi::page::{
    Attributes, File, Hashes, Page, Provenance, Sidecar, Status, Yanked,
};
use crate::ecosystem::pypi::{links, name};
use crate::policy::{Judged, Point, Ruleset, State, Verdict};
use crate::types::{Audience, CacheKey, Timestamp};

/// The names that a client may meet in `hashes`: pip hands them to hashlib and gives up on one that it does not know.
const HASHLIB: [&str; 12] = [
    "sha256", "sha512", "sha384", "sha224", "sha1", "md5", "blake2b", "blake2s", "sha3_224",
    "sha3_256", "sha3_384", "sha3_512",
];

/// Why a file is withdrawn that cannot be had just now.
const UNKEPT: &str = "not kept here, and upstream cannot be asked for it";

/// How long it counts what was kept when a page was written.
const KEPT_HOLDS: Duration = Duration::from_secs(10);

/// Where the links of a page point, and for whom it is.
#[derive(Debug, Clone)]
pub struct Place {
    /// The mount, seen from the page: `../../` or `../../pypi/NAME/`.
    pub relative_root: String,
    /// The mount, as an address: `http://host/pypi/NAME/`.
    pub absolute_root: String,
    /// The cache's space of this index.
    pub space: String,
    pub audience: Audience,
    /// The root of the server as the client sees it, without a trailing slash.
    pub base: String,
}

impl Place {
    /// The cache key of a file.
    pub fn file_key(&self, file: &File) -> CacheKey {
        file_key(&self.space, &self.audience, file)
    }

    /// The key of the metadata beside a file.
    pub fn sidecar_key(&self, file: &File) -> CacheKey {
        sidecar_key(&self.file_key(file))
    }
}

/// The key of a file in an index's space. A later file at the same address has other bytes and a key beside the first one's.
pub fn file_key(space: &str, audience: &Audience, file: &File) -> CacheKey {
    let name = format!("file/{}", links::key_of(file.first_url()));
    let key = CacheKey::new(space, audience, &name);
    if !file.is_twin {
        return key;
    }
    let digest = file.hashes.iter().next().map(|(_, value)| value);
    key.variant(&digest.unwrap_or_else(|| file.first_seen.0.to_string()))
}

/// What parts the key of a file's metadata from the file's own.
pub const METADATA: &str = "metadata";

/// The key of the metadata beside the file that is kept under `file`.
pub fn sidecar_key(file: &CacheKey) -> CacheKey {
    file.variant(METADATA)
}

/// A page as it may be seen now.
#[derive(Debug)]
pub struct Listing<'a> {
    pub page: &'a Page,
    pub entries: Vec<Entry<'a>>,
    pub versions: Vec<&'a str>,
    /// What to say of the project, unless it is told otherwise by the files.
    pub status: Option<&'a Status>,
    /// The mark of a project that is gone upstream.
    pub mark: Option<String>,
    /// When time alone makes another listing of it.
    pub valid_until: Option<Timestamp>,
}

/// A file that is listed.
#[derive(Debug)]
pub struct Entry<'a> {
    pub file: &'a File,
    pub attributes: &'a Attributes,
    /// Relative to the page, without fragment.
    pub href: String,
    /// As its author or a rule has it: what a rule hides is told as withdrawn, with the rule's reason, which resolvers obey and people can read.
    pub yanked: Cow<'a, Yanked>,
    /// What a person should see of its state.
    pub mark: Option<String>,
    /// Whether the metadata can be had beside it; `None`: nothing is said.
    pub sidecar: Option<bool>,
    /// Our own address of its provenance.
    pub provenance: Option<String>,
}

/// How a file may be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    Plainly,
    /// As withdrawn, for this reason.
    Withdrawn(String),
    No,
}

/// Judges the files of one page, for one client at one time.
pub struct Judge<'a> {
    rules: &'a Ruleset,
    page: &'a Page,
    all: OfPage<'a>,
    base: &'a str,
    now: Timestamp,
    /// When time alone changes any of what was said.
    pub valid_until: Option<Timestamp>,
}

impl<'a> Judge<'a> {
    pub fn new(rules: &'a Ruleset, page: &'a Page, base: &'a str, now: Timestamp) -> Self {
        Self { rules, page, all: OfPage::new(page, rules), base, now, valid_until: None }
    }

    /// How a file may be listed; `note` hears of what is not listed plainly.
    pub fn judge(&mut self, file: &'a File, note: &dyn Fn(Judged)) -> Shown {
        let facts = self.all.of(file);
        let decision = self.rules.judge(&facts, Point::Listing, self.now);
        let turns = [self.valid_until, decision.valid_until];
        self.valid_until = turns.into_iter().flatten().min();
        if decision.verdict <= Verdict::Warn {
            return Shown::Plainly;
        }
        let by_rules = decision.by_rules;
        let (facts, epoch) = (facts.into_owned(), self.rules.epoch());
        let judged = Judged { facts, point: Point::Listing, at: self.now, epoch, decision };
        let reason = judged.sentence(self.base).unwrap_or_default();
        // What the lifecycle forbids is not offered at all, as the specification of quarantine wants it. What an advisory condemns is told with that reason, as
        // what rules refuse: nobody should take it for a version that there never was.
        let is_condemned = matches!(judged.facts.state, Some((State::Malicious, _)));
        let is_told =
            by_rules >= judged.decision.verdict || is_condemned && !self.page.is_quarantined();
        note(judged);
        if is_told { Shown::Withdrawn(reason) } else { Shown::No }
    }
}

impl<'a> Listing<'a> {
    pub fn of(page: &'a Page, rules: &'a Ruleset, place: &'a Place, view: &View<'_>) -> Self {
        let mut judge = Judge::new(rules, page, &place.base, view.now);
        let mut entries = Vec::with_capacity(page.files.len());
        let mut hidden = Vec::new();
        for file in page.listed() {
            let yanked = match judge.judge(file, view.note) {
                Shown::Plainly => Cow::Borrowed(&file.attributes().yanked),
                Shown::Withdrawn(reason) => Cow::Owned(Yanked::Because(reason.into())),
                Shown::No => {
                    hidden.push(file);
                    continue;
                }
            };
            let state = judge.all.state(file);
            entries.extend(entry(page, file, yanked, state, place, view));
        }
        let versions = versions(page, &entries, &hidden);
        // A quarantined project must offer no files; where the policy lets them pass all the same, they carry the mark instead.
        let told = |_: &&Status| entries.is_empty() || !page.is_quarantined();
        let status = page.current_status().filter(told);
        let mark = page.gone_since.map(deleted);
        let valid_until = judge.valid_until;
        Self { page, entries, versions, status, mark, valid_until }
    }

    /// The same where upstream may be away for long: while it is, a file that is not kept is told as withdrawn, which resolvers pass over as long as there is
    /// another. Nothing is left out: whoever names exactly that one is told why it cannot be had.
    #[must_use]
    pub fn preferring_kept(mut self, place: &Place, view: &View<'_>) -> Self {
        if !view.standing.offline {
            return self;
        }
        let is_plain = |entry: &&mut Entry<'_>| *entry.yanked == Yanked::No;
        for entry in self.entries.iter_mut().filter(is_plain) {
            if !(view.is_kept)(&place.file_key(entry.file)) {
                entry.yanked = Cow::Owned(Yanked::Because(UNKEPT.into()));
            }
        }
        // What is kept may change while the page does not.
        let then = view.now.plus(KEPT_HOLDS);
        self.valid_until = Some(self.valid_until.map_or(then, |until| until.min(then)));
        self
    }

    /// The minor API version that the listing lives up to: sizes are mandatory from 1.1 on.
    pub fn api_minor(&self) -> u32 {
        if self.entries.iter().any(|entry| entry.file.size.is_none()) {
            return 0;
        }
        let told = self.page.api_minor.clamp(1, 4);
        let provenance = self.entries.iter().any(|entry| entry.provenance.is_some());
        match (self.status, provenance) {
            (Some(_), _) => 4,
            (None, true) => told.max(3),
            (None, false) => told,
        }
    }
}

/// Digests under names that clients know.
pub fn known_hashes(hashes: &Hashes) -> Vec<(&str, String)> {
    hashes.iter().filter(|(name, _)| HASHLIB.contains(name)).collect()
}

/// The digest that a link's fragment names: the first of the list that there is.
pub fn fragment(hashes: &Hashes) -> Option<String> {
    let named = known_hashes(hashes);
    let strongest =
        HASHLIB[..6].iter().find_map(|name| named.iter().find(|(known, _)| known == name));
    strongest.map(|(name, value)| format!("{name}={value}"))
}

fn entry<'a>(
    page: &'a Page,
    file: &'a File,
    yanked: Cow<'a, Yanked>,
    state: State,
    place: &Place,
    view: &View<'_>,
) -> Option<Entry<'a>> {
    let attributes = file.attributes();
    let path = links::path_of(&file.url, &page.name)?;
    let provenance = match &attributes.provenance {
        Provenance::At(url) => links::named_path_of(url, &page.name)
            .map(|path| format!("{}{}{path}", place.absolute_root, links::FILES)),
        Provenance::Unsaid | Provenance::None => None,
    };
    // While upstream is away, a sidecar that is not kept cannot be had, and clients take a promised one that is missing for fatal.
    let can_be_had = || !view.standing.offline || (view.is_kept)(&place.sidecar_key(file));
    Some(Entry {
        file,
        attributes,
        yanked,
        href: format!("{}{}{path}", place.relative_root, links::FILES),
        mark: mark(state),
        sidecar: match &attributes.core_metadata {
            Sidecar::Unsaid => None,
            Sidecar::No => Some(false),
            Sidecar::Yes | Sidecar::Hashed(_) => can_be_had().then_some(true),
        },
        provenance,
    })
}

fn mark(state: State) -> Option<String> {
    match state {
        State::Listed | State::Yanked => None,
        State::Deleted { since } | State::ProjectDeleted { since } => Some(deleted(since)),
        State::Quarantined => Some("quarantined-upstream".to_owned()),
        State::Malicious => Some("malicious".to_owned()),
    }
}

fn deleted(since: Timestamp) -> String {
    format!("deleted-upstream {}", Timestamp::from_secs(since.secs()).to_rfc3339())
}

/// The versions upstream names, without those of which all files are hidden, and those of files that upstream no longer lists.
fn versions<'a>(page: &'a Page, entries: &[Entry<'a>], hidden: &[&'a File]) -> Vec<&'a str> {
    let version = |file: &'a File| name::version_of(&page.name, &file.filename);
    let unlisted = |entry: &&Entry<'a>| page.versions.is_empty() || !entry.file.is_live();
    let added: Vec<&str> =
        entries.iter().filter(unlisted).filter_map(|entry| version(entry.file)).collect();
    let mut dropped: HashSet<String> =
        hidden.iter().filter_map(|file| version(file)).map(spelling).collect();
    if !dropped.is_empty() {
        for entry in entries {
            version(entry.file).map(|version| dropped.remove(&spelling(version)));
        }
    }
    let mut seen = HashSet::with_capacity(page.versions.len());
    let named = page
        .versions
        .iter()
        .map(AsRef::as_ref)
        .filter(|version| !dropped.contains(&spelling(version)));
    named.chain(added).filter(|version| seen.insert(spelling(version))).collect()
}

/// A version in the form in which two are compared: file names cannot hold every character.
fn spelling(version: &str) -> String {
    version.to_ascii_lowercase().replace(['_', '-'], ".")
}
