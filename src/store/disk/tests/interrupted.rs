//! Transfers that were interrupted: what of them is believed, and when they are swept.

use super::*;

#[tokio::test]
async fn a_partial_goes_on_after_a_kill_but_not_on_another_boots_word() {
    let rig = Rig::plain();
    let partial = rig.store.partial(&key("a")).expect("nobody else fills it");
    partial.write(0, &[Bytes::from_static(b"0123456789")]).expect("there is room");
    partial.checkpoint(&progress(7)).expect("there is room");
    let killed = rig.after_kill();
    let resumed = killed.store.partial(&key("a")).expect("the killed one is gone");
    assert_eq!(resumed.progress(), Some(progress(7)));
    assert_eq!(resumed.read(0, 7).expect("it can be read"), "0123456");

    let noted = |boot: &str, durable: u64, prefix: u64| {
        let killed = rig.after_kill();
        let path = killed.directory.path().join("partials");
        let name = BlobId::of(key("a").as_str().as_bytes()).to_hex();
        let note = path.join(format!("{name}.note"));
        let mut content: serde_json::Value =
            serde_json::from_slice(&fs::read(&note).expect("it is there")).expect("it is JSON");
        if !boot.is_empty() {
            content["boot"] = boot.into();
        }
        content["durable"] = durable.into();
        content["progress"]["prefix"] = prefix.into();
        fs::write(&note, content.to_string()).expect("there is room");
        killed.store.partial(&key("a")).expect("nobody else fills it").progress()
    };
    assert_eq!(noted("another", 0, 7), None);
    assert_eq!(noted("another", 4, 7), Some(Progress { prefix: 4, ..progress(7) }));
    assert_eq!(noted("", 0, 11), None, "more than there is in the file");
    assert_eq!(noted("", 0, 10), Some(progress(10)));
}

#[tokio::test]
async fn long_progress_is_made_durable() {
    let rig = Rig::plain();
    let partial = rig.store.partial(&key("a")).expect("nobody else fills it");
    rig.device.sync_fails.store(true, Ordering::Relaxed);
    partial.checkpoint(&progress(1 << 20)).expect("small steps do not sync");
    assert!(partial.checkpoint(&progress(64 << 20)).is_err());
    assert!(partial.write(0, &[Bytes::from_static(b"x")]).is_err(), "the partial is lost");
}

#[tokio::test]
async fn stale_partials_are_swept_and_open_ones_are_not() {
    let rig = Rig::plain();
    for name in ["stale", "open"] {
        let partial = rig.store.partial(&key(name)).expect("nobody else fills it");
        partial.write(0, &[Bytes::from_static(b"bytes")]).expect("there is room");
        partial.checkpoint(&progress(5)).expect("there is room");
    }
    let open = rig.store.partial(&key("open")).expect("nobody else fills it");
    rig.now.store(u64::MAX / 2, Ordering::Relaxed);
    rig.sweep().await;
    assert_eq!(
        fs::read_dir(rig.directory.path().join("partials")).expect("it is there").count(),
        2
    );
    assert_eq!(open.read(0, 5).expect("it can be read"), "bytes");
    assert_eq!(rig.store.partial(&key("stale")).expect("nobody fills it").progress(), None);
}
