//! From names to addresses, and only to those that may be connected to.
//!
//! The filter sits between the resolver and the connector, which connects to exactly what it is given: there is no second
//! look-up that could answer otherwise (DNS rebinding).

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

use super::address::Reach;
use super::connect::ConnectError;

/// Looks up the addresses of a name.
pub trait Resolve: Send + Sync + fmt::Debug + 'static {
    fn resolve(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Resolve for System {
    fn resolve(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let name = name.to_owned();
        async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        }
        .boxed()
    }
}

/// A resolver that answers with addresses within one reach only.
#[derive(Debug, Clone)]
pub struct Filtered {
    pub names: Arc<dyn Resolve>,
    pub reach: Reach,
}

impl Service<Name> for Filtered {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (found, reach) = (self.names.resolve(name.as_str()), self.reach);
        async move {
            let found = found.await.map_err(|_| ConnectError::Dns)?;
            if found.is_empty() {
                return Err(ConnectError::Dns);
            }
            let within: Vec<_> = found
                .into_iter()
                .filter(|address| reach.admits(*address))
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            match within.is_empty() {
                true => Err(ConnectError::Forbidden),
                false => Ok(within.into_iter()),
            }
        }
        .boxed()
    }
}
