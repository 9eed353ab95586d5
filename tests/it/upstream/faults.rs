//! Origins that cannot be reached, fall silent, or answer with what is no answer.

use std::time::Duration;

use larder::upstream::{Client, Config, Upstream, UpstreamError};
use tokio::net::TcpListener;

use super::origin::{Act, RawOrigin, answer, send as sends};
use super::{client, get, read, send, settings};

/// A time-out that a test waits for.
const SHORT: Duration = Duration::from_millis(50);

/// The name of an error's variant, and its stage if it is a time-out.
fn kind(error: &UpstreamError) -> String {
    match error {
        UpstreamError::TimedOut { stage, .. } => format!("TimedOut {stage}"),
        other => format!("{other:?}").split([' ', '{']).next().unwrap_or_default().to_owned(),
    }
}

#[tokio::test]
async fn a_name_that_nobody_knows() {
    let error = send(settings(), get("http://absent.example/")).await.expect_err("no name");
    assert_eq!(kind(&error), "Dns");
}

#[tokio::test]
async fn a_port_that_nobody_listens_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    drop(listener);
    let error = send(settings(), get(&format!("http://{address}/"))).await.expect_err("refused");
    assert_eq!(kind(&error), "Refused");
}

#[tokio::test]
async fn an_origin_that_accepts_and_says_nothing() {
    let origin = RawOrigin::always(vec![Act::Hang]).await;
    let config = Config { head_timeout: SHORT, ..settings() };
    let error = send(config, get(&origin.url("/"))).await.expect_err("silence");
    assert_eq!(kind(&error), "TimedOut head");
}

#[tokio::test]
async fn an_origin_that_never_begins_its_handshake() {
    // The kernel takes the connection; nobody reads from it.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let config = Config { connect_timeout: SHORT, ..settings() };
    let error = send(config, get(&format!("https://{address}/"))).await.expect_err("silence");
    assert_eq!(kind(&error), "TimedOut connect");
}

/// Answers whose head must not be believed, or is none.
#[tokio::test]
async fn heads_that_are_no_heads() {
    let bomb = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(200 << 10));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(1000));
    let flood = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000);
    for (text, expected) in [
        ("SSH-2.0-x\r\n\r\n", "Malformed"),
        ("HTTP/1.1 2000 OK\r\n\r\n", "Malformed"),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "Malformed"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", "Malformed"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na", "Malformed"),
        ("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\na", "Malformed"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "Malformed",
        ),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", "Malformed"),
        ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "Malformed"),
        ("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", "Malformed"),
        (&bomb, "Malformed"),
        (&many, "Malformed"),
        (&flood, "Malformed"),
        ("", "Broken"),
        ("HTTP/1.1 200", "Broken"),
    ] {
        let origin = RawOrigin::always(vec![sends(text), Act::Close]).await;
        let error = send(settings(), get(&origin.url("/"))).await.expect_err("no head");
        let shown = &text[..text.len().min(60)];
        assert_eq!(kind(&error), expected, "{shown:?}: {error}");
    }
}

/// Bodies, what is read of them, and how they end.
#[tokio::test]
async fn bodies_end_cleanly_only_when_they_are_whole() {
    const FIXED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n";
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\n\r\n";
    for (head, body, end, expected) in [
        (FIXED, "abcd", Act::Hang, None),
        (FIXED, "ab", Act::Close, Some("Broken")),
        (FIXED, "ab", Act::Hang, Some("TimedOut body")),
        (FIXED, "abcdef", Act::Close, None),
        (CHUNKED, "4\r\nabcd\r\n0\r\n\r\n", Act::Hang, None),
        (CHUNKED, "4\r\nabcd\r\n0\r\nx-trailer: 1\r\n\r\n", Act::Hang, None),
        (CHUNKED, "4\r\nabcd\r\n", Act::Close, Some("Broken")),
        (CHUNKED, "4\r\nab", Act::Close, Some("Broken")),
        (CHUNKED, "4\r\nabcd\r\nzz\r\n", Act::Hang, Some("Broken")),
        (CHUNKED, "4\r\nabcd\r\nffffffffffffffffff\r\n", Act::Hang, Some("Broken")),
        (UNTIL_CLOSE, "abcd", Act::Close, None),
    ] {
        let origin = RawOrigin::always(vec![sends(head), sends(body), end]).await;
        let silent = expected == Some("TimedOut body");
        let read_timeout = if silent { SHORT } else { settings().read_timeout };
        let config = Config { read_timeout, ..settings() };
        let response = send(config, get(&origin.url("/"))).await.expect("a head");
        let (text, error) = read(response.body).await;
        assert_eq!(error.as_ref().map(kind).as_deref(), expected, "{head:?} {body:?}: {error:?}");
        if expected.is_none() {
            assert_eq!(text, "abcd", "{head:?} {body:?}");
        }
    }
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_body() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc";
    let origin = RawOrigin::always(vec![sends(head), Act::Reset]).await;
    match send(settings(), get(&origin.url("/"))).await {
        // The reset may overtake the head.
        Err(error) => assert_eq!(kind(&error), "Broken"),
        Ok(response) => {
            let (_, error) = read(response.body).await;
            assert_eq!(error.as_ref().map(kind).as_deref(), Some("Broken"));
        }
    }
}

/// Bytes behind a body are not the next answer on that connection.
#[tokio::test]
async fn what_follows_a_body_is_not_taken_for_the_next_answer() {
    let smuggled = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let origin = RawOrigin::start(move |number, _| match number {
        0 => {
            let [Act::Send(first)] = &answer("200 OK", "", "good")[..] else { unreachable!() };
            vec![sends(format!("{first}{smuggled}"))]
        }
        _ => answer("200 OK", "", "good"),
    })
    .await;
    let client = client(settings());
    for _ in 0..2 {
        let response = client.send(get(&origin.url("/"))).await.expect("a head");
        assert_eq!(read(response.body).await.0, "good");
    }
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn a_few_informational_answers_are_passed_over() {
    let mut acts = vec![sends("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".repeat(3))];
    acts.extend(answer("200 OK", "", "good"));
    let origin = RawOrigin::always(acts).await;
    let response = send(settings(), get(&origin.url("/"))).await.expect("a head");
    assert_eq!(response.head.status, 200);
    assert!(!response.head.headers.contains_key("link"));
}

#[tokio::test]
async fn connections_are_kept_and_used_again() {
    let origin = RawOrigin::always(answer("200 OK", "", "good")).await;
    let client: Client = client(settings());
    for _ in 0..5 {
        let response = client.send(get(&origin.url("/"))).await.expect("a head");
        assert_eq!(read(response.body).await.0, "good");
    }
    assert_eq!(origin.connections(), 1);
}
