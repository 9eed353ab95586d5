//! The ledger's files, as they are written.
//!
//! ```text
//! ledger/key                         the seed of its key, 32 bytes; whoever has it can sign for this ledger
//! ledger/head                        how much of it counts (`head`)
//! ledger/00000000000000065536.jsonl  a segment: 65,536 records, one a line, named by the index of its first
//! ledger/roots                       32 bytes for each full segment: the root of the subtree that it is
//! ```
//!
//! Order of an append: lines durable, root of a segment that is full durable, head written and durable. What lies beyond the head was never
//! acknowledged, and is written over. So opening reads the head and nothing else, however long the ledger is and however its last process ended.
//!
//! A ledger that does not fit its head is not mended: that would hide what happened to it. It is moved aside as it is, a new one is begun, and its first record
//! says so.

use std::fs::{self, File};
use std::io::{self, IoSlice, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::head::{Head, SLOT_BYTES};
use crate::store::disk::device::{self, Device};
use crate::trace::merkle::{self, Hash};
use crate::trace::note::Signer;
use crate::trace::record::Record;
use crate::types::Event;

/// A full segment is a full subtree of this level. Those of tests are short, so that each run crosses several.
pub(super) const SEGMENT_LEVEL: u32 = if cfg!(test) { 4 } else { 16 };

/// Records of a full segment.
pub(super) const SEGMENT_RECORDS: u64 = 1 << SEGMENT_LEVEL;

/// Bytes of a hash in `roots`.
pub(super) const HASH_BYTES: u64 = 32;

/// Most records that are made durable at once.
const MOST_AT_ONCE: usize = 4096;

/// The ledger, open for writing.
#[derive(Debug)]
pub(super) struct Files {
    device: Arc<dyn Device>,
    directory: PathBuf,
    signer: Signer,
    /// The head that is durable.
    head: Head,
    head_file: File,
    /// The segment that is written to, once it is.
    segment: Option<File>,
}

/// A ledger that was not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damage {
    /// What was wrong, and where the ledger is now.
    pub(super) told: String,
}

/// Why a directory is no ledger that can be written to.
enum Unfit {
    Io(io::Error),
    Damaged(String),
}

impl From<io::Error> for Unfit {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Files {
    /// Opens the ledger in `directory`, making it if need be; one that is damaged is moved aside. Blocking.
    pub(super) fn open(
        device: Arc<dyn Device>,
        directory: &Path,
    ) -> io::Result<(Self, Option<Damage>)> {
        match Self::read(Arc::clone(&device), directory) {
            Ok(files) => Ok((files, None)),
            Err(Unfit::Io(error)) => Err(error),
            Err(Unfit::Damaged(why)) => {
                let aside = move_aside(&*device, directory)?;
                let told = format!("the ledger before this one {why}; it is now in {aside}");
                match Self::read(device, directory) {
                    Ok(files) => Ok((files, Some(Damage { told }))),
                    Err(Unfit::Io(error)) => Err(error),
                    Err(Unfit::Damaged(why)) => Err(io::Error::other(why)),
                }
            }
        }
    }

    fn read(device: Arc<dyn Device>, directory: &Path) -> Result<Self, Unfit> {
        device::make_directories(&*device, directory)?;
        // An attempt before this one may have failed between making it and making its name durable.
        device::sync_directory(&*device, parent(directory))?;
        let signer = Signer::new(&key(&*device, directory)?);
        let path = directory.join("head");
        let head_file = device.open(&path)?;
        device::sync_directory(&*device, directory)?;
        let head = match Head::newest(&fs::read(&path)?) {
            Some(head) => head,
            None if has_segments(directory)? => {
                return Err(Unfit::Damaged("has lost its head".to_owned()));
            }
            None => {
                let head = Head::empty(&signer);
                write_all(&*device, &head_file, &vec![b' '; 2 * SLOT_BYTES], 0)?;
                write_all(&*device, &head_file, &head.slot(), head.place())?;
                device.sync(&head_file)?;
                head
            }
        };
        let files = Self {
            device,
            directory: directory.to_owned(),
            signer,
            head,
            head_file,
            segment: None,
        };
        files.check()?;
        Ok(files)
    }

    /// Whether the head is this ledger's own, and all that it counts is there.
    fn check(&self) -> Result<(), Unfit> {
        let damaged = |why: String| Err(Unfit::Damaged(why));
        let checkpoint = match self.signer.verifier().checkpoint(&self.head.checkpoint) {
            Ok(checkpoint) => checkpoint,
            Err(error) => return damaged(format!("has a head that is not its own: {error}")),
        };
        let size = self.head.frontier.size();
        if (checkpoint.size, checkpoint.root) != (size, self.head.frontier.root()) {
            return damaged("has a head that contradicts itself".to_owned());
        }
        let length = |path: PathBuf| match fs::metadata(path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        };
        if length(self.segment_path())? < self.head.offset {
            let note = self.head.checkpoint.replace('\n', " ");
            return damaged(format!("lacks its last records; its head was {note}"));
        }
        if length(self.directory.join("roots"))? < size / SEGMENT_RECORDS * HASH_BYTES {
            return damaged("lacks the roots of its segments".to_owned());
        }
        Ok(())
    }

