//! Changes what is kept of a document on somebody's word, and not upstream's. Left out: who may say so.

use std::sync::Arc;

use http::StatusCode;

use crate::cache::Cache;
use crate::cache::document::refresh::stored;
use crate::cache::document::{Loaded, Refreshed};
use crate::cache::failure::Failure;
use crate::cache::lookup::{Document, Kept, Parsed};
use crate::store::{Change, Entry, Stored};
use crate::types::{BlobId, Head};

/// How often a refresh that is under way is waited for.
const MOST_ATTEMPTS: usize = 8;

/// What a kept document should be instead; `None`: nothing is to be changed.
pub type Edit = Arc<dyn Fn(&Parsed) -> Option<Kept> + Send + Sync>;

impl Cache {
    /// Changes a kept document, durably; whoever asks for it next asks upstream. No refresh is under way meanwhile, so that neither undoes the other.
    /// `Ok(false)`: nothing is kept, or nothing was to be changed.
    pub async fn amend(&self, document: &Document, edit: Edit) -> Result<bool, Failure> {
        let parts = &self.parts;
        for _ in 0..MOST_ATTEMPTS {
            let flight = (self.clone(), document.clone(), Arc::clone(&edit));
            let key = &document.lookup.key;
            let mut seat = parts.documents.refreshes.board(key, &parts.tasks, |pilot| async move {
                let (cache, document, edit) = flight;
                let outcome = cache.amended(&document, &edit).await;
                pilot.publish(Refreshed { outcome, status: None });
            });
            let Some(refreshed) = seat.answer().await else { return Err(Failure::NotKept) };
            if seat.joined {
                continue;
            }
            return match refreshed.outcome {
                Ok(_) => Ok(true),
                Err(Failure::NotKept | Failure::Absent) => Ok(false),
                Err(failure) => Err(failure),
            };
        }
        Err(Failure::NotKept)
    }

    async fn amended(&self, document: &Document, edit: &Edit) -> Result<Arc<Loaded>, Failure> {
        let parts = &self.parts;
        let key = &document.lookup.key;
        let loaded = self.load(document).await?.ok_or(Failure::NotKept)?;
        let Kept { bytes, parsed, .. } = edit(&loaded.parsed).ok_or(Failure::Absent)?;
        let content = BlobId::of(&bytes);
        let mut entry = Entry::clone(&loaded.entry);
        // Without validators, since upstream must say again what it said.
        entry.head = Head::new(StatusCode::OK);
        entry.body = stored(content, &bytes);
        entry.fresh_until = parts.clock.now();
        if let Stored::Blob { id, .. } = &entry.body {
            parts.store_blob(key, *id, bytes).await?;
        }
        let entry = Arc::new(entry);
        let put = Change::Put { key: key.clone(), entry: Arc::clone(&entry) };
        parts.store.commit(vec![put]).await?;
        let amended = Arc::new(Loaded::new(parsed, content, entry));
        parts.documents.remember(key, &amended);
        parts.edition.turn();
        Ok(amended)
    }
}
