//! The rules in force: what all of them, the lifecycle and the waivers come to for one subject.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::advisory::Advisories;
use crate::policy::fact::{Ecosystem, Fact, Facts, Point};
use crate::policy::file::PolicyFile;
use crate::policy::lifecycle;
use crate::policy::rule::{Outcome, Rule, Turn};
use crate::policy::waiver::Waiver;
use crate::policy::{Config, Verdict};
use crate::types::{Digest, Timestamp};

/// Everything that is judged by. Never changes: a new file makes a new one.
#[derive(Debug, Clone, Default)]
pub struct Ruleset {
    lifecycle: Config,
    rules: Vec<Arc<Rule>>,
    waivers: Vec<Waiver>,
    /// Places in `rules` of those that apply, by ecosystem and point.
    plan: [[Vec<usize>; 3]; 3],
    /// The facts that are looked at, a bit for each, by ecosystem.
    needs: [u64; 3],
    advisories: Arc<Advisories>,
    epoch: u64,
}

/// What is done with a subject, and what led to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// The strictest of what is carried out.
    pub verdict: Verdict,
    /// The strictest of what rules of the file alone carry out, without the lifecycle's.
    pub by_rules: Verdict,
    /// All that had something to say, the strictest first.
    pub fired: Vec<Fired>,
    /// When time alone may change it.
    pub valid_until: Option<Timestamp>,
}

/// One voice of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fired {
    pub by: By,
    pub verdict: Verdict,
    pub effect: Effect,
    /// Why, in words for a client.
    pub reason: String,
    /// It holds only for want of a fact that could not be found out just now.
    pub is_pending: bool,
}

/// Who spoke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    Rule(Arc<Rule>),
    /// A setting of `[policy]`.
    State(lifecycle::Rule),
    /// What `[inspect]` refuses for what is in a file.
    Inspection,
}

/// The name by which inspection speaks. Its refusals are a rule like others, but for who writes it: the settings of `[inspect]`. Waivers except from it.
pub const INSPECTION: &str = "inspect";

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Enforced,
    /// Only told.
    DryRun,
    /// Excepted until then.
    Waived(Timestamp),
}

impl Ruleset {
    /// Puts it together. The texts of both files name it, beside the settings.
    pub fn new(
        lifecycle: Config,
        file: PolicyFile,
        waivers: Vec<Waiver>,
        texts: [&str; 2],
    ) -> Self {
        let rules: Vec<Arc<Rule>> = file.rules.into_iter().map(Arc::new).collect();
        let places = |ecosystem: Ecosystem, point: Point| -> Vec<usize> {
            let applies = |(_, rule): &(usize, &Arc<Rule>)| rule.applies(ecosystem, point);
            rules.iter().enumerate().filter(applies).map(|(place, _)| place).collect()
        };
        let plan = Ecosystem::ALL.map(|eco| Point::ALL.map(|point| places(eco, point)));
        let needs = Ecosystem::ALL.map(|eco| {
            let of_it = rules.iter().filter(|rule| rule.on.contains(&eco));
            of_it.flat_map(|rule| rule.facts()).fold(0, |bits, fact| bits | fact.bit())
        });
        let epoch = epoch(&lifecycle, texts);
        Self { lifecycle, rules, waivers, plan, needs, advisories: Arc::default(), epoch }
    }

    /// The settings of the lifecycle alone.
    pub fn of_lifecycle(lifecycle: Config) -> Self {
        Self::new(lifecycle, PolicyFile::default(), Vec::new(), ["", ""])
    }

    /// Stands for all of it: changes whenever anything that is judged by does.
    pub fn epoch(&self) -> u64 {
        self.epoch ^ self.advisories.epoch()
    }

    /// The same rules, with what is known of malicious and vulnerable packages.
    #[must_use]
    pub fn advised(self, advisories: Arc<Advisories>) -> Self {
        Self { advisories, ..self }
    }

    /// What is known of malicious and vulnerable packages.
    pub const fn advisories(&self) -> &Arc<Advisories> {
        &self.advisories
    }

    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    pub fn waivers(&self) -> &[Waiver] {
        &self.waivers
    }

    /// Whether a rule of this ecosystem looks at the fact: what no rule looks at need not be found out.
    pub const fn needs(&self, ecosystem: Ecosystem, fact: Fact) -> bool {
        self.needs[ecosystem as usize] & fact.bit() != 0
    }

