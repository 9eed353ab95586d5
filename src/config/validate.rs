//! Checks across settings: what each module's own types cannot see.

use super::Config;
use super::fault::Fault;
use super::layers::Settings;

/// Adds what is wrong between settings. A setting that has a fault already is left alone: its value here is not what was written.
pub(super) fn validate(config: &Config, settings: &Settings, faults: &mut Vec<Fault>) {
    for (key, problem) in found(config) {
        let section = key[0];
        let spoilt = faults.iter().any(|fault| fault.key.split('.').next() == Some(section));
        if !spoilt {
            let path: Vec<String> = key.iter().map(|part| (*part).to_owned()).collect();
            faults.push(Fault::new(settings.source(&path), key.join("."), problem));
        }
    }
}

fn found(config: &Config) -> Vec<(Vec<&str>, String)> {
    let mut found = Vec::new();
    if config.listen.is_empty() {
        found.push((vec!["listen"], "is empty, expected at least one address".to_owned()));
    }
    if config.data_dir.as_os_str().is_empty() {
        found.push((vec!["data_dir"], "is empty, expected a directory".to_owned()));
    }
    found
}
