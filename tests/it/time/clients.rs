//! Real clients at dates: what they install, download and copy is what was so then.

use std::path::Path;
use std::process::{Output, Stdio};

use tempfile::TempDir;
use tokio::process::Command;

use super::story::{IMAGE, MODEL, PROJECT, Story, TAG};
use crate::support::installer::Installer;
use crate::support::registry::Algorithm;
use crate::support::wait::soon;

async fn run(what: &str, mut command: Command, home: &Path) -> Output {
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", home).env("XDG_RUNTIME_DIR", home);
    command.stdin(Stdio::null()).kill_on_drop(true);
    soon(what, command.output()).await.expect("`tests/run` installs the client")
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn installers_install_what_was_newest_then() {
    let story = Story::told().await;
    let cases = [("2027-01-13", "1.0"), ("2027-01-15", "2.0"), ("2027-01-16", "3.0")];
    for installer in [Installer::Pip23, Installer::Pip26, Installer::Uv] {
        for (date, version) in cases {
            let url = story.larder.url(&format!("/@{date}/simple/"));
            let installed = installer.install(&url, &[PROJECT]).await;
            assert!(installed.succeeded, "{installer:?} {date}: {}", installed.said);
            let expected = format!("{PROJECT}-{version}");
            assert!(installed.packages.contains(&expected), "{installer:?} {date}: {installed:?}");
        }
        let url = story.larder.url("/@2020-01-01/simple/");
        let nothing = installer.install(&url, &[PROJECT]).await;
        assert!(!nothing.succeeded, "{installer:?}: {}", nothing.said);
    }
}

/// The versions of `huggingface_hub` that `tests/clients` installs.
const LIBRARIES: [&str; 3] = ["0.36.2", "1.33.0", "2.4.0"];

/// Downloads all of the model with `huggingface_hub`.
async fn snapshot(version: &str, endpoint: &str, folder: &Path) -> Output {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/hub");
    let python = clients.join(version).join("bin/python");
    assert!(python.exists(), "{} is not there: `tests/run` installs it", python.display());
    let mut command = Command::new(python);
    let program = "import sys; from huggingface_hub import snapshot_download as s; \
                   s(sys.argv[1], local_dir=sys.argv[2], endpoint=sys.argv[3])";
    command.args(["-c", program, MODEL]).arg(folder.join("model")).arg(endpoint);
    run("huggingface_hub", command, folder).await
}

#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn the_hubs_library_downloads_the_files_of_the_day() {
    let story = Story::told().await;
    for version in LIBRARIES {
        for day in &story.days {
            let folder = TempDir::new().expect("a temporary folder can be made");
            let endpoint = story.larder.url(&format!("/@{}", day.date));
            let output = snapshot(version, &endpoint, folder.path()).await;
            assert!(output.status.success(), "{version} {}: {}", day.date, said(&output));
            for (path, bytes) in &day.files {
                let got = std::fs::read(folder.path().join("model").join(path)).expect("a file");
                assert!(got == *bytes, "{version} {} {path}", day.date);
            }
        }
        let folder = TempDir::new().expect("a temporary folder can be made");
        let output = snapshot(version, &story.larder.url("/@2027-01-14"), folder.path()).await;
        let told = said(&output);
        assert!(
            !output.status.success() && told.contains("first saw main of"),
            "{version}: {told}"
        );
    }
}

#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn skopeo_copies_what_the_tag_stood_for() {
    let story = Story::told().await;
    let copy = async |date: &str| {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let target = folder.path().join("image");
        let mut command = Command::new("skopeo");
        command.args(["--insecure-policy", "copy", "--preserve-digests", "--src-tls-verify=false"]);
        command.arg(format!("docker://{}/at-{date}/{IMAGE}:{TAG}", story.larder.address));
        command.arg(format!("dir:{}", target.display()));
        let output = run("skopeo", command, folder.path()).await;
        let manifest = std::fs::read(target.join("manifest.json")).unwrap_or_default();
        (Algorithm::Sha256.digest(&manifest), said(&output))
    };
    for day in &story.days {
        let (digest, said) = copy(day.date).await;
        assert_eq!(digest, day.digest, "{}: {said}", day.date);
    }
    let (_, said) = copy("2027-01-14").await;
    assert!(said.contains("Larder first saw"), "{said}");
}
