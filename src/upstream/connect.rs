//! From an address to a connection: name, address filter, proxy, TLS, all within one time limit.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::Connection as Sharing;
use super::address::Reach;
use super::config::Config;
use super::connection::{Connection, Protocol, Transport, Via};
use super::proxy::Proxies;
use super::resolve::{Filtered, Resolve};
use super::tls::Tls;

/// How long a connection may be silent before the system asks whether the other side is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Makes connections within one reach.
#[derive(Debug, Clone)]
pub struct Connector {
    reach: Reach,
    origin: HttpConnector<Filtered>,
    proxy: ProxyDialer,
    proxies: Arc<Proxies>,
    tls: Arc<ClientConfig>,
    limit: Duration,
}

impl Connector {
    pub fn new(
        reach: Reach,
        sharing: Sharing,
        config: &Config,
        names: &Arc<dyn Resolve>,
        proxies: &Arc<Proxies>,
        tls: &Tls,
    ) -> Self {
        Self {
            reach,
            origin: dialer(reach, config, names),
            // The operator names the proxy, so it may be anywhere.
            proxy: ProxyDialer {
                tcp: dialer(Reach::Any, config, names),
                tls: Arc::clone(&tls.unshared),
            },
            proxies: Arc::clone(proxies),
            tls: match sharing {
                Sharing::Shared => Arc::clone(&tls.origin),
                Sharing::Own => Arc::clone(&tls.unshared),
            },
            limit: config.connect_timeout,
        }
    }

    async fn connect(mut self, target: Uri) -> Result<Connection, ConnectError> {
        if literal(&target).is_some_and(|address| !self.reach.admits(address)) {
            return Err(ConnectError::Forbidden);
        }
        let secure = target.scheme() == Some(&Scheme::HTTPS);
        match (self.proxies.before(&target), secure) {
            (None, false) => {
                let tcp = dial(&mut self.origin, target).await?;
                Ok(Connection::new(Box::new(tcp), Protocol::Http1, Via::Direct))
            }
            (None, true) => {
                let tcp = dial(&mut self.origin, target.clone()).await?;
                secured(tcp, &target, self.tls).await
            }
            (Some(proxy), false) => {
                let dialled = self.proxy.call(proxy.uri().clone()).await;
                let stream = dialled.map_err(|error| error.of_proxy(&proxy))?.into_inner();
                Ok(Connection::new(stream, Protocol::Http1, Via::Proxy))
            }
            (Some(proxy), true) => {
                let stream = tunnel(self.proxy, &proxy, target.clone()).await;
                let stream = stream.map_err(|error| error.of_proxy(&proxy))?;
                secured(stream, &target, self.tls).await
            }
        }
    }
}

impl Service<Uri> for Connector {
    type Response = Connection;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Connection, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let late = match self.proxies.before(&target) {
            Some(proxy) => ConnectError::TimedOut.of_proxy(&proxy),
            None => ConnectError::TimedOut,
        };
        let (connecting, limit) = (self.clone().connect(target), self.limit);
        async move { time::timeout(limit, connecting).await.unwrap_or(Err(late)) }.boxed()
    }
}

/// Why no connection came about.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    #[error("the name could not be resolved")]
    Dns,
    #[error("the connection was refused")]
    Refused,
    #[error("the connection took too long")]
    TimedOut,
    /// No address within reach.
    #[error("the address may not be connected to")]
    Forbidden,
    #[error("{0}")]
    Tls(String),
    #[error("{0}")]
    Broken(String),
    /// There is no way through the proxy, which is named by host and port.
    #[error("the proxy {proxy}: {cause}")]
    Proxy { proxy: String, cause: Box<Self> },
}