    pub(super) const fn head(&self) -> &Head {
        &self.head
    }

    pub(super) const fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Appends events, in order, and takes them out of the list as they become durable. After an error call again with the same list: what was not
    /// made durable is written once more, at the same place. Blocking.
    pub(super) fn append(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        while !events.is_empty() {
            let room = SEGMENT_RECORDS - self.head.frontier.size() % SEGMENT_RECORDS;
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            let part = events.len().min(room).min(MOST_AT_ONCE);
            let appended = self.append_part(&events[..part]);
            if appended.is_err() {
                // Whatever became of it, it is not asked again.
                self.segment = None;
            }
            appended?;
            events.drain(..part);
        }
        Ok(())
    }

    fn append_part(&mut self, events: &[Event]) -> io::Result<()> {
        let mut frontier = self.head.frontier.clone();
        let mut lines = Vec::new();
        let mut full = None;
        for event in events {
            let line = Record::new(frontier.size(), event).line();
            full = frontier.push(merkle::leaf(&line), SEGMENT_LEVEL);
            lines.extend_from_slice(&line);
            lines.push(b'\n');
        }
        let segment = match self.segment.take() {
            Some(segment) => segment,
            None => self.open_segment()?,
        };
        write_all(&*self.device, &segment, &lines, self.head.offset)?;
        self.device.sync(&segment)?;
        if let Some(root) = full {
            self.write_root(frontier.size() / SEGMENT_RECORDS - 1, &root)?;
        }
        let head = Head {
            sequence: self.head.sequence + 1,
            offset: if full.is_some() { 0 } else { self.head.offset + lines.len() as u64 },
            checkpoint: self.signer.checkpoint(frontier.size(), &frontier.root()),
            frontier,
        };
        write_all(&*self.device, &self.head_file, &head.slot(), head.place())?;
        self.device.sync(&self.head_file)?;
        self.head = head;
        self.segment = Some(segment).filter(|_| full.is_none());
        Ok(())
    }

    /// Opens the segment that is written to, and lets go of what lies beyond the head.
    fn open_segment(&self) -> io::Result<File> {
        let segment = self.device.open(&self.segment_path())?;
        if segment.metadata()?.len() > self.head.offset {
            self.device.set_len(&segment, self.head.offset)?;
        }
        if self.head.offset == 0 {
            device::sync_directory(&*self.device, &self.directory)?;
        }
        Ok(segment)
    }

    fn write_root(&self, number: u64, root: &Hash) -> io::Result<()> {
        let roots = self.device.open(&self.directory.join("roots"))?;
        write_all(&*self.device, &roots, root, number * HASH_BYTES)?;
        self.device.sync(&roots)?;
        match number {
            0 => device::sync_directory(&*self.device, &self.directory),
            _ => Ok(()),
        }
    }

    fn segment_path(&self) -> PathBuf {
        let size = self.head.frontier.size();
        segment_path(&self.directory, size / SEGMENT_RECORDS)
    }
}

/// The file of the segment with this number.
pub(super) fn segment_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{:020}.jsonl", number * SEGMENT_RECORDS))
}

fn has_segments(directory: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        if entry?.file_name().to_string_lossy().ends_with(".jsonl") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads the ledger's secret, or makes it.
fn key(device: &dyn Device, directory: &Path) -> Result<[u8; 32], Unfit> {
    let path = directory.join("key");
    match fs::read(&path) {
        Ok(key) => {
            let wrong = |_| Unfit::Damaged("has a key that is none".to_owned());
            return key.as_slice().try_into().map_err(wrong);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    if has_segments(directory)? {
        return Err(Unfit::Damaged("has lost its key".to_owned()));
    }
    let mut key = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    let fresh = directory.join("key.fresh");
    let file = device.open(&fresh)?;
    write_all(device, &file, &key, 0)?;
    device.sync(&file)?;
    device.rename(&fresh, &path)?;
    device::sync_directory(device, directory)?;
    Ok(key)
}

/// Gives a directory another name, and tells that.
fn move_aside(device: &dyn Device, directory: &Path) -> io::Result<String> {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let names = (1_u32..).map(|number| format!("{name}.damaged-{number}"));
    let free = names.into_iter().find(|name| !directory.with_file_name(name).exists());
    let free = free.ok_or_else(|| io::Error::other("there is no name left"))?;
    device.rename(directory, &directory.with_file_name(&free))?;
    device::sync_directory(device, parent(directory))?;
    Ok(free)
}

fn parent(directory: &Path) -> &Path {
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or_else(|| Path::new("."))
}

fn write_all(device: &dyn Device, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match device.write(file, &[IoSlice::new(&bytes[done..])], offset + done as u64)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => done += written,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
