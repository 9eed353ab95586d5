//! Refusals and failures in words that Python clients show: problem details, since uv prints `title` and `detail` of them.
//!
//! The statuses follow from what clients do with them: pip gives up a 504 at once and calls it "no matching distribution" as it does
//! every error on a page; uv and poetry retry it; a 401 makes pip prompt, so it is given only where the client's own credential counts.

use http::{HeaderValue, StatusCode, header};

use crate::cache::failure::{Failure, UNJUDGED_RETRY_SECS};
use crate::ecosystem::Reply;
use crate::ecosystem::past::Unknown;
use crate::ecosystem::pypi::config::{Auth, Settings};
use crate::types::Timestamp;

/// The longest that a client is told to wait: pip would sleep for hours if upstream said so.
const LONGEST_WAIT_SECS: u64 = 120;

/// Words a failure of the cache.
pub fn failure(settings: &Settings, failure: &Failure) -> Reply {
    let name = &settings.name;
    match failure {
        Failure::Absent => problem(
            StatusCode::NOT_FOUND,
            "Not found",
            &format!("Upstream of index {name} has no such thing."),
        ),
        Failure::Refused { status } => refused(settings, *status),
        Failure::Unreachable(error) => problem(
            StatusCode::GATEWAY_TIMEOUT,
            "Upstream cannot be reached",
            &format!(
                "{error}, and nothing of this is kept yet. It is there as soon as upstream of index {name} answers again."
            ),
        ),
        Failure::Unsafe { reason } => problem(
            StatusCode::FORBIDDEN,
            "Refused for what is in it",
            &format!("{reason}. Nothing of it was kept."),
        ),
        Failure::Unjudged => problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "Not judged yet",
            "It is still being looked into; ask again in a moment.",
        )
        .with(header::RETRY_AFTER, HeaderValue::from(UNJUDGED_RETRY_SECS)),
        Failure::NotKept => problem(
            StatusCode::GATEWAY_TIMEOUT,
            "Not kept",
            &format!(
                "Nothing of this is kept, and no upstream of index {name} could be asked for it."
            ),
        ),
        Failure::Unavailable { status, retry_after_secs } => {
            unavailable(name, *status, *retry_after_secs)
        }
        Failure::BadAnswer(reason) => problem(
            StatusCode::BAD_GATEWAY,
            "Upstream's answer cannot be used",
            &format!("{reason}. Nothing of it was kept."),
        ),
        Failure::Store(_) => problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Larder's store failed",
            "Its log says how. Nothing was lost that was kept.",
        ),
    }
}

/// A refusal with a reason, never kept by caches.
pub fn problem(status: StatusCode, title: &str, detail: &str) -> Reply {
    Reply::problem(status, title, detail)
        .with(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

/// What is not known of an instant of the past.
pub fn unknown(what: &str, unknown: Unknown, at: Timestamp) -> Reply {
    let title = match unknown {
        Unknown::Unborn(_) => "Did not exist then",
        _ => "Not known for that date",
    };
    problem(unknown.status(), title, &unknown.detail(what, at))
}

/// Upstream's 401 or 403, by whose credential it was about.
pub fn refused(settings: &Settings, status: u16) -> Reply {
    let name = &settings.name;
    let uses = |auth| settings.upstreams.iter().any(|upstream| upstream.auth == auth);
    if uses(Auth::Passthrough) {
        let detail = format!(
            "Upstream of index {name} answered {status}. It needs your own credentials; put them into the index URL or a netrc file."
        );
        if status != StatusCode::UNAUTHORIZED.as_u16() {
            return problem(StatusCode::FORBIDDEN, "Upstream refuses this", &detail);
        }
        // Without a challenge, pip and uv do not try again with the credentials that they have.
        let realm = HeaderValue::from_str(&format!("Basic realm=\"{}\"", settings.id))
            .expect("an index is named with letters, digits, dots, dashes and underscores");
        return problem(StatusCode::UNAUTHORIZED, "Upstream wants to know who you are", &detail)
            .with(header::WWW_AUTHENTICATE, realm);
    }
    if uses(Auth::Service) {
        let detail = format!(
            "Upstream answered {status} to the credentials of index {name}. Whoever runs this server should look at pypi.indexes.{name}.credentials."
        );
        return problem(StatusCode::BAD_GATEWAY, "Upstream refuses this server", &detail);
    }
    let detail = format!(
        "Upstream answered {status} without credentials. Whoever runs this server can set pypi.indexes.{name}.credentials, or \
         forbidden_means_absent if this upstream says 403 for what does not exist."
    );
    problem(StatusCode::FORBIDDEN, "Upstream refuses this", &detail)
}

fn unavailable(name: &str, status: u16, retry_after_secs: Option<u64>) -> Reply {
    let detail =
        format!("Upstream of index {name} answered {status}, and nothing of this is kept yet.");
    let busy = matches!(status, 429 | 503);
    let answer = if busy { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_GATEWAY };
    let reply = problem(answer, "Upstream is out of order", &detail);
    match retry_after_secs {
        Some(seconds) if busy => {
            reply.with(header::RETRY_AFTER, HeaderValue::from(seconds.min(LONGEST_WAIT_SECS)))
        }
        _ => reply,
    }
}
