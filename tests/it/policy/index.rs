//! Python packages under rules.

use http::{Method, header};
use tempfile::TempDir;

use super::stand::{Case, Stand, rule, said, warns_and_runs_dry};
use crate::advisories::{flaw, put};
use crate::support::index::{FakeIndex, Style, Upload};
use crate::support::larder::over;
use crate::support::raw;

/// Two weeks before the clock of tests begins.
const RECENT: &str = "2027-01-01T00:00:00Z";

const EVERYWHERE: [bool; 3] = [true; 3];
/// What only the JSON API of a release tells.
const NOT_LISTED: [bool; 3] = [false, true, true];

/// Every key on packages, with what the release `six 1.0` is.
pub const CASES: [Case; 29] = [
    Case::new("name_in = \"s*x\"", "name_in = [\"seven\", \"sixty\"]", EVERYWHERE),
    Case::new("name_not_in = \"acme-*\"", "name_not_in = \"six\"", EVERYWHERE),
    Case::new("version_in = \"1.*\"", "version_in = \"1\"", EVERYWHERE),
    Case::new("file_in = \"*-any.whl\"", "file_in = \"*.exe\"", EVERYWHERE),
    Case::new("upstream_in = \"127.0.0.1\"", "upstream_in = \"index.example\"", EVERYWHERE),
    Case::new("upstream_not_in = \"index.example\"", "upstream_not_in = \"127.*\"", EVERYWHERE),
    Case::new("size_gte = 1", "size_gte = \"1 GB\"", EVERYWHERE),
    Case::new("size_lt = \"1 GB\"", "size_lt = 1", EVERYWHERE),
    Case::new("format_in = \"wheel\"", "format_in = \"sdist\"", EVERYWHERE),
    Case::new("release_age_lt = \"30 days\"", "release_age_lt = \"7 days\"", EVERYWHERE),
    Case::new("release_age_gte = \"7 days\"", "release_age_gte = \"30 days\"", EVERYWHERE),
    Case::new("project_age_lt = \"30 days\"", "project_age_lt = \"7 days\"", EVERYWHERE),
    Case::new("newer_version = true", "newer_version = false", EVERYWHERE),
    Case::new("yanked = true", "yanked = false", EVERYWHERE),
    Case::new("project_status_in = \"archived\"", "project_status_in = \"active\"", EVERYWHERE),
    Case::new("attested = true", "attested = false", EVERYWHERE),
    Case::new("malicious = false", "malicious = true", EVERYWHERE),
    Case::new("vulnerability_in = \"CVE-X-*\"", "vulnerability_in = \"Y-*\"", EVERYWHERE),
    Case::new("cvss_gte = 9.0", "cvss_gte = 9.9", EVERYWHERE),
    Case::new("cvss_lt = 9.9", "cvss_lt = 9.0", EVERYWHERE),
    Case::new("fix_available = true", "fix_available = false", EVERYWHERE),
    Case::new("license_in = \"GPL-3.0*\"", "license_in = \"MIT\"", NOT_LISTED),
    Case::new("license_not_in = \"MIT\"", "license_not_in = \"GPL-3.0-only\"", NOT_LISTED),
    Case::new("license_unknown = false", "license_unknown = true", NOT_LISTED),
    Case::new("license_changed = false", "license_changed = true", NOT_LISTED),
    Case::new("publisher_changed = false", "publisher_changed = true", NOT_LISTED),
    Case::new("maintainers_lt = 3", "maintainers_lt = 2", NOT_LISTED),
    Case::new(
        r#"when = 'yanked && file.endsWith(".whl") && now - release > duration("7 days")'"#,
        r#"when = 'yanked && file.endsWith(".whl") && now - release > duration("30 days")'"#,
        EVERYWHERE,
    ),
    Case::new(
        r#"when = 'size > 1 && (license.metBy("GPL-3.0-only") || maintainers > 9)'"#,
        r#"when = 'size > 1 && (license.metBy(["MIT", "BSD-*"]) || maintainers > 9)'"#,
        NOT_LISTED,
    ),
];

/// An index with two releases of one project, of which the first has something of everything that rules look at.
pub async fn stock() -> FakeIndex {
    let index = FakeIndex::start(Style::Full).await;
    let mut first = Upload::wheel("six", "1.0").uploaded(RECENT);
    first.provenance = Some(index.pages.url("/integrity/six/1.0/provenance"));
    let second = Upload::wheel("six", "2.0").uploaded("2027-01-02T00:00:00Z");
    index.publish("six", [first, second]);
    index.yank("six", "1.0", Some("its author's reason"));
    index.set_status("six", "archived", "done");
    index.describe("six", 2, serde_json::json!({ "license_expression": "GPL-3.0-only" }));
    index
}

