//! Every client pulls every kind of image in every way of naming it, and gets what upstream has, byte for byte.

use http::Method;

use super::pull::{EVERY_PULLER, Puller, Source};
use super::setting::{HUB, REPOSITORY, Setting, TAG, assert_error};
use crate::support::registry::image::OCI_INDEX;
use crate::support::registry::{
    Algorithm, Blob, Delivery, FakeRegistry, Family, Head, Image, blob_path, edge_path,
    manifest_path,
};

/// Images that `puller` can read.
fn readable(puller: Puller) -> Vec<Image> {
    match puller {
        Puller::Ollama => vec![Image::single(Family::Schema2, 10)],
        _ => vec![
            Image::single(Family::Oci, 10),
            Image::single(Family::Schema2, 20),
            Image::multi(Family::Oci, 30),
            Image::multi(Family::Schema2, 40),
        ],
    }
}

#[tokio::test]
async fn every_client_pulls_everything_from_the_registry_itself() {
    // Ollama would fail: it wants to be led somewhere even by the thing itself.
    for puller in EVERY_PULLER.into_iter().filter(|puller| *puller != Puller::Ollama) {
        let registry = FakeRegistry::start().await;
        for image in readable(puller) {
            registry.publish(REPOSITORY, TAG, &image);
            let source = Source::new(&registry.front.url(""), REPOSITORY);
            puller.pull(&source, TAG).await.expect("it pulls").expect(puller, &image);
        }
    }
}

#[tokio::test]
async fn every_client_pulls_everything() {
    for puller in EVERY_PULLER {
        for image in readable(puller) {
            let setting = Setting::new().await;
            setting.registry.publish(REPOSITORY, TAG, &image);
            for source in [setting.by_prefix(), setting.by_namespace(), setting.by_default()] {
                for reference in [TAG, image.digest()] {
                    let pulled = puller.pull(&source, reference).await;
                    pulled
                        .unwrap_or_else(|error| panic!("{source:?}: {error}"))
                        .expect(puller, &image);
                }
            }
            let (_, gets) = setting.tag_requests();
            assert!(gets <= 1, "{puller:?}: the tag was downloaded {gets} times");
            for blob in &image.blobs {
                let (times, bytes) = setting.registry.crossings(&blob.digest);
                assert!(times <= 1 && bytes <= blob.length(), "{puller:?}: {times} times");
            }
        }
    }
}

#[tokio::test]
async fn blobs_behind_redirects_cross_once_and_take_no_credentials_along() {
    for status in [302, 307] {
        let setting = Setting::new().await;
        let image = setting.stock();
        setting.registry.behave(|manners| manners.blobs = Delivery::Redirected(status));
        for puller in [Puller::SkopeoAll, Puller::Docker, Puller::ContainerdInParts] {
            let pulled = puller.pull(&setting.by_default(), TAG).await.expect("it pulls");
            pulled.expect(puller, &image);
        }
        for blob in &image.blobs {
            assert_eq!(setting.registry.crossings(&blob.digest), (1, blob.length()));
        }
        let log = setting.registry.edge.log();
        assert!(log.iter().all(|logged| logged.header("authorization").is_none()));
        assert!(log.iter().all(|logged| logged.method == Method::GET));
    }
}

#[tokio::test]
async fn sha512_names_are_as_good() {
    let setting = Setting::new().await;
    let image = Image::single_named_by(Algorithm::Sha512, 1);
    setting.registry.publish(REPOSITORY, TAG, &image);
    for _ in 0..2 {
        let pulled = Puller::Crane.pull(&setting.by_prefix(), image.digest()).await;
        assert_eq!(pulled.expect("it pulls").digest, image.digest());
    }
    for blob in &image.blobs {
        assert_eq!(setting.registry.crossings(&blob.digest), (1, blob.length()));
    }
    let tag = Puller::Podman.pull(&setting.by_prefix(), TAG).await;
    assert!(tag.is_ok(), "{tag:?}");
}

#[tokio::test]
async fn anything_can_be_an_image() {
    let setting = Setting::new().await;
    let chart = Blob::new("application/vnd.cncf.helm.chart.content.v1.tar+gzip", "a chart");
    let zstd = Blob::new("application/vnd.oci.image.layer.v1.tar+zstd", "\x28no archive");
    let empty = Blob::new("application/octet-stream", "");
    let image = Image::of_layers(Family::Oci, "amd64", vec![chart, zstd, empty]);
    setting.registry.publish(REPOSITORY, TAG, &image);
    let pulled = Puller::Oras.pull(&setting.by_prefix(), TAG).await.expect("it pulls");
    pulled.expect(Puller::Oras, &image);
}