    /// Whether a rule of this ecosystem looks at what is in files.
    pub const fn looks_inside(&self, ecosystem: Ecosystem) -> bool {
        self.needs(ecosystem, Fact::Inspection) || self.needs(ecosystem, Fact::InspectedFormat)
    }

    /// Whether any rule is there for a place.
    pub const fn has_rules(&self, ecosystem: Ecosystem, point: Point) -> bool {
        !self.plan[ecosystem as usize][point as usize].is_empty()
    }

    /// Judges one subject.
    pub fn judge(&self, facts: &Facts<'_>, point: Point, now: Timestamp) -> Decision {
        let mut decision = Decision::default();
        let mut turn = Turn::default();
        self.judge_state(facts, &mut decision);
        for place in &self.plan[facts.ecosystem as usize][point as usize] {
            let rule = &self.rules[*place];
            if facts.is_whole && rule.is_of_files() {
                continue;
            }
            let (verdict, outcome) = rule.say(facts, now, &mut turn);
            if verdict != Verdict::Allow {
                let fired = self.fired(rule, facts, verdict, outcome, now, &mut turn);
                if fired.effect == Effect::Enforced {
                    decision.by_rules = decision.by_rules.max(verdict);
                }
                decision.fired.push(fired);
            }
        }
        decision.verdict = decision.verdict.max(decision.by_rules);
        decision.valid_until = turn.0;
        decision.fired.sort_by_key(Fired::rank);
        decision
    }

    /// Until when a waiver excepts a subject from what this name stands for, where one does.
    pub fn waived(&self, rule: &str, facts: &Facts<'_>, now: Timestamp) -> Option<Timestamp> {
        let mut waivers = self.waivers.iter().filter(|waiver| waiver.covers(rule, facts));
        waivers.find(|waiver| now < waiver.expires).map(|waiver| waiver.expires)
    }

    /// The same where nothing is known of a subject but the digests of its bytes.
    pub fn waived_by_digest(&self, rule: &str, digests: &[Digest], now: Timestamp) -> bool {
        let mut waivers = self.waivers.iter().filter(|waiver| now < waiver.expires);
        waivers.any(|waiver| *waiver.rule == *rule && waiver.names(digests))
    }

    fn judge_state(&self, facts: &Facts<'_>, decision: &mut Decision) {
        let Some((state, published)) = facts.state else { return };
        let file = facts.text(Fact::File).or_else(|| facts.text(Fact::Version));
        let judgement = self.lifecycle.judge(&lifecycle::Facts {
            package: facts.text(Fact::Name).unwrap_or_default(),
            file: file.unwrap_or_default(),
            state,
            published,
        });
        if judgement.verdict != Verdict::Allow {
            decision.verdict = judgement.verdict;
            decision.fired.push(Fired {
                by: By::State(judgement.rule),
                verdict: judgement.verdict,
                effect: Effect::Enforced,
                reason: judgement.rule.reason().to_owned(),
                is_pending: false,
            });
        }
    }

    fn fired(
        &self,
        rule: &Arc<Rule>,
        facts: &Facts<'_>,
        verdict: Verdict,
        outcome: Outcome,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Fired {
        let waived = self.waived(&rule.id, facts, now).filter(|_| rule.is_waivable);
        if let Some(until) = waived {
            turn.note(until, now);
        }
        let effect = match waived {
            Some(until) => Effect::Waived(until),
            None if rule.is_enforced => Effect::Enforced,
            None => Effect::DryRun,
        };
        let reason = rule.tell(facts, outcome, now);
        let is_pending =
            outcome == Outcome::Missing && rule.facts().any(|fact| facts.is_pending(fact));
        Fired { by: By::Rule(Arc::clone(rule)), verdict, effect, reason, is_pending }
    }
}

impl Decision {
    /// The strictest voice of what is carried out.
    pub fn decisive(&self) -> Option<&Fired> {
        self.fired.iter().find(|fired| fired.effect == Effect::Enforced)
    }

    /// Whether it is held back only until facts are there that could not be found out just now: whoever asks again may get it.
    pub fn is_pending(&self) -> bool {
        let mut refusing = self
            .fired
            .iter()
            .filter(|fired| fired.effect == Effect::Enforced && !fired.verdict.passes());
        self.verdict == Verdict::Hold && refusing.all(|fired| fired.is_pending)
    }

