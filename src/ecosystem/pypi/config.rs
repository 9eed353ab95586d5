//! Settings of Python indexes, `[pypi.indexes.NAME]`, and what they come to once secrets are read.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use url::{Host, Url};

use crate::ecosystem::grant::Grant;
pub use crate::ecosystem::origin::{CredentialsConfig, SecretSource};
use crate::ecosystem::origin::{base_address, host_rule, is_private};
use crate::ecosystem::pypi::name;
use crate::signature::Roots;
use crate::types::Secret;
use crate::upstream::request::{HostRule, Origin};

/// `[pypi]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Indexes by name. `default` is also served at `/simple/`.
    pub indexes: BTreeMap<String, IndexConfig>,
}

/// `[pypi.indexes.NAME]`. What is set here holds for all its upstreams that do not set it themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IndexConfig {
    /// The simple index that is asked: the address that `pip --index-url` would get.
    pub upstream: Option<UpstreamEntry>,
    /// Several of them, in the order in which a project is looked for. The first that has the project gives all its files.
    pub upstreams: Vec<UpstreamEntry>,
    /// Host names that the index also answers to, with its paths at the root.
    pub hosts: Vec<String>,
    /// Hosts that files may be fetched from beside those of the index's own domain: `files.example.org`, `*.example.org`.
    pub file_hosts: Vec<String>,
    /// How long a page is trusted when upstream does not say. Default 10 minutes; upstream's own word counts up to a day.
    #[serde(with = "humantime_serde")]
    pub page_ttl: Duration,
    /// How Larder identifies itself upstream.
    pub credentials: Option<CredentialsConfig>,
    /// Whose credentials are used upstream. Default: `service` where `credentials` are set, else `none`.
    pub auth: Option<Auth>,
    /// Which clients may read what the service credential opens: names of access tokens or certificates, networks, or `["*"]`. Nobody by default.
    pub grant: Grant,
    /// Whether what was fetched with a client's own credential is served to it while upstream cannot confirm that it still may. Default no.
    pub offline_grant: bool,
    /// What pages offer while upstream cannot be asked. Default `all`.
    pub offline_pages: OfflinePages,
    /// Upstream says 403 for what does not exist, as storage buckets do. Default no.
    pub forbidden_means_absent: bool,
    /// Whether what was public is served on after upstream began to refuse it. Default `serve`.
    pub after_withdrawal: AfterWithdrawal,
    /// Whether upstream may be at a private or loopback address. Default: when its configured address is one.
    pub allow_private: Option<bool>,
}

impl Default for IndexConfig {
    fn default() -> Self {
        Self {
            upstream: None,
            upstreams: Vec::new(),
            hosts: Vec::new(),
            file_hosts: Vec::new(),
            page_ttl: Duration::from_secs(600),
            credentials: None,
            auth: None,
            grant: Grant::default(),
            offline_grant: false,
            offline_pages: OfflinePages::All,
            forbidden_means_absent: false,
            after_withdrawal: AfterWithdrawal::Serve,
            allow_private: None,
        }
    }
}

/// One upstream, written as its address alone or as a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamConfig {
    /// Its simple index.
    pub url: String,
    /// Patterns of the projects that it is asked for (`acme-*`); other projects are not asked for here, and these nowhere else.
    pub names: Vec<String>,
    /// `simple`: a page per project below the address. `flat`: the address is one page of links to files of many projects.
    pub layout: Layout,
    pub file_hosts: Vec<String>,
    pub credentials: Option<CredentialsConfig>,
    pub auth: Option<Auth>,
    pub forbidden_means_absent: Option<bool>,
    pub allow_private: Option<bool>,
}

/// An [`UpstreamConfig`] that reads a bare address, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct UpstreamEntry(pub UpstreamConfig);

/// What the page of a project offers while upstream cannot be asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OfflinePages {
    /// All that is known. Who asks for what is not kept gets the outage's error.
    #[default]
    All,
    /// The same, and what is not kept is marked as withdrawn: resolvers choose among what can be had.
    Kept,
}

