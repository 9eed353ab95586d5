//! What only a disk can show: crashes, faults, eviction, and what a second program makes of the directory. Here: the rig, and starts and ends.

use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Bound;

use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{BackendError, Builder, DatabaseError, StorageBackend};
use tempfile::TempDir;

use super::*;
use crate::store::conformance::{self, entry, entry_of, keep, key, progress, put, seal};
use crate::store::lost::Loss;
use crate::store::{Progress, Stored};

mod crashes;
mod damage;
mod eviction;
mod faults;
mod interrupted;
pub(crate) mod platter;
mod run;
pub(crate) mod simulated;

/// Before any time that a file system under test shows.
const START: Timestamp = Timestamp(1_700_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

/// A disk that fails on demand.
#[derive(Debug, Default)]
struct Flaky {
    sync_fails: AtomicBool,
    write_fails: AtomicBool,
    free: AtomicU64,
    index_fails: Arc<AtomicBool>,
    repairs: Arc<AtomicU64>,
}

impl Device for Flaky {
    fn write(&self, file: &File, chunks: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        if self.write_fails.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        // Half of a chunk at a time, so that short writes are met in every test.
        let first = chunks.iter().find(|chunk| !chunk.is_empty()).expect("something to write");
        Machine.write(file, &[IoSlice::new(&first[..1 + first.len() / 2])], offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        match self.sync_fails.load(Ordering::Relaxed) {
            true => Err(io::Error::other("the disk is failing")),
            false => Machine.sync(file),
        }
    }

    fn free(&self, _path: &Path) -> io::Result<u64> {
        Ok(self.free.load(Ordering::Relaxed))
    }

    fn open_index(&self, builder: &mut Builder, path: &Path) -> Result<Database, DatabaseError> {
        let repairs = self.repairs.clone();
        builder.set_repair_callback(move |_| {
            repairs.fetch_add(1, Ordering::Relaxed);
        });
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let backend =
            FlakyBackend { file: FileBackend::new(file)?, fails: self.index_fails.clone() };
        builder.create_with_backend(backend)
    }
}

/// The index's file on that disk.
#[derive(Debug)]
struct FlakyBackend {
    file: FileBackend,
    fails: Arc<AtomicBool>,
}

impl FlakyBackend {
    fn check(&self) -> io::Result<()> {
        match self.fails.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl StorageBackend for FlakyBackend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }
}

/// A store in a directory of its own, with time and disk in the test's hands.
struct Rig {
    directory: Arc<TempDir>,
    config: Config,
    device: Arc<Flaky>,
    now: Arc<AtomicU64>,
    tasks: TaskTracker,
    stop: CancellationToken,
    store: DiskStore,
}

impl Rig {
    fn new(config: Config) -> Self {
        Self::try_in(directory(), config, START).expect("the directory is new")
    }

    fn plain() -> Self {
        Self::new(Config { min_free: ByteSize(0), ..Config::default() })
    }

    fn try_in(
        directory: Arc<TempDir>,
        config: Config,
        start: Timestamp,
    ) -> Result<Self, StoreError> {
        let device = Arc::new(Flaky::default());
        device.free.store(1 << 40, Ordering::Relaxed);
        let now = Arc::new(AtomicU64::new(start.0));
        let clock = now.clone();
        let clock = Now(Arc::new(move || Timestamp(clock.load(Ordering::Relaxed))));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let (store, writer) = DiskStore::prepare(directory.path(), &config, clock, device.clone())?;
        // Making room is left to the tests.
        let idle = Config { budget: None, scrub_rate: ByteSize(0), ..config };
        store.start(writer, &idle, &tasks, &stop)?;
        Ok(Self { directory, config, device, now, tasks, stop, store })
    }

    /// Shuts the store down as the program does.
    async fn close(self) -> (Arc<TempDir>, Config) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        (self.directory, self.config)
    }

    async fn reopen(self) -> Self {
        let now = Timestamp(self.now.load(Ordering::Relaxed));
        let (directory, config) = self.close().await;
        Self::try_in(directory, config, now).expect("it was closed")
    }

    /// What a `kill -9` at this instant would leave behind, opened.
    fn after_kill(&self) -> Self {
        let copy = directory();
        copy_all(self.directory.path(), copy.path()).expect("there is room");
        let now = Timestamp(self.now.load(Ordering::Relaxed));
        Self::try_in(copy, self.config.clone(), now).expect("a killed store opens")
    }

    fn advance(&self, span: Duration) {
        self.now.fetch_add(span.as_millis() as u64, Ordering::Relaxed);
    }

    /// Waits until the writer has done all that it was asked before.
    async fn settle(&self) {
        let remove = Change::Remove { key: key("never there") };
        self.store.commit(vec![remove]).await.expect("the store takes writes");
    }

    async fn keep_all(&self, names: &[&str], size: usize) {
        for name in names {
            keep(&self.store, name, &body(name, size)).await;
        }
    }

    fn has(&self, name: &str) -> bool {
        self.store.get(&key(name)).expect("the index is read").is_some()
    }

    fn kept(&self) -> Vec<String> {
        let keys = self.store.scan("", None, 999).expect("the index is read");
        let others = keys.iter().filter(|key| key.space() != "lost");
        others.map(|key| key.name().to_owned()).collect()
    }

    /// What is noted as lost, with what was wrong.
    fn lost(&self) -> Vec<(String, String)> {
        let losses = Loss::scan(&self.store, None, 999).expect("the index is read");
        let told = |loss: Loss| Some((loss.key()?.name().to_owned(), loss.damage));
        losses.into_iter().filter_map(told).collect()
    }

    fn read(&self, blob: BlobId) -> Option<Bytes> {
        let reader = self.store.open(blob).expect("blobs can be opened")?;
        Some(reader.read(0, 1 << 20).expect("blobs can be read"))
    }

    async fn make_room(&self) {
        self.store.evictor(&self.tasks).make_room().await.expect("nothing fails");
    }

    async fn sweep(&self) {
        let mut sweeper = self.store.sweeper(&self.config, &self.tasks);
        for _ in 0..=blobs::LAST_SHARD {
            sweeper.step().await.expect("nothing fails");
        }
        self.settle().await;
    }
}

/// In memory where there is such a file system, for the tests make hundreds of commits and crash no machine.
fn directory() -> Arc<TempDir> {
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    Arc::new(directory.expect("a directory"))
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        let target = to.join(file.file_name());
        match file.file_type()?.is_dir() {
            true => copy_all(&file.path(), &target)?,
            false => fs::copy(file.path(), target).map(drop)?,
        }
    }
    Ok(())
}

