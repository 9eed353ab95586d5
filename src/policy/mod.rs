//! What may pass, and why: facts and time in, a verdict out. Pure.

pub mod lifecycle;

pub use lifecycle::{Config, Facts, Judgement, Rule, State};

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
    /// Left out of listings; still given to who asks by its exact address.
    Hide,
    /// Left out of listings and refused by address until somebody releases it or its time has come.
    Hold,
    /// Refused.
    Deny,
}
