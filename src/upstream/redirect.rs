//! Where a redirect leads, and what is sent there. Pure.
//!
//! Every hop must be allowed by the origin, none may fall back from https to http, and the way must be short and without
//! circles. A redirect that would need a streamed upload again is not followed: it is the answer.

use http::{Method, StatusCode, header};
use url::Url;

use super::{Hop, OriginRequest, OutgoingBody, Redirects, UpstreamError};
use crate::types::Head;

/// The way of one request: what is asked next, and what was passed.
#[derive(Debug)]
pub struct Route {
    /// The request, aimed at the present hop.
    pub request: OriginRequest,
    pub hops: Vec<Hop>,
    hops_max: usize,
}

/// What a head means for the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is the final answer.
    Arrived,
    /// The route now aims at the next hop; this answer's body is of no use.
    Onward,
}

impl Route {
    /// Fails with [`UpstreamError::ForbiddenAddress`] when the origin does not allow the request's own address.
    pub fn new(request: OriginRequest, hops_max: usize) -> Result<Self, UpstreamError> {
        if !request.origin.allows(&request.url) {
            return Err(forbidden(&request, &request.url));
        }
        Ok(Self { request, hops: Vec::new(), hops_max })
    }

    /// Reads an answer's head and goes on when it is a redirect that can be followed.
    pub fn advance(&mut self, head: &Head) -> Result<Step, UpstreamError> {
        if self.request.redirects == Redirects::Pass {
            return Ok(Step::Arrived);
        }
        let Some(rewrite) = Rewrite::of(head.status, &self.request.method) else {
            return Ok(Step::Arrived);
        };
        if !head.headers.contains_key(header::LOCATION) || !self.can_send(rewrite) {
            return Ok(Step::Arrived);
        }
        let next = self.target(head)?;
        if self.request.redirects == Redirects::Within && !self.request.origin.owns(&next) {
            return Ok(Step::Arrived);
        }
        let url = std::mem::replace(&mut self.request.url, next);
        self.hops.push(Hop { url, head: head.clone() });
        if rewrite == Rewrite::ToGet {
            self.request.method = Method::GET;
            self.request.body = OutgoingBody::Empty;
            self.drop_content_fields();
        }
        Ok(Step::Onward)
    }

    fn can_send(&self, rewrite: Rewrite) -> bool {
        rewrite == Rewrite::ToGet || !matches!(self.request.body, OutgoingBody::Stream(_))
    }

    fn target(&self, head: &Head) -> Result<Url, UpstreamError> {
        let here = &self.request.url;
        let text = head.text(&header::LOCATION);
        let joined = text.and_then(|location| here.join(location).ok());
        let mut next = joined.ok_or_else(|| UpstreamError::Malformed {
            host: host_of(here),
            detail: "a Location that is no address".to_owned(),
        })?;
        next.set_fragment(None);
        let downgrade = here.scheme() == "https" && next.scheme() == "http";
        if downgrade || !self.request.origin.allows(&next) {
            return Err(forbidden(&self.request, &next));
        }
        let met = next == *here || self.hops.iter().any(|hop| hop.url == next);
        if met || self.hops.len() >= self.hops_max {
            return Err(UpstreamError::RedirectLoop { host: host_of(here) });
        }
        Ok(next)
    }

    fn drop_content_fields(&mut self) {
        for name in [
            header::CONTENT_TYPE,
            header::CONTENT_ENCODING,
            header::CONTENT_LANGUAGE,
            header::CONTENT_LOCATION,
        ] {
            self.request.headers.remove(name);
        }
    }
}

/// What becomes of the method on the way (RFC 9110 section 15.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rewrite {
    Keep,
    ToGet,
}

impl Rewrite {
    /// `None`: no redirect.
    fn of(status: StatusCode, method: &Method) -> Option<Self> {
        match status {
            StatusCode::SEE_OTHER if *method == Method::HEAD => Some(Self::Keep),
            StatusCode::SEE_OTHER => Some(Self::ToGet),
            // Clients have always turned POST into GET here, and servers rely on it.
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND if *method == Method::POST => {
                Some(Self::ToGet)
            }
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT => Some(Self::Keep),
            _ => None,
        }
    }
}

/// `url`'s host, for messages.
pub fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