#[tokio::test]
async fn heads_are_complete_whatever_upstream_leaves_out() {
    for head in [Head::Whole, Head::WithoutLength, Head::NotAllowed] {
        let setting = Setting::new().await;
        let image = setting.stock();
        setting.registry.behave(|manners| manners.head = head);
        for path in [
            manifest_path(REPOSITORY, TAG),
            manifest_path(REPOSITORY, image.digest()),
            manifest_path(&format!("{HUB}/{REPOSITORY}"), TAG),
        ] {
            let reply = setting.head(&path).await;
            assert_eq!(reply.status, 200, "{head:?} {path}: {reply:?}");
            assert_eq!(reply.header("content-type"), OCI_INDEX);
            assert_eq!(
                reply.header("content-length"),
                image.root.body.len().to_string(),
                "{head:?}"
            );
            assert_eq!(reply.header("docker-content-digest"), image.digest());
            assert_eq!(reply.header("etag"), format!("\"{}\"", image.digest()));
        }
        let blob = &image.blobs[0];
        let reply = setting.head(&blob_path(REPOSITORY, &blob.digest)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.header("content-length"), blob.length().to_string());
        assert_eq!(reply.header("docker-content-digest"), blob.digest);
    }
}

/// What is signed for `GET` alone must not be asked with `HEAD`: a blob that is not kept is asked for at the registry.
#[tokio::test]
async fn head_of_a_blob_that_is_not_kept_asks_the_registry_and_fetches_nothing() {
    let setting = Setting::new().await;
    let image = setting.stock();
    setting.registry.behave(|manners| manners.blobs = Delivery::Redirected(307));
    let blob = &image.blobs[1];
    let reply = setting.head(&blob_path(REPOSITORY, &blob.digest)).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("content-length")),
        (200, blob.length().to_string().as_str())
    );
    let edge = setting.registry.edge.asked(&edge_path(&blob.digest));
    assert!(edge.iter().all(|logged| logged.method == Method::GET));
}

#[tokio::test]
async fn blobs_have_the_fields_that_clients_need() {
    let setting = Setting::new().await;
    let image = setting.stock();
    let blob = &image.blobs[1];
    let path = blob_path(REPOSITORY, &blob.digest);
    for _ in ["cold", "warm"] {
        let reply = setting.larder.client.get(setting.larder.url(&path));
        let reply = reply.with("accept-encoding", "zstd, gzip, deflate").send().await;
        assert_eq!(reply.status, 200);
        let expected = [
            ("content-type", "application/octet-stream"),
            ("content-length", &blob.length().to_string()),
            ("docker-content-digest", &blob.digest),
            ("etag", &format!("\"{}\"", blob.digest)),
            ("accept-ranges", "bytes"),
            ("content-encoding", ""),
        ];
        for (name, value) in expected {
            assert_eq!(reply.header(name), value, "{name}");
        }
        assert!(reply.header("cache-control").contains("max-age=31536000"), "{reply:?}");
        let here = url::Url::parse(&setting.larder.url(&path)).expect("an address");
        assert_eq!(here.join(reply.header("location")), Ok(here), "{reply:?}");
    }
}

