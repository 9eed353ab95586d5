//! The client against origins on loopback sockets that break what they can.

mod circuit;
mod faults;
mod origin;
mod proxies;
mod redirects;
mod tls;
mod told;
mod uploads;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use larder::upstream::{
    Client, Config, Origin, OriginBody, OriginRequest, OriginResponse, Proxy, Resolve, Upstream,
    UpstreamError,
};
use url::Url;

/// Addresses of names, instead of the network's.
#[derive(Debug, Default)]
struct Names(HashMap<&'static str, IpAddr>);

impl Names {
    /// Names of this machine.
    fn local(names: &[&'static str]) -> Self {
        Self(names.iter().map(|&name| (name, IpAddr::V4(Ipv4Addr::LOCALHOST))).collect())
    }
}

impl Resolve for Names {
    fn resolve(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let found = self.0.get(name).map(|address| vec![*address]);
        async move { found.ok_or_else(|| io::Error::other("no such name")) }.boxed()
    }
}

/// Settings that wait for nothing: one attempt, no proxy, time-outs far beyond a test.
fn settings() -> Config {
    Config {
        retries: 0,
        retry_pause: Duration::from_millis(1),
        proxy: Proxy::None,
        head_timeout: Duration::from_secs(60),
        connect_timeout: Duration::from_secs(60),
        read_timeout: Duration::from_secs(60),
        ..Config::default()
    }
}

fn client(config: Config) -> Client {
    let names = Names::local(&["index.example", "files.example", "localhost"]);
    Client::with_resolver(config, Arc::new(names)).expect("the settings are valid")
}

fn url(text: &str) -> Url {
    text.parse().expect("a test names addresses")
}

/// An origin that may be on this machine, with no hosts beside its own.
fn declared(base: &str) -> Arc<Origin> {
    Arc::new(Origin {
        id: "test".into(),
        base: url(base),
        hosts: Vec::new(),
        credentials: None,
        allow_private: true,
    })
}

fn get(address: &str) -> OriginRequest {
    OriginRequest::get(&declared(address), url(address))
}

async fn send(config: Config, request: OriginRequest) -> Result<OriginResponse, UpstreamError> {
    client(config).send(request).await
}

/// Reads a body to its end, clean or not.
async fn read(mut body: OriginBody) -> (String, Option<UpstreamError>) {
    let mut text = String::new();
    while let Some(part) = body.next().await {
        match part {
            Ok(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
            Err(error) => return (text, Some(error)),
        }
    }
    (text, None)
}
