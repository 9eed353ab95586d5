//! What upstream does not have, or no longer gives: what is kept stays, and says so.

use std::sync::Arc;

use http::StatusCode;

use crate::cache::document::Loaded;
use crate::cache::document::refresh::{Draft, Now, Refresh, stored};
use crate::cache::failure::Failure;
use crate::cache::lookup::{Kept, Stale};
use crate::store::Entry;
use crate::types::{BlobId, Head, Presence, Timestamp};

impl Refresh {
    /// Every origin says that it does not exist: recorded on what is kept, remembered for a while where nothing is.
    pub(super) fn absent(&self, now: Timestamp) -> Result<Now, Failure> {
        let absent_for = self.parts.config.absent_for;
        if let Some(kept) = self.document.keep.nothing(now).filter(|kept| self.says_no_more(kept)) {
            let (head, presence) = (Head::new(StatusCode::OK), Presence::Present);
            return Ok(self.draft(Draft { kept, head, presence, fresh_for: absent_for }, now));
        }
        let Some(previous) = &self.previous else {
            let until = now.plus(absent_for);
            self.parts.documents.absent.insert(self.document.lookup.key.clone(), until);
            return Err(Failure::Absent);
        };
        let status = self.status.unwrap_or(StatusCode::NOT_FOUND.as_u16());
        let since = match previous.entry.presence {
            Presence::Gone { since, .. } => since,
            Presence::Present | Presence::Withdrawn { .. } => now,
        };
        let presence = Presence::Gone { status, since };
        match self.document.keep.absent(&previous.parsed, now) {
            Some(kept) => Ok(self.draft(
                Draft { kept, head: previous.entry.head.clone(), presence, fresh_for: absent_for },
                now,
            )),
            None => Ok(Now::renewed(self.marked(previous, presence, now))),
        }
    }

    /// Whether nothing is kept that says more than that there is nothing.
    fn says_no_more(&self, nothing: &Kept) -> bool {
        let body = stored(BlobId::of(&nothing.bytes), &nothing.bytes);
        self.previous.as_ref().is_none_or(|previous| previous.entry.body == body)
    }

    /// Upstream refuses what it gave before. Where stale answers are allowed, what is kept is served on and marked.
    pub(super) fn refused(&self, status: u16, now: Timestamp) -> Result<Now, Failure> {
        let allowed = self.document.lookup.stale == Stale::Always;
        match &self.previous {
            Some(previous) if allowed => {
                let since = match previous.entry.presence {
                    Presence::Withdrawn { since, .. } => since,
                    Presence::Present | Presence::Gone { .. } => now,
                };
                let presence = Presence::Withdrawn { status, since };
                Ok(Now::renewed(self.marked(previous, presence, now)))
            }
            _ => Err(Failure::Refused { status }),
        }
    }

    /// The same document with another presence, asked for again after the time that absences are believed.
    fn marked(&self, previous: &Loaded, presence: Presence, now: Timestamp) -> Arc<Loaded> {
        let mut entry = Entry::clone(&previous.entry);
        if entry.presence != presence {
            tracing::warn!(
                cache.key = %self.document.lookup.key, presence = ?presence,
                "upstream no longer gives what it gave before; what is kept is served on"
            );
        }
        entry.presence = presence;
        entry.fresh_until = now.plus(self.parts.config.absent_for);
        Arc::new(previous.with_entry(entry))
    }
}
