//! Rules on what is another one than before: licences and publishers; and on what cannot be found out just now.

use http::StatusCode;
use serde_json::json;

use super::stand::{Stand, rule, said};
use crate::support::hub::{FakeHub, File, Kind, files};
use crate::support::index::{FakeIndex, Style, Upload};
use crate::support::larder::{over, over_hub};
use crate::support::origin::{Answer, Fault};
use crate::support::sigstore::Sigstore;

const FIRST: &str = "six-1.0-py3-none-any.whl";
const SECOND: &str = "six-2.0-py3-none-any.whl";

async fn two_releases() -> FakeIndex {
    let index = FakeIndex::start(Style::Full).await;
    let first = Upload::wheel("six", "1.0").uploaded("2026-01-01T00:00:00Z");
    let second = Upload::wheel("six", "2.0").uploaded("2026-02-01T00:00:00Z");
    index.publish("six", [first, second]);
    index.describe("six", 1, json!({ "license_expression": "MIT" }));
    index
}

/// What the JSON API says of a release of this licence.
fn licensed(licence: &str) -> Fault {
    let text = json!({ "info": { "license_expression": licence }, "urls": [] }).to_string();
    Fault::Instead(Answer::ok("application/json", text))
}

#[tokio::test]
async fn a_release_under_another_licence_than_the_one_before_is_told() {
    let index = two_releases().await;
    index.pages.fault("/pypi/six/2.0/json", licensed("BUSL-1.1"));
    let mut stand = Stand::start(&over(&index), "").await;
    let rules = [rule("deny", "license_changed = true"), rule("deny", "when = 'license_changed'")];
    for is_kept in [false, true] {
        if is_kept {
            index.pages.refuse().await;
        }
        for rules in &rules {
            stand = stand.with(rules).await;
            assert_eq!(stand.larder.file("six", FIRST).await.status, 200, "kept: {is_kept}");
            let reply = stand.larder.file("six", SECOND).await;
            assert_eq!(reply.status, 403, "kept: {is_kept}");
            assert!(said(&reply).contains("by rule it"), "{reply:?}");
        }
    }
}

#[tokio::test]
async fn a_release_that_nobody_vouches_for_any_more_is_told() {
    const NAME: &str = "pypi-attestations";
    const FORMER: &str = "pypi_attestations-0.0.19.tar.gz";
    const DIGEST: &str = "9bb1add04b1b4e182be6b0b80931593f7a291eb49d69b4fd728a5d4cbcdc4bd3";
    let index = FakeIndex::start(Style::Full).await;
    let upload = |version: &str, time: &str| {
        let mut upload = Upload::sdist("pypi_attestations", version).uploaded(time);
        upload.filename = format!("pypi_attestations-{version}.tar.gz");
        upload
    };
    let mut former = upload("0.0.19", "2026-01-01T00:00:00Z").with_hash(Some(DIGEST));
    let address = "/integrity/pypi-attestations/provenance";
    former.provenance = Some(index.pages.url(address));
    let object = include_str!("../../fixtures/attestations/pypi_attestations-0.0.19.tar.gz.json");
    index.pages.fault(
        address,
        Fault::Instead(Answer::ok("application/vnd.pypi.integrity.v1+json", object)),
    );
    index.publish(NAME, [former, upload("0.0.20", "2026-02-01T00:00:00Z")]);
    let stand = Stand::start(&over(&index), &rule("deny", "publisher_changed = true")).await;
    let reply = stand.larder.file(NAME, "pypi_attestations-0.0.20.tar.gz").await;
    assert_eq!(reply.status, 403, "{reply:?}");
    assert!(said(&reply).contains("publisher_changed = true"), "{reply:?}");
    let stand = stand.with(&rule("deny", "publisher_changed = false")).await;
    let reply = stand.larder.file(NAME, FORMER).await;
    assert_eq!(reply.status, 403, "nothing was published before it: {reply:?}");
}

