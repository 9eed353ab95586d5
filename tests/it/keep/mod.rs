//! Keeping by hand, as people do it: the commands over a server that runs, and over its data directory once it has ended.

mod reach;

use std::path::Path;

use serde_json::Value;

use crate::oci::setting::{HUB, REPOSITORY, TAG};
use crate::support::child::{Process, binary};
use crate::support::client::Client;
use crate::support::hub::{FakeHub, File, Kind, files};
use crate::support::index::{FakeIndex, Style, Upload};
use crate::support::larder::{QUICK, over, over_hub, page_path};
use crate::support::origin::Pattern;
use crate::support::registry::{FakeRegistry, Family, Image, manifest_path};
use crate::support::wait::eventually;

/// One of each kind of upstream, and a Larder over them.
struct World {
    hub: FakeHub,
    /// The commit that `main` leads to.
    sha: String,
    index: FakeIndex,
    registry: FakeRegistry,
    folder: tempfile::TempDir,
}

/// What a command came to.
#[derive(Debug)]
struct Told {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Told {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl World {
    async fn new() -> Self {
        let hub = FakeHub::start().await;
        let weights = File::xet(Pattern::new(7, 100_000));
        let first = files([("config.json", File::plain("{}")), ("w.bin", weights.clone())]);
        let sha = hub.model("org/model", first);
        hub.tag(Kind::Model, "org/model", "v1", &sha);
        let sha = hub.model(
            "org/model",
            files([("config.json", File::plain("{\"new\": 1}")), ("w.bin", weights)]),
        );
        let index = FakeIndex::start(Style::Full).await;
        index.publish("six", [Upload::wheel("six", "1.0"), Upload::wheel("six", "2.0")]);
        let registry = FakeRegistry::start().await;
        registry.publish(REPOSITORY, TAG, &Image::single(Family::Oci, 1));
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self { hub, sha, index, registry, folder }
    }

    fn settings(&self) -> String {
        let registry = crate::oci::setting::over(&self.registry, "");
        format!(
            "{}{}{}",
            over_hub(&self.hub, ""),
            over(&self.index).replace(QUICK, ""),
            registry.replace(QUICK, "")
        )
    }

    fn start(&self) -> Process {
        Process::start(self.folder.path(), &self.settings())
    }

