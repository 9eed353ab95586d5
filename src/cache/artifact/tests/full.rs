//! A disk that has no room, or an index that refuses: clients are served all the same.

use super::*;
use crate::store::memory::Fault;
use crate::upstream::scripted::{Gate, Reply};

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_served_past() {
    for size in [1_000, 3 * MIB] {
        let bench = Bench::new();
        let bytes = content(size, 1);
        bench.store.suffer(Fault::Full);
        bench.upstream.always(FILE, Reply::file(bytes.clone(), "\"v1\"").chunks_of(90_000));
        let asked = promised(&bytes);
        for count in 1..3 {
            let found = bench.get(&asked).await.expect("passed through");
            let status = "larder; fwd=uri-miss; fwd-status=200; detail=disk-full";
            assert_eq!(bench.status(&found), status);
            assert!(whole(found.source.body(None)).await == bytes);
            assert_eq!(bench.upstream.count(FILE), count);
        }
        bench.store.recover(Fault::Full);
        let found = bench.get(&asked).await.expect("there is room again");
        whole(found.source.body(None)).await;
        bench.settled().await;
        assert!(bench.entry(&asked).is_some());
    }
}

/// A full disk is when an origin must not be asked by everybody.
#[tokio::test(start_paused = true)]
async fn a_crowd_before_a_full_disk_shares_one_transfer() {
    for (size, promise) in [(1_000, true), (20 * MIB, true), (20 * MIB, false)] {
        let bench = Bench::new();
        let bytes = content(size, 10);
        bench.store.suffer(Fault::Full);
        bench.upstream.always(FILE, Reply::file(bytes.clone(), "\"v1\"").chunks_of(90_000));
        let asked = if promise { promised(&bytes) } else { trusted() };
        let readers = futures_util::future::join_all((0..20).map(|_| async {
            let found = bench.get(&asked).await.expect("served");
            let status = bench.status(&found);
            assert!(status.contains("detail=disk-full") && !status.contains("stored"), "{status}");
            assert!(whole(found.source.body(None)).await == bytes, "other bytes");
        }));
        readers.await;
        assert_eq!(bench.upstream.count(FILE), 1, "{size}");
        bench.settled().await;
        assert!(bench.entry(&asked).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_when_the_start_is_gone_begins_anew() {
    let bench =
        Bench::with(Config { overflow: crate::types::ByteSize::mib(2), ..Config::default() });
    let gate = Gate::new();
    let bytes = content(20 * MIB, 11);
    bench.store.suffer(Fault::Full);
    let file = || Reply::file(bytes.clone(), "\"v1\"").chunks_of(90_000);
    bench.upstream.once(FILE, file().pause_at(10 * MIB, &gate));
    bench.upstream.always(FILE, file());
    let asked = promised(&bytes);
    let found = bench.get(&asked).await.expect("started");
    let mut early = found.source.body(None);
    let mut seen = read_some(&mut early, 9 * MIB).await;
    let late = bench.get(&asked).await.expect("begun anew");
    assert!(whole(late.source.body(None)).await == bytes, "other bytes");
    gate.open();
    seen.extend(whole(early).await);
    assert!(seen == bytes, "other bytes");
    assert_eq!(bench.upstream.count(FILE), 2);
}

/// What an earlier transfer left is in the file, what comes now in memory.
#[tokio::test(start_paused = true)]
async fn a_resumed_transfer_finds_the_disk_full() {
    let (bench, gate) = (Bench::new(), Gate::new());
    let bytes = content(20 * MIB, 12);
    let file = || Reply::file(bytes.clone(), "\"v1\"").chunks_of(90_000);
    bench.upstream.once(FILE, file().pause_at(5 * MIB, &gate));
    bench.upstream.always(FILE, file());
    let asked = promised(&bytes);
    let found = bench.get(&asked).await.expect("started");
    read_some(&mut found.source.body(None), 5 * MIB).await;
    drop(found);
    bench.settled().await;
    bench.store.suffer(Fault::Full);
    let found = bench.get(&asked).await.expect("resumed");
    assert!(whole(found.source.body(None)).await == bytes, "other bytes");
    assert_eq!(bench.upstream.delivered_bytes(), bytes.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn what_passes_through_is_checked_too() {
    for size in [1_000, 3 * MIB] {
        let bench = Bench::new();
        let right = promised(&content(size, 2));
        bench.store.suffer(Fault::Full);
        bench.upstream.always(FILE, Reply::file(content(size, 3), "\"bad\"").chunks_of(90_000));
        match bench.get(&right).await {
            Err(failure) => assert!(matches!(failure, Failure::BadAnswer(_)), "{failure}"),
            Ok(found) => {
                let (seen, fault) = drain(found.source.body(None)).await;
                assert!(fault.is_some() && seen.len() < size);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fills_up_in_the_middle_does_not_stop_the_readers() {
    for promise in [true, false] {
        let bench =
            Bench::with(Config { overflow: crate::types::ByteSize::kib(500), ..Config::default() });
        let gate = Gate::new();
        let bytes = content(8 * MIB, 4);
        let paused =
            Reply::file(bytes.clone(), "\"v1\"").chunks_of(90_000).pause_at(2 * MIB, &gate);
        bench.upstream.always(FILE, paused);
        let asked = if promise { promised(&bytes) } else { trusted() };
        let found = bench.get(&asked).await.expect("started");
        let joined = bench.get(&asked).await.expect("joined");
        let (mut one, two) = (found.source.body(None), joined.source.body(None));
        read_some(&mut one, MIB).await;
        bench.store.suffer(Fault::Full);
        gate.open();
        let (rest, other) = tokio::join!(drain(one), whole(two));
        assert!(rest.1.is_none() && bytes.ends_with(&rest.0), "{:?}", rest.1);
        assert!(other == bytes);
        bench.settled().await;
        assert!(bench.entry(&asked).is_none());
        assert_eq!(bench.upstream.delivered_bytes(), bytes.len() as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_digest_is_found_when_the_disk_is_full_too() {
    let (bench, gate) = (Bench::new(), Gate::new());
    let paused = Reply::file(content(4 * MIB, 5), "\"v1\"").chunks_of(90_000).pause_at(MIB, &gate);
    bench.upstream.always(FILE, paused);
    let found = bench.get(&promised(&content(4 * MIB, 6))).await.expect("started");
    let body = found.source.body(None);
    bench.store.suffer(Fault::Full);
    gate.open();
    let (seen, fault) = drain(body).await;
    assert!(matches!(fault, Some(BodyFault::Cut(Failure::BadAnswer(_)))), "{fault:?}");
    assert!(seen.len() <= 4 * MIB - (64 << 10));
}

/// One of two readers stops reading: the other waits for it no longer than the settings allow.
#[tokio::test(start_paused = true)]
async fn a_reader_that_stalls_is_cut_when_memory_is_all_there_is() {
    let bench =
        Bench::with(Config { overflow: crate::types::ByteSize::kib(500), ..Config::default() });
    let gate = Gate::new();
    let bytes = content(8 * MIB, 7);
    let paused = Reply::file(bytes.clone(), "\"v1\"").chunks_of(90_000).pause_at(MIB, &gate);
    bench.upstream.always(FILE, paused);
    let found = bench.get(&trusted()).await.expect("started");
    let (mut stalled, reading) = (found.source.body(None), found.source.body(None));
    read_some(&mut stalled, 1_000).await;
    bench.store.suffer(Fault::Full);
    gate.open();
    assert!(whole(reading).await == bytes);
    let (rest, fault) = drain(stalled).await;
    assert!(fault.is_some() && rest.len() < bytes.len());
}

#[tokio::test(start_paused = true)]
async fn an_index_that_refuses_costs_only_the_keeping() {
    for size in [1_000, 2 * MIB] {
        let bench = Bench::new();
        let bytes = content(size, 8);
        bench.store.suffer(Fault::Refusing);
        bench.upstream.always(FILE, Reply::file(bytes.clone(), "\"v1\""));
        let found = bench.get(&promised(&bytes)).await.expect("served");
        assert!(whole(found.source.body(None)).await == bytes);
        bench.settled().await;
        assert!(bench.entry(&promised(&bytes)).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_cold_disk_is_read_on_other_threads() {
    let bench = Bench::new();
    let bytes = content(9 * MIB, 9);
    bench.store.suffer(Fault::Cold);
    bench.upstream.always(FILE, Reply::file(bytes.clone(), "\"v1\"").chunks_of(90_000));
    let found = bench.get(&promised(&bytes)).await.expect("filled");
    assert!(whole(found.source.body(None)).await == bytes);
    drop(found);
    bench.settled().await;
    let found = bench.get(&promised(&bytes)).await.expect("kept");
    assert!(whole(found.source.body(None)).await == bytes);
}
