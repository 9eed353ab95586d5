//! What goes wrong upstream, in the store, or between requests.

use super::*;
use crate::cache::found::Source;
use crate::store::Store;
use crate::store::memory::Fault;
use crate::types::CacheKey;
use crate::upstream::UpstreamError;
use crate::upstream::scripted::Gate;

fn refused() -> Reply {
    Reply::error(UpstreamError::Refused { host: "origin.example".to_owned() })
}

#[tokio::test]
async fn without_upstream_and_anything_kept_there_is_no_answer() {
    let bench = Bench::new();
    bench.upstream.always(ADDRESS, refused());
    let (status, failure) = bench.get(&[]).await;
    assert_eq!(status, 0, "{failure}");
    assert!(matches!(
        bench.ask(bench.asking(Mode::ByTheBook, &[("cache-control", "only-if-cached")])).await,
        Err(Failure::NotKept)
    ));
    assert_eq!(bench.asked(), 1);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_kept() {
    let lasting = [("cache-control", "max-age=60")];
    for body in ["small", LARGE] {
        let bench = Bench::new();
        bench.upstream.otherwise(move |_| page(&lasting, body).cut_after(3));
        let (_, broken) = bench.get(&[]).await;
        assert!(broken != body, "{broken}");
        bench.upstream.otherwise(move |_| page(&lasting, body));
        let asked = bench.asked();
        assert_eq!(bench.get(&[]).await, (200, body.to_owned()));
        assert_eq!(bench.asked(), asked + 1);
        assert_eq!(bench.get(&[]).await, (200, body.to_owned()));
        assert_eq!(bench.asked(), asked + 1, "the whole one is kept");
    }
}

/// More than what is kept within an index row.
const LARGE: &str = {
    static BYTES: [u8; 20 << 10] = [b'x'; 20 << 10];
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => panic!("letters are UTF-8"),
    }
};

#[tokio::test]
async fn a_body_whose_end_cannot_be_told_is_not_kept() {
    let bench = Bench::new();
    bench.upstream.always(ADDRESS, page(&[("cache-control", "max-age=60")], "x").without_length());
    assert_eq!(bench.get(&[]).await, (200, "x".to_owned()));
    assert_eq!(bench.get(&[]).await, (200, "x".to_owned()));
    assert_eq!(bench.asked(), 2);
}

#[tokio::test]
async fn what_is_kept_stands_in_for_an_outage_where_it_may() {
    let outages = [refused(), status(500, &[]), status(503, &[]), status(504, &[])];
    for outage in outages {
        for (rule, stands_in) in [
            ("max-age=10", true),
            ("max-age=10, stale-if-error=60", true),
            ("max-age=10, stale-if-error=1", false),
            ("max-age=10, must-revalidate", false),
            ("s-maxage=10", false),
            ("max-age=10, no-cache", false),
        ] {
            let bench = Bench::new();
            bench
                .upstream
                .once(ADDRESS, page(&[("cache-control", rule), ("etag", "\"1\"")], "kept"));
            bench.get(&[]).await;
            bench.upstream.always(ADDRESS, outage.clone());
            bench.advance(20);
            let found = bench.ask(bench.asking(Mode::ByTheBook, &[])).await;
            let stood_in = found.as_ref().is_ok_and(|found| found.trace.stale);
            assert_eq!(stood_in, stands_in, "{rule}: {found:?}");
            let insisting = bench.get(&[("cache-control", "no-cache")]).await;
            assert_ne!(insisting.1, "kept", "{rule}: the client insists");
        }
    }
}

#[tokio::test]
async fn a_404_is_no_outage() {
    let bench = Bench::new();
    bench.upstream.once(ADDRESS, page(&[("cache-control", "max-age=10")], "kept"));
    bench.get(&[]).await;
    bench.advance(20);
    bench.upstream.once(ADDRESS, status(404, &[]));
    assert_eq!(bench.get(&[]).await.0, 404);
    bench.upstream.always(ADDRESS, refused());
    assert_eq!(bench.get(&[]).await.0, 0, "what the 404 superseded does not come back");
}

/// A 304 that names another tag than the one asked about must not freshen what is kept (RFC 9111 section 4.3.4).
#[tokio::test]
async fn a_confirmation_of_something_else_leads_to_another_question() {
    let bench = Bench::new();
    bench
        .upstream
        .once(ADDRESS, page(&[("cache-control", "max-age=10"), ("etag", "\"1\"")], "one"));
    bench.get(&[]).await;
    bench.advance(20);
    bench.upstream.once(ADDRESS, status(304, &[("etag", "\"2\"")]));
    bench
        .upstream
        .once(ADDRESS, page(&[("cache-control", "max-age=10"), ("etag", "\"2\"")], "two"));
    assert_eq!(bench.get(&[]).await, (200, "two".to_owned()));
    assert!(!bench.last_headers().contains_key("if-none-match"));
}

#[tokio::test]
async fn an_answer_that_was_asked_for_before_an_invalidation_is_not_kept() {
    let bench = Bench::new();
    let gate = Gate::new();
    let lasting = [("cache-control", "max-age=60")];
    bench.upstream.once(ADDRESS, page(&lasting, "before").pause_head(&gate));
    let early = bench.ask(bench.asking(Mode::ByTheBook, &[]));
    let change = async {
        gate.reached(1).await;
        bench.upstream.once(ADDRESS, status(204, &[]));
        let put = bench.asking(Mode::ByTheBook, &[]).method("PUT").carrying("after");
        bench.ask(put).await.expect("an answer");
        gate.open();
    };
    let (early, ()) = tokio::join!(early, change);
    assert_eq!(text(&early.expect("an answer")).await, "before");
    bench.settle().await;
    bench.upstream.once(ADDRESS, page(&lasting, "after"));
    assert_eq!(bench.get(&[]).await, (200, "after".to_owned()));
    assert_eq!(bench.get(&[]).await, (200, "after".to_owned()));
}

#[tokio::test]
async fn a_store_that_takes_nothing_is_passed_by() {
    let lasting = [("cache-control", "max-age=60")];
    for (fault, body) in [(Fault::Refusing, "small"), (Fault::Full, LARGE)] {
        let bench = Bench::new();
        bench.store.suffer(fault);
        bench.upstream.otherwise(move |_| page(&lasting, body));
        assert_eq!(bench.get(&[]).await, (200, body.to_owned()), "{fault:?}");
        assert_eq!(bench.get(&[]).await, (200, body.to_owned()), "{fault:?}");
        assert_eq!(bench.asked(), 2, "{fault:?}");
        bench.store.recover(fault);
        bench.advance(60);
        bench.get(&[]).await;
        assert_eq!(bench.get(&[]).await, (200, body.to_owned()), "{fault:?}");
        assert_eq!(bench.asked(), 3, "{fault:?} is over");
    }
}

#[tokio::test]
async fn a_lost_blob_is_a_miss_that_heals() {
    let bench = Bench::new();
    bench.upstream.otherwise(|_| page(&[("cache-control", "max-age=60")], LARGE));
    bench.get(&[]).await;
    let kept = bench.ask(bench.asking(Mode::ByTheBook, &[])).await.expect("an answer");
    assert!(matches!(kept.source, Source::Blob { .. }), "{kept:?}");
    let key = CacheKey::new("generic/test", &Audience::Public, "/a");
    let entry = bench.store.get(&key).expect("a store in order").expect("an entry");
    assert!(bench.store.lose_blob(entry.body.blob().expect("a blob")));
    assert_eq!(bench.get(&[]).await, (200, LARGE.to_owned()));
    assert_eq!(bench.asked(), 2);
}
