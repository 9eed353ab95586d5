//! What became of things: the ledger of what happened, and who pulled what.
//!
//! - [`ledger`]: an append-only log whose every state is signed; [`merkle`], [`note`] and [`record`] are its forms, pure
//!
//! Left out: what happened, which adapters and `proxy` say (`types::event`).

pub mod ledger;
pub mod merkle;
pub mod note;
pub mod record;
