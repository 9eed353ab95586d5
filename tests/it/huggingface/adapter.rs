//! What the adapter does over sockets that its own tests cannot show: questions to the hub and their number, redirects, pages, odd answers, bytes.

use http::Method;
use serde_json::Value;

use crate::support::client::Reply;
use crate::support::hub::{FakeHub, File, files};
use crate::support::larder::{Larder, over_hub};
use crate::support::origin::{Answer, Fault, Pattern};

const WEIGHTS: u64 = 3_000_000;
const CONFIG: &str = r#"{"model_type":"bert"}"#;

fn weights() -> Pattern {
    Pattern::new(3, WEIGHTS)
}

/// A hub with one model, and a Larder over it.
async fn stocked(more: &str) -> (FakeHub, Larder, String) {
    let hub = FakeHub::start().await;
    let sha = hub.model(
        "org/model",
        files([
            ("config.json", File::plain(CONFIG)),
            ("data/a b+c.txt", File::plain("a".repeat(2000))),
            ("data/deep/b.txt", File::plain("b")),
            ("empty", File::plain("")),
            ("model.safetensors", File::xet(weights())),
            ("old.bin", File::lfs(Pattern::new(4, 1000))),
        ]),
    );
    let larder = Larder::start(&over_hub(&hub, more)).await;
    (hub, larder, sha)
}

/// Waits until the tree of a commit is kept: until the hub was asked for its last page, and a list needs no question.
async fn tree_is_kept(hub: &FakeHub, larder: &Larder, sha: &str) {
    let path = format!("/api/models/org/model/tree/{sha}?recursive=true");
    assert_eq!(larder.get(&path).await.status, 200);
    hub.forget();
}

async fn head(larder: &Larder, path: &str) -> Reply {
    larder.client.head(larder.url(path)).send().await
}

const FILE: &str = "/org/model/resolve/main/config.json";
const LARGE: &str = "/org/model/resolve/main/model.safetensors";

#[tokio::test]
async fn files_come_whole_and_in_parts_at_their_own_address() {
    let (hub, larder, sha) = stocked("").await;
    let small = larder.get(FILE).await;
    assert_eq!((small.status.as_u16(), small.text().as_str()), (200, CONFIG), "{small:?}");
    assert_eq!(small.header("x-repo-commit"), sha);
    assert_eq!(small.header("accept-ranges"), "bytes");
    let part = larder.client.get(larder.url(FILE)).with("range", "bytes=0-0").send().await;
    assert_eq!((part.status.as_u16(), part.text().as_str()), (206, "{"));
    assert_eq!(part.header("content-range"), format!("bytes 0-0/{}", CONFIG.len()));
    assert_eq!(part.header("x-repo-commit"), sha);
    let known = larder.client.head(larder.url(FILE)).with("if-none-match", small.header("etag"));
    assert_eq!(known.send().await.status, 304);

    let large = larder.client.get(larder.url(LARGE)).open().await;
    assert_eq!(large.status, 200);
    assert_eq!(large.compare(&weights(), 0).await, (WEIGHTS, true));
    let tail = larder.client.get(larder.url(LARGE)).with("range", "bytes=-10").send().await;
    assert_eq!((tail.status.as_u16(), tail.body.len()), (206, 10));
    assert_eq!(larder.get("/org/model/resolve/main/empty").await.body.len(), 0);
    let spaced = larder.get("/org/model/resolve/main/data/a%20b%2Bc.txt").await;
    assert_eq!((spaced.status.as_u16(), spaced.body.len()), (200, 2000));
    let raw = larder.get("/org/model/raw/main/model.safetensors").await;
    assert!(raw.text().starts_with("version https://git-lfs"), "{raw:?}");
    let cdn = hub.cdn.log();
    assert!(cdn.iter().all(|logged| logged.header("authorization").is_none()));
}

#[tokio::test]
async fn a_cold_head_waits_for_no_tree_and_no_bytes() {
    let (hub, larder, sha) = stocked("").await;
    hub.hub.fault(&format!("/api/models/org/model/tree/{sha}"), Fault::Silence);
    let large = head(&larder, LARGE).await;
    assert_eq!((large.status.as_u16(), large.header("content-length")), (200, "3000000"));
    assert_eq!(large.header("x-linked-size"), "3000000");
    assert!(!large.header("x-xet-hash").is_empty());
    assert_eq!(hub.cdn.log().len(), 0);
    assert_eq!(larder.get(FILE).await.text(), CONFIG);
    let none = head(&larder, "/org/model/resolve/main/adapter_config.json").await;
    assert_eq!((none.status.as_u16(), none.header("x-error-code")), (404, "EntryNotFound"));
    assert_eq!(none.header("x-repo-commit"), sha);
}

