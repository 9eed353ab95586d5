//! Checks across settings: what each module's own types cannot see.
//!
//! Nothing is opened here: files with secrets may be out of reach for who runs `larder config`, and are read at the start.

use std::collections::BTreeMap;

use url::Url;

use super::Config;
use super::amounts::amounts;
use super::fault::{Fault, key_of};
use super::layers::Settings;
use crate::feed;
use crate::inspect::Rules;
use crate::proxy::access::{guard_listen, is_certificate};
use crate::types::Secret;

/// Adds what is wrong between settings. A section that has a fault already is left alone: its values here are not what was written.
pub(super) fn validate(config: &Config, settings: &Settings, faults: &mut Vec<Fault>) {
    let spoilt: Vec<String> = faults.iter().map(|fault| section(&fault.key)).collect();
    let found = [
        basics(config),
        amounts(config),
        tls(config),
        inspect(config),
        advisories(config),
        mounts(config),
        hosts(config),
        access(config),
    ];
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
pub(super) struct Conflict {
    path: Vec<String>,
    problem: String,
}

impl Conflict {
    pub(super) fn new(path: &[&str], problem: impl Into<String>) -> Self {
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
    if !config.public_url.as_deref().is_none_or(is_root) {
        let problem =
            "expected the address of the root alone, such as \"https://larder.example.org\"";
        found.push(Conflict::new(&["public_url"], problem));
    }
    found
}

/// Whether a text is an address that paths can be put behind.
fn is_root(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
        let has_more = url.query().is_some() || url.fragment().is_some();
        is_web && !has_more && url.username().is_empty() && url.password().is_none()
    })
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

/// What pickles may import is named in full.
fn inspect(config: &Config) -> Vec<Conflict> {
    let faults = Rules::new(&config.inspect).err().unwrap_or_default();
    faults.into_iter().map(|problem| Conflict::new(&["inspect", "allow"], problem)).collect()
}

/// What is fetched has an address that tells how its records are written.
fn advisories(config: &Config) -> Vec<Conflict> {
    let faults = feed::addresses(&config.advisories).err().unwrap_or_default();
    faults.into_iter().map(|problem| Conflict::new(&["advisories", "sources"], problem)).collect()
}

/// The mounts' own checks.
fn mounts(config: &Config) -> Vec<Conflict> {
    let unread = || Ok(Secret::new("unread"));
    let indexes = config
        .pypi
        .indexes
        .iter()
        .filter_map(|(name, index)| index.resolve(name, |_| unread()).err());
    let indexes = indexes
        .flatten()
        .map(|fault| Conflict::new(&["pypi", "indexes", &fault.index], fault.detail));
    let origins =
        config.generic.iter().filter_map(|(name, mount)| mount.resolve(name, |_| unread()).err());
    let origins =
        origins.flatten().map(|fault| Conflict::new(&["generic", &fault.mount], fault.detail));
    let registries = config.oci.resolve(|_| unread()).err();
    let registries = registries.into_iter().flatten().map(|fault| {
        let path: Vec<&str> = fault.path.iter().map(String::as_str).collect();
        Conflict::new(&path, fault.detail)
    });
    let hub = config.huggingface.is_on().then(|| config.huggingface.resolve(|_| unread()).err());
    let hub = hub.flatten().into_iter().flatten();
    let hub = hub.map(|fault| Conflict::new(&["huggingface"], fault.detail));
    let keys = config.bundle.trusted().err().into_iter().flatten();
    let keys = keys.map(|fault| Conflict::new(&["bundle", "trust"], fault.to_string()));
    hub.chain(indexes).chain(origins).chain(registries).chain(keys).collect()
}

/// A host name leads to one mount.
fn hosts(config: &Config) -> Vec<Conflict> {
    let indexes = config.pypi.indexes.iter().flat_map(|(name, index)| {
        index.hosts.iter().map(move |host| (host, vec!["pypi", "indexes", name, "hosts"]))
    });
    let origins = config.generic.iter().flat_map(|(name, mount)| {
        mount.hosts.iter().map(move |host| (host, vec!["generic", name, "hosts"]))
    });
    let mut owners = BTreeMap::new();
    let mut found = Vec::new();
    let hub = config.huggingface.vhosts.iter().map(|host| (host, vec!["huggingface", "vhosts"]));
    for (host, path) in hub.chain(indexes).chain(origins) {
        if let Some(owner) = owners.insert(host.to_ascii_lowercase(), path.join(".")) {
            let problem = format!("{host:?} is claimed by `{owner}` already");
            found.push(Conflict::new(&path, problem));
        }
    }
    found
}

/// Grants name tokens that exist, and a listener for others lets somebody in.
fn access(config: &Config) -> Vec<Conflict> {
    let listener = guard_listen(&config.listen, &config.access).err();
    let mut found: Vec<Conflict> =
        listener.map(|error| Conflict::new(&["listen"], error.to_string())).into_iter().collect();
    let is_known = |name: &&str| {
        is_certificate(name) || config.access.tokens.iter().any(|token| token.name == **name)
    };
    let nobody = config.access.admins.iter().filter(|name| !is_known(&name.as_str()));
    found.extend(nobody.map(|name| {
        let problem = format!(
            "{name:?} is the name of no token in `access.tokens`; that of a certificate begins with \"cert:\""
        );
        Conflict::new(&["access", "admins"], problem)
    }));
    let indexes = config
        .pypi
        .indexes
        .iter()
        .map(|(name, index)| (vec!["pypi", "indexes", name, "grant"], &index.grant));
    let origins =
        config.generic.iter().map(|(name, mount)| (vec!["generic", name, "grant"], &mount.grant));
    let registries = config
        .oci
        .registries
        .iter()
        .map(|(name, registry)| (vec!["oci", "registries", name, "grant"], &registry.grant));
    let hub = (vec!["huggingface", "grant"], &config.huggingface.grant);
    for (path, grant) in indexes.chain(origins).chain(registries).chain([hub]) {
        let unknown = grant.clients().filter(|name| !is_known(name));
        found.extend(unknown.map(|name| {
            Conflict::new(&path, format!("{name:?} is the name of no token in `access.tokens`"))
        }));
    }
    found
}
