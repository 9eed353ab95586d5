//! Who pulled what: counted at the end of each answer, told over the API.

use crate::support::index::{FakeIndex, Style, Upload, sha256};
use crate::support::larder::{Larder, over, times_of};
use crate::support::wait::eventually;

const FILE: &str = "six-1.0-py3-none-any.whl";

/// Rows as `name client pulls bytes`.
async fn pulls(larder: &Larder, query: &str) -> Vec<String> {
    let answer = larder.get(&format!("/-/api/v1/pulls{query}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let answer = answer.json();
    let rows = answer["pulls"].as_array().expect("rows").iter();
    rows.map(|row| {
        format!("{} {} {} {}", text(&row["name"]), text(&row["client"]), row["pulls"], row["bytes"])
    })
    .collect()
}

#[tokio::test]
async fn every_pull_is_counted_once_whichever_way_it_is_answered() {
    let index = FakeIndex::start(Style::Full).await;
    let upload = Upload::wheel("six", "1.0");
    index.publish("six", [upload]);
    let larder = Larder::start(&format!("{}[trace]\nclients = \"network\"\n", over(&index))).await;
    let link = larder.link("six", FILE).await;
    let mut body = Vec::new();
    // The first crosses the wire, the next ones are hits, the others the answer of a moment ago.
    for _ in 0..50 {
        let reply = larder.client.get(&link).send().await;
        assert_eq!(reply.status, 200);
        body = reply.body.to_vec();
    }
    assert_eq!(larder.client.head(&link).send().await.status, 200);
    let part = larder.client.get(&link).with("range", "bytes=0-9").send().await;
    assert_eq!(part.status, 206);
    // A look at the first byte is no pull.
    assert_eq!(larder.client.get(&link).with("range", "bytes=0-0").send().await.status, 206);
    let rest = larder.client.get(&link).with("range", "bytes=10-19").send().await;
    assert_eq!(rest.status, 206);
    let bytes = 50 * body.len() + 20;
    let name = format!("pypi:six==1.0/{FILE}");
    let expected = format!("{name} 127.0.0.0/24 51 {bytes}");
    eventually("the pulls are counted", async || pulls(&larder, "").await == [expected.clone()])
        .await;

    let digest = format!("sha256:{}", sha256(&body));
    assert_eq!(pulls(&larder, &format!("?digest={digest}")).await.len(), 1);
    assert_eq!(pulls(&larder, "?name=pypi:six").await.len(), 1);
    assert_eq!(pulls(&larder, "?name=pypi:seven").await.len(), 0);
    assert_eq!(pulls(&larder, "?client=ci").await.len(), 0);
    eventually("the first pull is recorded", async || {
        let first = larder.get("/-/api/v1/log?kind=first-served").await.json();
        let record = &first["records"][0];
        record["subject"] == name.as_str() && record["after"] == digest.as_str()
    })
    .await;

    let known = larder.get("/-/api/v1/provenance?name=pypi:six==1.0").await.json();
    assert_eq!(known["things"][0]["name"], "pypi:six==1.0");
    assert_eq!(known["pulls"][0]["pulls"], 51);
    assert_eq!(known["events"][0]["kind"], "first-served");
    let known = larder.get(&format!("/-/api/v1/provenance?digest={digest}")).await.json();
    assert_eq!(known["pulls"][0]["name"], name.as_str());
    assert_eq!(larder.get("/-/api/v1/provenance?name=pypi:seven").await.status, 404);
    assert_eq!(larder.get("/-/api/v1/provenance").await.status, 400);

    let larder = larder.restart().await;
    assert_eq!(pulls(&larder, "").await, [expected]);
}

#[tokio::test]
async fn refusals_are_recorded_with_their_reason() {
    let index = FakeIndex::start(Style::Full).await;
    index.publish("six", [Upload::wheel("six", "1.0")]);
    let larder = Larder::over(&index).await;
    let link = larder.link("six", FILE).await;
    index.set_status("six", "quarantined", "malware");
    larder.advance(3600);
    larder.page("six").await;
    for _ in 0..3 {
        assert_eq!(larder.client.get(&link).send().await.status, 403);
    }
    let records = larder.refusals(3).await;
    for record in &records {
        assert_eq!(record["subject"], format!("pypi:six==1.0/{FILE}"));
        let detail = record["detail"].as_str().expect("a reason");
        assert!(detail.contains("quarantined=deny; decision"), "{detail}");
    }
    assert_eq!(records.iter().map(times_of).sum::<u64>(), 3);
}
