//! Statements of in-toto: what somebody says of things that are named by their digests. Pure.

use serde::Deserialize;
use serde_json::value::RawValue;

/// What statements call themselves.
pub(super) const V1: &str = "https://in-toto.io/Statement/v1";
/// What they called themselves before.
pub(super) const V0_1: &str = "https://in-toto.io/Statement/v0.1";

#[derive(Deserialize)]
pub(super) struct Statement<'a> {
    #[serde(rename = "_type")]
    pub(super) kind: String,
    pub(super) subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    pub(super) predicate_type: String,
    /// What is said of the subjects, as it stands.
    #[serde(borrow)]
    pub(super) predicate: Option<&'a RawValue>,
}

/// A thing that a statement is about.
#[derive(Deserialize)]
pub(super) struct Subject {
    /// Empty where it has none but its digest.
    #[serde(default)]
    pub(super) name: String,
    pub(super) digest: Digests,
}

#[derive(Deserialize)]
pub(super) struct Digests {
    /// In hexadecimal digits; empty where it is named by others.
    #[serde(default)]
    pub(super) sha256: String,
}

impl<'a> Statement<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

impl Subject {
    /// Whether it is what has this SHA-256.
    pub(super) fn has(&self, sha256: &str) -> bool {
        !sha256.is_empty() && self.digest.sha256.eq_ignore_ascii_case(sha256)
    }
}