#[tokio::test]
async fn a_warm_snapshot_asks_once_after_its_time() {
    let (hub, larder, sha) = stocked("").await;
    let snapshot = async || {
        let info = larder.get("/api/models/org/model/revision/main").await.json();
        assert_eq!(info["sha"], sha);
        let path = format!("/api/models/org/model/tree/{sha}?recursive=true&expand=false");
        let tree = larder.get(&path).await.json();
        for entry in tree.as_array().expect("a list") {
            if entry["type"] == "file" {
                let path = entry["path"].as_str().expect("a path").replace(' ', "%20");
                let url = format!("/org/model/resolve/{sha}/{path}");
                assert_eq!(head(&larder, &url).await.status, 200, "{path}");
                assert_eq!(larder.get(&url).await.status, 200, "{path}");
            }
        }
    };
    snapshot().await;
    hub.forget();
    snapshot().await;
    assert_eq!(hub.journal(), Vec::<String>::new());
    larder.advance(600);
    snapshot().await;
    assert_eq!(hub.journal().len(), 1, "{:?}", hub.journal());
}

#[tokio::test]
async fn what_passes_leads_back_to_larder() {
    let (hub, larder, _) = stocked("").await;
    hub.user("ann", "hf_ann");
    for number in 0..5 {
        hub.model(&format!("org/m{number}"), files([("a", File::plain("a"))]));
    }
    hub.switch(|switches| switches.page_entries = 2);
    let list = larder.get("/api/models?author=org").await;
    assert_eq!(list.json().as_array().map(Vec::len), Some(2), "{list:?}");
    let link = list.header("link").to_owned();
    assert!(link.starts_with(&format!("<{}", larder.url("/api/models"))), "{link}");
    let ask = |token: &str| {
        let ask = larder.client.get(larder.url("/api/whoami-v2"));
        ask.with("authorization", &format!("Bearer {token}")).send()
    };
    let ann = ask("hf_ann").await;
    assert_eq!(ann.json()["name"], "ann", "{ann:?}");
    assert_eq!(ask("hf_nobody").await.status, 401);
    assert_eq!(larder.get("/api/whoami-v2").await.status, 401);
    hub.forget();
    let told = larder.client.ask(Method::POST, larder.url("/api/telemetry/x")).send().await;
    assert_eq!((told.status.as_u16(), hub.journal().len()), (200, 0));
}

#[tokio::test]
async fn a_captive_portal_takes_nothing_away() {
    let (hub, larder, sha) = stocked("").await;
    tree_is_kept(&hub, &larder, &sha).await;
    assert_eq!(larder.get(FILE).await.text(), CONFIG);
    let portal = Answer::ok("text/html", "<html><title>Sign in</title></html>");
    hub.fault_everywhere(&Fault::Instead(portal));
    larder.advance(600);
    let kept = larder.get(FILE).await;
    assert_eq!((kept.text().as_str(), kept.status.as_u16()), (CONFIG, 200), "{kept:?}");
    assert!(!kept.header("warning").is_empty());
    let cold = larder.get("/org/model/resolve/main/old.bin").await;
    assert_eq!(cold.status, 502, "{cold:?}");
}

/// Everything that a snapshot needs is there after a restart without the hub, for clients of every age.
#[tokio::test]
async fn what_was_kept_survives_a_restart_without_the_hub() {
    let (hub, larder, sha) = stocked("").await;
    tree_is_kept(&hub, &larder, &sha).await;
    assert_eq!(larder.get(FILE).await.text(), CONFIG);
    assert_eq!(larder.get("/org/model/raw/main/old.bin").await.status, 200);
    hub.refuse().await;
    let larder = larder.restart().await;
    larder.advance(86400);
    assert_eq!(larder.get(FILE).await.text(), CONFIG);
    let info = larder.get("/api/models/org/model").await;
    let siblings = info.json()["siblings"].as_array().map(Vec::len);
    assert_eq!(siblings, Some(6));
    let of_commit = larder.get(&format!("/api/models/org/model/revision/{sha}?blobs=true")).await;
    let names = |info: &Value| info["siblings"].as_array().map(Vec::len);
    assert_eq!(names(&of_commit.json()), Some(6), "{of_commit:?}");
    let paths =
        larder.client.ask(Method::POST, larder.url("/api/models/org/model/paths-info/main"));
    let paths = paths
        .with("content-type", "application/x-www-form-urlencoded")
        .body("paths=old.bin&paths=data&paths=nothing&expand=False");
    assert_eq!(paths.send().await.json().as_array().map(Vec::len), Some(2));
    let refs = larder.get("/api/models/org/model/refs").await.json();
    assert_eq!(refs["branches"][0]["targetCommit"], sha);
    let cold = larder.get("/org/model/resolve/main/data/deep/b.txt").await;
    assert!(matches!(cold.status.as_u16(), 503 | 504), "{cold:?}");
    assert!(!cold.header("x-error-message").is_empty() && cold.header("x-error-code").is_empty());
}
