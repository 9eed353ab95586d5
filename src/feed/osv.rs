//! The OSV API, version 1, at `/-/osv/v1/`: tools that audit dependencies ask here instead of a public service, and no network is needed.
//!
//! Requests and answers are of that API's shapes, pages and errors included. What is not known is not dressed up as harmless: without records, and for ecosystems
//! whose records are not kept, the answer is an error. Commits alone are answered as unknown, since records are found by package here.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Method, Response, StatusCode};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::{Edition, Feed};
use crate::admin::Right;
use crate::admin::api::{self, Call, Operation, Problem, Resource};
use crate::advisory::Finding;
use crate::advisory::question::{About, Batch, Query, Question};
use crate::server::Body;

/// Everything of this API is below this.
pub const PREFIX: &str = "/-/osv/v1/";

/// The largest question.
const BODY_LIMIT_BYTES: usize = 4 << 20;

/// Questions in one batch, as the public API has it.
const MOST_QUERIES: usize = 1000;

/// Records in one page of an answer, likewise.
const PAGE_RECORDS: usize = 1000;

/// A page ends after the record with which it gets longer than this.
const PAGE_BYTES: usize = 16 << 20;

/// The API, over a feed.
#[derive(Debug, Clone)]
pub struct Osv(pub Arc<Feed>);

/// A failure in the words of this API, which speaks gRPC's.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    code: u8,
    message: String,
}

/// One entry of a batch's answer.
#[derive(Debug, Default, Serialize)]
struct Listed<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vulns: Vec<Named<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

#[derive(Debug, Serialize)]
struct Named<'a> {
    id: &'a str,
    modified: String,
}

/// An answer to one query.
#[derive(Debug, Default, Serialize)]
struct Told {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vulns: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

impl Resource for Osv {
    fn operations(&self) -> Vec<Operation> {
        vec![
            Operation::new("query", Method::POST, "query", Right::Client),
            Operation::new("querybatch", Method::POST, "querybatch", Right::Client),
            Operation::new("vulns", Method::GET, "vulns/{id}", Right::Client),
        ]
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Response<Body>, Problem>> {
        let osv = self.clone();
        async move {
            let operation = call.operation;
            let outcome = match operation {
                "query" => osv.query(call).await,
                "querybatch" => osv.batch(call).await,
                _ => osv.record(call).await,
            };
            let told = if outcome.is_ok() { "answered" } else { "refused" };
            metrics::counter!("larder_advisory_queries_total", "operation" => operation, "outcome" => told)
                .increment(1);
            Ok(outcome.unwrap_or_else(Refusal::into_response))
        }
        .boxed()
    }
}

impl Osv {
    async fn query(self, call: Call) -> Result<Response<Body>, Refusal> {
        let edition = self.edition()?;
        let query: Query = Call::json(call.body, BODY_LIMIT_BYTES).await.map_err(Refusal::of)?;
        let question = query.read().map_err(Refusal::bad)?;
        self.check(&question)?;
        let told = blocking(move || {
            let found = found(&edition, &question);
            edition.told(&found, question.from)
        });
        Ok(api::answer(StatusCode::OK, serde_json::to_vec(&told.await??).map_err(Refusal::ours)?))
    }

    async fn batch(self, call: Call) -> Result<Response<Body>, Refusal> {
        let edition = self.edition()?;
        let batch: Batch = Call::json(call.body, BODY_LIMIT_BYTES).await.map_err(Refusal::of)?;
        if batch.queries.len() > MOST_QUERIES {
            return Err(Refusal::bad("Too many queries.".to_owned()));
        }
        let read = batch.queries.into_iter().map(Query::read);
        let questions: Vec<Question> = read.collect::<Result<_, _>>().map_err(Refusal::bad)?;
        questions.iter().try_for_each(|question| self.check(question))?;
        let text = blocking(move || {
            let listed = |question: &Question| listed(&found(&edition, question), question.from);
            let results: Vec<Listed<'_>> = questions.iter().map(listed).collect();
            serde_json::to_vec(&json!({ "results": results }))
        });
        Ok(api::answer(StatusCode::OK, text.await?.map_err(Refusal::ours)?))
    }

