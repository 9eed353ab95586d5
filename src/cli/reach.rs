//! The way to a Larder: the one that runs by the same configuration, or one of our own over its data directory where none runs.
//!
//! A command is written once, as requests; it does not notice who answers. Left out: what is asked.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, TryStreamExt};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::admin::api;
use crate::app::{AppError, Inside};
use crate::banner;
use crate::bundle::{Door, DoorError};
use crate::clock::Clock;
use crate::config::Config;
use crate::server::{Body, RequestBody};
use crate::types::Secret;
use crate::upstream;
use crate::upstream::request::{Credentials, OutgoingBody, Retries, UploadStream};
use crate::upstream::{
    Client, ConfigError, Origin, OriginRequest, Redirects, Upstream, UpstreamError,
};

/// Where the access token stands that is shown to a running Larder which asks for one.
pub const TOKEN_VARIABLE: &str = "LARDER_TOKEN";

/// Longest that a running Larder may be silent.
const PATIENCE: Duration = Duration::from_secs(900);
/// Characters of names that stay as they are in an address.
const NAME: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b':')
    .remove(b'@')
    .remove(b'=');

/// The largest answer that is read as a whole.
const LIMIT_BYTES: usize = 256 << 20;

/// Somebody who answers as Larder does.
pub struct Reach {
    /// The address of the root as clients know it and links begin with it, with a slash at its end.
    base: Url,
    /// The same where requests go: to the listener itself. A proxy before it would take from them the rights of this machine's own user.
    listener: Url,
    larder: Larder,
}

enum Larder {
    Running { client: Client, origin: Arc<Origin> },
    Own(Box<Inside>),
}

/// Why nothing was answered.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    #[error("{0:?} is no address of a running Larder: set a port to listen on, or `public_url`")]
    Address(String),
    #[error("no connection can be made")]
    Client(#[from] ConfigError),
    #[error("no Larder answers at {address}")]
    Unreachable { address: String, source: UpstreamError },
    /// Nothing listens, and the data directory cannot be opened either.
    #[error("no Larder answers at {address}, and its data cannot be used from here")]
    Closed { address: String, source: Box<AppError> },
    #[error("the answer broke off")]
    Broken(#[source] crate::server::BodyError),
    #[error("the answer is longer than {LIMIT_BYTES} bytes")]
    TooLong,
    #[error("the answer is not what was expected of this version of Larder")]
    Unexpected(#[from] serde_json::Error),
    /// The reason that the answer gives.
    #[error("{reason}")]
    Refused { status: StatusCode, reason: String },
}

impl Reach {
    /// The Larder that runs by this configuration, or one of our own where none does.
    pub async fn find(config: Config) -> Result<Self, ReachError> {
        let seen = banner::root(&config, &config.listen);
        let root = banner::listener(&config).unwrap_or_else(|| seen.clone());
        let (base, listener) = (address(&seen)?, address(&root)?);
        let at = listener.host_str().zip(listener.port_or_known_default());
        let (host, port) = at.ok_or_else(|| ReachError::Address(root.clone()))?;
        let host = host.trim_matches(['[', ']']);
        match tokio::net::TcpStream::connect((host, port)).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let folder = config.data_dir.display();
                if !config.data_dir.exists() {
                    eprintln!(
                        "larder: no Larder answers at {root}, and {folder} is not there yet: it begins empty"
                    );
                }
                let inside = Inside::open(config, Clock::system()).map_err(|source| {
                    ReachError::Closed { address: root.clone(), source: Box::new(source) }
                })?;
                Ok(Self { base, listener, larder: Larder::Own(Box::new(inside)) })
            }
            // Whatever else is wrong with it, the first request tells.
            _ => Self::running(&config, base, listener),
        }
    }

    fn running(config: &Config, base: Url, listener: Url) -> Result<Self, ReachError> {
        let token = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
        let origin = Origin {
            id: "larder".into(),
            base: listener.clone(),
            hosts: Vec::new(),
            credentials: token.map(|token| Credentials::Bearer(Secret::new(token))),
            allow_private: true,
        };
        // It may have to wait for its own upstreams, or to read a vast list, before it has anything to say. A proxy is the way to upstreams, not to it.
        let patient = upstream::Config {
            head_timeout: PATIENCE,
            read_timeout: PATIENCE,
            proxy: upstream::Proxy::None,
            ..config.upstream.clone()
        };
        // Whose certificate is its own, whatever that calls it; where it cannot be read, the system's authorities decide.
        let own = config.tls.certificate.as_ref();
        let own = own.and_then(|path| CertificateDer::from_pem_file(path).ok());
        let client = Client::knowing(patient, own)?;
        let origin = Arc::new(origin);
        Ok(Self { base, listener, larder: Larder::Running { client, origin } })
    }

    /// Whether a Larder runs elsewhere, so that what it does goes on without us.
    pub const fn is_running(&self) -> bool {
        matches!(self.larder, Larder::Running { .. })
    }

    /// Sends a request to an address below the root, without a leading slash, as a client of a mount would. Any status is an answer.
    pub async fn send(
        &self,
        method: Method,
        address: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Body>, ReachError> {
        let url = self.below(address)?;
        let body = if body.is_empty() { OutgoingBody::Empty } else { OutgoingBody::Bytes(body) };
        self.carry(method, url, headers, body).await
    }

    /// Sends a request with a body that comes as it is read.
    pub async fn upload(
        &self,
        method: Method,
        address: &str,
        body: UploadStream,
    ) -> Result<Response<Body>, ReachError> {
        let url = self.below(address)?;
        self.carry(method, url, HeaderMap::new(), OutgoingBody::stream(body)).await
    }

    fn below(&self, address: &str) -> Result<Url, ReachError> {
        self.listener.join(address).map_err(|_| ReachError::Address(address.to_owned()))
    }

    async fn carry(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: OutgoingBody,
    ) -> Result<Response<Body>, ReachError> {
        let wrong = || ReachError::Address(url.to_string());
        match &self.larder {
            Larder::Own(inside) => {
                let mut request = Request::new(incoming(body));
                *request.method_mut() = method;
                let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
                *request.uri_mut() = target.parse().map_err(|_| wrong())?;
                *request.headers_mut() = headers;
                let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
                if let Ok(host) = authority.parse() {
                    request.headers_mut().insert(header::HOST, host);
                }
                Ok(inside.ask(request).await)
            }
            Larder::Running { client, origin } => {
                let mut request = OriginRequest::get(origin, url);
                request.method = method;
                request.headers = headers;
                request.redirects = Redirects::Pass;
                request.retries = Retries::Never;
                request.body = body;
                let unreachable =
                    |source| ReachError::Unreachable { address: self.listener.to_string(), source };
                let answer = client.send(request).await.map_err(unreachable)?;
                let frames = answer.body.map_ok(http_body::Frame::data).map_err(Into::into);
                let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
                *response.status_mut() = answer.head.status;
                *response.headers_mut() = answer.head.headers;
                Ok(response)
            }
        }
    }

    /// Reads what an operation of the API answers.
    pub async fn get<T: DeserializeOwned>(&self, operation: &str) -> Result<T, ReachError> {
        self.call(Method::GET, operation).await
    }

    /// Calls an operation of the API that takes nothing but its address.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        operation: &str,
    ) -> Result<T, ReachError> {
        self.exchange(method, operation, Bytes::new()).await
    }

    /// The address of an operation on something that is named as on the command line.
    pub fn named(operation: &str, name: &str) -> String {
        format!("{operation}/{}", utf8_percent_encode(name, NAME))
    }

    /// Calls an operation of the API with a JSON body.
    pub async fn put<T: DeserializeOwned>(
        &self,
        method: Method,
        operation: &str,
        body: &impl Serialize,
    ) -> Result<T, ReachError> {
        self.exchange(method, operation, serde_json::to_vec(body)?.into()).await
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        method: Method,
        operation: &str,
        body: Bytes,
    ) -> Result<T, ReachError> {
        let address = format!("{}{operation}", api::PREFIX.trim_start_matches('/'));
        let response = self.send(method, &address, HeaderMap::new(), body).await?;
        let whole = Self::accepted(response).await?;
        Ok(serde_json::from_slice(&whole)?)
    }

    /// The body of an answer that grants what was asked; else the reason that it gives.
    pub async fn accepted(response: Response<Body>) -> Result<Bytes, ReachError> {
        let status = response.status();
        let whole = whole(response.into_body()).await?;
        match status.is_success() {
            true => Ok(whole),
            false => Err(ReachError::Refused {
                status,
                reason: reason(&whole).unwrap_or_else(|| status.to_string()),
            }),
        }
    }

    /// An answer's body as it comes.
    pub fn chunks(response: Response<Body>) -> BoxStream<'static, Result<Bytes, ReachError>> {
        let frames =
            TryStreamExt::map_err(BodyStream::new(response.into_body()), ReachError::Broken);
        Box::pin(frames.try_filter_map(async |frame| Ok(frame.into_data().ok())))
    }

    /// Waits for what is still being kept, where it is our own Larder's doing.
    pub async fn close(self) {
        if let Larder::Own(inside) = self.larder {
            inside.close().await;
        }
    }
}

