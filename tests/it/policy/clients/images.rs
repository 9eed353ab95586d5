//! skopeo, and docker with its engine. Neither release shows warnings of registries; newer ones of skopeo do, in the form that the distribution specification wants.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::process::Command;

use super::{ended, shows_why};
use crate::oci::setting::{HUB, REPOSITORY, TAG, over as over_registry};
use crate::policy::registry::{CASES, settings, stock};
use crate::policy::stand::{Stand, all_rules, assert_recorded, rule, unmet_rules};
use crate::support::registry::cosign::Signer;
use crate::support::registry::{FakeRegistry, Family, Image};
use crate::support::wait::eventually;

/// A client that pulls images.
trait Puller {
    const NAME: &str;

    /// Pulls the image by its tag: whether it got it, and what it printed.
    async fn pull(&self, stand: &Stand) -> (bool, String);

    async fn gets(&self, stand: &Stand, why: &str) -> String {
        let (succeeded, said) = self.pull(stand).await;
        assert!(succeeded, "{}, {why}: {said}", Self::NAME);
        said
    }

    async fn is_refused(&self, stand: &Stand, why: &str) {
        let why = format!("{}, {why}", Self::NAME);
        let (succeeded, said) = self.pull(stand).await;
        assert!(!succeeded, "{why}: {said}");
        shows_why(&said, &why);
    }
}

/// Every key is shown by a client, with nothing kept, and kept with the registry gone.
async fn every_key_is_shown_by(client: &impl Puller) {
    let (registry, _, signer) = stock().await;
    let settings = settings(&registry, &signer);
    for case in CASES {
        let stand = Stand::start(&settings, &rule("deny", case.met)).await;
        client.is_refused(&stand, &format!("{}, cold", case.met)).await;
    }
    let mut stand = Stand::start(&settings, &unmet_rules(&CASES)).await;
    client.gets(&stand, "no rule is met").await;
    let tags = format!("/v2/{HUB}/{REPOSITORY}/tags/list");
    stand.keep(&tags).await;
    registry.refuse().await;
    for case in CASES {
        stand = stand.with(&rule("deny", case.met)).await;
        client.is_refused(&stand, &format!("{}, kept", case.met)).await;
    }
    stand = stand.with(&all_rules("warn", &CASES)).await;
    client.gets(&stand, "every rule warns").await;
    stand = stand.with(&format!("mode = \"dry-run\"\n{}", all_rules("deny", &CASES))).await;
    let said = client.gets(&stand, "a dry run").await;
    assert!(!said.contains("/-/why/"), "a dry run changes nothing: {said}");
    assert_recorded(stand, &CASES).await;
}

/// Copies images into folders.
struct Skopeo;

impl Puller for Skopeo {
    const NAME: &str = "skopeo";

    async fn pull(&self, stand: &Stand) -> (bool, String) {
        let place = TempDir::new().expect("a temporary folder can be made");
        let target: PathBuf = place.path().join("image");
        let mut command = skopeo(&place, &["copy", "--all", "--src-tls-verify=false"]);
        command.arg(format!("docker://{}", reference(stand)));
        command.arg(format!("dir:{}", target.display()));
        ended(Self::NAME, command).await
    }
}

fn reference(stand: &Stand) -> String {
    format!("{}/{HUB}/{REPOSITORY}:{TAG}", stand.larder.address)
}

fn skopeo(place: &TempDir, arguments: &[&str]) -> Command {
    let mut command = bare("skopeo", place.path());
    command.arg("--insecure-policy").args(arguments);
    command
}

/// A program of this machine's, without its settings.
fn bare(program: &str, place: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", place).env("XDG_RUNTIME_DIR", place);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn every_key_is_shown_by_skopeo() {
    every_key_is_shown_by(&Skopeo).await;
}