    /// What would be done if dry runs were carried out.
    pub fn in_earnest(&self) -> Verdict {
        let counts = |fired: &&Fired| !matches!(fired.effect, Effect::Waived(_));
        self.fired.iter().filter(counts).map(|fired| fired.verdict).max().unwrap_or_default()
    }

    /// The decision's name: the same whenever the same rules say the same of the same subject.
    pub fn id(&self, epoch: u64, facts: &Facts<'_>) -> String {
        let mut hasher = Sha256::new();
        let mut add = |text: &str| {
            hasher.update(text.as_bytes());
            hasher.update([0]);
        };
        add(&format!("{epoch:x}"));
        add(&facts.named());
        add(facts.text(Fact::File).unwrap_or_default());
        add(facts.digest.as_deref().unwrap_or_default());
        for fired in &self.fired {
            add(fired.by.id());
            add(&format!("{:?} {}", fired.verdict, fired.effect.name()));
        }
        hex::encode(&hasher.finalize()[..8])
    }
}

impl Fired {
    fn rank(&self) -> (bool, std::cmp::Reverse<Verdict>) {
        (self.effect != Effect::Enforced, std::cmp::Reverse(self.verdict))
    }
}

impl By {
    /// The rule's own name, or the setting's.
    pub fn id(&self) -> &str {
        match self {
            Self::Rule(rule) => &rule.id,
            Self::State(rule) => rule.setting(),
            Self::Inspection => INSPECTION,
        }
    }
}

impl Effect {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforced => "enforced",
            Self::DryRun => "dry-run",
            Self::Waived(_) => "waived",
        }
    }
}

