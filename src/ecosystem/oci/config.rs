//! Settings of registries, `[oci]`, and what they come to once secrets are read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ecosystem::grant::Grant;
use crate::ecosystem::oci::limits::Budget;
use crate::ecosystem::oci::name::Repository;
use crate::ecosystem::oci::pattern;
use crate::ecosystem::oci::registry::Registry;
pub use crate::ecosystem::origin::{CredentialsConfig, SecretSource};
use crate::ecosystem::origin::{base_address, host_rule, is_private};
use crate::signature::Trust;
use crate::types::Secret;
use crate::upstream::request::{HostRule, Origin};

/// `[oci]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The registry that is meant where an address names none.
    pub default: String,
    /// Registries by the name that clients know them by. None other can be reached.
    pub registries: BTreeMap<String, RegistryConfig>,
}

/// `[oci.registries."NAME"]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryConfig {
    /// Its address: what `v2/` is below.
    pub upstream: String,
    /// Other names that clients know it by.
    pub aliases: Vec<String>,
    /// Put before names of a single segment.
    pub namespace: Option<String>,
    /// Hosts beside its own that hand out its tokens.
    pub token_hosts: Vec<String>,
    /// Hosts beside its own that a blob's address may redirect to: `blobs.example.org`, `*.example.org`.
    pub blob_hosts: Vec<String>,
    /// How long a tag is trusted. Default 60 seconds.
    #[serde(with = "humantime_serde")]
    pub tag_ttl: Duration,
    /// How many moves of a tag are remembered, and how many entries that left a list of tags or of referrers, for answers as of an instant of the past.
    /// Default 1000.
    pub history: usize,
    /// Patterns of tags that never move: `v*`, or `library/*:3.*` for some repositories only.
    pub immutable_tags: Vec<String>,
    /// What is fetched beside what was asked for: for all repositories, or by patterns, of which the longest that fits counts.
    pub keep: KeepConfig,
    /// How Larder identifies itself there, to clients that `grant` names.
    pub credentials: Option<CredentialsConfig>,
    /// Which clients are answered with what `credentials` open: names of access tokens or certificates, networks, or `["*"]`. Nobody by default.
    pub grant: Grant,
    /// Whether what was fetched with a client's own credential is served to it while upstream cannot confirm that it still may. Default no.
    pub offline_grant: bool,
    /// Whether what was public is served on after upstream began to refuse it. Default `serve`.
    pub after_withdrawal: AfterWithdrawal,
    /// Kept tags are served without asking when fewer pulls than this are left by the registry's own count. Default 10.
    pub pull_reserve: u64,
    /// Whether it may be at a private or loopback address. Default: when its configured address is one.
    pub allow_private: Option<bool>,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            upstream: String::new(),
            aliases: Vec::new(),
            namespace: None,
            token_hosts: Vec::new(),
            blob_hosts: Vec::new(),
            tag_ttl: Duration::from_secs(60),
            history: 1000,
            immutable_tags: Vec::new(),
            keep: KeepConfig::default(),
            credentials: None,
            grant: Grant::default(),
            offline_grant: false,
            after_withdrawal: AfterWithdrawal::Serve,
            pull_reserve: 10,
            allow_private: None,
        }
    }
}

/// `"all"`, or `{ "library/*" = "all", "*" = "platform" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected \"asked\", \"platform\" or \"all\", or a table of patterns with one of them each"
)]
pub enum KeepConfig {
    Everywhere(Completeness),
    ByPattern(BTreeMap<String, Completeness>),
}

impl Default for KeepConfig {
    fn default() -> Self {
        Self::Everywhere(Completeness::Asked)
    }
}

impl KeepConfig {
    /// Patterns with what they stand for, the longest first.
    fn patterns(&self) -> Vec<(String, Completeness)> {
        let mut patterns = match self {
            Self::Everywhere(what) => vec![("*".to_owned(), *what)],
            Self::ByPattern(all) => {
                all.iter().map(|(pattern, what)| (pattern.clone(), *what)).collect()
            }
        };
        patterns.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.len()));
        patterns
    }
}

/// What of an image is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Completeness {
    /// What was asked for.
    #[default]
    Asked,
    /// All of each platform that somebody began to pull.
    Platform,
    /// All platforms, signatures and whatever else refers to the image.
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AfterWithdrawal {
    Serve,
    Deny,
}

