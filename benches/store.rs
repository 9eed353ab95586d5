//! What the disk store costs: bytes of index per artifact, time of a look-up, commits a second, memory.
//!
//! `cargo bench --bench store [-- DIRECTORY [ENTRIES [KEEP]]]` prints one line per figure. The directory should be on the disk in question; the
//! figures of commits are those of its syncs. Bodies are empty files of the right length, in memory and only until their entry is committed: only the index is
//! measured here. `KEEP` is a folder that gets the data directory in the end, for `restart`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode, header};
use larder::clock::Clock;
use larder::store::disk::{Config, DiskStore};
use larder::store::{Change, Entry, Store, Stored};
use larder::types::{Audience, BlobId, CacheKey, Head, Timestamp};
use redb::{Database, TableDefinition};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const SIZE: u64 = 1_234_567;
const WRITERS: usize = 64;
const COMMITS_EACH: usize = 100;
/// Entries of one commit while the index is filled.
const BATCH: usize = 1_000;
const LOOK_UPS: usize = 200_000;
/// So many keys are asked for over and over.
const HOT: usize = 10_000;
/// Length of a small object, which lives in the index.
const SMALL: usize = 1 << 10;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let root = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let entries = arguments.next().map_or(100_000, |text| text.parse().expect("a number"));
    let keep = arguments.next().map(PathBuf::from);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir_in(root).expect("a directory");
    let bodies = tempfile::tempdir_in("/dev/shm").expect("a file system in memory");
    std::os::unix::fs::symlink(bodies.path(), directory.path().join("blobs")).expect("a link");
    let acknowledged = runtime.block_on(store(directory.path(), entries));
    let raw = raw(directory.path(), entries);
    println!("writers together, against raw group commit: {:.2} x", acknowledged / raw);
    if let Some(keep) = keep {
        std::fs::create_dir_all(&keep).expect("the folder can be made");
        let (from, to) = (directory.path().join("index.redb"), keep.join("index.redb"));
        std::fs::rename(&from, &to).expect("it is on the same disk");
    }
}

/// Fills a store and measures it. Commits a second of many writers.
async fn store(directory: &Path, count: usize) -> f64 {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let open = || {
        let clock = Clock::system();
        let config = Config::default();
        DiskStore::open(directory, &config, move || clock.now(), &tasks, &stop)
    };
    let store = Arc::new(open().expect("it opens"));
    println!("entries {count}, keys of {} bytes", key(count / 2).as_str().len());

    let started = Instant::now();
    for first in (0..count).step_by(BATCH) {
        let numbers = first..count.min(first + BATCH);
        let files: Vec<PathBuf> = numbers.clone().map(|number| body(directory, number)).collect();
        let changes = numbers.map(change).collect();
        store.commit(changes).await.expect("it is kept");
        files.iter().for_each(|file| std::fs::remove_file(file).expect("it is there"));
    }
    println!("puts of {BATCH} a commit: {:.0}/s", count as f64 / started.elapsed().as_secs_f64());
    println!("index bytes per entry: {}", store.usage().index_bytes / count as u64);

    look_up(&*store, "any, first", count, count);
    look_up(&*store, "any, again", count, count);
    look_up(&*store, "hot", count, HOT.min(count));
    println!("resident after that: {} MiB", resident_bytes() >> 20);
    let rate = commit_together(&store).await;
    println!("resident after that: {} MiB", resident_bytes() >> 20);
    drop(store);
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    rate
}

/// Looks up `among` keys of `count` in a scattered order.
fn look_up(store: &dyn Store, what: &str, count: usize, among: usize) {
    let stride = count / among;
    let mut took: Vec<Duration> = (0..LOOK_UPS as u64)
        .map(|number| {
            let key = key(scatter(number) as usize % among * stride);
            let started = Instant::now();
            assert!(store.get(&key).expect("it is read").is_some());
            started.elapsed()
        })
        .collect();
    println!("get, {what}: {}", quantiles(&mut took));
}

