//! The model hub: that the fake is one, and what clients get of it through Larder.

mod adapter;
pub mod clients;
mod fake;
mod import;
pub mod inspected;
mod inspected_clients;
mod matrix;
mod passports;
mod process;
mod recorded;
mod replays_crowd;
mod replays_faults;
mod replays_kinds;
mod replays_privacy;
mod replays_rights;
mod replays_vast;
mod sparse;
pub mod stock;
mod xet;
