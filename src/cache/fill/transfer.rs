//! The task that drives a fill: asks upstream, reads the answer, pumps the body in, verifies it, keeps it.
//!
//! A fill has at most two attempts. The second begins from nothing, and only when the first one's body proved wrong
//! before anybody was given its head.

use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderValue, StatusCode, header};

use crate::cache::Parts;
use crate::cache::artifact;
use crate::cache::ask::{Answered, ask};
use crate::cache::failure::Failure;
use crate::cache::fill::Fill;
use crate::cache::fill::answer::{self, Answer, Framing};
use crate::cache::fill::identity::{Identity, Ranges};
use crate::cache::fill::map::Map;
use crate::cache::fill::nowhere::nowhere;
use crate::cache::fill::pump::{Pump, Source};
use crate::cache::fill::registry::Registration;
use crate::cache::fill::release::Promise;
use crate::cache::fill::scan::Scan;
use crate::cache::fill::sink::{Limits, Sink, off_worker};
use crate::cache::fill::state::{Ending, Opened};
use crate::cache::fill::verify::{Refused, Verified, Verifier, VerifyError};
use crate::cache::lookup::{Accepted, Artifact};
use crate::store::{Partial, Progress, StoreError};
use crate::types::event::Kind;
use crate::types::{Digest, Head, What};
use crate::upstream::OriginRequest;

/// Drives the fill of `artifact` to its end, on the cache's task set.
pub(crate) fn start(parts: &Arc<Parts>, artifact: Artifact, registration: Registration) {
    let fill = Arc::clone(&registration.fill);
    if let Some(request) = artifact.lookup.origins.first() {
        // Nobody else sets it.
        let _ = fill.handle.from.set(request.display_address());
    }
    let transfer = Transfer { parts: Arc::clone(parts), artifact, fill, sink: Mutex::default() };
    parts.tasks.spawn(transfer.live(registration));
}

struct Transfer {
    parts: Arc<Parts>,
    artifact: Artifact,
    fill: Arc<Fill>,
    /// Where the attempt under way puts its bytes; taken when it is given up.
    sink: Mutex<Option<Arc<Sink>>>,
}

/// A body that is complete, and right as far as anybody promised.
pub(crate) struct Complete {
    pub(crate) partial: Arc<dyn Partial>,
    pub(crate) accepted: Accepted,
    /// Where a redirect led, when it did.
    pub(crate) origin: Option<Box<str>>,
    /// `None` when it could not be kept: the disk was full.
    pub(crate) verified: Option<Verified>,
}

/// Why an attempt ended before its body was complete.
#[derive(Debug)]
pub(super) enum Break {
    /// Nothing is wrong with bytes that came, or none came.
    End(Ending),
    Wrong(Fault, Failure),
}

/// What was wrong in the middle of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Other bytes than promised.
    Digest,
    /// Upstream's body changed while it was fetched.
    Changed,
    Overlong,
    /// What was found in it.
    Refused,
    /// Upstream broke off, and asking for the rest did not help.
    Upstream,
    /// Our own disk.
    Store,
}

/// Which attempt it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    First,
    /// From nothing, past caches on the way that may hold the wrong body.
    Anew,
}

impl Transfer {
    async fn live(self, registration: Registration) {
        let permit = tokio::select! {
            permit = self.parts.fills.permit() => permit,
            ending = self.given_up() => return self.close(registration, ending).await,
        };
        let outcome = tokio::select! {
            outcome = self.run() => outcome,
            ending = self.given_up() => Err(ending),
        };
        match outcome {
            Ok(complete) => {
                self.sink().take();
                self.fill.end(Ending::Verified);
                if complete.verified.is_some() {
                    artifact::keep(&self.parts, &self.artifact, &self.fill, complete).await;
                }
            }
            Err(ending) => self.close(registration, ending).await,
        }
        drop(permit);
    }

