//! What was once on a page stays installable: deletion, yank, quarantine and vanishing young are four different things.

use std::time::Duration;

use larder::types::Timestamp;

use crate::support::index::{EVERY_STYLE, FakeIndex, Style, Upload, sha256};
use crate::support::larder::Larder;

const OLD: &str = "2024-05-06T07:08:09.123456Z";

/// Files on a page with their `yanked` keys.
async fn listed(larder: &Larder) -> Vec<(String, serde_json::Value)> {
    let page = larder.page("six").await;
    assert_eq!(page.status, 200, "{page:?}");
    let page = page.json();
    let files = page["files"].as_array().expect("files");
    let text = |value: &serde_json::Value| value.as_str().expect("a name").to_owned();
    files.iter().map(|file| (text(&file["filename"]), file["yanked"].clone())).collect()
}

/// A file's entry on the page.
async fn entry(larder: &Larder, filename: &str) -> serde_json::Value {
    let page = larder.page("six").await.json();
    let files = page["files"].as_array().expect("files");
    let entry = files.iter().find(|file| file["filename"] == filename);
    entry.unwrap_or_else(|| panic!("{filename} is not listed: {page}")).clone()
}

async fn names(larder: &Larder) -> Vec<String> {
    listed(larder).await.into_iter().map(|(name, _)| name).collect()
}

fn wheel(version: &str) -> String {
    format!("six-{version}-py3-none-any.whl")
}

/// An index with two releases of one project, seen by Larder.
async fn seen(style: Style) -> (FakeIndex, Larder) {
    let index = FakeIndex::start(style).await;
    index.publish(
        "six",
        [Upload::wheel_for_python("six", "1.0", ">=3.8"), Upload::wheel("six", "2.0")],
    );
    let larder = Larder::over(&index).await;
    assert_eq!(names(&larder).await, [wheel("1.0"), wheel("2.0")], "{style:?}");
    larder.advance(3600);
    (index, larder)
}

#[tokio::test]
async fn a_deleted_release_stays_listed_with_its_attributes() {
    for style in EVERY_STYLE {
        let (index, larder) = seen(style).await;
        let before = entry(&larder, &wheel("1.0")).await;
        // Where upstream names no time of upload, what was first seen this long ago is not young any more.
        larder.advance(15 * 86_400);
        index.delete_release("six", "1.0");
        let mut after = entry(&larder, &wheel("1.0")).await;
        // Marked so that a person can see it; everything else is as it was.
        let mark: Vec<String> = after
            .as_object()
            .expect("an entry")
            .keys()
            .filter(|key| before.get(*key).is_none())
            .cloned()
            .collect();
        assert!(!mark.is_empty(), "{style:?}: {after}");
        for key in mark {
            after.as_object_mut().expect("an entry").remove(&key);
        }
        assert_eq!(after, before, "{style:?}");
        assert_eq!(after["requires-python"], ">=3.8", "{style:?}");
        // Never downloaded before: the object outlives its index entry upstream.
        assert_eq!(larder.file("six", &wheel("1.0")).await.status, 200, "{style:?}");
    }
}

#[tokio::test]
async fn a_deleted_release_that_was_kept_is_served_though_its_file_is_gone() {
    let index = FakeIndex::start(Style::Full).await;
    let upload = Upload::wheel("six", "1.0");
    index.publish("six", [upload.clone(), Upload::wheel("six", "2.0")]);
    let larder = Larder::over(&index).await;
    larder.file("six", &wheel("1.0")).await;
    index.delete_release("six", "1.0");
    index.destroy_file(&upload);
    larder.advance(3600);
    let file = larder.file("six", &wheel("1.0")).await;
    assert_eq!((file.status.as_u16(), sha256(&file.body)), (200, upload.digest));
}

#[tokio::test]
async fn a_deleted_project_is_served_and_says_so() {
    let (index, larder) = seen(Style::Full).await;
    index.delete_project("six");
    let page = larder.page("six").await;
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.header("warning").contains("gone"), "{page:?}");
    assert_eq!(names(&larder).await, [wheel("1.0"), wheel("2.0")]);
    assert_eq!(larder.file("six", &wheel("2.0")).await.status, 200);
}

#[tokio::test]
async fn a_deleted_project_that_reappears_is_as_good_as_new() {
    let (index, larder) = seen(Style::Full).await;
    index.delete_project("six");
    larder.page("six").await;
    larder.advance(3600);
    index.publish("six", [Upload::wheel("six", "3.0")]);
    let page = larder.page("six").await;
    assert_eq!(page.header("warning"), "", "{page:?}");
    assert_eq!(names(&larder).await, [wheel("1.0"), wheel("2.0"), wheel("3.0")]);
}

