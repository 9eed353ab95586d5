//! Rules: conditions on facts, and the verdict where they hold.
//!
//! A condition is met, not met, or cannot be told because a fact is missing; the third is the rule's own to decide on (`on_missing`). Left out: reading rules
//! from a file, and what several of them come to.

use std::time::Duration;

use crate::policy::fact::{Ecosystem, Fact, Facts, Kind, Point, Value};
use crate::policy::pattern::Patterns;
use crate::policy::when::Expression;
use crate::policy::{Verdict, licence, words};
use crate::types::{ByteSize, Timestamp};

/// One rule of a policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Unique in its file.
    pub id: Box<str>,
    /// The line that it begins on.
    pub line: usize,
    pub on: Vec<Ecosystem>,
    pub at: Vec<Point>,
    pub verdict: Verdict,
    pub condition: Condition,
    /// Where this is met, the rule does not hold.
    pub unless: Option<Condition>,
    /// What it says where a fact is missing.
    pub on_missing: Verdict,
    /// Whether it is carried out, or only told what it would do.
    pub is_enforced: bool,
    /// Whether a waiver may except anything from it.
    pub is_waivable: bool,
    /// For the client, with `{FACT}` in places; made from the condition where there is none.
    pub message: Option<Box<str>>,
}

/// Tests, of which all must hold, or one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    pub tests: Vec<Test>,
    /// What the tests cannot say; one more of them.
    pub when: Option<Expression>,
    pub is_any: bool,
}

/// A test of one fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    pub fact: Fact,
    pub check: Check,
}

/// What is tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    Is(bool),
    Below(u64),
    AtLeast(u64),
    Younger(Duration),
    AtLeastOld(Duration),
    In(Patterns),
    NotIn(Patterns),
}

/// What a condition comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    No,
    /// It hangs on a fact that is not known.
    Missing,
    Yes,
}

/// An instant at which time alone may change what was found, the next one of all that were met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turn(pub Option<Timestamp>);

impl Turn {
    /// Notes an instant, where it is still to come.
    pub fn note(&mut self, at: Timestamp, now: Timestamp) {
        if at > now && self.0.is_none_or(|known| at < known) {
            self.0 = Some(at);
        }
    }
}

impl Rule {
    /// Whether it can be decided there: all that it tests can be known at that place, or, where one test is enough, some of it.
    pub fn applies(&self, ecosystem: Ecosystem, point: Point) -> bool {
        let is_there = self.on.contains(&ecosystem) && self.at.contains(&point);
        is_there && self.condition.can_be_told(ecosystem, point)
    }

    /// The facts that it looks at.
    pub fn facts(&self) -> impl Iterator<Item = Fact> {
        std::iter::once(&self.condition).chain(&self.unless).flat_map(Condition::facts)
    }

    /// Whether it looks at single files.
    pub fn is_of_files(&self) -> bool {
        self.facts().any(Fact::is_of_file)
    }

    /// What it says of a subject, and whether that is for want of a fact.
    pub fn say(&self, facts: &Facts<'_>, now: Timestamp, turn: &mut Turn) -> (Verdict, Outcome) {
        let outcome = self.condition.outcome(facts, now, turn);
        let verdict = match outcome {
            Outcome::Yes => self.verdict,
            Outcome::Missing => self.on_missing,
            Outcome::No => return (Verdict::Allow, outcome),
        };
        // What cannot be shown to be an exception is none.
        let excepts = |condition: &Condition| condition.outcome(facts, now, turn) == Outcome::Yes;
        match self.unless.as_ref().is_some_and(excepts) {
            true => (Verdict::Allow, Outcome::No),
            false => (verdict, outcome),
        }
    }