impl ConnectError {
    /// Finds the reason at the end of what a connector or a tunnel reports.
    fn find(error: &(dyn Error + 'static)) -> Self {
        let mut innermost = error;
        loop {
            if let Some(own) = innermost.downcast_ref::<Self>() {
                return own.clone();
            }
            if let Some(io) = innermost.downcast_ref::<io::Error>() {
                return Self::of_io(io);
            }
            match innermost.source() {
                Some(source) => innermost = source,
                None => return Self::Broken(innermost.to_string()),
            }
        }
    }

    /// What went wrong between us and a proxy, or between the proxy and the origin.
    fn of_proxy(self, proxy: &Intercept) -> Self {
        let proxy = proxy.uri();
        let host = proxy.host().unwrap_or_default();
        let named = proxy.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Self::Proxy { proxy: named, cause: Box::new(self) }
    }

    fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Broken(error.to_string()),
        }
    }
}

/// Connects to a proxy, over TLS where its address says so.
#[derive(Debug, Clone)]
struct ProxyDialer {
    tcp: HttpConnector<Filtered>,
    tls: Arc<ClientConfig>,
}

impl ProxyDialer {
    async fn dial(mut self, proxy: Uri) -> Result<TokioIo<Box<dyn Transport>>, ConnectError> {
        let scheme = proxy.scheme_str().unwrap_or_default().to_owned();
        let stream: Box<dyn Transport> = match scheme.as_str() {
            "http" => Box::new(dial(&mut self.tcp, proxy).await?),
            "https" => {
                let tcp = dial(&mut self.tcp, proxy.clone()).await?;
                Box::new(handshake(tcp, &proxy, self.tls).await?)
            }
            other => {
                return Err(ConnectError::Broken(format!("{other} proxies are not spoken to")));
            }
        };
        Ok(TokioIo::new(stream))
    }
}

impl Service<Uri> for ProxyDialer {
    type Response = TokioIo<Box<dyn Transport>>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, proxy: Uri) -> Self::Future {
        self.clone().dial(proxy).boxed()
    }
}

fn dialer(reach: Reach, config: &Config, names: &Arc<dyn Resolve>) -> HttpConnector<Filtered> {
    let names = Arc::clone(names);
    let mut dialer = HttpConnector::new_with_resolver(Filtered { names, reach });
    dialer.enforce_http(false);
    dialer.set_nodelay(true);
    dialer.set_keepalive(Some(KEEP_ALIVE));
    // Shared out among a name's addresses, so that a dead one leaves time for the next.
    dialer.set_connect_timeout(Some(config.connect_timeout));
    dialer
}

async fn dial(
    dialer: &mut HttpConnector<Filtered>,
    target: Uri,
) -> Result<TcpStream, ConnectError> {
    let stream = dialer.call(target).await.map_err(|error| ConnectError::find(&error))?;
    Ok(stream.into_inner())
}

async fn tunnel(
    dialer: ProxyDialer,
    proxy: &Intercept,
    target: Uri,
) -> Result<Box<dyn Transport>, ConnectError> {
    let mut tunnel = Tunnel::new(proxy.uri().clone(), dialer);
    if let Some(authorization) = proxy.basic_auth() {
        tunnel = tunnel.with_auth(authorization.clone());
    }
    let stream = tunnel.call(target).await.map_err(|error| ConnectError::find(&error))?;
    Ok(stream.into_inner())
}

async fn secured(
    stream: impl Transport + 'static,
    target: &Uri,
    config: Arc<ClientConfig>,
) -> Result<Connection, ConnectError> {
    let stream = handshake(stream, target, config).await?;
    let protocol = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        _ => Protocol::Http1,
    };
    Ok(Connection::new(Box::new(stream), protocol, Via::Direct))
}

async fn handshake<S: Transport>(
    stream: S,
    target: &Uri,
    config: Arc<ClientConfig>,
) -> Result<tokio_rustls::client::TlsStream<S>, ConnectError> {
    let name = ServerName::try_from(unbracketed(target).to_owned())
        .map_err(|error| ConnectError::Tls(error.to_string()))?;
    let secured = TlsConnector::from(config).connect(name, stream).await;
    secured.map_err(|error| ConnectError::Tls(error.to_string()))
}

fn literal(target: &Uri) -> Option<IpAddr> {
    unbracketed(target).parse().ok()
}

fn unbracketed(target: &Uri) -> &str {
    let host = target.host().unwrap_or_default();
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}
