//! Bodies in the making: a named file per key, and a note of how far it is.
//!
//! The note is JSON in a file beside the body: the key, the progress, the boot it was written in, and how much of the body was durable then.
//! A killed process leaves its writes in the page cache, so within one boot the whole progress counts. After another boot only the durable
//! part does; every [`DURABLE_STEP`] bytes of progress are made durable together with their note. The digest is checked over the whole body
//! before it is sealed, so a note that lies costs a transfer, never a wrong byte.
//!
//! Writes are paced: every [`PACE`] bytes the kernel is told to start writing, so that the sync at the end has little left to wait for.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rustix::fs::Advice;
use serde::{Deserialize, Serialize};

use super::Now;
use super::blobs::Blobs;
use super::device::{Device, remove_if_there, sync_directory};
use super::read::{Buffers, FileReader};
use super::room::Room;
use crate::store::{Freed, Partial, Progress, ReadAt, StoreError};
use crate::types::{BlobId, CacheKey, Timestamp};

/// Write-back is started after this many bytes.
const PACE: u64 = 8 << 20;
/// A crash of the machine costs at most this much of a partial body.
const DURABLE_STEP: u64 = 64 << 20;
/// Most buffers that one call of the kernel takes (`IOV_MAX`).
const MOST_SLICES: usize = 1024;

const NOTE_VERSION: u32 = 1;

/// Whether what is found also goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    Yes,
    /// It is only looked for.
    No,
}

/// The directory of partial bodies.
#[derive(Debug)]
pub(super) struct Partials {
    pub(super) directory: PathBuf,
    pub(super) device: Arc<dyn Device>,
    pub(super) blobs: Arc<Blobs>,
    pub(super) buffers: Arc<Buffers>,
    pub(super) now: Now,
    pub(super) room: Arc<Room>,
    /// Names of the partials that are open.
    pub(super) filling: Mutex<HashSet<String>>,
}

impl Partials {
    /// Opens the partial of `key`, with the bytes that an earlier one left if they can be trusted.
    pub(super) fn open(self: &Arc<Self>, key: &CacheKey) -> Result<Arc<FilePartial>, StoreError> {
        let name = BlobId::of(key.as_str().as_bytes()).to_hex();
        if !self.filling().insert(name.clone()) {
            return Err(StoreError::Busy(key.clone()));
        }
        // From here on, dropping the claim frees the key.
        let claim = Claim { partials: self.clone(), name };
        let action = || format!("open the partial body of {key}");
        let file = claim.open().map_err(|error| StoreError::io(action(), error))?;
        let trusted = claim.trusted(key, &file);
        if trusted.is_none() {
            claim.forget(&file).map_err(|error| StoreError::io(action(), error))?;
        }
        let (progress, durable) = trusted.unzip();
        Ok(Arc::new(FilePartial {
            key: key.clone(),
            reader: FileReader::new(file, self.buffers.clone()),
            syncing: Mutex::default(),
            state: Mutex::new(State {
                claim: Some(claim),
                progress,
                durable: durable.unwrap_or(0),
                reserved: 0,
                unpaced: Span::default(),
            }),
        }))
    }

    /// Partials that nobody has written since `before` and nobody writes now: how many, and how much room they take. Removed, unless this is only asked.
    pub(super) fn stale(&self, before: Timestamp, removal: Removal) -> io::Result<Freed> {
        let mut freed = Freed::default();
        for file in fs::read_dir(&self.directory)? {
            let file = file?;
            // It may have been sealed since its name was read.
            let Ok(metadata) = file.metadata() else { continue };
            let changed = Timestamp::from(metadata.modified()?);
            let path = file.path();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            // The lock is held over the removal, so that nobody opens the partial in between.
            let filling = self.filling();
            if changed < before && !filling.contains(stem.as_ref()) {
                if path.extension().is_none() {
                    freed.count += 1;
                    // What is reserved ahead counts: it comes back, too.
                    freed.bytes += metadata.blocks() * 512;
                }
                if removal == Removal::Yes {
                    remove_if_there(&*self.device, &path)?;
                }
            }
        }
        Ok(freed)
    }

    fn filling(&self) -> MutexGuard<'_, HashSet<String>> {
        self.filling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to write one partial, and its files.
#[derive(Debug)]
struct Claim {
    partials: Arc<Partials>,
    name: String,
}

impl Claim {
    /// Opens the file of the body. One that has another name was sealed: a file system that does not rename at one stroke may leave it both
    /// names when the machine stops, and a blob must not be written to.
    fn open(&self) -> io::Result<File> {
        let device = &*self.partials.device;
        let file = device.open(&self.body())?;
        if file.metadata()?.nlink() < 2 {
            return Ok(file);
        }
        self.remove(Lasting::PowerLoss)?;
        device.open(&self.body())
    }

    fn body(&self) -> PathBuf {
        self.partials.directory.join(&self.name)
    }

    fn note(&self) -> PathBuf {
        self.partials.directory.join(format!("{}.note", self.name))
    }

