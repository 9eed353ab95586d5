//! Models and their files under rules.

use http::Method;
use serde_json::json;

use super::stand::{Case, Stand, rule, said, warns_and_runs_dry};
use crate::support::client::Reply;
use crate::support::hub::{FakeHub, File, Kind, files};
use crate::support::larder::{HUB_NAME, over_hub};
use crate::support::team::Team;
use crate::support::wait::eventually;

pub const ID: &str = "org/model";
pub const WEIGHTS: &str = "pytorch_model.bin";
const EVERYWHERE: [bool; 3] = [true; 3];
/// The text of another licence than the card declares, as far as it takes to know it.
const APACHE: &str = "Apache License\nVersion 2.0, January 2004";

/// How it was asked for is no matter of lists.
const ASKED: [bool; 3] = [false, true, true];

/// Every key on models, with what the file of weights and its repository are. Hidden files are left out of lists, so that `listing` tells whether one is.
pub const CASES: [Case; 40] = [
    Case::new("name_in = \"org/*\"", "name_in = \"org\"", EVERYWHERE),
    Case::new("name_not_in = \"acme/*\"", "name_not_in = \"ORG/MODEL\"", EVERYWHERE),
    Case::new("version_not_in = \"x\"", "version_in = \"x\"", ASKED),
    Case::new("file_in = \"*.bin\"", "file_in = \"*.pt\"", EVERYWHERE),
    Case::new("upstream_in = \"127.0.0.1\"", "upstream_in = \"hub.example\"", EVERYWHERE),
    Case::new("publisher_in = \"org\"", "publisher_in = \"acme\"", EVERYWHERE),
    Case::new("publisher_not_in = \"acme\"", "publisher_not_in = [\"org\"]", EVERYWHERE),
    Case::new("size_gte = 5", "size_gte = \"1 GB\"", ASKED),
    Case::new("format_in = \"pickle\"", "format_in = \"safetensors\"", EVERYWHERE),
    Case::new("release_age_lt = \"365 days\"", "release_age_lt = \"1 day\"", EVERYWHERE),
    Case::new("project_age_gte = \"30 days\"", "project_age_lt = \"30 days\"", EVERYWHERE),
    Case::new("license_in = \"*NC*\"", "license_in = \"MIT\"", EVERYWHERE),
    Case::new("license_not_in = \"MIT\"", "license_not_in = \"CC-BY-NC-4.0\"", EVERYWHERE),
    Case::new("license_changed = false", "license_changed = true", EVERYWHERE),
    Case::new("license_effective_in = \"MIT\"", "license_effective_in = \"GPL*\"", ASKED),
    Case::new("license_mismatch = true", "license_mismatch = false", ASKED),
    Case::new("license_unknown = false", "license_unknown = true", EVERYWHERE),
    Case::new("downloads_lt = 10", "downloads_lt = 7", EVERYWHERE),
    Case::new("downloads_gte = 7", "downloads_gte = \"1K\"", EVERYWHERE),
    Case::new("likes_lt = 4", "likes_lt = 3", EVERYWHERE),
    Case::new("likes_gte = 3", "likes_gte = 4", EVERYWHERE),
    Case::new("gated = false", "gated = true", EVERYWHERE),
    Case::new("pipeline_in = \"text-*\"", "pipeline_in = \"image-*\"", EVERYWHERE),
    Case::new("library_in = \"transformers\"", "library_in = \"diffusers\"", EVERYWHERE),
    Case::new("base_model_in = \"base/*\"", "base_model_in = \"other/*\"", EVERYWHERE),
    Case::new("dataset_in = \"data/set\"", "dataset_in = \"data\"", EVERYWHERE),
    Case::new("tag_in = \"custom_code\"", "tag_in = \"x\"", EVERYWHERE),
    Case::new("remote_code = true", "remote_code = false", EVERYWHERE),
    Case::new("parameters_gte = \"7B\"", "parameters_gte = \"70B\"", EVERYWHERE),
    Case::new("parameters_lt = \"8B\"", "parameters_lt = 1", EVERYWHERE),
    Case::new("attested = true", "attested = false", EVERYWHERE),
    Case::new("attestation_verified = true", "attestation_verified = false", ASKED),
    Case::new("signed_by_in = \"key:*\"", "signed_by_in = \"key:other\"", ASKED),
    Case::new("signed_by_not_in = \"x@*\"", "signed_by_not_in = \"key:team\"", ASKED),
    Case::new("hub_scan_in = \"unsafe\"", "hub_scan_in = \"safe\"", ASKED),
    Case::new("hub_scan_not_in = \"safe\"", "hub_scan_not_in = \"unsafe\"", ASKED),
    Case::new("mutable_reference = true", "mutable_reference = false", ASKED),
    Case::new(
        r#"when = 'format == "pickle" && tag.exists(t, t.startsWith("custom"))'"#,
        r#"when = 'format == "pickle" && tag.all(t, t.startsWith("x"))'"#,
        EVERYWHERE,
    ),
    Case::new(
        r#"when = '!(hub_scan in ["safe", "queued"]) && publisher != "acme"'"#,
        r#"when = 'hub_scan in ["safe", "queued"] && publisher != "acme"'"#,
        ASKED,
    ),
    Case::new(
        "likes_lt = 1, downloads_lt = 10, any = true",
        "likes_lt = 1, downloads_lt = 10",
        EVERYWHERE,
    ),
];

