//! The store on a disk: a redb index over content-addressed files.
//!
//! - `record`: the disk format, described before it is written; `head` is a part of it
//! - `index`: changes to the tables; `view`: looking things up; `writer`: the one thread that commits; `standby`: reading while the disk takes no writes
//! - `partials`: bodies in the making; `blobs`: sealed bodies; `read`: reading both
//! - `room`, `evict`: space; `sweep`: tidying up after crashes; `tidy`: all of that at once, when somebody asks
//! - `scrub`: reading everything again, slowly; `verify`: the same at once, offline; `check`: how
//! - `device`: the calls by which disks fail, as a seam; `now`: the time, as another; `meters`: what metrics are told
//!
//! No memory is held per entry, and opening reads a few pages whatever the store holds and however its last process ended.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt, ready};
use redb::Database;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::blobs::Blobs;
use self::device::{Device, Machine};
use self::evict::Evictor;
use self::index::Counters;
use self::meters::Meters;
use self::now::Now;
use self::partials::Partials;
use self::read::Buffers;
use self::room::Room;
use self::scrub::{Scrubber, Suspects};
use self::sweep::Sweeper;
use self::tidy::Broom;
use self::view::{Found, View};
use self::writer::{Job, Writer};
use crate::store::{Change, Entry, Freed, Partial, ReadAt, Store, StoreError, Tidied, Tidy, Usage};
use crate::types::{BlobId, ByteSize, CacheKey, Digest, Timestamp};

mod blobs;
mod check;
pub(crate) mod device;
mod evict;
pub(crate) mod head;
mod index;
mod meters;
mod now;
mod partials;
mod read;
pub(crate) mod record;
mod room;
mod scrub;
mod standby;
mod sweep;
mod tidy;
mod verify;
mod view;
mod writer;

pub use check::Damage;
pub use verify::{Damaged, Repair, Report, verify};

/// Most blobs whose being asked for is remembered until the next commit; more are forgotten.
const MOST_TOUCHED: usize = 1 << 16;

/// Settings of the store, `[store]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Memory for pages of the index. Default 64 MiB.
    pub index_cache: ByteSize,
    /// Most bytes of blobs; what nobody has asked for longest goes first. Default none: everything is kept for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<ByteSize>,
    /// Free space of the file system below which nothing new is kept, so that the index can always be written. Default 256 MiB.
    pub min_free: ByteSize,
    /// Interrupted transfers are forgotten after this time without progress. Default 7 days.
    #[serde(with = "humantime_serde")]
    pub partial_ttl: Duration,
    /// Time in which all blob directories are looked through for files that nothing names. Default 1 hour.
    #[serde(with = "humantime_serde")]
    pub sweep_round: Duration,
    /// Files of hot blobs held open. Default 256.
    pub open_files: u32,
    /// Bytes a second that are read again to see whether they are still right. Default 10 MiB; 0: none.
    pub scrub_rate: ByteSize,
    /// Time from the beginning of one round over all blobs to that of the next. Default 30 days.
    #[serde(with = "humantime_serde")]
    pub scrub_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            index_cache: ByteSize::mib(64),
            budget: None,
            min_free: ByteSize::mib(256),
            partial_ttl: Duration::from_secs(7 * 24 * 3600),
            sweep_round: Duration::from_secs(3600),
            open_files: 256,
            scrub_rate: ByteSize::mib(10),
            scrub_interval: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

/// The store on a disk.
#[derive(Debug)]
pub struct DiskStore {
    shared: Arc<Shared>,
    partials: Arc<Partials>,
    jobs: mpsc::Sender<Job>,
    /// Where its upkeep runs.
    tasks: TaskTracker,
    partial_ttl: Duration,
}

