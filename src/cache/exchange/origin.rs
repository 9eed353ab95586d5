//! Asking upstream, and what becomes of its answer: confirmed, stored, passed through, or replaced by what is kept.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Method, StatusCode, header};

use crate::cache::Parts;
use crate::cache::exchange::answer::{self, Passing};
use crate::cache::exchange::capture::{Arriving, Captured, capture};
use crate::cache::exchange::kept::Kept;
use crate::cache::exchange::question::{Question, Sent};
use crate::cache::exchange::shelf::{Selected, Ticket};
use crate::cache::exchange::stand_in::{self, Trouble};
use crate::cache::failure::Failure;
use crate::cache::found::Found;
use crate::cache::lookup::Mode;
use crate::semantics::cache_status::{CacheStatus, Forward};
use crate::semantics::freshen;
use crate::semantics::freshness::{Freshness, Rules};
use crate::semantics::storing::{self, Asked};
use crate::semantics::vary::{self, Selection};
use crate::store::{Entry, StoreError};
use crate::types::{Head, Presence, Timestamp};
use crate::upstream::{Framing, OriginResponse};

/// How long a target whose answer could not be shared is asked for by each client for itself, without waiting for one another.
pub(super) const UNSHARED_FOR: Duration = Duration::from_secs(30);

/// What a question to upstream led to.
pub(super) struct Answered {
    pub(super) result: Result<Found, Failure>,
    pub(super) landing: Landing,
    /// What is still to be written down, to be run to its end whoever leaves.
    pub(super) writing: Option<BoxFuture<'static, ()>>,
}

/// What those who waited for the answer do now.
#[derive(Debug, Clone)]
pub(super) enum Landing {
    /// Look again: what they want may be there.
    Look,
    /// Ask for themselves: the answer was the asker's alone.
    Alone,
    Failed(Trouble),
}

/// One question under way.
pub(super) struct Errand<'a> {
    parts: &'a Arc<Parts>,
    question: &'a Question,
    kept: Option<Arc<Kept>>,
    why: Forward,
    ticket: Ticket,
    requested: Timestamp,
}

/// Asks upstream for the client of `question`, who found `selected`.
pub(super) async fn ask(parts: &Arc<Parts>, question: &Question, selected: &Selected) -> Answered {
    let candidates = match candidates(parts, question, selected) {
        Ok(candidates) => candidates,
        Err(error) => return Answered::failed(error.into()),
    };
    let why = why(question, selected);
    let errand = Errand::new(parts, question, selected.kept.clone(), why);
    let sent = question.send(candidates);
    let response = match parts.upstream.send(sent.request.clone()).await {
        Ok(response) => response,
        Err(error) => return errand.lost(error.into()),
    };
    if response.head.status != StatusCode::NOT_MODIFIED || sent.confirms.is_empty() {
        return errand.arrived(&sent, response).await;
    }
    match confirmed_by(&sent, &response.head) {
        Some(kept) => errand.confirmed(&kept, &sent, &response),
        None => errand.again().await,
    }
}

/// What a 304 could confirm: the selected response; or, when none is, all that lie beside it (RFC 9111 section 4.1).
fn candidates(
    parts: &Parts,
    question: &Question,
    selected: &Selected,
) -> Result<Vec<Arc<Kept>>, StoreError> {
    if let Some(kept) = &selected.kept {
        return Ok(vec![Arc::clone(kept)]);
    }
    if selected.lists.is_empty() || !question.is_common() {
        return Ok(Vec::new());
    }
    let mut variants = parts.exchanges.shelf.variants(parts.store.as_ref(), &question.key)?;
    variants.retain(|kept| kept.entry.head.headers.contains_key(header::ETAG) && kept.is_whole());
    Ok(variants)
}

fn confirmed_by(sent: &Sent, confirming: &Head) -> Option<Arc<Kept>> {
    // Among several, only a tag says which one is meant.
    let named = confirming.headers.contains_key(header::ETAG) || sent.confirms.len() == 1;
    let holds = |kept: &&Arc<Kept>| {
        named && freshen::is_confirmed(&kept.entry.head.headers, &confirming.headers)
    };
    sent.confirms.iter().find(holds).cloned()
}

