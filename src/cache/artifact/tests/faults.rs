//! Upstreams that lie, break and change their mind.

use super::*;
use crate::types::What;
use crate::types::event::Kind;
use crate::upstream::UpstreamError;
use crate::upstream::scripted::{Gate, Reply};

#[tokio::test(start_paused = true)]
async fn a_small_body_with_a_wrong_digest_is_refused_and_nothing_of_it_seen() {
    let bench = Bench::new();
    let right = content(10_000, 1);
    bench.upstream.always(FILE, Reply::file(content(10_000, 2), "\"bad\"").chunks_of(1000));
    let refused = bench.get(&promised(&right)).await;
    assert!(matches!(refused, Err(Failure::BadAnswer(_))), "{refused:?}");
    assert_eq!(bench.upstream.count(FILE), 2, "once more, from nothing");
    let again = &bench.upstream.requests()[1].headers;
    assert_eq!(again.get(header::CACHE_CONTROL).expect("past caches"), "no-cache");
    bench.settled().await;
    assert!(bench.entry(&promised(&right)).is_none());

    // It is told of once, however often somebody asks.
    assert!(bench.get(&promised(&right)).await.is_err());
    let told = bench.notebook.take();
    assert_eq!(told.len(), 1, "{told:?}");
    let What { kind, subject, before, .. } = &told[0].what;
    let promised_digest = BlobId::of(&right).digest().to_string();
    assert_eq!((*kind, subject.as_str()), (Kind::Mutated, "test:f"));
    assert_eq!(before.as_deref(), Some(promised_digest.as_str()));

    bench.upstream.always(FILE, Reply::file(right.clone(), "\"good\""));
    let found = bench.get(&promised(&right)).await.expect("the next good answer heals");
    assert_eq!(whole(found.source.body(None)).await, right);
}

#[tokio::test(start_paused = true)]
async fn a_second_answer_may_be_right() {
    let bench = Bench::new();
    let right = content(10_000, 1);
    bench.upstream.once(FILE, Reply::file(content(10_000, 2), "\"bad\""));
    bench.upstream.once(FILE, Reply::file(right.clone(), "\"good\""));
    let found = bench.get(&promised(&right)).await.expect("healed at once");
    assert_eq!(found.head.headers[header::ETAG], "\"good\"");
    assert_eq!(whole(found.source.body(None)).await, right);
    assert_eq!(bench.notebook.take(), [], "upstream has what it promises");
}