fn epoch(lifecycle: &Config, texts: [&str; 2]) -> u64 {
    let settings = postcard::to_stdvec(lifecycle).unwrap_or_default();
    let mut hasher = Sha256::new();
    for part in [settings.as_slice(), texts[0].as_bytes(), texts[1].as_bytes()] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let digest = hasher.finalize();
    let (head, _) = digest.split_first_chunk().expect("a SHA-256 has 32 bytes");
    u64::from_le_bytes(*head)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::{State, file, waiver};

    const NOW: Timestamp = Timestamp::from_secs(1_795_392_000);
    const DAY: Duration = Duration::from_secs(86_400);

    fn rules(text: &str, waivers: &str) -> Ruleset {
        let file = file::read(text).unwrap_or_else(|faults| panic!("{faults:?}"));
        let read = waiver::read(waivers).unwrap_or_else(|faults| panic!("{faults:?}"));
        Ruleset::new(Config::default(), file, read, [text, waivers])
    }

    fn six() -> Facts<'static> {
        Facts::of(Ecosystem::PyPi, "six")
            .with(Fact::Version, "1.0")
            .with(Fact::File, "six-1.0.tar.gz")
            .with(Fact::Release, NOW.minus(2 * DAY))
    }

    const COOL_DOWN: &str =
        "[[rule]]\nid = \"cool-down\"\nhold_if = { release_age_lt = \"7 days\" }\n";

    #[test]
    fn the_strictest_voice_counts_and_all_are_told() {
        let text = format!(
            "{COOL_DOWN}[[rule]]\nid = \"w\"\nwarn_if = {{ name_in = \"s*\" }}\n[[rule]]\nid = \"d\"\nmode = \"dry-run\"\ndeny_if = {{ name_in = \"six\" }}"
        );
        let decision = rules(&text, "").judge(&six(), Point::Content, NOW);
        assert_eq!((decision.verdict, decision.in_earnest()), (Verdict::Hold, Verdict::Deny));
        let ids: Vec<&str> = decision.fired.iter().map(|fired| fired.by.id()).collect();
        assert_eq!(ids, ["cool-down", "w", "d"]);
        assert_eq!(decision.valid_until, Some(NOW.plus(5 * DAY)));
        assert_eq!(
            decision.decisive().map(|fired| fired.reason.as_str()),
            Some("release was 2 days ago, which is less than 7 days")
        );
    }

    #[test]
    fn a_waiver_excepts_what_it_names_until_it_ends() {
        let waiver = |what: &str, expires: &str| {
            format!(
                "[[waiver]]\nrule = \"cool-down\"\nreason = \"r\"\nexpires = {expires}\nwhat = \"{what}\""
            )
        };
        let check = |what: &str, expires: &str, expected: Verdict| {
            let rules = rules(COOL_DOWN, &waiver(what, expires));
            let decision = rules.judge(&six(), Point::Content, NOW);
            assert_eq!(decision.verdict, expected, "{what} {expires}");
            assert_eq!(decision.fired.len(), 1, "what is waived is told");
        };
        check("pypi:six==1.0", "2026-11-25", Verdict::Allow);
        check("pypi:six==1.1", "2026-11-25", Verdict::Hold);
        check("pypi:six==1.0", "2026-11-22", Verdict::Hold);
        let strict = COOL_DOWN.replace("hold_if", "waivable = false\nhold_if");
        let rules = rules(&strict, &waiver("pypi:six==1.0", "2026-11-25"));
        assert_eq!(rules.judge(&six(), Point::Content, NOW).verdict, Verdict::Hold);
    }

    #[test]
    fn what_ends_a_waiver_is_when_the_decision_changes() {
        let waivers = "[[waiver]]\nrule = \"cool-down\"\nreason = \"r\"\nexpires = 2026-11-24T00:00:00Z\nwhat = \"pypi:six==1.0\"";
        let rules = rules(COOL_DOWN, waivers);
        let decision = rules.judge(&six(), Point::Content, NOW);
        let end = decision.valid_until.expect("an end");
        assert_eq!(end, rules.waivers()[0].expires);
        assert_eq!(rules.judge(&six(), Point::Content, end).verdict, Verdict::Hold);
    }

    #[test]
    fn a_rule_is_skipped_where_its_facts_cannot_be_known() {
        let text =
            "[[rule]]\nid = \"l\"\non_missing = \"deny\"\ndeny_if = { license_in = \"GPL*\" }";
        let rules = rules(text, "");
        assert_eq!(rules.judge(&six(), Point::Listing, NOW).verdict, Verdict::Allow);
        assert_eq!(rules.judge(&six(), Point::Content, NOW).verdict, Verdict::Deny);
        assert!(rules.needs(Ecosystem::PyPi, Fact::Licence));
        assert!(!rules.needs(Ecosystem::PyPi, Fact::Yanked));
    }

    #[test]
    fn what_waits_for_a_fact_waits_no_longer_than_that() {
        let check = |on_missing: &str, more: &str, is_awaited: bool, expected: bool| {
            let text = format!(
                "[[rule]]\nid = \"l\"\non_missing = \"{on_missing}\"\ndeny_if = {{ license_in = \"GPL*\" }}\n{more}"
            );
            let mut facts = six();
            if is_awaited {
                facts.await_all(&[Fact::Licence]);
            }
            let decision = rules(&text, "").judge(&facts, Point::Content, NOW);
            assert_eq!(decision.is_pending(), expected, "{on_missing} {more} {is_awaited}");
            let known = facts.with(Fact::Licence, "MIT");
            let decision = rules(&text, "").judge(&known, Point::Content, NOW);
            assert!(!decision.is_pending(), "{on_missing} {more}");
        };
        check("hold", "", true, true);
        check("hold", "", false, false);
        check("deny", "", true, false);
        check("allow", "", true, false);
        check("hold", COOL_DOWN, true, false);
        let other = COOL_DOWN.replace("hold_if", "warn_if");
        check("hold", &other, true, true);
    }

    #[test]
    fn the_lifecycle_speaks_beside_the_rules() {
        let mut facts = six();
        facts.state = Some((State::Quarantined, NOW));
        let decision = rules(COOL_DOWN, "").judge(&facts, Point::Content, NOW);
        assert_eq!((decision.verdict, decision.by_rules), (Verdict::Deny, Verdict::Hold));
        assert_eq!(decision.decisive().map(|fired| fired.by.id()), Some("policy.quarantined"));
    }

    #[test]
    fn decisions_have_the_same_name_while_they_are_the_same() {
        let one = rules(COOL_DOWN, "");
        let (facts, later) = (six(), NOW.plus(DAY));
        let id = |rules: &Ruleset, facts: &Facts<'_>, now| {
            rules.judge(facts, Point::Content, now).id(rules.epoch(), facts)
        };
        assert_eq!(id(&one, &facts, NOW), id(&one, &facts, later));
        assert_ne!(id(&one, &facts, NOW), id(&one, &facts, NOW.plus(6 * DAY)));
        assert_ne!(id(&one, &facts, NOW), id(&one, &facts.clone().with(Fact::File, "x"), NOW));
        let other = rules(&format!("{COOL_DOWN}\n"), "");
        assert_ne!(id(&one, &facts, NOW), id(&other, &facts, NOW));
    }
}
