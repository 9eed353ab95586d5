//! A shared cache by the book: each row is an answer, then a second request, and whether upstream sees it.

use http::Method;

use crate::support::client::Reply;
use crate::support::larder::{Larder, generic};
use crate::support::origin::{Answer, Fault, Origin};
use crate::support::wait::eventually;

/// What upstream sees of a second request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    /// With a validator.
    Question,
    /// Without one.
    Request,
}

type Fields<'a> = &'a [(&'static str, &'static str)];

/// An origin that answers everything with `status`, `fields` and a counter, and 304 to a matching validator.
async fn origin(status: u16, fields: Fields<'static>) -> Origin {
    let count = std::sync::atomic::AtomicU64::new(0);
    Origin::start("127.0.0.1", move |request: &http::Request<bytes::Bytes>| {
        let tag = fields.iter().find(|(name, _)| *name == "etag").map(|(_, value)| *value);
        let known = request.headers().get("if-none-match").and_then(|value| value.to_str().ok());
        let answer = match tag.is_some() && known == tag {
            true => Answer::new(304),
            false => {
                let number = count.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
                Answer::new(status).of(format!("answer {number}"))
            }
        };
        fields.iter().fold(answer, |answer, (name, value)| answer.with(name, value))
    })
    .await
}

async fn ask(larder: &Larder, fields: Fields<'_>) -> Reply {
    let ask = larder.client.get(larder.url("/generic/it/thing?a=b"));
    fields.iter().fold(ask, |ask, (name, value)| ask.with(name, value)).send().await
}

/// Asks, lets `seconds` pass, asks again with `second`.
async fn check(
    name: &str,
    status: u16,
    answer: Fields<'static>,
    first: Fields<'_>,
    seconds: u64,
    second: Fields<'_>,
    seen: Seen,
) {
    let origin = origin(status, answer).await;
    let larder = Larder::start(&generic(&origin.url("/"), "")).await;
    assert_eq!(ask(&larder, first).await.status, status, "{name}");
    larder.advance(seconds);
    origin.forget();
    let reply = ask(&larder, second).await;
    assert!(reply.status == status || reply.status == 504, "{name}: {reply:?}");
    let log = origin.log();
    let got = match log.first() {
        None => Seen::Nothing,
        Some(logged)
            if logged.headers.contains_key("if-none-match")
                || logged.headers.contains_key("if-modified-since") =>
        {
            Seen::Question
        }
        Some(_) => Seen::Request,
    };
    assert_eq!(got, seen, "{name}: {reply:?}");
    assert!(log.len() <= 1, "{name}");
}

const OLD: (&str, &str) = ("last-modified", "Mon, 06 May 2024 07:08:09 GMT");

#[tokio::test]
async fn freshness() {
    use Seen::{Nothing, Question, Request};
    let max_age: Fields<'_> = &[("cache-control", "max-age=100"), ("etag", "\"1\"")];
    check("fresh", 200, max_age, &[], 99, &[], Nothing).await;
    check("stale", 200, max_age, &[], 101, &[], Question).await;
    check(
        "s-maxage goes before",
        200,
        &[("cache-control", "max-age=1, s-maxage=100")],
        &[],
        50,
        &[],
        Nothing,
    )
    .await;
    check(
        "CDN-Cache-Control goes before",
        200,
        &[("cache-control", "max-age=1"), ("cdn-cache-control", "max-age=100")],
        &[],
        50,
        &[],
        Nothing,
    )
    .await;
    check(
        "Age counts",
        200,
        &[("cache-control", "max-age=100"), ("age", "90")],
        &[],
        50,
        &[],
        Request,
    )
    .await;
    check("Expires in the past", 200, &[("expires", "0")], &[], 0, &[], Request).await;
    check("nothing said, no validator", 200, &[], &[], 0, &[], Request).await;
    check("heuristic", 200, &[OLD], &[], 3600, &[], Nothing).await;
    check("no-store", 200, &[("cache-control", "no-store, max-age=100")], &[], 0, &[], Request)
        .await;
    check("private", 200, &[("cache-control", "private, max-age=100")], &[], 0, &[], Request).await;
    check(
        "no-cache",
        200,
        &[("cache-control", "no-cache"), ("etag", "\"1\"")],
        &[],
        0,
        &[],
        Question,
    )
    .await;
    check(
        "must-understand",
        200,
        &[("cache-control", "must-understand, no-store, max-age=100")],
        &[],
        0,
        &[],
        Nothing,
    )
    .await;
    check("404 with freshness", 404, &[("cache-control", "max-age=100")], &[], 0, &[], Nothing)
        .await;
    check("500 with freshness", 500, &[("cache-control", "max-age=100")], &[], 0, &[], Nothing)
        .await;
    check("unknown status", 299, &[("cache-control", "max-age=100")], &[], 0, &[], Nothing).await;
    check("302 without freshness", 302, &[("location", "/x")], &[], 0, &[], Request).await;
    check(
        "Set-Cookie is stored by the book",
        200,
        &[("cache-control", "max-age=100"), ("set-cookie", "a=b")],
        &[],
        0,
        &[],
        Nothing,
    )
    .await;
    check(
        "immutable, reload",
        200,
        &[("cache-control", "max-age=100, immutable"), ("etag", "\"1\"")],
        &[],
        0,
        &[],
        Nothing,
    )
    .await;
}

