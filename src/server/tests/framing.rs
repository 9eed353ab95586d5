//! What a cache must refuse before anybody can read it in two ways, and what it must not.

use super::*;

/// What an offence gets, wherever on the connection it comes: the refusal and nothing after it.
async fn refused(status: u16, request: &[u8]) {
    let shown = String::from_utf8_lossy(&request[..request.len().min(120)]).into_owned();
    let follow_up = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

    let server = Running::default().await;
    let alone = server.exchange(request).await;
    assert_eq!(statuses(&alone), [status], "{shown:?} alone: {alone}");
    assert!(alone.contains("connection: close\r\n"), "{shown:?}: {alone}");
    assert!(alone.contains("content-type: text/plain"), "{shown:?}: {alone}");

    let first = b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n".as_slice();
    let second = server.exchange([first, request, follow_up].concat()).await;
    assert_eq!(statuses(&second), [200, status], "{shown:?} as second: {second}");
    assert_eq!(server.orders(), ["GET /first"], "{shown:?}: nothing else reaches the handler");

    let mut client = server.connect().await;
    for piece in request.chunks(1 + request.len() / 1000) {
        client.write_all(piece).await.expect("the server reads");
        tokio::task::yield_now().await;
    }
    assert_eq!(statuses(&read_all(&mut client).await), [status], "{shown:?} in small pieces");
}