fn body(name: &str, size: usize) -> Vec<u8> {
    name.bytes().cycle().take(size).collect()
}

fn config(budget: u64) -> Config {
    Config { budget: Some(ByteSize(budget)), min_free: ByteSize(0), ..Config::default() }
}

fn pin(name: &str, pinned: bool) -> Change {
    Change::Pin { key: key(name), pinned }
}

#[tokio::test]
async fn keeps_the_contract() {
    let rigs = Mutex::new(Vec::new());
    conformance::all(|| {
        let Rig { store, directory, .. } = Rig::plain();
        rigs.lock().expect("no panic").push(directory);
        Arc::new(store)
    })
    .await;
}

#[tokio::test]
async fn a_second_process_is_told_who_is_there() {
    let rig = Rig::plain();
    let again = Rig::try_in(rig.directory.clone(), rig.config.clone(), START);
    let Some(StoreError::Unusable(text)) = again.err() else { panic!("it opened twice") };
    assert!(text.contains(&rig.directory.path().display().to_string()), "{text}");
    rig.reopen().await;
}

#[tokio::test]
async fn a_newer_data_directory_is_refused() {
    let rig = Rig::plain();
    let (directory, config) = rig.close().await;
    let index = directory.path().join(index::FILE);
    let database = Database::create(&index).expect("it was closed");
    let transaction = database.begin_write().expect("nobody else writes");
    let mut meta = transaction.open_table(record::META).expect("it is there");
    meta.insert("version", record::VERSION + 1).expect("there is room");
    drop(meta);
    transaction.commit().expect("there is room");
    database.close().expect("nothing fails");
    let error = Rig::try_in(directory, config, START).err();
    let Some(StoreError::Unusable(text)) = error else { panic!("{error:?}") };
    assert!(text.contains("version 2") && text.contains("newer program"), "{text}");
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_kill_and_opening_repairs_nothing() {
    let rig = Rig::plain();
    let blob = keep(&rig.store, "a", b"bytes").await;
    for number in 0..50 {
        let change = put(&format!("many/{number}"), entry());
        rig.store.commit(vec![change]).await.expect("the store takes writes");
    }
    let killed = rig.after_kill();
    assert_eq!(killed.device.repairs.load(Ordering::Relaxed), 0, "quick repair was at work");
    assert_eq!(killed.read(blob).as_deref(), Some(b"bytes".as_slice()));
    assert_eq!(killed.kept(), rig.kept());
    assert_eq!(killed.store.usage().entries, 51);
    killed.settle().await;
}

#[tokio::test]
async fn a_kill_between_seal_and_commit_leaves_an_orphan_that_is_swept() {
    let rig = Rig::plain();
    rig.keep_all(&["kept"], 100).await;
    let blob = seal(&rig.store, b"sealed, never named");
    let killed = rig.after_kill();
    assert!(killed.store.shared.blobs.length(blob).is_some());
    assert_eq!(killed.store.resolve(&blob.digest()).expect("the index is read"), None);

    killed.sweep().await;
    assert!(killed.store.shared.blobs.length(blob).is_some(), "it may still be wanted");
    killed.now.store(u64::MAX / 2, Ordering::Relaxed);
    killed.sweep().await;
    assert!(killed.store.shared.blobs.length(blob).is_none());
    assert_eq!(killed.read(BlobId::of(&body("kept", 100))).map(|bytes| bytes.len()), Some(100));
}

#[tokio::test]
async fn a_sealed_blob_waits_for_its_commit_through_a_sweep() {
    let rig = Rig::plain();
    // As old as can be for the file system, but sealed just now by this store's clock.
    rig.now.store(u64::MAX / 2, Ordering::Relaxed);
    let blob = seal(&rig.store, b"on its way");
    rig.sweep().await;
    rig.store.commit(vec![put("a", entry_of(blob, 10))]).await.expect("the blob was safe");
}

#[tokio::test]
async fn a_blob_of_the_wrong_length_is_not_named() {
    let rig = Rig::plain();
    let blob = seal(&rig.store, b"bytes");
    let error = rig.store.commit(vec![put("a", entry_of(blob, 6))]).await;
    assert!(matches!(error, Err(StoreError::BlobMissing(_))));
}

#[tokio::test]
async fn writers_at_the_same_time_share_commits() {
    let rig = Rig::plain();
    let store = Arc::new(rig.store);
    let writers: Vec<_> = (0..64)
        .map(|writer| {
            let store = store.clone();
            rig.tasks.spawn(async move {
                for number in 0..8 {
                    let change = put(&format!("{writer}/{number}"), entry());
                    store.commit(vec![change]).await.expect("the store takes writes");
                    assert!(
                        store
                            .get(&key(&format!("{writer}/{number}")))
                            .is_ok_and(|entry| entry.is_some())
                    );
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("no writer panics");
    }
    assert_eq!(store.usage().entries, 64 * 8);
}

#[tokio::test]
async fn after_the_end_commits_are_refused() {
    let rig = Rig::plain();
    rig.stop.cancel();
    rig.tasks.close();
    rig.tasks.wait().await;
    let refused = rig.store.commit(vec![put("a", entry())]).await;
    assert!(matches!(refused, Err(StoreError::Refusing)));
    assert!(!rig.store.usage().writable);
}
