//! Reads the heads of a registry's answers: what they say of the thing, and of what we may still ask.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::cache::lookup::{Accepted, Admission, Admit, Answer};
use crate::ecosystem::oci::registry::{Reader, Registry};
use crate::types::Head;

/// Admits documents that are what they are by their body alone.
#[derive(Debug)]
pub struct AdmitDocument {
    registry: Arc<Registry>,
    fresh_for: Duration,
}

impl AdmitDocument {
    /// Trusted for `fresh_for`, but never longer than the reader's right to it.
    pub fn of(registry: &Arc<Registry>, reader: &Reader, fresh_for: Duration) -> Arc<Self> {
        let fresh_for = fresh_for.min(reader.trust());
        Arc::new(Self { registry: Arc::clone(registry), fresh_for })
    }
}

impl Admit for AdmitDocument {
    fn admit(&self, _: usize, answer: &Answer<'_>) -> Admission {
        self.registry.budget.note(answer.head, answer.now);
        match verdict(answer.head) {
            Ok(()) => {
                Admission::Accept(Accepted { fresh_for: self.fresh_for, ..Accepted::default() })
            }
            Err(admission) => admission,
        }
    }
}

/// What a status says of something that was asked for.
pub fn verdict(head: &Head) -> Result<(), Admission> {
    match head.status {
        StatusCode::OK => Ok(()),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(Admission::Absent),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Admission::Refused),
        other => Err(Admission::Fail { reason: format!("upstream answered {other}") }),
    }
}
