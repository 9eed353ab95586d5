//! Writes a bundle: entries in small signed parts, each followed by the bodies that it is the first to name.
//!
//! Memory is bounded by one part, one chunk of a body, and 16 bytes for each entry and each body that was written before. An entry whose body is gone by
//! the time it is its turn is left out, as it would be a miss here, too. Left out: which entries a name means (`walk`, `offline`).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::ready;
use futures_util::{FutureExt, StreamExt, stream};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::bundle::archive::{header, padding, trailer};
use crate::bundle::key::SigningKey;
use crate::bundle::record::{BEGIN, BLOBS, Begin, END, End, FORMAT, Record, SIGNATURE, part_name};
use crate::ecosystem::naming::{Naming, Shelf, Unreadable};
use crate::keep::contents::Kept;
use crate::server::{Body, BodyError};
use crate::store::{Entry, ReadAt, Store, StoreError, Stored};
use crate::types::{Audience, BlobId, CacheKey, Timestamp};

/// Entries of a part, at most.
const PART_ENTRIES: usize = 200;

/// Bytes of a part's lines after which the next one begins.
const PART_BYTES: usize = 1 << 20;

/// What is read of a body at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Keys that are looked at together.
const RUN: usize = 500;

/// Chunks that are ready before the reader takes them.
const AHEAD: usize = 4;

/// Names of bodies that are kept under their digest alone, whoever may read them, begin so.
const SHARED: &str = "blob/";

/// For whom what goes into a bundle, or comes out of one, may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audiences {
    /// Only what upstream gives to anybody.
    Public,
    /// Also what Larder's own credentials opened. What a client's own opened never leaves the place where it was opened.
    Service,
}

/// What goes into a bundle.
pub enum Contained {
    /// These entries.
    These(BTreeMap<CacheKey, Arc<Entry>>),
    /// Everything that is kept of these mounts. Their words tell which shared bodies belong to what is public.
    All(Vec<Arc<dyn Naming>>),
}

/// A bundle, ready to be written.
pub struct Export {
    pub store: Arc<dyn Store>,
    pub key: Arc<SigningKey>,
    pub now: Timestamp,
    /// What it is made for, in words.
    pub what: Vec<String>,
    pub contained: Contained,
    pub audiences: Audiences,
}

/// Why writing ended early.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("whoever read the bundle has left")]
    Left,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("the body {0} is damaged; it is set aside")]
    Damaged(BlobId),
}

impl Audiences {
    /// Whether what is kept under a key may be taken along.
    pub fn covers(self, key: &CacheKey) -> bool {
        match key.audience() {
            Some(Audience::Public) => true,
            Some(Audience::Service) => self == Self::Service,
            Some(Audience::Credential(_)) | None => false,
        }
    }

    const fn all(self) -> &'static [Audience] {
        match self {
            Self::Public => &[Audience::Public],
            Self::Service => &[Audience::Public, Audience::Service],
        }
    }
}

impl Export {
    /// The bundle as it is written. It is written as fast as it is read, and no further once nobody reads it.
    pub fn body(self) -> Body {
        let (out, chunks) = mpsc::channel(AHEAD);
        let chunks = stream::unfold(chunks, |mut chunks| async move {
            chunks.recv().await.map(|chunk: Bytes| (Ok(Frame::data(chunk)), chunks))
        });
        let writing = async move {
            let store = Arc::clone(&self.store);
            match self.write(out).await {
                Ok(()) | Err(Ended::Left) => None,
                Err(error) => {
                    if let Ended::Damaged(blob) = &error {
                        store.suspect(*blob).await;
                    }
                    tracing::error!(%error, "a bundle could not be written to its end");
                    Some(Err(BodyError::from(error)))
                }
            }
        };
        let writing = writing.into_stream().filter_map(ready);
        StreamBody::new(stream::select(chunks, writing)).boxed_unsync()
    }

