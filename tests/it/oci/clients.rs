//! Real clients on the fake registry, straight and through Larder: what Debian's registry, on which `tests/clients.d` drives them all, cannot do:
//! tokens, rights, redirects, faults. Skopeo stands for the family that is built on its library: Podman, Buildah, CRI-O.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::setting::{HUB, PAST_FRESHNESS, REPOSITORY, Setting, TAG};
use crate::support::origin::Fault;
use crate::support::registry::{Algorithm, Delivery, Door, Family, Image, Limits, Realm, Tokens};
use crate::support::wait::soon;

/// What came of a copy.
struct Copied {
    succeeded: bool,
    /// The digest of the manifest that arrived.
    digest: String,
    said: String,
}

/// `skopeo copy --all` of `host/repository:tag` into a new folder, as `user:password` perhaps.
async fn skopeo(address: &str, user: Option<&str>) -> Copied {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let target = folder.path().join("image");
    let mut command = Command::new("skopeo");
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", folder.path()).env("XDG_RUNTIME_DIR", folder.path());
    command.args([
        "--insecure-policy",
        "copy",
        "--all",
        "--preserve-digests",
        "--src-tls-verify=false",
    ]);
    if let Some(user) = user {
        command.args(["--src-creds", user]);
    }
    command.arg(format!("docker://{address}")).arg(format!("dir:{}", target.display()));
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = soon("skopeo", command.output()).await.expect("`tests/run` installs skopeo");
    Copied {
        succeeded: output.status.success(),
        digest: digest(&target),
        said: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn digest(image: &Path) -> String {
    let bytes = std::fs::read(image.join("manifest.json")).unwrap_or_default();
    Algorithm::Sha256.digest(&bytes)
}

/// The image as Skopeo knows it through Larder.
fn through(setting: &Setting, repository: &str) -> String {
    format!("{}/{HUB}/{repository}:{TAG}", setting.larder.address)
}

/// Every kind of image behind tokens, redirects and a budget.
fn furnish(setting: &Setting, image: &Image) {
    setting.registry.publish(REPOSITORY, TAG, image);
    setting.registry.behave(|manners| {
        manners.door = Door::Bearer(Tokens { realm: Realm::Beside, ..Tokens::default() });
        manners.blobs = Delivery::Redirected(307);
        manners.limits = Some(Limits { limit: 100, remaining: 100, retry_after_secs: None });
    });
}

#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn the_fake_registry_is_one_to_real_clients() {
    for family in [Family::Oci, Family::Schema2] {
        let setting = Setting::new().await;
        let image = Image::multi(family, 1);
        furnish(&setting, &image);
        let address = format!("{}/{REPOSITORY}:{TAG}", setting.registry.front.address);
        let copied = skopeo(&address, None).await;
        assert!(copied.succeeded, "{family:?}: {}", copied.said);
        assert_eq!(copied.digest, image.digest(), "{family:?}");
    }
}

#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn real_clients_pull_in_every_state() {
    for family in [Family::Oci, Family::Schema2] {
        let setting = Setting::new().await;
        let image = Image::multi(family, 1);
        furnish(&setting, &image);
        let pull = async |when: &str| {
            let copied = skopeo(&through(&setting, REPOSITORY), None).await;
            assert!(copied.succeeded, "{family:?}, {when}: {}", copied.said);
            assert_eq!(copied.digest, image.digest(), "{family:?}, {when}");
        };
        pull("cold").await;
        setting.registry.forget();
        pull("warm").await;
        assert_eq!(setting.registry.journal(), Vec::<String>::new());
        for (when, fault) in [
            ("503", Fault::status(503)),
            ("429", Fault::retry_after(429, 60)),
            ("401", Fault::status(401)),
            ("404", Fault::status(404)),
            ("silent", Fault::Silence),
        ] {
            setting.larder.advance(PAST_FRESHNESS);
            for origin in setting.registry.origins() {
                origin.fault("*", fault.clone());
            }
            pull(when).await;
        }
        setting.registry.heal();
        setting.registry.delete_tag(REPOSITORY, TAG);
        setting.larder.advance(PAST_FRESHNESS);
        pull("tag deleted").await;
        setting.registry.refuse().await;
        setting.larder.advance(PAST_FRESHNESS);
        pull("refused").await;
    }
}

/// A real client goes through Larder's own exchange: it reads the challenge, brings its credentials to the realm, and gets what is its own.
#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn real_clients_find_their_way_through_the_exchange() {
    let setting = Setting::new().await;
    let image = Image::multi(Family::Oci, 1);
    furnish(&setting, &Image::multi(Family::Oci, 50));
    setting.registry.publish("corp/secret", TAG, &image);
    setting.registry.restrict("corp/secret", Some(&["alice"]));
    setting.registry.admit("alice", "wonder");
    setting.registry.admit("bob", "builder");
    let secret = through(&setting, "corp/secret");
    for user in [None, Some("bob:builder"), Some("alice:wrong")] {
        let copied = skopeo(&secret, user).await;
        assert!(!copied.succeeded, "{user:?}: {}", copied.said);
    }
    let copied = skopeo(&secret, Some("alice:wonder")).await;
    assert!(copied.succeeded, "{}", copied.said);
    assert_eq!(copied.digest, image.digest());
    // And once it is kept, it is still nobody else's.
    for user in [None, Some("bob:builder"), Some("alice:wrong")] {
        let copied = skopeo(&secret, user).await;
        assert!(!copied.succeeded, "{user:?}: {}", copied.said);
    }
    // Credentials do not keep anybody from what is public.
    let copied = skopeo(&through(&setting, REPOSITORY), Some("alice:wonder")).await;
    assert!(copied.succeeded, "{}", copied.said);
}

/// What a client prints names the reason, in the words of its own protocol.
#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn real_clients_print_the_reason() {
    let setting = Setting::new().await;
    setting.stock();
    for address in [
        format!("{}/{HUB}/library/demo:nothing", setting.larder.address),
        format!("{}/other.example/library/demo:{TAG}", setting.larder.address),
    ] {
        let copied = skopeo(&address, None).await;
        assert!(!copied.succeeded && copied.said.contains("unknown"), "{}", copied.said);
    }
    setting.registry.refuse().await;
    let copied = skopeo(&through(&setting, REPOSITORY), None).await;
    assert!(!copied.succeeded, "{}", copied.said);
    assert!(!copied.said.contains("manifest unknown"), "an outage is no absence: {}", copied.said);
}
