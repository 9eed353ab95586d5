//! What other rules would have done to what was recorded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Record;
use crate::policy::ruleset::{By, Effect};
use crate::policy::{Ecosystem, Fact, INSPECTION, Point, Ruleset, Verdict};
use crate::types::Timestamp;

/// Examples that are told of each change.
const MOST_EXAMPLES: usize = 5;

/// The difference between what was done and what would have been.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub decisions: u64,
    /// How many would have come out otherwise, from what to what.
    pub changes: Vec<Change>,
    /// How often each rule of the draft would have held, dry runs included.
    pub rules: BTreeMap<String, u64>,
    /// How many decisions lack a fact that a rule looks at, by fact: what it says of them is not what it would have said.
    pub missing: BTreeMap<String, u64>,
}

/// Decisions that would have come out otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub was: Verdict,
    pub becomes: Verdict,
    pub count: u64,
    /// Some of them.
    pub examples: Vec<String>,
}

/// Judges again, each as of the time when it was decided. Blocks for as long as that takes.
pub fn replay(records: impl Iterator<Item = Record>, draft: &Ruleset, since: Timestamp) -> Report {
    let mut report = Report::default();
    let mut changes: BTreeMap<(Verdict, Verdict), Change> = BTreeMap::new();
    let mut held: Vec<u64> = vec![0; draft.rules().len()];
    let mut missing: Vec<u64> = vec![0; Fact::ALL.len()];
    // What was refused for what is in it was recorded once more before that, as rules had it.
    let by_inspection = |record: &Record| record.fired.iter().any(|one| one.rule == INSPECTION);
    let records = records.filter(|record| record.at >= since && !by_inspection(record));
    for record in records {
        let (at, point, was) = (record.at, record.point, by_rules(&record));
        let subject = record.subject.clone();
        let facts = record.into_facts();
        let decision = draft.judge(&facts, point, at);
        report.decisions += 1;
        for fact in lacking(&facts, point, draft) {
            missing[fact as usize] += 1;
        }
        for fired in &decision.fired {
            let By::Rule(rule) = &fired.by else { continue };
            let place = draft.rules().iter().position(|one| one.id == rule.id);
            if let Some(place) = place.filter(|_| !matches!(fired.effect, Effect::Waived(_))) {
                held[place] += 1;
            }
        }
        let becomes = decision.by_rules;
        if was != becomes {
            let new = || Change { was, becomes, count: 0, examples: Vec::new() };
            let change = changes.entry((was, becomes)).or_insert_with(new);
            change.count += 1;
            if change.examples.len() < MOST_EXAMPLES && !change.examples.contains(&subject) {
                change.examples.push(subject);
            }
        }
    }
    report.changes = changes.into_values().collect();
    let rules = draft.rules().iter().zip(held);
    report.rules = rules.map(|(rule, count)| (rule.id.to_string(), count)).collect();
    let lacking = Fact::ALL.iter().zip(missing).filter(|(_, count)| *count > 0);
    report.missing = lacking.map(|(fact, count)| (fact.name().to_owned(), count)).collect();
    report
}

/// What rules did: the lifecycle's settings are not what a draft is about.
fn by_rules(record: &Record) -> Verdict {
    let counts = record
        .fired
        .iter()
        .filter(|voice| voice.effect == "enforced" && !voice.rule.starts_with("policy."));
    counts.map(|voice| voice.verdict).max().unwrap_or_default()
}

fn lacking<'a>(
    facts: &'a crate::policy::Facts<'_>,
    point: Point,
    draft: &'a Ruleset,
) -> impl Iterator<Item = Fact> + 'a {
    let on: Ecosystem = facts.ecosystem;
    Fact::ALL.iter().copied().filter(move |fact| {
        draft.needs(on, *fact)
            && fact.is_known(on, point)
            && *facts.get(*fact) == crate::policy::fact::Value::Unknown
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Config, Facts, file};

    fn rules(text: &str) -> Ruleset {
        let file = file::read(text).unwrap_or_else(|faults| panic!("{faults:?}"));
        Ruleset::new(Config::default(), file, Vec::new(), [text, ""])
    }

    #[test]
    fn a_draft_is_told_by_what_it_would_have_changed() {
        let old = rules("[[rule]]\nid = \"old\"\ndeny_if = { name_in = \"bad*\" }");
        let records: Vec<Record> = ["bad1", "bad2", "new", "good"]
            .iter()
            .map(|name| {
                let facts = Facts::of(Ecosystem::PyPi, *name).with(Fact::Yanked, *name == "new");
                let judged = old.judged(facts, Point::Content, Timestamp(9));
                Record::of(&judged, judged.id())
            })
            .collect();
        let draft = rules(
            "[[rule]]\nid = \"y\"\nhold_if = { yanked = true }\n[[rule]]\nid = \"s\"\nwarn_if = { size_gte = 1 }",
        );
        let report = replay(records.iter().cloned(), &draft, Timestamp(0));
        assert_eq!(report.decisions, 4);
        let change = |was, becomes, examples: &[&str]| Change {
            was,
            becomes,
            count: examples.len() as u64,
            examples: examples.iter().map(|name| format!("pypi:{name}")).collect(),
        };
        let expected = [
            change(Verdict::Allow, Verdict::Hold, &["new"]),
            change(Verdict::Deny, Verdict::Allow, &["bad1", "bad2"]),
        ];
        assert_eq!(report.changes, expected);
        assert_eq!(report.rules, BTreeMap::from([("s".to_owned(), 0), ("y".to_owned(), 1)]));
        assert_eq!(report.missing, BTreeMap::from([("size".to_owned(), 4)]));
        assert_eq!(replay(records.iter().cloned(), &draft, Timestamp(10)).decisions, 0);
        let written = rules(
            "[[rule]]\nid = \"w\"\ndeny_if = { when = 'yanked || size > 1 && name == \"new\"' }",
        );
        let report = replay(records.into_iter(), &written, Timestamp(0));
        assert_eq!(report.rules, BTreeMap::from([("w".to_owned(), 1)]));
        assert_eq!(report.missing, BTreeMap::from([("size".to_owned(), 4)]));
    }
}