    async fn write(self, out: mpsc::Sender<Bytes>) -> Result<(), Ended> {
        let Self { store, key, now, what, contained, audiences } = self;
        let id = format!("{:032x}", fastrand::u128(..));
        let begin = Begin {
            format: FORMAT,
            id: id.clone(),
            created: now,
            larder: env!("CARGO_PKG_VERSION").to_owned(),
            key: key.public(),
            what,
        };
        let mut writer = Writer {
            out,
            store: Arc::clone(&store),
            key,
            id,
            now,
            part: Vec::new(),
            part_bytes: 0,
            entries: HashSet::new(),
            blobs: HashSet::new(),
            end: End::default(),
        };
        writer.signed(BEGIN, json(&begin)).await?;
        match contained {
            Contained::These(entries) => {
                for (key, entry) in entries.into_iter().filter(|(key, _)| audiences.covers(key)) {
                    writer.add(key, &entry).await?;
                }
            }
            Contained::All(namings) => {
                // Bodies first: what names them is of no use without.
                for naming in &namings {
                    writer.shared(Arc::clone(naming), audiences).await?;
                }
                let spaces: BTreeSet<&str> = namings.iter().map(|naming| naming.space()).collect();
                for space in spaces {
                    writer.own(space, audiences).await?;
                }
            }
        }
        writer.flush().await?;
        let end = writer.end;
        writer.signed(END, json(&end)).await?;
        writer.send(trailer()).await
    }
}

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export").field("what", &self.what).finish_non_exhaustive()
    }
}

/// An entry of the next part.
struct Line {
    text: String,
    /// The body that goes with it, if it is the first to name that.
    body: Option<Outgoing>,
}

/// A body that is to be written.
struct Outgoing {
    id: BlobId,
    size: u64,
    reader: Arc<dyn ReadAt>,
}

/// A bundle in the making.
struct Writer {
    out: mpsc::Sender<Bytes>,
    store: Arc<dyn Store>,
    key: Arc<SigningKey>,
    id: String,
    now: Timestamp,
    /// Lines of the next part, each with the body that goes with it.
    part: Vec<Line>,
    part_bytes: usize,
    /// Digests of the keys and of the bodies that were written.
    entries: HashSet<[u8; 16]>,
    blobs: HashSet<[u8; 16]>,
    end: End,
}

impl Writer {
    /// Everything of a space that is kept under a name of its own.
    async fn own(&mut self, space: &str, audiences: Audiences) -> Result<(), Ended> {
        let start = CacheKey::start_of_space(space);
        let mut after: Option<CacheKey> = None;
        loop {
            let keys = self.store.scan(&start, after.as_ref(), RUN)?;
            let Some(last) = keys.last() else { return Ok(()) };
            after = Some(last.clone());
            for key in keys
                .into_iter()
                .filter(|key| audiences.covers(key) && !key.name().starts_with(SHARED))
            {
                self.find(key).await?;
            }
        }
    }

    /// Everything that is kept under its digest alone and that something belongs to which may go along.
    async fn shared(&mut self, naming: Arc<dyn Naming>, audiences: Audiences) -> Result<(), Ended> {
        for audience in audiences.all() {
            let mut after: Option<String> = None;
            loop {
                let (store, naming) = (Arc::clone(&self.store), Arc::clone(&naming));
                let looked = tokio::task::spawn_blocking(move || {
                    let shelf = Shelf { contents: &Kept(&*store), space: naming.space(), audience };
                    let groups = naming.groups(&shelf, after.as_deref(), 1)?;
                    let Some(group) = groups.into_iter().next() else { return Ok(None) };
                    let mut keys = Vec::new();
                    for thing in naming.things(&shelf, &group)? {
                        naming.parts(&shelf, &thing, &mut |part| keys.push(part.key))?;
                    }
                    Ok::<_, Unreadable>(Some((group, keys)))
                });
                let Some((group, keys)) = looked
                    .await
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?
                else {
                    break;
                };
                after = Some(group);
                for key in keys.into_iter().filter(|key| key.name().starts_with(SHARED)) {
                    self.find(key).await?;
                }
            }
        }
        Ok(())
    }