#[tokio::test]
async fn a_yank_is_handed_on_and_can_be_undone() {
    for style in [Style::Full, Style::HtmlOnly] {
        let (index, larder) = seen(style).await;
        let yank = async |reason: Option<&str>| {
            index.yank("six", "1.0", reason);
            larder.advance(3600);
            listed(&larder).await.remove(0).1
        };
        assert_eq!(yank(Some("broken \"and\" <bad>")).await, "broken \"and\" <bad>", "{style:?}");
        assert_ne!(yank(None).await, true, "{style:?}");
        // A yanked file is still given to whoever asks for exactly it.
        yank(Some("broken")).await;
        assert_eq!(larder.file("six", &wheel("1.0")).await.status, 200, "{style:?}");
    }
}

#[tokio::test]
async fn a_yanked_release_that_is_deleted_stays_yanked() {
    let (index, larder) = seen(Style::Full).await;
    index.yank("six", "1.0", Some("broken"));
    assert_eq!(listed(&larder).await[0].1, "broken");
    index.delete_release("six", "1.0");
    larder.advance(3600);
    assert_eq!(listed(&larder).await[0], (wheel("1.0"), "broken".into()));
}

#[tokio::test]
async fn a_quarantined_project_offers_nothing() {
    let (index, larder) = seen(Style::Full).await;
    let link = larder.link("six", &wheel("1.0")).await;
    assert_eq!(larder.client.get(&link).send().await.status, 200);
    larder.advance(3600);
    index.set_status("six", "quarantined", "malware report");
    let page = larder.page("six").await;
    assert_eq!(page.status, 200, "{page:?}");
    assert_eq!(page.json()["project-status"]["status"], "quarantined");
    assert_eq!(page.json()["files"], serde_json::json!([]));
    // Also for what is kept: a lock file goes around the page.
    let file = larder.client.get(&link).send().await;
    assert_eq!(
        (file.status.as_u16(), file.header("content-type")),
        (403, "application/problem+json"),
        "{file:?}"
    );
    // Quarantine ends as it began.
    larder.advance(3600);
    index.set_status("six", "active", "");
    assert_eq!(names(&larder).await, [wheel("1.0"), wheel("2.0")]);
    assert_eq!(larder.client.get(&link).send().await.status, 200);
}

#[tokio::test]
async fn what_vanishes_young_is_held() {
    let index = FakeIndex::start(Style::Full).await;
    let larder = Larder::over(&index).await;
    // As it looks when a malicious release is taken down: uploaded yesterday, gone today, the project lives on.
    let yesterday = larder.clock.now().minus(Duration::from_secs(86_400));
    index.publish(
        "six",
        [
            Upload::wheel("six", "1.0").uploaded(OLD),
            Upload::wheel("six", "2.0").uploaded(&rfc3339(yesterday)),
        ],
    );
    assert_eq!(names(&larder).await, [wheel("1.0"), wheel("2.0")]);
    let link = larder.link("six", &wheel("2.0")).await;
    assert_eq!(larder.client.get(&link).send().await.status, 200);
    index.delete_release("six", "2.0");
    larder.advance(3600);
    assert_eq!(names(&larder).await, [wheel("1.0")]);
    let held = larder.client.get(&link).send().await;
    assert_eq!(
        (held.status.as_u16(), held.header("content-type")),
        (403, "application/problem+json"),
        "{held:?}"
    );
    // Held in the wrong: it comes back.
    index.publish("six", [Upload::wheel("six", "2.0").uploaded(&rfc3339(yesterday))]);
    larder.advance(3600);
    assert_eq!(names(&larder).await, [wheel("1.0"), wheel("2.0")]);
}

#[tokio::test]
async fn history_survives_a_restart() {
    let (index, larder) = seen(Style::Full).await;
    index.delete_release("six", "1.0");
    larder.page("six").await;
    let larder = larder.restart().await;
    larder.advance(3600);
    assert_eq!(names(&larder).await, [wheel("1.0"), wheel("2.0")]);
}

#[tokio::test]
async fn a_file_whose_bytes_changed_under_its_address_is_not_the_file() {
    let index = FakeIndex::start(Style::Full).await;
    let upload = Upload::wheel("six", "1.0");
    index.publish("six", [upload.clone()]);
    let larder = Larder::over(&index).await;
    let first = larder.file("six", &wheel("1.0")).await;
    index.replace_file(&upload, "other bytes");
    larder.advance(100_000_000);
    let second = larder.file("six", &wheel("1.0")).await;
    assert_eq!((second.status.as_u16(), &second.body), (200, &first.body));
}

fn rfc3339(time: Timestamp) -> String {
    let text =
        jiff::Timestamp::from_second(time.secs().cast_signed()).expect("a time of this century");
    format!("{text:.6}")
}
