//! Reads a bundle: nothing of it is believed before its signature is right, and no entry is filed before its body is durable and what its digests say.
//!
//! What is kept already and as new stays. What comes is filed body by body, so that an import that was interrupted goes on where it was when it is
//! run again. A body that is not what its name says is refused by name, with everything that would be answered from it, and the rest goes on; a part whose
//! signature is wrong ends the import.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::bundle::archive::{ArchiveError, Member, Reader, Source};
use crate::bundle::export::Audiences;
use crate::bundle::key::PublicKey;
use crate::bundle::record::{BEGIN, BLOBS, Begin, END, End, FORMAT, Record, SIGNATURE, part_name};
use crate::store::{Change, Entry, Partial, ReadAt, Store, StoreError, Stored};
use crate::types::{Algorithm, Audience, BlobId, CacheKey, Digest, Hasher};

/// The largest member that is no body.
const MEMBER_LIMIT_BYTES: u64 = 16 << 20;

/// What is written of a body at once.
const WRITE_BYTES: usize = 1 << 20;

/// Forgets what memory holds of entries that were written behind its back.
pub type Forget = Arc<dyn Fn(&[CacheKey]) + Send + Sync>;

/// An import, ready to run.
pub struct Import {
    pub store: Arc<dyn Store>,
    /// Whose bundles are believed.
    pub trusted: Vec<PublicKey>,
    pub audiences: Audiences,
    /// The spaces of the mounts that there are.
    pub spaces: BTreeSet<String>,
    pub forget: Forget,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub bundle: String,
    /// Entries filed, and those that were kept and as new already.
    pub new: u64,
    pub kept: u64,
    /// Bodies that came, and their bytes.
    pub blobs: u64,
    pub bytes: u64,
    /// Entries that are not for everybody, and were left out because nobody said to take them.
    pub withheld: u64,
    /// Entries of mounts that are not there, which were left out.
    pub unmounted: u64,
    /// What is not what its name or its digests say.
    pub refused: Vec<String>,
}

/// Why an import did not come to its end. What it had filed before stays, and is right.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("the bundle cannot be read: {0}")]
    Archive(#[from] ArchiveError),
    #[error(
        "the bundle is signed by {0}, which is not trusted: make sure by another way that this is the key of the Larder it is from, and name it with --trust"
    )]
    Untrusted(PublicKey),
    #[error("{0} of the bundle is not what was signed")]
    Forged(String),
    #[error("the bundle cannot be used: {0}")]
    Unusable(String),
    #[error("the bundle cannot be kept")]
    Store(#[from] StoreError),
}

impl Import {
    /// Files everything that comes.
    pub async fn run(self, source: Source) -> Result<Report, (ImportError, Report)> {
        let mut reader = Reader::new(source);
        let mut work = Work {
            import: &self,
            report: Report::default(),
            pending: Pending::default(),
            seen: End::default(),
        };
        let outcome = work.run(&mut reader).await;
        let report = work.report;
        match outcome {
            Ok(()) => Ok(report),
            Err(error) => {
                // Whoever sends it hears of it only when all was sent.
                reader.drain().await;
                Err((error, report))
            }
        }
    }
}

impl std::fmt::Debug for Import {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Import").field("trusted", &self.trusted).finish_non_exhaustive()
    }
}

struct Work<'a> {
    import: &'a Import,
    report: Report,
    pending: Pending,
    seen: End,
}

/// What a part named and is not filed yet.
#[derive(Default)]
struct Pending {
    part: String,
    /// Bodies that the part is the first to name, with their lengths.
    named: BTreeMap<BlobId, u64>,
    /// Entries that wait for a body.
    waiting: BTreeMap<BlobId, Vec<(CacheKey, Entry)>>,
    /// Entries that are filed behind those: what names others comes last.
    last: Vec<(CacheKey, Entry)>,
}

