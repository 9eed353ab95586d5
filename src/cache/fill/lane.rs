//! A lane: one upstream body, gathered into batches and put where it belongs.
//!
//! While one batch is written and hashed off the async workers, the next is gathered. The first one waits for nothing, so that the first byte
//! leaves at once; a later one waits a moment to become worth a write, a hop between threads and the waking of every reader.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::StreamExt;
use http::header::RANGE;
use tokio::time::{self, Instant};
use url::Url;

use crate::cache::fill::identity::{Continuation, Identity};
use crate::cache::fill::map::LaneId;
use crate::cache::fill::sink::{Refused, Sink};
use crate::upstream::{Connection, OriginBody, OriginRequest, Upstream, UpstreamError};

/// A batch is put when it is this large, and grows no larger than [`MOST_BATCH_BYTES`] while the one before it is put. More gains nothing: a
/// batch is hashed while the processor still has it at hand.
const BATCH_BYTES: usize = 256 << 10;
const MOST_BATCH_BYTES: usize = 512 << 10;

/// How long a smaller batch waits. Fifty readers of a slow origin would otherwise be woken for every packet.
const LINGER: Duration = Duration::from_millis(4);

/// One upstream body on its way into a sink.
pub(super) struct Lane {
    pub(super) id: LaneId,
    pub(super) sink: Arc<Sink>,
    /// Where its first byte belongs.
    pub(super) at: u64,
    /// Bytes to pass over first: the origin sent the whole body again.
    pub(super) skip: u64,
}

/// Where redirects led, while that is good: asked first for further parts, so that whoever redirects is not asked for each.
pub(super) type Shortcut = Arc<Mutex<Option<Url>>>;

/// A further request for a part of the body.
pub(super) struct Errand {
    pub(super) upstream: Arc<dyn Upstream>,
    pub(super) request: OriginRequest,
    pub(super) shortcut: Shortcut,
    pub(super) identity: Identity,
    pub(super) promised: bool,
    /// Where the part ends, when it is not the end of the body.
    pub(super) last: Option<u64>,
    /// Before asking, after a failure.
    pub(super) pause: Duration,
    pub(super) why: Why,
}

/// What a further request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The transfer cannot go on without it.
    Gap,
    /// A reader is ahead; it can wait when the origin has no ranges.
    Ahead,
    /// It comes next, and another lane would bring it later.
    Beside,
}

/// How a lane ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// At the end of what it had claimed.
    Filled,
    /// At the clean end of its body, before that; at this offset.
    Ended(u64),
    Broken(UpstreamError),
    /// A further request was answered with a status that has no body for us.
    Status(u16),
    /// The origin has no ranges.
    NoRanges,
    /// Another body than before.
    Changed(String),
    /// More than was announced.
    TooLong,
    Refused(Refused),
}

/// A lane that ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) lane: LaneId,
    pub(super) outcome: Outcome,
}

impl Lane {
    /// Asks for a part and brings it.
    pub(super) async fn fetch(mut self, errand: Errand) -> Ended {
        let lane = self.id;
        match self.ask(errand).await {
            Ok(body) => self.run(body).await,
            Err(outcome) => Ended { lane, outcome },
        }
    }

    async fn ask(&mut self, errand: Errand) -> Result<OriginBody, Outcome> {
        let Errand { upstream, mut request, shortcut, identity, promised, last, pause, why } =
            errand;
        if !pause.is_zero() {
            time::sleep(pause).await;
        }
        if self.at > 0 || last.is_some() {
            identity.ask_for(&mut request, self.at, last);
        }
        if why == Why::Beside {
            request.connection = Connection::Own;
        }
        let direct = known(&shortcut).clone().filter(|_| request.headers.contains_key(RANGE));
        if let Some(url) = direct {
            let asked = upstream.send(OriginRequest { url, ..request.clone() }).await;
            if let Ok(response) = asked
                && identity.continues(&response.head, self.at, promised) == Continuation::Part
            {
                return Ok(response.body);
            }
            // It does not lead there any more: the way begins at the front door again.
            known(&shortcut).take();
        }
        let front = request.url.clone();
        let response = upstream.send(request).await.map_err(Outcome::Broken)?;
        if response.url != front {
            *known(&shortcut) = Some(response.url);
        }
        match identity.continues(&response.head, self.at, promised) {
            Continuation::Part => Ok(response.body),
            Continuation::Whole if self.at == 0 => Ok(response.body),
            Continuation::Whole if why != Why::Gap => Err(Outcome::NoRanges),
            Continuation::Whole => {
                self.skip = self.at;
                Ok(response.body)
            }
            Continuation::Changed(_) if why != Why::Gap && response.head.status == 200 => {
                Err(Outcome::NoRanges)
            }
            Continuation::Changed(how) => Err(Outcome::Changed(how)),
            Continuation::Status(status) => Err(Outcome::Status(status)),
        }
    }

