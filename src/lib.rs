//! Larder.

pub mod cache;
pub mod clock;
pub mod ecosystem;
pub mod policy;
pub mod semantics;
pub mod server;
pub mod store;
pub mod types;
pub mod upstream;