/// Releases that publishers vouch for: the same one as before is no change, and another one is, though it can prove who it is as well.
#[tokio::test]
async fn a_release_of_another_publisher_than_the_one_before_is_told() {
    const RELEASES: [(&str, &str, u16); 3] = [
        ("1.0", "one@team.example", 200),
        ("2.0", "one@team.example", 200),
        ("3.0", "other@team.example", 403),
    ];
    let (index, sigstore) = (FakeIndex::start(Style::Full).await, Sigstore::new());
    let uploads = RELEASES.map(|(version, publisher, _)| {
        let time = format!("2026-0{}-01T00:00:00Z", &version[..1]);
        let mut upload = Upload::wheel("six", version).uploaded(&time);
        let address = format!("/integrity/six/{version}/provenance");
        upload.provenance = Some(index.pages.url(&address));
        let object = sigstore.provenance(publisher, &upload.filename, &upload.digest).to_string();
        let answer = Answer::ok("application/vnd.pypi.integrity.v1+json", object);
        index.pages.fault(&address, Fault::Instead(answer));
        upload
    });
    index.publish("six", uploads);
    let settings = format!("{}{}", over(&index), sigstore.settings());
    let mut stand = Stand::start(&settings, "").await;
    for is_kept in [false, true] {
        if is_kept {
            index.pages.refuse().await;
        }
        for condition in ["publisher_changed = true", "when = 'publisher_changed'"] {
            stand = stand.with(&rule("deny", condition)).await;
            for (version, publisher, status) in RELEASES {
                let reply =
                    stand.larder.file("six", &format!("six-{version}-py3-none-any.whl")).await;
                assert_eq!(
                    reply.status, status,
                    "{condition}, {version}, kept: {is_kept}: {reply:?}"
                );
                if status == 403 {
                    assert!(said(&reply).contains("by rule it"), "{publisher}: {reply:?}");
                }
            }
        }
        stand = stand.with(&rule("deny", "attestation_verified = false")).await;
        for (version, ..) in RELEASES {
            let reply = stand.larder.file("six", &format!("six-{version}-py3-none-any.whl")).await;
            assert_eq!(reply.status, 200, "{version}, kept: {is_kept}: {reply:?}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_found_out_just_now_is_held_until_it_can() {
    let index = two_releases().await;
    let settings = over(&index);
    for condition in ["license_in = \"GPL*\"", "when = 'license.startsWith(\"GPL\")'"] {
        index.pages.fault("/pypi/six/1.0/json", Fault::status(500));
        let rules = format!("on_missing = \"hold\"\ndeny_if = {{ {condition} }}");
        let stand = Stand::start(&settings, &format!("[[rule]]\nid = \"it\"\n{rules}")).await;
        let reply = stand.larder.file("six", FIRST).await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{reply:?}");
        assert_eq!(reply.header("retry-after"), "10");
        assert!(said(&reply).contains("could not be found out just now"), "{reply:?}");
        assert!(said(&reply).contains("held back by rule it"), "{reply:?}");
        let told = stand.larder.refusals(1).await;
        assert!(told[0]["detail"].as_str().is_some_and(|why| why.contains("it=hold")), "{told:?}");
        index.pages.heal();
        stand.larder.advance(600);
        let reply = stand.larder.file("six", FIRST).await;
        assert_eq!(reply.status, 200, "{condition}: {reply:?}");
        // What the release does not say is not waited for.
        index.describe("six", 1, json!({}));
        let reply = stand.larder.file("six", SECOND).await;
        assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (403, ""), "{reply:?}");
        index.describe("six", 1, json!({ "license_expression": "MIT" }));
    }
}

const ID: &str = "org/model";
const FILE: &str = "/org/model/resolve/main/config.json";

fn declares(hub: &FakeHub, id: &str, card: serde_json::Value) {
    hub.edit(Kind::Model, id, |repository| {
        repository.more.insert("cardData".to_owned(), card);
    });
}

#[tokio::test]
async fn a_model_under_another_licence_than_at_first_is_told() {
    let hub = FakeHub::start().await;
    hub.model(ID, files([("config.json", File::plain("{}"))]));
    declares(&hub, ID, json!({ "license": "mit" }));
    let stand = Stand::start(&over_hub(&hub, ""), &rule("deny", "license_changed = true")).await;
    assert_eq!(stand.larder.get(FILE).await.status, 200);
    declares(&hub, ID, json!({ "license": "cc-by-nc-4.0" }));
    stand.larder.advance(3600);
    assert_eq!(stand.larder.get(&format!("/api/models/{ID}")).await.status, 200);
    let reply = stand.larder.get(FILE).await;
    assert_eq!(reply.status, 403, "{reply:?}");
    assert!(reply.header("x-error-message").contains("license_changed = true"), "{reply:?}");
    // It is remembered, whatever becomes of the hub.
    hub.refuse().await;
    let stand = stand.with(&rule("deny", "license_changed = true")).await;
    assert_eq!(stand.larder.get(FILE).await.status, 403);
    let stand = stand.with(&rule("deny", "license_changed = false")).await;
    assert_eq!(stand.larder.get(FILE).await.status, 200);
}

#[tokio::test]
async fn a_text_that_cannot_be_had_just_now_is_waited_for() {
    let hub = FakeHub::start().await;
    let text = "Apache License\nVersion 2.0, January 2004";
    hub.model(ID, files([("config.json", File::plain("{}")), ("LICENSE", File::plain(text))]));
    declares(&hub, ID, json!({ "license": "mit" }));
    let rules =
        "[[rule]]\nid = \"it\"\non_missing = \"hold\"\ndeny_if = { license_mismatch = true }";
    let stand = Stand::start(&over_hub(&hub, ""), "").await;
    stand.keep(FILE).await;
    hub.refuse().await;
    let stand = stand.with(rules).await;
    let reply = stand.larder.get(FILE).await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "10"), "{reply:?}");
    hub.heal();
    stand.larder.advance(3600);
    let reply = stand.larder.get(FILE).await;
    assert_eq!(reply.status, 403, "{reply:?}");
    assert!(reply.header("x-error-message").contains("license_mismatch = true"), "{reply:?}");
    // It is known of the commit from then on.
    hub.refuse().await;
    let stand = stand.with(&rules.replace("true", "false")).await;
    assert_eq!(stand.larder.get(FILE).await.status, 200);
}

