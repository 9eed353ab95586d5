//! Artifacts: immutable bytes with a digest.
//!
//! The way through [`Cache::artifact`]: what is kept under the key (`kept`), what is kept under another key but has the promised
//! digest (adopted), for `HEAD` what is known of it, and at last a fill (`fill`), joined or started. What cannot be stored passes through
//! (`through`); what a fill brought is written down by `keep`.
//!
//! Left out: who may have it, and what it is called, which the caller has settled before.

use std::ops::Range;
use std::sync::Arc;

use http::{Method, StatusCode};
use moka::sync::Cache as Memory;

use crate::cache::ask::{Answered, ask};
use crate::cache::failure::Failure;
use crate::cache::fill::state::{Ending, Opened};
use crate::cache::fill::{self, Patience, Place, Reader};
use crate::cache::found::{Found, Source, Trace};
use crate::cache::lookup::Artifact;
use crate::cache::verdicts::Effort;
use crate::cache::{Cache, Config, Parts};
use crate::semantics::cache_status::{CacheStatus, Forward};
use crate::semantics::range::{self, Selection, Spec};
use crate::types::{CacheKey, Head, Presence, Timestamp};

mod keep;
mod kept;
mod looked;
mod through;

#[cfg(test)]
mod tests;

pub(crate) use keep::{keep, seal};
use kept::Kept;
pub(crate) use kept::{Hot, is_kept};

/// Most names that "does not exist" is remembered for.
const MOST_ABSENT: u64 = 100_000;

/// How often a look-up begins again because what it waited for had ended meanwhile.
const MOST_ROUNDS: usize = 8;

/// What of an artifact is wanted.
#[derive(Debug, Clone)]
pub struct Want {
    /// `HEAD` never starts a transfer; anything else is a `GET`.
    pub method: Method,
    /// The ranges that the client asked for, if any; they shape how long the answer waits, not what it is.
    pub ranges: Option<Vec<Spec>>,
    /// The only bytes that will be read of the answer's body. Where nothing can be kept, they alone are fetched, and the body is just them.
    pub window: Option<Range<u64>>,
}

impl Want {
    /// All of it.
    pub const fn whole() -> Self {
        Self { method: Method::GET, ranges: None, window: None }
    }
}

/// What the cache knows of artifacts beside the store.
#[derive(Debug)]
pub(crate) struct Artifacts {
    hot: Memory<CacheKey, Arc<Hot>>,
    /// Until when "does not exist" is believed.
    absent: Memory<CacheKey, Timestamp>,
}

impl Artifacts {
    /// Takes a quarter of the memory; documents and their rendered forms have the rest.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            hot: Memory::builder()
                .max_capacity(config.memory.bytes() / 4)
                .weigher(|key: &CacheKey, hot: &Arc<Hot>| {
                    u32::try_from(key.as_str().len() + hot.weight()).unwrap_or(u32::MAX)
                })
                .build(),
            absent: Memory::builder().max_capacity(MOST_ABSENT).build(),
        }
    }
}

impl Artifacts {
    /// What is in memory of a key.
    pub(crate) fn recall(&self, key: &CacheKey) -> Option<Arc<Hot>> {
        self.hot.get(key)
    }

    pub(crate) fn remember(&self, key: CacheKey, hot: Arc<Hot>) {
        self.hot.insert(key, hot);
    }

    /// Lets go of what is in memory of a key.
    pub(crate) fn forget(&self, key: &CacheKey) {
        self.hot.invalidate(key);
        self.absent.invalidate(key);
    }
}

impl Cache {
    /// Gets an artifact. The answer's body may still be on its way; what has a digest is never completed with wrong bytes.
    ///
    /// Dropping the future, or the answer, leaves a transfer running for the others and for the store.
    pub async fn artifact(&self, artifact: &Artifact, want: Want) -> Result<Found, Failure> {
        let found = self.parts.find_artifact(artifact, &want).await?;
        self.parts.count(&found.trace.status);
        Ok(found)
    }

    /// Transfers from upstream under way.
    pub fn fills_under_way(&self) -> usize {
        self.parts.fills.len()
    }
}

