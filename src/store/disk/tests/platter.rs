//! What may be found on a disk after a loss of power, at every point of a run.
//!
//! [`Platter`] goes through what a [`Disk`] has written down and knows, per block and per name, what is durable and what only the page cache has. At any
//! point [`Platter::crash`] makes a directory as the next start may find it: of what was not synced each block, length and name is there or not by itself,
//! blocks may be torn between sectors, and order counts for nothing.
//!
//! Writes dirty whole blocks, and a sync that fails leaves some of them lost and clean, as Linux does: syncing once more helps none of those.
//!
//! [`Disk`]: super::simulated::Disk

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::simulated::{Inode, Op};

const BLOCK: usize = 4096;
const SECTOR: usize = 512;

type Block = Arc<[u8; BLOCK]>;

/// What is durable and what is not, at one point of a record.
#[derive(Debug, Clone, Default)]
pub(crate) struct Platter {
    files: HashMap<Inode, Contents>,
    /// Every directory, and what its names have led to.
    directories: HashMap<PathBuf, HashMap<String, Name>>,
}

/// What a name leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thing {
    File(Inode),
    Directory,
}

/// What a name led to when its directory was last synced, and since then.
#[derive(Debug, Clone, Default)]
struct Name {
    durable: Option<Thing>,
    since: Vec<Option<Thing>>,
}

/// A file's blocks and length: as last synced, and since then.
#[derive(Debug, Clone, Default)]
struct Contents {
    blocks: BTreeMap<u64, Block>,
    length: u64,
    dirty: BTreeMap<u64, Vec<Block>>,
    lengths: Vec<u64>,
    /// What the page cache has of blocks that a failed sync lost.
    lost: HashMap<u64, Block>,
}

/// How much of what was not synced is found afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Luck {
    Nothing,
    Everything,
    /// Each block, length and name by itself.
    Some,
}

impl Platter {
    /// Files and directories of which everything is durable.
    pub(crate) fn of(there: Vec<(PathBuf, File, Option<Inode>)>) -> Self {
        let mut platter = Self::default();
        platter.directories.insert(PathBuf::new(), HashMap::new());
        for (path, file, inode) in there {
            let Some(inode) = inode else {
                platter.name(&path, Some(Thing::Directory));
                platter.directories.insert(path, HashMap::new());
                continue;
            };
            platter.name(&path, Some(Thing::File(inode)));
            let length = file.metadata().expect("it is there").len();
            let mut bytes = vec![0; length as usize];
            file.read_exact_at(&mut bytes, 0).expect("it is read");
            let contents = platter.file(inode);
            for (number, block) in bytes.chunks(BLOCK).enumerate() {
                // Long bodies in the making are mostly holes.
                if block.iter().any(|byte| *byte != 0) {
                    contents.write((number * BLOCK) as u64, block);
                }
            }
            contents.set_length(length);
            contents.sync();
        }
        for names in platter.directories.values_mut() {
            names.values_mut().for_each(Name::sync);
        }
        platter
    }

    /// Whether there is nothing on it.
    pub(crate) fn is_new(&self) -> bool {
        self.files.is_empty()
    }

    /// Goes on by one call.
    pub(crate) fn apply(&mut self, op: &Op, chance: &mut Chance) {
        match op {
            Op::MakeDirectory(path) => {
                self.name(path, Some(Thing::Directory));
                self.directories.insert(path.clone(), HashMap::new());
            }
            Op::Open { path, inode } => {
                if self.now(path) != Some(Thing::File(*inode)) {
                    self.name(path, Some(Thing::File(*inode)));
                }
                self.files.entry(*inode).or_default();
            }
            Op::Write { inode, offset, bytes } => self.file(*inode).write(*offset, bytes),
            Op::SetLength { inode, length } => self.file(*inode).set_length(*length),
            Op::SyncFile { inode, done: true } => self.file(*inode).sync(),
            Op::SyncFile { inode, done: false } => self.file(*inode).fail_to_sync(chance),
            Op::SyncDirectory { path, done: true } => {
                self.directories.entry(path.clone()).or_default().values_mut().for_each(Name::sync);
            }
            Op::SyncDirectory { .. } => {}
            Op::Rename { from, to } => {
                let thing = self.now(from);
                self.name(to, thing);
                self.name(from, None);
            }
            Op::Remove(path) => self.name(path, None),
        }
    }

    /// Makes in `target` what may be found after a loss of power.
    pub(crate) fn crash(&self, target: &Path, luck: Luck, chance: &mut Chance) {
        let mut written: HashMap<Inode, PathBuf> = HashMap::new();
        let mut waiting = vec![PathBuf::new()];
        while let Some(directory) = waiting.pop() {
            let names = self.directories.get(&directory);
            let mut names: Vec<_> = names.into_iter().flatten().collect();
            names.sort_by_key(|(name, _)| *name);
            for (name, leads_to) in names {
                let path = directory.join(name);
                match leads_to.found(luck, chance) {
                    Some(Thing::Directory) => {
                        fs::create_dir(target.join(&path)).expect("there is room");
                        waiting.push(path);
                    }
                    Some(Thing::File(inode)) => match written.get(&inode) {
                        Some(first) => fs::hard_link(first, target.join(&path)).expect("a link"),
                        None => {
                            let file = File::create(target.join(&path)).expect("there is room");
                            self.files[&inode].crash(&file, luck, chance);
                            written.insert(inode, target.join(&path));
                        }
                    },
                    None => {}
                }
            }
        }
    }