/// The error for an address that `request` may not go to.
pub fn forbidden(request: &OriginRequest, url: &Url) -> UpstreamError {
    UpstreamError::ForbiddenAddress {
        origin: request.origin.id.to_string(),
        address: super::request::display_address(url),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use futures_util::{StreamExt, stream};

    use super::*;
    use crate::upstream::{HostRule, Origin};

    fn url(text: &str) -> Url {
        text.parse().expect("a test names addresses")
    }

    fn route(base: &str, method: Method, body: OutgoingBody) -> Route {
        let origin = Arc::new(Origin {
            id: "test".into(),
            base: url(base),
            hosts: vec![HostRule::Exact("files.example".to_owned())],
            credentials: None,
            allow_private: false,
        });
        let mut request = OriginRequest::get(&origin, url(base));
        (request.method, request.body) = (method, body);
        request.headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
        Route::new(request, 3).expect("the base is allowed")
    }

    fn redirect(status: u16, location: &str) -> Head {
        let mut head = Head::new(StatusCode::from_u16(status).expect("a status"));
        let location = location.parse().expect("a test names valid fields");
        head.headers.insert(header::LOCATION, location);
        head
    }

    #[test]
    fn hops_outside_the_declared_hosts_and_downgrades_are_refused() {
        for (base, location, allowed) in [
            ("https://index.example/a/", "../b", true),
            ("https://index.example/", "https://files.example:8443/x", true),
            ("https://index.example/", "//files.example/x", true),
            ("https://index.example/", "http://index.example/x", false),
            ("https://index.example/", "http://files.example/x", false),
            ("https://index.example/", "https://other.example/", false),
            ("https://index.example/", "https://evil.files.example/", false),
            ("https://index.example/", "https://user@files.example/", false),
            ("https://index.example/", "https://169.254.169.254/latest", false),
            ("https://index.example/", "https://2130706433/", false),
            ("https://index.example/", "file:///etc/passwd", false),
            ("http://index.example/", "https://files.example/x", true),
        ] {
            let mut route = route(base, Method::GET, OutgoingBody::Empty);
            match route.advance(&redirect(302, location)) {
                Ok(step) => assert_eq!((step, allowed), (Step::Onward, true), "{location}"),
                Err(UpstreamError::ForbiddenAddress { .. }) => assert!(!allowed, "{location}"),
                Err(other) => panic!("{location}: {other}"),
            }
        }
    }

    #[test]
    fn an_https_hop_of_an_http_origin_does_not_lead_back_to_http() {
        let mut route = route("http://index.example/", Method::GET, OutgoingBody::Empty);
        route.advance(&redirect(302, "https://files.example/")).expect("an upgrade");
        let refused = route.advance(&redirect(302, "http://files.example/"));
        assert!(matches!(refused, Err(UpstreamError::ForbiddenAddress { .. })), "{refused:?}");
    }

    #[test]
    fn circles_and_long_ways_end() {
        for locations in [vec!["/"], vec!["/a", "/b", "/a"], vec!["/1", "/2", "/3", "/4"]] {
            let mut route = route("https://index.example/", Method::GET, OutgoingBody::Empty);
            let (last, way) = locations.split_last().expect("a way has steps");
            for location in way {
                assert_eq!(route.advance(&redirect(301, location)).expect("a hop"), Step::Onward);
            }
            let refused = route.advance(&redirect(301, last));
            assert!(matches!(refused, Err(UpstreamError::RedirectLoop { .. })), "{refused:?}");
            assert_eq!(route.hops.len(), way.len());
        }
    }

    #[test]
    fn methods_and_bodies_follow_the_status() {
        let bytes = || OutgoingBody::Bytes(Bytes::from_static(b"x"));
        let upload = || OutgoingBody::stream(stream::empty().boxed());
        for (status, method, body, step, then) in [
            (301, Method::GET, OutgoingBody::Empty, Step::Onward, Method::GET),
            (303, Method::HEAD, OutgoingBody::Empty, Step::Onward, Method::HEAD),
            (302, Method::POST, bytes(), Step::Onward, Method::GET),
            (303, Method::PUT, bytes(), Step::Onward, Method::GET),
            (302, Method::PUT, bytes(), Step::Onward, Method::PUT),
            (307, Method::POST, bytes(), Step::Onward, Method::POST),
            (308, Method::DELETE, OutgoingBody::Empty, Step::Onward, Method::DELETE),
            (303, Method::POST, upload(), Step::Onward, Method::GET),
            (307, Method::POST, upload(), Step::Arrived, Method::POST),
            (308, Method::PUT, upload(), Step::Arrived, Method::PUT),
            (304, Method::GET, OutgoingBody::Empty, Step::Arrived, Method::GET),
            (200, Method::GET, OutgoingBody::Empty, Step::Arrived, Method::GET),
        ] {
            let mut route = route("https://index.example/", method.clone(), body);
            let met = route.advance(&redirect(status, "/next")).expect("nothing is forbidden");
            assert_eq!((met, &route.request.method), (step, &then), "{status} {method}");
            let kept = route.request.headers.contains_key(header::CONTENT_TYPE);
            assert_eq!(kept, method == then, "{status} {method}");
        }
    }

    #[test]
    fn within_a_host_redirects_are_followed_and_one_that_leaves_it_is_the_answer() {
        let mut route = route("https://index.example/a", Method::HEAD, OutgoingBody::Empty);
        route.request.redirects = Redirects::Within;
        assert_eq!(route.advance(&redirect(307, "/b")).expect("an answer"), Step::Onward);
        let away = route.advance(&redirect(302, "https://files.example/c"));
        assert_eq!(away.expect("an answer"), Step::Arrived);
        assert_eq!(route.request.url.path(), "/b");
    }

    #[test]
    fn a_location_that_is_no_address_is_malformed() {
        let mut route = route("https://index.example/", Method::GET, OutgoingBody::Empty);
        let refused = route.advance(&redirect(302, "https://[::1"));
        assert!(matches!(refused, Err(UpstreamError::Malformed { .. })), "{refused:?}");
        let without = Head::new(StatusCode::FOUND);
        assert_eq!(route.advance(&without).expect("an answer"), Step::Arrived);
    }
}
