//! What inspection finds, before rules: its own refusals, explained like any other and lifted by waivers, and rules that look at what was found.

use http::Method;
use serde_json::json;

use super::stand::{Stand, rule, said};
use crate::huggingface::inspected::samples;
use crate::support::hub::{FakeHub, File, files};
use crate::support::index::sha256;
use crate::support::larder::over_hub;

const ID: &str = "org/model";
const WEIGHTS: &str = "pytorch_model.bin";
const TEMPLATE: &str = "chat_template.jinja";

fn evil() -> Vec<u8> {
    samples::torch(&samples::calls("os", "system"), 1, 100_000)
}

async fn stock() -> FakeHub {
    let hub = FakeHub::start().await;
    let template = File::plain(samples::BAD_TEMPLATE);
    hub.model(ID, files([(WEIGHTS, File::xet(evil())), (TEMPLATE, template)]));
    hub
}

fn resolve(file: &str) -> String {
    format!("/{ID}/resolve/main/{file}")
}

/// An entry of the file of waivers, as `larder waive request` fills one in.
fn waiver(bound: &str, expires: &str) -> String {
    format!("[[waiver]]\nrule = \"inspect\"\n{bound}\nreason = \"ours\"\nexpires = {expires}\n")
}

#[tokio::test]
async fn what_is_refused_is_explained_and_can_be_waived() {
    let hub = stock().await;
    let mut stand = Stand::start(&over_hub(&hub, ""), "").await;
    let digest = format!("sha256:{}", sha256(&evil()));
    for round in ["cold", "known"] {
        let reply = stand.larder.get(&resolve(WEIGHTS)).await;
        assert_eq!(reply.status, 403, "{round}: {reply:?}");
        let why = stand.why(reply.header("x-error-message")).await;
        assert_eq!((&why["verdict"], &why["point"]), (&"deny".into(), &"content".into()), "{why}");
        assert_eq!(why["fired"][0]["rule"], "inspect", "{why}");
        assert!(why["fired"][0]["reason"].as_str().is_some_and(|it| it.contains("os.system")));
        assert_eq!(why["digest"], digest.as_str(), "{why}");
        let entry = why["waiver"].as_str().expect("it can be waived");
        assert!(entry.contains("rule = \"inspect\"") && entry.contains(&digest), "{entry}");
    }
    let commit = stand.head(&resolve(TEMPLATE)).await.header("x-repo-commit").to_owned();
    for (bound, expires, expected) in [
        (format!("digest = \"{digest}\""), "2027-02-01", [200, 403]),
        (format!("digest = \"{digest}\""), "2020-01-01", [403, 403]),
        (format!("what = \"hf:{ID}@{commit}\""), "2027-02-01", [200, 200]),
        (format!("what = \"hf:org/other@{commit}\""), "2027-02-01", [403, 403]),
    ] {
        stand.write("waivers.toml", &waiver(&bound, expires));
        stand = stand.with("").await;
        for _ in 0..2 {
            for (file, expected) in [WEIGHTS, TEMPLATE].into_iter().zip(expected) {
                let reply = stand.larder.get(&resolve(file)).await;
                assert_eq!(reply.status, expected, "{bound} {expires} {file}: {reply:?}");
            }
        }
    }
}

/// Files of which inspection says one thing each, and nothing is refused for that by itself.
const WARN: &str = "[inspect]\nmode = \"warn\"\n";

async fn kinds() -> FakeHub {
    let hub = FakeHub::start().await;
    let good = samples::torch(&samples::state_dict(3), 1, 100_000);
    let whole = samples::state_dict(3);
    let torn = [&whole[..whole.len() - 1], b"\xff\xff"].concat();
    let all = [
        ("evil.bin", File::xet(evil())),
        ("good.bin", File::xet(good)),
        ("torn.pkl", File::lfs(torn)),
        ("plain.safetensors", File::lfs(samples::safetensors(2 << 20))),
        (TEMPLATE, File::plain(samples::BAD_TEMPLATE)),
    ];
    hub.model(ID, files(all));
    hub
}

