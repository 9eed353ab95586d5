//! What upstream makes of a project over time, and what is kept of it: deleted, lost, quarantined, yanked, moved, replaced, told.

use super::*;
use crate::policy;

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
