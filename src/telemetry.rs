//! What can be seen from outside: the log and the metrics. Started once, by `main`.
//!
//! Modules write through `tracing` and `metrics` alone and import nothing from here. Left out: serving the metrics (`admin`) and writing
//! access lines (`server`, under the target `larder::access`).

use std::fs;
use std::io::{self, IsTerminal};

use metrics::{describe_counter, describe_gauge, describe_histogram, gauge};
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

/// Starts the log, to standard error.
pub fn start_log(config: &Config) -> Result<(), TelemetryError> {
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

/// What has been counted so far. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Starts counting: everything that `metrics` macros say in this process from now on.
    pub fn start() -> Result<Self, TelemetryError> {
        let handle = recorder()?.install_recorder()?;
        METRICS.iter().for_each(Description::register);
        Ok(Self(handle))
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

/// Buckets of all histograms, which measure seconds: from a read in the page cache to a slow upstream.
const BUCKETS_SECS: &[f64] =
    &[0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0];

fn recorder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new().set_buckets(BUCKETS_SECS)
}

/// Reads what the kernel says of this process. What it does not say is left as it was.
fn note_process() {
    let resident = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident_bytes);
    if let Some(bytes) = resident {
        gauge!("larder_process_resident_bytes").set(bytes as f64);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        gauge!("larder_process_open_files").set(files.count() as f64);
    }
}

/// The resident set in the text of `/proc/PID/status`, which gives it in KiB.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A metric and its help text.
struct Description(Kind, &'static str, &'static str);

impl Description {
    fn register(&self) {
        let Self(kind, name, help) = self;
        match kind {
            Kind::Counter => describe_counter!(*name, *help),
            Kind::Gauge => describe_gauge!(*name, *help),
            Kind::Histogram => describe_histogram!(*name, *help),
        }
    }
}

use Kind::{Counter, Gauge, Histogram};

/// Every metric there is. A test compares the names with those in the source.
const METRICS: &[Description] = &[
    Description(Counter, "larder_http_bytes_sent_total", "Bytes of bodies sent to clients."),
    Description(Gauge, "larder_http_connections", "Connections of clients now open."),
    Description(Counter, "larder_http_requests_total", "Requests answered, by class of status."),
    Description(Histogram, "larder_http_seconds", "From a request's head to its answer's end."),
    Description(Gauge, "larder_process_open_files", "File descriptors that the process holds."),
    Description(Gauge, "larder_process_resident_bytes", "Memory of the process that is resident."),
    Description(Gauge, "larder_store_blob_bytes", "Bytes of all kept blobs."),
    Description(Gauge, "larder_store_blobs", "Kept blobs."),
    Description(Gauge, "larder_store_budget_bytes", "Budget for blobs; absent when there is none."),
    Description(Gauge, "larder_store_entries", "Entries in the index."),
    Description(Counter, "larder_store_evicted_total", "Blobs evicted to stay within the budget."),
    Description(Gauge, "larder_store_index_bytes", "Size of the index."),
    Description(Gauge, "larder_store_writable", "1 while the index takes writes, else 0."),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

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
        let recorder = recorder().expect("the buckets are not empty").build_recorder();
        let metrics = Metrics(recorder.handle());
        let shown = metrics::with_local_recorder(&recorder, || {
            METRICS.iter().for_each(Description::register);
            metrics.scrape()
        });
        assert!(shown.contains("# TYPE larder_process_resident_bytes gauge"), "{shown}");
        assert!(shown.contains("# HELP larder_process_open_files "), "{shown}");
    }

    /// A metric without a help text, or a help text for a metric that is gone, was forgotten.
    #[test]
    fn every_metric_in_the_source_is_described_and_no_other() {
        let mut used = BTreeSet::new();
        collect_names(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut used);
        let described: BTreeSet<String> =
            METRICS.iter().map(|Description(_, name, _)| (*name).to_owned()).collect();
        assert_eq!(used, described);
    }

    /// Adds the names of metrics in quotes that the files below `folder` contain, but for this one.
    fn collect_names(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).expect("a folder of the source") {
            let path = entry.expect("an entry of it").path();
            if path.is_dir() {
                collect_names(&path, names);
            } else if !path.ends_with("telemetry.rs") {
                let text = fs::read_to_string(&path).expect("a file of the source");
                names.extend(quoted_names(&text));
            }
        }
        names.extend(
            ["larder_process_open_files", "larder_process_resident_bytes"].map(str::to_owned),
        );
    }

    fn quoted_names(text: &str) -> impl Iterator<Item = String> + '_ {
        text.split('"')
            .filter(|text| {
                text.strip_prefix("larder_").is_some_and(|rest| {
                    rest.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
                })
            })
            .map(str::to_owned)
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
