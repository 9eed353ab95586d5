//! What is kept, over the API: `entries`, `pins`, `gc`.

use std::collections::HashMap;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Method, Response, StatusCode};

use super::{Call, Operation, Problem, Resource, json};
use crate::admin::Right;
use crate::keep::listing::Query;
use crate::keep::removal::Removal;
use crate::keep::{KeepError, Keeper, Sight};
use crate::server::Body;
use crate::store::{StoreError, Tidy};

/// Things on a page where nobody says how many.
const PAGE: u64 = 100;

/// The most that can be asked for.
const LONGEST_PAGE: u64 = 1000;

/// What is kept.
#[derive(Debug)]
pub struct Entries(pub Keeper);

impl Resource for Entries {
    fn operations(&self) -> Vec<Operation> {
        vec![
            Operation::new("listEntries", Method::GET, "entries", Right::Client),
            Operation::new("showEntry", Method::GET, "entries/{name...}", Right::Client),
            Operation::new(
                "removeEntry",
                Method::DELETE,
                "entries/{name...}",
                Right::Administrator,
            ),
            Operation::new("listPins", Method::GET, "pins", Right::Client),
            Operation::new("pin", Method::PUT, "pins/{name...}", Right::Administrator),
            Operation::new("unpin", Method::DELETE, "pins/{name...}", Right::Administrator),
            Operation::new("collectGarbage", Method::POST, "gc", Right::Administrator),
        ]
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Response<Body>, Problem>> {
        let keeper = self.0.clone();
        async move { answer(&keeper, call).await }.boxed()
    }
}

async fn answer(keeper: &Keeper, call: Call) -> Result<Response<Body>, Problem> {
    let sight = match call.caller.right {
        Right::Administrator => Sight::Everything,
        Right::Client => Sight::Public,
    };
    let name = call.captures.first().cloned().unwrap_or_default();
    let by = call.caller.client.as_deref();
    let answer = match call.operation {
        "listEntries" => keeper.list(query(&call, sight)?).await.map(|page| json(&page)),
        "showEntry" => keeper.show(name, sight).await.map(|shown| json(&shown)),
        "removeEntry" => {
            let dry_run = flag(&call.query, "dry_run")?;
            let how = Removal { dry_run, force: flag(&call.query, "force")? };
            keeper.remove(name, how, by).await.map(|removed| json(&removed))
        }
        "listPins" => keeper.pins(sight).await.map(|pins| json(&pins)),
        "pin" => keeper.pin(name, call.caller.client.clone()).await.map(|pinned| json(&pinned)),
        "unpin" => keeper.unpin(name, by).await.map(|pinned| json(&pinned)),
        _ => {
            let dry_run = flag(&call.query, "dry_run")?;
            let how = Tidy { dry_run, all_partials: flag(&call.query, "all_partials")? };
            keeper.tidy(how, by).await.map(|tidied| json(&tidied))
        }
    };
    answer.map_err(problem)
}

fn query(call: &Call, sight: Sight) -> Result<Query, Problem> {
    let limit = call.number("limit", PAGE)?.clamp(1, LONGEST_PAGE);
    Ok(Query {
        prefix: call.query.get("prefix").cloned().unwrap_or_default(),
        after: call.query.get("after").cloned(),
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
        sight,
    })
}

/// A flag of the query: there or not, or said in a word.
fn flag(query: &HashMap<String, String>, name: &str) -> Result<bool, Problem> {
    match query.get(name).map(String::as_str) {
        None | Some("false" | "0") => Ok(false),
        Some("" | "true" | "1") => Ok(true),
        Some(other) => {
            Err(Problem::bad(format!("`{name}` is true or false, and {other:?} is neither")))
        }
    }
}

fn problem(error: KeepError) -> Problem {
    let status = match &error {
        KeepError::Misnamed(_) | KeepError::Cursor => StatusCode::BAD_REQUEST,
        KeepError::Nothing(_) | KeepError::NotPinned(_) => StatusCode::NOT_FOUND,
        KeepError::Pinned { .. } | KeepError::OneOfSeveral { .. } => StatusCode::CONFLICT,
        KeepError::Store(StoreError::Refusing) => StatusCode::SERVICE_UNAVAILABLE,
        KeepError::Store(_) | KeepError::Unreadable(_) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(%error, cause, "keeping by hand failed");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    Problem::new(status, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_words() {
        let check = |text: Option<&str>, expected: Option<bool>| {
            let query =
                text.map(|text| ("force".to_owned(), text.to_owned())).into_iter().collect();
            assert_eq!(flag(&query, "force").ok(), expected, "{text:?}");
        };
        check(None, Some(false));
        check(Some(""), Some(true));
        check(Some("true"), Some(true));
        check(Some("false"), Some(false));
        check(Some("yes"), None);
    }

    #[test]
    fn errors_say_what_to_do_next() {
        let check = |error: KeepError, expected: u16| {
            assert_eq!(problem(error).status.as_u16(), expected);
        };
        check(KeepError::Misnamed("x".to_owned()), 400);
        check(KeepError::Cursor, 400);
        check(KeepError::Nothing("x".to_owned()), 404);
        check(KeepError::NotPinned("x".to_owned()), 404);
        check(KeepError::Pinned { name: "x".to_owned() }, 409);
        check(StoreError::Refusing.into(), 503);
        check(StoreError::Full.into(), 500);
    }
}