    /// Why it says so, for the client.
    pub fn tell(&self, facts: &Facts<'_>, outcome: Outcome, now: Timestamp) -> String {
        if let Some(message) = self.message.as_deref().filter(|_| outcome == Outcome::Yes) {
            return filled(message, facts, now);
        }
        let tests = self.condition.tests.iter();
        let mut told: Vec<String> = tests
            .filter(|test| test.outcome(facts, now, &mut Turn::default()) == outcome)
            .map(|test| test.tell(facts, now))
            .collect();
        let when = self.condition.when.iter();
        told.extend(
            when.filter(|when| when.outcome(facts, now, &mut Turn::default()) == outcome)
                .map(|when| when.tell(facts, outcome, now)),
        );
        told.join(", ")
    }
}

impl Condition {
    /// What the tests come to, and the expression last, which costs most. One that settles it ends the matter: until that one changes, no other can.
    fn outcome(&self, facts: &Facts<'_>, now: Timestamp, turn: &mut Turn) -> Outcome {
        let settles = if self.is_any { Outcome::Yes } else { Outcome::No };
        let mut so_far = None;
        let mut settled = |outcome: Outcome| {
            let joined = match so_far {
                None => outcome,
                Some(known) if self.is_any => outcome.max(known),
                Some(known) => outcome.min(known),
            };
            so_far = Some(joined);
            joined == settles
        };
        let ended = self.tests.iter().any(|test| settled(test.outcome(facts, now, turn)));
        if let Some(when) = self.when.as_ref().filter(|_| !ended) {
            settled(when.outcome(facts, now, turn));
        }
        so_far.unwrap_or(Outcome::No)
    }

    fn can_be_told(&self, ecosystem: Ecosystem, point: Point) -> bool {
        let tests = self.tests.iter().map(|test| test.fact.is_known(ecosystem, point));
        let when = self.when.iter().map(|when| when.can_be_told(ecosystem, point));
        let mut all = tests.chain(when);
        if self.is_any { all.any(|one| one) } else { all.all(|one| one) }
    }

    fn facts(&self) -> impl Iterator<Item = Fact> {
        let when = self.when.iter().flat_map(|when| when.facts().iter().copied());
        self.tests.iter().map(|test| test.fact).chain(when)
    }
}

impl Test {
    fn outcome(&self, facts: &Facts<'_>, now: Timestamp, turn: &mut Turn) -> Outcome {
        let is_licence = self.fact.kind() == Kind::Licence;
        let holds = match (&self.check, facts.get(self.fact)) {
            (_, Value::Unknown) => return Outcome::Missing,
            (Check::Is(wanted), Value::Flag(flag)) => flag == wanted,
            (Check::Below(limit), Value::Number(number)) => number < limit,
            (Check::AtLeast(limit), Value::Number(number)) => number >= limit,
            (Check::Younger(span) | Check::AtLeastOld(span), Value::Time { at }) => {
                let ripe = Timestamp(*at).plus(*span);
                turn.note(ripe, now);
                (now < ripe) == matches!(self.check, Check::Younger(_))
            }
            (Check::In(list), Value::Text(text)) if is_licence => licence::needs_one_of(text, list),
            (Check::NotIn(list), Value::Text(text)) if is_licence => {
                !licence::can_be_met(text, list)
            }
            (Check::In(list), Value::Text(text)) => list.fit(text),
            (Check::NotIn(list), Value::Text(text)) => !list.fit(text),
            (Check::In(list), Value::Texts(texts)) => texts.iter().any(|text| list.fit(text)),
            (Check::NotIn(list), Value::Texts(texts)) if self.fact.kind() == Kind::AnyOf => {
                !texts.iter().any(|text| list.fit(text))
            }
            (Check::NotIn(list), Value::Texts(texts)) => texts.iter().any(|text| !list.fit(text)),
            // Checks are made to fit the kind of their fact, and adapters give values of that kind.
            _ => return Outcome::Missing,
        };
        if holds { Outcome::Yes } else { Outcome::No }
    }

