//! Requests that two parsers could read in two ways are refused, and nothing behind them is answered.

use crate::support::index::{FakeIndex, Style, Upload};
use crate::support::larder::Larder;
use crate::support::raw;

/// Behind every bad request follows this one; an answer to it means that the bad one was read otherwise than as bad.
const SMUGGLED: &str = "GET /simple/smuggled/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

async fn larder() -> (FakeIndex, Larder) {
    let index = FakeIndex::start(Style::Full).await;
    index.publish("six", [Upload::wheel("six", "1.0")]);
    let larder = Larder::over(&index).await;
    (index, larder)
}

#[tokio::test]
async fn ambiguous_requests_are_refused() {
    let (index, larder) = larder().await;
    let host = larder.address;
    let rows = [
        (
            "two lengths",
            "GET /simple/six/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\n",
        ),
        (
            "two equal lengths",
            "GET /simple/six/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "list of lengths",
            "GET /simple/six/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0, 0\r\n\r\n",
        ),
        (
            "signed length",
            "GET /simple/six/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: +0\r\n\r\n",
        ),
        (
            "hexadecimal length",
            "GET /simple/six/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0x0\r\n\r\n",
        ),
        (
            "negative length",
            "GET /simple/six/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: -1\r\n\r\n",
        ),
        (
            "overflowing length",
            "GET /simple/six/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 18446744073709551616\r\n\r\n",
        ),
        (
            "length and chunks",
            "GET /simple/six/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunks twice",
            "GET /simple/six/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        ),
        (
            "unknown coding",
            "GET /simple/six/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "identity, chunked",
            "GET /simple/six/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunks in HTTP/1.0",
            "GET /simple/six/ HTTP/1.0\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "space before colon",
            "GET /simple/six/ HTTP/1.1\r\nHost: {host}\r\nContent-Length : 0\r\n\r\n",
        ),
        ("folded line", "GET /simple/six/ HTTP/1.1\r\nHost: {host}\r\nX: a\r\n b\r\n\r\n"),
        ("bare line feeds", "GET /simple/six/ HTTP/1.1\nHost: {host}\n\n"),
        ("bare carriage return", "GET /simple/six/ HTTP/1.1\r\nHost: {host}\r\nX: a\rb\r\n\r\n"),
        ("NUL in a value", "GET /simple/six/ HTTP/1.1\r\nHost: {host}\r\nX: a\0b\r\n\r\n"),
        ("no host", "GET /simple/six/ HTTP/1.1\r\n\r\n"),
        ("two hosts", "GET /simple/six/ HTTP/1.1\r\nHost: {host}\r\nHost: other\r\n\r\n"),
        ("bad host", "GET /simple/six/ HTTP/1.1\r\nHost: a b\r\n\r\n"),
        ("user in host", "GET /simple/six/ HTTP/1.1\r\nHost: me@{host}\r\n\r\n"),
        (
            "other host in the target",
            "GET http://other.example/simple/six/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        ),
        ("fragment in the target", "GET /simple/six/#x HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ("control in the target", "GET /simple/\x01six/ HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ("tunnel", "CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n"),
        ("echo", "TRACE / HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        (
            "overflowing chunk",
            "POST /simple/six/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        ),
    ];
    for (name, request) in rows {
        let request = request.replace("{host}", &host.to_string());
        let answer = raw::exchange(host, format!("{request}{SMUGGLED}").as_bytes()).await;
        let statuses = raw::statuses(&answer);
        assert!(statuses.len() <= 1, "{name}: more than one answer: {answer}");
        assert!(
            statuses.iter().all(|status| matches!(status, 400 | 405 | 408 | 411 | 413 | 431 | 501)),
            "{name}: {answer}"
        );
    }
    assert!(index.pages.asked("/simple/smuggled/").is_empty());
}

#[tokio::test]
async fn a_body_on_a_get_is_not_the_next_request() {
    let (index, larder) = larder().await;
    larder.page("six").await;
    let request = format!(
        "GET /simple/six/ HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{SMUGGLED}",
        larder.address,
        SMUGGLED.len()
    );
    let answer = raw::exchange(larder.address, request.as_bytes()).await;
    assert_eq!(raw::statuses(&answer).len(), 1, "{answer}");
    assert!(index.pages.asked("/simple/smuggled/").is_empty());
}

#[tokio::test]
async fn heads_are_bounded() {
    let (_index, larder) = larder().await;
    let ask = async |fields: String| {
        let request = format!(
            "GET /simple/six/ HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{fields}\r\n",
            larder.address
        );
        raw::statuses(&raw::exchange(larder.address, request.as_bytes()).await)
    };
    assert_eq!(ask(String::new()).await, [200]);
    let many: String = (0..2000).map(|n| format!("X-{n}: a\r\n")).collect();
    assert_eq!(ask(many).await, [431]);
    let statuses = ask(format!("X: {}\r\n", "a".repeat(1 << 20))).await;
    assert!(statuses.is_empty() || statuses == [431], "{statuses:?}");
}

/// Two requests in one packet get two answers, in order: refusing bad ones must not break good ones.
#[tokio::test]
async fn honest_pipelining_works() {
    let (_index, larder) = larder().await;
    let host = larder.address;
    let requests = format!(
        "GET /simple/six/ HTTP/1.1\r\nHost: {host}\r\n\r\nGET /simple/none/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    );
    let answer = raw::exchange(host, requests.as_bytes()).await;
    assert_eq!(raw::statuses(&answer), [200, 404]);
}

#[tokio::test]
async fn names_of_hosts_do_not_reach_into_pages() {
    let (_index, larder) = larder().await;
    let request = "GET /simple/six/ HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\nX-Original-URL: /simple/other/\r\nConnection: close\r\n\r\n";
    let answer = raw::exchange(larder.address, request.as_bytes()).await;
    let own = larder.page("six").await;
    assert!(raw::statuses(&answer) != [200] || answer.contains("six-1.0"), "{answer}");
    assert!(!own.text().contains("evil.example"), "{own:?}");
}

/// A body that stops in the middle is late, not wrong: it used to be told 400, which clients do not ask again after.
#[tokio::test]
async fn a_body_that_stalls_is_late_and_not_wrong() {
    let settings = "[generic.it]\nupstream = \"http://127.0.0.1:9\"\n[huggingface]\nupstream = \"http://127.0.0.1:9\"\n\
        [server]\nbody_timeout = \"50ms\"\n";
    let larder = Larder::start(settings).await;
    for path in ["/org/model.git/info/lfs/objects/batch", "/-/api/v1/check"] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{{",
            larder.address
        );
        let answer = raw::exchange(larder.address, request.as_bytes()).await;
        assert_eq!(raw::statuses(&answer), [408], "{path}: {answer}");
    }
}