impl Work<'_> {
    async fn run(&mut self, reader: &mut Reader) -> Result<(), ImportError> {
        let begin = self.begin(reader).await?;
        self.report.bundle.clone_from(&begin.id);
        loop {
            let Some(member) = reader.next().await? else {
                return Err(ArchiveError::Truncated(self.pending.part.clone()).into());
            };
            match member.name.strip_prefix(BLOBS) {
                Some(name) => self.blob(reader, name, member.bytes).await?,
                None if member.name == END => {
                    let content = signed(reader, &begin, &member).await?;
                    self.finish().await?;
                    self.check_end(&content)?;
                    return match reader.next().await? {
                        None => Ok(()),
                        Some(more) => {
                            let fault = format!("{} comes behind its end", more.name);
                            Err(ArchiveError::Malformed(fault).into())
                        }
                    };
                }
                None if member.name == part_name(self.seen.parts + 1) => {
                    let content = signed(reader, &begin, &member).await?;
                    self.finish().await?;
                    self.part(&member.name, &content).await?;
                }
                None => {
                    let fault =
                        format!("{} is not what comes behind {}", member.name, self.pending.part);
                    return Err(ArchiveError::Malformed(fault).into());
                }
            }
        }
    }

    async fn begin(&mut self, reader: &mut Reader) -> Result<Begin, ImportError> {
        let first = reader.next().await?.filter(|member| member.name == BEGIN);
        let first = first
            .ok_or_else(|| ArchiveError::Malformed(format!("it does not begin with {BEGIN}")))?;
        let content = reader.whole(MEMBER_LIMIT_BYTES).await?;
        let begin: Begin = serde_json::from_slice(&content)
            .map_err(|error| ArchiveError::Malformed(format!("{BEGIN}: {error}")))?;
        if begin.format != FORMAT {
            let fault =
                format!("it is of format {}, and this Larder reads format {FORMAT}", begin.format);
            return Err(ImportError::Unusable(fault));
        }
        if !self.import.trusted.contains(&begin.key) {
            return Err(ImportError::Untrusted(begin.key));
        }
        verify(reader, &begin, &first.name, &content).await?;
        self.pending.part = first.name;
        Ok(begin)
    }

    /// Reads a part: sorts its entries into those that are kept, those whose body is here, and those whose body must come.
    async fn part(&mut self, name: &str, content: &[u8]) -> Result<(), ImportError> {
        self.seen.parts += 1;
        self.pending = Pending { part: name.to_owned(), ..Pending::default() };
        let store = &self.import.store;
        for line in content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let record: Record = serde_json::from_slice(line)
                .map_err(|error| ImportError::Unusable(format!("{name}: {error}")))?;
            self.seen.entries += 1;
            let (key, entry) = match record.read() {
                Ok(read) => read,
                Err(fault) => {
                    self.report.refused.push(fault);
                    continue;
                }
            };
            if let Stored::Blob { id, size } = entry.body {
                self.pending.named.insert(id, size);
            }
            if !self.import.spaces.contains(key.space()) {
                self.report.unmounted += 1;
                continue;
            }
            if !self.import.audiences.covers(&key) {
                self.report.withheld += 1;
                continue;
            }
            if is_kept(store.as_ref(), &key, &entry)? {
                self.report.kept += 1;
                continue;
            }
            match &entry.body {
                Stored::Blob { id, .. } => match store.open(*id)? {
                    Some(body) => match agrees(body, &entry).await? {
                        true => self.pending.last.push((key, entry)),
                        false => self.refuse(&key),
                    },
                    None => self.pending.waiting.entry(*id).or_default().push((key, entry)),
                },
                Stored::None | Stored::Inline(_) => self.pending.last.push((key, entry)),
            }
        }
        Ok(())
    }

    /// Takes in a body, and files what waited for it.
    async fn blob(
        &mut self,
        reader: &mut Reader,
        name: &str,
        bytes: u64,
    ) -> Result<(), ImportError> {
        let mut id = [0; 32];
        let is_name = hex::decode_to_slice(name, &mut id).is_ok();
        let id = BlobId(id);
        if !is_name || !self.pending.named.contains_key(&id) {
            let fault =
                format!("{BLOBS}{name} comes where {} names no such body", self.pending.part);
            return Err(ArchiveError::Malformed(fault).into());
        }
        self.seen.blobs += 1;
        self.seen.bytes += bytes;
        // What is kept, or not wanted, is passed over.
        let Some(waiting) = self.pending.waiting.remove(&id) else { return Ok(()) };
        match self.take(reader, id, bytes, &waiting).await? {
            true => {
                self.report.blobs += 1;
                self.report.bytes += bytes;
                self.file(waiting).await
            }
            false => {
                self.report.refused.push(format!("{BLOBS}{name} is not what its name says"));
                waiting.iter().for_each(|(key, _)| self.refuse(key));
                Ok(())
            }
        }
    }

    /// Writes a body, compares it with its name and with the other digests that are said of it, and makes it durable.
    async fn take(
        &self,
        reader: &mut Reader,
        id: BlobId,
        bytes: u64,
        waiting: &[(CacheKey, Entry)],
    ) -> Result<bool, ImportError> {
        if waiting.iter().any(|(_, entry)| entry.body.len() != bytes) {
            return Ok(false);
        }
        let mut wanted: BTreeMap<Algorithm, Digest> =
            BTreeMap::from([(Algorithm::Sha256, id.digest())]);
        for digest in waiting.iter().flat_map(|(_, entry)| &entry.digests) {
            if wanted.insert(digest.algorithm(), *digest).is_some_and(|other| other != *digest) {
                return Ok(false);
            }
        }
        let mut hashers: Vec<Hasher> =
            wanted.keys().map(|algorithm| hasher(*algorithm, bytes)).collect();
        let key = CacheKey::new("bundle", &Audience::Public, &format!("import/{id}"));
        let store = Arc::clone(&self.import.store);
        let partial = blocking(move || {
            let partial = store.partial(&key)?;
            let incoming = Incoming(Some(partial));
            incoming.body().reserve(bytes)?;
            Ok(incoming)
        });
        let incoming = partial.await?;
        let (mut at, mut chunks, mut length) = (0, Vec::new(), 0);
        loop {
            let chunk = reader.chunk().await?;
            let is_end = chunk.is_none();
            if let Some(chunk) = chunk {
                hashers.iter_mut().for_each(|hasher| hasher.update(&chunk));
                length += chunk.len();
                chunks.push(chunk);
            }
            if length >= WRITE_BYTES || is_end && length > 0 {
                let (body, batch) = (Arc::clone(incoming.body()), std::mem::take(&mut chunks));
                blocking(move || body.write(at, &batch)).await?;
                at += length as u64;
                length = 0;
            }
            if is_end {
                break;
            }
        }
        let got = hashers.into_iter().map(Hasher::finish);
        if !got.zip(wanted.values()).all(|(got, wanted)| got == *wanted) {
            return Ok(false);
        }
        blocking(move || incoming.seal(id, bytes)).await?;
        Ok(true)
    }

    /// Files what is left of a part. A body that did not come is missing.
    async fn finish(&mut self) -> Result<(), ImportError> {
        let Pending { part, waiting, last, .. } = std::mem::take(&mut self.pending);
        if let Some(id) = waiting.keys().next() {
            let fault = format!("{part} names the body {id}, which does not come behind it");
            return Err(ArchiveError::Malformed(fault).into());
        }
        self.pending.part = part;
        self.file(last).await
    }

    async fn file(&mut self, entries: Vec<(CacheKey, Entry)>) -> Result<(), ImportError> {
        if entries.is_empty() {
            return Ok(());
        }
        let keys: Vec<CacheKey> = entries.iter().map(|(key, _)| key.clone()).collect();
        let put = |(key, entry)| Change::Put { key, entry: Arc::new(entry) };
        self.import.store.commit(entries.into_iter().map(put).collect()).await?;
        self.report.new += keys.len() as u64;
        (self.import.forget)(&keys);
        Ok(())
    }

    fn refuse(&mut self, key: &CacheKey) {
        self.report.refused.push(format!("{key} has a body that is not what its digests say"));
    }

    fn check_end(&self, content: &[u8]) -> Result<(), ImportError> {
        let end: End = serde_json::from_slice(content)
            .map_err(|error| ArchiveError::Malformed(format!("{END}: {error}")))?;
        match end == self.seen {
            true => Ok(()),
            false => {
                let fault = format!(
                    "{END} counts {} parts, {} entries and {} bodies, and others came",
                    end.parts, end.entries, end.blobs
                );
                Err(ImportError::Unusable(fault))
            }
        }
    }
}

