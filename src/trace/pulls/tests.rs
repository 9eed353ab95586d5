//! Pulls from the end of an answer to the row that tells of them, over the store in memory.

use std::time::Duration;

use super::*;
use crate::cache::witness::Notebook;
use crate::server::Ended;
use crate::store::Change;
use crate::store::memory::{Fault, MemoryStore};
use crate::types::{Audience, CacheKey, Timestamp};

struct Bench {
    pulls: Pulls,
    store: Arc<MemoryStore>,
    notebook: Notebook,
    clock: Clock,
}

impl Bench {
    fn new(config: &Config) -> Self {
        let store = Arc::new(MemoryStore::new());
        let notebook = Notebook::default();
        let clock = Clock::manual(Timestamp::from_secs(1_700_000_000));
        let kept = Arc::clone(&store) as Arc<dyn Store>;
        let pulls = Pulls::new(config, kept, Arc::new(notebook.clone()), clock.clone());
        Self { pulls, store, notebook, clock }
    }

    fn tally(&self, name: &str, client: &str) -> Option<Arc<Tally>> {
        let digest = Some("sha256:00".to_owned());
        let (name, licence) = (name.to_owned(), Some("MIT".to_owned()));
        self.pulls.tally(&Thing { mount: "test", name, digest, client, licence, is_manifest: true })
    }

    fn pull(&self, name: &str, client: &str) {
        self.tally(name, client).expect("it is counted").ended(7, true);
    }

    /// Rows as `name client pulls bytes`.
    fn rows(&self, wanted: &Wanted) -> Vec<String> {
        let rows = self.pulls.rows(wanted).expect("they are read");
        let told = |row: Row| format!("{} {} {} {}", row.name, row.client, row.pulls, row.bytes);
        rows.into_iter().map(told).collect()
    }

    fn all(&self) -> Vec<String> {
        self.rows(&Wanted { limit: 1000, ..Wanted::default() })
    }

    async fn events(&self) -> Vec<String> {
        self.pulls.write().await;
        let events = self.notebook.take().into_iter();
        events
            .map(|event| {
                let detail = event.what.detail.unwrap_or_default();
                format!("{} {} {detail}", event.what.kind, event.what.subject)
            })
            .collect()
    }
}

#[tokio::test]
async fn pulls_are_added_up_for_each_thing_and_client() {
    let bench = Bench::new(&Config::default());
    bench.pull("a", "ci");
    bench.pull("a", "ci");
    bench.pull("a", "");
    bench.tally("b", "ci").expect("it is counted").ended(3, false);
    Onward(bench.tally("b", "ci").expect("it is counted")).ended(4, true);
    assert_eq!(bench.all(), Vec::<String>::new(), "nothing is written yet");
    assert_eq!(bench.events().await, ["first-served a ", "first-served b "]);
    assert_eq!(bench.all(), ["a  1 7", "a ci 2 14", "b ci 0 7"]);
    bench.clock.advance(Duration::from_secs(60));
    bench.pull("a", "ci");
    bench.pull("a", "dev");
    assert_eq!(bench.events().await, Vec::<String>::new(), "it was served before");
    assert_eq!(bench.all(), ["a ci 3 21", "a dev 1 7", "a  1 7", "b ci 0 7"]);
    let since = Some(bench.clock.now());
    assert_eq!(bench.rows(&Wanted { since, limit: 10, ..Wanted::default() }).len(), 2);
    let client = Some("ci".to_owned());
    assert_eq!(bench.rows(&Wanted { client, limit: 1, ..Wanted::default() }), ["a ci 3 21"]);
    let row = bench.pulls.rows(&Wanted { limit: 1, ..Wanted::default() }).expect("a row");
    assert_eq!(
        (row[0].first.as_str(), row[0].last.as_str()),
        ("2023-11-14T22:13:20.000Z", "2023-11-14T22:14:20.000Z")
    );
    assert_eq!((row[0].licence.as_deref(), row[0].is_manifest), (Some("MIT"), true));
    let by_name = |named: &str| {
        let named = named.to_owned();
        let name = Some(str::eq as fn(&str, &str) -> bool);
        bench.rows(&Wanted { name, named, limit: 10, ..Wanted::default() }).len()
    };
    assert_eq!((by_name("a"), by_name("b"), by_name("c")), (3, 1, 0));
    assert_eq!(bench.pulls.shared.tallies.take().len(), 0);
}

