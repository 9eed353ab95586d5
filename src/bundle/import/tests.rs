//! Bundles written from one store in memory and read into another: whole, damaged at every place, cut off at every place.

use futures_util::stream::{self, StreamExt};
use http_body_util::BodyExt;

use super::*;
use crate::bundle::export::{Contained, Export};
use crate::bundle::key::SigningKey;
use crate::ecosystem::naming::{Misnamed, Name, Naming, Part, Shelf, Thing, Unreadable, Wanted};
use crate::store::conformance;
use crate::store::memory::MemoryStore;
use crate::types::Timestamp;

/// A mount that has words for nothing.
#[derive(Debug)]
struct Words;

impl Naming for Words {
    fn scheme(&self) -> &'static str {
        "test"
    }

    fn space(&self) -> &'static str {
        "space"
    }

    fn name_of(&self, _: &CacheKey) -> Option<Name> {
        None
    }

    fn read(&self, _: &str) -> Result<Option<Wanted>, Misnamed> {
        Ok(None)
    }

    fn groups(&self, _: &Shelf<'_>, _: Option<&str>, _: usize) -> Result<Vec<String>, Unreadable> {
        Ok(Vec::new())
    }

    fn things(&self, _: &Shelf<'_>, _: &str) -> Result<Vec<Thing>, Unreadable> {
        Ok(Vec::new())
    }

    fn parts(&self, _: &Shelf<'_>, _: &Thing, _: &mut dyn FnMut(Part)) -> Result<(), Unreadable> {
        Ok(())
    }

    fn about(&self, _: &Shelf<'_>, _: &str, _: &mut dyn FnMut(CacheKey)) -> Result<(), Unreadable> {
        Ok(())
    }
}

fn key(name: &str, audience: &Audience) -> CacheKey {
    CacheKey::new("space", audience, name)
}

fn signing() -> Arc<SigningKey> {
    Arc::new(SigningKey::new(&[7; 32]))
}

fn blob(store: &dyn Store, seed: u8, bytes: usize) -> (BlobId, u64) {
    let body = Bytes::from(vec![seed; bytes]);
    let id = BlobId::of(&body);
    let partial =
        store.partial(&key(&format!("making/{seed}"), &Audience::Public)).expect("a partial body");
    partial.write(0, &[body]).expect("there is room");
    partial.seal(id, bytes as u64).expect("it can be sealed");
    (id, bytes as u64)
}

/// A store with entries of every kind: two of one body, one in its row, one of another audience.
async fn stocked() -> Arc<dyn Store> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let (large, small) = (blob(store.as_ref(), 1, 40_000), blob(store.as_ref(), 2, 20_000));
    let of = |(id, size): (BlobId, u64)| Entry {
        digests: Vec::new(),
        ..conformance::entry_of(id, size)
    };
    let aliased = |(id, size): (BlobId, u64), seed: u8| {
        let body = Bytes::from(vec![seed; usize::try_from(size).expect("it is small")]);
        let like = Digest::new(Algorithm::GitSha1, &[0; 20]).expect("a digest");
        Entry { digests: vec![digest_of(like, &[&body])], ..of((id, size)) }
    };
    let inline = Entry {
        body: Stored::Inline(Bytes::from_static(b"page")),
        digests: Vec::new(),
        ..conformance::entry()
    };
    let entries = [
        (key("page", &Audience::Public), inline.clone()),
        (key("file/one", &Audience::Public), aliased(large, 1)),
        (key("file/two", &Audience::Public), of(large)),
        (key("file/three", &Audience::Public), of(small)),
        (key("file/secret", &Audience::Service), of(small)),
        (key("file/mine", &Audience::Credential([1; 16])), inline.clone()),
        (CacheKey::new("who pulled what", &Audience::Public, "nobody's business"), inline),
    ];
    let put = |(key, entry)| Change::Put { key, entry: Arc::new(entry) };
    store.commit(entries.into_iter().map(put).collect()).await.expect("it can be written");
    store
}

