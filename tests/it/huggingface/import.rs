//! What a client downloaded before, taken over from its cache folder: served as if it had come through Larder, and nothing wrong with it.

use std::error::Error;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use http::StatusCode;
use larder::app;
use larder::import::Report;
use larder::import::source::Openness;
use serde_json::json;
use tempfile::TempDir;

use super::stock::{ID, content};
use crate::support::hub::{FakeHub, File, Files, Kind};
use crate::support::index::sha256;
use crate::support::larder::{Larder, over_hub};

/// The cache folder of a client that downloaded `files` of a commit. With `with_tree`, it is a client that keeps lists of files.
fn downloaded(sha: &str, files: &Files, with_tree: bool) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let root = folder.path().join(format!("models--{}", ID.replace('/', "--")));
    let (blobs, snapshot) = (root.join("blobs"), root.join("snapshots").join(sha));
    for (path, file) in files {
        write(&blobs.join(file.tag()), &bytes_of(file));
        let link = snapshot.join(path);
        fs::create_dir_all(link.parent().expect("a folder")).expect("a folder can be made");
        symlink(blobs.join(file.tag()), link).expect("a link can be made");
    }
    write(&root.join("refs/main"), sha.as_bytes());
    if with_tree {
        let listed = files.iter().map(|(path, file)| {
            let is_large = file.tag() == file.sha256;
            let large = is_large.then_some(&file.sha256);
            let entry = json!({
                "size": file.size, "blob_id": file.oid, "lfs_sha256": large,
                "lfs_size": large.map(|_| file.size), "xet_hash": large.map(|_| &file.xet),
            });
            (path.clone(), entry)
        });
        let files: serde_json::Map<_, _> = listed.collect();
        let tree = json!({ "format_version": 1, "files": files }).to_string();
        write(&root.join("trees").join(format!("{sha}.json")), tree.as_bytes());
    }
    folder
}

fn bytes_of(file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < file.size {
        bytes.extend_from_slice(&file.content.at(bytes.len() as u64, 1 << 20));
    }
    bytes
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder can be made");
    fs::write(path, bytes).expect("a file can be written");
}

/// Imports while Larder is away.
async fn import(larder: Larder, folder: &Path, openness: Openness) -> (Larder, Report) {
    let mut report = None;
    let larder = larder
        .while_away(async |config, clock| {
            let imported = app::import(config, clock, folder, openness).await;
            report = Some(imported.expect("an import runs"));
        })
        .await;
    (larder, report.expect("it ran"))
}

/// Every file, by branch and by commit, without the hub.
async fn all_served(larder: &Larder, sha: &str, files: &Files) {
    for revision in ["main", sha] {
        for (path, file) in files {
            let encoded = path.replace(' ', "%20");
            let reply = larder.get(&format!("/{ID}/resolve/{revision}/{encoded}")).await;
            assert_eq!(reply.status, StatusCode::OK, "{revision} {path}: {reply:?}");
            assert_eq!(sha256(&reply.body), file.sha256, "{path}");
            assert_eq!(reply.header("etag").trim_matches('"'), file.tag());
            assert_eq!(reply.header("x-repo-commit"), sha);
        }
    }
}

#[tokio::test]
async fn a_folder_is_served_without_the_hub_ever_having_been_asked() {
    let hub = FakeHub::start().await;
    let files = content();
    let sha = hub.model(ID, files.clone());
    let folder = downloaded(&sha, &files, true);
    for host in hub.hosts() {
        host.refuse().await;
    }
    let larder = Larder::start(&over_hub(&hub, "")).await;
    let (larder, report) = import(larder, folder.path(), Openness::Declared).await;
    assert_eq!((report.blobs, &report.refused), (files.len() as u64, &Vec::new()));
    all_served(&larder, &sha, &files).await;
    let tree = larder.get(&format!("/api/models/{ID}/tree/{sha}?recursive=true")).await;
    assert_eq!(tree.status, StatusCode::OK, "{tree:?}");
    let listed = tree.json();
    let paths = listed.as_array().expect("a list").iter().filter(|entry| entry["type"] == "file");
    assert_eq!(paths.count(), files.len());

    let (larder, again) = import(larder, folder.path(), Openness::Declared).await;
    assert_eq!((again.blobs, again.known), (0, files.len() as u64), "nothing is copied twice");
    all_served(&larder, &sha, &files).await;
}

#[tokio::test]
async fn the_hub_says_who_may_read_what_was_downloaded() {
    let hub = FakeHub::start().await;
    let files = content();
    let sha = hub.model(ID, files.clone());
    let folder = downloaded(&sha, &files, false);
    let larder = Larder::start(&over_hub(&hub, "")).await;
    let (larder, report) = import(larder, folder.path(), Openness::Asked).await;
    assert_eq!(report.refused, Vec::<String>::new());
    assert_eq!(hub.sent_by_cdn(), 0, "no bytes come from the hub");
    for host in hub.hosts() {
        host.refuse().await;
    }
    all_served(&larder, &sha, &files).await;
}

#[tokio::test]
async fn what_is_private_stays_so() {
    let hub = FakeHub::start().await;
    let files = content();
    let sha = hub.model(ID, files.clone());
    hub.make_private(Kind::Model, ID, &["alice"]);
    let folder = downloaded(&sha, &files, true);
    let larder = Larder::start(&over_hub(&hub, "")).await;
    let (larder, report) = import(larder, folder.path(), Openness::Asked).await;
    assert_eq!(report.blobs, files.len() as u64, "bytes are kept under their digests");
    assert!(!report.refused.is_empty(), "but under no name");
    for path in [format!("/{ID}/resolve/main/config.json"), format!("/api/models/{ID}")] {
        let reply = larder.get(&path).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{path}: {reply:?}");
    }
}

#[tokio::test]
async fn a_blob_that_is_not_what_it_is_named_is_not_taken() {
    let hub = FakeHub::start().await;
    let files = content();
    let sha = hub.model(ID, files.clone());
    let folder = downloaded(&sha, &files, true);
    for path in ["model.safetensors", "config.json"] {
        let root = folder.path().join(format!("models--{}", ID.replace('/', "--")));
        let blob = root.join("blobs").join(files[path].tag());
        let mut bytes = fs::read(&blob).expect("a blob");
        bytes[0] ^= 1;
        fs::write(&blob, bytes).expect("a blob");
    }
    let larder = Larder::start(&over_hub(&hub, "")).await;
    let (larder, report) = import(larder, folder.path(), Openness::Asked).await;
    assert_eq!(report.blobs, files.len() as u64 - 2);
    assert_eq!(report.refused.len(), 2, "{:?}", report.refused);
    all_served(&larder, &sha, &files).await;
}

#[tokio::test]
async fn a_data_directory_in_use_is_not_touched() {
    let hub = FakeHub::start().await;
    let files = content();
    let sha = hub.model(ID, files.clone());
    let folder = downloaded(&sha, &files, false);
    let larder = Larder::start(&over_hub(&hub, "")).await;
    let clock = larder.clock.clone();
    let refused = app::import(larder.config(), clock, folder.path(), Openness::Asked).await;
    let error = refused.expect_err("the directory is taken");
    let cause = error.source().expect("what kept it from being used").to_string();
    assert!(cause.contains("another process uses the data directory"), "{error}: {cause}");
}
