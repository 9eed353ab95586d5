//! Any HTTP origin, cached by the book: `/generic/NAME/...`.
//!
//! A path below the mount is the same path below the origin's base address, in the very percent-encoding that the client used. Every method goes
//! through. Left out: all of caching (`cache::exchange`).

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};
use url::Url;

use crate::cache::failure::{Failure, UNJUDGED_RETRY_SECS};
use crate::cache::lookup::{Exchange, Mode};
use crate::ecosystem::grant::Grant;
use crate::ecosystem::naming::Naming;
use crate::ecosystem::{Access, Ask, Ecosystem, Plan, Reply, Serve, Step, Subject};
use crate::types::Audience;
use crate::upstream::request::{Credentials, Origin, OriginRequest, Redirects};

pub mod config;
pub(super) mod forward;
mod naming;

pub use config::Config;

/// One origin behind its mount. Built by [`Config::resolve`].
#[derive(Debug, Clone)]
pub struct Generic {
    /// `generic/NAME`.
    id: String,
    origin: Arc<Origin>,
    mode: Mode,
    redirects: Redirects,
    grant: Grant,
}

impl Ecosystem for Generic {
    fn id(&self) -> &str {
        &self.id
    }

    fn plan(&self, ask: &Ask) -> Step {
        let Some(url) = self.target(ask) else {
            let detail = "This path leads nowhere below the origin.";
            return Step::Reply(Reply::problem(StatusCode::NOT_FOUND, "Not found", detail));
        };
        if ask.method == Method::CONNECT {
            let detail = "A mount is no tunnel.";
            let status = StatusCode::METHOD_NOT_ALLOWED;
            return Step::Reply(Reply::problem(status, "Method not allowed", detail));
        }
        let request = OriginRequest {
            method: ask.method.clone(),
            headers: forward::fields(&ask.headers),
            credentials: self.credentials(ask),
            redirects: self.redirects,
            ..OriginRequest::get(&self.origin, url)
        };
        let exchange = Exchange::new(&self.id, &self.audience(), request, self.mode);
        Step::Serve(Box::new(Plan {
            access: self.access(),
            subject: Subject::default(),
            serve: Serve::Exchange { exchange, amend: None },
        }))
    }

    fn explain(&self, _ask: &Ask, failure: &Failure) -> Reply {
        let (status, title) = match failure {
            Failure::Absent => (StatusCode::NOT_FOUND, "The origin has no such thing"),
            Failure::Refused { .. } => (StatusCode::FORBIDDEN, "The origin refused"),
            Failure::Unreachable(_) => {
                (StatusCode::GATEWAY_TIMEOUT, "The origin cannot be reached")
            }
            Failure::Unavailable { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "The origin is out of order")
            }
            Failure::BadAnswer(_) => (StatusCode::BAD_GATEWAY, "The origin's answer is unusable"),
            Failure::Unsafe { .. } => (StatusCode::FORBIDDEN, "Refused for what is in it"),
            Failure::Unjudged => (StatusCode::SERVICE_UNAVAILABLE, "It is still being looked into"),
            Failure::NotKept => (StatusCode::GATEWAY_TIMEOUT, "Nothing is kept that could answer"),
            Failure::Store(_) => (StatusCode::INTERNAL_SERVER_ERROR, "Larder's store failed"),
        };
        let reply = Reply::problem(status, title, &failure.to_string());
        match failure {
            Failure::Unavailable { retry_after_secs: Some(seconds), .. } => {
                reply.with(header::RETRY_AFTER, HeaderValue::from(*seconds))
            }
            Failure::Unjudged => {
                reply.with(header::RETRY_AFTER, HeaderValue::from(UNJUDGED_RETRY_SECS))
            }
            _ => reply,
        }
    }

    fn naming(&self) -> Option<Arc<dyn Naming>> {
        Some(Arc::new(naming::Words::of(&self.id)))
    }
}

impl Generic {
    /// The address that the request is for. `None`: it would leave the base address, which the check of paths should have seen.
    fn target(&self, ask: &Ask) -> Option<Url> {
        let base = self.origin.base.as_str();
        let query = ask.query.as_ref().map_or(String::new(), |query| format!("?{query}"));
        let url = Url::parse(&format!("{base}{}{query}", ask.path)).ok()?;
        (url.as_str().starts_with(base) && self.origin.owns(&url)).then_some(url)
    }

    /// Whoever the origin should take this request for: Larder where it has an identity there, else the client.
    fn credentials(&self, ask: &Ask) -> Option<Credentials> {
        match self.origin.credentials {
            Some(_) => None,
            None => {
                ask.credential.as_ref().map(|client| Credentials::Verbatim(client.verbatim.clone()))
            }
        }
    }

    fn audience(&self) -> Audience {
        match self.origin.credentials {
            Some(_) => Audience::Service,
            None => Audience::Public,
        }
    }

