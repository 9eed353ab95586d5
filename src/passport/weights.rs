//! What the beginnings of weights say, summed up over all files of a model.

use std::collections::BTreeMap;

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
