//! Retries, pauses, the circuit breaker, and the number of requests to one host.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use larder::upstream::{Availability, Config, Upstream, UpstreamError};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::origin::{Act, RawOrigin, answer, send as sends};
use super::{client, get, read, send, settings};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_failed_attempt_is_made_again_if_the_method_allows() {
    for (failure, method, requests, status) in [
        (answer("503 Service Unavailable", "", ""), Method::GET, 3, 200),
        (answer("502 Bad Gateway", "", ""), Method::HEAD, 3, 200),
        (answer("429 Too Many Requests", "retry-after: 0\r\n", ""), Method::GET, 3, 200),
        (vec![Act::Close], Method::GET, 3, 200),
        (answer("503 Service Unavailable", "", ""), Method::POST, 1, 503),
        (answer("500 Internal Server Error", "", ""), Method::GET, 1, 500),
        (answer("429 Too Many Requests", "retry-after: 3600\r\n", ""), Method::GET, 1, 429),
    ] {
        let script = failure.clone();
        let origin = RawOrigin::start(move |number, _| match number {
            0 | 1 => script.clone(),
            _ => vec![sends("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")],
        })
        .await;
        let mut request = get(&origin.url("/"));
        request.method = method.clone();
        let response = send(Config { retries: 2, ..settings() }, request).await.expect("a head");
        assert_eq!(response.head.status, status, "{method}");
        assert_eq!(origin.requests().len(), requests, "{method} {status}");
    }
}

#[tokio::test]
async fn a_host_that_asks_for_an_hour_is_not_asked_again() {
    let busy = answer("503 Service Unavailable", "retry-after: 3600\r\n", "busy");
    let origin = RawOrigin::always(busy).await;
    let client = client(Config { breaker_pause_max: HOUR, ..settings() });
    let request = get(&origin.url("/"));
    let response = client.send(request.clone()).await.expect("a head");
    assert_eq!(response.head.status, 503);
    let error = client.send(request.clone()).await.expect_err("paused");
    assert!(matches!(error, UpstreamError::CircuitOpen { .. }), "{error}");
    assert!(matches!(client.availability(&request), Availability::Open { .. }));
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test]
async fn failures_in_a_row_open_the_circuit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    drop(listener);
    let client = client(Config { breaker_failures: 2, breaker_pause: HOUR, ..settings() });
    let request = get(&format!("http://{address}/"));
    for _ in 0..2 {
        let error = client.send(request.clone()).await.expect_err("refused");
        assert!(matches!(error, UpstreamError::Refused { .. }), "{error}");
    }
    let error = client.send(request).await.expect_err("open");
    assert!(matches!(error, UpstreamError::CircuitOpen { .. }), "{error}");
}

/// The state of the circuit with each answer: opened by a failure, one probe at a time, closed by its success.
#[tokio::test]
async fn one_probe_at_a_time_closes_the_circuit() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let origin = RawOrigin::start(move |number, _| match number {
        0 => vec![Act::Close],
        _ => {
            let mut acts = vec![Act::Await(Arc::clone(&held))];
            acts.extend(answer("200 OK", "", "good"));
            acts
        }
    })
    .await;
    let pause = Duration::from_millis(1);
    let client = client(Config {
        breaker_failures: 1,
        breaker_pause: pause,
        breaker_pause_max: pause,
        ..settings()
    });
    let request = get(&origin.url("/"));
    client.send(request.clone()).await.expect_err("the connection is closed");
    let is_due = |availability| matches!(availability, Availability::Open { retry_after } if retry_after.is_zero());
    while !is_due(client.availability(&request)) {
        tokio::time::sleep(pause).await;
    }
    let mut probe = client.send(request.clone());
    assert!(futures_util::poll!(&mut probe).is_pending());
    let error = client.send(request.clone()).await.expect_err("a second probe");
    assert!(matches!(error, UpstreamError::CircuitOpen { .. }), "{error}");
    gate.add_permits(2);
    probe.await.expect("an answer");
    assert_eq!(client.availability(&request), Availability::Closed);
    client.send(request).await.expect("an answer");
    assert_eq!(origin.requests().len(), 3);
}

#[tokio::test]
async fn requests_beyond_places_and_queue_fail_and_a_read_body_makes_room() {
    let origin = RawOrigin::always(answer("200 OK", "", "good")).await;
    let client = client(Config { per_host_requests: 1, per_host_queue: 0, ..settings() });
    let request = get(&origin.url("/"));
    let first = client.send(request.clone()).await.expect("a head");
    let error = client.send(request.clone()).await.expect_err("full");
    assert!(matches!(error, UpstreamError::Overloaded { .. }), "{error}");
    assert_eq!(read(first.body).await.0, "good");
    let second = client.send(request.clone()).await.expect("room");
    drop(second);
    client.send(request).await.expect("room");
}

/// A connection that the host closed for idleness is no failure of the host.
#[tokio::test]
async fn an_idle_connection_that_was_closed_costs_nothing() {
    let origin = RawOrigin::start(|_, _| {
        let mut acts = answer("200 OK", "", "good");
        acts.push(Act::Close);
        acts
    })
    .await;
    let client = client(Config { breaker_failures: 1, ..settings() });
    for _ in 0..20 {
        let response = client.send(get(&origin.url("/"))).await.expect("an answer");
        assert_eq!(read(response.body).await.0, "good");
    }
}
