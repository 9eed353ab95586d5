//! Proxies between us and the origins.

use std::net::SocketAddr;
use std::sync::Arc;

use larder::upstream::{Config, OriginRequest, Proxy, Upstream, UpstreamError};
use tokio::net::TcpSocket;

use super::origin::{Act, RawOrigin, answer, send as sends};
use super::{client, declared, get, read, send, settings, url};

fn through(proxy: SocketAddr, no_proxy: &[&str]) -> Config {
    let address = format!("http://user:pass@{proxy}");
    Config {
        proxy: Proxy::try_from(address).expect("an address"),
        no_proxy: no_proxy.iter().map(|&name| name.to_owned()).collect(),
        ..settings()
    }
}

#[tokio::test]
async fn plain_requests_name_the_whole_address_to_the_proxy() {
    let proxy = RawOrigin::always(answer("200 OK", "", "by proxy")).await;
    let request = get("http://far.example/path?x=1");
    let response = send(through(proxy.address, &[]), request).await.expect("an answer");
    assert_eq!(read(response.body).await.0, "by proxy");
    let asked = proxy.requests().pop().expect("a request");
    assert!(asked.starts_with("GET http://far.example/path?x=1 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("proxy-authorization: Basic dXNlcjpwYXNz\r\n"), "{asked}");
}

#[tokio::test]
async fn hosts_named_in_no_proxy_are_asked_directly() {
    let proxy = RawOrigin::always(answer("200 OK", "", "by proxy")).await;
    let origin = RawOrigin::always(answer("200 OK", "", "direct")).await;
    let request = get(&origin.url_at("index.example", "/"));
    let config = through(proxy.address, &["index.example"]);
    let response = send(config, request).await.expect("an answer");
    assert_eq!(read(response.body).await.0, "direct");
    assert_eq!(proxy.connections(), 0);
    let asked = origin.requests().pop().expect("a request");
    assert!(!asked.contains("proxy-authorization"), "{asked}");
}

#[tokio::test]
async fn a_proxy_that_refuses_to_dig_a_tunnel() {
    let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
    let proxy = RawOrigin::always(vec![sends(refusal), Act::Close]).await;
    let error = send(through(proxy.address, &[]), get("https://far.example/")).await;
    let error = error.expect_err("no tunnel");
    let UpstreamError::Proxy { cause, .. } = &error else { panic!("{error}") };
    assert!(matches!(**cause, UpstreamError::Broken { .. }), "{error}");
    let asked = proxy.requests().pop().expect("a request");
    assert!(asked.starts_with("CONNECT far.example:443 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n"), "{asked}");
}

/// A dead proxy was taken for a dead origin: the error named a host that was well, and nothing of what to do.
#[tokio::test]
async fn a_dead_proxy_is_named() {
    // A port that is taken, and where nobody listens.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let proxy = socket.local_addr().expect("a bound socket has an address");
    for address in ["http://far.example/", "https://far.example/"] {
        let config = Config { breaker_failures: 1, ..through(proxy, &[]) };
        let client = client(config);
        let first = client.send(get(address)).await.expect_err("nobody is there");
        let UpstreamError::Proxy { host, cause } = &first else { panic!("{first}") };
        let refused = format!("{proxy} refused the connection");
        assert_eq!((host.as_str(), cause.to_string()), ("far.example", refused));
        assert!(first.to_string().contains("`upstream.proxy`"), "{first}");
        let second = client.send(get(address)).await.expect_err("it is not asked again");
        assert!(second.to_string().contains(&first.to_string()), "{second}");
    }
}

/// The proxy resolves names, but an address that is written out is checked here.
#[tokio::test]
async fn a_forbidden_address_is_not_asked_of_a_proxy() {
    let proxy = RawOrigin::always(answer("200 OK", "", "secret")).await;
    let address = "http://169.254.169.254/";
    let mut origin = (*declared(address)).clone();
    origin.allow_private = false;
    let request = OriginRequest::get(&Arc::new(origin), url(address));
    let error = send(through(proxy.address, &[]), request).await.expect_err("forbidden");
    assert!(matches!(error, UpstreamError::ForbiddenAddress { .. }), "{error}");
    assert_eq!(proxy.connections(), 0);
}
