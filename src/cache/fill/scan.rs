//! Looking into a body in the making: it is read in order, as it is hashed, and what it turns out to be decides how much of it readers may see.

use std::sync::Arc;

use crate::cache::fill::release::Hold;
use crate::cache::lookup::Artifact;
use crate::inspect::{Inspection, Report, Rules, Ruling, Standing};

/// A body being looked into.
#[derive(Debug)]
pub(super) struct Scan {
    rules: Arc<Rules>,
    /// What is found is noted, and nothing is held back or refused for it.
    is_excepted: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Reading(Box<Inspection>),
    /// Nothing more is to be found, or enough was.
    Over(Report),
}

impl Scan {
    /// Begins to look into an artifact's body of `total` bytes, where that is known. `None` where nobody looks.
    pub(super) fn begin(
        rules: Option<&Arc<Rules>>,
        artifact: &Artifact,
        total: Option<u64>,
    ) -> Option<Self> {
        let (rules, is_excepted) = (Arc::clone(rules?), artifact.is_excepted);
        let inspection = Inspection::new(&rules, artifact.nature, total)?;
        Some(Self { rules, is_excepted, stage: Stage::Reading(Box::new(inspection)) })
    }

    /// Reads the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let Stage::Reading(inspection) = &mut self.stage else { return };
        if inspection.feed(bytes) != Standing::Looking {
            let report = inspection.so_far();
            self.stage = Stage::Over(report);
        }
    }

    /// What of the body is held back from readers; nothing once it is known to be harmless.
    pub(super) fn hold(&self) -> Option<Hold> {
        if self.is_excepted {
            return None;
        }
        let Stage::Reading(inspection) = &self.stage else {
            return self.refusal().map(|_| Hold { inspected: 0, first: u64::MAX });
        };
        Some(Hold { inspected: inspection.read(), first: self.rules.hold() })
    }

    /// What was found, once nothing more is to be found, or enough was.
    pub(super) const fn report(&self) -> Option<&Report> {
        match &self.stage {
            Stage::Over(report) => Some(report),
            Stage::Reading(_) => None,
        }
    }

    /// What was found, once that is enough to refuse the body, and why.
    pub(super) fn refusal(&self) -> Option<(&Report, String)> {
        let report = self.report()?;
        Some((report, self.against(report)?))
    }

    /// Why a report refuses the body.
    fn against(&self, report: &Report) -> Option<String> {
        match self.rules.ruling(report) {
            Ruling::Refuse(reason) if !self.is_excepted => Some(reason),
            _ => None,
        }
    }

    /// All of it has come: what was found, and why it is refused if it is.
    pub(super) fn end(mut self) -> (Arc<Report>, Option<String>) {
        let over = Stage::Over(Report::default());
        let report = match std::mem::replace(&mut self.stage, over) {
            Stage::Reading(inspection) => inspection.finish(),
            Stage::Over(report) => report,
        };
        let refusal = self.against(&report);
        (Arc::new(report), refusal)
    }
}
