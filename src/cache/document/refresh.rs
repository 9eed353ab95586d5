//! Asking upstream for a document: origins in order, one answer merged into what is kept, written down.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use crate::cache::document::{Loaded, Refreshed, body};
use crate::cache::failure::Failure;
use crate::cache::flight::{Pilot, Seat};
use crate::cache::lookup::{
    Accepted, Admission, Answer, Beside, Document, Follow, Fresh, Kept, Page, Stale,
};
use crate::cache::{Cache, Parts, follow};
use crate::store::{Change, Entry, INLINE_LIMIT_BYTES, Stored};
use crate::types::{BlobId, Head, Presence, Timestamp, What};
use crate::upstream::request::Retries;
use crate::upstream::{OriginRequest, OriginResponse};

/// Fields of upstream's head that are kept for the next conditional request.
const VALIDATORS: [header::HeaderName; 2] = [header::ETAG, header::LAST_MODIFIED];

impl Cache {
    /// Joins or starts the refresh of a document and waits for it. Tells whether it was joined.
    pub(super) async fn refresh(
        &self,
        document: &Document,
        previous: Option<Arc<Loaded>>,
    ) -> (Refreshed, bool) {
        let mut seat = self.begin_refresh(document, previous);
        let cut = Refreshed { outcome: Err(Failure::NotKept), status: None };
        let _waits = self.parts.waiting.begin();
        (seat.answer().await.unwrap_or(cut), seat.joined)
    }

    /// Joins or starts the refresh of a document. Dropping the seat leaves it running.
    pub(super) fn begin_refresh(
        &self,
        document: &Document,
        previous: Option<Arc<Loaded>>,
    ) -> Seat<Refreshed> {
        let parts = &self.parts;
        parts.documents.refreshes.board(&document.lookup.key, &parts.tasks, |pilot| {
            let refresh = Refresh {
                parts: Arc::clone(parts),
                document: document.clone(),
                previous,
                status: None,
            };
            refresh.fly(pilot)
        })
    }
}

/// One refresh under way.
pub(super) struct Refresh {
    pub(super) parts: Arc<Parts>,
    pub(super) document: Document,
    pub(super) previous: Option<Arc<Loaded>>,
    /// Status of the last answer.
    pub(super) status: Option<u16>,
}

/// What the origins said in the end.
enum Word {
    /// 304: what is kept is current.
    Confirmed(Accepted),
    /// A new body.
    Fresh(Box<Whole>),
    Absent,
    Refused {
        status: u16,
    },
}

/// A new answer of `origins[index]`: all its pages.
pub(super) struct Whole {
    pub(super) index: usize,
    pub(super) accepted: Accepted,
    pub(super) first: Page,
    pub(super) rest: Vec<Page>,
}

/// The document as it now stands.
pub(super) struct Now {
    loaded: Arc<Loaded>,
    /// Its kept bytes, where they are new.
    body: Option<Bytes>,
    follow: Vec<Follow>,
    events: Vec<What>,
}

/// What there is to write down.
pub(super) struct Draft {
    pub(super) kept: Kept,
    pub(super) head: Head,
    pub(super) presence: Presence,
    pub(super) fresh_for: Duration,
}

impl Now {
    /// The same content under a renewed entry.
    pub(super) const fn renewed(loaded: Arc<Loaded>) -> Self {
        Self { loaded, body: None, follow: Vec::new(), events: Vec::new() }
    }
}

impl Refresh {
    async fn fly(mut self, pilot: Pilot<Refreshed>) {
        if let Some(loaded) = self.forestalled() {
            pilot.publish(Refreshed { outcome: Ok(loaded), status: None });
            return;
        }
        let stop = self.parts.stop.clone();
        let outcome = tokio::select! {
            outcome = self.run() => outcome,
            () = stop.cancelled() => return,
        };
        let status = self.status;
        match outcome {
            Ok(Now { loaded, body, mut follow, events }) => {
                follow.extend(self.document.keep.belongings(&loaded.parsed));
                let key = self.document.lookup.key.clone();
                self.parts.documents.absent.invalidate(&key);
                let beside = self.beside(&loaded);
                self.parts.documents.remember(&key, &loaded);
                self.parts.edition.turn();
                pilot.publish(Refreshed { outcome: Ok(Arc::clone(&loaded)), status });
                self.tell(&loaded, events).await;
                self.write_down(&loaded, body, beside).await;
                follow::start(&self.parts, follow);
            }
            Err(failure) => {
                self.note_failure(&failure);
                pilot.publish(Refreshed { outcome: Err(failure), status });
            }
        }
    }

