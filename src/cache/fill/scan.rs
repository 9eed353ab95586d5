//! Looking into a body in the making: it is read in order, as it is hashed, and what it turns out to be decides how much of it readers may see.

use std::sync::Arc;

use crate::cache::fill::release::Hold;
use crate::inspect::{Inspection, Nature, Report, Rules, Ruling, Standing};

/// A body being looked into.
#[derive(Debug)]
pub(super) struct Scan {
    rules: Arc<Rules>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Reading(Box<Inspection>),
    /// Nothing more is to be found, or enough was.
    Over(Report),
}

impl Scan {
    /// Begins to look into a body of `total` bytes, where that is known. `None` where nobody looks.
    pub(super) fn begin(
        rules: Option<&Arc<Rules>>,
        nature: Nature,
        total: Option<u64>,
    ) -> Option<Self> {
        let rules = rules?;
        let inspection = Inspection::new(rules, nature, total)?;
        Some(Self { rules: Arc::clone(rules), stage: Stage::Reading(Box::new(inspection)) })
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
        let Stage::Reading(inspection) = &self.stage else {
            return self.refusal().map(|_| Hold { inspected: 0, first: u64::MAX });
        };
        Some(Hold { inspected: inspection.read(), first: self.rules.hold() })
    }

    /// What was found, once that is enough to refuse the body, and why.
    pub(super) fn refusal(&self) -> Option<(&Report, String)> {
        let Stage::Over(report) = &self.stage else { return None };
        match self.rules.ruling(report) {
            Ruling::Refuse(reason) => Some((report, reason)),
            Ruling::Pass | Ruling::Warn(_) => None,
        }
    }

    /// All of it has come: what was found, and why it is refused if it is.
    pub(super) fn end(self) -> (Arc<Report>, Option<String>) {
        let report = match self.stage {
            Stage::Reading(inspection) => inspection.finish(),
            Stage::Over(report) => report,
        };
        let refusal = match self.rules.ruling(&report) {
            Ruling::Refuse(reason) => Some(reason),
            Ruling::Pass | Ruling::Warn(_) => None,
        };
        (Arc::new(report), refusal)
    }
}
