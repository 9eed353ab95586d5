//! Names that are none, digests that lie, documents that are too large or lead in circles, storage that misbehaves.

use http::Method;
use serde_json::json;

use super::pull::Puller;
use super::setting::{HUB, REPOSITORY, Setting, TAG, assert_error};
use crate::support::origin::{Answer, Content, Fault, Origin};
use crate::support::raw;
use crate::support::registry::image::{OCI_INDEX, OCI_MANIFEST};
use crate::support::registry::{
    Algorithm, Blob, Delivery, Family, Image, Manifest, Named, blob_path, edge_path, manifest_path,
};

#[tokio::test]
async fn names_that_are_none_ask_nothing() {
    let setting = Setting::new().await;
    let long = "a/".repeat(127) + "ab";
    let long_tag = "t".repeat(129);
    for name in [
        "Library/demo",
        "library/DEMO",
        "library//demo",
        "library/-demo",
        "library/demo-",
        "library/de%20mo",
        "library/d%C3%A9mo",
        "library/demo%00",
        "library/..%2fdemo",
        "library/demo:5000",
        "library/___demo",
        long.as_str(),
    ] {
        for path in [manifest_path(name, TAG), format!("/v2/{name}/tags/list")] {
            let reply = setting.get(&path).await;
            assert!(reply.status.is_client_error(), "{path}: {reply:?}");
            if reply.status == 404 || reply.header("content-type").starts_with("application/json") {
                assert_error(&reply, &[400, 404], &["NAME_INVALID", "NAME_UNKNOWN"]);
            }
        }
    }
    for reference in [long_tag.as_str(), ".hidden", "-x", "a%20b", "a+b", "%C3%A9"] {
        let reply = setting.get(&manifest_path(REPOSITORY, reference)).await;
        assert_error(
            &reply,
            &[400, 404],
            &["MANIFEST_INVALID", "MANIFEST_UNKNOWN", "TAG_INVALID", "NAME_INVALID"],
        );
    }
    assert_eq!(setting.registry.journal(), Vec::<String>::new());
}

#[tokio::test]
async fn dots_in_paths_lead_nowhere() {
    let setting = Setting::new().await;
    let image = setting.stock();
    for path in [
        "/v2/library/../library/demo/manifests/1.0",
        "/v2/library/demo/../demo/manifests/1.0",
        "/v2/./library/demo/manifests/1.0",
        "/v2/library/demo/manifests/../manifests/1.0",
        "/v2/library/demo/manifests/..",
        "/v2/library/demo/blobs/%2e%2e/x",
        "/v2/hub.example/../hub.example/library/demo/manifests/1.0",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let answer = raw::exchange(setting.larder.address, request.as_bytes()).await;
        assert!(
            raw::statuses(&answer).first().is_some_and(|status| matches!(status, 400 | 404)),
            "{path}: {answer}"
        );
        assert!(!answer.contains(image.digest()), "{path}");
    }
    assert_eq!(setting.registry.journal(), Vec::<String>::new());
}

