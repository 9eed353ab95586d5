//! What can be seen from outside: the log and the metrics. Started once, by `main`.
//!
//! Modules write through `tracing` and `metrics` alone and import nothing from here. Left out: serving the metrics (`admin`) and writing
//! access lines (`server`, under the target `larder::access`).

use std::fs;
use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};

use metrics::{describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
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
        // Telling standard error that it cannot be written panics where it cannot: a full disk would fail every request that is logged.
        .log_internal_errors(false)
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

/// Buckets of the histograms that measure seconds: from a look-up in memory to a slow upstream.
const BUCKETS_SECS: &[f64] = &[
    0.000_001, 0.000_005, 0.000_025, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0,
    5.0, 10.0, 60.0,
];

/// Buckets of the histograms that count things.
const BUCKETS_COUNT: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

fn builder() -> Result<PrometheusBuilder, BuildError> {
    let seconds = Matcher::Suffix("_seconds".to_owned());
    PrometheusBuilder::new()
        .set_buckets(BUCKETS_COUNT)?
        .set_buckets_for_metric(seconds, BUCKETS_SECS)
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

fn describe() {
    COUNTERS.iter().for_each(|(name, help)| describe_counter!(*name, *help));
    GAUGES.iter().for_each(|(name, help)| describe_gauge!(*name, *help));
    HISTOGRAMS.iter().for_each(|(name, help)| describe_histogram!(*name, *help));
}

/// A metric's name and its help text. A test finds the ones in the source that are not here.
type Described = (&'static str, &'static str);

const COUNTERS: &[Described] = &[
    ("larder_advisory_loads_total", "Times that the advisories were read, by outcome."),
    ("larder_advisory_queries_total", "Questions to the vulnerability API."),
    ("larder_advisory_fetches_total", "Questions to sources of advisories, by outcome."),
    ("larder_artifacts_mutated_total", "Files whose bytes upstream changed under one name."),
    ("larder_cache_hits_total", "Answers from what is kept."),
    ("larder_cache_misses_total", "Answers for which nothing usable was kept."),
    ("larder_cache_revalidations_total", "Questions to upstream about what is kept, by outcome."),
    ("larder_cache_stale_total", "Answers that were older than their freshness allows."),
    ("larder_events_total", "Events that were noticed, by kind."),
    ("larder_fill_bytes_total", "Bytes that transfers from upstream have received."),
    ("larder_fill_failures_total", "Transfers that failed, by kind."),
    ("larder_fill_resumed_total", "Transfers that went on where an earlier one had stopped."),
    ("larder_heal_total", "Damaged things that were asked for again, by outcome."),
    ("larder_http_bytes_sent_total", "Bytes of bodies sent to clients."),
    ("larder_http_requests_total", "Requests answered, by class of status."),
    (
        "larder_pulls_unrecorded_total",
        "Pulls that were not recorded, since too many things were pulled at once.",
    ),
    ("larder_inspected_total", "Files that were looked into, by what came of it."),
    ("larder_ledger_failures_total", "Times that the ledger could not be written."),
    ("larder_ledger_lost_total", "Events that the ledger had no room for; a gap is recorded."),
    ("larder_past_requests_total", "Requests to be answered as of an instant of the past."),
    (
        "larder_policy_records_lost_total",
        "Decisions that were not written down: too many at once, or the disk failed.",
    ),
    ("larder_policy_refusals_total", "Requests that a rule refused."),
    ("larder_removed_entries_total", "Entries that an administrator removed."),
    ("larder_scrub_blobs_total", "Blobs that were read again to see whether they are still right."),
    ("larder_scrub_bytes_total", "Bytes of those blobs."),
    ("larder_scrub_damaged_total", "Blobs found damaged and set aside, by kind."),
    ("larder_scrub_rounds_total", "Times that all blobs have been read again."),
    ("larder_store_commits_total", "Commits of the index."),
    ("larder_store_evicted_blobs_total", "Blobs evicted to stay within the budget."),
    ("larder_store_evicted_bytes_total", "Bytes of the blobs that were evicted."),
    ("larder_store_failures_total", "Things that could not be written down."),
    ("larder_upstream_bytes_total", "Bytes of bodies received from origins."),
    (
        "larder_upstream_requests_total",
        "Requests to origins, by outcome; with its redirects and retries each is one.",
    ),
    (
        "larder_upstream_tokens_total",
        "Tokens that origins' challenges were answered with, by outcome.",
    ),
];

const GAUGES: &[Described] = &[
    ("larder_advisories", "Advisories that are known."),
    ("larder_advisories_faulty", "Records of advisories that could not be read."),
    ("larder_advisories_malicious", "Advisories about malicious packages."),
    (
        "larder_advisory_source_age_seconds",
        "Time since a source of advisories last confirmed what is in force of it.",
    ),
    ("larder_advisories_newest_seconds", "When the newest advisory was changed, since the epoch."),
    ("larder_cache_waiting", "Requests that wait for upstream's word."),
    ("larder_fills", "Transfers from upstream, by state."),
    ("larder_http_connections", "Connections of clients now open."),
    ("larder_ledger_records", "Records in the ledger."),
    ("larder_oci_pulls_remaining", "Pulls that a registry has left for us, by its own count."),
    (
        "larder_policy_file_broken",
        "1 while the policy's files cannot be used and older rules are in force.",
    ),
    ("larder_process_open_files", "File descriptors that the process holds."),
    ("larder_process_resident_bytes", "Memory of the process that is resident."),
    ("larder_store_blob_bytes", "Bytes of all kept blobs."),
    ("larder_store_blobs", "Kept blobs."),
    ("larder_store_budget_bytes", "Budget for blobs; absent when there is none."),
    ("larder_store_entries", "Entries in the index."),
    ("larder_store_index_bytes", "Size of the index."),
    ("larder_store_writable", "1 while the index takes writes, else 0."),
    ("larder_upstream_circuit_open", "1 while a host is left alone after failures, else 0."),
    (
        "larder_upstream_quota_remaining",
        "Requests that a host said it would still answer, by its quota's name.",
    ),
];

const HISTOGRAMS: &[Described] = &[
    ("larder_http_seconds", "Time from a request's head to the end of its answer."),
    ("larder_store_commit_jobs", "Changes that shared one commit of the index."),
    ("larder_store_commit_seconds", "Time that a commit of the index took."),
    ("larder_store_get_seconds", "Time that a look-up in the index took; a sample of them."),
    ("larder_upstream_seconds", "Time from sending a request to the head of its answer."),
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
        let recorder = builder().expect("the buckets are not empty").build_recorder();
        let metrics = Metrics(recorder.handle());
        let shown = metrics::with_local_recorder(&recorder, || {
            describe();
            metrics.scrape()
        });
        assert!(shown.contains("# TYPE larder_process_resident_bytes gauge"), "{shown}");
        assert!(shown.contains("# HELP larder_process_open_files "), "{shown}");
    }

    /// A metric without a help text was forgotten here.
    #[test]
    fn every_metric_in_the_source_is_described() {
        let tables = [COUNTERS, GAUGES, HISTOGRAMS].concat();
        let mut used = BTreeSet::new();
        collect_names(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut used);
        assert!(used.len() > 10, "the source is not where it was");
        used.retain(|name| tables.iter().all(|(described, _)| described != name));
        assert_eq!(used, BTreeSet::new());
    }

    /// Adds the names of metrics that stand in quotes in the files below `folder`.
    fn collect_names(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).expect("a folder of the source") {
            let path = entry.expect("an entry of it").path();
            if path.is_dir() {
                collect_names(&path, names);
                continue;
            }
            let text = fs::read_to_string(&path).expect("a file of the source");
            let is_name = |text: &&str| {
                let rest = text.strip_prefix("larder_").unwrap_or_default();
                !rest.is_empty() && rest.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            };
            names.extend(text.split('"').filter(is_name).map(str::to_owned));
        }
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