    /// Ready when nobody wants the body any more, or the process ends.
    async fn given_up(&self) -> Ending {
        tokio::select! {
            () = self.fill.abandoned(self.parts.config.abandon_after) => Ending::Again,
            () = self.parts.stop.cancelled() => {
                Ending::Failed(Failure::Store("Larder is shutting down".to_owned()))
            }
            () = self.fill.handle.cancelled.cancelled() => {
                Ending::Failed(Failure::Store("an administrator ended this transfer".to_owned()))
            }
        }
    }

    /// Ends a fill without a body. What came is noted for the next one, which may start as soon as this one is out of its way.
    async fn close(&self, registration: Registration, ending: Ending) {
        let sink = self.sink().take();
        if let Some(sink) = sink {
            off_worker(move || sink.checkpoint()).await;
        }
        drop(registration);
        if let Ending::Failed(failure) = &ending {
            tracing::info!(cache.key = %self.fill.key, error = %failure, "a fill failed");
        }
        self.fill.end(ending);
    }

    async fn run(&self) -> Result<Complete, Ending> {
        if artifact::is_kept(&self.parts, &self.artifact) {
            return Err(Ending::Again);
        }
        let first = self.attempt(Attempt::First).await;
        let outcome = match first {
            Err(Break::Wrong(fault, _))
                if fault.may_heal() && self.fill.change(|s| s.restart()) =>
            {
                self.attempt(Attempt::Anew).await
            }
            other => other,
        };
        match outcome {
            Ok(complete) => Ok(complete),
            Err(Break::End(ending)) => Err(ending),
            Err(Break::Wrong(fault, failure)) => {
                if fault == Fault::Digest {
                    self.tell_mutated(&failure).await;
                }
                Err(Ending::Failed(failure))
            }
        }
    }

    /// Tells that upstream sends other bytes than those that it promises, once for each thing while this process runs. What one client's own credential opens is
    /// not the world's: nothing is told of it.
    async fn tell_mutated(&self, failure: &Failure) {
        let key = &self.artifact.lookup.key;
        let subject = self.artifact.subject.as_ref().filter(|_| !key.is_credentials());
        let Some(subject) = subject.filter(|_| self.parts.fills.is_news(key)) else { return };
        let what = What::new(Kind::Mutated, subject).detail(failure.to_string());
        let promised = self.artifact.digests.first().map(ToString::to_string);
        let what = promised.into_iter().fold(what, What::before);
        let event = what.at(self.parts.clock.now(), key.space());
        self.parts.witness.witness(vec![event]).await;
    }

    /// Gets the body once. When it was wrong, what came is thrown away here.
    async fn attempt(&self, attempt: Attempt) -> Result<Complete, Break> {
        let outcome = self.fetch(attempt).await;
        if let Err(Break::Wrong(fault, failure)) = &outcome {
            metrics::counter!("larder_fill_failures_total", "kind" => fault.name()).increment(1);
            tracing::warn!(
                cache.key = %self.fill.key, fill.fault = fault.name(), error = %failure,
                "a body could not be completed"
            );
            if fault.spoils() {
                let sink = self.sink().take();
                if let Some(sink) = sink {
                    if let Some((report, _)) = sink.refusal().filter(|_| *fault == Fault::Refused) {
                        let (nature, digests) = (self.artifact.nature, &self.artifact.digests);
                        self.parts.note_report(nature, digests, report, false);
                    }
                    off_worker(move || sink.partial.discard()).await;
                }
            }
        }
        outcome
    }

