//! Who pulled what, over the API; for administrators, since it tells of people.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Method, Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::log::is_about;
use super::{Call, Operation, Problem, Resource, json};
use crate::admin::Right;
use crate::clock::Clock;
use crate::server::Body;
use crate::trace::pulls::{Pulls, Row, Wanted};
use crate::trace::record;

/// Rows of one answer, unless more are asked for, and at most.
const SOME: u64 = 1000;
const MOST: u64 = 100_000;

/// The operation.
#[derive(Debug, Clone)]
pub struct Pulled {
    pulls: Pulls,
    clock: Clock,
}

/// Rows, those pulled last first.
#[derive(Debug, Serialize, Deserialize)]
pub struct Rows {
    pub pulls: Vec<Row>,
}

impl Pulled {
    pub const fn new(pulls: Pulls, clock: Clock) -> Self {
        Self { pulls, clock }
    }

    fn wanted(&self, call: &Call) -> Result<Wanted, Problem> {
        let text = |name: &str| call.query.get(name).filter(|text| !text.is_empty());
        let instant = |name: &str| {
            let read = text(name).map(|text| record::instant(text, self.clock.now()));
            read.transpose().map_err(|error| Problem::bad(format!("`{name}`: {error}")))
        };
        Ok(Wanted {
            name: text("name").map(|_| is_about as fn(&str, &str) -> bool),
            named: text("name").cloned().unwrap_or_default(),
            digest: text("digest").cloned(),
            client: call.query.get("client").cloned(),
            since: instant("since")?,
            until: instant("until")?,
            limit: call.number("limit", SOME)?.min(MOST) as usize,
        })
    }
}

impl Resource for Pulled {
    fn operations(&self) -> Vec<Operation> {
        vec![Operation::new("pulls", Method::GET, "pulls", Right::Administrator)]
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Response<Body>, Problem>> {
        let pulled = self.clone();
        async move {
            let wanted = pulled.wanted(&call)?;
            // What was counted a moment ago is a part of the answer.
            pulled.pulls.write().await;
            let looking = tokio::task::spawn_blocking(move || pulled.pulls.rows(&wanted)).await;
            let rows =
                looking.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
            let pulls = rows.map_err(|error| {
                tracing::error!(%error, "pulls cannot be read");
                let detail = format!("pulls cannot be read: {error}");
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
            })?;
            Ok(json(&Rows { pulls }))
        }
        .boxed()
    }
}
