//! What real clients print when rules refuse, hide or warn.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use super::stand::{Stand, rule};
use crate::oci::setting::{HUB, REPOSITORY, TAG, over as over_registry};
use crate::support::hub::{FakeHub, File, files};
use crate::support::index::{FakeIndex, Style, Upload};
use crate::support::installer::Installer;
use crate::support::larder::{over, over_hub};
use crate::support::registry::cosign::Signer;
use crate::support::registry::{FakeRegistry, Family, Image};
use crate::support::team::Team;
use crate::support::wait::soon;

const INSTALLERS: [Installer; 3] = [Installer::Pip23, Installer::Pip26, Installer::Uv];

async fn index() -> FakeIndex {
    let index = FakeIndex::start(Style::Full).await;
    index.publish("leaf", [Upload::wheel("leaf", "1.0"), Upload::wheel("leaf", "2.0")]);
    index
}

#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn installers_show_why_and_take_what_is_allowed() {
    let index = index().await;
    for installer in INSTALLERS {
        let stand = Stand::start(&over(&index), &rule("deny", "version_in = \"2.0\"")).await;
        let install =
            async |what: &str| installer.install(&stand.larder.url("/simple/"), &[what]).await;
        // What is refused by its exact name says why; who asks for no version gets one that is allowed.
        let pinned = install("leaf==2.0").await;
        assert!(!pinned.succeeded, "{installer:?}: {}", pinned.said);
        assert!(pinned.said.contains("refused by rule it"), "{installer:?}: {}", pinned.said);
        assert!(pinned.said.contains("/-/why/"), "{installer:?}: {}", pinned.said);
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
        // A dry run changes nothing.
        let rules = format!("mode = \"dry-run\"\n{}", rule("deny", "version_in = \"2.0\""));
        let stand = stand.with(&rules).await;
        let newest = installer.install(&stand.larder.url("/simple/"), &["leaf"]).await;
        assert!(newest.packages.contains("leaf-2.0"), "{installer:?}: {}", newest.said);
        assert!(!newest.said.contains("rule it"), "{installer:?}: {}", newest.said);
    }
}

/// Downloads a repository with the hub's own library.
async fn download(stand: &Stand, xet: bool) -> (bool, String) {
    let place = TempDir::new().expect("a temporary folder can be made");
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/hub/2.4.0/bin/hf");
    assert!(program.exists(), "{} is not there: `tests/run` installs it", program.display());
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", place.path()).env("HF_HOME", place.path().join("hf"));
    command.env("HF_ENDPOINT", stand.larder.url("")).env("HF_HUB_DISABLE_TELEMETRY", "1");
    if !xet {
        command.env("HF_HUB_DISABLE_XET", "1");
    }
    command.args(["download", "org/model"]).stdin(Stdio::null()).kill_on_drop(true);
    ended("hf", command).await
}

async fn ended(name: &str, mut command: Command) -> (bool, String) {
    let output = soon(name, command.output()).await.expect("the client can be run");
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn the_hubs_library_shows_why_with_and_without_xet() {
    let hub = FakeHub::start().await;
    hub.model(
        "org/model",
        files([
            ("config.json", File::plain("{}")),
            ("pytorch_model.bin", File::xet("weights that are pickled")),
            ("model.safetensors", File::xet("weights that are not")),
        ]),
    );
    for xet in [true, false] {
        let stand =
            Stand::start(&over_hub(&hub, ""), &rule("deny", "format_in = \"pickle\"")).await;
        let (succeeded, said) = download(&stand, xet).await;
        assert!(!succeeded && said.contains("refused by rule it"), "xet {xet}: {said}");
        let stand = stand.with(&rule("warn", "format_in = \"pickle\"")).await;
        let (succeeded, said) = download(&stand, xet).await;
        assert!(succeeded, "xet {xet}: {said}");
        // Told to the library, which logs it; the command line of this version shows no log.
        let told = stand.head("/org/model/resolve/main/pytorch_model.bin").await;
        assert!(told.header("x-hf-warning").contains("warning by rule it"), "{told:?}");
        let stand = stand.with(&rule("hide", "format_in = \"pickle\"")).await;
        let (succeeded, said) = download(&stand, xet).await;
        assert!(succeeded && !said.contains("pytorch_model.bin"), "xet {xet}: {said}");
    }
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
    for xet in [true, false] {
        let start = async || Stand::start(&over_hub(&hub, &team.settings()), &rules).await;
        hub.model("org/model", model.clone());
        let (succeeded, said) = download(&start().await, xet).await;
        assert!(!succeeded, "xet {xet}: {said}");
        for expected in ["key:team signed it with the digest", "rule it", "/-/why/"] {
            assert!(said.contains(expected), "xet {xet}: {expected:?} in {said}");
        }
        hub.model("org/model", signed.clone());
        let (succeeded, said) = download(&start().await, xet).await;
        assert!(succeeded, "xet {xet}: {said}");
    }
}

/// Copies an image into a folder.
async fn skopeo(stand: &Stand) -> (bool, String) {
    let place = TempDir::new().expect("a temporary folder can be made");
    let target: PathBuf = place.path().join("image");
    let mut command = Command::new("skopeo");
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", place.path()).env("XDG_RUNTIME_DIR", place.path());
    command.args(["--insecure-policy", "copy", "--all", "--src-tls-verify=false"]);
    command.arg(format!("docker://{}/{HUB}/{REPOSITORY}:{TAG}", stand.larder.address));
    command.arg(format!("dir:{}", target.display())).stdin(Stdio::null()).kill_on_drop(true);
    ended("skopeo", command).await
}

#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn skopeo_shows_why() {
    let registry = FakeRegistry::start().await;
    registry.publish(REPOSITORY, TAG, &Image::multi(Family::Oci, 1));
    for condition in ["name_in = \"*/library/*\"", "license_unknown = true"] {
        let stand = Stand::start(&over_registry(&registry, ""), &rule("deny", condition)).await;
        let (succeeded, said) = skopeo(&stand).await;
        assert!(!succeeded, "{condition}: {said}");
        assert!(
            said.contains("refused by rule it") && said.contains("/-/why/"),
            "{condition}: {said}"
        );
        let stand = stand.with(&rule("warn", condition)).await;
        let (succeeded, said) = skopeo(&stand).await;
        assert!(succeeded, "{condition}: {said}");
    }
}

#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn skopeo_shows_what_is_wrong_with_a_signature() {
    let (registry, team) = (FakeRegistry::start().await, Signer::new());
    let image = Image::multi(Family::Oci, 1);
    registry.publish(REPOSITORY, TAG, &image);
    Signer::new().file(&registry, REPOSITORY, image.digest());
    let settings = format!("{}{}", over_registry(&registry, ""), team.known_as("team"));
    let rules = format!(
        "{}message = \"{{attestation_fault}}\"\n",
        rule("deny", "signed_by_not_in = \"key:team\"")
    );
    let (succeeded, said) = skopeo(&Stand::start(&settings, &rules).await).await;
    assert!(!succeeded, "{said}");
    for expected in ["signature", "rule it", "/-/why/"] {
        assert!(said.contains(expected), "{expected:?} in {said}");
    }
    team.file(&registry, REPOSITORY, image.digest());
    let (succeeded, said) = skopeo(&Stand::start(&settings, &rules).await).await;
    assert!(succeeded, "{said}");
}
