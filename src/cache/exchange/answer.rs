//! From a kept or passing response to what the cache answers with.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use http::header;

use crate::cache::exchange::kept::{Body, Kept};
use crate::cache::found::{Found, Source, Trace};
use crate::semantics::cache_status::{CacheStatus, Forward};
use crate::semantics::freshness::{Freshness, Rules};
use crate::semantics::hop_by_hop;
use crate::store::Store;
use crate::types::{Head, Presence, Timestamp};
use crate::upstream::OriginBody;

/// A kept response as an answer.
pub(super) fn kept(
    store: &dyn Store,
    kept: &Kept,
    status: CacheStatus,
    now: Timestamp,
    waited: Option<Duration>,
) -> Found {
    if let Body::Blob { id, .. } = &kept.body {
        store.touch(*id);
    }
    let status = CacheStatus { ttl_secs: Some(kept.freshness.ttl_secs(now)), ..status };
    let trace = Trace {
        status,
        upstream_ms: waited.map(millis),
        validated: kept.entry.validated,
        presence: kept.entry.presence,
        age_secs: Some(kept.freshness.age_secs(now)),
        stale: !kept.freshness.is_fresh(now) && kept.entry.validated < now,
    };
    Found { head: kept.entry.head.clone(), source: kept.source(), trace }
}

/// A response that passes through as it comes.
pub(super) struct Passing {
    pub(super) head: Head,
    pub(super) body: OriginBody,
    pub(super) why: Forward,
    pub(super) detail: Option<&'static str>,
    pub(super) requested: Timestamp,
    pub(super) received: Timestamp,
    pub(super) waited: Duration,
    /// Whether it answers a `HEAD`: then its length is that of a body that does not come.
    pub(super) bodiless: bool,
}

pub(super) fn passing(passing: Passing) -> Found {
    let Passing { head, body, why, detail, requested, received, waited, bodiless } = passing;
    let freshness = Freshness::of(&head, &Rules::read(&head.headers), requested, received);
    let status = CacheStatus {
        forward_status: Some(head.status.as_u16()),
        detail,
        ..CacheStatus::forwarded(why)
    };
    let trace = Trace {
        status,
        upstream_ms: Some(millis(waited)),
        validated: received,
        presence: Presence::Present,
        age_secs: Some(freshness.initial_age_secs),
        stale: false,
    };
    let head = passing_head(head);
    let length = head.content_length();
    let body = if bodiless { stream::empty().boxed() } else { body };
    Found { head, source: Source::stream(body, length), trace }
}

/// The head of upstream's answer as its asker gets it; `Age` is told anew.
pub(super) fn passing_head(mut head: Head) -> Head {
    hop_by_hop::strip(&mut head.headers);
    head.headers.remove(header::AGE);
    head
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
