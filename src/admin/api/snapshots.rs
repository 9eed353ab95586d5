//! Snapshots over the API: listed, named, removed.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Method, Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::{Call, Operation, Problem, Resource, json};
use crate::admin::Right;
use crate::clock::Clock;
use crate::server::Body;
use crate::snapshots::{Snapshot, SnapshotError, Snapshots};
use crate::types::Timestamp;

/// The largest request.
const LIMIT_BYTES: usize = 4 << 10;

/// The names for instants that this server knows.
#[derive(Debug, Clone)]
pub struct SnapshotsResource {
    snapshots: Arc<Snapshots>,
    clock: Clock,
}

/// A request for a name. An empty body asks for one of this instant.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wish {
    /// A date, or a time with an offset; now where it is not given.
    pub at: Option<String>,
}

/// A snapshot as the API tells it. Fields are added, never renamed or taken away, while it is `v1`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    pub name: String,
    /// RFC 3339.
    pub at: String,
    pub created: String,
    /// What stands before the path of every address that is answered as of then.
    pub prefix: String,
}

impl SnapshotsResource {
    pub const fn new(snapshots: Arc<Snapshots>, clock: Clock) -> Self {
        Self { snapshots, clock }
    }

    async fn answer(self, call: Call) -> Result<Response<Body>, Problem> {
        let name = call.captures.first().cloned().unwrap_or_default();
        match call.operation {
            "listSnapshots" => {
                let all: Vec<Told> = self.snapshots.list().into_iter().map(Told::from).collect();
                Ok(json(&all))
            }
            "showSnapshot" => {
                let absent = || Problem::from(SnapshotError::Absent(name.clone()));
                Ok(json(&Told::from(self.snapshots.get(&name).ok_or_else(absent)?)))
            }
            "createSnapshot" => {
                let text = Call::bytes(call.body, LIMIT_BYTES).await?;
                let wish = match text.is_empty() {
                    true => Wish::default(),
                    false => serde_json::from_slice(&text).map_err(|error| {
                        Problem::bad(format!("the body is not what this address takes: {error}"))
                    })?,
                };
                let now = self.clock.now();
                let at = wish.at.as_deref().map_or(Ok(now), instant)?;
                Ok(json(&Told::from(self.snapshots.create(&name, at, now).await?)))
            }
            _ => Ok(json(&Told::from(self.snapshots.remove(&name).await?))),
        }
    }
}

impl Resource for SnapshotsResource {
    fn operations(&self) -> Vec<Operation> {
        let one = "snapshots/{name}";
        vec![
            Operation::new("listSnapshots", Method::GET, "snapshots", Right::Client),
            Operation::new("showSnapshot", Method::GET, one, Right::Client),
            Operation::new("createSnapshot", Method::PUT, one, Right::Administrator),
            Operation::new("removeSnapshot", Method::DELETE, one, Right::Administrator),
        ]
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Response<Body>, Problem>> {
        self.clone().answer(call).boxed()
    }
}

impl From<Snapshot> for Told {
    fn from(snapshot: Snapshot) -> Self {
        let Snapshot { name, at, created } = snapshot;
        let prefix = format!("/@{name}");
        Self { name, at: at.to_rfc3339(), created: created.to_rfc3339(), prefix }
    }
}

impl From<SnapshotError> for Problem {
    fn from(error: SnapshotError) -> Self {
        let status = match &error {
            SnapshotError::Name(_) | SnapshotError::Future(_) => StatusCode::BAD_REQUEST,
            SnapshotError::Exists(_) | SnapshotError::TooMany => StatusCode::CONFLICT,
            SnapshotError::Absent(_) => StatusCode::NOT_FOUND,
            SnapshotError::Store(_) => {
                tracing::error!(%error, "a snapshot could not be written down");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self::new(status, error.to_string())
    }
}

fn instant(text: &str) -> Result<Timestamp, Problem> {
    Timestamp::from_text(text).ok_or_else(|| {
        Problem::bad(format!(
            "{text:?} is no instant: write a date as in 2026-03-01, which means the end of that day (UTC), or a time as in 2026-03-01T12:00:00Z"
        ))
    })
}
