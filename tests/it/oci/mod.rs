//! Container registries, from the outside.

mod fake;
