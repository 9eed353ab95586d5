//! What of a page is listed now: files that pass the policy, with their marks, and the versions that follow from them.
//!
//! The three renderings share it, so that they cannot disagree on what may be seen.

use std::collections::HashSet;

use crate::ecosystem::View;
use crate::ecosystem::pypi::page::{Attributes, File, Hashes, Page, Provenance, Sidecar, Status};
use crate::ecosystem::pypi::{links, name};
use crate::policy::{self, Facts, Judgement, State, Verdict};
use crate::types::{Audience, CacheKey, Timestamp};

/// The names that a client may meet in `hashes`: pip hands them to hashlib and gives up on one that it does not know.
const HASHLIB: [&str; 12] = [
    "sha256", "sha512", "sha384", "sha224", "sha1", "md5", "blake2b", "blake2s", "sha3_224",
    "sha3_256", "sha3_384", "sha3_512",
];

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

/// The key of the metadata beside the file that is kept under `file`.
pub fn sidecar_key(file: &CacheKey) -> CacheKey {
    file.variant("metadata")
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
}

/// A file that is listed.
#[derive(Debug)]
pub struct Entry<'a> {
    pub file: &'a File,
    pub attributes: &'a Attributes,
    /// Relative to the page, without fragment.
    pub href: String,
    /// What a person should see of its state.
    pub mark: Option<String>,
    /// Whether the metadata can be had beside it; `None`: nothing is said.
    pub sidecar: Option<bool>,
    /// Our own address of its provenance.
    pub provenance: Option<String>,
}

/// What the policy says of a file of a page.
pub fn judge(policy: &policy::Config, page: &Page, file: &File) -> Judgement {
    policy.judge(&Facts {
        package: &page.name,
        file: &file.filename,
        state: page.state(file),
        published: file.published(),
    })
}

impl<'a> Listing<'a> {
    pub fn of(page: &'a Page, policy: &policy::Config, place: &Place, view: &View<'_>) -> Self {
        let mut entries = Vec::with_capacity(page.files.len());
        let mut hidden = Vec::new();
        for file in page.listed() {
            match judge(policy, page, file).verdict {
                Verdict::Allow | Verdict::Warn => entries.extend(entry(page, file, place, view)),
                Verdict::Hide | Verdict::Hold | Verdict::Deny => hidden.push(file),
            }
        }
        let versions = versions(page, &entries, &hidden);
        // A quarantined project must offer no files; where the policy lets them pass all the same, they carry the mark instead.
        let told = |_: &&Status| entries.is_empty() || !page.is_quarantined();
        let status = page.current_status().filter(told);
        let mark = page.gone_since.map(deleted);
        Self { page, entries, versions, status, mark }
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

fn entry<'a>(page: &'a Page, file: &'a File, place: &Place, view: &View<'_>) -> Option<Entry<'a>> {
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
        href: format!("{}{}{path}", place.relative_root, links::FILES),
        mark: mark(page.state(file)),
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
    let millis = i64::try_from(since.0 / 1000 * 1000).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_millisecond(millis) {
        Ok(time) => format!("deleted-upstream {time}"),
        Err(_) => "deleted-upstream".to_owned(),
    }
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
