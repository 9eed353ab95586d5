//! What is kept of an artifact: under its key, or under another one with the promised digest.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::cache::Parts;
use crate::cache::artifact::trace;
use crate::cache::failure::Failure;
use crate::cache::fill::verify_at_rest;
use crate::cache::found::{Found, Source};
use crate::cache::lookup::{Artifact, Nature};
use crate::cache::verdicts::{AtRest, Effort, InMemory};
use crate::semantics::cache_status::CacheStatus;
use crate::semantics::warning::warn;
use crate::store::{Change, Entry, ReadAt, Stored};
use crate::types::{Algorithm, BlobId, Digest, Head, Timestamp};

/// Bodies up to this size are kept in memory while they are asked for.
const HOT_BYTES: u64 = 256 << 10;

/// An entry in memory, with its body.
#[derive(Debug)]
pub(crate) struct Hot {
    entry: Arc<Entry>,
    /// As what it was judged.
    nature: Nature,
    body: Bytes,
}

impl Hot {
    /// What it costs, in bytes, about.
    pub(super) fn weight(&self) -> usize {
        self.body.len() + self.entry.head.headers.len() * 64 + 512
    }
}

/// What there is under a key.
pub(super) enum Kept {
    Right(Box<Found>),
    /// Other bytes than are promised now.
    Mutated,
    Missing,
    /// What is in it may not pass, or nobody could find out.
    Barred(Failure),
}

/// How kept digests stand to the promised ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Agreement {
    Agrees,
    Disagrees,
    /// None of the same algorithm was ever computed.
    Unknown,
}

/// What is kept under another key, or why it may not be had.
type Adopted = Result<Found, Failure>;

/// Whether an artifact is there to be served, as far as can be told without reading it.
pub(crate) fn is_kept(parts: &Parts, artifact: &Artifact) -> bool {
    let Ok(Some(entry)) = parts.store.get(&artifact.lookup.key) else { return false };
    agreement(&entry, &artifact.digests) == Agreement::Agrees
        && entry.body.blob().is_none_or(|blob| matches!(parts.store.open(blob), Ok(Some(_))))
}

impl Parts {
    /// What is kept under the artifact's key, if it is what is promised. Trouble with the store counts as nothing kept.
    pub(super) async fn kept(&self, artifact: &Artifact, effort: Effort) -> Kept {
        let key = &artifact.lookup.key;
        if let Some(hot) = self.artifacts.hot.get(key)
            && hot.nature == artifact.nature
            && agreement(&hot.entry, &artifact.digests) == Agreement::Agrees
        {
            if let Some(blob) = hot.entry.body.blob() {
                self.store.touch(blob);
            }
            return Kept::Right(Box::new(self.hit(&hot.entry, Source::Memory(hot.body.clone()))));
        }
        let entry = match self.store.get(key) {
            Ok(Some(entry)) => entry,
            Ok(None) => return Kept::Missing,
            Err(error) => {
                tracing::warn!(cache.key = %key, %error, "the index could not be read");
                return Kept::Missing;
            }
        };
        match agreement(&entry, &artifact.digests) {
            Agreement::Agrees => self.read_kept(artifact, entry, effort).await,
            Agreement::Disagrees => self.mutated(artifact),
            Agreement::Unknown => self.vouch(artifact, &entry, effort).await,
        }
    }

    /// What is kept under any key and has a digest that is promised here. The caller has settled that this reader may have it; the digest
    /// must be one that nobody can forge.
    pub(super) async fn adopt(&self, artifact: &Artifact, effort: Effort) -> Option<Adopted> {
        let strong = artifact.digests.iter().filter(|digest| is_collision_resistant(digest));
        let (digest, blob) = strong.into_iter().find_map(|digest| {
            let blob = digest.blob_id().or_else(|| self.store.resolve(digest).ok().flatten())?;
            Some((*digest, blob))
        })?;
        let reader = self.store.open(blob).ok().flatten()?;
        let measured = Arc::clone(&reader);
        let named = artifact.size;
        let size = tokio::task::spawn_blocking(move || length_of(measured.as_ref(), named));
        let size = size.await.ok()?.ok()?;
        let kept = AtRest { digest: blob.digest(), reader: Arc::clone(&reader), size };
        let warning = match self.judged(artifact, kept, effort).await {
            Ok(warning) => warning,
            Err(failure) => return Some(Err(failure)),
        };
        let entry = Arc::new(Entry {
            digests: [digest].into_iter().filter(|digest| digest.blob_id().is_none()).collect(),
            ..Entry::new(Stored::Blob { id: blob, size }, self.clock.now())
        });
        let key = artifact.lookup.key.clone();
        let put = Change::Put { key, entry: Arc::clone(&entry) };
        if let Err(error) = self.store.commit(vec![put]).await {
            tracing::warn!(cache.key = %artifact.lookup.key, %error, "a blob was served but not filed again");
        }
        self.store.touch(blob);
        let mut found = self.hit(&entry, Source::Blob { reader, size });
        found.trace.status.detail = Some("adopted");
        mark(&mut found.head, warning.as_deref());
        Some(Ok(found))
    }

