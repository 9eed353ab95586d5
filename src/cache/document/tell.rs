//! Telling of what has happened to a document.

use crate::cache::document::Loaded;
use crate::cache::document::refresh::Refresh;
use crate::types::event::Kind;
use crate::types::{Presence, What};

impl Refresh {
    /// Tells of what has happened, and waits until that is durable: whatever stops us between the two, what is written down of the document later
    /// was told of; at worst it is told of twice. What one client's own credential opens is not the world's: nothing is told of it.
    pub(super) async fn tell(&self, loaded: &Loaded, changes: Vec<What>) {
        let key = &self.document.lookup.key;
        if key.is_credentials() || loaded.entry.body.is_empty() {
            return;
        }
        let mut all: Vec<What> = self.change_of_presence(loaded).into_iter().collect();
        all.extend(changes);
        if !all.is_empty() {
            let now = self.parts.clock.now();
            let events = all.into_iter().map(|what| what.at(now, key.space())).collect();
            self.parts.witness.witness(events).await;
        }
    }

    /// That a document with a name has come, gone, or come back.
    fn change_of_presence(&self, loaded: &Loaded) -> Option<What> {
        let before = self.previous.as_ref().map(|loaded| loaded.entry.presence);
        let (kind, status) = match (before, loaded.entry.presence) {
            (None, _) => (Kind::Appeared, None),
            (Some(Presence::Gone { .. }), Presence::Present) => (Kind::Returned, None),
            (Some(Presence::Withdrawn { .. }), Presence::Present) => (Kind::Reopened, None),
            (
                Some(Presence::Present | Presence::Withdrawn { .. }),
                Presence::Gone { status, .. },
            ) => (Kind::Vanished, Some(status)),
            (Some(Presence::Present), Presence::Withdrawn { status, .. }) => {
                (Kind::Withdrawn, Some(status))
            }
            _ => return None,
        };
        let what = What::new(kind, self.document.keep.subject()?);
        Some(match status {
            Some(status) => what.detail(format!("upstream answered {status}")),
            None => what,
        })
    }
}