/// The body stops until its head was given away: before that, another body could still take its place.
#[tokio::test(start_paused = true)]
async fn a_large_body_with_a_wrong_digest_is_never_completed() {
    for with_length in [true, false] {
        let (bench, gate) = (Bench::new(), Gate::new());
        let right = promised(&content(3 * MIB, 1));
        let reply = Reply::file(content(3 * MIB, 2), "\"bad\"").chunks_of(100_000);
        let reply = reply.pause_at(2 * MIB, &gate);
        let reply = if with_length { reply } else { reply.without_length() };
        bench.upstream.always(FILE, reply);
        let found = bench.get(&right).await.expect("it begins well");
        gate.open();
        let (bytes, fault) = drain(found.source.body(None)).await;
        assert!(matches!(fault, Some(BodyFault::Cut(Failure::BadAnswer(_)))), "{fault:?}");
        assert!(bytes.len() <= 3 * MIB - (64 << 10), "{} bytes were seen", bytes.len());
        bench.settled().await;
        assert_eq!((bench.upstream.count(FILE), bench.entry(&right).is_none()), (1, true));
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_body_goes_on_where_it_broke() {
    for (promise, error) in [
        (true, UpstreamError::TimedOut { host: "files.example".into(), stage: "body" }),
        (false, UpstreamError::Broken { host: "files.example".into(), detail: "reset".into() }),
    ] {
        let bench = Bench::new();
        let bytes = content(2 * MIB, 3);
        let file = || Reply::file(bytes.clone(), "\"v1\"").chunks_of(70_000);
        bench.upstream.once(FILE, file().fail_after(MIB, error));
        bench.upstream.once(FILE, Reply::new(StatusCode::SERVICE_UNAVAILABLE));
        bench.upstream.once(FILE, file().cut_after(300_000));
        bench.upstream.always(FILE, file());
        let asked = if promise { promised(&bytes) } else { trusted() };
        let found = bench.get(&asked).await.expect("it begins well");
        assert_eq!(whole(found.source.body(None)).await, bytes);
        assert_eq!(bench.upstream.delivered_bytes(), bytes.len() as u64, "each byte once");
        let ranges: Vec<_> = bench
            .upstream
            .requests()
            .into_iter()
            .map(|request| {
                let field = |name| {
                    request
                        .headers
                        .get(name)
                        .map(|value: &http::HeaderValue| value.to_str().expect("text").to_owned())
                };
                (field(header::RANGE), field(header::IF_RANGE))
            })
            .collect();
        let resumed = |at: usize| (Some(format!("bytes={at}-")), Some("\"v1\"".to_owned()));
        let expected = [(None, None), resumed(MIB), resumed(MIB), resumed(MIB + 300_000)];
        assert_eq!(ranges, expected);
        bench.settled().await;
        assert!(bench.entry(&asked).is_some());
    }
}

/// The origin answers a request for the rest with the whole body. It is the same one, so what is there is passed over.
#[tokio::test(start_paused = true)]
async fn an_origin_without_ranges_is_read_again_from_the_start() {
    let bench = Bench::new();
    let bytes = content(2 * MIB, 4);
    let plain = || Reply::new(StatusCode::OK).header("etag", "\"v1\"").body(bytes.clone());
    bench.upstream.once(FILE, plain().chunks_of(90_000).cut_after(MIB));
    bench.upstream.always(FILE, plain().chunks_of(50_000));
    let found = bench.get(&trusted()).await.expect("it begins well");
    assert_eq!(whole(found.source.body(None)).await, bytes);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_changed_while_it_was_fetched_is_cut() {
    for tail in [
        Reply::file(content(2 * MIB, 6), "\"v2\""),
        Reply::file(content(3 * MIB, 6), "\"v2\""),
        Reply::new(StatusCode::RANGE_NOT_SATISFIABLE),
    ] {
        let (bench, gate) = (Bench::new(), Gate::new());
        let bytes = content(2 * MIB, 5);
        let broken = Reply::file(bytes.clone(), "\"v1\"").chunks_of(90_000).cut_after(MIB);
        bench.upstream.once(FILE, broken.pause_at(MIB / 2, &gate));
        bench.upstream.always(FILE, tail);
        let found = bench.get(&trusted()).await.expect("it begins well");
        gate.open();
        let (seen, fault) = drain(found.source.body(None)).await;
        assert!(matches!(fault, Some(BodyFault::Cut(Failure::BadAnswer(_)))), "{fault:?}");
        assert_eq!(seen, bytes[..seen.len()]);
        bench.settled().await;
        assert!(bench.entry(&trusted()).is_none());
    }
}

/// Nobody had seen anything of the first body, so the changed one takes its place without anybody noticing.
#[tokio::test(start_paused = true)]
async fn a_small_body_that_changed_is_fetched_anew() {
    let bench = Bench::new();
    let right = content(20_000, 7);
    let old = Reply::file(content(20_000, 8), "\"v1\"").chunks_of(1000).cut_after(5000);
    bench.upstream.once(FILE, old);
    bench.upstream.always(FILE, Reply::file(right.clone(), "\"v2\""));
    let found = bench.get(&promised(&right)).await.expect("fetched anew");
    assert_eq!(whole(found.source.body(None)).await, right);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_stays_broken_is_given_up_and_its_bytes_are_kept() {
    let bench = Bench::new();
    let bytes = content(2 * MIB, 9);
    let broken = Reply::file(bytes.clone(), "\"v1\"").chunks_of(90_000).cut_after(MIB);
    bench.upstream.once(FILE, broken);
    bench
        .upstream
        .always(FILE, Reply::error(UpstreamError::Refused { host: "files.example".into() }));
    let found = bench.get(&promised(&bytes)).await.expect("it begins well");
    let (seen, fault) = drain(found.source.body(None)).await;
    assert!(matches!(fault, Some(BodyFault::Cut(Failure::Unreachable(_)))), "{fault:?}");
    assert_eq!(seen.len(), MIB);
    bench.settled().await;
    assert_eq!(bench.upstream.count(FILE), 1 + 5);

    bench.upstream.always(FILE, Reply::file(bytes.clone(), "\"v1\""));
    let found = bench.get(&promised(&bytes)).await.expect("upstream is back");
    assert_eq!(whole(found.source.body(None)).await, bytes);
    assert_eq!(bench.upstream.delivered_bytes(), bytes.len() as u64, "each byte once");
}

#[tokio::test(start_paused = true)]
async fn more_than_was_announced_is_refused() {
    for size in [5_000, 2 * MIB] {
        let bench = Bench::new();
        let bytes = content(size, 10);
        let longer = Reply::new(StatusCode::OK).body(content(size + 10, 10)).chunks_of(size);
        bench.upstream.always(FILE, longer.header("transfer-encoding", "chunked").without_length());
        let mut asked = promised(&bytes);
        asked.size = Some(size as u64);
        let outcome = match bench.get(&asked).await {
            Err(failure) => failure,
            Ok(found) => match drain(found.source.body(None)).await {
                (seen, Some(BodyFault::Cut(failure))) if seen.len() < size => failure,
                other => panic!("{:?}", other.1),
            },
        };
        assert!(outcome.to_string().contains("longer"), "{outcome}");
        bench.settled().await;
        assert!(bench.entry(&asked).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_fit_is_refused() {
    let bytes = content(5_000, 11);
    let plain = || Reply::new(StatusCode::OK).body(bytes.clone());
    let part = Reply::new(StatusCode::PARTIAL_CONTENT)
        .header("content-range", "bytes 0-4999/9000")
        .body(bytes.clone());
    let mut sized = promised(&bytes);
    sized.size = Some(4_999);
    let mut torn = promised(&bytes);
    torn.digests.push(BlobId::of(b"other").digest());
    for (asked, reply) in [
        (promised(&bytes), plain().header("content-encoding", "gzip")),
        (promised(&bytes), part),
        (sized, plain()),
        (torn, plain()),
        (promised(&bytes), Reply::new(StatusCode::BAD_REQUEST)),
    ] {
        let bench = Bench::new();
        bench.upstream.always(FILE, reply);
        let refused = bench.get(&asked).await;
        assert!(matches!(refused, Err(Failure::BadAnswer(_))), "{refused:?}");
    }
    let bench = Bench::new();
    bench.upstream.always(FILE, plain());
    bench.get(&promised(&bytes)).await.expect("identity is what we ask for");
    assert_eq!(bench.upstream.requests()[0].headers[header::ACCEPT_ENCODING], "identity");
}

#[tokio::test(start_paused = true)]
async fn failures_are_told_as_what_they_are() {
    let outage = UpstreamError::Refused { host: "files.example".into() };
    for (reply, expected) in [
        (Reply::new(StatusCode::NOT_FOUND), "upstream has no such thing"),
        (Reply::new(StatusCode::FORBIDDEN), "upstream refused with 403"),
        (Reply::new(StatusCode::TOO_MANY_REQUESTS), "upstream answered 429"),
        (Reply::error(outage), "upstream cannot be reached"),
    ] {
        let bench = Bench::new();
        bench.upstream.always(FILE, reply);
        let failure = bench.get(&trusted()).await.expect_err("nothing is kept");
        assert!(failure.to_string().starts_with(expected), "{failure}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_when_the_connection_closes_is_passed_on_but_not_kept() {
    let bench = Bench::new();
    let bytes = content(300_000, 12);
    let unframed = Reply::new(StatusCode::OK).body(bytes.clone()).without_length();
    bench.upstream.always(FILE, unframed.chunks_of(9_000));
    let found = bench.get(&trusted()).await.expect("passed through");
    assert_eq!(bench.status(&found), "larder; fwd=uri-miss; fwd-status=200; detail=unframed");
    assert_eq!(whole(found.source.body(None)).await, bytes);
    bench.settled().await;
    assert_eq!((bench.upstream.count(FILE), bench.entry(&trusted()).is_none()), (1, true));

    let found = bench.get(&promised(&bytes)).await.expect("a digest frames it");
    assert_eq!(whole(found.source.body(None)).await, bytes);
    bench.settled().await;
    assert!(bench.entry(&promised(&bytes)).is_some());
}

/// A process that ends in mid-fill leaves the prefix; the next one goes on behind it, and checks all of it.
#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_where_the_last_process_was() {
    let bytes = content(3 * MIB, 13);
    let store = MemoryStore::new();
    let (before, gate) = (Bench::on(store.clone(), Config::default()), Gate::new());
    let paused = Reply::file(bytes.clone(), "\"v1\"").chunks_of(90_000).pause_at(2 * MIB, &gate);
    before.upstream.always(FILE, paused);
    let found = before.get(&promised(&bytes)).await.expect("it begins well");
    let mut body = found.source.body(None);
    assert_eq!(read_some(&mut body, 2 * MIB).await, bytes[..2 * MIB]);
    before.shut_down().await;
    assert!(drain(body).await.1.is_some(), "readers are cut");
    drop((before, found));

    let after = Bench::on(store, Config::default());
    after.upstream.always(FILE, Reply::file(bytes.clone(), "\"v1\"").chunks_of(90_000));
    let found = after.get(&promised(&bytes)).await.expect("resumed");
    assert_eq!(whole(found.source.body(None)).await, bytes);
    assert_eq!(after.upstream.delivered_bytes(), MIB as u64);
    after.settled().await;
    assert!(after.entry(&promised(&bytes)).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_restart_begins_anew_when_the_rest_cannot_be_had() {
    let right = content(3 * MIB, 14);
    let other = content(3 * MIB, 15);
    for (name, reply, body) in [
        ("no ranges", Reply::new(StatusCode::OK).body(right.clone()), &right),
        ("changed", Reply::file(other.clone(), "\"v2\""), &other),
        ("gone shorter", Reply::file(other.slice(..MIB + 5), "\"v2\""), &other.slice(..MIB + 5)),
    ] {
        let store = MemoryStore::new();
        let (before, gate) = (Bench::on(store.clone(), Config::default()), Gate::new());
        let paused = Reply::file(right.clone(), "\"v1\"").pause_at(2 * MIB, &gate);
        before.upstream.always(FILE, paused);
        let found = before.get(&trusted()).await.expect("it begins well");
        read_some(&mut found.source.body(None), 2 * MIB).await;
        before.shut_down().await;
        drop(found);

        let after = Bench::on(store, Config::default());
        after.upstream.always(FILE, reply);
        let found = after.get(&trusted()).await.expect(name);
        assert_eq!(whole(found.source.body(None)).await, *body, "{name}");
    }
}

/// The index names another digest than when the prefix was fetched: nothing of it is used.
#[tokio::test(start_paused = true)]
async fn a_restart_drops_a_prefix_of_something_else() {
    let (old, new) = (content(2 * MIB, 16), content(2 * MIB, 17));
    let store = MemoryStore::new();
    let (before, gate) = (Bench::on(store.clone(), Config::default()), Gate::new());
    before.upstream.always(FILE, Reply::file(old.clone(), "\"v1\"").pause_at(MIB, &gate));
    let found = before.get(&promised(&old)).await.expect("it begins well");
    read_some(&mut found.source.body(None), MIB).await;
    before.shut_down().await;
    drop(found);

    let after = Bench::on(store, Config::default());
    after.upstream.always(FILE, Reply::file(new.clone(), "\"v1\""));
    let found = after.get(&promised(&new)).await.expect("fetched from nothing");
    assert_eq!(whole(found.source.body(None)).await, new);
    assert!(!after.upstream.requests()[0].headers.contains_key(header::RANGE));
}
