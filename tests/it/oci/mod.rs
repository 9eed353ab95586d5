//! Container registries, from the outside.

mod adapter;
mod bad_input;
mod clients;
mod complete;
mod exchange;
mod fake;
mod leaks;
mod once;
mod pull;
mod replay;
pub mod setting;
mod states;
mod tags;
mod tokens;
