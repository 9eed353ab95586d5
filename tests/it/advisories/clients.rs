//! Real auditing tools, with nothing to ask but Larder.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::{flaw, malware, start_with};
use crate::support::index::{FakeIndex, Style, Upload};
use crate::support::installer::tool;
use crate::support::larder::Larder;
use crate::support::wait::soon;

/// What a tool came to.
struct Said {
    code: Option<i32>,
    out: String,
    all: String,
}

async fn run(mut command: Command) -> Said {
    let output = soon("the tool", command.output()).await.expect("it can be run");
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let all = format!("{out}{}", String::from_utf8_lossy(&output.stderr));
    Said { code: output.status.code(), out, all }
}

/// A project that needs three packages, two of which something is known of.
async fn stage(place: &Path) -> (FakeIndex, Larder) {
    // Larder itself would refuse what is malicious; here it is the clients that must notice.
    stage_with(place, "[policy]\nmalicious = \"allow\"\n").await
}

async fn stage_with(place: &Path, policy: &str) -> (FakeIndex, Larder) {
    let index = FakeIndex::start(Style::Full).await;
    for name in ["leaf", "tree", "stone"] {
        index.publish(name, [Upload::wheel(name, "1.0")]);
    }
    let folder = place.join("advisories");
    fs::create_dir(&folder).expect("the folder can be written");
    let records =
        [flaw("PYSEC-1", "leaf", "1.5"), flaw("PYSEC-2", "tree", "1.0"), malware("MAL-3", "stone")];
    let larder = start_with(&index, &folder, &records, policy).await;
    (index, larder)
}

fn uv(place: &Path, arguments: &[&str]) -> Command {
    let mut command = tool("uv-0.13.9", "uv", place);
    command.args(arguments).args(["--cache-dir", "cache", "--preview"]);
    command
}

fn project(place: &Path, larder: &Larder) {
    let text = format!(
        "[project]\nname = \"trial\"\nversion = \"0\"\nrequires-python = \">=3.9\"\ndependencies = [\"leaf\", \"tree\", \"stone\"]\n\
         [[tool.uv.index]]\nurl = \"{}\"\ndefault = true\n",
        larder.url("/simple/")
    );
    fs::write(place.join("pyproject.toml"), text).expect("the folder can be written");
}

#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn uv_audits_behind_larder() {
    let place = TempDir::new().expect("a temporary folder can be made");
    let (index, larder) = stage(place.path()).await;
    project(place.path(), &larder);
    let locked = run(uv(place.path(), &["lock"])).await;
    assert_eq!(locked.code, Some(0), "{}", locked.all);
    index.pages.refuse().await;
    index.files.refuse().await;
    let service = larder.url("/-/osv/");
    let audit = ["audit", "--frozen", "--service-url", &service];
    let said = run(uv(place.path(), &audit)).await;
    assert_eq!(said.code, Some(1), "{}", said.all);
    for part in ["PYSEC-1", "1.5", "MAL-3"] {
        assert!(said.all.contains(part), "{part}: {}", said.all);
    }
    assert!(!said.all.contains("PYSEC-2"), "tree 1.0 is mended: {}", said.all);
    let mut ignoring = uv(place.path(), &audit);
    ignoring.args(["--ignore", "PYSEC-1", "--ignore", "MAL-3"]);
    let said = run(ignoring).await;
    assert_eq!(said.code, Some(0), "{}", said.all);
}

/// Who asks for a malicious release is told that it is one, and not that there is no such version.
#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn uv_says_what_is_malicious() {
    let place = TempDir::new().expect("a temporary folder can be made");
    let (_index, larder) = stage_with(place.path(), "").await;
    for wanted in ["stone", "stone==1.0"] {
        let index = larder.url("/simple/");
        let arguments =
            ["pip", "install", wanted, "--default-index", &index, "--target", "site", "--no-deps"];
        let said = run(uv(place.path(), &arguments)).await;
        assert_ne!(said.code, Some(0), "{}", said.all);
        // uv breaks lines where it likes.
        let told = said.all.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains("known to be malicious"), "{wanted}: {told}");
    }
}

#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn pip_audit_audits_behind_larder() {
    let place = TempDir::new().expect("a temporary folder can be made");
    let (_index, larder) = stage(place.path()).await;
    let requirements = "leaf==1.0\ntree==1.0\nstone==1.0\n";
    fs::write(place.path().join("requirements.txt"), requirements)
        .expect("the folder can be written");
    let mut command = tool("pip-audit-2.10.1", "pip-audit", place.path());
    command.args(["--vulnerability-service", "osv", "--osv-url", &larder.url("/-/osv/v1/query")]);
    command.args(["--requirement", "requirements.txt", "--no-deps", "--disable-pip"]);
    command.args(["--format", "json", "--progress-spinner", "off", "--cache-dir", "cache"]);
    let said = run(command).await;
    assert_eq!(said.code, Some(1), "{}", said.all);
    let told: Value = serde_json::from_str(&said.out).expect("JSON");
    let found: Vec<(&str, &str)> = told["dependencies"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|one| {
            let vulns = one["vulns"].as_array().into_iter().flatten();
            vulns
                .map(|vuln| (one["name"].as_str().unwrap_or(""), vuln["id"].as_str().unwrap_or("")))
        })
        .collect();
    assert_eq!(found, [("leaf", "PYSEC-1"), ("stone", "MAL-3")], "{}", said.all);
    assert_eq!(told["dependencies"][0]["vulns"][0]["fix_versions"][0], "1.5");
}
