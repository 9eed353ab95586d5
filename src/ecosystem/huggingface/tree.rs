//! The files of a commit: the hub's full recursive list, kept in one compact form that is searched without reading all of it.
//!
//! The list comes in pages and is kept only when all of them came, so that what it does not name does not exist. A list of half a million files is some forty
//! megabytes here; a file is found in it by halving.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;
use serde::Deserialize;
use url::Url;

use crate::cache::lookup::{
    Accepted, Admission, Admit, Answer, Demand, Document, Fresh, Keep, Kept, Page, Parsed,
};
use crate::ecosystem::huggingface::file::{Content, FileFacts, Pointer};
use crate::ecosystem::huggingface::links;
use crate::ecosystem::huggingface::reach::{Reach, Reading};
use crate::ecosystem::huggingface::repository::{Commit, FilePath, Repository, is_hex};
use crate::types::{Algorithm, Digest, Timestamp};

/// The tree of a commit, to be fetched where it is not kept.
pub fn document(reach: &Reach, repository: &Repository, commit: &Commit) -> Document {
    let path = format!("{}/tree/{commit}?recursive=true&expand=false", repository.api_path());
    let how = Reading {
        keep: Arc::new(KeepTree {
            hub: reach.settings.origin.base.clone(),
            aliases: reach.settings.aliases.clone(),
        }),
        admit: Arc::new(AdmitTree),
        limit_bytes: reach.settings.tree_limit_bytes,
        demand: Demand::AnyAge,
    };
    reach.document(&format!("tree/{repository}/{commit}"), reach.get(&path), how)
}

/// The tree of a commit if it is kept: nobody waits for it.
pub fn kept_document(reach: &Reach, repository: &Repository, commit: &Commit) -> Document {
    let mut document = document(reach, repository, commit);
    document.lookup.origins.clear();
    document
}

/// All files and folders of a commit, sorted by path.
///
/// The form: a version byte; the time it was kept (8 bytes, as all numbers little-endian); the number of entries (4); for each the offset of its record,
/// counted from the first record (4); the records. A record is a byte of flags, the size (8), git's name (20), where flagged the SHA-256 (32) with
/// the pointer's size (4) and the Xet hash (32), and the path to the record's end.
#[derive(Debug, Clone)]
pub struct Tree {
    bytes: Bytes,
    count: usize,
}

/// An entry of a tree, where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    pub path: &'a str,
    pub is_folder: bool,
    pub oid: &'a [u8],
    /// The real size of a file.
    pub size: u64,
    pub large: Option<Large<'a>>,
    pub xet_hash: Option<&'a [u8]>,
}

/// What is said of a file outside of git.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Large<'a> {
    pub sha256: &'a [u8],
    pub pointer_size: u32,
}

const VERSION: u8 = 1;
const COUNT_AT: usize = 9;
const OFFSETS_AT: usize = 13;
const FOLDER: u8 = 1;
const LARGE: u8 = 2;
const XET: u8 = 4;

impl Tree {
    /// Reads the kept form; `Err` when it is not whole.
    pub(crate) fn read(bytes: Bytes) -> Result<Self, String> {
        let broken = || "a kept tree is broken".to_owned();
        if bytes.first() != Some(&VERSION) {
            return Err("a kept tree is of another version".to_owned());
        }
        let count = number(&bytes, COUNT_AT).ok_or_else(broken)?;
        let tree = Self { bytes, count };
        // The last record ends where the bytes do, so a form that was cut shows here; the store has checked the digest of the rest.
        match tree.count == 0 || tree.entry(tree.count - 1).is_some() {
            true => Ok(tree),
            false => Err(broken()),
        }
    }

    /// When it was kept.
    pub fn kept(&self) -> Timestamp {
        let field = self.bytes.get(1..COUNT_AT).and_then(|field| field.try_into().ok());
        Timestamp(field.map_or(u64::MAX, u64::from_le_bytes))
    }

