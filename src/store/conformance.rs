//! The contract of [`Store`] as tests: one suite that every implementor passes.
//!
//! Each function takes a factory of empty stores and panics where the contract is broken. Left out: what only a disk can show (crashes,
//! eviction, a full device), which stands beside `disk`.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use super::{Change, Entry, Freed, Progress, Store, StoreError, Stored, Tidy};
use crate::types::{Algorithm, Audience, BlobId, CacheKey, Digest, Hasher, Head};
use crate::types::{Presence, Timestamp};

/// Runs the whole suite, each test on a store of its own.
pub async fn all(make: impl Fn() -> Arc<dyn Store>) {
    entries_come_back_as_they_were_put(&*make()).await;
    a_put_replaces_and_a_remove_removes(&*make()).await;
    a_scan_is_ordered_bounded_and_goes_on(&*make()).await;
    a_commit_applies_all_or_nothing(&*make()).await;
    every_digest_resolves(&*make()).await;
    an_alias_goes_with_its_entry(&*make()).await;
    pins_touches_and_their_absence_are_quiet(&*make()).await;
    usage_counts_what_is_named(&*make()).await;
    pins_are_told_and_outlive_a_put(&*make()).await;
    what_was_removed_is_freed_when_nobody_names_it(&*make()).await;
    tidying_removes_what_nobody_takes_up(&*make()).await;
    a_partial_is_open_once(&*make());
    progress_survives_a_drop(&*make());
    a_discarded_partial_starts_again(&*make());
    a_partial_is_written_and_read_anywhere(&*make());
    a_sealed_blob_is_cut_to_its_length(&*make());
    a_short_body_is_not_sealed(&*make());
    a_blob_that_is_there_is_kept(&*make()).await;
    a_used_up_partial_is_read_but_not_written(&*make());
    reads_stop_at_the_end(&*make()).await;
}

/// A key of a mount that exists in tests only.
pub fn key(name: &str) -> CacheKey {
    CacheKey::new("test", &Audience::Public, name)
}

/// An entry with something in every field, over no body.
pub fn entry() -> Entry {
    let mut head = Head::new(StatusCode::OK);
    let fields = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::ETAG, "\"5d41402abc4b2a76b9719d911017c592\""),
        (header::LAST_MODIFIED, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (header::VARY, "accept"),
        (header::VARY, "accept-encoding"),
        (header::HeaderName::from_static("x-unheard-of"), "yes"),
    ];
    for (name, value) in fields {
        head.headers.append(name, HeaderValue::from_static(value));
    }
    Entry {
        head,
        body: Stored::None,
        origin: Some("http://index.example/elsewhere".into()),
        first_kept: Timestamp(1_000_001),
        validated: Timestamp(2_000_002),
        fresh_until: Timestamp::NEVER,
        presence: Presence::Gone { status: 404, since: Timestamp(3_000_003) },
        digests: Vec::new(),
        note: Bytes::from_static(b"a note"),
    }
}

/// An entry over a sealed blob.
pub fn entry_of(id: BlobId, size: u64) -> Entry {
    Entry { body: Stored::Blob { id, size }, ..entry() }
}

/// The change that writes `entry` under the key of `name`.
pub fn put(name: &str, entry: Entry) -> Change {
    Change::Put { key: key(name), entry: Arc::new(entry) }
}

/// Seals `bytes` without an entry that names them.
pub fn seal(store: &dyn Store, bytes: &[u8]) -> BlobId {
    let blob = BlobId::of(bytes);
    let partial = store.partial(&key(&blob.to_hex())).expect("nobody else fills it");
    partial.reserve(bytes.len() as u64).expect("there is room");
    partial.write(0, &[Bytes::copy_from_slice(bytes)]).expect("there is room");
    partial.seal(blob, bytes.len() as u64).expect("the body is whole");
    blob
}

/// Seals `bytes` and commits an entry over them under the key of `name`.
pub async fn keep(store: &dyn Store, name: &str, bytes: &[u8]) -> BlobId {
    let blob = seal(store, bytes);
    commit(store, vec![put(name, entry_of(blob, bytes.len() as u64))]).await;
    blob
}

/// A progress note of `prefix` bytes.
pub fn progress(prefix: u64) -> Progress {
    Progress {
        prefix,
        total: Some(1 << 20),
        etag: Some("\"one\"".to_owned()),
        last_modified: None,
        promised: vec!["sha256:00".to_owned()],
        origin: "http://index.example/file".to_owned(),
    }
}

async fn commit(store: &dyn Store, changes: Vec<Change>) {
    store.commit(changes).await.expect("the store takes writes");
}

