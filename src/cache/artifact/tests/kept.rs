//! What is kept, adopted, described, and remembered as absent.

use super::*;
use crate::types::{Algorithm, Hasher};
use crate::upstream::UpstreamError;
use crate::upstream::scripted::{Gate, Reply};

/// Fills `asked` with `bytes` and lets upstream disappear.
async fn fill(bench: &Bench, asked: &Artifact, bytes: &Bytes) {
    bench.upstream.always(FILE, Reply::file(bytes.clone(), "\"v1\""));
    let found = bench.get(asked).await.expect("it is there");
    assert!(whole(found.source.body(None)).await == *bytes);
    bench.settled().await;
    bench.upstream.clear();
}

fn digest(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let mut hasher =
        Hasher::new(algorithm).unwrap_or_else(|_| Hasher::git_blob(bytes.len() as u64));
    hasher.update(bytes);
    hasher.finish()
}

#[tokio::test(start_paused = true)]
async fn every_size_is_served_again_without_upstream() {
    for size in [1, 16 << 10, (16 << 10) + 1, 256 << 10, 2 * MIB] {
        let bench = Bench::new();
        let bytes = content(size, 1);
        fill(&bench, &promised(&bytes), &bytes).await;
        for _ in 0..2 {
            let found = bench.get(&promised(&bytes)).await.expect("kept");
            assert_eq!(found.head.headers[header::ETAG], "\"v1\"");
            assert_eq!(bench.status(&found), "larder; hit");
            assert!(whole(found.source.body(None)).await == bytes);
            assert_eq!(whole(found.source.body(Some(0..1))).await, bytes[..1]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_blob_is_a_miss_that_heals() {
    let bench = Bench::new();
    let bytes = content(2 * MIB, 2);
    fill(&bench, &promised(&bytes), &bytes).await;
    assert!(bench.store.lose_blob(BlobId::of(&bytes)));
    fill(&bench, &promised(&bytes), &bytes).await;
    let found = bench.get(&promised(&bytes)).await.expect("healed");
    assert_eq!(bench.status(&found), "larder; hit");
}

/// What is small enough for memory is looked at when it is read into it; a flipped bit is never served from there.
#[tokio::test(start_paused = true)]
async fn a_small_blob_that_is_damaged_is_a_miss_that_heals() {
    let bench = Bench::new();
    let bytes = content(100_000, 2);
    fill(&bench, &promised(&bytes), &bytes).await;
    let mut damaged = bytes.to_vec();
    damaged[50_000] ^= 1;
    assert!(bench.store.spoil_blob(BlobId::of(&bytes), damaged.into()));
    fill(&bench, &promised(&bytes), &bytes).await;
    let found = bench.get(&promised(&bytes)).await.expect("healed");
    assert_eq!(bench.status(&found), "larder; hit");
    assert!(whole(found.source.body(None)).await == bytes);
}

#[tokio::test(start_paused = true)]
async fn all_promised_digests_are_checked_and_filed() {
    for algorithm in [Algorithm::GitSha1, Algorithm::Sha512, Algorithm::Blake2b256, Algorithm::Md5]
    {
        for framed in [true, false] {
            let bench = Bench::new();
            let bytes = content(40_000, 3);
            let right = artifact("f", vec![digest(algorithm, &bytes)]);
            let reply = Reply::file(bytes.clone(), "\"v1\"").chunks_of(7_000);
            let reply = if framed { reply } else { reply.without_length() };
            bench.upstream.always(FILE, reply);
            let wrong = artifact("f", vec![digest(algorithm, b"other")]);
            let refused = bench.get(&wrong).await;
            assert!(matches!(refused, Err(Failure::BadAnswer(_))), "{refused:?}");
            let found = bench.get(&right).await.expect("right");
            assert_eq!(whole(found.source.body(None)).await, bytes);
            bench.settled().await;
            let blob = bench.store.resolve(&right.digests[0]).expect("the index can be read");
            assert_eq!(blob, Some(BlobId::of(&bytes)), "{algorithm:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_blob_with_the_promised_digest_is_adopted() {
    let bench = Bench::new();
    let bytes = content(300_000, 4);
    let sha512 = digest(Algorithm::Sha512, &bytes);
    fill(&bench, &artifact("first", vec![sha512]), &bytes).await;
    let sha256 = BlobId::of(&bytes).digest();
    for (name, named, size) in
        [("a", sha256, None), ("b", sha512, Some(300_000)), ("c", sha512, Some(7))]
    {
        let mut asked = artifact(name, vec![named]);
        asked.size = size;
        let found = bench.get(&asked).await.expect("the bytes are there");
        assert_eq!(bench.status(&found), "larder; hit; detail=adopted");
        assert!(whole(found.source.body(None)).await == bytes);
        let found = bench.get(&asked).await.expect("filed under the key");
        assert_eq!(bench.status(&found), "larder; hit");
    }
}

#[tokio::test(start_paused = true)]
async fn weak_digests_adopt_nothing() {
    let bench = Bench::new();
    let bytes = content(300_000, 5);
    let md5 = digest(Algorithm::Md5, &bytes);
    fill(&bench, &artifact("first", vec![md5]), &bytes).await;
    let refused = bench.get(&artifact("second", vec![md5])).await;
    assert!(refused.is_err(), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn what_upstream_mutated_is_fetched_again() {
    let bench = Bench::new();
    for size in [1_000, 300_000] {
        let (old, new) = (content(size, 6), content(size, 7));
        fill(&bench, &promised(&old), &old).await;
        bench.get(&promised(&old)).await.expect("kept");
        let outage = bench.get(&promised(&new)).await;
        assert!(outage.is_err(), "old bytes are never served as new ones");
        bench.upstream.always(FILE, Reply::file(new.clone(), "\"v2\""));
        let found = bench.get(&promised(&new)).await.expect("fetched");
        let status = "larder; fwd=uri-miss; fwd-status=200; stored; detail=mutated-upstream";
        assert_eq!(bench.status(&found), status);
        assert!(whole(found.source.body(None)).await == new);
        bench.settled().await;
    }
}

/// Trusted on first use, and only later does an index name a digest: what is kept is hashed, not fetched again.
#[tokio::test(start_paused = true)]
async fn a_digest_that_is_named_later_is_checked_at_rest() {
    for size in [1_000, 300_000] {
        let bench = Bench::new();
        let bytes = content(size, 8);
        fill(&bench, &trusted(), &bytes).await;
        let named = artifact("f", vec![digest(Algorithm::GitSha1, &bytes)]);
        let found = bench.get(&named).await.expect("right");
        assert_eq!(bench.status(&found), "larder; hit");
        let wrong = artifact("f", vec![digest(Algorithm::Sha1, b"other")]);
        assert!(bench.get(&wrong).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_is_answered_from_what_is_known() {
    let (bench, gate) = (Bench::new(), Gate::new());
    let bytes = content(2 * MIB, 9);
    bench.upstream.always(FILE, Reply::file(bytes.clone(), "\"v1\"").pause_at(100, &gate));
    let mut asked = promised(&bytes);
    let found = bench.head(&asked).await.expect("upstream is asked");
    assert_eq!(bench.status(&found), "larder; fwd=uri-miss; fwd-status=200");
    assert_eq!((found.source.len(), bench.cache.fills_under_way()), (Some(2 * MIB as u64), 0));
    assert_eq!(bench.upstream.requests()[0].method, Method::HEAD);

    let running = bench.get(&asked).await.expect("started");
    let found = bench.head(&asked).await.expect("the transfer knows");
    assert!(bench.status(&found).ends_with("collapsed"), "{}", bench.status(&found));
    assert_eq!(found.source.len(), Some(2 * MIB as u64));
    gate.open();
    whole(running.source.body(None)).await;
    drop((running, found));
    bench.settled().await;

    assert_eq!(bench.status(&bench.head(&asked).await.expect("kept")), "larder; hit");
    asked.lookup.key = CacheKey::new("test", &Audience::Public, "other");
    asked.digests = vec![BlobId::of(b"other").digest()];
    asked.size = Some(5);
    let found = bench.head(&asked).await.expect("the plan knows");
    assert_eq!((found.source.len(), bench.upstream.count(FILE)), (Some(5), 2));
    assert!(is_ok(&found));
}

#[tokio::test(start_paused = true)]
async fn absence_is_remembered_for_a_while() {
    let bench = Bench::new();
    bench.upstream.always(FILE, Reply::new(StatusCode::NOT_FOUND));
    for _ in 0..3 {
        assert!(matches!(bench.get(&trusted()).await, Err(Failure::Absent)));
        assert!(matches!(bench.head(&trusted()).await, Err(Failure::Absent)));
    }
    assert_eq!(bench.upstream.count(FILE), 1);
    bench.clock.advance(Config::default().absent_for);
    bench.upstream.always(FILE, Reply::file("there", "\"v1\""));
    let found = bench.get(&trusted()).await.expect("it came");
    assert_eq!(whole(found.source.body(None)).await, "there");
}

#[tokio::test(start_paused = true)]
async fn origins_are_asked_in_order_and_an_outage_ends_the_search() {
    let urls = ["http://one.example/f", "http://two.example/f", "http://three.example/f"];
    let asked = from_origins("f", &urls, Vec::new());
    let bench = Bench::new();
    bench.upstream.always(urls[0], Reply::new(StatusCode::NOT_FOUND));
    bench.upstream.once(urls[1], Reply::error(UpstreamError::Refused { host: "two".into() }));
    bench.upstream.always(urls[2], Reply::file("third", "\"3\""));
    assert!(matches!(bench.get(&asked).await, Err(Failure::Unreachable(_))));
    assert_eq!(bench.upstream.count(urls[2]), 0);
    bench.upstream.always(urls[1], Reply::new(StatusCode::GONE));
    let found = bench.get(&asked).await.expect("the third has it");
    assert_eq!(whole(found.source.body(None)).await, "third");
    let nowhere =
        Artifact { lookup: Lookup { origins: Vec::new(), ..trusted().lookup }, ..trusted() };
    let asked = Artifact {
        lookup: Lookup { key: CacheKey::new("test", &Audience::Public, "n"), ..nowhere.lookup },
        ..trusted()
    };
    assert!(matches!(bench.get(&asked).await, Err(Failure::NotKept)));
}
