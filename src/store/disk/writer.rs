//! The group committer: one thread that owns the index and makes every change to it.
//!
//! It takes whatever has gathered while the last commit was being synced, applies it in one transaction, and answers all callers after one
//! sync. So the cost of durability is shared by those who wait at the same time. Writers that have just been answered mostly come again at once: for them
//! it waits a moment, since the first of them alone would have a commit to itself and all others wait for that one. Adopting and removing blobs is decided here
//! too, in the same order as the rows that name them.
//!
//! When the index fails, those of the batch are refused, the index is reopened at once, and, until a commit works again, every few
//! seconds ([`tend`]). Reading goes on meanwhile.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use redb::Database;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::index::{self, Counters, Retire, Step, Tables};
use super::record::{META, VERSION};
use super::view::View;
use crate::store::StoreError;
use crate::types::{BlobId, CacheKey};

/// Jobs that may wait; more callers wait for their turn to wait.
pub(super) const QUEUE: usize = 4096;
/// Jobs of one commit.
const MOST_JOBS: usize = 1024;
/// As many jobs as the last commit had are waited for this long at most, and no longer than a quarter of what that commit took.
const MOST_PATIENCE: Duration = Duration::from_millis(2);
/// How often it is looked whether they are there.
const LOOK: Duration = Duration::from_micros(50);
/// Access times that ride along in one commit.
const MOST_TOUCHES: usize = 4096;
/// Access times ride along in a commit this long after the last time.
const TOUCH_INTERVAL: Duration = Duration::from_secs(5);
/// While nothing else is committed, access times are kept in memory this long.
const IDLE_FLUSH: Duration = Duration::from_secs(600);
/// A failed index is tried again after this time.
const REOPEN: Duration = Duration::from_secs(5);

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Job {
    Commit {
        steps: Vec<Step>,
        done: oneshot::Sender<Result<(), StoreError>>,
    },
    /// Removes blobs with all their rows, and says how many bytes went.
    Retire {
        blobs: Vec<BlobId>,
        why: Retire,
        done: oneshot::Sender<Retired>,
    },
    /// A record that could not be read.
    Heal(CacheKey),
    /// A blob whose file was not found: its rows go, and the notes are written in their place.
    Lost {
        blob: BlobId,
        notes: Vec<Step>,
    },
    /// A blob whose file, the one with this inode number, has other bytes: removes its rows, writes the notes in their place, and sets the file aside.
    /// False when it has been sealed anew meanwhile.
    Quarantine {
        blob: BlobId,
        inode: u64,
        notes: Vec<Step>,
        done: oneshot::Sender<bool>,
    },
    /// Keys that have no entry.
    Forget(Vec<String>),
    /// Writes access times now.
    Flush,
    Reopen,
    Close,
}

/// What a [`Job::Retire`] removed.
#[derive(Debug, Default)]
pub(super) struct Retired {
    pub(super) blobs: u64,
    pub(super) bytes: u64,
    /// Those that had to stay: pinned, named after all, or just sealed.
    pub(super) stayed: Vec<BlobId>,
}

pub(super) struct Writer {
    pub(super) jobs: mpsc::Receiver<Job>,
    pub(super) database: Option<Database>,
    /// What is read from while the index cannot be opened for writing.
    pub(super) standby: Option<Database>,
    pub(super) shared: Arc<Shared>,
    pub(super) last_touches: Instant,
}

impl Writer {
    /// Works until it is told to close or nobody can ask any more, then closes the index.
    pub(super) fn run(mut self) {
        let (mut expected, mut patience) = (1, Duration::ZERO);
        while let Some(job) = self.jobs.blocking_recv() {
            let batch = self.gather(job, expected, patience);
            let last = batch.iter().any(|job| matches!(job, Job::Close));
            let started = Instant::now();
            expected = batch.len();
            self.execute(batch);
            patience = (started.elapsed() / 4).min(MOST_PATIENCE);
            if last {
                break;
            }
        }
        self.execute(vec![Job::Flush]);
    }

