//! What only a disk can show: crashes, faults, eviction, and what a second program makes of the directory.

use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Bound;

use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{BackendError, Builder, DatabaseError, StorageBackend};
use tempfile::TempDir;

use super::*;
use crate::store::conformance::{self, entry, entry_of, keep, key, progress, put, seal};
use crate::store::{Progress, Stored};

mod crashes;
mod damage;
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
        keys.iter().map(|key| key.name().to_owned()).collect()
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
async fn an_undecodable_record_is_a_miss_that_heals() {
    let rig = Rig::plain();
    keep(&rig.store, "good", b"good").await;
    keep(&rig.store, "bad", b"bad").await;
    let (directory, config) = rig.close().await;
    let database = Database::create(directory.path().join(index::FILE)).expect("it was closed");
    let transaction = database.begin_write().expect("nobody else writes");
    let mut entries = transaction.open_table(record::ENTRIES).expect("it is there");
    entries.insert(1, [9_u8; 40].as_slice()).expect("there is room");
    drop(entries);
    transaction.commit().expect("there is room");
    database.close().expect("nothing fails");

    let rig = Rig::try_in(directory, config, START).expect("one bad record stops nothing");
    assert!(rig.has("good"));
    assert!(!rig.has("bad"));
    rig.settle().await;
    assert_eq!(rig.kept(), ["good"]);
    assert_eq!(rig.store.usage().entries, 1);
    rig.now.store(u64::MAX / 2, Ordering::Relaxed);
    rig.sweep().await;
    let usage = rig.store.usage();
    assert_eq!((usage.blobs, usage.blob_bytes), (1, 4), "its blob went with the sweep");
    keep(&rig.store, "bad", b"bad").await;
    assert!(rig.has("bad"));
}

#[tokio::test]
async fn an_entry_whose_file_is_gone_heals() {
    let rig = Rig::plain();
    let blob = keep(&rig.store, "a", b"bytes").await;
    rig.store.commit(vec![put("b", entry_of(blob, 5)), pin("a", true)]).await.expect("it works");
    rig.store.shared.blobs.forget_open();
    fs::remove_file(rig.store.shared.blobs.path(blob)).expect("it is there");
    assert!(rig.read(blob).is_none());
    rig.settle().await;
    assert_eq!(rig.kept(), [""; 0]);
    assert_eq!(
        rig.store.usage(),
        Usage { index_bytes: rig.store.usage().index_bytes, writable: true, ..Usage::default() }
    );
    let error = rig.store.commit(vec![put("b", entry_of(blob, 5))]).await;
    assert!(matches!(error, Err(StoreError::BlobMissing(_))));
    keep(&rig.store, "a", b"bytes").await;
    assert!(rig.read(blob).is_some());
}

#[tokio::test]
async fn a_missing_directory_is_no_reason_to_forget_its_blobs() {
    let rig = Rig::plain();
    let blob = keep(&rig.store, "a", b"bytes").await;
    rig.store.shared.blobs.forget_open();
    let path = rig.store.shared.blobs.path(blob);
    let shard = path.parent().expect("it is in a directory");
    let aside = rig.directory.path().join("aside");
    fs::rename(shard, &aside).expect("it is there");
    assert!(rig.store.open(blob).is_err());
    rig.settle().await;
    fs::rename(&aside, shard).expect("it is there");
    assert!(rig.has("a") && rig.read(blob).is_some());
}

#[tokio::test]
async fn a_blob_of_the_wrong_length_is_not_named() {
    let rig = Rig::plain();
    let blob = seal(&rig.store, b"bytes");
    let error = rig.store.commit(vec![put("a", entry_of(blob, 6))]).await;
    assert!(matches!(error, Err(StoreError::BlobMissing(_))));
}

#[tokio::test]
async fn a_failed_sync_loses_the_body_and_says_so() {
    let rig = Rig::plain();
    let partial = rig.store.partial(&key("a")).expect("nobody else fills it");
    partial.write(0, &[Bytes::from_static(b"bytes")]).expect("there is room");
    partial.checkpoint(&progress(5)).expect("nothing fails yet");
    rig.device.sync_fails.store(true, Ordering::Relaxed);
    let blob = BlobId::of(b"bytes");
    assert!(matches!(partial.seal(blob, 5), Err(StoreError::Io { .. })));
    rig.device.sync_fails.store(false, Ordering::Relaxed);
    assert!(partial.seal(blob, 5).is_err(), "trying again would claim what is lost");
    assert!(rig.read(blob).is_none());
    let next = rig.store.partial(&key("a")).expect("the key is free");
    assert_eq!(next.progress(), None);
}

