//! How documents behave in each state of upstream: nothing kept, fresh, stale, gone, refused, slow, lying.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use super::Got;
use crate::cache::failure::Failure;
use crate::cache::lookup::{
    Accepted, Admission, Admit, Answer, Demand, Document, Fresh, Keep, Kept, Lookup, Parsed, Stale,
};
use crate::cache::witness::Notebook;
use crate::cache::{Cache, Config, Seams};
use crate::clock::Clock;
use crate::store::Store;
use crate::store::memory::MemoryStore;
use crate::types::event::Kind;
use crate::types::{Audience, ByteSize, CacheKey, Presence, Timestamp, What};
use crate::upstream::scripted::{Gate, Reply, Scripted};
use crate::upstream::{Availability, HostRule, Origin, OriginRequest, UpstreamError};

mod at_hand;
mod pages;
mod tell;

const FIRST: &str = "http://first.example/doc";
const SECOND: &str = "http://second.example/doc";
const FRESH_FOR: Duration = Duration::from_secs(600);

/// Reads a document that is text; refuses one that says so.
#[derive(Debug)]
struct Text;

impl Text {
    fn kept(text: String) -> Kept {
        Kept::alone(Bytes::from(text.clone()), Parsed::new(text))
    }
}

impl Keep for Text {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        Ok(Parsed::new(String::from_utf8_lossy(kept).into_owned()))
    }

    fn merge(&self, previous: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        let text = String::from_utf8_lossy(fresh.body).into_owned();
        let before = previous.and_then(Parsed::get::<String>).filter(|before| **before != text);
        let moved = |before: &String| {
            What::new(Kind::Moved, "text:doc").before(before.as_str()).after(text.as_str())
        };
        let events = before.map(moved).into_iter().collect();
        match text.as_str() {
            page if page.starts_with("<html>") => Err("an error page".to_owned()),
            "passing" => Ok(Kept::alone(Bytes::new(), Parsed::new(text))),
            _ => Ok(Self::kept(text).telling(events)),
        }
    }

    fn subject(&self) -> Option<String> {
        Some("text:doc".to_owned())
    }

    fn absent(&self, previous: &Parsed, _: Timestamp) -> Option<Kept> {
        let text = previous.get::<String>().expect("this adapter keeps text");
        (!text.ends_with('!')).then(|| Self::kept(format!("{text}!")))
    }
}

#[derive(Debug)]
struct ByStatus;

impl Admit for ByStatus {
    fn admit(&self, _: usize, answer: &Answer<'_>) -> Admission {
        match answer.head.status.as_u16() {
            200 => Admission::Accept(Accepted { fresh_for: FRESH_FOR, ..Accepted::default() }),
            404 | 410 => Admission::Absent,
            401 | 403 => Admission::Refused,
            status => Admission::Fail { reason: format!("status {status}") },
        }
    }
}

/// A cache over the twins, and the means to move time and upstream.
struct Bench {
    cache: Cache,
    notebook: Notebook,
    upstream: Scripted,
    store: Arc<MemoryStore>,
    clock: Clock,
    tasks: TaskTracker,
}

impl Bench {
    fn new() -> Self {
        Self::over(Arc::new(MemoryStore::new()), Scripted::new())
    }

    fn over(store: Arc<MemoryStore>, upstream: Scripted) -> Self {
        let config = Config { revalidate_budget: Duration::from_millis(50), ..Config::default() };
        Self::configured(store, upstream, config)
    }

    fn configured(store: Arc<MemoryStore>, upstream: Scripted, config: Config) -> Self {
        let clock = Clock::manual(Timestamp::from_secs(1_700_000_000));
        let tasks = TaskTracker::new();
        let notebook = Notebook::default();
        let seams = Seams {
            store: Arc::clone(&store) as Arc<dyn Store>,
            upstream: Arc::new(upstream.clone()),
            witness: Arc::new(notebook.clone()),
            clock: clock.clone(),
            tasks: tasks.clone(),
            stop: CancellationToken::new(),
        };
        let cache = Cache::new(config, seams);
        Self { cache, notebook, upstream, store, clock, tasks }
    }

    /// The same store in a new process.
    async fn restarted(self) -> Self {
        self.settle().await;
        let bench = Self::over(self.store, self.upstream);
        bench.clock.advance(self.clock.now().since(bench.clock.now()));
        bench
    }

