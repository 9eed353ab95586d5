//! Reads the heads of a registry's answers: what they say of the thing, and of what we may still ask.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::cache::lookup::{Accepted, Admission, Admit, Answer};
use crate::ecosystem::oci::registry::Registry;
use crate::ecosystem::oci::scope::Scope;
use crate::types::Head;

/// Admits documents that are what they are by their body alone.
#[derive(Debug)]
pub struct AdmitDocument {
    registry: Arc<Registry>,
    fresh_for: Duration,
}

impl AdmitDocument {
    /// Trusted for `fresh_for`, but never longer than the reader's right to it.
    pub fn of(scope: &Scope, fresh_for: Duration) -> Arc<Self> {
        let fresh_for = fresh_for.min(scope.reader.trust());
        Arc::new(Self { registry: Arc::clone(&scope.registry), fresh_for })
    }
}

impl Admit for AdmitDocument {
    fn admit(&self, _: usize, answer: &Answer<'_>) -> Admission {
        self.registry.budget.note(answer.head, answer.now);
        admission(answer.head, self.fresh_for)
    }
}

/// What a status says of something that was asked for; what is accepted counts as new for `fresh_for`.
pub fn admission(head: &Head, fresh_for: Duration) -> Admission {
    match head.status {
        StatusCode::OK => Admission::Accept(Accepted { fresh_for, ..Accepted::default() }),
        StatusCode::NOT_FOUND | StatusCode::GONE => Admission::Absent,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Admission::Refused,
        other => Admission::Fail { reason: format!("upstream answered {other}") },
    }
}