    fn file(&mut self, inode: Inode) -> &mut Contents {
        self.files.entry(inode).or_default()
    }

    fn now(&self, path: &Path) -> Option<Thing> {
        let (directory, name) = split(path);
        let name = self.directories.get(&directory)?.get(&name)?;
        name.since.last().copied().unwrap_or(name.durable)
    }

    fn name(&mut self, path: &Path, thing: Option<Thing>) {
        let (directory, name) = split(path);
        let names = self.directories.entry(directory).or_default();
        names.entry(name).or_default().since.push(thing);
    }
}

fn split(path: &Path) -> (PathBuf, String) {
    let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
    (path.parent().map(Path::to_owned).unwrap_or_default(), name)
}

impl Name {
    fn sync(&mut self) {
        if let Some(last) = self.since.pop() {
            self.durable = last;
            self.since.clear();
        }
    }

    fn found(&self, luck: Luck, chance: &mut Chance) -> Option<Thing> {
        pick(&self.since, luck, chance).copied().unwrap_or(self.durable)
    }
}

impl Contents {
    fn write(&mut self, offset: u64, mut bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        let mut at = offset;
        while !bytes.is_empty() {
            let within = (at % BLOCK as u64) as usize;
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - within));
            let mut block = self.block(at / BLOCK as u64);
            Arc::make_mut(&mut block)[within..within + now.len()].copy_from_slice(now);
            self.dirty.entry(at / BLOCK as u64).or_default().push(block);
            at += now.len() as u64;
            bytes = rest;
        }
        if end > self.now() {
            self.lengths.push(end);
        }
    }

    fn set_length(&mut self, length: u64) {
        if length < self.now() {
            let edge = length / BLOCK as u64;
            let behind = self.blocks.range(edge..).map(|(number, _)| *number);
            let dirty = self.dirty.range(edge..).map(|(number, _)| *number);
            let behind: HashSet<u64> = behind.chain(dirty).collect();
            for number in behind {
                let mut block = self.block(number);
                let kept = if number == edge { (length % BLOCK as u64) as usize } else { 0 };
                Arc::make_mut(&mut block)[kept..].fill(0);
                self.dirty.entry(number).or_default().push(block);
            }
        }
        self.lengths.push(length);
    }

    fn sync(&mut self) {
        for (number, mut versions) in std::mem::take(&mut self.dirty) {
            self.blocks.insert(number, versions.pop().expect("it was dirtied"));
            self.lost.remove(&number);
        }
        self.length = self.now();
        self.lengths.clear();
    }

    /// Some blocks are written, some are lost; none of them is dirty any more.
    fn fail_to_sync(&mut self, chance: &mut Chance) {
        for (number, mut versions) in std::mem::take(&mut self.dirty) {
            let last = versions.pop().expect("it was dirtied");
            match chance.of(2) {
                0 => {
                    self.lost.remove(&number);
                    self.blocks.insert(number, last);
                }
                _ => drop(self.lost.insert(number, last)),
            }
        }
    }

    /// A block as the page cache has it.
    fn block(&self, number: u64) -> Block {
        let dirty = self.dirty.get(&number).and_then(|versions| versions.last());
        let cached = dirty.or_else(|| self.lost.get(&number)).or_else(|| self.blocks.get(&number));
        cached.cloned().unwrap_or_else(|| Arc::new([0; BLOCK]))
    }

    fn now(&self) -> u64 {
        self.lengths.last().copied().unwrap_or(self.length)
    }

    fn crash(&self, file: &File, luck: Luck, chance: &mut Chance) {
        let length = pick(&self.lengths, luck, chance).copied().unwrap_or(self.length);
        file.set_len(length).expect("there is room");
        let put = |number: u64, block: &[u8; BLOCK]| {
            let offset = number * BLOCK as u64;
            let room = length.saturating_sub(offset).min(BLOCK as u64) as usize;
            file.write_all_at(&block[..room], offset).expect("there is room");
        };
        for (number, block) in &self.blocks {
            put(*number, block);
        }
        for (number, versions) in &self.dirty {
            let old = self.blocks.get(number).cloned().unwrap_or_else(|| Arc::new([0; BLOCK]));
            let mut block = *old;
            // Mostly a block is written as a whole; sometimes each sector has a fate of its own.
            let piece = if luck == Luck::Some && chance.of(4) == 0 { SECTOR } else { BLOCK };
            for (index, piece) in block.chunks_exact_mut(piece).enumerate() {
                if let Some(version) = pick(versions, luck, chance) {
                    let from = index * piece.len();
                    piece.copy_from_slice(&version[from..from + piece.len()]);
                }
            }
            put(*number, &block);
        }
    }
}

/// One of the states since the last sync; `None`: the one before them.
fn pick<'a, T>(since: &'a [T], luck: Luck, chance: &mut Chance) -> Option<&'a T> {
    match luck {
        Luck::Nothing => None,
        Luck::Everything => since.last(),
        Luck::Some => since.get(chance.of(since.len() as u64 + 1) as usize),
    }
}

/// Seeded chance.
#[derive(Debug, Clone)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// A number below `limit`.
    pub(crate) fn of(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}
