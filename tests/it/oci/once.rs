//! Many clients, one transfer: each manifest and each blob crosses upstream once, however it is asked for.

use futures_util::future::join_all;
use http::Method;

use super::pull::Puller;
use super::setting::{REPOSITORY, Setting, TAG};
use crate::support::client::Client;
use crate::support::origin::{Fault, Gate};
use crate::support::registry::{
    Blob, Delivery, Family, Image, blob_path, edge_path, manifest_path,
};
use crate::support::wait::{soon, until};

/// An image with one layer of `length` bytes.
fn large(length: u64) -> (Image, Blob) {
    let layer = Blob::opaque(Family::Oci, 3, length);
    (Image::of_layers(Family::Oci, "amd64", vec![layer.clone()]), layer)
}

#[tokio::test]
async fn eight_cold_pulls_cost_one() {
    for puller in [Puller::Docker, Puller::Containerd, Puller::ContainerdInParts, Puller::SkopeoAll]
    {
        let setting = Setting::new().await;
        let image = setting.stock();
        setting.registry.behave(|manners| manners.blobs = Delivery::Redirected(307));
        let source = setting.by_default();
        let pulls = join_all((0..8).map(|_| puller.pull(&source, TAG)));
        for pulled in soon("eight pulls", pulls).await {
            pulled.expect("it pulls").expect(puller, &image);
        }
        let (heads, gets) = setting.tag_requests();
        assert!(heads + gets <= 2, "{puller:?}: {heads} HEAD and {gets} GET of the tag");
        for manifest in image.manifests() {
            let by_digest =
                setting.registry.manifest_requests(&Method::GET, REPOSITORY, &manifest.digest);
            let by_tag = if manifest == &image.root { gets } else { 0 };
            assert!(by_digest + by_tag <= 1, "{puller:?}: {by_digest} + {by_tag}");
        }
        for blob in &image.blobs {
            let (times, bytes) = setting.registry.crossings(&blob.digest);
            assert!(times <= 1 && bytes <= blob.length(), "{puller:?}: {times} times");
        }
    }
}

/// containerd from 2.1 on sends open-ended ranges, reads its part of each and leaves: that is neither many transfers nor the end of one.
#[tokio::test]
async fn aborted_open_ended_ranges_are_one_transfer() {
    let setting = Setting::new().await;
    let (image, layer) = large(40 << 20);
    setting.registry.publish(REPOSITORY, TAG, &image);
    let address = setting.larder.url(&blob_path(REPOSITORY, &layer.digest));
    let pattern = layer.pattern();
    let part = async |number: u64| {
        let first = number << 22;
        let range = format!("bytes={first}-");
        let mut open = Client::new().get(&address).with("range", &range).open().await;
        assert_eq!(open.status, 206, "{range}");
        let mut read = 0;
        while read < 4 << 20 {
            let bytes = open.next().await.expect("no cut").expect("no end");
            assert!(pattern.matches(first + read, &bytes), "{range}");
            read += bytes.len() as u64;
        }
        // Dropped here, in the middle.
    };
    soon("all parts", join_all((0..8).map(part))).await;
    let whole = setting.larder.client.get(&address).open().await.compare(&pattern, 0).await;
    assert_eq!(whole, (40 << 20, true));
    assert_eq!(setting.registry.crossings(&layer.digest), (1, 40 << 20));
}

#[tokio::test]
async fn a_pull_joins_one_that_is_under_way_and_outlives_it() {
    let setting = Setting::new().await;
    let (image, layer) = large(4 << 20);
    setting.registry.publish(REPOSITORY, TAG, &image);
    setting.registry.behave(|manners| manners.blobs = Delivery::Redirected(307));
    let gate = Gate::closed();
    setting
        .registry
        .edge
        .fault(&edge_path(&layer.digest), Fault::Wait(Some(2 << 20), gate.clone()));
    let address = setting.larder.url(&blob_path(REPOSITORY, &layer.digest));
    let pattern = layer.pattern();
    let mut first = setting.larder.client.get(&address).open().await;
    let begun = soon("the first bytes", first.next()).await.expect("no cut").expect("no end");
    assert!(pattern.matches(0, &begun));
    let second = Client::new().get(&address).open().await;
    let range = Client::new().get(&address).with("range", "bytes=1048576-1048675").send();
    assert_eq!(soon("what has arrived already", range).await.status, 206);
    drop(first);
    gate.open();
    assert_eq!(soon("the rest", second.compare(&pattern, 0)).await, (4 << 20, true));
    assert_eq!(setting.registry.crossings(&layer.digest), (1, 4 << 20));
}

/// A transfer whose every client has left is finished all the same.
#[tokio::test]
async fn a_client_that_leaves_stops_nothing() {
    let setting = Setting::new().await;
    let (image, layer) = large(4 << 20);
    setting.registry.publish(REPOSITORY, TAG, &image);
    let path = blob_path(REPOSITORY, &layer.digest);
    let gate = Gate::closed();
    setting.registry.front.fault(&path, Fault::Wait(Some(1 << 20), gate.clone()));
    let mut open = setting.larder.client.get(setting.larder.url(&path)).open().await;
    soon("the first bytes", open.next()).await.expect("no cut").expect("no end");
    drop(open);
    gate.open();
    until("all bytes have crossed", || setting.registry.crossings(&layer.digest).1 == 4 << 20)
        .await;
    setting.registry.refuse().await;
    let whole = setting.larder.client.get(setting.larder.url(&path)).open().await;
    assert_eq!(whole.compare(&layer.pattern(), 0).await, (4 << 20, true));
}

/// The same layer in two repositories is kept once, and fetched once: the second repository is asked whether it has it, and no more.
#[tokio::test]
async fn a_layer_that_two_repositories_share_crosses_once() {
    let setting = Setting::new().await;
    let (image, layer) = large(1 << 20);
    setting.registry.publish(REPOSITORY, TAG, &image);
    setting.registry.publish("library/other", TAG, &image);
    for repository in [REPOSITORY, "library/other"] {
        let source = super::pull::Source::new(&setting.larder.url("/"), repository);
        Puller::Podman.pull(&source, TAG).await.expect("it pulls").expect(Puller::Podman, &image);
    }
    assert_eq!(setting.registry.crossings(&layer.digest), (1, 1 << 20));
}

#[tokio::test]
async fn a_warm_pull_asks_nothing_and_a_stale_one_asks_head_once() {
    let setting = Setting::with("tag_ttl = \"60s\"").await;
    let image = setting.stock();
    Puller::Docker.pull(&setting.by_default(), TAG).await.expect("it pulls");
    setting.registry.forget();
    for puller in [Puller::Docker, Puller::Containerd, Puller::Podman] {
        setting.larder.advance(10);
        puller.pull(&setting.by_default(), TAG).await.expect("it pulls").expect(puller, &image);
    }
    assert_eq!(setting.registry.journal(), Vec::<String>::new());
    setting.larder.advance(61);
    for puller in [Puller::Docker, Puller::Containerd, Puller::Podman] {
        puller.pull(&setting.by_default(), TAG).await.expect("it pulls").expect(puller, &image);
    }
    until("the tag is asked for", || setting.tag_requests() == (1, 0)).await;
    assert_eq!(setting.registry.journal(), [format!("HEAD {}", manifest_path(REPOSITORY, TAG))]);
}
