//! Plain values of an exchange with an origin: what adapters write and what the cache reads back.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use http::{HeaderMap, Method, Version, header};
use url::Url;

use crate::types::{Head, Secret};

/// A declared place that may be asked, and the rules for asking it. Built once from the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Name in logs, metrics and messages: `pypi/default`.
    pub id: Arc<str>,
    /// The configured address, always with a trailing slash.
    pub base: Url,
    /// Hosts beside the base's own that requests and redirects may go to.
    pub hosts: Vec<HostRule>,
    /// Sent to the base's own host only.
    pub credentials: Option<Credentials>,
    /// Whether addresses that are not globally reachable (loopback, private, link-local) may be connected to. Set for an origin
    /// whose configured address is such a one or when the operator says so; link-local metadata addresses are never reached by a redirect.
    pub allow_private: bool,
}

/// A host that an origin may lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostRule {
    /// This host, on any port that the address names.
    Exact(String),
    /// Any host below this domain, and the domain itself (`*.example.org`).
    Domain(String),
}

impl Origin {
    /// Whether a request for this origin may go to `url`: http or https, no credentials in it, and a declared host.
    pub fn allows(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let scheme_fits = match url.scheme() {
            "https" => true,
            "http" => self.base.scheme() == "http",
            _ => false,
        };
        let named =
            host_eq(self.base.host_str(), host) || self.hosts.iter().any(|rule| rule.covers(host));
        scheme_fits && named && url.username().is_empty() && url.password().is_none()
    }

    /// Whether `url` is on the base's own scheme, host and port: the only place its credentials may go.
    pub fn owns(&self, url: &Url) -> bool {
        self.base.origin() == url.origin()
    }
}

impl HostRule {
    /// Whether the rule names `host` (compared without case).
    pub fn covers(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name.eq_ignore_ascii_case(host),
            Self::Domain(domain) => {
                let host = host.to_ascii_lowercase();
                let domain = domain.to_ascii_lowercase();
                host == domain || host.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'))
            }
        }
    }
}

fn host_eq(name: Option<&str>, host: &str) -> bool {
    name.is_some_and(|name| name.eq_ignore_ascii_case(host))
}

/// How Larder identifies itself, or its client, to an origin.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    Basic {
        username: String,
        password: Secret,
    },
    Bearer(Secret),
    /// A client's own `Authorization` value, passed through where the mount is configured so.
    Verbatim(Secret),
    /// Nothing until the origin challenges; then what it asks for (RFC 9110 section 11.6.1): Basic credentials, or a token from the service that it
    /// names. For `GET` and `HEAD` without a body.
    Challenged(Arc<Challenged>),
}

/// What a challenge is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenged {
    /// What the token is to be good for, where the challenge does not say.
    pub scope: Option<String>,
    /// Hosts that may hand out tokens for this origin, beside its own. A realm anywhere else is not asked, let alone told a secret.
    pub token_hosts: Vec<HostRule>,
    pub who: Who,
}

/// As whom a challenge is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Nobody: a token that anybody gets.
    Nobody,
    /// Somebody whose credentials are at hand. What they open is remembered under `id`, in memory and for a while.
    Somebody { id: [u8; 16], credentials: Credentials },
    /// Somebody whose credentials were at hand a while ago. Forgotten meanwhile: the challenge stands.
    Known { id: [u8; 16] },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic(***)",
            Self::Bearer(_) => "Bearer(***)",
            Self::Verbatim(_) => "Verbatim(***)",
            Self::Challenged(_) => "Challenged(***)",
        })
    }
}

/// One question to an origin.
#[derive(Debug, Clone)]
pub struct OriginRequest {
    pub origin: Arc<Origin>,
    pub method: Method,
    /// Must satisfy [`Origin::allows`]; anything else fails with [`UpstreamError::ForbiddenAddress`].
    pub url: Url,
    /// Fields to send. `Host`, `Authorization`, `Connection` and framing fields are set by the client and ignored here.
    pub headers: HeaderMap,
    /// Overrides the origin's credentials for this request.
    pub credentials: Option<Credentials>,
    pub body: OutgoingBody,
    pub redirects: Redirects,
    pub retries: Retries,
    pub connection: Connection,
}

/// Whether a request may share a connection with others under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Connection {
    /// Where the host speaks HTTP/2.
    #[default]
    Shared,
    /// One that carries nothing else meanwhile: what is fetched in parallel gains nothing by sharing one.
    Own,
}

/// Who deals with answers that lead elsewhere or call for another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Redirects {
    /// This layer: redirects are followed within the origin's declared hosts, outages tried again.
    #[default]
    Follow,
    /// This layer while they stay on the base's own scheme, host and port; one that leads elsewhere is the answer.
    Within,
    /// The caller: the first answer is the answer, whatever its status.
    Pass,
}

/// Whether an outage leads to further attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retries {
    /// As often as the configuration says, where the request may be sent twice.
    #[default]
    Configured,
    /// One attempt: the caller has something else to serve.
    Never,
}

impl OriginRequest {
    pub fn get(origin: &Arc<Origin>, url: Url) -> Self {
        Self {
            origin: Arc::clone(origin),
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            credentials: None,
            body: OutgoingBody::Empty,
            redirects: Redirects::Follow,
            retries: Retries::Configured,
            connection: Connection::Shared,
        }
    }

