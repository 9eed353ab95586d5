//! HTTP/2 as a weapon: floods that cost the sender little, and heads that another protocol would read otherwise.

use super::frames::{
    ACK, CONTINUATION, Connection, DATA, END_HEADERS, END_STREAM, Ending, HEADERS, PING,
    RST_STREAM, SETTINGS, block, frame,
};
use crate::support::index::{FakeIndex, Style, Upload};
use crate::support::larder::Larder;

async fn larder() -> (FakeIndex, Larder) {
    let index = FakeIndex::start(Style::Full).await;
    index.publish("six", [Upload::wheel("six", "1.0")]);
    let larder = Larder::over(&index).await;
    (index, larder)
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "h"), (":path", "/simple/six/")];

/// Has had enough of whoever asks too much (RFC 9113 section 7).
const ENHANCE_YOUR_CALM: u32 = 0xb;

/// Others are served as if nothing were.
async fn assert_others_are_served(larder: &Larder) {
    assert_eq!(larder.page("six").await.status, 200);
}

/// CVE-2023-44487: requests that are taken back at once cost the sender nothing and must not cost more here.
#[tokio::test]
async fn rapid_reset() {
    let (index, larder) = larder().await;
    let mut attacker = Connection::open(larder.address).await;
    let mut flood = Vec::new();
    for number in 0..5000_u32 {
        let stream = 2 * number + 1;
        let path = format!("/simple/absent-{number}/");
        let fields = [GET[0], GET[1], GET[2], (":path", path.as_str())];
        flood.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&fields)));
        flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    // It is cut while it is still sending.
    let _ = attacker.send_all(&flood).await;
    let ending = attacker.ending().await;
    assert!(matches!(ending, Ending::GoAway(ENHANCE_YOUR_CALM) | Ending::Closed), "{ending:?}");
    assert!(index.pages.log().len() < 1000, "{} requests upstream", index.pages.log().len());
    assert_others_are_served(&larder).await;
}

/// CVE-2024-27316 and its kin: a head without an end.
#[tokio::test]
async fn continuation_flood() {
    let (_index, larder) = larder().await;
    let mut attacker = Connection::open(larder.address).await;
    attacker.send(HEADERS, 0, 1, &block(&GET)).await.expect("it reads");
    let padding = "x".repeat(8 << 10);
    let piece = frame(CONTINUATION, 0, 1, &block(&[("x-padding", padding.as_str())]));
    let mut sent = 0_usize;
    while sent < 64 << 20 && attacker.send_all(&piece).await.is_ok() {
        sent += piece.len();
    }
    let ending = attacker.ending().await;
    assert!(matches!(ending, Ending::GoAway(_) | Ending::Closed), "{ending:?}");
    assert!(sent < 64 << 20, "all of it was taken");
    assert_others_are_served(&larder).await;
}

/// A CONTINUATION that goes on with nothing.
#[tokio::test]
async fn empty_continuations() {
    let (_index, larder) = larder().await;
    let mut attacker = Connection::open(larder.address).await;
    attacker.send(HEADERS, 0, 1, &block(&GET)).await.expect("it reads");
    let pieces = frame(CONTINUATION, 0, 1, &[]).repeat(100_000);
    let _ = attacker.send_all(&pieces).await;
    let ending = attacker.ending().await;
    assert!(matches!(ending, Ending::GoAway(_) | Ending::Closed), "{ending:?}");
    assert_others_are_served(&larder).await;
}

/// Each of these asks for an answer, and whoever floods does not read.
#[tokio::test]
async fn floods_of_settings_and_pings() {
    let (_index, larder) = larder().await;
    for piece in [frame(SETTINGS, 0, 0, &[]), frame(PING, 0, 0, &[0; 8])] {
        let mut attacker = Connection::open(larder.address).await;
        let pieces = piece.repeat(1000);
        let mut rounds = 0;
        let flood = async {
            while rounds < 1000 && attacker.send_all(&pieces).await.is_ok() {
                rounds += 1;
            }
        };
        // Who is not read from stops reading: that is an end, too.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(2), flood).await;
        assert_others_are_served(&larder).await;
    }
}

