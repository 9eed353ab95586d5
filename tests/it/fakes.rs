//! The fakes are tests' ground: what they claim to do is tested here, straight, with nothing of ours in between.

use std::time::Duration;

use crate::support::client::{ACCEPT_PAGE, Client};
use crate::support::index::{EVERY_STYLE, FakeIndex, Style, Upload, normalise};
use crate::support::origin::{Answer, Cut, Fault, Gate, Origin, Pattern};
use crate::support::raw;

const LENGTH: u64 = 300_000;

fn pattern() -> Pattern {
    Pattern::new(1, LENGTH)
}

async fn origin() -> Origin {
    Origin::start("127.0.0.1", |request: &http::Request<bytes::Bytes>| match request.uri().path() {
        "/body" => Answer::ok("x/y", pattern()).with("etag", "\"1\"").ranged(request.headers()),
        "/echo" => Answer::ok("x/y", request.body().clone()),
        _ => Answer::new(404),
    })
    .await
}

#[tokio::test]
async fn ranges_are_given() {
    let origin = origin().await;
    let client = Client::new();
    let check = async |range: &str, condition: &str, status: u16, first: u64, length: u64| {
        let ask = client.get(origin.url("/body")).with("range", range).with("if-range", condition);
        let reply = ask.send().await;
        assert_eq!(reply.status, status, "{range}");
        assert_eq!(reply.body.len() as u64, length, "{range}");
        assert!(pattern().matches(first, &reply.body), "{range}");
    };
    check("bytes=0-0", "\"1\"", 206, 0, 1).await;
    check("bytes=65530-65540", "\"1\"", 206, 65530, 11).await;
    check("bytes=299999-", "\"1\"", 206, 299_999, 1).await;
    check("bytes=-5", "\"1\"", 206, LENGTH - 5, 5).await;
    check("bytes=0-0", "\"2\"", 200, 0, LENGTH).await;
    check("bytes=300000-", "\"1\"", 416, 0, 0).await;
    assert_eq!(client.head(origin.url("/body")).send().await.header("content-length"), "300000");
}

#[tokio::test]
async fn faults_are_faulty() {
    let origin = origin().await;
    let client = Client::new();
    let check = async |fault: Fault, status: u16, length: u64, cut: bool| {
        origin.fault("/body", fault);
        let reply = client.get(origin.url("/body")).send().await;
        assert_eq!(
            (reply.status.as_u16(), reply.body.len() as u64, reply.cut),
            (status, length, cut)
        );
        reply
    };
    check(Fault::status(503), 503, 12, false).await;
    check(Fault::empty(), 200, 0, false).await;
    check(Fault::Cut { after: 70_000, how: Cut::Close }, 200, 70_000, true).await;
    check(Fault::ChunkedCut { after: 70_000 }, 200, 70_000, true).await;
    check(Fault::Longer(5), 200, LENGTH, false).await;
    let wrong = check(Fault::Corrupt, 200, LENGTH, false).await;
    assert!(!pattern().matches(0, &wrong.body));
    check(Fault::redirect("/body"), 302, 0, false).await;
    origin.fault("/body", Fault::Cut { after: 70_000, how: Cut::Reset });
    assert!(client.get(origin.url("/body")).send().await.cut);
    origin.heal();
    let whole = client.get(origin.url("/body")).send().await;
    assert!(pattern().matches(0, &whole.body) && !whole.cut);
}

#[tokio::test]
async fn a_fault_lasts_as_many_requests_as_it_was_given() {
    let origin = origin().await;
    let client = Client::new();
    origin.fault_times("/body", 2, Fault::status(500));
    origin.fault("*", Fault::status(404));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(client.get(origin.url("/body")).send().await.status.as_u16());
    }
    assert_eq!(statuses, [500, 500, 404]);
}

#[tokio::test]
async fn an_origin_refuses_and_comes_back() {
    let origin = origin().await;
    assert_eq!(Client::new().get(origin.url("/body")).send().await.status, 200);
    origin.refuse().await;
    let refused = tokio::net::TcpStream::connect(origin.address).await;
    assert_eq!(
        refused.map_err(|error| error.kind()).err(),
        Some(std::io::ErrorKind::ConnectionRefused)
    );
    origin.listen();
    assert_eq!(Client::new().get(origin.url("/body")).send().await.status, 200);
}

#[tokio::test]
async fn silence_and_gates_hold_an_answer_back() {
    let origin = origin().await;
    let client = Client::new();
    origin.fault("/body", Fault::Silence);
    let silent =
        tokio::time::timeout(Duration::from_millis(50), client.get(origin.url("/body")).open());
    assert!(silent.await.is_err());

    let gate = Gate::closed();
    origin.fault("/body", Fault::Wait(Some(100_000), gate.clone()));
    let mut open = client.get(origin.url("/body")).open().await;
    let mut read = 0;
    while read < 100_000 {
        read += open.next().await.expect("no cut").expect("no end").len();
    }
    assert_eq!((read, origin.sent("/body")), (100_000, 100_000));
    gate.open();
    assert_eq!(open.rest().await.body.len() as u64, LENGTH - 100_000);
}

