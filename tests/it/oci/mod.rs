//! Container registries, from the outside.

mod adapter;
mod fake;
