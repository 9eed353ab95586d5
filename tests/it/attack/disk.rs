//! Tricks in the data directory. Whoever may write there owns what is served (SECURITY.md says so); but nothing outside is read, written or
//! removed by way of it, and nobody else may look in.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use crate::support::index::{FakeIndex, Style, Upload, sha256};
use crate::support::larder::{Larder, over};
use crate::support::wait::eventually;

const WHEEL: &str = "six-1.0-py3-none-any.whl";

/// All files below a folder; links are not followed.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder can be read");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    paths
        .flat_map(|path| match path.is_dir() && !path.is_symlink() {
            true => below(&path),
            false => vec![path],
        })
        .collect()
}

/// An index, a Larder that keeps one file of it, and the path of that file's blob.
async fn kept(more: &str) -> (FakeIndex, Larder, Upload, PathBuf) {
    let index = FakeIndex::start(Style::Full).await;
    let upload = Upload::large_wheel("six", "1.0", 3 << 20);
    index.publish("six", [upload.clone()]);
    let larder = Larder::start(&format!("{}{more}", over(&index))).await;
    assert_eq!(larder.file("six", WHEEL).await.status, 200);
    let folder = larder.folder().join("data/blobs").join(&upload.digest[..2]);
    let blob = folder.join(&upload.digest);
    eventually("the file is kept", async || blob.exists()).await;
    (index, larder, upload, blob)
}

#[tokio::test]
async fn what_is_kept_is_its_owners_alone() {
    let (_index, larder, ..) = kept("").await;
    let data = larder.folder().join("data");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("secret")), 0o600);
}

/// A link in place of a blob leads to something else of the same length: a password file, a device.
#[tokio::test]
async fn a_blob_that_is_a_link_is_not_followed() {
    let (_index, larder, upload, blob) = kept("").await;
    let outside = tempfile::tempdir().expect("a temporary folder can be made");
    let secret = outside.path().join("secret");
    let length = upload.content.length().expect("it has one") as usize;
    fs::write(&secret, vec![b's'; length]).expect("the folder can be written");
    let larder = larder
        .while_away(async |_, _| {
            fs::remove_file(&blob).expect("it is there");
            symlink(&secret, &blob).expect("a link can be made");
        })
        .await;
    let link = larder.link("six", WHEEL).await;
    eventually("the file is fetched again", async || {
        let reply = larder.client.get(&link).send().await;
        assert!(!reply.body.starts_with(b"ssss"), "the outside is given away: {:?}", reply.headers);
        reply.status == 200 && !reply.cut && sha256(&reply.body) == upload.digest
    })
    .await;
    assert_eq!(fs::read(&secret).expect("it is still there"), vec![b's'; length]);
}

/// A backup made of hard links stays what it was when the original goes or is replaced.
#[tokio::test]
async fn a_backup_of_hard_links_is_left_alone() {
    let (index, larder, upload, blob) = kept("").await;
    // A hard link does not reach beyond its file system.
    let beside = larder.folder().parent().expect("a folder is in one");
    let outside = tempfile::tempdir_in(beside).expect("a temporary folder can be made");
    let data = larder.folder().join("data");
    let backup: Vec<(PathBuf, String)> = below(&data.join("blobs"))
        .iter()
        .enumerate()
        .map(|(number, path)| {
            let copy = outside.path().join(number.to_string());
            fs::hard_link(path, &copy).expect("a link can be made");
            let digest = sha256(&fs::read(&copy).expect("it can be read"));
            (copy, digest)
        })
        .collect();
    let larder = larder.while_away(async |_, _| fs::remove_file(&blob).expect("it is there")).await;
    index.delete_project("six");
    index.publish("six", [upload.clone(), Upload::wheel("six", "2.0")]);
    larder.advance(3600);
    for name in [WHEEL, "six-2.0-py3-none-any.whl"] {
        assert_eq!(larder.file("six", name).await.status, 200, "{name}");
    }
    larder.stop().await;
    for (copy, digest) in backup {
        assert_eq!(
            sha256(&fs::read(&copy).expect("it is still there")),
            digest,
            "{}",
            copy.display()
        );
    }
}

/// A data directory that is a link is one: people put it on another disk like that.
#[tokio::test]
async fn a_linked_data_directory_works() {
    let (index, larder, upload, _) = kept("").await;
    let elsewhere = tempfile::tempdir().expect("a temporary folder can be made");
    let data = larder.folder().join("data");
    let moved = elsewhere.path().join("moved");
    let larder = larder
        .while_away(async |_, _| {
            let copied = std::process::Command::new("cp").arg("-a").arg(&data).arg(&moved).status();
            assert!(copied.is_ok_and(|status| status.success()), "it can be copied");
            fs::remove_dir_all(&data).expect("it is ours");
            symlink(&moved, &data).expect("a link can be made");
        })
        .await;
    index.files.forget();
    let file = larder.file("six", WHEEL).await;
    assert_eq!(sha256(&file.body), upload.digest);
    assert!(index.files.log().is_empty(), "it was kept");
}