/// A body in the making. What is not sealed is thrown away.
struct Incoming(Option<Arc<dyn Partial>>);

impl Incoming {
    fn body(&self) -> &Arc<dyn Partial> {
        self.0.as_ref().expect("it is taken out only once it is sealed")
    }

    /// Makes the body durable.
    fn seal(mut self, id: BlobId, bytes: u64) -> Result<(), StoreError> {
        self.body().seal(id, bytes)?;
        self.0 = None;
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(partial) = &self.0 {
            partial.discard();
        }
    }
}

/// A member that is no body, with the signature behind it, verified.
async fn signed(reader: &mut Reader, begin: &Begin, member: &Member) -> Result<Bytes, ImportError> {
    let content = reader.whole(MEMBER_LIMIT_BYTES).await?;
    verify(reader, begin, &member.name, &content).await?;
    Ok(content)
}

async fn verify(
    reader: &mut Reader,
    begin: &Begin,
    name: &str,
    content: &[u8],
) -> Result<(), ImportError> {
    let forged = || ImportError::Forged(name.to_owned());
    let expected = format!("{name}{SIGNATURE}");
    reader.next().await?.filter(|member| member.name == expected).ok_or_else(forged)?;
    let signature = reader.whole(MEMBER_LIMIT_BYTES).await?;
    let signature = str::from_utf8(&signature).map_err(|_| forged())?;
    begin.key.verifies(&begin.id, name, content, signature).then_some(()).ok_or_else(forged)
}

