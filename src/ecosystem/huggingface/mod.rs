//! The Hugging Face hub: files of models, datasets, spaces and kernels, what is said of them, and the protocols that lead to the same bytes.
//!
//! A request's path becomes a [`route::Route`]; one match below hands it to the module that plans it. Whatever belongs to a repository first has the
//! right of its client and the commit that is meant [`settle`]d, from documents that the cache keeps; files are then known from the tree of that
//! commit ([`tree`], [`file`]), and their bytes are shared by all that name the same digest. What is not known here passes through ([`pass`]).
//!
//! What rules look at beyond descriptions and trees, the licences of ancestors ([`lineage`]) and of texts ([`licence_text`]) and who vouches for the files ([`signed`]), is
//! asked for only where they do.
//!
//! Left out: uploads, which pass through as they are.

use std::sync::Arc;

use http::{HeaderName, StatusCode};

use crate::cache::failure::Failure;
use crate::cache::lookup::{Nature, Stock};
use crate::ecosystem::naming::Naming;
use crate::ecosystem::past::Unknown;
use crate::ecosystem::{Ask, Ecosystem, Reply, Step};
use crate::types::Signer;

mod account;
mod api;
mod batch;
mod changes;
pub mod config;
mod datasets_server;
mod explain;
mod facts;
pub mod file;
mod git;
mod head;
pub mod identity;
pub mod info;
mod judge;
mod lfs;
mod licence_text;
mod lineage;
pub(crate) mod links;
mod listing;
mod manifest;
pub mod naming;
mod ollama;
mod pass;
mod past;
mod query;
mod raw;
mod reach;
pub mod record;
pub mod repository;
mod resolve;
mod reword;
pub mod route;
#[cfg(test)]
mod scenarios;
pub mod settle;
mod signed;
mod ticket;
pub mod tree;
mod way;
mod word;
pub mod xet;

pub use config::{Config, ConfigError, SecretSource, Settings};

use route::{OwnRoute, Route};

/// What the root of `datasets-server.*` stands for below this mount.
pub const DATASETS_SERVER: &str = "-/hf/datasets-server/";

/// The hub: a mount.
#[derive(Debug, Clone)]
pub struct Hub {
    settings: Arc<Settings>,
    /// Signs what works without a client's own token.
    signer: Signer,
}

impl Hub {
    pub fn new(settings: Settings, signer: Signer) -> Self {
        Self { settings: Arc::new(settings), signer }
    }

    /// Host names on which the hub has its paths at the root.
    pub fn vhosts(&self) -> &[String] {
        &self.settings.vhosts
    }
}

impl Ecosystem for Hub {
    fn id(&self) -> &str {
        config::ID
    }

    fn stock(&self) -> Option<Stock> {
        Some(Stock { under: file::blobs(), nature: Nature::Data })
    }

    fn plan(&self, ask: &Ask) -> Step {
        let settings = &self.settings;
        let route = route::route(&ask.path);
        if ask.as_of.is_some() && !past::has_past(&route) {
            return Step::Reply(explain::unknown(ask, &ask.path, Unknown::NoHistory));
        }
        match route {
            Route::Resolve(file) => resolve::plan(settings, ask, file),
            Route::Raw(file) => resolve::plan_raw(settings, ask, file),
            Route::Info { repository, revision } => {
                api::plan_info(settings, ask, repository, revision)
            }
            Route::Tree { repository, revision, folder } => {
                listing::plan_tree(settings, ask, repository, revision, folder)
            }
            Route::PathsInfo { repository, revision } => {
                listing::plan_paths(settings, ask, repository, revision)
            }
            Route::Refs { repository } => api::plan_refs(settings, ask, repository),
            Route::Commits { repository, .. } => api::plan_commits(settings, ask, repository),
            Route::AuthCheck { repository } => api::plan_auth_check(settings, ask, repository),
            Route::Other { repository } => api::plan_other(settings, ask, repository),
            Route::Telemetry => pass::telemetry(),
            Route::XetToken { repository, revision } => {
                xet::plan_token(self, ask, repository, revision)
            }
            Route::Own(own) => self.plan_own(ask, own),
            Route::Registry(registry) => ollama::plan(self, ask, registry),
            Route::LfsBatch { repository } => lfs::plan(self, ask, repository),
            Route::Git { .. } => git::plan(self, ask),
            Route::Pass => pass::plan_rest(settings, ask),
        }
    }

    fn explain(&self, ask: &Ask, failure: &Failure) -> Reply {
        match ask.path.starts_with("v2/") {
            true => ollama::failure(ask, failure),
            false => explain::failure(ask, failure),
        }
    }

    fn refuse(&self, ask: &Ask, status: StatusCode, detail: &str) -> Reply {
        // The message is in a field, since clients ask for the head of a file first, and a head has no body.
        let reply = explain::error(ask, status, None, detail);
        match route::route(&ask.path) {
            Route::LfsBatch { .. } => lfs::worded(reply),
            Route::Registry(_) => ollama::worded(reply),
            _ => reply,
        }
    }

    fn warning_field(&self) -> Option<HeaderName> {
        Some(HeaderName::from_static("x-hf-warning"))
    }

    fn has_past(&self) -> bool {
        true
    }

    fn naming(&self) -> Option<Arc<dyn Naming>> {
        Some(Arc::new(naming::Words))
    }
}

impl Hub {
    /// Addresses that Larder handed out itself.
    fn plan_own(&self, ask: &Ask, route: OwnRoute) -> Step {
        match route {
            OwnRoute::Reconstruction { version, hash } => {
                xet::plan_reconstruction(self, ask, version, &hash)
            }
            OwnRoute::Xorb { capability, index } => xet::plan_xorb(self, ask, &capability, &index),
            OwnRoute::Blob { capability } => xet::plan_blob(self, ask, &capability),
            OwnRoute::XetTelemetry => pass::telemetry(),
            OwnRoute::DatasetsServer { rest } => datasets_server::plan(self, ask, &rest),
            OwnRoute::Record { repository } => record::plan(&self.settings, ask, repository),
            OwnRoute::Unknown => {
                let text = "Larder has handed out no such address.";
                Step::Reply(explain::error(ask, StatusCode::NOT_FOUND, None, text))
            }
        }
    }
}