    /// What a flight brought that landed after this one's passenger had looked and before it boarded.
    fn forestalled(&self) -> Option<Arc<Loaded>> {
        let loaded = self.parts.documents.recall(&self.document.lookup.key)?;
        let is_news = self
            .previous
            .as_ref()
            .is_none_or(|previous| previous.entry.validated < loaded.entry.validated);
        is_news.then_some(loaded)
    }

    async fn run(&mut self) -> Result<Now, Failure> {
        let word = match self.at_hand().await {
            Some(whole) => Word::Fresh(Box::new(whole)),
            None if self.document.lookup.origins.is_empty() => return Err(Failure::NotKept),
            None => self.ask().await?,
        };
        let now = self.parts.clock.now();
        match word {
            Word::Confirmed(accepted) => Ok(Now::renewed(self.confirmed(&accepted, now)?)),
            Word::Fresh(whole) => {
                let Whole { index, accepted, first, rest } = *whole;
                let mut kept_head = Head::new(StatusCode::OK);
                kept_head.headers = accepted.headers;
                copy_validators(&first.head, &mut kept_head);
                let kept = self.merge(index, first, rest, now).await?;
                kept_head.headers.insert(ORIGIN_INDEX, HeaderValue::from(index));
                Ok(self.draft(
                    Draft {
                        kept,
                        head: kept_head,
                        presence: Presence::Present,
                        fresh_for: accepted.fresh_for,
                    },
                    now,
                ))
            }
            Word::Absent => self.absent(now),
            Word::Refused { status } => self.refused(status, now),
        }
    }

    /// Asks the origins in order until one has a word to say; absence is the last word only when all agree.
    async fn ask(&mut self) -> Result<Word, Failure> {
        let origins = self.document.lookup.origins.clone();
        for (index, request) in origins.iter().enumerate() {
            let mut request = conditional(request, self.validators(index));
            if self.previous.is_some() && self.document.lookup.stale == Stale::Always {
                request.retries = Retries::Never;
            }
            let response = self.parts.upstream.send(request.clone()).await?;
            let status = response.head.status;
            self.status = Some(status.as_u16());
            if status == StatusCode::NOT_MODIFIED {
                return self.not_modified(index, response);
            }
            match self.judge(index, &response.head, &response) {
                Admission::Accept(accepted) => {
                    return self.read(index, request, accepted, response).await;
                }
                Admission::Absent => {}
                Admission::Refused => return Ok(Word::Refused { status: status.as_u16() }),
                Admission::Fail { reason } => return Err(failure_of(&response.head, reason)),
                Admission::Pieces(..) => {
                    let reason = "a document does not come in pieces".to_owned();
                    return Err(failure_of(&response.head, reason));
                }
            }
        }
        Ok(Word::Absent)
    }

    fn judge(&self, index: usize, head: &Head, response: &OriginResponse) -> Admission {
        let answer = Answer { hops: &response.hops, head, now: self.parts.clock.now() };
        self.document.lookup.admit.admit(index, &answer)
    }

    /// The kept head, when `origins[index]` is where the kept document came from and it has something to ask with.
    fn validators(&self, index: usize) -> Option<&Head> {
        let entry = &self.previous.as_ref()?.entry;
        let headers = &entry.head.headers;
        let came_from = headers.get(ORIGIN_INDEX)?.to_str().ok()?.parse() == Ok(index);
        // A 304 brings no body, and the one that memory has was parsed: nothing could be written down.
        let usable = VALIDATORS.iter().any(|name| headers.contains_key(name)) && self.is_on_disk();
        (came_from && usable && entry.presence == Presence::Present).then_some(&entry.head)
    }

    /// Whether the bytes of what memory has are in the store, too. They may have been found damaged there.
    fn is_on_disk(&self) -> bool {
        let blob = self.previous.as_ref().and_then(|previous| previous.entry.body.blob());
        blob.is_none_or(|blob| matches!(self.parts.store.open(blob), Ok(Some(_))))
    }