fn get(store: &dyn Store, name: &str) -> Option<Arc<Entry>> {
    store.get(&key(name)).expect("the index can be read")
}

fn read(store: &dyn Store, blob: BlobId) -> Option<Bytes> {
    let reader = store.open(blob).expect("blobs can be opened")?;
    Some(reader.read(0, 1 << 20).expect("blobs can be read"))
}

async fn pins_are_told_and_outlive_a_put(store: &dyn Store) {
    let is_pinned = || store.is_pinned(&key("a")).expect("the index can be read");
    let pin = |pinned| Change::Pin { key: key("a"), pinned };
    commit(store, vec![pin(true)]).await;
    assert!(!is_pinned(), "there is nothing to pin");
    keep(store, "a", b"one").await;
    commit(store, vec![pin(true)]).await;
    assert!(is_pinned());
    keep(store, "a", b"two").await;
    assert!(is_pinned(), "another version of the same");
    commit(store, vec![pin(false)]).await;
    assert!(!is_pinned());
}

async fn what_was_removed_is_freed_when_nobody_names_it(store: &dyn Store) {
    let blob = keep(store, "a", b"shared").await;
    keep(store, "b", b"shared").await;
    let other = keep(store, "c", b"alone").await;
    assert_eq!(store.namers(blob).expect("the index can be read"), 2);
    let removed = ["a", "c"].map(|name| Change::Remove { key: key(name) });
    commit(store, removed.to_vec()).await;
    let freed = store.release(vec![blob, other]).await.expect("the store takes writes");
    assert_eq!(freed, Freed { count: 1, bytes: 5 });
    assert_eq!(read(store, blob), Some(Bytes::from_static(b"shared")));
    assert_eq!(read(store, other), None);
    assert_eq!(store.namers(other).expect("the index can be read"), 0);
}

async fn tidying_removes_what_nobody_takes_up(store: &dyn Store) {
    let blob = keep(store, "a", b"kept").await;
    let partial = store.partial(&key("b")).expect("nobody else fills it");
    partial.write(0, &[Bytes::from_static(b"some")]).expect("there is room");
    partial.checkpoint(&progress(4)).expect("there is room");
    let open = store.tidy(Tidy { dry_run: false, all_partials: true }).await;
    assert_eq!(open.expect("it can be read").partials.count, 0, "somebody writes it");
    drop(partial);
    for (dry_run, count) in [(true, 1), (false, 1), (false, 0)] {
        let tidied = store.tidy(Tidy { dry_run, all_partials: true }).await;
        let tidied = tidied.expect("the store takes writes");
        assert_eq!((tidied.partials.count, tidied.evicted.bytes), (count, 0), "{dry_run}");
    }
    let again = store.partial(&key("b")).expect("nobody else fills it");
    assert_eq!(again.progress(), None);
    assert_eq!(read(store, blob), Some(Bytes::from_static(b"kept")));
}

async fn entries_come_back_as_they_were_put(store: &dyn Store) {
    assert_eq!(get(store, "a"), None);
    let blob = seal(store, b"a blob");
    let bodies = [
        Stored::None,
        Stored::Inline(Bytes::new()),
        Stored::Inline(Bytes::from_static(b"small")),
        Stored::Blob { id: blob, size: 6 },
    ];
    let presences = [
        Presence::Present,
        Presence::Gone { status: 410, since: Timestamp(7) },
        Presence::Withdrawn { status: 401, since: Timestamp(8) },
    ];
    let git = {
        let mut hasher = Hasher::git_blob(6);
        hasher.update(b"a blob");
        hasher.finish()
    };
    for body in bodies {
        for presence in presences {
            for digests in [vec![], vec![git]] {
                let entry = Entry { body: body.clone(), presence, digests, ..entry() };
                commit(store, vec![put("a", entry.clone())]).await;
                assert_eq!(get(store, "a").as_deref(), Some(&entry));
            }
        }
    }
    let bare = Entry {
        head: Head::new(StatusCode::from_u16(599).expect("599 is a status")),
        origin: None,
        first_kept: Timestamp::NEVER,
        validated: Timestamp(0),
        fresh_until: Timestamp(0),
        note: Bytes::new(),
        ..entry()
    };
    commit(store, vec![put("bare", bare.clone())]).await;
    assert_eq!(get(store, "bare").as_deref(), Some(&bare));
}