    /// The address for logs and records: no query (it may carry a signature), no credentials.
    pub fn display_address(&self) -> String {
        display_address(&self.url)
    }
}

/// What a request carries.
#[derive(Clone, Default)]
pub enum OutgoingBody {
    #[default]
    Empty,
    Bytes(Bytes),
    /// A client's upload, passed on as it arrives. It can be sent once, so such a request is never retried, nor re-sent on a redirect.
    Stream(Arc<Mutex<Option<UploadStream>>>),
}

/// A client's upload as it arrives.
pub type UploadStream = BoxStream<'static, Result<Bytes, std::io::Error>>;

impl OutgoingBody {
    pub fn stream(upload: UploadStream) -> Self {
        Self::Stream(Arc::new(Mutex::new(Some(upload))))
    }
}

impl fmt::Debug for OutgoingBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// `url` without user, password, query and fragment.
pub fn display_address(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    // Both fail only for addresses that cannot have a host, which no request has.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.into()
}

/// A redirect that was followed: where it stood and what its head said.
#[derive(Debug, Clone)]
pub struct Hop {
    pub url: Url,
    pub head: Head,
}

/// The final head, the way that led to it, and the body to come.
pub struct OriginResponse {
    pub head: Head,
    /// Redirects followed, first to last.
    pub hops: Vec<Hop>,
    /// The address that answered in the end.
    pub url: Url,
    /// From sending to the head's arrival.
    pub elapsed: Duration,
    pub framing: Framing,
    pub body: OriginBody,
}

/// Whether the end of a body can be told from a connection that broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Delimited,
    /// HTTP/1 with neither length nor chunks: it ends when the connection does (RFC 9112 section 6.3).
    UntilClose,
}

impl Framing {
    /// Reads it from a head as it came over `version`.
    pub fn of(version: Version, head: &Head) -> Self {
        let bodiless = matches!(head.status.as_u16(), 204 | 304);
        let told = head.headers.contains_key(header::CONTENT_LENGTH)
            || head.headers.contains_key(header::TRANSFER_ENCODING);
        match version > Version::HTTP_11 || bodiless || told {
            true => Self::Delimited,
            false => Self::UntilClose,
        }
    }
}

impl fmt::Debug for OriginResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginResponse")
            .field("head", &self.head)
            .field("hops", &self.hops)
            .field("url", &display_address(&self.url))
            .finish_non_exhaustive()
    }
}

/// The body as it arrives. Ends cleanly only when the framing was complete: a short body, a cut chunk or silence beyond the read time-out is an
/// `Err`, and then nothing more comes. A body without `Content-Length` or chunking (HTTP/1.0 style) ends cleanly when the connection closes,
/// and `Head` then carries no length: whoever keeps it must hold a digest.
pub type OriginBody = BoxStream<'static, Result<Bytes, UpstreamError>>;

/// The state of the circuit to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    Closed,
    /// Do not wait for this host; a probe is allowed again after this long.
    Open {
        retry_after: Duration,
    },
}

/// Why no complete answer came, by what the caller does and tells.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UpstreamError {
    #[error("{host} could not be resolved")]
    Dns { host: String },
    #[error("{host} refused the connection")]
    Refused { host: String },
    #[error("TLS with {host} failed: {detail}")]
    Tls { host: String, detail: String },
    /// Nothing for longer than allowed, at this stage: `connect`, `head` or `body`.
    #[error("{host} did not answer in time ({stage})")]
    TimedOut { host: String, stage: &'static str },
    /// Cut in the middle: reset, short body, broken chunk.
    #[error("the connection to {host} broke: {detail}")]
    Broken { host: String, detail: String },
    /// Not HTTP, or fields beyond the limits.
    #[error("{host} sent a malformed answer: {detail}")]
    Malformed { host: String, detail: String },
    /// The proxy is at fault; `cause` names it by host and port.
    #[error(
        "there is no way to {host} through a proxy: {cause}; see that the proxy runs, or change `upstream.proxy`, or HTTPS_PROXY in the environment that it may come from"
    )]
    Proxy { host: String, cause: Box<Self> },
    /// It failed just now, or asked to be left alone; `cause` says which.
    #[error("{host} is not asked again for {} ms: {cause}", .retry_after.as_millis())]
    CircuitOpen { host: String, retry_after: Duration, cause: Arc<str> },
    /// More redirects than allowed, or in a circle.
    #[error("too many redirects at {host}")]
    RedirectLoop { host: String },
    /// An address outside the origin's declared hosts, or one that resolves to a forbidden network. Never retried.
    #[error("{origin} led to {address}, which is not declared for it")]
    ForbiddenAddress { origin: String, address: String },
    /// Too many requests to this origin wait already.
    #[error("too many requests wait for {host}")]
    Overloaded { host: String },
    /// Nobody is asked at all: what there would be without any upstream is looked for.
    #[error("{host} is not asked")]
    NotAsked { host: String },
}

impl UpstreamError {
    /// Whether it speaks of upstream being down or unreachable (an outage), not of something it did wrong.
    pub const fn is_outage(&self) -> bool {
        !matches!(
            self,
            Self::Malformed { .. } | Self::RedirectLoop { .. } | Self::ForbiddenAddress { .. }
        )
    }
}
