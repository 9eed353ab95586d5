//! Something that happened to what is kept, or that was decided about it, as a plain value: what the ledger records.
//!
//! Adapters see what changed upstream while they merge it, and say so in these words; `proxy` and Larder's own operations tell of their decisions in the
//! same ones. Left out: where events go (`cache::witness`) and how they are written down (`trace::ledger`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::types::Timestamp;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub at: Timestamp,
    /// Where it happened: the space of the keys of what it happened to, or the part of Larder that decided.
    pub mount: String,
    #[serde(flatten)]
    pub what: What,
}

/// What happened. An adapter says it while it merges; when and where it happened the cache knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct What {
    pub kind: Kind,
    /// What it happened to, as the command line names things: `hf:org/model@main`, `pypi:six==1.17.0`, `oci:hub.example/alpine:3`.
    pub subject: String,
    /// What was true before, where that says something: the commit, the digest, the state.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub before: Option<String>,
    /// What is true now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after: Option<String>,
    /// What else there is to know, in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
}

/// What kinds of events there are. Their names are part of the ledger's format: a kind may be added, and none may change its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Upstream has something that Larder had not seen before: a project, a release, a repository, a branch, a tag.
    Appeared,
    /// A name stands for something else now, as names of that kind may: a branch, a tag.
    Moved,
    /// A name that should never change stands for other bytes.
    Mutated,
    /// Upstream no longer has it.
    Vanished,
    /// Upstream has it again.
    Returned,
    /// Upstream advises against it (PEP 592).
    Yanked,
    /// Upstream took that back.
    Unyanked,
    /// Upstream holds it back, for it may do harm (PEP 792).
    Quarantined,
    /// Upstream says something else of its state: archived, deprecated, active again (PEP 792).
    StatusChanged,
    /// Upstream gave it to everybody and does so no longer: it is private now, gated, closed, or refused.
    Withdrawn,
    /// Upstream gives it to everybody again.
    Reopened,
    /// Upstream leads to it under another name.
    Renamed,
    /// Another thing has taken its name: the namespace was registered anew.
    IdentityChanged,
    /// Its licence is another one.
    LicenceChanged,
    /// It was served for the first time.
    FirstServed,
    /// It was refused to a client, by a rule or for want of a right.
    Refused,
    /// What was kept of it was removed by hand.
    Removed,
    /// It was protected from eviction.
    Pinned,
    /// Its protection was ended.
    Unpinned,
    /// What nothing leads to any more, and what is beyond the budget, was cleared away by hand.
    Collected,
    /// Its bytes on the disk were found wrong, and are set aside.
    Damaged,
    /// What was damaged is kept again: fetched anew, or asked for by a client meanwhile.
    Healed,
    /// Events before this one were lost: how many, and why.
    Gap,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::Appeared,
        Self::Moved,
        Self::Mutated,
        Self::Vanished,
        Self::Returned,
        Self::Yanked,
        Self::Unyanked,
        Self::Quarantined,
        Self::StatusChanged,
        Self::Withdrawn,
        Self::Reopened,
        Self::Renamed,
        Self::IdentityChanged,
        Self::LicenceChanged,
        Self::FirstServed,
        Self::Refused,
        Self::Removed,
        Self::Pinned,
        Self::Unpinned,
        Self::Collected,
        Self::Damaged,
        Self::Healed,
        Self::Gap,
    ];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Appeared => "appeared",
            Self::Moved => "moved",
            Self::Mutated => "mutated",
            Self::Vanished => "vanished",
            Self::Returned => "returned",
            Self::Yanked => "yanked",
            Self::Unyanked => "unyanked",
            Self::Quarantined => "quarantined",
            Self::StatusChanged => "status-changed",
            Self::Withdrawn => "withdrawn",
            Self::Reopened => "reopened",
            Self::Renamed => "renamed",
            Self::IdentityChanged => "identity-changed",
            Self::LicenceChanged => "licence-changed",
            Self::FirstServed => "first-served",
            Self::Refused => "refused",
            Self::Removed => "removed",
            Self::Pinned => "pinned",
            Self::Unpinned => "unpinned",
            Self::Collected => "collected",
            Self::Damaged => "damaged",
            Self::Healed => "healed",
            Self::Gap => "gap",
        }
    }

    /// Whether somebody should look at it: what should never happen, and what may be an attack.
    pub const fn is_alarming(self) -> bool {
        matches!(
            self,
            Self::Mutated | Self::Quarantined | Self::IdentityChanged | Self::Damaged | Self::Gap
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Not the name of a kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there are no events of the kind {name:?}; there are {}", Kind::ALL.map(Kind::name).join(", "))]
pub struct UnknownKind {
    name: String,
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        let kind = Self::ALL.into_iter().find(|kind| kind.name() == name);
        kind.ok_or_else(|| UnknownKind { name: name.to_owned() })
    }
}

impl What {
    pub fn new(kind: Kind, subject: impl Into<String>) -> Self {
        Self { kind, subject: subject.into(), before: None, after: None, detail: None }
    }

    /// What was true before.
    #[must_use]
    pub fn before(mut self, before: impl Into<String>) -> Self {
        self.before = Some(before.into());
        self
    }

    /// What is true now.
    #[must_use]
    pub fn after(mut self, after: impl Into<String>) -> Self {
        self.after = Some(after.into());
        self
    }

    /// What else there is to know.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// As an event.
    pub fn at(self, at: Timestamp, mount: &str) -> Event {
        Event { at, mount: mount.to_owned(), what: self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_as_they_are_written() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            let json = serde_json::to_string(&kind).expect("a name");
            assert_eq!(json, format!("\"{kind}\""));
        }
        let error = "moving".parse::<Kind>().expect_err("no kind");
        assert!(error.to_string().contains("\"moving\"; there are appeared, moved"), "{error}");
    }

    #[test]
    fn what_is_not_known_is_not_written() {
        let what = What::new(Kind::Moved, "hf:org/m@main").before("a").after("b");
        let event = what.at(Timestamp(7), "hub");
        let json = serde_json::to_string(&event).expect("plain values");
        assert_eq!(
            json,
            r#"{"at":7,"mount":"hub","kind":"moved","subject":"hf:org/m@main","before":"a","after":"b"}"#
        );
        assert_eq!(serde_json::from_str::<Event>(&json).expect("it reads"), event);
    }
}