#[tokio::test]
async fn what_requests_say() {
    use Seen::{Nothing, Question, Request};
    let max_age: Fields<'_> = &[("cache-control", "max-age=100"), ("etag", "\"1\"")];
    check("no-cache", 200, max_age, &[], 10, &[("cache-control", "no-cache")], Question).await;
    check("max-age", 200, max_age, &[], 10, &[("cache-control", "max-age=5")], Question).await;
    check("min-fresh", 200, max_age, &[], 10, &[("cache-control", "min-fresh=95")], Question).await;
    check("max-stale", 200, max_age, &[], 110, &[("cache-control", "max-stale=50")], Nothing).await;
    check("only-if-cached", 200, max_age, &[], 10, &[("cache-control", "only-if-cached")], Nothing)
        .await;
    check(
        "no-store in the request",
        200,
        max_age,
        &[("cache-control", "no-store")],
        0,
        &[],
        Request,
    )
    .await;
    check("authorised", 200, max_age, &[("authorization", "Basic eDp5")], 0, &[], Request).await;
    check(
        "authorised but public",
        200,
        &[("cache-control", "public, max-age=100")],
        &[("authorization", "Basic eDp5")],
        0,
        &[],
        Nothing,
    )
    .await;
    let vary: Fields<'_> = &[("cache-control", "max-age=100"), ("vary", "accept-language")];
    check(
        "same variant",
        200,
        vary,
        &[("accept-language", "de")],
        0,
        &[("accept-language", "de")],
        Nothing,
    )
    .await;
    check(
        "other variant",
        200,
        vary,
        &[("accept-language", "de")],
        0,
        &[("accept-language", "fr")],
        Request,
    )
    .await;
    check(
        "vary by everything",
        200,
        &[("cache-control", "max-age=100"), ("vary", "*")],
        &[],
        0,
        &[],
        Request,
    )
    .await;
}

#[tokio::test]
async fn several_variants_are_kept() {
    let origin =
        origin(200, &[("cache-control", "max-age=100"), ("vary", "accept-language")]).await;
    let larder = Larder::start(&generic(&origin.url("/"), "")).await;
    let mut texts = Vec::new();
    for language in ["de", "fr", "de", "fr"] {
        texts.push(ask(&larder, &[("accept-language", language)]).await.text());
    }
    assert_eq!(origin.log().len(), 2);
    assert_eq!((&texts[0], &texts[1]), (&texts[2], &texts[3]));
    assert_ne!(texts[0], texts[1]);
}

#[tokio::test]
async fn unsafe_methods_pass_through_and_invalidate() {
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        let origin = origin(200, &[("cache-control", "max-age=100")]).await;
        let larder = Larder::start(&generic(&origin.url("/"), "")).await;
        ask(&larder, &[]).await;
        let sent = larder
            .client
            .ask(method.clone(), larder.url("/generic/it/thing?a=b"))
            .body("hello")
            .send()
            .await;
        assert_eq!(sent.status, 200, "{method}");
        let log = origin.log();
        assert_eq!((&log[1].method, log[1].body.as_ref()), (&method, &b"hello"[..]));
        ask(&larder, &[]).await;
        assert_eq!(origin.log().len(), 3, "{method} invalidates");
    }
}

