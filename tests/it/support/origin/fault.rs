//! What can go wrong at an origin, and the switchboard that says where it does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};
use tokio::sync::watch;

use super::answer::{Answer, Content};

/// One way of answering badly.
#[derive(Clone)]
pub enum Fault {
    /// Something else than what was asked for.
    Instead(Answer),
    /// The request is read, and then nothing, until the connection is closed.
    Silence,
    /// The body comes one byte at a time.
    Drip(Duration),
    /// The announced length is right; after this many bytes the connection is closed.
    Cut { after: u64, how: Cut },
    /// Sent in chunks; after this many bytes the connection is closed without the last chunk.
    ChunkedCut { after: u64 },
    /// The right length, one bit of the last byte flipped.
    Corrupt,
    /// This many bytes more than `Content-Length` announces.
    Longer(usize),
    /// This many bytes more or fewer than there should be, and a length that says so.
    Resized(i64),
    /// These bytes in place of an answer, and then the end of the connection.
    Raw(Bytes),
    /// Waits for the gate after this many bytes of the body; with `None` before the head.
    Wait(Option<u64>, Gate),
}

/// How a connection ends in mid-body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// An orderly end of the stream.
    Close,
    /// A reset: what was in flight is lost.
    Reset,
}

impl Fault {
    pub fn status(status: u16) -> Self {
        Self::Instead(Answer::new(status).of(format!("<h1>{status}</h1>")))
    }

    pub fn retry_after(status: u16, seconds: u32) -> Self {
        Self::Instead(Answer::new(status).with("retry-after", &seconds.to_string()))
    }

    /// A 200 without a byte.
    pub fn empty() -> Self {
        Self::Instead(Answer::ok("text/html", ""))
    }

    /// A 200 with a page that is meant for a person: a captive portal, a maintenance notice.
    pub fn error_page() -> Self {
        const PAGE: &str = "<!DOCTYPE html><html><head><title>Sign in</title></head>\
            <body><h1>Welcome to the network</h1><a href=\"/login\">Sign in</a></body></html>";
        Self::Instead(Answer::ok("text/html; charset=utf-8", PAGE))
    }

    pub fn redirect(location: &str) -> Self {
        Self::Instead(Answer::new(302).with("location", location))
    }

    /// Stops after this many bytes of the body, and never goes on.
    pub fn stall(after: u64) -> Self {
        Self::Wait(Some(after), Gate::closed())
    }

    /// A head of so many kibibytes.
    pub fn head_bomb(kibibytes: usize) -> Self {
        let field = "x".repeat(kibibytes << 10);
        Self::Raw(format!("HTTP/1.1 200 OK\r\nx: {field}\r\n\r\n").into())
    }

    /// A 200 whose body never ends.
    pub fn endless(content_type: &str) -> Self {
        let blank = Bytes::from(vec![b' '; 64 << 10]);
        let content = Content::Chunks(Arc::new(move |_| Some(blank.clone())));
        Self::Instead(Answer::ok(content_type, content))
    }

    /// A gzip stream of some kilobytes that inflates to `mebibytes` of spaces inside a JSON page.
    pub fn gzip_bomb(content_type: &str, mebibytes: u64) -> Self {
        let mut deflate = Compress::new(Compression::best(), false);
        let mut stream = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
        let blank = vec![b' '; 1 << 20];
        for number in 0..=mebibytes {
            let input: &[u8] = if number == 0 { b"{" } else { &blank };
            stream.reserve(64 << 10);
            deflate.compress_vec(input, &mut stream, FlushCompress::Sync).expect("it is deflated");
        }
        Self::Instead(Answer::ok(content_type, stream).with("content-encoding", "gzip"))
    }

    /// A JSON page of about `mebibytes` whose file entries are made while it is sent.
    pub fn vast_page(project: &str, mebibytes: u64) -> Self {
        let name = project.to_owned();
        let padding = "0123456789abcdef".repeat(4);
        let entries = move |chunk: u64| -> Bytes {
            let entry = |n: u64| {
                format!(
                    r#"{{"filename":"{name}-{chunk}.{n}-py3-none-any.whl","url":"/packages/{chunk}/{n}/{name}-{chunk}.{n}-py3-none-any.whl","hashes":{{"sha256":"{padding}"}},"size":1}},"#
                )
            };
            (0..4096).map(entry).collect::<String>().into()
        };
        let entry_bytes = entries(1).len() as u64;
        let chunks = (mebibytes << 20).div_ceil(entry_bytes);
        let (head, tail) = (
            format!(r#"{{"meta":{{"api-version":"1.1"}},"name":"{project}","files":["#),
            format!(
                r#"{{"filename":"{project}-9-py3-none-any.whl","url":"/packages/9/{project}-9-py3-none-any.whl","hashes":{{}},"size":1}}],"versions":["9"]}}"#
            ),
        );
        let chunk = move |number: u64| match number {
            0 => Some(head.clone().into()),
            number if number <= chunks => Some(entries(number)),
            number if number == chunks + 1 => Some(tail.clone().into()),
            _ => None,
        };
        let answer = Answer::ok("application/vnd.pypi.simple.v1+json", "");
        Self::Instead(Answer { content: Content::Chunks(Arc::new(chunk)), ..answer })
    }
}

/// Holds an answer back until the test opens it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub async fn passed(&self) {
        let mut state = self.0.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = state.wait_for(|open| *open).await;
    }
}

/// Which paths are faulty now: exact paths, prefixes that end in `*`, or `*` for all.
#[derive(Default)]
pub struct Switchboard(Mutex<HashMap<String, (Fault, usize)>>);

impl Switchboard {
    /// Puts a fault on the next `times` requests of `path`.
    pub fn set(&self, path: &str, fault: Fault, times: usize) {
        self.rules().insert(path.to_owned(), (fault, times));
    }

    pub fn clear(&self) {
        self.rules().clear();
    }

    /// The fault that a request for `path` meets; the exact path goes before the longest prefix.
    pub fn meet(&self, path: &str) -> Option<Fault> {
        let mut rules = self.rules();
        let covers = |pattern: &str| match pattern.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => path == pattern,
        };
        let rank = |pattern: &str| (!pattern.ends_with('*'), pattern.len());
        let (_, (fault, times)) = rules
            .iter_mut()
            .filter(|(pattern, (_, times))| *times > 0 && covers(pattern))
            .max_by_key(|(pattern, _)| rank(pattern))?;
        *times -= 1;
        Some(fault.clone())
    }

    fn rules(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Fault, usize)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