pub async fn stock(team: &Team) -> FakeHub {
    let hub = FakeHub::start().await;
    let mut all = files([
        ("config.json", File::plain("{}")),
        ("LICENSE", File::plain(APACHE)),
        (WEIGHTS, File::xet("weights that are pickled")),
        ("model.safetensors", File::xet("weights that are not")),
    ]);
    all.insert("model.sig".to_owned(), File::plain(team.sign(&all, &[])));
    hub.model(ID, all);
    hub.model("base/one", files([("config.json", File::plain("{}"))]));
    hub.edit(Kind::Model, "base/one", |repository| {
        repository.more.insert("cardData".to_owned(), json!({ "license": "mit" }));
    });
    hub.edit(Kind::Model, ID, |repository| {
        let more = json!({
            "cardData": { "license": "cc-by-nc-4.0", "base_model": ["base/one"], "datasets": ["data/set"] },
            "tags": ["custom_code"],
            "safetensors": { "parameters": { "BF16": 7_000_000_000_u64 }, "total": 7_000_000_000_u64 },
            "createdAt": "2026-01-01T00:00:00.000Z",
            "lastModified": "2026-12-01T00:00:00.000Z",
            "securityRepoStatus": { "scansDone": true, "filesWithIssues": [{ "path": WEIGHTS, "level": "unsafe" }] },
        });
        repository.more = more.as_object().expect("an object").clone();
    });
    hub
}

fn resolve(file: &str) -> String {
    format!("/{ID}/resolve/main/{file}")
}

async fn names(stand: &Stand) -> (Vec<String>, Vec<String>) {
    let names = |list: &serde_json::Value, key: &str| -> Vec<String> {
        let entries = list.as_array().unwrap_or_else(|| panic!("a list: {list}"));
        entries.iter().filter_map(|one| one[key].as_str().map(str::to_owned)).collect()
    };
    let info = stand.larder.get(&format!("/api/models/{ID}")).await.json();
    let tree = stand.larder.get(&format!("/api/models/{ID}/tree/main?recursive=true")).await;
    (names(&info["siblings"], "rfilename"), names(&tree.json(), "path"))
}

fn refused(reply: &Reply, why: &str) {
    assert_eq!(reply.status, 403, "{why}: {reply:?}");
    assert!(reply.header("x-error-message").contains("by rule it"), "{why}: {reply:?}");
}

