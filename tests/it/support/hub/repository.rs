//! What a hub holds: repositories of four kinds, their commits, and files whose every digest is computed as git, LFS and Xet would.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use crate::support::origin::{Content, Pattern};

/// What a repository is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Model,
    Dataset,
    Space,
    Kernel,
}

pub const EVERY_KIND: [Kind; 4] = [Kind::Model, Kind::Dataset, Kind::Space, Kind::Kernel];

impl Kind {
    /// Its name in `/api/{name}/...`.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
            Self::Space => "spaces",
            Self::Kernel => "kernels",
        }
    }

    /// What stands before the repository in addresses of its files.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Model => "",
            Self::Dataset => "datasets/",
            Self::Space => "spaces/",
            Self::Kernel => "kernels/",
        }
    }

    pub fn of(plural: &str) -> Option<Self> {
        EVERY_KIND.into_iter().find(|kind| kind.plural() == plural)
    }
}

/// How a file is stored, which decides where its bytes come from and by what it is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// In git: its entity tag is its blob's name.
    Plain,
    /// A pointer in git, the bytes on the CDN.
    Lfs,
    /// The same, with a Xet hash.
    Xet,
}

/// One file of a commit.
#[derive(Clone)]
pub struct File {
    pub content: Content,
    pub storage: Storage,
    pub size: u64,
    /// Name of the blob in git: of the bytes, or of the pointer.
    pub oid: String,
    pub sha256: String,
    /// Name of its Xet file. Not the real merkle hash: no client computes it on download.
    pub xet: String,
}

impl File {
    pub fn plain(content: impl Into<Content>) -> Arc<Self> {
        Self::new(content.into(), Storage::Plain)
    }

    pub fn lfs(content: impl Into<Content>) -> Arc<Self> {
        Self::new(content.into(), Storage::Lfs)
    }

    pub fn xet(content: impl Into<Content>) -> Arc<Self> {
        Self::new(content.into(), Storage::Xet)
    }

    /// A file of any length, whose bytes are made when they are asked for. Its sha256 is not theirs: nobody wants to wait for that of
    /// sixty gigabytes, and whoever reads it to its end must find that out.
    pub fn vast(seed: u64, length: u64) -> Arc<Self> {
        let sha256 = hex::encode(Sha256::digest(format!("vast {seed} {length}")));
        Self::named(Pattern::new(seed, length).into(), Storage::Xet, length, sha256)
    }

    pub fn new(content: Content, storage: Storage) -> Arc<Self> {
        let size = content.length().expect("a file has a length");
        let sha256 = content.sha256();
        Self::named(content, storage, size, sha256)
    }

    fn named(content: Content, storage: Storage, size: u64, sha256: String) -> Arc<Self> {
        let oid = match storage {
            Storage::Plain => git_blob(&content, size),
            Storage::Lfs | Storage::Xet => {
                let pointer = pointer(&sha256, size);
                git_blob(&pointer.clone().into(), pointer.len() as u64)
            }
        };
        let xet = hex::encode(Sha256::digest(format!("xet {sha256}")));
        Arc::new(Self { content, storage, size, oid, sha256, xet })
    }

    /// The entity tag that names the bytes, without quotes: what clients call the file in their cache.
    pub fn tag(&self) -> &str {
        match self.storage {
            Storage::Plain => &self.oid,
            Storage::Lfs | Storage::Xet => &self.sha256,
        }
    }

    pub fn pointer(&self) -> String {
        pointer(&self.sha256, self.size)
    }
}

/// What git holds of a large file.
fn pointer(sha256: &str, size: u64) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n")
}

fn git_blob(content: &Content, size: u64) -> String {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {size}\0"));
    let mut offset = 0;
    loop {
        let piece = content.at(offset, 1 << 20);
        if piece.is_empty() {
            return hex::encode(hasher.finalize());
        }
        offset += piece.len() as u64;
        hasher.update(&piece);
    }
}

/// Files by path.
pub type Files = BTreeMap<String, Arc<File>>;

/// `files([("config.json", File::plain("{}"))])`.
pub fn files<const N: usize>(entries: [(&str, Arc<File>); N]) -> Files {
    entries.into_iter().map(|(path, file)| (path.to_owned(), file)).collect()
}

