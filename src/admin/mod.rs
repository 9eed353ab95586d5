//! Larder's own pages and API under `/-/`: is it alive, is it ready, what does it hold, how do clients use it.
//!
//! Reads only; nothing here changes what is kept. Knows no ecosystem: what clients must be told is handed in as [`Guide`]s, and counters as a
//! closure. Left out: who may see this (`proxy` checks access before it asks).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tokio::sync::watch;

use crate::server::{Body, Handler, Peer, RequestBody};
use crate::store::Store;

mod metrics;
mod page;
mod status;

/// Everything of Larder's own is below this.
pub const PREFIX: &str = "/-/";

/// Larder's own pages.
pub struct Admin {
    store: Arc<dyn Store>,
    phase: watch::Receiver<Phase>,
    guides: Vec<Guide>,
    scrape: Scrape,
}

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
    /// `phase` is kept up to date by whoever starts and stops the server.
    pub fn new(
        store: Arc<dyn Store>,
        phase: watch::Receiver<Phase>,
        guides: Vec<Guide>,
        scrape: Scrape,
    ) -> Self {
        Self { store, phase, guides, scrape }
    }

    /// Answers a request for one of Larder's own pages; `None` when the path is not below [`PREFIX`].
    pub fn answer(&self, method: &Method, path: &str) -> Option<Response<Body>> {
        let page = match path {
            "/-" => "",
            _ => path.strip_prefix(PREFIX)?,
        };
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut refusal =
                text(StatusCode::METHOD_NOT_ALLOWED, "these pages are read with GET\n");
            refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Some(refusal);
        }
        Some(match page {
            "" => self.start_page(),
            "health" => text(StatusCode::OK, "alive\n"),
            "ready" => self.ready(),
            "metrics" => self.metrics(),
            "api/v1/status" => self.status(),
            _ => text(StatusCode::NOT_FOUND, "there is no such page of Larder's own\n"),
        })
    }

    /// 200 while new clients are welcome, else 503 with the reasons, one a line.
    fn ready(&self) -> Response<Body> {
        let hindrances = status::hindrances(*self.phase.borrow(), &self.store.usage());
        match hindrances.is_empty() {
            true => text(StatusCode::OK, "ready\n"),
            false => text(StatusCode::SERVICE_UNAVAILABLE, hindrances.join("\n") + "\n"),
        }
    }

    fn metrics(&self) -> Response<Body> {
        metrics::note(&self.store.usage());
        response(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", (self.scrape)())
    }

    fn status(&self) -> Response<Body> {
        let status = status::Status::new(*self.phase.borrow(), self.store.usage(), &self.guides);
        let json =
            serde_json::to_string_pretty(&status).expect("names and numbers have a form in JSON");
        response(StatusCode::OK, "application/json", json)
    }

    fn start_page(&self) -> Response<Body> {
        let html = page::start(&self.store.usage(), &self.guides);
        let mut answer = response(StatusCode::OK, "text/html; charset=utf-8", html);
        answer.headers_mut().insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
        );
        answer
    }
}

impl Handler for Admin {
    fn handle(
        &self,
        request: Request<RequestBody>,
        _peer: Peer,
    ) -> BoxFuture<'static, Response<Body>> {
        let answer = self.answer(request.method(), request.uri().path());
        let answer =
            answer.unwrap_or_else(|| text(StatusCode::NOT_FOUND, "not a page of Larder's own\n"));
        async { answer }.boxed()
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("guides", &self.guides).finish_non_exhaustive()
    }
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
