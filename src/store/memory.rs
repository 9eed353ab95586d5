//! The store's twin in memory: the same contract, nothing durable, and faults on demand.
//!
//! For tests of everything above the store. Left out: budgets and eviction, which only a disk needs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, ready};

use super::{
    Change, Entry, Freed, Partial, Progress, ReadAt, Store, StoreError, Tidied, Tidy, Usage,
};
use crate::types::{BlobId, CacheKey, Digest};

/// A [`Store`] that forgets. Clones share what they hold.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    shelf: Arc<Mutex<Shelf>>,
}

/// A trouble that [`MemoryStore::suffer`] switches on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// `reserve`, `write` and `seal` find no room.
    Full,
    /// `commit` is refused, and the usage says so.
    Refusing,
    /// No byte is at hand: every `try_read` would wait for the disk.
    Cold,
}

impl MemoryStore {
    pub fn new() -> Self {
        Self::default()
    }

    /// Has `fault` from now on.
    pub fn suffer(&self, fault: Fault) {
        self.lock().faults.insert(fault);
    }

    /// No longer has `fault`.
    pub fn recover(&self, fault: Fault) {
        self.lock().faults.remove(&fault);
    }

    /// Loses the bytes of a blob behind the index's back, as a disk does. False when there were none.
    pub fn lose_blob(&self, blob: BlobId) -> bool {
        self.lock().blobs.remove(&blob).is_some()
    }

    /// Replaces the bytes of a blob, as a disk does. False when there were none.
    pub fn spoil_blob(&self, blob: BlobId, bytes: Bytes) -> bool {
        self.lock().blobs.insert(blob, bytes).is_some()
    }

    /// Whether `blob` was asked for ([`Store::touch`]) since the store was made.
    pub fn was_touched(&self, blob: BlobId) -> bool {
        self.lock().touched.contains(&blob)
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        // A panic of one test thread leaves the shelf whole: every change to it is made by one call.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reader(&self, bytes: Bytes) -> Arc<dyn ReadAt> {
        Arc::new(Kept { store: self.clone(), bytes })
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &CacheKey) -> Result<Option<Arc<Entry>>, StoreError> {
        Ok(self.lock().entries.get(key).cloned())
    }

    fn scan(
        &self,
        prefix: &str,
        after: Option<&CacheKey>,
        limit: usize,
    ) -> Result<Vec<CacheKey>, StoreError> {
        let shelf = self.lock();
        let keys = shelf.entries.keys().filter(|key| {
            key.as_str().starts_with(prefix) && after.is_none_or(|after| *key > after)
        });
        Ok(keys.take(limit).cloned().collect())
    }

    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'static, Result<(), StoreError>> {
        let store = self.clone();
        async move { store.lock().apply(changes) }.boxed()
    }

    fn touch(&self, blob: BlobId) {
        self.lock().touched.insert(blob);
    }

    fn open(&self, blob: BlobId) -> Result<Option<Arc<dyn ReadAt>>, StoreError> {
        let bytes = self.lock().blobs.get(&blob).cloned();
        Ok(bytes.map(|bytes| self.reader(bytes)))
    }

    fn suspect(&self, blob: BlobId) -> BoxFuture<'static, ()> {
        let mut shelf = self.lock();
        if shelf.blobs.get(&blob).is_some_and(|bytes| BlobId::of(bytes) != blob) {
            shelf.blobs.remove(&blob);
            shelf.entries.retain(|_, entry| entry.body.blob() != Some(blob));
        }
        ready(()).boxed()
    }

    fn resolve(&self, digest: &Digest) -> Result<Option<BlobId>, StoreError> {
        Ok(self.lock().resolve(digest))
    }

    fn partial(&self, key: &CacheKey) -> Result<Arc<dyn Partial>, StoreError> {
        let mut shelf = self.lock();
        if !shelf.filling.insert(key.clone()) {
            return Err(StoreError::Busy(key.clone()));
        }
        let draft = shelf.drafts.remove(key).unwrap_or_default();
        drop(shelf);
        Ok(Arc::new(MemoryPartial {
            store: self.clone(),
            key: key.clone(),
            state: Mutex::new(State::Open(draft)),
        }))
    }

    fn is_pinned(&self, key: &CacheKey) -> Result<bool, StoreError> {
        Ok(self.lock().pinned.contains(key))
    }

    fn namers(&self, blob: BlobId) -> Result<usize, StoreError> {
        Ok(self.lock().namers(blob))
    }

    fn release(&self, blobs: Vec<BlobId>) -> BoxFuture<'static, Result<Freed, StoreError>> {
        ready(Ok(self.lock().release(&blobs))).boxed()
    }

    fn tidy(&self, how: Tidy) -> BoxFuture<'static, Result<Tidied, StoreError>> {
        ready(Ok(self.lock().tidy(how))).boxed()
    }

    fn usage(&self) -> Usage {
        let shelf = self.lock();
        let kept: HashMap<BlobId, u64> = shelf
            .entries
            .values()
            .filter_map(|entry| Some((entry.body.blob()?, entry.body.len())))
            .collect();
        Usage {
            entries: shelf.entries.len() as u64,
            blobs: kept.len() as u64,
            blob_bytes: kept.values().sum(),
            writable: !shelf.faults.contains(&Fault::Refusing),
            ..Usage::default()
        }
    }
}