/// A fault in the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", .path.join("."))]
pub struct ConfigError {
    /// Keys from the root of the configuration on.
    pub path: Vec<String>,
    pub detail: String,
}

/// The settings of all registries, checked, with secrets read.
#[derive(Debug)]
pub struct Settings {
    pub default: Arc<Registry>,
    /// In the order of their names.
    pub registries: Vec<Arc<Registry>>,
    /// Whose signatures of images are believed.
    pub trust: Trust,
}

impl Config {
    /// Checks the settings and reads the secrets; all faults at once. `Ok(None)`: there are no registries.
    pub fn resolve(
        &self,
        read: impl Fn(&SecretSource) -> Result<Secret, String>,
    ) -> Result<Option<Settings>, Vec<ConfigError>> {
        let mut faults = Vec::new();
        let mut registries = Vec::new();
        let mut names = BTreeSet::new();
        for (name, config) in &self.registries {
            let fault = |detail| ConfigError {
                path: vec!["oci".to_owned(), "registries".to_owned(), name.clone()],
                detail,
            };
            match config.resolve(name, &read) {
                Ok(registry) => registries.push(Arc::new(registry)),
                Err(found) => faults.extend(found.into_iter().map(fault)),
            }
            let twice =
                [name].into_iter().chain(&config.aliases).filter(|name| !names.insert(*name));
            faults
                .extend(twice.map(|name| fault(format!("{name:?} is the name of two registries"))));
        }
        if registries.is_empty() && faults.is_empty() {
            return Ok(None);
        }
        let default = registries.iter().find(|registry| registry.is_called(&self.default)).cloned();
        if default.is_none() && faults.is_empty() {
            let detail = format!("{:?} is none of the registries", self.default);
            faults.push(ConfigError { path: vec!["oci".to_owned(), "default".to_owned()], detail });
        }
        match default {
            Some(default) if faults.is_empty() => {
                Ok(Some(Settings { default, registries, trust: Trust::default() }))
            }
            _ => Err(faults),
        }
    }
}

impl RegistryConfig {
    fn resolve(
        &self,
        name: &str,
        read: &impl Fn(&SecretSource) -> Result<Secret, String>,
    ) -> Result<Registry, Vec<String>> {
        let mut faults = Vec::new();
        for called in [name].into_iter().chain(self.aliases.iter().map(String::as_str)) {
            if !is_host_name(called) {
                faults.push(format!(
                    "{called:?} names no registry: write its host name, as in `hub.example.org` or `localhost:5000`"
                ));
            }
        }
        if self.namespace.as_deref().is_some_and(|text| Repository::parse(text).is_none()) {
            faults.push("`namespace` is no name of repositories".to_owned());
        }
        let base = base_address(&self.upstream).map_err(|fault| faults.push(fault)).ok();
        let token_hosts = rules(&self.token_hosts, &mut faults);
        let hosts = rules(&self.blob_hosts, &mut faults);
        let credentials = self.credentials.as_ref().map(|credentials| credentials.resolve(read));
        let credentials = credentials.transpose().map_err(|fault| faults.push(fault));
        let (Some(base), Ok(credentials), true) = (base, credentials, faults.is_empty()) else {
            return Err(faults);
        };
        let allow_private = self.allow_private.unwrap_or_else(|| is_private(&base));
        let id = format!("oci/{name}").into();
        Ok(Registry {
            name: name.into(),
            aliases: self.aliases.clone(),
            origin: Arc::new(Origin { id, base, hosts, credentials: None, allow_private }),
            namespace: self.namespace.clone(),
            token_hosts,
            tag_ttl: self.tag_ttl,
            history: self.history,
            immutable_tags: self.immutable_tags.clone(),
            keep: self.keep.patterns(),
            credentials,
            grant: self.grant.clone(),
            offline_grant: self.offline_grant,
            after_withdrawal: self.after_withdrawal,
            pull_reserve: self.pull_reserve,
            budget: Arc::new(Budget::new(name)),
        })
    }
}

impl Settings {
    /// The same, believing these.
    #[must_use]
    pub fn trusting(self, trust: &Trust) -> Self {
        Self { trust: trust.clone(), ..self }
    }

    /// The registry of this name or alias.
    pub fn registry(&self, name: &str) -> Option<&Arc<Registry>> {
        self.registries.iter().find(|registry| registry.is_called(name))
    }
}

