//! Which addresses a connection may go to: the last line against requests forged by way of an index page or a redirect.
//!
//! Names are checked by `Origin::allows` before; here the addresses that they resolve to are. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::{HostRule, Origin};

/// How far a connection may reach into networks that are not public. One connection pool exists for each, since a pooled
/// connection is not checked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Globally reachable addresses only.
    Global,
    /// Private networks too, but neither this machine nor its link: no loopback, link-local or metadata address.
    Site,
    /// Anything. For the address that the operator wrote down.
    Any,
}

impl Reach {
    /// How far a request of `origin` for `url` may reach. Hosts that the configuration names one by one are looked up by the operator's own
    /// name service, which may well say a private address (a mirror under the public name). Where a page or a redirect leads otherwise must be public.
    /// Only the configured address itself may be this machine or on its link, and others when it is one itself.
    pub fn of(origin: &Origin, url: &Url) -> Self {
        let is_base = origin.base.host() == url.host();
        match origin.allow_private {
            true if is_base || is_local_host(&origin.base) => Self::Any,
            true => Self::Site,
            false if is_base || is_named(origin, url) => Self::Site,
            false => Self::Global,
        }
    }

    /// Whether a connection to `address` is within this reach.
    pub fn admits(self, address: IpAddr) -> bool {
        match self {
            Self::Global => is_global(address),
            Self::Site => !is_local(address),
            Self::Any => true,
        }
    }
}

/// Whether a name, not a bare address, is among the origin's hosts by itself.
fn is_named(origin: &Origin, url: &Url) -> bool {
    let Some(Host::Domain(host)) = url.host() else { return false };
    let exact = |rule: &HostRule| matches!(rule, HostRule::Exact(_)) && rule.covers(host);
    origin.hosts.iter().any(exact)
}

fn is_local_host(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => is_local(address.into()),
        Some(Host::Ipv6(address)) => is_local(address.into()),
        None => false,
    }
}

/// Addresses of cloud metadata services that lie outside the link-local networks.
const METADATA: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// This machine, its link, a group of machines, or a metadata service.
fn is_local(address: IpAddr) -> bool {
    let reserved = match address {
        IpAddr::V4(v4) => {
            v4.octets()[0] == 0
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
        }
        IpAddr::V6(v6) => {
            v6.is_unspecified()
                || v6.is_loopback()
                || v6.is_unicast_link_local()
                || v6.is_multicast()
        }
    };
    reserved || METADATA.contains(&address) || embedded(address).is_some_and(is_local)
}

/// Globally reachable by the registries of special-purpose addresses (RFC 6890).
fn is_global(address: IpAddr) -> bool {
    if is_local(address) {
        return false;
    }
    match (address, embedded(address)) {
        (_, Some(inner)) => is_global(inner),
        (IpAddr::V4(v4), None) => is_global_v4(v4),
        (IpAddr::V6(v6), None) => is_global_v6(v6),
    }
}

fn is_global_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        [100, second, ..] => (64..128).contains(&second),
        [192, 0, 0, _] | [192, 88, 99, _] => true,
        [198, second, ..] => second == 18 || second == 19,
        [first, ..] => first >= 240,
    };
    !(special || address.is_private() || address.is_documentation())
}

fn is_global_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // Protocol assignments, Teredo and documentation.
        [0x2001, second, ..] => second >= 0x200 && second != 0xdb8,
        [0x3fff, second, ..] => second >= 0x1000,
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

/// The IPv4 address within a mapped, translated (NAT64) or 6to4 address.
fn embedded(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = address else { return None };
    let (high, low) = match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => (high, low),
        [0x2002, high, low, ..] => (high, low),
        _ => return None,
    };
    Some(IpAddr::V4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_network_is_within_its_reach() {
        for (network, site, global) in [
            ("127.0.0.1 127.9.9.9 ::1 0.0.0.0 0.1.2.3 ::", false, false),
            ("169.254.169.254 fe80::1 fd00:ec2::254 100.100.100.200 192.0.0.192", false, false),
            ("224.0.0.1 255.255.255.255 ff02::1", false, false),
            ("::ffff:127.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1 2002:7f00:1::", false, false),
            ("10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 fc00::1", true, false),
            ("fd12:3456::1 ::ffff:10.0.0.1 64:ff9b::a00:1 64:ff9b:1::1", true, false),
            ("192.0.2.1 198.51.100.1 203.0.113.1 198.18.0.1 240.0.0.1", true, false),
            ("2001:db8::1 2001::1 3fff::1 ::5db8:d822", true, false),
            ("93.184.216.34 172.32.0.1 100.128.0.1 192.0.1.1 198.20.0.1", true, true),
            ("2606:2800:220:1::1 2a00::1 ::ffff:93.184.216.34 64:ff9b::5db8:d822", true, true),
        ] {
            for text in network.split(' ') {
                let address = text.parse().expect("a test names addresses");
                assert!(Reach::Any.admits(address), "{text}");
                assert_eq!(Reach::Site.admits(address), site, "{text}");
                assert_eq!(Reach::Global.admits(address), global, "{text}");
            }
        }
    }

    #[test]
    fn only_the_configured_host_may_be_this_machine() {
        for (base, allow_private, url, reach) in [
            ("https://index.example/", false, "https://index.example/x", Reach::Site),
            ("https://index.example/", false, "https://files.example/x", Reach::Site),
            ("https://index.example/", false, "https://a.cdn.example/x", Reach::Global),
            ("https://index.example/", false, "https://127.0.0.1/", Reach::Global),
            ("http://index.example/", true, "http://index.example:81/x", Reach::Any),
            ("http://index.example/", true, "http://files.example/x", Reach::Site),
            ("http://10.0.0.1/", true, "http://127.0.0.1/", Reach::Site),
            ("http://127.0.0.1:1/", true, "http://localhost:2/", Reach::Any),
            ("http://localhost/", true, "http://127.0.0.1/", Reach::Any),
            ("http://[::1]/", true, "http://127.0.0.1/", Reach::Any),
        ] {
            let origin = Origin {
                id: "test".into(),
                base: base.parse().expect("a test names addresses"),
                hosts: vec![
                    HostRule::Exact("files.example".to_owned()),
                    HostRule::Domain("cdn.example".to_owned()),
                ],
                credentials: None,
                allow_private,
            };
            let url = url.parse().expect("a test names addresses");
            assert_eq!(Reach::of(&origin, &url), reach, "{base} {url}");
        }
    }
}
