//! pip and uv. Neither has a way to show a warning of a file that may be had: the `Warning` field and `/-/why` carry it.

use serde_json::json;
use tempfile::TempDir;

use super::orders::Orders;
use super::shows_why;
use crate::policy::index::{CASES, over_known, stock};
use crate::policy::stand::{Stand, all_rules, assert_recorded, rule, unmet_rules};
use crate::support::index::{FakeIndex, Style, Upload};
use crate::support::installer::Installer;
use crate::support::larder::over;

const INSTALLERS: [Installer; 3] = [Installer::Pip23, Installer::Pip26, Installer::Uv];

/// Both installers, asked for `six==1.0`.
struct Installers {
    pip: Orders,
}

impl Installers {
    fn start() -> Self {
        Self { pip: Orders::start("pip", "pip-26.3", &[("PIP_DISABLE_PIP_VERSION_CHECK", "1")]) }
    }

    /// Whether each got it, and what it printed.
    async fn install(&mut self, stand: &Stand) -> [(bool, String); 2] {
        let url = stand.larder.url("/simple/");
        let arguments =
            ["download", "--no-cache-dir", "--no-deps", "--index-url", &url, "six==1.0"];
        let pip = self.pip.run(&json!({ "arguments": arguments })).await;
        let uv = Installer::Uv.install(&url, &["six==1.0"]).await;
        [(pip.succeeded, pip.said), (uv.succeeded, uv.said)]
    }

    async fn get(&mut self, stand: &Stand, why: &str) -> [String; 2] {
        self.install(stand).await.map(|(succeeded, said)| {
            assert!(succeeded, "{why}: {said}");
            said
        })
    }

    async fn are_refused(&mut self, stand: &Stand, why: &str) {
        for (succeeded, said) in self.install(stand).await {
            assert!(!succeeded, "{why}: {said}");
            shows_why(&said, why);
        }
    }
}

#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn every_key_is_shown_to_installers() {
    let (index, folder) = (stock().await, TempDir::new().expect("a temporary folder can be made"));
    let (settings, mut installers) = (over_known(&index, &folder), Installers::start());
    for case in CASES {
        let stand = Stand::start(&settings, &rule("deny", case.met)).await;
        installers.are_refused(&stand, &format!("{}, cold", case.met)).await;
    }
    let stand = Stand::start(&settings, &unmet_rules(&CASES)).await;
    let plain = installers.get(&stand, "no rule is met").await;
    let mut stand = stand.with(&all_rules("warn", &CASES)).await;
    assert_same(&installers.get(&stand, "every rule warns").await, &plain);
    index.pages.refuse().await;
    index.files.refuse().await;
    for case in CASES {
        stand = stand.with(&rule("deny", case.met)).await;
        installers.are_refused(&stand, &format!("{}, kept", case.met)).await;
    }
    let dry = format!("mode = \"dry-run\"\n{}", all_rules("deny", &CASES));
    stand = stand.with(&dry).await;
    assert_same(&installers.get(&stand, "a dry run").await, &plain);
    assert_recorded(stand, &CASES).await;
}

/// Panics if an installer said anything of rules, or warned of other things than before.
fn assert_same(said: &[String; 2], plain: &[String; 2]) {
    for (said, plain) in said.iter().zip(plain) {
        let warnings = |text: &str| text.to_lowercase().matches("warning").count();
        assert!(!said.contains("/-/why/"), "{said}");
        assert_eq!(warnings(said), warnings(plain), "{said}");
    }
}

async fn index() -> FakeIndex {
    let index = FakeIndex::start(Style::Full).await;
    index.publish("leaf", [Upload::wheel("leaf", "1.0"), Upload::wheel("leaf", "2.0")]);
    index
}

#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn installers_take_what_is_allowed() {
    let index = index().await;
    for installer in INSTALLERS {
        let stand = Stand::start(&over(&index), &rule("deny", "version_in = \"2.0\"")).await;
        let install =
            async |what: &str| installer.install(&stand.larder.url("/simple/"), &[what]).await;
        // What is refused by its exact name says why; who asks for no version gets one that is allowed.
        let pinned = install("leaf==2.0").await;
        assert!(!pinned.succeeded, "{installer:?}: {}", pinned.said);
        shows_why(&pinned.said, &format!("{installer:?}"));
        let open = install("leaf").await;
        assert!(
            open.succeeded && open.packages.contains("leaf-1.0"),
            "{installer:?}: {}",
            open.said
        );
        // What is hidden is installed by who asks for exactly it, and the client warns.
        let stand = stand.with(&rule("hide", "version_in = \"2.0\"")).await;
        let hidden = installer.install(&stand.larder.url("/simple/"), &["leaf==2.0"]).await;
        assert!(hidden.succeeded, "{installer:?}: {}", hidden.said);
        assert!(hidden.said.contains("hidden by rule it"), "{installer:?}: {}", hidden.said);
    }
}
