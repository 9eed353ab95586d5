//! Requests forged by way of Larder: everything that could make it ask a host that nobody declared. The victim is on this machine and would answer.

use std::sync::Arc;

use http::Method;
use serde_json::json;

use crate::support::client::Client;
use crate::support::hub::{FakeHub, File, files};
use crate::support::index::{FakeIndex, Style, Upload};
use crate::support::larder::{Larder, QUICK, generic, over, over_hub};
use crate::support::names::Names;
use crate::support::origin::{Answer, Fault, Origin, Pattern};
use crate::support::raw;
use crate::support::registry::{Delivery, FakeRegistry, Family, Image, blob_path, manifest_path};

/// A service that whoever is inside trusts. It must not hear a word.
async fn victim() -> Origin {
    Origin::start("127.0.0.77", |_: &http::Request<bytes::Bytes>| {
        Answer::ok("application/json", "{\"token\":\"inside\"}")
    })
    .await
}

fn assert_unheard(victim: &Origin, how: &str) {
    let heard: Vec<_> = victim.log().iter().map(|logged| logged.path.clone()).collect();
    assert!(heard.is_empty(), "{how}: {heard:?}");
}

#[tokio::test]
async fn an_index_does_not_lead_inside() {
    let victim = victim().await;
    for how in ["redirect of a page", "redirect of a file", "link", "base", "core metadata"] {
        let index = FakeIndex::start(Style::Full).await;
        let upload = Upload::wheel("six", "1.0");
        let inside = victim.url(&upload.path);
        let filename = upload.filename.clone();
        match how {
            "link" => index.publish("six", [upload.linked(&inside)]),
            "base" => {
                let page = format!(
                    "<html><head><base href=\"{}\"></head><a href=\"{filename}\">{filename}</a></html>",
                    victim.url("/packages/")
                );
                index.pages.fault("/simple/six/", Fault::Instead(Answer::ok("text/html", page)));
            }
            _ => index.publish("six", [upload]),
        }
        let larder = Larder::over(&index).await;
        if how == "redirect of a page" {
            index.pages.fault("*", Fault::redirect(&victim.url("/simple/six/")));
            assert_eq!(larder.page("six").await.status, 502, "{how}");
        }
        index.files.fault("*", Fault::redirect(&inside));
        let page = larder.page("six").await;
        if page.text().contains(&filename) && how != "redirect of a page" {
            let link = larder.link("six", &filename).await;
            let link = if how == "core metadata" { format!("{link}.metadata") } else { link };
            let reply = larder.client.get(link).send().await;
            assert!(!reply.status.is_success(), "{how}: {reply:?}");
        }
        assert_unheard(&victim, how);
    }
}

#[tokio::test]
async fn a_hub_does_not_lead_inside() {
    let victim = victim().await;
    let hub = FakeHub::start().await;
    let sha = hub.model(
        "org/model",
        files([
            ("config.json", File::plain("{}")),
            ("model.bin", File::xet(Pattern::new(3, 300_000))),
        ]),
    );
    hub.model("org/second", files([("config.json", File::plain("{}"))]));
    let larder = Larder::start(&over_hub(&hub, "")).await;
    let file = format!("/org/model/resolve/{sha}/model.bin");

    hub.switch(|switches| switches.cdn_instead = Some(victim.url("")));
    assert!(!larder.get(&file).await.status.is_success());
    assert_unheard(&victim, "a link to storage");

    let info = "/api/models/org/second";
    hub.hub.fault(info, Fault::redirect(&victim.url(info)));
    assert!(!larder.get(info).await.status.is_success());
    hub.hub.heal();
    assert_unheard(&victim, "a redirect of the API");

    let tree = format!("{info}/tree/main");
    let next = format!("<{}>; rel=\"next\"", victim.url("/next"));
    let page = Answer::ok("application/json", "[]").with("link", &next);
    hub.hub.fault(&tree, Fault::Instead(page));
    larder.get(&format!("{tree}?recursive=true")).await;
    hub.hub.heal();
    assert_unheard(&victim, "the next page of a tree");

    // Where the chunks of a file are: the word of the service that hands out reconstructions.
    hub.switch(|switches| switches.cdn_instead = None);
    let info = json!({
        "offset_into_first_range": 0,
        "terms": [{ "hash": "a".repeat(64), "unpacked_length": 300_000, "range": { "start": 0, "end": 1 } }],
        "fetch_info": { "a".repeat(64): [{ "range": { "start": 0, "end": 1 }, "url": victim.url("/xorb"), "url_range": { "start": 0, "end": 9 } }] },
    });
    hub.cas.fault("*", Fault::Instead(Answer::ok("application/json", info.to_string())));
    hub.cdn.fault("*", Fault::status(503));
    larder.get(&file).await;
    larder.advance(3600);
    larder.get(&file).await;
    assert_unheard(&victim, "the address of chunks");
}

