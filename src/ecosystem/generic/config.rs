//! Settings of generic mounts, `[generic.NAME]`, and what they come to once secrets are read.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cache::lookup::Mode;
use crate::ecosystem::generic::Generic;
use crate::ecosystem::grant::Grant;
pub use crate::ecosystem::origin::{CredentialsConfig, SecretSource};
use crate::ecosystem::origin::{base_address, host_rule, is_private};
use crate::types::Secret;
use crate::upstream::request::{Origin, Redirects};

/// `[generic.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The origin's base address. A path below the mount is the same path below it.
    pub upstream: String,
    /// Whether what was once public is served again, however old, while upstream cannot or will not give it. Default no: RFC 9111 to the letter.
    pub keep: bool,
    /// Host names that the mount also answers to, with its paths at the root.
    pub hosts: Vec<String>,
    /// Whether the origin's redirects are passed to the client, as a cache by the book does, or followed. Default `pass`.
    pub redirects: RedirectsConfig,
    /// Hosts beside the origin's own that a followed redirect may lead to: `files.example.org`, `*.example.org`.
    pub redirect_hosts: Vec<String>,
    /// How Larder identifies itself to the origin. Without it, clients' own credentials are passed on.
    pub credentials: Option<CredentialsConfig>,
    /// Which clients may read what `credentials` open: names of access tokens or certificates, networks, or `["*"]`. Nobody by default.
    pub grant: Grant,
    /// Whether the origin may be at a private or loopback address. Default: when its configured address is one.
    pub allow_private: Option<bool>,
}

/// What becomes of a 3xx.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RedirectsConfig {
    #[default]
    Pass,
    Follow,
}

/// Faults in the settings of a mount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("generic.{mount}: {detail}")]
pub struct ConfigError {
    pub mount: String,
    pub detail: String,
}

impl Config {
    /// Checks the settings and reads the secrets; all faults at once.
    pub fn resolve(
        &self,
        mount: &str,
        read: impl Fn(&SecretSource) -> Result<Secret, String>,
    ) -> Result<Generic, Vec<ConfigError>> {
        let mut faults = Vec::new();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if mount.is_empty() || mount.starts_with('.') || !mount.bytes().all(plain) {
            faults.push(
                "a mount is named with letters, digits, dots, dashes and underscores".to_owned(),
            );
        }
        let base = base_address(&self.upstream).map_err(|fault| faults.push(fault)).ok();
        let rules: Vec<_> = self.redirect_hosts.iter().map(|rule| host_rule(rule)).collect();
        let mut hosts = Vec::new();
        for rule in rules {
            match rule {
                Ok(rule) => hosts.push(rule),
                Err(fault) => faults.push(fault),
            }
        }
        let credentials = self.credentials.as_ref().map(|settings| settings.resolve(read));
        let credentials = credentials.transpose().map_err(|fault| faults.push(fault));
        let (Some(base), Ok(credentials), true) = (base, credentials, faults.is_empty()) else {
            let fault = |detail| ConfigError { mount: mount.to_owned(), detail };
            return Err(faults.into_iter().map(fault).collect());
        };
        let id = format!("generic/{mount}");
        let allow_private = self.allow_private.unwrap_or_else(|| is_private(&base));
        let origin = Origin { id: id.as_str().into(), base, hosts, credentials, allow_private };
        Ok(Generic {
            id,
            origin: Arc::new(origin),
            mode: if self.keep { Mode::Keep } else { Mode::ByTheBook },
            redirects: match self.redirects {
                RedirectsConfig::Pass => Redirects::Pass,
                RedirectsConfig::Follow => Redirects::Follow,
            },
            grant: self.grant.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_are_told_at_once() {
        let settings = Config {
            upstream: "ftp://origin.example".to_owned(),
            redirect_hosts: vec!["a b".to_owned()],
            credentials: Some(CredentialsConfig::default()),
            ..Config::default()
        };
        let faults = settings.resolve("a/b", |_| Ok(Secret::new("s"))).expect_err("faults");
        assert_eq!(faults.len(), 4, "{faults:?}");
    }

    #[test]
    fn settings_are_read_from_toml() {
        let text = "upstream = \"http://127.0.0.1:1\"\nkeep = true\nredirects = \"follow\"";
        let settings: Config = toml::from_str(text).expect("settings");
        let mount = settings.resolve("files", |_| Ok(Secret::new("s"))).expect("right settings");
        assert!(mount.origin.allow_private);
        assert_eq!((mount.mode, mount.redirects), (Mode::Keep, Redirects::Follow));
        assert!(toml::from_str::<Config>("upstreams = []").is_err());
    }
}
