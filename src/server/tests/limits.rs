//! Clients that are slow, silent or many.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_is_given_up() {
    let server = Running::default().await;
    let answer = server.exchange("GET / HTTP/1.1\r\nHost: a\r\n").await;
    assert_eq!(statuses(&answer), [408], "{answer}");
    let answer = server.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTT").await;
    assert_eq!(statuses(&answer), [200, 408], "{answer}");
    assert_eq!(server.exchange("").await, "", "who says nothing is told nothing");
}

/// Each byte in time, the head never whole: the time is for all of it.
#[tokio::test(start_paused = true)]
async fn a_dripping_head_is_given_up() {
    let server = Running::default().await;
    let mut client = server.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").await.expect("the server reads");
    let mut byte = [0; 1];
    for _ in 0..100 {
        client.write_all(b"x").await.expect("the server reads");
        let second = std::time::Duration::from_secs(1);
        if tokio::time::timeout(second, client.read_exact(&mut byte)).await.is_ok() {
            let rest = read_all(&mut client).await;
            assert_eq!(statuses(&format!("H{rest}")), [408], "{rest}");
            return;
        }
    }
    panic!("the server never gave up");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let server = Running::default().await;
    let get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(statuses(&server.exchange(get).await), [200], "closed without another word");

    let mut client = server.connect().await;
    client.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("the server reads");
    let long = 10 * Config::default().idle_timeout;
    let answer = tokio::time::timeout(long, client.read_u8()).await;
    assert!(answer.is_err(), "the handler may take its time: {answer:?}");
    server.kitchen.ready.notify_one();
    assert!(read_one(&mut client).await.ends_with("waited"));
    client.write_all(get.as_bytes()).await.expect("the server reads");
    assert!(read_one(&mut client).await.starts_with("HTTP/1.1 200"), "it is still there");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_an_error_for_the_handler() {
    let server = Running::default().await;
    let request = "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf";
    let answer = server.exchange(request).await;
    assert_eq!(statuses(&answer), [200]);
    assert!(answer.contains("the client sent nothing of its body for 30 s"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_cut() {
    let server = Running::default().await;
    let mut client = server.connect().await;
    client.write_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("the server reads");
    server.kitchen.cut.notified().await;
}

#[tokio::test(start_paused = true)]
async fn one_connection_too_many_is_told_so() {
    for config in [
        Config { max_connections: 2, ..Config::default() },
        Config { max_connections_per_address: 2, ..Config::default() },
    ] {
        let server = Running::start(config, &TlsConfig::default()).await;
        let get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut kept = Vec::new();
        for _ in 0..2 {
            let mut client = server.connect().await;
            client.write_all(get.as_bytes()).await.expect("the server reads");
            assert_eq!(statuses(&read_one(&mut client).await), [200]);
            kept.push(client);
        }
        let answer = server.exchange(get).await;
        assert_eq!(statuses(&answer), [503], "{answer}");
        assert!(answer.contains("retry-after: 5\r\n"), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert_eq!(server.orders().len(), 2);

        let mut last = kept.pop().expect("some were kept");
        last.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await
            .expect("the server reads");
        read_all(&mut last).await;
        assert_eq!(statuses(&server.exchange(get).await), [200], "its place is free again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_answers_500_and_harms_nobody() {
    let server = Running::default().await;
    let answer = server.exchange("GET /panics HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(statuses(&answer), [500], "{answer}");
    assert!(!answer.contains("on purpose"), "{answer}");
    let answer = server.exchange("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(statuses(&answer), [200]);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_fails_is_cut_not_ended() {
    let server = Running::default().await;
    let answer = server.exchange("GET /fails HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
}
