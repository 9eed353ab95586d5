//! Where redirects may lead, and what goes along.

use std::net::IpAddr;
use std::sync::Arc;

use larder::types::Secret;
use larder::upstream::{
    Client, Config, Credentials, HostRule, Origin, OriginRequest, Upstream, UpstreamError,
};

use super::origin::{Act, RawOrigin, answer};
use super::{Names, client, declared, get, read, send, settings, url};

fn redirect(location: &str) -> Vec<Act> {
    answer("302 Found", &format!("location: {location}\r\nx-hop: 1\r\n"), "")
}

#[tokio::test]
async fn a_chain_is_followed_and_every_head_kept() {
    let origin = RawOrigin::start(|_, request| match request {
        text if text.starts_with("GET /a ") => redirect("/b"),
        text if text.starts_with("GET /b ") => redirect("c?x=1#fragment"),
        _ => answer("200 OK", "", "there"),
    })
    .await;
    let response = send(settings(), get(&origin.url("/a"))).await.expect("an answer");
    assert_eq!(response.url.as_str(), origin.url("/c?x=1"));
    let hops: Vec<_> = response.hops.iter().map(|hop| hop.url.path().to_owned()).collect();
    assert_eq!(hops, ["/a", "/b"]);
    assert!(response.hops.iter().all(|hop| hop.head.headers.contains_key("x-hop")));
    assert_eq!(read(response.body).await.0, "there");
}

#[tokio::test]
async fn circles_and_endless_ways_are_left() {
    let circle = RawOrigin::always(redirect("/a")).await;
    let endless = RawOrigin::start(|number, _| redirect(&format!("/{number}"))).await;
    for origin in [&circle, &endless] {
        let config = Config { max_redirects: 4, ..settings() };
        let error = send(config, get(&origin.url("/a"))).await.expect_err("no end");
        assert!(matches!(error, UpstreamError::RedirectLoop { .. }), "{error}");
    }
    assert_eq!((circle.requests().len(), endless.requests().len()), (1, 5));
}

#[tokio::test]
async fn foreign_hosts_and_metadata_addresses_are_not_asked() {
    for location in [
        "http://other.example/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/",
        "http://[::ffff:169.254.169.254]/",
        "http://0x7f000001/",
        "http://user:secret@index.example/",
        "//10.0.0.1/",
        "gopher://index.example/",
    ] {
        let origin = RawOrigin::always(redirect(location)).await;
        let error = send(settings(), get(&origin.url_at("index.example", "/"))).await;
        let error = error.expect_err("forbidden");
        assert!(matches!(error, UpstreamError::ForbiddenAddress { .. }), "{location}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

/// A public origin whose name leads to this machine, by mistake or by an attack on the resolver.
#[tokio::test]
async fn a_name_that_resolves_to_this_machine_is_not_connected_to() {
    let origin = RawOrigin::always(answer("200 OK", "", "secret")).await;
    for host in ["index.example", "localhost", "127.0.0.1", "[::ffff:127.0.0.1]"] {
        let address = origin.url_at(host, "/");
        let public = Origin { allow_private: false, ..(*declared(&address)).clone() };
        let request = OriginRequest::get(&Arc::new(public), url(&address));
        let error = send(settings(), request).await.expect_err("forbidden");
        assert!(matches!(error, UpstreamError::ForbiddenAddress { .. }), "{host}: {error}");
    }
    assert_eq!(origin.connections(), 0);
}

/// An internal index may lead to internal hosts, but not to this machine nor to the metadata service, whatever their names say.
#[tokio::test]
async fn an_internal_origin_does_not_lead_to_this_machine_or_its_link() {
    for (name, address) in [("local.example", "127.0.0.1"), ("meta.example", "169.254.169.254")] {
        let target = format!("http://{name}:9/");
        let origin = RawOrigin::always(redirect(&target)).await;
        let mut names = Names::local(&["index.example"]);
        names.0.insert(name, address.parse::<IpAddr>().expect("an address"));
        let base = origin.url_at("index.example", "/");
        let hosts = vec![HostRule::Domain("example".to_owned())];
        let internal = Arc::new(Origin { hosts, ..(*declared(&base)).clone() });
        let client = Client::with_resolver(settings(), Arc::new(names)).expect("valid settings");
        let error = client.send(OriginRequest::get(&internal, url(&base))).await;
        let error = error.expect_err("forbidden");
        assert!(matches!(error, UpstreamError::ForbiddenAddress { .. }), "{name}: {error}");
    }
}

#[tokio::test]
async fn credentials_and_cookies_are_dropped_on_the_way() {
    let files = RawOrigin::always(answer("200 OK", "", "file")).await;
    let location = files.url_at("files.example", "/f");
    let index = RawOrigin::always(redirect(&location)).await;
    let base = index.url_at("index.example", "/");
    let origin = Arc::new(Origin {
        hosts: vec![HostRule::Exact("files.example".to_owned())],
        credentials: Some(Credentials::Bearer(Secret::new("token"))),
        ..(*declared(&base)).clone()
    });
    let mut request = OriginRequest::get(&origin, url(&base));
    request.headers.insert("cookie", http::HeaderValue::from_static("a=b"));
    request.headers.insert("x-kept", http::HeaderValue::from_static("1"));
    // The second host is on this machine by name, which only a local base may lead to.
    let error = client(settings()).send(request.clone()).await.expect_err("forbidden");
    assert!(matches!(error, UpstreamError::ForbiddenAddress { .. }), "{error}");
    let local = index.url_at("127.0.0.1", "/");
    request.origin = Arc::new(Origin { base: url(&local), ..(*origin).clone() });
    request.url = url(&local);
    client(settings()).send(request).await.expect("an answer");
    let (asked, led) = (index.requests().pop(), files.requests().pop());
    let (asked, led) = (asked.expect("a request"), led.expect("a request"));
    assert!(asked.contains("authorization: Bearer token\r\n") && asked.contains("cookie: a=b"));
    assert!(!led.contains("authorization") && !led.contains("cookie"), "{led}");
    assert!(led.contains("x-kept: 1") && led.contains("host: files.example"), "{led}");
}
