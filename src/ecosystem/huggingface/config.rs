//! Settings of the hub, `[huggingface]`, and what they come to once secrets are read.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::ecosystem::Ask;
use crate::ecosystem::grant::Grant;
pub use crate::ecosystem::huggingface::identity::IdentityRule;
use crate::ecosystem::huggingface::repository::Repository;
pub use crate::ecosystem::origin::SecretSource;
use crate::ecosystem::origin::{base_address, host_rule, is_private};
use crate::signature::Trust;
use crate::types::{ByteSize, Secret};
use crate::upstream::request::{Credentials, Origin};

/// The mount's name, and the space of everything that it keeps.
pub const ID: &str = "huggingface";

/// `[huggingface]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The hub's address. Empty: there is no such mount.
    pub upstream: String,
    /// Hosts beside the hub's own that its redirects may lead to: `cdn.example.org`, `*.example.org`.
    pub hosts: Vec<String>,
    /// Addresses that the hub's answers call it by, beside `upstream`; they become Larder's on the way.
    pub aliases: Vec<String>,
    /// Host names that the mount also answers to; there `/v2/` is the hub's, too.
    pub vhosts: Vec<String>,
    /// As whom the hub is asked. Default: `service` where there is a `token_file`, else `passthrough`.
    pub auth: Option<Auth>,
    /// With `auth = "service"`: where Larder's own token is read from.
    pub token_file: Option<PathBuf>,
    /// With `auth = "service"`: which clients may read what that token opens beyond what is public. Nobody by default.
    pub grant: Grant,
    /// What becomes of a repository that was public when it was kept and is gated, private or deleted now.
    pub after_withdrawal: AfterWithdrawal,
    /// Exceptions from `after_withdrawal`; the first that names a repository counts.
    pub withdrawal: Vec<WithdrawalRule>,
    /// How long what a client's token opened is given to it while the hub cannot confirm that it still may. Not at all by default.
    #[serde(with = "humantime_serde")]
    pub offline_grant: Option<Duration>,
    /// How long a branch is taken to lead to the same commit.
    #[serde(with = "humantime_serde")]
    pub ref_ttl: Duration,
    /// How many commits of a branch are remembered, for answers as of an instant of the past.
    pub history: usize,
    /// What becomes of a name that another repository has taken.
    pub identity: IdentityRule,
    /// How long the hub's word on a client's rights counts, and its word that something is not there.
    #[serde(with = "humantime_serde")]
    pub memo: Duration,
    /// The largest answer about a repository.
    pub info_limit: ByteSize,
    /// The largest list of a repository's files, all pages together.
    pub tree_limit: ByteSize,
    /// The server of facts about datasets. Empty: not served.
    pub datasets_server: String,
    /// Ollama's own library, for names below `library/`. Empty: not served.
    pub ollama: String,
    /// Whether upstream may be at a private or loopback address. Default: when its configured address is one.
    pub allow_private: Option<bool>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            upstream: String::new(),
            hosts: Vec::new(),
            aliases: Vec::new(),
            vhosts: Vec::new(),
            auth: None,
            token_file: None,
            grant: Grant::default(),
            after_withdrawal: AfterWithdrawal::Serve,
            withdrawal: Vec::new(),
            offline_grant: None,
            ref_ttl: Duration::from_secs(300),
            history: 1000,
            identity: IdentityRule::Pin,
            memo: Duration::from_secs(60),
            info_limit: ByteSize::mib(64),
            tree_limit: ByteSize::mib(256),
            datasets_server: String::new(),
            ollama: String::new(),
            allow_private: None,
        }
    }
}

/// As whom the hub is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// As the client, where it shows a token and the answer depends on it; else as nobody.
    #[default]
    Passthrough,
    /// As Larder, with its own token.
    Service,
    /// As nobody: clients' tokens are ignored.
    PublicOnly,
}

/// Whether what was public is served on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AfterWithdrawal {
    #[default]
    Serve,
    Deny,
}

