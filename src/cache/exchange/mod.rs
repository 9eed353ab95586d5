//! Exchanges: a shared cache by the book.
//!
//! ```text
//! select (shelf) -> judge (semantics) -> serve | board a flight -> ask (origin) -> confirm | store | pass on | stand in
//! ```
//!
//! A request selects a kept response by its fields; `semantics` says whether that one answers it. If not, one request asks upstream for
//! all who want the same (`flights`), the others look again when its answer is there. Whoever finds that the answer was not for them asks
//! for themselves, and a target whose answers cannot be shared is remembered for a while, so that nobody waits in line for it.
//! Everything else (unsafe methods, unknown ones, `GET` with a body) goes through, and invalidates on its way back.
//!
//! The choices that RFC 9111 leaves open: `HEAD` is answered from a kept `GET` but never fetches one; a client's own preconditions and ranges go
//! upstream when nothing is kept (the answer is theirs alone; a 206 is never stored), and in [`Mode::Keep`] the whole is fetched in their place; trailers and
//! interim responses are not kept.

use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::cache::edition::Edition;
use crate::cache::exchange::capture::Arriving;
use crate::cache::exchange::kept::Kept;
use crate::cache::exchange::origin::{Answered, Landing};
use crate::cache::exchange::question::Question;
use crate::cache::exchange::shelf::{Placed, Selected, Shelf};
use crate::cache::exchange::stand_in::Trouble;
use crate::cache::failure::Failure;
use crate::cache::flight::{Flights, Seat};
use crate::cache::found::Found;
use crate::cache::lookup::{Exchange, Mode};
use crate::cache::{Cache, Parts};
use crate::semantics::cache_status::CacheStatus;
use crate::semantics::freshness::{Demand, Reuse};
use crate::store::Entry;
use crate::types::{CacheKey, Timestamp};
use crate::upstream::Availability;

mod answer;
mod capture;
mod kept;
mod origin;
mod pass;
mod question;
mod record;
mod shelf;
mod stand_in;
#[cfg(test)]
mod tests;

/// Targets remembered at once as unshared or resting.
const MEMOS: u64 = 16 << 10;

/// What exchanges share.
pub(crate) struct Exchanges {
    flights: Flights<Landing>,
    shelf: Shelf,
    /// Targets whose answers cannot be shared, until when.
    unshared: moka::sync::Cache<CacheKey, Timestamp>,
    /// Targets whose upstream failed while something was kept, until when it is not asked ([`Mode::Keep`]).
    resting: moka::sync::Cache<CacheKey, Timestamp>,
}

impl Exchanges {
    pub(crate) fn new(edition: Edition) -> Self {
        Self {
            flights: Flights::new(),
            shelf: Shelf::new(edition),
            unshared: moka::sync::Cache::new(MEMOS),
            resting: moka::sync::Cache::new(MEMOS),
        }
    }
}

impl Cache {
    /// Carries out an HTTP exchange by the rules of a shared cache.
    ///
    /// The client's preconditions and ranges are left to whoever delivers, where a whole 200 is found; a passing answer was
    /// given to them by upstream. Dropping the future ends a question that only this client asked, and no other.
    pub async fn exchange(&self, exchange: Exchange) -> Result<Found, Failure> {
        let question = Question::new(exchange);
        let found = match question.is_read() {
            true => read(&self.parts, &question).await?,
            false => pass::through(&self.parts, &question).await?,
        };
        self.parts.count(&found.trace.status);
        Ok(found)
    }
}

/// `GET` and `HEAD`.
async fn read(parts: &Arc<Parts>, question: &Question) -> Result<Found, Failure> {
    let mut boarded: Vec<CacheKey> = Vec::new();
    let mut in_company = true;
    loop {
        let headers = &question.request.headers;
        let selected =
            parts.exchanges.shelf.select(parts.store.as_ref(), &question.key, headers)?;
        if let Some(found) = at_once(parts, question, &selected, !boarded.is_empty()) {
            return Ok(found);
        }
        if question.wishes.only_if_cached {
            return Err(Failure::NotKept);
        }
        let flight = selected.flight_key(&question.key, headers);
        in_company &= shares(parts, question, &selected) && !boarded.contains(&flight);
        let ask = async {
            match in_company {
                true => board(parts, question, &selected, &flight).await,
                false => Landed::Here(alone(parts, question, &selected).await),
            }
        };
        let waits = parts.waiting.begin();
        let asked = patiently(parts, question, &selected, ask).await;
        drop(waits);
        match asked {
            Err(found) => return Ok(found),
            Ok(Landed::Here(result)) => return result,
            Ok(Landed::There(Landing::Look)) => boarded.push(flight),
            Ok(Landed::There(Landing::Alone)) => in_company = false,
            Ok(Landed::There(Landing::Failed(trouble))) => {
                let kept = selected.kept.as_ref();
                let found = kept.and_then(|kept| stand_in::found(parts, question, kept, &trouble));
                return found.ok_or_else(|| trouble.into_failure());
            }
        }
    }
}

/// Where the answer of a flight is.
enum Landed {
    /// The flight was this client's own.
    Here(Result<Found, Failure>),
    There(Landing),
}

