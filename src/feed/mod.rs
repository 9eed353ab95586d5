//! Advisories from a folder, and from addresses: read at the start, read again when something changes, asked by whoever judges and over two APIs.
//!
//! The folder holds OSV records, as JSON files or in the zip files in which OSV publishes whole ecosystems; what addresses give is copied into a folder of our own
//! (`copies`) and read from there. Whoever fills it (a timer, a person who carries files
//! into a closed network) does so without us: [`Feed::watch`] notices, reads everything off the path of requests, and puts the new records in place of the old
//! ones at once. What cannot be read leaves the old ones in place. Left out: what the records mean (`advisory`).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::advisory::Advisories;
use crate::clock::Clock;
use crate::types::{ByteSize, Timestamp};
use crate::upstream::Upstream;

mod copies;
mod folder;
mod known;
mod osv;
mod source;

pub use copies::addresses;
use copies::{Copy, Outcome};
pub use folder::Unread;
pub use known::Known;
pub use osv::{Osv, PREFIX};
use source::Source;

/// `[advisories]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the records are: `.json` files, `.jsonl` files with one on each line and `.zip` files of them, in folders of any depth.
    pub folder: Option<PathBuf>,
    /// Addresses of such files, which are fetched. Default none.
    pub sources: Vec<String>,
    /// How often the addresses are asked for something newer. Default one hour.
    #[serde(with = "humantime_serde")]
    pub refresh: Duration,
    /// The longest file that is fetched, and what is read of records in it at most. Defaults 512 MiB and 8 GiB.
    pub most_fetched: ByteSize,
    pub most_inflated: ByteSize,
    /// The ecosystems whose records are kept in mind, by their OSV names. Empty: all. Default: Python's.
    pub ecosystems: Vec<String>,
    /// How often the folder is looked at for something new. Default one minute; zero: never.
    #[serde(with = "humantime_serde")]
    pub reload: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            folder: None,
            sources: Vec::new(),
            refresh: Duration::from_secs(60 * 60),
            most_fetched: ByteSize::mib(512),
            most_inflated: ByteSize::mib(8 << 10),
            ecosystems: vec!["PyPI".to_owned()],
            reload: Duration::from_secs(60),
        }
    }
}

/// The records in force.
pub struct Feed {
    config: Config,
    clock: Clock,
    /// What is read: the operator's folder, and our own of what was fetched.
    folders: Vec<PathBuf>,
    copies: Vec<Arc<Copy>>,
    current: RwLock<Arc<Edition>>,
}

/// How soon an address is asked again that gave nothing.
const RETRY: Duration = Duration::from_secs(60);

/// One reading of the folder. Never changes.
#[derive(Debug, Default)]
pub struct Edition {
    pub advisories: Arc<Advisories>,
    /// The files in which the records' texts stand.
    sources: Vec<Source>,
    /// What could not be read, in words; the first few of `faulty`.
    faults: Vec<String>,
    faulty: usize,
    /// The folder as it was when it was read.
    seen: u64,
    read_at: Timestamp,
}

impl Feed {
    /// Reads the folder, and what was fetched into `own` before, which may take seconds: nothing is to pass unjudged because its record was not read yet.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read at all. A file or a record that cannot be is passed over and told.
    pub fn open(config: Config, own: &Path, clock: Clock) -> Result<Self, Unread> {
        let mut folders: Vec<PathBuf> = config.folder.iter().cloned().collect();
        let mut copies = Vec::new();
        if !config.sources.is_empty() {
            let unread = |source| Unread { path: own.to_owned(), source };
            copies = copies::open(&config, own).map_err(unread)?;
            folders.push(own.to_owned());
        }
        let first = folder::read(&folders, &config.ecosystems, clock.now())?;
        if !folders.is_empty() {
            told(&first);
        }
        let copies = copies.into_iter().map(Arc::new).collect();
        Ok(Self { config, clock, folders, copies, current: RwLock::new(Arc::new(first)) })
    }

    /// Whether there is anything to read from.
    pub const fn is_on(&self) -> bool {
        !self.folders.is_empty()
    }

    /// Whether records of an ecosystem would be in force if there were some.
    pub fn knows(&self, ecosystem: &str) -> bool {
        let known = &self.config.ecosystems;
        self.is_on() && (known.is_empty() || known.iter().any(|one| one == ecosystem))
    }