fn over_registry(registry: &FakeRegistry) -> String {
    format!(
        "{QUICK}[oci]\ndefault = \"hub.example\"\n[oci.registries.\"hub.example\"]\nupstream = {:?}\nblob_hosts = [\"{}\"]\n",
        registry.front.url(""),
        registry.edge.address.ip(),
    )
}

#[tokio::test]
async fn a_registry_does_not_lead_inside() {
    let victim = victim().await;
    let inside = victim.address;
    let registry = FakeRegistry::start().await;
    let image = Image::single(Family::Oci, 1);
    registry.publish("library/demo", "1.0", &image);
    registry.behave(|manners| manners.blobs = Delivery::Redirected(307));
    let larder = Larder::start(&over_registry(&registry)).await;
    let tag = manifest_path("library/demo", "1.0");
    for namespace in [
        inside.to_string(),
        "169.254.169.254".to_owned(),
        format!("hub.example@{inside}"),
        "%5B::1%5D".to_owned(),
    ] {
        let reply = larder.get(&format!("{tag}?ns={namespace}")).await;
        assert!(!reply.status.is_success(), "{namespace}: {reply:?}");
        let named = larder.get(&manifest_path(&format!("{namespace}/library/demo"), "1.0")).await;
        assert!(!named.status.is_success(), "{namespace}: {named:?}");
    }
    assert_unheard(&victim, "ns");

    let list = "/v2/library/demo/tags/list";
    let next = format!("<{}>; rel=\"next\"", victim.url("/next"));
    let tags = json!({ "name": "library/demo", "tags": ["1.0"] }).to_string();
    let page = Answer::ok("application/json", tags).with("link", &next);
    registry.front.fault(list, Fault::Instead(page));
    larder.get(list).await;
    assert_unheard(&victim, "the next page of tags");

    assert_eq!(larder.get(&tag).await.status, 200);
    for blob in &image.blobs {
        registry.edge.fault("*", Fault::redirect(&victim.url("/blob")));
        let reply = larder.get(&blob_path("library/demo", &blob.digest)).await;
        assert!(!reply.status.is_success(), "{reply:?}");
    }
    registry.front.fault("*", Fault::redirect(&victim.url("/manifest")));
    larder.advance(3600);
    larder.get(&tag).await;
    assert_unheard(&victim, "redirects");
}

/// A mount that follows redirects follows them to declared hosts; one that passes them on asks nobody.
#[tokio::test]
async fn an_origin_does_not_lead_inside() {
    let victim = victim().await;
    for more in ["redirects = \"follow\"", "redirects = \"pass\""] {
        let location = victim.url("/inside");
        let origin = Origin::start("127.0.0.1", move |_: &http::Request<bytes::Bytes>| {
            Answer::new(302)
                .with("location", &location)
                .with("link", &format!("<{location}>; rel=preload"))
        })
        .await;
        let larder = Larder::start(&generic(&origin.url("/"), more)).await;
        let reply = larder.get("/generic/it/thing").await;
        assert!(!reply.status.is_success(), "{more}: {reply:?}");
        assert_unheard(&victim, more);
    }
}

