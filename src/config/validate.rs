//! Checks across settings: what each module's own types cannot see.

use super::Config;
use super::fault::Fault;
use super::layers::Settings;

/// Adds what is wrong between settings. A section that has a fault already is left alone: its values here are not what was written.
pub(super) fn validate(config: &Config, settings: &Settings, faults: &mut Vec<Fault>) {
    let spoilt: Vec<String> = faults.iter().map(|fault| section(&fault.key).to_owned()).collect();
    let found = [basics(config), tls(config)].into_iter().flatten();
    for Conflict { key, problem } in found {
        if !spoilt.iter().any(|spoilt| spoilt == section(&key)) {
            let path: Vec<String> = key.split('.').map(str::to_owned).collect();
            faults.push(Fault::new(settings.source(&path), key, problem));
        }
    }
}

/// Something wrong between settings, told at one of them.
struct Conflict {
    key: String,
    problem: String,
}

impl Conflict {
    fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into() }
    }
}

fn section(key: &str) -> &str {
    key.split('.').next().unwrap_or_default()
}

fn basics(config: &Config) -> Vec<Conflict> {
    let mut found = Vec::new();
    if config.listen.is_empty() {
        found.push(Conflict::new("listen", "is empty, expected at least one address"));
    }
    if config.data_dir.as_os_str().is_empty() {
        found.push(Conflict::new("data_dir", "is empty, expected a directory"));
    }
    found
}

fn tls(config: &Config) -> Vec<Conflict> {
    match (&config.tls.certificate, &config.tls.key) {
        (Some(_), None) => vec![Conflict::new("tls.certificate", "needs `tls.key` beside it")],
        (None, Some(_)) => vec![Conflict::new("tls.key", "needs `tls.certificate` beside it")],
        _ => Vec::new(),
    }
}