#[tokio::test]
async fn ranges_of_all_kinds() {
    let setting = Setting::new().await;
    let layer = Blob::opaque(Family::Oci, 5, 300_000);
    let image = Image::of_layers(Family::Oci, "amd64", vec![layer.clone()]);
    setting.registry.publish(REPOSITORY, TAG, &image);
    let address = setting.larder.url(&blob_path(REPOSITORY, &layer.digest));
    let pattern = layer.pattern();
    let check = async |range: &str, status: u16, first: u64, length: u64| {
        let reply = setting.larder.client.get(&address).with("range", range).send().await;
        assert_eq!((reply.status.as_u16(), reply.body.len() as u64), (status, length), "{range}");
        assert!(pattern.matches(first, &reply.body), "{range}");
        if status == 206 {
            let expected = format!("bytes {first}-{}/300000", first + length - 1);
            assert_eq!(reply.header("content-range"), expected);
        }
    };
    // The first is asked for while nothing is kept.
    check("bytes=200000-200099", 206, 200_000, 100).await;
    check("bytes=0-", 206, 0, 300_000).await;
    check("bytes=0-1", 206, 0, 2).await;
    check("bytes=299999-", 206, 299_999, 1).await;
    check("bytes=299990-999999", 206, 299_990, 10).await;
    check("bytes=-7", 206, 299_993, 7).await;
    let beyond = setting.larder.client.get(&address).with("range", "bytes=300000-").send().await;
    assert_eq!((beyond.status.as_u16(), beyond.header("content-range")), (416, "bytes */300000"));
    // eStargz and zstd:chunked ask for several at once: parts or the whole, never an error.
    let several = setting.larder.client.get(&address).with("range", "bytes=0-9,100000-100009");
    let several = several.send().await;
    match several.status.as_u16() {
        206 => {
            let kind = several.header("content-type").to_owned();
            assert!(kind.starts_with("multipart/byteranges"), "{kind}");
            assert!(
                several.text().matches("Content-Range").count()
                    + several.text().matches("content-range").count()
                    >= 2
            );
        }
        200 => assert_eq!(several.body.len(), 300_000),
        status => panic!("{status}"),
    }
    assert_eq!(setting.registry.crossings(&layer.digest), (1, 300_000));
}

#[tokio::test]
async fn pings_are_answered_without_asking() {
    let setting = Setting::new().await;
    setting.registry.refuse().await;
    for path in ["/v2/", "/v2"] {
        let reply = setting.get(path).await;
        assert!(reply.status == 200 || reply.status.is_redirection(), "{path}: {reply:?}");
    }
    let ping = setting.get("/v2/").await;
    assert_eq!(ping.header("docker-distribution-api-version"), "registry/2.0");
    assert_eq!(ping.json(), serde_json::json!({}));
    assert_eq!(setting.head("/v2/").await.status, 200);
    assert!(setting.registry.journal().is_empty());
}

#[tokio::test]
async fn what_is_no_pull_is_told_so() {
    let setting = Setting::new().await;
    let image = setting.stock();
    let digest = image.digest();
    for (method, path) in [
        (Method::POST, "/v2/library/demo/blobs/uploads/".to_owned()),
        (Method::POST, format!("/v2/library/demo/blobs/uploads/?mount={digest}&from=other")),
        (Method::PUT, manifest_path(REPOSITORY, "2.0")),
        (Method::PUT, "/v2/library/demo/blobs/uploads/1?digest=x".to_owned()),
        (Method::PATCH, "/v2/library/demo/blobs/uploads/1".to_owned()),
        (Method::DELETE, manifest_path(REPOSITORY, digest)),
        (Method::DELETE, blob_path(REPOSITORY, &image.blobs[0].digest)),
    ] {
        let ask = setting.larder.client.ask(method.clone(), setting.larder.url(&path));
        let reply = ask.body("{}").send().await;
        assert_error(&reply, &[405], &["UNSUPPORTED"]);
    }
    assert!(setting.registry.journal().is_empty(), "{:?}", setting.registry.journal());
}

