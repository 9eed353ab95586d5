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
use crate::types::{Signer, Timestamp};
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

/// Plans the exchange.
pub fn plan(settings: &Arc<Settings>, signer: &Signer, ask: &Ask) -> Step {
    let places = places(settings, ask);
    let credential = ask.credential.clone().filter(is_basic);
    let Some(ClientCredential { id, verbatim }) = credential else {
        // Nobody in particular: what is public needs no capability, and this one opens nothing else.
        return Step::Reply(granted(signer, [0; 16], Vec::new(), ask.now));
    };
    if places.is_empty() {
        let message = "name the repository in `scope`, as in repository:org/name:pull, and its registry in `service`";
        return Step::Reply(explain::error(StatusCode::BAD_REQUEST, "NAME_INVALID", message));
    }
    let reader = Reader::presenting(id, Credentials::Verbatim(verbatim));
    let asked = places.iter().map(|place| {
        access::document(&place.registry, &place.repository, &reader, Demand::Revalidated)
    });
    let documents = asked.collect();
    let (signer, ask) = (signer.clone(), ask.clone());
    Step::Need {
        documents,
        then: Box::new(move |held| Step::Reply(answer(&signer, &ask, id, &places, held))),
    }
}

/// Whose capability a request shows, if it is good for `place`.
pub fn identity(signer: &Signer, ask: &Ask, place: &Place) -> Option<[u8; 16]> {
    let shown = ask.credential.as_ref()?.verbatim.expose();
    let (scheme, capability) = shown.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let claims = signer.open(PURPOSE, capability.trim(), ask.now)?;
    let claims: Claims = postcard::from_bytes(&claims).ok()?;
    let fits = |(registry, repository): &(String, String)| {
        **registry == *place.registry.name && repository == place.repository.as_str()
    };
    claims.repositories.iter().any(fits).then_some(claims.id)
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

fn answer(
    signer: &Signer,
    ask: &Ask,
    id: [u8; 16],
    places: &[Place],
    held: Vec<Result<Held, Failure>>,
) -> Reply {
    let mut repositories = Vec::new();
    let mut outage = None;
    for (place, held) in places.iter().zip(held) {
        match held {
            // A registry without a list of tags, or a repository that is not there yet: each pull asks for itself.
            Ok(_) | Err(Failure::Absent) => repositories
                .push((place.registry.name.to_string(), place.repository.as_str().to_owned())),
            Err(Failure::Refused { .. }) => {}
            Err(failure) => outage = Some((place, failure)),
        }
    }
    match (repositories.is_empty(), outage) {
        (true, Some((place, failure))) => explain::failure(ask, Some(place), None, &failure),
        (true, None) => {
            let message = "the registry does not let these credentials read this repository";
            explain::error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
        }
        (false, _) => granted(signer, id, repositories, ask.now),
    }
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
