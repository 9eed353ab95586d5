//! The server of facts about datasets: `datasets-server.HOST`, an address that clients derive from the hub's own.
//!
//! Its answers are about one dataset, named in the query, so they are kept with it and given to who may read it. They name addresses of the
//! hub, in whose place stands Larder's, and the commit that they are of (`X-Revision`), without which clients do not believe them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::cache::failure::Failure;
use crate::cache::lookup::{
    Accepted, Admission, Admit, Answer, Demand, Document, Exchange, Fresh, Keep, Kept, Mode, Parsed,
};
use crate::ecosystem::huggingface::config::{ID, Settings};
use crate::ecosystem::huggingface::pass::Lead;
use crate::ecosystem::huggingface::reach::{self, Reach, Reading};
use crate::ecosystem::huggingface::repository::{Repository, RepositoryType, encoded};
use crate::ecosystem::huggingface::settle::{Admitted, Purpose, admit};
use crate::ecosystem::huggingface::xet::only_read;
use crate::ecosystem::huggingface::{Hub, explain, links};
use crate::ecosystem::{Access, Ask, Plan, Render, Rendered, Reply, Serve, Step, Subject, View};
use crate::types::Audience;
use crate::upstream::request::{Credentials, OriginRequest};

/// What an address of this server's begins with, before the hub's own name.
pub const LABEL: &str = "datasets-server";

/// The largest answer: rows may hold pictures.
const LIMIT_BYTES: u64 = 64 << 20;

/// The commit that an answer is of.
const REVISION: HeaderName = HeaderName::from_static("x-revision");

/// Plans a request of that host.
pub fn plan(hub: &Hub, ask: &Ask, rest: &str) -> Step {
    if let Some(reply) = only_read(ask) {
        return Step::Reply(reply);
    }
    let query = ask.query.clone().unwrap_or_default();
    let Some(url) = address(&hub.settings, rest, &query) else {
        let text = "The server of facts about datasets is not served here.";
        return Step::Reply(explain::error(ask, StatusCode::NOT_FOUND, None, text));
    };
    let Some(repository) = dataset(&query) else { return pass(hub, ask, url) };
    let (settings, asked) = (Arc::clone(&hub.settings), ask.clone());
    let name = name(rest, &query);
    admit(&settings, ask, repository, Purpose::Files, move |admitted| {
        serve(&admitted, &asked, &name, url)
    })
}

/// What clients that load a dataset ask first, to be kept with it: where its parquet files are, and what is in them.
pub fn documents(reach: &Reach, repository: &Repository) -> Vec<Document> {
    if repository.kind != RepositoryType::Datasets {
        return Vec::new();
    }
    let query = format!("dataset={}", encoded(repository.id()));
    let documents = ["parquet", "info"].into_iter().filter_map(|rest| {
        let url = address(&reach.settings, rest, &query)?;
        Some(document(reach, &name(rest, &query), url, Demand::AnyAge))
    });
    documents.collect()
}

/// The name of an answer, however its query was written.
fn name(rest: &str, query: &str) -> String {
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    format!("{LABEL}/{rest}?{query}")
}

/// The dataset that a query is about.
fn dataset(query: &str) -> Option<Repository> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let (_, id) = pairs.find(|(name, _)| name == "dataset")?;
    Repository::parse(RepositoryType::Datasets, &id)
}

fn address(settings: &Settings, rest: &str, query: &str) -> Option<Url> {
    let origin = settings.datasets_server.as_ref()?;
    let mut url = Url::parse(&format!("{}{rest}", origin.base)).ok()?;
    url.set_query((!query.is_empty()).then_some(query));
    origin.owns(&url).then_some(url)
}

fn serve(admitted: &Admitted, ask: &Ask, name: &str, url: Url) -> Step {
    let reach = &admitted.files;
    let document = document(reach, name, url, reach::demand(ask));
    let render = RenderAnswer {
        settings: Arc::clone(&reach.settings),
        base: hub_base(&ask.base),
        shareability: reach.shareability(),
    };
    let serve = Serve::Document { document, render: Arc::new(render) };
    let plan = Plan { access: Access::Public, subject: Subject::default(), serve };
    Step::Serve(Box::new(plan))
}

fn document(reach: &Reach, name: &str, url: Url, demand: Demand) -> Document {
    let how = Reading {
        keep: Arc::new(KeepAnswer),
        admit: Arc::new(AdmitAnswer { fresh_for: reach.settings.ref_ttl }),
        limit_bytes: LIMIT_BYTES,
        demand,
    };
    reach.document(name, question(reach, url), how)
}

/// The question as who may read the dataset.
fn question(reach: &Reach, url: Url) -> Option<OriginRequest> {
    let origin = reach.settings.datasets_server.as_ref().filter(|_| reach.may_ask())?;
    let mut request = OriginRequest::get(origin, url);
    request.credentials = match (reach.credential(), &reach.settings.service) {
        (Some(credential), _) => Some(Credentials::Verbatim(credential.clone())),
        (None, Some(service)) if reach.audience == Audience::Service => service.credentials.clone(),
        (None, _) => None,
    };
    Some(request)
}

