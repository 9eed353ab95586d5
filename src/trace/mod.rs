//! What became of things: the ledger of what happened, and who pulled what.
//!
//! - [`ledger`]: an append-only log whose every state is signed; [`merkle`], [`note`] and [`record`] are its forms, pure
//!
//! Left out: what happened, which adapters and `proxy` say (`types::event`).

use serde::{Deserialize, Serialize};

pub mod ledger;
pub mod merkle;
pub mod note;
pub mod record;

/// Settings of what is recorded, `[trace]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Events that may wait for the disk; further ones are lost, and recorded as lost.
    pub queue: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { queue: 4096 }
    }
}
