//! Python package indexes: the simple API in JSON and HTML, files with their metadata and provenance, the legacy JSON.
//!
//! A project's page is one document that merges all that upstream ever said of it ([`merge`]); everything else hangs on it. It tells a file's digest, state
//! and upstream address, so a file is served only if its page, of any age, lists it ([`file`]). Pages are rendered at delivery
//! ([`project`]), from a listing that the policy has filtered ([`listing`]). What rules look at beyond the page is asked for only where they do ([`more`]).
//!
//! Left out: uploads, search, and the XML-RPC API.

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};

use crate::cache::failure::Failure;
use crate::ecosystem::naming::Naming;
use crate::ecosystem::past::Unknown;
use crate::ecosystem::{Ask, Ecosystem, Reply, Step};

pub mod accept;
mod account;
mod admit;
mod changes;
pub mod config;
mod explain;
mod facts;
mod file;
mod legacy;
pub mod links;
mod listing;
mod merge;
mod more;
pub mod name;
pub mod naming;
mod offer;
pub mod page;
pub(crate) mod parse_html;
pub(crate) mod parse_json;
mod past;
mod project;
mod provenance;
mod reach;
mod render_html;
mod render_json;
mod root;
pub mod routes;
#[cfg(test)]
mod scenarios;
mod verbatim;

pub use config::{Config, ConfigError, IndexConfig, SecretSource, Settings};

use routes::{Entrance, Route};

/// One index: a mount.
#[derive(Debug)]
pub struct Index {
    settings: Arc<Settings>,
}

impl Index {
    pub fn new(settings: Settings) -> Self {
        Self { settings: Arc::new(settings) }
    }

    /// The ways into this index from the server's root, for the route table.
    pub fn entrances(&self) -> Vec<Entrance> {
        routes::entrances(&self.settings.name)
    }

    /// Host names on which this index has its paths at the root.
    pub fn hosts(&self) -> &[String] {
        &self.settings.hosts
    }
}

impl Ecosystem for Index {
    fn id(&self) -> &str {
        &self.settings.id
    }

    fn plan(&self, ask: &Ask) -> Step {
        if !matches!(ask.method, Method::GET | Method::HEAD) {
            return Step::Reply(read_only());
        }
        let settings = &self.settings;
        match routes::route(&ask.path) {
            Route::Root => match ask.as_of {
                None => root::plan(settings, ask),
                Some(at) => Step::Reply(explain::unknown(
                    "the list of all projects",
                    Unknown::NoHistory,
                    at,
                )),
            },
            Route::Project { name, slash } => project::plan(settings, ask, &name, slash),
            Route::File { rest } => file::plan(settings, ask, rest),
            Route::Legacy { name, version, slash } => {
                legacy::plan(settings, ask, &name, version.as_deref(), slash)
            }
            Route::Unfinished { location } => Step::Reply(project::redirect(ask, location)),
            Route::Unknown => Step::Reply(explain::problem(
                StatusCode::NOT_FOUND,
                "Nothing is here",
                "This is a Python package index; its pages are below simple/.",
            )),
        }
    }

    fn explain(&self, _: &Ask, failure: &Failure) -> Reply {
        explain::failure(&self.settings, failure)
    }

    fn refuse(&self, _: &Ask, status: StatusCode, detail: &str) -> Reply {
        explain::problem(status, status.canonical_reason().unwrap_or("Refused"), detail)
    }

    fn has_past(&self) -> bool {
        true
    }

    fn naming(&self) -> Option<Arc<dyn Naming>> {
        Some(Arc::new(naming::Words::of(&self.settings)))
    }
}

fn read_only() -> Reply {
    let detail = "Larder keeps what others publish; upload to the index itself.";
    explain::problem(StatusCode::METHOD_NOT_ALLOWED, "Nothing can be uploaded here", detail)
        .with(header::ALLOW, HeaderValue::from_static("GET, HEAD"))
}
