//! What there is to ask for, and how to know that it is right.

use crate::support::hub::{FakeHub, File, files};
use crate::support::index::{FakeIndex, Style, Upload, sha256};
use crate::support::larder::{Larder, page_path};
use crate::support::origin::{Content, Origin, Pattern};
use crate::support::registry::{Blob, FakeRegistry, Family, Image, blob_path, manifest_path};

pub const ACCEPT: &str = "application/vnd.pypi.simple.v1+json, */*;q=0.1";

/// Sizes that take every way through a cache: in memory, in one piece, in many.
const SIZES: [u64; 4] = [500, 40_000, 300_000, 3 << 20];

/// Of each ecosystem so many things of each size.
const OF_EACH: u64 = 3;

/// One thing to ask for.
pub struct Item {
    pub path: String,
    right: Right,
}

enum Right {
    Content(Content),
    Digest(String),
    /// A document that may be told in other words, but must name this.
    Names(String),
}

impl Item {
    /// Its length, if parts of it can be asked for.
    pub fn length(&self) -> Option<u64> {
        match &self.right {
            Right::Content(content) => content.length(),
            _ => None,
        }
    }

    pub fn is_right(&self, body: &[u8]) -> bool {
        match &self.right {
            Right::Content(content) => {
                content.length() == Some(body.len() as u64) && self.holds(0, body)
            }
            Right::Digest(digest) => sha256(body) == *digest,
            Right::Names(text) => {
                memchr::memmem::find(body, text.as_bytes()).is_some()
                    && serde_json::from_slice::<serde_json::Value>(body).is_ok()
            }
        }
    }

    /// Whether these are its bytes at `offset`.
    pub fn holds(&self, mut offset: u64, mut bytes: &[u8]) -> bool {
        let Right::Content(content) = &self.right else { return false };
        while !bytes.is_empty() {
            let expected = content.at(offset, bytes.len());
            if expected.is_empty() || expected != bytes[..expected.len()] {
                return false;
            }
            offset += expected.len() as u64;
            bytes = &bytes[expected.len()..];
        }
        true
    }
}

/// An index, a hub and a registry, and all that they have.
pub struct Stock {
    pub items: Vec<Item>,
    index: FakeIndex,
    hub: FakeHub,
    registry: FakeRegistry,
}

impl Stock {
    pub async fn new() -> Self {
        let now = larder::clock::Clock::system().now().secs();
        let (index, hub) = (FakeIndex::start(Style::Full).await, FakeHub::start_at(now).await);
        let registry = FakeRegistry::start().await;
        let mut stock = Self { items: Vec::new(), index, hub, registry };
        stock.fill_index().await;
        stock.fill_hub();
        stock.fill_registry();
        stock
    }

    fn add(&mut self, path: String, right: Right) {
        self.items.push(Item { path, right });
    }

    async fn fill_index(&mut self) {
        for (number, size) in numbered() {
            let project = format!("project{number}");
            let upload = Upload::blob(&project, "1.0", size);
            self.index.publish(&project, [upload.clone()]);
            self.add(page_path(&project), Right::Names(upload.filename.clone()));
            // The address of a file does not depend on which Larder gives it.
            let one = Larder::over(&self.index).await;
            let link = one.link(&project, &upload.filename).await;
            let path = link.trim_start_matches(&one.url("")).to_owned();
            self.add(path, Right::Content(upload.content));
        }
    }

    fn fill_hub(&mut self) {
        for (number, size) in numbered() {
            let id = format!("org/model-{number}");
            let weights = File::lfs(Pattern::new(100 + number, size));
            let sha = self.hub.model(
                &id,
                files([("config.json", File::plain("{}")), ("model.bin", weights.clone())]),
            );
            self.add(format!("/api/models/{id}"), Right::Names(sha.clone()));
            self.add(
                format!("/{id}/resolve/main/model.bin"),
                Right::Content(weights.content.clone()),
            );
            self.add(format!("/{id}/resolve/{sha}/config.json"), Right::Content("{}".into()));
        }
    }

    fn fill_registry(&mut self) {
        for (number, size) in numbered() {
            let name = format!("library/image-{number}");
            let layer = Blob::opaque(Family::Oci, 200 + number, size);
            let image = Image::of_layers(Family::Oci, "amd64", vec![layer.clone()]);
            self.registry.publish(&name, "1.0", &image);
            let digest = image.digest().trim_start_matches("sha256:").to_owned();
            self.add(manifest_path(&name, "1.0"), Right::Digest(digest));
            self.add(blob_path(&name, &layer.digest), Right::Content(layer.content.clone()));
        }
    }

    pub fn origins(&self) -> Vec<&Origin> {
        let mut origins = vec![&self.index.pages, &self.index.files];
        origins.extend(self.hub.hosts());
        origins.extend(self.registry.origins());
        origins
    }

    /// Settings under which everything goes stale at once, half of it is thrown out again, and nobody is waited for.
    pub fn settings(&self) -> String {
        let (cdn, cas) = (self.hub.cdn.address.ip(), self.hub.cas.address.ip());
        format!(
            "[log]\nfilter = \"warn\"\n[store]\nbudget = \"16 MiB\"\n[cache]\nmemory = \"4 MiB\"\nrevalidate_budget = \"200ms\"\nretry_after_failure = \"1s\"\n\
             absent_for = \"1s\"\n[upstream]\nproxy = \"none\"\nconnect_timeout = \"1s\"\nhead_timeout = \"1s\"\nread_timeout = \"1s\"\nretries = 1\n\
             retry_pause = \"10ms\"\nbreaker_pause = \"50ms\"\nbreaker_pause_max = \"200ms\"\n\
             [pypi.indexes.default]\nupstream = {:?}\nfile_hosts = [\"{}\"]\npage_ttl = \"1s\"\n\
             [huggingface]\nupstream = {:?}\nhosts = [\"{cdn}\", \"{cas}\"]\ndatasets_server = \"\"\nollama = \"\"\nref_ttl = \"1s\"\nmemo = \"1s\"\n\
             [oci]\ndefault = \"hub.example\"\n[oci.registries.\"hub.example\"]\nupstream = {:?}\nnamespace = \"library\"\ntag_ttl = \"1s\"\n",
            self.index.simple(),
            self.index.files.address.ip(),
            self.hub.endpoint(),
            self.registry.front.url(""),
        )
    }
}

/// Things by number, with their sizes.
fn numbered() -> impl Iterator<Item = (u64, u64)> {
    let sizes = (0..OF_EACH).flat_map(|_| SIZES);
    (0..).zip(sizes)
}