    async fn settle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }

    fn serve(&self, text: &str) {
        self.upstream.always(FIRST, Reply::file(text.to_owned(), &format!("\"{text}\"")));
    }

    fn status(&self, status: StatusCode) {
        self.upstream.always(FIRST, Reply::new(status));
    }

    async fn get(&self, document: &Document) -> Result<Got, Failure> {
        self.cache.document(document).await
    }

    /// The text and the `Cache-Status` of an answer.
    async fn told(&self, document: &Document) -> (String, String) {
        let got = self.get(document).await.expect("a document");
        let text = got.loaded.parsed.get::<String>().expect("this adapter keeps text").clone();
        (text, got.trace.status.to_string())
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

fn origin_request(address: &str) -> OriginRequest {
    let url: Url = address.parse().expect("an address");
    let origin = Origin {
        id: "test".into(),
        base: url.clone(),
        hosts: Vec::<HostRule>::new(),
        credentials: None,
        allow_private: false,
    };
    OriginRequest::get(&Arc::new(origin), url)
}

fn document() -> Document {
    Document {
        lookup: Lookup {
            key: CacheKey::new("test", &Audience::Public, "doc"),
            origins: vec![origin_request(FIRST)],
            admit: Arc::new(ByStatus),
            stale: Stale::Always,
        },
        keep: Arc::new(Text),
        limit_bytes: 1000,
        demand: Demand::Fresh,
    }
}

/// Whoever asked for names that do not exist filled the index with them.
#[tokio::test(start_paused = true)]
async fn a_document_without_bytes_is_remembered_and_not_written_down() {
    let bench = Bench::new();
    bench.serve("passing");
    for _ in 0..2 {
        let got = bench.get(&document()).await.expect("a document");
        assert_eq!(got.loaded.parsed.get::<String>().map(String::as_str), Some("passing"));
    }
    assert_eq!(bench.upstream.count(FIRST), 1);
    let bench = bench.restarted().await;
    bench.get(&document()).await.expect("a document");
    assert_eq!(bench.upstream.count(FIRST), 2);
}

/// A list of half a million files was read from the store and parsed again for each of them.
#[tokio::test(start_paused = true)]
async fn a_document_beyond_the_memory_for_them_stays_there_while_it_is_used() {
    let config = Config { memory: ByteSize::kib(1), ..Config::default() };
    let bench = Bench::configured(Arc::new(MemoryStore::new()), Scripted::new(), config);
    bench.serve(&"a".repeat(900));
    let document = document();
    let first = bench.cache.document(&document).await.expect("a document").loaded;
    let second = bench.cache.document(&document).await.expect("a document").loaded;
    assert!(Arc::ptr_eq(&first, &second));
    bench.serve("small again");
    bench.clock.advance(FRESH_FOR * 2);
    let third = bench.cache.document(&document).await.expect("a document").loaded;
    assert_eq!(third.parsed.get::<String>().map(String::as_str), Some("small again"));
}

#[tokio::test]
async fn an_outage_with_nothing_kept_is_an_honest_failure() {
    let bench = Bench::new();
    let host = "first.example".to_owned();
    bench.upstream.always(FIRST, Reply::error(UpstreamError::Refused { host }));
    assert!(matches!(bench.get(&document()).await, Err(Failure::Unreachable(_))));
    bench.status(StatusCode::BAD_GATEWAY);
    let failure = bench.get(&document()).await;
    assert!(matches!(failure, Err(Failure::Unavailable { status: 502, .. })), "{failure:?}");
    bench.serve("<html>");
    assert!(matches!(bench.get(&document()).await, Err(Failure::BadAnswer(_))));
    bench.serve(&"x".repeat(1001));
    assert!(matches!(bench.get(&document()).await, Err(Failure::BadAnswer(_))));
    bench.serve("good");
    assert_eq!(bench.told(&document()).await.0, "good");
}

#[tokio::test]
async fn whatever_upstream_does_what_is_kept_is_served() {
    let broken = UpstreamError::Broken { host: "h".to_owned(), detail: "reset".to_owned() };
    let refused = UpstreamError::Refused { host: "h".to_owned() };
    let faults = [
        Reply::error(refused),
        Reply::error(broken),
        Reply::new(StatusCode::SERVICE_UNAVAILABLE),
        Reply::new(StatusCode::TOO_MANY_REQUESTS),
        Reply::new(StatusCode::NOT_MODIFIED),
        Reply::file("<html>".to_owned(), "\"e\""),
        Reply::file("x".repeat(2000), "\"l\""),
        Reply::file("cut short".to_owned(), "\"c\"").cut_after(3),
    ];
    for (index, fault) in faults.into_iter().enumerate() {
        let bench = Bench::new();
        bench.upstream.always(FIRST, Reply::new(StatusCode::OK).body("kept"));
        bench.told(&document()).await;
        bench.pass(601);
        bench.upstream.always(FIRST, fault);
        let (text, status) = bench.told(&document()).await;
        assert_eq!(text, "kept", "fault {index}");
        assert!(status.starts_with("larder; hit; ttl=-1; detail=upstream-"), "{index}: {status}");
        let asked = bench.upstream.count(FIRST);
        bench.told(&document()).await;
        assert_eq!(bench.upstream.count(FIRST), asked, "asked again at once after fault {index}");
        bench.serve("healed");
        bench.pass(11);
        assert_eq!(bench.told(&document()).await.0, "healed", "fault {index}");
    }
}

#[tokio::test]
async fn fresh_is_not_asked_for_and_stale_is_confirmed_with_one_conditional_request() {
    let bench = Bench::new();
    bench.serve("one");
    let (_, status) = bench.told(&document()).await;
    assert_eq!(status, "larder; fwd=uri-miss; fwd-status=200; ttl=600; stored");
    bench.pass(599);
    assert_eq!(bench.told(&document()).await.1, "larder; hit; ttl=1");
    let bench = bench.restarted().await;
    assert_eq!(bench.told(&document()).await.1, "larder; hit; ttl=1");
    assert_eq!(bench.upstream.count(FIRST), 1);
    bench.pass(2);
    let (text, status) = bench.told(&document()).await;
    assert_eq!((text.as_str(), bench.upstream.count(FIRST)), ("one", 2));
    assert_eq!(status, "larder; fwd=stale; fwd-status=304; ttl=600; stored");
    let sent = bench.upstream.requests().pop().expect("a request");
    assert_eq!(sent.headers["if-none-match"], "\"one\"");
    bench.pass(601);
    bench.serve("two");
    assert_eq!(bench.told(&document()).await.0, "two");
}

#[tokio::test]
async fn a_slow_upstream_costs_the_budget_once_and_is_then_left_alone() {
    let bench = Bench::new();
    bench.serve("kept");
    bench.told(&document()).await;
    bench.pass(601);
    let gate = Gate::new();
    bench.upstream.always(FIRST, Reply::file("late".to_owned(), "\"l\"").pause_head(&gate));
    assert!(bench.told(&document()).await.1.ends_with("detail=upstream-slow"));
    assert_eq!(bench.upstream.slow_reports().len(), 1);
    let (text, status) = bench.told(&document()).await;
    assert_eq!(text, "kept");
    assert!(status.ends_with("detail=upstream-unreachable"), "{status}");
    gate.open();
    bench.settle().await;
    bench.upstream.set_availability(Availability::Closed);
    assert_eq!(bench.told(&document()).await.0, "late", "the refresh went on without its client");
}

/// There is something else to give to the client, who does not wait; whoever comes later gets what has arrived meanwhile.
#[tokio::test]
async fn what_is_demanded_promptly_is_waited_for_no_longer_than_the_budget() {
    let bench = Bench::new();
    let gate = Gate::new();
    bench.upstream.always(FIRST, Reply::file("late".to_owned(), "\"l\"").pause_head(&gate));
    let prompt = Document { demand: Demand::Prompt, ..document() };
    assert!(matches!(bench.get(&prompt).await, Err(Failure::NotKept)));
    assert_eq!(bench.upstream.slow_reports().len(), 1);
    gate.open();
    bench.settle().await;
    assert_eq!(bench.told(&prompt).await.0, "late");
    assert_eq!(bench.upstream.count(FIRST), 1);
}

#[tokio::test]
async fn many_clients_ask_once() {
    let bench = Bench::new();
    let gate = Gate::new();
    bench.upstream.always(FIRST, Reply::file("one".to_owned(), "\"1\"").pause_head(&gate));
    let document = document();
    let clients = (0..20).map(|_| bench.told(&document));
    let (texts, ()) = tokio::join!(futures_util::future::join_all(clients), async {
        gate.reached(1).await;
        gate.open();
    });
    assert!(texts.iter().all(|(text, _)| text == "one"));
    assert_eq!(texts.iter().filter(|(_, status)| status.contains("collapsed")).count(), 19);
    assert_eq!(bench.upstream.count(FIRST), 1);
}

#[tokio::test]
async fn what_upstream_deleted_or_withdrew_is_served_and_marked() {
    for (status, detail) in
        [(404, "gone-upstream"), (410, "gone-upstream"), (403, "withdrawn-upstream")]
    {
        let bench = Bench::new();
        bench.serve("kept");
        bench.told(&document()).await;
        bench.pass(601);
        bench.status(StatusCode::from_u16(status).expect("a status"));
        let got = bench.get(&document()).await.expect("what was kept");
        assert!(got.trace.status.to_string().ends_with(detail), "{}", got.trace.status);
        assert_ne!(got.loaded.entry.presence, Presence::Present);
        let bench = bench.restarted().await;
        let got = bench.get(&document()).await.expect("what was kept");
        assert_ne!(got.loaded.entry.presence, Presence::Present, "the change was recorded");
        bench.serve("back");
        bench.pass(61);
        let got = bench.get(&document()).await.expect("what came back");
        assert_eq!(got.loaded.entry.presence, Presence::Present);
    }
}

#[tokio::test]
async fn absence_is_remembered_for_a_while() {
    let bench = Bench::new();
    bench.status(StatusCode::NOT_FOUND);
    assert!(matches!(bench.get(&document()).await, Err(Failure::Absent)));
    assert!(matches!(bench.get(&document()).await, Err(Failure::Absent)));
    assert_eq!(bench.upstream.count(FIRST), 1);
    bench.pass(61);
    bench.serve("new");
    assert_eq!(bench.told(&document()).await.0, "new");
}

#[tokio::test]
async fn a_failing_first_origin_never_falls_through_to_the_second() {
    let mut document = document();
    document.lookup.origins.push(origin_request(SECOND));
    let bench = Bench::new();
    bench.upstream.always(SECOND, Reply::file("second".to_owned(), "\"2\""));
    bench.status(StatusCode::INTERNAL_SERVER_ERROR);
    assert!(matches!(bench.get(&document).await, Err(Failure::Unavailable { .. })));
    bench.status(StatusCode::FORBIDDEN);
    assert!(matches!(bench.get(&document).await, Err(Failure::Refused { status: 403 })));
    assert_eq!(bench.upstream.count(SECOND), 0);
    bench.status(StatusCode::NOT_FOUND);
    assert_eq!(bench.told(&document).await.0, "second");
}

#[tokio::test]
async fn an_audience_of_one_gets_nothing_unconfirmed() {
    let mut document = document();
    document.lookup.stale = Stale::Never;
    let bench = Bench::new();
    bench.serve("private");
    bench.told(&document).await;
    assert_eq!(bench.told(&document).await.0, "private");
    bench.pass(601);
    bench.status(StatusCode::UNAUTHORIZED);
    assert!(matches!(bench.get(&document).await, Err(Failure::Refused { status: 401 })));
    bench.status(StatusCode::BAD_GATEWAY);
    bench.pass(11);
    assert!(bench.get(&document).await.is_err());
}

#[tokio::test]
async fn a_client_that_insists_is_heard_once_in_an_interval() {
    let mut document = document();
    document.demand = Demand::Revalidated;
    let bench = Bench::new();
    bench.serve("one");
    for _ in 0..3 {
        bench.told(&document).await;
    }
    assert_eq!(bench.upstream.count(FIRST), 1);
    bench.pass(5);
    bench.told(&document).await;
    assert_eq!(bench.upstream.count(FIRST), 2);
    document.demand = Demand::AnyAge;
    bench.pass(10_000);
    bench.told(&document).await;
    assert_eq!(bench.upstream.count(FIRST), 2);
}

#[tokio::test]
async fn a_document_that_cannot_be_written_down_is_served_all_the_same() {
    let bench = Bench::new();
    bench.store.suffer(crate::store::memory::Fault::Refusing);
    bench.serve("one");
    assert_eq!(bench.told(&document()).await.0, "one");
    assert_eq!(bench.told(&document()).await.1, "larder; hit; ttl=600");
}
