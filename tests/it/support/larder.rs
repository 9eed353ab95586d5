//! Larder in this process: on a port of its own, with a data folder of its own and a clock that tests move.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use larder::app::App;
use larder::clock::Clock;
use larder::config::{Config, Flags, Loaded, Sources};
use larder::types::Timestamp;
use larder::upstream::{Resolve, System};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::client::{ACCEPT_PAGE, Client, Reply};
use super::hub::FakeHub;
use super::index::FakeIndex;
use super::wait::{eventually, soon};

/// Settings of every test: time-outs that a test can wait for and that a stalled machine does not reach, few repetitions, and patience where a busy one must
/// not look like a slow upstream.
pub const QUICK: &str = r#"
[cache]
revalidate_budget = "40s"
[upstream]
connect_timeout = "6s"
head_timeout = "6s"
read_timeout = "6s"
retries = 1
retry_pause = "10ms"
breaker_pause = "50ms"
breaker_pause_max = "50ms"
"#;

/// Settings by which an upstream that is slow is not waited for.
pub fn impatient(settings: &str) -> String {
    settings.replace("revalidate_budget = \"40s\"", "revalidate_budget = \"100ms\"")
}

/// A running Larder. Dropping it ends it in the middle of things; [`Larder::stop`] lets it finish.
pub struct Larder {
    pub address: SocketAddr,
    pub clock: Clock,
    pub client: Client,
    begin: Begin,
    stop: CancellationToken,
    running: JoinSet<()>,
}

/// What a Larder is started from, the same after a restart.
#[derive(Clone)]
struct Begin {
    settings: String,
    data: Arc<TempDir>,
    names: Arc<dyn Resolve>,
}

impl Larder {
    /// Starts one with `settings` in TOML.
    pub async fn start(settings: &str) -> Self {
        let data = TempDir::new().expect("a temporary folder can be made");
        Self::start_in(data, settings, Arc::new(System))
    }

    /// Starts one of many, none of which is about a disk. It looks up upstream's names in `names`.
    pub async fn start_with_names(settings: &str, names: Arc<dyn Resolve>) -> Self {
        Self::start_in(scratch(), settings, names)
    }

    fn start_in(data: TempDir, settings: &str, names: Arc<dyn Resolve>) -> Self {
        let data = Arc::new(data);
        let start = Timestamp::from_secs(1_800_000_000);
        let begin = Begin { settings: settings.to_owned(), data, names };
        Self::start_on(begin, Clock::manual(start))
    }

    /// Starts one whose default Python index is `index`.
    pub async fn over(index: &FakeIndex) -> Self {
        Self::start(&over(index)).await
    }

    /// Ends it and starts it again on the same data, as another process would.
    pub async fn restart(self) -> Self {
        let (begin, clock) = (self.begin.clone(), self.clock.clone());
        self.stop().await;
        Self::start_on(begin, clock)
    }

    /// Ends it and starts it again on the same data, with other settings.
    pub async fn restart_with(self, settings: &str) -> Self {
        let begin = Begin { settings: settings.to_owned(), ..self.begin.clone() };
        let clock = self.clock.clone();
        self.stop().await;
        Self::start_on(begin, clock)
    }

    /// Ends it, has something done with its settings and its data, and starts it again.
    pub async fn while_away(self, errand: impl AsyncFnOnce(Config, Clock)) -> Self {
        let (begin, clock) = (self.begin.clone(), self.clock.clone());
        let config = self.config();
        self.stop().await;
        errand(config, clock.clone()).await;
        Self::start_on(begin, clock)
    }

    /// The settings that it runs with.
    pub fn config(&self) -> Config {
        config(&self.begin.settings, &self.begin.data)
    }

    /// The folder in which its data folder and its settings are.
    pub fn folder(&self) -> &Path {
        self.begin.data.path()
    }

    /// Lets it finish what is under way.
    pub async fn stop(mut self) {
        self.stop.cancel();
        soon("the end of Larder", self.running.join_next())
            .await
            .expect("it runs")
            .expect("it ends well");
    }