/// A tag's answer may depend on what is accepted, so upstream is always asked for the same: everything, in one order, uncompressed.
#[tokio::test]
async fn upstream_is_always_asked_the_same() {
    let mut seen = std::collections::BTreeSet::new();
    for puller in EVERY_PULLER.into_iter().filter(|puller| *puller != Puller::Ollama) {
        let setting = Setting::new().await;
        setting.stock();
        puller.pull(&setting.by_default(), TAG).await.expect("it pulls");
        for logged in setting.registry.front.log() {
            if logged.path.contains("/manifests/") {
                let accept: Vec<_> = logged.headers.get_all("accept").iter().cloned().collect();
                seen.insert(format!("{accept:?}"));
            }
            if logged.path.contains("/blobs/") {
                let coding = logged.header("accept-encoding").unwrap_or("identity");
                assert_eq!(coding, "identity", "{puller:?} {}", logged.path);
            }
            let agent = logged.header("user-agent").unwrap_or_default().to_lowercase();
            assert!(agent.contains("larder"), "{agent}");
        }
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
}

/// A namespace that nobody declared must lead nowhere: not to that host, and not to another registry's image of the same name.
#[tokio::test]
async fn an_undeclared_namespace_is_no_open_proxy() {
    let setting = Setting::new().await;
    let image = setting.stock();
    let address = setting.registry.edge.address;
    for namespace in
        ["other.example", "127.0.0.2", &address.to_string(), "", "hub.example/../x", "%00"]
    {
        for path in [manifest_path(REPOSITORY, TAG), blob_path(REPOSITORY, &image.blobs[0].digest)]
        {
            let reply = setting.get(&format!("{path}?ns={namespace}")).await;
            let plain = namespace.is_empty() && reply.status == 200;
            assert!(plain || reply.status.is_client_error(), "{namespace}: {reply:?}");
        }
    }
    assert!(setting.registry.edge.log().is_empty());
}

#[tokio::test]
async fn a_single_name_is_the_librarys() {
    let setting = Setting::new().await;
    let image = setting.stock();
    for path in ["/v2/demo/manifests/1.0", "/v2/hub.example/demo/manifests/1.0"] {
        let reply = setting.get(path).await;
        assert_eq!((reply.status.as_u16(), &reply.body), (200, &image.root.body), "{path}");
    }
    // Its own tags are listed under the name that was asked for.
    let list = setting.get("/v2/demo/tags/list").await;
    assert_eq!(
        (list.status.as_u16(), list.json()["tags"].clone()),
        (200, serde_json::json!([TAG]))
    );
}

#[tokio::test]
async fn narrow_tastes_get_what_there_is() {
    let setting = Setting::new().await;
    let image = setting.stock();
    let address = setting.larder.url(&manifest_path(REPOSITORY, TAG));
    for accept in ["application/json", "*/*", crate::support::registry::image::SCHEMA2] {
        let reply = setting.larder.client.get(&address).with("accept", accept).send().await;
        // No down-conversion: the digest would be another.
        assert!(reply.status == 404 || reply.body == image.root.body, "{accept}: {reply:?}");
    }
}

/// containerd and newer engines may name the registry in the mirror's own path, before `/v2/`, and say `?ns=` all the same.
#[tokio::test]
async fn a_mirrors_path_may_name_the_registry() {
    for puller in [Puller::Docker, Puller::Containerd, Puller::ContainerdInParts] {
        let setting = Setting::new().await;
        let image = setting.stock();
        let base = setting.larder.url(&format!("/{HUB}"));
        for source in [Source::new(&base, REPOSITORY), Source::new(&base, REPOSITORY).of(HUB)] {
            puller.pull(&source, TAG).await.expect("it pulls").expect(puller, &image);
        }
        let other = setting.get(&format!("/other.example{}", manifest_path(REPOSITORY, TAG))).await;
        assert!(other.status.is_client_error(), "{other:?}");
    }
}

#[tokio::test]
async fn conditions_are_answered() {
    let setting = Setting::new().await;
    let image = setting.stock();
    let blob = &image.blobs[1];
    for (path, digest) in [
        (manifest_path(REPOSITORY, TAG), image.digest()),
        (manifest_path(REPOSITORY, image.digest()), image.digest()),
        (blob_path(REPOSITORY, &blob.digest), &blob.digest),
    ] {
        assert_eq!(setting.get(&path).await.status, 200);
        let ask = |tag: &str| {
            setting.larder.client.get(setting.larder.url(&path)).with("if-none-match", tag)
        };
        let same = ask(&format!("\"{digest}\"")).send().await;
        assert_eq!((same.status.as_u16(), same.body.len()), (304, 0), "{path}");
        assert_eq!(ask("\"sha256:other\"").send().await.status, 200, "{path}");
    }
}

/// HTTP/2 without TLS, as proxies before Larder speak it.
#[tokio::test]
async fn http2_clients_get_the_same() {
    let setting = Setting::new().await;
    let image = setting.stock();
    let client = crate::support::client::Client::http2();
    let tag = client.get(setting.larder.url(&manifest_path(REPOSITORY, TAG))).send().await;
    assert_eq!((tag.status.as_u16(), &tag.body), (200, &image.root.body));
    for blob in &image.blobs {
        let path = blob_path(REPOSITORY, &blob.digest);
        let reply = client.get(setting.larder.url(&path)).send().await;
        assert_eq!(Algorithm::Sha256.digest(&reply.body), blob.digest);
    }
}