/// One state of a repository.
#[derive(Clone)]
pub struct Commit {
    pub sha: String,
    pub title: String,
    pub files: Files,
    /// Seconds of its date.
    pub at: u64,
}

/// What stands at a path of a commit.
pub enum Entry<'a> {
    File(&'a File),
    Directory,
}

impl Commit {
    pub fn entry(&self, path: &str) -> Option<Entry<'_>> {
        if let Some(file) = self.files.get(path) {
            return Some(Entry::File(file));
        }
        let below = format!("{path}/");
        self.files.keys().any(|name| name.starts_with(&below)).then_some(Entry::Directory)
    }

    /// Paths of files and directories below `directory`, in order; only its own entries unless `recursive`.
    pub fn below(&self, directory: &str, recursive: bool) -> BTreeSet<String> {
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let mut found = BTreeSet::new();
        for path in self.files.keys() {
            let Some(rest) = path.strip_prefix(&prefix) else { continue };
            let ends = rest.match_indices('/').map(|(at, _)| at).chain([rest.len()]);
            for end in ends.take(if recursive { usize::MAX } else { 1 }) {
                found.insert(format!("{prefix}{}", &rest[..end]));
            }
        }
        found
    }
}

/// A repository with its history.
#[derive(Clone)]
pub struct Repository {
    pub kind: Kind,
    /// `org/name`, or a single name.
    pub id: String,
    pub commits: Vec<Commit>,
    /// `refs/heads/main` and the like, to commits.
    pub refs: BTreeMap<String, String>,
    /// Users who may see a repository that nobody else may.
    pub private_to: Option<BTreeSet<String>>,
    /// Users who were let through the gate.
    pub gated_to: Option<BTreeSet<String>>,
    pub disabled: bool,
    /// The head of its card, as the hub reads it.
    pub card: Value,
    /// What changes all the time and means nothing.
    pub downloads: u64,
    /// What its description says beside the usual, or instead of it.
    pub more: serde_json::Map<String, Value>,
    /// The hub's own number for it, which stays when it is renamed.
    pub identity: String,
}

impl Repository {
    pub fn new(kind: Kind, id: &str) -> Self {
        Self {
            kind,
            id: id.to_owned(),
            commits: Vec::new(),
            refs: BTreeMap::new(),
            private_to: None,
            gated_to: None,
            disabled: false,
            card: json!({ "license": "mit" }),
            downloads: 7,
            more: serde_json::Map::new(),
            identity: hex::encode(Sha256::digest(id))[..24].to_owned(),
        }
    }

    /// Adds a commit to a branch, which comes to be if it was not. Answers its name.
    pub fn commit(&mut self, branch: &str, title: &str, files: Files) -> String {
        let mut hasher = Sha1::new();
        hasher.update(format!("{} {} {title} {}", self.kind.plural(), self.id, self.commits.len()));
        for (path, file) in &files {
            hasher.update(format!("{path} {}", file.oid));
        }
        let sha = hex::encode(hasher.finalize());
        let at = 1_790_000_000 + self.commits.len() as u64;
        self.commits.push(Commit { sha: sha.clone(), title: title.to_owned(), files, at });
        self.refs.insert(reference(branch), sha.clone());
        sha
    }

    /// The commit that a revision names: a commit, a branch, a tag, or a reference in full.
    pub fn revision(&self, name: &str) -> Option<&Commit> {
        let named = [name.to_owned(), format!("refs/heads/{name}"), format!("refs/tags/{name}")];
        let sha = named.iter().find_map(|name| self.refs.get(name)).map_or(name, String::as_str);
        self.commits.iter().find(|commit| commit.sha == sha)
    }

    /// What `main` was before the last commit, newest first.
    pub fn history(&self) -> impl Iterator<Item = &Commit> {
        self.commits.iter().rev()
    }
}

/// A branch's reference in full; what begins with `refs/` is one already.
pub fn reference(branch: &str) -> String {
    match branch.starts_with("refs/") {
        true => branch.to_owned(),
        false => format!("refs/heads/{branch}"),
    }
}