/// `[[huggingface.withdrawal]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WithdrawalRule {
    /// Patterns of ids: `org/*`, `datasets/org/*`. A star stands for anything.
    pub repositories: Vec<String>,
    pub after: AfterWithdrawal,
}

/// A fault in the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("huggingface: {detail}")]
pub struct ConfigError {
    pub detail: String,
}

/// The settings, checked, with secrets read.
#[derive(Debug)]
pub struct Settings {
    /// The hub, asked as the client or as nobody.
    pub origin: Arc<Origin>,
    /// The hub, asked as Larder; there is one only with `auth = "service"`.
    pub service: Option<Arc<Origin>>,
    pub aliases: Vec<Url>,
    pub vhosts: Vec<String>,
    pub auth: Auth,
    pub grant: Grant,
    pub after_withdrawal: AfterWithdrawal,
    pub withdrawal: Vec<WithdrawalRule>,
    pub offline_grant: Option<Duration>,
    pub ref_ttl: Duration,
    pub history: usize,
    pub identity: IdentityRule,
    pub memo: Duration,
    pub info_limit_bytes: u64,
    pub tree_limit_bytes: u64,
    pub datasets_server: Option<Arc<Origin>>,
    pub ollama: Option<Arc<Origin>>,
    /// Whom signatures of models must lead back to.
    pub trust: Trust,
}

impl Config {
    /// Whether there is such a mount at all.
    pub const fn is_on(&self) -> bool {
        !self.upstream.is_empty()
    }

    /// Checks the settings and reads the secrets; all faults at once.
    pub fn resolve(
        &self,
        read: impl Fn(&SecretSource) -> Result<Secret, String>,
    ) -> Result<Settings, Vec<ConfigError>> {
        let mut faults = Vec::new();
        let mut hosts = Vec::new();
        for rule in &self.hosts {
            match host_rule(rule) {
                Ok(rule) => hosts.push(rule),
                Err(fault) => faults.push(fault),
            }
        }
        let mut aliases = Vec::new();
        for alias in &self.aliases {
            match base_address(alias) {
                Ok(alias) => aliases.push(alias),
                Err(fault) => faults.push(fault),
            }
        }
        let origin = |id: &str, address: &str, credentials: Option<Credentials>| {
            let base = base_address(address)?;
            let allow_private = self.allow_private.unwrap_or_else(|| is_private(&base));
            let (id, hosts) = (id.into(), hosts.clone());
            Ok::<_, String>(Arc::new(Origin { id, base, hosts, credentials, allow_private }))
        };
        let optional = |id: &str, address: &str| match address {
            "" => Ok(None),
            address => origin(id, address, None).map(Some),
        };
        let hub = keep(&mut faults, origin(ID, &self.upstream, None));
        let service = keep(&mut faults, self.credentials(read)).flatten();
        let service = service.and_then(|credentials| {
            keep(&mut faults, origin(ID, &self.upstream, Some(credentials)))
        });
        let datasets_server =
            keep(&mut faults, optional("huggingface/datasets-server", &self.datasets_server));
        let ollama = keep(&mut faults, optional("huggingface/ollama", &self.ollama));
        let (Some(origin), true) = (hub, faults.is_empty()) else {
            faults.dedup();
            return Err(faults.into_iter().map(|detail| ConfigError { detail }).collect());
        };
        Ok(Settings {
            origin,
            service,
            aliases,
            vhosts: self.vhosts.clone(),
            auth: self.auth(),
            grant: self.grant.clone(),
            after_withdrawal: self.after_withdrawal,
            withdrawal: self.withdrawal.clone(),
            offline_grant: self.offline_grant,
            ref_ttl: self.ref_ttl,
            history: self.history,
            identity: self.identity,
            memo: self.memo,
            info_limit_bytes: self.info_limit.bytes(),
            tree_limit_bytes: self.tree_limit.bytes(),
            datasets_server: datasets_server.flatten(),
            ollama: ollama.flatten(),
            trust: Trust::default(),
        })
    }

    fn auth(&self) -> Auth {
        let fallback = || if self.token_file.is_some() { Auth::Service } else { Auth::Passthrough };
        self.auth.unwrap_or_else(fallback)
    }