/// Everything that is held.
#[derive(Debug, Default)]
struct Shelf {
    entries: BTreeMap<CacheKey, Arc<Entry>>,
    blobs: HashMap<BlobId, Bytes>,
    pinned: HashSet<CacheKey>,
    touched: HashSet<BlobId>,
    drafts: HashMap<CacheKey, Draft>,
    filling: HashSet<CacheKey>,
    faults: HashSet<Fault>,
}

impl Shelf {
    fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        if self.faults.contains(&Fault::Refusing) {
            return Err(StoreError::Refusing);
        }
        for change in &changes {
            if let Change::Put { entry, .. } = change
                && let Some(blob) = entry.body.blob()
                && !self.blobs.contains_key(&blob)
            {
                return Err(StoreError::BlobMissing(blob));
            }
        }
        for change in changes {
            match change {
                Change::Put { key, entry } => {
                    self.entries.insert(key, entry);
                }
                Change::Remove { key } => {
                    self.entries.remove(&key);
                    self.pinned.remove(&key);
                }
                Change::Pin { key, pinned: true } if self.entries.contains_key(&key) => {
                    self.pinned.insert(key);
                }
                Change::Pin { key, .. } => {
                    self.pinned.remove(&key);
                }
            }
        }
        Ok(())
    }

    /// Searches all entries: tests hold few, and an alias cannot go stale this way.
    fn resolve(&self, digest: &Digest) -> Option<BlobId> {
        self.entries.values().find_map(|entry| {
            let blob = entry.body.blob()?;
            (blob.digest() == *digest || entry.digests.contains(digest)).then_some(blob)
        })
    }

    fn namers(&self, blob: BlobId) -> usize {
        self.entries.values().filter(|entry| entry.body.blob() == Some(blob)).count()
    }

    fn release(&mut self, blobs: &[BlobId]) -> Freed {
        let mut freed = Freed::default();
        for blob in blobs {
            if self.namers(*blob) == 0
                && let Some(bytes) = self.blobs.remove(blob)
            {
                freed.count += 1;
                freed.bytes += bytes.len() as u64;
            }
        }
        freed
    }

    fn tidy(&mut self, how: Tidy) -> Tidied {
        let blobs: Vec<BlobId> = self.blobs.keys().copied().collect();
        let orphans: Vec<BlobId> =
            blobs.into_iter().filter(|blob| self.namers(*blob) == 0).collect();
        let size = |blob: &BlobId| self.blobs.get(blob).map_or(0, |bytes| bytes.len() as u64);
        let found = Freed { count: orphans.len() as u64, bytes: orphans.iter().map(size).sum() };
        let drafts = if how.all_partials { self.drafts.len() } else { 0 };
        let bytes = self.drafts.values().map(|draft| draft.bytes.len() as u64).sum();
        let partials =
            Freed { count: drafts as u64, bytes: if how.all_partials { bytes } else { 0 } };
        if !how.dry_run {
            self.release(&orphans);
            if how.all_partials {
                self.drafts.clear();
            }
        }
        Tidied { orphans: found, partials, evicted: Freed::default() }
    }

    fn room(&self) -> Result<(), StoreError> {
        if self.faults.contains(&Fault::Full) { Err(StoreError::Full) } else { Ok(()) }
    }
}

/// What a fill has written so far.
#[derive(Debug, Default)]
struct Draft {
    bytes: Vec<u8>,
    progress: Option<Progress>,
}

#[derive(Debug)]
enum State {
    Open(Draft),
    /// Sealed or thrown away; those who read from it still may.
    UsedUp(Bytes),
}

#[derive(Debug)]
struct MemoryPartial {
    store: MemoryStore,
    key: CacheKey,
    state: Mutex<State>,
}

impl MemoryPartial {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the partial and frees its key.
    fn use_up(&self, state: &mut State) {
        if let State::Open(draft) = state {
            *state = State::UsedUp(std::mem::take(&mut draft.bytes).into());
            self.store.lock().filling.remove(&self.key);
        }
    }
}

impl Partial for MemoryPartial {
    fn progress(&self) -> Option<Progress> {
        match &*self.lock() {
            State::Open(draft) => draft.progress.clone(),
            State::UsedUp(_) => None,
        }
    }

    fn reserve(&self, _length: u64) -> Result<(), StoreError> {
        self.store.lock().room()
    }

    fn write(&self, offset: u64, chunks: &[Bytes]) -> Result<(), StoreError> {
        let mut state = self.lock();
        let State::Open(draft) = &mut *state else {
            return Err(StoreError::used_up(&self.key));
        };
        self.store.lock().room()?;
        let mut start = as_index(offset);
        for chunk in chunks {
            let end = start + chunk.len();
            if draft.bytes.len() < end {
                draft.bytes.resize(end, 0);
            }
            draft.bytes[start..end].copy_from_slice(chunk);
            start = end;
        }
        Ok(())
    }

