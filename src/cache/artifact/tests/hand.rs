//! By hand: removing what is kept, looking at transfers and ending them.

use super::*;
use crate::cache::fill::Transfer;
use crate::upstream::scripted::{Gate, Reply};

#[tokio::test(start_paused = true)]
async fn what_was_removed_is_fetched_again() {
    let bench = Bench::new();
    let bytes = content(1000, 1);
    bench.upstream.always(FILE, Reply::file(bytes.clone(), "\"v1\""));
    let asked = promised(&bytes);
    for _ in 0..2 {
        let found = bench.get(&asked).await.expect("it is there");
        assert_eq!(whole(found.source.body(None)).await, bytes);
        bench.settled().await;
    }
    assert_eq!(bench.upstream.count(FILE), 1);
    let edition = bench.cache.edition();
    bench
        .cache
        .remove(std::slice::from_ref(&asked.lookup.key))
        .await
        .expect("the store takes writes");
    assert!(bench.entry(&asked).is_none() && bench.cache.edition() != edition);
    let found = bench.get(&asked).await.expect("it is there");
    assert_eq!(whole(found.source.body(None)).await, bytes);
    assert_eq!(bench.upstream.count(FILE), 2);
}

#[tokio::test(start_paused = true)]
async fn a_transfer_is_seen_ended_and_taken_up_again() {
    let (bench, gate) = (Bench::new(), Gate::new());
    let bytes = content(4 * MIB, 2);
    bench.upstream.once(FILE, Reply::file(bytes.clone(), "\"v1\"").pause_at(3 * MIB, &gate));
    let asked = promised(&bytes);
    let found = bench.get(&asked).await.expect("started");
    let mut body = found.source.body(None);
    read_some(&mut body, 2 * MIB).await;
    gate.reached(1).await;
    let seen = bench.cache.transfers();
    let [Transfer { number, from, total, readers, is_open: true, resumed: 0, .. }] = &seen[..]
    else {
        panic!("one transfer: {seen:?}")
    };
    assert_eq!((from.as_str(), *total), (FILE, Some(4 * MIB as u64)));
    assert!(*readers >= 1 && seen[0].arrived >= 2 * MIB as u64);

    assert!(!bench.cache.cancel(number + 1), "no such transfer");
    assert!(bench.cache.cancel(*number));
    let (_, fault) = drain(body).await;
    assert!(fault.is_some(), "its readers are cut off");
    drop(found);
    bench.settled().await;
    assert!(bench.cache.transfers().is_empty() && bench.entry(&asked).is_none());

    bench.upstream.always(FILE, Reply::file(bytes.clone(), "\"v1\""));
    let found = bench.get(&asked).await.expect("taken up again");
    assert_eq!(whole(found.source.body(None)).await, bytes);
    let last = bench.upstream.requests().pop().expect("it was asked again");
    assert!(last.headers.contains_key(header::RANGE), "what came was kept");
}
