//! Bodies that come slowly over one connection, and what further ones may cost.

use tokio::time::Instant;

use super::*;
use crate::types::ByteSize;
use crate::upstream::scripted::{Gate, Reply};
use crate::upstream::{Hop, UpstreamError};

const WINDOW: usize = 8 * MIB;
const SIZE: usize = 48 * MIB + 77;
/// Each connection brings this many bytes in each pause: many in each interval of measuring, so that one that is counted in the next matters little.
const CHUNK: usize = 64 << 10;
const PAUSE: Duration = Duration::from_millis(25);

fn config() -> Config {
    Config { read_ahead: ByteSize(WINDOW as u64), ..Config::default() }
}

fn slow(reply: Reply) -> Reply {
    reply.chunks_of(CHUNK).every(PAUSE)
}

/// Reads the whole of `asked` and tells how long that took, of what one connection would have.
async fn share_of_one(bench: &Bench, asked: &Artifact, bytes: &Bytes) -> f64 {
    let began = Instant::now();
    let found = bench.get(asked).await.expect("started");
    assert!(whole(found.source.body(None)).await == *bytes, "other bytes");
    let chunks = u32::try_from(bytes.len().div_ceil(CHUNK)).expect("a few");
    began.elapsed().as_secs_f64() / (PAUSE * chunks).as_secs_f64()
}

#[tokio::test(start_paused = true)]
async fn what_comes_slowly_is_fetched_in_parallel() {
    for promise in [true, false] {
        let bench = Bench::with(config());
        let bytes = content(SIZE, 11);
        bench.upstream.always(FILE, slow(Reply::file(bytes.clone(), "\"v1\"")));
        let asked = if promise { promised(&bytes) } else { trusted() };
        let share = share_of_one(&bench, &asked, &bytes).await;
        assert!(share < 0.4, "{share}");
        bench.settled().await;
        assert_eq!(bench.entry(&asked).expect("kept").body.blob(), Some(BlobId::of(&bytes)));
        let delivered = bench.upstream.delivered_bytes();
        assert!(delivered <= (SIZE + 2 * CHUNK) as u64, "{delivered} bytes crossed");
        let ranges = bench.upstream.requests().into_iter().skip(1);
        for request in ranges {
            assert_eq!(request.headers[header::IF_RANGE], "\"v1\"");
        }
    }
}

