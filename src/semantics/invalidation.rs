//! What an unsafe request makes invalid (RFC 9111 section 4.4).

use http::{HeaderName, Method, header};
use url::Url;

use crate::types::Head;

/// Whether a method is known to change nothing (RFC 9110 section 9.2.1). An unknown one is not.
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// The addresses whose stored responses the answer to an unsafe request at `target` makes invalid: the target itself, and what
/// `Location` and `Content-Location` name on the same origin. None after an error.
pub fn targets(method: &Method, target: &Url, answer: &Head) -> Vec<Url> {
    let succeeded = answer.status.is_success() || answer.status.is_redirection();
    if is_safe(method) || !succeeded {
        return Vec::new();
    }
    let named = |name: HeaderName| target.join(answer.text(&name)?).ok();
    let mut found = vec![target.clone()];
    for place in [header::LOCATION, header::CONTENT_LOCATION].into_iter().filter_map(named) {
        // Another origin's responses are not this one's to throw away.
        if place.origin() == target.origin() && !found.contains(&place) {
            found.push(place);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn only_success_invalidates_and_only_at_home() {
        let target = Url::parse("http://origin.example/a/b?c").expect("an address");
        let check = |method: &str, status: u16, fields: &[(&'static str, &str)], paths: &[&str]| {
            let mut answer = Head::new(StatusCode::from_u16(status).expect("a status"));
            for (name, value) in fields {
                answer.headers.append(*name, value.parse().expect("a field value"));
            }
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let found = targets(&method, &target, &answer);
            let found: Vec<_> = found.iter().map(|url| &url[url::Position::BeforePath..]).collect();
            assert_eq!(found, paths, "{method} {status} {fields:?}");
        };
        check("POST", 200, &[], &["/a/b?c"]);
        check("M-SEARCH", 204, &[], &["/a/b?c"]);
        check("DELETE", 302, &[("location", "/x")], &["/a/b?c", "/x"]);
        check("PUT", 201, &[("content-location", "y"), ("location", "y")], &["/a/b?c", "/a/y"]);
        check("POST", 200, &[("location", "http://other.example/x")], &["/a/b?c"]);
        check("POST", 500, &[("location", "/x")], &[]);
        check("POST", 404, &[], &[]);
        check("GET", 200, &[], &[]);
        check("OPTIONS", 200, &[], &[]);
    }
}
