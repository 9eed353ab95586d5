//! A disk that fails, is full, or has lost something: what is refused, what is served on, and how it heals.

use super::*;

#[tokio::test]
async fn an_undecodable_record_is_a_miss_that_heals() {
    let rig = Rig::plain();
    keep(&rig.store, "good", b"good").await;
    keep(&rig.store, "bad", b"bad").await;
    let (directory, config) = rig.close().await;
    let database = Database::create(directory.path().join(index::FILE)).expect("it was closed");
    let transaction = database.begin_write().expect("nobody else writes");
    let mut entries = transaction.open_table(record::ENTRIES).expect("it is there");
    entries.insert(1, [9_u8; 40].as_slice()).expect("there is room");
    drop(entries);
    transaction.commit().expect("there is room");
    database.close().expect("nothing fails");

    let rig = Rig::try_in(directory, config, START).expect("one bad record stops nothing");
    assert!(rig.has("good"));
    assert!(!rig.has("bad"));
    rig.settle().await;
    assert_eq!(rig.kept(), ["good"]);
    assert_eq!(rig.store.usage().entries, 1);
    rig.now.store(u64::MAX / 2, Ordering::Relaxed);
    rig.sweep().await;
    let usage = rig.store.usage();
    assert_eq!((usage.blobs, usage.blob_bytes), (1, 4), "its blob went with the sweep");
    keep(&rig.store, "bad", b"bad").await;
    assert!(rig.has("bad"));
}

#[tokio::test]
async fn an_entry_whose_file_is_gone_heals() {
    let rig = Rig::plain();
    let blob = keep(&rig.store, "a", b"bytes").await;
    rig.store.commit(vec![put("b", entry_of(blob, 5)), pin("a", true)]).await.expect("it works");
    rig.store.shared.blobs.forget_open();
    fs::remove_file(rig.store.shared.blobs.path(blob)).expect("it is there");
    assert!(rig.read(blob).is_none());
    rig.settle().await;
    assert_eq!(rig.kept(), [""; 0]);
    assert_eq!(
        rig.store.usage(),
        Usage { index_bytes: rig.store.usage().index_bytes, writable: true, ..Usage::default() }
    );
    let error = rig.store.commit(vec![put("b", entry_of(blob, 5))]).await;
    assert!(matches!(error, Err(StoreError::BlobMissing(_))));
    keep(&rig.store, "a", b"bytes").await;
    assert!(rig.read(blob).is_some());
}

#[tokio::test]
async fn a_missing_directory_is_no_reason_to_forget_its_blobs() {
    let rig = Rig::plain();
    let blob = keep(&rig.store, "a", b"bytes").await;
    rig.store.shared.blobs.forget_open();
    let path = rig.store.shared.blobs.path(blob);
    let shard = path.parent().expect("it is in a directory");
    let aside = rig.directory.path().join("aside");
    fs::rename(shard, &aside).expect("it is there");
    assert!(rig.store.open(blob).is_err());
    rig.settle().await;
    fs::rename(&aside, shard).expect("it is there");
    assert!(rig.has("a") && rig.read(blob).is_some());
}

#[tokio::test]
async fn a_failed_sync_loses_the_body_and_says_so() {
    let rig = Rig::plain();
    let partial = rig.store.partial(&key("a")).expect("nobody else fills it");
    partial.write(0, &[Bytes::from_static(b"bytes")]).expect("there is room");
    partial.checkpoint(&progress(5)).expect("nothing fails yet");
    rig.device.sync_fails.store(true, Ordering::Relaxed);
    let blob = BlobId::of(b"bytes");
    assert!(matches!(partial.seal(blob, 5), Err(StoreError::Io { .. })));
    rig.device.sync_fails.store(false, Ordering::Relaxed);
    assert!(partial.seal(blob, 5).is_err(), "trying again would claim what is lost");
    assert!(rig.read(blob).is_none());
    let next = rig.store.partial(&key("a")).expect("the key is free");
    assert_eq!(next.progress(), None);
}

#[tokio::test]
async fn a_full_disk_is_said_before_the_index_suffers() {
    let rig = Rig::new(Config { min_free: ByteSize(1000), ..Config::default() });
    rig.device.free.store(5000, Ordering::Relaxed);
    let partial = rig.store.partial(&key("a")).expect("nobody else fills it");
    assert!(matches!(partial.reserve(4001), Err(StoreError::Full)));
    partial.reserve(4000).expect("there is room");
    let chunk = Bytes::from_static(b"chunk");
    rig.device.free.store(0, Ordering::Relaxed);
    partial.write(0, std::slice::from_ref(&chunk)).expect("its room was set aside");
    assert!(matches!(partial.write(3999, std::slice::from_ref(&chunk)), Err(StoreError::Full)));
    rig.device.write_fails.store(true, Ordering::Relaxed);
    assert!(matches!(partial.write(0, &[chunk]), Err(StoreError::Full)));
    rig.settle().await;
}

#[tokio::test]
async fn a_failing_index_refuses_writes_serves_reads_and_comes_back() {
    let rig = Rig::plain();
    let blob = keep(&rig.store, "a", b"bytes").await;
    rig.device.index_fails.store(true, Ordering::Relaxed);
    let refused = rig.store.commit(vec![put("b", entry())]).await;
    assert!(matches!(refused, Err(StoreError::Refusing)), "{refused:?}");
    let refused = rig.store.commit(vec![put("b", entry())]).await;
    assert!(matches!(refused, Err(StoreError::Refusing)), "{refused:?}");
    assert!(!rig.store.usage().writable);
    assert!(rig.has("a") && !rig.has("b") && rig.read(blob).is_some());

    rig.device.index_fails.store(false, Ordering::Relaxed);
    rig.store.jobs.send(Job::Reopen).await.expect("the writer lives");
    rig.settle().await;
    assert!(rig.store.usage().writable);
    assert!(rig.has("a") && !rig.has("b"));
    assert_eq!(rig.device.repairs.load(Ordering::Relaxed), 0);
}
