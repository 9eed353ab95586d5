//! Settings that mounts of any protocol have in common: where their origin is, and as whom it is asked.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::types::Secret;
use crate::upstream::request::{Credentials, HostRule};

/// `{ username, password_file | password_env }` or `{ token_file | token_env }`. Secrets themselves are never in the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CredentialsConfig {
    pub username: Option<String>,
    pub password_file: Option<PathBuf>,
    pub password_env: Option<String>,
    pub token_file: Option<PathBuf>,
    pub token_env: Option<String>,
}

/// Where a secret is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    File(PathBuf),
    Environment(String),
}

impl CredentialsConfig {
    /// The credentials, with what `read` finds for their secret part.
    pub fn resolve(
        &self,
        read: impl Fn(&SecretSource) -> Result<Secret, String>,
    ) -> Result<Credentials, String> {
        let sources = |file: &Option<PathBuf>, variable: &Option<String>| {
            let file = file.clone().map(SecretSource::File);
            let variable = variable.clone().map(SecretSource::Environment);
            file.into_iter().chain(variable).collect::<Vec<_>>()
        };
        let password = sources(&self.password_file, &self.password_env);
        let token = sources(&self.token_file, &self.token_env);
        match (&self.username, password.as_slice(), token.as_slice()) {
            (Some(username), [password], []) => {
                Ok(Credentials::Basic { username: username.clone(), password: read(password)? })
            }
            (None, [], [token]) => Ok(Credentials::Bearer(read(token)?)),
            _ => Err("`credentials` are a `username` with one of `password_file` and `password_env`, or one of \
                      `token_file` and `token_env`"
                .to_owned()),
        }
    }
}

/// Reads an origin's base address: http or https, without credentials, query and fragment. It gets its trailing slash here.
pub fn base_address(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| format!("{text:?} is no address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(format!("{text:?} is no http or https address"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("an upstream's address must not hold credentials; put them into `credentials`"
            .to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!(
            "{text:?} has more than a path; a query or fragment has no place here"
        ));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// Reads `files.example.org` or `*.example.org`.
pub fn host_rule(text: &str) -> Result<HostRule, String> {
    let (is_domain, host) = match text.strip_prefix("*.") {
        Some(host) => (true, host),
        None => (false, text),
    };
    if host.is_empty() || host.contains(['*', '/', '@', ' ']) {
        return Err(format!("{text:?} is no host: write `files.example.org` or `*.example.org`"));
    }
    let host = host.to_ascii_lowercase();
    Ok(if is_domain { HostRule::Domain(host) } else { HostRule::Exact(host) })
}

/// Whether an address is not globally reachable by its looks: loopback, private and link-local networks.
pub fn is_private(base: &Url) -> bool {
    let address: IpAddr = match base.host() {
        Some(Host::Domain(host)) => return host == "localhost" || host.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.into(),
        Some(Host::Ipv6(address)) => address.to_canonical(),
        None => return false,
    };
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        let check = |text: &str, expected: Option<&str>| {
            let read = base_address(text);
            assert_eq!(read.as_ref().ok().map(Url::as_str), expected, "{text}: {read:?}");
        };
        check("http://h.example", Some("http://h.example/"));
        check("https://h.example/a/b", Some("https://h.example/a/b/"));
        check("ftp://h.example/", None);
        check("h.example", None);
        check("http://me:pass@h.example/", None);
        check("http://h.example/?a", None);
    }

    #[test]
    fn private_looks_are_seen() {
        for (text, expected) in [
            ("http://127.0.0.1:80/", true),
            ("http://localhost/", true),
            ("http://10.1.2.3/", true),
            ("http://[::1]/", true),
            ("http://[::ffff:192.168.0.1]/", true),
            ("http://192.0.2.1/", false),
            ("http://h.example/", false),
        ] {
            assert_eq!(is_private(&base_address(text).expect("an address")), expected, "{text}");
        }
    }

    #[test]
    fn credentials_are_whole_or_refused() {
        let read = |_: &SecretSource| Ok(Secret::new("s"));
        let token =
            CredentialsConfig { token_env: Some("T".to_owned()), ..CredentialsConfig::default() };
        assert_eq!(token.resolve(read), Ok(Credentials::Bearer(Secret::new("s"))));
        let name = CredentialsConfig { username: Some("u".to_owned()), ..Default::default() };
        assert!(name.resolve(read).is_err());
        let both = CredentialsConfig { token_env: Some("T".to_owned()), ..name };
        assert!(both.resolve(read).is_err());
    }
}
