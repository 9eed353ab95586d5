//! What the exchange writes into [`Entry::note`]: its part of the disk format, documented here.
//!
//! ```text
//! byte 0      version, now 1
//! byte 1..    postcard of `Note`
//! ```
//!
//! Under the key of a target lies either the one response that has no `Vary`, or a note that names the request fields responses vary
//! by; those responses lie beside it, under [`CacheKey::variant`] of what their request had in these fields. An unknown version or a broken
//! note is a miss that heals.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::semantics::freshness::Freshness;
use crate::semantics::vary::Selection;
use crate::store::{Entry, Stored};
use crate::types::{CacheKey, Timestamp};

const VERSION: u8 = 1;

/// The exchange's state beside an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Note {
    /// A response, and what its request had in the fields that it varies by.
    Response { freshness: Freshness, selection: Selection },
    /// The lists of fields by which responses of this target vary, the newest first.
    Varies(Vec<Vec<String>>),
}

impl Note {
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => postcard::from_bytes(rest).ok(),
            _ => None,
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        postcard::to_extend(self, vec![VERSION])
            .expect("a note holds nothing that postcard cannot write")
            .into()
    }
}

/// The entry that says by which fields a target's responses vary.
pub(super) fn varies_entry(lists: Vec<Vec<String>>, now: Timestamp) -> Entry {
    Entry { note: Note::Varies(lists).encode(), ..Entry::new(Stored::None, now) }
}

/// Where the response selected by `selection` lies.
pub(super) fn row_of(target: &CacheKey, selection: &Selection) -> CacheKey {
    match selection.is_empty() {
        true => target.clone(),
        // The text may be as long as a request's fields; the note holds it whole, for comparison.
        false => target.variant(&hex::encode(&Sha256::digest(selection.text())[..16])),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::semantics::freshness::Rules;
    use crate::types::Head;

    #[test]
    fn notes_are_read_back_and_others_are_not() {
        let head = Head::new(http::StatusCode::OK);
        let now = Timestamp(7);
        let freshness = Freshness::of(&head, &Rules::read(&head.headers), now, now);
        let selection = Selection::of(&[http::header::ACCEPT], &HeaderMap::new());
        for note in
            [Note::Response { freshness, selection }, Note::Varies(vec![vec!["accept".to_owned()]])]
        {
            let bytes = note.encode();
            assert_eq!(Note::decode(&bytes), Some(note));
            let newer = [&[VERSION + 1], &bytes[1..]].concat();
            assert_eq!(Note::decode(&newer), None);
            assert_eq!(Note::decode(&bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(Note::decode(b""), None);
    }
}
