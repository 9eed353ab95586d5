//! The passport of a model: which one it is, in every respect that somebody may ask for later, as one value.
//!
//! It is composed ([`compose()`]) from what passed through: the hub's description, the list of files, and the beginnings of files that are kept. What is not known is
//! `None`, and [`Passport::unknown`] says why; nothing is guessed, and [`Passport::sources`] says where the rest is from. Two commits are compared by
//! [`change`]. Pure; left out: how the sources are got (`models`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::licence::{Licence, Tag};

mod card;
pub mod change;
mod compose;
mod content;
mod lineage;
mod naming;
mod signing;
mod weights;

pub use card::Card;
pub use compose::{Ancestor, Sources, Text, compose};
pub use content::{Format, format_of};
pub use naming::{purl, short};
pub use signing::Signing;
pub use weights::{Kind, Weights};

/// The form that passports have; raised when a field changes its meaning.
pub const FORM: u32 = 1;

/// Everything that is known of one commit of a repository.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Passport {
    pub form: u32,
    /// The readable version: `org/name@2026.11.03-9f8e7d6+Q4_K_M`.
    pub name: String,
    /// When the hub last confirmed what this rests on. RFC 3339, as all times here.
    pub as_of: String,
    pub identity: Identity,
    pub reference: Reference,
    pub content: Content,
    pub precision: Precision,
    pub parameters: Parameters,
    pub task: Task,
    pub lineage: Lineage,
    pub training: Training,
    pub licence: Licences,
    pub trust: Trust,
    pub lifecycle: Lifecycle,
    /// How it was used here; what was not recorded, or is not told to the caller, is `None`.
    #[serde(default)]
    pub usage: Option<Usage>,
    /// Why a field is null or empty: its path, as in `parameters.total`, and the reason.
    pub unknown: BTreeMap<String, String>,
    /// Where a field is from: its path, or that of the group it is in, and the source.
    pub sources: BTreeMap<String, String>,
}

/// Which repository it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    pub purl: String,
    /// The hub's address.
    pub upstream: String,
    /// `models`, `datasets`.
    pub kind: String,
    /// `org/name`.
    pub repository: String,
    /// The hub's own identifier of the repository: another one under the same name is another repository.
    pub id: Option<String>,
    /// The identifier of another repository, which has the name now and is not taken for this one.
    pub namesake: Option<String>,
    pub author: Option<String>,
    pub created_at: Option<String>,
    /// Other names that the hub gave it.
    pub aliases: Vec<String>,
}

/// Which state of it, and by which name it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    pub asked: String,
    pub commit: String,
    /// When the commit was made, in the hub's words.
    pub committed_at: Option<String>,
    /// The commits that the name led to, oldest first.
    pub history: Vec<Seen>,
}

/// A commit, and when it was first seen here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub commit: String,
    pub first_seen: String,
}

/// Which bytes it is made of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Content {
    pub files: Vec<File>,
    /// Of all files, those that are not listed here too.
    pub file_count: Option<u64>,
    pub bytes: Option<u64>,
    pub kept_files: u64,
    pub kept_bytes: u64,
    /// One digest of all files, as the OpenSSF model signing specification makes it (method `files`, SHA-256).
    pub manifest_root: Option<String>,
}

/// A file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    pub path: String,
    pub size: Option<u64>,
    pub sha256: Option<String>,
    /// Git's name of the file, or of the pointer that stands for it.
    pub oid: Option<String>,
    pub xet: Option<String>,
    pub format: Option<Format>,
    /// The hub keeps it outside of git, as it does with what is large.
    pub is_outside_git: bool,
    pub is_kept: bool,
}

/// How its numbers are written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Precision {
    /// The formats of its weights.
    pub formats: Vec<Format>,
    /// How many numbers of each type or encoding are stored.
    pub types: BTreeMap<String, u64>,
    /// The mixtures of encodings of GGUF files, by file.
    pub file_types: BTreeMap<String, String>,
    /// From the configuration.
    pub quantization: Option<Quantization>,
}

/// What the configuration says of quantization.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantization {
    pub method: String,
    pub bits: Option<u64>,
}

/// How large it is, and what it is built like.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// How many numbers its weights have, where they are kept in one format that tells.
    pub total: Option<u64>,
    /// The class that implements it: `LlamaForCausalLM`.
    pub architecture: Option<String>,
    /// The family: `llama`.
    pub family: Option<String>,
    pub context_length: Option<u64>,
}

/// What it is for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Task {
    pub pipeline: Option<String>,
    pub library: Option<String>,
    pub languages: Vec<String>,
    pub tags: Vec<String>,
}

/// What it was made from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// The models that the card names, nearest first, and theirs.
    pub ancestors: Vec<Parent>,
}

/// A model that another one was made from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Parent {
    pub repository: String,
    /// Which model names it.
    pub of: String,
    /// `finetune`, `quantized`, `adapter`, `merge`.
    pub relation: Option<String>,
    /// The commit of its main branch, as far as that was seen here. The card names none.
    pub commit: Option<String>,
    pub licence: Option<Licence>,
    /// Why nothing is known of it.
    pub unknown: Option<String>,
}

/// What it was trained on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Training {
    pub datasets: Vec<String>,
}

/// Under which terms.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Licences {
    /// What the card says.
    pub declared: Option<Licence>,
    /// What the texts in the repository are.
    pub detected: Vec<DetectedText>,
    /// Whether a text was found that is none of what the card says.
    pub mismatch: bool,
    /// All terms together, those of the ancestors too.
    pub effective: Option<Licence>,
    /// What those are known to forbid or demand.
    pub tags: Vec<Tag>,
    /// Ancestors whose terms are not known: what is effective may be stricter than it says.
    pub unknown_ancestors: Vec<String>,
    /// When the hub last confirmed the card that this is from.
    pub as_seen: Option<String>,
}

/// A text in the repository that is a licence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DetectedText {
    pub file: String,
    pub licence: Licence,
    /// About as long as the licence is; else something was added or left out.
    pub is_whole: bool,
}

/// What speaks for it and against it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Trust {
    /// The hub asks for consent before it gives the files.
    pub is_gated: bool,
    pub is_private: bool,
    /// The results of the hub's scanners, in its own words.
    pub scan: Option<serde_json::Value>,
    /// Files that can run code when they are loaded: pickles, and programs that come with the model.
    pub can_run_code: Vec<String>,
    /// The configuration has loaders run code of the repository.
    pub remote_code: Option<bool>,
    /// Files that are signatures, whether or not they are good.
    pub signatures: Vec<String>,
    /// What that of all files says, where it is kept and somebody signed it who is believed.
    pub signed: Option<Signing>,
    /// What is wrong with the beginnings of files, by file.
    pub broken: BTreeMap<String, String>,
}

/// What has become of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// `present`, `gone`, `closed`, `disabled`.
    pub state: String,
    pub since: Option<String>,
    /// The hub could not be asked lately.
    pub is_offline: bool,
    /// The hub's own word, where it refuses.
    pub refusal: Option<String>,
}

/// How often its files were pulled here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Since when every pull is counted. What `first` says may be as old as that, and no older.
    pub recorded_since: String,
    pub pulls: u64,
    pub bytes: u64,
    pub first: Option<String>,
    pub last: Option<String>,
    /// By whom, for administrators.
    pub by: Option<Vec<UsedBy>>,
}

/// A client's use of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedBy {
    /// The name of its access token, or its network; empty: nobody in particular.
    pub client: String,
    pub pulls: u64,
    pub last: String,
}

#[cfg(test)]
mod tests;
