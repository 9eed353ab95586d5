//! The way out: requests to declared origins, and nothing else.
//!
//! [`Upstream`] is the seam; [`client`] is the product, [`scripted`] its twin for tests. This layer owns connections, TLS,
//! proxies, redirects within declared hosts, challenges and the tokens that answer them, retries, the circuit breaker and per-origin limits. It knows no ecosystem and keeps nothing.

use std::fmt;

use futures_util::future::BoxFuture;

mod address;
pub(crate) mod auth;
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
mod quota;
mod redirect;
pub mod request;
mod resolve;
mod retry;
pub mod scripted;
mod tls;

pub use client::Client;
pub use config::{Config, ConfigError, Proxy};
pub use request::{
    Availability, Challenged, Connection, Credentials, Framing, Hop, HostRule, Origin, OriginBody,
    OriginRequest, OriginResponse, OutgoingBody, Redirects, UpstreamError, Who,
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

    /// Whether to wait for the request's host when something is kept that could be served instead. `Open` with a `retry_after` of zero: try
    /// it in the background. A host that failed several times in a row also makes `send` fail at once with [`UpstreamError::CircuitOpen`], but
    /// for one probe at a time when its pause is over; one that is merely slow is still asked by whoever has nothing kept.
    fn availability(&self, request: &OriginRequest) -> Availability;

    /// The caller's time budget ran out on this host while it had something kept to serve: nobody else in that position waits for it until it has
    /// answered again.
    fn report_slow(&self, request: &OriginRequest);
}
