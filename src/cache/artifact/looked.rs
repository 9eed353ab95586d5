//! What is in an artifact, found out before anybody is given any of it: for rules that look at that.
//!
//! Left out: what rules make of it, and whether it may pass by the rules of inspection, which is settled when it is asked for.

use std::sync::Arc;

use crate::cache::artifact::{MOST_ROUNDS, is_kept};
use crate::cache::failure::Failure;
use crate::cache::fill::{self, Place};
use crate::cache::lookup::{Artifact, Summary};
use crate::cache::verdicts::Effort;
use crate::cache::{Cache, Parts};
use crate::inspect::Report;

impl Cache {
    /// What was found in an artifact. One that is not kept is fetched as if it were asked for, once for all; that goes on when the caller leaves. `None`: nobody
    /// looks into such, or it cannot be had just now, which whoever asks for it hears more of.
    ///
    /// # Errors
    ///
    /// [`Failure::Unjudged`] when that takes longer than a client should wait.
    pub async fn inspected(&self, artifact: &Artifact) -> Result<Option<Summary>, Failure> {
        let Some(rules) = self.parts.verdicts.rules(artifact.nature) else { return Ok(None) };
        let found = tokio::time::timeout(rules.wait(), self.parts.inspected(artifact)).await;
        let found = found.map_err(|_| Failure::Unjudged)?;
        Ok(found.map(|report| rules.summary(&report)))
    }
}

impl Parts {
    async fn inspected(self: &Arc<Self>, artifact: &Artifact) -> Option<Arc<Report>> {
        let key = &artifact.lookup.key;
        for _ in 0..MOST_ROUNDS {
            if let Some(report) = self.known_of(artifact) {
                return Some(report);
            }
            if is_kept(self, artifact)
                && let Some(kept) = self.at_rest(key)
            {
                return self.found_in(artifact.nature, kept).await;
            }
            if self.adopt(artifact, Effort::Look).await.is_some() {
                continue;
            }
            let reader = match artifact.lookup.origins.is_empty() {
                true => self.fills.find(key)?,
                false => match self.fills.join(key, artifact.is_excepted) {
                    Place::Joined(reader) => reader,
                    Place::First(reader, registration) => {
                        fill::start(self, artifact.clone(), registration);
                        reader
                    }
                },
            };
            if let Some(report) = reader.found().await {
                return Some(report);
            }
            // It ended without a body, or what it was for had been kept just before.
            if !is_kept(self, artifact) {
                return self.known_of(artifact);
            }
        }
        None
    }
}
