//! Advisories from a folder: read at the start, read again when the folder changes, asked by whoever judges and over two APIs.
//!
//! The folder holds OSV records, as JSON files or in the zip files in which OSV publishes whole ecosystems. Whoever fills it (a timer, a person who carries files
//! into a closed network) does so without us: [`Feed::watch`] notices, reads everything off the path of requests, and puts the new records in place of the old
//! ones at once. What cannot be read leaves the old ones in place. Left out: what the records mean (`advisory`), and fetching them.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::advisory::Advisories;
use crate::clock::Clock;
use crate::types::Timestamp;

mod folder;
mod known;
mod osv;
mod source;

pub use folder::Unread;
pub use known::Known;
pub use osv::{Osv, PREFIX};
use source::Source;

/// `[advisories]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the records are: `.json` files and `.zip` files of them, in folders of any depth. Unset: there are none.
    pub folder: Option<PathBuf>,
    /// The ecosystems whose records are kept in mind, by their OSV names. Empty: all. Default: Python's.
    pub ecosystems: Vec<String>,
    /// How often the folder is looked at for something new. Default one minute; zero: never.
    #[serde(with = "humantime_serde")]
    pub reload: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { folder: None, ecosystems: vec!["PyPI".to_owned()], reload: Duration::from_secs(60) }
    }
}

/// The records in force.
pub struct Feed {
    config: Config,
    clock: Clock,
    current: RwLock<Arc<Edition>>,
}

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
    /// Reads the folder, which may take seconds: nothing is to pass unjudged because its record was not read yet.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read at all. A file or a record that cannot be is passed over and told.
    pub fn open(config: Config, clock: Clock) -> Result<Self, Unread> {
        let first = match &config.folder {
            None => Edition::default(),
            Some(path) => folder::read(path, &config.ecosystems, clock.now())?,
        };
        if config.folder.is_some() {
            told(&first);
        }
        Ok(Self { config, clock, current: RwLock::new(Arc::new(first)) })
    }

    /// Whether there is a folder to read from.
    pub const fn is_on(&self) -> bool {
        self.config.folder.is_some()
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

    /// Looks at the folder now and then until `stop`, and takes what is new; `tell` hears of it.
    pub async fn watch(
        self: Arc<Self>,
        tasks: TaskTracker,
        stop: CancellationToken,
        tell: impl Fn(Arc<Advisories>) + Send + Sync + 'static,
    ) {
        if !self.is_on() || self.config.reload.is_zero() {
            return;
        }
        let mut ticks = tokio::time::interval(self.config.reload);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
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

    /// Reads the folder again if it has changed; answers whether something new is in force. Blocks.
    pub fn look(&self) -> Result<bool, Unread> {
        let Some(path) = &self.config.folder else { return Ok(false) };
        let before = folder::stamp(path)?;
        if before == self.current().seen {
            return Ok(false);
        }
        let fresh = folder::read(path, &self.config.ecosystems, self.clock.now())?;
        // Whoever fills the folder may be in the middle of it; the next look sees the end.
        if fresh.seen != folder::stamp(path)? {
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