    /// How many entries it has.
    pub const fn len(&self) -> usize {
        self.count
    }

    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The entry at a place in the order.
    pub fn entry(&self, index: usize) -> Option<Entry<'_>> {
        let records = OFFSETS_AT + 4 * self.count;
        let start = records + number(&self.bytes, OFFSETS_AT + 4 * index)?;
        let end = match index + 1 < self.count {
            true => records + number(&self.bytes, OFFSETS_AT + 4 * (index + 1))?,
            false => self.bytes.len(),
        };
        Entry::read(self.bytes.get(start..end)?)
    }

    /// The entry of exactly this path.
    pub fn find(&self, path: &str) -> Option<Entry<'_>> {
        let at = self.position(|entry| entry.path.cmp(path));
        self.entry(at).filter(|entry| entry.path == path)
    }

    /// What is known of the file at a path.
    pub fn file(&self, path: &FilePath) -> Option<FileFacts> {
        self.find(path.as_str()).and_then(|entry| entry.facts())
    }

    /// The file of this Xet hash. Looks at every entry.
    pub fn file_of_xet(&self, hash: &str) -> Option<FileFacts> {
        let raw = hex::decode(hash).ok()?;
        let is_it = |entry: &Entry<'_>| entry.xet_hash == Some(raw.as_slice());
        self.entries(0..self.count).map(|(_, entry)| entry).find(is_it)?.facts()
    }

    /// The files with these SHA-256 digests, in their order; `None` for each that there is not. Looks at every entry once.
    pub fn files_of_sha256(&self, digests: &[Digest]) -> Vec<Option<FileFacts>> {
        let large = |entry: &Entry<'_>| entry.large.map(|large| large.sha256.to_vec());
        let wanted: HashSet<&[u8]> = digests.iter().map(Digest::as_bytes).collect();
        let entries = self.entries(0..self.count).map(|(_, entry)| entry);
        let named = entries.filter_map(|entry| Some((large(&entry)?, entry)));
        let found: HashMap<Vec<u8>, Entry<'_>> =
            named.filter(|(sha256, _)| wanted.contains(sha256.as_slice())).collect();
        digests.iter().map(|digest| found.get(digest.as_bytes())?.facts()).collect()
    }

    /// The places of everything below a folder; of everything at all without one.
    pub fn below(&self, folder: Option<&FilePath>) -> Range<usize> {
        let Some(folder) = folder else { return 0..self.count };
        // Of all that begins with `folder/`, nothing sorts behind `folder0`: the digit follows the slash.
        let edge = |end: char| {
            let text = format!("{folder}{end}");
            self.position(|entry| entry.path.cmp(text.as_str()))
        };
        edge('/')..edge('0')
    }

    /// The entries at places that follow each other.
    pub fn entries(&self, places: Range<usize>) -> impl Iterator<Item = (usize, Entry<'_>)> {
        places.filter_map(|index| Some((index, self.entry(index)?)))
    }

    /// The places of what lies directly in a folder, or at the root. What is below its folders is leapt over.
    pub fn children(&self, folder: Option<&FilePath>) -> impl Iterator<Item = usize> {
        let prefix = folder.map_or(0, |folder| folder.as_str().len() + 1);
        let Range { start, end } = self.below(folder);
        let mut next = start;
        std::iter::from_fn(move || {
            while next < end {
                let index = next;
                let path = self.entry(index)?.path;
                match path.get(prefix..)?.split_once('/') {
                    None => {
                        next += 1;
                        return Some(index);
                    }
                    Some((inner, _)) => {
                        let behind = format!("{}{inner}0", &path[..prefix]);
                        next = self.position(|entry| entry.path.cmp(behind.as_str()));
                    }
                }
            }
            None
        })
    }

    /// The first place whose entry does not come before what is looked for.
    fn position(&self, compare: impl Fn(&Entry<'_>) -> Ordering) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry(middle).map(|entry| compare(&entry)) {
                Some(Ordering::Less) => low = middle + 1,
                _ => high = middle,
            }
        }
        low
    }
}

impl<'a> Entry<'a> {
    fn read(record: &'a [u8]) -> Option<Self> {
        let (&flags, rest) = record.split_first()?;
        let (size, rest) = rest.split_first_chunk::<8>()?;
        let (oid, mut rest) = rest.split_at_checked(20)?;
        let mut large = None;
        if flags & LARGE != 0 {
            let (sha256, after) = rest.split_at_checked(32)?;
            let (pointer_size, after) = after.split_first_chunk::<4>()?;
            large = Some(Large { sha256, pointer_size: u32::from_le_bytes(*pointer_size) });
            rest = after;
        }
        let mut xet_hash = None;
        if flags & XET != 0 {
            let (hash, after) = rest.split_at_checked(32)?;
            xet_hash = Some(hash);
            rest = after;
        }
        Some(Self {
            path: std::str::from_utf8(rest).ok()?,
            is_folder: flags & FOLDER != 0,
            oid,
            size: u64::from_le_bytes(*size),
            large,
            xet_hash,
        })
    }

    /// What is known of the file; `None` for a folder.
    pub fn facts(&self) -> Option<FileFacts> {
        if self.is_folder {
            return None;
        }
        let oid = Digest::new(Algorithm::GitSha1, self.oid).ok()?;
        let content = match self.large {
            None => Content::Git(oid),
            Some(large) => Content::Large {
                sha256: Digest::new(Algorithm::Sha256, large.sha256).ok()?,
                pointer: Some(Pointer { oid, size: u64::from(large.pointer_size) }),
            },
        };
        Some(FileFacts {
            path: FilePath::parse(self.path)?,
            size: Some(self.size),
            content,
            xet_hash: self.xet_hash.map(hex::encode),
        })
    }
}

