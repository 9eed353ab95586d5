//! Serving what is kept in place of an answer that did not come or is an outage (RFC 9111 section 4.2.4, RFC 5861 section 4).
//!
//! By the book that ends where the origin or the client forbids it. In [`Mode::Keep`] nothing ends it: what was once public is served again,
//! however old, also when upstream says that it is gone or no longer open to all; responses that it never allowed to be stored (`no-store`,
//! `private`) were not kept to begin with.

use http::StatusCode;

use crate::cache::Parts;
use crate::cache::exchange::answer;
use crate::cache::exchange::kept::Kept;
use crate::cache::exchange::question::Question;
use crate::cache::failure::Failure;
use crate::cache::found::Found;
use crate::cache::lookup::Mode;
use crate::semantics::cache_status::{CacheStatus, Forward};
use crate::types::{Presence, Timestamp};

/// Why there is no answer to use.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    Unreachable(Failure),
    /// Upstream answered with a status that means an outage, or that the thing is gone or withdrawn.
    Status(StatusCode),
    /// Upstream took longer than a client waits while something is kept.
    Slow,
    /// Upstream failed just now and is given a rest.
    Resting,
}

/// Whether `status` in answer to a question about `kept` is one to stand in for.
pub(super) fn trouble(mode: Mode, kept: &Kept, status: StatusCode) -> Option<Trouble> {
    let stands = match mode {
        // RFC 5861 section 4 counts these as errors.
        Mode::ByTheBook => matches!(status.as_u16(), 500 | 502 | 503 | 504),
        Mode::Keep => {
            // A redirect in a body's place is a captive portal as often as a move.
            let refused = matches!(status.as_u16(), 401 | 403 | 404 | 410 | 429);
            let withheld = refused || status.is_redirection();
            status.is_server_error() || (withheld && kept.entry.head.status == StatusCode::OK)
        }
    };
    stands.then_some(Trouble::Status(status))
}

/// The kept response as a stand-in; `None` where it may not be one.
pub(super) fn found(
    parts: &Parts,
    question: &Question,
    kept: &Kept,
    trouble: &Trouble,
) -> Option<Found> {
    let now = parts.clock.now();
    let allowed = match question.mode {
        Mode::ByTheBook => kept.freshness.may_stand_in(&question.wishes, now),
        Mode::Keep => true,
    };
    let status = CacheStatus { detail: Some(trouble.detail()), ..trouble.status() };
    allowed.then(|| answer::kept(parts.store.as_ref(), kept, status, now, None))
}

/// The kept response with upstream's word on it, when that is new and worth writing down.
pub(super) fn noted(kept: &Kept, trouble: &Trouble, now: Timestamp) -> Option<Kept> {
    let Trouble::Status(status) = trouble else { return None };
    let presence = match (status.as_u16(), kept.entry.presence) {
        (404 | 410, Presence::Gone { .. }) | (401 | 403, Presence::Withdrawn { .. }) => {
            return None;
        }
        (status @ (404 | 410), _) => Presence::Gone { status, since: now },
        (status @ (401 | 403), _) => Presence::Withdrawn { status, since: now },
        _ => return None,
    };
    let (row, selection) = (kept.row.clone(), kept.selection.clone());
    let noted = kept.with(row, selection, kept.freshness, |entry| entry.presence = presence);
    kept.is_whole().then_some(noted)
}

impl Trouble {
    /// What a client hears when nothing may stand in.
    pub(super) fn into_failure(self) -> Failure {
        match self {
            Self::Unreachable(failure) => failure,
            Self::Status(status) => {
                Failure::Unavailable { status: status.as_u16(), retry_after_secs: None }
            }
            Self::Slow | Self::Resting => Failure::NotKept,
        }
    }

    fn status(&self) -> CacheStatus {
        match self {
            Self::Resting => CacheStatus::hit(),
            Self::Status(status) => CacheStatus {
                forward_status: Some(status.as_u16()),
                ..CacheStatus::forwarded(Forward::Stale)
            },
            Self::Unreachable(_) | Self::Slow => CacheStatus::forwarded(Forward::Stale),
        }
    }

    fn detail(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "upstream-unreachable",
            Self::Status(status) => match status.as_u16() {
                404 | 410 => "gone-upstream",
                401 | 403 => "withdrawn-upstream",
                _ => "upstream-error",
            },
            Self::Slow => "upstream-slow",
            Self::Resting => "upstream-resting",
        }
    }
}