    /// The progress that can be relied on, and how much of it is durable.
    fn trusted(&self, key: &CacheKey, file: &File) -> Option<(Progress, u64)> {
        let note: Note = serde_json::from_slice(&fs::read(self.note()).ok()?).ok()?;
        let same_boot = self.partials.device.boot().is_some_and(|boot| boot == note.boot);
        let prefix = if same_boot { note.progress.prefix } else { note.durable };
        let whole = file.metadata().is_ok_and(|metadata| metadata.len() >= prefix);
        let ours = note.version == NOTE_VERSION && note.key == key.as_str();
        (ours && whole && prefix > 0)
            .then(|| (Progress { prefix, ..note.progress }, note.durable.min(prefix)))
    }

    /// Starts from nothing.
    fn forget(&self, file: &File) -> io::Result<()> {
        self.remove_note(Lasting::PowerLoss)?;
        self.partials.device.set_len(file, 0)
    }

    fn remove(&self, note: Lasting) -> io::Result<()> {
        self.remove_note(note)?;
        remove_if_there(&*self.partials.device, &self.body())
    }

    /// Always before the body goes: a note without bytes is noticed, bytes under a foreign note are not. So one that was to outlive the
    /// machine's end must not come back after it either.
    fn remove_note(&self, lasting: Lasting) -> io::Result<()> {
        let device = &*self.partials.device;
        match device.remove(&self.note()) {
            Ok(()) if lasting == Lasting::PowerLoss => {
                sync_directory(device, &self.partials.directory)
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn write_note(&self, note: &Note, lasting: Lasting) -> io::Result<()> {
        let device = &*self.partials.device;
        let path = self.note();
        let fresh = path.with_extension("fresh");
        let file = device.open(&fresh)?;
        device.set_len(&file, 0)?;
        write_all(device, &file, 0, &[Bytes::from(serde_json::to_vec(note)?)])?;
        if lasting == Lasting::PowerLoss {
            device.sync(&file)?;
        }
        device.rename(&fresh, &path)?;
        if lasting == Lasting::PowerLoss {
            sync_directory(device, &self.partials.directory)?;
        }
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.partials.filling().remove(&self.name);
    }
}

/// What a note has to outlive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lasting {
    ProcessEnd,
    PowerLoss,
}

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    version: u32,
    key: String,
    boot: String,
    /// Bytes `0..durable` were synced before this note was written.
    durable: u64,
    progress: Progress,
}

/// One partial body on disk.
#[derive(Debug)]
pub(super) struct FilePartial {
    key: CacheKey,
    reader: FileReader,
    /// Held over each write, so that none reaches the file once it is sealed.
    state: Mutex<State>,
    /// Held over each sync, and before `state`. Writes go on meanwhile; another sync must not, since the kernel tells of a failed write-back
    /// only once, and whoever is told must have thrown the file away before anybody can take it for durable.
    syncing: Mutex<()>,
}

#[derive(Debug)]
struct State {
    /// `None` once the partial is used up.
    claim: Option<Claim>,
    progress: Option<Progress>,
    durable: u64,
    /// Length that room was set aside for.
    reserved: u64,
    unpaced: Span,
}

/// Bytes written since write-back was last started.
#[derive(Debug, Default)]
struct Span {
    written: u64,
    from: u64,
    to: u64,
}

impl Span {
    fn add(&mut self, from: u64, to: u64) {
        self.from = if self.written == 0 { from } else { self.from.min(from) };
        self.to = self.to.max(to);
        self.written += to - from;
    }
}

impl FilePartial {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn_to_sync(&self) -> MutexGuard<'_, ()> {
        self.syncing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self) -> &File {
        self.reader.file()
    }

    fn error(&self, verb: &str, error: io::Error) -> StoreError {
        StoreError::io(format!("{verb} the partial body of {}", self.key), error)
    }

    /// Tells the kernel to start writing what has gathered. Pages that are dirty stay in memory for those who follow the file.
    fn pace(&self, span: &mut Span) {
        if span.written >= PACE {
            let length = NonZeroU64::new(span.to - span.from);
            // A hint: where it is not taken, the sync at the end waits longer.
            let _ = rustix::fs::fadvise(self.file(), span.from, length, Advice::DontNeed);
            *span = Span::default();
        }
    }

    /// Makes the bytes durable. If that fails they are lost, whatever can still be read (see [`Device::sync`]), and the partial with them.
    fn sync(&self, state: &mut State) -> Result<(), StoreError> {
        let Some(claim) = &state.claim else { return Err(StoreError::used_up(&self.key)) };
        if let Err(error) = claim.partials.device.sync(self.file()) {
            self.abandon(state);
            return Err(self.error("sync", error));
        }
        Ok(())
    }

    /// Throws the files away and frees the key.
    fn abandon(&self, state: &mut State) {
        state.progress = None;
        let note = if state.durable > 0 { Lasting::PowerLoss } else { Lasting::ProcessEnd };
        if let Some(claim) = state.claim.take()
            && let Err(error) = claim.remove(note)
        {
            // What stays behind is overwritten by the next fill or swept.
            tracing::warn!(cache.key = %self.key, error = %error, "a partial body is not removed");
        }
    }
}

impl Partial for FilePartial {
    fn progress(&self) -> Option<Progress> {
        self.lock().progress.clone()
    }

