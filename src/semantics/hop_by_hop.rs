//! Fields that belong to one connection only (RFC 9110 section 7.6.1).

use http::{HeaderMap, HeaderName, header};

/// Fields that never go further, whether `Connection` names them or not.
const ALWAYS: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Fields of the same kind that no registry of names covers.
const BY_NAME: [&str; 3] = ["keep-alive", "proxy-connection", "proxy-authentication-info"];

/// Fields that `Connection` may not take away: naming them is an attack on whoever reads them behind us (VSV00010 class).
const END_TO_END: [HeaderName; 6] = [
    header::CACHE_CONTROL,
    header::CONTENT_LENGTH,
    header::HOST,
    header::AUTHORIZATION,
    header::RANGE,
    header::VARY,
];

/// Removes hop-by-hop fields and those that `Connection` nominates.
pub fn strip(headers: &mut HeaderMap) {
    let nominated: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| !END_TO_END.contains(name))
        .collect();
    for name in nominated.iter().chain(&ALWAYS) {
        headers.remove(name);
    }
    for name in BY_NAME {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nominated_fields_go_and_end_to_end_fields_stay() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Mine, cache-control"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("cache-control", "no-store"),
            ("etag", "\"a\""),
        ] {
            headers.insert(HeaderName::from_static(name), value.parse().expect("a field value"));
        }
        strip(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["cache-control", "etag"]);
    }
}
