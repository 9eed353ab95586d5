//! Reads the addresses to listen on: a list, or one address, which reads better in an environment variable.

use std::fmt;
use std::net::SocketAddr;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<SocketAddr>, D::Error> {
    deserializer.deserialize_any(Addresses)
}

struct Addresses;

impl<'de> Visitor<'de> for Addresses {
    type Value = Vec<SocketAddr>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list such as [\"127.0.0.1:8484\", \"[::1]:8484\"]")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        OneAddress.visit_str(text).map(|Address(address)| vec![address])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut addresses = Vec::new();
        while let Some(Address(address)) = items.next_element()? {
            addresses.push(address);
        }
        Ok(addresses)
    }
}

struct Address(SocketAddr);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(OneAddress)
    }
}

struct OneAddress;

impl Visitor<'_> for OneAddress {
    type Value = Address;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address with a port such as \"127.0.0.1:8484\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Address, E> {
        let unexpected = de::Unexpected::Str(text);
        text.parse().map(Address).map_err(|_| E::invalid_value(unexpected, &self))
    }
}
