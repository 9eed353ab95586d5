//! What is said at start-up, and on the start page: where Larder listens, where data lives, what each client must be told. Pure.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use url::{Host, Url};

use crate::admin::{Guide, GuideLine, PREFIX};
use crate::config::Config;

/// The lines for whoever started it. `addresses` are those really listened on.
pub fn banner(config: &Config, addresses: &[SocketAddr]) -> String {
    let mut text = format!("Larder {}\n", env!("CARGO_PKG_VERSION"));
    for address in addresses {
        let note = match address.ip().is_unspecified() {
            true => "  (and this machine's other addresses)",
            false => "",
        };
        let _ = writeln!(text, "  listens on  {}{note}", root_at(config, *address));
    }
    let _ = writeln!(text, "  keeps in    {}", config.data_dir.display());
    let _ = writeln!(text, "  tells more  {}{}", root(config, addresses), PREFIX);
    for guide in guides(config, addresses) {
        let _ = writeln!(text, "\n{}", guide.mount);
        for line in &guide.lines {
            let _ = writeln!(text, "  {:<8}{}", line.client, line.text);
        }
    }
    text
}

/// What clients of each mount must be told.
pub fn guides(config: &Config, addresses: &[SocketAddr]) -> Vec<Guide> {
    let root = root(config, addresses);
    let indexes = config.pypi.indexes.keys().map(|name| python_index(&root, name));
    let origins = config.generic.keys().map(|name| any_origin(&root, name));
    let registries = (!config.oci.registries.is_empty()).then(|| registries(config, &root));
    let hub = config.huggingface.is_on().then(|| hub(&root));
    hub.into_iter().chain(indexes).chain(registries).chain(origins).collect()
}

/// What each way of pulling images must be told. The name of a registry stands before the image's wherever a client cannot be given a mirror.
fn registries(config: &Config, root: &str) -> Guide {
    let default = &config.oci.default;
    let (_, authority) = root.split_once("://").unwrap_or(("", root));
    let verify = if root.starts_with("http:") { "--tls-verify=false " } else { "" };
    let lines = [
        ("docker", format!("daemon.json: {{\"registry-mirrors\": [\"{root}\"]}} (for {default})")),
        (
            "ctr",
            format!(
                "certs.d/_default/hosts.toml: [host.\"{root}\"] capabilities = [\"pull\", \"resolve\"]"
            ),
        ),
        ("podman", format!("podman pull {verify}{authority}/{default}/library/IMAGE")),
        (
            "any",
            format!(
                "{authority}/REGISTRY/NAME:TAG, as in {authority}/{default}/library/alpine:latest"
            ),
        ),
    ];
    Guide { mount: "oci".to_owned(), lines: lines.map(line).to_vec() }
}

fn hub(root: &str) -> Guide {
    let lines = [
        ("hf", format!("HF_ENDPOINT={root} hf download ORG/MODEL")),
        (
            "any",
            format!("HF_ENDPOINT={root}, for transformers, datasets, vLLM and llama.cpp alike"),
        ),
    ];
    Guide { mount: "huggingface".to_owned(), lines: lines.map(line).to_vec() }
}

fn any_origin(root: &str, name: &str) -> Guide {
    let text = format!("{root}/generic/{name}/ stands for the address of its upstream");
    Guide { mount: format!("generic/{name}"), lines: vec![line(("any", text))] }
}

fn python_index(root: &str, name: &str) -> Guide {
    let (url, source) = match name {
        "default" => (format!("{root}/simple/"), "larder"),
        _ => (format!("{root}/pypi/{name}/simple/"), name),
    };
    // pip takes plain HTTP from elsewhere than loopback only when it is told to.
    let trust =
        plain_remote_host(&url).map_or_else(String::new, |host| format!("--trusted-host {host} "));
    let lines = [
        ("pip", format!("pip install --index-url {url} {trust}PACKAGE")),
        ("uv", format!("uv pip install --default-index {url} PACKAGE")),
        ("poetry", format!("poetry source add --priority=primary {source} {url}")),
    ];
    Guide { mount: format!("pypi/{name}"), lines: lines.map(line).to_vec() }
}

fn line((client, text): (&str, String)) -> GuideLine {
    GuideLine { client: client.to_owned(), text }
}

/// The host of an address that is neither encrypted nor on this machine.
fn plain_remote_host(url: &str) -> Option<String> {
    let url = Url::parse(url).ok().filter(|url| url.scheme() == "http")?;
    let is_local = match url.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    };
    url.host_str().filter(|_| !is_local).map(str::to_owned)
}

