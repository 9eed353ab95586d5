//! The folder of records: what is in it, whether it has changed, and everything read into one edition.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zip::ZipArchive;

use super::Edition;
use super::source::Source;
use crate::advisory::{Builder, Form, Place};
use crate::types::Timestamp;

/// The largest record that is read. The largest known is a fifth of it.
pub(super) const RECORD_LIMIT_BYTES: u64 = 8 << 20;

/// How deep folders are looked into.
const MOST_DEPTH: usize = 8;

/// Faults that are told; the others are counted.
const MOST_TOLD: usize = 10;

/// Why the folder, or all of a file that holds many records, could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be read", .path.display())]
pub struct Unread {
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

/// A file of records, and what changes when it does.
#[derive(Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    path: PathBuf,
    length: u64,
    modified: (i64, i64),
    inode: u64,
}

/// Stands for the folders' state.
pub(super) fn stamp(folders: &[PathBuf]) -> Result<u64, Unread> {
    files(folders).map(|files| stamp_of(&files))
}

fn stamp_of(files: &[Seen]) -> u64 {
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    hasher.finish()
}

/// Everything of a name that is looked at, in order.
fn files(folders: &[PathBuf]) -> Result<Vec<Seen>, Unread> {
    let mut found = Vec::new();
    let mut pending: Vec<_> = folders.iter().map(|folder| (folder.clone(), 0)).collect();
    while let Some((path, depth)) = pending.pop() {
        let fault = |source| Unread { path: path.clone(), source };
        for entry in fs::read_dir(&path).map_err(fault)? {
            let path = entry.map_err(fault)?.path();
            let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
            // What has just been taken away is not there.
            let Some(about) = fs::metadata(&path).ok().filter(|_| !is_hidden) else { continue };
            match (about.is_dir(), kind(&path)) {
                (true, _) if depth < MOST_DEPTH => pending.push((path, depth + 1)),
                (false, Some(_)) => found.push(Seen {
                    path,
                    length: about.len(),
                    modified: (about.mtime(), about.mtime_nsec()),
                    inode: about.ino(),
                }),
                _ => {}
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What a file holds, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Record,
    /// A record on each line.
    Lines,
    Archive,
}

pub(super) fn kind(path: &Path) -> Option<Kind> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "json" => Some(Kind::Record),
        "jsonl" => Some(Kind::Lines),
        "zip" => Some(Kind::Archive),
        _ => None,
    }
}

/// How many records a file of this kind holds. At most so many bytes of records are read.
///
/// # Errors
///
/// When it cannot be read to its end, or there is too much in it.
pub(super) fn check(
    path: &Path,
    kind: Kind,
    ecosystems: &[String],
    most_bytes: u64,
) -> io::Result<usize> {
    let mut reading = Reading::new(ecosystems, most_bytes);
    reading.read(path, kind)?;
    Ok(reading.builder.finish().len())
}

/// Reads everything. An archive that is broken as a whole is an error, since thousands of records would be missing; a broken record is passed over.
pub(super) fn read(
    folders: &[PathBuf],
    ecosystems: &[String],
    now: Timestamp,
) -> Result<Edition, Unread> {
    let files = files(folders)?;
    let mut reading = Reading::new(ecosystems, u64::MAX);
    for file in &files {
        let fault = |source| Unread { path: file.path.clone(), source };
        if let Some(kind) = kind(&file.path) {
            reading.read(&file.path, kind).map_err(fault)?;
        }
    }
    let Reading { builder, edition, .. } = reading;
    let advisories = Arc::new(builder.finish());
    Ok(Edition { advisories, seen: stamp_of(&files), read_at: now, ..edition })
}

struct Reading {
    builder: Builder,
    edition: Edition,
    /// Bytes of records that may still be read.
    left: u64,
}

impl Reading {
    fn new(ecosystems: &[String], most_bytes: u64) -> Self {
        let builder = Builder::new(ecosystems);
        Self { builder, edition: Edition::default(), left: most_bytes }
    }

    fn read(&mut self, path: &Path, kind: Kind) -> io::Result<()> {
        match kind {
            Kind::Archive => self.archive(path),
            Kind::Lines => self.lines(path),
            Kind::Record => {
                self.file(path);
                Ok(())
            }
        }
    }

    /// Counts what was read of a record; one that is too long was read up to the limit.
    fn spend(&mut self, text: &io::Result<Vec<u8>>) -> io::Result<()> {
        let bytes = text.as_ref().map_or(RECORD_LIMIT_BYTES, |text| text.len() as u64);
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or_else(|| io::Error::other("there is too much in it"))?;
        Ok(())
    }

    /// A file of records, each on a line of its own.
    fn lines(&mut self, path: &Path) -> io::Result<()> {
        let file = File::open(path)?;
        let source = self.source(Source::archive(path, file.try_clone()?));
        let (mut reader, mut offset, mut number) = (BufReader::new(file), 0, 0_u64);
        loop {
            let mut line = Vec::new();
            let read = (&mut reader).take(RECORD_LIMIT_BYTES + 1).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(());
            }
            if read as u64 > RECORD_LIMIT_BYTES {
                return Err(io::Error::other("a line of it is too long for a record"));
            }
            number += 1;
            let bytes = u32::try_from(read).unwrap_or(u32::MAX);
            let place = Place { source, offset, bytes, form: Form::Plain };
            offset += read as u64;
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let text = Ok(line);
            self.spend(&text)?;
            self.record(text, place, || format!("line {number} of {}", path.display()));
        }
    }

    /// A file that is one record.
    fn file(&mut self, path: &Path) {
        let text = File::open(path).and_then(|file| limited(file, RECORD_LIMIT_BYTES));
        let place = Place { source: self.source(Source::file(path)), ..Place::default() };
        self.record(text, place, || path.display().to_string());
    }

    /// A file of many records. What it holds beside them is passed over.
    fn archive(&mut self, path: &Path) -> io::Result<()> {
        let file = File::open(path)?;
        let source = self.source(Source::archive(path, file.try_clone()?));
        let mut archive = ZipArchive::new(BufReader::new(file))?;
        for number in 0..archive.len() {
            let entry = archive.by_index(number)?;
            let name = entry.name().to_owned();
            let is_record = entry.is_file() && kind(Path::new(&name)) == Some(Kind::Record);
            let form = match entry.compression() {
                zip::CompressionMethod::Stored => Some(Form::Plain),
                zip::CompressionMethod::Deflated => Some(Form::Deflated),
                _ => None,
            };
            let bytes = u32::try_from(entry.compressed_size()).ok();
            let (Some(form), Some(offset), Some(bytes), true) =
                (form, entry.data_start(), bytes, is_record)
            else {
                continue;
            };
            let place = Place { source, offset, bytes, form };
            let text = limited(entry, RECORD_LIMIT_BYTES);
            self.spend(&text)?;
            self.record(text, place, || format!("{} in {}", name, path.display()));
        }
        Ok(())
    }

    fn source(&mut self, source: Source) -> u32 {
        let number = u32::try_from(self.edition.sources.len()).unwrap_or(u32::MAX);
        self.edition.sources.push(source);
        number
    }

    fn record(&mut self, text: io::Result<Vec<u8>>, place: Place, name: impl Fn() -> String) {
        let outcome = match text {
            Ok(text) => self.builder.add(&text, place).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(fault) = outcome {
            self.edition.faulty += 1;
            if self.edition.faults.len() < MOST_TOLD {
                self.edition.faults.push(format!("{}: {fault}", name()));
            }
        }
    }
}

/// All that a reader gives, if it is not too much.
pub(super) fn limited(from: impl Read, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    from.take(limit_bytes + 1).read_to_end(&mut text)?;
    match text.len() as u64 <= limit_bytes {
        true => Ok(text),
        false => Err(io::Error::other(format!("it is longer than {limit_bytes} bytes"))),
    }
}
