//! Transfers under way, over the API: `fills`.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use http::{Method, Response};

use super::{Call, Operation, Problem, Resource, json};
use crate::admin::Right;
use crate::keep::Keeper;
use crate::server::Body;

/// Transfers under way. They tell who pulls what at this moment, and are for administrators.
#[derive(Debug)]
pub struct Fills(pub Keeper);

impl Resource for Fills {
    fn operations(&self) -> Vec<Operation> {
        vec![
            Operation::new("listFills", Method::GET, "fills", Right::Administrator),
            Operation::new("cancelFill", Method::DELETE, "fills/{id}", Right::Administrator),
        ]
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Response<Body>, Problem>> {
        let answer = match call.captures.first() {
            None => Ok(json(&self.0.fills())),
            Some(id) => match id.parse() {
                Ok(number) if self.0.cancel(number) => {
                    Ok(json(&serde_json::json!({ "cancelled": number })))
                }
                _ => Err(Problem::absent(format!(
                    "no transfer under way has the number {id}; it may have ended"
                ))),
            },
        };
        ready(answer).boxed()
    }
}
