//! Branches and tags as of an instant of the past: looked up in what is remembered, with the rights of today.

use crate::cache::failure::Failure;
use crate::cache::lookup::{Demand, Document};
use crate::ecosystem::huggingface::explain;
use crate::ecosystem::huggingface::info::{self, Info};
use crate::ecosystem::huggingface::reach::Reach;
use crate::ecosystem::huggingface::repository::{MAIN, Revision};
use crate::ecosystem::huggingface::route::{OwnRoute, Route};
use crate::ecosystem::huggingface::settle::{Admitted, Settled, need};
use crate::ecosystem::past::{Basis, Past, Unknown};
use crate::ecosystem::{Ask, Step};
use crate::types::{Audience, Timestamp};

/// Whether an address can be answered as of an instant: what never changes, what has a history, and what belongs to getting either. The rest is only known as it is
/// today.
pub fn has_past(route: &Route) -> bool {
    match route {
        Route::Resolve(_)
        | Route::Raw(_)
        | Route::Info { .. }
        | Route::Tree { .. }
        | Route::PathsInfo { .. }
        | Route::AuthCheck { .. }
        | Route::XetToken { .. }
        | Route::LfsBatch { .. }
        | Route::Registry(_)
        | Route::Telemetry => true,
        Route::Own(own) => !matches!(own, OwnRoute::DatasetsServer { .. }),
        Route::Refs { .. }
        | Route::Commits { .. }
        | Route::Other { .. }
        | Route::Git { .. }
        | Route::Pass => false,
    }
}

/// A document for who asks about the past: as it is kept. What a client's own token opens is asked for as ever, since its right to it must be confirmed.
pub fn remembered(reach: &Reach, mut document: Document) -> Document {
    if !matches!(reach.audience, Audience::Credential(_)) {
        document.lookup.origins.clear();
        document.demand = Demand::AnyAge;
    }
    document
}

/// Goes on at the commit that a revision led to at an instant.
pub fn at_revision(
    mut admitted: Admitted,
    ask: &Ask,
    revision: Revision,
    at: Timestamp,
    then: impl FnOnce(Settled) -> Step + Send + 'static,
) -> Step {
    let name = match &revision {
        Revision::Commit(commit) => {
            admitted.marks.past = Some(Past::immutable(at));
            let commit = commit.clone();
            return then(admitted.at(commit, true));
        }
        Revision::Name(name) => name,
    };
    let info = admitted.document.parsed.get::<Info>().cloned();
    if **name == *MAIN {
        return match info {
            Some(info) => lead(admitted, ask, &info, &revision, at, then),
            None => Step::Reply(explain::lost()),
        };
    }
    let Admitted { reach, repository, .. } = &admitted;
    let document = info::revision_document(reach, repository, &revision, info.as_ref(), ask);
    let ask = ask.clone();
    need(document, move |held| match held {
        Ok(held) => match held.parsed.get::<Info>() {
            Some(info) => lead(admitted, &ask, info, &revision, at, then),
            None => Step::Reply(explain::lost()),
        },
        Err(Failure::NotKept) => {
            let what = format!("{revision} of {}", admitted.repository);
            Step::Reply(explain::unknown(&ask, &what, Unknown::Unseen))
        }
        Err(failure) => Step::Reply(admitted.reach.explain(&ask, &failure)),
    })
}

fn lead(
    mut admitted: Admitted,
    ask: &Ask,
    info: &Info,
    revision: &Revision,
    at: Timestamp,
    then: impl FnOnce(Settled) -> Step,
) -> Step {
    match info.as_of(at) {
        Ok(seen) => {
            let marks = &mut admitted.marks;
            marks.past = Some(Past { at, basis: Basis::Observed { seen: seen.at } });
            let was_closed = admitted.before.is_some_and(|since| since <= at);
            marks.is_stale = false;
            marks.is_withdrawn &= was_closed;
            marks.is_taken &= was_closed;
            then(admitted.at(seen.commit.clone(), false))
        }
        Err(unknown) => {
            let what = format!("{revision} of {}", admitted.repository);
            Step::Reply(explain::unknown(ask, &what, unknown))
        }
    }
}
