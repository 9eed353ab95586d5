//! Upstream's last word on something that is kept.

use serde::{Deserialize, Serialize};

use crate::types::Timestamp;

/// Whether upstream still has, or still gives, a kept thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Presence {
    Present,
    /// 404 or 410 since then.
    Gone {
        status: u16,
        since: Timestamp,
    },
    /// 401 or 403 since then, though it was public when it was kept.
    Withdrawn {
        status: u16,
        since: Timestamp,
    },
}