fn why(question: &Question, selected: &Selected) -> Forward {
    match &selected.kept {
        None if selected.lists.is_empty() => Forward::UriMiss,
        None => Forward::VaryMiss,
        Some(_) if question.wishes.no_cache || question.wishes.no_store => Forward::Request,
        Some(_) => Forward::Stale,
    }
}

impl<'a> Errand<'a> {
    /// Begins an errand now: answers to what was asked before a later invalidation are not kept.
    pub(super) fn new(
        parts: &'a Arc<Parts>,
        question: &'a Question,
        kept: Option<Arc<Kept>>,
        why: Forward,
    ) -> Self {
        let ticket = parts.exchanges.shelf.ticket();
        Self { parts, question, kept, why, ticket, requested: parts.clock.now() }
    }

    /// Any answer but a confirmation.
    pub(super) async fn arrived(&self, sent: &Sent, response: OriginResponse) -> Answered {
        let status = response.head.status;
        if let Some(trouble) = self.trouble(status)
            && let Some(answered) = self.stand_in(&trouble)
        {
            return answered;
        }
        if self.question.is_head() {
            return self.described(sent, response);
        }
        let received = self.parts.clock.now();
        let rules = Rules::read(&response.head.headers);
        let freshness = Freshness::of(&response.head, &rules, self.requested, received);
        match self.obstacle(sent, &response.head, &rules, &freshness, response.framing) {
            Some(obstacle) => self.passed(response, obstacle),
            None => self.stored(sent, response, &rules, freshness).await,
        }
    }

    /// A 304: the kept response holds, with the fields that came (RFC 9111 section 4.3.4).
    fn confirmed(&self, kept: &Kept, sent: &Sent, response: &OriginResponse) -> Answered {
        let (renewed, obstacle) = self.renewed(kept, sent, &response.head);
        let status = self.forwarded(response.head.status);
        match obstacle {
            None => self.place(renewed, status, response.elapsed, None),
            Some(_) => Answered {
                result: Ok(self.found(&renewed, status, response.elapsed)),
                landing: Landing::Alone,
                writing: Some(self.removing(kept)),
            },
        }
    }

    /// Asks once more, without preconditions of ours: the 304 spoke of something that is not kept.
    async fn again(&self) -> Answered {
        let sent = self.question.send_whole();
        match self.parts.upstream.send(sent.request.clone()).await {
            Ok(response) => self.arrived(&sent, response).await,
            Err(error) => self.lost(error.into()),
        }
    }

    /// The answer to a `HEAD`: it renews the kept `GET` response that it describes, or says that it is out of date (section 4.3.5).
    fn described(&self, sent: &Sent, response: OriginResponse) -> Answered {
        let Some(kept) = self.kept.as_ref().filter(|_| response.head.status == StatusCode::OK)
        else {
            return self.passed(response, "head");
        };
        let headers = &kept.entry.head.headers;
        let described = kept
            .len()
            .is_some_and(|bytes| freshen::is_described(headers, bytes, &response.head.headers));
        let (renewed, obstacle) = self.renewed(kept, sent, &response.head);
        if described && obstacle.is_none() {
            let status = self.forwarded(response.head.status);
            return self.place(renewed, status, response.elapsed, None);
        }
        let outdated = self.place(kept.expired(), CacheStatus::hit(), response.elapsed, None);
        Answered { writing: outdated.writing, ..self.passed(response, "head") }
    }

