//! What people do to the cache by hand: removing entries, forgetting them, looking at transfers, ending them; and what healing sets aside in memory.
//!
//! Left out: which entries make up what a person names (`keep`), and transfers of exchanges, which end with the last of their clients.

use std::sync::Arc;

use crate::cache::Cache;
use crate::cache::artifact::Hot;
use crate::cache::document::Loaded;
use crate::cache::fill::Transfer;
use crate::store::{Change, StoreError};
use crate::types::CacheKey;

/// Entries that one commit removes, so that those of clients have their turn in between.
const MOST_AT_ONCE: usize = 1024;

/// What memory had of a key.
#[derive(Debug)]
pub struct Aside {
    key: CacheKey,
    document: Option<Arc<Loaded>>,
    artifact: Option<Arc<Hot>>,
}

impl Cache {
    /// Removes entries from the store and from memory. What is fetched or refreshed at this moment may be kept again right after. When it fails half
    /// way, some are gone and the others are as they were.
    pub async fn remove(&self, keys: &[CacheKey]) -> Result<(), StoreError> {
        let parts = &self.parts;
        for some in keys.chunks(MOST_AT_ONCE) {
            let removals = some.iter().map(|key| Change::Remove { key: key.clone() }).collect();
            let removed = parts.store.commit(removals).await;
            // Memory first says nothing of what the store no longer has; when the commit failed this costs a read.
            for key in some {
                parts.documents.forget(key);
                parts.artifacts.forget(key);
            }
            parts.edition.turn();
            removed?;
        }
        Ok(())
    }

    /// Lets go of what is in memory of these: somebody has written their entries into the store itself.
    pub fn forget(&self, keys: &[CacheKey]) {
        for key in keys {
            self.parts.documents.forget(key);
            self.parts.artifacts.forget(key);
        }
        self.parts.edition.turn();
    }

    /// Lets go of what is in memory of a key, so that it is looked for in the store and upstream, and gives it to whoever may want it back there.
    pub fn set_aside(&self, key: &CacheKey) -> Aside {
        let document = self.parts.documents.recall(key);
        let artifact = self.parts.artifacts.recall(key);
        self.forget(std::slice::from_ref(key));
        Aside { key: key.clone(), document, artifact }
    }

    /// Has in memory again what was set aside.
    pub fn put_back(&self, aside: Aside) {
        let Aside { key, document, artifact } = aside;
        if let Some(document) = document {
            self.parts.documents.remember(&key, &document);
        }
        if let Some(artifact) = artifact {
            self.parts.artifacts.remember(key, artifact);
        }
        self.parts.edition.turn();
    }

    /// The transfers under way, the oldest first.
    pub fn transfers(&self) -> Vec<Transfer> {
        self.parts.fills.transfers()
    }

    /// Ends a transfer; false when none has this number. Its readers are cut off; what it brought is kept for the next one.
    pub fn cancel(&self, number: u64) -> bool {
        self.parts.fills.cancel(number)
    }
}
