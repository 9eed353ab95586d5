//! Bills of what was pulled, the use of models, and what became of things upstream: as the record, the ledger and what is kept tell them together.

use serde_json::{Value, json};

use crate::oci::setting::{HUB, REPOSITORY, TAG, over as over_registry};
use crate::support::hub::{FakeHub, File, Kind, files};
use crate::support::index::{FakeIndex, Style, Upload};
use crate::support::larder::{Larder, QUICK, over, over_hub};
use crate::support::registry::{FakeRegistry, Family, Image, manifest_path};
use crate::support::wait::eventually;

const FILE: &str = "six-1.0-py3-none-any.whl";

struct Stand {
    hub: FakeHub,
    index: FakeIndex,
    registry: FakeRegistry,
    image: Image,
    commit: String,
    larder: Larder,
}

impl Stand {
    /// One of each kind of upstream with one thing of each, all of which were pulled.
    async fn pulled() -> Self {
        let hub = FakeHub::start().await;
        let commit = hub.model(
            "org/model",
            files([("config.json", File::plain("{}")), ("w.bin", File::lfs("weights"))]),
        );
        hub.edit(Kind::Model, "org/model", |one| one.card = json!({ "license": "apache-2.0" }));
        let index = FakeIndex::start(Style::Full).await;
        let mut upload = Upload::wheel("six", "1.0");
        let metadata = upload.metadata.take().unwrap_or_default();
        upload.metadata = Some(format!("{metadata}License-Expression: MIT\n"));
        index.publish("six", [upload]);
        let registry = FakeRegistry::start().await;
        let image = Image::single(Family::Oci, 1);
        registry.publish(REPOSITORY, TAG, &image);
        let settings = format!(
            "{}{}{}",
            over_hub(&hub, ""),
            over(&index).replace(QUICK, ""),
            over_registry(&registry, "").replace(QUICK, "")
        );
        let larder = Larder::start(&settings).await;
        let stand = Self { hub, index, registry, image, commit, larder };
        stand.pull().await;
        stand
    }

    async fn pull(&self) {
        let larder = &self.larder;
        let link = larder.link("six", FILE).await;
        for url in [link.clone(), format!("{link}.metadata")] {
            assert_eq!(larder.client.get(&url).send().await.status, 200, "{url}");
        }
        assert_eq!(larder.get("/org/model/resolve/main/w.bin").await.status, 200);
        let manifest = larder.get(&manifest_path(&format!("{HUB}/{REPOSITORY}"), TAG)).await;
        assert_eq!(manifest.status, 200, "{manifest:?}");
        let layer = manifest.json()["layers"][0]["digest"].as_str().map(str::to_owned);
        let layer = format!("/v2/{HUB}/{REPOSITORY}/blobs/{}", layer.expect("a layer"));
        assert_eq!(larder.get(&layer).await.status, 200);
        eventually("all of it is kept", async || {
            let things = self.things("").await;
            things.len() == 3 && things.iter().all(|thing| thing["kept_files"] != 0)
        })
        .await;
        eventually("all of it is counted", async || {
            let pulls = larder.get("/-/api/v1/pulls").await.json();
            pulls["pulls"].as_array().map(Vec::len) == Some(4)
        })
        .await;
    }

    async fn things(&self, prefix: &str) -> Vec<Value> {
        let listed = self.larder.get(&format!("/-/api/v1/entries?prefix={prefix}")).await;
        listed.json()["entries"].as_array().cloned().unwrap_or_default()
    }

    /// What upstream says of the one thing of this name.
    async fn upstream(&self, name: &str) -> Value {
        let shown = self.larder.get(&format!("/-/api/v1/entries/{name}")).await;
        shown.json()["things"][0]["upstream"].clone()
    }

    async fn bill(&self, query: &str) -> Value {
        let reply = self.larder.get(&format!("/-/api/v1/bom{query}")).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.header("content-type"), "application/vnd.cyclonedx+json; version=1.6");
        reply.json()
    }
}

