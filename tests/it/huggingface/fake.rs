//! The fake hub is tests' ground: what it claims to do is tested here, straight, with nothing of ours in between.

mod xet;

use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::time::timeout;

use crate::support::client::{Client, Reply};
use crate::support::hub::{
    EVERY_KIND, EVERY_WORLD, FakeHub, File, Kind, LibraryModel, LinkedSize, Storage, World, files,
};
use crate::support::index::sha256;
use crate::support::origin::{Content, Pattern};
use crate::support::wait::DEADLINE;

const WEIGHTS: u64 = 200_000;

fn weights() -> Pattern {
    Pattern::new(3, WEIGHTS)
}

/// A hub with one model of every storage.
async fn stocked() -> (FakeHub, String) {
    let hub = FakeHub::start().await;
    let sha = hub.model(
        "org/model",
        files([
            ("config.json", File::plain(r#"{"model_type":"bert"}"#)),
            ("data/a.txt", File::plain("a".repeat(2000))),
            ("data/deep/b.txt", File::plain("b")),
            ("model.safetensors", File::xet(weights())),
            ("old.bin", File::lfs(Pattern::new(4, 1000))),
        ]),
    );
    (hub, sha)
}

async fn get(hub: &FakeHub, path: &str) -> Reply {
    Client::new().get(hub.hub.url(path)).send().await
}

#[tokio::test]
async fn a_small_file_is_behind_a_relative_redirect() {
    let (hub, sha) = stocked().await;
    let reply = get(&hub, "/org/model/resolve/main/config.json?download=true").await;
    assert_eq!(reply.status, 307, "{reply:?}");
    assert_eq!(reply.header("x-repo-commit"), sha);
    assert_eq!(reply.header("etag").len(), 42);
    let location = reply.header("location");
    let expected =
        format!("/api/resolve-cache/models/org/model/{sha}/config.json?download=true&etag=%22");
    assert!(location.starts_with(&expected), "{location}");
    let file = get(&hub, location).await;
    assert_eq!((file.status.as_u16(), file.text().as_str()), (200, r#"{"model_type":"bert"}"#));
    assert_eq!(file.header("etag"), reply.header("etag"));
    let known = Client::new()
        .head(hub.hub.url("/org/model/resolve/main/config.json"))
        .with("if-none-match", reply.header("etag"));
    assert_eq!(known.send().await.status, 304);
    assert_eq!(get(&hub, "/api/resolve-cache/models/org/model/main/config.json").await.status, 400);
}

#[tokio::test]
async fn a_git_blob_has_the_name_that_git_gives_it() {
    let file = File::plain("hello\n");
    assert_eq!(file.oid, "ce013625030ba8dba906f756967f9e9ca394464a");
    assert_eq!(file.tag(), file.oid);
    assert_eq!(File::lfs("hello\n").tag(), sha256(b"hello\n"));
}

#[tokio::test]
async fn text_is_compressed_unless_a_part_is_wanted() {
    let (hub, sha) = stocked().await;
    let url = hub.hub.url(&format!("/api/resolve-cache/models/org/model/{sha}/data/a.txt"));
    let ask = || Client::new().get(&url).with("accept-encoding", "gzip, deflate");
    let whole = ask().send().await;
    assert_eq!(whole.header("content-encoding"), "gzip");
    assert!(whole.header("etag").starts_with("W/\"") && whole.body.len() < 200);
    let part = ask().with("range", "bytes=0-0").send().await;
    assert_eq!((part.status.as_u16(), part.text().as_str()), (206, "a"));
    assert_eq!(part.header("content-range"), "bytes 0-0/2000");
    let head = Client::new().head(&url).with("accept-encoding", "gzip").send().await;
    assert_eq!(head.header("content-length"), "2000");
}

#[tokio::test]
async fn a_large_file_is_on_another_host_for_a_while() {
    let (hub, sha) = stocked().await;
    let reply = get(&hub, &format!("/org/model/resolve/{sha}/model.safetensors")).await;
    let file = File::xet(weights());
    assert_eq!(reply.status, 302);
    assert_eq!(reply.header("x-linked-etag"), format!("\"{}\"", file.sha256));
    assert_eq!(reply.header("x-linked-size"), WEIGHTS.to_string());
    assert_eq!(reply.header("x-xet-hash"), file.xet);
    assert!(reply.header("link").contains("rel=\"xet-auth\", <http://127.0.0.3:"));
    let location = reply.header("location").to_owned();
    assert!(location.starts_with("http://127.0.0.2:"), "{location}");
    let bytes = Client::new().get(&location).send().await;
    assert_eq!(sha256(&bytes.body), file.sha256);
    assert_eq!(bytes.header("etag"), format!("\"{}\"", file.xet));
    let part = Client::new().get(&location).with("range", "bytes=199999-").send().await;
    assert_eq!((part.status.as_u16(), part.body.len()), (206, 1));
    hub.switch(|switches| switches.bridge_limit = Some(WEIGHTS - 1));
    assert_eq!(Client::new().get(&location).send().await.status, 400);
    hub.switch(|switches| switches.bridge_limit = None);
    hub.advance(3601);
    assert_eq!(Client::new().get(&location).send().await.status, 403);
    let lfs = get(&hub, "/org/model/resolve/main/old.bin").await;
    assert!(lfs.header("x-xet-hash").is_empty() && lfs.header("location").contains("/repos/"));
}

#[tokio::test]
async fn sizes_and_framing_can_be_wrong() {
    let (hub, sha) = stocked().await;
    let path = format!("/org/model/resolve/{sha}/model.safetensors");
    for (said, expected) in
        [(LinkedSize::Missing, ""), (LinkedSize::Wrong(5), "200005"), (LinkedSize::True, "200000")]
    {
        hub.switch(|switches| switches.linked_size = said);
        assert_eq!(get(&hub, &path).await.header("x-linked-size"), expected, "{said:?}");
    }
    hub.switch(|switches| switches.chunked = true);
    let location = get(&hub, &path).await.header("location").to_owned();
    let bytes = Client::new().get(&location).send().await;
    assert_eq!(bytes.header("content-length"), "");
    assert!(weights().matches(0, &bytes.body) && bytes.body.len() as u64 == WEIGHTS);
    hub.switch(|switches| switches.cdn_instead = Some("http://elsewhere.example".to_owned()));
    assert!(get(&hub, &path).await.header("location").starts_with("http://elsewhere.example/"));
}

#[tokio::test]
async fn a_tree_comes_in_pages_that_lead_to_its_own_origin() {
    let (hub, sha) = stocked().await;
    hub.switch(|switches| switches.page_entries = 3);
    let mut paths = Vec::new();
    let mut next =
        hub.hub.url(&format!("/api/models/org/model/tree/{sha}?recursive=true&expand=false"));
    let mut pages = 0;
    while !next.is_empty() {
        let page = Client::new().get(&next).send().await;
        assert_eq!(page.status, 200, "{next}: {page:?}");
        let entries = page.json().as_array().cloned().expect("an array");
        paths.extend(entries.iter().map(|entry| entry["path"].as_str().map(str::to_owned)));
        let link = page.header("link");
        assert!(link.is_empty() || link.starts_with(&format!("<{}", hub.endpoint())), "{link}");
        next = link.trim_start_matches('<').split('>').next().unwrap_or_default().to_owned();
        pages += 1;
    }
    let paths: Vec<String> = paths.into_iter().flatten().collect();
    assert_eq!(pages, 3);
    assert_eq!(
        paths.join(" "),
        "config.json data data/a.txt data/deep data/deep/b.txt model.safetensors old.bin"
    );
    hub.switch(|switches| switches.tree_fails_from = Some(1));
    let first = get(&hub, &format!("/api/models/org/model/tree/{sha}?recursive=true")).await;
    let second = first
        .header("link")
        .trim_start_matches('<')
        .split('>')
        .next()
        .unwrap_or_default()
        .to_owned();
    assert_eq!(
        (first.status.as_u16(), Client::new().get(&second).send().await.status.as_u16()),
        (200, 500)
    );
}

#[tokio::test]
async fn a_tree_names_what_a_file_is() {
    let (hub, _) = stocked().await;
    let tree = get(&hub, "/api/models/org/model/tree/main").await.json();
    let entry = |path: &str| {
        let entries = tree.as_array().expect("an array");
        entries.iter().find(|entry| entry["path"] == path).cloned().unwrap_or_default()
    };
    let file = File::xet(weights());
    assert_eq!(
        entry("model.safetensors"),
        json!({
            "type": "file", "oid": file.oid, "size": WEIGHTS, "path": "model.safetensors",
            "lfs": { "oid": file.sha256, "size": WEIGHTS, "pointerSize": file.pointer().len() }, "xetHash": file.xet,
        })
    );
    assert_eq!(entry("data")["type"], "directory");
    let below = get(&hub, "/api/models/org/model/tree/main/data%2Fdeep?expand=true").await.json();
    assert_eq!(below[0]["path"], "data/deep/b.txt");
    assert!(below[0]["lastCommit"]["id"].is_string());
    let missing = get(&hub, "/api/models/org/model/tree/main/additional_chat_templates").await;
    assert_eq!((missing.status.as_u16(), missing.header("x-error-code")), (404, "EntryNotFound"));
}

#[tokio::test]
async fn paths_are_asked_for_in_a_form_or_in_json() {
    let (hub, sha) = stocked().await;
    let ask = async |kind: &str, body: String| {
        let url = hub.hub.url(&format!("/api/models/org/model/paths-info/{sha}"));
        let reply =
            Client::new().ask(Method::POST, url).with("content-type", kind).body(body).send().await;
        let entries = reply.json().as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .map(|entry| entry["path"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let form = "paths=config.json&paths=data&paths=none&expand=False".to_owned();
    assert_eq!(ask("application/x-www-form-urlencoded", form).await, ["config.json", "data"]);
    let body = json!({ "paths": ["old.bin"], "expand": false }).to_string();
    assert_eq!(ask("application/json", body).await, ["old.bin"]);
}

#[tokio::test]
async fn repositories_of_every_kind_and_name_are_found() {
    let hub = FakeHub::start().await;
    for kind in EVERY_KIND {
        for id in ["org/name", "single"] {
            let sha = hub.commit(kind, id, "main", files([("a b+c.txt", File::plain("x"))]));
            hub.commit(kind, id, "refs/pr/1", files([("pr.txt", File::plain("y"))]));
            hub.tag(kind, id, "v1", &sha);
            let (plural, prefix) = (kind.plural(), kind.prefix());
            let info = get(&hub, &format!("/api/{plural}/{id}")).await.json();
            assert_eq!((info["id"].as_str(), info["sha"].as_str()), (Some(id), Some(sha.as_str())));
            let refs = get(&hub, &format!("/api/{plural}/{id}/refs?include_prs=1")).await.json();
            assert_eq!(refs["branches"][0]["targetCommit"], sha.as_str(), "{plural} {id}");
            assert_eq!(
                (&refs["tags"][0]["name"], &refs["pullRequests"][0]["ref"]),
                (&json!("v1"), &json!("refs/pr/1"))
            );
            for path in ["main/a%20b%2Bc.txt", "v1/a%20b%2Bc.txt", "refs%2Fpr%2F1/pr.txt"] {
                let reply = get(&hub, &format!("/{prefix}{id}/resolve/{path}")).await;
                assert_eq!(reply.status, 307, "{prefix}{id} {path}");
                assert_eq!(get(&hub, reply.header("location")).await.status, 200);
            }
            let commits = get(&hub, &format!("/api/{plural}/{id}/commits/main")).await.json();
            assert_eq!(commits[0]["id"], sha.as_str());
        }
    }
    let list = get(&hub, "/api/models?search=SING&full=true").await.json();
    assert_eq!((list[0]["id"].as_str(), list.as_array().map(Vec::len)), (Some("single"), Some(1)));
}

#[tokio::test]
async fn information_is_as_much_as_was_asked_for() {
    let (hub, sha) = stocked().await;
    let plain = get(&hub, "/api/models/org/model/revision/main").await;
    let told = plain.json();
    assert_eq!(told["siblings"][0], json!({ "rfilename": "config.json" }));
    let known = Client::new().get(hub.hub.url("/api/models/org/model/revision/main"));
    assert_eq!(known.with("if-none-match", plain.header("etag")).send().await.status, 304);
    let blobs = get(&hub, "/api/models/org/model?blobs=true&securityStatus=true").await.json();
    assert_eq!(blobs["siblings"][3]["lfs"]["sha256"], File::xet(weights()).sha256);
    assert!(blobs["securityRepoStatus"].is_object());
    let expanded = get(&hub, "/api/models/org/model?expand=xetEnabled&expand=sha").await.json();
    let keys: Vec<&str> =
        expanded.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["_id", "id", "sha", "xetEnabled"]);
    assert_eq!(expanded["sha"], sha.as_str());
}

#[tokio::test]
async fn refusals_are_told_apart_as_the_hub_does() {
    let (hub, sha) = stocked().await;
    hub.user("alice", "hf_alice");
    hub.user("bob", "hf_bob");
    hub.model("org/private", files([("a", File::plain("a"))]));
    hub.make_private(Kind::Model, "org/private", &["alice"]);
    hub.model("org/gated", files([("a", File::plain("a"))]));
    hub.gate(Kind::Model, "org/gated", &["alice"]);
    hub.model("org/off", files([("a", File::plain("a"))]));
    hub.edit(Kind::Model, "org/off", |repository| repository.disabled = true);
    let check = async |path: &str, token: &str, status: u16, code: &str| {
        let mut ask = Client::new().get(hub.hub.url(path));
        if !token.is_empty() {
            ask = ask.with("authorization", &format!("Bearer {token}"));
        }
        let reply = ask.send().await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("x-error-code")),
            (status, code),
            "{path} {token}"
        );
        reply
    };
    check("/api/models/org/none", "", 401, "RepoNotFound").await;
    check("/api/models/org/none", "hf_bob", 404, "RepoNotFound").await;
    check("/org/private/resolve/main/a", "", 401, "RepoNotFound").await;
    check("/org/private/resolve/main/a", "hf_bob", 404, "RepoNotFound").await;
    check("/org/private/resolve/main/a", "hf_alice", 307, "").await;
    check("/api/models/org/gated/tree/main", "", 200, "").await;
    check("/org/gated/resolve/main/a", "", 401, "GatedRepo").await;
    check("/org/gated/resolve/main/a", "hf_bob", 403, "GatedRepo").await;
    check("/api/models/org/gated/auth-check", "hf_bob", 403, "GatedRepo").await;
    check("/api/models/org/gated/auth-check", "hf_alice", 200, "").await;
    check("/api/models/org/gated/xet-read-token/main", "", 401, "GatedRepo").await;
    check("/api/models/org/model", "hf_nobody", 401, "").await;
    check("/org/model/resolve/nope/config.json", "", 404, "RevisionNotFound").await;
    let entry = check("/org/model/resolve/main/nope", "", 404, "EntryNotFound").await;
    assert_eq!(
        (entry.header("x-repo-commit"), entry.text().as_str()),
        (sha.as_str(), "Entry not found")
    );
    let off = check("/org/off/resolve/main/a", "", 403, "").await;
    assert_eq!(off.header("x-error-message"), "Access to this resource is disabled.");
    check("/api/whoami-v2", "", 401, "").await;
    assert_eq!(check("/api/whoami-v2", "hf_bob", 200, "").await.json()["name"], "bob");
    hub.make_public(Kind::Model, "org/gated");
    check("/org/gated/resolve/main/a", "", 307, "").await;
    hub.revoke("hf_bob");
    check("/api/whoami-v2", "hf_bob", 401, "").await;
}

#[tokio::test]
async fn a_renamed_repository_leads_to_its_new_name() {
    let (hub, _) = stocked().await;
    hub.rename(Kind::Model, "org/model", "org/other");
    let file = get(&hub, "/org/model/resolve/main/config.json?download=true").await;
    assert_eq!(file.header("location"), "/org/other/resolve/main/config.json?download=true");
    let info = get(&hub, "/api/models/org/model/revision/main").await;
    assert_eq!(
        (info.status.as_u16(), info.header("location")),
        (307, "/api/models/org/other/revision/main")
    );
    assert_eq!(get(&hub, info.header("location")).await.json()["id"], "org/other");
}

#[tokio::test]
async fn a_vast_file_takes_no_room() {
    let hub = FakeHub::start().await;
    let file = File::vast(5, 60 << 30);
    hub.model("org/vast", files([("big.bin", file.clone())]));
    let location = get(&hub, "/org/vast/resolve/main/big.bin").await.header("location").to_owned();
    let part = Client::new().get(&location).with("range", "bytes=64424509430-").send().await;
    assert_eq!(part.header("content-range"), "bytes 64424509430-64424509439/64424509440");
    let Content::Pattern(pattern) = &file.content else { panic!("it is a pattern") };
    assert!(pattern.matches(64_424_509_430, &part.body) && part.body.len() == 10);
}

#[tokio::test]
async fn a_registry_shows_models_as_images() {
    let hub = FakeHub::start().await;
    let file = File::xet(weights());
    hub.model("org/model", files([("model.Q4_K_M.gguf", file.clone())]));
    hub.shelve(LibraryModel {
        name: "tiny".to_owned(),
        tag: "latest".to_owned(),
        file: file.clone(),
    });
    for (origin, name) in [(&hub.hub, "org/model"), (&hub.library, "library/tiny")] {
        let url = origin.url(&format!("/v2/{name}/manifests/latest"));
        let manifest = Client::new().get(url).with("user-agent", "llama-cpp").send().await.json();
        assert_eq!(manifest["layers"][0]["digest"], format!("sha256:{}", file.sha256));
        for layer in manifest["layers"].as_array().into_iter().flatten() {
            let digest = layer["digest"].as_str().unwrap_or_default();
            let blob =
                Client::new().get(origin.url(&format!("/v2/{name}/blobs/{digest}"))).send().await;
            assert_eq!(blob.status, 307);
            let bytes = Client::new().get(blob.header("location")).send().await;
            assert_eq!(format!("sha256:{}", sha256(&bytes.body)), digest);
        }
    }
    let manifest = get(&hub, "/v2/org/model/manifests/Q8_0").await;
    assert_eq!(manifest.status, 404);
}

#[tokio::test]
async fn git_and_its_large_files_are_served() {
    let (hub, sha) = stocked().await;
    let refs = get(&hub, "/org/model.git/info/refs?service=git-upload-pack").await.text();
    assert!(
        refs.starts_with("001e# service=git-upload-pack\n0000") && refs.contains(&sha),
        "{refs}"
    );
    let file = File::lfs(Pattern::new(4, 1000));
    assert_eq!(file.storage, Storage::Lfs);
    let body = json!({
        "operation": "download", "transfers": ["basic"],
        "objects": [{ "oid": file.sha256, "size": 1000 }, { "oid": "0".repeat(64), "size": 1 }],
    });
    let reply = Client::new()
        .ask(Method::POST, hub.hub.url("/org/model.git/info/lfs/objects/batch"))
        .with("accept", "application/vnd.git-lfs+json")
        .body(body.to_string())
        .send()
        .await
        .json();
    let href = reply["objects"][0]["actions"]["download"]["href"].as_str().unwrap_or_default();
    assert_eq!(sha256(&Client::new().get(href).send().await.body), file.sha256);
    assert_eq!(reply["objects"][1]["error"]["code"], 404);
    let raw = get(&hub, "/org/model/raw/main/old.bin").await;
    assert_eq!(raw.text(), file.pointer());
}

#[tokio::test]
async fn the_viewer_says_of_which_commit_it_speaks() {
    let hub = FakeHub::start().await;
    let sha = hub.dataset("org/data", files([("data/train.parquet", File::xet("PAR1"))]));
    let reply = Client::new().get(hub.viewer.url("/parquet?dataset=org/data")).send().await;
    assert_eq!(reply.header("x-revision"), sha);
    assert!(
        reply.json()["parquet_files"][0]["url"]
            .as_str()
            .is_some_and(|url| url.starts_with(&hub.endpoint()))
    );
    assert_eq!(
        Client::new().get(hub.viewer.url("/info?dataset=org/none")).send().await.status,
        404
    );
}

#[tokio::test]
async fn the_world_turns() {
    for world in EVERY_WORLD {
        let (hub, old) = stocked().await;
        hub.turn(world, Kind::Model, "org/model", files([("config.json", File::plain("{}"))]))
            .await;
        let url = hub.hub.url("/org/model/resolve/main/config.json");
        // Where nothing should come it is not waited for long; where something should, as long as it takes.
        let patience = match world {
            World::BlackHoled => Duration::from_millis(300),
            _ => DEADLINE,
        };
        let status = match timeout(patience, Client::new().get(url).try_send()).await {
            Ok(reply) => reply.map(|reply| reply.status.as_u16()),
            Err(_) => Some(0),
        };
        let expected = match world {
            World::Up | World::ForcePushed => Some(307),
            World::Refused => None,
            World::BlackHoled => Some(0),
            World::Unavailable => Some(503),
            World::RateLimited => Some(429),
            World::Deleted | World::GatedLater => Some(401),
        };
        assert_eq!(status, expected, "{}", world.name());
        if world == World::ForcePushed {
            let gone = get(&hub, &format!("/org/model/resolve/{old}/config.json")).await;
            assert_eq!(gone.header("x-error-code"), "RevisionNotFound");
        }
    }
}
