//! What came of asking again for what was lost.

use serde::{Deserialize, Serialize};

/// Most things that are told one by one.
const MOST_TOLD: usize = 10_000;

/// What came of a round.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Kept again with the bytes that were lost.
    pub healed: u64,
    /// Kept again, with other bytes: what upstream has now.
    pub replaced: u64,
    /// Not had.
    pub failed: u64,
    /// Each of them, as far as there are not too many.
    pub tried: Vec<Tried>,
}

/// One thing that was lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// What people call it: `hf:org/model@main/config.json`.
    pub name: String,
    /// The SHA-256 of the bytes that were lost.
    pub blob: Option<String>,
    pub bytes: u64,
    /// What was wrong with it: `digest`, `length`, `missing`, `unreadable`, `record`.
    pub damage: String,
    /// How often it was asked for so far.
    pub tries: u32,
    pub outcome: Outcome,
    /// Why it was not had.
    pub reason: Option<String>,
}

/// How something lost fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Healed,
    Replaced,
    Failed,
}

impl Outcome {
    /// As interfaces write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healed => "healed",
            Self::Replaced => "replaced",
            Self::Failed => "failed",
        }
    }

    /// As people say it.
    pub const fn said(self) -> &'static str {
        match self {
            Self::Healed => "the same bytes are kept again",
            Self::Replaced => "what upstream has now is kept in its place",
            Self::Failed => "not had",
        }
    }
}

impl Report {
    pub(super) fn add(&mut self, tried: Tried) {
        match tried.outcome {
            Outcome::Healed => self.healed += 1,
            Outcome::Replaced => self.replaced += 1,
            Outcome::Failed => self.failed += 1,
        }
        if self.tried.len() < MOST_TOLD {
            self.tried.push(tried);
        }
    }

    /// How many are kept again.
    pub const fn had(&self) -> u64 {
        self.healed + self.replaced
    }

    /// What two rounds come to, the second of which asked again for all that the first had not had.
    #[must_use]
    pub(super) fn followed_by(mut self, mut next: Self) -> Self {
        self.tried.retain(|tried| tried.outcome != Outcome::Failed);
        self.tried.append(&mut next.tried);
        self.tried.truncate(MOST_TOLD);
        Self {
            healed: self.healed + next.healed,
            replaced: self.replaced + next.replaced,
            failed: next.failed,
            tried: self.tried,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(name: &str, outcome: Outcome) -> Tried {
        Tried {
            name: name.to_owned(),
            blob: None,
            bytes: 1,
            damage: "digest".to_owned(),
            tries: 1,
            outcome,
            reason: None,
        }
    }

    #[test]
    fn what_a_second_round_had_counts_as_had() {
        let (mut first, mut second) = (Report::default(), Report::default());
        for (name, outcome) in
            [("a", Outcome::Healed), ("b", Outcome::Failed), ("c", Outcome::Failed)]
        {
            first.add(tried(name, outcome));
        }
        for (name, outcome) in [("b", Outcome::Replaced), ("c", Outcome::Failed)] {
            second.add(tried(name, outcome));
        }
        let both = first.followed_by(second);
        assert_eq!((both.healed, both.replaced, both.failed, both.had()), (1, 1, 1, 2));
        let names: Vec<&str> = both.tried.iter().map(|tried| tried.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }
}
