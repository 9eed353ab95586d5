//! Snapshots: names for instants, under which clients are answered as of then (`/@NAME/...`).
//!
//! A name is all that a snapshot is. What was so at its instant is remembered by the documents of every mount; a snapshot protects nothing of that from eviction.
//! Names are kept in the index and, all of them, in memory, where requests look them up. Left out: what is answered (`ecosystem::past`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::store::{Change, Entry, Store, StoreError, Stored};
use crate::types::{Audience, CacheKey, Timestamp};

/// The space of the index that snapshots are kept in.
const SPACE: &str = "snapshots";

/// Most snapshots there may be: a name for every day of a century would be fewer.
pub const MOST: usize = 50_000;

/// The longest name, so that it fits in an image's name and in a host's label.
const LONGEST_NAME_BYTES: usize = 60;

/// A name for an instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub name: String,
    /// What clients are answered as of.
    pub at: Timestamp,
    /// When it was named.
    pub created: Timestamp,
}

/// Why there is no such snapshot now.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error(
        "{0:?} cannot name a snapshot: it takes lower-case letters, digits and single dashes or dots between them, a letter first, {LONGEST_NAME_BYTES} \
         characters at most"
    )]
    Name(String),
    #[error("{} lies in the future, and what will be is not known", .0.to_rfc3339())]
    Future(Timestamp),
    #[error("there is a snapshot {} already, of {}; remove it first", .0.name, .0.at.to_rfc3339())]
    Exists(Snapshot),
    #[error("there is no snapshot {0:?}")]
    Absent(String),
    #[error("there are {MOST} snapshots already; remove some first")]
    TooMany,
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// All snapshots.
pub struct Snapshots {
    store: Arc<dyn Store>,
    all: RwLock<BTreeMap<String, Snapshot>>,
}

impl Snapshots {
    /// Reads what is kept.
    ///
    /// # Errors
    ///
    /// When the index cannot be read. A row that is none of ours is left out, with a line in the log.
    pub fn open(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let prefix = key("");
        let mut all = BTreeMap::new();
        for key in store.scan(prefix.as_str(), None, MOST)? {
            let Some(entry) = store.get(&key)? else { continue };
            let Stored::Inline(bytes) = &entry.body else { continue };
            match serde_json::from_slice::<Snapshot>(bytes) {
                Ok(snapshot) => {
                    all.insert(snapshot.name.clone(), snapshot);
                }
                Err(error) => {
                    tracing::warn!(cache.key = %key, %error, "a kept snapshot cannot be read");
                }
            }
        }
        Ok(Self { store, all: RwLock::new(all) })
    }

    /// The instant of a name.
    pub fn at(&self, name: &str) -> Option<Timestamp> {
        self.read().get(name).map(|snapshot| snapshot.at)
    }

    pub fn get(&self, name: &str) -> Option<Snapshot> {
        self.read().get(name).cloned()
    }

    /// In order of their names.
    pub fn list(&self) -> Vec<Snapshot> {
        self.read().values().cloned().collect()
    }

    /// Names an instant, durably. A name that is taken stays what it is: others may rely on it.
    pub async fn create(
        &self,
        name: &str,
        at: Timestamp,
        now: Timestamp,
    ) -> Result<Snapshot, SnapshotError> {
        if !is_name(name) {
            return Err(SnapshotError::Name(name.chars().take(100).collect()));
        }
        if at > now {
            return Err(SnapshotError::Future(at));
        }
        let snapshot = Snapshot { name: name.to_owned(), at, created: now };
        self.reserve(&snapshot)?;
        let bytes = serde_json::to_vec(&snapshot).expect("texts and numbers have a form in JSON");
        let entry = Arc::new(Entry::new(Stored::Inline(bytes.into()), now));
        let put = Change::Put { key: key(name), entry };
        if let Err(error) = self.store.commit(vec![put]).await {
            self.write(|all| all.remove(name));
            return Err(error.into());
        }
        Ok(snapshot)
    }

