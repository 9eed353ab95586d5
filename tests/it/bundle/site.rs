//! A site: upstreams of every kind with something on them, and Larder's commands over a data folder.

use std::fs;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::huggingface::stock;
use crate::oci::setting;
use crate::support::child;
use crate::support::hub::FakeHub;
use crate::support::index::{FakeIndex, Style, Upload};
use crate::support::larder::{QUICK, over, over_hub};
use crate::support::registry::{FakeRegistry, Family, Image};
use crate::support::wait::soon;

/// An address at which nothing listens.
pub const NOBODY: &str = "127.0.0.1:1";

/// Everything that the lists of these tests name.
pub struct Upstreams {
    pub hub: FakeHub,
    pub index: FakeIndex,
    pub registry: FakeRegistry,
    pub image: Image,
    pub sha: String,
}

impl Upstreams {
    pub async fn start() -> Self {
        let (hub, index) = (FakeHub::start().await, FakeIndex::start(Style::Full).await);
        let registry = FakeRegistry::start().await;
        let sha = hub.model(stock::ID, stock::content());
        index.publish(
            "leaf",
            [Upload::wheel("leaf", "1.0"), Upload::wheel_for_python("leaf", "2.0", ">=3.99")],
        );
        index.publish(
            "tree",
            [
                Upload::wheel_with("tree", "1.0", &["leaf>=1"]),
                Upload::large_wheel("tree", "0.9", 300_000),
            ],
        );
        let image = Image::multi(Family::Oci, 1);
        registry.publish(setting::REPOSITORY, setting::TAG, &image);
        registry.sign(setting::REPOSITORY, image.digest());
        Self { hub, index, registry, image, sha }
    }

    pub fn settings(&self) -> String {
        let without = |settings: String| settings.replacen(QUICK, "", 1);
        let hub = over_hub(&self.hub, "");
        format!("{hub}{}{}", without(over(&self.index)), without(setting::over(&self.registry, "")))
    }

    /// A list of one of each.
    pub fn list(&self) -> String {
        format!(
            "[[pull]]\nwhat = \"hf:{}\"\n[[pull]]\nwhat = \"pypi:tree==1.0\"\npython = \"3.11\"\n[[pull]]\nwhat = \"oci:{}:{}\"\n",
            stock::ID,
            setting::REPOSITORY,
            setting::TAG
        )
    }

    /// The digest of the model's largest file.
    pub fn weights(&self) -> String {
        stock::content()["model.safetensors"].sha256.clone()
    }

    /// Nobody answers any more.
    pub async fn vanish(&self) {
        self.hub.refuse().await;
        self.index.pages.refuse().await;
        self.index.files.refuse().await;
        self.registry.refuse().await;
    }
}

/// A data folder and the settings of a Larder over it.
pub struct Site {
    pub folder: TempDir,
    pub listen: String,
}

/// What came of a command.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Panics unless it ended with this code.
    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

impl Site {
    pub fn new(settings: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let site = Self { folder, listen: NOBODY.to_owned() };
        site.write("settings.toml", settings);
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).expect("the folder can be written");
    }

    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::from(child::binary());
        command.args(words).arg("--config").arg(self.path("settings.toml"));
        command.arg("--data-dir").arg(self.data()).args(["--listen", &self.listen]);
        command.current_dir(self.folder.path()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, words: &[&str]) -> Done {
        let output =
            soon("a command", self.command(words).output()).await.expect("the binary can be run");
        done(output)
    }
}

fn done(output: Output) -> Done {
    Done {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