#[tokio::test]
async fn a_full_disk_is_said_before_the_index_suffers() {
    let rig = Rig::new(Config { min_free: ByteSize(1000), ..Config::default() });
    rig.device.free.store(5000, Ordering::Relaxed);
    let partial = rig.store.partial(&key("a")).expect("nobody else fills it");
    assert!(matches!(partial.reserve(4001), Err(StoreError::Full)));
    partial.reserve(4000).expect("there is room");
    let chunk = Bytes::from_static(b"chunk");
    rig.device.free.store(0, Ordering::Relaxed);
    partial.write(0, std::slice::from_ref(&chunk)).expect("its room was set aside");
    assert!(matches!(partial.write(3999, std::slice::from_ref(&chunk)), Err(StoreError::Full)));
    rig.device.write_fails.store(true, Ordering::Relaxed);
    assert!(matches!(partial.write(0, &[chunk]), Err(StoreError::Full)));
    rig.settle().await;
}

#[tokio::test]
async fn a_failing_index_refuses_writes_serves_reads_and_comes_back() {
    let rig = Rig::plain();
    let blob = keep(&rig.store, "a", b"bytes").await;
    rig.device.index_fails.store(true, Ordering::Relaxed);
    let refused = rig.store.commit(vec![put("b", entry())]).await;
    assert!(matches!(refused, Err(StoreError::Refusing)), "{refused:?}");
    let refused = rig.store.commit(vec![put("b", entry())]).await;
    assert!(matches!(refused, Err(StoreError::Refusing)), "{refused:?}");
    assert!(!rig.store.usage().writable);
    assert!(rig.has("a") && !rig.has("b") && rig.read(blob).is_some());

    rig.device.index_fails.store(false, Ordering::Relaxed);
    rig.store.jobs.send(Job::Reopen).await.expect("the writer lives");
    rig.settle().await;
    assert!(rig.store.usage().writable);
    assert!(rig.has("a") && !rig.has("b"));
    assert_eq!(rig.device.repairs.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_nobody_asked_for_longest_goes_first_and_pinned_things_never() {
    let rig = Rig::new(config(3000));
    rig.keep_all(&["pinned", "oldest", "asked"], 900).await;
    rig.store.commit(vec![pin("pinned", true)]).await.expect("it works");
    rig.advance(5 * HOUR);
    rig.keep_all(&["newer"], 900).await;
    rig.store.touch(BlobId::of(&body("asked", 900)));
    rig.store.jobs.send(Job::Flush).await.expect("the writer lives");
    rig.settle().await;
    rig.advance(5 * HOUR);
    rig.keep_all(&["newest"], 1100).await;
    rig.make_room().await;
    assert_eq!(rig.kept(), ["asked", "newest", "pinned"]);
    assert!(rig.store.usage().blob_bytes <= 3000);
    rig.advance(2 * HOUR);
    rig.keep_all(&["last"], 1000).await;
    rig.make_room().await;
    assert_eq!(
        rig.kept(),
        ["last", "newest", "pinned"][..],
        "asked again is worth more, not for ever"
    );
}

#[tokio::test]
async fn eviction_takes_every_entry_of_a_blob_and_its_file() {
    let rig = Rig::new(config(1000));
    let blob = keep(&rig.store, "a", &body("x", 900)).await;
    rig.store.commit(vec![put("b", entry_of(blob, 900)), put("c", entry())]).await.expect("works");
    let open = rig.store.open(blob).expect("it opens").expect("it is there");
    rig.advance(2 * HOUR);
    rig.keep_all(&["d"], 900).await;
    rig.make_room().await;
    assert_eq!(rig.kept(), ["c", "d"]);
    assert!(rig.read(blob).is_none());
    assert_eq!(open.read(0, 9999).expect("readers go on").len(), 900);
    let usage = rig.store.usage();
    assert_eq!((usage.entries, usage.blobs, usage.evicted_blobs), (2, 1, 1));

    let keys = |rig: &Rig| rig.store.shared.view().idle_keys("", 99).expect("it is read").0.len();
    assert_eq!(keys(&rig), 2, "keys stay behind");
    keep(&rig.store, "a", &body("x", 50)).await;
    assert_eq!(keys(&rig), 1, "a key that is kept again is in use");
    rig.sweep().await;
    assert_eq!(keys(&rig), 0, "the sweep takes the rest");
    assert_eq!(rig.kept(), ["a", "c", "d"]);
}

/// The room of an evicted blob came back only when somebody asked for another one: its file was still held open.
#[tokio::test]
async fn an_evicted_blob_is_not_held_open() {
    let rig = Rig::new(config(1000));
    let blob = keep(&rig.store, "a", &body("x", 900)).await;
    let file = rig.read(blob).and_then(|_| rig.store.shared.blobs.inode(blob)).expect("there");
    rig.advance(2 * HOUR);
    rig.keep_all(&["b"], 900).await;
    rig.make_room().await;
    assert_eq!(rig.kept(), ["b"]);
    let open = fs::read_dir("/proc/self/fd").expect("a list of open files");
    let held = open.flatten().any(|entry| {
        let is_ours =
            fs::read_link(entry.path()).is_ok_and(|path| path.starts_with(rig.directory.path()));
        is_ours && fs::metadata(entry.path()).is_ok_and(|held| held.ino() == file)
    });
    assert!(!held, "the file is gone and its room still taken");
}

#[tokio::test]
async fn a_blob_just_sealed_is_not_evicted() {
    let rig = Rig::new(config(1000));
    let old = keep(&rig.store, "old", &body("x", 900)).await;
    rig.advance(2 * HOUR);
    // Somebody fills the same bytes under another key.
    seal(&rig.store, &body("x", 900));
    rig.keep_all(&["new"], 900).await;
    rig.make_room().await;
    rig.store.commit(vec![put("again", entry_of(old, 900))]).await.expect("the blob was safe");
    assert!(rig.read(old).is_some());
}

#[tokio::test]
async fn a_large_store_is_evicted_a_window_at_a_time() {
    let rig = Rig::new(config(400));
    let names: Vec<String> = (0..600).map(|number| format!("{number:03}")).collect();
    let changes = names.iter().map(|name| {
        let blob = seal(&rig.store, name.as_bytes());
        put(name, entry_of(blob, 3))
    });
    let changes = changes.collect();
    rig.store.commit(changes).await.expect("the store takes writes");
    rig.advance(HOUR);
    rig.make_room().await;
    let usage = rig.store.usage();
    assert!((300..=400).contains(&usage.blob_bytes), "{usage:?}");
    assert_eq!(usage.evicted_blobs + usage.blobs, 600);
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
async fn a_partial_goes_on_after_a_kill_but_not_on_another_boots_word() {
    let rig = Rig::plain();
    let partial = rig.store.partial(&key("a")).expect("nobody else fills it");
    partial.write(0, &[Bytes::from_static(b"0123456789")]).expect("there is room");
    partial.checkpoint(&progress(7)).expect("there is room");
    let killed = rig.after_kill();
    let resumed = killed.store.partial(&key("a")).expect("the killed one is gone");
    assert_eq!(resumed.progress(), Some(progress(7)));
    assert_eq!(resumed.read(0, 7).expect("it can be read"), "0123456");

    let noted = |boot: &str, durable: u64, prefix: u64| {
        let killed = rig.after_kill();
        let path = killed.directory.path().join("partials");
        let name = BlobId::of(key("a").as_str().as_bytes()).to_hex();
        let note = path.join(format!("{name}.note"));
        let mut content: serde_json::Value =
            serde_json::from_slice(&fs::read(&note).expect("it is there")).expect("it is JSON");
        if !boot.is_empty() {
            content["boot"] = boot.into();
        }
        content["durable"] = durable.into();
        content["progress"]["prefix"] = prefix.into();
        fs::write(&note, content.to_string()).expect("there is room");
        killed.store.partial(&key("a")).expect("nobody else fills it").progress()
    };
    assert_eq!(noted("another", 0, 7), None);
    assert_eq!(noted("another", 4, 7), Some(Progress { prefix: 4, ..progress(7) }));
    assert_eq!(noted("", 0, 11), None, "more than there is in the file");
    assert_eq!(noted("", 0, 10), Some(progress(10)));
}

#[tokio::test]
async fn long_progress_is_made_durable() {
    let rig = Rig::plain();
    let partial = rig.store.partial(&key("a")).expect("nobody else fills it");
    rig.device.sync_fails.store(true, Ordering::Relaxed);
    partial.checkpoint(&progress(1 << 20)).expect("small steps do not sync");
    assert!(partial.checkpoint(&progress(64 << 20)).is_err());
    assert!(partial.write(0, &[Bytes::from_static(b"x")]).is_err(), "the partial is lost");
}

#[tokio::test]
async fn stale_partials_are_swept_and_open_ones_are_not() {
    let rig = Rig::plain();
    for name in ["stale", "open"] {
        let partial = rig.store.partial(&key(name)).expect("nobody else fills it");
        partial.write(0, &[Bytes::from_static(b"bytes")]).expect("there is room");
        partial.checkpoint(&progress(5)).expect("there is room");
    }
    let open = rig.store.partial(&key("open")).expect("nobody else fills it");
    rig.now.store(u64::MAX / 2, Ordering::Relaxed);
    rig.sweep().await;
    assert_eq!(
        fs::read_dir(rig.directory.path().join("partials")).expect("it is there").count(),
        2
    );
    assert_eq!(open.read(0, 5).expect("it can be read"), "bytes");
    assert_eq!(rig.store.partial(&key("stale")).expect("nobody fills it").progress(), None);
}

#[tokio::test]
async fn access_times_pins_and_counters_outlive_a_clean_end() {
    let rig = Rig::new(config(2000));
    rig.keep_all(&["a", "b", "c"], 600).await;
    rig.store
        .commit(vec![pin("b", true), put("note", Entry { body: Stored::None, ..entry() })])
        .await
        .expect("works");
    rig.advance(3 * HOUR);
    rig.store.touch(BlobId::of(&body("c", 600)));
    let rig = rig.reopen().await;
    assert_eq!(rig.store.usage().blob_bytes, 1800);
    rig.advance(3 * HOUR);
    rig.keep_all(&["d"], 600).await;
    rig.make_room().await;
    assert_eq!(rig.kept(), ["b", "c", "d", "note"]);
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
