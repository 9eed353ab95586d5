//! Passports: what Larder says of a model, to whom, from what passed through; what changed between commits; and as a bill of materials.

use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::hub::{FakeHub, File, Files, Kind, files};
use crate::support::larder::{Larder, over_hub};
use crate::support::team::Team;
use crate::support::wait::eventually;

const CONFIG: &str =
    r#"{"architectures":["LlamaForCausalLM"],"model_type":"llama","max_position_embeddings":4096}"#;

/// A file of weights with four numbers.
fn weights(fill: u8) -> Vec<u8> {
    let header = r#"{"a":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + 8, fill);
    bytes
}

fn model(readme: &str, config: &str, fill: u8) -> Files {
    files([
        ("README.md", File::plain(readme.to_owned())),
        ("config.json", File::plain(config.to_owned())),
        ("model.safetensors", File::lfs(weights(fill))),
    ])
}

/// A hub with a model that was made from another one, and a Larder over it.
async fn stand() -> (FakeHub, Larder, String) {
    let hub = FakeHub::start().await;
    hub.model("base/one", files([("a.txt", File::plain("a"))]));
    hub.edit(Kind::Model, "base/one", |one| one.card = json!({ "license": "cc-by-nc-4.0" }));
    let sha = hub.model("org/model", model("# One", CONFIG, 1));
    let card = json!({ "license": "llama3.1", "base_model": "base/one", "base_model_relation": "finetune", "datasets": ["org/data"] });
    hub.edit(Kind::Model, "org/model", |one| one.card = card);
    let larder = Larder::start(&over_hub(&hub, "")).await;
    (hub, larder, sha)
}

async fn get(larder: &Larder, path: &str) -> Reply {
    larder.get(path).await
}

/// As a client that downloads it does, and one that looks at what it was made from.
async fn download(larder: &Larder) {
    for path in [
        "/org/model/resolve/main/config.json",
        "/org/model/resolve/main/model.safetensors",
        "/api/models/org/model/tree/main?recursive=true",
        "/api/models/base/one",
        // It would follow in the background by itself.
        "/api/models/base/one/tree/main?recursive=true",
    ] {
        assert_eq!(get(larder, path).await.status, 200, "{path}");
    }
    let kept = async || {
        let passport = get(larder, "/-/api/v1/models/org/model@main").await.json();
        passport["content"]["kept_files"] == 2
    };
    eventually("both files are kept", kept).await;
}

#[tokio::test]
async fn a_passport_is_made_of_what_passed_through() {
    let (hub, larder, sha) = stand().await;
    let cold = get(&larder, "/-/api/v1/models/org/model@main").await;
    assert_eq!(cold.status, 404, "{cold:?}");
    assert!(cold.text().contains("fetch=true"), "{cold:?}");
    assert_eq!(hub.journal(), Vec::<String>::new(), "nothing is asked for a passport");
    download(&larder).await;
    hub.forget();
    let reply = get(&larder, "/-/api/v1/models/org/model@main").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let passport = reply.json();
    assert_eq!(hub.journal(), Vec::<String>::new(), "nothing is asked for a passport");
    assert_eq!(passport["reference"]["commit"], sha.as_str());
    assert_eq!(passport["content"]["file_count"], 3);
    assert_eq!(passport["content"]["kept_files"], 2);
    assert_eq!(passport["parameters"]["total"], 4);
    assert_eq!(passport["precision"]["types"], json!({ "BF16": 4 }));
    assert_eq!(passport["parameters"]["context_length"], 4096);
    assert_eq!(passport["lineage"]["ancestors"][0]["repository"], "base/one");
    assert_eq!(passport["licence"]["effective"], "LicenseRef-HF-llama3.1 AND CC-BY-NC-4.0");
    assert_eq!(passport["licence"]["tags"], json!(["use-restricted", "noncommercial"]));
    assert_eq!(passport["content"]["manifest_root"], Value::Null);
    let reason = passport["unknown"]["content.manifest_root"].as_str().unwrap_or_default();
    assert!(reason.contains("README.md"), "{reason}");
    let name = passport["name"].as_str().unwrap_or_default();
    assert!(name.starts_with("org/model@20") && name.ends_with(&sha[..7]), "{name}");
    // A commit is asked for by its name, too; with leave, what is small is fetched, and weights are not.
    let pinned = get(&larder, &format!("/-/api/v1/models/org/model@{sha}?fetch=true")).await.json();
    assert!(pinned["content"]["manifest_root"].is_string(), "{pinned:#}");
    let asked = hub.journal();
    assert!(asked.iter().any(|line| line.contains("README.md")), "{asked:?}");
    assert!(!asked.iter().any(|line| line.contains("safetensors")), "{asked:?}");
}