    /// Brings `body` up to the end of the lane's claim, which may move while it runs.
    pub(super) async fn run(self, body: OriginBody) -> Ended {
        let lane = self.id;
        let outcome = match self.drain(body).await {
            Ok(outcome) | Err(outcome) => outcome,
        };
        Ended { lane, outcome }
    }

    async fn drain(mut self, mut body: OriginBody) -> Result<Outcome, Outcome> {
        let mut batch = Batch::default();
        let mut putting: Option<Putting> = None;
        let mut last: Option<Outcome> = None;
        let mut is_first = true;
        let mut lingering = pin!(time::sleep(Duration::ZERO));
        while last.is_none() {
            let is_new = batch.bytes == 0;
            tokio::select! {
                biased;
                put = finished(&mut putting), if putting.is_some() => {
                    putting = None;
                    put.map_err(Outcome::Refused)?;
                }
                item = body.next(), if batch.bytes < MOST_BATCH_BYTES => {
                    last = self.take(item, &mut batch);
                }
                () = lingering.as_mut(), if putting.is_none() && !is_new => batch.is_due = true,
            }
            while last.is_none()
                && batch.bytes < BATCH_BYTES
                && let Some(item) = body.next().now_or_never()
            {
                last = self.take(item, &mut batch);
            }
            if is_new && batch.bytes > 0 {
                batch.is_due = std::mem::take(&mut is_first);
                lingering.as_mut().reset(Instant::now() + LINGER);
            }
            if putting.is_none() && batch.is_ready() {
                putting = Some(self.put(&mut batch));
            }
        }
        // An answer that is not wanted any further is let go of before its last bytes are written down: the origin would go on sending.
        let mut rest = self.is_at_end().then_some(body);
        if putting.is_some() {
            finished(&mut putting).await.map_err(Outcome::Refused)?;
        }
        if batch.bytes > 0 {
            self.put(&mut batch).await.map_err(Outcome::Refused)?;
        }
        match last.unwrap_or(Outcome::Filled) {
            Outcome::Filled if rest.as_mut().is_some_and(has_more) => Ok(Outcome::TooLong),
            last => Ok(last),
        }
    }

    /// Adds an item of the body to the batch; tells when it was the last that counts.
    fn take(
        &mut self,
        item: Option<Result<Bytes, UpstreamError>>,
        batch: &mut Batch,
    ) -> Option<Outcome> {
        let mut chunk = match item {
            None => return Some(Outcome::Ended(self.at + batch.bytes as u64)),
            Some(Err(error)) => return Some(Outcome::Broken(error)),
            Some(Ok(chunk)) => chunk,
        };
        let passed = chunk.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
        let _ = chunk.split_to(passed);
        self.skip -= passed as u64;
        let claim = self.sink.fill.lock().map.claim_of(self.id);
        let room = claim.end.saturating_sub(self.at + batch.bytes as u64);
        let length = chunk.len() as u64;
        if length > room && claim.is_last {
            return Some(Outcome::TooLong);
        }
        chunk.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        batch.push(chunk);
        (length >= room).then_some(Outcome::Filled)
    }

    /// Whether the lane's claim ends where the body does.
    fn is_at_end(&self) -> bool {
        self.sink.fill.lock().map.claim_of(self.id).is_last
    }

    fn put(&mut self, batch: &mut Batch) -> Putting {
        let Batch { chunks, bytes, .. } = std::mem::take(batch);
        let offset = self.at;
        self.at += bytes as u64;
        Arc::clone(&self.sink).put(self.id, offset, chunks).boxed()
    }
}

fn known(shortcut: &Shortcut) -> MutexGuard<'_, Option<Url>> {
    shortcut.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether something follows the last byte that was announced. Only what is there already is looked at: a digest or the framing has the
/// last word.
fn has_more(body: &mut OriginBody) -> bool {
    matches!(body.next().now_or_never(), Some(Some(Ok(chunk))) if !chunk.is_empty())
}

async fn finished(putting: &mut Option<Putting>) -> Result<(), Refused> {
    match putting {
        Some(put) => put.await,
        None => std::future::pending().await,
    }
}

type Putting = BoxFuture<'static, Result<(), Refused>>;

/// Chunks gathered and not yet put.
#[derive(Default)]
struct Batch {
    chunks: Vec<Bytes>,
    bytes: usize,
    /// It has waited long enough.
    is_due: bool,
}

impl Batch {
    fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.bytes += chunk.len();
            self.chunks.push(chunk);
        }
    }

    const fn is_ready(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.is_due
    }
}
