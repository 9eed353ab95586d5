//! Documents whose bytes are an artifact's: where that one is kept, nobody is asked for them again, and nobody need be there to be asked.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use url::Url;

use crate::cache::document::refresh::{Refresh, Whole};
use crate::cache::lookup::{Accepted, Page};
use crate::store::Stored;
use crate::types::Head;

impl Refresh {
    /// What the artifact holds whose bytes the document is a reading of, as if upstream had answered with it. What cannot be read is asked for.
    pub(super) async fn at_hand(&self) -> Option<Whole> {
        if self.previous.is_some() {
            return None;
        }
        let body = self.artifact().await?;
        let origin = self.document.lookup.origins.first();
        let nowhere = || Url::parse("about:blank").expect("an address without a host is one");
        let url = origin.map_or_else(nowhere, |request| request.url.clone());
        let accepted = Accepted { fresh_for: Duration::MAX, ..Accepted::default() };
        let first = Page { url, head: Head::new(StatusCode::OK), body };
        Some(Whole { index: 0, accepted, first, rest: Vec::new() })
    }

    async fn artifact(&self) -> Option<Bytes> {
        let key = self.document.keep.bytes_of()?;
        let entry = self.parts.store.get(&key).ok()??;
        match &entry.body {
            Stored::None => None,
            Stored::Inline(bytes) => Some(bytes.clone()),
            Stored::Blob { size, .. } if *size > self.document.limit_bytes => None,
            Stored::Blob { id, size } => self.parts.read_blob(*id, *size).await.ok()?,
        }
    }
}
