//! Real clients at a site that never had an upstream: what one Larder pulled, another serves out of a bundle.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use crate::bundle::site::{Site, Upstreams};
use crate::huggingface::stock;
use crate::oci::setting;
use crate::support::child::Process;
use crate::support::index::sha256;
use crate::support::installer::{EVERY_INSTALLER, Installer};
use crate::support::wait::soon;

/// The version of `huggingface_hub` whose command line is used.
const HUB_CLIENT: &str = "target/clients/hub/2.4.0/bin/hf";

/// A command without anything of this machine's settings, run to its end.
async fn run(program: &Path, words: &[&str], variables: &[(&str, &str)]) -> String {
    let home = TempDir::new().expect("a temporary folder can be made");
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", home.path()).env("XDG_RUNTIME_DIR", home.path());
    command.args(words).envs(variables.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    let output = soon("a client", command.output()).await.expect("`tests/run` installs it");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program:?} {words:?}: {said}");
    said
}

#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn real_clients_install_everything_from_a_bundle() {
    let upstreams = Upstreams::start().await;
    let (office, site) = (Site::new(&upstreams.settings()), Site::new(&upstreams.settings()));
    office.write("list.toml", upstreams.list());
    office.run(&["pull", "list.toml"]).await.ends(0);
    upstreams.vanish().await;
    site.write("office.key", office.run(&["export", "--key"]).await.ends(0).out);
    let mut export =
        office.command(&["export", "list.toml"]).spawn().expect("the binary can be run");
    let out: Stdio = export.stdout.take().expect("it is piped").try_into().expect("a pipe");
    let mut import = site.command(&["import", "-", "--trust", "office.key"]);
    let imported =
        soon("the pipe", import.stdin(out).output()).await.expect("the binary can be run");
    assert!(imported.status.success(), "{imported:?}");
    assert!(soon("the export", export.wait()).await.expect("it ends").success());

    let larder = Process::start(site.folder.path(), &upstreams.settings());
    let expected = BTreeSet::from(["leaf-1.0".to_owned(), "tree-1.0".to_owned()]);
    for installer in EVERY_INSTALLER {
        // Poetry reads the metadata of every release that it might take, also of those for other Pythons, unless it is told which one, as its lock tells it.
        let named: &[&str] = match installer {
            Installer::Poetry => &["tree==1.0", "leaf==1.0"],
            _ => &["tree"],
        };
        let installed = installer.install(&larder.url("/simple/"), named).await;
        assert!(installed.succeeded, "{installer:?}: {}", installed.said);
        assert_eq!(installed.packages, expected, "{installer:?}: {}", installed.said);
    }

    let folder = TempDir::new().expect("a temporary folder can be made");
    let (model, image) = (folder.path().join("model"), folder.path().join("image"));
    let hf = Path::new(env!("CARGO_MANIFEST_DIR")).join(HUB_CLIENT);
    let target = model.display().to_string();
    run(&hf, &["download", stock::ID, "--local-dir", &target], &[("HF_ENDPOINT", &larder.base)])
        .await;
    for (path, file) in stock::content() {
        let bytes = fs::read(model.join(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(sha256(&bytes), file.sha256, "{path}");
    }

    let host = larder.base.trim_start_matches("http://");
    let source =
        format!("docker://{host}/{}/{}:{}", setting::HUB, setting::REPOSITORY, setting::TAG);
    let target = format!("dir:{}", image.display());
    let words = [
        "--insecure-policy",
        "copy",
        "--all",
        "--preserve-digests",
        "--src-tls-verify=false",
        &source,
        &target,
    ];
    run(Path::new("skopeo"), &words, &[]).await;
    let manifest = fs::read(image.join("manifest.json")).expect("it was copied");
    assert_eq!(format!("sha256:{}", sha256(&manifest)), upstreams.image.digest());
    larder.kill();
}