#[tokio::test]
async fn what_is_away_is_known_all_the_same() {
    let (hub, larder, _) = stand().await;
    download(&larder).await;
    hub.delete(Kind::Model, "org/model");
    larder.advance(3600);
    let gone = get(&larder, "/org/model/resolve/main/config.json").await;
    assert_eq!(gone.status, 200, "it is served on: {gone:?}");
    let passport = get(&larder, "/-/api/v1/models/org/model@main").await.json();
    assert_eq!(passport["lifecycle"]["state"], "closed", "{passport:#}");
    assert!(passport["lifecycle"]["since"].is_string());
    assert_eq!(passport["parameters"]["total"], 4);
}

#[tokio::test]
async fn changes_are_told_by_what_they_touch() {
    let (hub, larder, first) = stand().await;
    let check = async |from: &str, files: Files, expected: Value| {
        let next = hub.commit(Kind::Model, "org/model", "main", files);
        larder.advance(3600);
        let path = format!("/-/api/v1/changes/org/model@{from}?to={next}&fetch=true");
        let reply = get(&larder, &path).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.json()["class"], expected, "{reply:?}");
        next
    };
    let second = check(&first, model("# Two", CONFIG, 1), json!("documentation")).await;
    let third = check(&second, model("# Two", "{}", 1), json!("behaviour")).await;
    let fourth = check(&third, model("# Two", "{}", 2), json!("weights")).await;
    check(&fourth, model("# Two", "{}", 2), Value::Null).await;
    let missing = get(&larder, &format!("/-/api/v1/changes/org/model@{first}")).await;
    assert_eq!(missing.status, 400, "{missing:?}");
    let nowhere = get(&larder, "/-/api/v1/changes/org/nowhere@main?to=main").await;
    assert_eq!(nowhere.status, 404, "{nowhere:?}");
}

/// By whom all files are signed is told, with what is not as it was signed; and of a signature that is not believed, why.
#[tokio::test]
async fn a_passport_says_who_signed_the_model() {
    let (hub, team) = (FakeHub::start().await, Team::new());
    let mut signed = model("# One", CONFIG, 1);
    let signature = team.sign(&signed, &["model.sig"]);
    signed.insert("model.sig".to_owned(), File::plain(signature));
    signed.insert("README.md".to_owned(), File::plain("# Two"));
    signed.insert("extra.bin".to_owned(), File::lfs("more"));
    hub.model("org/model", signed);
    let passport = async |settings: &str, fetch: &str| {
        let larder = Larder::start(&over_hub(&hub, settings)).await;
        let tree = "/api/models/org/model/tree/main?recursive=true";
        assert_eq!(get(&larder, tree).await.status, 200);
        get(&larder, &format!("/-/api/v1/models/org/model@main?fetch={fetch}")).await.json()
    };
    let told = passport(&team.settings(), "true").await;
    let expected = json!({
        "by": "key:team", "until": null, "changed": ["README.md"], "unsigned": ["extra.bin"], "unseen": [],
    });
    assert_eq!(told["trust"]["signed"], expected, "{told:#}");
    for (settings, fetch, reason) in [("", "true", "`signature.keys`"), ("", "false", "not kept")] {
        let told = passport(settings, fetch).await;
        assert_eq!(told["trust"]["signed"], Value::Null, "{told:#}");
        let unknown = told["unknown"]["trust.signed"].as_str().unwrap_or_default();
        assert!(unknown.contains(reason), "{unknown}");
    }
}