#[tokio::test]
async fn a_model_answers_for_the_licences_of_those_it_was_made_from() {
    let hub = FakeHub::start().await;
    for id in [ID, "base/one", "base/two"] {
        hub.model(id, files([("config.json", File::plain("{}"))]));
    }
    declares(&hub, ID, json!({ "license": "apache-2.0", "base_model": ["base/one"] }));
    declares(&hub, "base/one", json!({ "license": "mit", "base_model": "base/two" }));
    declares(&hub, "base/two", json!({ "license": "cc-by-nc-4.0", "base_model": "org/model" }));
    let rules = "[[rule]]\nid = \"it\"\non_missing = \"hold\"\ndeny_if = { license_effective_in = \"*NC*\" }";
    let stand = Stand::start(&over_hub(&hub, ""), "").await;
    stand.keep(FILE).await;
    let stand = stand.with(rules).await;
    let reply = stand.larder.get(FILE).await;
    assert_eq!(reply.status, 403, "{reply:?}");
    let told = "Apache-2.0 AND MIT AND CC-BY-NC-4.0";
    assert!(reply.header("x-error-message").contains(told), "{reply:?}");
    // An ancestor that nobody may look at leaves it unknown; so does one that the hub cannot be asked about, for as long as that lasts.
    declares(&hub, ID, json!({ "license": "mit", "base_model": ["base/none"] }));
    stand.larder.advance(3600);
    assert_eq!(stand.larder.get(&format!("/api/models/{ID}")).await.status, 200);
    let reply = stand.larder.get(FILE).await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (403, ""), "{reply:?}");
    assert!(reply.header("x-error-message").contains("is not known"), "{reply:?}");
    declares(&hub, ID, json!({ "license": "mit", "base_model": ["base/three"] }));
    stand.larder.advance(3600);
    assert_eq!(stand.larder.get(&format!("/api/models/{ID}")).await.status, 200);
    hub.refuse().await;
    let reply = stand.larder.get(FILE).await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "10"), "{reply:?}");
    // With what is kept of all of them, no hub is needed.
    let stand = stand.with(&rule("deny", "license_in = \"GPL*\"")).await;
    assert_eq!(stand.larder.get(FILE).await.status, 200);
}
