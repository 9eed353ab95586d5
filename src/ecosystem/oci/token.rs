//! `/-/token`: where a client hands in credentials for a repository that is not public, and gets a capability for it.
//!
//! The credentials are shown to the registry for exactly that repository; if it lets them in, the client gets a short-lived text that only Larder
//! can have written, bound to the repository and to a keyed name of the credentials. Upstream's own token stays here. Credentials that
//! come to any other address are not looked at.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cache::failure::Failure;
use crate::cache::lookup::Demand;
use crate::ecosystem::oci::config::Settings;
use crate::ecosystem::oci::place::{self, Hints, Place};
use crate::ecosystem::oci::registry::Reader;
use crate::ecosystem::oci::{access, explain, route};
use crate::ecosystem::{Ask, ClientCredential, Held, Reply, Step};
use crate::types::{Presence, Signer, Timestamp};
use crate::upstream::request::Credentials;

/// How long a capability is good for. Upstream is asked again and again meanwhile; this only bounds how long a client need not come back.
const LIFETIME: Duration = Duration::from_secs(300);

/// Repositories in one capability.
const MOST_SCOPES: usize = 8;

const PURPOSE: &str = "registry pull";

/// What a capability says.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    /// Keyed name of the credentials.
    id: [u8; 16],
    /// Registry and repository of each.
    repositories: Vec<(String, String)>,
}

/// Plans the exchange. What everybody may read needs no credentials, so they are not shown for it: a client may hold them for another of the
/// registries behind this address.
pub fn plan(settings: &Arc<Settings>, signer: &Signer, ask: &Ask) -> Step {
    let places = places(settings, ask);
    let credential = ask.credential.clone().filter(is_basic);
    let (Some(ClientCredential { id, verbatim }), false) = (credential, places.is_empty()) else {
        // For nobody in particular or nothing in particular: what is public needs no more than this, and nothing else is opened by it.
        return Step::Reply(granted(signer, [0; 16], Vec::new(), ask.now));
    };
    let public = Reader::public();
    let asked = |place: &Place| access::document(&place.scope(&public), Demand::Fresh);
    let documents = places.iter().map(asked).collect();
    let (signer, now) = (signer.clone(), ask.now);
    Step::Need {
        documents,
        then: Box::new(move |held| {
            let closed = places.into_iter().zip(held).filter(|(_, held)| !is_open(held));
            let closed: Vec<Place> = closed.map(|(place, _)| place).collect();
            if closed.is_empty() {
                return Step::Reply(granted(&signer, id, Vec::new(), now));
            }
            let reader = Reader::presenting(id, Credentials::Verbatim(verbatim));
            let asked =
                |place: &Place| access::document(&place.scope(&reader), Demand::Revalidated);
            let documents = closed.iter().map(asked).collect();
            Step::Need {
                documents,
                then: Box::new(move |held| Step::Reply(answer(&signer, now, id, &closed, held))),
            }
        }),
    }
}

/// Whether a text is a capability of ours, whatever it opens.
pub fn is_ours(signer: &Signer, ask: &Ask) -> bool {
    claims(signer, ask).is_some()
}

fn is_open(held: &Result<Held, Failure>) -> bool {
    let presence = held.as_ref().map(|held| held.standing.presence);
    matches!(presence, Ok(Presence::Present | Presence::Gone { .. }))
}

/// Whose capability a request shows, if it is good for `place`.
pub fn identity(signer: &Signer, ask: &Ask, place: &Place) -> Option<[u8; 16]> {
    let claims = claims(signer, ask)?;
    let fits = |(registry, repository): &(String, String)| {
        **registry == *place.registry.name && repository == place.repository.as_str()
    };
    claims.repositories.iter().any(fits).then_some(claims.id)
}

fn claims(signer: &Signer, ask: &Ask) -> Option<Claims> {
    let shown = ask.credential.as_ref()?.verbatim.expose();
    let (scheme, capability) = shown.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let claims = signer.open(PURPOSE, capability.trim(), ask.now)?;
    postcard::from_bytes(&claims).ok()
}

/// The repositories that the query's scopes name. Those that mean nothing here are left out, as token services do.
fn places(settings: &Settings, ask: &Ask) -> Vec<Place> {
    let query = ask.query.as_deref();
    let service = route::parameter(query, "service");
    let hints = Hints { entrance: service.as_deref(), namespace: None };
    let scopes = route::parameters(query, "scope")
        .flat_map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    let found = scopes.filter_map(|scope| {
        let (name, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
        let pulls = actions.split(',').any(|action| matches!(action, "pull" | "*"));
        if !pulls {
            return None;
        }
        place::find(settings, name, hints).ok()
    });
    found.take(MOST_SCOPES).collect()
}

/// Only a refusal keeps a repository out. Where a registry cannot say (an outage, no list of tags), the capability says no more than who its
/// bearer is, and each pull asks for itself.
fn answer(
    signer: &Signer,
    now: Timestamp,
    id: [u8; 16],
    closed: &[Place],
    held: Vec<Result<Held, Failure>>,
) -> Reply {
    let named =
        |place: &Place| (place.registry.name.to_string(), place.repository.as_str().to_owned());
    let opened = closed.iter().zip(held);
    let opened = opened.filter(|(_, held)| !matches!(held, Err(Failure::Refused { .. })));
    let repositories: Vec<_> = opened.map(|(place, _)| named(place)).collect();
    if repositories.is_empty() {
        let message = "the registry does not let these credentials read this repository";
        return explain::error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message);
    }
    granted(signer, id, repositories, now)
}

/// The token service's answer, under both of the names that clients look for.
fn granted(
    signer: &Signer,
    id: [u8; 16],
    repositories: Vec<(String, String)>,
    now: Timestamp,
) -> Reply {
    let claims = Claims { id, repositories };
    let claims = postcard::to_stdvec(&claims).expect("texts can be written");
    let token = signer.sign(PURPOSE, &claims, now.plus(LIFETIME));
    let issued =
        i64::try_from(now.secs()).ok().and_then(|at| jiff::Timestamp::from_second(at).ok());
    let body = json!({
        "token": token,
        "access_token": token,
        "expires_in": LIFETIME.as_secs(),
        "issued_at": issued.map(|at| at.to_string()),
    });
    Reply::new(StatusCode::OK, "application/json", body.to_string())
        .with(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"))
}

fn is_basic(credential: &ClientCredential) -> bool {
    let scheme = credential.verbatim.expose().split(' ').next().unwrap_or_default();
    scheme.eq_ignore_ascii_case("basic")
}