/// The tag is on the list, or is not. Of a list that is refused as a whole this release shows the status alone.
#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn every_key_that_lists_can_tell_hides_tags_from_skopeo() {
    let (registry, _, signer) = stock().await;
    let mut stand = Stand::start(&settings(&registry, &signer), "").await;
    for is_kept in [false, true] {
        if is_kept {
            registry.refuse().await;
        }
        for case in CASES {
            stand = stand.with(&rule("deny", case.met)).await;
            let place = TempDir::new().expect("a temporary folder can be made");
            let mut command = skopeo(&place, &["list-tags", "--tls-verify=false"]);
            command.arg(format!("docker://{}/{HUB}/{REPOSITORY}", stand.larder.address));
            let (_, said) = ended("skopeo", command).await;
            let is_shown = said.contains(&format!("\"{TAG}\""));
            assert_eq!(is_shown, !case.listing, "{}, kept: {is_kept}: {said}", case.met);
        }
    }
}

/// Docker's client and an engine of its own, which has nothing yet.
struct Docker {
    engine: Child,
    place: TempDir,
}

impl Docker {
    async fn start() -> Self {
        let place = TempDir::new().expect("a temporary folder can be made");
        let path = |name: &str| place.path().join(name);
        let log = File::create(path("log")).expect("the folder can be written");
        let mut command = std::process::Command::new("dockerd");
        command.args([
            "--iptables=false",
            "--ip6tables=false",
            "--bridge=none",
            "--ip-forward=false",
        ]);
        command.arg("--storage-driver=vfs").arg("-H").arg(socket(place.path()));
        for (option, name) in
            [("--data-root", "root"), ("--exec-root", "exec"), ("--pidfile", "pid")]
        {
            command.arg(option).arg(path(name));
        }
        std::fs::write(path("daemon.json"), "{}").expect("the folder can be written");
        command.arg("--config-file").arg(path("daemon.json"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let engine = command.spawn().expect("`tests/run` installs dockerd, and runs as root");
        let docker = Self { engine, place };
        eventually("the engine answers", async || {
            ended("docker", docker.tell(&["version"])).await.0
        })
        .await;
        docker
    }

    fn tell(&self, arguments: &[&str]) -> Command {
        let mut command = bare("docker", self.place.path());
        command.arg("-H").arg(socket(self.place.path())).args(arguments);
        command
    }
}

fn socket(place: &Path) -> String {
    format!("unix://{}", place.join("socket").display())
}

impl Puller for Docker {
    const NAME: &str = "docker";

    async fn pull(&self, stand: &Stand) -> (bool, String) {
        ended(Self::NAME, self.tell(&["pull", &reference(stand)])).await
    }
}

/// The engine has processes of its own, and ends them when it is told to end.
impl Drop for Docker {
    fn drop(&mut self) {
        let id = self.engine.id().to_string();
        let told = std::process::Command::new("kill").arg(id).status();
        let end = Instant::now() + Duration::from_secs(30);
        while told.is_ok() && Instant::now() < end && matches!(self.engine.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.engine.kill();
        let _ = self.engine.wait();
        // Its name space for networks stays mounted.
        let space = self.place.path().join("exec/netns/default");
        let _ = std::process::Command::new("umount").arg(space).stderr(Stdio::null()).status();
    }
}

#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn every_key_is_shown_by_docker() {
    every_key_is_shown_by(&Docker::start().await).await;
}

/// An index is judged by its first image.
#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn skopeo_shows_why_an_index_is_refused() {
    let registry = FakeRegistry::start().await;
    registry.publish(REPOSITORY, TAG, &Image::multi(Family::Oci, 1));
    let stand =
        Stand::start(&over_registry(&registry, ""), &rule("deny", "license_unknown = true")).await;
    Skopeo.is_refused(&stand, "an index").await;
    let stand = stand.with(&rule("warn", "license_unknown = true")).await;
    Skopeo.gets(&stand, "an index").await;
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
    let (succeeded, said) = Skopeo.pull(&Stand::start(&settings, &rules).await).await;
    assert!(!succeeded && said.contains("signature"), "{said}");
    shows_why(&said, "a stranger signed it");
    team.file(&registry, REPOSITORY, image.digest());
    Skopeo.gets(&Stand::start(&settings, &rules).await, "the team signed it").await;
}
