//! One question for many, and none for what is not to be shared.

use futures_util::FutureExt;
use futures_util::future::join_all;

use super::*;
use crate::upstream::scripted::Gate;

#[tokio::test]
async fn concurrent_misses_ask_once_whoever_leaves() {
    let bench = Bench::new();
    let gate = Gate::new();
    bench.upstream.always(ADDRESS, page(&[("cache-control", "max-age=60")], "x").pause_head(&gate));
    let first = bench.ask(bench.asking(Mode::ByTheBook, &[])).now_or_never();
    assert!(first.is_none(), "it waits, and leaves");
    let clients = join_all((0..9).map(|_| bench.get(&[])));
    let open = async {
        gate.reached(1).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(clients, open);
    assert!(answers.iter().all(|answer| *answer == (200, "x".to_owned())));
    assert_eq!(bench.asked(), 1);
}

#[tokio::test]
async fn readers_join_a_body_that_is_still_arriving() {
    let bench = Bench::new();
    let gate = Gate::new();
    let body = Bytes::from(vec![b'x'; 2 << 20]);
    let reply = page(&[("cache-control", "max-age=60")], "").body(body.clone());
    bench.upstream.always(ADDRESS, reply.chunks_of(64 << 10).pause_at(1 << 20, &gate));
    let first = bench.ask(bench.asking(Mode::ByTheBook, &[])).await.expect("an answer");
    gate.reached(1).await;
    let second = bench.ask(bench.asking(Mode::ByTheBook, &[])).await.expect("an answer");
    drop(first);
    gate.open();
    assert_eq!(text(&second).await.len(), body.len());
    bench.settle().await;
    let third = bench.ask(bench.asking(Mode::ByTheBook, &[])).await.expect("an answer");
    assert_eq!(text(&third).await.len(), body.len());
    assert_eq!(bench.asked(), 1);
}

#[tokio::test]
async fn what_cannot_be_shared_is_asked_for_by_each_without_a_line() {
    for rule in ["no-store", "private", "no-cache", "max-age=0"] {
        let bench = Bench::new();
        bench.upstream.always(ADDRESS, page(&[("cache-control", rule)], "x"));
        bench.get(&[]).await;
        let gate = Gate::new();
        let reply = page(&[("cache-control", rule)], "x").pause_head(&gate);
        bench.upstream.always(ADDRESS, reply);
        let clients = join_all((0..3).map(|_| bench.get(&[])));
        let open = async {
            gate.reached(3).await;
            gate.open();
        };
        let (answers, ()) = tokio::join!(clients, open);
        assert!(answers.iter().all(|answer| *answer == (200, "x".to_owned())));
        assert_eq!(bench.asked(), 4, "{rule}");
    }
}

#[tokio::test]
async fn what_one_client_authorised_itself_for_is_not_anothers() {
    let bench = Bench::new();
    for (rule, shared) in [("max-age=60", false), ("max-age=60, public", true)] {
        bench.upstream.once(ADDRESS, page(&[("cache-control", rule)], "mine"));
        bench.upstream.once(ADDRESS, status(401, &[]));
        let mine = bench.asking(Mode::ByTheBook, &[]).authorised();
        assert_eq!(bench.whole(mine).await.1, "mine");
        let found = bench.get(&[]).await;
        assert_eq!(found.0, if shared { 200 } else { 401 }, "{rule}");
    }
}

#[tokio::test]
async fn a_request_with_a_body_leaves_no_trace() {
    let bench = Bench::new();
    bench.upstream.always(ADDRESS, page(&[("cache-control", "max-age=60")], "x"));
    let odd = bench.asking(Mode::ByTheBook, &[]).carrying("fat");
    bench.whole(odd).await;
    bench.get(&[]).await;
    assert_eq!(bench.asked(), 2);
}

#[tokio::test]
async fn a_renewal_in_the_background_is_flown_once() {
    let bench = Bench::new();
    let rule = [("cache-control", "max-age=10, stale-while-revalidate=60"), ("etag", "\"1\"")];
    bench.upstream.once(ADDRESS, page(&rule, "old"));
    bench.get(&[]).await;
    bench.advance(20);
    let gate = Gate::new();
    bench.upstream.always(ADDRESS, page(&rule, "new").pause_head(&gate));
    for _ in 0..3 {
        let found = bench.ask(bench.asking(Mode::ByTheBook, &[])).await.expect("an answer");
        assert_eq!(text(&found).await, "old");
        assert!(found.trace.stale && found.trace.status.is_hit());
    }
    gate.open();
    bench.settle().await;
    assert_eq!(bench.asked(), 2);
    assert_eq!(bench.get(&[]).await, (200, "new".to_owned()));
    assert_eq!(bench.asked(), 2);
}
