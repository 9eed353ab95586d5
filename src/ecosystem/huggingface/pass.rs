//! Everything that is not known better: passed through to the hub and kept by the book, with links and redirects led back to Larder.
//!
//! The hub's own tokens go along, and nothing else that a client may have sent as credentials; what a token opened is not kept for others.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, Method, StatusCode, header};

use crate::cache::failure::Failure;
use crate::cache::lookup::{Exchange, Mode};
use crate::ecosystem::generic::forward;
use crate::ecosystem::huggingface::config::{ID, Settings};
use crate::ecosystem::huggingface::raw::Question;
use crate::ecosystem::huggingface::reach::{self, Reach};
use crate::ecosystem::huggingface::settle::Marks;
use crate::ecosystem::huggingface::{explain, links};
use crate::ecosystem::{Access, Amend, Ask, Plan, Reply, Serve, Step, Subject};
use crate::types::{Audience, Head};
use crate::upstream::request::OutgoingBody;

/// Fields that would lead clients to the hub's own storage.
const XET: [HeaderName; 4] = [
    HeaderName::from_static("x-xet-hash"),
    HeaderName::from_static("x-xet-refresh-route"),
    HeaderName::from_static("x-xet-cas-url"),
    HeaderName::from_static("x-xet-access-token"),
];

/// Passes a request on.
pub fn plan(settings: &Arc<Settings>, ask: &Ask) -> Step {
    plan_with(settings, ask, None)
}

/// Passes on what has no place of its own. Lists and searches of the API are kept question by question, for worse days, as long as no token shapes them.
pub fn plan_rest(settings: &Arc<Settings>, ask: &Ask) -> Step {
    if ask.path.starts_with("api/buckets/") && ask.path.ends_with("/xet-read-token") {
        let text = "Larder does not serve buckets by Xet; ask the hub itself for this one.";
        return Step::Reply(explain::error(ask, StatusCode::NOT_IMPLEMENTED, None, text));
    }
    let reach = match is_same_for_all(&ask.path) {
        true => Reach::public(settings),
        false => as_whom(settings, ask),
    };
    let is_list = ask.path.starts_with("api/") && matches!(ask.method, Method::GET | Method::HEAD);
    if !is_list || reach.audience != Audience::Public {
        return plan_as(settings, ask, reach, None);
    }
    let question = Question {
        reach,
        marks: Marks::default(),
        address: match &ask.query {
            Some(query) => format!("{}?{query}", ask.path),
            None => ask.path.clone(),
        },
        body: None,
        demand: reach::demand(ask),
    };
    let (hub, asked) = (Arc::clone(settings), ask.clone());
    question.plan_or(ask, move |failure| match failure {
        // Not everything in the API is JSON.
        Failure::BadAnswer(_) => plan_with(&hub, &asked, None),
        failure => Step::Reply(explain::failure(&asked, failure)),
    })
}

/// Passes a request on whose body was read already.
pub fn plan_with(settings: &Arc<Settings>, ask: &Ask, body: Option<Bytes>) -> Step {
    plan_as(settings, ask, as_whom(settings, ask), body)
}

/// Passes a request on as somebody.
pub fn plan_as(settings: &Arc<Settings>, ask: &Ask, reach: Reach, body: Option<Bytes>) -> Step {
    if ask.method == Method::CONNECT {
        let text = "The hub is no tunnel.";
        return Step::Reply(explain::error(ask, StatusCode::METHOD_NOT_ALLOWED, None, text));
    }
    let query = ask.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
    let Some(mut request) = reach.get(&format!("{}{query}", ask.path)) else {
        let text = "This path leads nowhere below the hub.";
        return Step::Reply(explain::error(ask, StatusCode::NOT_FOUND, None, text));
    };
    request.method = ask.method.clone();
    request.headers = forward::fields(&ask.headers);
    request.headers.remove(header::COOKIE);
    if let Some(body) = body {
        request.body = OutgoingBody::Bytes(body);
    }
    let amend = Lead { settings: Arc::clone(settings), base: ask.base.clone() };
    let exchange = Exchange::new(ID, &reach.audience, request, Mode::Keep);
    Step::Serve(Box::new(Plan {
        access: Access::Public,
        subject: Subject::default(),
        serve: Serve::Exchange { exchange, amend: Some(Arc::new(amend)) },
    }))
}

/// Lists of the hub's own that no token shapes. Clients ask for one when they start, and wait for it.
fn is_same_for_all(path: &str) -> bool {
    path == "api/agent-harnesses" || path.starts_with("api/") && path.ends_with("-tags-by-type")
}

/// As whom the hub is asked for what belongs to no repository: as the client, as Larder where it may be, else as nobody.
pub(super) fn as_whom(settings: &Arc<Settings>, ask: &Ask) -> Reach {
    let public = Reach::public(settings);
    match settings.service {
        Some(_) if settings.grants(ask) => Reach::service(settings),
        _ => public.of_client(ask).unwrap_or(public),
    }
}

/// What clients report of themselves is nobody's business: taken, and forgotten.
pub fn telemetry() -> Step {
    Step::Reply(Reply::new(StatusCode::OK, "application/json; charset=utf-8", "{}"))
}

/// Leads a client back to Larder.
#[derive(Debug)]
pub struct Lead {
    pub settings: Arc<Settings>,
    pub base: String,
}

impl Amend for Lead {
    fn amend(&self, head: &mut Head) {
        let is_xet = XET.iter().any(|name| head.headers.contains_key(name));
        for name in XET {
            head.headers.remove(name);
        }
        if is_xet {
            head.headers.remove(header::LINK);
        }
        head.headers.remove(header::SET_COOKIE);
        links::rewrite_head(&self.settings, &self.base, &mut head.headers);
    }
}
