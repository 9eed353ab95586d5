//! The life of a page from upstream's answers to what clients read, and the plans that hang on it. Times are passed in.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use proptest::prelude::*;
use url::Url;

use crate::cache::failure::Failure;
use crate::cache::lookup::{Artifact, Document, Fresh, Keep, Parsed, Stale};
use crate::ecosystem::pypi::links::Address;
use crate::ecosystem::pypi::listing::{Listing, Place};
use crate::ecosystem::pypi::merge::ProjectPage;
use crate::ecosystem::pypi::offer::{self, Offer, Offered};
use crate::ecosystem::pypi::page::*;
use crate::ecosystem::pypi::{Index, IndexConfig, render_html, render_json};
use crate::ecosystem::{
    Access, Ask, ClientCredential, Ecosystem, Held, Plan, Reply, Serve, Standing, Step, View,
};
use crate::policy::{self, Ruleset, Verdict};
use crate::types::event::What;
use crate::types::{Audience, Head, Presence, Secret, Timestamp};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// 23 November 2026.
const NOW: Timestamp = Timestamp::from_secs(1_795_392_000);
const SOURCE: &str = "https://index.example/simple/";
const JSON: &str = include_str!("../../../tests/fixtures/pypi/demo.json");
const HTML: &str = include_str!("../../../tests/fixtures/pypi/demo.html");
const TENSORS: &str = include_str!("../../../tests/fixtures/pypi/tensors.html");
const FLAT: &str = include_str!("../../../tests/fixtures/pypi/flat.html");

/// A project whose upstreams answer one after the other.
struct Story {
    keep: ProjectPage,
    page: Option<Parsed>,
    bytes: Bytes,
    /// What happened last.
    told: Vec<What>,
}

impl Story {
    fn of(name: &str) -> Self {
        let keep = ProjectPage {
            name: name.to_owned(),
            sources: vec![SOURCE.into()],
            flat: vec![false],
            subject: format!("pypi:{name}"),
        };
        Self { keep, page: None, bytes: Bytes::new(), told: Vec::new() }
    }

    fn hears(&mut self, body: &str, now: Timestamp) -> Result<(), String> {
        self.hears_from(0, body, now)
    }

    fn hears_from(&mut self, origin: usize, body: &str, now: Timestamp) -> Result<(), String> {
        let (head, body) = (Head::new(StatusCode::OK), Bytes::copy_from_slice(body.as_bytes()));
        let url = Url::parse(&self.keep.sources[origin]).and_then(|url| url.join("demo-project/"));
        let url = url.expect("an address");
        let fresh = Fresh { origin, url: &url, head: &head, body: &body, rest: &[], now };
        let kept = self.keep.merge(self.page.as_ref(), &fresh)?;
        let read = self.keep.read(&kept.bytes).expect("what was written can be read");
        assert_eq!(read.get::<Page>(), kept.parsed.get::<Page>());
        self.bytes = kept.bytes;
        self.told = kept.events;
        self.page = Some(read);
        Ok(())
    }

    fn loses_project(&mut self, now: Timestamp) -> bool {
        let kept = self.keep.absent(self.page.as_ref().expect("a page"), now);
        let recorded = kept.is_some();
        self.page = kept.map(|kept| kept.parsed).or_else(|| self.page.take());
        recorded
    }

    fn page(&self) -> &Page {
        self.page.as_ref().and_then(Parsed::get).expect("a page")
    }

    /// The names that are listed, with their marks.
    fn listed(&self) -> Vec<(String, Option<String>)> {
        listed(self.page(), &Ruleset::default())
    }

    fn names(&self) -> Vec<String> {
        self.listed().into_iter().map(|(name, _)| name).collect()
    }
}

fn place() -> Place {
    Place {
        relative_root: "../../".to_owned(),
        absolute_root: "http://larder.example/pypi/default/".to_owned(),
        space: "pypi/default".to_owned(),
        audience: Audience::Public,
        base: "http://larder.example".to_owned(),
    }
}