    /// Keeps an answer, and answers with it while it is still arriving.
    async fn stored(
        &self,
        sent: &Sent,
        response: OriginResponse,
        rules: &Rules,
        freshness: Freshness,
    ) -> Answered {
        let OriginResponse { head, elapsed, framing, body, .. } = response;
        let status = self.forwarded(head.status);
        let selection = selection(&head, sent);
        let row = self.question.row_of(&selection);
        let request = &sent.request;
        let taken = capture(self.parts, &row, request, &head, elapsed, body).await;
        let (body, arriving) = match taken {
            Ok(Captured::Taken { body, stored }) => (body, stored),
            Ok(Captured::Passing { body, why }) => {
                let (url, hops) = (request.url.clone(), Vec::new());
                let response = OriginResponse { head, hops, url, elapsed, framing, body };
                return self.passed(response, why);
            }
            Err(failure) => return self.lost(failure),
        };
        let stored = storing::stored_head(&head, rules, freshness.received);
        let first_kept = self.kept.as_ref().map(|kept| kept.entry.first_kept);
        let kept = Kept::new(row, stored, first_kept, freshness, selection, body);
        let mut answered = self.place(kept, status, elapsed, arriving);
        if let Ok(found) = &mut answered.result {
            // Who asked gets the fields, too, that must not be kept for others.
            found.head = answer::passing_head(head);
        }
        answered
    }

    /// An answer for its asker alone.
    pub(super) fn passed(&self, response: OriginResponse, obstacle: &'static str) -> Answered {
        let received = self.parts.clock.now();
        let until = received.plus(UNSHARED_FOR);
        if self.question.is_common() {
            self.parts.exchanges.unshared.insert(self.question.key.clone(), until);
        }
        let superseded = self.kept.as_ref().filter(|_| self.supersedes(response.head.status));
        Answered {
            landing: Landing::Alone,
            writing: superseded.map(|kept| self.removing(kept)),
            result: Ok(answer::passing(Passing {
                head: response.head,
                body: response.body,
                why: self.why,
                detail: Some(obstacle),
                requested: self.requested,
                received,
                waited: response.elapsed,
                bodiless: self.question.is_head(),
            })),
        }
    }

    /// No answer, or one that broke off before anything of it was passed on.
    fn lost(&self, failure: Failure) -> Answered {
        let trouble = Trouble::Unreachable(failure.clone());
        let answered = self.stand_in(&trouble);
        answered.unwrap_or_else(|| Answered {
            result: Err(failure),
            landing: Landing::Failed(trouble),
            writing: None,
        })
    }

    /// What is kept in place of an answer, where that is allowed.
    fn stand_in(&self, trouble: &Trouble) -> Option<Answered> {
        let kept = self.kept.as_ref()?;
        let found = stand_in::found(self.parts, self.question, kept, trouble)?;
        if self.question.mode == Mode::Keep {
            let until = self.parts.clock.now().plus(self.parts.config.retry_after_failure);
            self.parts.exchanges.resting.insert(self.question.key.clone(), until);
        }
        let writing = stand_in::noted(kept, trouble, self.parts.clock.now())
            .and_then(|noted| self.place(noted, CacheStatus::hit(), Duration::ZERO, None).writing);
        Some(Answered { result: Ok(found), landing: Landing::Failed(trouble.clone()), writing })
    }

    /// Why `status` is no answer to a client for whom something is kept.
    fn trouble(&self, status: StatusCode) -> Option<Trouble> {
        let kept = self.kept.as_ref()?;
        stand_in::trouble(self.question.mode, kept, status)
    }

    /// The kept response with the fields of a later head, and what now forbids keeping it.
    fn renewed(&self, kept: &Kept, sent: &Sent, newer: &Head) -> (Kept, Option<&'static str>) {
        let received = self.parts.clock.now();
        let mut head = kept.entry.head.clone();
        // With its old date, what was confirmed just now would look as old as before.
        head.headers.remove(header::DATE);
        freshen::update(&mut head.headers, &newer.headers);
        let rules = Rules::read(&head.headers);
        let freshness = Freshness::of(&head, &rules, self.requested, received);
        let asked = Asked { method: &Method::GET, ..self.question.asked(&sent.request) };
        let obstacle = storing::obstacle(&asked, &head, &rules);
        let selection = selection(&head, sent);
        let row = self.question.row_of(&selection);
        let change = |entry: &mut Entry| {
            entry.head = storing::stored_head(&head, &rules, received);
            entry.validated = received;
            entry.presence = Presence::Present;
        };
        (kept.with(row, selection, freshness, change), obstacle)
    }

