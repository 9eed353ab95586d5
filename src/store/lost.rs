//! Notes of what was lost to damage: kept in the index until it is had again, so that a restart forgets none of them.
//!
//! A note is written by the commit that removes the rows of what is damaged: from then on nothing else remembers what they were. Left out: who fetches
//! it again (`heal`).

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::store::{Change, Entry, Store, StoreError, Stored};
use crate::types::{Algorithm, Audience, BlobId, CacheKey, Digest, Head, Presence, Timestamp};

/// The space of the index that notes are kept in.
const SPACE: &str = "lost";

/// Something that was kept, and is not any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// What it was kept under, as [`CacheKey::as_str`] writes it.
    key: String,
    /// The SHA-256 of its bytes; `None` for what lay in the index itself.
    blob: Option<String>,
    pub bytes: u64,
    /// What was wrong: `digest`, `length`, `missing`, `unreadable`, `record`.
    pub damage: String,
    /// How often it was asked for since.
    pub tried: u32,
    /// When it is asked for next.
    pub next: Timestamp,
    /// Why it was not had the last time.
    pub reason: Option<String>,
}

impl Loss {
    /// Something that has just been lost, to be asked for at once.
    pub fn new(key: &CacheKey, blob: Option<BlobId>, bytes: u64, damage: &str) -> Self {
        Self {
            key: key.as_str().to_owned(),
            blob: blob.map(|blob| blob.to_hex()),
            bytes,
            damage: damage.to_owned(),
            tried: 0,
            next: Timestamp(0),
            reason: None,
        }
    }

    /// What it was kept under. `None`: no key of this program's making.
    pub fn key(&self) -> Option<CacheKey> {
        CacheKey::from_encoded(&self.key)
    }

    pub fn blob(&self) -> Option<BlobId> {
        Digest::from_hex(Algorithm::Sha256, self.blob.as_ref()?).ok()?.blob_id()
    }

    /// Writes the note, or writes it anew.
    pub fn note(&self) -> Change {
        let bytes = serde_json::to_vec(self).expect("texts and numbers have a form in JSON");
        let entry = Entry {
            head: Head::new(StatusCode::OK),
            body: Stored::Inline(bytes.into()),
            origin: None,
            first_kept: Timestamp(0),
            validated: Timestamp(0),
            fresh_until: Timestamp::NEVER,
            presence: Presence::Present,
            digests: Vec::new(),
            note: Bytes::new(),
        };
        Change::Put { key: self.place(), entry: Arc::new(entry) }
    }

    /// Where the note is of what was kept under a key.
    pub fn place_of(key: &CacheKey) -> CacheKey {
        place(key.as_str())
    }

    /// Removes it.
    pub fn end(&self) -> Change {
        Change::Remove { key: self.place() }
    }

    /// The notes that come after another one, in order, at most `limit`. One that cannot be read is left out.
    pub fn scan(
        store: &dyn Store,
        after: Option<&Self>,
        limit: usize,
    ) -> Result<Vec<Self>, StoreError> {
        let after = after.map(Self::place);
        let mut found = Vec::new();
        for key in store.scan(&CacheKey::start_of_space(SPACE), after.as_ref(), limit)? {
            let Some(entry) = store.get(&key)? else { continue };
            let Stored::Inline(bytes) = &entry.body else { continue };
            match serde_json::from_slice(bytes) {
                Ok(loss) => found.push(loss),
                Err(error) => {
                    tracing::warn!(cache.key = %key, %error, "a note of something lost cannot be read");
                }
            }
        }
        Ok(found)
    }

    fn place(&self) -> CacheKey {
        place(&self.key)
    }
}

/// The separators within a key are replaced, so that the text stays one part.
fn place(key: &str) -> CacheKey {
    CacheKey::new(SPACE, &Audience::Public, key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn notes_are_found_again_until_they_are_ended() {
        let store = MemoryStore::new();
        let key = |name| CacheKey::new("shelf", &Audience::Service, name);
        let blob = BlobId::of(b"bytes");
        let losses = ["a", "b", "c"].map(|name| Loss::new(&key(name), Some(blob), 5, "digest"));
        store.commit(losses.iter().map(Loss::note).collect()).await.expect("it works");
        let found = Loss::scan(&store, None, 2).expect("it works");
        assert_eq!(found, losses[..2]);
        assert_eq!((found[1].key(), found[1].blob()), (Some(key("b")), Some(blob)));
        let tried = Loss { tried: 1, reason: Some("gone".to_owned()), ..losses[2].clone() };
        store.commit(vec![tried.note(), losses[0].end()]).await.expect("it works");
        let found = Loss::scan(&store, Some(&losses[1]), 9).expect("it works");
        assert_eq!(found, [tried]);
        assert_eq!(Loss::scan(&store, None, 9).expect("it works").len(), 2);
    }
}
