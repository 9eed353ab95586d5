//! What the disk damages is had again before any client asks for it, with the rights of the mount alone; what cannot be had is told.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::oci::setting::{REPOSITORY, TAG, over as over_registry};
use crate::support::hub::{FakeHub, File, Kind, files};
use crate::support::index::{FakeIndex, Style, Upload};
use crate::support::larder::{Larder, over, over_hub};
use crate::support::origin::Pattern;
use crate::support::registry::{Blob, FakeRegistry, Family, Image, blob_path, manifest_path};
use crate::support::wait::{eventually, until};

/// Long enough for a file of its own, and short enough to be compared with its digest whenever it is read.
const LENGTH: u64 = 200_000;

/// Settings of a Larder that finds damage at once and goes about it.
fn watchful(settings: &str) -> String {
    format!(
        "{settings}[store]\nscrub_rate = \"1 TB\"\nscrub_interval = \"20ms\"\n[heal]\nrate = \"1 TB\"\ninterval = \"20ms\"\n"
    )
}

/// The blobs of a Larder.
fn blobs(larder: &Larder) -> Vec<PathBuf> {
    let shards = std::fs::read_dir(larder.folder().join("data/blobs")).expect("it is there");
    let blobs = shards.flat_map(|shard| {
        let shard = shard.expect("it is read").path();
        std::fs::read_dir(shard).expect("it is there").map(|file| file.expect("it is read").path())
    });
    blobs.collect()
}

/// Flips a bit, and gives the bytes as they should be.
fn flip(path: &Path) -> Vec<u8> {
    let right = std::fs::read(path).expect("it is there");
    let mut wrong = right.clone();
    let middle = right.len() / 2;
    wrong[middle] ^= 1;
    std::fs::write(path, wrong).expect("there is room");
    right
}

async fn kept(larder: &Larder, address: &str) {
    eventually("it is kept", async || {
        larder.client.head(address).send().await.header("cache-status").contains("hit")
    })
    .await;
}

async fn damage(larder: &Larder) -> Vec<Value> {
    let told = larder.get("/-/api/v1/damage").await;
    assert_eq!(told.status, 200, "{told:?}");
    told.json()["damage"].as_array().expect("a list").clone()
}

/// The kinds of events about damage, in order.
async fn events(larder: &Larder) -> Vec<Value> {
    let mut events = Vec::new();
    for kind in ["damaged", "healed"] {
        let told = larder.get(&format!("/-/api/v1/log?kind={kind}")).await.json();
        events.extend(told["records"].as_array().unwrap_or_else(|| panic!("{told}")).clone());
    }
    events
}

/// Flips a bit of the only blob of a Larder, which is what `address` leads to, and has it found. Nobody asks for it.
async fn spoil(larder: Larder, settings: &str) -> (Larder, PathBuf, Vec<u8>) {
    let [blob] = <[PathBuf; 1]>::try_from(blobs(&larder)).expect("one blob");
    let right = flip(&blob);
    let larder = larder.restart_with(&watchful(settings)).await;
    (larder, blob, right)
}

/// What `address` leads to is kept. A bit flips: without anybody asking it is right again, and so it is served when upstream is gone.
async fn heals(larder: Larder, settings: &str, path: &str, gone: impl AsyncFnOnce()) {
    kept(&larder, &larder.url(path)).await;
    let (larder, blob, right) = spoil(larder, settings).await;
    until("it is right again", || std::fs::read(&blob).is_ok_and(|bytes| bytes == right)).await;
    eventually("nothing is damaged any more", async || damage(&larder).await.is_empty()).await;
    eventually("both is recorded", async || events(&larder).await.len() == 2).await;
    let metrics = larder.get("/-/metrics").await.text();
    assert!(metrics.contains("larder_heal_total{outcome=\"healed\"}"), "{metrics}");
    gone().await;
    let reply = larder.get(path).await;
    assert_eq!((reply.status.as_u16(), reply.body[..] == right), (200, true));
}

/// A path below the root of an address.
fn path_of(address: &str) -> String {
    url::Url::parse(address).expect("an address").path().to_owned()
}

async fn an_index() -> (FakeIndex, Upload) {
    let index = FakeIndex::start(Style::Full).await;
    let upload = Upload::blob("six", "1.0", LENGTH);
    index.publish("six", [upload.clone()]);
    (index, upload)
}