impl Parts {
    async fn find_artifact(
        self: &Arc<Self>,
        artifact: &Artifact,
        want: &Want,
    ) -> Result<Found, Failure> {
        let key = &artifact.lookup.key;
        let mut mutated = false;
        let mut looked_again = false;
        // What was never looked into is not held up for those who only ask how large it is.
        let effort = if want.method == Method::HEAD { Effort::Recall } else { Effort::Look };
        for _ in 0..MOST_ROUNDS {
            match self.kept(artifact, effort).await {
                Kept::Right(found) => return Ok(*found),
                Kept::Mutated => mutated = true,
                Kept::Missing => {}
                Kept::Barred(failure) => return Err(failure),
            }
            if let Some(adopted) = self.adopt(artifact, effort).await {
                return adopted;
            }
            self.refused(artifact)?;
            if self.is_absent(key) {
                return Err(Failure::Absent);
            }
            if artifact.lookup.origins.is_empty() && self.fills.find(key).is_none() {
                // Between the two looks a transfer may have ended, and what it brought been filed.
                if looked_again {
                    return Err(Failure::NotKept);
                }
                looked_again = true;
                continue;
            }
            if want.method == Method::HEAD {
                return self.describe(artifact).await;
            }
            if let Some(found) = self.transfer(artifact, want).await? {
                return Ok(if mutated { with_detail(found, "mutated-upstream") } else { found });
            }
        }
        Err(Failure::Store("the transfer ended again and again".to_owned()))
    }

    /// Joins the fill of an artifact, or starts it. `None`: it ended without a body for us, look again.
    async fn transfer(
        self: &Arc<Self>,
        artifact: &Artifact,
        want: &Want,
    ) -> Result<Option<Found>, Failure> {
        let key = &artifact.lookup.key;
        let may_start = !artifact.lookup.origins.is_empty();
        let place = match may_start {
            true => Some(self.fills.join(key, artifact.is_excepted)),
            false => self.fills.find(key).map(Place::Joined),
        };
        let (reader, collapsed) = match place {
            // What nobody holds back there is not for everybody; once it is kept, it is judged.
            Some(Place::Joined(reader)) if reader.fill().is_excepted() && !artifact.is_excepted => {
                return Err(Failure::Unjudged);
            }
            Some(Place::Joined(reader)) => (reader, true),
            Some(Place::First(reader, registration)) => {
                fill::start(self, artifact.clone(), registration);
                (reader, false)
            }
            None => return Ok(None),
        };
        let patience = match want.ranges {
            Some(_) if self.config.verify_before_range => Patience::Digest,
            _ => Patience::Head,
        };
        match self.shown(artifact, want, &reader, patience).await? {
            Ok(opened) => match (opened.obstacle, &want.ranges, &want.window) {
                (None, ..) | (_, None, None) => Ok(Some(followed(reader, &opened, collapsed))),
                (Some(why), ..) => {
                    // A part of what goes through memory would have to wait for all that is before it.
                    drop(reader);
                    self.pass(artifact, want, None, why).await.map(Some)
                }
            },
            Err(Ending::Verified | Ending::Again) => Ok(None),
            Err(Ending::Through(_)) if !may_start => Err(Failure::NotKept),
            Err(Ending::Through(why)) => {
                let answered = reader.take_answer();
                self.pass(artifact, want, answered, why).await.map(Some)
            }
            // It was not fetched for those whom a waiver excepts.
            Err(Ending::Failed(Failure::Unsafe { .. })) if artifact.is_excepted && may_start => {
                Ok(None)
            }
            Err(Ending::Failed(failure)) => {
                if matches!(failure, Failure::Absent) {
                    self.note_absent(&artifact.lookup.key);
                }
                Err(failure)
            }
        }
    }

    /// Waits until there is something to be seen of a fill. Whoever asks for a part of which nothing is judged yet would get a head and then silence: he
    /// waits for a while only.
    async fn shown(
        &self,
        artifact: &Artifact,
        want: &Want,
        reader: &Reader,
        patience: Patience,
    ) -> Result<Result<Arc<Opened>, Ending>, Failure> {
        let _waits = self.waiting.begin();
        let opened = reader.opened(patience).await;
        let (Ok(_), Some(ranges), None) = (&opened, &want.ranges, &want.window) else {
            return Ok(opened);
        };
        let rules = self.verdicts.rules(artifact.nature);
        let (Some(rules), Some(total)) = (rules, reader.fill().total()) else { return Ok(opened) };
        let last = match range::select(Some(ranges), total) {
            Selection::Single(part) => part.start,
            Selection::Several(parts) => parts.iter().map(|part| part.start).max().unwrap_or(0),
            Selection::Whole | Selection::Unsatisfiable => return Ok(opened),
        };
        let shown = tokio::time::timeout(rules.wait(), reader.is_shown(last)).await;
        shown.map_err(|_| Failure::Unjudged)?;
        Ok(reader.opened(patience).await)
    }

