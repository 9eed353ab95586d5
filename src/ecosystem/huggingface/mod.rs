//! The Hugging Face hub: files of models, datasets, spaces and kernels, what is said of them, and the protocols that lead to the same bytes.
//!
//! A request's path becomes a [`route::Route`]; one match below hands it to the module that plans it. Whatever belongs to a repository first has the
//! right of its client and the commit that is meant [`settle`]d, from documents that the cache keeps; files are then known from the tree of that
//! commit ([`tree`], [`file`]), and their bytes are shared by all that name the same digest. What is not known here passes through ([`pass`]).
//!
//! Left out: uploads, which pass through as they are.

use std::sync::Arc;

use crate::cache::failure::Failure;
use crate::ecosystem::{Ask, Ecosystem, Reply, Step};
use crate::types::Signer;

pub mod config;
mod explain;
pub mod file;
mod head;
mod info;
mod links;
mod pass;
mod reach;
pub mod repository;
mod resolve;
pub mod route;
pub mod settle;
pub mod tree;
mod word;

pub use config::{Config, ConfigError, SecretSource, Settings};

use route::Route;

/// The hub: a mount.
#[derive(Debug)]
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

    fn plan(&self, ask: &Ask) -> Step {
        let settings = &self.settings;
        match route::route(&ask.path) {
            Route::Resolve(file) => resolve::plan(settings, ask, file),
            Route::Raw(file) => resolve::plan_raw(settings, ask, file),
            _ => pass::plan(settings, ask),
        }
    }

    fn explain(&self, ask: &Ask, failure: &Failure) -> Reply {
        explain::failure(ask, failure)
    }
}