    /// Takes what is there, and waits a moment while that is less than `expected`.
    fn gather(&mut self, first: Job, expected: usize, patience: Duration) -> Vec<Job> {
        let started = Instant::now();
        let mut batch = vec![first];
        loop {
            while batch.len() < MOST_JOBS
                && let Ok(job) = self.jobs.try_recv()
            {
                batch.push(job);
            }
            if batch.len() >= expected.min(MOST_JOBS) || started.elapsed() >= patience {
                return batch;
            }
            std::thread::sleep(LOOK);
        }
    }

    fn execute(&mut self, mut batch: Vec<Job>) {
        if batch.iter().any(|job| matches!(job, Job::Reopen)) {
            self.reopen();
        }
        let started = Instant::now();
        let outcome = match &self.database {
            Some(database) if self.shared.is_writable() => {
                let touches = self.shared.due_touches(&batch, self.last_touches);
                transact(database, &self.shared, &mut batch, touches)
            }
            _ => return batch.into_iter().for_each(refuse),
        };
        match outcome {
            Ok(outcome) => {
                if outcome.touched {
                    self.last_touches = started;
                }
                self.shared.meters.commit(batch.len(), started.elapsed(), outcome.counters);
                self.publish(outcome, batch);
            }
            Err(error) => {
                tracing::error!(error = %error, "the index failed and refuses writes until it is reopened");
                // First, so that whoever is refused can read what is kept.
                self.reopen();
                batch.into_iter().for_each(refuse);
            }
        }
    }

    /// Shows what is committed, then moves the files that nothing names any more, then answers.
    fn publish(&self, outcome: Outcome, batch: Vec<Job>) {
        let now = self.shared.now.get();
        if let Some(view) = outcome.view {
            self.shared.show(view, outcome.counters);
        }
        for blob in outcome.retired {
            if let Err(error) = self.shared.blobs.remove(blob, now) {
                tracing::warn!(blob = %blob, error = %error, "a blob is not removed; the sweep will try again");
            }
        }
        for blob in outcome.quarantined {
            if let Err(error) = self.shared.blobs.quarantine(blob, now) {
                tracing::warn!(blob = %blob, error = %error, "a damaged blob is not set aside");
            }
        }
        for (job, verdict) in batch.into_iter().zip(outcome.verdicts) {
            match (job, verdict) {
                (Job::Commit { done, steps }, Verdict::Done) => {
                    for step in steps {
                        if let Step::Put { links, .. } = step
                            && let Some((blob, _)) = links.blob
                        {
                            self.shared.blobs.named(blob);
                        }
                    }
                    // Who asked may have gone.
                    let _ = done.send(Ok(()));
                }
                (Job::Commit { done, .. }, Verdict::Missing(blob)) => {
                    let _ = done.send(Err(StoreError::BlobMissing(blob)));
                }
                (Job::Retire { done, .. }, Verdict::Retired(retired)) => {
                    let _ = done.send(retired);
                }
                (Job::Quarantine { done, .. }, Verdict::Quarantined(is_so)) => {
                    let _ = done.send(is_so);
                }
                _ => {}
            }
        }
    }

