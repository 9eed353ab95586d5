//! A history of a few days, told to a Larder that looks at everything once a day: a branch moves three times, a tag moves, releases come and go, a repository is
//! deleted and its name is taken by somebody else.

use crate::oci::setting;
use crate::support::client::{ACCEPT_PAGE, Reply};
use crate::support::hub::{FakeHub, File, Files, Kind, files};
use crate::support::index::{FakeIndex, Style, Upload};
use crate::support::larder::{Larder, QUICK, over as over_index, over_hub};
use crate::support::origin::Pattern;
use crate::support::registry::{FakeRegistry, Family, Image};

pub const MODEL: &str = "org/model";
pub const PROJECT: &str = "demo";
/// The image as its registry has it, and as clients name it.
pub const REPOSITORY: &str = "library/demo";
pub const IMAGE: &str = "hub.example/library/demo";
pub const TAG: &str = "1.0";

/// The days on which something happened, at eight in the morning.
pub const DAYS: [&str; 4] = ["2027-01-15", "2027-01-16", "2027-01-17", "2027-01-18"];

const DAY_SECS: u64 = 86_400;

/// What was so at the end of one of [`DAYS`].
#[derive(Debug, Clone)]
pub struct Day {
    pub date: &'static str,
    pub commit: String,
    pub files: Vec<(String, Vec<u8>)>,
    pub digest: String,
    /// Releases that were listed, without those that were gone.
    pub versions: Vec<&'static str>,
}

/// Upstreams, a Larder before them, and what it saw.
pub struct Story {
    pub hub: FakeHub,
    pub index: FakeIndex,
    pub registry: FakeRegistry,
    pub larder: Larder,
    pub days: Vec<Day>,
    /// What the repository's name stands for now that somebody else has it.
    pub stranger: String,
}

/// The files of the model on a day.
fn model(day: u64) -> Files {
    files([
        ("config.json", File::plain(format!("{{\"day\": {day}}}"))),
        ("weights.bin", File::xet(Pattern::new(100 + day, 70_000))),
    ])
}

fn bytes(files: &Files) -> Vec<(String, Vec<u8>)> {
    let read = |file: &File| {
        let mut whole = Vec::new();
        while (whole.len() as u64) < file.size {
            whole.extend_from_slice(&file.content.at(whole.len() as u64, 1 << 20));
        }
        whole
    };
    files.iter().map(|(path, file)| (path.clone(), read(file))).collect()
}

/// Settings of a Larder over all three.
pub fn over(
    hub: &FakeHub,
    index: &FakeIndex,
    registry: &FakeRegistry,
    more_of_hub: &str,
) -> String {
    let rest = [over_index(index), setting::over(registry, "")].concat().replace(QUICK, "");
    format!("{}{rest}", over_hub(hub, more_of_hub))
}

impl Story {
    /// Lives through all of it, up to two days after the last of [`DAYS`].
    pub async fn told() -> Self {
        let hub = FakeHub::start().await;
        let index = FakeIndex::start(Style::Full).await;
        let registry = FakeRegistry::start().await;
        let larder = Larder::start(&over(&hub, &index, &registry, "")).await;
        let mut story =
            Self { hub, index, registry, larder, days: Vec::new(), stranger: String::new() };
        let upload = |version| Upload::wheel(PROJECT, version);
        story
            .index
            .publish(PROJECT, [upload("1.0"), upload("2.0").uploaded("2027-01-14T12:00:00Z")]);
        story.day(1, &["1.0", "2.0"]).await;
        story.index.publish(PROJECT, [upload("3.0").uploaded("2027-01-16T07:00:00Z")]);
        story.day(2, &["1.0", "2.0", "3.0"]).await;
        story.index.delete_release(PROJECT, "1.0");
        story.day(3, &["2.0", "3.0"]).await;
        story.hub.delete(Kind::Model, MODEL);
        story.look().await;
        let last = story.days[2].clone();
        story.days.push(Day { date: DAYS[3], ..last });
        story.larder.advance(DAY_SECS);
        // The name is free, and somebody takes it.
        story.stranger = story.hub.model(MODEL, model(66));
        story.hub.edit(Kind::Model, MODEL, |repository| repository.identity = "5".repeat(24));
        story.look().await;
        story.larder.advance(DAY_SECS);
        story
    }

    /// One day: everything moves, Larder looks at it, the day ends.
    async fn day(&mut self, number: u64, versions: &[&'static str]) {
        let files = model(number);
        let commit = self.hub.model(MODEL, files.clone());
        let image = Image::single(Family::Oci, number);
        self.registry.publish(REPOSITORY, TAG, &image);
        self.look().await;
        self.days.push(Day {
            date: DAYS[self.days.len()],
            commit,
            files: bytes(&files),
            digest: image.digest().to_owned(),
            versions: versions.to_vec(),
        });
        self.larder.advance(DAY_SECS);
    }

    /// Somebody uses everything, as it is.
    async fn look(&self) {
        for path in ["config.json", "weights.bin"] {
            let reply = self.larder.get(&format!("/{MODEL}/resolve/main/{path}")).await;
            assert_eq!(reply.status, 200, "{reply:?}");
        }
        let manifest = self.larder.get(&format!("/v2/{IMAGE}/manifests/{TAG}")).await;
        assert_eq!(manifest.status, 200, "{manifest:?}");
        for layer in manifest.json()["layers"].as_array().expect("layers") {
            let digest = layer["digest"].as_str().expect("a digest");
            assert_eq!(self.larder.get(&format!("/v2/{IMAGE}/blobs/{digest}")).await.status, 200);
        }
        self.larder.page(PROJECT).await;
    }

    /// The page of the project below a prefix.
    pub async fn page(&self, prefix: &str) -> Reply {
        let url = self.larder.url(&format!("{prefix}/simple/{PROJECT}/"));
        self.larder.client.get(url).with("accept", ACCEPT_PAGE).send().await
    }

    /// Nobody upstream answers any more.
    pub async fn cut_off(&self) {
        self.hub.refuse().await;
        self.registry.refuse().await;
        self.index.pages.refuse().await;
        self.index.files.refuse().await;
    }

    /// Forgets what upstream was asked so far.
    pub fn forget(&self) {
        self.hub.forget();
        self.registry.forget();
        self.index.pages.forget();
        self.index.files.forget();
    }

    /// What upstream was asked since.
    pub fn asked(&self) -> Vec<String> {
        let index = self.index.pages.log().into_iter().chain(self.index.files.log());
        let index = index.map(|logged| logged.path.clone());
        self.hub.journal().into_iter().chain(self.registry.journal()).chain(index).collect()
    }
}
