//! Load for as long as somebody wishes: clients of every kind at once, faults injected at random, Larder killed now and then. Not one wrong byte, no growth of
//! memory or descriptors, and the answers that need nobody else stay quick.
//!
//! The dice are seeded (`LARDER_SEED`), so a run is repeated by its seed as far as the machine's timing allows. The short form takes seconds; `tests/soak`
//! runs the long one and writes its report into tests/README.md. Left out: real clients (`tests/clients`), the crash simulator.

mod stock;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::child::Process;
use crate::support::client::{Client, Reply};
use crate::support::origin::{Cut, Fault, Origin};
use crate::support::wait::eventually;
use stock::{Item, Stock};

const CLIENTS: usize = 12;

/// More than caches and pools may take once they are filled.
const MEMORY_GROWTH: u64 = 96 << 20;
const DESCRIPTOR_GROWTH: usize = 64;

/// Larder is killed so often; in the short form not at all.
const KILL_EVERY: Duration = Duration::from_secs(300);

fn variable(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// What happened, counted by all clients.
#[derive(Default)]
struct Tally {
    right: AtomicU64,
    /// Honest refusals while upstream was in trouble.
    refused: AtomicU64,
    /// Connections that were cut.
    cut: AtomicU64,
    bytes: AtomicU64,
    faults: AtomicU64,
    kills: AtomicU64,
    /// Microseconds of answers that needed no upstream.
    warm_us: Mutex<Vec<u64>>,
}

impl Tally {
    fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    /// The time that this share of warm answers did not exceed.
    fn warm_ms(&self, share: f64) -> f64 {
        let mut times = self.warm_us.lock().unwrap_or_else(PoisonError::into_inner).clone();
        times.sort_unstable();
        let at = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
        times.get(at).map_or(0.0, |micros| *micros as f64 / 1000.0)
    }
}

/// Everything that tasks share.
struct Stage {
    stock: Stock,
    base: RwLock<String>,
    tally: Tally,
    over: AtomicBool,
    /// While Larder is away, no answer is no fault.
    away: AtomicBool,
}

impl Stage {
    fn url(&self, path: &str) -> String {
        let base = self.base.read().unwrap_or_else(PoisonError::into_inner);
        format!("{base}{path}")
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

/// One client, until the end: it asks for things at random, in whole, in part or to leave in the middle.
async fn client(stage: Arc<Stage>, mut dice: Rng) {
    let mut client = Client::new();
    while !stage.is_over() {
        if dice.u8(0..50) == 0 {
            client = Client::new();
        }
        let item = &stage.stock.items[dice.usize(0..stage.stock.items.len())];
        match dice.u8(0..10) {
            0 => leave_in_the_middle(&stage, &client, item).await,
            1..4 => part(&stage, &client, item, &mut dice).await,
            _ => whole(&stage, &client, item).await,
        }
        if stage.away.load(Ordering::Acquire) {
            sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn whole(stage: &Stage, client: &Client, item: &Item) {
    let begun = Instant::now();
    let ask = client.get(stage.url(&item.path)).with("accept", stock::ACCEPT);
    let Some(reply) = ask.try_send().await else {
        return Tally::add(&stage.tally.cut, 1);
    };
    let is_warm = reply.header("cache-status").contains("; hit") && reply.body.len() < 64 << 10;
    if count(stage, item, &reply) && is_warm {
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        stage.tally.warm_us.lock().unwrap_or_else(PoisonError::into_inner).push(micros);
    }
}

async fn part(stage: &Stage, client: &Client, item: &Item, dice: &mut Rng) {
    let Some(length) = item.length() else { return };
    let first = dice.u64(0..length);
    let last = dice.u64(first..length);
    let ask = client.get(stage.url(&item.path)).with("range", &format!("bytes={first}-{last}"));
    let Some(reply) = ask.try_send().await else {
        return Tally::add(&stage.tally.cut, 1);
    };
    if reply.status == 206 && !reply.cut {
        assert!(item.holds(first, &reply.body), "a wrong part of {}: {first}-{last}", item.path);
        assert_eq!(reply.body.len() as u64, last + 1 - first, "{}", item.path);
    }
    if reply.status == 206 {
        Tally::add(if reply.cut { &stage.tally.cut } else { &stage.tally.right }, 1);
        return Tally::add(&stage.tally.bytes, reply.body.len() as u64);
    }
    count(stage, item, &reply);
}

async fn leave_in_the_middle(stage: &Stage, client: &Client, item: &Item) {
    let ask = client.get(stage.url(&item.path)).with("accept", stock::ACCEPT);
    // Dropping the answer is leaving.
    let _ = tokio::time::timeout(Duration::from_millis(5), ask.try_send()).await;
}

/// Counts a whole answer; true when it is the right one. Panics at a wrong byte and at an absence that nobody brought about.
fn count(stage: &Stage, item: &Item, reply: &Reply) -> bool {
    Tally::add(&stage.tally.bytes, reply.body.len() as u64);
    match reply.status.as_u16() {
        200 if reply.cut => Tally::add(&stage.tally.cut, 1),
        200 => {
            assert!(item.is_right(&reply.body), "{}: {} wrong bytes", item.path, reply.body.len());
            Tally::add(&stage.tally.right, 1);
            return true;
        }
        502..=504 => Tally::add(&stage.tally.refused, 1),
        status => panic!("{}: {status} {:?} {}", item.path, reply.headers, reply.text()),
    }
    false
}

/// Breaks hosts at random and mends them again.
async fn trouble(stage: Arc<Stage>, mut dice: Rng) {
    while !stage.is_over() {
        sleep(Duration::from_millis(dice.u64(100..600))).await;
        let origins = stage.stock.origins();
        let origin: &Origin = origins[dice.usize(0..origins.len())];
        let fault = match dice.u8(0..11) {
            0 => Fault::status(500),
            1 => Fault::status(503),
            2 => Fault::status(429),
            3 => Fault::Cut { after: dice.u64(0..5000), how: Cut::Close },
            4 => Fault::Cut { after: dice.u64(0..5000), how: Cut::Reset },
            5 => Fault::ChunkedCut { after: dice.u64(0..5000) },
            6 => Fault::Corrupt,
            7 => Fault::error_page(),
            8 => Fault::stall(dice.u64(0..5000)),
            9 => Fault::Silence,
            // No redirect: when its turns are used up, where it leads is honestly absent.
            _ => Fault::head_bomb(200),
        };
        origin.fault_times("*", dice.usize(1..20), fault);
        Tally::add(&stage.tally.faults, 1);
        if dice.bool() {
            origins.iter().for_each(|origin| origin.heal());
        }
    }
    stage.stock.origins().iter().for_each(|origin| origin.heal());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_every_kind_under_faults() {
    let (seconds, seed) = (variable("LARDER_SOAK_SECONDS", 8), variable("LARDER_SEED", 1));
    let data = tempfile::tempdir().expect("a temporary folder can be made");
    let stock = Stock::new().await;
    let settings = stock.settings();
    let mut larder = Process::start(data.path(), &settings);
    let stage = Arc::new(Stage {
        stock,
        base: RwLock::new(larder.base.clone()),
        tally: Tally::default(),
        over: AtomicBool::new(false),
        away: AtomicBool::new(false),
    });
    // Once through everything, so that the growth that follows is not that of filling.
    let first = Client::new();
    for item in &stage.stock.items {
        whole(&stage, &first, item).await;
    }
    let mut dice = Rng::with_seed(seed);
    let mut tasks = JoinSet::new();
    for _ in 0..CLIENTS {
        tasks.spawn(client(Arc::clone(&stage), dice.fork()));
    }
    tasks.spawn(trouble(Arc::clone(&stage), dice.fork()));
    let (begun, whole_time) = (Instant::now(), Duration::from_secs(seconds));
    let (mut early, mut killed) = (None, Instant::now());
    while begun.elapsed() < whole_time {
        sleep(Duration::from_millis(200)).await;
        if let Some(ended) = tasks.try_join_next() {
            ended.expect("no client finds anything wrong");
        }
        // A fifth of the time fills what may be filled.
        if early.is_none() && begun.elapsed() > whole_time / 5 {
            early = Some((larder.resident_bytes(), larder.descriptors()));
        }
        if killed.elapsed() > KILL_EVERY && begun.elapsed() + KILL_EVERY < whole_time {
            stage.away.store(true, Ordering::Release);
            larder.kill();
            larder = Process::start(data.path(), &settings);
            *stage.base.write().unwrap_or_else(PoisonError::into_inner) = larder.base.clone();
            stage.away.store(false, Ordering::Release);
            Tally::add(&stage.tally.kills, 1);
            killed = Instant::now();
        }
    }
    stage.over.store(true, Ordering::Release);
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no client finds anything wrong");
    }
    let (memory, descriptors) = early.expect("a fifth of the time has passed");
    check_end(&stage, &larder, memory, descriptors).await;
    report(&stage.tally, seconds, seed, &larder);
}

/// With the world well again everything is to be had, and what was taken has been given back.
async fn check_end(stage: &Stage, larder: &Process, memory: u64, descriptors: usize) {
    let client = Client::new();
    for item in &stage.stock.items {
        eventually(&format!("{} is to be had", item.path), async || {
            let ask = client.get(stage.url(&item.path)).with("accept", stock::ACCEPT);
            let reply = ask.try_send().await;
            reply.is_some_and(|reply| {
                reply.status == 200 && !reply.cut && item.is_right(&reply.body)
            })
        })
        .await;
    }
    let most = descriptors + DESCRIPTOR_GROWTH;
    eventually("descriptors are given back", async || larder.descriptors() <= most).await;
    let grown = larder.resident_bytes().saturating_sub(memory);
    assert!(grown < MEMORY_GROWTH, "{grown} bytes more than at the beginning");
}

/// One line, which `tests/soak` puts into the README.
fn report(tally: &Tally, seconds: u64, seed: u64, larder: &Process) {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "soak: {seconds} s with seed {seed}: {} right answers, {} honest refusals and {} cuts under {} injected faults, {} MiB, {} kills, 0 wrong bytes; \
         warm answers took {:.1} ms (median) and {:.1} ms (p99); {} MiB resident at most, {} descriptors at the end",
        count(&tally.right),
        count(&tally.refused),
        count(&tally.cut),
        count(&tally.faults),
        count(&tally.bytes) >> 20,
        count(&tally.kills),
        tally.warm_ms(0.5),
        tally.warm_ms(0.99),
        larder.peak_resident_bytes() >> 20,
        larder.descriptors(),
    );
}