async fn a_put_replaces_and_a_remove_removes(store: &dyn Store) {
    let second = Entry { validated: Timestamp(9), ..entry() };
    commit(store, vec![put("a", entry()), put("b", entry())]).await;
    commit(store, vec![put("a", second.clone())]).await;
    assert_eq!(get(store, "a").as_deref(), Some(&second));
    commit(store, vec![Change::Remove { key: key("a") }]).await;
    assert_eq!(get(store, "a"), None);
    assert_eq!(get(store, "b").as_deref(), Some(&entry()));
    commit(store, vec![Change::Remove { key: key("never there") }]).await;
    let twice = vec![put("c", entry()), put("c", second.clone()), Change::Remove { key: key("b") }];
    commit(store, twice).await;
    assert_eq!(get(store, "c").as_deref(), Some(&second), "changes apply in order");
    assert_eq!(get(store, "b"), None);
}

async fn a_scan_is_ordered_bounded_and_goes_on(store: &dyn Store) {
    let names = ["b", "a/2", "a/1", "a/10", "a", "c", "a0"];
    commit(store, names.iter().map(|name| put(name, entry())).collect()).await;
    commit(store, vec![put("gone", entry()), Change::Remove { key: key("gone") }]).await;
    let scan = |prefix: &CacheKey, after: Option<&str>, limit| -> Vec<String> {
        let after = after.map(key);
        let keys = store.scan(prefix.as_str(), after.as_ref(), limit).expect("the index is read");
        keys.iter().map(|key| key.name().to_owned()).collect()
    };
    assert_eq!(scan(&key("a/"), None, 9), ["a/1", "a/10", "a/2"]);
    assert_eq!(scan(&key("a/"), None, 2), ["a/1", "a/10"]);
    assert_eq!(scan(&key("a/"), Some("a/10"), 9), ["a/2"]);
    assert_eq!(scan(&key("a/"), Some("a/1+"), 9), ["a/10", "a/2"], "the mark need not exist");
    assert_eq!(scan(&key("a/"), Some("a"), 9), ["a/1", "a/10", "a/2"]);
    assert_eq!(scan(&key("a/"), Some("b"), 9), [""; 0]);
    assert_eq!(scan(&key(""), None, 99).len(), names.len());
    assert_eq!(scan(&key("zz"), None, 9), [""; 0]);
    assert_eq!(store.scan("", None, 99).expect("the index is read").len(), names.len());
}

async fn a_commit_applies_all_or_nothing(store: &dyn Store) {
    let absent = BlobId::of(b"never sealed");
    let changes = vec![put("a", entry()), put("b", entry_of(absent, 12)), put("c", entry())];
    match store.commit(changes).await {
        Err(StoreError::BlobMissing(blob)) => assert_eq!(blob, absent),
        other => panic!("a commit that names no blob gave {other:?}"),
    }
    for name in ["a", "b", "c"] {
        assert_eq!(get(store, name), None, "{name}");
    }
    assert_eq!(store.usage().entries, 0);
    assert_eq!(store.resolve(&absent.digest()).expect("the index is read"), None);
}

async fn every_digest_resolves(store: &dyn Store) {
    let bytes = b"known by many names";
    let blob = seal(store, bytes);
    let algorithms = [
        Algorithm::Md5,
        Algorithm::Sha1,
        Algorithm::Sha224,
        Algorithm::Blake2b256,
        Algorithm::Sha384,
        Algorithm::Sha512,
    ];
    let mut digests: Vec<Digest> = algorithms
        .map(|algorithm| Hasher::new(algorithm).expect("these need no length"))
        .into_iter()
        .chain([Hasher::git_blob(bytes.len() as u64)])
        .map(|mut hasher| {
            hasher.update(bytes);
            hasher.finish()
        })
        .collect();
    let entry = Entry { digests: digests.clone(), ..entry_of(blob, bytes.len() as u64) };
    commit(store, vec![put("a", entry)]).await;
    digests.push(blob.digest());
    for digest in digests {
        assert_eq!(store.resolve(&digest).expect("the index is read"), Some(blob), "{digest}");
    }
    for digest in ["md5:5d41402abc4b2a76b9719d911017c592", &BlobId([0; 32]).digest().to_string()] {
        let digest = digest.parse().expect("it is a digest");
        assert_eq!(store.resolve(&digest).expect("the index is read"), None, "{digest}");
    }
}

async fn an_alias_goes_with_its_entry(store: &dyn Store) {
    let (first, second) = (seal(store, b"first"), seal(store, b"second"));
    let digest = Digest::new(Algorithm::Sha1, &[7; 20]).expect("20 bytes are a SHA-1");
    let over = |blob, digests| Entry { digests, ..entry_of(blob, 5) };
    let resolve = || store.resolve(&digest).expect("the index is read");
    commit(store, vec![put("a", over(first, vec![digest]))]).await;
    assert_eq!(resolve(), Some(first));
    commit(store, vec![put("b", over(first, vec![digest]))]).await;
    commit(store, vec![Change::Remove { key: key("a") }]).await;
    assert_eq!(resolve(), Some(first), "another entry still has it");
    commit(store, vec![put("b", Entry { digests: vec![], ..entry_of(second, 6) })]).await;
    assert_eq!(resolve(), None, "a replaced entry takes its alias along");
    assert_eq!(store.resolve(&first.digest()).expect("the index is read"), None);
    assert_eq!(store.resolve(&second.digest()).expect("the index is read"), Some(second));
}