/// What is about no dataset passes through, as nobody's question.
fn pass(hub: &Hub, ask: &Ask, url: Url) -> Step {
    let reach = Reach::public(&hub.settings);
    let Some(request) = question(&reach, url) else {
        return Step::Reply(explain::failure(ask, &Failure::NotKept));
    };
    let exchange = Exchange::new(&format!("{ID}/{LABEL}"), &reach.audience, request, Mode::Keep);
    let amend = Lead { settings: Arc::clone(&hub.settings), base: hub_base(&ask.base) };
    let serve = Serve::Exchange { exchange, amend: Some(Arc::new(amend)) };
    let plan = Plan { access: Access::Public, subject: Subject::default(), serve };
    Step::Serve(Box::new(plan))
}

/// Where the hub itself is, for a client that came to this server's own host.
fn hub_base(base: &str) -> String {
    base.replacen(&format!("://{LABEL}."), "://", 1)
}

/// An answer, and the commit that it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Fact {
    json: String,
    revision: Option<String>,
}

/// Keeps an answer as it came.
#[derive(Debug)]
struct KeepAnswer;

impl Keep for KeepAnswer {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        let fact: Fact = postcard::from_bytes(kept).map_err(|error| error.to_string())?;
        Ok(Parsed::new(fact))
    }

    fn merge(&self, _: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        let none = |error: serde_json::Error| format!("the answer is no JSON: {error}");
        let _: &serde_json::value::RawValue = serde_json::from_slice(fresh.body).map_err(none)?;
        let json = String::from_utf8_lossy(fresh.body).into_owned();
        let revision = fresh.head.text(&REVISION).map(str::to_owned);
        let fact = Fact { json, revision };
        let bytes = postcard::to_stdvec(&fact).expect("text has a form in postcard");
        Ok(Kept::alone(bytes.into(), Parsed::new(fact)))
    }
}

#[derive(Debug)]
struct AdmitAnswer {
    fresh_for: Duration,
}

impl Admit for AdmitAnswer {
    fn admit(&self, _: usize, answer: &Answer<'_>) -> Admission {
        match answer.head.status {
            StatusCode::OK => {
                Admission::Accept(Accepted { fresh_for: self.fresh_for, ..Accepted::default() })
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => Admission::Absent,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Admission::Refused,
            other => Admission::Fail { reason: format!("the server of datasets answered {other}") },
        }
    }
}

/// Gives an answer as it is kept, with Larder's addresses.
#[derive(Debug)]
struct RenderAnswer {
    settings: Arc<Settings>,
    base: String,
    shareability: &'static str,
}

impl Render for RenderAnswer {
    fn variant(&self) -> String {
        format!("{} {}", self.shareability, self.base)
    }

    fn render(&self, view: &View<'_>) -> Rendered {
        let Some(fact) = view.document.get::<Fact>() else {
            return Rendered { reply: explain::lost(), valid_until: None };
        };
        let json = Bytes::copy_from_slice(fact.json.as_bytes());
        let body = links::rewritten(&self.settings, &self.base, &json);
        let mut reply = Reply::new(StatusCode::OK, "application/json", body);
        let fresh_for = self.settings.ref_ttl;
        let control = reach::changing(self.shareability, fresh_for);
        reply.headers.insert(header::CACHE_CONTROL, control);
        if let Some(value) =
            fact.revision.as_ref().and_then(|text| HeaderValue::from_str(text).ok())
        {
            reply.headers.insert(REVISION, value);
        }
        Rendered { reply, valid_until: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dataset_is_read_from_the_query() {
        let check = |query: &str, expected: Option<&str>| {
            let read = dataset(query).map(|repository| repository.to_string());
            assert_eq!(read.as_deref(), expected, "{query}");
        };
        check("dataset=org%2Fd&config=default", Some("datasets/org/d"));
        check("dataset=squad", Some("datasets/squad"));
        check("config=default", None);
        check("dataset=..%2Fx", None);
    }

    #[test]
    fn answers_are_found_however_the_query_is_written() {
        assert_eq!(name("parquet", "dataset=org/d"), name("parquet", "dataset=org%2Fd"));
        assert_ne!(name("parquet", "dataset=org/d"), name("info", "dataset=org/d"));
        assert_ne!(name("rows", "dataset=d&offset=1"), name("rows", "dataset=d&offset=2"));
    }

    #[test]
    fn the_hub_s_own_host_is_told() {
        assert_eq!(hub_base("http://datasets-server.l.example:1"), "http://l.example:1");
        assert_eq!(hub_base("http://l.example/t/x"), "http://l.example/t/x");
    }
}
