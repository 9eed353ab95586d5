//! Refusals and failures as the specification words them, `{"errors": [{"code", "message"}]}`, and the challenge that makes clients come back with
//! credentials.
//!
//! The statuses follow from what clients do with them. A 429 makes one of them ask five times more at once, so upstream's own becomes a 503. An
//! outage is never a 404: orchestrators would take the image for missing and stop trying.

use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use crate::cache::failure::{Failure, UNJUDGED_RETRY_SECS};
use crate::ecosystem::oci::name::NoDigest;
use crate::ecosystem::oci::place::{Misplaced, Place};
use crate::ecosystem::oci::route::{self, Route, What};
use crate::ecosystem::past::Unknown;
use crate::ecosystem::{Ask, Reply};

/// The longest that a client is told to wait.
const LONGEST_WAIT_SECS: u64 = 120;

/// An error of the specification's kind.
pub fn error(status: StatusCode, code: &str, message: &str) -> Reply {
    let body = json!({"errors": [{"code": code, "message": message, "detail": null}]});
    Reply::new(status, "application/json", body.to_string())
        .with(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

pub fn read_only() -> Reply {
    let message = "Larder keeps what others publish; push to the registry itself.";
    error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message)
        .with(header::ALLOW, HeaderValue::from_static("GET, HEAD"))
}

pub fn misplaced(fault: &Misplaced) -> Reply {
    match fault {
        Misplaced::BadName(_) => error(StatusCode::BAD_REQUEST, "NAME_INVALID", &fault.to_string()),
        Misplaced::Undeclared(_) => {
            error(StatusCode::NOT_FOUND, "NAME_UNKNOWN", &fault.to_string())
        }
    }
}

pub fn bad_digest(fault: &NoDigest) -> Reply {
    error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", &fault.to_string())
}

pub fn no_manifest(reference: &str) -> Reply {
    let shown: String = reference.chars().take(128).collect();
    let message = format!("{shown:?} is no tag: no tag can have this name.");
    error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", &message)
}

pub fn unknown() -> Reply {
    let message = "This is no address of a registry: the distribution specification knows /v2/NAME/manifests, blobs, tags and referrers.";
    error(StatusCode::NOT_FOUND, "NAME_UNKNOWN", message)
}

/// What is not known of the instant that a request is about.
pub fn unknown_then(ask: &Ask, what: &str, unknown: Unknown) -> Reply {
    let message = unknown.detail(what, ask.as_of.unwrap_or(ask.now));
    error(unknown.status(), "MANIFEST_UNKNOWN", &message)
}

/// Words a failure of the cache. `identity`: the client has shown a capability.
pub fn failure(
    ask: &Ask,
    place: Option<&Place>,
    identity: Option<[u8; 16]>,
    failure: &Failure,
) -> Reply {
    let registry = place.map_or("the registry", |place| &*place.registry.name);
    match failure {
        Failure::Absent => absent(ask, registry),
        Failure::Refused { status } => refused(ask, place, identity, *status),
        Failure::Unreachable(fault) => error(
            StatusCode::GATEWAY_TIMEOUT,
            "UNKNOWN",
            &format!("{registry} cannot be reached and nothing of this is kept yet: {fault}"),
        ),
        Failure::Unsafe { reason } => error(
            StatusCode::FORBIDDEN,
            "DENIED",
            &format!("this file is refused for what is in it: {reason}"),
        ),
        Failure::Unjudged => error(
            StatusCode::SERVICE_UNAVAILABLE,
            "UNKNOWN",
            "this file is still being looked into; ask again in a moment",
        )
        .with(header::RETRY_AFTER, HeaderValue::from(UNJUDGED_RETRY_SECS)),
        Failure::NotKept => error(
            StatusCode::GATEWAY_TIMEOUT,
            "UNKNOWN",
            &format!("nothing of this is kept, and {registry} could not be asked for it"),
        ),
        Failure::Unavailable { status, retry_after_secs } => {
            unavailable(registry, *status, *retry_after_secs)
        }
        Failure::BadAnswer(reason) => error(
            StatusCode::BAD_GATEWAY,
            "UNKNOWN",
            &format!("the answer of {registry} cannot be used: {reason}; nothing of it was kept"),
        ),
        Failure::Store(_) => error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "UNKNOWN",
            "Larder's store failed; its log says how, and nothing was lost that was kept",
        ),
    }
}

fn absent(ask: &Ask, registry: &str) -> Reply {
    let code = match route::read(&ask.path).route {
        Route::Of { what: What::Manifest(_), .. } => "MANIFEST_UNKNOWN",
        Route::Of { what: What::Blob(_), .. } => "BLOB_UNKNOWN",
        _ => "NAME_UNKNOWN",
    };
    error(StatusCode::NOT_FOUND, code, &format!("{registry} has no such thing"))
}

/// Upstream's refusal. A 401 names the place where credentials can be handed in; who has been there and is refused with 403 need not go again.
fn refused(ask: &Ask, place: Option<&Place>, identity: Option<[u8; 16]>, status: u16) -> Reply {
    let message = format!(
        "upstream answered {status}: this is not public, or does not exist; credentials for the registry may help"
    );
    let forbidden = status == StatusCode::FORBIDDEN.as_u16() && identity.is_some();
    match place {
        Some(place) if !forbidden => error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", &message)
            .with(header::WWW_AUTHENTICATE, challenge(ask, place, identity)),
        _ => error(StatusCode::FORBIDDEN, "DENIED", &message),
    }
}

/// Where this client gets a capability for this repository.
fn challenge(ask: &Ask, place: &Place, identity: Option<[u8; 16]>) -> HeaderValue {
    let mut text = format!(
        "Bearer realm=\"{}/-/token\",service=\"{}\",scope=\"repository:{}:pull\"",
        ask.base, place.registry.name, place.written
    );
    if identity.is_some() {
        text.push_str(",error=\"insufficient_scope\"");
    }
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Bearer"))
}

/// The path of `rest` below the entrance that was taken, as the client sees it.
pub fn path(ask: &Ask, rest: &str) -> String {
    let base = url::Url::parse(&ask.base);
    let base = base.as_ref().map_or("", |base| base.path());
    format!("{}{}{rest}", base.trim_end_matches('/'), ask.prefix)
}

fn unavailable(registry: &str, status: u16, retry_after_secs: Option<u64>) -> Reply {
    let code = if status == 429 { "TOOMANYREQUESTS" } else { "UNKNOWN" };
    let busy = matches!(status, 429 | 503);
    let answer = if busy { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_GATEWAY };
    let message = format!("{registry} answered {status}, and nothing of this is kept yet");
    let reply = error(answer, code, &message);
    match retry_after_secs {
        Some(seconds) if busy => {
            reply.with(header::RETRY_AFTER, HeaderValue::from(seconds.min(LONGEST_WAIT_SECS)))
        }
        _ => reply,
    }
}
