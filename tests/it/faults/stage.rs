//! The columns' common ground: an ecosystem's fake, a Larder over it that knows it by name, and one thing that clients ask for.

use std::sync::Arc;

use futures_util::future::join_all;
use http::Method;

use crate::support::client::{Client, Reply};
use crate::support::hub::{FakeHub, File, files};
use crate::support::index::{FakeIndex, Style, Upload, sha256};
use crate::support::larder::{Larder, page_path};
use crate::support::names::Names;
use crate::support::origin::{Origin, Pattern};
use crate::support::registry::{Blob, FakeRegistry, Family, Image, blob_path, manifest_path};
use crate::support::wait::{eventually, until};

/// The names under which Larder knows upstream's hosts: the configured one, and that of the files of an index.
pub const BASE: &str = "upstream.localhost";
const FILES: &str = "files.localhost";

/// What is asked for: of each ecosystem a document, which changes, and a file, which does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Page,
    Wheel,
    Info,
    Weights,
    Tag,
    Layer,
}

pub const EVERY_SUBJECT: [Subject; 6] =
    [Subject::Page, Subject::Wheel, Subject::Info, Subject::Weights, Subject::Tag, Subject::Layer];

impl Subject {
    /// What it is called in the name of its sheet.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Page => "pypi-page",
            Self::Wheel => "pypi-file",
            Self::Info => "huggingface-info",
            Self::Weights => "huggingface-file",
            Self::Tag => "oci-tag",
            Self::Layer => "oci-layer",
        }
    }

    /// Whether it goes stale.
    pub const fn is_document(self) -> bool {
        matches!(self, Self::Page | Self::Info | Self::Tag)
    }

    /// The media type of its ecosystem's documents.
    pub const fn document_type(self) -> &'static str {
        match self {
            Self::Page | Self::Wheel => "application/vnd.pypi.simple.v1+json",
            Self::Info | Self::Weights => "application/json",
            Self::Tag | Self::Layer => "application/vnd.oci.image.manifest.v1+json",
        }
    }
}

enum Fake {
    Index(FakeIndex),
    Hub(FakeHub),
    Registry(FakeRegistry),
}

/// Everything of one cell of the table.
pub struct Stage {
    pub larder: Larder,
    subject: Subject,
    fake: Fake,
    names: Names,
    settings: String,
    /// Where clients of Larder ask.
    path: String,
    /// What they ask before: the document that leads to a file. The page of an index has been asked for already.
    leads_there: Option<(Method, String)>,
    /// The paths upstream that concern it begin or end so.
    marks: Vec<String>,
    right: Right,
}

/// What of Larder's patience with an upstream that says nothing can be short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    Connect,
    Head,
    Read,
}

impl Patience {
    /// The setting that it is.
    const fn setting(self) -> &'static str {
        match self {
            Self::Connect => "connect_timeout",
            Self::Head => "head_timeout",
            Self::Read => "read_timeout",
        }
    }

    /// How long it is then. For a head it begins to count when the first client asks, and all of them must have come before it is over.
    const fn short(self) -> &'static str {
        match self {
            Self::Connect | Self::Read => "1500ms",
            Self::Head => "8s",
        }
    }
}

/// How the right answer is known.
enum Right {
    Digest(String),
    /// The text that no other answer has.
    Holds(String),
}

const REPOSITORY: &str = "library/demo";
const MODEL: &str = "org/model";

impl Stage {
    /// Of files, `bytes` long.
    pub async fn new(subject: Subject, bytes: u64) -> Self {
        match subject {
            Subject::Page | Subject::Wheel => Self::of_index(subject, bytes).await,
            Subject::Info | Subject::Weights => Self::of_hub(subject, bytes).await,
            Subject::Tag | Subject::Layer => Self::of_registry(subject, bytes).await,
        }
    }

    /// The same with a Larder that has little patience. It had all that there is while things were well, on a machine however busy.
    pub async fn impatient(self, patience: Patience) -> Self {
        let (setting, short) = (patience.setting(), patience.short());
        let settings = self
            .settings
            .replace(&format!("{setting} = \"{PATIENCE}\""), &format!("{setting} = \"{short}\""));
        let larder = self.larder.restart_with(&settings).await;
        Self { larder, settings, ..self }
    }

    async fn of_index(subject: Subject, bytes: u64) -> Self {
        let index = FakeIndex::start(Style::Full).await;
        let link = format!("http://{FILES}:{}{{path}}", index.files.address.port());
        let upload = Upload::blob("six", "1.0", bytes).linked(&link);
        index.publish("six", [upload.clone()]);
        let settings = format!(
            "{}[pypi.indexes.default]\nupstream = \"http://{BASE}:{}/simple/\"\nfile_hosts = [\"{FILES}\"]\nallow_private = true\n",
            patient(),
            index.pages.address.port(),
        );
        let (larder, names) = started(&settings).await;
        let path = match subject {
            Subject::Page => page_path("six"),
            _ => larder.link("six", &upload.filename).await.split_off(larder.url("").len()),
        };
        let right = match subject {
            Subject::Page => Right::Holds(upload.filename),
            _ => Right::Digest(upload.digest),
        };
        let mark = if subject == Subject::Page { page_path("six") } else { upload.path };
        let (fake, marks) = (Fake::Index(index), vec![mark]);
        Self { larder, subject, fake, names, settings, path, leads_there: None, marks, right }
    }

