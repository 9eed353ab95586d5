//! What may pass, and why: facts and time in, a verdict out. Pure.
//!
//! A subject's [`Facts`] are judged by a [`Ruleset`]: the [`Rule`](rule::Rule)s of a policy [`file`], the [`lifecycle`]'s settings and the [`waiver`]s. It comes to a
//! [`Decision`], which knows who spoke, why, and until when it stands. [`when`] is for conditions that the typed keys cannot say; [`check`] finds what is odd about
//! a policy, [`fixture`] tries it on cases. Left out: where facts come from (the adapters), reading files and keeping records (`rulings`).

pub mod check;
pub mod fact;
pub mod file;
pub mod fixture;
pub mod judged;
pub mod licence;
pub mod lifecycle;
pub mod pattern;
pub(crate) mod read;
pub mod rule;
pub mod ruleset;
pub mod waiver;
pub mod when;
pub mod words;

pub use fact::{Ecosystem, Fact, Facts, Point};
pub use judged::Judged;
pub use lifecycle::{Config, Judgement, State};
pub use read::Fault;
pub use ruleset::{Decision, INSPECTION, Ruleset};

/// What a rule says of a subject, from the mildest to the strictest; several rules answer with the strictest.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    #[default]
    Allow,
    /// Passes, with a visible mark.
    Warn,
    /// Left out of listings, or marked there as withdrawn where clients have a form for that; still given to who asks by its exact address.
    Hide,
    /// Refused, and treated as hidden in listings, until somebody releases it or its time has come.
    Hold,
    /// Refused.
    Deny,
}

impl Verdict {
    /// Whether the thing itself is given.
    pub const fn passes(self) -> bool {
        matches!(self, Self::Allow | Self::Warn | Self::Hide)
    }

    /// As policy files write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Warn => "warn",
            Self::Hide => "hide",
            Self::Hold => "hold",
            Self::Deny => "deny",
        }
    }
}
