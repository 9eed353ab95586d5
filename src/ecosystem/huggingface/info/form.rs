//! How descriptions are written down, and the forms that they had before.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Info, Said, Seen, from_row};
use crate::ecosystem::huggingface::identity::Identity;
use crate::ecosystem::huggingface::repository::Commit;
use crate::ecosystem::huggingface::word::Word;
use crate::types::Timestamp;

/// The form of [`Info`] before it knew of identities, which is that of all other rows.
#[derive(Serialize, Deserialize)]
struct FormerInfo {
    text: Option<String>,
    commit: Option<Commit>,
    is_private: bool,
    is_gated: bool,
    is_disabled: bool,
    refusal: Option<Word>,
    closed_since: Option<Timestamp>,
    history: Vec<Seen>,
}

/// The form of [`Info`].
const INFO_VERSION: u8 = 3;

/// The form before it remembered the first licence, which is its last field.
const WITHOUT_LICENCE: u8 = 2;

impl Info {
    pub(in crate::ecosystem::huggingface) fn to_bytes(&self) -> Bytes {
        let written = postcard::to_extend(self, vec![INFO_VERSION]);
        written.expect("postcard writes any value of these types to memory").into()
    }

    pub(in crate::ecosystem::huggingface) fn read(kept: &Bytes) -> Result<Self, String> {
        if let Some((&INFO_VERSION, row)) = kept.split_first() {
            return postcard::from_bytes(row).map_err(|error| error.to_string());
        }
        if let Some((&WITHOUT_LICENCE, row)) = kept.split_first() {
            const NONE: &[u8] = &[0];
            let info = postcard::from_bytes::<Self>(&[row, NONE].concat());
            let info = info.map_err(|error| error.to_string())?;
            // What it declares now is the first that is known.
            let first = info.text.as_ref().map(|_| info.declared_licence());
            return Ok(Self { first_licence: first, ..info });
        }
        let FormerInfo {
            text,
            commit,
            is_private,
            is_gated,
            is_disabled,
            refusal,
            closed_since,
            history,
        } = from_row(kept)?;
        // What the hub said names the repository, though nobody looked at that then.
        let said = text.as_deref().and_then(|text| serde_json::from_str::<Said>(text).ok());
        let identity = said.and_then(|said| Identity::of(said.identity, said.created.as_deref()));
        Ok(Self {
            text,
            commit,
            is_private,
            is_gated,
            is_disabled,
            refusal,
            closed_since,
            is_cut: history.len() >= FORMER_HISTORY,
            history,
            identity,
            ..Self::default()
        })
    }
}

/// How many commits of a branch the former form remembered.
const FORMER_HISTORY: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_before_the_first_licence_was_remembered_is_read() {
        let text = Some(r#"{"id":"o/m","tags":["license:mit"]}"#.to_owned());
        let info = Info { text, is_gated: true, first_licence: None, ..Info::default() };
        let mut row = info.to_bytes().to_vec();
        assert_eq!((row.remove(0), row.pop()), (INFO_VERSION, Some(0)), "its last field is none");
        row.insert(0, WITHOUT_LICENCE);
        let read = Info::read(&row.into()).expect("a row of the former form");
        assert_eq!(read, Info { first_licence: Some("mit".to_owned()), ..info });
    }
}