#[tokio::test]
async fn a_file_of_an_index_is_healed_unasked() {
    let (index, upload) = an_index().await;
    let larder = Larder::over(&index).await;
    let path = path_of(&larder.link("six", &upload.filename).await);
    assert_eq!(larder.get(&path).await.status, 200);
    heals(larder, &over(&index), &path, async || {
        assert_eq!(index.files.sent(&upload.path), 2 * LENGTH);
        index.files.refuse().await;
        index.pages.refuse().await;
    })
    .await;
}

/// A row that damage removed took its protection with it, and what came back was open to eviction until somebody tidied up.
#[tokio::test]
async fn what_is_pinned_is_pinned_again_once_it_is_healed() {
    let (index, upload) = an_index().await;
    let larder = Larder::over(&index).await;
    let path = path_of(&larder.link("six", &upload.filename).await);
    assert_eq!(larder.get(&path).await.status, 200);
    kept(&larder, &larder.url(&path)).await;
    let pins = larder.url("/-/api/v1/pins/pypi:six==1.0");
    let pinned = larder.client.ask(http::Method::PUT, &pins).send().await;
    assert_eq!(pinned.status, 200, "{pinned:?}");
    let (larder, blob, right) = spoil(larder, &over(&index)).await;
    until("it is right again", || std::fs::read(&blob).is_ok_and(|bytes| bytes == right)).await;
    eventually("it is pinned again", async || {
        let told = larder.get("/-/api/v1/entries/pypi:six==1.0").await.json();
        let parts = told["things"][0]["parts"].as_array().cloned().unwrap_or_default();
        parts.iter().any(|part| part["name"] == upload.filename && part["pinned"] == true)
    })
    .await;
}

#[tokio::test]
async fn a_file_of_a_hub_is_healed_unasked() {
    let hub = FakeHub::start().await;
    let weights = File::xet(Pattern::new(7, LENGTH));
    hub.model("org/model", files([("a b/weights.bin", weights)]));
    let settings = over_hub(&hub, "");
    let larder = Larder::start(&settings).await;
    let path = "/org/model/resolve/main/a%20b/weights.bin";
    assert_eq!(larder.get(path).await.status, 200);
    heals(larder, &settings, path, async || hub.refuse().await).await;
}

#[tokio::test]
async fn a_blob_of_a_registry_is_healed_unasked() {
    let registry = FakeRegistry::start().await;
    let layer = Blob::opaque(Family::Oci, 3, LENGTH);
    let image = Image::of_layers(Family::Oci, "amd64", vec![layer.clone()]);
    registry.publish(REPOSITORY, TAG, &image);
    let settings = over_registry(&registry, "");
    let larder = Larder::start(&settings).await;
    assert_eq!(larder.get(&manifest_path("demo", TAG)).await.status, 200);
    let path = blob_path("demo", &layer.digest);
    assert_eq!(larder.get(&path).await.status, 200);
    heals(larder, &settings, &path, async || {
        assert_eq!(registry.crossings(&layer.digest).1, 2 * LENGTH);
        registry.refuse().await;
    })
    .await;
}

/// A mount's own credential opens what the client may read by a grant. Healing needs the credential, and no client.
#[tokio::test]
async fn what_the_mounts_own_credential_opened_is_healed_with_it() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (password, token) = (folder.path().join("password"), folder.path().join("token"));
    std::fs::write(&password, "hunter2\n").expect("the folder can be written");
    std::fs::write(&token, "a-token-of-sixteen-bytes-and-more\n").expect("it can be written");
    let (index, upload) = an_index().await;
    index.require_basic("me", "hunter2");
    let settings = format!(
        "{}credentials = {{ username = \"me\", password_file = {password:?} }}\ngrant = [\"ci\"]\n\
         [access]\ntokens = [{{ name = \"ci\", file = {token:?} }}]\nadmins = [\"ci\"]\n",
        over(&index)
    );
    let larder = Larder::start(&settings).await;
    let under = "/-/t/a-token-of-sixteen-bytes-and-more";
    let base = larder.url(&format!("{under}/simple/six/"));
    let page =
        larder.client.get(&base).with("accept", crate::support::client::ACCEPT_PAGE).send().await;
    let link = crate::support::larder::link_on(&page, &base, &upload.filename);
    let link = link.unwrap_or_else(|| panic!("{page:?}"));
    assert_eq!(larder.client.get(&link).send().await.status, 200);
    kept(&larder, &link).await;
    let (_larder, blob, right) = spoil(larder, &settings).await;
    until("it is right again", || std::fs::read(&blob).is_ok_and(|bytes| bytes == right)).await;
    assert_eq!(index.files.sent(&upload.path), 2 * LENGTH);
}