    async fn find(&mut self, key: CacheKey) -> Result<(), Ended> {
        match self.store.get(&key)? {
            Some(entry) => self.add(key, &entry).await,
            None => Ok(()),
        }
    }

    /// Adds an entry to the next part.
    async fn add(&mut self, key: CacheKey, entry: &Entry) -> Result<(), Ended> {
        if !self.entries.insert(short(BlobId::of(key.as_str().as_bytes()))) {
            return Ok(());
        }
        let body = match &entry.body {
            Stored::Blob { id, size } if !self.blobs.contains(&short(*id)) => {
                let Some(reader) = self.store.open(*id)? else { return Ok(()) };
                self.blobs.insert(short(*id));
                Some(Outgoing { id: *id, size: *size, reader })
            }
            Stored::Blob { .. } | Stored::Inline(_) | Stored::None => None,
        };
        let text = serde_json::to_string(&Record::new(&key, entry))
            .expect("plain values have a form in JSON");
        self.part_bytes += text.len();
        self.part.push(Line { text, body });
        match self.part.len() >= PART_ENTRIES || self.part_bytes >= PART_BYTES {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    /// Writes the next part, and the bodies behind it.
    async fn flush(&mut self) -> Result<(), Ended> {
        if self.part.is_empty() {
            return Ok(());
        }
        let part = std::mem::take(&mut self.part);
        self.part_bytes = 0;
        self.end.parts += 1;
        self.end.entries += part.len() as u64;
        let lines: Vec<&str> = part.iter().map(|line| line.text.as_str()).collect();
        self.signed(&part_name(self.end.parts), (lines.join("\n") + "\n").into()).await?;
        for body in part.into_iter().filter_map(|line| line.body) {
            self.blob(body).await?;
        }
        Ok(())
    }

    async fn blob(&mut self, body: Outgoing) -> Result<(), Ended> {
        let Outgoing { id, size, reader } = body;
        self.send(header(&format!("{BLOBS}{id}"), size, self.now.secs())).await?;
        let mut hash = Sha256::new();
        let mut at = 0;
        while at < size {
            let length = usize::try_from(size - at).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let from = Arc::clone(&reader);
            let read = tokio::task::spawn_blocking(move || from.read(at, length)).await;
            let chunk = read
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
                .map_err(|error| StoreError::io("reading a body", error))?;
            if chunk.is_empty() {
                return Err(Ended::Damaged(id));
            }
            hash.update(&chunk);
            at += chunk.len() as u64;
            self.send(chunk).await?;
        }
        if BlobId(hash.finalize().into()) != id {
            return Err(Ended::Damaged(id));
        }
        self.end.blobs += 1;
        self.end.bytes += size;
        self.send(padding(size)).await
    }

    async fn signed(&self, name: &str, content: Bytes) -> Result<(), Ended> {
        let signature = self.key.sign(&self.id, name, &content);
        self.member(name, content).await?;
        self.member(&format!("{name}{SIGNATURE}"), signature.into()).await
    }

    async fn member(&self, name: &str, content: Bytes) -> Result<(), Ended> {
        let size = content.len() as u64;
        self.send(header(name, size, self.now.secs())).await?;
        self.send(content).await?;
        self.send(padding(size)).await
    }

    async fn send(&self, chunk: Bytes) -> Result<(), Ended> {
        match chunk.is_empty() {
            true => Ok(()),
            false => self.out.send(chunk).await.map_err(|_| Ended::Left),
        }
    }
}

fn short(id: BlobId) -> [u8; 16] {
    let (head, _) = id.0.split_first_chunk().expect("a digest has 32 bytes");
    *head
}

fn json<T: serde::Serialize>(value: &T) -> Bytes {
    serde_json::to_vec_pretty(value).expect("plain values have a form in JSON").into()
}
