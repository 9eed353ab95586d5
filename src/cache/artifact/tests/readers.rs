//! Many readers of one transfer: joining, leaving, reading ahead.

use futures_util::FutureExt;
use futures_util::future::join_all;

use super::*;
use crate::clock::until;
use crate::semantics::range::Spec;
use crate::upstream::scripted::{Gate, Reply};

#[tokio::test(start_paused = true)]
async fn fifty_readers_share_one_transfer() {
    let bench = Bench::new();
    let bytes = content(5 * MIB, 1);
    bench.upstream.always(FILE, Reply::file(bytes.clone(), "\"v1\"").chunks_of(60_000));
    let asked = promised(&bytes);
    let readers = join_all((0..50).map(|_| async {
        let found = bench.get(&asked).await.expect("it is there");
        let status = bench.status(&found);
        assert!(whole(found.source.body(None)).await == bytes, "other bytes");
        status
    }));
    let statuses = readers.await;
    let joined = statuses.iter().filter(|status| status.ends_with("; stored; collapsed")).count();
    assert_eq!((joined, bench.upstream.count(FILE)), (49, 1));
    bench.settled().await;
    let entry = bench.entry(&asked).expect("kept");
    assert_eq!(
        (entry.body.blob(), entry.fresh_until),
        (Some(BlobId::of(&bytes)), Timestamp::NEVER)
    );
    assert_eq!(bench.cache.fills_under_way(), 0);
    let found = bench.get(&asked).await.expect("kept");
    assert_eq!(bench.status(&found), "larder; hit");
    assert!(whole(found.source.body(Some(7..2_000_000))).await == bytes[7..2_000_000]);
}

#[tokio::test(start_paused = true)]
async fn bytes_leave_as_they_come() {
    let (bench, gate) = (Bench::new(), Gate::new());
    let bytes = content(2 * MIB, 2);
    bench.upstream.always(FILE, Reply::file(bytes.clone(), "\"v1\"").pause_at(10, &gate));
    let found = bench.get(&promised(&bytes)).await.expect("the head is there");
    assert_eq!(found.source.len(), Some(bytes.len() as u64));
    let mut body = found.source.body(None);
    assert_eq!(read_some(&mut body, 10).await, bytes[..10]);
    assert!(body.frame().now_or_never().is_none(), "the rest has not come");
    gate.open();
    assert_eq!(whole(body).await, bytes[10..]);
}

#[tokio::test(start_paused = true)]
async fn the_last_bytes_wait_for_the_digest() {
    let (bench, gate) = (Bench::new(), Gate::new());
    let bytes = content(2 * MIB, 3);
    let last = bytes.len() - 1;
    bench.upstream.always(FILE, Reply::file(bytes.clone(), "\"v1\"").pause_at(last, &gate));
    let found = bench.get(&promised(&bytes)).await.expect("the head is there");
    let mut body = found.source.body(None);
    let held = 2 * MIB - (64 << 10);
    assert_eq!(read_some(&mut body, held).await.len(), held);
    gate.reached(1).await;
    assert!(body.frame().now_or_never().is_none());
    gate.open();
    assert_eq!(whole(body).await, bytes[held..]);
}

