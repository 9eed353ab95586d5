//! The rules in force, and what they came to: reads the policy's files, takes up changes while the server runs, and remembers decisions.
//!
//! A request is judged by the rules that were in force when it came ([`Rulings::current`]); a new file is read as a whole or not at all, and a broken one leaves
//! the old rules in force and says so. Left out: judging, which is `policy`'s and pure.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::advisory::Advisories;
use crate::clock::Clock;
use crate::policy::{self, Config, Fault, Judged, Ruleset};

pub mod log;
pub mod record;
pub mod replay;

pub use record::Record;

use log::Log;
use record::Recent;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The largest file that is read.
const MOST_BYTES: u64 = 4 << 20;

/// The rules in force and the record of decisions. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Rulings(Arc<Inner>);

struct Inner {
    settings: Config,
    current: RwLock<Arc<Ruleset>>,
    /// Counts the rules that were put in force.
    generation: AtomicU64,
    watched: Mutex<Watched>,
    recent: Recent,
    log: Option<Log>,
    clock: Clock,
}

/// What was seen of the files, and what was wrong with them at the last look.
#[derive(Default)]
struct Watched {
    seen: Option<[Stamp; 2]>,
    fault: Option<RulingsError>,
}

/// What tells a changed file from an unchanged one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp(Option<(SystemTime, u64)>);

/// Why the policy's files cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulingsError {
    #[error("{path} cannot be read: {reason}")]
    Unreadable { path: String, reason: String },
    #[error("{}", faults.iter().map(|fault| format!("{path}: {fault}")).collect::<Vec<_>>().join("\n"))]
    Faulty { path: String, faults: Vec<Fault> },
}

/// What is in force, for people.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Standing {
    /// Names the rules in force.
    pub epoch: String,
    pub rules: usize,
    pub waivers: usize,
    pub file: Option<PathBuf>,
    /// Why the files as they are now are not in force.
    pub fault: Option<String>,
}

impl Rulings {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or everything that is wrong with it.
    pub fn open(settings: Config, data_dir: &Path, clock: Clock) -> Result<Self, RulingsError> {
        let stamps = stamps(&settings);
        let rules = read(&settings)?;
        let log = Log::open(data_dir, settings.record.bytes());
        Ok(Self::with(settings, rules, Some(stamps), log, clock))
    }

    /// The settings of the lifecycle alone, and nothing remembered on disk.
    pub fn of_lifecycle(settings: Config, clock: Clock) -> Self {
        let rules = Ruleset::of_lifecycle(settings.clone());
        Self::with(settings, rules, None, None, clock)
    }

    fn with(
        settings: Config,
        rules: Ruleset,
        seen: Option<[Stamp; 2]>,
        log: Option<Log>,
        clock: Clock,
    ) -> Self {
        Self(Arc::new(Inner {
            settings,
            current: RwLock::new(Arc::new(rules)),
            generation: AtomicU64::new(0),
            watched: Mutex::new(Watched { seen, fault: None }),
            recent: Recent::default(),
            log,
            clock,
        }))
    }