#[tokio::test]
async fn every_key_decides_at_every_point_cold_and_kept() {
    let team = Team::new();
    let hub = stock(&team).await;
    let mut stand = Stand::start(&over_hub(&hub, &team.settings()), "").await;
    let all = names(&stand).await;
    assert!(all.0.contains(&WEIGHTS.to_owned()) && all.1.contains(&WEIGHTS.to_owned()), "{all:?}");
    let file = resolve(WEIGHTS);
    stand.keep(&file).await;
    for is_kept in [false, true] {
        if is_kept {
            hub.refuse().await;
        }
        for case in CASES {
            for (condition, is_met) in [(case.met, true), (case.unmet, false)] {
                let why = format!("{condition}, kept: {is_kept}");
                stand = stand.with(&rule("deny", condition)).await;
                let (head, get) = (stand.head(&file).await, stand.larder.get(&file).await);
                match is_met {
                    true => [head, get].iter().for_each(|reply| refused(reply, &why)),
                    false => {
                        assert_eq!(
                            (head.status.as_u16(), get.status.as_u16()),
                            (200, 200),
                            "{why}"
                        );
                    }
                }
                // What is refused stays on lists, so that whoever asks for it is told why.
                assert_eq!(names(&stand).await, all, "{why}");
                stand = stand.with(&rule("hide", condition)).await;
                let (siblings, tree) = names(&stand).await;
                let is_hidden = is_met && case.listing;
                for shown in [&siblings, &tree] {
                    assert_eq!(!shown.contains(&WEIGHTS.to_owned()), is_hidden, "{why}: {shown:?}");
                }
                assert_eq!(
                    stand.larder.get(&file).await.status,
                    200,
                    "{why}: hidden is not refused"
                );
            }
        }
    }
}

#[tokio::test]
async fn every_key_warns_and_runs_dry() {
    let team = Team::new();
    let hub = stock(&team).await;
    let stand = Stand::start(&over_hub(&hub, &team.settings()), "").await;
    let file = resolve(WEIGHTS);
    warns_and_runs_dry(stand, &CASES, (Method::HEAD, &file), &file).await;
}

#[tokio::test]
async fn a_warning_reaches_the_client_in_its_own_field() {
    let team = Team::new();
    let hub = stock(&team).await;
    let stand =
        Stand::start(&over_hub(&hub, &team.settings()), &rule("warn", "format_in = \"pickle\""))
            .await;
    let reply = stand.head(&resolve(WEIGHTS)).await;
    assert_eq!(reply.status, 200);
    assert!(
        reply.header("x-hf-warning").starts_with("policy; pytorch_model.bin of hf:org/model@"),
        "{reply:?}"
    );
    let other = stand.head(&resolve("config.json")).await;
    assert_eq!((other.status.as_u16(), other.header("x-hf-warning")), (200, ""));
}

#[tokio::test]
async fn a_repository_is_refused_on_every_way_to_its_bytes() {
    let team = Team::new();
    let hub = stock(&team).await;
    let stand = Stand::start(&over_hub(&hub, &team.settings()), "").await;
    let commit = stand.head(&resolve(WEIGHTS)).await.header("x-repo-commit").to_owned();
    let hash = stand.head(&resolve(WEIGHTS)).await.header("x-xet-hash").to_owned();
    let token = stand.larder.get(&format!("/api/models/{ID}/xet-read-token/main")).await;
    let bearer = format!("Bearer {}", token.header("x-xet-access-token"));
    for condition in ["publisher_in = \"org\"", "format_in = \"pickle\""] {
        let stand = Stand::start(&over_hub(&hub, &team.settings()), &rule("deny", condition)).await;
        for address in [
            resolve(WEIGHTS),
            format!("/{ID}/resolve/{commit}/{WEIGHTS}"),
            format!("/{ID}/raw/main/{WEIGHTS}"),
        ] {
            refused(&stand.larder.get(&address).await, &format!("{condition} {address}"));
        }
        let batch = json!({
            "operation": "download", "transfers": ["basic"],
            "objects": [{ "oid": crate::support::index::sha256(b"weights that are pickled"), "size": 24 }],
        });
        let asked = stand
            .larder
            .client
            .ask(Method::POST, stand.larder.url(&format!("/{ID}.git/info/lfs/objects/batch")));
        let asked = asked.with("content-type", "application/vnd.git-lfs+json");
        let told = said(&asked.body(batch.to_string()).send().await);
        assert!(told.contains("by rule it"), "{condition}: {told}");
    }
    // A pass that was given before the rule is no way around it.
    let stand = stand.with(&rule("deny", "format_in = \"pickle\"")).await;
    let address = stand.larder.url(&format!("/-/hf/xet/v2/reconstructions/{hash}"));
    let reply = stand.larder.client.get(address).with("authorization", &bearer).send().await;
    refused(&reply, "reconstruction");
    let token = stand.larder.get(&format!("/api/models/{ID}/xet-read-token/main")).await;
    assert_eq!(token.status, 200, "other files of it may be fetched");
    let stand = stand.with(&rule("deny", "license_in = \"*NC*\"")).await;
    let token = stand.larder.get(&format!("/api/models/{ID}/xet-read-token/main")).await;
    refused(&token, "a pass to a repository that is refused");
}