async fn commit_together(store: &Arc<DiskStore>) -> f64 {
    let started = Instant::now();
    let tasks = TaskTracker::new();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tasks.spawn(async move {
                let mut took = Vec::new();
                for number in 0..COMMITS_EACH {
                    let change = small(writer * COMMITS_EACH + number);
                    let started = Instant::now();
                    store.commit(vec![change]).await.expect("it is kept");
                    took.push(started.elapsed());
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for writer in writers {
        took.extend(writer.await.expect("no writer panics"));
    }
    let rate = took.len() as f64 / started.elapsed().as_secs_f64();
    println!("commits of {WRITERS} writers: {rate:.0}/s, {}", quantiles(&mut took));
    rate
}

/// The same disk and library without the store: one table of as many rows, then one small object a commit, then 64 of them. Objects a
/// second of the latter.
fn raw(directory: &Path, filled: usize) -> f64 {
    const ROWS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("rows");
    let mut builder = Database::builder();
    let cache = usize::try_from(Config::default().index_cache.bytes()).expect("it fits");
    let database = builder.set_cache_size(cache).create(directory.join("raw.redb"));
    let database = database.expect("it opens");
    let commit = |rows: &mut dyn Iterator<Item = (String, usize)>| {
        let mut transaction = database.begin_write().expect("nobody else writes");
        transaction.set_quick_repair(true);
        let mut table = transaction.open_table(ROWS).expect("it opens");
        for (key, length) in rows {
            table.insert(key.as_str(), vec![7; length].as_slice()).expect("there is room");
        }
        drop(table);
        transaction.commit().expect("there is room");
    };
    // In order, which is quick; what comes then comes in between.
    let length = key(0).as_str().len() - 16;
    let step = u64::MAX / filled as u64;
    let row = |at: u64| format!("{at:016x}{:0length$}", 0);
    for first in (0..filled).step_by(100_000) {
        let numbers = first..filled.min(first + 100_000);
        commit(&mut numbers.map(|number| (row(number as u64 * step), 110)));
    }
    let mut next = 0_u64;
    let mut fresh = || {
        next += 1;
        (row(next.wrapping_mul(0x9e37_79b9_7f4a_7c15)), SMALL + 110)
    };
    let mut rate = 0.0;
    for (rows, commits) in [(1, 300), (WRITERS, COMMITS_EACH)] {
        let started = Instant::now();
        for _ in 0..commits {
            commit(&mut (0..rows).map(|_| fresh()));
        }
        rate = (rows * commits) as f64 / started.elapsed().as_secs_f64();
        println!("raw redb, {rows} rows a commit: {rate:.0} rows/s");
    }
    rate
}

/// A small object under a key of its own.
fn small(number: usize) -> Change {
    let digits = BlobId::of(&(number as u64 | 1 << 40).to_le_bytes()).to_hex();
    let Change::Put { entry, .. } = change(number) else { unreachable!("it is a put") };
    let mut entry = Entry::clone(&entry);
    entry.body = Stored::Inline(vec![7; SMALL].into());
    let name = format!("file/packages/{digits}/small_{number}-1.0-py3-none-any.whl.metadata");
    let key = CacheKey::new("pypi/default", &Audience::Public, &name);
    Change::Put { key, entry: Arc::new(entry) }
}

/// Memory of this process that is resident.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

/// Like the address of a file in a package index: random digits, then a name.
fn key(number: usize) -> CacheKey {
    let digits = blob(number).to_hex();
    let (shard, rest) = digits.split_at(4);
    let name = format!(
        "file/packages/{}/{}/{rest}/package_{}-1.{}.0-py3-none-any.whl",
        &shard[..2],
        &shard[2..],
        number / 20,
        number % 20,
    );
    CacheKey::new("pypi/default", &Audience::Public, &name)
}

fn change(number: usize) -> Change {
    let mut head = Head::new(StatusCode::OK);
    let tag = format!("\"{}\"", &blob(number).to_hex()[..32]);
    let modified = Timestamp::from_secs(1_700_000_000 + number as u64).to_http_date();
    for (name, value) in [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::ETAG, &tag),
        (header::LAST_MODIFIED, &modified),
        (header::CACHE_CONTROL, "max-age=365000000, immutable, public"),
        (header::ACCEPT_RANGES, "bytes"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        head.headers.append(name, HeaderValue::from_str(value).expect("a field value"));
    }
    let now = Timestamp(1_795_000_000_000 + number as u64);
    let entry = Entry { head, ..Entry::new(Stored::Blob { id: blob(number), size: SIZE }, now) };
    Change::Put { key: key(number), entry: Arc::new(entry) }
}

fn blob(number: usize) -> BlobId {
    BlobId::of(&number.to_le_bytes())
}

fn body(directory: &Path, number: usize) -> PathBuf {
    let name = blob(number).to_hex();
    let path = directory.join("blobs").join(&name[..2]).join(name);
    File::create(&path).and_then(|file| file.set_len(SIZE)).expect("there is room");
    path
}

/// A fixed order that looks random.
fn scatter(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}

fn quantiles(took: &mut [Duration]) -> String {
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    format!("p50 {:?}, p99 {:?}, worst {:?}", at(0.5), at(0.99), at(1.0))
}