/// The main branch has moved since; as of then it led elsewhere.
#[tokio::test]
async fn a_passport_can_be_of_another_day() {
    let (hub, larder, first) = stand().await;
    download(&larder).await;
    let then = larder.clock.now().to_rfc3339();
    larder.advance(86_400);
    let second = hub.commit(Kind::Model, "org/model", "main", model("# Two", CONFIG, 2));
    download(&larder).await;
    let now = get(&larder, "/-/api/v1/models/org/model@main").await.json();
    assert_eq!(now["reference"]["commit"], second.as_str());
    assert_eq!(now["reference"]["history"].as_array().map(Vec::len), Some(2));
    let reply = get(&larder, &format!("/-/api/v1/models/org/model@main?at={then}")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.json()["reference"]["commit"], first.as_str(), "{reply:?}");
    let never = get(&larder, "/-/api/v1/models/org/model@main?at=2001-01-01").await;
    assert!(never.status.is_client_error(), "{never:?}");
}

#[tokio::test]
async fn a_bill_names_files_and_ancestors() {
    let (_hub, larder, sha) = stand().await;
    download(&larder).await;
    let reply = get(&larder, "/-/api/v1/bom/org/model@main").await;
    assert_eq!(reply.header("content-type"), "application/vnd.cyclonedx+json; version=1.6");
    let bill = reply.json();
    let components = bill["components"].as_array().expect("components");
    let model = components.iter().find(|one| one["name"] == "model").expect("the model");
    assert_eq!(model["version"], sha.as_str());
    assert_eq!(model["components"].as_array().map(Vec::len), Some(3));
    assert_eq!(model["pedigree"]["ancestors"][0]["name"], "one");
    let purl = model["purl"].as_str().unwrap_or_default();
    assert!(purl.contains("?repository_url=http:"), "another hub is named: {purl}");
}

/// The passport of a private model is for whoever may read it: it is gathered as the caller. Others learn no more than the hub would tell them.
#[tokio::test]
async fn a_passport_is_for_whoever_may_read_the_model() {
    let (hub, larder, _) = stand().await;
    hub.user("alice", "hf_alice");
    hub.user("bob", "hf_bob");
    hub.make_private(Kind::Model, "org/model", &["alice"]);
    let ask = async |path: &str, token: &str| {
        let ask = larder.client.get(larder.url(path));
        ask.with("authorization", &format!("Bearer {token}")).send().await
    };
    for path in
        ["/api/models/org/model/tree/main?recursive=true", "/org/model/resolve/main/config.json"]
    {
        assert_eq!(ask(path, "hf_alice").await.status, 200, "{path}");
    }
    for query in ["", "?fetch=true"] {
        let path = format!("/-/api/v1/models/org/model@main{query}");
        let mine = ask(&path, "hf_alice").await;
        assert_eq!(mine.status, 200, "{mine:?}");
        assert_eq!(mine.json()["trust"]["is_private"], true);
        let refused = ask(&path, "hf_bob").await;
        assert!(refused.status.is_client_error(), "{refused:?}");
        assert!(!refused.text().contains("config.json"), "{refused:?}");
        let stranger = get(&larder, &path).await;
        assert!(stranger.status.is_client_error(), "{stranger:?}");
    }
    // Rights that cannot be confirmed are none.
    larder.advance(3600);
    let late = ask("/-/api/v1/models/org/model@main", "hf_alice").await;
    assert!(late.status.is_client_error(), "{late:?}");
}
