//! What becomes of a thing that upstream has taken back: deletion, yank, quarantine and malware are four states, each with a
//! verdict of its own, and what vanishes soon after it appeared is held.
//!
//! Left out: how an ecosystem finds out in which state something is, and rules on anything but that state.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::policy::Verdict;
use crate::types::{ByteSize, Timestamp};

/// Settings of the lifecycle, `[policy]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Deleted upstream, alone or with its whole project. Default `warn`: served with a visible mark.
    pub deleted: Verdict,
    /// Deleted upstream within `young` of its publication, while its project lives on: the trace that a malicious release leaves when it
    /// is taken down. Default `hold`.
    pub deleted_young: Verdict,
    /// How long after its publication a thing counts as young, default 14 days.
    #[serde(with = "humantime_serde")]
    pub young: Duration,
    /// Withdrawn by its author but still there. Default `allow`: clients read the mark and decide.
    pub yanked: Verdict,
    /// Closed by the registry while it is looked into. Default `deny`.
    pub quarantined: Verdict,
    /// Known to be malicious. Default `deny`, also for what is kept.
    pub malicious: Verdict,
    /// Names of packages, or of single files, that pass in every state but `malicious`: what somebody looked at and released.
    pub released: Vec<String>,
    /// The file with rules of one's own. None: there are no others than these.
    pub file: Option<PathBuf>,
    /// The file with exceptions from them.
    pub waivers: Option<PathBuf>,
    /// How much of what was decided is remembered on disk, to be looked at and to try out rules on. Default 64 MiB; 0 remembers nothing there.
    pub record: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            deleted: Verdict::Warn,
            deleted_young: Verdict::Hold,
            young: Duration::from_secs(14 * 24 * 60 * 60),
            yanked: Verdict::Allow,
            quarantined: Verdict::Deny,
            malicious: Verdict::Deny,
            released: Vec::new(),
            file: None,
            waivers: None,
            record: ByteSize::mib(64),
        }
    }
}

/// What upstream, or a feed, last said of a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Offered as ever.
    Listed,
    /// Offered, with its author's advice against it.
    Yanked,
    /// No longer offered, though the project is.
    Deleted {
        since: Timestamp,
    },
    /// No longer offered, and the project neither.
    ProjectDeleted {
        since: Timestamp,
    },
    Quarantined,
    Malicious,
}

/// The facts that a lifecycle verdict rests on.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub package: &'a str,
    pub file: &'a str,
    pub state: State,
    /// When it was published, or first seen here when upstream does not say.
    pub published: Timestamp,
}

/// A verdict and the rule that led to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    pub rule: Rule,
}

/// The settings that a judgement can rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    None,
    Deleted,
    DeletedYoung,
    Yanked,
    Quarantined,
    Malicious,
}

impl Config {
    /// Judges one thing. Time enters only through the facts, so a judgement stands until they change.
    pub fn judge(&self, facts: &Facts<'_>) -> Judgement {
        let (verdict, rule) = match facts.state {
            State::Listed => (Verdict::Allow, Rule::None),
            State::Yanked => (self.yanked, Rule::Yanked),
            State::Deleted { since } if since.since(facts.published) < self.young => {
                (self.deleted_young, Rule::DeletedYoung)
            }
            State::Deleted { .. } | State::ProjectDeleted { .. } => (self.deleted, Rule::Deleted),
            State::Quarantined => (self.quarantined, Rule::Quarantined),
            State::Malicious => (self.malicious, Rule::Malicious),
        };
        let released = self.released.iter().any(|name| name == facts.package || name == facts.file);
        let verdict = match rule {
            Rule::Malicious => verdict,
            _ if released => verdict.min(Verdict::Warn),
            _ => verdict,
        };
        Judgement { verdict, rule }
    }
}

impl Rule {
    /// The setting's name.
    pub const fn setting(self) -> &'static str {
        match self {
            Self::None => "policy",
            Self::Deleted => "policy.deleted",
            Self::DeletedYoung => "policy.deleted_young",
            Self::Yanked => "policy.yanked",
            Self::Quarantined => "policy.quarantined",
            Self::Malicious => "policy.malicious",
        }
    }

    /// Why something is refused, and what to do about it, in words for a client.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::None => "nothing is held against it",
            Self::Deleted => "it was deleted upstream; `policy.deleted` decides",
            Self::DeletedYoung => {
                "it was deleted upstream soon after it was published, as malicious releases are; after a look at it, \
                 list it in `policy.released`"
            }
            Self::Yanked => "its author yanked it; `policy.yanked` decides",
            Self::Quarantined => {
                "its project is quarantined upstream; after a look at it, list it in `policy.released`"
            }
            Self::Malicious => "it is known to be malicious; `policy.malicious` decides",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn verdict(config: &Config, state: State) -> Verdict {
        let published = Timestamp::from_secs(1_700_000_000);
        config.judge(&Facts { package: "demo", file: "demo-1.0.tar.gz", state, published }).verdict
    }

    fn deleted_after(span: Duration) -> State {
        State::Deleted { since: Timestamp::from_secs(1_700_000_000).plus(span) }
    }

    #[test]
    fn each_state_has_its_own_default() {
        let config = Config::default();
        for (state, expected) in [
            (State::Malicious, Verdict::Deny),
            (State::Quarantined, Verdict::Deny),
            (deleted_after(Duration::ZERO), Verdict::Hold),
            (deleted_after(14 * DAY - Duration::from_millis(1)), Verdict::Hold),
            (deleted_after(14 * DAY), Verdict::Warn),
            (State::ProjectDeleted { since: Timestamp::from_secs(1_700_000_001) }, Verdict::Warn),
            (State::Yanked, Verdict::Allow),
            (State::Listed, Verdict::Allow),
        ] {
            assert_eq!(verdict(&config, state), expected, "{state:?}");
        }
    }

    #[test]
    fn what_was_released_passes_unless_it_is_malicious() {
        for name in ["demo", "demo-1.0.tar.gz"] {
            let config = Config { released: vec![name.to_owned()], ..Config::default() };
            assert_eq!(verdict(&config, State::Quarantined), Verdict::Warn);
            assert_eq!(verdict(&config, deleted_after(DAY)), Verdict::Warn);
            assert_eq!(verdict(&config, State::Malicious), Verdict::Deny);
        }
    }

    #[test]
    fn unknown_settings_are_refused() {
        assert!(toml::from_str::<Config>("quarantine = \"deny\"").is_err());
        let config = toml::from_str::<Config>("young = \"3 days\"\ndeleted = \"deny\"");
        assert_eq!(
            config.ok(),
            Some(Config { young: 3 * DAY, deleted: Verdict::Deny, ..Config::default() })
        );
    }
}
