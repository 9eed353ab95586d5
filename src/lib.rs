//! Larder.

pub mod admin;
pub mod app;
pub mod banner;
pub mod cache;
pub mod clock;
pub mod config;
pub mod ecosystem;
pub mod policy;
pub mod proxy;
pub mod semantics;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod types;
pub mod upstream;