/// How clients see the root, without a slash at the end: the configured address, else that of the first listener.
pub(crate) fn root(config: &Config, addresses: &[SocketAddr]) -> String {
    match (&config.public_url, addresses.first()) {
        (Some(url), _) => url.trim_end_matches('/').to_owned(),
        (None, Some(address)) => root_at(config, *address),
        (None, None) => String::new(),
    }
}

/// How this machine itself reaches the root, without a slash at the end, whatever stands before it: over loopback where a listener allows that. `None`: no
/// port is known, since the system is to choose.
pub(crate) fn listener(config: &Config) -> Option<String> {
    let known = || config.listen.iter().filter(|address| address.port() != 0);
    let mut near = known().filter(|address| {
        let ip = address.ip();
        ip.is_loopback() || ip.is_unspecified()
    });
    near.next().or_else(|| known().next()).map(|address| root_at(config, *address))
}

/// The root at an address that can be typed on this machine: a listener on all interfaces is reached over loopback.
fn root_at(config: &Config, address: SocketAddr) -> String {
    let scheme = if config.tls.certificate.is_some() { "https" } else { "http" };
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    format!("{scheme}://{}", SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecosystem::generic;
    use crate::ecosystem::pypi::IndexConfig;

    fn config() -> Config {
        let mut config = Config { data_dir: "/data".into(), ..Config::default() };
        for name in ["default", "corp"] {
            config.pypi.indexes.insert(name.to_owned(), IndexConfig::default());
        }
        config.generic.insert("files".to_owned(), generic::Config::default());
        config
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn it_says_where_and_what_to_type() {
        let shown = banner(&config(), &addresses(&["127.0.0.1:8484", "[::]:8485"]));
        let expected = [
            "  listens on  http://127.0.0.1:8484",
            "  listens on  http://[::1]:8485  (and this machine's other addresses)",
            "  keeps in    /data",
            "  tells more  http://127.0.0.1:8484/-/",
            "",
            "pypi/corp",
            "  pip     pip install --index-url http://127.0.0.1:8484/pypi/corp/simple/ PACKAGE",
            "  uv      uv pip install --default-index http://127.0.0.1:8484/pypi/corp/simple/ PACKAGE",
            "  poetry  poetry source add --priority=primary corp http://127.0.0.1:8484/pypi/corp/simple/",
            "",
            "pypi/default",
            "  pip     pip install --index-url http://127.0.0.1:8484/simple/ PACKAGE",
            "  uv      uv pip install --default-index http://127.0.0.1:8484/simple/ PACKAGE",
            "  poetry  poetry source add --priority=primary larder http://127.0.0.1:8484/simple/",
            "",
            "generic/files",
            "  any     http://127.0.0.1:8484/generic/files/ stands for the address of its upstream",
        ];
        assert_eq!(shown.lines().skip(1).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn this_machine_reaches_the_listener_and_not_what_stands_before_it() {
        let check = |listen: &[&str], expected: Option<&str>| {
            let public_url = Some("https://larder.example".to_owned());
            let config = Config { listen: addresses(listen), public_url, ..Config::default() };
            assert_eq!(listener(&config).as_deref(), expected, "{listen:?}");
        };
        check(&["127.0.0.1:8484"], Some("http://127.0.0.1:8484"));
        check(&["10.0.0.1:80", "[::1]:8485"], Some("http://[::1]:8485"));
        check(&["10.0.0.1:80", "0.0.0.0:81"], Some("http://127.0.0.1:81"));
        check(&["10.0.0.1:80"], Some("http://10.0.0.1:80"));
        check(&["127.0.0.1:0"], None);
    }

    #[test]
    fn pip_is_told_to_trust_plain_hosts_elsewhere_and_only_those() {
        let check =
            |public_url: Option<&str>, certificate: Option<&str>, listen: &str, expected: &str| {
                let mut config = config();
                config.public_url = public_url.map(str::to_owned);
                config.tls.certificate = certificate.map(Into::into);
                let guides = guides(&config, &addresses(&[listen]));
                assert_eq!(
                    guides[1].lines[0].text,
                    format!("pip install --index-url {expected} PACKAGE")
                );
            };
        check(None, None, "10.0.0.1:80", "http://10.0.0.1:80/simple/ --trusted-host 10.0.0.1");
        check(None, None, "0.0.0.0:80", "http://127.0.0.1:80/simple/");
        check(None, Some("cert.pem"), "10.0.0.1:443", "https://10.0.0.1:443/simple/");
        let (plain, encrypted) = ("http://l.example/x/", "https://l.example");
        check(Some(plain), None, "[::1]:1", "http://l.example/x/simple/ --trusted-host l.example");
        check(Some(encrypted), None, "10.0.0.1:80", "https://l.example/simple/");
    }
}
