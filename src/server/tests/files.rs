//! Bodies that are files. The handler's ordinary body says something else than the file does, so that it shows which of the two was sent.

use std::io::Write;
use std::ops::Range;

use super::*;
use crate::server::FileBody;

/// Longer than one frame and than what a socket takes at once.
const LENGTH: usize = 3_000_001;

fn content() -> Vec<u8> {
    (0..LENGTH).map(|at| (at % 251) as u8).collect()
}

fn file(length: usize) -> std::fs::File {
    let mut file = tempfile::tempfile().expect("there is room");
    file.write_all(&content()[..length]).expect("there is room");
    file
}

/// The range that `/file/START/END` asks for; `/file-short` has a file that ends early.
pub(super) fn served(path: &str) -> Response<Body> {
    let mut numbers = path.split('/').filter_map(|part| part.parse::<usize>().ok());
    let range = numbers.next().unwrap_or(0)..numbers.next().unwrap_or(LENGTH);
    let length = if path == "/file-short" { LENGTH / 2 } else { LENGTH };
    let mut response = full(vec![b'-'; range.len()]);
    response.headers_mut().insert("content-length", range.len().into());
    let range = Range { start: range.start as u64, end: range.end as u64 };
    response.extensions_mut().insert(FileBody { file: Arc::new(file(length)), range });
    response
}

async fn ask(server: &Running, requests: &[&str]) -> Vec<u8> {
    let mut client = server.connect().await;
    let last = requests.len() - 1;
    for (index, request) in requests.iter().enumerate() {
        let end = if index == last { "Connection: close\r\n" } else { "" };
        let head = format!("{request} HTTP/1.1\r\nHost: a\r\n{end}\r\n");
        client.write_all(head.as_bytes()).await.expect("the server reads");
    }
    let mut answers = Vec::new();
    let _ = client.read_to_end(&mut answers).await;
    answers
}

/// What follows the first head.
fn body(answers: &[u8]) -> &[u8] {
    let head = answers.windows(4).position(|end| end == b"\r\n\r\n").expect("a whole head");
    &answers[head + 4..]
}

#[tokio::test]
async fn a_file_is_sent_in_place_of_the_body() {
    let server = Running::default().await;
    for range in [0..LENGTH, 0..40_000, 7..LENGTH - 9, 262_144..524_288, 1_000_000..1_300_001] {
        let path = format!("GET /file/{}/{}", range.start, range.end);
        assert!(body(&ask(&server, &[&path]).await) == &content()[range.clone()], "{range:?}");
    }
}

#[tokio::test]
async fn files_and_pages_keep_their_order_on_a_connection() {
    let server = Running::default().await;
    let requests = ["GET /file/0/70000", "GET /noted", "HEAD /file", "GET /file/5/80005"];
    let answers = ask(&server, &requests).await;
    let text = String::from_utf8_lossy(&answers);
    assert_eq!(statuses(&text), [200; 4]);
    assert!(body(&answers).starts_with(&content()[..70_000]));
    assert!(answers.ends_with(&content()[5..80_005]));
    assert!(text.contains("\r\n\r\nnoted") && text.contains("content-length: 3000001"));
}

#[tokio::test]
async fn short_bodies_go_as_bytes() {
    let server = Running::default().await;
    let answers = ask(&server, &["GET /file/0/100"]).await;
    assert_eq!(body(&answers), [b'-'; 100]);
}

/// A file that was cut short by somebody else must not look like a whole one.
#[tokio::test]
async fn a_file_that_ends_early_cuts_the_connection() {
    let server = Running::default().await;
    let answers = ask(&server, &["GET /file-short"]).await;
    let sent = body(&answers);
    assert!(sent.len() < LENGTH && sent == &content()[..sent.len()], "{}", sent.len());
}

#[tokio::test]
async fn http2_gets_the_bytes() {
    let server = Running::default().await;
    let mut client = http2::handshake(&server).await;
    let request =
        Request::get("http://a/file/0/70000").body(Full::new(Bytes::new())).expect("a request");
    let response = client.send_request(request).await.expect("an answer comes");
    assert_eq!(http2::text(response).await, (200, "-".repeat(70_000)));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_of_a_file_is_cut() {
    let server = Running::default().await;
    let mut client = server.connect().await;
    client.write_all(b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("the server reads");
    assert_eq!(client.read_u8().await.expect("an answer begins"), b'H', "it is under way");
    tokio::time::sleep(std::time::Duration::from_secs(200)).await;
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest).await;
    assert!(rest.len() < LENGTH, "{}", rest.len());
}