fn with_listing<T>(
    page: &Page,
    rules: &Ruleset,
    standing: Standing,
    use_it: impl FnOnce(&Listing<'_>) -> T,
) -> T {
    let parsed = Parsed::new(page.clone());
    let view = View { document: &parsed, standing, now: NOW, is_kept: &|_| false, note: &|_| () };
    use_it(&Listing::of(page, rules, &place(), &view))
}

fn standing(offline: bool) -> Standing {
    let fresh_until = NOW.plus(Duration::from_secs(600));
    Standing { validated: NOW, fresh_until, presence: Presence::Present, offline }
}

fn listed(page: &Page, rules: &Ruleset) -> Vec<(String, Option<String>)> {
    with_listing(page, rules, standing(false), |listing| {
        listing
            .entries
            .iter()
            .map(|entry| (entry.file.filename.to_string(), entry.mark.clone()))
            .collect()
    })
}

fn json_of(page: &Page, offline: bool) -> String {
    let bytes = with_listing(page, &Ruleset::default(), standing(offline), render_json::page);
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

/// A page with one file per name; `more` goes into every file.
fn project(names: &[&str], more: &str) -> String {
    let file = |name: &&str| {
        format!(
            "{{\"filename\": \"{name}\", \"url\": \"/p/{name}\", \"hashes\": {{\"sha256\": \"{}\"}}, \"size\": 1{more}}}",
            "ab".repeat(32)
        )
    };
    let files: Vec<String> = names.iter().map(file).collect();
    format!(
        "{{\"meta\": {{\"api-version\": \"1.1\"}}, \"name\": \"demo-project\", \"versions\": [], \"files\": [{}]}}",
        files.join(",")
    )
}

const OLD: &str = "demo_project-1.0.tar.gz";
const NEW: &str = "demo_project-1.1.tar.gz";

#[test]
fn bad_answers_leave_what_is_kept() {
    let mut story = Story::of("demo-project");
    story.hears(&project(&[OLD], ""), NOW).expect("a page");
    let before = story.bytes.clone();
    for (body, reason) in [
        (project(&[], ""), "empty page in place of one with 1 files"),
        (project(&[OLD], "").replace("\"demo-project\"", "\"six\""), "the page of \"six\""),
        (
            "<title>Links for x</title><a href='six-1.0.zip'>six</a>".to_owned(),
            "files of other projects",
        ),
        (
            "<html><title>Sign in to the network</title><a href='/'>go</a>".to_owned(),
            "Sign in to the network",
        ),
        (project(&[OLD], "").replace("1.1\"}", "2.0\"}"), "version 2.0 of the index API"),
        ("\u{0}".to_owned(), "neither JSON nor HTML"),
        (String::new(), "empty"),
    ] {
        let refused = story.hears(&body, NOW.plus(DAY)).err().unwrap_or_default();
        assert!(refused.contains(reason), "{reason}: {refused}");
    }
    assert_eq!(story.bytes, before);
}

#[test]
fn what_happens_to_a_project_is_told() {
    let mut story = Story::of("demo-project");
    let mut day = 0;
    let mut check = |body: &str, expected: &[&str]| {
        day += 1;
        story.hears(body, NOW.plus(day * DAY)).expect("a page");
        let told: Vec<String> = story
            .told
            .iter()
            .map(|what| {
                let detail = what.detail.as_deref().unwrap_or_default();
                let change = what.before.as_deref().zip(what.after.as_deref());
                let change = change.map(|(from, to)| format!(" {} {}", short(from), short(to)));
                format!("{} {}{} {detail}", what.kind, what.subject, change.unwrap_or_default())
            })
            .collect();
        assert_eq!(told, expected, "day {day}");
    };
    let file = |name: &str, digit: &str, rest: &str| {
        let digest = digit.repeat(64);
        format!(
            "{{\"filename\": \"{name}\", \"url\": \"../../files/{digit}/{name}\", \"hashes\": {{\"sha256\": \"{digest}\"}}{rest}}}"
        )
    };
    let page = |files: &[String], rest: &str| {
        format!(
            "{{\"meta\": {{\"api-version\": \"1.1\"}}, \"name\": \"demo-project\"{rest}, \"versions\": [], \"files\": [{}]}}",
            files.join(",")
        )
    };
    let (old, new) = (file(OLD, "a", ""), file(NEW, "b", ""));
    let project = "pypi:demo-project";
    check(&page(std::slice::from_ref(&old), ""), &[]);
    check(&page(std::slice::from_ref(&old), ""), &[]);
    check(&page(&[old.clone(), new.clone()], ""), &[&format!("appeared {project}==1.1 {NEW}")]);
    let yanked = file(NEW, "b", ", \"yanked\": \"bad\"");
    check(&page(&[old.clone(), yanked], ""), &[&format!("yanked {project}==1.1 {NEW}: bad")]);
    check(&page(&[old.clone(), new.clone()], ""), &[&format!("unyanked {project}==1.1 {NEW}")]);
    check(&page(std::slice::from_ref(&old), ""), &[&format!("vanished {project}==1.1 {NEW}")]);
    check(&page(&[old.clone(), new], ""), &[&format!("returned {project}==1.1 {NEW}")]);
    let other = file(NEW, "c", "");
    check(
        &page(&[old.clone(), other], ""),
        &[&format!("mutated {project}==1.1 sha256:b sha256:c {NEW}")],
    );
    let quarantined = ", \"project-status\": {\"status\": \"quarantined\", \"reason\": \"why\"}";
    check(&page(&[], quarantined), &[&format!("quarantined {project} active quarantined why")]);
    let archived = ", \"project-status\": {\"status\": \"archived\"}";
    check(&page(&[old], archived), &[&format!("status-changed {project} quarantined archived ")]);
}

/// The beginning of a digest; other texts as they are.
fn short(text: &str) -> &str {
    if text.contains(':') { &text[..8] } else { text }
}

#[test]
fn an_empty_page_of_a_new_project_is_fine() {
    let mut story = Story::of("demo-project");
    story.hears(&project(&[], ""), NOW).expect("a page");
    assert_eq!(story.names(), Vec::<String>::new());
}

#[test]
fn the_same_page_gives_the_same_bytes() {
    let mut story = Story::of("demo-project");
    story.hears(JSON, NOW).expect("a page");
    let before = story.bytes.clone();
    story.hears(JSON, NOW.plus(DAY)).expect("a page");
    assert_eq!(story.bytes, before);
}

#[test]
fn what_vanishes_young_is_held_and_what_vanishes_later_is_kept() {
    let uploaded = ", \"upload-time\": \"2026-11-20T00:00:00Z\"";
    let mut story = Story::of("demo-project");
    story.hears(&project(&[OLD, NEW], uploaded), NOW).expect("a page");
    story.hears(&project(&[OLD], uploaded), NOW).expect("a page");
    assert_eq!(story.names(), [OLD], "deleted three days after its upload: held");

    let mut story = Story::of("demo-project");
    story.hears(&project(&[OLD, NEW], uploaded), NOW).expect("a page");
    story.hears(&project(&[OLD], uploaded), NOW.plus(30 * DAY)).expect("a page");
    let mark = Some("deleted-upstream 2026-12-23T00:00:00Z".to_owned());
    assert_eq!(story.listed(), [(OLD.to_owned(), None), (NEW.to_owned(), mark.clone())]);
    let json: serde_json::Value =
        serde_json::from_str(&json_of(story.page(), false)).expect("JSON");
    assert_eq!(json["files"][1]["_larder-state"].as_str(), mark.as_deref());
    assert_eq!(json["versions"], serde_json::json!(["1.0", "1.1"]));

    story.hears(&project(&[OLD, NEW], uploaded), NOW.plus(31 * DAY)).expect("a page");
    assert_eq!(story.listed(), [(OLD.to_owned(), None), (NEW.to_owned(), None)], "it is back");
    assert_eq!(story.page().files[1].spells.len(), 2, "and its absence is remembered");
}

#[test]
fn a_lost_project_is_served_on_even_where_it_is_young() {
    let mut story = Story::of("demo-project");
    story
        .hears(&project(&[OLD, NEW], ", \"upload-time\": \"2026-11-22T00:00:00Z\""), NOW)
        .expect("a page");
    assert!(story.loses_project(NOW));
    assert!(!story.loses_project(NOW.plus(DAY)), "said once, recorded once");
    let marks: Vec<_> = story.listed().into_iter().filter_map(|(_, mark)| mark).collect();
    assert_eq!(
        marks,
        ["deleted-upstream 2026-11-23T00:00:00Z", "deleted-upstream 2026-11-23T00:00:00Z"]
    );
    story.hears(&project(&[OLD, NEW], ""), NOW.plus(DAY)).expect("a page");
    assert!(story.listed().iter().all(|(_, mark)| mark.is_none()), "the next good answer heals");
}

#[test]
fn quarantine_denies_until_it_is_lifted() {
    let quarantined = project(&[], "").replace(
        "\"versions\"",
        "\"project-status\": {\"status\": \"quarantined\", \"reason\": \"malware?\"}, \"versions\"",
    );
    let mut story = Story::of("demo-project");
    story.hears(&project(&[OLD], ""), NOW).expect("a page");
    story.hears(&quarantined, NOW.plus(30 * DAY)).expect("quarantine is no empty page");
    assert_eq!(story.names(), Vec::<String>::new());
    let json: serde_json::Value =
        serde_json::from_str(&json_of(story.page(), false)).expect("JSON");
    assert_eq!(
        json["project-status"],
        serde_json::json!({"status": "quarantined", "reason": "malware?"})
    );
    assert_eq!(json["files"], serde_json::json!([]));

    let released =
        policy::Config { released: vec!["demo-project".to_owned()], ..policy::Config::default() };
    let released = Ruleset::of_lifecycle(released);
    assert_eq!(
        listed(story.page(), &released),
        [(OLD.to_owned(), Some("quarantined-upstream".to_owned()))]
    );

    story.loses_project(NOW.plus(31 * DAY));
    assert_eq!(story.names(), Vec::<String>::new(), "deletion after quarantine changes nothing");
    story.hears(&project(&[OLD], ""), NOW.plus(32 * DAY)).expect("a page");
    assert_eq!(story.listed(), [(OLD.to_owned(), None)]);
}

#[test]
fn a_yank_and_its_end_are_remembered_with_their_times() {
    let mut story = Story::of("demo-project");
    let (yank, later) = (NOW.plus(DAY), NOW.plus(2 * DAY));
    story.hears(&project(&[OLD], ""), NOW).expect("a page");
    story.hears(&project(&[OLD], ", \"yanked\": \"bad\""), yank).expect("a page");
    assert!(json_of(story.page(), false).contains("\"yanked\":\"bad\""));
    story.hears(&project(&[OLD], ""), later).expect("a page");
    let spells: Vec<_> = story.page().files[0]
        .spells
        .iter()
        .map(|spell| (spell.from, spell.end.map(|end| end.at), spell.value.yanked.clone()))
        .collect();
    let because = Yanked::Because("bad".into());
    assert_eq!(
        spells,
        [(NOW, Some(yank), Yanked::No), (yank, Some(later), because), (later, None, Yanked::No)]
    );
}

#[test]
fn other_bytes_under_one_address_are_another_file() {
    let first = project(&[OLD], "");
    let second = first.replace(&"ab".repeat(32), &"cd".repeat(32));
    let mut story = Story::of("demo-project");
    story.hears(&first, NOW).expect("a page");
    let old_key = place().file_key(&story.page().files[0]);
    story.hears(&second, NOW.plus(DAY)).expect("a page");
    assert_eq!(story.page().files.len(), 2);
    assert_eq!(story.names(), [OLD]);
    let newest =
        story.page().file_at("https://index.example/p/demo_project-1.0.tar.gz").expect("a file");
    assert_eq!(newest.hashes.iter().next(), Some(("sha256", "cd".repeat(32))));
    assert_ne!(place().file_key(newest), old_key, "the old bytes keep their name in the cache");

    story.hears(&first, NOW.plus(2 * DAY)).expect("a page");
    let again =
        story.page().file_at("https://index.example/p/demo_project-1.0.tar.gz").expect("a file");
    assert_eq!(place().file_key(again), old_key, "the old bytes came back");
    assert_eq!((story.page().files.len(), story.names().len()), (2, 1));
}

#[test]
fn a_file_that_moves_keeps_its_name_in_the_cache() {
    let mut story = Story::of("demo-project");
    story.hears(&project(&[OLD], ""), NOW).expect("a page");
    let key = place().file_key(&story.page().files[0]);
    story.hears(&project(&[OLD], "").replace("/p/", "/moved/"), NOW.plus(DAY)).expect("a page");
    let page = story.page();
    assert_eq!(page.files.len(), 1);
    assert_eq!(place().file_key(&page.files[0]), key);
    for known in ["/p/", "/moved/"] {
        assert!(page.file_at(&format!("https://index.example{known}{OLD}")).is_some(), "{known}");
    }
}

#[test]
fn projects_of_one_name_on_two_upstreams_are_never_mixed() {
    let mut story = Story::of("demo-project");
    story.keep.sources = vec!["https://private.example/simple/".into(), SOURCE.into()];
    story.keep.flat = vec![false, false];
    // The higher upstream had it and lost it: the lower one's is not taken over.
    story.hears_from(0, &project(&[OLD], ""), NOW).expect("a page");
    story.hears_from(1, &project(&[NEW], ""), NOW.plus(DAY)).expect("a page");
    assert_eq!(story.names(), [OLD]);
    assert!(story.page().notice.as_deref().is_some_and(|notice| notice.contains("not taken over")));
    // The lower one had it first: once the higher one has it, only that counts.
    story.page = None;
    story.hears_from(1, &project(&[NEW], ""), NOW).expect("a page");
    story.hears_from(0, &project(&[OLD], ""), NOW.plus(DAY)).expect("a page");
    assert_eq!(story.names(), [OLD]);
    assert!(
        story.page().file_at(&format!("https://index.example/p/{NEW}")).is_some(),
        "lock files still find it"
    );
    // An upstream that moved to another address is the same one.
    story.keep.sources[0] = "https://moved.example/simple/".into();
    story.hears_from(0, &project(&[OLD], ""), NOW.plus(2 * DAY)).expect("a page");
    assert_eq!(story.page().files.iter().filter(|file| file.is_live()).count(), 2);
}

#[test]
fn golden_pages_are_read() {
    let read = |text: &str| {
        let url = Url::parse("https://index.example/simple/demo-project/").expect("an address");
        offer::read(text.as_bytes(), &url).expect("a page")
    };
    let summary = |offer: &Offer| -> Vec<(String, String)> {
        let file = |file: &Offered| (file.filename.to_string(), file.url.to_string());
        offer.files.iter().map(file).collect()
    };
    let json = read(JSON);
    assert_eq!((json.api_minor, json.serial.as_deref(), json.versions.len()), (4, Some("4711"), 3));
    assert_eq!(
        json.extra,
        [Extra {
            key: "namespaces".into(),
            json: "[{\"name\": \"demo\", \"owned\": true}]".into()
        }]
    );
    assert_eq!(json.files[1].attributes.extra.len(), 1);
    let html = read(HTML);
    assert_eq!(html.status, Some(Status { status: "archived".into(), reason: None }));
    assert_eq!(html.files[0].attributes.yanked, json.files[0].attributes.yanked);
    assert_eq!(html.files[1].attributes.core_metadata, json.files[1].attributes.core_metadata);
    let tensors = read(TENSORS);
    assert_eq!(
        summary(&tensors),
        [
            ("demo_project-2.0+cpu-cp312-cp312-linux_x86_64.whl".to_owned(), "https://index.example/whl/cpu/demo_project-2.0%2Bcpu-cp312-cp312-linux_x86_64.whl".to_owned()),
            ("demo_project-2.1+cpu-cp312-cp312-linux_x86_64.whl".to_owned(), "https://mirror.index.example/whl/demo_project-2.1%2Bcpu-cp312-cp312-linux_x86_64.whl".to_owned()),
        ]
    );
    let mut flat = Story::of("demo-project");
    flat.keep.flat = vec![true];
    flat.hears(FLAT, NOW).expect("a page");
    assert_eq!(flat.names(), ["demo_project-1.0-py3-none-any.whl", "demo-project-0.9.zip"]);
    assert_eq!(
        &*flat.page().files[0].url,
        "https://index.example/wheels/demo_project-1.0-py3-none-any.whl"
    );
}

#[test]
fn json_says_what_is_known_and_never_null() {
    let mut story = Story::of("demo-project");
    story.hears(JSON, NOW).expect("a page");
    let text = json_of(story.page(), false);
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json["meta"], serde_json::json!({"api-version": "1.4", "_last-serial": 4711}));
    let first = &json["files"][0];
    assert_eq!(first["url"], "../../files/files.index.example/packages/aa/demo_project-1.0.tar.gz");
    assert_eq!(first["upload-time"], "2024-01-01T00:00:00.123456Z");
    assert!(
        first["hashes"].get("blake2b_256").is_none(),
        "pip gives up on a hash name that it does not know"
    );
    assert_eq!(text.matches("null").count(), 1, "only provenance may be null");
    let second = &json["files"][1];
    assert_eq!(second["core-metadata"], second["data-dist-info-metadata"]);
    assert_eq!(
        second["provenance"],
        "http://larder.example/pypi/default/files/index.example/+demo-project/integrity/demo-project/1.1/demo_project-1.1-py3-none-any.whl/provenance"
    );
    assert_eq!(second["variant"], serde_json::json!({"label": "cpu"}));
    let third = &json["files"][2];
    assert!(third.get("requires-python").is_none() && third.get("upload-time").is_none());
    assert!(third["url"].as_str().is_some_and(|url| url.contains("%2Bcu118")));
}

#[test]
fn offline_a_sidecar_that_is_not_kept_is_not_promised() {
    let mut story = Story::of("demo-project");
    story.hears(JSON, NOW).expect("a page");
    assert!(json_of(story.page(), false).contains("\"core-metadata\":{"));
    assert!(!json_of(story.page(), true).contains("\"core-metadata\":{"));
}

#[test]
fn sizes_decide_which_version_is_announced() {
    let mut story = Story::of("demo-project");
    story.hears(TENSORS, NOW).expect("a page");
    assert!(json_of(story.page(), false).contains("\"api-version\":\"1.0\""));
}

#[test]
fn html_reads_back_as_what_it_was_written_from() {
    let mut story = Story::of("demo-project");
    story.hears(JSON, NOW).expect("a page");
    let text = with_listing(story.page(), &Ruleset::default(), standing(false), render_html::page);
    let base =
        Url::parse("https://larder.example/pypi/default/simple/demo-project/").expect("an address");
    let offer = offer::read(text.as_bytes(), &base).expect("a page");
    for (read, written) in offer.files.iter().zip(&story.page().files) {
        assert_eq!(read.filename, written.filename);
        assert_eq!(upstream_of(&read.url), *written.url);
        let (read, written) = (&read.attributes, written.attributes());
        assert_eq!(
            (&read.requires_python, &read.yanked),
            (&written.requires_python, &written.yanked)
        );
    }
    assert_eq!(offer.files.len(), 3);
    assert!(text.contains("data-yanked=\"broken &quot;metadata&quot;\""), "{text}");
}

/// Our address of a file, led back to upstream's.
fn upstream_of(url: &str) -> String {
    let (_, rest) = url.split_once("/files/").expect("an address of ours");
    Address::parse(rest, None).expect("an address of ours").url.into()
}

fn text() -> impl Strategy<Value = String> {
    "[ -~é<>&\"']{1,12}"
}

fn attributes() -> impl Strategy<Value = serde_json::Value> {
    let yanked = prop_oneof![
        Just(serde_json::json!(true)),
        Just(serde_json::json!(false)),
        text().prop_map(Into::into)
    ];
    let sidecar = prop_oneof![
        Just(serde_json::json!(true)),
        Just(serde_json::json!(false)),
        "[0-9a-f]{64}".prop_map(|digest| serde_json::json!({ "sha256": digest })),
    ];
    (
        proptest::option::of(text()),
        yanked,
        proptest::option::of(sidecar),
        proptest::option::of(any::<bool>()),
        proptest::option::of(text()),
        "[0-9a-f]{64}",
        proptest::option::of(any::<u32>()),
    )
        .prop_map(|(requires, yanked, sidecar, signed, future, sha256, size)| {
            let mut file =
                serde_json::json!({"yanked": yanked, "hashes": {"sha256": sha256, "md5": "00"}});
            let mut set = |key: &str, value: Option<serde_json::Value>| {
                if let Some(value) = value {
                    file[key] = value;
                }
            };
            set("requires-python", requires.map(Into::into));
            set("core-metadata", sidecar);
            set("gpg-sig", signed.map(Into::into));
            set("x-future", future.map(Into::into));
            set("size", size.map(Into::into));
            file
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a page says is said again by the page that we write.
    #[test]
    fn a_written_page_reads_back_as_the_same_page(files in proptest::collection::vec(attributes(), 1..6)) {
        let mut files = files;
        for (index, file) in files.iter_mut().enumerate() {
            let name = format!("demo_project-{index}.0-py3-none-any.whl");
            file["url"] = format!("https://files.example/p/{name}").into();
            file["filename"] = name.into();
        }
        let body = serde_json::json!({"meta": {"api-version": "1.1"}, "name": "demo-project", "files": files});
        let mut story = Story::of("demo-project");
        story.hears(&body.to_string(), NOW).expect("a page");
        let url = Url::parse("https://larder.example/pypi/default/simple/demo-project/").expect("an address");
        let written = json_of(story.page(), false);
        let mut offer = offer::read(written.as_bytes(), &url).expect("our own page");
        for file in &mut offer.files {
            file.url = upstream_of(&file.url).into();
        }
        let original = offer::read(body.to_string().as_bytes(), &url).expect("a page");
        prop_assert_eq!(offer.files, original.files);
    }

    /// No bytes make a parser fail otherwise than by saying so.
    #[test]
    fn parsers_survive_anything(body in "[<{][ -~\n\u{0}é]{0,200}") {
        let url = Url::parse("https://index.example/simple/x/").expect("an address");
        let _ = offer::read(body.as_bytes(), &url);
    }
}

// Plans.

fn index(settings: &str) -> Index {
    let config: IndexConfig = toml::from_str(settings).expect("settings");
    let read = |_: &crate::ecosystem::pypi::SecretSource| Ok(Secret::new("secret"));
    Index::new(config.resolve("default", read).expect("good settings"))
}

const PUBLIC: &str = "upstream = \"https://index.example/simple/\"";

fn ask(path: &str) -> Ask {
    Ask {
        method: Method::GET,
        path: path.to_owned(),
        query: None,
        headers: HeaderMap::new(),
        prefix: "/pypi/default/".to_owned(),
        base: "http://larder.example".to_owned(),
        credential: None,
        client: None,
        address: std::net::Ipv4Addr::LOCALHOST.into(),
        now: NOW,
        rules: Arc::default(),
        as_of: None,
    }
}

fn reply(step: Step) -> Reply {
    match step {
        Step::Reply(reply) => reply,
        Step::Need { .. } | Step::NeedBody { .. } | Step::Names { .. } => panic!("more is needed"),
        Step::Serve(_) => panic!("something is served"),
        Step::Refuse(_) => panic!("it is refused"),
    }
}

fn serve(step: Step) -> Plan {
    match step {
        Step::Serve(plan) => *plan,
        Step::Reply(reply) => panic!("{} {:?}", reply.status, reply.body),
        Step::Refuse(_) => panic!("it is refused"),
        Step::Need { .. } | Step::NeedBody { .. } | Step::Names { .. } => panic!("more is needed"),
    }
}

fn document(plan: Plan) -> Document {
    match plan.serve {
        Serve::Document { document, .. } => document,
        other => panic!("{other:?}"),
    }
}

fn artifact(plan: Plan) -> Artifact {
    match plan.serve {
        Serve::Artifact { artifact, .. } => artifact,
        other => panic!("{other:?}"),
    }
}

/// Answers every need with this page, or with absence.
fn with_page(mut step: Step, page: Option<&Page>) -> Step {
    for _ in 0..crate::ecosystem::MOST_ROUNDS {
        match step {
            Step::Need { documents, then } => {
                let held = |_: &Document| match page {
                    Some(page) => Ok(Held {
                        parsed: Parsed::new(page.clone()),
                        version: 1,
                        standing: standing(false),
                    }),
                    None => Err(Failure::Absent),
                };
                step = then(documents.iter().map(held).collect());
            }
            done => return done,
        }
    }
    panic!("too many rounds");
}

#[test]
fn refusals_come_without_asking_anybody() {
    let index = index(PUBLIC);
    let check = |ask: &Ask, status: u16, location: Option<&str>| {
        let reply = reply(index.plan(ask));
        let found = reply.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        assert_eq!((reply.status.as_u16(), found), (status, location), "{}", ask.path);
    };
    check(&Ask { method: Method::POST, ..ask("legacy/") }, 405, None);
    check(&ask("simple/-bad-/"), 404, None);
    check(&ask("simple/a%2Fb/"), 404, None);
    check(&ask("simple/Foo__Bar/"), 301, Some("../foo-bar/"));
    check(
        &Ask { query: Some("format=x".to_owned()), ..ask("simple/foo") },
        301,
        Some("foo/?format=x"),
    );
    check(&ask("simple"), 301, Some("simple/"));
    check(&ask("pypi/Foo/json"), 301, Some("../foo/json"));
    check(&ask("pypi/Foo/1.0/json"), 301, Some("../../foo/1.0/json"));
    check(&ask("pypi/foo/../json"), 404, None);
    check(&ask("foo/json"), 404, None);
    check(&ask("files/nothing"), 404, None);
    check(&ask("files/evil.example/x.txt"), 404, None);
    let mut picky = ask("simple/foo/");
    picky.headers.insert(header::ACCEPT, "application/json".parse().expect("a field value"));
    check(&picky, 406, None);
}

#[test]
fn a_page_is_asked_for_in_the_form_that_knows_most() {
    let document = document(serve(index(PUBLIC).plan(&ask("simple/six/"))));
    let request = &document.lookup.origins[0];
    assert_eq!(request.url.as_str(), "https://index.example/simple/six/");
    assert!(
        request.headers[header::ACCEPT]
            .to_str()
            .is_ok_and(|accept| accept.starts_with("application/vnd.pypi.simple.v1+json,"))
    );
    assert_eq!((document.lookup.key.name(), document.lookup.key.is_public()), ("page/six", true));
    assert_eq!(document.limit_bytes, 64 << 20);
}

#[test]
fn a_file_is_served_because_its_page_lists_it() {
    let mut story = Story::of("demo-project");
    story.hears(JSON, NOW).expect("a page");
    let index = index(PUBLIC);
    let plan = |path: &str| with_page(index.plan(&ask(path)), Some(story.page()));
    let wheel = "files/files.index.example/packages/bb/demo_project-1.1-py3-none-any.whl";

    let file = artifact(serve(plan(wheel)));
    assert_eq!(
        file.digests.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [format!("sha256:{}", "b".repeat(64))]
    );
    assert_eq!(file.size, Some(2000));
    assert_eq!(
        file.lookup.origins[0].url.as_str(),
        "https://files.index.example/packages/bb/demo_project-1.1-py3-none-any.whl"
    );

    let sidecar = artifact(serve(plan(&format!("{wheel}.metadata"))));
    assert_eq!(
        sidecar.digests.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [format!("sha256:{}", "c".repeat(64))]
    );
    assert_ne!(sidecar.lookup.key, file.lookup.key);

    // pip writes the plus sign of a local version in its own way.
    let local = artifact(serve(plan(
        "files/files.index.example/packages/dd/demo_project-2.0+cu118-py3-none-any.whl",
    )));
    assert!(
        local.lookup.origins[0].url.as_str().ends_with("demo_project-2.0%2Bcu118-py3-none-any.whl")
    );

    let provenance = "files/index.example/+demo-project/integrity/demo-project/1.1/demo_project-1.1-py3-none-any.whl/provenance";
    assert!(document(serve(plan(provenance))).lookup.key.name().starts_with("provenance/"));

    for unlisted in [
        "files/files.index.example/other/demo_project-1.1-py3-none-any.whl",
        "files/evil.example/demo_project-1.1-py3-none-any.whl",
    ] {
        assert_eq!(reply(plan(unlisted)).status, StatusCode::NOT_FOUND, "{unlisted}");
    }
    assert_eq!(reply(with_page(index.plan(&ask(wheel)), None)).status, StatusCode::NOT_FOUND);
}

#[test]
fn a_host_that_is_not_declared_is_refused_with_the_setting_to_change() {
    let mut story = Story::of("demo-project");
    story
        .hears(&project(&[OLD], "").replace("/p/", "https://elsewhere.example/"), NOW)
        .expect("a page");
    let path = format!("files/elsewhere.example/{OLD}");
    let refused = reply(with_page(index(PUBLIC).plan(&ask(&path)), Some(story.page())));
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(String::from_utf8_lossy(&refused.body).contains("pypi.indexes.default.file_hosts"));
    let declared = index(&format!("{PUBLIC}\nfile_hosts = [\"elsewhere.example\"]"));
    artifact(serve(with_page(declared.plan(&ask(&path)), Some(story.page()))));
}

#[test]
fn a_held_file_is_judged_by_its_address_too() {
    let mut story = Story::of("demo-project");
    story.hears(&project(&[OLD, NEW], ""), NOW).expect("a page");
    story.hears(&project(&[OLD], ""), NOW.plus(DAY)).expect("a page");
    let plan = serve(with_page(
        index(PUBLIC).plan(&ask(&format!("files/index.example/p/{NEW}"))),
        Some(story.page()),
    ));
    assert_eq!(plan.subject.verdict, Verdict::Hold);
    assert!(plan.subject.reason.is_some_and(|reason| reason.contains("policy.released")));
}

#[test]
fn what_the_service_credential_opens_needs_a_grant() {
    let settings =
        "upstream = \"https://index.example/simple/\"\ncredentials = { token_env = \"T\" }";
    for path in ["simple/six/", "simple/", "files/index.example/six-1.0.zip", "pypi/six/json"] {
        let refused = reply(index(settings).plan(&ask(path)));
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}");
        assert!(
            String::from_utf8_lossy(&refused.body).contains("pypi.indexes.default.grant"),
            "{path}"
        );
    }
    let granted = index(&format!("{settings}\ngrant = [\"ci\"]"));
    assert_eq!(reply(granted.plan(&ask("simple/six/"))).status, StatusCode::FORBIDDEN);
    let plan = serve(granted.plan(&Ask { client: Some("ci".to_owned()), ..ask("simple/six/") }));
    assert_eq!(plan.access, Access::Grant(vec!["ci".to_owned()].into()));
    assert!(!document(plan).lookup.key.is_public());
    let failure = granted.explain(&ask("simple/six/"), &Failure::Refused { status: 401 });
    assert_eq!(
        failure.status,
        StatusCode::BAD_GATEWAY,
        "our credential is not the client's business"
    );
}

#[test]
fn a_passed_credential_has_an_audience_of_its_own() {
    let index = index(&format!("{PUBLIC}\nauth = \"passthrough\""));
    let bare = document(serve(index.plan(&ask("simple/six/"))));
    assert!(bare.lookup.key.is_public() && bare.lookup.origins[0].credentials.is_none());
    let credential = Some(ClientCredential { id: [7; 16], verbatim: Secret::new("Basic dTpw") });
    let own = document(serve(index.plan(&Ask { credential, ..ask("simple/six/") })));
    assert!(!own.lookup.key.is_public() && own.lookup.origins[0].credentials.is_some());
    assert_eq!((bare.lookup.stale, own.lookup.stale), (Stale::Always, Stale::Never));
    let challenge = index.explain(&ask("simple/six/"), &Failure::Refused { status: 401 });
    assert_eq!(challenge.status, StatusCode::UNAUTHORIZED);
    assert!(challenge.headers.contains_key(header::WWW_AUTHENTICATE));
}

#[test]
fn private_names_are_asked_for_nowhere_else() {
    let index = index(
        "upstreams = [{ url = \"https://private.example/simple\", names = [\"acme-*\"] }, \"https://index.example/simple/\"]",
    );
    let asked = |project: &str| -> Vec<String> {
        let document = document(serve(index.plan(&ask(&format!("simple/{project}/")))));
        document.lookup.origins.iter().map(|request| request.url.to_string()).collect()
    };
    assert_eq!(asked("acme-core"), ["https://private.example/simple/acme-core/"]);
    assert_eq!(asked("six"), ["https://index.example/simple/six/"]);
}

#[test]
fn outages_are_never_called_absence() {
    use crate::upstream::request::UpstreamError;
    let index = index(PUBLIC);
    let refused = UpstreamError::Refused { host: "index.example".to_owned() };
    for (failure, status) in [
        (Failure::Unreachable(refused), 504),
        (Failure::NotKept, 504),
        (Failure::Unavailable { status: 429, retry_after_secs: Some(9_999) }, 503),
        (Failure::Unavailable { status: 500, retry_after_secs: None }, 502),
        (Failure::BadAnswer("x".to_owned()), 502),
        (Failure::Refused { status: 403 }, 403),
        (Failure::Store("x".to_owned()), 500),
        (Failure::Absent, 404),
    ] {
        let reply = index.explain(&ask("simple/six/"), &failure);
        assert_eq!(reply.status.as_u16(), status, "{failure}");
        assert_eq!(reply.headers[header::CONTENT_TYPE], "application/problem+json");
    }
}

#[test]
fn a_release_is_told_from_the_page_when_upstream_has_no_legacy_json() {
    let mut story = Story::of("demo-project");
    story.hears(JSON, NOW).expect("a page");
    let index = index(PUBLIC);
    let absent = |path: &str| {
        let Step::Need { then, .. } = index.plan(&ask(path)) else {
            panic!("the page is needed first")
        };
        let held = Held {
            parsed: Parsed::new(story.page().clone()),
            version: 1,
            standing: standing(false),
        };
        let Step::Need { documents, then } = then(vec![Ok(held)]) else {
            panic!("then upstream's own")
        };
        let url = documents[0].lookup.origins[0].url.to_string();
        (url, then(vec![Err(Failure::Absent)]))
    };
    let (url, step) = absent("pypi/demo-project/1.1/json");
    assert_eq!(url, "https://index.example/pypi/demo-project/1.1/json");
    let Serve::Document { render, .. } = serve(step).serve else { panic!("a document") };
    let parsed = Parsed::new(story.page().clone());
    let view = View {
        document: &parsed,
        standing: standing(false),
        now: NOW,
        is_kept: &|_| false,
        note: &|_| (),
    };
    let rendered = render.render(&view);
    let json: serde_json::Value = serde_json::from_slice(&rendered.reply.body).expect("JSON");
    assert_eq!(
        json["urls"][0]["url"],
        "http://larder.example/pypi/default/files/files.index.example/packages/bb/demo_project-1.1-py3-none-any.whl"
    );
    assert_eq!(json["info"]["requires_dist"], serde_json::Value::Null);
    assert_eq!(reply(absent("pypi/demo-project/9.9/json").1).status, StatusCode::NOT_FOUND);
    assert_eq!(reply(absent("pypi/demo-project/json").1).status, StatusCode::NOT_FOUND);
}

#[test]
fn links_lead_to_the_index_whichever_way_was_taken() {
    let index = index(PUBLIC);
    let mut story = Story::of("demo-project");
    story.hears(JSON, NOW).expect("a page");
    let parsed = Parsed::new(story.page().clone());
    let view = View {
        document: &parsed,
        standing: standing(false),
        now: NOW,
        is_kept: &|_| false,
        note: &|_| (),
    };
    for (prefix, expected) in [
        ("/pypi/default/", "href=\"../../files/files.index.example/"),
        ("/simple/", "href=\"../../pypi/default/files/files.index.example/"),
        ("/", "href=\"../../files/files.index.example/"),
    ] {
        let ask = Ask { prefix: prefix.to_owned(), ..ask("simple/demo-project/") };
        let Serve::Document { render, .. } = serve(index.plan(&ask)).serve else {
            panic!("a document")
        };
        let reply = render.render(&view).reply;
        assert!(String::from_utf8_lossy(&reply.body).contains(expected), "{prefix}");
        assert_eq!(reply.headers[header::CACHE_CONTROL], "max-age=600, public");
        assert_eq!(reply.headers["x-pypi-last-serial"], "4711");
    }
}

#[test]
fn the_root_index_is_streamed_as_json_and_written_anew_as_html() {
    let index = index(PUBLIC);
    let mut json = ask("simple/");
    json.headers.insert(
        header::ACCEPT,
        "application/vnd.pypi.simple.v1+json".parse().expect("a field value"),
    );
    assert!(matches!(serve(index.plan(&json)).serve, Serve::Exchange { .. }));
    let names = document(serve(index.plan(&ask("simple/"))));
    let url = Url::parse(SOURCE).expect("an address");
    for body in [
        "{\"meta\": {}, \"projects\": [{\"name\": \"Six\"}, {\"name\": \"foo\"}]}",
        "<html><a href=\"/simple/six/\">Six</a><a href=\"/simple/foo/\">foo</a><a href=\"/about\">about</a>",
    ] {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let fresh = Fresh {
            origin: 0,
            url: &url,
            head: &Head::new(StatusCode::OK),
            body: &body,
            rest: &[],
            now: NOW,
        };
        let kept = names.keep.merge(None, &fresh).expect("a root index");
        let read = names.keep.read(&kept.bytes).expect("what was written can be read");
        assert_eq!(read.get::<Vec<Box<str>>>().map(Vec::len), Some(2));
    }
}

/// Not run by default: how long a page of 8,000 files takes. `cargo test --release pypi::scenarios::eight -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, not a check"]
fn eight_thousand_files_are_measured() {
    let file = |index: usize| {
        let name = format!(
            "demo_project-1.{index}-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
        );
        let sha256 = format!("{index:064x}");
        format!(
            "{{\"filename\": \"{name}\", \"url\": \"https://files.index.example/packages/aa/bb/{sha256}/{name}\", \"hashes\": {{\"sha256\": \"{sha256}\"}}, \
                 \"requires-python\": \">=3.8\", \"size\": {index}, \"upload-time\": \"2024-01-01T00:00:00.123456Z\", \"yanked\": false, \
                 \"core-metadata\": {{\"sha256\": \"{sha256}\"}}, \"data-dist-info-metadata\": {{\"sha256\": \"{sha256}\"}}, \"provenance\": null}}"
        )
    };
    let files: Vec<String> = (0..8000).map(file).collect();
    let body = format!(
        "{{\"meta\": {{\"api-version\": \"1.4\"}}, \"name\": \"demo-project\", \"versions\": [], \"files\": [{}]}}",
        files.join(",")
    );
    let mut story = Story::of("demo-project");
    let timed = |label: &str, work: &mut dyn FnMut()| {
        let start = std::time::Instant::now();
        work();
        println!("{label}: {:?}", start.elapsed());
    };
    let url = Url::parse(SOURCE).expect("an address");
    timed("parse", &mut || drop(offer::read(body.as_bytes(), &url)));
    timed("first merge, with parse, write and read", &mut || {
        story.hears(&body, NOW).expect("a page");
    });
    timed("second merge, with parse, write and read", &mut || {
        story.hears(&body, NOW).expect("a page");
    });
    println!("upstream {} bytes, kept {} bytes", body.len(), story.bytes.len());
    let mut read = None;
    timed("read", &mut || read = story.keep.read(&story.bytes).ok());
    timed("write", &mut || drop(story.page().encode()));
    timed("render JSON", &mut || drop(json_of(story.page(), false)));
    timed("render JSON offline", &mut || drop(json_of(story.page(), true)));
    let rules = Ruleset::default();
    let mut html = String::new();
    timed("render HTML", &mut || {
        html = with_listing(story.page(), &rules, standing(false), render_html::page);
    });
    timed("parse HTML", &mut || drop(offer::read(html.as_bytes(), &url)));
    let last = format!("https://files.index.example/packages/aa/bb/{:064x}/x.whl", 7999);
    timed("look for a file that is not there", &mut || {
        assert!(story.page().file_at(&last).is_none());
    });
}