    /// What Larder's own identity opens is for those whom the configuration names; all else is the origin's to decide.
    fn access(&self) -> Access {
        match self.origin.credentials {
            Some(_) => Access::Grant(self.grant.clone()),
            None => Access::Public,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::ecosystem::ClientCredential;
    use crate::types::{Secret, Timestamp};

    fn mount(settings: Config) -> Generic {
        settings.resolve("files", |_| Ok(Secret::new("service"))).expect("right settings")
    }

    fn ask(path: &str, query: Option<&str>) -> Ask {
        Ask {
            method: Method::GET,
            path: path.to_owned(),
            query: query.map(str::to_owned),
            headers: HeaderMap::new(),
            prefix: "/generic/files/".to_owned(),
            base: "http://larder.example".to_owned(),
            credential: Some(ClientCredential { id: [1; 16], verbatim: Secret::new("Basic eA==") }),
            client: None,
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            now: Timestamp(0),
            rules: Arc::default(),
            as_of: None,
        }
    }

    fn exchange(mount: &Generic, ask: &Ask) -> Option<(Access, Exchange)> {
        match mount.plan(ask) {
            Step::Serve(plan) => match plan.serve {
                Serve::Exchange { exchange, .. } => Some((plan.access, exchange)),
                other => panic!("not an exchange: {other:?}"),
            },
            Step::Reply(_) => None,
            _ => panic!("a generic mount needs nothing"),
        }
    }

    fn at(base: &str) -> Config {
        Config { upstream: base.to_owned(), ..Config::default() }
    }

    #[test]
    fn paths_are_kept_as_they_were_written() {
        let mount = mount(at("http://origin.example/base"));
        let check = |path: &str, query: Option<&str>, expected: Option<&str>| {
            let found = exchange(&mount, &ask(path, query));
            let url = found.map(|(_, exchange)| exchange.request.url.to_string());
            assert_eq!(url.as_deref(), expected, "{path}");
        };
        check("", None, Some("http://origin.example/base/"));
        check(
            "a%2Fb/c%20d/%e2%82%AC",
            None,
            Some("http://origin.example/base/a%2Fb/c%20d/%e2%82%AC"),
        );
        check("a//b", Some("x=1&y=%20"), Some("http://origin.example/base/a//b?x=1&y=%20"));
        check(
            "http://evil.example/",
            None,
            Some("http://origin.example/base/http://evil.example/"),
        );
        check("/evil.example/x", None, Some("http://origin.example/base//evil.example/x"));
        check("x?", Some(""), Some("http://origin.example/base/x??"));
        check("../x", None, None);
        check("%2e%2e/x", None, None);
    }

    #[test]
    fn keys_tell_targets_apart_and_nothing_else() {
        let mount = mount(at("http://origin.example/base"));
        let key = |path: &str, query: Option<&str>, header: Option<&'static str>| {
            let mut ask = ask(path, query);
            if let Some(name) = header {
                ask.headers.insert(name, HeaderValue::from_static("evil.example"));
            }
            exchange(&mount, &ask).expect("an exchange").1.key
        };
        assert_eq!(key("a", None, None), key("a", None, Some("x-forwarded-host")));
        assert_eq!(key("a", None, None), key("a", None, Some("host")));
        assert_ne!(key("a", None, None), key("a", Some(""), None));
        assert_ne!(key("a%2Fb", None, None), key("a/b", None, None));
        assert_eq!(key("a", Some("b"), None).name(), "/base/a?b");
    }

    #[test]
    fn the_service_identity_opens_only_what_is_granted() {
        let credentials = config::CredentialsConfig {
            token_env: Some("TOKEN".to_owned()),
            ..config::CredentialsConfig::default()
        };
        let grant = Grant::from(vec!["ci".to_owned()]);
        let own = mount(Config {
            credentials: Some(credentials),
            grant: grant.clone(),
            ..at("http://origin.example/")
        });
        let (access, exchange_) = exchange(&own, &ask("a", None)).expect("an exchange");
        assert_eq!(access, Access::Grant(grant));
        assert!(!exchange_.key.is_public() && exchange_.request.credentials.is_none());

        let open = mount(at("http://origin.example/"));
        let (access, exchange_) = exchange(&open, &ask("a", None)).expect("an exchange");
        assert_eq!(access, Access::Public);
        assert!(exchange_.key.is_public());
        let verbatim = Some(Credentials::Verbatim(Secret::new("Basic eA==")));
        assert_eq!(exchange_.request.credentials, verbatim);
    }

    #[test]
    fn failures_have_statuses() {
        let mount = mount(at("http://origin.example/"));
        let check = |failure: Failure, status: u16| {
            let reply = mount.explain(&ask("a", None), &failure);
            assert_eq!(reply.status.as_u16(), status, "{failure}");
        };
        check(Failure::NotKept, 504);
        check(Failure::BadAnswer("x".to_owned()), 502);
        check(Failure::Unavailable { status: 503, retry_after_secs: Some(3) }, 503);
        check(Failure::Store("x".to_owned()), 500);
    }
}
