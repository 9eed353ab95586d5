//! How long a start takes after `kill -9`, and whether that grows with what is kept.
//!
//! `cargo bench --bench restart [-- DIRECTORY [ENTRIES [ROUNDS]]]`: fills an index, then kills the real process while it writes new entries, starts
//! it again and measures from the process's beginning to the first answer with something kept before. The small index (1,000 entries) comes
//! first, the large one (1,000,000 unless told otherwise) in the same run. Instead of a number of entries there may be a folder that `store` has left.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode, header};
use larder::clock::Clock;
use larder::store::disk::{Config, DiskStore};
use larder::store::{Change, Entry, Store, Stored};
use larder::types::{Audience, BlobId, CacheKey, Head, Timestamp};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const SIZE: u64 = 1_234_567;
const BODY: &str = "what was kept";
/// How long entries are written before the process is killed.
const WRITING: Duration = Duration::from_millis(700);

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let root = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let large = arguments.next().unwrap_or_else(|| "1000000".to_owned());
    let rounds = arguments.next().map_or(10, |text| text.parse().expect("a number"));
    let origin = origin();
    for size in ["1000", &large] {
        let folder = tempfile::tempdir_in(&root).expect("a directory");
        let data = folder.path().join("data");
        match size.parse() {
            Ok(entries) => fill(&data, entries),
            Err(_) => std::os::unix::fs::symlink(size, &data).expect("a link can be made"),
        }
        let mut took: Vec<(Duration, u64)> =
            (0..rounds).map(|round| restart(folder.path(), &origin, round)).collect();
        took.sort_unstable();
        println!(
            "{size} entries: first answer after kill -9 in {:?} (median of {rounds}), {:?} at worst; {} MiB resident at most",
            took[took.len() / 2].0,
            took[took.len() - 1].0,
            took.iter().map(|(_, bytes)| bytes >> 20).max().unwrap_or(0),
        );
    }
}

/// Kills in the middle of writing, starts again; the time to the first answer, and the most memory that was resident before.
fn restart(folder: &Path, origin: &str, round: usize) -> (Duration, u64) {
    let (mut first, base) = start(folder, origin);
    assert_eq!(ask(&base, "/generic/origin/kept"), BODY);
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (base, stop) = (base.clone(), Arc::clone(&stop));
            thread::spawn(move || {
                let mut asked = 0;
                while !stop.load(Ordering::Relaxed)
                    && try_ask(&base, &format!("/generic/origin/{round}/{writer}/{asked}"))
                        .is_some()
                {
                    asked += 1;
                }
                asked
            })
        })
        .collect();
    thread::sleep(WRITING);
    let resident = resident_bytes(&first);
    end(&mut first);
    stop.store(true, Ordering::Relaxed);
    let written: usize = writers.into_iter().map(|writer| writer.join().expect("it ends")).sum();
    assert!(written > 0, "nothing was being written");

    let started = Instant::now();
    let (mut second, base) = start(folder, origin);
    assert_eq!(ask(&base, "/generic/origin/kept"), BODY);
    let took = started.elapsed();
    end(&mut second);
    (took, resident)
}

/// The most memory of a process that has been resident so far.
fn resident_bytes(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
    let status = status.expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

fn start(folder: &Path, origin: &str) -> (Child, String) {
    let file = folder.join("larder.toml");
    let settings = format!(
        "[log]\nfilter = \"error\"\n[generic.origin]\nupstream = \"{origin}\"\nkeep = true\n"
    );
    std::fs::write(&file, settings).expect("the folder can be written");
    let mut child = Command::new(env!("CARGO_BIN_EXE_larder"))
        .args(["serve", "--listen", "127.0.0.1:0", "--config"])
        .arg(&file)
        .arg("--data-dir")
        .arg(folder.join("data"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary can be run");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
        line.trim()
            .strip_prefix("listens on")
            .map(|rest| rest.trim().trim_end_matches('/').to_owned())
    });
    let base = address.expect("it says where it listens").replace("http://", "");
    (child, base)
}

fn end(child: &mut Child) {
    child.kill().and_then(|()| child.wait()).expect("it was running");
}

fn ask(base: &str, path: &str) -> String {
    try_ask(base, path).expect("an answer")
}

/// One request; `None` when the process is gone.
fn try_ask(base: &str, path: &str) -> Option<String> {
    let mut connection = TcpStream::connect(base).ok()?;
    write!(connection, "GET {path} HTTP/1.1\r\nHost: {base}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    Some(body.to_owned())
}

/// An origin on loopback that gives the same cacheable text at every address.
fn origin() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback can be listened on");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            thread::spawn(move || answer(connection));
        }
    });
    format!("http://{address}/")
}

fn answer(mut connection: TcpStream) {
    let mut head = String::from("HTTP/1.1 200 OK\r\nCache-Control: max-age=100000\r\n");
    write!(head, "Content-Length: {}\r\n\r\n{BODY}", BODY.len()).expect("a text takes text");
    let mut lines = BufReader::new(connection.try_clone().expect("a socket can be shared")).lines();
    while let Some(Ok(line)) = lines.next() {
        if line.is_empty() && connection.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

/// Entries as files of an index have them. Their bodies are empty space of the right length.
fn fill(directory: &Path, entries: usize) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        std::fs::create_dir_all(directory).expect("the folder can be made");
        let clock = Clock::system();
        let store =
            DiskStore::open(directory, &Config::default(), move || clock.now(), &tasks, &stop)
                .expect("it opens");
        for numbers in (0..entries).collect::<Vec<_>>().chunks(5_000) {
            numbers.iter().for_each(|number| body(directory, *number));
            let changes = numbers.iter().map(|number| change(*number)).collect();
            store.commit(changes).await.expect("it is kept");
        }
        println!(
            "{entries} entries: {} bytes of index each",
            store.usage().index_bytes / entries as u64
        );
        tasks.close();
        stop.cancel();
        tasks.wait().await;
    });
}

fn body(directory: &Path, number: usize) {
    let name = BlobId::of(&number.to_le_bytes()).to_hex();
    let path = directory.join("blobs").join(&name[..2]).join(name);
    File::create(path).and_then(|file| file.set_len(SIZE)).expect("there is room");
}

fn change(number: usize) -> Change {
    let mut head = Head::new(StatusCode::OK);
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    let now = Timestamp(1_795_000_000_000 + number as u64);
    let id = BlobId::of(&number.to_le_bytes());
    let entry = Entry { head, ..Entry::new(Stored::Blob { id, size: SIZE }, now) };
    let digits = id.to_hex();
    let name = format!(
        "file/packages/{}/{}/package-1.{number}.0-py3-none-any.whl",
        &digits[..2],
        &digits[2..]
    );
    Change::Put {
        key: CacheKey::new("pypi/default", &Audience::Public, &name),
        entry: Arc::new(entry),
    }
}