    /// `release 2 days ago, which is less than 7 days`.
    fn tell(&self, facts: &Facts<'_>, now: Timestamp) -> String {
        let (name, kind) = (self.fact.name(), self.fact.kind());
        let limit = |limit: u64| match kind {
            Kind::Bytes => ByteSize(limit).to_string(),
            Kind::Score => words::score(limit),
            _ => limit.to_string(),
        };
        let value = match facts.get(self.fact) {
            Value::Unknown if facts.is_pending(self.fact) => {
                return format!("{name} could not be found out just now");
            }
            Value::Unknown => return format!("{name} is not known"),
            value => value.told(kind, now),
        };
        match &self.check {
            Check::Is(flag) => format!("{name} = {flag}"),
            Check::Below(below) => format!("{name} {value} is less than {}", limit(*below)),
            Check::AtLeast(least) => format!("{name} {value} is at least {}", limit(*least)),
            Check::Younger(span) => {
                format!("{name} was {value}, which is less than {}", words::span(*span))
            }
            Check::AtLeastOld(span) => {
                format!("{name} was {value}, which is {} or more", words::span(*span))
            }
            Check::In(_) => format!("{name} {value} is on the list of the rule"),
            Check::NotIn(_) => format!("{name} {value} is not on the list of the rule"),
        }
    }
}

/// The names in braces of a message that stand for no fact.
pub fn unknown_places(message: &str) -> Vec<&str> {
    let parts = message.split('{').skip(1);
    let named = parts.filter_map(|part| part.split_once('}').map(|(name, _)| name));
    named.filter(|name| fact_named(name).is_none()).collect()
}

fn filled(message: &str, facts: &Facts<'_>, now: Timestamp) -> String {
    let mut parts = message.split('{');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('}').and_then(|(name, rest)| Some((fact_named(name)?, rest))) {
            Some((fact, rest)) => {
                text.push_str(&facts.get(fact).told(fact.kind(), now));
                text.push_str(rest);
            }
            None => {
                text.push('{');
                text.push_str(part);
            }
        }
    }
    text
}

