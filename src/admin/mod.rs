//! Larder's own pages and API under `/-/`: is it alive, is it ready, what does it hold, how do clients use it.
//!
//! The pages only read; what changes anything is an operation of the [`api`]. Knows no ecosystem: what clients must be told is handed in as [`Guide`]s, and
//! counters as a closure. Left out: who may come in, and with which [`Right`] (`proxy::access`).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tokio::sync::watch;

use crate::admin::api::{Api, Resource};
use crate::policy::judged::WHY;
use crate::server::Body;
use crate::store::Store;

pub mod api;
mod metrics;
mod page;
mod status;
mod visit;

pub use visit::{Caller, Right, Visit, Visitor};

/// Everything of Larder's own is below this.
pub const PREFIX: &str = "/-/";

/// Larder's own pages.
pub struct Admin {
    state: Arc<State>,
    api: Api,
    /// APIs of somebody else's making: what stands before the addresses of each, and the API.
    others: Vec<(&'static str, Api)>,
    scrape: Scrape,
}

/// What the pages show of the process.
pub struct State {
    pub store: Arc<dyn Store>,
    /// Kept up to date by whoever starts and stops the server.
    pub phase: watch::Receiver<Phase>,
    pub guides: Vec<Guide>,
    pub waiting: Waiting,
}

/// How many requests wait for upstream's word now.
pub type Waiting = Arc<dyn Fn() -> usize + Send + Sync>;

/// Gives all metrics in Prometheus' text format.
pub type Scrape = Arc<dyn Fn() -> String + Send + Sync>;

/// Where in its life the process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not listening yet.
    Starting,
    Serving,
    /// Finishing what is under way; new clients should go elsewhere.
    Draining,
}

/// How clients use one mount.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Guide {
    /// The mount: `pypi/default`.
    pub mount: String,
    /// One line for each client.
    pub lines: Vec<GuideLine>,
}

/// What to type, or to write into which file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct GuideLine {
    /// The client: `pip`.
    pub client: String,
    /// The exact text.
    pub text: String,
}

impl Admin {
    /// `resources` are what the API offers beside the state of the process.
    pub fn new(state: State, resources: Vec<Arc<dyn Resource>>, scrape: Scrape) -> Self {
        let state = Arc::new(state);
        let about: Arc<dyn Resource> = Arc::new(status::About(Arc::clone(&state)));
        let all: Vec<_> = std::iter::once(about).chain(resources).collect();
        Self { state, api: Api::new(&all), others: Vec::new(), scrape }
    }

    /// Where the API and the document that describes it say different things, a line each.
    pub fn disagreements(&self) -> Vec<String> {
        self.api.disagreements()
    }

    /// Offers an API of somebody else's making, too, which clients expect at addresses of its own shape below `prefix`.
    #[must_use]
    pub fn with_api(mut self, prefix: &'static str, resource: Arc<dyn Resource>) -> Self {
        self.others.push((prefix, Api::new(&[resource])));
        self
    }

    /// Whether a path is one of these addresses, or the root, from where whoever looks around with a browser is led to them.
    pub fn claims(path: &str) -> bool {
        matches!(path, "/" | "/-") || path.starts_with(PREFIX)
    }

    /// Answers a visit to an address that [`Admin::claims`].
    pub fn answer(&self, visit: Visit) -> BoxFuture<'static, Response<Body>> {
        let own = std::iter::once((api::PREFIX, &self.api));
        let others = self.others.iter().map(|(prefix, api)| (*prefix, api));
        for (prefix, api) in own.chain(others) {
            if let Some(address) = visit.path.strip_prefix(prefix) {
                let address = address.to_owned();
                return api.answer(visit, &address);
            }
        }
        // Where clients are told to look; the same as of the API.
        if let Some(id) = visit.path.strip_prefix(WHY) {
            let address = format!("why/{id}");
            return self.api.answer(visit, &address);
        }
        ready(self.page(&visit)).boxed()
    }

    fn page(&self, visit: &Visit) -> Response<Body> {
        if !matches!(visit.method, Method::GET | Method::HEAD) {
            let mut refusal =
                text(StatusCode::METHOD_NOT_ALLOWED, "these pages are read with GET\n");
            refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        if visit.path == "/" {
            return to_start_page();
        }
        match visit.path.strip_prefix(PREFIX).unwrap_or_default() {
            "" => self.start_page(),
            "health" => text(StatusCode::OK, "alive\n"),
            "ready" => self.ready(),
            "metrics" => self.metrics(),
            _ => text(StatusCode::NOT_FOUND, "there is no such page of Larder's own\n"),
        }
    }

    /// 200 while new clients are welcome, else 503 with the reasons, one a line.
    fn ready(&self) -> Response<Body> {
        let hindrances = status::hindrances(*self.state.phase.borrow(), &self.state.store.usage());
        match hindrances.is_empty() {
            true => text(StatusCode::OK, "ready\n"),
            false => text(StatusCode::SERVICE_UNAVAILABLE, hindrances.join("\n") + "\n"),
        }
    }

    fn metrics(&self) -> Response<Body> {
        metrics::note(&self.state.store.usage(), (self.state.waiting)());
        response(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", (self.scrape)())
    }

    fn start_page(&self) -> Response<Body> {
        let html = page::start(&self.state.store.usage(), &self.state.guides);
        let mut answer = response(StatusCode::OK, "text/html; charset=utf-8", html);
        answer.headers_mut().insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
        );
        answer
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("api", &self.api).finish_non_exhaustive()
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("guides", &self.guides).finish_non_exhaustive()
    }
}

/// Relative, so that what stands before the root in the visitor's address stays there.
fn to_start_page() -> Response<Body> {
    let mut answer = text(StatusCode::SEE_OTHER, "Larder's start page is at -/\n");
    answer.headers_mut().insert(header::LOCATION, HeaderValue::from_static("-/"));
    answer
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    response(status, "text/plain; charset=utf-8", text)
}

fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests;
