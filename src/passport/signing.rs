//! Who signed a model's files, where its signature is kept: the same as rules are told, for all files at once.

use serde::{Deserialize, Serialize};

use super::File;
use crate::signature::Trust;
use crate::signature::model::{self, Word};
use crate::types::Timestamp;

/// Where a signature of all files lies.
pub(super) const PATH: &str = "model.sig";

/// What a signature that is believed says of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signing {
    /// Who signed: the identity that a certificate was given to, or `key:NAME`.
    pub by: String,
    /// Until when that counts, where it does not for ever.
    pub until: Option<String>,
    /// Files that are others than those that were signed.
    pub changed: Vec<String>,
    /// Files that were neither signed nor left out by name.
    pub unsigned: Vec<String>,
    /// Signed files that cannot be held against it: the hub names no SHA-256 of what is in git, and they are not kept.
    pub unseen: Vec<String>,
}

/// Holds a signature against all files of a commit. `Err`: why it is not believed.
pub(super) fn read(trust: &Trust, signature: &[u8], files: &[File]) -> Result<Signing, String> {
    let signed = model::verify(trust, signature).map_err(|fault| fault.to_string())?;
    let is_lacking = |path: &&str| files.iter().all(|file| file.path != *path);
    if let Some(path) = signed.manifest.paths().find(is_lacking) {
        let by = &signed.signed_by;
        return Err(format!(
            "{by} signed a model with the file {path:?}, which its commit does not have"
        ));
    }
    let until = signed.until_secs.map(|secs| Timestamp::from_secs(secs).to_rfc3339());
    let mut signing = Signing { by: signed.signed_by, until, ..Signing::default() };
    for file in files {
        let list = match (signed.manifest.word_on(&file.path, PATH), &file.sha256) {
            (Word::Signed(digest), Some(sha256)) if hex::encode(digest) == *sha256 => continue,
            (Word::LeftOut, _) => continue,
            (Word::Signed(_), Some(_)) => &mut signing.changed,
            (Word::Signed(_), None) => &mut signing.unseen,
            (Word::Unsigned, _) => &mut signing.unsigned,
        };
        list.push(file.path.clone());
    }
    Ok(signing)
}
