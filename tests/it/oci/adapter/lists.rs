//! Lists of the adapter: tags, referrers, the catalog, and what is kept of an image.

use super::{REPOSITORY, World, token_of};
use crate::support::registry::{Door, Family, Image, Tokens, blob_path, manifest_path};
use crate::support::wait::eventually;

#[tokio::test]
async fn tags_are_listed_in_pages() {
    let world = World::new("").await;
    let image = Image::single(Family::Oci, 1);
    for tag in ["b", "a", "1", "c"] {
        world.registry.publish(REPOSITORY, tag, &image);
    }
    world.registry.behave(|manners| manners.page = Some(3));
    let all = world.larder.get("/v2/demo/tags/list").await;
    assert_eq!(all.json()["tags"], serde_json::json!(["1", "a", "b", "c"]), "{all:?}");
    assert_eq!(all.json()["name"], "demo");
    let part = world.larder.get("/v2/demo/tags/list?n=2&last=1").await;
    assert_eq!(part.json()["tags"], serde_json::json!(["a", "b"]));
    assert_eq!(part.header("link"), "</v2/demo/tags/list?n=2&last=b>; rel=\"next\"");
}

#[tokio::test]
async fn referrers_are_listed_filtered_and_never_missing() {
    for api in [true, false] {
        let image = Image::single(Family::Oci, 1);
        let world = World::with(&image, "").await;
        world.registry.behave(|manners| manners.referrers = api);
        let path = format!("/v2/demo/referrers/{}", image.digest());
        let none = world.larder.get(&path).await;
        assert_eq!(none.status, 200, "{none:?}");
        assert_eq!(none.json()["manifests"], serde_json::json!([]));
        if !api {
            continue;
        }
        world.registry.refer(REPOSITORY, &image.root, "application/x.sbom");
        world.registry.refer(REPOSITORY, &image.root, "application/x.signature");
        world.larder.advance(120);
        let all = world.larder.get(&path).await;
        assert_eq!(all.json()["manifests"].as_array().map(Vec::len), Some(2), "{all:?}");
        let one = world.larder.get(&format!("{path}?artifactType=application/x.sbom")).await;
        assert_eq!(one.json()["manifests"].as_array().map(Vec::len), Some(1));
        assert_eq!(one.header("oci-filters-applied"), "artifactType");
    }
}

#[tokio::test]
async fn the_catalog_names_what_is_kept_for_everybody() {
    let image = Image::single(Family::Oci, 1);
    let world = World::with(&image, "").await;
    for name in ["org/b", "org/a", "org/secret"] {
        world.registry.publish(name, "1", &image);
    }
    world.registry.behave(|manners| manners.door = Door::Bearer(Tokens::default()));
    world.registry.admit("ann", "secret");
    world.registry.restrict("org/secret", Some(&["ann"]));
    for name in ["demo", "org/b", "org/a"] {
        assert_eq!(world.larder.get(&manifest_path(name, "1")).await.status, 200);
    }
    let token = token_of(&world.exchange("ann", "secret", "repository:org/secret:pull").await);
    assert_eq!(world.bearing(&manifest_path("org/secret", "1"), &token).await.status, 200);
    let listed = async |path: &str| world.larder.get(path).await;
    eventually("all are written down", async || {
        listed("/v2/_catalog").await.json()["repositories"].as_array().map(Vec::len) == Some(3)
    })
    .await;
    let all = listed("/v2/_catalog").await;
    let expected = ["hub.example/library/demo", "hub.example/org/a", "hub.example/org/b"];
    assert_eq!(all.json()["repositories"], serde_json::json!(expected), "{all:?}");
    let part = listed("/v2/_catalog?n=1&last=library/demo&ns=hub.example").await;
    assert_eq!(part.json()["repositories"], serde_json::json!(["org/a"]), "{part:?}");
    let link = "</v2/_catalog?n=1&last=org%2Fa&ns=hub.example>; rel=\"next\"";
    assert_eq!(part.header("link"), link);
    assert_eq!(listed("/v2/_catalog?ns=evil.example").await.status, 404);
}

#[tokio::test]
async fn what_is_kept_of_an_image_can_be_seen() {
    let image = Image::multi(Family::Oci, 1);
    let world = World::with(&image, "").await;
    assert_eq!(world.larder.get("/-/oci/demo:1").await.status, 404);
    assert_eq!(world.larder.get(&manifest_path("demo", "1")).await.status, 200);
    let platform = &image.children[0];
    assert_eq!(world.larder.get(&manifest_path("demo", &platform.digest)).await.status, 200);
    let seen = async || world.larder.get("/-/oci/hub.example/demo:1").await.text();
    let text = seen().await;
    assert!(text.contains("there upstream"), "{text}");
    assert!(text.contains("linux/amd64       in part: 0 of 3 blobs"), "{text}");
    assert!(text.contains("linux/arm64       not kept"), "{text}");
    for blob in &image.blobs[..3] {
        assert_eq!(world.larder.get(&blob_path("demo", &blob.digest)).await.status, 200);
    }
    eventually("the platform is whole", async || seen().await.contains("whole: 3 of 3 blobs"))
        .await;
    world.registry.forget();
    seen().await;
    assert!(world.registry.journal().is_empty(), "nothing is asked upstream");
    let wrong = world.larder.get("/-/oci/evil.example/demo:1").await;
    assert_eq!(wrong.status, 404, "{wrong:?}");
}