/// How an upstream lays out its pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    #[default]
    Simple,
    Flat,
}

/// Whose credentials an upstream gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    None,
    /// Larder's own, from `credentials`.
    Service,
    /// The client's, as it sent them.
    Passthrough,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AfterWithdrawal {
    Serve,
    Deny,
}

impl<'de> Deserialize<'de> for UpstreamEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;

        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = UpstreamEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address, or a table with `url`")
            }

            fn visit_str<E>(self, url: &str) -> Result<UpstreamEntry, E> {
                Ok(UpstreamEntry(UpstreamConfig {
                    url: url.to_owned(),
                    ..UpstreamConfig::default()
                }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<UpstreamEntry, A::Error> {
                UpstreamConfig::deserialize(MapAccessDeserializer::new(map)).map(UpstreamEntry)
            }
        }

        deserializer.deserialize_any(EntryVisitor)
    }
}

/// A fault in the settings of an index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pypi.indexes.{index}: {detail}")]
pub struct ConfigError {
    pub index: String,
    pub detail: String,
}

/// The settings of an index, checked, with secrets read.
#[derive(Debug)]
pub struct Settings {
    pub name: Arc<str>,
    /// `pypi/NAME`.
    pub id: String,
    pub hosts: Vec<String>,
    /// Never empty.
    pub upstreams: Vec<Arc<Upstream>>,
    pub page_ttl: Duration,
    pub grant: Grant,
    pub offline_grant: bool,
    pub offline_pages: OfflinePages,
    pub after_withdrawal: AfterWithdrawal,
    /// Whom attestations must lead back to.
    pub roots: Roots,
}

/// One upstream of an index, ready to be asked.
#[derive(Debug)]
pub struct Upstream {
    pub origin: Arc<Origin>,
    /// The origin's base address as text: how pages remember their upstream.
    pub source: Arc<str>,
    pub names: Vec<String>,
    pub layout: Layout,
    pub auth: Auth,
    pub forbidden_means_absent: bool,
}

impl IndexConfig {
    /// Checks the settings and reads the secrets; all faults at once.
    pub fn resolve(
        &self,
        index: &str,
        read: impl Fn(&SecretSource) -> Result<Secret, String>,
    ) -> Result<Settings, Vec<ConfigError>> {
        let mut faults = Vec::new();
        if !name::is_valid(index) {
            faults.push(
                "an index is named with letters, digits, dots, dashes and underscores".to_owned(),
            );
        }
        let entries: Vec<&UpstreamEntry> = self.upstream.iter().chain(&self.upstreams).collect();
        if self.upstream.is_some() && !self.upstreams.is_empty() {
            faults
                .push("`upstream` and `upstreams` are both set; one of them is enough".to_owned());
        }
        if entries.is_empty() {
            faults.push("`upstream` is missing: the address of a simple index".to_owned());
        }
        let id = format!("pypi/{index}");
        let mut upstreams = Vec::new();
        for UpstreamEntry(entry) in entries {
            match self.upstream(&id, entry, &read) {
                Ok(upstream) => upstreams.push(Arc::new(upstream)),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            let fault = |detail| ConfigError { index: index.to_owned(), detail };
            return Err(faults.into_iter().map(fault).collect());
        }
        Ok(Settings {
            name: index.into(),
            id,
            hosts: self.hosts.clone(),
            upstreams,
            page_ttl: self.page_ttl,
            grant: self.grant.clone(),
            offline_grant: self.offline_grant,
            offline_pages: self.offline_pages,
            after_withdrawal: self.after_withdrawal,
            roots: Roots::default(),
        })
    }

    fn upstream(
        &self,
        id: &str,
        entry: &UpstreamConfig,
        read: &impl Fn(&SecretSource) -> Result<Secret, String>,
    ) -> Result<Upstream, String> {
        let base = address(&entry.url, entry.layout)?;
        let credentials = entry.credentials.as_ref().or(self.credentials.as_ref());
        let fallback = if credentials.is_some() { Auth::Service } else { Auth::None };
        let auth = entry.auth.or(self.auth).unwrap_or(fallback);
        let credentials = match (auth, credentials) {
            (Auth::Service, Some(credentials)) => Some(credentials.resolve(read)?),
            (Auth::Service, None) => {
                return Err(format!("{base} has `auth = \"service\"` but no `credentials`"));
            }
            (Auth::None | Auth::Passthrough, _) if entry.credentials.is_some() => {
                return Err(format!("{base} has `credentials` that its `auth` does not use"));
            }
            (Auth::None | Auth::Passthrough, _) => None,
        };
        let mut hosts = Vec::new();
        for rule in entry.file_hosts.iter().chain(&self.file_hosts) {
            hosts.push(host_rule(rule)?);
        }
        hosts.extend(own_domain(&base).map(HostRule::Domain));
        let private =
            entry.allow_private.or(self.allow_private).unwrap_or_else(|| is_private(&base));
        let source = base.as_str().into();
        Ok(Upstream {
            origin: Arc::new(Origin {
                id: id.into(),
                base,
                hosts,
                credentials,
                allow_private: private,
            }),
            source,
            names: entry.names.iter().map(|pattern| pattern.to_ascii_lowercase()).collect(),
            layout: entry.layout,
            auth,
            forbidden_means_absent: entry
                .forbidden_means_absent
                .unwrap_or(self.forbidden_means_absent),
        })
    }
}

impl Settings {
    /// The same, with attestations verified by these.
    #[must_use]
    pub fn trusting(self, roots: &Roots) -> Self {
        Self { roots: roots.clone(), ..self }
    }