async fn exported(store: &Arc<dyn Store>, audiences: Audiences) -> Vec<u8> {
    let export = Export {
        store: Arc::clone(store),
        key: signing(),
        now: Timestamp(1),
        what: Vec::new(),
        contained: Contained::All(vec![Arc::new(Words)]),
        audiences,
    };
    let mut body = export.body();
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        whole.extend_from_slice(
            &frame.expect("it is written to its end").into_data().expect("bytes"),
        );
    }
    whole
}

async fn import(
    store: &Arc<dyn Store>,
    bundle: &[u8],
    audiences: Audiences,
) -> Result<Report, (ImportError, Report)> {
    let chunks: Vec<_> =
        bundle.chunks(1000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    let import = Import {
        store: Arc::clone(store),
        trusted: vec![signing().public()],
        audiences,
        spaces: BTreeSet::from(["space".to_owned()]),
        forget: Arc::new(|_| {}),
    };
    import.run(stream::iter(chunks).boxed()).await
}

fn empty() -> Arc<dyn Store> {
    Arc::new(MemoryStore::default())
}

/// Panics unless everything in `store` is what is in `source`, bytes included.
fn all_right(store: &Arc<dyn Store>, source: &Arc<dyn Store>, when: &str) -> usize {
    let keys = store.scan("", None, 100).expect("it can be read");
    for key in &keys {
        let entry = store.get(key).expect("it can be read").expect("it is there");
        assert_eq!(
            Some(&entry),
            source.get(key).expect("it can be read").as_ref(),
            "{when}: {key}"
        );
        if let Stored::Blob { id, size } = entry.body {
            let body = store.open(id).expect("it can be read").expect("its body is there");
            let bytes =
                body.read(0, usize::try_from(size).expect("it is small")).expect("it can be read");
            assert_eq!(BlobId::of(&bytes), id, "{when}: {key}");
        }
    }
    keys.len()
}

#[tokio::test]
async fn a_bundle_brings_what_is_public_and_nothing_twice() {
    let source = stocked().await;
    let bundle = exported(&source, Audiences::Public).await;
    let target = empty();
    let report = import(&target, &bundle, Audiences::Public).await.expect("a good bundle");
    assert_eq!((report.new, report.kept, report.blobs, report.bytes), (4, 0, 2, 60_000));
    assert_eq!(all_right(&target, &source, "whole"), 4);
    let again = import(&target, &bundle, Audiences::Public).await.expect("a good bundle");
    assert_eq!((again.new, again.kept, again.blobs), (0, 4, 0));
    let import = Import {
        store: empty(),
        trusted: vec![signing().public()],
        audiences: Audiences::Public,
        spaces: BTreeSet::new(),
        forget: Arc::new(|_| {}),
    };
    let elsewhere =
        import.run(stream::iter([Ok(Bytes::from(bundle))]).boxed()).await.expect("a good bundle");
    assert_eq!((elsewhere.new, elsewhere.unmounted), (0, 4));
}

#[tokio::test]
async fn what_is_not_for_everybody_goes_along_only_when_both_sides_say_so() {
    let source = stocked().await;
    let bundle = exported(&source, Audiences::Service).await;
    let target = empty();
    let report = import(&target, &bundle, Audiences::Public).await.expect("a good bundle");
    assert_eq!((report.new, report.withheld), (4, 1));
    assert_eq!(all_right(&target, &source, "public"), 4);
    let report = import(&target, &bundle, Audiences::Service).await.expect("a good bundle");
    assert_eq!((report.new, report.kept, report.withheld), (1, 4, 0));
    assert_eq!(all_right(&target, &source, "service"), 5, "a client's own never goes along");
}

#[tokio::test]
async fn newer_entries_replace_older_ones_and_older_ones_nothing() {
    let source = stocked().await;
    let page = key("page", &Audience::Public);
    let bundle = exported(&source, Audiences::Public).await;
    let entry = source.get(&page).expect("it can be read").expect("it is there");
    let check = async |validated: u64, expected: (u64, u64)| {
        let target = empty();
        let other =
            Entry { validated: Timestamp(validated), body: Stored::None, ..(*entry).clone() };
        target
            .commit(vec![Change::Put { key: page.clone(), entry: Arc::new(other) }])
            .await
            .expect("it can be written");
        let report = import(&target, &bundle, Audiences::Public).await.expect("a good bundle");
        assert_eq!((report.new, report.kept), expected);
    };
    check(entry.validated.0 - 1, (4, 0)).await;
    check(entry.validated.0, (3, 1)).await;
    check(entry.validated.0 + 1, (3, 1)).await;
}

#[tokio::test]
async fn a_flipped_byte_is_refused_wherever_it_is() {
    let source = stocked().await;
    let bundle = exported(&source, Audiences::Public).await;
    let padding = |at: usize| bundle[at] == 0;
    for at in (0..bundle.len()).step_by(61) {
        let mut damaged = bundle.clone();
        damaged[at] ^= 0x10;
        let target = empty();
        let outcome = import(&target, &damaged, Audiences::Public).await;
        all_right(&target, &source, &format!("byte {at}"));
        match outcome {
            Err(_) => {}
            Ok(report) => {
                assert!(!report.refused.is_empty() || padding(at), "byte {at}: {report:?}");
            }
        }
    }
    // In a body, it is told by name, and everything else is taken.
    let body = bundle.windows(2000).position(|window| window == [1; 2000]).expect("the large body");
    let mut damaged = bundle.clone();
    damaged[body + 99] ^= 1;
    let target = empty();
    let report = import(&target, &damaged, Audiences::Public).await.expect("the rest is good");
    assert_eq!((report.new, report.blobs, report.refused.len()), (2, 1, 3));
    assert!(report.refused[0].starts_with("blobs/sha256/"), "{report:?}");
    assert!(report.refused[1].starts_with("space p file/one has a body"), "{report:?}");
    let healed = import(&target, &bundle, Audiences::Public).await.expect("a good bundle");
    assert_eq!((healed.new, healed.kept), (2, 2));
}

#[tokio::test]
async fn a_bundle_that_is_cut_off_says_so_and_goes_on_later() {
    let source = stocked().await;
    let bundle = exported(&source, Audiences::Public).await;
    for at in (0..bundle.len() - 1024).step_by(509) {
        let target = empty();
        let (error, before) =
            import(&target, &bundle[..at], Audiences::Public).await.expect_err("it is not whole");
        assert!(matches!(error, ImportError::Archive(ArchiveError::Truncated(_))), "{at}: {error}");
        all_right(&target, &source, &format!("cut at {at}"));
        let after = import(&target, &bundle, Audiences::Public).await.expect("a good bundle");
        assert_eq!((before.new + after.new, after.kept), (4, before.new), "cut at {at}");
    }
}

#[tokio::test]
async fn strangers_and_mixtures_are_refused() {
    let source = stocked().await;
    let bundle = exported(&source, Audiences::Public).await;
    let stranger = Import {
        store: empty(),
        trusted: vec![SigningKey::new(&[8; 32]).public()],
        audiences: Audiences::Public,
        spaces: BTreeSet::from(["space".to_owned()]),
        forget: Arc::new(|_| {}),
    };
    let whole = stream::iter([Ok(Bytes::from(bundle.clone()))]).boxed();
    let (error, report) = stranger.run(whole).await.expect_err("nobody trusts it");
    assert!(error.to_string().contains(&signing().public().to_string()), "{error}");
    assert_eq!(report, Report::default());
    // The beginning of one bundle before the parts of another by the same hand.
    let other = exported(&source, Audiences::Public).await;
    let part =
        |bundle: &[u8]| bundle.windows(5).position(|window| window == b"parts").expect("a part");
    let mixed = [&other[..part(&other)], &bundle[part(&bundle)..]].concat();
    let (error, _) =
        import(&empty(), &mixed, Audiences::Public).await.expect_err("it is a mixture");
    assert!(
        matches!(&error, ImportError::Forged(name) if name == "parts/00000001.jsonl"),
        "{error}"
    );
}
