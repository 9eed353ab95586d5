//! Writes down what a fill brought: bytes durable, then the entry.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use crate::cache::Parts;
use crate::cache::fill::{Complete, Fill, Verified};
use crate::cache::lookup::Artifact;
use crate::cache::verdicts::InMemory;
use crate::store::{Change, Entry, INLINE_LIMIT_BYTES, Partial, ReadAt, StoreError, Stored};
use crate::types::{Head, Presence};

/// Seals a verified body and commits its entry. Readers do not wait for it: when it fails, they still finish, and the next
/// request fetches again.
pub(crate) async fn keep(parts: &Parts, artifact: &Artifact, fill: &Fill, complete: Complete) {
    let Complete { partial, accepted, origin, verified } = complete;
    let Some(verified) = verified else { return };
    let sealing = verified.clone();
    let sealed = tokio::task::spawn_blocking(move || seal(partial.as_ref(), &sealing)).await;
    let key = &artifact.lookup.key;
    let committed = match sealed {
        Ok(Ok((body, file))) => {
            fill.swap_file(file);
            let now = parts.clock.now();
            let Verified { blob, mut digests, .. } = verified;
            if body.blob().is_none() {
                digests.push(blob.digest());
            }
            let entry = Arc::new(Entry {
                head: Head { status: StatusCode::OK, headers: accepted.headers },
                body,
                origin,
                first_kept: now,
                validated: now,
                fresh_until: now.plus(accepted.fresh_for),
                presence: Presence::Present,
                digests,
                note: Bytes::new(),
            });
            let put = Change::Put { key: key.clone(), entry };
            parts.artifacts.hot.invalidate(key);
            parts.store.commit(vec![put]).await
        }
        Ok(Err(error)) => Err(error),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    };
    parts.artifacts.absent.invalidate(key);
    parts.edition.turn();
    match committed {
        Ok(()) => tracing::debug!(cache.key = %key, "kept"),
        Err(error) => {
            metrics::counter!("larder_fill_failures_total", "kind" => "not-kept").increment(1);
            tracing::error!(cache.key = %key, %error, "a verified body could not be kept");
        }
    }
}

/// Makes the body durable: a small one goes into the entry itself, any other becomes a blob. Also returns where readers go on.
pub(crate) fn seal(
    partial: &dyn Partial,
    verified: &Verified,
) -> Result<(Stored, Arc<dyn ReadAt>), StoreError> {
    let Verified { blob, length, .. } = *verified;
    if length > INLINE_LIMIT_BYTES as u64 {
        let file = partial.seal(blob, length)?;
        return Ok((Stored::Blob { id: blob, size: length }, file));
    }
    let mut body = Vec::with_capacity(INLINE_LIMIT_BYTES);
    while (body.len() as u64) < length {
        let missing = usize::try_from(length).unwrap_or(INLINE_LIMIT_BYTES) - body.len();
        let chunk = partial
            .read(body.len() as u64, missing)
            .map_err(|error| StoreError::io("reading a small body back", error))?;
        if chunk.is_empty() {
            return Err(StoreError::io(
                "reading a small body back",
                std::io::ErrorKind::UnexpectedEof.into(),
            ));
        }
        body.extend_from_slice(&chunk);
    }
    partial.discard();
    let body = Bytes::from(body);
    Ok((Stored::Inline(body.clone()), Arc::new(InMemory(body))))
}