#[tokio::test]
async fn rules_look_at_what_was_found() {
    let every = ["evil.bin", "good.bin", "torn.pkl", "plain.safetensors", TEMPLATE];
    for (condition, refused) in [
        ("inspection_in = \"unsafe\"", vec!["evil.bin", TEMPLATE]),
        ("inspection_in = [\"unparsable\"]", vec!["torn.pkl"]),
        ("inspection_in = \"import\", upstream_in = \"127.0.0.1\"", vec!["evil.bin"]),
        ("inspection_in = \"import\", upstream_in = \"hub.example\"", vec![]),
        ("inspection_not_in = \"clean\"", vec!["evil.bin", "torn.pkl", TEMPLATE]),
        ("inspected_format_in = [\"torch\", \"pickle\"]", vec!["evil.bin", "good.bin", "torn.pkl"]),
        ("when = 'inspection.exists(t, t == \"template\")'", vec![TEMPLATE]),
    ] {
        let hub = kinds().await;
        let mut stand = Stand::start(&(over_hub(&hub, "") + WARN), &rule("deny", condition)).await;
        for round in ["cold", "known", "after a restart"] {
            for file in every {
                let reply = stand.larder.get(&resolve(file)).await;
                let expected = if refused.contains(&file) { 403 } else { 200 };
                assert_eq!(reply.status, expected, "{condition} {round} {file}: {reply:?}");
                if expected == 403 {
                    let why = stand.why(reply.header("x-error-message")).await;
                    assert_eq!(why["fired"][0]["rule"], "it", "{why}");
                    assert!(why["facts"]["inspected_format"].is_string(), "{why}");
                }
            }
            if round == "known" {
                stand = stand.with(&rule("deny", condition)).await;
            }
        }
    }
}

#[tokio::test]
async fn what_was_found_counts_on_every_way_to_the_bytes() {
    let hub = kinds().await;
    let rules = rule("deny", "inspection_in = \"unsafe\"");
    let stand = Stand::start(&(over_hub(&hub, "") + WARN), &rules).await;
    let token = stand.larder.get(&format!("/api/models/{ID}/xet-read-token/main")).await;
    let bearer = format!("Bearer {}", token.header("x-xet-access-token"));
    for (file, is_refused) in [("evil.bin", true), ("good.bin", false)] {
        let hash = stand.head(&resolve(file)).await.header("x-xet-hash").to_owned();
        let address = stand.larder.url(&format!("/-/hf/xet/v2/reconstructions/{hash}"));
        let told = stand.larder.client.get(address).with("authorization", &bearer).send().await;
        assert_eq!(told.status == 403, is_refused, "{file}: {told:?}");
    }
    let batch = json!({
        "operation": "download", "transfers": ["basic"],
        "objects": [{ "oid": sha256(&evil()), "size": evil().len() }],
    });
    let address = stand.larder.url(&format!("/{ID}.git/info/lfs/objects/batch"));
    let asked = stand.larder.client.ask(Method::POST, address);
    let asked = asked.with("content-type", "application/vnd.git-lfs+json");
    let told = asked.body(batch.to_string()).send().await.json();
    let address = told["objects"][0]["actions"]["download"]["href"].as_str().expect("an address");
    let reply = stand.larder.client.get(address).send().await;
    assert_eq!(reply.status, 403, "{reply:?}");
    assert!(said(&reply).contains("by rule it"), "{reply:?}");
}

/// What nobody looked into is not known, and the rule says what of that.
#[tokio::test]
async fn what_is_not_looked_into_is_not_known() {
    let hub = kinds().await;
    let off = "[inspect]\nmode = \"off\"\n";
    for (on_missing, expected) in [("allow", 200), ("deny", 403)] {
        let rules = format!(
            "{}on_missing = \"{on_missing}\"\n",
            rule("deny", "inspection_in = \"unsafe\"")
        );
        let stand = Stand::start(&(over_hub(&hub, "") + off), &rules).await;
        let reply = stand.larder.get(&resolve("evil.bin")).await;
        assert_eq!(reply.status, expected, "{on_missing}: {reply:?}");
    }
}