/// Whether what is kept under a key is as new and can be read.
fn is_kept(store: &dyn Store, key: &CacheKey, entry: &Entry) -> Result<bool, StoreError> {
    let Some(kept) = store.get(key)? else { return Ok(false) };
    if kept.validated < entry.validated {
        return Ok(false);
    }
    Ok(match kept.body.blob() {
        Some(blob) => store.open(blob)?.is_some(),
        None => true,
    })
}

/// Whether a body that is kept already is what an entry says of it.
async fn agrees(body: Arc<dyn ReadAt>, entry: &Entry) -> Result<bool, StoreError> {
    let (size, digests) = (entry.body.len(), entry.digests.clone());
    let sha256 = entry.body.blob().map(BlobId::digest);
    let others: BTreeSet<Algorithm> =
        digests.iter().map(Digest::algorithm).filter(|one| *one != Algorithm::Sha256).collect();
    if digests
        .iter()
        .any(|digest| digest.algorithm() == Algorithm::Sha256 && Some(*digest) != sha256)
    {
        return Ok(false);
    }
    if others.is_empty() {
        return Ok(true);
    }
    blocking(move || {
        let mut hashers: Vec<Hasher> = others.iter().map(|one| hasher(*one, size)).collect();
        let mut at = 0;
        while at < size {
            let length = usize::try_from(size - at).unwrap_or(usize::MAX).min(WRITE_BYTES);
            let chunk =
                body.read(at, length).map_err(|error| StoreError::io("reading a body", error))?;
            if chunk.is_empty() {
                return Ok(false);
            }
            hashers.iter_mut().for_each(|hasher| hasher.update(&chunk));
            at += chunk.len() as u64;
        }
        let got: Vec<Digest> = hashers.into_iter().map(Hasher::finish).collect();
        let is_right =
            |digest: &Digest| digest.algorithm() == Algorithm::Sha256 || got.contains(digest);
        Ok(digests.iter().all(is_right))
    })
    .await
}

/// The digest of `chunks` of the same algorithm as `like`.
pub(super) fn digest_of(like: Digest, chunks: &[&Bytes]) -> Digest {
    let length = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    let mut hasher = hasher(like.algorithm(), length);
    chunks.iter().for_each(|chunk| hasher.update(chunk));
    hasher.finish()
}

fn hasher(algorithm: Algorithm, length: u64) -> Hasher {
    match algorithm {
        Algorithm::GitSha1 => Hasher::git_blob(length),
        other => Hasher::new(other).expect("only git's names need a length"),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

#[cfg(test)]
mod tests;
