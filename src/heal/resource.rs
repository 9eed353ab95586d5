//! What was lost to damage, over the API: `damage`.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Method, Response, StatusCode};
use serde_json::json;

use super::Healer;
use crate::admin::Right;
use crate::admin::api::{self, Call, Operation, Problem, Resource};
use crate::server::Body;

/// Most things that are listed.
const MOST_LISTED: usize = 10_000;

/// The operations on what is lost. They name what may be private, and are for administrators.
#[derive(Debug)]
pub struct Damage(pub Healer);

impl Resource for Damage {
    fn operations(&self) -> Vec<Operation> {
        vec![
            Operation::new("listDamage", Method::GET, "damage", Right::Administrator),
            Operation::new("healDamage", Method::POST, "damage", Right::Administrator),
        ]
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Response<Body>, Problem>> {
        let healer = self.0.clone();
        async move {
            let failed = |error: crate::store::StoreError| {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            };
            match call.operation {
                "listDamage" => {
                    let losses = healer.losses(MOST_LISTED).map_err(failed)?;
                    Ok(api::json(&json!({ "damage": losses })))
                }
                _ => Ok(api::json(&healer.heal_all().await.map_err(failed)?)),
            }
        }
        .boxed()
    }
}
