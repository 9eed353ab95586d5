//! Sealed bodies: one immutable file per SHA-256.
//!
//! A file gets its name only when its bytes are durable, and loses it before its bytes go. Left out: which blobs are named by entries
//! (`index`), and when one has to go (`evict`, `sweep`).

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::device::{Device, make_directories, remove_if_there, sync_directory};
use super::read::{Buffers, FileReader};
use crate::store::StoreError;
use crate::types::{BlobId, Timestamp};

/// How long a blob that no entry names is left alone: its commit may be on the way, or a reader of a replaced entry about to open it.
pub(super) const GRACE: Duration = Duration::from_secs(3600);

/// The last of the 256 blob directories.
pub(super) const LAST_SHARD: u8 = u8::MAX;

#[derive(Debug)]
pub(super) struct Blobs {
    directory: PathBuf,
    trash: PathBuf,
    quarantine: PathBuf,
    device: Arc<dyn Device>,
    /// Open files of hot blobs. Entries time out, so that the room of an evicted blob comes back.
    open: moka::sync::Cache<BlobId, Arc<FileReader>>,
    buffers: Arc<Buffers>,
    /// Blobs sealed whose commit has not come yet: how many seals, and when the last was.
    awaited: Mutex<HashMap<BlobId, (usize, Timestamp)>>,
    /// Blobs whose files were found damaged: not to be read, whether or not they could be moved away.
    damaged: Mutex<HashSet<BlobId>>,
    /// Number of the next file in the trash.
    next_trash: AtomicU64,
}

impl Blobs {
    /// Makes the directories under `root` if this is their first time.
    pub(super) fn prepare(
        root: &Path,
        device: Arc<dyn Device>,
        open_files: u64,
        buffers: Arc<Buffers>,
    ) -> io::Result<Self> {
        let directory = root.join("blobs");
        let trash = root.join("trash");
        make_directories(&*device, &trash)?;
        make_directories(&*device, &directory)?;
        for shard in 0..=LAST_SHARD {
            let shard = directory.join(format!("{shard:02x}"));
            if !shard.is_dir() {
                device.make_directory(&shard)?;
            }
        }
        // Each time: whoever made them may have been killed before it came to this.
        sync_directory(&*device, &directory)?;
        sync_directory(&*device, root)?;
        let open = moka::sync::Cache::builder()
            .max_capacity(open_files)
            .time_to_idle(Duration::from_secs(60))
            .build();
        let next_trash = AtomicU64::new(u64::from(std::process::id()) << 32);
        let awaited = Mutex::default();
        let quarantine = root.join("quarantine");
        let damaged = Mutex::default();
        Ok(Self {
            directory,
            trash,
            quarantine,
            device,
            open,
            buffers,
            awaited,
            damaged,
            next_trash,
        })
    }

