//! Which fields of a client's request go to the origin.
//!
//! All end-to-end fields, but for those that some origins take for the target, the host or the method: they are not in the cache key, so what
//! they bring about would be served to everybody.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::semantics::hop_by_hop;

/// How Larder names itself in `Via` (RFC 9110 section 7.6.3).
const VIA: &str = "1.1 larder";

/// Set anew by whoever sends the request; `Authorization` goes as a credential, which knows where it belongs.
const SET_BY_SENDER: [HeaderName; 3] = [header::AUTHORIZATION, header::EXPECT, header::HOST];

/// Fields by which origins let themselves be told another host, address or method.
const OVERRIDES: [&str; 14] = [
    "forwarded",
    "x-forwarded",
    "x-host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-url",
    "x-override-url",
    "x-real-ip",
    "x-rewrite-url",
    "x-url-scheme",
    "front-end-https",
];

/// The same, as a family.
const OVERRIDE_PREFIX: &str = "x-forwarded-";

/// The fields to forward, with `Via` extended.
pub(in crate::ecosystem) fn fields(client: &HeaderMap) -> HeaderMap {
    let mut fields = client.clone();
    hop_by_hop::strip(&mut fields);
    for name in SET_BY_SENDER {
        fields.remove(name);
    }
    let is_override = |name: &&HeaderName| {
        OVERRIDES.contains(&name.as_str()) || name.as_str().starts_with(OVERRIDE_PREFIX)
    };
    let overrides: Vec<HeaderName> = client.keys().filter(is_override).cloned().collect();
    for name in overrides {
        fields.remove(name);
    }
    fields.append(header::VIA, HeaderValue::from_static(VIA));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_to_end_fields_go_and_overrides_stay() {
        let mut client = HeaderMap::new();
        for (name, value) in [
            ("accept", "a/b"),
            ("accept", "c/d"),
            ("authorization", "Basic eA=="),
            ("connection", "x-hop"),
            ("cookie", "a=b"),
            ("host", "larder.example"),
            ("via", "1.0 before"),
            ("x-custom", "1"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-anything", "1"),
            ("x-hop", "1"),
            ("x-http-method-override", "DELETE"),
            ("x-original-url", "/admin"),
            ("x-rewrite-url", "/admin"),
            ("forwarded", "host=evil.example"),
        ] {
            client.append(name, HeaderValue::from_static(value));
        }
        let fields = fields(&client);
        let mut sent: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().expect("visible ASCII")))
            .collect();
        sent.sort_unstable();
        let expected = [
            ("accept", "a/b"),
            ("accept", "c/d"),
            ("cookie", "a=b"),
            ("via", "1.0 before"),
            ("via", "1.1 larder"),
            ("x-custom", "1"),
        ];
        assert_eq!(sent, expected);
    }
}
