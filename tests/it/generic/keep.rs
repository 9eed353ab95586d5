//! `keep = true`: what was once public is served again, whatever upstream says now.

use crate::support::larder::{Larder, generic};
use crate::support::origin::{Answer, Fault, Origin};

async fn kept() -> (Origin, Larder) {
    let origin = Origin::start("127.0.0.1", |request: &http::Request<bytes::Bytes>| match request
        .uri()
        .path()
    {
        "/thing" => Answer::ok("text/plain", "a thing")
            .with("cache-control", "max-age=100")
            .with("etag", "\"1\""),
        _ => Answer::new(404),
    })
    .await;
    let larder = Larder::start(&generic(&origin.url("/"), "keep = true")).await;
    assert_eq!(larder.get("/generic/it/thing").await.text(), "a thing");
    larder.advance(100_000_000);
    (origin, larder)
}

#[tokio::test]
async fn it_is_served_in_every_outage() {
    for (name, trouble) in [
        ("500", Some(Fault::status(500))),
        ("503", Some(Fault::status(503))),
        ("429", Some(Fault::status(429))),
        ("404", Some(Fault::status(404))),
        ("410", Some(Fault::status(410))),
        ("403", Some(Fault::status(403))),
        ("silence", Some(Fault::Silence)),
        ("refused", None),
    ] {
        let (origin, larder) = kept().await;
        match trouble {
            Some(fault) => origin.fault("*", fault),
            None => origin.refuse().await,
        }
        let reply = larder.get("/generic/it/thing").await;
        assert_eq!(
            (reply.status.as_u16(), reply.text().as_str()),
            (200, "a thing"),
            "{name}: {reply:?}"
        );
        assert!(!reply.header("warning").is_empty(), "{reply:?}");
        let larder = larder.restart().await;
        let reply = larder.get("/generic/it/thing").await;
        assert_eq!(reply.text(), "a thing", "{name}, restarted: {reply:?}");
    }
}

#[tokio::test]
async fn what_changes_is_seen() {
    let (origin, larder) = kept().await;
    origin.fault("/thing", Fault::Instead(Answer::ok("text/plain", "another thing")));
    assert_eq!(larder.get("/generic/it/thing").await.text(), "another thing");
    assert_eq!(larder.get("/generic/it/never").await.status, 404);
}
