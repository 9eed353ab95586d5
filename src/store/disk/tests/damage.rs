//! Bytes that change on the disk: found by the scrubber, by whoever reads them, or by `verify`, and out of the way from then on.

use super::*;
use crate::store::disk::verify::verify;

/// Long enough for a blob.
const LENGTH: usize = 300_000;

fn scrubber(rig: &Rig) -> Scrubber {
    let config = Config { scrub_rate: ByteSize(0), ..rig.config.clone() };
    rig.store.scrubber(&config, &rig.tasks)
}

/// Flips one bit of a blob's file.
fn flip(rig: &Rig, blob: BlobId) {
    let path = rig.store.shared.blobs.path(blob);
    let mut bytes = fs::read(&path).expect("it is there");
    bytes[LENGTH / 2] ^= 1;
    fs::write(path, bytes).expect("there is room");
}

fn quarantined(rig: &Rig) -> Vec<String> {
    let Ok(files) = fs::read_dir(rig.directory.path().join("quarantine")) else { return vec![] };
    files.map(|file| file.expect("it is read").file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn a_flipped_bit_is_found_set_aside_and_heals() {
    let rig = Rig::plain();
    rig.keep_all(&["right", "wrong", "short", "gone"], LENGTH).await;
    let [right, wrong, short, gone] =
        ["right", "wrong", "short", "gone"].map(|name| BlobId::of(&body(name, LENGTH)));
    rig.store.commit(vec![pin("wrong", true)]).await.expect("it works");
    scrubber(&rig).round(wrong).await.expect("nothing fails");
    assert_eq!((rig.store.usage().checked_blobs, rig.store.usage().damaged_blobs), (4, 0));

    flip(&rig, wrong);
    let path = |blob| rig.store.shared.blobs.path(blob);
    fs::write(path(short), b"short").expect("there is room");
    fs::remove_file(path(gone)).expect("it is there");
    scrubber(&rig).round(right).await.expect("nothing fails");
    rig.settle().await;
    assert_eq!(rig.kept(), ["right"]);
    assert_eq!(rig.store.usage().damaged_blobs, 2, "one that is gone is not set aside");
    let told = |name: &str, damage: &str| (name.to_owned(), damage.to_owned());
    assert_eq!(
        rig.lost(),
        [told("gone", "missing"), told("short", "length"), told("wrong", "digest")]
    );
    let mut expected = [wrong.to_hex(), short.to_hex()];
    expected.sort();
    let mut found = quarantined(&rig);
    found.sort();
    assert_eq!(found, expected);
    assert!(rig.read(wrong).is_none() && rig.read(right).is_some());
    rig.keep_all(&["wrong"], LENGTH).await;
    assert_eq!(rig.read(wrong).as_deref(), Some(body("wrong", LENGTH).as_slice()));
}

#[tokio::test]
async fn a_suspect_is_looked_at_and_only_a_damaged_one_goes() {
    let rig = Rig::plain();
    rig.keep_all(&["right", "wrong"], LENGTH).await;
    let [right, wrong] = ["right", "wrong"].map(|name| BlobId::of(&body(name, LENGTH)));
    flip(&rig, wrong);
    for blob in [right, wrong, BlobId([0; 32])] {
        rig.store.suspect(blob).await;
    }
    assert_eq!(rig.kept(), ["right"]);
}

/// A damaged blob on a disk that takes no writes cannot be moved away; it is not read all the same.
#[tokio::test]
async fn a_damaged_blob_that_stays_where_it_is_is_not_read() {
    let rig = Rig::plain();
    rig.keep_all(&["wrong"], LENGTH).await;
    let wrong = BlobId::of(&body("wrong", LENGTH));
    flip(&rig, wrong);
    rig.device.index_fails.store(true, Ordering::Relaxed);
    rig.store.suspect(wrong).await;
    assert!(rig.has("wrong"), "the index takes no writes");
    assert!(rig.read(wrong).is_none());
}

/// The good copy of a blob must not pay for the bad one that somebody still has open.
#[tokio::test]
async fn a_blob_that_was_sealed_again_stays() {
    let rig = Rig::plain();
    rig.keep_all(&["a"], LENGTH).await;
    let blob = BlobId::of(&body("a", LENGTH));
    let inode = rig.store.shared.blobs.inode(blob).expect("it is there");
    rig.keep_all(&["a"], LENGTH).await;
    let (done, answer) = oneshot::channel();
    rig.store
        .jobs
        .send(Job::Quarantine { blob, inode, notes: Vec::new(), done })
        .await
        .expect("the writer lives");
    assert!(!answer.await.expect("it answers"));
    assert!(rig.has("a") && rig.read(blob).is_some());
}

#[tokio::test]
async fn verify_tells_what_is_wrong_and_repairs_only_when_told_to() {
    let rig = Rig::plain();
    rig.keep_all(&["right", "wrong", "gone"], LENGTH).await;
    let small = Bytes::from_static(b"small");
    let digests = vec![BlobId::of(b"something else").digest()];
    let inline = Entry { body: Stored::Inline(small.clone()), digests, ..entry() };
    let digests = vec![BlobId::of(&small).digest()];
    let good = Entry { body: Stored::Inline(small), digests, ..entry() };
    rig.store.commit(vec![put("row", inline), put("good", good)]).await.expect("it works");
    seal(&rig.store, b"an orphan");
    let [wrong, gone] = ["wrong", "gone"].map(|name| BlobId::of(&body(name, LENGTH)));
    flip(&rig, wrong);
    fs::remove_file(rig.store.shared.blobs.path(gone)).expect("it is there");

    let look = |repair| verify(rig.directory.path(), &rig.config, repair, &mut |_| {});
    let in_use = look(Repair::No);
    assert!(matches!(in_use, Err(StoreError::Unusable(_))), "{in_use:?}");
    let (directory, config) = rig.close().await;
    let look = |repair| verify(directory.path(), &config, repair, &mut |_| {}).expect("it looks");
    for repaired in [false, false, true] {
        let report = look(if repaired { Repair::Yes } else { Repair::No });
        assert_eq!((report.entries, report.blobs, report.orphans), (5, 3, 1));
        assert_eq!((report.repaired, report.bytes), (repaired, LENGTH as u64));
        let mut found: Vec<_> = report
            .damaged
            .iter()
            .map(|damaged| (damaged.damage.name(), damaged.names.clone(), damaged.blob.clone()))
            .collect();
        found.sort();
        let name = |name| vec![key(name).to_string()];
        assert_eq!(
            found,
            [
                ("digest", name("row"), None),
                ("digest", name("wrong"), Some(wrong.to_hex())),
                ("missing", name("gone"), Some(gone.to_hex())),
            ]
        );
        assert_eq!(
            report.damaged.last().and_then(|last| last.origin.as_deref()),
            entry().origin.as_deref()
        );
    }
    assert!(look(Repair::No).is_right());
    let rig = Rig::try_in(directory, config, START).expect("it was closed");
    assert_eq!(rig.kept(), ["good", "right"]);
    let lost: Vec<String> = rig.lost().into_iter().map(|(name, _)| name).collect();
    assert_eq!(lost, ["gone", "row", "wrong"]);
    assert_eq!(rig.store.usage().entries, 2 + 3, "two, and the notes of what is lost");
    assert_eq!(quarantined(&rig), [wrong.to_hex()]);
}

#[test]
fn verify_does_not_make_what_is_not_there() {
    let directory = directory();
    let missing = directory.path().join("typo");
    let looked = verify(&missing, &Config::default(), Repair::Yes, &mut |_| {});
    assert!(matches!(looked, Err(StoreError::Unusable(_))), "{looked:?}");
    assert!(!missing.exists());
}
