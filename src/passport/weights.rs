//! What the beginnings of weights say, summed up over all files of a model.

use std::collections::{BTreeMap, BTreeSet};

use super::File;
use crate::formats::{Reading, gguf, safetensors};

/// What the beginning of a file of weights said.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    pub path: String,
    pub kind: Kind,
    /// How many numbers of each type or encoding.
    pub numbers: BTreeMap<String, u64>,
    /// Of a GGUF file: the mixture of encodings.
    pub file_type: Option<String>,
    pub architecture: Option<String>,
    pub context_length: Option<u64>,
    /// Of a GGUF file: it holds a template that loaders run.
    pub has_template: bool,
}

/// The formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Safetensors,
    Gguf,
}

impl Kind {
    /// By the name of a file.
    pub fn of(path: &str) -> Option<Self> {
        match super::format_of(path)? {
            super::Format::Safetensors => Some(Self::Safetensors),
            super::Format::Gguf => Some(Self::Gguf),
            _ => None,
        }
    }
}

impl Weights {
    /// Reads the beginning of a file of this many bytes. [`Reading::Broken`] says why in words.
    pub fn read(
        path: &str,
        kind: Kind,
        prefix: &[u8],
        file_bytes: Option<u64>,
    ) -> Reading<Self, String> {
        match kind {
            Kind::Safetensors => match safetensors::read(prefix, file_bytes) {
                Reading::Needs(more) => Reading::Needs(more),
                Reading::Broken(fault) => Reading::Broken(fault.to_string()),
                Reading::Read(header) => Reading::Read(Self::of_safetensors(path, &header)),
            },
            Kind::Gguf => match gguf::read(prefix, file_bytes) {
                Reading::Needs(more) => Reading::Needs(more),
                Reading::Broken(fault) => Reading::Broken(fault.to_string()),
                Reading::Read(header) => Reading::Read(Self::of_gguf(path, &header)),
            },
        }
    }

    fn of_safetensors(path: &str, header: &safetensors::Header) -> Self {
        let numbers = header.numbers();
        Self {
            path: path.to_owned(),
            kind: Kind::Safetensors,
            numbers: numbers.into_iter().map(|(dtype, count)| (dtype.to_string(), count)).collect(),
            file_type: None,
            architecture: None,
            context_length: None,
            has_template: false,
        }
    }

    fn of_gguf(path: &str, header: &gguf::Header<'_>) -> Self {
        let name = |number: u32| {
            gguf::encoding_name(number).map_or_else(|| format!("encoding {number}"), str::to_owned)
        };
        let numbers = header.numbers();
        Self {
            path: path.to_owned(),
            kind: Kind::Gguf,
            numbers: numbers.into_iter().map(|(encoding, count)| (name(encoding), count)).collect(),
            file_type: header.file_type().map(str::to_owned),
            architecture: header.architecture().map(str::to_owned),
            context_length: header.context_length(),
            has_template: header.chat_templates().next().is_some(),
        }
    }

    /// All numbers of the file.
    pub fn total(&self) -> u64 {
        self.numbers.values().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// How many numbers a model has; `Err`: why that is not known.
pub(super) fn parameters(
    read: &[(String, Result<Weights, String>)],
    files: &[File],
) -> Result<u64, String> {
    let mut sets: BTreeMap<(bool, String), u64> = BTreeMap::new();
    for file in files {
        let Some(kind) = Kind::of(&file.path) else { continue };
        let own = read.iter().find(|(path, _)| *path == file.path);
        let Some((_, Ok(weights))) = own else {
            return Err(format!("the beginning of {} is not kept, or cannot be read", file.path));
        };
        let set = (kind == Kind::Gguf, set_of(&file.path));
        let sum = sets.entry(set).or_insert(0);
        *sum = sum.saturating_add(weights.total());
    }
    let totals: BTreeSet<u64> = sets.values().copied().collect();
    match (totals.len(), totals.first()) {
        (1, Some(total)) => Ok(*total),
        (0, _) | (_, None) => Err("there are no weights in a format that tells".to_owned()),
        _ => Err("there are several sets of weights, of different sizes".to_owned()),
    }
}

/// Files that are parts of one whole have the same name but for their numbers.
fn set_of(path: &str) -> String {
    let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let cut = stem.rsplit_once("-of-").filter(|(_, count)| digits(count));
    let cut = cut.and_then(|(front, _)| front.rsplit_once('-'));
    match cut {
        Some((front, number)) if digits(number) => front.to_owned(),
        _ => stem.to_owned(),
    }
}