#[tokio::test]
async fn the_longest_name_is_a_name() {
    let setting = Setting::new().await;
    let image = Image::single(Family::Oci, 1);
    // 255 characters, without the registry's.
    let name = "a/".repeat(127) + "b";
    assert_eq!(name.len(), 255);
    setting.registry.publish(&name, TAG, &image);
    let reply = setting.get(&manifest_path(&name, TAG)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let reply = setting.get(&manifest_path(&format!("{HUB}/{name}"), TAG)).await;
    assert!(matches!(reply.status.as_u16(), 200 | 400 | 404), "{reply:?}");
}

#[tokio::test]
async fn digests_that_are_none_ask_nothing() {
    let setting = Setting::new().await;
    setting.stock();
    setting.get(&manifest_path(REPOSITORY, TAG)).await;
    setting.registry.forget();
    let (short, long, upper) = ("ab".repeat(31), "ab".repeat(33), "AB".repeat(32));
    for digest in [
        "sha256:".to_owned(),
        format!("sha256:{short}"),
        format!("sha256:{long}"),
        format!("sha256:{upper}"),
        format!("sha256:{}", "zz".repeat(32)),
        format!("sha512:{}", "ab".repeat(32)),
        format!("md5:{}", "ab".repeat(16)),
        format!("sha256%3A{short}"),
        "sha256".to_owned(),
        format!("SHA256:{}", "ab".repeat(32)),
        format!(":{}", "ab".repeat(32)),
    ] {
        let blob = setting.get(&blob_path(REPOSITORY, &digest)).await;
        assert_error(&blob, &[400, 404], &["DIGEST_INVALID", "BLOB_UNKNOWN"]);
        if digest.contains(':') {
            let manifest = setting.get(&manifest_path(REPOSITORY, &digest)).await;
            assert_error(
                &manifest,
                &[400, 404],
                &["DIGEST_INVALID", "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID"],
            );
        }
    }
    assert_eq!(setting.registry.journal(), Vec::<String>::new());
}

#[tokio::test]
async fn other_routes_are_not_there() {
    let setting = Setting::new().await;
    setting.stock();
    for path in [
        "/v1/",
        "/v1/search?q=x",
        "/v2/library/demo",
        "/v2/library/demo/manifests/",
        "/v2/library/demo/blobs/",
        "/v2/library/demo/nothing/x",
        "/v2/manifests/1.0",
        "/v2//manifests/1.0",
    ] {
        let reply = setting.get(path).await;
        assert!(reply.status.is_client_error(), "{path}: {reply:?}");
    }
    let options = setting.larder.client.ask(Method::OPTIONS, setting.larder.url("/v2/"));
    assert!(options.send().await.status.as_u16() < 500);
    assert_eq!(setting.registry.journal(), Vec::<String>::new());
}

/// The body that a digest leads to is another: nothing of it is kept or served, by whatever name it was asked for.
#[tokio::test]
async fn bytes_that_are_not_what_was_named_are_refused() {
    let setting = Setting::new().await;
    let image = setting.stock();
    let root = manifest_path(REPOSITORY, image.digest());
    let child = manifest_path(REPOSITORY, &image.children[0].digest);
    let blob = blob_path(REPOSITORY, &image.blobs[1].digest);
    for path in [&root, &child, &blob] {
        setting.registry.front.fault(path, Fault::Corrupt);
    }
    for path in [&child, &blob] {
        for _ in 0..2 {
            let reply = setting.get(path).await;
            assert_error(&reply, &[502], &[]);
        }
    }
    setting.registry.heal();
    crate::support::wait::eventually("it heals", async || {
        setting.larder.advance(61);
        let pulled = Puller::SkopeoAll.pull(&setting.by_prefix(), TAG).await;
        pulled.is_ok_and(|pulled| pulled.digest == image.digest())
    })
    .await;
}

/// Half of a large layer has gone out when its digest turns out wrong: the client's connection is cut before its end, and nothing is kept.
#[tokio::test]
async fn a_large_layer_with_a_wrong_byte_never_ends_well() {
    for delivery in [Delivery::Straight, Delivery::Redirected(307)] {
        let setting = Setting::new().await;
        setting.registry.behave(|manners| manners.blobs = delivery);
        let layer = Blob::opaque(Family::Oci, 4, 3 << 20);
        let image = Image::of_layers(Family::Oci, "amd64", vec![layer.clone()]);
        setting.registry.publish(REPOSITORY, TAG, &image);
        let path = blob_path(REPOSITORY, &layer.digest);
        setting.get(&manifest_path(REPOSITORY, TAG)).await;
        setting.registry.front.fault(&path, Fault::Corrupt);
        setting.registry.edge.fault(&edge_path(&layer.digest), Fault::Corrupt);
        if delivery != Delivery::Straight {
            setting.registry.front.heal();
        }
        for _ in 0..2 {
            let reply = setting.get(&path).await;
            assert!(reply.cut || reply.status == 502, "{:?} {}", reply.status, reply.body.len());
        }
        setting.registry.heal();
        crate::support::wait::eventually("it heals", async || {
            setting.larder.advance(61);
            let reply = setting.get(&path).await;
            reply.status == 200 && !reply.cut && layer.pattern().matches(0, &reply.body)
        })
        .await;
    }
}

#[tokio::test]
async fn a_wrong_name_in_the_head_of_a_right_body_does_no_harm() {
    let setting = Setting::new().await;
    let image = setting.stock();
    setting.registry.behave(|manners| manners.named = Named::Wrong);
    let reply = setting.get(&manifest_path(REPOSITORY, image.digest())).await;
    // The bytes are what was asked for; what upstream calls them does not matter.
    match reply.status.as_u16() {
        200 => assert_eq!(reply.header("docker-content-digest"), image.digest()),
        _ => assert_error(&reply, &[502], &[]),
    }
}

#[tokio::test]
async fn manifests_have_a_largest_size() {
    let setting = Setting::new().await;
    for (mebibytes, fits) in [(3, true), (9, false)] {
        let padding = "x".repeat(mebibytes << 20);
        let body = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "annotations": { "x": padding } });
        let manifest = Manifest::verbatim(OCI_INDEX, body.to_string());
        setting.registry.add_manifest(REPOSITORY, &manifest);
        setting.registry.tag(REPOSITORY, TAG, &manifest.digest);
        let reply = setting.get(&manifest_path(REPOSITORY, &manifest.digest)).await;
        match fits {
            true => {
                assert_eq!((reply.status.as_u16(), reply.body.len()), (200, manifest.body.len()));
            }
            false => assert_error(&reply, &[502], &[]),
        }
    }
}

