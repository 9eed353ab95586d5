//! What can be seen from outside: the log and the metrics. Set up once, by `main`.
//!
//! Modules write through `tracing` and `metrics` alone; nothing here is imported by them. Left out: serving the metrics (`admin`) and writing
//! access lines (`server`, under the target `larder::access`).

use std::io;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// Settings of the log, `[log]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub format: Format,
    /// What is logged: a level, or `target=level` directives parted by commas.
    pub filter: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self { format: Format::Text, filter: "info".to_owned() }
    }
}