/// Frames that make no progress on a stream that never ends.
#[tokio::test]
async fn empty_data() {
    let (_index, larder) = larder().await;
    let mut attacker = Connection::open(larder.address).await;
    let post = [(":method", "POST"), GET[1], GET[2], GET[3]];
    attacker.send(HEADERS, END_HEADERS, 1, &block(&post)).await.expect("it reads");
    let pieces = frame(DATA, 0, 1, &[]).repeat(100_000);
    let _ = attacker.send_all(&pieces).await;
    assert_others_are_served(&larder).await;
}

/// Heads that HTTP/2 forbids, because HTTP/1.1 would read more than one request out of them, or none of ours.
#[tokio::test]
async fn heads_that_would_smuggle() {
    let (index, larder) = larder().await;
    let hidden = "x\r\nGET /simple/smuggled/ HTTP/1.1\r\nhost: h\r\n\r\n";
    let path = "/simple/six/ HTTP/1.1\r\nhost: h\r\n\r\nGET /simple/smuggled/";
    let with = |more: &[(&'static str, &'static str)]| [&GET[..], more].concat();
    let rows: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("line ends in a value", with(&[("x", hidden)])),
        ("line ends in a name", with(&[("x: y\r\nz", "1")])),
        ("a nul", with(&[("x", "a\0b")])),
        ("upper case", with(&[("X-Upper", "1")])),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("connection", with(&[("connection", "close")])),
        ("te", with(&[("te", "gzip")])),
        ("two paths", with(&[(":path", "/simple/smuggled/")])),
        ("a pseudo-field behind others", with(&[("x", "1"), (":path", "/simple/smuggled/")])),
        ("an unknown pseudo-field", with(&[(":smuggled", "1")])),
        ("a length that is none", with(&[("content-length", "+0")])),
        ("a body shorter than its length", with(&[("content-length", "40")])),
        ("line ends in the path", vec![GET[0], GET[1], GET[2], (":path", path)]),
        (
            "a space in the method",
            vec![(":method", "GET /simple/smuggled/"), GET[1], GET[2], GET[3]],
        ),
        ("no path", vec![GET[0], GET[1], GET[2]]),
        ("an empty path", vec![GET[0], GET[1], GET[2], (":path", "")]),
        ("another host", with(&[("host", "other.example")])),
        ("a user in the authority", vec![GET[0], GET[1], (":authority", "me@h"), GET[3]]),
    ];
    for (name, fields) in rows {
        let mut attacker = Connection::open(larder.address).await;
        // The other side may have gone already.
        let _ = attacker.request(1, &fields).await;
        if let Some(verdict) = attacker.verdict(1).await {
            // An answer, if there is one, is a refusal: index 12 to 14 of HPACK's table are 400, 404 and 500; 200 is 8.
            let is_refused = verdict.kind == RST_STREAM || !verdict.payload.starts_with(&[0x88]);
            assert!(is_refused, "{name}: {verdict:?}");
        }
    }
    let asked: Vec<_> = index.pages.log().iter().map(|logged| logged.path.clone()).collect();
    assert!(asked.is_empty(), "{asked:?}");
    assert_others_are_served(&larder).await;
}

/// An honest conversation by the same means, so that the rest proves something.
#[tokio::test]
async fn an_honest_request_is_answered() {
    let (_index, larder) = larder().await;
    let mut client = Connection::open(larder.address).await;
    client.send(SETTINGS, ACK, 0, &[]).await.expect("it reads");
    client.request(1, &GET).await.expect("it reads");
    let answer = client.verdict(1).await.expect("an answer");
    assert!(answer.kind == HEADERS && answer.payload.starts_with(&[0x88]), "{answer:?}");
}