async fn pins_touches_and_their_absence_are_quiet(store: &dyn Store) {
    let blob = keep(store, "a", b"bytes").await;
    let before = get(store, "a");
    let pin = |name, pinned| Change::Pin { key: key(name), pinned };
    commit(store, vec![pin("a", true), pin("never there", true), pin("a", false)]).await;
    store.touch(blob);
    store.touch(BlobId([0; 32]));
    assert_eq!(get(store, "a"), before);
    assert_eq!(get(store, "never there"), None);
    commit(store, vec![]).await;
}

async fn usage_counts_what_is_named(store: &dyn Store) {
    let counts = || {
        let usage = store.usage();
        assert!(usage.writable);
        (usage.entries, usage.blobs, usage.blob_bytes)
    };
    assert_eq!(counts(), (0, 0, 0));
    let blob = keep(store, "a", b"12345").await;
    assert_eq!(counts(), (1, 1, 5));
    commit(store, vec![put("b", entry_of(blob, 5)), put("c", entry())]).await;
    assert_eq!(counts(), (3, 1, 5), "a shared blob counts once");
    keep(store, "a", b"123").await;
    assert_eq!(counts(), (3, 2, 8));
    commit(store, vec![Change::Remove { key: key("b") }, put("a", entry())]).await;
    assert_eq!(counts(), (2, 0, 0));
    commit(store, vec![Change::Remove { key: key("b") }]).await;
    assert_eq!(counts(), (2, 0, 0), "what is gone cannot go twice");
}

fn a_partial_is_open_once(store: &dyn Store) {
    let first = store.partial(&key("a")).expect("nobody else fills it");
    match store.partial(&key("a")) {
        Err(StoreError::Busy(busy)) => assert_eq!(busy, key("a")),
        other => panic!("a second partial gave {other:?}"),
    }
    store.partial(&key("b")).expect("another key is free");
    drop(first);
    store.partial(&key("a")).expect("a dropped partial frees its key");
}

fn progress_survives_a_drop(store: &dyn Store) {
    let partial = store.partial(&key("a")).expect("nobody else fills it");
    assert_eq!(partial.progress(), None);
    partial.write(0, &[Bytes::from_static(b"0123456789")]).expect("there is room");
    partial.checkpoint(&progress(4)).expect("there is room");
    partial.checkpoint(&progress(7)).expect("there is room");
    assert_eq!(partial.progress(), Some(progress(7)));
    drop(partial);

    let partial = store.partial(&key("a")).expect("it was dropped");
    assert_eq!(partial.progress(), Some(progress(7)));
    assert_eq!(partial.read(0, 7).expect("it can be read"), "0123456");
    assert_eq!(store.partial(&key("b")).expect("nobody fills it").progress(), None);
    partial.write(7, &[Bytes::from_static(b"xyz")]).expect("there is room");
    let sealed = partial.seal(BlobId::of(b"0123456xyz"), 10).expect("the body is whole");
    assert_eq!(sealed.read(0, 99).expect("it can be read"), "0123456xyz");

    let partial = store.partial(&key("a")).expect("sealing freed the key");
    assert_eq!(partial.progress(), None);
    partial.write(0, &[Bytes::from_static(b"unnoted")]).expect("there is room");
    drop(partial);
    let partial = store.partial(&key("a")).expect("it was dropped");
    assert_eq!(partial.progress(), None);
    assert_eq!(partial.read(0, 9).expect("it can be read"), "", "bytes without a note are gone");
}

fn a_discarded_partial_starts_again(store: &dyn Store) {
    let partial = store.partial(&key("a")).expect("nobody else fills it");
    partial.write(0, &[Bytes::from_static(b"wrong")]).expect("there is room");
    partial.checkpoint(&progress(5)).expect("there is room");
    partial.discard();
    let next = store.partial(&key("a")).expect("discarding freed the key, reader or not");
    assert_eq!(next.progress(), None);
    assert_eq!(next.read(0, 5).expect("it can be read"), "");
    partial.discard();
    drop(partial);
    assert!(store.partial(&key("a")).is_err(), "the end of the old one is not that of the next");
}

