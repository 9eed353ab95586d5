//! What is said at start-up, and on the start page: where Larder listens, where data lives, what each client must be told. Pure.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::admin::Guide;
use crate::config::Config;

/// The lines for whoever started it. `addresses` are those really listened on.
pub fn banner(config: &Config, addresses: &[SocketAddr]) -> String {
    let mut text = format!("Larder {}\n", env!("CARGO_PKG_VERSION"));
    for address in addresses {
        let _ = writeln!(text, "  listens on  {}", address_of(*address));
    }
    let _ = writeln!(text, "  keeps in    {}", config.data_dir.display());
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
    let _base = base(config, addresses);
    Vec::new()
}

/// How clients see the root: the configured address, else that of the first listener.
fn base(config: &Config, addresses: &[SocketAddr]) -> String {
    match (&config.public_url, addresses.first()) {
        (Some(url), _) => url.trim_end_matches('/').to_owned(),
        (None, Some(address)) => address_of(*address),
        (None, None) => String::new(),
    }
}

/// An address that can be typed on this machine: a listener on all interfaces is reached over loopback.
fn address_of(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}