    async fn of_hub(subject: Subject, bytes: u64) -> Self {
        let hub = FakeHub::start().await;
        let weights = File::lfs(Pattern::new(5, bytes));
        let sha = hub.model(
            MODEL,
            files([("config.json", File::plain("{}")), ("model.bin", weights.clone())]),
        );
        let settings = format!(
            "{}[huggingface]\nupstream = \"http://{BASE}:{}\"\nhosts = [\"{}\", \"{}\"]\nallow_private = true\n\
             datasets_server = \"\"\nollama = \"\"\n",
            patient(),
            hub.hub.address.port(),
            hub.cdn.address.ip(),
            hub.cas.address.ip(),
        );
        let (larder, names) = started(&settings).await;
        let info = format!("/api/models/{MODEL}");
        let file = format!("/{MODEL}/resolve/{sha}/model.bin");
        let (path, leads_there, marks, right) = match subject {
            Subject::Info => (info.clone(), None, vec![info], Right::Holds(sha)),
            _ => {
                let head = (Method::HEAD, file.clone());
                let marks = vec![file.clone(), format!("/{}", weights.sha256)];
                (file, Some(head), marks, Right::Digest(weights.sha256.clone()))
            }
        };
        Self {
            larder,
            subject,
            fake: Fake::Hub(hub),
            names,
            settings,
            path,
            leads_there,
            marks,
            right,
        }
    }

    async fn of_registry(subject: Subject, bytes: u64) -> Self {
        let registry = FakeRegistry::start().await;
        let layer = Blob::opaque(Family::Oci, 9, bytes);
        let image = Image::of_layers(Family::Oci, "amd64", vec![layer.clone()]);
        registry.publish(REPOSITORY, "1.0", &image);
        let settings = format!(
            "{}[oci]\ndefault = \"hub.example\"\n[oci.registries.\"hub.example\"]\nupstream = \"http://{BASE}:{}/\"\n\
             allow_private = true\n",
            patient(),
            registry.front.address.port(),
        );
        let (larder, names) = started(&settings).await;
        let manifest = manifest_path(REPOSITORY, "1.0");
        let (path, leads_there, digest) = match subject {
            Subject::Tag => (manifest, None, image.digest().to_owned()),
            _ => {
                let lead = (Method::GET, manifest);
                (blob_path(REPOSITORY, &layer.digest), Some(lead), layer.digest)
            }
        };
        let right = Right::Digest(digest.trim_start_matches("sha256:").to_owned());
        let marks = vec![path.clone()];
        Self {
            larder,
            subject,
            fake: Fake::Registry(registry),
            names,
            settings,
            path,
            leads_there,
            marks,
            right,
        }
    }

    pub fn origins(&self) -> Vec<&Origin> {
        match &self.fake {
            Fake::Index(index) => vec![&index.pages, &index.files],
            Fake::Hub(hub) => hub.hosts().to_vec(),
            Fake::Registry(registry) => registry.origins().to_vec(),
        }
    }

    pub fn bind_names(&self) {
        bind(&self.names);
    }

    pub fn bind_names_to(&self, address: &str) {
        for name in [BASE, FILES] {
            self.names.bind(name, address);
        }
    }

    pub fn forget_names(&self) {
        for name in [BASE, FILES] {
            self.names.forget(name);
        }
    }

    /// Asks for what leads to the subject, so that trouble meets the subject itself.
    pub async fn lead(&self) {
        let Some((method, path)) = &self.leads_there else { return };
        let ask = self.larder.client.ask(method.clone(), self.larder.url(path));
        let reply = ask.with("accept", ACCEPT).send().await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        self.settle().await;
    }

    /// Has the subject kept.
    pub async fn keep(&self) {
        self.lead().await;
        let reply = self.ask().await;
        assert!(self.is_right(&reply), "{:?}: {reply:?}", self.subject);
        until_kept(self).await;
        self.settle().await;
    }

    /// Lets time pass beyond anything's freshness, and something new happen upstream: it cannot do with a word of confirmation.
    pub fn let_go_stale(&self) {
        self.larder.advance(3600);
        match &self.fake {
            Fake::Index(index) => index.publish("six", [Upload::sdist("six", "0.1")]),
            Fake::Hub(hub) => {
                hub.model(MODEL, files([("config.json", File::plain("{\"new\":1}"))]));
            }
            Fake::Registry(registry) => {
                registry.publish(REPOSITORY, "1.0", &Image::single(Family::Oci, 100));
            }
        }
    }

    pub async fn ask(&self) -> Reply {
        self.ask_with(&[]).await
    }

