//! Git's own protocol passes through to the hub: packs are made for each client, so there is nothing to keep.
//!
//! These are the only paths on which a client's password is passed on, and to the hub's own host alone: git sends tokens as passwords.

use std::sync::Arc;

use http::{HeaderName, StatusCode, header};

use crate::cache::lookup::{Exchange, Mode};
use crate::ecosystem::huggingface::config::{Auth, ID};
use crate::ecosystem::huggingface::pass::Lead;
use crate::ecosystem::huggingface::reach::below;
use crate::ecosystem::huggingface::{Hub, explain};
use crate::ecosystem::{Access, Ask, Plan, Serve, Step, Subject};
use crate::types::Audience;
use crate::upstream::request::{Credentials, OriginRequest, OutgoingBody, Redirects, Retries};

/// Fields that git and git-lfs send and the hub reads. Nothing else is passed on.
const FIELDS: [HeaderName; 7] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::USER_AGENT,
    HeaderName::from_static("git-protocol"),
];

/// Passes a request of git's through.
pub fn plan(hub: &Hub, ask: &Ask) -> Step {
    pass_with(hub, ask, OutgoingBody::Empty)
}

/// The same with a body that planning has read.
pub fn pass_with(hub: &Hub, ask: &Ask, body: OutgoingBody) -> Step {
    let query = ask.query.as_ref().map_or(String::new(), |query| format!("?{query}"));
    let Some(url) = below(&hub.settings, &format!("{}{query}", ask.path)) else {
        let text = "This path leads nowhere below the hub.";
        return Step::Reply(explain::error(ask, StatusCode::NOT_FOUND, None, text));
    };
    let client = ask.credential.as_ref().filter(|_| hub.settings.auth == Auth::Passthrough);
    let mut request = OriginRequest::get(&hub.settings.origin, url);
    request.method = ask.method.clone();
    request.credentials = client.map(|client| Credentials::Verbatim(client.verbatim.clone()));
    request.body = body;
    request.redirects = Redirects::Pass;
    request.retries = Retries::Never;
    for name in FIELDS {
        for value in ask.headers.get_all(&name) {
            request.headers.append(&name, value.clone());
        }
    }
    let audience = client.map_or(Audience::Public, |client| Audience::Credential(client.id));
    let exchange = Exchange::new(ID, &audience, request, Mode::ByTheBook);
    let amend = Lead { settings: Arc::clone(&hub.settings), base: ask.base.clone() };
    Step::Serve(Box::new(Plan {
        access: Access::Public,
        subject: Subject::default(),
        serve: Serve::Exchange { exchange, amend: Some(Arc::new(amend)) },
    }))
}
