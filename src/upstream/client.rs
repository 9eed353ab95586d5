//! [`Client`]: the upstream of the product.
//!
//! A request goes hop by hop (`redirect`), each hop attempt by attempt (`retry`), each attempt with its host's leave (`host`: pause, place,
//! circuit) over a pooled connection (`connect`). There is one pool for each reach of addresses (`address`): a pooled connection was checked when it
//! was made, so it may serve only requests that may reach as far. As many again speak HTTP/1.1 alone, for requests that want a connection to
//! themselves.
//!
//! Around all of it stands the answer to challenges (`auth`), whose questions to token services go the same way.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Extensions, Uri, header};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use tokio::sync::Notify;
use tokio::time::{self, Instant};

use super::address::Reach;
use super::auth::Tokens;
use super::config::{Config, ConfigError};
use super::connect::Connector;
use super::connection::History;
use super::host::{Host, Hosts};
use super::limit::Place;
use super::message::{self, Outgoing, Progress};
use super::proxy::Proxies;
use super::redirect::{Route, Step, forbidden, host_of};
use super::resolve::{Resolve, System};
use super::retry::{Attempt, Attempts, Repeat};
use super::tls::Tls;
use super::{
    Availability, Connection as Sharing, Framing, OriginRequest, OriginResponse, Redirects,
    Upstream, UpstreamError, body, fault, meter,
};
use crate::types::Head;

/// Informational answers (1xx) before a head; more are a flood.
const MOST_INFORMATIONAL: usize = 16;

/// hyper's smallest buffer.
const LEAST_HEAD_BYTES: u64 = 8 << 10;

/// How often an HTTP/2 connection is asked whether it is still there, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// What an HTTP/2 host may send ahead of what was read: enough for 160 MB a second over 50 ms. Bodies are read as they come, so that it rarely
/// lies in memory.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Sends requests over real connections. Clones share everything.
///
/// Connections are driven by tasks of hyper's pool, which end with the connection; they are not among the tasks that
/// shutdown waits for, since what they carry is waited for by whoever reads it.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    config: Config,
    hosts: Hosts,
    proxies: Arc<Proxies>,
    pools: Pools,
    tokens: Tokens,
}

/// Connections that requests may share, and those that carry one request at a time.
struct Pools {
    shared: Reaches,
    own: Reaches,
}

/// A pool for each reach.
struct Reaches {
    global: Pool,
    site: Pool,
    any: Pool,
}

type Pool = legacy::Client<Connector, Outgoing>;

/// An answer to one hop.
struct Answer {
    head: Head,
    framing: Framing,
    body: Incoming,
    place: Place,
}

/// Why an attempt has no answer, and whose fault it is.
struct Fault {
    error: UpstreamError,
    blame: Blame,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blame {
    /// The host is to be counted as failing.
    Host,
    /// A pooled connection had been closed for idleness.
    Idleness,
    /// Nothing is learnt about the connection: a forbidden address, an upload that ended early, nonsense for an answer.
    Nobody,
}

impl Client {
    /// Reads certificate authorities and, if so configured, the environment's proxies. Connects to nothing.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Self::with_resolver(config, Arc::new(System))
    }

    /// As [`Client::new`], with another source of addresses.
    pub fn with_resolver(config: Config, names: Arc<dyn Resolve>) -> Result<Self, ConfigError> {
        let tls = Tls::new(&config, None)?;
        Ok(Self::over(config, names, &tls))
    }

    /// As [`Client::new`]; whoever shows this very certificate is believed, too, by whatever name it is asked for.
    pub fn knowing(
        config: Config,
        certificate: Option<CertificateDer<'static>>,
    ) -> Result<Self, ConfigError> {
        let tls = Tls::new(&config, certificate)?;
        Ok(Self::over(config, Arc::new(System), &tls))
    }

    fn over(config: Config, names: Arc<dyn Resolve>, tls: &Tls) -> Self {
        meter::describe();
        let proxies = Arc::new(Proxies::new(&config));
        let pool = |reach, sharing| {
            pool(&config, Connector::new(reach, sharing, &config, &names, &proxies, tls))
        };
        let reaches = |sharing| Reaches {
            global: pool(Reach::Global, sharing),
            site: pool(Reach::Site, sharing),
            any: pool(Reach::Any, sharing),
        };
        let pools = Pools { shared: reaches(Sharing::Shared), own: reaches(Sharing::Own) };
        let hosts = Hosts::new(config.clone());
        Self(Arc::new(Inner { config, hosts, proxies, pools, tokens: Tokens::new() }))
    }
}

