//! Who pulled what, and when; and who was refused what.
//!
//! - `tally`: counting in memory, at the end of each answer
//! - `rows`: what is written down, and how it is bounded
//!
//! An answer that is a pull (the bytes of an artifact, or an image's manifest) takes a [`Tally`] along; when it ends, two numbers are raised, and that is all that a
//! request has to do with it, also when the answer is one of a moment ago that is given again. Every now and then what was counted is added to rows in the store's
//! index: one for each thing, digest and client. So a row tells first and last time to within [`Config::write_every`](super::Config::write_every), and what was counted
//! since the last time is lost in a crash. That a thing was served for the first time, and that something was refused, are events of the ledger.
//!
//! What clients ask for by nothing but its digest is named by that.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::rows::Rows;
pub use self::rows::{Row, Wanted};
use self::tally::Tallies;
pub use self::tally::{Onward, Tally};
use crate::cache::witness::Witness;
use crate::clock::Clock;
use crate::store::{Store, StoreError};
use crate::trace::Config;
use crate::types::event::Kind;
use crate::types::{Event, Timestamp, What};

mod rows;
mod tally;

/// Kinds of refusals that are counted until they are written down.
const MOST_REFUSALS: usize = 256;

/// As what a client is remembered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clients {
    /// By the name of its access token; without one it is nobody in particular.
    #[default]
    Token,
    /// By its token, or else by its network: 24 bits of an IPv4 address, 48 of an IPv6 address.
    Network,
    /// Not at all.
    None,
}

/// Something that is pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thing<'a> {
    pub mount: &'a str,
    /// As the command line names it: `pypi:six==1.17.0/six-1.17.0-py2.py3-none-any.whl`.
    pub name: String,
    /// Of its bytes, where one is known.
    pub digest: Option<String>,
    pub client: &'a str,
    /// The licence that it is under, as far as that was looked at.
    pub licence: Option<String>,
    /// It stands for bytes that are pulled on their own.
    pub is_manifest: bool,
}

/// Something that is refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Refusal {
    pub mount: String,
    pub subject: String,
    pub client: String,
    /// Why, in words for the operator.
    pub reason: String,
}

/// The recorder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pulls {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clients: Clients,
    is_on: bool,
    tallies: Tallies,
    refusals: Mutex<HashMap<Refusal, u64>>,
    /// Those beyond them.
    further: AtomicU64,
    rows: Rows,
    witness: Arc<dyn Witness>,
    clock: Clock,
}

impl Pulls {
    /// A recorder whose rows are in `store`. What it counts is written down by [`Pulls::keep_writing`].
    pub fn new(
        config: &Config,
        store: Arc<dyn Store>,
        witness: Arc<dyn Witness>,
        clock: Clock,
    ) -> Self {
        let shared = Shared {
            clients: config.clients,
            is_on: config.pulls > 0,
            tallies: Tallies::default(),
            refusals: Mutex::default(),
            further: AtomicU64::new(0),
            rows: Rows::new(store, config.pulls, config.pulls_for),
            witness,
            clock,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Starts the task on `tasks` that writes down what was counted, and once more when `stop` is cancelled.
    pub fn keep_writing(&self, config: &Config, tasks: &TaskTracker, stop: &CancellationToken) {
        let (pulls, every, stop) = (self.clone(), config.write_every, stop.clone());
        tasks.spawn(async move {
            let mut is_stopped = false;
            while !is_stopped {
                is_stopped = tokio::time::timeout(every, stop.cancelled()).await.is_ok();
                pulls.write().await;
            }
        });
    }

    /// What a client is remembered as; empty: as nobody in particular.
    pub fn client(&self, token: Option<&str>, address: IpAddr) -> String {
        match (self.shared.clients, token) {
            (Clients::None, _) | (Clients::Token, None) => String::new(),
            (Clients::Token | Clients::Network, Some(token)) => token.to_owned(),
            (Clients::Network, None) => match network(address) {
                IpAddr::V4(network) => format!("{network}/24"),
                IpAddr::V6(network) => format!("{network}/48"),
            },
        }
    }

    /// What of a client's address decides what it is remembered as: clients that differ in it must not share a tally.
    pub fn network(&self, address: IpAddr) -> Option<IpAddr> {
        (self.shared.clients == Clients::Network).then(|| network(address))
    }

    /// Where to count an answer with this thing. `None`: nothing is counted.
    pub fn tally(&self, thing: &Thing<'_>) -> Option<Arc<Tally>> {
        self.shared.is_on.then(|| self.shared.tallies.of(thing)).flatten()
    }

    /// Counts a refusal. The same ones are one event until they are written down.
    pub fn refused(&self, refusal: Refusal) {
        let mut refusals = self.shared.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.len() < MOST_REFUSALS || refusals.contains_key(&refusal) {
            *refusals.entry(refusal).or_default() += 1;
        } else {
            self.shared.further.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Rows that somebody wants to see, those pulled last first. Blocking.
    pub fn rows(&self, wanted: &Wanted) -> Result<Vec<Row>, StoreError> {
        self.shared.rows.look(wanted)
    }

    /// Since when every pull is in the rows, but for those of the last moments. `None`: pulls are not recorded. Blocking.
    pub fn recorded_since(&self) -> Result<Option<Timestamp>, StoreError> {
        let now = self.shared.clock.now();
        self.shared.is_on.then(|| self.shared.rows.since_or(now)).transpose()
    }

    /// Writes down what was counted so far, and bounds the rows.
    pub async fn write(&self) {
        let shared = Arc::clone(&self.shared);
        let now = shared.clock.now();
        let mut events = shared.refusals(now);
        let counted = shared.tallies.take();
        let writing = Arc::clone(&shared);
        let prepared =
            tokio::task::spawn_blocking(move || writing.rows.prepare(counted, now)).await;
        let prepared =
            prepared.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        events.extend(prepared.first_served.iter().map(|counted| {
            let tally = &counted.tally;
            let what = What::new(Kind::FirstServed, &tally.name);
            let what = tally.digest.iter().fold(what, What::after);
            what.at(now, &tally.mount)
        }));
        if !events.is_empty() {
            shared.witness.witness(events).await;
        }
        shared.rows.commit(prepared).await;
    }
}

impl Shared {
    /// Refusals since they were last asked for, as events.
    fn refusals(&self, now: Timestamp) -> Vec<Event> {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken: Vec<(Refusal, u64)> = std::mem::take(&mut *refusals).into_iter().collect();
        drop(refusals);
        taken.sort_by(|(one, _), (other, _)| one.subject.cmp(&other.subject));
        let event = |(refusal, times): (Refusal, u64)| {
            let Refusal { mount, subject, client, reason } = refusal;
            let client = if client.is_empty() { String::new() } else { format!(", to {client}") };
            let times = if times == 1 { String::new() } else { format!(", {times} times") };
            let detail = format!("{reason}{client}{times}");
            What::new(Kind::Refused, subject).detail(detail).at(now, &mount)
        };
        let mut events: Vec<Event> = taken.into_iter().map(event).collect();
        let further = self.further.swap(0, Ordering::Relaxed);
        if further > 0 {
            let told =
                format!("{further} further refusals, of more kinds than are told one by one");
            events.push(What::new(Kind::Refused, "larder:refusals").detail(told).at(now, "larder"));
        }
        events
    }
}

/// The network of an address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & !0xff).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 80)).into(),
    }
}

#[cfg(test)]
mod tests;