    /// Closes the index and opens it again. Writable only after a commit that worked.
    fn reopen(&mut self) {
        self.shared.writable.store(false, Ordering::Release);
        // Whoever looks something up meanwhile waits for the new view.
        let mut view = self.shared.view.write().unwrap_or_else(PoisonError::into_inner);
        for database in self.database.take().into_iter().chain(self.standby.take()) {
            // It has failed already; what matters is that the file is free again.
            let _ = database.close();
        }
        match self.shared.open_index().and_then(seen) {
            Ok((database, fresh)) => {
                *view = Arc::new(fresh);
                drop(view);
                match probe(&database) {
                    Ok(()) => {
                        self.shared.writable.store(true, Ordering::Release);
                        tracing::info!("the index takes writes again");
                    }
                    Err(error) => tracing::warn!(error = %error, "the index still fails"),
                }
                self.database = Some(database);
            }
            Err(error) => {
                tracing::warn!(error = %error, "the index cannot be reopened for writing");
                match self.shared.open_standby().and_then(seen) {
                    Ok((database, fresh)) => {
                        *view = Arc::new(fresh);
                        self.standby = Some(database);
                    }
                    Err(error) => tracing::error!(error = %error, "the index cannot be read"),
                }
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.writable.store(false, Ordering::Release);
        drop(self.standby.take());
        if let Some(database) = self.database.take()
            && let Err(error) = database.close()
        {
            tracing::warn!(error = %error, "the index is not closed cleanly");
        }
    }
}

/// Keeps the writer going: closes it when `stop` is cancelled, has a failed index reopened and idle access times written.
pub(super) async fn tend(
    jobs: mpsc::WeakSender<Job>,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    let mut reopen = tokio::time::interval(REOPEN);
    let mut flush = tokio::time::interval(IDLE_FLUSH);
    loop {
        let job = tokio::select! {
            () = stop.cancelled() => Job::Close,
            _ = reopen.tick() => if shared.is_writable() { continue } else { Job::Reopen },
            _ = flush.tick() => Job::Flush,
        };
        let last = matches!(job, Job::Close);
        let Some(jobs) = jobs.upgrade() else { return };
        if jobs.send(job).await.is_err() || last {
            return;
        }
    }
}

/// What a committed batch leaves to be done.
struct Outcome {
    counters: Counters,
    /// `None` when nothing changed.
    view: Option<View>,
    retired: HashSet<BlobId>,
    quarantined: HashSet<BlobId>,
    verdicts: Vec<Verdict>,
    touched: bool,
}

enum Verdict {
    Done,
    Missing(BlobId),
    Retired(Retired),
    Quarantined(bool),
}

/// Applies a batch in one transaction and commits it.
fn transact(
    database: &Database,
    shared: &Shared,
    batch: &mut [Job],
    touches: Vec<BlobId>,
) -> Result<Outcome, redb::Error> {
    let transaction = index::begin(database)?;
    let tables = Tables::open(&transaction, shared.now.get())?;
    let (retired, quarantined) = (HashSet::new(), HashSet::new());
    let work = Work { tables, shared, retired, quarantined, changed: false };
    let (mut outcome, changed) = work.apply(batch, touches)?;
    if changed {
        transaction.commit()?;
        outcome.view = Some(View::of(database)?);
    } else {
        transaction.abort()?;
    }
    Ok(outcome)
}

/// A transaction under way.
struct Work<'t> {
    tables: Tables<'t>,
    shared: &'t Shared,
    /// Blobs whose file goes after the commit.
    retired: HashSet<BlobId>,
    /// Blobs whose file is set aside after the commit.
    quarantined: HashSet<BlobId>,
    changed: bool,
}

impl Work<'_> {
    /// Does everything, and says what is to be done after the commit and whether there is anything to commit.
    fn apply(
        mut self,
        batch: &mut [Job],
        touches: Vec<BlobId>,
    ) -> Result<(Outcome, bool), redb::Error> {
        let touched = !touches.is_empty();
        for blob in touches {
            self.changed |= self.tables.touch(blob)?;
        }
        let verdicts = batch.iter_mut().map(|job| self.run(job)).collect::<Result<_, _>>()?;
        let counters = self.tables.close()?;
        let Self { retired, quarantined, changed, .. } = self;
        let outcome = Outcome { counters, view: None, retired, quarantined, verdicts, touched };
        Ok((outcome, changed))
    }

    fn run(&mut self, job: &mut Job) -> Result<Verdict, redb::Error> {
        match job {
            Job::Commit { steps, .. } => return self.commit(steps),
            Job::Retire { blobs, why, .. } => {
                let mut sum = Retired::default();
                for blob in blobs {
                    match self.retire(*blob, *why)? {
                        Some(bytes) => {
                            sum.blobs += 1;
                            sum.bytes += bytes;
                        }
                        None => sum.stayed.push(*blob),
                    }
                }
                return Ok(Verdict::Retired(sum));
            }
            Job::Heal(key) => {
                self.changed = true;
                self.tables.heal(key.as_str())?;
            }
            Job::Lost { blob, notes } => {
                if self.retire(*blob, Retire::Lost)?.is_some() {
                    self.write_notes(notes)?;
                }
            }
            Job::Quarantine { blob, inode, notes, .. } => {
                let is_set_aside = self.quarantine(*blob, *inode)?;
                if is_set_aside {
                    self.write_notes(notes)?;
                }
                return Ok(Verdict::Quarantined(is_set_aside));
            }
            Job::Forget(keys) => {
                self.changed = true;
                for key in keys {
                    self.tables.forget(key)?;
                }
            }
            Job::Flush | Job::Reopen | Job::Close => {}
        }
        Ok(Verdict::Done)
    }