    /// The rules in force.
    pub fn current(&self) -> Arc<Ruleset> {
        Arc::clone(&self.0.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes whenever other rules are put in force.
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// Puts other advisories in force beside the same rules.
    pub fn advise(&self, advisories: Arc<Advisories>) {
        // Whoever takes up changed files meanwhile must not bring the old ones back.
        let _watched = self.watched();
        let rules = Ruleset::clone(&self.current()).advised(advisories);
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        self.0.generation.fetch_add(1, Ordering::AcqRel);
    }

    pub fn standing(&self) -> Standing {
        let rules = self.current();
        let fault = self.watched().fault.as_ref().map(ToString::to_string);
        Standing {
            epoch: format!("{:016x}", rules.epoch()),
            rules: rules.rules().len(),
            waivers: rules.waivers().len(),
            file: self.0.settings.file.clone(),
            fault,
        }
    }

    /// Takes up changed files. What is wrong with them is told once, and what was in force stays.
    pub fn look(&self) {
        let mut watched = self.watched();
        let stamps = stamps(&self.0.settings);
        // What could not be read may be readable now without having changed: whoever may read it is not in its stamp.
        let is_read = !matches!(watched.fault, Some(RulingsError::Unreadable { .. }));
        if is_read && watched.seen.as_ref() == Some(&stamps) {
            return;
        }
        watched.seen = Some(stamps);
        let told = watched.fault.take();
        match read(&self.0.settings) {
            Ok(rules) => {
                let rules = rules.advised(Arc::clone(self.current().advisories()));
                let epoch = format!("{:016x}", rules.epoch());
                tracing::info!(
                    policy.epoch = epoch,
                    rules = rules.rules().len(),
                    "new rules are in force"
                );
                *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
                self.0.generation.fetch_add(1, Ordering::AcqRel);
            }
            Err(fault) => {
                if told.as_ref() != Some(&fault) {
                    tracing::error!(%fault, "the policy's files cannot be used; what was in force stays");
                }
                watched.fault = Some(fault);
            }
        }
        let is_broken = if watched.fault.is_some() { 1.0 } else { 0.0 };
        metrics::gauge!("larder_policy_file_broken").set(is_broken);
    }

    /// Remembers what was judged. Returns at once; what is too much to write down is counted.
    pub fn note(&self, judged: &Judged) {
        let has_spoken = !judged.decision.fired.is_empty();
        if !has_spoken && self.0.log.is_none() {
            return;
        }
        let Some(id) = self.0.recent.meets(judged) else { return };
        let record = Arc::new(Record::of(judged, id));
        if has_spoken {
            self.0.recent.insert(Arc::clone(&record));
        }
        if let Some(log) = &self.0.log {
            log.add(record);
        }
    }

    /// A decision by its name, from memory or from what was written down.
    pub async fn find(&self, id: &str) -> Option<Arc<Record>> {
        if let Some(record) = self.0.recent.get(id) {
            return Some(record);
        }
        let (log, id) = (self.0.log.clone()?, id.to_owned());
        let found = tokio::task::spawn_blocking(move || log.find(&id)).await;
        found.ok().flatten().map(Arc::new)
    }

    /// What was written down, the oldest first. Blocks.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        self.0.log.iter().flat_map(Log::records)
    }

    /// The policy's settings.
    pub fn settings(&self) -> &Config {
        &self.0.settings
    }

    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Spawns what looks after the files and writes the record down, until `stop`.
    pub fn tend(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        if self.0.settings.file.is_some() || self.0.settings.waivers.is_some() {
            let (rulings, stop) = (self.clone(), stop.clone());
            tasks.spawn(async move { rulings.watch(stop).await });
        }
        if let Some(log) = &self.0.log {
            let (log, stop) = (log.clone(), stop.clone());
            tasks.spawn(async move { log.write(stop).await });
        }
    }

    async fn watch(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        let mut hangup =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok();
        loop {
            let asked = async {
                match &mut hangup {
                    Some(signal) => signal.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
                _ = asked => self.watched().seen = None,
            }
            let rulings = self.clone();
            if tokio::task::spawn_blocking(move || rulings.look()).await.is_err() {
                return;
            }
        }
    }

    fn watched(&self) -> std::sync::MutexGuard<'_, Watched> {
        self.0.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Rulings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rulings").field("generation", &self.generation()).finish_non_exhaustive()
    }
}

/// Reads both files as they are now.
///
/// # Errors
///
/// The first file that cannot be used, with everything that is wrong with it.
pub fn read(settings: &Config) -> Result<Ruleset, RulingsError> {
    let text = |path: &Option<PathBuf>| path.as_deref().map_or(Ok(String::new()), text);
    let (file, waivers) = (text(&settings.file)?, text(&settings.waivers)?);
    let faulty = |path: &Option<PathBuf>| {
        let path = path.as_deref().unwrap_or_else(|| Path::new("")).display().to_string();
        move |faults| RulingsError::Faulty { path, faults }
    };
    let rules = policy::file::read(&file).map_err(faulty(&settings.file))?;
    let excepted = policy::waiver::read(&waivers).map_err(faulty(&settings.waivers))?;
    Ok(Ruleset::new(settings.clone(), rules, excepted, [&file, &waivers]))
}

/// The text of a file, as long as it is one of ours.
///
/// # Errors
///
/// [`RulingsError::Unreadable`].
pub fn text(path: &Path) -> Result<String, RulingsError> {
    let unreadable =
        |reason: String| RulingsError::Unreadable { path: path.display().to_string(), reason };
    let told = |error: io::Error| unreadable(error.to_string());
    if fs::metadata(path).map_err(told)?.len() > MOST_BYTES {
        return Err(unreadable(format!("it is larger than {MOST_BYTES} bytes")));
    }
    fs::read_to_string(path).map_err(told)
}

fn stamps(settings: &Config) -> [Stamp; 2] {
    [&settings.file, &settings.waivers].map(|path| {
        let metadata = path.as_deref().and_then(|path| fs::metadata(path).ok());
        Stamp(metadata.and_then(|data| Some((data.modified().ok()?, data.len()))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Ecosystem, Fact, Facts, Point, Verdict};
    use crate::types::Timestamp;

    const NOW: Timestamp = Timestamp::from_secs(1_795_392_000);

    fn rules(dir: &Path) -> Config {
        let file = Some(dir.join("policy.toml"));
        Config { file, ..Config::default() }
    }

    fn verdict(rulings: &Rulings) -> Verdict {
        let facts = Facts::of(Ecosystem::PyPi, "six").with(Fact::Yanked, true);
        rulings.current().judge(&facts, Point::Content, NOW).verdict
    }

    #[test]
    fn a_broken_file_leaves_the_old_rules_in_force() {
        let dir = tempfile::tempdir().expect("a folder");
        let write = |text: &str| fs::write(dir.path().join("policy.toml"), text).expect("written");
        write("[[rule]]\nid = \"a\"\ndeny_if = { yanked = true }");
        let clock = Clock::manual(NOW);
        let rulings = Rulings::open(rules(dir.path()), dir.path(), clock).expect("good rules");
        assert_eq!(verdict(&rulings), Verdict::Deny);
        write("[[rule]]\nid = \"a\"\ndeny_if = { yankd = true }");
        rulings.look();
        assert_eq!((verdict(&rulings), rulings.generation()), (Verdict::Deny, 0));
        let fault = rulings.standing().fault.expect("a fault");
        assert!(fault.contains("policy.toml: line 3: rule.a.deny_if.yankd"), "{fault}");
        write("[[rule]]\nid = \"a\"\nwarn_if = { yanked = true }\n");
        rulings.look();
        assert_eq!((verdict(&rulings), rulings.generation()), (Verdict::Warn, 1));
        assert_eq!(rulings.standing().fault, None);
        rulings.look();
        assert_eq!(rulings.generation(), 1, "unchanged files are not read again");
        fs::remove_file(dir.path().join("policy.toml")).expect("removed");
        rulings.look();
        assert_eq!(verdict(&rulings), Verdict::Warn, "a file that is gone leaves the rules, too");
        assert!(rulings.standing().fault.is_some());
    }

    /// A file that could not be read was not looked at again before it changed, and `chmod` changes neither its time nor its length.
    #[test]
    fn a_file_that_could_not_be_read_is_read_again_unchanged() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, text) =
            (dir.path().join("policy.toml"), "[[rule]]\nid = \"a\"\ndeny_if = { yanked = true }");
        fs::write(&path, "").expect("written");
        let rulings = Rulings::open(rules(dir.path()), dir.path(), Clock::manual(NOW));
        let rulings = rulings.expect("no rules are good rules");
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(9);
        let write = |bytes: &[u8]| {
            fs::write(&path, bytes).expect("written");
            let file = fs::File::options().write(true).open(&path).expect("it is there");
            file.set_modified(at).expect("its time can be set");
        };
        // What is no text cannot be read, whoever reads it.
        write(&vec![0xff; text.len()]);
        rulings.look();
        assert!(rulings.standing().fault.is_some());
        write(text.as_bytes());
        rulings.look();
        assert_eq!((verdict(&rulings), rulings.standing().fault), (Verdict::Deny, None));
    }

    #[test]
    fn a_broken_file_is_refused_at_the_start() {
        let dir = tempfile::tempdir().expect("a folder");
        let open = || Rulings::open(rules(dir.path()), dir.path(), Clock::manual(NOW));
        assert!(matches!(open(), Err(RulingsError::Unreadable { .. })));
        fs::write(dir.path().join("policy.toml"), "x").expect("written");
        assert!(matches!(open(), Err(RulingsError::Faulty { .. })));
    }
}