    fn checkpoint(&self, progress: &Progress) -> Result<(), StoreError> {
        match &mut *self.lock() {
            State::Open(draft) => draft.progress = Some(progress.clone()),
            State::UsedUp(_) => return Err(StoreError::used_up(&self.key)),
        }
        Ok(())
    }

    fn seal(&self, blob: BlobId, length: u64) -> Result<Arc<dyn ReadAt>, StoreError> {
        let mut state = self.lock();
        let State::Open(draft) = &mut *state else {
            return Err(StoreError::used_up(&self.key));
        };
        self.store.lock().room()?;
        let length = as_index(length);
        if draft.bytes.len() < length {
            return Err(StoreError::io(
                format!("seal {blob}"),
                io::Error::from(io::ErrorKind::UnexpectedEof),
            ));
        }
        draft.bytes.truncate(length);
        self.use_up(&mut state);
        let State::UsedUp(bytes) = &*state else {
            return Err(StoreError::used_up(&self.key));
        };
        let kept = self.store.lock().blobs.entry(blob).or_insert_with(|| bytes.clone()).clone();
        Ok(self.store.reader(kept))
    }

    fn discard(&self) {
        self.use_up(&mut self.lock());
    }
}

impl ReadAt for MemoryPartial {
    fn try_read(&self, offset: u64, length: usize) -> io::Result<Option<Bytes>> {
        if self.store.lock().faults.contains(&Fault::Cold) {
            return Ok(None);
        }
        self.read(offset, length).map(Some)
    }

    fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        Ok(match &*self.lock() {
            State::Open(draft) => Bytes::copy_from_slice(slice(&draft.bytes, offset, length)),
            State::UsedUp(bytes) => bytes.slice_ref(slice(bytes, offset, length)),
        })
    }
}

impl Drop for MemoryPartial {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let State::Open(draft) = state {
            let draft = std::mem::take(draft);
            let mut shelf = self.store.lock();
            shelf.filling.remove(&self.key);
            // Without a progress note nobody knows which of the bytes count.
            if draft.progress.is_some() {
                shelf.drafts.insert(self.key.clone(), draft);
            }
        }
    }
}

/// A sealed blob.
#[derive(Debug)]
struct Kept {
    store: MemoryStore,
    bytes: Bytes,
}

impl ReadAt for Kept {
    fn try_read(&self, offset: u64, length: usize) -> io::Result<Option<Bytes>> {
        if self.store.lock().faults.contains(&Fault::Cold) {
            return Ok(None);
        }
        self.read(offset, length).map(Some)
    }

    fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        Ok(self.bytes.slice_ref(slice(&self.bytes, offset, length)))
    }
}

fn slice(bytes: &[u8], offset: u64, length: usize) -> &[u8] {
    let start = as_index(offset).min(bytes.len());
    let end = start.saturating_add(length).min(bytes.len());
    &bytes[start..end]
}

fn as_index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance;

    #[tokio::test]
    async fn keeps_the_contract() {
        conformance::all(|| Arc::new(MemoryStore::new())).await;
    }

    #[tokio::test]
    async fn a_lost_blob_makes_its_entry_a_miss_and_its_commit_fail() {
        let store = MemoryStore::new();
        let blob = conformance::keep(&store, "a", b"bytes").await;
        assert!(store.lose_blob(blob));
        assert!(store.open(blob).expect("opening works").is_none());
        let again = conformance::put("a", conformance::entry_of(blob, 5));
        assert!(matches!(store.commit(vec![again]).await, Err(StoreError::BlobMissing(_))));
    }

    #[tokio::test]
    async fn faults_come_and_go() {
        let store = MemoryStore::new();
        let blob = conformance::keep(&store, "a", b"bytes").await;
        let partial = store.partial(&conformance::key("b")).expect("nobody else fills it");

        store.suffer(Fault::Full);
        assert!(matches!(partial.reserve(1), Err(StoreError::Full)));
        assert!(matches!(partial.write(0, &[Bytes::from_static(b"x")]), Err(StoreError::Full)));
        store.recover(Fault::Full);
        partial.write(0, &[Bytes::from_static(b"x")]).expect("there is room again");

        store.suffer(Fault::Refusing);
        let change = Change::Remove { key: conformance::key("a") };
        assert!(matches!(store.commit(vec![change]).await, Err(StoreError::Refusing)));
        assert!(!store.usage().writable);
        store.recover(Fault::Refusing);
        assert!(store.usage().writable);

        store.suffer(Fault::Cold);
        let reader = store.open(blob).expect("opening works").expect("it is kept");
        assert_eq!(reader.try_read(0, 5).expect("reading works"), None);
        assert_eq!(reader.read(0, 5).expect("reading works"), "bytes");
    }
}