    /// Larder's own token, where it is to be used.
    fn credentials(
        &self,
        read: impl Fn(&SecretSource) -> Result<Secret, String>,
    ) -> Result<Option<Credentials>, String> {
        match (self.auth(), &self.token_file) {
            (Auth::Service, Some(file)) => read(&SecretSource::File(file.clone()))
                .map(|token| Some(Credentials::Bearer(token))),
            (Auth::Service, None) => Err("`auth = \"service\"` needs a `token_file`".to_owned()),
            (Auth::Passthrough | Auth::PublicOnly, Some(_)) => {
                Err("`token_file` is of use only with `auth = \"service\"`".to_owned())
            }
            (Auth::Passthrough | Auth::PublicOnly, None) => Ok(None),
        }
    }
}

impl Settings {
    /// The same, with signatures believed by this.
    #[must_use]
    pub fn trusting(self, trust: &Trust) -> Self {
        Self { trust: trust.clone(), ..self }
    }

    /// What becomes of a repository that is public no more.
    pub fn after_withdrawal(&self, repository: &Repository) -> AfterWithdrawal {
        let name = repository.to_string();
        let names = |rule: &&WithdrawalRule| {
            let fits =
                |pattern: &String| is_like(pattern, &name) || is_like(pattern, repository.id());
            rule.repositories.iter().any(fits)
        };
        self.withdrawal.iter().find(names).map_or(self.after_withdrawal, |rule| rule.after)
    }

    /// Whether the client of a request may read what Larder's own token opens.
    pub fn grants(&self, ask: &Ask) -> bool {
        self.grant.holds(ask)
    }
}

/// Notes a fault and goes on.
fn keep<T>(faults: &mut Vec<String>, result: Result<T, String>) -> Option<T> {
    result.map_err(|fault| faults.push(fault)).ok()
}

/// Whether a text is what a pattern says; a star in it stands for anything.
fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
            let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            ends.into_iter().any(|at| is_like(tail, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(base: &str) -> Config {
        Config { upstream: base.to_owned(), ..Config::default() }
    }

    fn resolve(config: &Config) -> Result<Settings, Vec<ConfigError>> {
        config.resolve(|_| Ok(Secret::new("s")))
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let config = Config {
            hosts: vec!["a b".to_owned()],
            auth: Some(Auth::Service),
            datasets_server: "x".to_owned(),
            ..at("ftp://hub.example")
        };
        let faults = resolve(&config).expect_err("faults");
        assert_eq!(faults.len(), 4, "{faults:?}");
        let token = Config { token_file: Some("t".into()), ..at("https://hub.example") };
        assert!(resolve(&token).expect("right settings").service.is_some());
        let unused = Config { auth: Some(Auth::PublicOnly), ..token };
        assert_eq!(resolve(&unused).expect_err("an unused token").len(), 1);
    }

    #[test]
    fn settings_are_read_from_toml() {
        let text = "upstream = \"http://127.0.0.1:1\"\nauth = \"public-only\"\noffline_grant = \"7 days\"\n\
                    [[withdrawal]]\nrepositories = [\"org/*\"]\nafter = \"deny\"";
        let config: Config = toml::from_str(text).expect("settings");
        let settings = resolve(&config).expect("right settings");
        assert!(settings.origin.allow_private && settings.service.is_none());
        assert_eq!(settings.offline_grant, Some(Duration::from_secs(7 * 86400)));
        let after = |name: &str| {
            settings.after_withdrawal(&name.parse::<Repository>().expect("a repository"))
        };
        assert_eq!(after("models/org/m"), AfterWithdrawal::Deny);
        assert_eq!(after("models/other/m"), AfterWithdrawal::Serve);
    }

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text, expected) in [
            ("org/*", "org/m", true),
            ("org/*", "organ/m", false),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("datasets/*", "datasets/o/d", true),
        ] {
            assert_eq!(is_like(pattern, text), expected, "{pattern} {text}");
        }
    }
}