    async fn fetch(&self, attempt: Attempt) -> Result<Complete, Break> {
        let (partial, closed) = match self.open_partial().await {
            Ok(partial) => (partial, None),
            Err(why) => (nowhere(), Some(why)),
        };
        let noted = match attempt {
            Attempt::First => answer::usable(partial.progress(), &self.artifact.digests),
            Attempt::Anew => None,
        };
        let answered = ask(&self.parts, &self.artifact.lookup, |request| {
            self.prepare(request, noted.as_ref(), attempt);
        });
        let answered = answered.await.map_err(|failure| Break::End(Ending::Failed(failure)))?;
        let (head, accepted) = (&answered.response.head, &answered.accepted);
        let answer = match Answer::read(&self.artifact, head, accepted, noted.as_ref()) {
            Ok(answer) if answer.framing == Framing::Unknown => {
                self.fill.lock().unkept = Some(answered);
                return Err(Break::End(Ending::Through("unframed")));
            }
            Ok(answer) => answer,
            Err(Break::Wrong(fault, failure)) => {
                off_worker(move || partial.discard()).await;
                return Err(Break::Wrong(fault, failure));
            }
            Err(other) => return Err(other),
        };
        let obstacle = match closed {
            None => self.reserve(&partial, &answer).await,
            closed => closed,
        };
        // What is not to be kept holds no place on the disk, so that the next transfer of the same may look for one.
        let partial = if obstacle.is_some() && answer.start == 0 { nowhere() } else { partial };
        let Answered { response, accepted, request } = answered;
        let origin = (response.url != request.url)
            .then(|| crate::upstream::request::display_address(&response.url).into());
        let shortcut = (response.url != request.url).then(|| response.url.clone());
        let opened = Opened {
            head: Head { status: StatusCode::OK, headers: accepted.headers.clone() },
            status: response.head.status.as_u16(),
            elapsed: response.elapsed,
            opened: self.parts.clock.now(),
            obstacle,
        };
        let sink = self.open(partial, opened, request.display_address(), &answer);
        let source = Source {
            request,
            shortcut: Arc::new(Mutex::new(shortcut)),
            identity: answer.identity,
            promise: promise_of(&answer.promised),
            ranges: Ranges::of(&response.head),
            start: answer.start,
        };
        let parts = Arc::clone(&self.parts);
        Pump::new(parts, Arc::clone(&sink), source).run(response.body).await?;
        let verified = self.verify(&sink).await?;
        Ok(Complete { partial: Arc::clone(&sink.partial), accepted, origin, verified })
    }

