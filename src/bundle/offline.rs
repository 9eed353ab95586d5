//! A Larder over the same store whose upstreams have all vanished, and which takes note of what it reads.
//!
//! It never writes, and asks nobody. So what it answers is what will be answered when no upstream can be reached, and the entries that it read for
//! that are what another Larder needs to answer the same.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use http::{HeaderMap, Method, Response};
use url::Url;

use crate::bundle::door::Indoors;
use crate::bundle::export::Audiences;
use crate::bundle::{Door, DoorError};
use crate::server::{Body, Handler};
use crate::store::{Change, Entry, Freed, Partial, ReadAt, Store, StoreError, Tidied, Tidy, Usage};
use crate::types::{BlobId, CacheKey, Digest};
use crate::upstream::{Availability, OriginRequest, OriginResponse, Upstream, UpstreamError};

/// Makes Larders like the one that serves, over another store and with no way out.
pub type Build = Arc<dyn Fn(Arc<dyn Store>, Arc<dyn Upstream>) -> Arc<dyn Handler> + Send + Sync>;

/// A Larder whose upstreams have vanished.
pub struct Offline {
    door: Indoors,
    notes: Arc<Notes>,
}

/// Entries that were read, and whether others were looked for that are not for those who will be answered.
#[derive(Debug, Default)]
struct Notes {
    read: Mutex<BTreeMap<CacheKey, Arc<Entry>>>,
    hidden: AtomicBool,
}

impl Offline {
    /// One that has read nothing yet, and knows nothing but what is for these audiences. `base` is how its clients see its root, with a slash at its
    /// end.
    pub fn new(build: &Build, store: Arc<dyn Store>, base: Url, audiences: Audiences) -> Self {
        let notes = Arc::new(Notes::default());
        let witnessed = Arc::new(Witnessed { store, audiences, notes: Arc::clone(&notes) });
        Self { door: Indoors::new(build(witnessed, Arc::new(Vanished)), base), notes }
    }

    /// Everything that was read so far.
    pub fn read(&self) -> BTreeMap<CacheKey, Arc<Entry>> {
        self.notes.read.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether something was looked for that is kept, and for others only.
    pub fn has_hidden(&self) -> bool {
        self.notes.hidden.load(Ordering::Acquire)
    }
}

impl Door for Offline {
    fn base(&self) -> &Url {
        self.door.base()
    }

    fn ask(
        &self,
        method: Method,
        address: String,
        headers: HeaderMap,
    ) -> BoxFuture<'_, Result<Response<Body>, DoorError>> {
        self.door.ask(method, address, headers)
    }
}

impl fmt::Debug for Offline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offline").field("base", self.door.base()).finish_non_exhaustive()
    }
}

/// A store that notes what is read of it, and is not written to.
#[derive(Debug)]
struct Witnessed {
    store: Arc<dyn Store>,
    audiences: Audiences,
    notes: Arc<Notes>,
}

impl Notes {
    fn note(&self, key: &CacheKey, entry: &Arc<Entry>) {
        let mut notes = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        notes.insert(key.clone(), Arc::clone(entry));
    }
}

impl Store for Witnessed {
    fn get(&self, key: &CacheKey) -> Result<Option<Arc<Entry>>, StoreError> {
        let Some(entry) = self.store.get(key)? else { return Ok(None) };
        if !self.audiences.covers(key) {
            self.notes.hidden.store(true, Ordering::Release);
            return Ok(None);
        }
        self.notes.note(key, &entry);
        Ok(Some(entry))
    }

    fn scan(
        &self,
        prefix: &str,
        after: Option<&CacheKey>,
        limit: usize,
    ) -> Result<Vec<CacheKey>, StoreError> {
        self.store.scan(prefix, after, limit)
    }

    /// What would be filed anew (a blob that is kept under another name) is noted, and not written.
    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'static, Result<(), StoreError>> {
        for change in &changes {
            if let Change::Put { key, entry } = change
                && self.audiences.covers(key)
            {
                self.notes.note(key, entry);
            }
        }
        ready(Ok(())).boxed()
    }

    fn touch(&self, _: BlobId) {}

    fn open(&self, blob: BlobId) -> Result<Option<Arc<dyn ReadAt>>, StoreError> {
        self.store.open(blob)
    }

    fn suspect(&self, blob: BlobId) -> BoxFuture<'static, ()> {
        self.store.suspect(blob)
    }

    fn resolve(&self, digest: &Digest) -> Result<Option<BlobId>, StoreError> {
        self.store.resolve(digest)
    }

    fn partial(&self, _: &CacheKey) -> Result<Arc<dyn Partial>, StoreError> {
        Err(StoreError::Refusing)
    }

    fn is_pinned(&self, key: &CacheKey) -> Result<bool, StoreError> {
        self.store.is_pinned(key)
    }

    fn namers(&self, blob: BlobId) -> Result<usize, StoreError> {
        self.store.namers(blob)
    }

    fn release(&self, _: Vec<BlobId>) -> BoxFuture<'static, Result<Freed, StoreError>> {
        ready(Err(StoreError::Refusing)).boxed()
    }

    fn tidy(&self, _: Tidy) -> BoxFuture<'static, Result<Tidied, StoreError>> {
        ready(Err(StoreError::Refusing)).boxed()
    }

    fn usage(&self) -> Usage {
        self.store.usage()
    }
}

/// Upstreams of which none is asked.
#[derive(Debug)]
struct Vanished;

impl Upstream for Vanished {
    fn send(
        &self,
        request: OriginRequest,
    ) -> BoxFuture<'static, Result<OriginResponse, UpstreamError>> {
        let host = request.url.host_str().unwrap_or_default().to_owned();
        ready(Err(UpstreamError::NotAsked { host })).boxed()
    }

    fn availability(&self, _: &OriginRequest) -> Availability {
        Availability::Open { retry_after: Duration::MAX }
    }

    fn report_slow(&self, _: &OriginRequest) {}
}
