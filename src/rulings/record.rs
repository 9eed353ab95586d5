//! One decision as it is remembered, and those of late in memory.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use moka::sync::Cache as Memory;
use serde::{Deserialize, Serialize};

use crate::policy::fact::Value;
use crate::policy::ruleset::Effect;
use crate::policy::{Ecosystem, Fact, Facts, Judged, Point, State, Verdict};
use crate::types::Timestamp;

/// Decisions of late that can be asked about without looking at the disk.
const MOST_RECENT: u64 = 20_000;

/// Decisions that are known to be written down already.
const MOST_MET: u64 = 200_000;

/// What was decided of one subject, and what it rested on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub id: String,
    /// When it was first decided so.
    pub at: Timestamp,
    pub on: Ecosystem,
    pub point: Point,
    /// The subject, as the command line names it.
    pub subject: String,
    /// The strictest of what was carried out.
    pub verdict: Verdict,
    /// The strictest, had dry runs been carried out.
    pub in_earnest: Verdict,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// In which state upstream had it, where that was out of the ordinary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    pub facts: BTreeMap<Cow<'static, str>, Value<'static>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fired: Vec<Voice>,
    /// Of the rules that were in force.
    pub epoch: String,
}

/// One rule or setting that had something to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voice {
    pub rule: String,
    pub verdict: Verdict,
    /// `enforced`, `dry-run`, `waived`.
    pub effect: Cow<'static, str>,
    pub reason: String,
    /// When the exception ends, in milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

impl Record {
    pub fn of(judged: &Judged, id: String) -> Self {
        let Judged { facts, point, at, epoch, decision } = judged;
        let known = facts.known().map(|(fact, value)| (Cow::Borrowed(fact.name()), value.clone()));
        let voices = decision.fired.iter().map(|fired| Voice {
            rule: fired.by.id().to_owned(),
            verdict: fired.verdict,
            effect: Cow::Borrowed(fired.effect.name()),
            reason: fired.reason.clone(),
            until: match fired.effect {
                Effect::Waived(until) => Some(until.0),
                Effect::Enforced | Effect::DryRun => None,
            },
        });
        Self {
            id,
            at: *at,
            on: facts.ecosystem,
            point: *point,
            subject: judged.subject(),
            verdict: decision.verdict,
            in_earnest: decision.in_earnest(),
            digest: facts.digest.as_ref().map(ToString::to_string),
            state: facts.state.map(|(state, _)| name_of(state).to_owned()),
            facts: known.collect(),
            fired: voices.collect(),
            epoch: format!("{epoch:016x}"),
        }
    }

    /// What it rested on, to be judged again. A fact that this version does not know is left out, and so is the state, which no rule looks at.
    pub fn into_facts(self) -> Facts<'static> {
        let Self { on, digest, mut facts, .. } = self;
        let mut of = |fact: Fact| facts.remove(fact.name()).unwrap_or_default();
        let mut all = Facts::of(on, of(Fact::Name));
        for fact in Fact::ALL.iter().filter(|fact| **fact != Fact::Name) {
            all.set(*fact, of(*fact));
        }
        all.digest = digest.map(Cow::Owned);
        all
    }
}

const fn name_of(state: State) -> &'static str {
    match state {
        State::Listed => "listed",
        State::Yanked => "yanked",
        State::Deleted { .. } => "deleted",
        State::ProjectDeleted { .. } => "project deleted",
        State::Quarantined => "quarantined",
        State::Malicious => "malicious",
    }
}

/// Decisions of late.
pub(super) struct Recent {
    records: Memory<String, Arc<Record>>,
    /// Names of decisions, with the day on which they were last met: each is written down once a day at most.
    met: Memory<String, u64>,
}

impl Default for Recent {
    fn default() -> Self {
        Self { records: Memory::new(MOST_RECENT), met: Memory::new(MOST_MET) }
    }
}

impl Recent {
    /// The name of a decision that was not met on this day yet.
    pub(super) fn meets(&self, judged: &Judged) -> Option<String> {
        const DAY_SECS: u64 = 24 * 60 * 60;
        let id = judged.id();
        let day = judged.at.secs() / DAY_SECS;
        if self.met.get(&id) == Some(day) {
            return None;
        }
        self.met.insert(id.clone(), day);
        Some(id)
    }

    pub(super) fn insert(&self, record: Arc<Record>) {
        self.records.insert(record.id.clone(), record);
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Record>> {
        self.records.get(id)
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Ruleset;

    #[test]
    fn a_record_reads_back_as_the_facts_that_it_was_made_of() {
        let facts = Facts::of(Ecosystem::Hf, "org/m")
            .with(Fact::Release, Timestamp(1_000))
            .with(Fact::Downloads, 7)
            .with(Fact::Gated, false)
            .with(Fact::Dataset, Value::Texts(vec!["a".into(), "b".into()]));
        let judged = Ruleset::default().judged(facts.clone(), Point::Content, Timestamp(5));
        let record = Record::of(&judged, judged.id());
        let text = serde_json::to_string(&record).expect("JSON");
        let read: Record = serde_json::from_str(&text).expect("a record");
        assert_eq!(read, record, "{text}");
        assert_eq!(read.into_facts(), facts, "{text}");
    }

    #[test]
    fn a_decision_is_new_once_a_day() {
        let recent = Recent::default();
        let judged = |at| {
            let facts = Facts::of(Ecosystem::PyPi, "six");
            Ruleset::default().judged(facts, Point::Content, Timestamp::from_secs(at))
        };
        assert!(recent.meets(&judged(0)).is_some());
        assert!(recent.meets(&judged(60)).is_none());
        assert!(recent.meets(&judged(86_400)).is_some());
    }
}
