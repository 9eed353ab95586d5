//! What can be seen from outside: the log and the metrics. Started once, by `main`.
//!
//! Modules write through `tracing` and `metrics` alone and import nothing from here. Left out: serving the metrics (`admin`) and writing
//! access lines (`server`, under the target `larder::access`).

use std::fs;
use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};

use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// Settings of the log, `[log]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub format: Format,
    pub filter: Filter,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// What is logged: a level, or `target=level` directives with commas between. Known to be readable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Filter(String);

impl Default for Filter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl TryFrom<String> for Filter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match EnvFilter::try_new(&text) {
            Ok(_) => Ok(Self(text)),
            Err(_) => Err(format!(
                "found {text:?}, expected a level such as \"info\" or directives such as \"warn,larder::access=info\""
            )),
        }
    }
}

/// Why the log or the metrics could not be started; both happen only when something else in the process was first.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("the log cannot be started")]
    Log(#[from] TryInitError),
    #[error("the metrics cannot be started")]
    Metrics(#[from] BuildError),
}

/// Starts the log, to standard error, and the metrics.
pub fn start(config: &Config) -> Result<(), TelemetryError> {
    Metrics::of_process()?;
    let filter = EnvFilter::try_new(&config.filter.0).unwrap_or_default();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match config.format {
        Format::Text => lines.finish().try_init()?,
        Format::Json => lines.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}

/// What has been counted so far in this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics(PrometheusHandle);

/// The `metrics` crate counts for a whole process, so there is one.
static OF_PROCESS: Mutex<Option<Metrics>> = Mutex::new(None);

impl Metrics {
    /// The metrics of this process. The first call starts the counting, so it comes before any component makes its handles.
    pub fn of_process() -> Result<Self, TelemetryError> {
        let mut of_process = OF_PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(metrics) = &*of_process {
            return Ok(metrics.clone());
        }
        let metrics = Self(builder()?.install_recorder()?);
        describe();
        Ok(of_process.insert(metrics).clone())
    }

    /// All metrics in Prometheus' text format, the process's own read just now.
    pub fn scrape(&self) -> String {
        note_process();
        self.0.render()
    }

    /// Folds raw samples of histograms together. Unless this or [`Metrics::scrape`] is called now and then (every few seconds under
    /// load), they pile up.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

const RESIDENT_BYTES: &str = "larder_process_resident_bytes";
const OPEN_FILES: &str = "larder_process_open_files";

/// Buckets of all histograms, which measure seconds: from a read in the page cache to a slow upstream.
const BUCKETS_SECS: &[f64] =
    &[0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0];

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new().set_buckets(BUCKETS_SECS)
}

/// Reads what the kernel says of this process. What it does not say is left as it was.
fn note_process() {
    let resident = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident_bytes);
    if let Some(bytes) = resident {
        gauge!(RESIDENT_BYTES).set(bytes as f64);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        gauge!(OPEN_FILES).set(files.count() as f64);
    }
}

/// The resident set in the text of `/proc/PID/status`, which gives it in KiB.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Each module describes what it counts; this is what nobody but the process itself can.
fn describe() {
    describe_gauge!(RESIDENT_BYTES, "Memory of the process that is resident.");
    describe_gauge!(OPEN_FILES, "File descriptors that the process holds.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_set_is_read_from_the_kernels_words() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(resident_bytes(text), expected);
        check("Name:\tx\nVmRSS:\t   5 kB\nThreads:\t1\n", Some(5120));
        check("Name:\tx\n", None);
        check("VmRSS:\tmuch\n", None);
    }

    #[test]
    fn a_scrape_tells_of_the_process() {
        let recorder = builder().expect("the buckets are not empty").build_recorder();
        let metrics = Metrics(recorder.handle());
        let shown = metrics::with_local_recorder(&recorder, || {
            describe();
            metrics.scrape()
        });
        assert!(shown.contains("# TYPE larder_process_resident_bytes gauge"), "{shown}");
        assert!(shown.contains("# HELP larder_process_open_files "), "{shown}");
    }

    #[test]
    fn filters_are_checked_when_they_are_read() {
        for text in ["info", "warn,larder::access=info", "off"] {
            assert!(Filter::try_from(text.to_owned()).is_ok(), "{text}");
        }
        for text in ["larder=loud", "=,="] {
            assert!(Filter::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
