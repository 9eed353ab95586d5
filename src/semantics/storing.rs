//! What a shared cache may store (RFC 9111 section 3), and which fields of it (section 3.1).

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use url::Url;

use crate::semantics::cache_control::{Reach, RequestDirectives};
use crate::semantics::freshness::{Rules, date, is_heuristically_cacheable};
use crate::semantics::{hop_by_hop, vary};
use crate::types::{Head, Timestamp};

/// Request fields beyond this many bytes, or a single one beyond [`LARGEST_FIELD_BYTES`], can be what made an origin refuse.
const LARGEST_FIELDS_BYTES: usize = 8 << 10;
const LARGEST_FIELD_BYTES: usize = 2 << 10;

/// Statuses that a request's own form can cause: its fields are not in the key, so one client's oddity must not become
/// everybody's answer (the CPDoS class).
const REFUSALS: [u16; 8] = [400, 405, 406, 411, 413, 414, 431, 501];

/// Final statuses whose meaning for caching is known here, for `must-understand` (section 5.2.2.3).
const UNDERSTOOD: [u16; 40] = [
    200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 305, 307, 308, 400, 401, 402, 403, 404, 405,
    406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 426, 500, 501, 502, 503,
    504, 505,
];

/// The request that an answer belongs to, as the origin saw it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub method: &'a Method,
    pub url: &'a Url,
    pub headers: &'a HeaderMap,
    pub wishes: &'a RequestDirectives,
    pub authorization: Authorization,
}

/// Whether the client identified itself to the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authorization {
    Absent,
    Present,
}

/// Why an answer must not be stored, as a short token; `None` when it may be.
pub fn obstacle(asked: &Asked<'_>, head: &Head, rules: &Rules) -> Option<&'static str> {
    let directives = &rules.directives;
    let status = head.status.as_u16();
    let explicit = rules.is_explicit(&head.headers);
    let understood = UNDERSTOOD.contains(&status);
    let authorised =
        directives.public || directives.must_revalidate || directives.s_maxage.is_some();
    let obstacles = [
        (!method_allows(asked, head, explicit), "method"),
        (head.status.is_informational() || matches!(status, 206 | 304), "status"),
        (directives.must_understand && !understood, "must-understand"),
        // `must-understand` lifts `no-store` where the status is understood (section 5.2.2.3).
        (directives.no_store && !directives.must_understand, "no-store"),
        (asked.wishes.no_store, "request-no-store"),
        (directives.private == Reach::Everything, "private"),
        (asked.authorization == Authorization::Present && !authorised, "authorization"),
        (vary::fields(&head.headers).is_none(), "vary"),
        (!explicit && !is_heuristically_cacheable(head, directives), "status"),
        (!explicit && head.headers.contains_key(header::SET_COOKIE), "set-cookie"),
        (status == 412 || status == 416, "precondition"),
        (REFUSALS.contains(&status) && is_odd(asked.headers), "odd-request"),
    ];
    obstacles.into_iter().find_map(|(holds, reason)| holds.then_some(reason))
}

/// The head to store: without what belongs to one connection or to the age, without the fields that `private` and `no-cache` name, and with the
/// date of receipt where the origin gave none (RFC 9110 section 6.6.1).
pub fn stored_head(head: &Head, rules: &Rules, received: Timestamp) -> Head {
    let mut stored = head.clone();
    hop_by_hop::strip(&mut stored.headers);
    stored.headers.remove(header::AGE);
    let directives = &rules.directives;
    for name in directives.private.fields().iter().chain(directives.no_cache.fields()) {
        stored.headers.remove(name);
    }
    if !stored.headers.contains_key(header::DATE) {
        let date = HeaderValue::try_from(received.to_http_date());
        stored.headers.insert(header::DATE, date.expect("a date is visible ASCII"));
    }
    stored
}

/// Whether a stored response can be confirmed by a conditional request (section 4.3.1).
pub fn has_validator(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ETAG) || date(headers, &header::LAST_MODIFIED).is_some()
}

/// `GET`, and `POST` where its answer says that it is what `GET` would give (RFC 9110 section 9.3.3). A `HEAD` has no body to store.
fn method_allows(asked: &Asked<'_>, head: &Head, explicit: bool) -> bool {
    match *asked.method {
        Method::GET => true,
        Method::POST => head.status == StatusCode::OK && explicit && names_target(asked, head),
        _ => false,
    }
}

fn names_target(asked: &Asked<'_>, head: &Head) -> bool {
    head.text(&header::CONTENT_LOCATION)
        .and_then(|location| asked.url.join(location).ok())
        .is_some_and(|location| location == *asked.url)
}