/// A body without an end, under a length that nobody announced.
#[tokio::test]
async fn an_endless_manifest_ends() {
    let setting = Setting::new().await;
    let image = setting.stock();
    let block = bytes::Bytes::from(vec![b' '; 1 << 20]);
    let endless = Answer {
        content: Content::Chunks(std::sync::Arc::new(move |_| Some(block.clone()))),
        ..Answer::ok(OCI_MANIFEST, "")
    };
    setting
        .registry
        .front
        .fault(&manifest_path(REPOSITORY, image.digest()), Fault::Instead(endless));
    let reply = setting.get(&manifest_path(REPOSITORY, image.digest())).await;
    assert_error(&reply, &[502], &[]);
}

#[tokio::test]
async fn manifests_that_are_none_are_not_passed_on() {
    for (kind, body) in [
        (OCI_MANIFEST, ""),
        (OCI_MANIFEST, "{"),
        (OCI_MANIFEST, "[]"),
        (OCI_MANIFEST, "null"),
        (OCI_MANIFEST, "<html>sign in</html>"),
        ("text/html", "<html>sign in</html>"),
    ] {
        let setting = Setting::new().await;
        let manifest = Manifest::verbatim(kind, body.to_owned());
        setting.registry.add_manifest(REPOSITORY, &manifest);
        setting.registry.tag(REPOSITORY, TAG, &manifest.digest);
        for reference in [TAG, &manifest.digest] {
            let reply = setting.get(&manifest_path(REPOSITORY, reference)).await;
            assert!(
                reply.status == 502 || (reply.status == 200 && reply.body == body),
                "{kind} {body:?}: {reply:?}"
            );
        }
    }
}

/// Deeply nested and strangely formed documents that are what their digest says: they come through as they are, and stop nothing.
#[tokio::test]
async fn strange_manifests_come_through_as_they_are() {
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    let bodies = [
        json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [{ "digest": "nonsense", "size": -1 }] }).to_string(),
        json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [{ "digest": "../../etc/passwd", "size": 1e300 }] }).to_string(),
        format!("{{\"schemaVersion\":2,\"mediaType\":\"{OCI_MANIFEST}\",\"annotations\":{deep}}}"),
        format!("{{\"schemaVersion\":2,\"schemaVersion\":2,\"mediaType\":\"{OCI_MANIFEST}\",\"layers\":[],\"layers\":[]}}"),
        format!("\u{feff}{{\"schemaVersion\":2,\"mediaType\":\"{OCI_MANIFEST}\"}}"),
    ];
    for body in bodies {
        let setting = Setting::with("keep = { \"*\" = \"all\" }").await;
        let manifest = Manifest::verbatim(OCI_MANIFEST, body.clone());
        setting.registry.add_manifest(REPOSITORY, &manifest);
        setting.registry.tag(REPOSITORY, TAG, &manifest.digest);
        let reply = setting.get(&manifest_path(REPOSITORY, TAG)).await;
        assert!(
            reply.status == 502 || (reply.status == 200 && reply.body == body),
            "{body}: {reply:?}"
        );
        assert_eq!(setting.get("/v2/").await.status, 200);
    }
}

