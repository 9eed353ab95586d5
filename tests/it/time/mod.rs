//! Going back in time: one date for the hub, the index and the registry.

mod clients;
mod history;
mod identity;
mod snapshots;
mod story;
