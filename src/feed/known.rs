//! What is known, for people: the state of the feed and what it says of one version, at `/-/api/v1/advisories`.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use http::{Method, Response, StatusCode};
use serde::Serialize;

use super::Feed;
use super::copies::{Copy, Note};
use crate::admin::Right;
use crate::admin::api::{self, Call, Operation, Problem, Resource};
use crate::advisory::Finding;
use crate::server::Body;
use crate::types::Timestamp;

/// The operations, over a feed.
#[derive(Debug, Clone)]
pub struct Known(pub Arc<Feed>);

/// The answer of `advisories`.
#[derive(Debug, Serialize)]
struct State {
    /// Whether there is a folder to read from.
    on: bool,
    ecosystems: Vec<String>,
    records: usize,
    malicious: usize,
    memory_bytes: usize,
    /// When the newest record was written.
    newest: Option<String>,
    /// When the folder was read last.
    read: Option<String>,
    /// Whole ecosystems, as files.
    archives: Vec<String>,
    /// What is fetched.
    sources: Vec<Fetched>,
    /// Records that could not be read, and the first of them.
    faulty: usize,
    faults: Vec<String>,
}

/// An address, and the copy of what it gave.
#[derive(Debug, Serialize)]
struct Fetched {
    address: String,
    /// When the copy came. `None`: there is none.
    fetched: Option<String>,
    /// When the address last said that it is the newest.
    confirmed: Option<String>,
}

/// The answer of `advisories/{ecosystem}/{name}/{version}`.
#[derive(Debug, Serialize)]
struct OfVersion<'a> {
    ecosystem: &'a str,
    name: &'a str,
    version: &'a str,
    malicious: bool,
    findings: Vec<Finding<'a>>,
}

impl Resource for Known {
    fn operations(&self) -> Vec<Operation> {
        vec![
            Operation::new("advisories", Method::GET, "advisories", Right::Client),
            Operation::new(
                "advisoriesOf",
                Method::GET,
                "advisories/{ecosystem}/{name}/{version}",
                Right::Client,
            ),
        ]
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Response<Body>, Problem>> {
        ready(match call.operation {
            "advisories" => Ok(api::json(&self.state())),
            _ => self.of(&call.captures),
        })
        .boxed()
    }
}

impl Known {
    fn state(&self) -> State {
        let (feed, edition) = (&self.0, self.0.current());
        let archives = edition.sources.iter().filter_map(super::source::Source::archive_path);
        State {
            on: feed.is_on(),
            ecosystems: feed.config.ecosystems.clone(),
            records: edition.advisories.len(),
            malicious: edition.advisories.malicious(),
            memory_bytes: edition.advisories.bytes(),
            newest: edition.advisories.newest().map(Timestamp::to_rfc3339),
            read: feed.is_on().then(|| edition.read_at.to_rfc3339()),
            archives: archives.map(|path| path.display().to_string()).collect(),
            sources: feed.copies.iter().map(|copy| Fetched::of(copy)).collect(),
            faulty: edition.faulty,
            faults: edition.faults.clone(),
        }
    }

    fn of(&self, captures: &[String]) -> Result<Response<Body>, Problem> {
        let [ecosystem, name, version] = captures else {
            return Err(Problem::bad("an ecosystem, a name and a version are asked for"));
        };
        if !self.0.is_on() {
            let detail = "this Larder has no advisories: neither `advisories.folder` nor `advisories.sources` is set";
            return Err(Problem::new(StatusCode::CONFLICT, detail));
        }
        if !self.0.knows(ecosystem) {
            let detail = format!(
                "there are no advisories of {ecosystem:?} here: see `advisories.ecosystems`"
            );
            return Err(Problem::bad(detail));
        }
        let edition = self.0.current();
        let findings = edition.advisories.of(ecosystem, name, version);
        let malicious = findings.iter().any(|one| one.malicious);
        Ok(api::json(&OfVersion { ecosystem, name, version, malicious, findings }))
    }
}

impl Fetched {
    fn of(copy: &Copy) -> Self {
        let note = copy.note();
        let at =
            |instant: fn(&Note) -> Timestamp| note.as_ref().map(|note| instant(note).to_rfc3339());
        let (fetched, confirmed) = (at(|note| note.fetched), at(|note| note.confirmed));
        Self { address: copy.address(), fetched, confirmed }
    }
}
