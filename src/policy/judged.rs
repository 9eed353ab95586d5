//! A subject with its judgement: what a client is told, and what is kept of it.

use crate::policy::Verdict;
use crate::policy::fact::{Fact, Facts, Point};
use crate::policy::ruleset::{By, Decision, Effect, Fired, Ruleset};
use crate::types::Timestamp;

/// Below the root of the server, where a decision is explained; its id follows.
pub const WHY: &str = "/-/why/";

/// What was judged, by what, when, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    pub facts: Facts<'static>,
    pub point: Point,
    pub at: Timestamp,
    pub epoch: u64,
    pub decision: Decision,
}

impl Ruleset {
    /// Judges a subject, and keeps it beside the decision.
    pub fn judged(&self, facts: Facts<'_>, point: Point, now: Timestamp) -> Judged {
        let decision = self.judge(&facts, point, now);
        Judged { facts: facts.into_owned(), point, at: now, epoch: self.epoch(), decision }
    }
}

impl Judged {
    /// The decision's name.
    pub fn id(&self) -> String {
        self.decision.id(self.epoch, &self.facts)
    }

    /// The same once inspection has refused what is in the subject, for this reason.
    #[must_use]
    pub fn refused_by_inspection(mut self, reason: &str) -> Self {
        let fired = Fired {
            by: By::Inspection,
            verdict: Verdict::Deny,
            effect: Effect::Enforced,
            reason: reason.to_owned(),
            is_pending: false,
        };
        self.decision.verdict = Verdict::Deny;
        self.decision.fired.insert(0, fired);
        self
    }

    /// What a client is told, if anything: what it is about, who says so, why, and where more is said. `base` is the root of the server as the client
    /// sees it.
    pub fn sentence(&self, base: &str) -> Option<String> {
        let fired = self.decision.decisive()?;
        let subject = self.subject();
        let what = format!("{subject} {}: {}", did(fired), fired.reason);
        Some(format!("{what} ({base}{WHY}{})", self.id()))
    }

    /// What it is about: a file with what it belongs to, or the thing itself.
    pub fn subject(&self) -> String {
        let named = self.facts.named();
        match self.facts.text(Fact::File) {
            Some(file) => format!("{file} of {named}"),
            None => named,
        }
    }

    /// The rules and settings that had something to say, as a short list.
    pub fn voices(&self) -> Vec<String> {
        let voice = |fired: &Fired| match fired.effect {
            Effect::Enforced => format!("{}={}", fired.by.id(), fired.verdict.name()),
            other => format!("{}={} ({})", fired.by.id(), fired.verdict.name(), other.name()),
        };
        self.decision.fired.iter().map(voice).collect()
    }
}

fn did(fired: &Fired) -> String {
    let done = match fired.verdict {
        Verdict::Allow => "is allowed",
        Verdict::Warn => "is given with a warning",
        Verdict::Hide => "is hidden",
        Verdict::Hold => "is held back",
        Verdict::Deny => "is refused",
    };
    format!("{done} by rule {}", fired.by.id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Config, Ecosystem, State};

    #[test]
    fn a_sentence_says_what_who_why_and_where() {
        let mut facts = Facts::of(Ecosystem::PyPi, "six").with(Fact::Version, "1.0");
        facts.state = Some((State::Quarantined, Timestamp(0)));
        let rules = Ruleset::of_lifecycle(Config::default());
        let judged = rules.judged(facts.clone(), Point::Content, Timestamp(1));
        let said = judged.sentence("http://larder.example").expect("a sentence");
        let start = "pypi:six==1.0 is refused by rule policy.quarantined: its project is";
        assert!(said.starts_with(start), "{said}");
        let end = format!(" (http://larder.example/-/why/{})", judged.id());
        assert!(said.ends_with(&end), "{said}");
        facts.state = None;
        assert_eq!(rules.judged(facts, Point::Content, Timestamp(1)).sentence(""), None);
    }
}
