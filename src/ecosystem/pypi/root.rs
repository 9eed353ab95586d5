//! The root index, `simple/`: the names of all projects of the first upstream.
//!
//! It is tens of megabytes on a public index and no installer asks for it. Clients that read JSON get upstream's answer streamed through and kept as it is;
//! only for those that read HTML alone is it parsed, since links on upstream's own page would lead past us.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;

use crate::cache::lookup::{Exchange, Fresh, Keep, Kept, Mode, Parsed};
use crate::ecosystem::pypi::accept::{self, Representation};
use crate::ecosystem::pypi::config::{Layout, Settings};
use crate::ecosystem::pypi::reach::{self, Reach};
use crate::ecosystem::pypi::{explain, parse_html, project, render_html};
use crate::ecosystem::{Ask, Plan, Render, Rendered, Reply, Serve, Step, Subject, View};

const JSON: &str = "application/vnd.pypi.simple.v1+json";
const JSON_OR_HTML: &str = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";

/// Plans the root index.
pub fn plan(settings: &Arc<Settings>, ask: &Ask) -> Step {
    let Some(representation) = accept::negotiate(&ask.headers, ask.query.as_deref()) else {
        return Step::Reply(project::not_acceptable());
    };
    let public = |upstream: &&Arc<_>| is_listed(upstream);
    let Some(upstream) = settings.upstreams.iter().find(public) else {
        return Step::Reply(explain::problem(
            StatusCode::NOT_FOUND,
            "No list of projects",
            "No upstream of this index has a list of all its projects.",
        ));
    };
    let reach = match Reach::through(settings, vec![Arc::clone(upstream)], ask) {
        Ok(reach) => reach,
        Err(reply) => return Step::Reply(reply),
    };
    let url = upstream.origin.base.clone();
    let serve = match representation {
        Representation::JsonV1 => {
            let request = reach.request(upstream, url, Some(JSON));
            Serve::Exchange {
                exchange: Exchange { key: reach.key("root"), request, mode: Mode::Keep },
                amend: None,
            }
        }
        Representation::Html | Representation::HtmlV1 => {
            let origins = vec![reach.request(upstream, url, Some(JSON_OR_HTML))];
            let document =
                reach.document("root-names", origins, Arc::new(Names), reach::demand(&ask.headers));
            let render =
                Arc::new(NamesRender { representation, shareability: reach.shareability() });
            Serve::Document { document, render }
        }
    };
    Step::Serve(Box::new(Plan { access: reach.access, subject: Subject::default(), serve }))
}

/// Whether an upstream has a root index that clients may see: private names stay out of it.
fn is_listed(upstream: &crate::ecosystem::pypi::config::Upstream) -> bool {
    upstream.layout == Layout::Simple && upstream.names.is_empty()
}

/// Keeps the names of a root index.
#[derive(Debug)]
struct Names;

impl Keep for Names {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        postcard::from_bytes::<Vec<Box<str>>>(kept)
            .map(Parsed::new)
            .map_err(|error| error.to_string())
    }

    fn merge(&self, _: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        let text = std::str::from_utf8(fresh.body)
            .map_err(|_| "the root index is not UTF-8".to_owned())?;
        let names = match text.trim_start().starts_with('{') {
            true => listed(text)?,
            false => parse_html::projects(text),
        };
        if names.is_empty() {
            return Err("upstream answered with a root index that names no project".to_owned());
        }
        let bytes = postcard::to_stdvec(&names).expect("texts can be written").into();
        Ok(Kept::alone(bytes, Parsed::new(names)))
    }
}

fn listed(text: &str) -> Result<Vec<Box<str>>, String> {
    #[derive(serde::Deserialize)]
    struct Root {
        projects: Vec<Project>,
    }
    #[derive(serde::Deserialize)]
    struct Project {
        name: Value,
    }
    let root: Root = serde_json::from_str(text)
        .map_err(|error| format!("the root index cannot be read: {error}"))?;
    Ok(root.projects.iter().filter_map(|project| project.name.as_str()).map(Into::into).collect())
}

#[derive(Debug)]
struct NamesRender {
    representation: Representation,
    shareability: &'static str,
}

impl Render for NamesRender {
    fn variant(&self) -> String {
        format!("{:?} {}", self.representation, self.shareability)
    }

    fn render(&self, view: &View<'_>) -> Rendered {
        let names = view.document.get::<Vec<Box<str>>>().map(Vec::as_slice).unwrap_or_default();
        let mut reply =
            Reply::new(StatusCode::OK, "text/html; charset=utf-8", render_html::root(names));
        reply.headers =
            reach::document_headers(self.shareability, self.representation, &view.standing);
        reply.headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Rendered { reply, valid_until: None }
    }
}