    /// The upstreams to ask for a project, in order. One whose patterns name it is the only kind asked; names that no pattern claims
    /// go to those without patterns, so that a private name is never sent to a public index.
    pub fn upstreams_for(&self, project: &str) -> Vec<Arc<Upstream>> {
        let claims = |upstream: &&Arc<Upstream>| {
            upstream.names.iter().any(|pattern| name::fits(pattern, project))
        };
        let claimed: Vec<_> = self.upstreams.iter().filter(claims).cloned().collect();
        if !claimed.is_empty() {
            return claimed;
        }
        self.upstreams.iter().filter(|upstream| upstream.names.is_empty()).cloned().collect()
    }
}

impl Upstream {
    /// Where the page of a project (normalised) is.
    pub fn page_url(&self, project: &str) -> Url {
        match self.layout {
            Layout::Flat => self.origin.base.clone(),
            Layout::Simple => self.below(&format!("{project}/")),
        }
    }

    /// Where the legacy JSON of a project or of a release is, for an index whose address ends as the simple index's does.
    pub fn legacy_url(&self, project: &str, version: Option<&str>) -> Option<Url> {
        let is_simple =
            self.layout == Layout::Simple && self.origin.base.path().ends_with("/simple/");
        is_simple.then(|| match version {
            Some(version) => self.below(&format!("../pypi/{project}/{version}/json")),
            None => self.below(&format!("../pypi/{project}/json")),
        })
    }

