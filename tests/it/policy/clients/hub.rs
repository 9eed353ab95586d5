//! huggingface_hub, with Xet and without.

use serde_json::json;

use super::orders::{Done, Orders};
use super::shows_why;
use crate::policy::hub::{CASES, ID, WEIGHTS, stock};
use crate::policy::stand::{Stand, all_rules, assert_recorded, rule, unmet_rules};
use crate::support::hub::{FakeHub, File, files};
use crate::support::larder::over_hub;
use crate::support::team::Team;

/// The library of one version, by one of its two ways to large files.
struct Library(Orders);

impl Library {
    fn start(way: &str) -> Self {
        let is_off = if way == "Xet" { "0" } else { "1" };
        let variables = [
            ("HF_HUB_DISABLE_XET", is_off),
            ("HF_HUB_DISABLE_TELEMETRY", "1"),
            ("HF_HUB_DISABLE_PROGRESS_BARS", "1"),
        ];
        Self(Orders::start("hub", "hub/2.4.0", &variables))
    }

    /// Downloads the file of weights.
    async fn weights(&mut self, stand: &Stand) -> Done {
        let endpoint = stand.larder.url("");
        self.0.run(&json!({ "endpoint": endpoint, "repository": ID, "file": WEIGHTS })).await
    }

    /// Downloads everything, and says what it got.
    async fn everything(&mut self, stand: &Stand) -> Done {
        let endpoint = stand.larder.url("");
        self.0.run(&json!({ "endpoint": endpoint, "repository": ID })).await
    }

    async fn is_refused(&mut self, stand: &Stand, why: &str) {
        let done = self.weights(stand).await;
        assert!(!done.succeeded, "{why}: {}", done.said);
        shows_why(&done.said, why);
    }

    /// The library logs the field that Larder sends for it.
    async fn is_warned(&mut self, stand: &Stand, why: &str) {
        let done = self.weights(stand).await;
        assert!(done.succeeded, "{why}: {}", done.said);
        shows_why(&done.said, why);
    }
}

#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn every_key_is_shown_by_the_hubs_library_with_xet() {
    every_key_is_shown("Xet").await;
}

#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn every_key_is_shown_by_the_hubs_library_without_xet() {
    every_key_is_shown("HTTP").await;
}

async fn every_key_is_shown(way: &str) {
    let team = Team::new();
    let hub = stock(&team).await;
    let (settings, mut library) = (over_hub(&hub, &team.settings()), Library::start(way));
    for case in CASES {
        let stand = Stand::start(&settings, &rule("deny", case.met)).await;
        library.is_refused(&stand, &format!("{}, {way}, cold", case.met)).await;
        let stand = Stand::start(&settings, &rule("warn", case.met)).await;
        library.is_warned(&stand, &format!("{}, {way}, cold", case.met)).await;
    }
    let mut stand = Stand::start(&settings, &unmet_rules(&CASES)).await;
    let plain = library.weights(&stand).await;
    assert!(plain.succeeded, "no rule is met: {}", plain.said);
    stand = stand.with("").await;
    let all = library.everything(&stand).await;
    assert!(all.succeeded && all.said.contains(WEIGHTS), "no rule is there: {}", all.said);
    hub.refuse().await;
    for case in CASES {
        let why = format!("{}, {way}, kept", case.met);
        stand = stand.with(&rule("deny", case.met)).await;
        library.is_refused(&stand, &why).await;
        stand = stand.with(&rule("warn", case.met)).await;
        library.is_warned(&stand, &why).await;
        stand = stand.with(&rule("hide", case.met)).await;
        let rest = library.everything(&stand).await;
        let is_listed = rest.said.lines().any(|line| line == WEIGHTS);
        assert!(rest.succeeded && is_listed != case.listing, "{why}: {}", rest.said);
    }
    stand = stand.with(&format!("mode = \"dry-run\"\n{}", all_rules("deny", &CASES))).await;
    let dry = library.weights(&stand).await;
    assert_eq!((dry.succeeded, &dry.said), (true, &plain.said), "a dry run changes nothing");
    assert_recorded(stand, &CASES).await;
}

/// What somebody else than the one who is believed signed is refused by rule, cold, and the client shows why.
#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn the_hubs_library_shows_what_is_wrong_with_a_signature() {
    let (hub, team) = (FakeHub::start().await, Team::new());
    let mut model = files([
        ("config.json", File::plain("{}")),
        ("model.safetensors", File::xet("weights that somebody signed")),
    ]);
    model.insert("model.sig".to_owned(), File::plain(team.sign(&model, &["model.sig"])));
    let signed = model.clone();
    model.insert("model.safetensors".to_owned(), File::xet("weights that nobody signed"));
    let rules = format!(
        "{}message = \"{{attestation_fault}}\"\n",
        rule("deny", "attestation_verified = false")
    );
    for way in ["Xet", "HTTP"] {
        let mut library = Library::start(way);
        let start = async || Stand::start(&over_hub(&hub, &team.settings()), &rules).await;
        hub.model(ID, model.clone());
        let refused = library.everything(&start().await).await;
        assert!(!refused.succeeded, "{way}: {}", refused.said);
        shows_why(&refused.said, way);
        let fault = "key:team signed it with the digest";
        assert!(refused.said.contains(fault), "{way}: {}", refused.said);
        hub.model(ID, signed.clone());
        let passed = library.everything(&start().await).await;
        assert!(passed.succeeded, "{way}: {}", passed.said);
    }
}
