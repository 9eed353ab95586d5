//! Signs that a proxy passes on somebody else's request. Whose word on that somebody is taken is `access`'s to say.

use http::HeaderMap;

/// Fields that proxies add. Most are believed by nobody here, and a sign all the same.
const SIGNS: [&str; 9] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
];

/// Whether a proxy says that it passes on somebody else's request.
pub(super) fn is_forwarded(headers: &HeaderMap) -> bool {
    SIGNS.iter().any(|name| headers.contains_key(*name))
}