/// One request, however slow it is: no ranges, nothing that proves one body, not large, or told not to.
#[tokio::test(start_paused = true)]
async fn one_connection_is_all_where_more_may_do_harm() {
    let bytes = content(SIZE, 12);
    let plain = || Reply::new(StatusCode::OK).header("etag", "\"v1\"").body(bytes.clone());
    let off = Config { read_ahead: ByteSize(0), ..config() };
    let large = Config { read_ahead: ByteSize(SIZE as u64), ..config() };
    let promise = promised(&bytes);
    for (what, config, reply, asked) in [
        ("no ranges", config(), plain(), &promise),
        ("ranges refused", config(), plain().header("accept-ranges", "none"), &promise),
        ("a weak tag", config(), Reply::file(bytes.clone(), "W/\"v1\""), &trusted()),
        ("told not to", off, Reply::file(bytes.clone(), "\"v1\""), &promise),
        ("not large", large, Reply::file(bytes.clone(), "\"v1\""), &promise),
    ] {
        let bench = Bench::with(config);
        bench.upstream.always(FILE, slow(reply));
        share_of_one(&bench, asked, &bytes).await;
        assert_eq!(bench.upstream.count(FILE), 1, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_reads_so_nothing_hurries() {
    let bench = Bench::with(config());
    let bytes = content(SIZE, 13);
    bench.upstream.always(FILE, slow(Reply::file(bytes.clone(), "\"v1\"")));
    let found = bench.get(&promised(&bytes)).await.expect("started");
    bench.settled().await;
    assert_eq!(bench.upstream.count(FILE), 1);
    drop(found);
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_refuses_more_connections_is_left_alone() {
    let bench = Bench::with(config());
    let bytes = content(SIZE, 14);
    let file = || slow(Reply::file(bytes.clone(), "\"v1\""));
    bench.upstream.once(FILE, file());
    bench.upstream.once(FILE, Reply::new(StatusCode::TOO_MANY_REQUESTS));
    bench.upstream.always(FILE, file());
    let share = share_of_one(&bench, &promised(&bytes), &bytes).await;
    assert!((0.9..1.1).contains(&share), "{share}");
    assert_eq!(bench.upstream.count(FILE), 2, "the first lane goes on as if it had not been tried");
}

/// Parts that break do not break the body: they are asked for again.
#[tokio::test(start_paused = true)]
async fn a_part_that_breaks_is_asked_for_again() {
    let bench = Bench::with(config());
    let bytes = content(SIZE, 15);
    let file = || slow(Reply::file(bytes.clone(), "\"v1\""));
    for _ in 0..4 {
        bench.upstream.once(FILE, file());
    }
    bench.upstream.once(FILE, file().cut_after(CHUNK));
    bench.upstream.always(FILE, file());
    share_of_one(&bench, &promised(&bytes), &bytes).await;
    let delivered = bench.upstream.delivered_bytes();
    assert!(delivered <= (SIZE + 3 * CHUNK) as u64, "{delivered} bytes crossed");
}

/// A file whose parts are of two bodies is never complete.
#[tokio::test(start_paused = true)]
async fn parts_of_another_body_cut_the_readers() {
    let bench = Bench::with(config());
    let (one, other) = (content(SIZE, 16), content(SIZE, 17));
    bench.upstream.once(FILE, slow(Reply::file(one.clone(), "\"v1\"")));
    bench.upstream.always(FILE, slow(Reply::file(other, "\"v1\"")));
    let found = bench.get(&promised(&one)).await.expect("started");
    let (seen, fault) = drain(found.source.body(None)).await;
    assert!(fault.is_some() && seen.len() <= SIZE - (64 << 10), "{fault:?}");
}

/// Who redirects is asked once; where it led is asked for the parts, until that is no longer good.
#[tokio::test(start_paused = true)]
async fn parts_come_from_where_redirects_led() {
    const DEPOT: &str = "http://files.example/depot";
    let bench = Bench::with(config());
    let bytes = content(SIZE, 18);
    let file = || slow(Reply::file(bytes.clone(), "\"v1\""));
    let hop = || Hop {
        url: FILE.parse().expect("an address"),
        head: crate::types::Head::new(StatusCode::FOUND),
    };
    bench.upstream.always(FILE, file().behind(hop(), DEPOT));
    for _ in 0..5 {
        bench.upstream.once(DEPOT, file());
    }
    bench.upstream.once(DEPOT, Reply::new(StatusCode::FORBIDDEN));
    bench.upstream.always(DEPOT, file());
    share_of_one(&bench, &promised(&bytes), &bytes).await;
    assert_eq!(bench.upstream.count(FILE), 2);
    assert!(bench.upstream.count(DEPOT) > 10);
}

/// A part that stands still: what is ahead of it is fetched no further than the window.
#[tokio::test(start_paused = true)]
async fn nothing_is_fetched_beyond_the_window() {
    let (bench, gate) = (Bench::with(config()), Gate::new());
    let bytes = content(SIZE, 19);
    let file = || slow(Reply::file(bytes.clone(), "\"v1\""));
    for _ in 0..20 {
        bench.upstream.once(FILE, file());
    }
    bench.upstream.once(FILE, file().pause_at(0, &gate));
    bench.upstream.always(FILE, file());
    let found = bench.get(&promised(&bytes)).await.expect("started");
    let mut body = found.source.body(None);
    let mut seen = Vec::new();
    let minute = Duration::from_secs(60);
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(minute, body.frame()).await {
        seen.extend_from_slice(&frame.into_data().expect("data only"));
    }
    let ahead = bench.upstream.delivered_bytes() - seen.len() as u64;
    assert!((WINDOW as u64 - ahead.min(WINDOW as u64)) < 2 * MIB as u64, "{ahead} bytes ahead");
    assert!(ahead <= (WINDOW + MIB) as u64, "{ahead} bytes ahead");
    gate.open();
    seen.extend(whole(body).await);
    assert!(seen == bytes, "other bytes");
}

/// The last failure of a body that cannot be completed reaches its readers.
#[tokio::test(start_paused = true)]
async fn an_origin_that_goes_away_ends_all_lanes() {
    let bench = Bench::with(config());
    let bytes = content(SIZE, 20);
    let file = || slow(Reply::file(bytes.clone(), "\"v1\""));
    for _ in 0..6 {
        bench.upstream.once(FILE, file());
    }
    let gone = UpstreamError::Refused { host: "files.example".to_owned() };
    bench.upstream.always(FILE, Reply::error(gone));
    let found = bench.get(&promised(&bytes)).await.expect("started");
    let (seen, fault) = drain(found.source.body(None)).await;
    assert!(fault.is_some() && bytes.starts_with(&seen));
}
