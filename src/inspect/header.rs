//! Formats that are a header and numbers: the header is read, the numbers are nobody's program.

use super::notes::Notes;
use super::report::Kind;
use super::tap::{Machine, Step};
use super::template;
use crate::formats::{Reading, gguf, safetensors};

/// Longer headers are not read here; the longest known ones, of vocabularies, have a tenth of it.
const MOST_HEADER: u64 = 64 << 20;

/// A header being read.
#[derive(Debug)]
pub(super) struct Header {
    kind: Kinds,
    /// Length of the file, where it is known.
    total: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
enum Kinds {
    Safetensors,
    Gguf,
}

impl Header {
    pub(super) const fn safetensors(total: Option<u64>) -> Self {
        Self { kind: Kinds::Safetensors, total }
    }

    pub(super) const fn gguf(total: Option<u64>) -> Self {
        Self { kind: Kinds::Gguf, total }
    }

    /// The file ends before its header does.
    pub(super) fn finish(&self, notes: &mut Notes) {
        notes.find(Kind::Unparsable, 0, "the file ends within its header".to_owned());
    }

    /// What is known from `input`: `Err` is how much is needed.
    fn read(&self, input: &[u8], notes: &mut Notes) -> Result<(), u64> {
        let fault = match self.kind {
            Kinds::Safetensors => match safetensors::read(input, self.total) {
                Reading::Needs(needed) => return Err(needed),
                Reading::Read(_) => return Ok(()),
                Reading::Broken(fault) => fault.to_string(),
            },
            Kinds::Gguf => match gguf::read(input, self.total) {
                Reading::Needs(needed) => return Err(needed),
                Reading::Read(header) => {
                    for (name, text) in header.chat_templates() {
                        template::check(name, text, notes);
                    }
                    return Ok(());
                }
                Reading::Broken(fault) => fault.to_string(),
            },
        };
        notes.find(Kind::Unparsable, 0, fault);
        Ok(())
    }
}

impl Machine for Header {
    type Notes = Notes;

    fn advance(&mut self, input: &[u8], notes: &mut Notes) -> Step {
        match self.read(input, notes) {
            Ok(()) => Step::Done(input.len()),
            Err(needed) if needed > MOST_HEADER => {
                notes.find(Kind::Flood, 0, "the header is too long".to_owned());
                Step::Done(input.len())
            }
            Err(needed) => Step::Need(usize::try_from(needed).unwrap_or(usize::MAX)),
        }
    }
}
