//! Which proxy a request goes through.

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use super::config::{Config, Proxy};

/// The proxies between us and the origins, by scheme and host.
#[derive(Debug)]
pub struct Proxies(Option<Matcher>);

impl Proxies {
    /// Reads the environment now, if the configuration says so.
    pub fn new(config: &Config) -> Self {
        Self(match &config.proxy {
            Proxy::None => None,
            Proxy::Environment => Some(Matcher::from_env()),
            Proxy::At(url) => {
                Some(Matcher::builder().all(url.as_str()).no(config.no_proxy.join(",")).build())
            }
        })
    }

    /// The proxy to go through for `target`.
    pub fn before(&self, target: &Uri) -> Option<Intercept> {
        self.0.as_ref()?.intercept(target)
    }

    /// What the request itself tells a proxy: only one that it names to the proxy in clear. A tunnel is authorised when it is dug.
    pub fn authorization(&self, target: &Uri) -> Option<HeaderValue> {
        match target.scheme_str() {
            Some("http") => self.before(target)?.basic_auth().cloned(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(no_proxy: &[&str]) -> Proxies {
        Proxies::new(&Config {
            proxy: Proxy::At("http://u:p@proxy.example:3128".parse().expect("an address")),
            no_proxy: no_proxy.iter().map(|&name| name.to_owned()).collect(),
            ..Config::default()
        })
    }

    #[test]
    fn named_hosts_and_networks_go_past_the_proxy() {
        let proxies = proxies(&["index.example", "10.0.0.0/8"]);
        for (target, through) in [
            ("https://files.example/", true),
            ("http://files.example/", true),
            ("http://index.example/", false),
            ("https://deep.index.example/", false),
            ("http://10.1.2.3/", false),
            ("http://11.1.2.3/", true),
        ] {
            let target = target.parse().expect("an address");
            assert_eq!(proxies.before(&target).is_some(), through, "{target}");
        }
    }

    #[test]
    fn only_requests_in_clear_carry_the_proxy_password() {
        let proxies = proxies(&[]);
        let shown = proxies.authorization(&Uri::from_static("http://index.example/"));
        assert_eq!(shown, Some(HeaderValue::from_static("Basic dTpw")));
        assert_eq!(proxies.authorization(&Uri::from_static("https://index.example/")), None);
    }
}
