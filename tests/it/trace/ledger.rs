//! The ledger as its readers see it: over the API while Larder runs, on the command line when it does not, and after somebody had his hands on it.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::child;
use crate::support::hub::{FakeHub, File, files};
use crate::support::index::{FakeIndex, Style, Upload};
use crate::support::larder::{Larder, over_hub};
use crate::support::origin::Fault;
use crate::support::wait::eventually;

/// Records of the ledger as `kind subject`, oldest first.
async fn records(larder: &Larder, query: &str) -> Vec<String> {
    let answer = larder.get(&format!("/-/api/v1/log{query}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let records = answer.json()["records"].clone();
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let records = records.as_array().expect("records").iter();
    records
        .map(|record| format!("{} {}", text(&record["kind"]), text(&record["subject"])))
        .collect()
}

/// Waits until the ledger ends with these: events are told of behind the answers that they came with.
async fn ends_with(larder: &Larder, expected: &[&str]) {
    eventually("the events are recorded", async || {
        records(larder, "")
            .await
            .ends_with(&expected.iter().map(ToString::to_string).collect::<Vec<_>>())
    })
    .await;
}

/// An index and a Larder over it which have been through something.
async fn eventful() -> (FakeIndex, Larder) {
    let index = FakeIndex::start(Style::Full).await;
    index.publish("six", [Upload::wheel("six", "1.0"), Upload::wheel("six", "2.0")]);
    let larder = Larder::over(&index).await;
    assert_eq!(larder.page("six").await.status, 200);
    ends_with(&larder, &["appeared pypi:six"]).await;
    index.yank("six", "2.0", Some("broken"));
    larder.advance(3600);
    larder.page("six").await;
    ends_with(&larder, &["yanked pypi:six==2.0"]).await;
    index.delete_release("six", "1.0");
    larder.advance(3600);
    larder.page("six").await;
    ends_with(&larder, &["vanished pypi:six==1.0"]).await;
    index.delete_project("six");
    larder.advance(3600);
    larder.page("six").await;
    ends_with(&larder, &["vanished pypi:six"]).await;
    (index, larder)
}

/// Runs `larder` on the data of a Larder that does not run.
fn larder(folder: &Path, arguments: &[&str]) -> Output {
    let mut command: Command = child::binary();
    command.args(arguments);
    if arguments.get(1) != Some(&"check-proof") && !arguments.contains(&"--key") {
        command.arg("--config").arg(folder.join("larder.toml"));
        command.arg("--data-dir").arg(folder.join("data"));
        // A port that nothing listens on.
        command.args(["--listen", "127.0.0.1:1"]);
    }
    command.output().expect("it can be run")
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[tokio::test]
async fn events_are_told_over_the_api_and_survive_a_restart() {
    let (_index, larder) = eventful().await;
    let all = records(&larder, "").await;
    assert_eq!(all.len(), 4, "{all:?}");
    assert_eq!(records(&larder, "?kind=yanked,moved").await, ["yanked pypi:six==2.0"]);
    assert_eq!(records(&larder, "?subject=pypi:six==1.0").await, ["vanished pypi:six==1.0"]);
    assert_eq!(records(&larder, "?subject=pypi:sixty").await, Vec::<String>::new());
    assert_eq!(records(&larder, "?since=90m").await, all[2..]);
    assert_eq!(records(&larder, "?from=1&limit=2").await, all[1..3]);
    assert_eq!(records(&larder, "?limit=1").await, all[3..]);
    assert_eq!(larder.get("/-/api/v1/log?kind=moving").await.status, 400);
    assert_eq!(larder.get("/-/api/v1/log?since=soon").await.status, 400);
    assert_eq!(larder.get("/-/api/v1/log/4/proof").await.status, 404);
    assert_eq!(larder.get("/-/api/v1/log/consistency?from=5").await.status, 404);
    assert_eq!(larder.get("/-/api/v1/log/consistency?from=3").await.status, 200);
    let exported = larder.get("/-/api/v1/log/export?from=3").await.text();
    assert!(exported.contains("\"index\":3,\"kind\":\"vanished\""), "{exported}");
    let metrics = larder.get("/-/metrics").await.text();
    assert!(metrics.contains("larder_events_total{kind=\"yanked\"}"), "{metrics}");

    let larder = larder.restart().await;
    assert_eq!(records(&larder, "").await, all);
}

#[tokio::test]
async fn what_was_done_to_the_ledger_meanwhile_is_found() {
    let (_index, running) = eventful().await;
    let folder = running.folder().to_owned();
    let keep = running.while_away(async |_, _| {
        let ran = larder(&folder, &["log", "--kind", "yanked"]);
        assert!(text(&ran).contains("yanked            pypi:six==2.0"), "{}", text(&ran));
        let ran = larder(&folder, &["log", "verify"]);
        assert!(
            ran.status.success() && text(&ran).contains("all of it is right"),
            "{}",
            text(&ran)
        );

        let (checkpoint, proof) = (folder.join("monday"), folder.join("proof"));
        std::fs::write(&checkpoint, larder(&folder, &["log", "checkpoint"]).stdout)
            .expect("written");
        let key = text(&larder(&folder, &["log", "key"])).trim().to_owned();
        std::fs::write(&proof, larder(&folder, &["log", "proof", "1"]).stdout).expect("written");
        let path = proof.to_str().expect("a path");
        let ran = larder(&folder, &["log", "check-proof", path, "--key", &key]);
        assert!(ran.status.success() && text(&ran).contains("record 1 is in"), "{}", text(&ran));
        let forged = std::fs::read_to_string(&proof).expect("read").replace("broken", "mended");
        std::fs::write(&proof, forged).expect("written");
        let ran = larder(&folder, &["log", "check-proof", path]);
        assert_eq!(ran.status.code(), Some(1), "{}", text(&ran));

        // Somebody changes a record, and nothing else.
        let lines = folder.join("data/ledger/00000000000000000000.jsonl");
        let before = std::fs::read_to_string(&lines).expect("read");
        std::fs::write(&lines, before.replace("broken", "mended")).expect("written");
        let ran = larder(&folder, &["log", "verify"]);
        assert_eq!(ran.status.code(), Some(1), "{}", text(&ran));
        assert!(text(&ran).contains("the first 4 records are not those"), "{}", text(&ran));

        // An exported ledger is checked against a checkpoint that was kept elsewhere.
        let exported = folder.join("exported");
        let monday = checkpoint.to_str().expect("a path");
        let verify = |text_of: &str| {
            std::fs::write(&exported, text_of).expect("written");
            let file = exported.to_str().expect("a path");
            larder(&folder, &["log", "verify", file, "--checkpoint", monday, "--key", &key])
        };
        assert!(verify(&before).status.success());
        let shorter: String = before.lines().take(3).map(|line| format!("{line}\n")).collect();
        let ran = verify(&shorter);
        assert_eq!(ran.status.code(), Some(1));
        assert!(text(&ran).contains("there are 3 records, and"), "{}", text(&ran));
        std::fs::write(&lines, before).expect("written");
    });
    let running = keep.await;
    assert_eq!(records(&running, "").await.len(), 4);
}

/// Upstream sends other bytes than its own index promises: nobody gets them, and the ledger has it, once.
#[tokio::test]
async fn bytes_that_are_not_those_that_were_promised_are_an_event() {
    let index = FakeIndex::start(Style::Full).await;
    let upload = Upload::wheel("six", "1.0");
    index.publish("six", [upload.clone()]);
    index.files.fault("*", Fault::Corrupt);
    let larder = Larder::over(&index).await;
    for _ in 0..2 {
        let refused = larder.file("six", &upload.filename).await;
        assert_eq!(refused.status, 502, "{refused:?}");
    }
    let mutated = format!("mutated pypi:six==1.0/{}", upload.filename);
    eventually("it is recorded", async || {
        records(&larder, "?kind=mutated").await == [mutated.clone()]
    })
    .await;
    let told = larder.get("/-/api/v1/log?kind=mutated").await.json();
    assert_eq!(told["records"][0]["before"], format!("sha256:{}", upload.digest));
}

/// The same for a hub: a commit's file is what its digest says, for ever.
#[tokio::test]
async fn a_file_of_a_commit_that_is_another_is_an_event() {
    let hub = FakeHub::start().await;
    let commit = hub.model("org/model", files([("w.bin", File::lfs("weights"))]));
    hub.cdn.fault("*", Fault::Corrupt);
    let larder = Larder::start(&over_hub(&hub, "")).await;
    let refused = larder.get("/org/model/resolve/main/w.bin").await;
    assert!(refused.status.is_server_error(), "{refused:?}");
    let mutated = format!("mutated hf:org/model@{commit}/w.bin");
    eventually("it is recorded", async || {
        records(&larder, "?kind=mutated").await == [mutated.clone()]
    })
    .await;
}