    /// Passes through what is not kept, for one client: the answer at hand, or one of its own.
    async fn pass(
        self: &Arc<Self>,
        artifact: &Artifact,
        want: &Want,
        answered: Option<Answered>,
        why: &'static str,
    ) -> Result<Found, Failure> {
        if let Some(window) = &want.window {
            return through::pass_part(self, artifact, window, why).await;
        }
        let answered = match answered {
            Some(answered) => answered,
            None => ask(self, &artifact.lookup, through::prepare).await?,
        };
        through::pass(self, artifact, answered, why).await
    }

    /// Answers a `HEAD` for something that is not kept: from a transfer under way, from the size that the plan names, or by asking.
    async fn describe(&self, artifact: &Artifact) -> Result<Found, Failure> {
        let key = &artifact.lookup.key;
        let running = self.fills.find(key).and_then(|reader| {
            let opened = reader.fill().opened()?;
            Some(followed(reader, &opened, true))
        });
        if let Some(found) = running {
            return Ok(found);
        }
        if let Some(size) = artifact.size {
            let status = CacheStatus::hit().with_detail("metadata");
            let head = Head::new(StatusCode::OK);
            let trace = trace(status, self.clock.now());
            return Ok(Found { head, source: Source::Unread(size), trace });
        }
        let asked = ask(self, &artifact.lookup, |request| {
            through::prepare(request);
            request.method = Method::HEAD;
        });
        let asked = match asked.await {
            // Where the way leads over a signed link: most are good for `GET` alone.
            Err(Failure::Refused { .. }) => {
                ask(self, &artifact.lookup, |request| {
                    through::prepare(request);
                    let one_byte = http::HeaderValue::from_static("bytes=0-0");
                    request.headers.insert(http::header::RANGE, one_byte);
                })
                .await
            }
            asked => asked,
        };
        let answered = asked.inspect_err(|failure| {
            if matches!(failure, Failure::Absent) {
                self.note_absent(key);
            }
        })?;
        let upstream = &answered.response;
        let mut status = CacheStatus::forwarded(Forward::UriMiss);
        status.forward_status = Some(upstream.head.status.as_u16());
        let mut trace = trace(status, self.clock.now());
        trace.upstream_ms = u64::try_from(upstream.elapsed.as_millis()).ok();
        let length = match upstream.head.status {
            StatusCode::PARTIAL_CONTENT => fill::as_whole(&upstream.head).content_length(),
            _ => upstream.head.content_length(),
        };
        let source = match length {
            Some(size) => Source::Unread(size),
            None => {
                Source::stream(futures_util::StreamExt::boxed(futures_util::stream::empty()), None)
            }
        };
        let head = Head { status: StatusCode::OK, headers: answered.accepted.headers };
        Ok(Found { head, source, trace })
    }

    fn is_absent(&self, key: &CacheKey) -> bool {
        self.artifacts.absent.get(key).is_some_and(|until| self.clock.now() < until)
    }

    fn note_absent(&self, key: &CacheKey) {
        let until = self.clock.now().plus(self.config.absent_for);
        self.artifacts.absent.insert(key.clone(), until);
    }
}

/// The answer of those who follow a fill.
fn followed(reader: Reader, opened: &Opened, collapsed: bool) -> Found {
    let status = CacheStatus {
        forward_status: Some(opened.status),
        stored: opened.obstacle.is_none(),
        collapsed,
        detail: opened.obstacle,
        ..CacheStatus::forwarded(Forward::UriMiss)
    };
    let mut trace = trace(status, opened.opened);
    if !collapsed {
        trace.upstream_ms = u64::try_from(opened.elapsed.as_millis()).ok();
    }
    Found { head: opened.head.clone(), source: Source::Fill(reader), trace }
}

fn trace(status: CacheStatus, validated: Timestamp) -> Trace {
    Trace {
        status,
        upstream_ms: None,
        validated,
        presence: Presence::Present,
        age_secs: None,
        stale: false,
    }
}

fn with_detail(mut found: Found, detail: &'static str) -> Found {
    found.trace.status.detail.get_or_insert(detail);
    found
}