    /// A 304 counts only as the answer to our own condition.
    fn not_modified(&self, index: usize, response: OriginResponse) -> Result<Word, Failure> {
        let Some(kept) = self.validators(index) else {
            return Err(Failure::BadAnswer("304 to an unconditional request".to_owned()));
        };
        let mut head = Head::new(StatusCode::OK);
        head.headers.clone_from(&kept.headers);
        for (name, value) in &response.head.headers {
            head.headers.insert(name, value.clone());
        }
        match self.judge(index, &head, &response) {
            Admission::Accept(accepted) => Ok(Word::Confirmed(accepted)),
            _ => Err(Failure::BadAnswer("a 304 whose fields do not fit what is kept".to_owned())),
        }
    }

    async fn read(
        &self,
        index: usize,
        request: OriginRequest,
        accepted: Accepted,
        response: OriginResponse,
    ) -> Result<Word, Failure> {
        let limit = self.document.limit_bytes;
        let first = page(response, limit).await?;
        let mut left = limit.saturating_sub(first.body.len() as u64);
        let mut rest: Vec<Page> = Vec::new();
        while let Some(url) = self.document.keep.next_page(rest.last().unwrap_or(&first)) {
            if rest.len() == MOST_PAGES {
                return Err(Failure::BadAnswer(format!("more than {MOST_PAGES} pages")));
            }
            let mut next = conditional(&request, None);
            next.url = url;
            let response = self.parts.upstream.send(next).await?;
            if response.head.status != StatusCode::OK {
                let reason =
                    format!("page {} was answered {}", rest.len() + 2, response.head.status);
                return Err(failure_of(&response.head, reason));
            }
            let page = page(response, left).await?;
            left = left.saturating_sub(page.body.len() as u64);
            rest.push(page);
        }
        Ok(Word::Fresh(Box::new(Whole { index, accepted, first, rest })))
    }

    async fn merge(
        &self,
        index: usize,
        first: Page,
        rest: Vec<Page>,
        now: Timestamp,
    ) -> Result<Kept, Failure> {
        let keep = Arc::clone(&self.document.keep);
        let previous = self.previous.as_ref().map(|loaded| loaded.parsed.clone());
        let length = first.body.len() + rest.iter().map(|page| page.body.len()).sum::<usize>();
        let merged = body::off_worker(length, move || {
            let Page { url, head, body } = &first;
            let fresh = Fresh { origin: index, url, head, body, rest: &rest, now };
            keep.merge(previous.as_ref(), &fresh)
        });
        merged.await.map_err(Failure::BadAnswer)
    }

    fn confirmed(&self, accepted: &Accepted, now: Timestamp) -> Result<Arc<Loaded>, Failure> {
        let previous = self.previous.as_ref().ok_or(Failure::NotKept)?;
        let mut entry = Entry::clone(&previous.entry);
        entry.validated = now;
        entry.fresh_until = now.plus(accepted.fresh_for);
        entry.presence = Presence::Present;
        Ok(Arc::new(previous.with_entry(entry)))
    }

    pub(super) fn draft(&self, draft: Draft, now: Timestamp) -> Now {
        let Draft { kept, head, presence, fresh_for } = draft;
        let content = BlobId::of(&kept.bytes);
        let validated = match (&self.previous, presence) {
            (Some(previous), Presence::Gone { .. }) => previous.entry.validated,
            _ => now,
        };
        let entry = Entry {
            head,
            body: stored(content, &kept.bytes),
            origin: None,
            first_kept: self.previous.as_ref().map_or(now, |old| old.entry.first_kept),
            validated,
            fresh_until: now.plus(fresh_for),
            presence,
            digests: Vec::new(),
            note: Bytes::new(),
        };
        let unchanged = self.previous.as_ref().is_some_and(|old| old.entry.body == entry.body)
            && self.is_on_disk();
        let loaded = Loaded::new(kept.parsed, content, Arc::new(entry));
        Now {
            loaded: Arc::new(loaded),
            body: (!unchanged).then_some(kept.bytes),
            follow: kept.follow,
            events: kept.events,
        }
    }