    fn below(&self, relative: &str) -> Url {
        self.origin.base.join(relative).unwrap_or_else(|_| self.origin.base.clone())
    }
}

/// A flat page is an address of its own, with a query perhaps; a simple index is a folder.
fn address(text: &str, layout: Layout) -> Result<Url, String> {
    if layout == Layout::Simple {
        return base_address(text);
    }
    let page = Url::parse(text).map_err(|error| format!("{text:?} is no address: {error}"))?;
    let mut bare = page.clone();
    bare.set_query(None);
    bare.set_fragment(None);
    base_address(bare.as_str()).map(|_| page)
}

/// The domain that was registered for the index's host: hosts below it belong to the same people.
fn own_domain(base: &Url) -> Option<String> {
    match base.host()? {
        Host::Domain(host) => psl::domain_str(host).map(str::to_owned),
        Host::Ipv4(_) | Host::Ipv6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::request::Credentials;

    fn resolve(text: &str) -> Result<Settings, String> {
        let config: IndexConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        let read = |source: &SecretSource| match source {
            SecretSource::Environment(name) => Ok(Secret::new(name.as_str())),
            SecretSource::File(path) => Err(format!("{} cannot be read", path.display())),
        };
        let faults = |faults: Vec<ConfigError>| {
            faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        config.resolve("main", read).map_err(faults)
    }

    #[test]
    fn bad_settings_are_refused_with_what_was_expected() {
        for (text, expected) in [
            ("", "`upstream` is missing"),
            ("upstream = \"ftp://h/\"", "no http or https address"),
            ("upstream = \"https://u:p@h.example/simple\"", "must not hold credentials"),
            ("upstream = 3", "an address, or a table with `url`"),
            ("upstream = { url = \"https://h.example/\", nam = [] }", "unknown field `nam`"),
            ("upstream = \"https://h.example/\"\nauth = \"service\"", "no `credentials`"),
            ("upstream = \"https://h.example/\"\nfile_hosts = [\"*\"]", "is no host"),
            (
                "upstream = \"https://h.example/\"\ncredentials = { username = \"u\" }",
                "`password_file`",
            ),
            (
                "upstream = \"https://h.example/\"\ncredentials = { token_file = \"/x\" }",
                "cannot be read",
            ),
            ("upstream = \"https://h.example/\"\nupstreams = [\"nonsense\"]", "no address"),
        ] {
            let refused = resolve(text).err().unwrap_or_default();
            assert!(refused.contains(expected), "{text}: {refused}");
        }
    }

    #[test]
    fn names_go_to_the_upstreams_that_claim_them() {
        let settings = resolve(
            "upstreams = [{ url = \"https://private.example/simple\", names = [\"Acme-*\"] }, \"https://a.example/simple/\", \"https://b.example/\"]",
        )
        .expect("good settings");
        let check = |project: &str, expected: &[&str]| {
            let asked = settings.upstreams_for(project);
            let asked: Vec<_> = asked.iter().map(|upstream| &*upstream.source).collect();
            assert_eq!(asked, expected, "{project}");
        };
        check("acme-core", &["https://private.example/simple/"]);
        check("six", &["https://a.example/simple/", "https://b.example/"]);
    }

    #[test]
    fn files_may_come_from_the_own_domain_and_named_hosts_only() {
        let settings = resolve(
            "upstream = \"https://index.acme.co.uk/simple/\"\nfile_hosts = [\"files.example\", \"*.cdn.example\"]",
        )
        .expect("good settings");
        let origin = &settings.upstreams[0].origin;
        for (address, allowed) in [
            ("https://files.acme.co.uk/x", true),
            ("https://other.co.uk/x", false),
            ("https://files.example/x", true),
            ("https://a.files.example/x", false),
            ("https://a.cdn.example/x", true),
            ("https://10.0.0.1/x", false),
            ("http://files.example/x", false),
        ] {
            let url = Url::parse(address).expect("an address");
            assert_eq!(origin.allows(&url), allowed, "{address}");
        }
        assert!(!origin.allow_private);
    }

    #[test]
    fn credentials_mean_service_and_a_private_address_is_allowed_for_itself() {
        let settings = resolve(
            "upstream = \"http://127.0.0.1:3141/root/+simple\"\ncredentials = { username = \"u\", password_env = \"P\" }",
        )
        .expect("good settings");
        let upstream = &settings.upstreams[0];
        assert_eq!((upstream.auth, upstream.origin.allow_private), (Auth::Service, true));
        let expected = Credentials::Basic { username: "u".to_owned(), password: Secret::new("P") };
        assert_eq!(upstream.origin.credentials, Some(expected));
        assert_eq!(upstream.page_url("six").as_str(), "http://127.0.0.1:3141/root/+simple/six/");
        assert_eq!(upstream.legacy_url("six", None), None);
    }
}