#[tokio::test]
async fn uploads_are_read_and_logged() {
    let origin = origin().await;
    let reply = Client::new()
        .ask(http::Method::POST, origin.url("/echo?a=b"))
        .with("x-y", "z")
        .body("hello")
        .send()
        .await;
    assert_eq!(reply.text(), "hello");
    let chunked = "POST /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert!(raw::exchange(origin.address, chunked.as_bytes()).await.ends_with("\r\n\r\nabcde"));
    let log = origin.asked("/echo");
    assert_eq!(
        (log[0].header("x-y"), log[0].query.as_deref(), log[1].body.as_ref()),
        (Some("z"), Some("a=b"), &b"abcde"[..])
    );
    assert_eq!((log[0].status(), log[0].sent()), (200, 5));
}

#[tokio::test]
async fn a_bomb_and_a_vast_page_are_what_they_say() {
    let origin = origin().await;
    origin.fault("/bomb", Fault::gzip_bomb("text/html", 32));
    let bomb = Client::new().get(origin.url("/bomb")).send().await;
    assert!(bomb.body.len() < 1 << 20, "{} bytes", bomb.body.len());
    let mut inflated = Vec::new();
    // The stream has no end: that is not what anybody should get to.
    let _ = std::io::Read::read_to_end(
        &mut flate2::read::GzDecoder::new(&bomb.body[..]),
        &mut inflated,
    );
    assert!(inflated.len() >= 32 << 20, "{} bytes", inflated.len());

    origin.fault("/vast", Fault::vast_page("vast", 2));
    let vast = Client::new().get(origin.url("/vast")).send().await;
    assert!(vast.body.len() >= 2 << 20);
    assert!(vast.json()["files"].as_array().is_some_and(|files| files.len() > 4096));
}

#[tokio::test]
async fn every_style_says_what_it_is_meant_to() {
    for style in EVERY_STYLE {
        let index = FakeIndex::start(style).await;
        index.publish(
            "six",
            [Upload::wheel_for_python("six", "1.16.0", ">=3.8"), Upload::sdist("six", "1.16.0")],
        );
        let client = Client::new();
        let page =
            client.get(index.pages.url("/simple/six/")).with("accept", ACCEPT_PAGE).send().await;
        assert_eq!(page.status, 200);
        assert_eq!(
            page.headers.contains_key("etag"),
            matches!(style, Style::Full | Style::HtmlOnly),
            "{style:?}"
        );
        let expected = match style {
            Style::Full | Style::HeaderPoor => "application/vnd.pypi.simple.v1+json",
            Style::HtmlOnly => "text/html; charset=utf-8",
            Style::MislabelledJson => "application/json",
        };
        assert_eq!(page.header("content-type"), expected);
        assert!(page.text().contains("six-1.16.0-py3-none-any.whl"), "{style:?}");
        if style == Style::Full {
            let again = client
                .get(index.pages.url("/simple/six/"))
                .with("accept", ACCEPT_PAGE)
                .with("if-none-match", page.header("etag"));
            assert_eq!(again.send().await.status, 304);
            let link = page.json()["files"][0]["url"].as_str().map(str::to_owned).expect("a link");
            let file = client.get(&link).send().await;
            assert_eq!(
                crate::support::index::sha256(&file.body),
                page.json()["files"][0]["hashes"]["sha256"]
            );
            assert_eq!(client.get(format!("{link}.metadata")).send().await.status, 200);
        }
    }
}

#[tokio::test]
async fn the_shelf_can_be_rearranged() {
    let index = FakeIndex::start(Style::Full).await;
    index.publish("six", [Upload::wheel("six", "1"), Upload::wheel("six", "2")]);
    let client = Client::new();
    let versions = async || {
        let page =
            client.get(index.pages.url("/simple/six/")).with("accept", ACCEPT_PAGE).send().await;
        (page.status.as_u16(), page.text().matches("\"filename\"").count())
    };
    assert_eq!(versions().await, (200, 2));
    index.delete_release("six", "1");
    assert_eq!(versions().await, (200, 1));
    index.set_status("six", "quarantined", "malware");
    assert_eq!(versions().await, (200, 0));
    index.delete_project("six");
    assert_eq!(versions().await, (404, 0));
    index.require_basic("me", "secret");
    assert_eq!(versions().await, (401, 0));
    assert_eq!(normalise("A__b-.C"), "a-b-c");
}
