//! Grants: who may read what Larder's own credential opens upstream.

use serde::{Deserialize, Serialize};

use crate::ecosystem::Ask;
use crate::types::Network;

/// A list of those who may: names of access tokens or client certificates, networks, or `*` for whoever may use this server. Nobody by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Grant(Vec<Grantee>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Grantee {
    Everybody,
    /// By the name that its token or certificate gives it.
    Client(String),
    /// Wherever in it, with a token or without one.
    Network(Network),
}

impl Grant {
    /// Held by everybody.
    pub fn to_everybody() -> Self {
        Self(vec![Grantee::Everybody])
    }

    /// Whether the client of a request is among them.
    pub fn holds(&self, ask: &Ask) -> bool {
        self.0.iter().any(|one| match one {
            Grantee::Everybody => true,
            Grantee::Client(name) => ask.client.as_ref() == Some(name),
            Grantee::Network(network) => network.contains(ask.address),
        })
    }

    /// The clients that it names.
    pub fn clients(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|one| match one {
            Grantee::Client(name) => Some(name.as_str()),
            Grantee::Everybody | Grantee::Network(_) => None,
        })
    }

    /// The networks that it names.
    pub fn networks(&self) -> impl Iterator<Item = Network> {
        self.0.iter().filter_map(|one| match one {
            Grantee::Network(network) => Some(*network),
            Grantee::Everybody | Grantee::Client(_) => None,
        })
    }
}

impl From<Vec<String>> for Grant {
    /// What reads as an address or a network is one; nothing else is.
    fn from(texts: Vec<String>) -> Self {
        let read = |text: String| match text.parse() {
            _ if text == "*" => Grantee::Everybody,
            Ok(network) => Grantee::Network(network),
            Err(_) => Grantee::Client(text),
        };
        Self(texts.into_iter().map(read).collect())
    }
}

impl From<Grant> for Vec<String> {
    fn from(grant: Grant) -> Self {
        let write = |one| match one {
            Grantee::Everybody => "*".to_owned(),
            Grantee::Client(name) => name,
            Grantee::Network(network) => network.into(),
        };
        grant.0.into_iter().map(write).collect()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;
    use crate::types::Timestamp;

    #[test]
    fn a_grant_is_held_by_name_by_network_or_by_everybody() {
        let check = |grant: &[&str], client: Option<&str>, address: &str, expected: bool| {
            let grant: Grant =
                grant.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>().into();
            let ask = Ask {
                method: Method::GET,
                path: String::new(),
                query: None,
                headers: HeaderMap::new(),
                prefix: "/".to_owned(),
                base: String::new(),
                credential: None,
                client: client.map(str::to_owned),
                address: address.parse().expect("an address"),
                now: Timestamp(0),
                as_of: None,
                rules: std::sync::Arc::default(),
            };
            assert_eq!(grant.holds(&ask), expected, "{grant:?} {client:?} {address}");
        };
        check(&[], None, "10.1.0.1", false);
        check(&["*"], None, "10.1.0.1", true);
        check(&["ci"], Some("ci"), "10.1.0.1", true);
        check(&["ci"], Some("cib"), "10.1.0.1", false);
        check(&["ci"], None, "10.1.0.1", false);
        check(&["ci", "10.1.0.0/16"], None, "10.1.255.1", true);
        check(&["10.1.0.0/16"], Some("10.1.0.0/16"), "10.2.0.1", false);
        check(&["10.1.0.0/16"], None, "::ffff:10.1.0.1", true);
        check(&["10.1.0.1"], None, "10.1.0.2", false);
        check(&["fd00::/8"], None, "fd12::1", true);
    }

    #[test]
    fn a_grant_is_written_as_it_was_read() {
        let texts: Vec<String> = ["*", "ci", "10.1.0.0/16", "fd00::/8"].map(str::to_owned).to_vec();
        let grant = Grant::from(texts.clone());
        assert_eq!(grant.clients().collect::<Vec<_>>(), ["ci"]);
        assert_eq!(grant.networks().count(), 2);
        assert_eq!(Vec::<String>::from(grant), texts);
    }
}
