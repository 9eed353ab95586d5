//! Fetching again what the disk has damaged, before anybody asks for it.
//!
//! The store sets aside what is damaged and notes what it was ([`Loss`]). For each note the adapter that kept it tells how clients ask for it
//! ([`Naming::way_to`]), and it is asked for at a door of Larder's own ([`Indoors`](crate::bundle::door::Indoors)): judged, fetched and verified on the
//! one way there is. What comes of it ([`Report`]) is told in the log, the metrics, the ledger and over the API ([`resource`]).
//!
//! Nobody's credential is at hand here but that of the mount, so what only a client's own opened waits for that client. Left out: finding damage (`store`).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::bundle::Door;
use crate::bundle::take::{Depth, take_all};
use crate::bundle::walk::Item;
use crate::cache::Cache;
use crate::cache::witness::Witness;
use crate::clock::Clock;
use crate::ecosystem::naming::{Naming, Shelf, Way};
use crate::keep::{Keeper, Kept};
use crate::store::lost::Loss;
use crate::store::{Store, StoreError};
use crate::types::event::Kind;
use crate::types::{Audience, ByteSize, CacheKey, Timestamp, What};

mod report;
pub mod resource;

pub use report::{Outcome, Report, Tried};

/// Notes looked at together.
const RUN: usize = 256;
/// Time from the first attempt to the second; each further one takes twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// The longest time between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3600);
/// After so many attempts, which take some ten days, only whoever asks for a thing has it fetched again.
const MOST_TRIES: u32 = 20;
/// What came is written down behind its reader: how often, and how far apart, it is looked for.
const LOOKS: u32 = 600;
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// Settings of healing, `[heal]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Bytes a second that are fetched again without anybody asking, over time; zero: none.
    pub rate: ByteSize,
    /// How often it is looked whether there is anything to fetch.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { rate: ByteSize::mib(10), interval: Duration::from_secs(10) }
    }
}

/// Fetches again what was lost to damage. Cheap to clone.
#[derive(Clone)]
pub struct Healer {
    parts: Arc<Parts>,
}

impl fmt::Debug for Healer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Healer").finish_non_exhaustive()
    }
}

/// What a healer works with; built by `app`.
pub struct Parts {
    pub config: Config,
    pub store: Arc<dyn Store>,
    pub cache: Cache,
    pub clock: Clock,
    /// Behind it everything is given out that is public, or that a mount's own credential opens.
    pub door: Arc<dyn Door>,
    pub words: Vec<Arc<dyn Naming>>,
    /// Knows what is pinned: what comes back has lost its protection with its row.
    pub keeper: Keeper,
    pub witness: Arc<dyn Witness>,
    /// One round at a time.
    pub turn: Semaphore,
}

/// Which notes a round looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// Those whose time has come, gently.
    Due,
    /// All of them, at once: somebody waits for it.
    All,
}

impl Healer {
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// Looks for notes again and again until `stop` is cancelled.
    pub async fn watch(self, stop: CancellationToken) {
        let Config { rate, interval } = self.parts.config;
        while rate.bytes() > 0 {
            let next = async {
                tokio::time::sleep(interval).await;
                self.round(Which::Due).await
            };
            match stop.run_until_cancelled(next).await {
                None => return,
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    tracing::warn!(%error, "what was lost to damage could not be looked through");
                }
            }
        }
    }

    /// Asks for everything that is lost, now. What was had may lead to more, so it goes on as long as it gets anywhere.
    ///
    /// # Errors
    ///
    /// When the index cannot be read or written. That something is not had is no error.
    pub async fn heal_all(&self) -> Result<Report, StoreError> {
        let mut report = Report::default();
        loop {
            let round = self.round(Which::All).await?;
            let goes_on = round.had() > 0 && round.failed > 0;
            report = report.followed_by(round);
            if !goes_on {
                return Ok(report);
            }
        }
    }

    /// What is lost, at most so many.
    pub fn losses(&self, most: usize) -> Result<Vec<Tried>, StoreError> {
        let losses = Loss::scan(&*self.parts.store, None, most)?;
        Ok(losses.iter().map(|loss| self.parts.tried(loss, Outcome::Failed)).collect())
    }

    async fn round(&self, which: Which) -> Result<Report, StoreError> {
        let parts = &self.parts;
        let _turn = parts.turn.acquire().await.expect("this semaphore is never closed");
        let (mut report, mut last) = (Report::default(), None);
        loop {
            let losses = Loss::scan(&*parts.store, last.as_ref(), RUN)?;
            if losses.is_empty() {
                return Ok(report);
            }
            let had = report.had();
            for loss in losses {
                if which == Which::All || loss.next <= parts.clock.now() {
                    let tried = parts.attend(&loss, which).await?;
                    if which == Which::Due && tried.outcome != Outcome::Failed {
                        let rate = parts.config.rate.bytes() as f64;
                        tokio::time::sleep(Duration::from_secs_f64(loss.bytes as f64 / rate)).await;
                    }
                    report.add(tried);
                }
                last = Some(loss);
            }
            if report.had() > had {
                parts.renew_pins().await;
            }
        }
    }
}

