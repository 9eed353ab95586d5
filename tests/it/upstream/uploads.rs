//! Bodies on their way out.

use std::io;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderValue, Method};
use larder::upstream::{Config, OriginRequest, OutgoingBody, Upstream, UpstreamError};

use super::origin::{RawOrigin, answer};
use super::{client, get, send, settings};

fn post(address: &str, parts: Vec<io::Result<&'static str>>) -> OriginRequest {
    let parts = parts.into_iter().map(|part| part.map(Bytes::from));
    let mut request = get(address);
    request.method = Method::POST;
    request.body = OutgoingBody::stream(stream::iter(parts).boxed());
    request
}

#[tokio::test]
async fn an_upload_is_passed_on_in_chunks_or_with_its_length() {
    let origin = RawOrigin::always(answer("201 Created", "", "")).await;
    let mut request = post(&origin.url("/"), vec![Ok("ab"), Ok("cd")]);
    send(settings(), request).await.expect("an answer");
    request = post(&origin.url("/"), vec![Ok("ab"), Ok("cd")]);
    request.headers.insert("content-length", HeaderValue::from_static("4"));
    send(settings(), request).await.expect("an answer");
    let requests = origin.requests();
    let [chunked, plain] = &requests[..] else { panic!("{requests:?}") };
    assert!(chunked.contains("transfer-encoding: chunked\r\n"), "{chunked}");
    assert!(chunked.contains("2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"), "{chunked}");
    assert!(plain.contains("content-length: 4\r\n") && plain.ends_with("abcd"), "{plain}");
    assert!(!plain.contains("transfer-encoding"), "{plain}");
}

#[tokio::test]
async fn an_upload_that_ends_early_does_not_count_against_the_host() {
    let origin = RawOrigin::always(answer("201 Created", "", "")).await;
    let client = client(Config { breaker_failures: 1, ..settings() });
    let parts = vec![Ok("ab"), Err(io::Error::other("the client left"))];
    let error = client.send(post(&origin.url("/"), parts)).await.expect_err("half an upload");
    assert!(matches!(error, UpstreamError::Broken { .. }), "{error}");
    client.send(post(&origin.url("/"), vec![Ok("ab")])).await.expect("the host is well");
}

#[tokio::test]
async fn an_upload_is_not_sent_again_to_where_a_redirect_leads() {
    let moved = answer("307 Temporary Redirect", "location: /elsewhere\r\n", "");
    let origin = RawOrigin::always(moved).await;
    let request = post(&origin.url("/"), vec![Ok("ab")]);
    let response = send(settings(), request).await.expect("an answer");
    assert_eq!((response.head.status.as_u16(), response.hops.len()), (307, 0));
    assert_eq!(origin.requests().len(), 1);
}
