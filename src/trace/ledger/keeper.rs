//! The task that writes down what witnesses say.
//!
//! Whoever tells never waits: events go into a bounded queue, and what finds it full is counted. While the disk takes nothing the same events are tried again and
//! again, and the queue fills up meanwhile. How many were lost, and why, is a record of its own as soon as there can be one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::files::{Damage, Files};
use super::head::Head;
use crate::cache::witness::Witness;
use crate::clock::Clock;
use crate::types::event::Kind;
use crate::types::{Event, What};

/// Where events come from that are the ledger's own.
const MOUNT: &str = "larder";

/// What they are about.
const SUBJECT: &str = "larder:ledger";

/// Events that are written at once.
const MOST_EVENTS: usize = 4096;

/// Pauses between attempts while the disk takes nothing.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Events that were told together, and who waits for them.
#[derive(Debug)]
pub(super) struct Batch {
    events: Vec<Event>,
    /// Dropped when they are durable, or the disk takes nothing.
    done: oneshot::Sender<()>,
}

/// Whoever is told, for the ledger. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Scribe {
    batches: mpsc::Sender<Batch>,
    lost: Arc<AtomicU64>,
}

impl Scribe {
    pub(super) fn new(batches: mpsc::Sender<Batch>) -> Self {
        Self { batches, lost: Arc::default() }
    }

    pub(super) fn lost(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.lost)
    }
}

impl Witness for Scribe {
    fn witness(&self, events: Vec<Event>) -> BoxFuture<'static, ()> {
        for event in &events {
            metrics::counter!("larder_events_total", "kind" => event.what.kind.name()).increment(1);
        }
        let (done, is_done) = oneshot::channel();
        let many = events.len() as u64;
        if self.batches.try_send(Batch { events, done }).is_err() {
            self.lost.fetch_add(many, Ordering::Relaxed);
            metrics::counter!("larder_ledger_lost_total").increment(many);
        }
        is_done.map(drop).boxed()
    }
}

/// The task.
pub(super) struct Keeper {
    /// Away while it is written to.
    files: Option<Files>,
    heads: watch::Sender<Arc<Head>>,
    batches: mpsc::Receiver<Batch>,
    lost: Arc<AtomicU64>,
    clock: Clock,
}

impl Keeper {
    pub(super) fn new(
        files: Files,
        heads: watch::Sender<Arc<Head>>,
        batches: mpsc::Receiver<Batch>,
        lost: Arc<AtomicU64>,
        clock: Clock,
    ) -> Self {
        Self { files: Some(files), heads, batches, lost, clock }
    }