#[tokio::test]
async fn a_tally_that_is_held_is_never_forgotten() {
    let bench = Bench::new(&Config::default());
    let held = bench.tally("a", "ci").expect("it is counted");
    for _ in 0..3 {
        bench.pulls.write().await;
    }
    held.ended(7, true);
    bench.pulls.write().await;
    assert_eq!(bench.all(), ["a ci 1 7"]);
    drop(held);
    bench.pulls.write().await;
    bench.pulls.write().await;
    assert!(Arc::strong_count(&bench.tally("a", "ci").expect("a new one")) == 2);
}

#[tokio::test]
async fn rows_are_bounded_by_number_and_age() {
    let config = Config { pulls: 10, pulls_for: Duration::from_secs(86_400), ..Config::default() };
    let bench = Bench::new(&config);
    for number in 0..20 {
        bench.clock.advance(Duration::from_secs(1));
        bench.pull(&format!("thing-{number:02}"), "ci");
        bench.pulls.write().await;
    }
    assert_eq!(bench.all().len(), 20, "they are not looked at all the time");
    bench.clock.advance(Duration::from_secs(3600));
    bench.pulls.write().await;
    let left = bench.all();
    assert_eq!((left.len(), left[8].as_str()), (9, "thing-11 ci 1 7"));
    let since = bench.pulls.recorded_since().expect("it is known").expect("they are recorded");
    assert_eq!(since, Timestamp(1_700_000_011_001), "the last pull of a row that is gone");
    bench.clock.advance(Duration::from_secs(86_400));
    bench.pull("thing-19", "ci");
    bench.pulls.write().await;
    bench.clock.advance(Duration::from_secs(3600));
    bench.pulls.write().await;
    assert_eq!(bench.all(), ["thing-19 ci 2 14"]);

    let off = Bench::new(&Config { pulls: 0, ..Config::default() });
    assert!(off.tally("a", "ci").is_none());
    assert_eq!(off.pulls.recorded_since().expect("it is known"), None);
}

#[tokio::test]
async fn pulls_are_recorded_since_the_first_row_or_the_first_look() {
    let bench = Bench::new(&Config::default());
    let start = bench.clock.now();
    let since = async || {
        bench.clock.advance(Duration::from_secs(60));
        bench.pulls.write().await;
        bench.pulls.recorded_since().expect("it is known")
    };
    bench.pull("a", "ci");
    bench.pulls.write().await;
    assert_eq!(since().await, Some(start));
    let key = CacheKey::new("larder/pulls-since", &Audience::Public, "since");
    bench.store.commit(vec![Change::Remove { key }]).await.expect("it is removed");
    assert_eq!(since().await, Some(start), "as the first row says");
}

#[tokio::test]
async fn what_cannot_be_written_is_counted_on() {
    let bench = Bench::new(&Config::default());
    bench.pull("a", "ci");
    bench.store.suffer(Fault::Refusing);
    bench.pulls.write().await;
    bench.pull("a", "ci");
    bench.store.recover(Fault::Refusing);
    bench.pulls.write().await;
    assert_eq!(bench.all(), ["a ci 2 14"]);
}

#[tokio::test]
async fn refusals_are_events_and_the_same_ones_are_one() {
    let bench = Bench::new(&Config::default());
    let refusal = |client: &str| Refusal {
        mount: "test".to_owned(),
        subject: "a".to_owned(),
        client: client.to_owned(),
        reason: "rule x".to_owned(),
    };
    for client in ["ci", "ci", ""] {
        bench.pulls.refused(refusal(client));
    }
    let mut events = bench.events().await;
    events.sort();
    assert_eq!(events, ["refused a rule x", "refused a rule x, to ci, 2 times"]);
    assert_eq!(bench.events().await, Vec::<String>::new());
}

#[test]
fn clients_are_called_as_configured() {
    let check = |clients, token: Option<&str>, address: &str, expected: &str| {
        let bench = Bench::new(&Config { clients, ..Config::default() });
        let address = address.parse().expect("an address");
        assert_eq!(bench.pulls.client(token, address), expected);
        assert_eq!(bench.pulls.network(address).is_some(), clients == Clients::Network);
    };
    check(Clients::Token, Some("ci"), "10.1.2.3", "ci");
    check(Clients::Token, None, "10.1.2.3", "");
    check(Clients::Network, Some("ci"), "10.1.2.3", "ci");
    check(Clients::Network, None, "10.1.2.3", "10.1.2.0/24");
    check(Clients::Network, None, "::ffff:10.1.2.3", "10.1.2.0/24");
    check(Clients::Network, None, "2001:db8:1:2::3", "2001:db8:1::/48");
    check(Clients::None, Some("ci"), "10.1.2.3", "");
}
