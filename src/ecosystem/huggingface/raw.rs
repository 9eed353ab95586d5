//! Answers of the API that are kept as the hub wrote them, one for each question: references, commits, anything expanded.
//!
//! They are given on with Larder's address in place of the hub's. While the hub cannot be asked, the last one is served.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::cache::failure::Failure;
use crate::cache::lookup::{Demand, Document, Fresh, Keep, Kept, Parsed};
use crate::ecosystem::huggingface::config::Settings;
use crate::ecosystem::huggingface::info::{AdmitFacts, from_row, to_row};
use crate::ecosystem::huggingface::reach::{Reach, Reading, changing};
use crate::ecosystem::huggingface::resolve::insert;
use crate::ecosystem::huggingface::settle::{Marks, need};
use crate::ecosystem::huggingface::word::Word;
use crate::ecosystem::huggingface::{explain, links};
use crate::ecosystem::past::Unknown;
use crate::ecosystem::{Access, Ask, Plan, Render, Rendered, Reply, Serve, Step, Subject, View};
use crate::types::BlobId;
use crate::upstream::request::OutgoingBody;

const TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");

/// A question to the API.
pub struct Question {
    pub reach: Reach,
    pub marks: Marks,
    /// Path and query below the hub's root, encoded.
    pub address: String,
    /// What is posted, with its type; else it is a `GET`.
    pub body: Option<(Bytes, Option<HeaderValue>)>,
    pub demand: Demand,
}

/// An answer of the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Raw {
    body: Option<Vec<u8>>,
    link: Option<String>,
    total: Option<String>,
    /// The hub's present word, where that is a refusal.
    refusal: Option<Word>,
}

impl Question {
    fn document(&self) -> Document {
        let reach = &self.reach;
        let how = Reading {
            keep: Arc::new(KeepRaw),
            admit: Arc::new(AdmitFacts::of(reach, reach.settings.ref_ttl)),
            limit_bytes: reach.settings.info_limit_bytes,
            demand: self.demand,
        };
        let mut request = reach.get(&self.address);
        let mut name = format!("raw/{}", self.address);
        if let (Some(request), Some((body, kind))) = (&mut request, &self.body) {
            request.method = Method::POST;
            request.body = OutgoingBody::Bytes(body.clone());
            if let Some(kind) = kind {
                request.headers.insert(header::CONTENT_TYPE, kind.clone());
            }
        }
        if let Some((body, _)) = &self.body {
            name = format!("{name}#{}", BlobId::of(body));
        }
        reach.document(&name, request, how)
    }

    /// Plans the answer.
    pub fn plan(self, ask: &Ask) -> Step {
        let (asked, reach) = (ask.clone(), self.reach.clone());
        self.plan_or(ask, move |failure| Step::Reply(reach.explain(&asked, failure)))
    }

    /// Plans the answer. `fallback` answers while there is none.
    pub fn plan_or(
        self,
        ask: &Ask,
        fallback: impl FnOnce(&Failure) -> Step + Send + 'static,
    ) -> Step {
        let ask = ask.clone();
        if ask.as_of.is_some() {
            return Step::Reply(explain::unknown(&ask, &ask.path, Unknown::NoHistory));
        }
        let document = self.document();
        need(document.clone(), move |held| {
            let held = match held {
                Ok(held) => held,
                Err(failure) => return fallback(&failure),
            };
            match held.parsed.get::<Raw>() {
                Some(Raw { body: None, refusal: Some(word), .. }) => {
                    Step::Reply(explain::refusal(&ask, word))
                }
                Some(Raw { refusal, .. }) => {
                    let is_stale = self.marks.is_stale || held.standing.offline;
                    let is_withdrawn = self.marks.is_withdrawn || refusal.is_some();
                    let render = RawRender {
                        settings: Arc::clone(&self.reach.settings),
                        base: ask.base.clone(),
                        sharing: self.reach.shareability(),
                        marks: Marks { is_stale, is_withdrawn, ..self.marks },
                    };
                    serve(document, Arc::new(render))
                }
                None => Step::Reply(explain::lost()),
            }
        })
    }
}

/// A document in one of its forms, for whoever was found to have the right to it.
pub fn serve(document: Document, render: Arc<dyn Render>) -> Step {
    Step::Serve(Box::new(Plan {
        access: Access::Public,
        subject: Subject::default(),
        serve: Serve::Document { document, render },
    }))
}

#[derive(Debug)]
struct KeepRaw;

impl Keep for KeepRaw {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        from_row::<Raw>(kept).map(Parsed::new)
    }

    fn merge(&self, previous: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        let raw = match fresh.head.status {
            StatusCode::OK => {
                serde_json::from_slice::<serde::de::IgnoredAny>(fresh.body)
                    .map_err(|error| format!("the hub's answer is not JSON: {error}"))?;
                Raw {
                    body: Some(fresh.body.to_vec()),
                    link: fresh.head.text(&header::LINK).map(str::to_owned),
                    total: fresh.head.text(&TOTAL_COUNT).map(str::to_owned),
                    refusal: None,
                }
            }
            _ => {
                let known = previous.and_then(Parsed::get::<Raw>).cloned();
                let nothing = Raw { body: None, link: None, total: None, refusal: None };
                let refusal = Some(Word::of(fresh.head, fresh.body));
                Raw { refusal, ..known.unwrap_or(nothing) }
            }
        };
        let bytes = if raw.body.is_some() { to_row(&raw) } else { Bytes::new() };
        Ok(Kept::alone(bytes, Parsed::new(raw)))
    }
}

#[derive(Debug)]
struct RawRender {
    settings: Arc<Settings>,
    base: String,
    sharing: &'static str,
    marks: Marks,
}

impl Render for RawRender {
    fn variant(&self) -> String {
        format!("raw {} {} {:?}", self.base, self.sharing, self.marks)
    }

    fn render(&self, view: &View<'_>) -> Rendered {
        let raw = view.document.get::<Raw>();
        let body = raw.and_then(|raw| raw.body.clone()).unwrap_or_default();
        let mut reply = json(&self.settings, &self.base, body.into(), self.sharing, self.marks);
        if let Some(link) = raw.and_then(|raw| raw.link.as_deref()) {
            insert(&mut reply.headers, header::LINK, link);
            links::rewrite_head(&self.settings, &self.base, &mut reply.headers);
        }
        if let Some(total) = raw.and_then(|raw| raw.total.as_deref()) {
            insert(&mut reply.headers, TOTAL_COUNT, total);
        }
        Rendered { reply, valid_until: None }
    }
}

/// A JSON answer of the hub's, with Larder's address in place of the hub's.
pub fn json(
    settings: &Settings,
    base: &str,
    body: Bytes,
    sharing: &'static str,
    marks: Marks,
) -> Reply {
    let body = links::rewritten(settings, base, &body);
    let mut reply = Reply::new(StatusCode::OK, "application/json; charset=utf-8", body)
        .with(header::CACHE_CONTROL, changing(sharing, settings.ref_ttl))
        .with(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    marks.write(&mut reply.headers);
    reply
}
