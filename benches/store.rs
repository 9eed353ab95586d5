//! What the disk store costs: bytes of index per artifact, time of a look-up, commits a second.
//!
//! `cargo bench --bench store [-- DIRECTORY [ENTRIES]]` prints one line per figure. The directory should be on the disk in question; the
//! figures of commits are those of its syncs. Bodies are empty space of the right length: only the index is measured here.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use larder::clock::Clock;
use larder::store::disk::{Config, DiskStore};
use larder::store::{Change, Entry, Store, Stored};
use larder::types::{Audience, BlobId, CacheKey, Head, Presence, Timestamp};
use redb::{Database, TableDefinition};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const SIZE: u64 = 1_234_567;
const WRITERS: usize = 64;
const COMMITS_EACH: usize = 40;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let root = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let entries = arguments.next().map_or(100_000, |text| text.parse().expect("a number"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir_in(root).expect("a directory");
    runtime.block_on(store(directory.path(), entries));
    raw(directory.path(), entries);
}

async fn store(directory: &Path, count: usize) {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let open = || {
        let clock = Clock::system();
        let config = Config::default();
        DiskStore::open(directory, &config, move || clock.now(), &tasks, &stop)
    };
    let store = Arc::new(open().expect("it opens"));
    let keys: Vec<CacheKey> = (0..count).map(key).collect();
    let length: usize = keys.iter().map(|key| key.as_str().len()).sum();
    println!("entries {count}, keys of {} bytes", length / count);

    for number in 0..count {
        body(directory, number);
    }
    let started = Instant::now();
    for numbers in (0..count).collect::<Vec<_>>().chunks(100) {
        let changes = numbers.iter().map(|number| change(*number)).collect();
        store.commit(changes).await.expect("it is kept");
    }
    println!("puts of 100 a commit: {:.0}/s", count as f64 / started.elapsed().as_secs_f64());
    println!("index bytes per entry: {}", store.usage().index_bytes / count as u64);

    look_up(&*store, &keys);
    commit_together(&store, directory, count).await;
}

fn look_up(store: &dyn Store, keys: &[CacheKey]) {
    for round in ["cold", "warm"] {
        let mut took: Vec<Duration> = (0..50_000)
            .map(|number| {
                let key = &keys[scatter(number) as usize % keys.len()];
                let started = Instant::now();
                assert!(store.get(key).expect("it is read").is_some());
                started.elapsed()
            })
            .collect();
        println!("get, {round}: {}", quantiles(&mut took));
    }
}

async fn commit_together(store: &Arc<DiskStore>, directory: &Path, first: usize) {
    for number in 0..WRITERS * COMMITS_EACH {
        body(directory, first + number);
    }
    let started = Instant::now();
    let tasks = TaskTracker::new();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tasks.spawn(async move {
                let mut took = Vec::new();
                for number in 0..COMMITS_EACH {
                    let change = change(first + writer * COMMITS_EACH + number);
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
}

/// The same disk and library without the store: one table of as many rows, then one row a commit, then 64 rows a commit.
fn raw(directory: &Path, filled: usize) {
    const ROWS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("rows");
    let database = Database::create(directory.join("raw.redb")).expect("it opens");
    let mut next = 0;
    let mut commit = |rows| {
        let mut transaction = database.begin_write().expect("nobody else writes");
        transaction.set_quick_repair(true);
        let mut table = transaction.open_table(ROWS).expect("it opens");
        for row in next..next + rows {
            table.insert(key(row).as_str(), [7; 110].as_slice()).expect("there is room");
        }
        next += rows;
        drop(table);
        transaction.commit().expect("there is room");
    };
    commit(filled);
    for (rows, commits) in [(1, 300), (WRITERS, COMMITS_EACH)] {
        let started = Instant::now();
        (0..commits).for_each(|_| commit(rows));
        let rate = (rows * commits) as f64 / started.elapsed().as_secs_f64();
        println!("raw redb, {rows} rows a commit: {rate:.0} rows/s");
    }
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
    let entry = Entry {
        head,
        body: Stored::Blob { id: blob(number), size: SIZE },
        origin: None,
        first_kept: now,
        validated: now,
        fresh_until: Timestamp::NEVER,
        presence: Presence::Present,
        digests: Vec::new(),
        note: Bytes::new(),
    };
    Change::Put { key: key(number), entry: Arc::new(entry) }
}

fn blob(number: usize) -> BlobId {
    BlobId::of(&number.to_le_bytes())
}

fn body(directory: &Path, number: usize) {
    let name = blob(number).to_hex();
    let path = directory.join("blobs").join(&name[..2]).join(name);
    File::create(path).and_then(|file| file.set_len(SIZE)).expect("there is room");
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