    /// The newest reading. What is taken stays as it is.
    pub fn current(&self) -> Arc<Edition> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The records in force.
    pub fn advisories(&self) -> Arc<Advisories> {
        Arc::clone(&self.current().advisories)
    }

    /// Asks the addresses and looks at the folders now and then until `stop`, and takes what is new; `tell` hears of it.
    pub async fn watch(
        self: Arc<Self>,
        upstream: Arc<dyn Upstream>,
        tasks: TaskTracker,
        stop: CancellationToken,
        tell: impl Fn(Arc<Advisories>) + Send + Sync + 'static,
    ) {
        let (looks, asks) = (!self.config.reload.is_zero(), !self.copies.is_empty());
        if !self.is_on() || !(looks || asks) {
            return;
        }
        let every = |period: Duration| {
            let mut ticks = tokio::time::interval(period.max(Duration::from_secs(1)));
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            ticks
        };
        let (mut reloads, mut refreshes) = (every(self.config.reload), every(self.config.refresh));
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = reloads.tick(), if looks => {}
                _ = refreshes.tick(), if asks => {
                    match stop.run_until_cancelled(self.refresh(upstream.as_ref())).await {
                        None => return,
                        Some(true) => {}
                        Some(false) => refreshes.reset_after(RETRY.min(self.config.refresh)),
                    }
                }
            }
            self.tell_ages();
            let feed = Arc::clone(&self);
            match tasks.spawn_blocking(move || feed.look()).await {
                Ok(Ok(true)) => tell(self.advisories()),
                Ok(Ok(false)) | Err(_) => {}
                Ok(Err(error)) => {
                    metrics::counter!("larder_advisory_loads_total", "outcome" => "failed")
                        .increment(1);
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, cause, "advisories were not read again; those before stay in force");
                }
            }
        }
    }

    /// Asks every address for something newer; whether all of them answered with what can be used.
    pub async fn refresh(&self, upstream: &dyn Upstream) -> bool {
        let mut is_done = true;
        for copy in &self.copies {
            let source = copy.address();
            let outcome = match copy.refresh(upstream, &self.config, &self.clock).await {
                Ok(Outcome::Fresh) => "fresh",
                Ok(Outcome::Unchanged) => "unchanged",
                Err(error) => {
                    is_done = false;
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(source, %error, cause, "advisories were not fetched; the copy before stays in force");
                    "failed"
                }
            };
            metrics::counter!("larder_advisory_fetches_total", "outcome" => outcome).increment(1);
        }
        is_done
    }

    fn tell_ages(&self) {
        let now = self.clock.now();
        for copy in &self.copies {
            let Some(confirmed) = copy.confirmed() else { continue };
            metrics::gauge!("larder_advisory_source_age_seconds", "source" => copy.address())
                .set(now.since(confirmed).as_secs_f64());
        }
    }

    /// Reads the folders again if one has changed; answers whether something new is in force. Blocks.
    pub fn look(&self) -> Result<bool, Unread> {
        if !self.is_on() {
            return Ok(false);
        }
        let before = folder::stamp(&self.folders)?;
        if before == self.current().seen {
            return Ok(false);
        }
        let fresh = folder::read(&self.folders, &self.config.ecosystems, self.clock.now())?;
        // Whoever fills the folder may be in the middle of it; the next look sees the end.
        if fresh.seen != folder::stamp(&self.folders)? {
            return Ok(false);
        }
        told(&fresh);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        Ok(true)
    }
}

fn told(edition: &Edition) {
    let (records, malicious) = (edition.advisories.len(), edition.advisories.malicious());
    let newest = edition.advisories.newest().unwrap_or_default();
    metrics::counter!("larder_advisory_loads_total", "outcome" => "done").increment(1);
    metrics::gauge!("larder_advisories").set(count(records));
    metrics::gauge!("larder_advisories_malicious").set(count(malicious));
    metrics::gauge!("larder_advisories_faulty").set(count(edition.faulty));
    metrics::gauge!("larder_advisories_newest_seconds")
        .set(newest.since(Timestamp(0)).as_secs_f64());
    tracing::info!(records, malicious, faulty = edition.faulty, "advisories were read");
    for fault in &edition.faults {
        tracing::warn!(fault, "an advisory was passed over");
    }
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
