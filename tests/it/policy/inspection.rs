//! What inspection refuses, as a rule: explained like any other refusal, and lifted by waivers.

use super::stand::Stand;
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