#[tokio::test(start_paused = true)]
async fn ambiguous_framing_is_refused() {
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: 4, 4",
        "Content-Length: +4",
        "Content-Length: -4",
        "Content-Length: 0x4",
        "Content-Length: 4 4",
        "Content-Length:",
        "Content-Length: 9223372036854775808",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "X: 1\r\n Transfer-Encoding: chunked",
        "X: 1\r\n\tfolded",
        "X: 1\rTransfer-Encoding: chunked",
        "X: 1\nTransfer-Encoding: chunked",
        "X: a\0b",
        "X\0: a",
        ": empty",
        "no colon",
    ] {
        let request = format!("POST /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\n");
        refused(400, request.as_bytes()).await;
    }
    refused(400, b"POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn line_ends_other_than_cr_lf_are_refused() {
    for request in [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\rHost: a\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        refused(400, request.as_bytes()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn malformed_request_lines_are_refused() {
    for line in [
        "get / HTTP/1.1",
        "Get / HTTP/1.1",
        "refuse /0 HTTP/1.1",
        "G(T / HTTP/1.1",
        " GET / HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /",
        "GET / HTTP/2.0",
        "GET / HTTP/1.2",
        "GET / http/1.1",
        "GET a HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET /a\\b HTTP/1.1",
        "GET /a?b\\c HTTP/1.1",
        "GET /a\u{7f} HTTP/1.1",
        "GET /\u{e9} HTTP/1.1",
        "GET /. HTTP/1.1",
        "GET /../x HTTP/1.1",
        "GET /a/.. HTTP/1.1",
        "GET /a/./b HTTP/1.1",
        "GET ftp://a/ HTTP/1.1",
        "GET /a<b> HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET http://a/../x HTTP/1.1",
        "GET http://u@a/x HTTP/1.1",
    ] {
        refused(400, format!("{line}\r\nHost: a\r\n\r\n").as_bytes()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn hosts_must_be_one_and_well_formed() {
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: \u{e9}\r\n\r\n",
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET https://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n",
        "GET http://b/ HTTP/1.1\r\n\r\n",
    ] {
        refused(400, head.as_bytes()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn tunnels_and_echoes_are_refused() {
    for line in ["CONNECT a:443 HTTP/1.1", "TRACE / HTTP/1.1", "CONNECT / HTTP/1.1"] {
        refused(405, format!("{line}\r\nHost: a\r\n\r\n").as_bytes()).await;
    }
    let server = Running::default().await;
    let answer = server.exchange("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.contains("\r\nallow: GET, HEAD"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn large_heads_are_refused() {
    let limit = Config::default().max_header_bytes;
    let long = "x".repeat(limit);
    refused(414, format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
    refused(431, format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n").as_bytes()).await;
    let many = "X: 1\r\n".repeat(100);
    refused(431, format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n").as_bytes()).await;

    let server = Running::default().await;
    let most = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{}\r\n",
        format!("X: {}\r\n", "x".repeat(600)).repeat(98)
    );
    assert_eq!(statuses(&server.exchange(most).await), [200], "just within both limits");
}

#[tokio::test(start_paused = true)]
async fn what_is_unusual_but_clear_is_served() {
    let end = "Connection: close\r\n\r\n";
    for (request, answer) in [
        ("GET /a HTTP/1.1\r\nhOST:a\r\n", "GET /a host=a"),
        ("GET /a HTTP/1.1\r\nHost: \t a:80\t \r\n", "GET /a host=a:80"),
        ("GET /a HTTP/1.1\r\nHost: [::1]:8484\r\n", "GET /a host=[::1]:8484"),
        ("GET http://A/b?c HTTP/1.1\r\nHost: a\r\n", "GET /b?c host=A"),
        ("GET http://a:80 HTTP/1.1\r\nHost: a\r\n", "GET / host=a:80"),
        ("GET HTTP://a/b HTTP/1.1\r\nHost: a\r\n", "GET /b host=a"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n", "OPTIONS * host=a"),
        (
            "GET /%zz%2f%5c/..a/a../.../?../x HTTP/1.1\r\nHost: a\r\n",
            "GET /%zz%2f%5c/..a/a../.../?../x",
        ),
        ("\r\n\r\nGET /a HTTP/1.1\r\nHost: a\r\n", "GET /a host=a"),
        ("GET /a HTTP/1.1\r\nHost: a\r\nX: \u{e9}\r\n", "GET /a host=a"),
        ("GET /a HTTP/1.1\r\nHost: a\r\nX:\r\n", "GET /a host=a"),
        ("PROPFIND /a HTTP/1.1\r\nHost: a\r\n", "PROPFIND /a host=a"),
        ("POST /read HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n", "\r\n\r\n0"),
        // Declined by being ignored: an answer in HTTP/1.1 (RFC 9110 section 7.8).
        ("GET /a HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n", "GET /a host=a"),
        ("GET /a HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n", "GET /a host=a"),
    ] {
        let server = Running::default().await;
        let got = server.exchange(format!("{request}{end}")).await;
        assert_eq!(statuses(&got), [200], "{request:?}: {got}");
        assert!(got.contains(answer), "{request:?}: {got}");
    }
    let server = Running::default().await;
    let got = server.exchange("GET /a HTTP/1.0\r\n\r\n").await;
    assert!(got.starts_with("HTTP/1.0 200") && got.contains("GET /a host=-"), "{got}");
}

#[tokio::test(start_paused = true)]
async fn the_connection_is_kept_after_a_body_that_was_read() {
    let server = Running::default().await;
    let post = "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /";
    let get = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answers = server.exchange(format!("{post}{post}{get}")).await;
    assert_eq!(statuses(&answers), [200, 200, 200], "{answers}");
    assert_eq!(server.orders(), ["POST /read", "POST /read", "GET /last"]);
}

/// A body that the handler leaves unread must not be taken for the next request: that is how caches were poisoned through their hits.
#[tokio::test(start_paused = true)]
async fn an_unread_body_is_not_a_request() {
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for method in ["GET", "HEAD", "POST"] {
        let server = Running::default().await;
        let length = smuggled.len();
        let request =
            format!("{method} /a HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        let end = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let answers = server.exchange(format!("{request}{smuggled}{end}")).await;
        assert!(!server.orders().contains(&"GET /smuggled".to_owned()), "{method}: {answers}");

        // The same, but the body comes late, when the answer is long gone.
        let mut client = server.connect().await;
        client.write_all(request.as_bytes()).await.expect("the server reads");
        tokio::task::yield_now().await;
        client.write_all(smuggled.as_bytes()).await.expect("the server reads");
        let answers = read_all(&mut client).await;
        assert_eq!(statuses(&answers), [200], "{method}: {answers}");
        assert!(!server.orders().contains(&"GET /smuggled".to_owned()), "{method}: {answers}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_with_chunks_is_the_last_on_its_connection() {
    let server = Running::default().await;
    let post = "POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = "5;ext=1\r\nhello\r\n0\r\nTrailer: x\r\n\r\n";
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let answers = server.exchange(format!("{post}{chunks}{smuggled}")).await;
    assert_eq!(statuses(&answers), [200], "{answers}");
    assert!(answers.contains("connection: close\r\n") && answers.ends_with('5'), "{answers}");
    assert_eq!(server.orders(), ["POST /read"]);

    for broken in ["ffffffffffffffff1\r\n", "x\r\n", "5\r\nhello5\r\n", "-1\r\n"] {
        let answers = server.exchange(format!("{post}{broken}{smuggled}")).await;
        assert!(!answers.contains("/smuggled"), "{broken:?}: {answers}");
    }
    assert!(!server.orders().contains(&"GET /smuggled".to_owned()));
}

/// The answer to an upload that nobody wants must not be lost to the reset that closing with unread bytes causes.
#[tokio::test(start_paused = true)]
async fn a_refused_upload_still_gets_its_answer() {
    let server = Running::default().await;
    let length = 512 << 10;
    let head = format!("PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    let answers = server.exchange([head.as_bytes(), &vec![b'x'; length]].concat()).await;
    assert_eq!(statuses(&answers), [200], "{answers}");
}

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_answered_in_order() {
    let server = Running::default().await;
    let requests: String =
        (0..40).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    let last = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answers = server.exchange(format!("{requests}{last}")).await;
    assert_eq!(statuses(&answers), [200; 41]);
    let orders: Vec<_> = (0..40).map(|n| format!("GET /{n}")).chain(["GET /last".into()]).collect();
    assert_eq!(server.orders(), orders);
}
