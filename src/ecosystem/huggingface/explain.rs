//! Refusals and failures in words that hub clients show.
//!
//! Their library reads `X-Error-Code` and `X-Error-Message`; an outage is 503 or 504 with `Retry-After`, which it takes for one. A code that
//! speaks of absence is only ever passed on, never made up: clients note it down and act on it for ever.

use http::{HeaderValue, StatusCode, header};

use crate::cache::failure::{Failure, UNJUDGED_RETRY_SECS};
use crate::ecosystem::huggingface::word::{ERROR_CODE, ERROR_MESSAGE, Word};
use crate::ecosystem::past::Unknown;
use crate::ecosystem::{Ask, Reply};
use crate::upstream::request::UpstreamError;

/// The longest that a client is told to wait.
const LONGEST_WAIT_SECS: u64 = 120;

/// How long to wait where the hub does not say.
const USUAL_WAIT_SECS: u64 = 10;

/// Words a failure of the cache.
pub fn failure(ask: &Ask, failure: &Failure) -> Reply {
    match failure {
        Failure::Absent => error(ask, StatusCode::NOT_FOUND, None, "The hub has no such thing."),
        Failure::Refused { status } => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::FORBIDDEN);
            error(ask, status, None, "The hub refuses this, and nothing of it is kept.")
        }
        Failure::Unreachable(UpstreamError::CircuitOpen { retry_after, .. }) => {
            let seconds = retry_after.as_secs().max(1);
            let text = format!(
                "The hub failed or had enough of our requests, and is not asked again for {seconds} s. Nothing of this is kept."
            );
            later(error(ask, StatusCode::SERVICE_UNAVAILABLE, None, &text), Some(seconds))
        }
        Failure::Unreachable(cause) => {
            let text = format!("The hub cannot be reached ({cause}), and nothing of this is kept.");
            later(error(ask, StatusCode::GATEWAY_TIMEOUT, None, &text), None)
        }
        Failure::Unsafe { reason } => {
            let text = format!("Larder refuses this file for what is in it: {reason}.");
            error(ask, unsafe_status(ask), None, &text)
        }
        Failure::Unjudged => {
            let text = "Larder is still looking into this file; ask again in a moment.";
            let reply = error(ask, StatusCode::SERVICE_UNAVAILABLE, None, text);
            later(reply, Some(UNJUDGED_RETRY_SECS))
        }
        Failure::NotKept if ask.as_of.is_some() => unknown(ask, &ask.path, Unknown::Unseen),
        Failure::NotKept => {
            let text = "Nothing of this is kept, and the hub could not be asked for it.";
            later(error(ask, StatusCode::GATEWAY_TIMEOUT, None, text), None)
        }
        Failure::Unavailable { status, retry_after_secs } => {
            let text = format!(
                "The hub is out of order (it answered {status}), and nothing of this is kept."
            );
            later(error(ask, StatusCode::SERVICE_UNAVAILABLE, None, &text), *retry_after_secs)
        }
        Failure::BadAnswer(reason) => {
            let text =
                format!("The hub's answer cannot be used: {reason}. Nothing of it was kept.");
            error(ask, StatusCode::BAD_GATEWAY, None, &text)
        }
        Failure::Store(_) => error(
            ask,
            StatusCode::INTERNAL_SERVER_ERROR,
            None,
            "Larder's store failed; its log says how. Nothing was lost that was kept.",
        ),
    }
}

/// With what a file is refused for what is in it. To Xet's clients 403 means that an address has expired: they ask for others, again and again, for more than a
/// minute.
fn unsafe_status(ask: &Ask) -> StatusCode {
    match ask.path.starts_with("-/hf/xet/") {
        true => StatusCode::LOCKED,
        false => StatusCode::FORBIDDEN,
    }
}

/// What is not known of the instant that a request is about.
pub fn unknown(ask: &Ask, what: &str, unknown: Unknown) -> Reply {
    let detail = unknown.detail(what, ask.as_of.unwrap_or(ask.now));
    error(ask, unknown.status(), None, &detail)
}

/// Tells the hub's own refusal on.
pub fn refusal(ask: &Ask, word: &Word) -> Reply {
    let status = StatusCode::from_u16(word.status).unwrap_or(StatusCode::FORBIDDEN);
    let message = word.message.as_deref().or_else(|| status.canonical_reason());
    error(ask, status, word.code.as_deref(), message.unwrap_or("Refused"))
}

/// A document that is not what it was asked for as: a fault of ours.
pub fn lost() -> Reply {
    let text = "Larder lost its way; this is a fault of its own.";
    written(Form::Json, StatusCode::INTERNAL_SERVER_ERROR, None, text)
}

/// An error in the form that this request's client reads: JSON from the API, text otherwise.
pub fn error(ask: &Ask, status: StatusCode, code: Option<&str>, message: &str) -> Reply {
    let is_api = ask.path.starts_with("api/") && !ask.path.starts_with("api/resolve-cache/");
    written(if is_api { Form::Json } else { Form::Text }, status, code, message)
}

/// How an error's body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Text,
}

fn written(form: Form, status: StatusCode, code: Option<&str>, message: &str) -> Reply {
    let reply = match form {
        Form::Json => {
            let body = serde_json::json!({ "error": message }).to_string();
            Reply::new(status, "application/json; charset=utf-8", body)
        }
        Form::Text => Reply::new(status, "text/plain; charset=utf-8", message.to_owned()),
    };
    let mut reply = reply.with(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(value) = code.and_then(|code| HeaderValue::from_str(code).ok()) {
        reply.headers.insert(ERROR_CODE, value);
    }
    let visible: String = message
        .chars()
        .map(|letter| if letter.is_ascii_graphic() { letter } else { ' ' })
        .collect();
    if let Ok(value) = HeaderValue::from_str(&visible) {
        reply.headers.insert(ERROR_MESSAGE, value);
    }
    reply
}

fn later(reply: Reply, seconds: Option<u64>) -> Reply {
    let seconds = seconds.unwrap_or(USUAL_WAIT_SECS).min(LONGEST_WAIT_SECS);
    reply.with(header::RETRY_AFTER, HeaderValue::from(seconds))
}