/// The settings over an index, with an advisory on its first release.
pub fn over_known(index: &FakeIndex, folder: &TempDir) -> String {
    put(folder.path(), &flaw("X-1", "six", "2.0"));
    format!("{}[advisories]\nfolder = {:?}\n", over(index), folder.path())
}

/// How the file stands on the page: its `yanked`.
async fn listed(stand: &Stand) -> String {
    let page = stand.larder.page("six").await.json();
    let files = page["files"].as_array().expect("files");
    let entry = files.iter().find(|file| file["filename"] == FILE).expect("the file is listed");
    entry["yanked"].as_str().unwrap_or_default().to_owned()
}

const FILE: &str = "six-1.0-py3-none-any.whl";

async fn link(stand: &Stand) -> String {
    stand.larder.link("six", FILE).await
}

#[tokio::test]
async fn every_key_decides_at_every_point_cold_and_kept() {
    let (index, folder) = (stock().await, TempDir::new().expect("a temporary folder can be made"));
    let mut stand = Stand::start(&over_known(&index, &folder), "").await;
    let (metadata, content) = {
        let content = link(&stand).await;
        (format!("{content}.metadata"), content)
    };
    let path = |address: &str| address[address.find("/files/").expect("a file's")..].to_owned();
    let (metadata, content) = (path(&metadata), path(&content));
    for address in [&metadata, &content] {
        stand.keep(&format!("/pypi/default{address}")).await;
    }
    stand.keep("/pypi/six/1.0/json").await;
    // Once with what upstream says for the first time, then with upstream gone.
    for is_kept in [false, true] {
        if is_kept {
            index.pages.refuse().await;
            index.files.refuse().await;
        }
        for case in CASES {
            for (condition, is_met) in [(case.met, true), (case.unmet, false)] {
                stand = stand.with(&rule("deny", condition)).await;
                let why = format!("{condition}, kept: {is_kept}");
                let yanked = listed(&stand).await;
                assert_eq!(yanked.contains("rule it"), is_met && case.listing, "{why}: {yanked}");
                for (address, is_told) in [(&metadata, case.metadata), (&content, case.content)] {
                    let reply = stand.larder.get(&format!("/pypi/default{address}")).await;
                    let expected = if is_met && is_told { 403 } else { 200 };
                    assert_eq!(reply.status, expected, "{why}: {address}: {reply:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn every_key_warns_and_runs_dry() {
    let (index, folder) = (stock().await, TempDir::new().expect("a temporary folder can be made"));
    let stand = Stand::start(&over_known(&index, &folder), "").await;
    stand.keep("/pypi/six/1.0/json").await;
    let link = link(&stand).await;
    let content = format!("/pypi/default{}", &link[link.find("/files/").expect("a file's")..]);
    let metadata = format!("{content}.metadata");
    warns_and_runs_dry(stand, &CASES, (Method::GET, &metadata), &content).await;
}

#[tokio::test]
async fn a_refusal_says_why_in_the_words_of_installers() {
    let index = stock().await;
    let stand = Stand::start(&over(&index), &rule("deny", "release_age_lt = \"30 days\"")).await;
    let content = link(&stand).await;
    let reply = stand.larder.client.get(&content).send().await;
    assert_eq!(reply.header("content-type"), "application/problem+json");
    let detail = reply.json()["detail"].as_str().expect("a detail").to_owned();
    assert!(detail.contains("is refused by rule it: release was 14 days ago"), "{detail}");
    // pip prints nothing but the reason phrase.
    let path = &content[stand.larder.url("").len()..];
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        stand.larder.address
    );
    let answer = raw::exchange(stand.larder.address, request.as_bytes()).await;
    let line = answer.lines().next().unwrap_or_default();
    assert!(line.starts_with("HTTP/1.1 403 ") && line.contains("rule it"), "{line}");

    let why = stand.why(&detail).await;
    assert_eq!(why["verdict"], "deny");
    assert_eq!(why["fired"][0]["rule"], "it");
    assert_eq!(why["facts"]["name"], "six");
    assert!(why["waiver"].as_str().is_some_and(|entry| entry.contains("digest")), "{why}");
    // What is on the page leads to an explanation, too.
    assert_eq!(stand.why(&listed(&stand).await).await["point"], "listing");
    let page = stand.larder.client.get(
        stand.larder.url(&detail[detail.find("/-/why").expect("an address")..detail.len() - 1]),
    );
    let page = said(&page.with("accept", "text/html").send().await);
    assert!(page.contains("Who said so") && page.contains("six-1.0"), "{page}");
    assert_eq!(stand.larder.get("/-/why/0123456789abcdef").await.status, 404);
    assert_eq!(stand.larder.get("/-/why/%3Cscript%3E").await.status, 404);
}

#[tokio::test]
async fn a_cool_down_holds_in_all_forms_until_its_time_has_come() {
    let index = stock().await;
    for condition in
        ["release_age_lt = \"30 days\"", "when = 'now - release < duration(\"30 days\")'"]
    {
        cool_down(&index, condition).await;
    }
}

async fn cool_down(index: &FakeIndex, condition: &str) {
    let stand = Stand::start(&over(index), &rule("hold", condition)).await;
    let html = async || {
        let page = stand.larder.client.get(stand.larder.url("/simple/six/"));
        said(&page.with("accept", "text/html").send().await)
    };
    let legacy = async |address: &str| said(&stand.larder.get(address).await);
    let content = link(&stand).await;
    assert!(listed(&stand).await.contains("held back by rule it"));
    assert_eq!(html().await.matches("held back by rule it").count(), 2);
    assert!(legacy("/pypi/six/1.0/json").await.contains("held back by rule it"));
    assert_eq!(stand.larder.client.get(&content).send().await.status, 403);
    stand.larder.advance(31 * 86_400);
    assert_eq!(listed(&stand).await, "its author's reason");
    assert!(!html().await.contains("rule it"));
    assert!(!legacy("/pypi/six/1.0/json").await.contains("rule it"));
    assert_eq!(stand.larder.client.get(&content).send().await.status, 200);
}

#[tokio::test]
async fn what_is_hidden_is_given_to_who_asks_for_exactly_it_with_a_warning() {
    let index = stock().await;
    let stand = Stand::start(&over(&index), &rule("hide", "version_in = \"1.0\"")).await;
    assert!(listed(&stand).await.contains("hidden by rule it"));
    let reply = stand.larder.file("six", FILE).await;
    assert_eq!(reply.status, 200);
    assert!(reply.header(header::WARNING.as_str()).contains("hidden by rule it"), "{reply:?}");
    let stand = stand.with(&rule("warn", "version_in = \"1.0\"")).await;
    assert_eq!(listed(&stand).await, "its author's reason");
    let reply = stand.larder.file("six", FILE).await;
    assert!(reply.header("warning").contains("warning by rule it"), "{reply:?}");
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_records_everything() {
    let index = stock().await;
    let rules = format!("mode = \"dry-run\"\n{}", rule("deny", "yanked = true"));
    let stand = Stand::start(&over(&index), &rules).await;
    assert_eq!(listed(&stand).await, "its author's reason");
    let reply = stand.larder.file("six", FILE).await;
    assert_eq!((reply.status.as_u16(), reply.header("warning")), (200, ""));
    // What was decided is written down at the end at the latest.
    let stand = stand.with(&rules).await;
    let report = stand.replay(&rule("deny", "yanked = true")).await;
    assert_eq!(report["rules"]["it"], 1, "{report}");
    let change = &report["changes"][0];
    assert_eq!((&change["was"], &change["becomes"]), (&"allow".into(), &"deny".into()), "{report}");
    assert!(change["examples"][0].as_str().is_some_and(|one| one.contains("six-1.0")), "{report}");
}

#[tokio::test]
async fn what_is_not_known_is_each_rule_to_decide_on() {
    let index = stock().await;
    index.describe("six", 2, serde_json::json!({}));
    for (condition, told) in [
        ("license_in = \"GPL*\"", "license is not known"),
        ("when = 'license == \"GPL-3.0-only\"'", "cannot be told: license unknown"),
        ("when = 'size / (maintainers - 2) > 1'", "cannot be computed"),
    ] {
        let rules =
            format!("[[rule]]\nid = \"it\"\non_missing = \"deny\"\nwarn_if = {{ {condition} }}");
        let stand = Stand::start(&over(&index), &rules).await;
        let reply = stand.larder.file("six", FILE).await;
        assert_eq!(reply.status, 403, "{condition}: {reply:?}");
        assert!(said(&reply).contains(told), "{condition}: {reply:?}");
        let stand = stand.with(&rules.replace("deny", "allow")).await;
        assert_eq!(stand.larder.file("six", FILE).await.status, 200, "{condition}");
    }
}

#[tokio::test]
async fn a_waiver_opens_what_it_names_and_nothing_else() {
    let index = stock().await;
    let stand = Stand::start(&over(&index), &rule("deny", "name_in = \"six\"")).await;
    let two = "six-2.0-py3-none-any.whl";
    stand.write(
        "waivers.toml",
        "[[waiver]]\nrule = \"it\"\nwhat = \"pypi:six==1.0\"\nreason = \"looked at\"\nexpires = 2027-02-01\n",
    );
    let stand = stand.with(&rule("deny", "name_in = \"six\"")).await;
    assert_eq!(stand.larder.file("six", FILE).await.status, 200);
    assert_eq!(stand.larder.file("six", two).await.status, 403);
    stand.larder.advance(31 * 86_400);
    assert_eq!(stand.larder.file("six", FILE).await.status, 403, "waivers end");
}
