//! Transfers under way, by the names of what they bring.

use serde::{Deserialize, Serialize};

use crate::cache::fill::Transfer;
use crate::keep::Keeper;

/// A transfer from upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// Names it until it ends.
    pub id: u64,
    /// What it brings, where its key tells that to a person.
    pub name: Option<String>,
    /// The address that is asked, without credentials and signatures.
    pub from: String,
    /// Bytes that are here, and how many of them were before it began.
    pub bytes: u64,
    pub resumed_bytes: u64,
    pub total_bytes: Option<u64>,
    /// On average since it began.
    pub bytes_per_second: u64,
    pub readers: u64,
    pub running_ms: u64,
    /// `waiting` for its turn or for upstream's answer, or `running`.
    pub state: String,
}

/// The transfers under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fills {
    pub fills: Vec<Fill>,
}

impl Keeper {
    /// The transfers under way, the oldest first.
    pub fn fills(&self) -> Fills {
        let fill = |transfer: Transfer| {
            let running_ms = u64::try_from(transfer.running.as_millis()).unwrap_or(u64::MAX);
            let brought = u128::from(transfer.arrived.saturating_sub(transfer.resumed));
            let rate = brought * 1000 / u128::from(running_ms.max(1));
            let mut words = self.0.words.iter();
            let words = words.find(|words| words.space() == transfer.key.space());
            let name = words.and_then(|words| words.name_of(&transfer.key));
            Fill {
                id: transfer.number,
                name: name.map(|name| name.to_string()),
                from: transfer.from,
                bytes: transfer.arrived,
                resumed_bytes: transfer.resumed,
                total_bytes: transfer.total,
                bytes_per_second: u64::try_from(rate).unwrap_or(u64::MAX),
                readers: transfer.readers as u64,
                running_ms,
                state: if transfer.is_open { "running" } else { "waiting" }.to_owned(),
            }
        };
        Fills { fills: self.0.cache.transfers().into_iter().map(fill).collect() }
    }

    /// Ends a transfer; false when none has this number. Its readers are cut off, and what it brought is kept for the next one.
    pub fn cancel(&self, id: u64) -> bool {
        let is_cancelled = self.0.cache.cancel(id);
        if is_cancelled {
            tracing::info!(fill.id = id, "a transfer was ended by hand");
        }
        is_cancelled
    }
}