/// Larder is no open proxy, whatever form the request takes.
#[tokio::test]
async fn requests_name_no_host() {
    let victim = victim().await;
    let inside = victim.address;
    let index = FakeIndex::start(Style::Full).await;
    let settings = format!("{}[generic.it]\nupstream = {:?}\n", over(&index), index.pages.url("/"));
    let larder = Larder::start(&settings).await;
    for target in [
        format!("http://{inside}/"),
        format!("//{inside}/"),
        format!("/generic/it/http://{inside}/"),
        format!("/generic/it//{inside}/"),
        format!("/generic/it/@{inside}/"),
        format!("/generic/it/%40{inside}/"),
        format!("/generic/{inside}/"),
        format!("/pypi/default/files/{inside}/x/six-1.0-py3-none-any.whl"),
        format!("/{inside}/resolve/main/config.json"),
    ] {
        for host in [larder.address.to_string(), inside.to_string()] {
            let request =
                format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            let answer = raw::exchange(larder.address, request.as_bytes()).await;
            assert!(
                raw::statuses(&answer).iter().all(|status| *status != 200),
                "{target}: {answer}"
            );
        }
    }
    let connect = format!("CONNECT {inside} HTTP/1.1\r\nHost: {inside}\r\n\r\n");
    assert_eq!(raw::statuses(&raw::exchange(larder.address, connect.as_bytes()).await), [405]);
    assert_unheard(&victim, "a request's target");
}

/// Names that lead to this machine, though upstream was declared as a public one: by an attack on the resolver, or because they were bound
/// anew after they had been looked at.
#[tokio::test]
async fn names_that_are_bound_to_this_machine() {
    let index = FakeIndex::start(Style::Full).await;
    index.publish("six", [Upload::wheel("six", "1.0")]);
    let hub = FakeHub::start().await;
    hub.model("org/model", files([("config.json", File::plain("{}"))]));
    let registry = FakeRegistry::start().await;
    registry.publish("library/demo", "1.0", &Image::single(Family::Oci, 1));
    let names = Names::default();
    let port = |origin: &Origin| origin.address.port();
    let settings = format!(
        "{}\n[upstream]\nproxy = \"none\"\n[pypi.indexes.default]\nupstream = \"http://index.example:{}/simple/\"\n\
         [huggingface]\nupstream = \"http://hub.example:{}\"\ndatasets_server = \"\"\nollama = \"\"\n\
         [oci]\ndefault = \"r.example\"\n[oci.registries.\"r.example\"]\nupstream = \"http://registry.example:{}/\"\n\
         [generic.it]\nupstream = \"http://origin.example:{}/\"\n",
        "[cache]\nrevalidate_budget = \"20s\"",
        port(&index.pages),
        port(&hub.hub),
        port(&registry.front),
        port(&index.pages),
    );
    let larder = Larder::start_with_names(&settings, Arc::new(names.clone())).await;
    for address in [
        "127.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "0.0.0.0",
        "169.254.169.254",
        "fd00:ec2::254",
        "100.100.100.200",
    ] {
        for name in ["index.example", "hub.example", "registry.example", "origin.example"] {
            names.bind(name, address);
        }
        for path in [
            "/simple/six/",
            "/api/models/org/model",
            "/v2/library/demo/manifests/1.0",
            "/generic/it/simple/six/",
        ] {
            larder.advance(3600);
            let reply = Client::new().ask(Method::GET, larder.url(path)).send().await;
            assert!(matches!(reply.status.as_u16(), 502..=504), "{address}, {path}: {reply:?}");
            assert!(!reply.text().contains(address), "{address}, {path}: {reply:?}");
        }
    }
    let heard: Vec<_> =
        [&index.pages, &hub.hub, &registry.front].iter().flat_map(|origin| origin.log()).collect();
    assert!(heard.is_empty(), "{} requests", heard.len());
    assert!(names.asked().iter().any(|name| name == "hub.example"), "{:?}", names.asked());
}
