//! What was done by hand is told, as what happens upstream is.

use crate::keep::Keeper;
use crate::types::event::Kind;
use crate::types::{Event, What};

/// As where it happened.
const MOUNT: &str = "larder";

/// Things of which one command tells one by one.
const MOST_NAMES: usize = 1000;

impl Keeper {
    /// Tells that something was done to things, and waits until that is durable. `by`: the name of whoever asked for it.
    pub(super) async fn tell(&self, kind: Kind, names: &[String], by: Option<&str>, what: &str) {
        let now = self.0.clock.now();
        let by = by.map(|by| format!("by {by}"));
        let detail = |what: &str| {
            let said: Vec<&str> = [by.as_deref().unwrap_or_default(), what]
                .into_iter()
                .filter(|one| !one.is_empty())
                .collect();
            (!said.is_empty()).then(|| said.join(", "))
        };
        let event =
            |name: &String| What { detail: detail(what), ..What::new(kind, name) }.at(now, MOUNT);
        let mut events: Vec<Event> = names.iter().take(MOST_NAMES).map(event).collect();
        if let Some(more) = names.len().checked_sub(MOST_NAMES).filter(|more| *more > 0) {
            let told = format!("and {more} more things at once");
            let rest = What { detail: detail(&told), ..What::new(kind, "larder:by-hand") };
            events.push(rest.at(now, MOUNT));
        }
        if !events.is_empty() {
            self.0.witness.witness(events).await;
        }
    }
}