impl Parts {
    /// Protects again what is pinned and was had again.
    async fn renew_pins(&self) {
        if let Err(error) = self.keeper.renew_pins().await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "what was had again could not be pinned again");
        }
    }

    /// Asks for one thing, and writes down what came of it.
    async fn attend(&self, loss: &Loss, which: Which) -> Result<Tried, StoreError> {
        if loss.tried == 0 {
            let detail = format!("{}, {} bytes", loss.damage, loss.bytes);
            self.tell(loss, Kind::Damaged, detail);
        }
        let (outcome, reason) = match self.heal(loss).await {
            Ok(outcome) => (outcome, None),
            Err(reason) => (Outcome::Failed, Some(reason)),
        };
        let mut after = loss.clone();
        (after.tried, after.next, after.reason) = (loss.tried + 1, self.next(loss), reason);
        let tried = self.tried(&after, outcome);
        metrics::counter!("larder_heal_total", "outcome" => outcome.name()).increment(1);
        let is_given_up = which == Which::Due && after.tried >= MOST_TRIES;
        let (name, reason) = (&tried.name, tried.reason.as_deref());
        match outcome {
            Outcome::Failed => tracing::warn!(
                name,
                reason,
                tries = after.tried,
                is_given_up,
                "what was damaged could not be fetched again"
            ),
            Outcome::Healed | Outcome::Replaced => {
                tracing::info!(name, outcome = outcome.name(), "what was damaged is kept again");
                self.tell(loss, Kind::Healed, outcome.said().to_owned());
            }
        }
        let change = match outcome {
            Outcome::Failed if !is_given_up => after.note(),
            _ => loss.end(),
        };
        self.store.commit(vec![change]).await?;
        Ok(tried)
    }

    /// Asks for one thing. `Err` says why it was not had.
    async fn heal(&self, loss: &Loss) -> Result<Outcome, String> {
        let key = loss.key().ok_or("its key is none of this program's making")?;
        if let Some(outcome) = self.found(loss, &key) {
            return Ok(outcome);
        }
        let Way { address, accept } = self.way(&key).await?;
        // What memory still has would be served instead of being fetched. It is given back if nothing better comes.
        let aside = self.cache.set_aside(&key);
        let item = Item {
            of: key.space().to_owned(),
            name: key.name().to_owned(),
            address,
            accept,
            digests: Vec::new(),
            size: None,
            locked: None,
            fetched: false,
        };
        let taken = take_all(&*self.door, vec![item], Depth::Missing, 1, &|_, _| (), |_| ()).await;
        let reason = taken.iter().map(|taken| taken.fared.reason()).find(|why| !why.is_empty());
        let outcome = match reason {
            Some(reason) => Err(reason.to_owned()),
            None => self.written(loss, &key).await,
        };
        if outcome.is_err() {
            self.cache.put_back(aside);
        }
        outcome
    }

    /// Waits until what came is written down.
    async fn written(&self, loss: &Loss, key: &CacheKey) -> Result<Outcome, String> {
        for _ in 0..LOOKS {
            if let Some(outcome) = self.found(loss, key) {
                return Ok(outcome);
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        Err("other bytes came than are kept under this key, or they could not be kept".to_owned())
    }

    /// What is kept now under the key of something lost.
    fn found(&self, loss: &Loss, key: &CacheKey) -> Option<Outcome> {
        let entry = self.store.get(key).ok().flatten()?;
        let blob = entry.body.blob();
        if let Some(blob) = blob {
            self.store.open(blob).ok().flatten()?;
        }
        let is_same = loss.blob().is_none() || loss.blob() == blob;
        Some(if is_same { Outcome::Healed } else { Outcome::Replaced })
    }

    /// How clients ask for what is kept under a key.
    async fn way(&self, key: &CacheKey) -> Result<Way, String> {
        let audiences = match key.audience() {
            // What is kept once for all may be reached by those alone whom the mount's own credential lets in.
            Some(Audience::Public) => vec![Audience::Public, Audience::Service],
            Some(Audience::Service) => vec![Audience::Service],
            Some(Audience::Credential(_)) | None => {
                return Err(
                    "only the client whose own credential opened it can have it fetched again"
                        .to_owned(),
                );
            }
        };
        let words = self.words_of(key).ok_or("no mount of this server keeps such things")?;
        let (store, key) = (Arc::clone(&self.store), key.clone());
        let look = move || {
            let contents = Kept(&*store);
            for audience in &audiences {
                let shelf = Shelf { contents: &contents, space: key.space(), audience };
                if let Some(way) = words.way_to(&shelf, &key).map_err(|error| error.to_string())? {
                    return Ok(way);
                }
            }
            Err("nothing that is kept says how to ask for it".to_owned())
        };
        match tokio::task::spawn_blocking(look).await {
            Ok(way) => way,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    fn words_of(&self, key: &CacheKey) -> Option<Arc<dyn Naming>> {
        self.words.iter().find(|words| words.space() == key.space()).cloned()
    }

    /// When something is asked for again that was not had.
    fn next(&self, loss: &Loss) -> Timestamp {
        let pause = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(loss.tried).unwrap_or(u32::MAX));
        self.clock.now().plus(pause.min(LONGEST_PAUSE))
    }

    fn tell(&self, loss: &Loss, kind: Kind, detail: String) {
        let mount = loss.key().map_or_else(String::new, |key| key.space().to_owned());
        let event = What::new(kind, self.name(loss)).detail(detail).at(self.clock.now(), &mount);
        drop(self.witness.witness(vec![event]));
    }

    fn tried(&self, loss: &Loss, outcome: Outcome) -> Tried {
        Tried {
            name: self.name(loss),
            blob: loss.blob().map(|blob| blob.to_hex()),
            bytes: loss.bytes,
            damage: loss.damage.clone(),
            tries: loss.tried,
            outcome,
            reason: loss.reason.clone(),
        }
    }

    /// What people call it. Names that may hold a secret are not told.
    fn name(&self, loss: &Loss) -> String {
        let Some(key) = loss.key() else { return "nothing that has a name".to_owned() };
        let words = self.words_of(&key);
        let name = words
            .as_ref()
            .and_then(|words| words.name_of(&key).filter(|name| words.is_told(&name.group)));
        name.map_or_else(|| key.space().to_owned(), |name| name.to_string())
    }
}