#[tokio::test(start_paused = true)]
async fn the_first_reader_leaves_and_nothing_changes() {
    let (bench, gate) = (Bench::new(), Gate::new());
    let bytes = content(3 * MIB, 4);
    bench.upstream.always(FILE, Reply::file(bytes.clone(), "\"v1\"").pause_at(MIB, &gate));
    let asked = promised(&bytes);
    let first = bench.get(&asked).await.expect("started");
    let mut leaving = first.source.body(None);
    read_some(&mut leaving, 1000).await;
    let second = bench.get(&asked).await.expect("joined");
    drop((leaving, first));
    gate.open();
    assert_eq!(whole(second.source.body(None)).await, bytes);
    assert_eq!(bench.upstream.count(FILE), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_before_the_head_does_not_stop_the_transfer() {
    let (bench, gate) = (Bench::new(), Gate::new());
    let bytes = content(3 * MIB, 5);
    bench.upstream.always(FILE, Reply::file(bytes.clone(), "\"v1\"").pause_head(&gate));
    let asked = promised(&bytes);
    let mut asking = Box::pin(bench.get(&asked));
    tokio::select! {
        _ = &mut asking => panic!("the head is held"),
        () = gate.reached(1) => {}
    }
    drop(asking);
    gate.open();
    bench.settled().await;
    assert!(bench.entry(&asked).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_transfer_that_nobody_reads_is_given_up_and_its_bytes_are_kept() {
    let (bench, gate) = (Bench::new(), Gate::new());
    let bytes = content(3 * MIB, 6);
    let file = || Reply::file(bytes.clone(), "\"v1\"").chunks_of(90_000);
    bench.upstream.once(FILE, file().pause_at(2 * MIB, &gate));
    bench.upstream.always(FILE, file());
    let asked = promised(&bytes);
    let found = bench.get(&asked).await.expect("started");
    read_some(&mut found.source.body(None), 2 * MIB).await;
    drop(found);
    bench.settled().await;
    assert_eq!(bench.cache.fills_under_way(), 0);
    let found = bench.get(&asked).await.expect("resumed");
    assert_eq!(whole(found.source.body(None)).await, bytes);
    assert_eq!(bench.upstream.delivered_bytes(), bytes.len() as u64, "each byte once");
}

/// A lazy wheel: the end of the archive is read first, while the transfer stands at its beginning.
#[tokio::test(start_paused = true)]
async fn a_range_at_the_end_is_fetched_next() {
    for promise in [true, false] {
        let (bench, gate) = (Bench::new(), Gate::new());
        let bytes = content(30 * MIB + 77, 7);
        let file = || Reply::file(bytes.clone(), "\"v1\"").chunks_of(90_000);
        bench.upstream.once(FILE, file().pause_at(MIB, &gate));
        bench.upstream.always(FILE, file());
        let asked = if promise { promised(&bytes) } else { trusted() };
        let found = bench.get(&asked).await.expect("started");
        let size = bytes.len() as u64;
        let end = whole(found.source.body(Some(size - 20_000..size))).await;
        assert_eq!(end, bytes[bytes.len() - 20_000..]);
        let middle = whole(found.source.body(Some(10_000_000..10_000_100))).await;
        assert_eq!(middle, bytes[10_000_000..10_000_100]);
        let ahead = &bench.upstream.requests()[1].headers;
        assert_eq!(ahead[header::RANGE], format!("bytes={}-{}", 29 * MIB, size - 1));
        assert_eq!(ahead[header::IF_RANGE], "\"v1\"");
        gate.open();
        assert!(whole(found.source.body(None)).await == bytes, "other bytes");
        bench.settled().await;
        assert_eq!(bench.entry(&asked).expect("kept").body.blob(), Some(BlobId::of(&bytes)));
        let delivered = bench.upstream.delivered_bytes();
        assert!(delivered <= size + 2 * 90_000, "{delivered} of {size} bytes crossed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_ahead_waits_where_the_origin_has_no_ranges() {
    let (bench, gate) = (Bench::new(), Gate::new());
    let bytes = content(20 * MIB, 8);
    let plain = || Reply::new(StatusCode::OK).header("etag", "\"v1\"").body(bytes.clone());
    bench.upstream.once(FILE, plain().pause_at(MIB, &gate));
    bench.upstream.always(FILE, plain());
    let found = bench.get(&promised(&bytes)).await.expect("started");
    let body = found.source.body(Some(19_000_000..19_000_010));
    let opening = async {
        until("the origin is asked again", || bench.upstream.count(FILE) == 2).await;
        gate.open();
    };
    let (ahead, ()) = tokio::join!(whole(body), opening);
    assert_eq!(ahead, bytes[19_000_000..19_000_010]);
    assert_eq!(whole(found.source.body(None)).await, bytes);
    assert_eq!(bench.upstream.count(FILE), 2);
}

#[tokio::test(start_paused = true)]
async fn ranges_wait_for_the_digest_when_told_to() {
    let bench = Bench::with(Config { verify_before_range: true, ..Config::default() });
    let right = content(3 * MIB, 9);
    let want =
        || Want { ranges: Some(vec![Spec::From { first: 0, last: Some(9) }]), ..Want::whole() };
    bench.upstream.once(FILE, Reply::file(content(3 * MIB, 10), "\"bad\""));
    bench.upstream.once(FILE, Reply::file(content(3 * MIB, 10), "\"bad\""));
    let refused = bench.cache.artifact(&promised(&right), want()).await;
    assert!(matches!(refused, Err(Failure::BadAnswer(_))), "{refused:?}");
    bench.upstream.always(FILE, Reply::file(right.clone(), "\"good\""));
    let found = bench.cache.artifact(&promised(&right), want()).await.expect("healed");
    assert_eq!(whole(found.source.body(Some(0..10))).await, right[..10]);
}

#[tokio::test(start_paused = true)]
async fn an_empty_body_is_a_body() {
    for asked in [promised(b""), trusted()] {
        let bench = Bench::new();
        bench.upstream.always(FILE, Reply::file("", "\"v1\""));
        let found = bench.get(&asked).await.expect("empty");
        assert_eq!(whole(found.source.body(None)).await, "");
        bench.settled().await;
        let found = bench.get(&asked).await.expect("kept");
        assert_eq!((bench.status(&found), found.source.len()), ("larder; hit".into(), Some(0)));
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_transfers_run_at_once_than_allowed() {
    let bench = Bench::with(Config { fills: 1, ..Config::default() });
    let gate = Gate::new();
    let (one, two) = ("http://files.example/1", "http://files.example/2");
    bench.upstream.always(one, Reply::file("one", "\"1\"").pause_head(&gate));
    bench.upstream.always(two, Reply::file("two", "\"2\""));
    let (first, second) = (from_origins("1", &[one], vec![]), from_origins("2", &[two], vec![]));
    let asking = async { (bench.get(&first).await, bench.get(&second).await) };
    let mut both = Box::pin(async { tokio::join!(bench.get(&first), bench.get(&second)) });
    tokio::select! {
        _ = &mut both => panic!("the first is held"),
        () = gate.reached(1) => {}
    }
    assert_eq!(bench.upstream.count(two), 0);
    drop(asking);
    gate.open();
    let (one, two) = both.await;
    assert_eq!(whole(one.expect("one").source.body(None)).await, "one");
    assert_eq!(whole(two.expect("two").source.body(None)).await, "two");
}
