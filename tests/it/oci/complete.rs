//! Whole images survive: what `keep` fetches beside what was asked for, and what an outage later finds.

use super::pull::Puller;
use super::setting::{HUB, PAST_FRESHNESS, REPOSITORY, Setting, TAG};
use crate::support::origin::Fault;
use crate::support::registry::{Blob, Delivery, Family, Image, blob_path, manifest_path};
use crate::support::wait::{eventually, until};

/// Whether everything of `image` has crossed.
fn is_whole(setting: &Setting, image: &Image) -> bool {
    image.blobs.iter().all(|blob| setting.registry.crossings(&blob.digest).1 >= blob.length())
}

#[tokio::test]
async fn nothing_is_fetched_that_nobody_asked_for() {
    let setting = Setting::new().await;
    let image = setting.stock();
    Puller::Docker.pull(&setting.by_default(), TAG).await.expect("it pulls");
    let path = manifest_path(REPOSITORY, &image.children[1].digest);
    assert!(setting.registry.front.asked(&path).is_empty());
    assert!(!is_whole(&setting, &image));
}

/// `all`: an offline pull of another platform works, with what refers to the image and its signatures.
#[tokio::test]
async fn all_of_an_image_is_kept() {
    let setting = Setting::with("keep = { \"library/*\" = \"all\" }").await;
    let image = setting.stock();
    let signature = setting.registry.sign(REPOSITORY, image.digest());
    let referrer = setting.registry.refer(REPOSITORY, &image.root, "application/sbom");
    setting.registry.behave(|manners| manners.blobs = Delivery::Redirected(307));
    Puller::Docker.pull(&setting.by_default(), TAG).await.expect("it pulls");
    until("the rest has come", || is_whole(&setting, &image) && is_whole(&setting, &signature))
        .await;
    until("the referrer has come", || {
        !setting.registry.front.asked(&manifest_path(REPOSITORY, &referrer.digest)).is_empty()
    })
    .await;
    let tag = format!("{}.sig", image.digest().replace(':', "-"));
    eventually("what has come is kept", async || {
        setting.registry.forget();
        let pulled = Puller::SkopeoAll.pull(&setting.by_prefix(), TAG).await;
        let signed = Puller::SkopeoAll.pull(&setting.by_prefix(), &tag).await;
        pulled.is_ok() && signed.is_ok() && setting.registry.journal().is_empty()
    })
    .await;
    setting.registry.refuse().await;
    setting.larder.advance(PAST_FRESHNESS);
    let pulled = Puller::SkopeoAll.pull(&setting.by_prefix(), TAG).await.expect("it pulls offline");
    pulled.expect(Puller::SkopeoAll, &image);
    Puller::SkopeoAll.pull(&setting.by_prefix(), &tag).await.expect("so does its signature");
    let list = setting.get(&format!("/v2/{REPOSITORY}/referrers/{}", image.digest())).await;
    assert!(list.status == 200 && list.text().contains(&referrer.digest), "{list:?}");
    let found = setting.get(&manifest_path(REPOSITORY, &referrer.digest)).await;
    assert_eq!(found.body, referrer.body);
    for blob in &image.blobs {
        assert!(setting.registry.crossings(&blob.digest).0 <= 1);
    }
}

/// `platform`: whoever begins a platform and leaves has begun something that is finished; other platforms are left alone.
#[tokio::test]
async fn a_platform_that_was_begun_is_kept_whole() {
    let setting = Setting::with("keep = { \"*\" = \"platform\" }").await;
    let image = setting.stock();
    setting.get(&manifest_path(REPOSITORY, TAG)).await;
    setting.get(&manifest_path(REPOSITORY, &image.children[0].digest)).await;
    // The configuration and two layers of the first platform come first.
    let ours = &image.blobs[..3];
    until("the platform has come", || {
        ours.iter().all(|blob| setting.registry.crossings(&blob.digest).1 >= blob.length())
    })
    .await;
    eventually("it is kept", async || {
        setting.registry.forget();
        Puller::Docker.pull(&setting.by_default(), TAG).await.is_ok()
            && setting.registry.journal().is_empty()
    })
    .await;
    let other = manifest_path(REPOSITORY, &image.children[1].digest);
    assert!(setting.registry.front.asked(&other).is_empty());
}

/// Patterns say what is kept of which repositories; the longest that fits counts.
#[tokio::test]
async fn patterns_choose() {
    let setting = Setting::with(
        "keep = { \"*\" = \"asked\", \"corp/*\" = \"all\", \"corp/large\" = \"asked\" }",
    )
    .await;
    let images: Vec<_> = ["corp/tool", "corp/large", "other/tool"]
        .into_iter()
        .enumerate()
        .map(|(n, name)| {
            let image = Image::multi(Family::Oci, 1000 * (n as u64 + 1));
            setting.registry.publish(name, TAG, &image);
            (name, image)
        })
        .collect();
    for (name, _) in &images {
        setting.get(&manifest_path(name, TAG)).await;
    }
    until("the first has come", || is_whole(&setting, &images[0].1)).await;
    for (name, image) in &images[1..] {
        let crossed = image.blobs.iter().any(|blob| setting.registry.crossings(&blob.digest).0 > 0);
        assert!(!crossed, "{name}");
    }
}

/// What cannot be had in the background harms nobody, and is tried again with the next pull.
#[tokio::test]
async fn what_fails_in_the_background_is_tried_again() {
    let setting = Setting::with("keep = { \"*\" = \"all\" }").await;
    let image = setting.stock();
    let lost = &image.blobs[4];
    let path = blob_path(REPOSITORY, &lost.digest);
    setting.registry.front.fault(&path, Fault::status(500));
    Puller::Docker.pull(&setting.by_default(), TAG).await.expect("it pulls");
    setting.registry.front.until_asked(&path, 1).await;
    setting.registry.heal();
    eventually("it has come", async || {
        setting.larder.advance(PAST_FRESHNESS);
        Puller::Docker.pull(&setting.by_default(), TAG).await.expect("it pulls");
        setting.registry.crossings(&lost.digest).1 >= lost.length()
    })
    .await;
}

/// The background's transfers are the clients': a layer that is being fetched for completeness is joined by whoever asks for it.
#[tokio::test]
async fn the_background_and_the_clients_share_transfers() {
    let setting = Setting::with("keep = { \"*\" = \"all\" }").await;
    let layer = Blob::opaque(Family::Oci, 7, 2 << 20);
    let image = Image::of_layers(Family::Oci, "amd64", vec![layer.clone()]);
    setting.registry.publish(REPOSITORY, TAG, &image);
    for _ in 0..3 {
        let source = setting.by_prefix();
        let pulls =
            futures_util::future::join_all((0..4).map(|_| Puller::Podman.pull(&source, TAG)));
        for pulled in pulls.await {
            pulled.expect("it pulls").expect(Puller::Podman, &image);
        }
    }
    assert_eq!(setting.registry.crossings(&layer.digest), (1, 2 << 20));
    assert!(setting.by_prefix().repository.starts_with(HUB));
}
