//! HTTP/2 by prior knowledge.

use http::Method;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

pub(super) type Sender = http2::SendRequest<Full<Bytes>>;

pub(super) async fn handshake(server: &Running) -> Sender {
    let client = server.connect().await;
    let builder = http2::Builder::new(TokioExecutor::new());
    let (sender, connection) =
        builder.handshake(TokioIo::new(client)).await.expect("the handshake is done");
    server.tasks.spawn(connection);
    sender
}

fn request(method: Method, uri: &str) -> http::request::Builder {
    Request::builder().method(method).uri(uri)
}

pub(super) async fn text(response: Response<hyper::body::Incoming>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), 1 << 20);
    #[expect(clippy::disallowed_methods, reason = "it is limited")]
    let bytes = body.collect().await.expect("the whole body comes").to_bytes();
    (status, String::from_utf8(bytes.to_vec()).expect("text"))
}

#[tokio::test]
async fn requests_are_checked_and_take_the_same_form_as_others() {
    let server = Running::default().await;
    let mut sender = handshake(&server).await;
    let none = Full::new(Bytes::new());
    for (builder, status, answer) in [
        (request(Method::GET, "http://a/b?c"), 200, "GET /b?c host=a"),
        (request(Method::GET, "http://a:81/b").header("host", "A:81"), 200, "GET /b host=a:81"),
        (request(Method::GET, "http://a/b").header("host", "b"), 400, "different hosts"),
        (request(Method::GET, "http://a/b/../c"), 400, "segment"),
        (request(Method::GET, "http://a/b\\c"), 400, "backslash"),
        (request(Method::from_bytes(b"get").expect("a token"), "http://a/b"), 400, "method"),
        (request(Method::from_bytes(b"refuse").expect("a token"), "http://a/0"), 400, "method"),
        (request(Method::TRACE, "http://a/b"), 405, "no tunnel"),
    ] {
        let request = builder.body(none.clone()).expect("a request");
        let shown = format!("{request:?}");
        let response = sender.send_request(request).await.expect("an answer comes");
        let (got, body) = text(response).await;
        assert_eq!(got, status, "{shown}: {body}");
        assert!(body.contains(answer), "{shown}: {body}");
    }
    let connect = request(Method::CONNECT, "a:443").body(none).expect("a request");
    let response = sender.send_request(connect).await.expect("an answer comes");
    assert_eq!(response.status(), 405);
    assert_eq!(server.orders(), ["GET /b?c", "GET /b"]);
}

#[tokio::test]
async fn a_body_arrives() {
    let server = Running::default().await;
    let mut sender = handshake(&server).await;
    let body = Full::new(Bytes::from(vec![b'x'; 700_000]));
    let request = request(Method::POST, "http://a/read").body(body).expect("a request");
    assert_eq!(
        text(sender.send_request(request).await.expect("an answer comes")).await,
        (200, "700000".into())
    );
}

/// A client that grants a stream no window makes no progress that TCP would show.
#[tokio::test(start_paused = true)]
async fn a_stream_without_window_is_reset_and_others_go_on() {
    let server = Running::default().await;
    let mut sender = handshake(&server).await;
    let none = Full::new(Bytes::new());
    let endless = request(Method::GET, "http://a/endless").body(none.clone()).expect("a request");
    let response = sender.send_request(endless).await.expect("an answer comes");
    assert_eq!(response.status(), 200);
    server.kitchen.cut.notified().await;

    let other = request(Method::GET, "http://a/b").body(none).expect("a request");
    assert_eq!(text(sender.send_request(other).await.expect("an answer comes")).await.0, 200);
    drop(response);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let server = Running::default().await;
    let mut sender = handshake(&server).await;
    let get = request(Method::GET, "http://a/b").body(Full::new(Bytes::new())).expect("a request");
    assert_eq!(text(sender.send_request(get.clone()).await.expect("an answer comes")).await.0, 200);
    tokio::time::timeout(4 * Config::default().idle_timeout, async {
        while sender.ready().await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    })
    .await
    .expect("GOAWAY");
}

#[tokio::test(start_paused = true)]
async fn streams_under_way_end_when_the_server_stops() {
    let server = Running::default().await;
    let mut sender = handshake(&server).await;
    let get =
        request(Method::GET, "http://a/wait").body(Full::new(Bytes::new())).expect("a request");
    let waiting = sender.send_request(get);
    let ((), answer) = tokio::join!(
        async {
            server.until_ordered(1).await;
            server.stop.cancel();
            server.kitchen.ready.notify_one();
        },
        waiting
    );
    assert_eq!(text(answer.expect("it waited with us")).await, (200, "waited".into()));
    server.run.await.expect("it does not panic");
}

#[tokio::test(start_paused = true)]
async fn what_only_looks_like_http2_is_refused() {
    let server = Running::default().await;
    let answer = server.exchange("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r").await;
    assert_eq!(statuses(&answer), [400], "{answer}");
}
