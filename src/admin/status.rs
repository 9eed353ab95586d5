//! The state of the process as values: what `/-/ready` and `/-/api/v1/status` say.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use http::{Method, Response, StatusCode};
use serde::Serialize;

use super::api::{self, Call, Operation, Problem, Resource};
use super::{Guide, Phase, Right, State};
use crate::server::Body;
use crate::store::Usage;

/// What the API says of itself and of the process.
#[derive(Debug)]
pub(super) struct About(pub(super) Arc<State>);

impl Resource for About {
    fn operations(&self) -> Vec<Operation> {
        vec![
            Operation::new("openapi", Method::GET, "openapi.json", Right::Client),
            Operation::new("status", Method::GET, "status", Right::Client),
        ]
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Response<Body>, Problem>> {
        let state = &self.0;
        let answer = match call.operation {
            "openapi" => super::response(StatusCode::OK, "application/json", api::OPENAPI),
            _ => api::json(&Status::new(state)),
        };
        ready(Ok(answer)).boxed()
    }
}

/// The answer of `/-/api/v1/status`. Fields are added, never renamed or taken away, while it is `v1`.
#[derive(Debug, Serialize)]
pub(super) struct Status<'a> {
    version: &'static str,
    ready: bool,
    /// Why it is not ready; empty when it is.
    hindrances: Vec<&'static str>,
    /// Requests that wait for upstream's word.
    waiting: usize,
    store: StoreStatus,
    mounts: &'a [Guide],
}

#[derive(Debug, Serialize)]
struct StoreStatus {
    entries: u64,
    blobs: u64,
    blob_bytes: u64,
    index_bytes: u64,
    /// `null` when nothing is ever evicted.
    budget_bytes: Option<u64>,
    evicted_blobs: u64,
    /// Since the start: blobs that were read again, and those that were found damaged and set aside.
    checked_blobs: u64,
    damaged_blobs: u64,
    writable: bool,
}

impl<'a> Status<'a> {
    pub(super) fn new(state: &'a State) -> Self {
        let usage = state.store.usage();
        let hindrances = hindrances(*state.phase.borrow(), &usage);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            ready: hindrances.is_empty(),
            hindrances,
            waiting: (state.waiting)(),
            store: StoreStatus {
                entries: usage.entries,
                blobs: usage.blobs,
                blob_bytes: usage.blob_bytes,
                index_bytes: usage.index_bytes,
                budget_bytes: usage.budget_bytes,
                evicted_blobs: usage.evicted_blobs,
                checked_blobs: usage.checked_blobs,
                damaged_blobs: usage.damaged_blobs,
                writable: usage.writable,
            },
            mounts: &state.guides,
        }
    }
}

/// Why new clients should go elsewhere.
pub(super) fn hindrances(phase: Phase, usage: &Usage) -> Vec<&'static str> {
    let phase = match phase {
        Phase::Starting => Some("not listening yet"),
        Phase::Serving => None,
        Phase::Draining => Some("shutting down"),
    };
    let store = (!usage.writable)
        .then_some("the store takes no writes: what is kept is served, nothing new is kept");
    phase.into_iter().chain(store).collect()
}
