//! Decisions on disk: JSON, one a line, in two files of which the older goes when the newer is full.
//!
//! `decisions/now.jsonl` below the data directory is appended to; at half of what may be used it becomes `decisions/before.jsonl`. A line that a crash cut is
//! left out when it is read. Nothing waits for the disk: what comes faster than it can be written is counted and lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Record;

/// Decisions that may wait to be written.
const MOST_WAITING: usize = 8 << 10;

/// Decisions that are written at once.
const BATCH: usize = 1 << 10;

/// The longest line that is read.
const MOST_LINE_BYTES: u64 = 1 << 20;

/// The decisions that are written down. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Log {
    folder: PathBuf,
    /// Of both files.
    most_bytes: u64,
    waiting: mpsc::Sender<Arc<Record>>,
    /// Taken by who writes.
    queue: Arc<Mutex<Option<mpsc::Receiver<Arc<Record>>>>>,
}

impl Log {
    /// Below `data_dir`. `None` where nothing may be used.
    pub fn open(data_dir: &Path, most_bytes: u64) -> Option<Self> {
        if most_bytes == 0 {
            return None;
        }
        let (waiting, queue) = mpsc::channel(MOST_WAITING);
        let queue = Arc::new(Mutex::new(Some(queue)));
        Some(Self { folder: data_dir.join("decisions"), most_bytes, waiting, queue })
    }

    pub(super) fn add(&self, record: Arc<Record>) {
        if self.waiting.try_send(record).is_err() {
            metrics::counter!("larder_policy_records_lost_total").increment(1);
        }
    }

    /// Writes down what was added, until `stop` and everything added before it is written.
    pub(super) async fn write(self, stop: CancellationToken) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut queue) = queue else { return };
        let mut is_ending = false;
        loop {
            let mut batch = Vec::new();
            if is_ending {
                while let Ok(record) = queue.try_recv() {
                    batch.push(record);
                }
                if batch.is_empty() {
                    return;
                }
            } else {
                tokio::select! {
                    () = stop.cancelled() => { is_ending = true; continue }
                    count = queue.recv_many(&mut batch, BATCH) => if count == 0 { return },
                }
            }
            let (log, count) = (self.clone(), batch.len() as u64);
            let written = tokio::task::spawn_blocking(move || log.append(&batch)).await;
            if let Ok(Err(error)) = written {
                metrics::counter!("larder_policy_records_lost_total").increment(count);
                tracing::warn!(%error, "decisions could not be written down");
            }
        }
    }

    /// Writes them down, after what is there. Blocks.
    ///
    /// # Errors
    ///
    /// A folder or a file that cannot be written.
    pub fn append(&self, batch: &[Arc<Record>]) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let now = self.now();
        let length = fs::metadata(&now).map_or(0, |metadata| metadata.len());
        if length > self.most_bytes / 2 {
            fs::rename(&now, self.before())?;
        }
        let mut text = Vec::new();
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(&now)?;
        if ends_torn(&mut file)? {
            text.push(b'\n');
        }
        for record in batch {
            serde_json::to_writer(&mut text, record.as_ref())?;
            text.push(b'\n');
        }
        file.write_all(&text)
    }

    /// All of them, the oldest first. Blocks.
    pub fn records(&self) -> impl Iterator<Item = Record> + use<> {
        self.lines().filter_map(|line| serde_json::from_slice(&line).ok())
    }

    /// The newest decision of this name. Blocks.
    pub(super) fn find(&self, id: &str) -> Option<Record> {
        let named = format!("{{\"id\":\"{id}\"");
        let lines = self.lines().filter(|line| line.starts_with(named.as_bytes()));
        lines.last().and_then(|line| serde_json::from_slice(&line).ok())
    }

    fn lines(&self) -> impl Iterator<Item = Vec<u8>> + use<> {
        let files =
            [self.before(), self.now()].into_iter().filter_map(|path| File::open(path).ok());
        files.flat_map(|file| {
            let mut reader = BufReader::with_capacity(1 << 18, file);
            std::iter::from_fn(move || {
                let mut line = Vec::new();
                match reader.by_ref().take(MOST_LINE_BYTES).read_until(b'\n', &mut line) {
                    Ok(0) | Err(_) => None,
                    Ok(_) => Some(line),
                }
            })
        })
    }

    fn now(&self) -> PathBuf {
        self.folder.join("now.jsonl")
    }

    fn before(&self) -> PathBuf {
        self.folder.join("before.jsonl")
    }
}

/// Whether the last line was cut.
fn ends_torn(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Ecosystem, Facts, Point, Ruleset};
    use crate::types::Timestamp;

    fn record(name: &str) -> Arc<Record> {
        let facts = Facts::of(Ecosystem::PyPi, name.to_owned());
        let judged = Ruleset::default().judged(facts, Point::Content, Timestamp(1));
        Arc::new(Record::of(&judged, judged.id()))
    }

    fn subjects(log: &Log) -> Vec<String> {
        log.records().map(|record| record.subject).collect()
    }

    #[test]
    fn a_line_that_was_cut_is_left_out() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = Log::open(dir.path(), 1 << 20).expect("a log");
        log.append(&[record("a"), record("b")]).expect("written");
        let path = log.now();
        let whole = fs::read(&path).expect("read");
        fs::write(&path, &whole[..whole.len() - 9]).expect("written");
        log.append(&[record("c")]).expect("written");
        assert_eq!(subjects(&log), ["pypi:a", "pypi:c"]);
        assert_eq!(log.find(&record("c").id).map(|found| found.subject).as_deref(), Some("pypi:c"));
        assert_eq!(log.find("0000"), None);
    }

    #[test]
    fn no_more_is_used_than_may_be() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = Log::open(dir.path(), 4096).expect("a log");
        for round in 0..200 {
            log.append(&[record(&format!("p{round}"))]).expect("written");
        }
        let used: u64 = [log.now(), log.before()]
            .iter()
            .map(|path| fs::metadata(path).map_or(0, |data| data.len()))
            .sum();
        assert!(used < 4096 + 1024, "{used}");
        assert_eq!(subjects(&log).last().map(String::as_str), Some("pypi:p199"));
        assert!(Log::open(dir.path(), 0).is_none());
    }

    #[tokio::test]
    async fn what_was_added_before_the_end_is_written() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = Log::open(dir.path(), 1 << 20).expect("a log");
        (0..50).for_each(|round| log.add(record(&format!("p{round}"))));
        let stop = CancellationToken::new();
        stop.cancel();
        log.clone().write(stop).await;
        assert_eq!(subjects(&log).len(), 50);
    }
}
