//! Confirming what is kept.

use super::*;

const RULE: (&str, &str) = ("cache-control", "max-age=10");

#[tokio::test]
async fn a_304_freshens_head_and_time() {
    let bench = Bench::new();
    let fields = [RULE, ("etag", "\"1\""), ("last-modified", DATE), ("x-a", "1"), ("x-b", "1")];
    bench.upstream.once(ADDRESS, page(&fields, "body"));
    bench.get(&[]).await;
    bench.advance(20);
    bench.upstream.once(ADDRESS, status(304, &[("cache-control", "max-age=100"), ("x-a", "2")]));
    let found = bench.ask(bench.asking(Mode::ByTheBook, &[("x-sent", "1")])).await;
    let found = found.expect("an answer");
    bench.settle().await;
    let sent = bench.last_headers();
    assert_eq!(
        (&sent["if-none-match"], &sent["if-modified-since"]),
        (&"\"1\"".parse().expect("a value"), &DATE.parse().expect("a value"))
    );
    assert_eq!(sent["x-sent"], "1");
    assert_eq!((found.head.status.as_u16(), text(&found).await), (200, "body".to_owned()));
    assert_eq!(
        (&found.head.headers["x-a"], &found.head.headers["x-b"]),
        (&"2".parse().expect("a value"), &"1".parse().expect("a value"))
    );
    assert_eq!(
        found.trace.status.to_string(),
        "larder; fwd=stale; fwd-status=304; ttl=100; stored"
    );
    bench.advance(90);
    let later = bench.ask(bench.asking(Mode::ByTheBook, &[])).await.expect("an answer");
    assert_eq!(
        (&later.head.headers["x-a"], later.trace.age_secs),
        (&"2".parse().expect("a value"), Some(90))
    );
    assert_eq!(bench.asked(), 2);
}

#[tokio::test]
async fn a_304_may_end_the_keeping() {
    let bench = Bench::new();
    bench.upstream.once(ADDRESS, page(&[RULE, ("etag", "\"1\"")], "body"));
    bench.get(&[]).await;
    bench.advance(20);
    bench.upstream.once(ADDRESS, status(304, &[("cache-control", "no-store")]));
    assert_eq!(bench.get(&[]).await, (200, "body".to_owned()));
    bench.upstream.once(ADDRESS, page(&[RULE], "anew"));
    assert_eq!(bench.get(&[]).await, (200, "anew".to_owned()));
    assert!(!bench.last_headers().contains_key("if-none-match"));
}

#[tokio::test]
async fn a_new_200_replaces_what_is_kept() {
    let bench = Bench::new();
    bench.upstream.once(ADDRESS, page(&[RULE, ("etag", "\"1\"")], "old"));
    bench.get(&[]).await;
    bench.advance(20);
    bench.upstream.once(ADDRESS, page(&[RULE, ("etag", "\"2\"")], "new"));
    for _ in 0..2 {
        assert_eq!(bench.get(&[]).await, (200, "new".to_owned()));
    }
    assert_eq!(bench.asked(), 2);
}

#[tokio::test]
async fn no_cache_confirms_each_time_by_itself() {
    let bench = Bench::new();
    let fields = [("cache-control", "no-cache"), ("etag", "\"1\"")];
    bench.upstream.once(ADDRESS, page(&fields, "body"));
    bench.upstream.always(ADDRESS, status(304, &fields));
    for _ in 0..3 {
        assert_eq!(bench.get(&[]).await, (200, "body".to_owned()));
    }
    assert_eq!(bench.asked(), 3);
}

#[tokio::test]
async fn requests_bend_freshness() {
    let check = async |asked: &'static str, after: u64, expected: usize| {
        let bench = Bench::new();
        bench.upstream.always(ADDRESS, page(&[RULE], "x"));
        bench.get(&[]).await;
        bench.advance(after);
        bench.get(&[("cache-control", asked)]).await;
        assert_eq!(bench.asked(), expected, "{asked} after {after} s");
    };
    check("x", 9, 1).await;
    check("x", 10, 2).await;
    check("no-cache", 1, 2).await;
    check("no-store", 1, 2).await;
    check("max-age=0", 1, 2).await;
    check("max-age=5", 4, 1).await;
    check("min-fresh=8", 4, 2).await;
    check("max-stale=9", 15, 1).await;
    check("only-if-cached", 4, 1).await;
    check("only-if-cached", 15, 1).await;
}

/// RFC 9111 section 4.3.5.
#[tokio::test]
async fn a_head_renews_or_outdates_the_kept_get() {
    for (length, renewed) in [("4", true), ("5", false)] {
        let bench = Bench::new();
        bench.upstream.once(ADDRESS, page(&[RULE, ("x-kept", "1")], "body"));
        bench.get(&[]).await;
        let head = || bench.asking(Mode::ByTheBook, &[]).method("HEAD");
        let found = bench.ask(head()).await.expect("an answer");
        assert!(found.trace.status.is_hit(), "a fresh GET answers HEAD");
        bench.advance(20);
        let answer = status(200, &[("cache-control", "max-age=100"), ("content-length", length)]);
        bench.upstream.once(ADDRESS, answer.announced(length.parse().expect("a number")));
        let found = bench.ask(head()).await.expect("an answer");
        bench.settle().await;
        assert_eq!(found.head.headers.contains_key("x-kept"), renewed);
        bench.upstream.always(ADDRESS, page(&[RULE], "anew"));
        assert_eq!(bench.get(&[]).await.1, if renewed { "body" } else { "anew" });
    }
}

#[tokio::test]
async fn a_head_fetches_no_body() {
    let bench = Bench::new();
    bench.upstream.always(ADDRESS, page(&[RULE], "body"));
    let head = bench.asking(Mode::ByTheBook, &[]).method("HEAD");
    let found = bench.ask(head).await.expect("an answer");
    assert_eq!((text(&found).await, found.source.len()), (String::new(), Some(4)));
    assert_eq!(bench.get(&[]).await.1, "body");
    assert_eq!(bench.asked(), 2);
}