impl Registry {
    pub fn is_called(&self, name: &str) -> bool {
        *self.name == *name || self.aliases.iter().any(|alias| alias == name)
    }

    /// Whether a tag of a repository never moves, by the settings.
    pub fn is_immutable(&self, repository: &str, tag: &str) -> bool {
        self.immutable_tags.iter().any(|text| match text.split_once(':') {
            Some((of, tags)) => pattern::fits(of, repository) && pattern::fits(tags, tag),
            None => pattern::fits(text, tag),
        })
    }

    /// What of a repository's images is kept.
    pub fn completeness(&self, repository: &str) -> Completeness {
        let found = self.keep.iter().find(|(pattern, _)| pattern::fits(pattern, repository));
        found.map_or_else(Completeness::default, |(_, what)| *what)
    }
}

fn rules(texts: &[String], faults: &mut Vec<String>) -> Vec<HostRule> {
    let mut rules = Vec::new();
    for text in texts {
        match host_rule(text) {
            Ok(rule) => rules.push(rule),
            Err(fault) => faults.push(fault),
        }
    }
    rules
}

/// A host as image names begin with it: letters, digits, dots, dashes, and a port perhaps.
fn is_host_name(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "0"));
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    let has_host = !host.is_empty() && host.bytes().all(plain) && !host.starts_with('.');
    has_host && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<Option<Settings>, String> {
        let config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
        let read = |source: &SecretSource| match source {
            SecretSource::Environment(name) => Ok(Secret::new(name.as_str())),
            SecretSource::File(path) => Err(format!("{} cannot be read", path.display())),
        };
        config
            .resolve(read)
            .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn bad_settings_are_refused_with_what_was_expected() {
        let hub = "default = \"hub.example\"\n[registries.\"hub.example\"]\n";
        for (text, expected) in [
            (format!("{hub}upstream = \"ftp://h/\""), "no http or https address"),
            (hub.to_owned(), "no address"),
            (
                format!("{hub}upstream = \"https://h.example\"\ntoken_hosts = [\"a b\"]"),
                "is no host",
            ),
            (
                format!("{hub}upstream = \"https://h.example\"\nkeep = {{ a = \"b\" }}"),
                "expected \"asked\"",
            ),
            (format!("{hub}upstream = \"https://h.example\"\nnamespace = \"Up\""), "`namespace`"),
            (
                format!(
                    "{hub}upstream = \"https://h.example\"\ncredentials = {{ username = \"u\" }}"
                ),
                "`password_file`",
            ),
            (
                "default = \"x\"\n[registries.\"hub.example\"]\nupstream = \"https://h.example\""
                    .to_owned(),
                "oci.default: \"x\" is none of the registries",
            ),
            (
                "[registries.\"Hub/x\"]\nupstream = \"https://h.example\"".to_owned(),
                "names no registry",
            ),
            (
                format!(
                    "{hub}upstream = \"https://h.example\"\n[registries.\"b.example\"]\nupstream = \"https://b.example\"\naliases = [\"hub.example\"]"
                ),
                "two registries",
            ),
        ] {
            let refused = resolve(&text).err().unwrap_or_default();
            assert!(refused.contains(expected), "{text}: {refused}");
        }
        assert!(resolve("").expect("no registries are no fault").is_none());
    }

    #[test]
    fn registries_are_found_by_name_and_alias() {
        let settings = resolve(
            "default = \"index.hub.example\"\n[registries.\"hub.example\"]\nupstream = \"http://127.0.0.1:5000\"\naliases = [\"index.hub.example\"]\n\
             keep = { \"library/*\" = \"all\", \"*\" = \"platform\" }\nimmutable_tags = [\"v*\", \"library/*:3.*\"]",
        );
        let settings = settings.expect("good settings").expect("a registry");
        assert_eq!(&*settings.default.name, "hub.example");
        assert!(settings.registry("other.example").is_none());
        let hub = settings.registry("hub.example").expect("declared");
        assert!(hub.origin.allow_private);
        assert_eq!(hub.completeness("library/a"), Completeness::All);
        assert_eq!(hub.completeness("org/a"), Completeness::Platform);
        assert!(hub.is_immutable("org/a", "v1") && hub.is_immutable("library/a", "3.20"));
        assert!(!hub.is_immutable("org/a", "3.20"));
    }
}