impl Upstream for Client {
    fn send(
        &self,
        request: OriginRequest,
    ) -> BoxFuture<'static, Result<OriginResponse, UpstreamError>> {
        let inner = Arc::clone(&self.0);
        async move {
            let (origin, sent) = (Arc::clone(&request.origin), Instant::now());
            let follow = |request| inner.follow(request, sent).boxed();
            let outcome = inner.tokens.send(request, &follow).await;
            meter::request(&origin.id, sent.elapsed(), outcome.as_ref());
            if let Err(error) = &outcome {
                tracing::debug!(origin.id = %origin.id, %error, "no answer from upstream");
            }
            outcome
        }
        .boxed()
    }

    fn availability(&self, request: &OriginRequest) -> Availability {
        self.0.hosts.of(&request.url).availability()
    }

    fn report_slow(&self, request: &OriginRequest) {
        self.0.hosts.of(&request.url).trip();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("config", &self.0.config).finish_non_exhaustive()
    }
}

impl Inner {
    /// Goes from hop to hop until an answer is final.
    async fn follow(
        &self,
        request: OriginRequest,
        sent: Instant,
    ) -> Result<OriginResponse, UpstreamError> {
        let mut route = Route::new(request, self.config.max_redirects)?;
        loop {
            let host = self.hosts.of(&route.request.url);
            let Answer { head, framing, body, place } = self.ask(&host, &route.request).await?;
            if route.advance(&head)? == Step::Onward {
                continue;
            }
            let received = meter::bytes(&route.request.origin.id);
            let silence = self.config.read_timeout;
            return Ok(OriginResponse {
                head,
                hops: route.hops,
                url: route.request.url,
                elapsed: sent.elapsed(),
                framing,
                body: body::receive(body, host.name.clone(), silence, received, place),
            });
        }
    }

    /// Asks one host, as often as it is worth it.
    async fn ask(
        &self,
        host: &Arc<Host>,
        request: &OriginRequest,
    ) -> Result<Answer, UpstreamError> {
        host.note_request();
        let repeat = match request.redirects {
            Redirects::Follow | Redirects::Within => Repeat::of(request),
            Redirects::Pass => Repeat::Never,
        };
        let mut attempts = Attempts::new(self.config.retry(), repeat);
        loop {
            let outcome = self.attempt(host, request).await;
            let attempt = Attempt::of(outcome.as_ref().map(|answer| &answer.head));
            match host.next_attempt(&mut attempts, attempt) {
                Some(pause) => {
                    drop(outcome);
                    time::sleep(pause).await;
                }
                None => return outcome,
            }
        }
    }

    /// Sends once with the host's leave, and tells the host what came of it.
    async fn attempt(
        &self,
        host: &Arc<Host>,
        request: &OriginRequest,
    ) -> Result<Answer, UpstreamError> {
        let pass = host.enter().await?;
        let mut outcome = self.exchange(request).await;
        let was_idle = matches!(&outcome, Err(fault) if fault.blame == Blame::Idleness);
        if was_idle && Repeat::of(request) == Repeat::Allowed {
            outcome = self.exchange(request).await;
        }
        match outcome {
            Ok((head, framing, body)) => {
                meter::quotas(&host.name, &head);
                Ok(Answer { head, framing, body, place: pass.succeeded() })
            }
            Err(Fault { error, blame }) => {
                if blame == Blame::Host {
                    pass.failed(&error);
                }
                Err(error)
            }
        }
    }