/// A model's file as a blob of a registry is that file to rules, cold and kept, with the hub gone, too.
#[tokio::test]
async fn rules_on_files_hold_for_ollama() {
    let hub = FakeHub::start().await;
    let file = File::xet("weights that some rules do not like");
    hub.model(ID, files([("model-q4_k_m.gguf", file.clone())]));
    let at = |rest: &str| format!("/v2/{ID}/{rest}");
    let (manifest, blob) = (at("manifests/latest"), at(&format!("blobs/sha256:{}", file.sha256)));
    let get = async |stand: &Stand, address: &str| {
        stand.larder.client.get(stand.larder.url(address)).with("host", HUB_NAME).send().await
    };
    let refuses = async |stand: &Stand, how: &str| {
        let seen = get(stand, &manifest).await;
        assert_eq!(seen.status, 200, "{how}: the repository may be seen: {seen:?}");
        let reply = get(stand, &blob).await;
        assert_eq!(reply.status, 403, "{how}: {reply:?}");
        let told = reply.text();
        assert!(told.contains("DENIED") && told.contains("by rule it"), "{how}: {told}");
    };
    let (met, unmet) = ("file_in = \"*q4_k_m*\"", "file_in = \"*q8*\"");
    refuses(&Stand::start(&over_hub(&hub, ""), &rule("deny", met)).await, "cold").await;
    let stand = Stand::start(&over_hub(&hub, ""), &rule("deny", unmet)).await;
    for address in [&manifest, &blob] {
        eventually(&format!("{address} is kept"), async || {
            let reply = get(&stand, address).await;
            assert_eq!(reply.status, 200, "{reply:?}");
            reply.header("cache-status").contains("hit")
        })
        .await;
    }
    let stand = stand.with(&rule("deny", met)).await;
    refuses(&stand, "kept").await;
    hub.refuse().await;
    refuses(&stand, "kept, and the hub is gone").await;
}

/// A name that somebody else has taken decides at every point, while what was known of it is served on, and with the hub gone.
#[tokio::test]
async fn a_taken_name_decides_at_every_point() {
    let hub = FakeHub::start().await;
    hub.model(ID, files([(WEIGHTS, File::plain("ours"))]));
    let mut stand = Stand::start(&over_hub(&hub, ""), "").await;
    stand.keep(&resolve(WEIGHTS)).await;
    // The lists, too, must be kept before the name is another's.
    names(&stand).await;
    hub.delete(Kind::Model, ID);
    hub.model(ID, files([(WEIGHTS, File::plain("theirs"))]));
    hub.edit(Kind::Model, ID, |repository| repository.identity = "f".repeat(24));
    stand.larder.advance(3600);
    let reply = stand.larder.get(&resolve(WEIGHTS)).await;
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, "ours"), "{reply:?}");
    for is_kept in [false, true] {
        if is_kept {
            hub.refuse().await;
        }
        for is_met in [true, false] {
            let (condition, file) = (format!("identity_changed = {is_met}"), resolve(WEIGHTS));
            let why = format!("{condition}, kept: {is_kept}");
            stand = stand.with(&rule("deny", &condition)).await;
            for reply in [stand.head(&file).await, stand.larder.get(&file).await] {
                match is_met {
                    true => refused(&reply, &why),
                    false => assert_eq!(reply.status, 200, "{why}: {reply:?}"),
                }
            }
            stand = stand.with(&rule("hide", &condition)).await;
            let (siblings, tree) = names(&stand).await;
            for shown in [siblings, tree] {
                assert_eq!(!shown.contains(&WEIGHTS.to_owned()), is_met, "{why}: {shown:?}");
            }
            stand = stand.with(&rule("warn", &condition)).await;
            let reply = stand.head(&file).await;
            let mut warnings = reply.headers.get_all("warning").iter();
            let is_told = warnings.any(|one| one.to_str().is_ok_and(|one| one.contains("/-/why/")));
            assert_eq!(is_told, is_met, "{why}: {reply:?}");
        }
    }
}