    fn commit(&mut self, steps: &mut [Step]) -> Result<Verdict, redb::Error> {
        for step in &*steps {
            if let Step::Put { links, .. } = step
                && let Some((blob, size)) = links.blob
                && !(self.shared.blobs.length(blob) == Some(size) && self.is_lasting(blob)?)
            {
                return Ok(Verdict::Missing(blob));
            }
        }
        for step in steps {
            if let Step::Put { links, .. } = step
                && let Some((blob, _)) = links.blob
            {
                // Its file is still there, so it can stay.
                self.retired.remove(&blob);
                self.quarantined.remove(&blob);
            }
            self.changed = true;
            self.tables.apply(step)?;
        }
        Ok(Verdict::Done)
    }

    /// Whether the name of a blob's file outlives a power loss. Those of sealed and of named blobs do; that of one which a killed process
    /// left behind is made to.
    fn is_lasting(&self, blob: BlobId) -> Result<bool, redb::Error> {
        let blobs = &self.shared.blobs;
        Ok(blobs.is_awaited(blob, self.shared.now.get())
            || self.tables.is_referred_to(blob)?
            || blobs.sync_name(blob).is_ok())
    }

    fn quarantine(&mut self, blob: BlobId, inode: u64) -> Result<bool, redb::Error> {
        let blobs = &self.shared.blobs;
        if blobs.inode(blob) != Some(inode) || blobs.is_awaited(blob, self.shared.now.get()) {
            return Ok(false);
        }
        self.tables.retire(blob, blobs.length(blob).unwrap_or(0), Retire::Lost)?;
        self.changed = true;
        self.quarantined.insert(blob);
        Ok(true)
    }

    /// Writes down what is lost with the rows that have just been removed.
    fn write_notes(&mut self, notes: &mut [Step]) -> Result<(), redb::Error> {
        notes.iter_mut().try_for_each(|note| self.tables.apply(note))
    }

    fn retire(&mut self, blob: BlobId, why: Retire) -> Result<Option<u64>, redb::Error> {
        let length = self.shared.blobs.length(blob);
        let stays = match why {
            Retire::Evict | Retire::Sweep => {
                self.shared.blobs.is_awaited(blob, self.shared.now.get())
            }
            // It was sealed again since somebody missed it.
            Retire::Lost => length.is_some(),
        };
        if stays {
            return Ok(None);
        }
        let freed = self.tables.retire(blob, length.unwrap_or(0), why)?;
        if freed.is_some() {
            self.changed = true;
            self.retired.insert(blob);
        }
        Ok(freed)
    }
}

fn refuse(job: Job) {
    if let Job::Commit { done, .. } = job {
        // Who asked may have gone.
        let _ = done.send(Err(StoreError::Refusing));
    }
}

/// A database and what can be looked up in it.
fn seen(database: Database) -> Result<(Database, View), StoreError> {
    let view = View::of(&database).map_err(StoreError::index)?;
    Ok((database, view))
}

/// A durable commit that changes nothing.
fn probe(database: &Database) -> Result<(), redb::Error> {
    let transaction = index::begin(database)?;
    transaction.open_table(META)?.insert("version", VERSION)?;
    Ok(transaction.commit()?)
}

impl Shared {
    /// Access times that are to ride along with `batch`.
    fn due_touches(&self, batch: &[Job], last: Instant) -> Vec<BlobId> {
        let asked = batch.iter().any(|job| matches!(job, Job::Flush | Job::Close));
        if asked || last.elapsed() >= TOUCH_INTERVAL {
            self.take_touches(MOST_TOUCHES)
        } else {
            Vec::new()
        }
    }
}