    /// Runs a command for the Larder at `base`, whether or not one runs there.
    async fn run(&self, base: &str, arguments: &[&str]) -> Told {
        let address = base.trim_start_matches("http://").to_owned();
        let folder: &Path = self.folder.path();
        let mut command = binary();
        command
            .args(arguments)
            .args(["--listen", &address, "--config"])
            .arg(folder.join("larder.toml"))
            .arg("--data-dir")
            .arg(folder.join("data"));
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.expect("it does not panic").expect("the binary can be run");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Told { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

async fn pull(larder: &Process) {
    let client = Client::new();
    for path in [
        "/org/model/resolve/main/config.json",
        "/org/model/resolve/main/w.bin",
        "/org/model/resolve/v1/config.json",
        "/api/models/org/model/tree/main?recursive=true",
        "/api/models/org/model/tree/v1?recursive=true",
    ] {
        assert_eq!(client.get(larder.url(path)).send().await.status, 200, "{path}");
    }
    let page = larder.url(&page_path("six"));
    let shown = client.get(&page).with("accept", crate::support::client::ACCEPT_PAGE).send().await;
    let link = crate::support::larder::link_on(&shown, &page, "six-1.0-py3-none-any.whl");
    assert_eq!(client.get(link.expect("it is listed")).send().await.status, 200);
    let manifest = client.get(larder.url(&manifest_path("demo", TAG))).send().await;
    assert_eq!(manifest.status, 200, "{manifest:?}");
    let layers = manifest.json()["layers"].as_array().cloned().unwrap_or_default();
    for layer in layers {
        let digest = layer["digest"].as_str().expect("a digest");
        let blob = format!("/v2/demo/blobs/{digest}");
        assert_eq!(client.get(larder.url(&blob)).send().await.status, 200, "{blob}");
    }
}

/// The names of what `larder ls` lists once everything is written down.
async fn names(world: &World, base: &str, prefix: &str) -> Vec<String> {
    let listed = world.run(base, &["ls", "--json", prefix]).await.json();
    let items = listed.as_array().expect("a list").clone();
    items.iter().map(|item| item["name"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_do_the_same_over_a_server_and_over_its_data() {
    let world = World::new().await;
    let larder = world.start();
    pull(&larder).await;
    let base = larder.base.clone();
    let image = format!("oci:{HUB}/{REPOSITORY}:{TAG}");
    let all = [
        "hf:org/model@main".to_owned(),
        "hf:org/model@v1".to_owned(),
        image.clone(),
        "pypi:six==1.0".to_owned(),
    ];
    eventually("everything is listed", async || {
        let mut found = names(&world, &base, "").await;
        found.sort();
        found == all
    })
    .await;

    // Over the server: shown, pinned, refused, removed.
    eventually("both files are written down", async || {
        let shown = world.run(&base, &["show", "hf:org/model@v1", "--json"]).await.json();
        let thing = &shown["things"][0];
        (&thing["files"], &thing["kept_files"]) == (&2.into(), &2.into())
    })
    .await;
    eventually("the image's parts are written down", async || {
        let text = world.run(&base, &["show", &image]).await;
        text.out.contains("files       2 of 3") && text.code == Some(0)
    })
    .await;
    let pinned = world.run(&base, &["pin", "hf:org/model@v1"]).await;
    assert!(pinned.out.starts_with("pinned hf:org/model@v1: 2 files"), "{pinned:?}");
    let refused = world.run(&base, &["rm", "hf:org/model"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("is pinned"), "{refused:?}");
    let removed = world.run(&base, &["rm", "--json", "hf:org/model@main"]).await;
    // The weights belong to the other revision, too.
    assert_eq!(removed.json()[0]["shared"], 1, "{removed:?}");
    let wrong = world.run(&base, &["show", "film:x"]).await;
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    let nothing = world.run(&base, &["show", "pypi:seven"]).await;
    assert_eq!((nothing.code, nothing.out.as_str()), (Some(1), ""), "{nothing:?}");
    let fills = world.run(&base, &["fills"]).await;
    assert_eq!(fills.out.lines().count(), 1, "{fills:?}");
    assert_eq!(world.run(&base, &["fills", "--cancel", "99"]).await.code, Some(1));

    // Over its data: the same pins and the same names, and removing goes on.
    larder.kill();
    let pins = world.run(&base, &["pin", "--json"]).await.json();
    assert_eq!(pins["pins"][0]["name"], "hf:org/model@v1");
    let left = names(&world, &base, "hf:").await;
    assert_eq!(left, ["hf:org/model@v1"]);
    let unpinned = world.run(&base, &["unpin", "hf:org/model@v1"]).await;
    assert_eq!(unpinned.code, Some(0), "{unpinned:?}");
    let removed = world.run(&base, &["rm", "hf:org/model", &image, "pypi:six"]).await;
    assert_eq!(removed.code, Some(0), "{removed:?}");
    assert_eq!(names(&world, &base, "").await, [""; 0]);
    let tidied = world.run(&base, &["gc", "--json"]).await.json();
    assert_eq!(tidied["orphans"]["count"], 0, "what was removed was freed: {tidied}");
    let blobs = world.folder.path().join("data/blobs");
    let files = std::fs::read_dir(blobs).expect("the blobs").flatten().flat_map(|shard| {
        std::fs::read_dir(shard.path()).expect("a shard").flatten().collect::<Vec<_>>()
    });
    assert_eq!(files.count(), 0);
}

/// What was removed while it was in memory is fetched again, and not served from there.
#[tokio::test]
async fn what_was_removed_is_asked_for_again() {
    let world = World::new().await;
    let larder = crate::support::larder::Larder::start(&world.settings()).await;
    let path = "/org/model/resolve/main/config.json";
    assert_eq!(larder.get(path).await.status, 200);
    eventually("it is kept", async || {
        let shown = larder.get("/-/api/v1/entries/hf:org/model@main").await;
        shown.status == 200 && shown.json()["things"][0]["kept_files"] == 1
    })
    .await;
    // What the commit leads to is fetched unasked.
    larder.until_kept(&format!("/api/models/org/model/tree/{}?recursive=true", world.sha)).await;
    larder.until_kept("/api/models/org/model").await;
    world.hub.forget();
    assert_eq!(larder.get(path).await.status, 200);
    assert!(world.hub.journal().is_empty(), "{:?}", world.hub.journal());
    let address = larder.url("/-/api/v1/entries/hf:org/model");
    let removed = larder.client.ask(http::Method::DELETE, &address).send().await;
    assert_eq!(removed.status, 200, "{removed:?}");
    assert_eq!(larder.get(path).await.status, 200);
    assert!(!world.hub.journal().is_empty(), "it was served from memory");
}