    /// Makes the document durable: its body first, then the entry that names it. The document is served meanwhile; when this fails, it is
    /// served from memory and fetched again some day. What the adapter has no bytes for stays in memory alone.
    async fn write_down(&self, loaded: &Loaded, body: Option<Bytes>, beside: Vec<Change>) {
        if loaded.entry.body.is_empty() {
            return;
        }
        let key = self.document.lookup.key.clone();
        let written = async {
            if let (Some(bytes), Stored::Blob { id, .. }) = (body, &loaded.entry.body) {
                self.parts.store_blob(&key, *id, bytes).await?;
            }
            let put = Change::Put { key: key.clone(), entry: Arc::clone(&loaded.entry) };
            let changes = [put].into_iter().chain(beside).collect();
            self.parts.store.commit(changes).await
        };
        if let Err(error) = written.await {
            metrics::counter!("larder_store_failures_total").increment(1);
            tracing::error!(cache.key = %key, error = %error, "a document could not be written down");
        }
    }

    /// What the document vouches for, in memory at once, so that whoever read the document finds it; and what there is to write down for that.
    fn beside(&self, loaded: &Loaded) -> Vec<Change> {
        let Loaded { parsed, entry, .. } = loaded;
        let all = self.document.keep.beside(parsed).into_iter();
        let changes = all.map(|Beside { name, bytes, parsed }| {
            let key = self.document.lookup.key.sibling(&name);
            let content = BlobId::of(&bytes);
            let entry = Arc::new(Entry {
                head: Head::new(StatusCode::OK),
                body: Stored::Inline(bytes),
                ..Entry::clone(entry)
            });
            let loaded = Arc::new(Loaded::new(parsed, content, Arc::clone(&entry)));
            self.parts.documents.absent.invalidate(&key);
            self.parts.documents.hot.insert(key.clone(), loaded);
            Change::Put { key, entry }
        });
        changes.collect()
    }

    fn note_failure(&self, failure: &Failure) {
        if let Some(previous) = &self.previous {
            previous.failed_now(self.parts.clock.now());
            self.parts.edition.turn();
        }
        let (key, kept) = (&self.document.lookup.key, self.previous.is_some());
        let cause = std::error::Error::source(failure).map(ToString::to_string);
        match failure {
            Failure::Absent | Failure::NotKept => {}
            known if known.is_known_outage() => tracing::debug!(
                cache.key = %key, error = %failure, cause, kept, "a document waits for upstream"
            ),
            _ => tracing::warn!(
                cache.key = %key, error = %failure, cause, kept, "a document could not be refreshed"
            ),
        }
    }
}

/// More pages than this are no answer but a loop.
const MOST_PAGES: usize = 10_000;

/// Which of the lookup's origins gave the kept document: a field of ours on the kept head, never sent to anyone.
const ORIGIN_INDEX: header::HeaderName = header::HeaderName::from_static("larder-origin-index");

/// Bodies beyond the inline limit are blobs.
pub(super) fn stored(content: BlobId, bytes: &Bytes) -> Stored {
    match bytes.len() {
        length if length <= INLINE_LIMIT_BYTES => Stored::Inline(bytes.clone()),
        length => Stored::Blob { id: content, size: length as u64 },
    }
}

async fn page(response: OriginResponse, limit: u64) -> Result<Page, Failure> {
    let OriginResponse { head, url, body, .. } = response;
    let body = body::read(&head, body, limit).await?;
    Ok(Page { url, head, body })
}

fn conditional(request: &OriginRequest, kept: Option<&Head>) -> OriginRequest {
    let mut request = request.clone();
    let coding = request.headers.entry(header::ACCEPT_ENCODING);
    coding.or_insert(HeaderValue::from_static("gzip"));
    let Some(kept) = kept else { return request };
    if let Some(etag) = kept.headers.get(header::ETAG) {
        request.headers.insert(header::IF_NONE_MATCH, etag.clone());
    }
    if let Some(date) = kept.headers.get(header::LAST_MODIFIED) {
        request.headers.insert(header::IF_MODIFIED_SINCE, date.clone());
    }
    request
}

fn copy_validators(from: &Head, to: &mut Head) {
    for name in VALIDATORS {
        match from.headers.get(&name) {
            Some(value) => to.headers.insert(name, value.clone()),
            None => to.headers.remove(name),
        };
    }
}

/// An answer that the adapter did not accept: an outage of upstream's own, or something that makes no sense.
fn failure_of(head: &Head, reason: String) -> Failure {
    let status = head.status;
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        let retry_after_secs = head.text(&header::RETRY_AFTER).and_then(|text| text.parse().ok());
        return Failure::Unavailable { status: status.as_u16(), retry_after_secs };
    }
    Failure::BadAnswer(reason)
}