/// A request's body as a handler in this process reads it.
fn incoming(body: OutgoingBody) -> RequestBody {
    match body {
        OutgoingBody::Empty => Bytes::new().into(),
        OutgoingBody::Bytes(bytes) => bytes.into(),
        OutgoingBody::Stream(stream) => {
            let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
            stream.map_or_else(
                || Bytes::new().into(),
                |stream| RequestBody::stream(Box::pin(stream.map_err(Into::into))),
            )
        }
    }
}

impl Door for Reach {
    fn base(&self) -> &Url {
        &self.base
    }

    fn ask(
        &self,
        method: Method,
        address: String,
        headers: HeaderMap,
    ) -> BoxFuture<'_, Result<Response<Body>, DoorError>> {
        async move {
            let answer = self.send(method, &address, headers, Bytes::new()).await;
            answer.map_err(|error| DoorError::Failed(chained(&error)))
        }
        .boxed()
    }
}

/// A root with a slash at its end.
fn address(root: &str) -> Result<Url, ReachError> {
    Url::parse(&format!("{root}/")).map_err(|_| ReachError::Address(root.to_owned()))
}

/// An error and what caused it, one line.
pub(super) fn chained(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chained(cause)),
        None => error.to_string(),
    }
}

async fn whole(body: Body) -> Result<Bytes, ReachError> {
    let mut chunks = Reach::chunks(Response::new(body));
    let mut whole = Vec::new();
    while let Some(chunk) = chunks.try_next().await? {
        whole.extend_from_slice(&chunk);
        if whole.len() > LIMIT_BYTES {
            return Err(ReachError::TooLong);
        }
    }
    Ok(whole.into())
}

/// The message of an error as registries write it, or of a problem.
fn reason(text: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(text).ok()?;
    let message = json["errors"][0]["message"].as_str().or_else(|| json["detail"].as_str())?;
    Some(message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_found_in_both_kinds_of_errors() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(reason(text.as_bytes()).as_deref(), expected, "{text}");
        };
        check(r#"{"errors":[{"code":"X","message":"why"}]}"#, Some("why"));
        check(r#"{"title":"T","detail":"why"}"#, Some("why"));
        check("<html>", None);
    }
}