    /// Serves an entry from its row, from memory, or from its blob. An entry whose blob is gone is a miss that heals.
    async fn read_kept(&self, artifact: &Artifact, mut entry: Arc<Entry>, effort: Effort) -> Kept {
        let (blob, size) = match &entry.body {
            Stored::None => return Kept::Missing,
            Stored::Inline(body) => {
                let body = body.clone();
                let kept = AtRest::in_memory(body.clone());
                return match self.judged(artifact, kept, effort).await {
                    Ok(warning) => {
                        let entry = marked(entry, warning.as_deref());
                        Kept::Right(Box::new(self.warm(artifact, &entry, body, effort)))
                    }
                    Err(failure) => Kept::Barred(failure),
                };
            }
            Stored::Blob { id, size } => (*id, *size),
        };
        let reader = match self.store.open(blob) {
            Ok(Some(reader)) => reader,
            Ok(None) => return Kept::Missing,
            Err(error) => {
                tracing::warn!(cache.key = %artifact.lookup.key, %error, "a blob could not be opened");
                return Kept::Missing;
            }
        };
        self.store.touch(blob);
        let kept = AtRest { digest: blob.digest(), reader: Arc::clone(&reader), size };
        match self.judged(artifact, kept, effort).await {
            Ok(warning) => entry = marked(entry, warning.as_deref()),
            Err(failure) => return Kept::Barred(failure),
        }
        if size > HOT_BYTES {
            return Kept::Right(Box::new(self.hit(&entry, Source::Blob { reader, size })));
        }
        match read_whole(reader, size).await {
            // It may be served from memory for long, so it is worth a look.
            Ok(body) if BlobId::of(&body) != blob => {
                tracing::error!(cache.key = %artifact.lookup.key, blob = %blob, "a blob is damaged");
                self.store.suspect(blob).await;
                Kept::Missing
            }
            Ok(body) => Kept::Right(Box::new(self.warm(artifact, &entry, body, effort))),
            Err(error) => {
                tracing::warn!(cache.key = %artifact.lookup.key, %error, "a blob could not be read");
                Kept::Missing
            }
        }
    }

    /// Judges what is kept. What speaks against an artifact that is excepted is only said.
    async fn judged(
        &self,
        artifact: &Artifact,
        kept: AtRest,
        effort: Effort,
    ) -> Result<Option<String>, Failure> {
        match self.judge_kept(artifact.nature, kept, effort).await {
            Err(Failure::Unsafe { reason }) if artifact.is_excepted => Ok(Some(reason)),
            judged => judged,
        }
    }

    /// Serves a small body, and keeps it in memory once it was judged: from there it is served unasked, to those, too, whom no waiver excepts.
    fn warm(&self, artifact: &Artifact, entry: &Arc<Entry>, body: Bytes, effort: Effort) -> Found {
        if effort == Effort::Look && !artifact.is_excepted {
            let (entry, nature) = (Arc::clone(entry), artifact.nature);
            let hot = Hot { entry, nature, body: body.clone() };
            self.artifacts.hot.insert(artifact.lookup.key.clone(), Arc::new(hot));
        }
        self.hit(entry, Source::Memory(body))
    }

    fn hit(&self, entry: &Entry, source: Source) -> Found {
        let now = self.clock.now();
        let mut trace = trace(CacheStatus::hit(), entry.validated);
        trace.presence = entry.presence;
        trace.stale = entry.fresh_until < now;
        if entry.fresh_until != Timestamp::NEVER {
            let ttl = i128::from(entry.fresh_until.secs()) - i128::from(now.secs());
            trace.status.ttl_secs = i64::try_from(ttl).ok();
        }
        Found { head: entry.head.clone(), source, trace }
    }

