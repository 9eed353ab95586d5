//! Artifacts and their fills against a scripted upstream and a store in memory: failures first.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cache::artifact::Want;
use crate::cache::body::{Body, BodyFault};
use crate::cache::failure::Failure;
use crate::cache::found::Found;
use crate::cache::lookup::{Accepted, Admission, Admit, Answer, Artifact, Lookup, Nature, Stale};
use crate::cache::witness::Notebook;
use crate::cache::{Cache, Config, Seams};
use crate::clock::Clock;
use crate::inspect::samples;
use crate::store::memory::MemoryStore;
use crate::store::{Entry, Store};
use crate::types::{Audience, BlobId, CacheKey, Digest, Timestamp};
use crate::upstream::scripted::Scripted;
use crate::upstream::{Origin, OriginRequest};

mod faults;
mod full;
mod hand;
mod inspected;
mod kept;
mod parallel;
mod random;
mod readers;

const MIB: usize = 1 << 20;
const FILE: &str = "http://files.example/f";

/// A cache with everything around it under control.
struct Bench {
    store: MemoryStore,
    upstream: Scripted,
    clock: Clock,
    tasks: TaskTracker,
    stop: CancellationToken,
    notebook: Notebook,
    cache: Cache,
}

impl Bench {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        Self::on(MemoryStore::new(), config)
    }

    /// On a store that another cache may have used before.
    fn on(store: MemoryStore, config: Config) -> Self {
        let (upstream, tasks) = (Scripted::new(), TaskTracker::new());
        let (stop, notebook) = (CancellationToken::new(), Notebook::default());
        let clock = Clock::manual(Timestamp::from_secs(1_000_000));
        let seams = Seams {
            store: Arc::new(store.clone()),
            upstream: Arc::new(upstream.clone()),
            witness: Arc::new(notebook.clone()),
            clock: clock.clone(),
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        let cache = Cache::new(config, seams);
        Self { store, upstream, clock, tasks, stop, notebook, cache }
    }

    async fn get(&self, artifact: &Artifact) -> Result<Found, Failure> {
        self.cache.artifact(artifact, Want::whole()).await
    }

    async fn head(&self, artifact: &Artifact) -> Result<Found, Failure> {
        self.cache.artifact(artifact, Want { method: Method::HEAD, ..Want::whole() }).await
    }

    /// Waits until every fill has ended and written down what it brought.
    async fn settled(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }

    /// Ends everything under way, as a shutdown does.
    async fn shut_down(&self) {
        self.stop.cancel();
        self.settled().await;
    }

    fn entry(&self, artifact: &Artifact) -> Option<Arc<Entry>> {
        self.store.get(&artifact.lookup.key).expect("the index can be read")
    }

    fn status(&self, found: &Found) -> String {
        found.trace.status.to_string()
    }
}

/// Reads statuses as every adapter does: 200 is kept for ever with its validators.
#[derive(Debug)]
struct ByStatus;

impl Admit for ByStatus {
    fn admit(&self, _index: usize, answer: &Answer<'_>) -> Admission {
        match answer.head.status.as_u16() {
            200 => Admission::Accept(Accepted {
                fresh_for: Duration::MAX,
                promised: Vec::new(),
                headers: etag_of(&answer.head.headers),
            }),
            404 | 410 => Admission::Absent,
            401 | 403 => Admission::Refused,
            status => Admission::Fail { reason: format!("status {status}") },
        }
    }
}

fn etag_of(headers: &HeaderMap) -> HeaderMap {
    let etag = headers.get(header::ETAG).cloned();
    etag.map(|etag| (header::ETAG, etag)).into_iter().collect()
}

fn artifact(name: &str, digests: Vec<Digest>) -> Artifact {
    from_origins(name, &[FILE], digests)
}

/// The file, known by its SHA-256.
fn promised(bytes: &[u8]) -> Artifact {
    artifact("f", vec![BlobId::of(bytes).digest()])
}

/// The file, trusted on first use.
fn trusted() -> Artifact {
    artifact("f", Vec::new())
}

fn from_origins(name: &str, urls: &[&str], digests: Vec<Digest>) -> Artifact {
    let requests = urls.iter().map(|url| {
        let url: url::Url = url.parse().expect("an address");
        let origin = Arc::new(Origin {
            id: "test".into(),
            base: url.join("/").expect("an address"),
            hosts: Vec::new(),
            credentials: None,
            allow_private: false,
        });
        OriginRequest::get(&origin, url)
    });
    let lookup = Lookup {
        key: CacheKey::new("test", &Audience::Public, name),
        origins: requests.collect(),
        admit: Arc::new(ByStatus),
        stale: Stale::Always,
    };
    Artifact {
        lookup,
        digests,
        size: None,
        nature: Nature::Data,
        is_excepted: false,
        subject: Some(format!("test:{name}")),
    }
}

/// Bytes that differ everywhere, the same for the same seed.
fn content(length: usize, seed: u64) -> Bytes {
    samples::noise(length, seed).into()
}

/// Reads a body to its end: what came, and why it was cut if it was.
async fn drain(mut body: Body) -> (Vec<u8>, Option<BodyFault>) {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(&frame.into_data().expect("data only")),
            Err(fault) => return (bytes, Some(fault)),
        }
    }
    (bytes, None)
}

/// Reads a body that must be whole.
async fn whole(body: Body) -> Bytes {
    let announced = body.size_hint().exact();
    let (bytes, fault) = drain(body).await;
    assert!(fault.is_none(), "cut after {} bytes: {fault:?}", bytes.len());
    assert!(announced.is_none_or(|length| length == bytes.len() as u64), "{announced:?}");
    bytes.into()
}

/// Reads at least `length` bytes of a body that goes on.
async fn read_some(body: &mut Body, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let frame = body.frame().await.expect("the body goes on").expect("the body is not cut");
        bytes.extend_from_slice(&frame.into_data().expect("data only"));
    }
    bytes
}

fn is_ok(found: &Found) -> bool {
    found.head.status == StatusCode::OK
}
