//! A fill of an answer that is there already: somebody else asked for it and judged it, and nothing promises a digest.
//!
//! What an exchange keeps comes this way. The answer's framing says when it is whole; a transfer that breaks is resumed like any other, where
//! a validator tells that the rest belongs to it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderValue, header};

use crate::cache::Parts;
use crate::cache::artifact::seal;
use crate::cache::failure::Failure;
use crate::cache::fill::Fill;
use crate::cache::fill::identity::{Identity, Ranges};
use crate::cache::fill::map::Map;
use crate::cache::fill::pump::{Pump, Source};
use crate::cache::fill::release::Promise;
use crate::cache::fill::sink::{Limits, Sink, off_worker};
use crate::cache::fill::state::{Ending, Opened};
use crate::cache::fill::transfer::Break;
use crate::cache::fill::verify::{Verifier, VerifyError};
use crate::store::{Partial, Progress, ReadAt, StoreError, Stored};
use crate::types::{CacheKey, Head};
use crate::upstream::{OriginBody, OriginRequest};

/// An answer to be taken in.
pub(crate) struct Adoption {
    /// Under which its partial body lies.
    pub(crate) key: CacheKey,
    /// What was asked, without preconditions: the rest is asked for by it when the transfer breaks.
    pub(crate) request: OriginRequest,
    pub(crate) head: Head,
    pub(crate) elapsed: Duration,
    pub(crate) body: OriginBody,
}

/// What became of it.
pub(crate) enum Adopted {
    /// Readers may follow `fill`, which goes on while `stored` is awaited. That says in the end where the body lies; `None` when there is nothing to
    /// keep.
    Filling { fill: Arc<Fill>, stored: BoxFuture<'static, Option<Stored>> },
    /// It cannot be kept, and passes through; why, as a `Cache-Status` detail.
    Through { body: OriginBody, why: &'static str },
}

/// Takes an answer in.
pub(crate) async fn adopt(parts: &Arc<Parts>, adoption: Adoption) -> Adopted {
    let identity = Identity::of(&adoption.head);
    let partial = match reserve(parts, &adoption.key, identity.total).await {
        Ok(partial) => partial,
        Err(error) => {
            tracing::warn!(cache.key = %adoption.key, %error, "serving without keeping");
            let why = match error {
                StoreError::Full => "disk-full",
                StoreError::Busy(_) => "busy",
                _ => "store-failed",
            };
            return Adopted::Through { body: adoption.body, why };
        }
    };
    let Adoption { key, mut request, head, elapsed, body } = adoption;
    // The rest of a body must be in the coding in which it began.
    request.headers.entry(header::ACCEPT_ENCODING).or_insert(IDENTITY);
    let fill = Fill::new(key, false, false);
    let note = Progress {
        prefix: 0,
        total: identity.total,
        etag: identity.etag.clone(),
        last_modified: identity.last_modified.clone(),
        promised: Vec::new(),
        origin: request.display_address(),
    };
    let verifier = Verifier::new(Vec::new(), identity.total, None);
    let limits = Limits::of(&parts.config);
    let sink = Sink::new(&fill, Arc::clone(&partial), verifier, Promise::None, note, limits);
    let ranges = Ranges::of(&head);
    let status = head.status.as_u16();
    let opened = Opened { head, status, elapsed, opened: parts.clock.now(), obstacle: None };
    let map = Map::new(identity.total, 0);
    fill.change(|state| state.open(opened, partial, map, Promise::None, None));
    let source = Source {
        request,
        shortcut: Arc::default(),
        identity,
        ranges,
        promise: Promise::None,
        start: 0,
    };
    let pump = Pump::new(Arc::clone(parts), Arc::clone(&sink), source);
    let stored = bring(Arc::clone(parts), pump, sink, body).boxed();
    Adopted::Filling { fill, stored }
}

const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// Opens the partial body of `key` and makes room in it. Notes of an earlier transfer are of no use: this answer begins anew.
async fn reserve(
    parts: &Parts,
    key: &CacheKey,
    length: Option<u64>,
) -> Result<Arc<dyn Partial>, StoreError> {
    let (store, key) = (Arc::clone(&parts.store), key.clone());
    off_worker(move || {
        let partial = store.partial(&key)?;
        if let Some(length) = length {
            partial.reserve(length)?;
        }
        Ok(partial)
    })
    .await
}

/// Brings the body to its end and makes it durable. Given up, it leaves nothing behind.
async fn bring(parts: Arc<Parts>, pump: Pump, sink: Arc<Sink>, body: OriginBody) -> Option<Stored> {
    let fill = Arc::clone(&sink.fill);
    let outcome = tokio::select! {
        outcome = pump.run(body) => outcome,
        () = fill.abandoned(parts.config.abandon_after) => Err(Break::End(Ending::Again)),
        () = parts.stop.cancelled() => {
            let failure = Failure::Store("Larder is shutting down".to_owned());
            Err(Break::End(Ending::Failed(failure)))
        }
    };
    let ending = match outcome {
        Ok(()) => Ending::Verified,
        Err(Break::End(ending)) => ending,
        Err(Break::Wrong(fault, failure)) => {
            tracing::warn!(
                cache.key = %fill.key, fill.fault = ?fault, error = %failure,
                "a body could not be completed"
            );
            Ending::Failed(failure)
        }
    };
    let whole = matches!(ending, Ending::Verified) && !fill.lock().has_overflowed();
    fill.end(ending);
    let sealed = off_worker(move || if whole { seal_whole(&sink) } else { discard(&sink) }).await;
    match sealed {
        Ok(sealed) => sealed.map(|(stored, file)| {
            fill.swap_file(file);
            stored
        }),
        Err(error) => {
            tracing::error!(cache.key = %fill.key, %error, "a complete body could not be kept");
            None
        }
    }
}

type Sealed = Option<(Stored, Arc<dyn ReadAt>)>;

fn seal_whole(sink: &Sink) -> Result<Sealed, StoreError> {
    let length = sink.fill.total().expect("a complete body has a length");
    let verified = sink.finish(length).map_err(|error| match error {
        VerifyError::Read(error) => StoreError::io("reading a body back", error),
        VerifyError::Mismatch(_) | VerifyError::Refused(_) => {
            unreachable!("nothing was promised, and nobody looked")
        }
    })?;
    seal(sink.partial.as_ref(), &verified).map(Some)
}

fn discard(sink: &Sink) -> Result<Sealed, StoreError> {
    sink.partial.discard();
    Ok(None)
}
