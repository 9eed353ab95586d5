//! Behaviour of exchanges over the twins of store and upstream, with the clock in hand.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::cache::failure::Failure;
use crate::cache::found::Found;
use crate::cache::lookup::{Exchange, Mode};
use crate::cache::witness::Notebook;
use crate::cache::{Cache, Config, Seams};
use crate::clock::Clock;
use crate::store::memory::MemoryStore;
use crate::types::{Audience, Secret, Timestamp};
use crate::upstream::scripted::{Reply, Scripted};
use crate::upstream::{Credentials, Origin, OriginRequest, OutgoingBody, Redirects};

mod faults;
mod keep;
mod selection;
mod sharing;
mod validation;

/// Where the clock starts; `DATE` says the same.
const START: Timestamp = Timestamp::from_secs(784_111_777);
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const ADDRESS: &str = "http://origin.example/a";

/// A cache between a store and an upstream of which everything is known.
struct Bench {
    cache: Cache,
    store: MemoryStore,
    upstream: Scripted,
    clock: Clock,
    tasks: TaskTracker,
    origin: Arc<Origin>,
}

/// A request in the making.
struct Asking {
    request: OriginRequest,
    mode: Mode,
}

impl Bench {
    fn new() -> Self {
        let (store, upstream) = (MemoryStore::new(), Scripted::new());
        let (clock, tasks) = (Clock::manual(START), TaskTracker::new());
        let seams = Seams {
            store: Arc::new(store.clone()),
            upstream: Arc::new(upstream.clone()),
            witness: Arc::new(Notebook::default()),
            clock: clock.clone(),
            tasks: tasks.clone(),
            stop: CancellationToken::new(),
        };
        let cache = Cache::new(Config::default(), seams);
        let origin = Arc::new(Origin {
            id: "generic/test".into(),
            base: Url::parse("http://origin.example/").expect("an address"),
            hosts: Vec::new(),
            credentials: None,
            allow_private: true,
        });
        Self { cache, store, upstream, clock, tasks, origin }
    }

    fn asking(&self, mode: Mode, fields: &[(&'static str, &str)]) -> Asking {
        let url = Url::parse(ADDRESS).expect("an address");
        let mut request = OriginRequest::get(&self.origin, url);
        request.redirects = Redirects::Pass;
        for (name, value) in fields {
            request.headers.append(*name, value.parse().expect("a field value"));
        }
        Asking { request, mode }
    }

    async fn ask(&self, asking: Asking) -> Result<Found, Failure> {
        let Asking { request, mode } = asking;
        self.cache.exchange(Exchange::new("generic/test", &Audience::Public, request, mode)).await
    }

    /// Asks by the book, and tells the status and body once everything is written down.
    async fn get(&self, fields: &[(&'static str, &str)]) -> (u16, String) {
        self.whole(self.asking(Mode::ByTheBook, fields)).await
    }

    async fn whole(&self, asking: Asking) -> (u16, String) {
        let answer = match self.ask(asking).await {
            Ok(found) => (found.head.status.as_u16(), text(&found).await),
            Err(failure) => (0, failure.to_string()),
        };
        self.settle().await;
        answer
    }

    /// Waits until every flight has landed and every response is written.
    async fn settle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }

    fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// How often upstream was asked.
    fn asked(&self) -> usize {
        self.upstream.requests().len()
    }

    fn last_headers(&self) -> HeaderMap {
        self.upstream.requests().pop().expect("upstream was asked").headers
    }
}

impl Asking {
    fn method(mut self, method: &str) -> Self {
        self.request.method = Method::from_bytes(method.as_bytes()).expect("a method");
        self
    }

    fn at(mut self, address: &str) -> Self {
        self.request.url = Url::parse(address).expect("an address");
        self
    }

    fn authorised(mut self) -> Self {
        self.request.credentials = Some(Credentials::Verbatim(Secret::new("Basic eA==")));
        self
    }

    fn carrying(mut self, body: &'static str) -> Self {
        self.request.body = OutgoingBody::Bytes(Bytes::from_static(body.as_bytes()));
        self
    }
}

/// A 200 with these fields and body.
fn page(fields: &[(&str, &str)], body: &'static str) -> Reply {
    status(200, fields).body(body)
}

fn status(status: u16, fields: &[(&str, &str)]) -> Reply {
    let reply = Reply::new(StatusCode::from_u16(status).expect("a status"));
    fields.iter().fold(reply, |reply, (name, value)| reply.header(name, value))
}

/// The body, or `<cut>` behind what came of it.
async fn text(found: &Found) -> String {
    let mut body = found.source.body(None);
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame.map(|frame| frame.into_data().unwrap_or_default()) {
            Ok(bytes) => text.extend_from_slice(&bytes),
            Err(_) => return format!("{}<cut>", String::from_utf8_lossy(&text)),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}
