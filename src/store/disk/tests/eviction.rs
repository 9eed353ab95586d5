//! What goes when there is no room, and what stays.

use super::*;

#[tokio::test]
async fn what_nobody_asked_for_longest_goes_first_and_pinned_things_never() {
    let rig = Rig::new(config(3000));
    rig.keep_all(&["pinned", "oldest", "asked"], 900).await;
    rig.store.commit(vec![pin("pinned", true)]).await.expect("it works");
    rig.advance(5 * HOUR);
    rig.keep_all(&["newer"], 900).await;
    rig.store.touch(BlobId::of(&body("asked", 900)));
    rig.store.jobs.send(Job::Flush).await.expect("the writer lives");
    rig.settle().await;
    rig.advance(5 * HOUR);
    rig.keep_all(&["newest"], 1100).await;
    rig.make_room().await;
    assert_eq!(rig.kept(), ["asked", "newest", "pinned"]);
    assert!(rig.store.usage().blob_bytes <= 3000);
    rig.advance(2 * HOUR);
    rig.keep_all(&["last"], 1000).await;
    rig.make_room().await;
    assert_eq!(
        rig.kept(),
        ["last", "newest", "pinned"][..],
        "asked again is worth more, not for ever"
    );
}

#[tokio::test]
async fn eviction_takes_every_entry_of_a_blob_and_its_file() {
    let rig = Rig::new(config(1000));
    let blob = keep(&rig.store, "a", &body("x", 900)).await;
    rig.store.commit(vec![put("b", entry_of(blob, 900)), put("c", entry())]).await.expect("works");
    let open = rig.store.open(blob).expect("it opens").expect("it is there");
    rig.advance(2 * HOUR);
    rig.keep_all(&["d"], 900).await;
    rig.make_room().await;
    assert_eq!(rig.kept(), ["c", "d"]);
    assert!(rig.read(blob).is_none());
    assert_eq!(open.read(0, 9999).expect("readers go on").len(), 900);
    let usage = rig.store.usage();
    assert_eq!((usage.entries, usage.blobs, usage.evicted_blobs), (2, 1, 1));

    let keys = |rig: &Rig| rig.store.shared.view().idle_keys("", 99).expect("it is read").0.len();
    assert_eq!(keys(&rig), 2, "keys stay behind");
    keep(&rig.store, "a", &body("x", 50)).await;
    assert_eq!(keys(&rig), 1, "a key that is kept again is in use");
    rig.sweep().await;
    assert_eq!(keys(&rig), 0, "the sweep takes the rest");
    assert_eq!(rig.kept(), ["a", "c", "d"]);
}

/// The room of an evicted blob came back only when somebody asked for another one: its file was still held open.
#[tokio::test]
async fn an_evicted_blob_is_not_held_open() {
    let rig = Rig::new(config(1000));
    let blob = keep(&rig.store, "a", &body("x", 900)).await;
    let file = rig.read(blob).and_then(|_| rig.store.shared.blobs.inode(blob)).expect("there");
    rig.advance(2 * HOUR);
    rig.keep_all(&["b"], 900).await;
    rig.make_room().await;
    assert_eq!(rig.kept(), ["b"]);
    let open = fs::read_dir("/proc/self/fd").expect("a list of open files");
    let held = open.flatten().any(|entry| {
        let is_ours =
            fs::read_link(entry.path()).is_ok_and(|path| path.starts_with(rig.directory.path()));
        is_ours && fs::metadata(entry.path()).is_ok_and(|held| held.ino() == file)
    });
    assert!(!held, "the file is gone and its room still taken");
}

#[tokio::test]
async fn a_blob_just_sealed_is_not_evicted() {
    let rig = Rig::new(config(1000));
    let old = keep(&rig.store, "old", &body("x", 900)).await;
    rig.advance(2 * HOUR);
    // Somebody fills the same bytes under another key.
    seal(&rig.store, &body("x", 900));
    rig.keep_all(&["new"], 900).await;
    rig.make_room().await;
    rig.store.commit(vec![put("again", entry_of(old, 900))]).await.expect("the blob was safe");
    assert!(rig.read(old).is_some());
}

#[tokio::test]
async fn a_large_store_is_evicted_a_window_at_a_time() {
    let rig = Rig::new(config(400));
    let names: Vec<String> = (0..600).map(|number| format!("{number:03}")).collect();
    let changes = names.iter().map(|name| {
        let blob = seal(&rig.store, name.as_bytes());
        put(name, entry_of(blob, 3))
    });
    let changes = changes.collect();
    rig.store.commit(changes).await.expect("the store takes writes");
    rig.advance(HOUR);
    rig.make_room().await;
    let usage = rig.store.usage();
    assert!((300..=400).contains(&usage.blob_bytes), "{usage:?}");
    assert_eq!(usage.evicted_blobs + usage.blobs, 600);
}

#[tokio::test]
async fn access_times_pins_and_counters_outlive_a_clean_end() {
    let rig = Rig::new(config(2000));
    rig.keep_all(&["a", "b", "c"], 600).await;
    rig.store
        .commit(vec![pin("b", true), put("note", Entry { body: Stored::None, ..entry() })])
        .await
        .expect("works");
    rig.advance(3 * HOUR);
    rig.store.touch(BlobId::of(&body("c", 600)));
    let rig = rig.reopen().await;
    assert_eq!(rig.store.usage().blob_bytes, 1800);
    rig.advance(3 * HOUR);
    rig.keep_all(&["d"], 600).await;
    rig.make_room().await;
    assert_eq!(rig.kept(), ["b", "c", "d", "note"]);
}