#[tokio::test]
async fn parts_of_what_is_kept() {
    let origin = origin(200, &[("cache-control", "max-age=100"), ("etag", "\"1\"")]).await;
    let larder = Larder::start(&generic(&origin.url("/"), "")).await;
    ask(&larder, &[]).await;
    let part = ask(&larder, &[("range", "bytes=0-5")]).await;
    assert_eq!((part.status.as_u16(), part.text().as_str()), (206, "answer"));
    assert_eq!(ask(&larder, &[("if-none-match", "\"1\"")]).await.status, 304);
    assert_eq!(origin.log().len(), 1);
}

#[tokio::test]
async fn a_head_is_answered_from_a_kept_get() {
    let origin = origin(200, &[("cache-control", "max-age=100")]).await;
    let larder = Larder::start(&generic(&origin.url("/"), "")).await;
    ask(&larder, &[]).await;
    let head = larder.client.head(larder.url("/generic/it/thing?a=b")).send().await;
    assert_eq!((head.status.as_u16(), head.header("content-length")), (200, "8"));
    assert_eq!(origin.log().len(), 1);
}

#[tokio::test]
async fn stale_answers_are_served_as_far_as_the_book_allows() {
    let check = async |control: &'static str, seconds: u64, status: u16| {
        let fields: &'static [(&'static str, &'static str)] =
            Box::leak(Box::new([("cache-control", control), ("etag", "\"1\"")]));
        let origin = origin(200, fields).await;
        let larder = Larder::start(&generic(&origin.url("/"), "")).await;
        ask(&larder, &[]).await;
        larder.advance(seconds);
        origin.fault("*", Fault::status(503));
        assert_eq!(ask(&larder, &[]).await.status, status, "{control}, {seconds} s");
    };
    check("max-age=10, stale-if-error=100", 50, 200).await;
    check("max-age=10, stale-if-error=100", 500, 503).await;
    check("max-age=10, must-revalidate", 50, 503).await;
    check("max-age=10, proxy-revalidate, stale-if-error=100", 50, 503).await;
}

#[tokio::test]
async fn hop_by_hop_fields_stay_on_their_hop() {
    let origin = origin(
        200,
        &[
            ("cache-control", "max-age=100"),
            ("connection", "x-secret"),
            ("x-secret", "1"),
            ("proxy-authenticate", "Basic"),
            ("x-open", "2"),
        ],
    )
    .await;
    let larder = Larder::start(&generic(&origin.url("/"), "")).await;
    let reply = ask(
        &larder,
        &[("connection", "x-mine"), ("x-mine", "1"), ("te", "trailers"), ("x-through", "3")],
    )
    .await;
    assert_eq!(
        (reply.header("x-secret"), reply.header("proxy-authenticate"), reply.header("x-open")),
        ("", "", "2")
    );
    let log = origin.log();
    assert_eq!(
        (log[0].header("x-mine"), log[0].header("te"), log[0].header("x-through")),
        (None, None, Some("3"))
    );
    // RFC 9110 section 7.6.3: a gateway must say so to the origin.
    assert!(log[0].header("via").is_some(), "{:?}", log[0].headers);
}

#[tokio::test]
async fn a_cut_answer_is_cut_and_not_kept() {
    let origin = origin(200, &[("cache-control", "max-age=100")]).await;
    let larder = Larder::start(&generic(&origin.url("/"), "")).await;
    origin.fault_times("*", 1, Fault::ChunkedCut { after: 4 });
    // The cut may come before the head has left: then there is no answer at all.
    let reply = larder.client.get(larder.url("/generic/it/thing?a=b")).try_send().await;
    assert!(reply.as_ref().is_none_or(|reply| reply.cut || reply.status == 502), "{reply:?}");
    let mut again = None;
    eventually("the cut answer is forgotten", async || {
        again = larder.client.get(larder.url("/generic/it/thing?a=b")).try_send().await;
        again.as_ref().is_some_and(|reply| !reply.cut)
    })
    .await;
    let again = again.expect("an answer");
    assert!(again.status == 200 && !again.cut && again.text().starts_with("answer"), "{again:?}");
}
