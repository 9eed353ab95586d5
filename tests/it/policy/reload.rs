//! Rules that change while Larder runs.

use super::stand::{Stand, rule};
use crate::support::index::{FakeIndex, Style, Upload};
use crate::support::larder::over;
use crate::support::wait::eventually;

const FILE: &str = "six-1.0-py3-none-any.whl";

#[tokio::test]
async fn changed_rules_are_taken_up_and_broken_ones_are_not() {
    let index = FakeIndex::start(Style::Full).await;
    index.publish("six", [Upload::wheel("six", "1.0")]);
    let stand = Stand::start(&over(&index), "").await;
    let address = stand.larder.link("six", FILE).await;
    let status = async || stand.larder.client.get(&address).send().await.status.as_u16();
    let policy = async || stand.larder.get("/-/api/v1/policy").await.json();
    // Asked twice within a second, an answer is remembered as it is: new rules must end that, too.
    assert_eq!((status().await, status().await, status().await), (200, 200, 200));
    stand.write("policy.toml", &rule("deny", "name_in = \"six\""));
    eventually("the new rules", async || status().await == 403).await;
    assert_eq!(policy().await["rules"][0]["id"], "it");
    stand.write("policy.toml", "[[rule]]\nid = 1");
    eventually("the fault", async || !policy().await["standing"]["fault"].is_null()).await;
    let fault = policy().await["standing"]["fault"].as_str().unwrap_or_default().to_owned();
    assert!(fault.contains("policy.toml: line 2: rule.id"), "{fault}");
    assert_eq!(status().await, 403, "the old rules stay in force");
    stand.write("policy.toml", "[[rule]]\nid = \"r\"\ndeny_if = { when = 'yankd' }");
    let fault =
        async || policy().await["standing"]["fault"].as_str().unwrap_or_default().to_owned();
    eventually("the fault of the condition", async || {
        fault().await.contains("policy.toml: line 3: rule.r.deny_if.when: at character 1: unknown")
    })
    .await;
    // All Larders of this process share its metrics: what it says of this one, another may have said anew.
    let metrics = stand.larder.get("/-/metrics").await.text();
    assert!(metrics.contains("larder_policy_file_broken "), "{metrics}");
    stand.write("policy.toml", "");
    eventually("no rules", async || status().await == 200).await;
}