/// The answer that needs no word of upstream.
fn at_once(
    parts: &Arc<Parts>,
    question: &Question,
    selected: &Selected,
    collapsed: bool,
) -> Option<Found> {
    let kept = selected.kept.as_ref()?;
    let now = parts.clock.now();
    let reuse = match question.mode {
        Mode::ByTheBook if question.wishes.no_store => return None,
        Mode::Keep if is_recent(parts, kept, now) => Reuse::Fresh,
        _ => kept.freshness.judge(&question.wishes, now),
    };
    let detail = match reuse {
        Reuse::Fresh => None,
        Reuse::StaleAccepted => Some("stale-accepted"),
        Reuse::StaleWhileRevalidating => {
            revalidate_behind(parts, question, selected);
            Some("stale-while-revalidate")
        }
        Reuse::Validate if question.mode == Mode::Keep && rests(parts, question, now) => {
            return stand_in::found(parts, question, kept, &Trouble::Resting);
        }
        Reuse::Validate => return None,
    };
    let status = CacheStatus { collapsed, detail, ..CacheStatus::hit() };
    Some(answer::kept(parts.store.as_ref(), kept, status, now, None))
}

/// Confirmed so lately that nobody's insisting leads to another question.
fn is_recent(parts: &Parts, kept: &Kept, now: Timestamp) -> bool {
    now.since(kept.entry.validated) < parts.config.revalidate_interval
}

/// Whether upstream is better not asked: it failed just now, or the client wants no more than what is kept.
fn rests(parts: &Parts, question: &Question, now: Timestamp) -> bool {
    question.wishes.only_if_cached
        || parts.exchanges.resting.get(&question.key).is_some_and(|until| now < until)
        || matches!(parts.upstream.availability(&question.request), Availability::Open { .. })
}

/// Whether the answer is likely to serve others too, so that they may wait for it.
fn shares(parts: &Parts, question: &Question, selected: &Selected) -> bool {
    let now = parts.clock.now();
    let lasts = |kept: &Arc<Kept>| {
        question.mode == Mode::Keep
            || (kept.freshness.demand != Demand::Always && kept.freshness.lifetime_secs > 0)
    };
    question.is_common()
        && selected.kept.as_ref().is_none_or(lasts)
        && parts.exchanges.unshared.get(&question.key).is_none_or(|until| until <= now)
}

/// Joins the flight of `key`, or starts it.
async fn board(
    parts: &Arc<Parts>,
    question: &Question,
    selected: &Selected,
    key: &CacheKey,
) -> Landed {
    let (sender, answer) = oneshot::channel();
    let mut seat = fly(parts, question.clone(), selected.clone(), key, sender);
    let landing = match seat.joined {
        true => seat.answer().await,
        false => match answer.await {
            Ok(result) => return Landed::Here(result),
            Err(_) => None,
        },
    };
    // A flight that was cut down leaves its passengers to themselves.
    Landed::There(landing.unwrap_or(Landing::Alone))
}

/// Renews a kept response without anybody waiting for it (RFC 5861 section 3).
fn revalidate_behind(parts: &Arc<Parts>, question: &Question, selected: &Selected) {
    let key = selected.flight_key(&question.key, &question.request.headers);
    let (sender, _) = oneshot::channel();
    drop(fly(parts, question.in_background(), selected.clone(), &key, sender));
}

fn fly(
    parts: &Arc<Parts>,
    question: Question,
    selected: Selected,
    key: &CacheKey,
    sender: oneshot::Sender<Result<Found, Failure>>,
) -> Seat<Landing> {
    let shared = Arc::clone(parts);
    parts.exchanges.flights.board(key, &parts.tasks, |pilot| async move {
        let answered = origin::ask(&shared, &question, &selected).await;
        pilot.publish(answered.landing);
        // Whoever began the flight may have left; the others have what was published.
        drop(sender.send(answered.result));
        if let Some(writing) = answered.writing {
            writing.await;
        }
    })
}

/// Asks for this client only.
async fn alone(
    parts: &Arc<Parts>,
    question: &Question,
    selected: &Selected,
) -> Result<Found, Failure> {
    origin::ask(parts, question, selected).await.detach(parts)
}

/// Waits for `ask`, in [`Mode::Keep`] no longer than the time budget while something is kept: `Err` is that.
async fn patiently<T>(
    parts: &Parts,
    question: &Question,
    selected: &Selected,
    ask: impl Future<Output = T>,
) -> Result<T, Found> {
    let stand_in = match (&selected.kept, question.mode) {
        (Some(kept), Mode::Keep) => stand_in::found(parts, question, kept, &Trouble::Slow),
        _ => None,
    };
    let Some(found) = stand_in else { return Ok(ask.await) };
    match tokio::time::timeout(parts.config.revalidate_budget, ask).await {
        Ok(answer) => Ok(answer),
        Err(_) => {
            parts.upstream.report_slow(&question.request);
            Err(found)
        }
    }
}

impl Parts {
    /// Writes down a placed response when its body is there. Failing that, it is not kept.
    async fn write(&self, placed: &Placed, arriving: Option<Arriving>) {
        let (shelf, store) = (&self.exchanges.shelf, self.store.as_ref());
        let entry = match arriving {
            None => Arc::clone(&placed.kept.entry),
            Some(arriving) => match arriving.await {
                Some(body) => Arc::new(Entry { body, ..Entry::clone(&placed.kept.entry) }),
                None => return shelf.withdraw(placed),
            },
        };
        if let Err(error) = shelf.write(store, placed, entry).await {
            tracing::warn!(cache.key = %placed.kept.row, error = %error, "a response is not kept");
        }
    }
}

impl Answered {
    /// The answer, with what is to be written left to the cache's own tasks.
    fn detach(self, parts: &Parts) -> Result<Found, Failure> {
        if let Some(writing) = self.writing {
            parts.tasks.spawn(writing);
        }
        self.result
    }
}

impl fmt::Debug for Exchanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchanges").field("flights", &self.flights).finish_non_exhaustive()
    }
}