    /// Opens the partial body. A fill of the same key that has just ended may still hold it for a moment. `Err` tells why the body cannot be
    /// kept.
    async fn open_partial(&self) -> Result<Arc<dyn Partial>, &'static str> {
        for _ in 0..BUSY_TRIES {
            let (store, key) = (Arc::clone(&self.parts.store), self.fill.key.clone());
            match off_worker(move || store.partial(&key)).await {
                Ok(partial) => return Ok(partial),
                Err(StoreError::Busy(_)) => tokio::time::sleep(BUSY_PAUSE).await,
                Err(error) => return Err(self.complain(&error)),
            }
        }
        Err("busy")
    }

    fn prepare(&self, request: &mut OriginRequest, noted: Option<&Progress>, attempt: Attempt) {
        let headers = &mut request.headers;
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if attempt == Attempt::Anew {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        if let Some(noted) = noted {
            Identity::noted(noted).ask_for(request, answer::resume_at(noted), None);
        }
    }

    /// Reserves room. `Some` tells why the body cannot be kept.
    async fn reserve(&self, partial: &Arc<dyn Partial>, answer: &Answer) -> Option<&'static str> {
        let length = answer.total?;
        let partial = Arc::clone(partial);
        match off_worker(move || partial.reserve(length)).await {
            Ok(()) => {
                self.parts.fills.disk_has_room();
                None
            }
            Err(error) => Some(self.complain(&error)),
        }
    }

    /// Logs why nothing can be kept, a full disk once, and names it for `Cache-Status`.
    fn complain(&self, error: &StoreError) -> &'static str {
        metrics::counter!("larder_fill_failures_total", "kind" => "not-kept").increment(1);
        match error {
            StoreError::Full => {
                if self.parts.fills.disk_is_full() {
                    tracing::warn!(cache.key = %self.fill.key, "{error}: serving without keeping");
                }
                "disk-full"
            }
            error => {
                tracing::error!(cache.key = %self.fill.key, %error, "serving without keeping");
                "store-failed"
            }
        }
    }

    /// Lets readers in: the head is there, and bytes are about to come.
    fn open(
        &self,
        partial: Arc<dyn Partial>,
        opened: Opened,
        origin: String,
        answer: &Answer,
    ) -> Arc<Sink> {
        let note = Progress {
            prefix: answer.start,
            total: answer.total,
            etag: answer.identity.etag.clone(),
            last_modified: answer.identity.last_modified.clone(),
            promised: answer.promised.iter().map(ToString::to_string).collect(),
            origin,
        };
        let promise = promise_of(&answer.promised);
        let rules = self.parts.verdicts.rules(self.artifact.nature);
        let scan = Scan::begin(rules, &self.artifact, answer.total);
        let hold = scan.as_ref().and_then(Scan::hold);
        let verifier = Verifier::new(answer.promised.clone(), answer.total, scan);
        let limits = Limits::of(&self.parts.config);
        let file: Arc<dyn Partial> = Arc::clone(&partial);
        let sink = Sink::new(&self.fill, partial, verifier, promise, note, limits);
        *self.sink() = Some(Arc::clone(&sink));
        let map = Map::new(answer.total, answer.start);
        let passes = opened.obstacle.is_some();
        self.fill.change(|state| {
            state.open(opened, file, map, promise, hold);
            if passes {
                state.pass_through(limits.ring_bytes);
            }
        });
        sink
    }

    async fn verify(&self, sink: &Arc<Sink>) -> Result<Option<Verified>, Break> {
        let (total, overflowed) = {
            let state = self.fill.lock();
            (state.map.total, state.has_overflowed())
        };
        if overflowed && !sink.is_verified() {
            return Ok(None);
        }
        let length = total.expect("a complete body has a length");
        let finishing = Arc::clone(sink);
        match off_worker(move || finishing.finish(length)).await {
            Ok(verified) => {
                if let Some(report) = &verified.report {
                    let digests = [verified.blob.digest()];
                    self.parts.note_report(self.artifact.nature, &digests, report, true);
                    self.fill.change(|state| state.found = Some(Arc::clone(report)));
                }
                Ok((!overflowed).then_some(verified))
            }
            Err(VerifyError::Refused(refused)) => {
                let Refused { digests, report, reason } = *refused;
                self.parts.note_report(self.artifact.nature, &digests, &report, true);
                self.fill.change(|state| state.found = Some(report));
                Err(Break::Wrong(Fault::Refused, Failure::Unsafe { reason }))
            }
            Err(error @ VerifyError::Mismatch(_)) => {
                Err(Break::Wrong(Fault::Digest, Failure::BadAnswer(error.to_string())))
            }
            Err(VerifyError::Read(error)) => {
                Err(Break::Wrong(Fault::Store, Failure::Store(error.to_string())))
            }
        }
    }

    fn sink(&self) -> std::sync::MutexGuard<'_, Option<Arc<Sink>>> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often, and how far apart, a partial body that is still held is asked for.
const BUSY_TRIES: u32 = 50;
const BUSY_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

impl Fault {
    /// The `kind` in metrics and logs.
    const fn name(self) -> &'static str {
        match self {
            Self::Digest => "digest",
            Self::Changed => "changed",
            Self::Overlong => "overlong",
            Self::Refused => "refused",
            Self::Upstream => "upstream",
            Self::Store => "store",
        }
    }

    /// Whether the bytes that came must not be continued.
    const fn spoils(self) -> bool {
        !matches!(self, Self::Upstream)
    }

    /// Whether beginning from nothing may help.
    const fn may_heal(self) -> bool {
        matches!(self, Self::Digest | Self::Changed)
    }
}

/// The fault of a body that changed upstream.
pub(super) fn changed(how: String) -> Break {
    Break::Wrong(Fault::Changed, Failure::BadAnswer(format!("it changed upstream: {how}")))
}

const fn promise_of(promised: &[Digest]) -> Promise {
    if promised.is_empty() { Promise::None } else { Promise::Digest }
}
