//! Settings of the way out, `[upstream]`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use url::Url;

use super::{breaker, retry};
use crate::types::ByteSize;

/// How origins are asked. One set for all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Longest time from a name to a connection ready for use, TLS and proxy included.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Longest time from sending a request, or the last bytes of an upload, to the answer's head.
    #[serde(with = "humantime_serde")]
    pub head_timeout: Duration,
    /// Longest silence within a body. The whole may take as long as it takes.
    #[serde(with = "humantime_serde")]
    pub read_timeout: Duration,
    /// Further attempts of a GET or HEAD after a connection failed or the answer was 408, 502, 503 or 504. Time-outs are not tried again.
    pub retries: u32,
    /// The first pause before a further attempt lasts up to this long, the next ones up to twice the one before.
    #[serde(with = "humantime_serde")]
    pub retry_pause: Duration,
    /// Further attempts per hundred requests to a host, beside ten at once.
    pub retry_budget_percent: u32,
    /// The longest `Retry-After` that requests wait out; a longer one fails them until it is over.
    #[serde(with = "humantime_serde")]
    pub retry_after_max: Duration,
    /// Redirects followed for one request.
    pub max_redirects: usize,
    /// Requests under way to one host at a time, bodies included.
    pub per_host_requests: usize,
    /// Requests that wait for one host beyond those; more fail at once.
    pub per_host_queue: usize,
    /// Connection failures in a row after which a host is left alone for a while.
    pub breaker_failures: u32,
    /// How long it is left alone the first time; each failed probe doubles it.
    #[serde(with = "humantime_serde")]
    pub breaker_pause: Duration,
    /// The longest time for which a host is left alone, by its own word too.
    #[serde(with = "humantime_serde")]
    pub breaker_pause_max: Duration,
    /// `environment` (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`), `none`, or the address of a proxy. Behind a proxy it is the
    /// proxy that resolves names, so that only addresses written as numbers are checked here.
    pub proxy: Proxy,
    /// Hosts, domains and networks that are reached without the proxy given as an address.
    pub no_proxy: Vec<String>,
    /// A PEM file of certificate authorities to trust beside those of the system (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured).
    pub ca_file: Option<PathBuf>,
    /// Whether HTTP/2 is offered to hosts that speak TLS.
    pub http2: bool,
    /// How long an unused connection is kept.
    #[serde(with = "humantime_serde")]
    pub pool_idle: Duration,
    /// The largest head of an answer.
    pub max_head: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(30),
            retries: 2,
            retry_pause: Duration::from_millis(200),
            retry_budget_percent: 20,
            retry_after_max: Duration::from_secs(5),
            max_redirects: 10,
            per_host_requests: 32,
            per_host_queue: 1024,
            breaker_failures: 3,
            breaker_pause: Duration::from_secs(2),
            breaker_pause_max: Duration::from_secs(60),
            proxy: Proxy::Environment,
            no_proxy: Vec::new(),
            ca_file: None,
            http2: true,
            pool_idle: Duration::from_secs(90),
            max_head: ByteSize::kib(128),
        }
    }
}

impl Config {
    pub(super) const fn breaker(&self) -> breaker::Settings {
        breaker::Settings {
            failures: self.breaker_failures,
            pause: self.breaker_pause,
            pause_max: self.breaker_pause_max,
        }
    }

    pub(super) const fn retry(&self) -> retry::Settings {
        retry::Settings {
            retries: self.retries,
            pause: self.retry_pause,
            wait_max: self.retry_after_max,
        }
    }
}

/// Which proxy stands between us and the origins.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Proxy {
    Environment,
    None,
    /// An `http` or `https` address; may carry a user and a password, which are not shown.
    At(Url),
}

impl TryFrom<String> for Proxy {
    type Error = ConfigError;

    fn try_from(text: String) -> Result<Self, ConfigError> {
        match text.as_str() {
            "environment" => Ok(Self::Environment),
            "none" => Ok(Self::None),
            address => match Url::parse(address) {
                Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Self::At(url)),
                _ => Err(ConfigError::Proxy),
            },
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("environment"),
            Self::None => f.write_str("none"),
            Self::At(url) => f.write_str(&super::request::display_address(url)),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Proxy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("a proxy is `environment`, `none`, or an http or https address")]
    Proxy,
    #[error("upstream.ca_file: {} holds no certificate authorities: {detail}", path.display())]
    CaFile { path: PathBuf, detail: String },
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_read_back_from_what_it_writes() {
        let text = toml::to_string(&Config::default()).expect("settings are plain values");
        assert_eq!(toml::from_str::<Config>(&text).expect("it reads"), Config::default());
    }

    #[test]
    fn a_proxy_is_a_word_or_an_address_and_hides_its_password() {
        for (text, shown) in [
            ("environment", Some("environment")),
            ("none", Some("none")),
            ("http://u:secret@proxy.example:3128", Some("http://proxy.example:3128/")),
            ("https://proxy.example", Some("https://proxy.example/")),
            ("socks5://proxy.example", None),
            ("proxy.example:3128", None),
            ("", None),
        ] {
            let proxy = Proxy::try_from(text.to_owned()).ok();
            assert_eq!(proxy.map(|proxy| proxy.to_string()).as_deref(), shown, "{text}");
        }
    }
}