impl DiskStore {
    /// Opens the store in `directory`, making it if need be. `now` reads the wall clock. Needs a Tokio runtime: upkeep runs on `tasks`.
    ///
    /// Cancelling `stop` writes what is outstanding and closes the index; `tasks` is done after that. From then on commits are refused. A
    /// store that is dropped closes as well.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unusable`] when another process uses the directory or a newer program wrote it.
    pub fn open(
        directory: &Path,
        config: &Config,
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, StoreError> {
        let (mut store, writer) =
            Self::prepare(directory, config, Now(Arc::new(now)), Arc::new(Machine))?;
        store.tasks = tasks.clone();
        store.start(writer, config, tasks, stop)?;
        Ok(store)
    }

    /// Opens everything and starts nothing.
    fn prepare(
        directory: &Path,
        config: &Config,
        now: Now,
        device: Arc<dyn Device>,
    ) -> Result<(Self, Writer), StoreError> {
        let unusable = |error: std::io::Error| {
            StoreError::Unusable(format!("the data directory {}: {error}", directory.display()))
        };
        device::make_directories(&*device, directory).map_err(unusable)?;
        let index_cache = usize::try_from(config.index_cache.bytes()).unwrap_or(usize::MAX);
        // First, because its lock says whether the directory is ours.
        let database = index::open(directory, index_cache, &device)?;
        let buffers = Arc::new(Buffers::default());
        let partials_directory = directory.join("partials");
        device::make_directories(&*device, &partials_directory).map_err(unusable)?;
        let open_files = u64::from(config.open_files);
        let blobs = Blobs::prepare(directory, device.clone(), open_files, buffers.clone());
        let blobs = Arc::new(blobs.map_err(unusable)?);
        let budget = config.budget.map(ByteSize::bytes);
        let min_free = config.min_free.bytes();
        let room = Room::new(device.clone(), directory.to_owned(), budget, min_free);
        let shared = Arc::new(Shared {
            directory: directory.to_owned(),
            index_cache,
            counters: Mutex::new(index::counters(&database).map_err(StoreError::index)?),
            view: RwLock::new(Arc::new(View::of(&database).map_err(StoreError::index)?)),
            device: device.clone(),
            blobs: blobs.clone(),
            room: Arc::new(room),
            writable: AtomicBool::new(true),
            touched: Mutex::default(),
            suspects: Suspects::default(),
            evicted: AtomicU64::new(0),
            meters: Meters::new(),
            now: now.clone(),
        });
        shared.meters.show(shared.counters());
        let partials = Arc::new(Partials {
            directory: partials_directory,
            device,
            blobs,
            buffers,
            now,
            room: shared.room.clone(),
            filling: Mutex::default(),
        });
        let (jobs, queue) = mpsc::channel(writer::QUEUE);
        let writer = Writer {
            jobs: queue,
            database: Some(database),
            standby: None,
            shared: shared.clone(),
            last_touches: Instant::now(),
        };
        let (tasks, partial_ttl) = (TaskTracker::new(), config.partial_ttl);
        Ok((Self { shared, partials, jobs, tasks, partial_ttl }, writer))
    }

    /// Starts the writer's thread and the upkeep.
    fn start(
        &self,
        writer: Writer,
        config: &Config,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        // Whoever waits for the tasks waits for the index to be closed.
        let token = tasks.token();
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                writer.run();
                drop(token);
            })
            .map_err(|error| StoreError::io("start the writer's thread", error))?;
        tasks.spawn(writer::tend(self.jobs.downgrade(), self.shared.clone(), stop.clone()));
        tasks.spawn(self.sweeper(config, tasks).run(config.sweep_round, stop.clone()));
        tasks.spawn(self.scrubber(config, tasks).go_round(stop.clone()));
        tasks.spawn(self.scrubber(config, tasks).look_at_suspects(stop.clone()));
        if config.budget.is_some() {
            tasks.spawn(self.evictor(tasks).run(stop.clone()));
        }
        Ok(())
    }

    fn evictor(&self, tasks: &TaskTracker) -> Evictor {
        Evictor {
            shared: self.shared.clone(),
            jobs: self.jobs.downgrade(),
            tasks: tasks.clone(),
            hand: BlobId([0; 32]),
        }
    }

    fn scrubber(&self, config: &Config, tasks: &TaskTracker) -> Scrubber {
        Scrubber {
            shared: self.shared.clone(),
            buffers: self.partials.buffers.clone(),
            jobs: self.jobs.downgrade(),
            tasks: tasks.clone(),
            rate: config.scrub_rate.bytes(),
            interval: config.scrub_interval,
        }
    }

    fn sweeper(&self, config: &Config, tasks: &TaskTracker) -> Sweeper {
        Sweeper {
            shared: self.shared.clone(),
            partials: self.partials.clone(),
            jobs: self.jobs.downgrade(),
            tasks: tasks.clone(),
            partial_ttl: config.partial_ttl,
            shard: 0,
            key: String::new(),
        }
    }

    fn broom(&self) -> Broom {
        Broom {
            shared: self.shared.clone(),
            partials: self.partials.clone(),
            jobs: self.jobs.downgrade(),
            tasks: self.tasks.clone(),
            partial_ttl: self.partial_ttl,
        }
    }

    /// Leaves something for the writer to put right when it has time. What does not fit its queue is met again.
    fn heal(&self, job: Job) {
        let _ = self.jobs.try_send(job);
    }
}

impl Store for DiskStore {
    fn get(&self, key: &CacheKey) -> Result<Option<Arc<Entry>>, StoreError> {
        match self.shared.meters.get(|| self.shared.read(|view| view.get(key)))? {
            Found::Entry(entry) => Ok(Some(entry)),
            Found::Nothing => Ok(None),
            Found::Undecodable => {
                tracing::warn!(cache.key = %key, "a record cannot be read and is removed");
                self.heal(Job::Heal(key.clone()));
                Ok(None)
            }
        }
    }