fn number(bytes: &Bytes, at: usize) -> Option<usize> {
    let field = bytes.get(at..at + 4)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(field)).ok()
}

/// An entry as the hub writes it.
#[derive(Debug, Deserialize)]
struct Listed {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    oid: String,
    #[serde(default)]
    size: u64,
    lfs: Option<ListedLarge>,
    #[serde(rename = "xetHash")]
    xet_hash: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ListedLarge {
    #[serde(alias = "sha256")]
    oid: String,
    size: u64,
    #[serde(rename = "pointerSize", default)]
    pointer_size: u32,
}

/// Reads and packs trees.
#[derive(Debug)]
struct KeepTree {
    hub: Url,
    aliases: Vec<Url>,
}

impl Keep for KeepTree {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        Tree::read(kept.clone()).map(Parsed::new)
    }

    fn merge(&self, _: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        let pages = std::iter::once(fresh.body).chain(fresh.rest.iter().map(|page| &page.body));
        let bytes = kept_form(pages, fresh.now)?;
        let tree = Tree::read(bytes.clone())?;
        Ok(Kept::alone(bytes, Parsed::new(tree)))
    }

    fn next_page(&self, page: &Page) -> Option<Url> {
        let next = links::next_of(&page.head.headers)?;
        let next = page.url.join(&next).ok()?;
        // The hub may call itself by another name; the next page is asked for where the first one was.
        let here = links::transplanted(&next, &self.aliases, &self.hub);
        Some(here.unwrap_or(next))
    }
}

/// What is kept of the pages of a list.
pub(crate) fn kept_form<'a>(
    pages: impl Iterator<Item = &'a Bytes>,
    now: Timestamp,
) -> Result<Bytes, String> {
    let mut entries: Vec<Listed> = Vec::new();
    for body in pages {
        let page: Vec<Listed> = serde_json::from_slice(body)
            .map_err(|error| format!("the hub's list of files cannot be read: {error}"))?;
        entries.extend(page);
    }
    packed(entries, now)
}

fn packed(mut entries: Vec<Listed>, now: Timestamp) -> Result<Bytes, String> {
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].path == pair[1].path) {
        return Err(format!("the hub lists {:?} twice", pair[0].path));
    }
    let too_many = |_| "the hub lists more files than can be kept".to_owned();
    let count = u32::try_from(entries.len()).map_err(too_many)?;
    let mut head = BytesMut::with_capacity(OFFSETS_AT + 4 * entries.len());
    head.put_u8(VERSION);
    head.put_u64_le(now.0);
    head.put_u32_le(count);
    let mut records = BytesMut::new();
    for entry in entries {
        head.put_u32_le(u32::try_from(records.len()).map_err(too_many)?);
        entry.pack(&mut records)?;
    }
    head.unsplit(records);
    Ok(head.freeze())
}

impl Listed {
    fn pack(&self, records: &mut BytesMut) -> Result<(), String> {
        let path = &self.path;
        if FilePath::parse(path).is_none() {
            return Err(format!("the hub lists {path:?}, which is no path"));
        }
        let digits = |text: &str, count: usize| match is_hex(text, count) {
            true => hex::decode(text).map_err(|error| error.to_string()),
            false => Err(format!("the hub names {path:?} by {text:?}, which is no digest")),
        };
        let is_folder = self.kind == "directory";
        let large = self.lfs.as_ref().filter(|_| !is_folder);
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        records.put_u8(
            flag(is_folder, FOLDER)
                | flag(large.is_some(), LARGE)
                | flag(self.xet_hash.is_some(), XET),
        );
        records.put_u64_le(large.map_or(self.size, |large| large.size));
        records.put_slice(&digits(&self.oid, 40)?);
        if let Some(large) = large {
            records.put_slice(&digits(&large.oid, 64)?);
            records.put_u32_le(large.pointer_size);
        }
        if let Some(hash) = &self.xet_hash {
            records.put_slice(&digits(hash, 64)?);
        }
        records.put_slice(path.as_bytes());
        Ok(())
    }
}

/// Admits trees: of a commit, so kept for ever.
#[derive(Debug)]
struct AdmitTree;

impl Admit for AdmitTree {
    fn admit(&self, _: usize, answer: &Answer<'_>) -> Admission {
        match answer.head.status {
            StatusCode::OK => {
                Admission::Accept(Accepted { fresh_for: Duration::MAX, ..Accepted::default() })
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => Admission::Absent,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Admission::Refused,
            other => Admission::Fail { reason: format!("the hub answered {other}") },
        }
    }
}
