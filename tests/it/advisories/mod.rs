//! Advisories from a folder, asked over loopback: by the shapes of the public API, after the folder has changed, and by real auditing tools.

mod clients;

use std::fs;
use std::path::Path;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::index::{FakeIndex, Style, Upload};
use crate::support::larder::{Larder, over};
use crate::support::wait::eventually;

/// A record in the OSV format of a flaw in the versions of `name` before `fixed`.
pub fn flaw(id: &str, name: &str, fixed: &str) -> Value {
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

pub fn put(folder: &Path, record: &Value) {
    let name = format!("{}.json", record["id"].as_str().expect("a name"));
    fs::write(folder.join(name), record.to_string()).expect("the folder can be written");
}

/// A Larder over an index, with these records.
async fn start(index: &FakeIndex, folder: &Path, records: &[Value]) -> Larder {
    start_with(index, folder, records, "").await
}

async fn start_with(index: &FakeIndex, folder: &Path, records: &[Value], more: &str) -> Larder {
    records.iter().for_each(|record| put(folder, record));
    let settings = format!(
        "{}[advisories]\nfolder = {:?}\nreload = \"20ms\"\n{more}",
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
    let index = FakeIndex::start(Style::Full).await;
    let larder = Larder::over(&index).await;
    let (status, told) = query(&larder, "six", "1").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{told}");
    assert!(told["message"].as_str().expect("a message").contains("`advisories.folder`"));
}

#[tokio::test]
async fn what_changes_in_the_folder_is_known_soon() {
    let index = FakeIndex::start(Style::Full).await;
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
    let known = larder.get("/-/api/v1/advisories/PyPI/leaf/2.0").await.json();
    assert_eq!(known["findings"][0]["id"], "MAL-1", "what was known stays: {known}");
}

/// The files that a project's page offers, without those that it tells as withdrawn.
async fn offered(larder: &Larder, project: &str) -> Vec<String> {
    let page = larder.page(project).await.json();
    let files = page["files"].as_array().into_iter().flatten();
    let files = files.filter(|file| matches!(file["yanked"], Value::Null | Value::Bool(false)));
    files.filter_map(|file| file["filename"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn what_turns_out_to_be_malicious_is_refused_also_where_it_is_kept() {
    let index = FakeIndex::start(Style::Full).await;
    index.publish("leaf", [Upload::wheel("leaf", "1.0"), Upload::wheel("leaf", "2.0")]);
    let folder = tempfile::TempDir::new().expect("a folder");
    let larder = start(&index, folder.path(), &[]).await;
    let (good, bad) = ("leaf-1.0-py3-none-any.whl", "leaf-2.0-py3-none-any.whl");
    let link = larder.link("leaf", bad).await;
    assert_eq!(larder.file("leaf", bad).await.status, StatusCode::OK);
    assert_eq!(offered(&larder, "leaf").await, [good, bad]);
    let mut record = malware("MAL-1", "leaf");
    record["affected"][0]["ranges"] = json!([]);
    record["affected"][0]["versions"] = json!(["2.0"]);
    put(folder.path(), &record);
    eventually("the file is refused", async || {
        larder.client.get(&link).send().await.status == StatusCode::FORBIDDEN
    })
    .await;
    assert_eq!(offered(&larder, "leaf").await, [good]);
    let page = larder.page("leaf").await.json();
    let reason = page["files"][1]["yanked"].as_str().expect("a reason");
    assert!(reason.contains("known to be malicious") && reason.contains("/-/why/"), "{reason}");
    assert_eq!(larder.file("leaf", good).await.status, StatusCode::OK);
    let refusal = larder.client.get(&link).send().await.text();
    assert!(refusal.contains("known to be malicious"), "{refusal}");
    fs::remove_file(folder.path().join("MAL-1.json")).expect("it is there");
    eventually("the record was taken back", async || {
        larder.client.get(&link).send().await.status == StatusCode::OK
    })
    .await;
    assert_eq!(offered(&larder, "leaf").await, [good, bad]);
}

#[tokio::test]
async fn rules_look_at_what_advisories_say() {
    let index = FakeIndex::start(Style::Full).await;
    index.publish("leaf", [Upload::wheel("leaf", "1.0"), Upload::wheel("leaf", "2.0")]);
    let place = tempfile::TempDir::new().expect("a folder");
    let (folder, rules) = (place.path().join("advisories"), place.path().join("policy.toml"));
    fs::create_dir(&folder).expect("the folder can be written");
    let text = "[[rule]]\nid = \"severe\"\ndeny_if = { cvss_gte = 9.0, fix_available = true }\n\
                [[rule]]\nid = \"by-name\"\nwarn_if = { vulnerability_in = [\"CVE-X-*\"] }\n";
    fs::write(&rules, text).expect("the folder can be written");
    let more = format!("[policy]\nfile = {:?}\n", rules.display().to_string());
    let larder = start_with(&index, &folder, &[flaw("X-1", "leaf", "1.5")], &more).await;
    let mended = larder.file("leaf", "leaf-2.0-py3-none-any.whl").await;
    assert_eq!((mended.status, mended.header("warning")), (StatusCode::OK, ""));
    let link = larder.link("leaf", "leaf-1.0-py3-none-any.whl").await;
    let refused = larder.client.get(&link).send().await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let told = refused.text();
    assert!(told.contains("cvss 9.8 is at least 9.0"), "{told}");
    let why = &told[told.find("/-/why/").expect("an address")..][..7 + 16];
    let why = larder.get(why).await.json();
    assert_eq!(why["newest_advisory"], "2026-01-01T00:00:00Z", "{why}");
}