/// An index cannot hold its own digest, but it can be deep, and a registry may answer with itself whatever is asked: neither is followed for ever.
#[tokio::test]
async fn indexes_of_indexes_end() {
    let setting = Setting::with("keep = { \"*\" = \"all\" }").await;
    let leaf = Image::single(Family::Oci, 1);
    setting.registry.stock(REPOSITORY, &leaf);
    let mut top = leaf.root.clone();
    for _ in 0..64 {
        top =
            Manifest::index(Family::Oci, &[(&top, ("linux", "amd64")), (&top, ("linux", "arm64"))]);
        setting.registry.add_manifest(REPOSITORY, &top);
    }
    setting.registry.tag(REPOSITORY, TAG, &top.digest);
    let reply = setting.get(&manifest_path(REPOSITORY, TAG)).await;
    assert_eq!((reply.status.as_u16(), &reply.body), (200, &top.body));

    let turning = Setting::with("keep = { \"*\" = \"all\" }").await;
    let wanted = Image::single(Family::Oci, 5);
    let index = Manifest::index(Family::Oci, &[(&wanted.root, ("linux", "amd64"))]);
    turning.registry.add_manifest(REPOSITORY, &index);
    turning.registry.tag(REPOSITORY, TAG, &index.digest);
    let itself = Answer::ok(OCI_INDEX, index.body.clone());
    turning
        .registry
        .front
        .fault(&manifest_path(REPOSITORY, &wanted.root.digest), Fault::Instead(itself));
    assert_eq!(turning.get(&manifest_path(REPOSITORY, TAG)).await.status, 200);
    let child = turning.get(&manifest_path(REPOSITORY, &wanted.root.digest)).await;
    assert_error(&child, &[502], &[]);
    assert!(turning.registry.front.log().len() < 20);
}

/// `urls` in a layer are other people's addresses: a registry could make Larder ask anything.
#[tokio::test]
async fn foreign_layers_are_not_fetched_from_where_they_say() {
    for keep in ["", "keep = { \"*\" = \"all\" }"] {
        let setting = Setting::with(keep).await;
        let stranger =
            Origin::start("127.0.0.4", |_: &http::Request<bytes::Bytes>| Answer::new(404)).await;
        let foreign = Blob::foreign(8, &stranger.url("/layer"));
        let image = Image::of_layers(Family::Schema2, "amd64", vec![foreign.clone()]);
        setting.registry.publish(REPOSITORY, TAG, &image);
        setting.registry.destroy_blob(&foreign.digest);
        assert_eq!(setting.get(&manifest_path(REPOSITORY, TAG)).await.body, image.root.body);
        let reply = setting.get(&blob_path(REPOSITORY, &foreign.digest)).await;
        assert_error(&reply, &[404], &["BLOB_UNKNOWN"]);
        assert!(stranger.log().is_empty());
        // A registry that has it gives it like any other.
        setting.registry.add_blob(REPOSITORY, &foreign);
        setting.larder.advance(61);
        let reply = setting.get(&blob_path(REPOSITORY, &foreign.digest)).await;
        assert_eq!(Algorithm::Sha256.digest(&reply.body), foreign.digest);
    }
}

