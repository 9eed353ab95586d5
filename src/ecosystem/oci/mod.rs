//! Container registries: images, charts, signatures and whatever else is pulled by the distribution specification.
//!
//! One mount at `/v2/` stands for all declared registries ([`place`]). Nothing moves but tags ([`tag`]) and lists ([`tags_list`], [`referrers`]), which remember
//! what they were; a manifest is kept as the bytes its digest names ([`manifest`]) and vouches for the blobs that it names ([`blob`]), so that what is stored
//! once for everybody is read only through a repository that its reader may read ([`readers`]). What is not public is opened by credentials that clients hand
//! in at one address and nowhere else ([`token`]).
//!
//! Left out: pushing, deleting, and converting manifests from one kind to another.

use std::sync::Arc;

use http::{Method, StatusCode};

use crate::cache::failure::Failure;
use crate::cache::lookup::{Nature, Stock};
use crate::ecosystem::naming::Naming;
use crate::ecosystem::past::Unknown;
use crate::ecosystem::{Ask, Ecosystem, Reply, Step};
use crate::types::Signer;

mod access;
mod account;
mod admit;
mod blob;
mod catalog;
mod complete;
pub mod config;
mod explain;
mod facts;
mod image;
mod known;
pub mod limits;
pub(crate) mod manifest;
pub(crate) mod name;
pub mod naming;
mod past;
mod pattern;
mod ping;
mod place;
mod pull;
mod readers;
mod referrers;
pub mod registry;
mod render;
mod route;
mod scope;
mod show;
mod signatures;
mod tag;
mod tagged;
mod tags_list;
mod token;

pub use config::{Config, ConfigError, RegistryConfig, SecretSource, Settings};

use place::{Hints, Place};
use pull::Pull;
use route::{Addressed, Route};

/// The mount's name, and the space of its keys.
pub const SPACE: &str = "oci";

/// Below this stands the name of an image: what is kept of it.
pub const SHOWN_AT: &str = "/-/oci/";

/// All declared registries: a mount.
#[derive(Debug)]
pub struct Registries {
    settings: Arc<Settings>,
    /// Writes and reads what clients get for their credentials.
    signer: Signer,
}

/// One way in from the server's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrance {
    /// With slashes at both ends.
    pub prefix: String,
    /// What it stands for below the mount, ending in a slash.
    pub relative: String,
}

impl Registries {
    pub fn new(settings: Settings, signer: Signer) -> Self {
        Self { settings: Arc::new(settings), signer }
    }

    /// The ways in: `/v2/` for all, `/NAME/v2/` for those clients whose mirror setting has a path, the exchange of credentials, and what is kept.
    pub fn entrances(&self) -> Vec<Entrance> {
        let entrance = |prefix: String, relative: String| Entrance { prefix, relative };
        let mut entrances = vec![
            entrance("/v2/".to_owned(), "v2/".to_owned()),
            entrance("/-/token/".to_owned(), "token/".to_owned()),
            entrance(SHOWN_AT.to_owned(), "show/".to_owned()),
        ];
        entrances.extend(self.settings.registries.iter().map(|registry| {
            let name = &registry.name;
            entrance(format!("/{name}/v2/"), format!("{}{name}/v2/", route::AT))
        }));
        entrances
    }

    /// Where a request leads, if it names a repository at all.
    fn place(&self, ask: &Ask) -> Option<Result<Place, place::Misplaced>> {
        let Addressed { registry, route } = route::read(&ask.path);
        let Route::Of { name, .. } = route else { return None };
        let namespace = route::parameter(ask.query.as_deref(), "ns");
        let hints = Hints { entrance: registry.as_deref(), namespace: namespace.as_deref() };
        Some(place::find(&self.settings, &name, hints))
    }
}

impl Ecosystem for Registries {
    fn id(&self) -> &str {
        SPACE
    }

    fn stock(&self) -> Option<Stock> {
        Some(Stock { under: blob::blobs(), nature: Nature::Layer })
    }

    fn plan(&self, ask: &Ask) -> Step {
        if !matches!(ask.method, Method::GET | Method::HEAD) {
            return Step::Reply(explain::read_only());
        }
        let Addressed { registry, route } = route::read(&ask.path);
        match route {
            Route::Ping => Step::Reply(ping::answer(&self.signer, ask)),
            Route::Token => token::plan(&self.settings, &self.signer, ask),
            Route::Of { what, .. } => match self.place(ask) {
                Some(Ok(place)) => {
                    let identity = token::identity(&self.signer, ask, &place);
                    let trust = self.settings.trust.clone();
                    Pull { place, ask: ask.clone(), identity, trust }.plan(what)
                }
                Some(Err(fault)) => Step::Reply(explain::misplaced(&fault)),
                None => Step::Reply(explain::unknown()),
            },
            Route::Catalog | Route::Show(_) if ask.as_of.is_some() => Step::Reply(
                explain::unknown_then(ask, "the list of what is kept", Unknown::NoHistory),
            ),
            Route::Catalog => catalog::plan(&self.settings, ask, registry),
            Route::Show(image) => show::plan(&self.settings, &image),
            Route::Unknown => Step::Reply(explain::unknown()),
        }
    }

    fn explain(&self, ask: &Ask, failure: &Failure) -> Reply {
        let place = self.place(ask).and_then(Result::ok);
        let identity = place.as_ref().and_then(|place| token::identity(&self.signer, ask, place));
        explain::failure(ask, place.as_ref(), identity, failure)
    }

    fn refuse(&self, _: &Ask, status: StatusCode, detail: &str) -> Reply {
        let code = match status {
            StatusCode::NOT_FOUND => "NAME_UNKNOWN",
            StatusCode::FORBIDDEN => "DENIED",
            StatusCode::SERVICE_UNAVAILABLE => "UNAVAILABLE",
            _ => "UNSUPPORTED",
        };
        explain::error(status, code, detail)
    }

    fn has_past(&self) -> bool {
        true
    }

    fn instant_in<'a>(&self, path: &'a str) -> Option<&'a str> {
        let at = path.find("v2/")?;
        place::instant_in(&self.settings, &path[at + "v2/".len()..]).map(|(instant, _)| instant)
    }

    fn naming(&self) -> Option<Arc<dyn Naming>> {
        Some(Arc::new(naming::Words::of(&self.settings)))
    }
}