    fn scan(
        &self,
        prefix: &str,
        after: Option<&CacheKey>,
        limit: usize,
    ) -> Result<Vec<CacheKey>, StoreError> {
        self.shared.read(|view| view.scan(prefix, after, limit))
    }

    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'static, Result<(), StoreError>> {
        if changes.is_empty() {
            return ready(Ok(())).boxed();
        }
        let steps = changes.into_iter().map(index::step).collect();
        let jobs = self.jobs.clone();
        async move {
            let (done, answer) = oneshot::channel();
            let sent = jobs.send(Job::Commit { steps, done }).await;
            sent.map_err(|_| StoreError::Refusing)?;
            answer.await.unwrap_or(Err(StoreError::Refusing))
        }
        .boxed()
    }

    fn touch(&self, blob: BlobId) {
        let mut touched = self.shared.touched();
        if touched.len() < MOST_TOUCHED {
            touched.insert(blob);
        }
    }

    fn open(&self, blob: BlobId) -> Result<Option<Arc<dyn ReadAt>>, StoreError> {
        match self.shared.blobs.open(blob)? {
            Some(reader) => Ok(Some(reader)),
            None => {
                self.heal(Job::Lost { blob, notes: Vec::new() });
                Ok(None)
            }
        }
    }

    fn resolve(&self, digest: &Digest) -> Result<Option<BlobId>, StoreError> {
        self.shared.read(|view| view.resolve(digest))
    }

    fn suspect(&self, blob: BlobId) -> BoxFuture<'static, ()> {
        let looked = self.shared.suspects.add(blob);
        async move {
            // Without an answer the store is being closed.
            let _ = looked.await;
        }
        .boxed()
    }

    fn partial(&self, key: &CacheKey) -> Result<Arc<dyn Partial>, StoreError> {
        Ok(self.partials.open(key)?)
    }

    fn is_pinned(&self, key: &CacheKey) -> Result<bool, StoreError> {
        self.shared.read(|view| view.is_pinned(key))
    }

    fn namers(&self, blob: BlobId) -> Result<usize, StoreError> {
        self.shared.read(|view| view.namers(blob))
    }

    fn release(&self, blobs: Vec<BlobId>) -> BoxFuture<'static, Result<Freed, StoreError>> {
        let broom = self.broom();
        async move { broom.release(blobs).await }.boxed()
    }

    fn tidy(&self, how: Tidy) -> BoxFuture<'static, Result<Tidied, StoreError>> {
        let (broom, evictor) = (self.broom(), self.evictor(&self.tasks));
        async move { broom.tidy(evictor, how).await }.boxed()
    }

    fn usage(&self) -> Usage {
        let counters = self.shared.counters();
        let index = fs::metadata(self.shared.directory.join(index::FILE));
        Usage {
            entries: counters.entries,
            blobs: counters.blobs,
            blob_bytes: counters.blob_bytes,
            // Blocks of 512 bytes whatever the file system's own are; the file is sparse.
            index_bytes: index.map_or(0, |metadata| metadata.blocks() * 512),
            budget_bytes: self.shared.room.budget(),
            evicted_blobs: self.shared.evicted.load(Ordering::Relaxed),
            checked_blobs: self.shared.suspects.checked.load(Ordering::Relaxed),
            damaged_blobs: self.shared.suspects.damaged.load(Ordering::Relaxed),
            writable: self.shared.is_writable(),
        }
    }
}

/// What the parts of a store have in common.
#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    index_cache: usize,
    device: Arc<dyn Device>,
    blobs: Arc<Blobs>,
    room: Arc<Room>,
    view: RwLock<Arc<View>>,
    counters: Mutex<Counters>,
    writable: AtomicBool,
    /// Blobs asked for since access times were last written.
    touched: Mutex<HashSet<BlobId>>,
    suspects: Suspects,
    evicted: AtomicU64,
    meters: Meters,
    now: Now,
}

impl Shared {
    /// Looks something up. A look-up that fails because the index is being reopened is made again.
    fn read<T>(
        &self,
        mut look: impl FnMut(&View) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let view = self.view();
        look(&view)
            .or_else(|error| {
                let newer = self.view();
                if Arc::ptr_eq(&view, &newer) { Err(error) } else { look(&newer) }
            })
            .map_err(StoreError::index)
    }

    fn view(&self) -> Arc<View> {
        // The lock guards one pointer, which is always whole.
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows the state after a commit to all who look from now on.
    fn show(&self, view: View, counters: Counters) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner) = counters;
        if self.room.budget().is_some_and(|budget| counters.blob_bytes > budget) {
            self.room.short.notify_one();
        }
    }

    fn counters(&self) -> Counters {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Acquire)
    }

    fn open_index(&self) -> Result<Database, StoreError> {
        index::open(&self.directory, self.index_cache, &self.device)
    }

    /// The index for reading alone, whatever its disk still does.
    fn open_standby(&self) -> Result<Database, StoreError> {
        let opened = standby::open(&self.directory.join(index::FILE), self.index_cache);
        opened.map_err(StoreError::index)
    }

    fn touched(&self) -> MutexGuard<'_, HashSet<BlobId>> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_touches(&self, most: usize) -> Vec<BlobId> {
        let mut touched = self.touched();
        let taken: Vec<BlobId> = touched.iter().take(most).copied().collect();
        for blob in &taken {
            touched.remove(blob);
        }
        taken
    }
}

#[cfg(test)]
pub(crate) mod tests;