/// What a client's own credential opened is that client's. Larder asks nobody for it, and says so; the client heals it by asking.
#[tokio::test]
async fn what_a_clients_own_credential_opened_waits_for_that_client() {
    let hub = FakeHub::start().await;
    hub.user("alice", "hf_alice");
    let weights = File::xet(Pattern::new(7, LENGTH));
    hub.model("org/secret", files([("weights.bin", weights)]));
    hub.make_private(Kind::Model, "org/secret", &["alice"]);
    let settings = over_hub(&hub, "");
    let larder = Larder::start(&settings).await;
    let path = "/org/secret/resolve/main/weights.bin";
    let alice = async |larder: &Larder| {
        let ask = larder.client.get(larder.url(path)).with("authorization", "Bearer hf_alice");
        ask.send().await
    };
    assert_eq!(alice(&larder).await.status, 200);
    eventually("it is kept", async || alice(&larder).await.header("cache-status").contains("hit"))
        .await;
    // The tree of the commit is fetched unasked.
    until("the tree is asked for", || hub.journal().iter().any(|line| line.contains("/tree/")))
        .await;
    let larder = larder.restart().await;
    hub.forget();
    let (larder, _, right) = spoil(larder, &settings).await;
    eventually("it is told", async || {
        damage(&larder).await.iter().any(|lost| lost["tries"] == 1 && lost["reason"].is_string())
    })
    .await;
    assert_eq!(hub.journal(), Vec::<String>::new(), "the hub was asked");
    let reply = alice(&larder).await;
    assert_eq!((reply.status.as_u16(), reply.body[..] == right), (200, true));
    eventually("it is kept again", async || {
        alice(&larder).await.header("cache-status").contains("hit")
    })
    .await;
    larder.advance(61);
    eventually("it is healed", async || damage(&larder).await.is_empty()).await;
}

/// Upstream is gone: that is told, nothing wrong is served, and once upstream is back it is healed after all.
#[tokio::test]
async fn what_cannot_be_had_is_told_until_it_can() {
    let (index, upload) = an_index().await;
    let larder = Larder::over(&index).await;
    let address = larder.link("six", &upload.filename).await;
    let path = path_of(&address);
    assert_eq!(larder.get(&path).await.status, 200);
    kept(&larder, &address).await;
    index.files.refuse().await;
    let (larder, blob, right) = spoil(larder, &over(&index)).await;
    eventually("it is told", async || {
        damage(&larder).await.iter().any(|lost| lost["tries"] == 1 && lost["reason"].is_string())
    })
    .await;
    let lost = damage(&larder).await;
    let name = format!("pypi:six==1.0/{}", upload.filename);
    assert_eq!((lost.len(), &lost[0]["name"]), (1, &name.into()), "{lost:?}");
    let reply = larder.get(&path).await;
    assert!(reply.status.is_server_error(), "{reply:?}");
    eventually("it is recorded", async || !events(&larder).await.is_empty()).await;
    let events = events(&larder).await;
    assert_eq!((events.len(), &events[0]["kind"]), (1, &"damaged".into()), "{events:?}");

    index.files.listen();
    // The next attempt may come while Larder still takes upstream for gone; each further one waits twice as long.
    eventually("it is right again", async || {
        larder.advance(61);
        std::fs::read(&blob).is_ok_and(|bytes| bytes == right)
    })
    .await;
    eventually("nothing is damaged any more", async || damage(&larder).await.is_empty()).await;
}

/// A page that memory has is written down again with all that it remembers, though upstream would say that nothing has changed. It used to be lost with
/// the process.
#[tokio::test]
async fn a_damaged_page_in_memory_is_written_down_again() {
    let index = FakeIndex::start(Style::Full).await;
    let releases = 0..300;
    index.publish("six", releases.map(|number| Upload::wheel("six", &format!("1.{number}"))));
    let idle = watchful(&over(&index)).replace("[heal]\nrate = \"1 TB\"", "[heal]\nrate = \"0\"");
    let larder = Larder::start(&idle).await;
    assert_eq!(larder.page("six").await.status, 200);
    until("it is written down", || blobs(&larder).len() == 1).await;
    flip(&blobs(&larder)[0]);
    eventually("it is found", async || damage(&larder).await.len() == 1).await;
    assert!(blobs(&larder).is_empty());
    larder.advance(3600);
    let page = larder.page("six").await;
    assert_eq!(
        (page.status.as_u16(), page.json()["files"].as_array().map(Vec::len)),
        (200, Some(300))
    );
    until("it is on the disk again", || blobs(&larder).len() == 1).await;
}