    /// Writes the request and waits for the head.
    async fn exchange(&self, request: &OriginRequest) -> Result<(Head, Framing, Incoming), Fault> {
        let progress = Progress::new();
        let mut message = self.message(request, &progress)?;
        let flood = Arc::new(Notify::new());
        watch_informational(&mut message, &flood);
        let connection = capture_connection(&mut message);
        let pool = self.pools.of(request.connection, Reach::of(&request.origin, &request.url));
        let host = host_of(&request.url);
        let response = tokio::select! {
            // In this order, since a flood may end in a broken connection.
            biased;
            () = flood.notified() => {
                let detail = "a flood of informational answers".to_owned();
                return Err(Fault::nobody(UpstreamError::Malformed { host, detail }));
            }
            response = pool.request(message) => response,
            () = progress.stalled(self.config.head_timeout) => {
                // A connection that has gone silent is of no use to the next request.
                poison(&connection);
                let error = UpstreamError::TimedOut { host, stage: "head" };
                return Err(Fault { error, blame: Blame::Host });
            }
        };
        let response = response.map_err(|error| Fault::of(request, &error, &connection))?;
        let (parts, body) = response.into_parts();
        if let Some(history) = parts.extensions.get::<History>() {
            history.note_answer();
        }
        let version = parts.version;
        let head = message::incoming(&host, parts).map_err(|error| {
            poison(&connection);
            Fault::nobody(error)
        })?;
        let framing = Framing::of(version, &head);
        Ok((head, framing, body))
    }

    fn message(
        &self,
        request: &OriginRequest,
        progress: &Progress,
    ) -> Result<http::Request<Outgoing>, Fault> {
        let uri: Uri = match request.url.as_str().parse() {
            Ok(uri) => uri,
            Err(_) => return Err(Fault::nobody(forbidden(request, &request.url))),
        };
        let proxy_authorization = self.proxies.authorization(&uri);
        let mut message = message::outgoing(request, uri, progress).map_err(|error| {
            let (host, detail) = (host_of(&request.url), error.to_string());
            Fault::nobody(UpstreamError::Broken { host, detail })
        })?;
        if let Some(value) = proxy_authorization {
            message.headers_mut().insert(header::PROXY_AUTHORIZATION, value);
        }
        Ok(message)
    }
}

impl Pools {
    const fn of(&self, sharing: Sharing, reach: Reach) -> &Pool {
        let reaches = match sharing {
            Sharing::Shared => &self.shared,
            Sharing::Own => &self.own,
        };
        match reach {
            Reach::Global => &reaches.global,
            Reach::Site => &reaches.site,
            Reach::Any => &reaches.any,
        }
    }
}

impl Fault {
    const fn nobody(error: UpstreamError) -> Self {
        Self { error, blame: Blame::Nobody }
    }

    fn of(request: &OriginRequest, error: &legacy::Error, connection: &CaptureConnection) -> Self {
        let upload_failed = fault::is_upload(error);
        let error = fault::of_request(request, error);
        let blame = match &error {
            UpstreamError::Malformed { .. } | UpstreamError::ForbiddenAddress { .. } => {
                Blame::Nobody
            }
            UpstreamError::Broken { .. } if upload_failed => Blame::Nobody,
            UpstreamError::Broken { .. } if has_answered(connection) => Blame::Idleness,
            _ => Blame::Host,
        };
        Self { error, blame }
    }
}

fn pool(config: &Config, connector: Connector) -> Pool {
    let head_bytes = config.max_head.bytes().max(LEAST_HEAD_BYTES);
    legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(config.pool_idle)
        .pool_max_idle_per_host(config.per_host_requests)
        .http1_max_buf_size(usize::try_from(head_bytes).unwrap_or(usize::MAX))
        .http2_max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX))
        .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
        .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .build(connector)
}

/// Lets `flood` know when a host sends one informational answer after another instead of a head.
fn watch_informational(message: &mut http::Request<Outgoing>, flood: &Arc<Notify>) {
    let (flood, seen) = (Arc::clone(flood), AtomicUsize::new(0));
    hyper::ext::on_informational(message, move |_| {
        if seen.fetch_add(1, Ordering::Relaxed) == MOST_INFORMATIONAL {
            flood.notify_one();
        }
    });
}

/// Keeps a connection from being used again.
fn poison(connection: &CaptureConnection) {
    if let Some(connected) = connection.connection_metadata().as_ref() {
        connected.poison();
    }
}

fn has_answered(connection: &CaptureConnection) -> bool {
    let mut extras = Extensions::new();
    if let Some(connected) = connection.connection_metadata().as_ref() {
        connected.get_extras(&mut extras);
    }
    extras.get::<History>().is_some_and(History::has_answered)
}
