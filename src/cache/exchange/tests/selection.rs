//! Which kept response answers which request.

use super::*;
use crate::cache::exchange::shelf::MOST_VARIANTS;

fn by_language(request: &OriginRequest) -> Reply {
    let language = request.headers.get("accept-language").map(|value| value.to_str());
    let body = match language {
        Some(Ok("de")) => "deutsch",
        Some(_) => "english",
        None => "none",
    };
    page(&[("cache-control", "max-age=60"), ("vary", "Accept-Language"), ("etag", "\"x\"")], body)
}

#[tokio::test]
async fn variants_lie_side_by_side() {
    let bench = Bench::new();
    bench.upstream.answer(ADDRESS, by_language);
    for _ in 0..2 {
        assert_eq!(bench.get(&[("accept-language", "de")]).await.1, "deutsch");
        assert_eq!(bench.get(&[("accept-language", "en")]).await.1, "english");
        assert_eq!(bench.get(&[]).await.1, "none");
        assert_eq!(bench.get(&[("accept-language", "DE"), ("x-other", "1")]).await.1, "deutsch");
    }
    assert_eq!(bench.asked(), 3);
}

#[tokio::test]
async fn variants_are_bounded() {
    let bench = Bench::new();
    let vary = [("cache-control", "max-age=600"), ("vary", "x-a")];
    bench.upstream.always(ADDRESS, page(&vary, "x"));
    let one_more = MOST_VARIANTS + 1;
    for number in 0..one_more {
        bench.get(&[("x-a", &number.to_string())]).await;
        bench.advance(1);
    }
    assert_eq!(bench.asked(), one_more);
    bench.get(&[("x-a", &MOST_VARIANTS.to_string())]).await;
    assert_eq!(bench.asked(), one_more, "the newest is kept");
    bench.get(&[("x-a", "0")]).await;
    assert_eq!(bench.asked(), one_more + 1, "the oldest made room");
}

/// RFC 9111 section 4.1: what is kept for other requests may be what this one gets, too; its tag asks.
#[tokio::test]
async fn a_304_can_select_what_was_kept_for_another_request() {
    let bench = Bench::new();
    let vary = [("cache-control", "max-age=60"), ("vary", "x-a"), ("etag", "\"x\"")];
    bench.upstream.once(ADDRESS, page(&vary, "shared"));
    bench.get(&[("x-a", "1")]).await;
    bench.upstream.once(ADDRESS, status(304, &vary));
    assert_eq!(bench.get(&[("x-a", "2")]).await, (200, "shared".to_owned()));
    assert_eq!(bench.last_headers()["if-none-match"], "\"x\"");
    for value in ["1", "2"] {
        assert_eq!(bench.get(&[("x-a", value)]).await, (200, "shared".to_owned()));
    }
    assert_eq!(bench.asked(), 2);
}

#[tokio::test]
async fn one_response_for_all_replaces_the_variants() {
    let bench = Bench::new();
    bench.upstream.answer(ADDRESS, by_language);
    bench.get(&[("accept-language", "de")]).await;
    bench.upstream.always(ADDRESS, page(&[("cache-control", "max-age=60")], "one"));
    assert_eq!(bench.get(&[("accept-language", "en")]).await.1, "one");
    assert_eq!(bench.get(&[("accept-language", "de")]).await.1, "one");
    assert_eq!(bench.asked(), 2);
}

#[tokio::test]
async fn unsafe_methods_invalidate_on_success() {
    for (method, answer, gone) in
        [("POST", 200, true), ("DELETE", 204, true), ("M-SEARCH", 302, true), ("PUT", 500, false)]
    {
        let bench = Bench::new();
        bench.upstream.answer(ADDRESS, by_language);
        let other = "http://origin.example/b?c";
        bench.upstream.always(other, page(&[("cache-control", "max-age=60")], "other"));
        for _ in 0..2 {
            bench.get(&[("accept-language", "de")]).await;
            bench.whole(bench.asking(Mode::ByTheBook, &[]).at(other)).await;
        }
        assert_eq!(bench.asked(), 2);
        bench.upstream.once(ADDRESS, status(answer, &[("location", "/b?c")]));
        let change = bench.asking(Mode::ByTheBook, &[]).method(method).carrying("x");
        assert_eq!(bench.whole(change).await.0, answer);
        bench.get(&[("accept-language", "de")]).await;
        bench.whole(bench.asking(Mode::ByTheBook, &[]).at(other)).await;
        assert_eq!(bench.asked(), if gone { 5 } else { 3 }, "{method}");
    }
}

#[tokio::test]
async fn a_post_that_names_its_target_answers_get() {
    let bench = Bench::new();
    let fields = [("cache-control", "max-age=60"), ("content-location", "/a")];
    bench.upstream.once(ADDRESS, page(&fields, "posted"));
    let post = bench.asking(Mode::ByTheBook, &[]).method("POST").carrying("x");
    assert_eq!(bench.whole(post).await.1, "posted");
    assert_eq!(bench.get(&[]).await, (200, "posted".to_owned()));
    assert_eq!(bench.asked(), 1);
}

#[tokio::test]
async fn ranges_and_preconditions_go_upstream_only_when_nothing_is_kept() {
    let bench = Bench::new();
    bench.upstream.answer(ADDRESS, |request| match request.headers.get("range") {
        Some(_) => {
            status(206, &[("content-range", "bytes 0-1/5"), ("cache-control", "max-age=60")])
                .body("wh")
        }
        None => page(&[("cache-control", "max-age=60")], "whole"),
    });
    let range = ("range", "bytes=0-1");
    assert_eq!(bench.get(&[range]).await, (206, "wh".to_owned()));
    bench.upstream.once(ADDRESS, status(304, &[]));
    assert_eq!(bench.get(&[("if-none-match", "\"x\"")]).await.0, 304);
    assert_eq!(bench.last_headers()["if-none-match"], "\"x\"");
    assert_eq!(bench.get(&[]).await, (200, "whole".to_owned()));
    assert_eq!(bench.asked(), 3);
    let kept = (200, "whole".to_owned());
    assert_eq!(bench.get(&[range]).await, kept, "whoever delivers takes the part");
    assert_eq!(bench.get(&[("if-none-match", "\"x\"")]).await, kept);
    assert_eq!(bench.asked(), 3);
}

#[tokio::test]
async fn fields_are_kept_exactly_but_for_those_of_one_client() {
    let bench = Bench::new();
    let fields = [
        ("cache-control", "max-age=60, no-cache=\"x-mine\""),
        ("age", "7"),
        ("date", DATE),
        ("x-mine", "1"),
        ("x-twice", "b"),
        ("x-twice", "a"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
    ];
    bench.upstream.always(ADDRESS, page(&fields, "x"));
    let first = bench.ask(bench.asking(Mode::ByTheBook, &[])).await.expect("an answer");
    assert!(first.head.headers.contains_key("x-mine") && !first.head.headers.contains_key("x-hop"));
    bench.settle().await;
    bench.advance(5);
    let second = bench.ask(bench.asking(Mode::ByTheBook, &[])).await.expect("an answer");
    let headers = &second.head.headers;
    assert!(!headers.contains_key("x-mine") && !headers.contains_key("x-hop"));
    assert_eq!(headers.get_all("x-twice").iter().collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(second.trace.age_secs, Some(12));
    assert_eq!(second.trace.status.to_string(), "larder; hit; ttl=48");
}