fn is_odd(headers: &HeaderMap) -> bool {
    let mut total = 0;
    headers.iter().any(|(name, value)| {
        total += name.as_str().len() + value.len();
        let visible = value.as_bytes().iter().all(|byte| (b' '..=b'~').contains(byte));
        value.len() > LARGEST_FIELD_BYTES || total > LARGEST_FIELDS_BYTES || !visible
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    struct Case<'a> {
        method: &'a Method,
        asked: &'a [(&'static str, &'a str)],
        authorization: Authorization,
        status: u16,
        answered: &'a [(&'static str, &'a str)],
    }

    const PLAIN: Case<'_> = Case {
        method: &Method::GET,
        asked: &[],
        authorization: Authorization::Absent,
        status: 200,
        answered: &[("cache-control", "max-age=60")],
    };

    fn fields(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().expect("a field value"));
        }
        headers
    }

    fn check(case: &Case<'_>, expected: Option<&str>) {
        let url = Url::parse("http://origin.example/a?b").expect("an address");
        let headers = fields(case.asked);
        let wishes = RequestDirectives::read(&headers);
        let asked = Asked {
            method: case.method,
            url: &url,
            headers: &headers,
            wishes: &wishes,
            authorization: case.authorization,
        };
        let status = StatusCode::from_u16(case.status).expect("a status");
        let head = Head { status, headers: fields(case.answered) };
        let found = obstacle(&asked, &head, &Rules::read(&head.headers));
        assert_eq!(found, expected, "{} {} {:?}", case.method, case.status, case.answered);
    }

    #[test]
    fn responses_forbid_storing() {
        fn answered(status: u16, answered: &[(&'static str, &str)], expected: Option<&str>) {
            check(&Case { status, answered, ..PLAIN }, expected);
        }
        answered(200, &[("cache-control", "max-age=60, no-store")], Some("no-store"));
        answered(200, &[("cache-control", "private, max-age=60")], Some("private"));
        answered(200, &[("cache-control", "max-age=60"), ("vary", "a, *")], Some("vary"));
        answered(206, &[("cache-control", "max-age=60")], Some("status"));
        answered(304, &[("cache-control", "max-age=60")], Some("status"));
        answered(403, &[("last-modified", "x")], Some("status"));
        answered(200, &[("set-cookie", "a=b")], Some("set-cookie"));
        answered(412, &[("cache-control", "max-age=60")], Some("precondition"));
        let understand = "max-age=60, no-store, must-understand";
        answered(599, &[("cache-control", understand)], Some("must-understand"));
        answered(200, &[("cache-control", understand)], None);
        answered(200, &[("cache-control", "max-age=60"), ("set-cookie", "a=b")], None);
        answered(200, &[("cache-control", "private=\"a\", max-age=60")], None);
        answered(200, &[("cdn-cache-control", "max-age=9"), ("cache-control", "no-store")], None);
        for status in [200, 203, 204, 299, 301, 302, 303, 307, 400, 404, 499, 500, 503, 599] {
            answered(status, &[("cache-control", "max-age=60")], None);
        }
        answered(599, &[("cache-control", "public")], None);
    }

    #[test]
    fn requests_forbid_storing() {
        check(&Case { asked: &[("cache-control", "no-store")], ..PLAIN }, Some("request-no-store"));
        check(&Case { method: &Method::HEAD, ..PLAIN }, Some("method"));
        check(&Case { method: &Method::PUT, ..PLAIN }, Some("method"));
        let present = Case { authorization: Authorization::Present, ..PLAIN };
        check(&present, Some("authorization"));
        for allowed in ["max-age=60, public", "max-age=60, must-revalidate", "s-maxage=60"] {
            check(&Case { answered: &[("cache-control", allowed)], ..present }, None);
        }
    }

    #[test]
    fn a_refusal_of_an_odd_request_is_not_stored() {
        let large = "x".repeat(LARGEST_FIELD_BYTES + 1);
        for odd in [large.as_str(), "caf\u{e9}", "a\tb"] {
            let asked = [("x-odd", odd)];
            check(&Case { asked: &asked, status: 400, ..PLAIN }, Some("odd-request"));
            check(&Case { asked: &asked, status: 404, ..PLAIN }, None);
        }
        check(&Case { asked: &[("x-plain", "1")], status: 400, ..PLAIN }, None);
    }

    #[test]
    fn a_post_is_stored_when_it_gave_what_get_would_give() {
        let post = Case { method: &Method::POST, ..PLAIN };
        let lasting = ("cache-control", "max-age=60");
        check(&post, Some("method"));
        for (place, expected) in
            [("/a?b", None), ("http://origin.example/a?b", None), ("/a", Some("method"))]
        {
            check(&Case { answered: &[lasting, ("content-location", place)], ..post }, expected);
        }
        check(&Case { answered: &[("content-location", "/a?b")], ..post }, Some("method"));
    }

    #[test]
    fn the_stored_head_is_exact_but_for_what_must_not_stay() {
        let head = Head {
            status: StatusCode::OK,
            headers: fields(&[
                ("connection", "x-hop"),
                ("x-hop", "1"),
                ("transfer-encoding", "chunked"),
                ("age", "7"),
                ("cache-control", "private=\"x-mine\", no-cache=\"x-live\", max-age=60"),
                ("x-mine", "1"),
                ("x-live", "1"),
                ("set-cookie", "a"),
                ("set-cookie", "b"),
                ("x-unknown", "1"),
            ]),
        };
        let rules = Rules::read(&head.headers);
        let stored = stored_head(&head, &rules, Timestamp::from_secs(784_111_777));
        let mut left: Vec<_> = stored.headers.iter().map(|(name, _)| name.as_str()).collect();
        left.sort_unstable();
        assert_eq!(left, ["cache-control", "date", "set-cookie", "set-cookie", "x-unknown"]);
        assert_eq!(stored.text(&header::DATE), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    }
}