    /// Forgets a name. What was kept under its instant stays.
    pub async fn remove(&self, name: &str) -> Result<Snapshot, SnapshotError> {
        let snapshot = self.get(name).ok_or_else(|| SnapshotError::Absent(name.to_owned()))?;
        self.store.commit(vec![Change::Remove { key: key(name) }]).await?;
        self.write(|all| all.remove(name));
        Ok(snapshot)
    }

    /// Takes a name, so that of two who want it at once one gets it.
    fn reserve(&self, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        self.write(|all| {
            if let Some(known) = all.get(&snapshot.name) {
                return Err(SnapshotError::Exists(known.clone()));
            }
            if all.len() >= MOST {
                return Err(SnapshotError::TooMany);
            }
            all.insert(snapshot.name.clone(), snapshot.clone());
            Ok(())
        })
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Snapshot>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write<T>(&self, change: impl FnOnce(&mut BTreeMap<String, Snapshot>) -> T) -> T {
        change(&mut self.all.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshots").field("all", &self.read().len()).finish_non_exhaustive()
    }
}

/// Whether a text can be a name: what a segment of an image's name, a label of a host and a segment of a path have in common, and no date.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(plain);
    text.len() <= LONGEST_NAME_BYTES
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
        && text.split(['-', '.']).all(is_word)
}

fn key(name: &str) -> CacheKey {
    CacheKey::new(SPACE, &Audience::Public, name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::{Fault, MemoryStore};

    const NOW: Timestamp = Timestamp::from_secs(1_000);
    const THEN: Timestamp = Timestamp::from_secs(500);

    fn over(store: &MemoryStore) -> Snapshots {
        Snapshots::open(Arc::new(store.clone())).expect("a readable store")
    }

    #[tokio::test]
    async fn names_outlive_the_process_and_stay_what_they_are() {
        let store = MemoryStore::new();
        let snapshots = over(&store);
        snapshots.create("prod", THEN, NOW).await.expect("a free name");
        let again = snapshots.create("prod", NOW, NOW).await;
        assert!(matches!(again, Err(SnapshotError::Exists(known)) if known.at == THEN));
        let reopened = over(&store);
        assert_eq!((reopened.at("prod"), reopened.at("none")), (Some(THEN), None));
        reopened.remove("prod").await.expect("it is there");
        assert!(matches!(reopened.remove("prod").await, Err(SnapshotError::Absent(_))));
        assert_eq!(over(&store).list(), []);
    }

    #[tokio::test]
    async fn what_could_not_be_kept_is_not_there() {
        let store = MemoryStore::new();
        let snapshots = over(&store);
        store.suffer(Fault::Refusing);
        assert!(snapshots.create("prod", THEN, NOW).await.is_err());
        assert_eq!(snapshots.at("prod"), None);
        store.recover(Fault::Refusing);
        snapshots.create("prod", THEN, NOW).await.expect("a free name");
        store.suffer(Fault::Refusing);
        assert!(snapshots.remove("prod").await.is_err());
        assert_eq!(snapshots.at("prod"), Some(THEN));
    }

    #[tokio::test]
    async fn a_name_fits_wherever_it_is_written_and_is_no_date() {
        let snapshots = over(&MemoryStore::new());
        for wrong in ["", "Prod", "2026-03-01", "a/b", "a--b", "-a", "a_", "a.", "ä", "a@b"] {
            let refused = snapshots.create(wrong, THEN, NOW).await;
            assert!(matches!(refused, Err(SnapshotError::Name(_))), "{wrong}");
        }
        let future = snapshots.create("later", NOW.plus(std::time::Duration::from_millis(1)), NOW);
        assert!(matches!(future.await, Err(SnapshotError::Future(_))));
        snapshots.create("release-26.3", NOW, NOW).await.expect("a name");
    }
}