    fn start_on(begin: Begin, clock: Clock) -> Self {
        let config = config(&begin.settings, &begin.data);
        let names = Arc::clone(&begin.names);
        let app = App::build_with_names(config, clock.clone(), names).expect("it starts");
        let address = app.addresses()[0];
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        let token = stop.clone();
        running.spawn(async move { app.run(token).await });
        Self { address, clock, client: Client::new(), begin, stop, running }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Waits until so many requests wait for upstream's word: from then on all of them share what comes of it.
    pub async fn until_waiting(&self, requests: u64) {
        let what = format!("{requests} requests wait for upstream");
        eventually(&what, async || {
            let status = self.get("/-/api/v1/status").await.json();
            status["waiting"].as_u64().is_some_and(|waiting| waiting >= requests)
        })
        .await;
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.client.get(self.url(path)).send().await
    }

    /// Waits until `path` is kept. Upstream is not asked for it.
    pub async fn until_kept(&self, path: &str) {
        eventually(&format!("{path} is kept"), async || {
            let ask = self.client.get(self.url(path));
            ask.with("cache-control", "only-if-cached").send().await.status == 200
        })
        .await;
    }

    /// Waits until the ledger has so many refusals, and gives their records. How many share a record depends on when it was written.
    pub async fn refusals(&self, times: u64) -> Vec<Value> {
        let mut records = Vec::new();
        eventually(&format!("{times} refusals are recorded"), async || {
            let told = self.get("/-/api/v1/log?kind=refused").await.json();
            records = told["records"].as_array().cloned().unwrap_or_default();
            records.iter().map(times_of).sum::<u64>() >= times
        })
        .await;
        records
    }

    /// A project's page as pip asks for it.
    pub async fn page(&self, project: &str) -> Reply {
        self.client.get(self.url(&page_path(project))).with("accept", ACCEPT_PAGE).send().await
    }

    /// The address of a file, as its page links it.
    pub async fn link(&self, project: &str, filename: &str) -> String {
        let page = self.page(project).await;
        link_on(&page, &self.url(&page_path(project)), filename)
            .unwrap_or_else(|| panic!("{filename} is not on the page: {page:?}"))
    }

    /// A file, by way of its page.
    pub async fn file(&self, project: &str, filename: &str) -> Reply {
        self.client.get(self.link(project, filename).await).send().await
    }
}

/// A folder in memory where there is room: every data folder begins with 256 folders, and a thousand of them keep a disk busy for minutes.
fn scratch() -> TempDir {
    const MEMORY: &str = "/dev/shm";
    let room = rustix::fs::statvfs(MEMORY).map_or(0, |found| found.f_bavail * found.f_frsize);
    let made = match room > 2 << 30 {
        true => TempDir::new_in(MEMORY).or_else(|_| TempDir::new()),
        false => TempDir::new(),
    };
    made.expect("a temporary folder can be made")
}

/// Settings of a Larder whose default Python index is `index`.
pub fn over(index: &FakeIndex) -> String {
    let (upstream, files) = (index.simple(), index.files.address.ip());
    format!(
        "{QUICK}[pypi.indexes.default]\nupstream = \"{upstream}\"\nfile_hosts = [\"{files}\"]\n"
    )
}

/// The name under which a Larder over a hub shows its repositories as a registry.
pub const HUB_NAME: &str = "hub.example";

/// Settings of a Larder over a hub and its other hosts; `more` belongs to `[huggingface]`.
pub fn over_hub(hub: &FakeHub, more: &str) -> String {
    let (upstream, cdn, cas) = (hub.endpoint(), hub.cdn.address.ip(), hub.cas.address.ip());
    let (viewer, library) = (hub.viewer.url(""), hub.library.url(""));
    format!(
        "{QUICK}[huggingface]\nupstream = \"{upstream}\"\nhosts = [\"{cdn}\", \"{cas}\"]\n\
         vhosts = [\"{HUB_NAME}\"]\ndatasets_server = \"{viewer}\"\nollama = \"{library}\"\n{more}\n"
    )
}

/// Settings of a Larder with one generic mount, `/generic/it/`.
pub fn generic(upstream: &str, more: &str) -> String {
    format!("{QUICK}[generic.it]\nupstream = \"{upstream}\"\n{more}\n")
}

/// How many refusals a record tells of.
pub fn times_of(record: &Value) -> u64 {
    let detail = record["detail"].as_str().unwrap_or_default();
    let several = detail.strip_suffix(" times").and_then(|text| text.rsplit_once(", "));
    several.map_or(1, |(_, times)| times.parse().expect("a number"))
}

pub fn page_path(project: &str) -> String {
    format!("/simple/{project}/")
}

/// The absolute address that a JSON page at `base` links `filename` to, without its fragment.
pub fn link_on(page: &Reply, base: &str, filename: &str) -> Option<String> {
    let page = page.json();
    let entry = page["files"].as_array()?.iter().find(|entry| entry["filename"] == filename)?;
    let base = Url::parse(base).expect("an address");
    let mut link = base.join(entry["url"].as_str()?).expect("a link");
    link.set_fragment(None);
    Some(link.into())
}

fn config(settings: &str, data: &TempDir) -> Config {
    let file = data.path().join("larder.toml");
    // The mounts that are there by default lead to public services, which no test asks.
    let no_hub = match settings.contains("[huggingface]") {
        true => "",
        false => "\n[huggingface]\nupstream = \"\"\n",
    };
    std::fs::write(&file, format!("{settings}{no_hub}")).expect("the folder can be written");
    let flags =
        Flags { listen: vec!["127.0.0.1:0".to_owned()], data_dir: Some(data.path().join("data")) };
    let sources = Sources { file: Some(file), environment: BTreeMap::new(), flags };
    match Loaded::read(&sources) {
        Ok(loaded) => loaded.config,
        Err(faults) => panic!("{faults}\nin\n{settings}"),
    }
}
