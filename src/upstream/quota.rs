//! What a host says of its quotas: how much is left, and for how long nothing is.
//!
//! Read from `RateLimit` fields, items such as `"api";r=499;t=123` (draft-ietf-httpapi-ratelimit-headers). Pure. Left out: what is done
//! about it, which is the same as for `Retry-After`.

use std::time::Duration;

use http::HeaderName;
use sfv::{BareItem, Item, List, ListEntry, Parser};

use crate::types::Head;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Quotas that are read from one answer, and the longest name of one: hosts have a few, with short names.
const MOST_QUOTAS: usize = 8;
const LONGEST_NAME: usize = 40;

/// What is left of one of a host's quotas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// The host's name for it: `api`.
    pub name: String,
    pub remaining: u64,
    /// When it is whole again.
    pub resets_in: Option<Duration>,
}

/// The quotas that a head speaks of; none where the field is absent or malformed.
pub fn quotas(head: &Head) -> Vec<Quota> {
    let text = head.text(&RATE_LIMIT);
    let list: Option<List> = text.and_then(|text| Parser::new(text).parse().ok());
    let items = list.into_iter().flatten().filter_map(|entry| match entry {
        ListEntry::Item(item) => Quota::read(&item),
        ListEntry::InnerList(_) => None,
    });
    items.take(MOST_QUOTAS).collect()
}

/// How long a host that has enough of us wants to be left alone, by its quotas: until the last one that is used up is whole again.
pub fn used_up(head: &Head) -> Option<Duration> {
    let empty = quotas(head).into_iter().filter(|quota| quota.remaining == 0);
    empty.filter_map(|quota| quota.resets_in).max()
}

impl Quota {
    fn read(item: &Item) -> Option<Self> {
        let name = match &item.bare_item {
            BareItem::String(name) => name.as_str(),
            BareItem::Token(name) => name.as_str(),
            _ => return None,
        };
        let number = |key: &str| {
            let (_, value) = item.params.iter().find(|(name, _)| name.as_str() == key)?;
            match value {
                BareItem::Integer(number) => u64::try_from(i64::from(*number)).ok(),
                _ => None,
            }
        };
        let plain = |letter: &char| letter.is_ascii_alphanumeric() || "-_. ".contains(*letter);
        Some(Self {
            name: name.chars().filter(plain).take(LONGEST_NAME).collect(),
            remaining: number("r")?,
            resets_in: number("t").map(Duration::from_secs),
        })
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, StatusCode};

    use super::*;

    #[test]
    fn quotas_are_read_and_nonsense_is_not() {
        let check = |text: &'static str, expected: &[(&str, u64)], wait: Option<u64>| {
            let mut head = Head::new(StatusCode::TOO_MANY_REQUESTS);
            head.headers.insert(RATE_LIMIT, HeaderValue::from_static(text));
            let read = quotas(&head);
            let read: Vec<_> =
                read.iter().map(|quota| (quota.name.as_str(), quota.remaining)).collect();
            assert_eq!(read, expected, "{text}");
            assert_eq!(used_up(&head), wait.map(Duration::from_secs), "{text}");
        };
        check("\"resolvers\";r=2999;t=123", &[("resolvers", 2999)], None);
        check("\"api\";r=0;t=30, pages;r=0;t=90", &[("api", 0), ("pages", 0)], Some(90));
        check("\"api\";r=0", &[("api", 0)], None);
        check("\"api\";t=30", &[], None);
        check("\"api\";r=-1", &[], None);
        check("limit=100, remaining=50", &[], None);
        check("(\"a\" \"b\");r=1", &[], None);
    }
}
