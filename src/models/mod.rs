//! Passports over the API: of one model, of what changed between two commits, and as a bill of materials; and bills of what was pulled
//! ([`pulled`]), whose record tells a passport how often its model was.
//!
//! Everything is gathered by asking the hub's mount as the caller ([`gather`]), so that a passport says nothing to somebody that the mount would not tell him; nothing
//! is asked upstream unless `fetch=true` is. Left out: what a passport is made of (`passport`, `bom`).

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, Response, StatusCode, header};
use tokio::sync::Semaphore;

use crate::admin::Right;
use crate::admin::api::{Call, Operation, Problem, Resource, json};
use crate::bom;
use crate::clock::Clock;
use crate::ecosystem::huggingface::repository::{MAIN, Repository, RepositoryType, Revision};
use crate::passport::{Passport, change, compose};
use crate::server::Body;
use crate::signature::Trust;

mod gather;
mod pulled;

use gather::Gather;
pub use pulled::Recorded;

/// The operations.
#[derive(Debug)]
pub struct Models {
    /// The hub that package URLs mean when they name none.
    known_hub: Option<String>,
    trust: Trust,
    recorded: Recorded,
    clock: Clock,
    /// Passports take memory while they are gathered.
    turns: Arc<Semaphore>,
}

/// Passports that are gathered at once; further ones wait.
const AT_ONCE: usize = 4;

impl Models {
    /// `known_hub`: the hub that package URLs mean when they name none; `trust`: whom signatures must lead back to.
    pub fn new(known_hub: Option<String>, trust: Trust, recorded: Recorded, clock: Clock) -> Self {
        Self { known_hub, trust, recorded, clock, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

/// A repository at a revision, as callers write it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    repository: Repository,
    revision: Revision,
}

impl Resource for Models {
    fn operations(&self) -> Vec<Operation> {
        vec![
            Operation::new("getModel", Method::GET, "models/{id...}", Right::Client),
            Operation::new("getModelChanges", Method::GET, "changes/{id...}", Right::Client),
            Operation::new("getModelBom", Method::GET, "bom/{id...}", Right::Client),
            Operation::new("getPulledBom", Method::GET, "bom", Right::Administrator),
        ]
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Response<Body>, Problem>> {
        let gather = Gather {
            visitor: call.caller.visitor.clone(),
            may_fetch: matches!(call.query.get("fetch").map(String::as_str), Some("true" | "1")),
            at: call.query.get("at").cloned(),
            known_hub: self.known_hub.clone(),
            trust: self.trust.clone(),
        };
        let turns = Arc::clone(&self.turns);
        let (now, recorded) = (self.clock.now(), self.recorded.clone());
        async move {
            // The semaphore is never closed.
            let _turn = turns.acquire_owned().await.ok();
            if call.operation == "getPulledBom" {
                return Ok(bill(&recorded.bill(&call, &gather).await?));
            }
            let wanted = Wanted::read(call.captures.first().map_or("", String::as_str))?;
            match call.operation {
                "getModelChanges" => changes(&gather, &wanted, call.query.get("to")).await,
                "getModelBom" => {
                    let passport = passport(&gather, &wanted).await?;
                    Ok(bill(&bom::of_passports(&[passport], now)))
                }
                _ => {
                    let mut passport = passport(&gather, &wanted).await?;
                    recorded.tell_usage(&mut passport, call.caller.right).await;
                    Ok(json(&passport))
                }
            }
        }
        .boxed()
    }
}

async fn passport(gather: &Gather, wanted: &Wanted) -> Result<Passport, Problem> {
    let sources = gather.sources(&wanted.repository, &wanted.revision).await?;
    Ok(compose(&sources))
}

async fn changes(
    gather: &Gather,
    wanted: &Wanted,
    to: Option<&String>,
) -> Result<Response<Body>, Problem> {
    let to = to.ok_or_else(|| Problem::bad("`to` is missing: the revision to compare with"))?;
    let to = Wanted { repository: wanted.repository.clone(), revision: revision(to)? };
    let (from, to) = (passport(gather, wanted).await?, passport(gather, &to).await?);
    let changes = change::between(&from, &to);
    let changes = changes.map_err(|error| {
        let detail = format!("{error}; with fetch=true it is asked for");
        Problem::new(StatusCode::CONFLICT, detail)
    })?;
    Ok(json(&changes))
}

fn bill(bom: &bom::Bom) -> Response<Body> {
    let mut response = json(bom);
    let kind = HeaderValue::from_static("application/vnd.cyclonedx+json; version=1.6");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

impl Wanted {
    /// Reads `org/name@revision`; without a revision, the main branch is meant.
    fn read(text: &str) -> Result<Self, Problem> {
        let text = text.strip_prefix("hf:").unwrap_or(text);
        let (id, asked) = text.split_once('@').unwrap_or((text, MAIN));
        let typed = || {
            let (kind, id) = id.split_once('/')?;
            let kind =
                RepositoryType::parse(kind).filter(|kind| *kind != RepositoryType::Models)?;
            Repository::parse(kind, id)
        };
        let repository = typed().or_else(|| Repository::parse(RepositoryType::Models, id));
        let repository = repository.ok_or_else(|| {
            Problem::bad(format!("{id:?} names no repository: write org/name or org/name@revision"))
        })?;
        Ok(Self { repository, revision: revision(asked)? })
    }
}

fn revision(text: &str) -> Result<Revision, Problem> {
    let wrong = || Problem::bad(format!("{text:?} is no revision that git would take"));
    Revision::parse(text.trim_start_matches('@')).ok_or_else(wrong)
}

#[cfg(test)]
mod tests;
