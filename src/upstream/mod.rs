//! The way out: requests to declared origins, and nothing else.
//!
//! [`Upstream`] is the seam; [`client`] is the product, [`scripted`] its twin for tests. This layer owns connections, TLS,
//! proxies, redirects within declared hosts, retries, the circuit breaker and per-origin limits. It knows no ecosystem and keeps nothing.

use std::fmt;

use futures_util::future::BoxFuture;

mod address;
mod body;
mod breaker;
pub mod client;
mod config;
mod connect;
mod connection;
mod fault;
mod host;
mod limit;
mod message;
mod meter;
mod proxy;
mod redirect;
pub mod request;
mod resolve;
mod retry;
pub mod scripted;
mod tls;

pub use client::Client;
pub use config::{Config, ConfigError, Proxy};
pub use request::{
    Availability, Credentials, Hop, HostRule, Origin, OriginBody, OriginRequest, OriginResponse,
    OutgoingBody, UpstreamError,
};
pub use resolve::{Resolve, System};

/// Sends requests to origins.
pub trait Upstream: Send + Sync + fmt::Debug + 'static {
    /// Sends a request and answers with the head of the final response (redirects followed) and a body still to be read.
    ///
    /// Any status is `Ok`, 5xx and 429 included, after the retries that the settings allow. `Err` means that no complete head came.
    /// Dropping the future or the body ends the exchange.
    fn send(
        &self,
        request: OriginRequest,
    ) -> BoxFuture<'static, Result<OriginResponse, UpstreamError>>;

    /// Whether the circuit to the request's host is closed. While it is open, `send` fails at once with
    /// [`UpstreamError::CircuitOpen`], but for one probe at a time when its pause is over. A pause that the host itself asked for
    /// (`Retry-After`) shows as open too; there, `send` waits if it is short.
    fn availability(&self, request: &OriginRequest) -> Availability;

    /// Opens the circuit: the caller's own time budget ran out on this host while it had something kept to serve.
    fn report_slow(&self, request: &OriginRequest);
}