    fn mutated(&self, artifact: &Artifact) -> Kept {
        metrics::counter!("larder_artifacts_mutated_total").increment(1);
        tracing::warn!(
            cache.key = %artifact.lookup.key,
            "upstream names another digest than that of what is kept; it is fetched again"
        );
        self.artifacts.hot.invalidate(&artifact.lookup.key);
        self.edition.turn();
        Kept::Mutated
    }

    /// Computes the digests that are promised now and were not when the entry was kept, and notes them.
    async fn vouch(&self, artifact: &Artifact, entry: &Arc<Entry>, effort: Effort) -> Kept {
        let size = entry.body.len();
        let reader: Arc<dyn ReadAt> = match &entry.body {
            Stored::None => return Kept::Missing,
            Stored::Inline(body) => Arc::new(InMemory(body.clone())),
            Stored::Blob { id, .. } => match self.store.open(*id) {
                Ok(Some(reader)) => reader,
                Ok(None) | Err(_) => return Kept::Missing,
            },
        };
        let promised = artifact.digests.clone();
        let hashing =
            tokio::task::spawn_blocking(move || verify_at_rest(reader.as_ref(), size, promised));
        let Ok(Ok(digests)) = hashing.await else { return self.mutated(artifact) };
        let mut vouched = Entry::clone(entry);
        for digest in digests {
            if !vouched.digests.contains(&digest) {
                vouched.digests.push(digest);
            }
        }
        let vouched = Arc::new(vouched);
        let put = Change::Put { key: artifact.lookup.key.clone(), entry: Arc::clone(&vouched) };
        if let Err(error) = self.store.commit(vec![put]).await {
            tracing::warn!(cache.key = %artifact.lookup.key, %error, "a digest was not noted");
        }
        self.read_kept(artifact, vouched, effort).await
    }
}

/// Says in an answer's head what speaks against its body.
fn mark(head: &mut Head, warning: Option<&str>) {
    let Some(reason) = warning else { return };
    warn(&mut head.headers, reason);
}

fn marked(entry: Arc<Entry>, warning: Option<&str>) -> Arc<Entry> {
    if warning.is_none() {
        return entry;
    }
    let mut marked = Entry::clone(&entry);
    mark(&mut marked.head, warning);
    Arc::new(marked)
}

fn agreement(entry: &Entry, promised: &[Digest]) -> Agreement {
    if promised.is_empty() {
        return Agreement::Agrees;
    }
    let blob = entry.body.blob().map(BlobId::digest);
    let mut outcome = Agreement::Unknown;
    for expected in promised {
        let known = entry.digests.iter().chain(&blob);
        for kept in known.filter(|kept| kept.algorithm() == expected.algorithm()) {
            if kept != expected {
                return Agreement::Disagrees;
            }
            outcome = Agreement::Agrees;
        }
    }
    outcome
}

/// Whether two bodies with this digest are the same body for all that is known: no MD5, no SHA-1.
fn is_collision_resistant(digest: &Digest) -> bool {
    digest.algorithm() >= Algorithm::Sha224
}

async fn read_whole(reader: Arc<dyn ReadAt>, size: u64) -> io::Result<Bytes> {
    let length = usize::try_from(size).unwrap_or(usize::MAX);
    if let Some(body) = reader.try_read(0, length)?.filter(|body| body.len() == length) {
        return Ok(body);
    }
    let reading = tokio::task::spawn_blocking(move || {
        let mut body = BytesMut::with_capacity(length);
        while body.len() < length {
            match reader.read(body.len() as u64, length - body.len())? {
                chunk if chunk.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
                chunk => body.extend_from_slice(&chunk),
            }
        }
        Ok(body.freeze())
    });
    reading.await.map_err(io::Error::other)?
}

/// The length of a blob: the one that is named when it fits, else found by halving. Blocking.
fn length_of(reader: &dyn ReadAt, named: Option<u64>) -> io::Result<u64> {
    let has = |offset: u64| reader.read(offset, 1).map(|byte| !byte.is_empty());
    if let Some(size) = named
        && !has(size)?
        && (size == 0 || has(size - 1)?)
    {
        return Ok(size);
    }
    let (mut low, mut high) = (0, 1_u64);
    while has(high - 1)? {
        low = high;
        high = high.saturating_mul(2);
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if has(middle - 1)? { low = middle } else { high = middle }
    }
    Ok(low)
}
