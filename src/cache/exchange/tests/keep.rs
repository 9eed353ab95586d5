//! Larder's promises over RFC 9111's.

use super::*;
use crate::types::Presence;
use crate::upstream::UpstreamError;
use crate::upstream::scripted::Gate;

async fn kept(bench: &Bench, fields: &[(&'static str, &str)]) -> Found {
    let found = bench.ask(bench.asking(Mode::Keep, fields)).await.expect("an answer");
    bench.settle().await;
    found
}

#[tokio::test]
async fn what_was_public_is_served_again_however_old() {
    let refused = UpstreamError::Refused { host: "origin.example".to_owned() };
    let troubles = [
        (Reply::error(refused), "upstream-unreachable"),
        (status(500, &[]), "upstream-error"),
        (status(429, &[]), "upstream-error"),
        (status(404, &[]), "gone-upstream"),
        (status(410, &[]), "gone-upstream"),
        (status(401, &[]), "withdrawn-upstream"),
        (status(403, &[]), "withdrawn-upstream"),
    ];
    for (trouble, detail) in troubles {
        let bench = Bench::new();
        let rule = ("cache-control", "max-age=10, must-revalidate");
        bench.upstream.once(ADDRESS, page(&[rule], "kept"));
        kept(&bench, &[]).await;
        bench.upstream.always(ADDRESS, trouble);
        for years in [0, 5] {
            bench.advance(20 + years * 365 * 24 * 3600);
            let found = kept(&bench, &[("cache-control", "no-cache")]).await;
            assert_eq!(text(&found).await, "kept", "{detail}");
            assert!(found.trace.stale, "{detail}");
            assert_eq!(found.trace.status.detail, Some(detail));
        }
        let resting = kept(&bench, &[]).await;
        assert_eq!(resting.trace.status.detail, Some("upstream-resting"));
        let presence = resting.trace.presence;
        assert_eq!(presence == Presence::Present, detail.starts_with("upstream"), "{presence:?}");
        assert_eq!(bench.asked(), 3);
    }
}

#[tokio::test]
async fn what_was_never_allowed_is_not_kept() {
    for rule in ["no-store", "private"] {
        let bench = Bench::new();
        bench.upstream.once(ADDRESS, page(&[("cache-control", rule)], "mine"));
        kept(&bench, &[]).await;
        bench.upstream.always(ADDRESS, status(500, &[]));
        assert_eq!(kept(&bench, &[]).await.head.status, 500, "{rule}");
    }
}

#[tokio::test]
async fn a_plain_200_is_kept_and_confirmed_at_most_once_per_interval() {
    let bench = Bench::new();
    bench.upstream.always(ADDRESS, page(&[], "x"));
    for _ in 0..3 {
        assert_eq!(text(&kept(&bench, &[("cache-control", "no-cache")]).await).await, "x");
    }
    assert_eq!(bench.asked(), 1);
    bench.advance(6);
    kept(&bench, &[]).await;
    assert_eq!(bench.asked(), 2);
}

#[tokio::test]
async fn the_whole_is_fetched_whatever_the_client_has() {
    let bench = Bench::new();
    bench.upstream.always(ADDRESS, page(&[("cache-control", "max-age=60")], "whole"));
    let asked = [("range", "bytes=0-1"), ("if-none-match", "\"x\"")];
    assert_eq!(text(&kept(&bench, &asked).await).await, "whole");
    let sent = bench.last_headers();
    assert!(!sent.contains_key("range") && !sent.contains_key("if-none-match"));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_the_budget_while_something_is_kept() {
    let bench = Bench::new();
    bench.upstream.once(ADDRESS, page(&[("cache-control", "max-age=10")], "old"));
    kept(&bench, &[]).await;
    bench.advance(20);
    let gate = Gate::new();
    bench.upstream.once(ADDRESS, page(&[("cache-control", "max-age=10")], "new").pause_head(&gate));
    let begun = tokio::time::Instant::now();
    let found = bench.ask(bench.asking(Mode::Keep, &[])).await.expect("an answer");
    assert_eq!(begun.elapsed(), Config::default().revalidate_budget);
    assert_eq!(
        (text(&found).await.as_str(), found.trace.status.detail),
        ("old", Some("upstream-slow"))
    );
    assert_eq!(bench.upstream.slow_reports().len(), 1);
    gate.open();
    bench.settle().await;
    assert_eq!(text(&kept(&bench, &[]).await).await, "new", "the question went on behind");
    assert_eq!(bench.asked(), 2);
}

#[tokio::test]
async fn an_unsafe_request_outdates_and_does_not_destroy() {
    let bench = Bench::new();
    bench
        .upstream
        .once(ADDRESS, page(&[("cache-control", "max-age=600"), ("etag", "\"1\"")], "kept"));
    kept(&bench, &[]).await;
    bench.advance(20);
    bench.upstream.once(ADDRESS, status(204, &[]));
    let delete = bench.asking(Mode::Keep, &[]).method("DELETE");
    bench.whole(delete).await;
    bench.upstream.always(ADDRESS, status(404, &[]));
    let found = kept(&bench, &[]).await;
    assert_eq!(
        (text(&found).await.as_str(), found.trace.status.detail),
        ("kept", Some("gone-upstream"))
    );
    assert_eq!(bench.asked(), 3, "it was asked about, fresh as it had been");
}