    /// Writes until `stop` is cancelled, then what was told before that.
    pub(super) async fn run(mut self, damage: Option<Damage>, stop: CancellationToken) {
        if let Some(Damage { told }) = damage {
            tracing::error!(ledger.fault = %told, "the ledger was not as it should be; a new one is begun");
            let gap = vec![self.gap(told)];
            self.write(gap, Vec::new(), &stop).await;
        }
        while let Some(first) = self.next(&stop).await {
            let Batch { mut events, done } = first;
            let mut waiting = vec![done];
            while events.len() < MOST_EVENTS
                && let Ok(Batch { events: mut more, done }) = self.batches.try_recv()
            {
                events.append(&mut more);
                waiting.push(done);
            }
            let lost = self.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                let told =
                    format!("{lost} events were lost: they came faster than the disk took them");
                events.insert(0, self.gap(told));
            }
            self.write(events, waiting, &stop).await;
        }
    }

    /// The next batch; after `stop` only what is there already.
    async fn next(&mut self, stop: &CancellationToken) -> Option<Batch> {
        tokio::select! {
            biased;
            batch = self.batches.recv() => batch,
            () = stop.cancelled() => self.batches.try_recv().ok(),
        }
    }

    /// Writes events, as often as it takes; once we are to stop, one last time. Who waits for them waits for the first attempt: a disk that takes nothing
    /// must not hold up anybody.
    async fn write(
        &mut self,
        mut events: Vec<Event>,
        mut waiting: Vec<oneshot::Sender<()>>,
        stop: &CancellationToken,
    ) {
        let mut pause = FIRST_PAUSE;
        loop {
            let is_last = stop.is_cancelled();
            let (left, appended) = self.append(events).await;
            events = left;
            waiting.clear();
            let Err(error) = appended else { return };
            metrics::counter!("larder_ledger_failures_total").increment(1);
            if is_last {
                tracing::error!(%error, ledger.lost = events.len(), "the last events could not be written down");
                return;
            }
            tracing::error!(%error, ledger.waiting = events.len(), "events cannot be written down; they wait");
            let _ = tokio::time::timeout(pause, stop.cancelled()).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// One attempt, off the async workers. What is left of the events has not become durable.
    async fn append(&mut self, mut events: Vec<Event>) -> (Vec<Event>, io::Result<()>) {
        let mut files = self.files.take().expect("it is put back after each attempt");
        let appending = tokio::task::spawn_blocking(move || {
            let appended = files.append(&mut events);
            (files, events, appended)
        });
        match appending.await {
            Ok((files, left, appended)) => {
                self.heads.send_replace(Arc::new(files.head().clone()));
                metrics::gauge!("larder_ledger_records").set(files.head().frontier.size() as f64);
                self.files = Some(files);
                (left, appended)
            }
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    fn gap(&self, told: String) -> Event {
        What::new(Kind::Gap, SUBJECT).detail(told).at(self.clock.now(), MOUNT)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use futures_util::future::join_all;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::clock::until;
    use crate::store::disk::tests::simulated::{Disk, Failure};
    use crate::trace::ledger::{Ledger, View};
    use crate::trace::record::Record;
    use crate::types::Timestamp;

    fn event(number: u64) -> Event {
        What::new(Kind::Moved, format!("thing:{number}")).at(Timestamp(number), "test")
    }

    /// Every record's subject, or what a gap says.
    fn told(view: &View) -> Vec<String> {
        let mut told = Vec::new();
        let mut read = |_: u64, line: &[u8]| {
            let record: Record = serde_json::from_slice(line).expect("a record");
            told.push(record.detail.unwrap_or(record.subject));
            std::ops::ControlFlow::Continue(())
        };
        view.lines(0..u64::MAX, &mut read).expect("it reads");
        told
    }

    struct Bench {
        disk: Disk,
        ledger: Ledger,
        scribe: Scribe,
        tasks: TaskTracker,
        stop: CancellationToken,
    }

    fn bench(root: &Path, queue: usize) -> Bench {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let disk = Disk::over(root, 1);
        let clock = Clock::manual(Timestamp(7));
        let device = Arc::new(disk.clone());
        let opened = Ledger::open_on(device, &root.join("ledger"), queue, clock, &tasks, &stop);
        let (ledger, scribe) = opened.expect("it opens");
        Bench { disk, ledger, scribe, tasks, stop }
    }

    impl Bench {
        async fn end(self) -> Vec<String> {
            self.stop.cancel();
            self.tasks.close();
            self.tasks.wait().await;
            told(&self.ledger.view())
        }
    }

    #[tokio::test]
    async fn what_was_told_is_written_in_order_and_is_durable_when_it_says_so() {
        let root = tempfile::tempdir().expect("there is room");
        let bench = bench(root.path(), 100);
        join_all((0..50).map(|number| bench.scribe.witness(vec![event(number)]))).await;
        let expected: Vec<String> = (0..50).map(|number| format!("thing:{number}")).collect();
        assert_eq!(told(&bench.ledger.view()), expected);
        // Nobody waits for these; they are written before the end all the same.
        drop(bench.scribe.witness(vec![event(50), event(51)]));
        let all = bench.end().await;
        assert_eq!(all[50..], ["thing:50", "thing:51"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_takes_nothing_for_a_while_loses_only_what_is_recorded_as_lost() {
        let root = tempfile::tempdir().expect("there is room");
        let bench = bench(root.path(), 2);
        bench.scribe.witness(vec![event(0)]).await;
        bench.disk.fail(bench.disk.calls(), u64::MAX, Failure::Full);
        let stuck = bench.tasks.spawn(bench.scribe.witness(vec![event(1)]));
        // Until the writer has taken it and failed, the queue's two places are one.
        let has_failed = || bench.scribe.batches.capacity() == 2;
        until("the writer has failed", has_failed).await;
        let waiting: Vec<_> =
            (2..9).map(|number| bench.scribe.witness(vec![event(number)])).collect();
        bench.disk.heal();
        stuck.await.expect("it is written in the end");
        join_all(waiting).await;
        bench.scribe.witness(vec![event(9)]).await;
        let all = bench.end().await;
        let gap = "5 events were lost: they came faster than the disk took them";
        assert_eq!(all, ["thing:0", "thing:1", gap, "thing:2", "thing:3", "thing:9"]);
    }

    #[tokio::test]
    async fn a_disk_that_is_gone_does_not_keep_the_process_from_ending() {
        let root = tempfile::tempdir().expect("there is room");
        let bench = bench(root.path(), 8);
        bench.scribe.witness(vec![event(0)]).await;
        bench.disk.fail(bench.disk.calls(), u64::MAX, Failure::Error);
        drop(bench.scribe.witness(vec![event(1)]));
        assert_eq!(bench.end().await, ["thing:0"]);
    }
}