    /// What forbids storing an answer, or makes it useless.
    fn obstacle(
        &self,
        sent: &Sent,
        head: &Head,
        rules: &Rules,
        freshness: &Freshness,
        framing: Framing,
    ) -> Option<&'static str> {
        if let Some(obstacle) = storing::obstacle(&self.question.asked(&sent.request), head, rules)
        {
            return Some(obstacle);
        }
        let reusable = freshness.lifetime_secs > 0
            || freshness.while_revalidate_secs > 0
            || freshness.if_error_secs.is_some()
            || storing::has_validator(&head.headers);
        match self.question.mode {
            Mode::ByTheBook if !reusable => Some("not-reusable"),
            Mode::Keep if head.status.is_server_error() => Some("status"),
            _ if framing == Framing::UntilClose => Some("unframed"),
            _ => None,
        }
    }

    /// Whether an answer that is not kept tells that what is kept is out of date.
    fn supersedes(&self, status: StatusCode) -> bool {
        let tells = status == StatusCode::OK
            || status.is_redirection() && status != StatusCode::NOT_MODIFIED
            || matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
        tells && self.question.mode == Mode::ByTheBook && self.question.is_common()
    }

    /// Lets a response be found from now on, answers with it, and says what is to be written.
    fn place(
        &self,
        kept: Kept,
        status: CacheStatus,
        elapsed: Duration,
        arriving: Option<Arriving>,
    ) -> Answered {
        let parts = self.parts;
        let key = &self.question.key;
        let mut found = self.found(&kept, status, elapsed);
        // A body that is another errand's to bring is written down by that one, with the head that it had.
        let is_ours = kept.is_whole() || arriving.is_some();
        let placed = match is_ours {
            true => parts.exchanges.shelf.place(parts.store.as_ref(), key, kept, self.ticket),
            false => Ok(None),
        };
        let placed = placed.unwrap_or_else(|error| {
            tracing::warn!(cache.key = %key, %error, "a response cannot be kept");
            None
        });
        let Some(placed) = placed else {
            // Who is answered from it still needs its body brought.
            let writing = arriving.map(|arriving| arriving.map(drop).boxed());
            return Answered { result: Ok(found), landing: Landing::Alone, writing };
        };
        found.trace.status.stored = true;
        parts.exchanges.unshared.invalidate(key);
        let parts = Arc::clone(parts);
        let writing = async move { parts.write(&placed, arriving).await }.boxed();
        Answered { result: Ok(found), landing: Landing::Look, writing: Some(writing) }
    }

    fn removing(&self, kept: &Kept) -> BoxFuture<'static, ()> {
        let (parts, row) = (Arc::clone(self.parts), kept.row.clone());
        async move {
            if let Err(error) = parts.exchanges.shelf.remove(parts.store.as_ref(), &row).await {
                tracing::warn!(cache.key = %row, error = %error, "an outdated response stays");
            }
        }
        .boxed()
    }

    fn found(&self, kept: &Kept, status: CacheStatus, elapsed: Duration) -> Found {
        let now = self.parts.clock.now();
        answer::kept(self.parts.store.as_ref(), kept, status, now, Some(elapsed))
    }

    fn forwarded(&self, status: StatusCode) -> CacheStatus {
        CacheStatus { forward_status: Some(status.as_u16()), ..CacheStatus::forwarded(self.why) }
    }
}

impl Answered {
    fn failed(failure: Failure) -> Self {
        let landing = Landing::Failed(Trouble::Unreachable(failure.clone()));
        Self { result: Err(failure), landing, writing: None }
    }
}

/// What the request had in the fields that the answer varies by.
fn selection(head: &Head, sent: &Sent) -> Selection {
    let fields = vary::fields(&head.headers).unwrap_or_default();
    Selection::of(&fields, &sent.request.headers)
}
