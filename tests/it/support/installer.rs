//! Real clients, in the versions that `tests/clients` puts into `target/clients`, with nothing of this machine's settings.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use super::wait::soon;

/// A client that installs packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installer {
    Pip23,
    Pip26,
    /// With `--use-feature=fast-deps`: reads metadata out of wheels by ranges.
    PipFastDeps,
    Uv,
    Poetry,
}

pub const EVERY_INSTALLER: [Installer; 5] =
    [Installer::Pip23, Installer::Pip26, Installer::PipFastDeps, Installer::Uv, Installer::Poetry];

/// What came of an installation.
#[derive(Debug)]
pub struct Installed {
    pub succeeded: bool,
    /// `name-version` of everything that was installed.
    pub packages: BTreeSet<String>,
    /// What the client printed.
    pub said: String,
}

impl Installer {
    /// Installs `requirements` from the index at `url` into a new place, with empty caches.
    pub async fn install(self, url: &str, requirements: &[&str]) -> Installed {
        let place = TempDir::new().expect("a temporary folder can be made");
        let mut command = self.command(place.path(), url, requirements);
        let output =
            soon(&format!("{self:?}"), command.output()).await.expect("the client can be run");
        let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.push_str(&String::from_utf8_lossy(&output.stderr));
        Installed { succeeded: output.status.success(), packages: packages(place.path()), said }
    }

    fn command(self, place: &Path, url: &str, requirements: &[&str]) -> Command {
        let (folder, program) = self.program();
        let mut command = tool(folder, program, place);
        match self {
            Self::Pip23 | Self::Pip26 | Self::PipFastDeps => {
                command.args(["install", "--no-cache-dir", "--disable-pip-version-check"]);
                command.args(["--target", "site", "--index-url", url]);
                if self == Self::PipFastDeps {
                    command.arg("--use-feature=fast-deps");
                }
                command.args(requirements);
            }
            Self::Uv => {
                command.args(["pip", "install", "--target", "site", "--cache-dir", "cache"]);
                command.args(["--default-index", url]).args(requirements);
            }
            Self::Poetry => {
                fs::write(place.join("pyproject.toml"), project(url, requirements))
                    .expect("the folder can be written");
                command.args(["install", "--no-root", "--no-interaction"]);
            }
        }
        command
    }

    const fn program(self) -> (&'static str, &'static str) {
        match self {
            Self::Pip23 => ("pip-23.2.1", "pip"),
            Self::Pip26 | Self::PipFastDeps => ("pip-26.3", "pip"),
            Self::Uv => ("uv-0.13.9", "uv"),
            Self::Poetry => ("poetry-2.5.1", "poetry"),
        }
    }
}

/// A program of those that `tests/clients` puts into `target/clients`, in `place` and with nothing of this machine's settings.
pub fn tool(folder: &str, program: &str, place: &Path) -> Command {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients");
    let program: PathBuf = clients.join(folder).join("bin").join(program);
    assert!(program.exists(), "{} is not there: `tests/run` installs it", program.display());
    let mut command = Command::new(program);
    scrub(&mut command, place);
    command.current_dir(place).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Takes the machine's settings away, and with them other places that a client might install from.
fn scrub(command: &mut Command, place: &Path) {
    command.env_clear();
    for kept in ["PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
    command.env("HOME", place).env("PIP_CONFIG_FILE", "/dev/null");
    command
        .env("POETRY_CACHE_DIR", place.join("cache"))
        .env("POETRY_VIRTUALENVS_IN_PROJECT", "true");
}

fn project(url: &str, requirements: &[&str]) -> String {
    let requirements: Vec<String> = requirements.iter().map(|name| format!("\"{name}\"")).collect();
    format!(
        "[project]\nname = \"trial\"\nversion = \"0\"\nrequires-python = \">=3.9,<4\"\ndependencies = [{}]\n\
         [tool.poetry]\npackage-mode = false\n\
         [[tool.poetry.source]]\nname = \"larder\"\nurl = \"{url}\"\npriority = \"primary\"\n",
        requirements.join(", ")
    )
}

/// Names of the `dist-info` folders below `place`, but those of the installers' own.
fn packages(place: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut pending = vec![place.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(package) = name.strip_suffix(".dist-info") {
                found.insert(package.to_owned());
            } else if entry.path().is_dir() && name != "cache" {
                pending.push(entry.path());
            }
        }
    }
    found.retain(|package| !package.starts_with("pip-"));
    found
}