#[tokio::test]
async fn redirects_lead_to_declared_places_only() {
    let stranger = Origin::start("127.0.0.4", |_: &http::Request<bytes::Bytes>| {
        Answer::ok("application/octet-stream", "hello")
    })
    .await;
    for target in [
        stranger.url("/blob"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://[fe80::1]/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "ftp://127.0.0.2/".to_owned(),
        "gopher://127.0.0.2/".to_owned(),
        String::new(),
    ] {
        let setting = Setting::new().await;
        let image = setting.stock();
        setting.get(&manifest_path(REPOSITORY, TAG)).await;
        let blob = blob_path(REPOSITORY, &image.blobs[1].digest);
        setting.registry.front.fault(&blob, Fault::redirect(&target));
        let reply = setting.get(&blob).await;
        assert_error(&reply, &[502, 503, 504], &[]);
        assert!(stranger.log().is_empty(), "{target}");
    }
}

/// A content delivery network that compresses what it was asked for as it is. Undone, the bytes may be right; as they come they are not.
#[tokio::test]
async fn an_edge_that_encodes_is_undone_or_refused() {
    let setting = Setting::new().await;
    let image = setting.stock();
    setting.registry.behave(|manners| {
        (manners.blobs, manners.edge_encodes) = (Delivery::Redirected(307), true);
    });
    for blob in &image.blobs {
        let reply = setting.get(&blob_path(REPOSITORY, &blob.digest)).await;
        match reply.status.as_u16() {
            200 => {
                assert_eq!(reply.header("content-encoding"), "");
                assert_eq!(Algorithm::Sha256.digest(&reply.body), blob.digest);
            }
            _ => assert_error(&reply, &[502], &[]),
        }
    }
    setting.registry.behave(|manners| manners.edge_encodes = false);
    crate::support::wait::eventually("it heals", async || {
        setting.larder.advance(61);
        Puller::SkopeoAll.pull(&setting.by_prefix(), TAG).await.is_ok()
    })
    .await;
}

/// Storage without ranges, or that answers them badly: what a client asks for is served all the same, out of the whole.
#[tokio::test]
async fn ranges_do_not_depend_on_upstream() {
    let layer = Blob::opaque(Family::Oci, 6, 2 << 20);
    let image = Image::of_layers(Family::Oci, "amd64", vec![layer.clone()]);
    let path = blob_path(REPOSITORY, &layer.digest);
    for cut in [false, true] {
        let setting = Setting::new().await;
        setting.registry.publish(REPOSITORY, TAG, &image);
        setting.registry.behave(|manners| manners.ranges = false);
        if cut {
            let how = crate::support::origin::Cut::Close;
            setting.registry.front.fault_times(&path, 1, Fault::Cut { after: 1 << 20, how });
        }
        let ask = setting.larder.client.get(setting.larder.url(&path));
        let reply = ask.with("range", "bytes=1500000-1500099").send().await;
        assert_eq!(reply.status, 206, "{:?}", reply.headers);
        assert!(layer.pattern().matches(1_500_000, &reply.body));
    }
    let setting = Setting::new().await;
    setting.registry.publish(REPOSITORY, TAG, &image);
    let beyond = Answer::new(416).with("content-range", "bytes */1");
    setting.registry.front.fault_times(&path, 1, Fault::Instead(beyond));
    let reply = setting.get(&path).await;
    assert!(reply.status == 200 || reply.status == 502, "{:?}", reply.status);
    crate::support::wait::eventually("it heals", async || {
        setting.larder.advance(61);
        setting.get(&path).await.status == 200
    })
    .await;
}

/// A repository's name in the body of a list, an endless chain of pages, a page that leads elsewhere.
#[tokio::test]
async fn lists_that_mislead() {
    let stranger = Origin::start("127.0.0.4", |_: &http::Request<bytes::Bytes>| {
        Answer::ok(
            "application/json",
            json!({ "name": REPOSITORY, "tags": ["stolen"] }).to_string(),
        )
    })
    .await;
    let path = format!("/v2/{REPOSITORY}/tags/list");
    let list = |link: &str| {
        Answer::ok("application/json", json!({ "name": REPOSITORY, "tags": ["1.0"] }).to_string())
            .with("link", &format!("<{link}>; rel=\"next\""))
    };
    for link in [stranger.url("/list"), path.clone(), format!("{path}?last=1.0")] {
        let setting = Setting::new().await;
        setting.stock();
        setting.registry.front.fault(&path, Fault::Instead(list(&link)));
        let reply = setting.get(&path).await;
        assert!(reply.status.is_server_error() || !reply.text().contains("stolen"), "{reply:?}");
        assert!(stranger.log().is_empty(), "{link}");
        assert!(setting.registry.front.log().len() < 2000, "{link}");
    }
    for body in
        ["", "{}", "[]", "{\"name\":\"x\",\"tags\":1}", "<html>", "{\"name\":\"x\",\"tags\":[1,2]}"]
    {
        let setting = Setting::new().await;
        setting.stock();
        setting.registry.front.fault(&path, Fault::Instead(Answer::ok("application/json", body)));
        let reply = setting.get(&path).await;
        assert!(
            reply.status.is_server_error() || reply.json()["tags"].is_array(),
            "{body}: {reply:?}"
        );
    }
    // A repository without tags says null.
    let setting = Setting::new().await;
    setting.stock();
    let none = json!({ "name": REPOSITORY, "tags": null }).to_string();
    setting.registry.front.fault(&path, Fault::Instead(Answer::ok("application/json", none)));
    let reply = setting.get(&path).await;
    assert_eq!(
        (reply.status.as_u16(), reply.json()["tags"].clone()),
        (200, json!([])),
        "{reply:?}"
    );
}
