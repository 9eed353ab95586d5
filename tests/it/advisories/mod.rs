//! Advisories from a folder, asked over loopback: by the shapes of the public API, after the folder has changed, and by real auditing tools.

mod clients;

use std::fs;
use std::path::Path;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::index::FakeIndex;
use crate::support::larder::{Larder, over};
use crate::support::wait::eventually;

/// A record in the OSV format of a flaw in the versions of `name` before `fixed`.
fn flaw(id: &str, name: &str, fixed: &str) -> Value {
    json!({"schema_version": "1.7.0", "id": id, "modified": "2026-01-01T00:00:00Z", "published": "2026-01-01T00:00:00Z",
        "summary": format!("A flaw in {name}"), "details": "It is flawed.", "aliases": [format!("CVE-{id}")],
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
        "affected": [{"package": {"ecosystem": "PyPI", "name": name, "purl": format!("pkg:pypi/{name}")},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}]}],
        "references": [{"type": "WEB", "url": "https://advisories.example/1"}]})
}

/// A record of a package that is malicious in all its versions.
fn malware(id: &str, name: &str) -> Value {
    json!({"schema_version": "1.7.0", "id": id, "modified": "2026-01-01T00:00:00Z", "published": "2026-01-01T00:00:00Z",
        "summary": format!("Malicious code in {name}"), "details": "It is malicious.",
        "affected": [{"package": {"ecosystem": "PyPI", "name": name},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}]})
}

fn put(folder: &Path, record: &Value) {
    let name = format!("{}.json", record["id"].as_str().expect("a name"));
    fs::write(folder.join(name), record.to_string()).expect("the folder can be written");
}

/// A Larder over an index, with these records.
async fn start(index: &FakeIndex, folder: &Path, records: &[Value]) -> Larder {
    records.iter().for_each(|record| put(folder, record));
    let settings = format!(
        "{}[advisories]\nfolder = {:?}\nreload = \"20ms\"\n",
        over(index),
        folder.display().to_string()
    );
    Larder::start(&settings).await
}

async fn query(larder: &Larder, name: &str, version: &str) -> (StatusCode, Value) {
    let question = json!({"package": {"name": name, "ecosystem": "PyPI"}, "version": version});
    let ask = larder.client.ask(Method::POST, larder.url("/-/osv/v1/query"));
    let reply = ask.body(question.to_string()).send().await;
    (reply.status, reply.json())
}

#[tokio::test]
async fn without_a_folder_the_api_says_so() {
    let index = FakeIndex::start(crate::support::index::Style::Full).await;
    let larder = Larder::over(&index).await;
    let (status, told) = query(&larder, "six", "1").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{told}");
    assert!(told["message"].as_str().expect("a message").contains("`advisories.folder`"));
}

#[tokio::test]
async fn what_changes_in_the_folder_is_known_soon() {
    let index = FakeIndex::start(crate::support::index::Style::Full).await;
    let folder = tempfile::TempDir::new().expect("a folder");
    let known = flaw("X-1", "leaf", "1.5");
    let larder = start(&index, folder.path(), std::slice::from_ref(&known)).await;
    let answer = (StatusCode::OK, json!({"vulns": [known]}));
    assert_eq!(query(&larder, "Leaf", "1.0").await, answer);
    assert_eq!(query(&larder, "leaf", "1.5").await, (StatusCode::OK, json!({})));
    put(folder.path(), &malware("MAL-1", "leaf"));
    eventually("the new record is known", async || {
        query(&larder, "leaf", "2.0").await.1["vulns"][0]["id"] == "MAL-1"
    })
    .await;
    let state = larder.get("/-/api/v1/advisories").await.json();
    assert_eq!((&state["records"], &state["malicious"]), (&json!(2), &json!(1)));
    fs::write(folder.path().join("all.zip"), "torn").expect("the folder can be written");
    fs::remove_file(folder.path().join("MAL-1.json")).expect("it is there");
    let metrics = async || larder.get("/-/metrics").await.text();
    eventually("the torn archive is noticed", async || {
        metrics().await.contains("larder_advisory_loads_total{outcome=\"failed\"}")
    })
    .await;
    assert_eq!(query(&larder, "leaf", "2.0").await.1["vulns"][0]["id"], "MAL-1", "it stays");
}
