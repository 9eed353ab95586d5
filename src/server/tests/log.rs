//! The line that every response leaves.

use std::io;
use std::sync::Once;

use serde_json::Value;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::Registry;

use super::*;

/// Must be called before anything is logged. What logs first decides for the whole process whether its lines are wanted; with but one collector, that of a
/// thread, the threads of other tests would decide that nobody wants them. A collector for all of them, which wants everything and writes nothing, leaves
/// the choice to each thread.
pub fn heed_every_thread() {
    static HEEDED: Once = Once::new();
    HEEDED.call_once(|| {
        tracing::subscriber::set_global_default(Registry::default())
            .expect("no other test sets one");
    });
}

/// Collects the lines that this thread logs.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics with the lock held").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn collect() -> (Self, DefaultGuard) {
        heed_every_thread();
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_env_filter("larder::access=info")
            .with_writer(move || writer.clone())
            .finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    fn read(&self) -> Vec<Value> {
        let bytes = self.0.lock().expect("nobody panics with the lock held").clone();
        let text = String::from_utf8(bytes).expect("text");
        text.lines().map(|line| serde_json::from_str(line).expect("lines are JSON")).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn every_response_leaves_one_line_at_its_end() {
    for (request, method, path, status, bytes, aborted) in [
        ("GET /a?signature=s3cret HTTP/1.1\r\nHost: a\r\n", "GET", "/a", 200, Some(31), false),
        ("HEAD /a HTTP/1.1\r\nHost: a\r\n", "HEAD", "/a", 200, Some(0), false),
        ("GET /-/t/s3cret/a HTTP/1.1\r\nHost: a\r\n", "GET", "/-/t/***/a", 200, None, false),
        ("GET /panics HTTP/1.1\r\nHost: a\r\n", "GET", "/panics", 500, None, false),
        ("GET /fails HTTP/1.1\r\nHost: a\r\n", "GET", "/fails", 200, Some(4), true),
        ("GET /endless HTTP/1.1\r\nHost: a\r\n", "GET", "/endless", 200, None, true),
        ("GET /waits/../s3cret HTTP/1.1\r\nHost: a\r\n", "-", "-", 400, None, false),
    ] {
        let (lines, _guard) = Lines::collect();
        let server = Running::default().await;
        let mut client = server.connect().await;
        client.write_all(format!("{request}\r\n").as_bytes()).await.expect("the server reads");
        if path == "/endless" {
            server.kitchen.cut.notified().await;
        } else {
            read_all(&mut client).await;
        }
        let [line] = &lines.read()[..] else { panic!("{request}: {:?}", lines.read()) };
        assert_eq!(line["target"], "larder::access");
        assert_eq!(line["client.address"], "127.0.0.1", "{request}");
        assert_eq!(line["http.method"], method, "{request}");
        assert_eq!(line["http.path"], path, "{request}");
        assert_eq!(line["http.status"], status, "{request}");
        assert_eq!(line["aborted"], aborted, "{request}");
        if let Some(bytes) = bytes {
            assert_eq!(line["http.bytes"], bytes, "{request}");
        }
        assert!(!line.to_string().contains("s3cret"), "{line}");
        assert_eq!(line.get("refusal").is_some(), status != 200, "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_left_unanswered_leaves_a_line_too() {
    let (lines, _guard) = Lines::collect();
    let server = Running::default().await;
    let mut client = server.connect().await;
    client.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("the server reads");
    server.until_ordered(1).await;
    drop(client);
    until("its line is written", || !lines.read().is_empty()).await;
    let [line] = &lines.read()[..] else { panic!("{:?}", lines.read()) };
    assert_eq!((&line["http.status"], &line["aborted"]), (&499.into(), &true.into()));
}

/// What the handler notes beside its response stands in the line.
#[tokio::test(start_paused = true)]
async fn the_note_of_the_handler_is_in_the_line() {
    let (lines, _guard) = Lines::collect();
    let server = Running::default().await;
    server.exchange("GET /noted HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let [line] = &lines.read()[..] else { panic!("{:?}", lines.read()) };
    assert_eq!(line["cache"], "larder; hit");
    assert_eq!(line["mount"], "generic/a");
    assert_eq!(line["upstream_ms"], 7);
}