fn a_partial_is_written_and_read_anywhere(store: &dyn Store) {
    let partial = store.partial(&key("a")).expect("nobody else fills it");
    partial.reserve(1 << 20).expect("there is room");
    assert_eq!(partial.read(0, 9).expect("it can be read"), "", "reserving writes nothing");
    partial.write(6, &[Bytes::from_static(b"67"), Bytes::new()]).expect("there is room");
    let chunks = ["01", "2", "", "345"].map(|text| Bytes::from_static(text.as_bytes()));
    partial.write(0, &chunks).expect("there is room");
    assert_eq!(partial.read(0, 99).expect("it can be read"), "01234567");
    assert_eq!(partial.read(2, 3).expect("it can be read"), "234");
    partial.write(1, &[Bytes::from_static(b"x")]).expect("there is room");
    assert_eq!(partial.read(0, 3).expect("it can be read"), "0x2");
    let many: Vec<Bytes> = (0..3000_u32).map(|n| Bytes::from(vec![n as u8; 3])).collect();
    partial.write(100, &many).expect("there is room");
    assert_eq!(partial.read(100 + 3 * 2999, 9).expect("it can be read"), vec![2999_u32 as u8; 3]);
}

fn a_sealed_blob_is_cut_to_its_length(store: &dyn Store) {
    let partial = store.partial(&key("a")).expect("nobody else fills it");
    partial.reserve(1 << 20).expect("there is room");
    partial.write(0, &[Bytes::from_static(b"body and rest")]).expect("there is room");
    let blob = BlobId::of(b"body");
    let sealed = partial.seal(blob, 4).expect("the body is whole");
    assert_eq!(sealed.read(0, 99).expect("it can be read"), "body");
    assert_eq!(read(store, blob).as_deref(), Some(b"body".as_slice()));
    let empty = store.partial(&key("b")).expect("nobody else fills it");
    empty.seal(BlobId::of(b""), 0).expect("an empty body is whole");
    assert_eq!(read(store, BlobId::of(b"")), Some(Bytes::new()));
}

fn a_short_body_is_not_sealed(store: &dyn Store) {
    let partial = store.partial(&key("a")).expect("nobody else fills it");
    partial.write(0, &[Bytes::from_static(b"bod")]).expect("there is room");
    let blob = BlobId::of(b"body");
    assert!(matches!(partial.seal(blob, 4), Err(StoreError::Io { .. })));
    assert_eq!(read(store, blob), None);
}

async fn a_blob_that_is_there_is_kept(store: &dyn Store) {
    let blob = keep(store, "a", b"same").await;
    let open = store.open(blob).expect("it can be opened").expect("it is there");
    assert_eq!(seal(store, b"same"), blob);
    commit(store, vec![put("b", entry_of(blob, 4))]).await;
    assert_eq!(open.read(0, 9).expect("it can be read"), "same");
    assert_eq!(read(store, blob).as_deref(), Some(b"same".as_slice()));
    assert_eq!(store.usage().blobs, 1);
}

fn a_used_up_partial_is_read_but_not_written(store: &dyn Store) {
    let partial = store.partial(&key("a")).expect("nobody else fills it");
    partial.write(0, &[Bytes::from_static(b"body")]).expect("there is room");
    partial.seal(BlobId::of(b"body"), 4).expect("the body is whole");
    assert_eq!(partial.read(1, 9).expect("those who followed it go on"), "ody");
    assert!(partial.write(0, &[Bytes::from_static(b"x")]).is_err());
    assert!(partial.checkpoint(&progress(1)).is_err());
    assert!(partial.seal(BlobId::of(b"body"), 4).is_err());
    partial.discard();
    assert_eq!(read(store, BlobId::of(b"body")).as_deref(), Some(b"body".as_slice()));
}

async fn reads_stop_at_the_end(store: &dyn Store) {
    let blob = keep(store, "a", b"0123456789").await;
    let reader = store.open(blob).expect("it can be opened").expect("it is there");
    for (offset, length, expected) in [
        (0, 10, "0123456789"),
        (0, 11, "0123456789"),
        (0, 1, "0"),
        (9, 9, "9"),
        (3, 4, "3456"),
        (10, 1, ""),
        (u64::from(u32::MAX), 1, ""),
        (0, 0, ""),
    ] {
        assert_eq!(reader.read(offset, length).expect("it can be read"), expected);
        // What is not at hand may be answered by `None`, but never by other bytes.
        if let Some(bytes) = reader.try_read(offset, length).expect("it can be read") {
            assert!(expected.as_bytes().starts_with(&bytes), "{offset} {length}: {bytes:?}");
        }
    }
}
