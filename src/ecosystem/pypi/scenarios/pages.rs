//! What a page says: read in each of upstream's forms, and written again in each of the clients'.

use proptest::prelude::*;

use super::*;
use crate::ecosystem::pypi::links::Address;
use crate::ecosystem::pypi::offer::{self, Offer, Offered};
use crate::ecosystem::pypi::render_html;
use crate::types::CacheKey;

const HTML: &str = include_str!("../../../../tests/fixtures/pypi/demo.html");
const TENSORS: &str = include_str!("../../../../tests/fixtures/pypi/tensors.html");
const FLAT: &str = include_str!("../../../../tests/fixtures/pypi/flat.html");

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

/// At a site without upstream, resolvers chose the newest release that the page lists, which was not kept, and gave up.
#[test]
fn offline_what_is_not_kept_can_be_told_as_withdrawn() {
    let mut story = Story::of("demo-project");
    story.hears(JSON, NOW).expect("a page");
    let kept = place().file_key(&story.page().files[1]);
    let parsed = Parsed::new(story.page().clone());
    let is_kept = |key: &CacheKey| *key == kept;
    let (rules, place) = (Ruleset::default(), place());
    let check = |offline: bool, expected: [&str; 3]| {
        let view = View { is_kept: &is_kept, ..view(&parsed, standing(offline)) };
        let plain = Listing::of(story.page(), &rules, &place, &view);
        let until = plain.valid_until;
        let told = plain.preferring_kept(&place, &view);
        let yanked = told.entries.iter().map(|entry| match &*entry.yanked {
            Yanked::No => "",
            Yanked::Yes => "yes",
            Yanked::Because(why) => why,
        });
        assert_eq!(yanked.collect::<Vec<_>>(), expected, "{offline}");
        assert_eq!(told.valid_until != until, offline, "what is kept changes by itself");
    };
    let away = "not kept here, and upstream cannot be asked for it";
    check(false, ["broken \"metadata\"", "", ""]);
    check(true, ["broken \"metadata\"", "", away]);
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
