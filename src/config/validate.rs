//! Checks across settings: what each module's own types cannot see.
//!
//! Nothing is opened here: files with secrets may be out of reach for who runs `larder config`, and are read at the start.

use std::collections::BTreeMap;

use super::Config;
use super::fault::{Fault, key_of};
use super::layers::Settings;
use crate::types::Secret;

/// Adds what is wrong between settings. A section that has a fault already is left alone: its values here are not what was written.
pub(super) fn validate(config: &Config, settings: &Settings, faults: &mut Vec<Fault>) {
    let spoilt: Vec<String> = faults.iter().map(|fault| section(&fault.key)).collect();
    let found = [basics(config), tls(config), indexes(config), hosts(config)];
    for Conflict { path, problem } in found.into_iter().flatten() {
        if !spoilt.contains(&path[0]) {
            faults.push(Fault::new(settings.source(&path), key_of(&path), problem));
        }
    }
}

fn section(key: &str) -> String {
    key.split('.').next().unwrap_or_default().to_owned()
}

/// Something wrong between settings, told at one of them.
struct Conflict {
    path: Vec<String>,
    problem: String,
}

impl Conflict {
    fn new(path: &[&str], problem: impl Into<String>) -> Self {
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        Self { path, problem: problem.into() }
    }
}

fn basics(config: &Config) -> Vec<Conflict> {
    let mut found = Vec::new();
    if config.listen.is_empty() {
        found.push(Conflict::new(&["listen"], "is empty, expected at least one address"));
    }
    if config.data_dir.as_os_str().is_empty() {
        found.push(Conflict::new(&["data_dir"], "is empty, expected a directory"));
    }
    found
}

fn tls(config: &Config) -> Vec<Conflict> {
    let needs = |present, absent| {
        vec![Conflict::new(&["tls", present], format!("needs `tls.{absent}` beside it"))]
    };
    match (&config.tls.certificate, &config.tls.key) {
        (Some(_), None) => needs("certificate", "key"),
        (None, Some(_)) => needs("key", "certificate"),
        _ => Vec::new(),
    }
}

fn indexes(config: &Config) -> Vec<Conflict> {
    let unread = |_: &_| Ok(Secret::new(""));
    let faults = config
        .pypi
        .indexes
        .iter()
        .filter_map(|(name, index)| index.resolve(name, &config.policy, unread).err());
    faults
        .flatten()
        .map(|fault| Conflict::new(&["pypi", "indexes", &fault.index], fault.detail))
        .collect()
}

/// A host name leads to one mount.
fn hosts(config: &Config) -> Vec<Conflict> {
    let claims = config.pypi.indexes.iter().flat_map(|(name, index)| {
        index.hosts.iter().map(move |host| (host, ["pypi", "indexes", name, "hosts"]))
    });
    let mut owners = BTreeMap::new();
    let mut found = Vec::new();
    for (host, path) in claims {
        if let Some(owner) = owners.insert(host.to_ascii_lowercase(), path) {
            let owner = owner.join(".");
            found.push(Conflict::new(&path, format!("{host:?} is claimed by `{owner}` already")));
        }
    }
    found
}