    pub(super) fn open(&self, blob: BlobId) -> Result<Option<Arc<FileReader>>, StoreError> {
        if let Some(reader) = self.open.get(&blob) {
            return Ok(Some(reader));
        }
        if self.damaged().contains(&blob) {
            return Ok(None);
        }
        match open_itself(&self.path(blob)) {
            Ok(file) => Ok(Some(self.remember(blob, file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound || is_link(&error) => {
                self.check_present(blob)?;
                Ok(None)
            }
            Err(error) => Err(StoreError::io(format!("open blob {blob}"), error)),
        }
    }

    /// Length of the blob's file; `None` when there is none.
    pub(super) fn length(&self, blob: BlobId) -> Option<u64> {
        let metadata = fs::symlink_metadata(self.path(blob)).ok()?;
        metadata.is_file().then_some(metadata.len())
    }

    /// Takes the durable file at `from` as `blob`: names it, makes the name durable, and keeps it safe until [`Blobs::named`]. A blob that
    /// is there already is replaced by this copy, whose bytes have just been verified; its readers go on.
    pub(super) fn adopt(
        &self,
        from: &Path,
        file: File,
        blob: BlobId,
        now: Timestamp,
    ) -> io::Result<Arc<FileReader>> {
        {
            let mut awaited = self.awaited();
            awaited.retain(|_, (_, since)| now.since(*since) < GRACE);
            let (seals, since) = awaited.entry(blob).or_insert((0, now));
            *seals += 1;
            *since = now;
        }
        let path = self.path(blob);
        let replaces = path.exists();
        self.device.rename(from, &path)?;
        if let Err(error) = self.sync_name(blob) {
            // The name may be gone after a crash, so no row may rely on it. A name that was there before is not lost: it leads to the
            // one copy or the other, and both are whole.
            if !replaces {
                self.device.remove(&path)?;
            }
            return Err(error);
        }
        self.damaged().remove(&blob);
        Ok(self.remember(blob, file))
    }

    /// Makes a blob's name durable. Its bytes were before it had one.
    pub(super) fn sync_name(&self, blob: BlobId) -> io::Result<()> {
        let path = self.path(blob);
        sync_directory(&*self.device, path.parent().expect("a blob is in a directory"))
    }

    /// The commit that one seal was waiting for is durable.
    pub(super) fn named(&self, blob: BlobId) {
        let mut awaited = self.awaited();
        if let Some((seals, _)) = awaited.get_mut(&blob) {
            *seals -= 1;
            if *seals == 0 {
                awaited.remove(&blob);
            }
        }
    }

    /// Takes a blob's name away, unless a seal awaits its commit. True when it is gone. Its room comes back with [`Blobs::empty_trash`];
    /// that is apart because freeing a big file takes time.
    pub(super) fn remove(&self, blob: BlobId, now: Timestamp) -> io::Result<bool> {
        let awaited = self.awaited();
        if awaited.get(&blob).is_some_and(|(_, since)| now.since(*since) < GRACE) {
            return Ok(false);
        }
        let number = self.next_trash.fetch_add(1, Ordering::Relaxed);
        match self.device.rename(&self.path(blob), &self.trash.join(number.to_string())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.open.invalidate(&blob);
        // Until this is done the file stays open, and its room taken, for as long as nothing else is asked for.
        self.open.run_pending_tasks();
        Ok(true)
    }

    /// Lets nobody read a blob any more, unless its file is not the one with this inode number.
    pub(super) fn distrust(&self, blob: BlobId, inode: u64) {
        self.damaged().insert(blob);
        if self.inode(blob) != Some(inode) {
            self.damaged().remove(&blob);
        }
        self.open.invalidate(&blob);
    }

    /// Moves a damaged blob to where nothing is served from, unless a seal awaits its commit.
    pub(super) fn quarantine(&self, blob: BlobId, now: Timestamp) -> io::Result<()> {
        let awaited = self.awaited();
        if awaited.get(&blob).is_some_and(|(_, since)| now.since(*since) < GRACE) {
            return Ok(());
        }
        self.open.invalidate(&blob);
        make_directories(&*self.device, &self.quarantine)?;
        self.device.rename(&self.path(blob), &self.quarantine.join(blob.to_hex()))?;
        self.damaged().remove(&blob);
        Ok(())
    }

    /// Which file a blob has now.
    pub(super) fn inode(&self, blob: BlobId) -> Option<u64> {
        fs::metadata(self.path(blob)).ok().map(|metadata| metadata.ino())
    }

    /// Whether a seal awaits its commit.
    pub(super) fn is_awaited(&self, blob: BlobId, now: Timestamp) -> bool {
        self.awaited().get(&blob).is_some_and(|(_, since)| now.since(*since) < GRACE)
    }

    /// Frees the room of removed blobs.
    pub(super) fn empty_trash(&self) -> io::Result<()> {
        for file in fs::read_dir(&self.trash)? {
            remove_if_there(&*self.device, &file?.path())?;
        }
        Ok(())
    }

    /// Blobs of one directory that got their name before `before`.
    pub(super) fn shard(&self, shard: u8, before: Timestamp) -> io::Result<Vec<BlobId>> {
        let mut found = Vec::new();
        for file in fs::read_dir(self.directory.join(format!("{shard:02x}")))? {
            let file = file?;
            let mut id = [0; 32];
            let name = file.file_name();
            if hex::decode_to_slice(name.as_encoded_bytes(), &mut id).is_err() {
                continue;
            }
            // It may have been evicted since its name was read.
            let Ok(metadata) = file.metadata() else { continue };
            // Renaming changes the inode, so this is the time of adoption.
            let named_secs = u64::try_from(metadata.ctime()).unwrap_or(0);
            if Timestamp::from_secs(named_secs) < before {
                found.push(BlobId(id));
            }
        }
        Ok(found)
    }

    /// An error when the whole directory is missing: then the disk is not mounted, and nothing must be concluded about its blobs.
    fn check_present(&self, blob: BlobId) -> Result<(), StoreError> {
        let path = self.path(blob);
        let shard = path.parent().expect("a blob is in a directory");
        match fs::metadata(shard) {
            Ok(_) => Ok(()),
            Err(error) => Err(StoreError::io(format!("look into {}", shard.display()), error)),
        }
    }

    /// Closes the files of hot blobs.
    #[cfg(test)]
    pub(super) fn forget_open(&self) {
        self.open.invalidate_all();
    }

    fn remember(&self, blob: BlobId, file: File) -> Arc<FileReader> {
        let reader = Arc::new(FileReader::new(file, self.buffers.clone()));
        self.open.insert(blob, reader.clone());
        reader
    }

    pub(super) fn path(&self, blob: BlobId) -> PathBuf {
        let name = blob.to_hex();
        self.directory.join(&name[..2]).join(name)
    }

    fn damaged(&self) -> MutexGuard<'_, HashSet<BlobId>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn awaited(&self) -> MutexGuard<'_, HashMap<BlobId, (usize, Timestamp)>> {
        // Each change is one insertion or removal, so a panic elsewhere leaves the map whole.
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a file to read, and never what a link in its place leads to: that was not verified, and may be anything of this machine's.
pub(super) fn open_itself(path: &Path) -> io::Result<File> {
    let no_follow = OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(no_follow).open(path)
}

pub(super) fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}