    async fn record(self, call: Call) -> Result<Response<Body>, Refusal> {
        let edition = self.edition()?;
        let id = call.captures.into_iter().next().unwrap_or_default();
        let place = edition.advisories.record(&id).ok_or_else(Refusal::absent)?;
        let text = blocking(move || edition.text(place, &id)).await?.map_err(Refusal::ours)?;
        Ok(api::answer(StatusCode::OK, text))
    }

    /// The records, if there can be any.
    fn edition(&self) -> Result<Arc<Edition>, Refusal> {
        match self.0.is_on() {
            true => Ok(self.0.current()),
            false => Err(Refusal {
                status: StatusCode::NOT_FOUND,
                code: 5,
                message:
                    "This Larder has no advisories: `advisories.folder` is not set. Nothing can be said of any package."
                        .to_owned(),
            }),
        }
    }

    /// No answer is better than one that says of an unknown ecosystem that nothing is wrong.
    fn check(&self, question: &Question) -> Result<(), Refusal> {
        match &question.about {
            About::Package { ecosystem, .. } if !self.0.knows(ecosystem) => {
                Err(Refusal::bad(format!(
                    "Invalid ecosystem: this Larder has no advisories of {ecosystem:?}, see `advisories.ecosystems`."
                )))
            }
            _ => Ok(()),
        }
    }
}

fn found<'a>(edition: &'a Edition, question: &Question) -> Vec<Finding<'a>> {
    match &question.about {
        About::Commit => Vec::new(),
        About::Package { ecosystem, name, version } => {
            let package = edition.advisories.package(ecosystem, name);
            match version {
                Some(version) => package.at(version),
                None => package.all(),
            }
        }
    }
}

fn listed<'a>(found: &[Finding<'a>], from: usize) -> Listed<'a> {
    let page = found.iter().skip(from).take(PAGE_RECORDS);
    let named = |one: &Finding<'a>| Named { id: one.id, modified: one.modified.to_rfc3339() };
    let vulns: Vec<Named<'a>> = page.map(named).collect();
    let next = from.saturating_add(vulns.len());
    Listed { vulns, next_page_token: (next < found.len()).then(|| next.to_string()) }
}

impl Edition {
    /// A page of records, whole. Blocks.
    fn told(&self, found: &[Finding<'_>], from: usize) -> Result<Told, Refusal> {
        let mut vulns = Vec::new();
        let mut bytes = 0;
        for one in found.iter().skip(from).take(PAGE_RECORDS) {
            let text = self.text(one.place, one.id).map_err(Refusal::ours)?;
            bytes += text.len();
            vulns.push(serde_json::from_slice(&text).map_err(Refusal::ours)?);
            if bytes > PAGE_BYTES {
                break;
            }
        }
        let next = from.saturating_add(vulns.len());
        Ok(Told { vulns, next_page_token: (next < found.len()).then(|| next.to_string()) })
    }

    fn text(&self, place: crate::advisory::Place, id: &str) -> std::io::Result<Vec<u8>> {
        let source = self.sources.get(place.source as usize);
        source.ok_or(std::io::ErrorKind::NotFound)?.read(place, id)
    }
}

/// Work that reads files or looks through much, off the threads that serve.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(Refusal::ours)
}

impl Refusal {
    fn bad(message: String) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: 3, message }
    }

    fn absent() -> Self {
        Self { status: StatusCode::NOT_FOUND, code: 5, message: "Bug not found.".to_owned() }
    }

    /// A body that is too long or no question.
    fn of(problem: Problem) -> Self {
        Self { status: problem.status, code: 3, message: problem.detail }
    }

    fn ours(error: impl std::fmt::Display) -> Self {
        tracing::warn!(%error, "an advisory could not be read");
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: 13,
            message: "The record could not be read; it is tried again soon.".to_owned(),
        }
    }

    fn into_response(self) -> Response<Body> {
        let body = json!({ "code": self.code, "message": self.message });
        api::answer(self.status, body.to_string())
    }
}