pub(super) fn fact_named(name: &str) -> Option<Fact> {
    Fact::ALL.iter().copied().find(|fact| fact.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_795_392_000);
    const DAY: Duration = Duration::from_secs(86_400);

    fn rule(tests: Vec<Test>, is_any: bool) -> Rule {
        Rule {
            id: "r".into(),
            line: 1,
            on: Ecosystem::ALL.to_vec(),
            at: Point::ALL.to_vec(),
            verdict: Verdict::Deny,
            condition: Condition { tests, when: None, is_any },
            unless: None,
            on_missing: Verdict::Hold,
            is_enforced: true,
            is_waivable: true,
            message: None,
        }
    }

    fn test(fact: Fact, check: Check) -> Test {
        Test { fact, check }
    }

    #[test]
    fn missing_facts_are_neither_yes_nor_no() {
        let yanked = || test(Fact::Yanked, Check::Is(true));
        let small = || test(Fact::Size, Check::Below(10));
        let check = |is_any, yes: Option<bool>, size: Option<u64>, expected: Verdict| {
            let facts = Facts::of(Ecosystem::PyPi, "x").with(Fact::Yanked, yes);
            let facts = facts.with(Fact::Size, size);
            let rule = rule(vec![yanked(), small()], is_any);
            let (verdict, _) = rule.say(&facts, NOW, &mut Turn::default());
            assert_eq!(verdict, expected, "{is_any} {yes:?} {size:?}");
        };
        check(false, Some(true), Some(1), Verdict::Deny);
        check(false, Some(true), None, Verdict::Hold);
        check(false, None, Some(10), Verdict::Allow);
        check(false, None, None, Verdict::Hold);
        check(true, Some(true), None, Verdict::Deny);
        check(true, Some(false), None, Verdict::Hold);
        check(true, Some(false), Some(10), Verdict::Allow);
    }

    #[test]
    fn an_exception_must_be_shown_to_be_one() {
        let mut rule = rule(vec![test(Fact::Yanked, Check::Is(true))], false);
        rule.unless = Some(Condition {
            tests: vec![test(Fact::Attested, Check::Is(true))],
            ..Condition::default()
        });
        let yanked = Facts::of(Ecosystem::PyPi, "x").with(Fact::Yanked, true);
        let say = |facts: &Facts<'_>| rule.say(facts, NOW, &mut Turn::default()).0;
        assert_eq!(say(&yanked), Verdict::Deny);
        assert_eq!(say(&yanked.clone().with(Fact::Attested, false)), Verdict::Deny);
        assert_eq!(say(&yanked.with(Fact::Attested, true)), Verdict::Allow);
    }

    #[test]
    fn ages_change_at_a_known_instant() {
        let check = |age: Duration, check: Check, expected: Verdict, turn: Option<Timestamp>| {
            let rule = rule(vec![test(Fact::Release, check)], false);
            let facts = Facts::of(Ecosystem::PyPi, "x").with(Fact::Release, NOW.minus(age));
            let mut found = Turn::default();
            assert_eq!(rule.say(&facts, NOW, &mut found).0, expected, "{age:?}");
            assert_eq!(found.0, turn, "{age:?}");
        };
        check(2 * DAY, Check::Younger(7 * DAY), Verdict::Deny, Some(NOW.plus(5 * DAY)));
        check(7 * DAY, Check::Younger(7 * DAY), Verdict::Allow, None);
        check(2 * DAY, Check::AtLeastOld(7 * DAY), Verdict::Allow, Some(NOW.plus(5 * DAY)));
        check(7 * DAY, Check::AtLeastOld(7 * DAY), Verdict::Deny, None);
    }

    #[test]
    fn sets_are_tested_by_their_members_and_licences_by_their_branches() {
        let check = |fact, check: Check, value: Value<'static>, expected: Verdict| {
            let rule = rule(vec![test(fact, check.clone())], false);
            let facts = Facts::of(Ecosystem::Hf, "x").with(fact, value);
            let (verdict, _) = rule.say(&facts, NOW, &mut Turn::default());
            assert_eq!(verdict, expected, "{facts:?} {check:?}");
        };
        let list = || Patterns::of(["a", "MIT"]);
        let texts = |all: &[&'static str]| {
            Value::Texts(all.iter().map(|one| std::borrow::Cow::Borrowed(*one)).collect())
        };
        check(Fact::Dataset, Check::In(list()), texts(&["a", "b"]), Verdict::Deny);
        check(Fact::Dataset, Check::NotIn(list()), texts(&["a", "b"]), Verdict::Deny);
        check(Fact::Dataset, Check::NotIn(list()), texts(&["a"]), Verdict::Allow);
        check(Fact::Dataset, Check::NotIn(list()), texts(&[]), Verdict::Allow);
        check(Fact::Licence, Check::NotIn(list()), "MIT OR X".into(), Verdict::Allow);
        check(Fact::Licence, Check::NotIn(list()), "MIT AND X".into(), Verdict::Deny);
        check(Fact::Licence, Check::In(list()), "MIT OR X".into(), Verdict::Allow);
    }

    #[test]
    fn messages_name_facts() {
        let facts = Facts::of(Ecosystem::PyPi, "six").with(Fact::Release, NOW.minus(3 * DAY));
        let mut rule = rule(vec![test(Fact::Release, Check::Younger(7 * DAY))], false);
        let told = rule.tell(&facts, Outcome::Yes, NOW);
        assert_eq!(told, "release was 3 days ago, which is less than 7 days");
        rule.message = Some("{name} is {release}; {odd} {".into());
        assert_eq!(rule.tell(&facts, Outcome::Yes, NOW), "six is 3 days ago; {odd} {");
        assert_eq!(unknown_places("{name} {odd} {"), ["odd"]);
    }
}