    fn reserve(&self, length: u64) -> Result<(), StoreError> {
        let mut state = self.lock();
        let Some(claim) = &state.claim else { return Err(StoreError::used_up(&self.key)) };
        let there = self.file().metadata().map_err(|error| self.error("examine", error))?.len();
        claim.partials.room.check(length, length.saturating_sub(there))?;
        if length > 0 {
            let reserved = claim.partials.device.reserve(self.file(), length);
            reserved.map_err(|error| self.error("reserve", error))?;
        }
        state.reserved = length;
        Ok(())
    }

    fn write(&self, offset: u64, chunks: &[Bytes]) -> Result<(), StoreError> {
        let mut state = self.lock();
        let Some(claim) = &state.claim else { return Err(StoreError::used_up(&self.key)) };
        let length: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        if offset.saturating_add(length) > state.reserved {
            claim.partials.room.check(offset.saturating_add(length), length)?;
        }
        let end = write_all(&*claim.partials.device, self.file(), offset, chunks)
            .map_err(|error| self.error("write", error))?;
        state.unpaced.add(offset, end);
        self.pace(&mut state.unpaced);
        Ok(())
    }

    fn checkpoint(&self, progress: &Progress) -> Result<(), StoreError> {
        let _turn = self.turn_to_sync();
        let device = match &*self.lock() {
            State { claim: None, .. } => return Err(StoreError::used_up(&self.key)),
            State { claim: Some(claim), durable, .. } => {
                let gain = progress.prefix.saturating_sub(*durable);
                (gain >= DURABLE_STEP).then(|| Arc::clone(&claim.partials.device))
            }
        };
        let lasting = if device.is_some() { Lasting::PowerLoss } else { Lasting::ProcessEnd };
        if let Some(Err(error)) = device.map(|device| device.sync(self.file())) {
            self.abandon(&mut self.lock());
            return Err(self.error("sync", error));
        }
        let mut state = self.lock();
        state.durable = match lasting {
            Lasting::PowerLoss => progress.prefix,
            // A prefix that shrank is of another body.
            Lasting::ProcessEnd if progress.prefix < state.durable => 0,
            Lasting::ProcessEnd => state.durable,
        };
        let Some(claim) = &state.claim else { return Err(StoreError::used_up(&self.key)) };
        let note = Note {
            version: NOTE_VERSION,
            key: self.key.as_str().to_owned(),
            boot: claim.partials.device.boot().unwrap_or_default(),
            durable: state.durable,
            progress: progress.clone(),
        };
        claim.write_note(&note, lasting).map_err(|error| self.error("note", error))?;
        state.progress = Some(progress.clone());
        Ok(())
    }

    fn seal(&self, blob: BlobId, length: u64) -> Result<Arc<dyn ReadAt>, StoreError> {
        let _turn = self.turn_to_sync();
        let mut state = self.lock();
        if state.claim.is_none() {
            return Err(StoreError::used_up(&self.key));
        }
        let metadata = self.file().metadata().map_err(|error| self.error("examine", error))?;
        if metadata.len() < length {
            return Err(self.error("seal", io::ErrorKind::UnexpectedEof.into()));
        }
        // Also gives back room that was reserved and not needed.
        let cut =
            state.claim.as_ref().map(|claim| claim.partials.device.set_len(self.file(), length));
        cut.transpose().map_err(|error| self.error("cut", error))?;
        self.sync(&mut state)?;
        let Some(claim) = &state.claim else { return Err(StoreError::used_up(&self.key)) };
        let file = self.file().try_clone().map_err(|error| self.error("seal", error))?;
        let partials = &claim.partials;
        let sealed = partials.blobs.adopt(&claim.body(), file, blob, partials.now.get());
        let sealed = sealed.map_err(|error| self.error("seal", error));
        // From the renaming on the file may be a blob, so nothing more is written to it, come what may.
        self.abandon(&mut state);
        Ok(sealed?)
    }

    fn discard(&self) {
        self.abandon(&mut self.lock());
    }
}

impl ReadAt for FilePartial {
    fn try_read(&self, offset: u64, length: usize) -> io::Result<Option<Bytes>> {
        self.reader.try_read(offset, length)
    }

    fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        self.reader.read(offset, length)
    }
}

/// Writes all `chunks` at `offset` and says where they end.
fn write_all(device: &dyn Device, file: &File, offset: u64, chunks: &[Bytes]) -> io::Result<u64> {
    let mut position = offset;
    for chunks in chunks.chunks(MOST_SLICES) {
        let mut slices: Vec<_> = chunks.iter().map(|chunk| IoSlice::new(chunk)).collect();
        let mut rest = slices.as_mut_slice();
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let count = match device.write(file, rest, position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            position += count as u64;
            IoSlice::advance_slices(&mut rest, count);
        }
    }
    Ok(position)
}