/// The components of a bill by their types.
fn component<'a>(bill: &'a Value, kind: &str) -> &'a Value {
    let components = bill["components"].as_array().expect("components");
    let found = components.iter().find(|one| one["type"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} in {bill:#}"))
}

#[tokio::test]
async fn a_bill_is_made_of_what_was_pulled() {
    let stand = Stand::pulled().await;
    let bill = stand.bill("?since=2001-01-01").await;
    assert_eq!(bill["components"].as_array().map(Vec::len), Some(3), "{bill:#}");
    let package = component(&bill, "library");
    assert_eq!(package["purl"], "pkg:pypi/six@1.0");
    assert_eq!(package["licenses"][0]["license"]["id"], "MIT", "from the metadata that is kept");
    assert_eq!(package["components"][0]["name"], FILE);
    assert_eq!(package["components"][0]["hashes"][0]["alg"], "SHA-256");
    let model = component(&bill, "machine-learning-model");
    assert_eq!(model["version"], stand.commit.as_str());
    assert_eq!(model["licenses"][0]["license"]["id"], "Apache-2.0");
    let files = model["components"].as_array().expect("files");
    assert_eq!((files.len(), &files[0]["name"]), (1, &json!("w.bin")), "what was pulled, no more");
    let image = component(&bill, "container");
    assert_eq!(image["version"], stand.image.digest());
    let layers = image["components"].as_array().expect("layers");
    assert_eq!(layers.len(), 1, "the layer is the image's: {bill:#}");

    // Later nothing was pulled; before, nothing was recorded.
    stand.larder.advance(7200);
    let later = stand.bill("?since=1h").await;
    assert_eq!(later["components"], json!([]));
    let before = stand.larder.get("/-/api/v1/bom?until=2001-01-01").await;
    assert_eq!(before.status, 404, "{before:?}");
    assert!(before.text().contains("nothing is recorded of pulls before 2027-"), "{before:?}");
    for wrong in ["?since=2020-01-02&until=2020-01-01", "?since=soon", "?since=2099-01-01"] {
        let reply = stand.larder.get(&format!("/-/api/v1/bom{wrong}")).await;
        assert_eq!(reply.status, 400, "{reply:?}");
    }
    let of_ci = stand.bill("?since=2h&client=ci").await;
    assert_eq!(of_ci["components"], json!([]), "nobody of that name pulled anything");
}

#[tokio::test]
async fn a_passport_tells_how_often_a_model_was_pulled() {
    let stand = Stand::pulled().await;
    let path = format!("/-/api/v1/models/org/model@{}", stand.commit);
    let passport = stand.larder.get(&path).await.json();
    let usage = &passport["usage"];
    assert_eq!((&usage["bytes"], &usage["by"][0]["pulls"]), (&json!(7), &json!(1)), "{usage:#}");
    assert!(usage["first"].is_string() && usage["recorded_since"].is_string(), "{usage:#}");
    assert_eq!(passport["unknown"]["usage"], Value::Null);
}

#[tokio::test]
async fn what_became_of_a_thing_upstream_is_told_with_it() {
    let stand = Stand::pulled().await;
    let image = format!("oci:{HUB}/{REPOSITORY}");
    let (tagged, by_digest) =
        (format!("{image}:{TAG}"), format!("{image}@{}", stand.image.digest()));
    let model = format!("hf:org/model@{}", stand.commit);
    for name in ["pypi:six==1.0", &model, &tagged] {
        assert_eq!(stand.upstream(name).await["state"], "present", "{name}");
    }
    let told = stand.upstream(&model).await;
    assert!(told["identity"].is_string() && told["licence"] == "Apache-2.0", "{told:#}");
    assert_eq!(stand.upstream("pypi:six==1.0").await["licence"], "MIT");

    stand.index.yank("six", "1.0", Some("it is broken"));
    stand.hub.model("org/model", files([("config.json", File::plain("{\"new\":1}"))]));
    stand.registry.publish(REPOSITORY, TAG, &Image::single(Family::Oci, 2));
    stand.larder.advance(3600);
    let check = async |name: &str, state: &str, reason: &str| {
        let mut told = Value::Null;
        eventually("it has been noticed", async || {
            stand.larder.page("six").await;
            stand.larder.get("/api/models/org/model").await;
            stand.larder.get(&manifest_path(&format!("{HUB}/{REPOSITORY}"), TAG)).await;
            told = stand.upstream(name).await;
            told["state"] == state
        })
        .await;
        assert!(told["since"].is_string(), "{told:#}");
        let said = told["reason"].as_str().unwrap_or_default();
        assert!(said.contains(reason), "{told:#}");
    };
    check("pypi:six==1.0", "yanked", "it is broken").await;
    check(&model, "moved", "main leads to").await;
    check(&by_digest, "moved", "1.0 stands for sha256:").await;
    stand.hub.delete(Kind::Model, "org/model");
    stand.larder.advance(3600);
    check(&model, "deleted", "the hub answers").await;
}