    /// Asks with these fields beside its own.
    pub async fn ask_with(&self, fields: &[(&'static str, &str)]) -> Reply {
        ask(&self.larder.client, &self.larder.url(&self.path), fields).await
    }

    /// Asks from `clients` connections that are open already, at once.
    pub async fn ask_at_once(&self, clients: usize) -> Vec<Reply> {
        let those: Vec<Client> = (0..clients).map(|_| Client::new()).collect();
        let health = self.larder.url("/-/health");
        join_all(those.iter().map(|client| client.get(&health).send())).await;
        let url = self.larder.url(&self.path);
        join_all(those.iter().map(|client| ask(client, &url, &[]))).await
    }

    /// As [`Stage::ask_at_once`], where upstream must be asked: it is not found before all of them wait for the same word of it, so that whoever is late
    /// does not ask once more when it is over.
    pub async fn ask_together(&self, clients: usize) -> Vec<Reply> {
        let gate = self.names.hold();
        for origin in self.origins() {
            origin.hang_up().await;
        }
        let opener = async {
            self.larder.until_waiting(clients as u64).await;
            gate.open();
        };
        tokio::join!(self.ask_at_once(clients), opener).0
    }

    /// What is kept of it, without a question to upstream.
    pub async fn ask_cache_alone(&self) -> Reply {
        self.ask_with(&[("cache-control", "only-if-cached")]).await
    }

    /// Whether this is the thing itself, whole.
    pub fn is_right(&self, reply: &Reply) -> bool {
        let is_it = match &self.right {
            Right::Digest(digest) => sha256(&reply.body) == *digest,
            Right::Holds(text) => reply.text().contains(text),
        };
        reply.status == 200 && !reply.cut && is_it
    }

    /// Whether this is a newer state of the thing, which upstream came to have in between.
    pub fn is_newer(&self, reply: &Reply) -> bool {
        self.subject.is_document() && reply.status == 200 && !reply.cut && !reply.body.is_empty()
    }

    /// Whether this is an error in the words of the ecosystem, made by Larder and not by upstream.
    pub fn is_problem(&self, reply: &Reply) -> bool {
        let kind = reply.header("content-type");
        let told = match self.fake {
            Fake::Index(_) => {
                kind == "application/problem+json" && !said(reply, "detail").is_empty()
            }
            Fake::Hub(_) => {
                !said(reply, "error").is_empty() || !reply.header("x-error-message").is_empty()
            }
            Fake::Registry(_) => {
                kind.starts_with("application/json")
                    && reply.json()["errors"][0]["code"]
                        .as_str()
                        .is_some_and(|code| !code.is_empty())
            }
        };
        told && !reply.cut && !reply.text().contains("<h1>")
    }

    /// Requests upstream that concern the subject, since it was last forgotten.
    pub fn asked(&self) -> usize {
        let concerns = |path: &str| self.marks.iter().any(|mark| path.ends_with(mark.as_str()));
        self.logged(concerns)
    }

    pub fn forget(&self) {
        for origin in self.origins() {
            origin.forget();
        }
    }

    fn logged(&self, concerns: impl Fn(&str) -> bool) -> usize {
        let of =
            |origin: &Origin| origin.log().iter().filter(|logged| concerns(&logged.path)).count();
        self.origins().into_iter().map(of).sum()
    }

    /// Waits until what is fetched in the background has come to rest.
    async fn settle(&self) {
        if let Fake::Hub(_) = self.fake {
            until("the tree is fetched", || self.logged(|path| path.contains("/tree/")) > 0).await;
        }
    }
}

/// Page as pip asks for it, and whatever else there is.
const ACCEPT: &str = "application/vnd.pypi.simple.v1+json, */*;q=0.1";

async fn until_kept(stage: &Stage) {
    eventually("it is kept", async || {
        let reply = stage.ask_cache_alone().await;
        stage.is_right(&reply)
    })
    .await;
}

async fn ask(client: &Client, url: &str, fields: &[(&'static str, &str)]) -> Reply {
    let ask = client.get(url).with("accept", ACCEPT);
    fields.iter().fold(ask, |ask, (name, value)| ask.with(name, value)).send().await
}

fn said(reply: &Reply, member: &str) -> String {
    let document: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    document[member].as_str().unwrap_or_default().to_owned()
}

fn bind(names: &Names) {
    names.bind(BASE, "127.0.0.1");
    names.bind(FILES, "127.0.0.2");
}

async fn started(settings: &str) -> (Larder, Names) {
    let names = Names::default();
    bind(&names);
    let larder = Larder::start_with_names(settings, Arc::new(names.clone())).await;
    (larder, names)
}

/// How long an upstream that says nothing is waited for.
const PATIENCE: &str = "30s";

/// Settings under which upstream is asked once, and nothing is tried behind a test's back.
fn patient() -> String {
    format!(
        "[cache]\nrevalidate_budget = \"1m\"\nresume_attempts = 2\n[upstream]\nproxy = \"none\"\nretries = 0\nbreaker_failures = 100\n\
         connect_timeout = \"{PATIENCE}\"\nhead_timeout = \"{PATIENCE}\"\nread_timeout = \"{PATIENCE}\"\n\
         breaker_pause = \"20ms\"\nbreaker_pause_max = \"20ms\"\n"
    )
}
