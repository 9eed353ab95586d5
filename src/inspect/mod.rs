//! What is in a file: looked into while it streams, without running any of it.
//!
//! Many files of models are programs: a pickle imports and calls what it likes when it is loaded, and a chat template may do as much. Here they are read, never
//! run; what they would import is held against a list of what is allowed ([`Rules`]). Pure: bytes in, a [`Report`] out, in bounded memory, in one pass; what
//! is only numbers is passed over.
//!
//! ```text
//! content    what something is, by its first bytes; no name is believed
//! pickle     the machine that pickles are programs for, protocols 0 to 5, and the arrays that joblib puts between their instructions
//! archive    members of ZIP and tape archives, PyTorch's containers among them
//! stream     what zlib and gzip compressed as a whole
//! npy, header, json, template    arrays that hold pickles, headers that hold templates, templates
//! tap        bytes as they come, in the pieces that readers want
//! notes, report, rules           what was found, and what follows from it
//! ```
//!
//! Left out: who asks, and what becomes of the answer (`cache`); HDF5, ONNX and Python's own source, which pass unjudged and are named by what they are;
//! streams compressed otherwise than by zlib and gzip; and whether what is allowed is any good.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

mod archive;
mod content;
mod header;
mod json;
mod notes;
mod npy;
mod pickle;
mod report;
mod rules;
#[cfg(any(test, feature = "fuzzing"))]
pub mod samples;
mod stream;
mod tap;
mod template;
#[cfg(test)]
mod tests;

use content::Content;
use notes::Notes;
pub use report::{Finding, Format, Kind, Report, Summary};
pub use rules::{Action, Config, Mode, Rules, Ruling};

/// Of the readers here. Reports of another version are not believed, and files are read again.
pub const VERSION: u32 = 2;

/// What an artifact is to those who look into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Nature {
    /// A file that people put models and data in. All of it is looked into.
    #[default]
    Data,
    /// A part of something larger, such as a layer of an image: looked into if it is a model by itself; a tape archive is a file system.
    Layer,
    /// A chat template by its name.
    Template,
    /// A program, or a package of programs, which does what it likes once it is installed: nothing in it says more than that.
    Program,
}

/// How far the verdict on a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// More must come.
    Looking,
    /// Whatever comes, nothing more will be found.
    Clear,
    /// What was found is enough to refuse it.
    Refused,
}

/// A file being looked into.
#[derive(Debug)]
pub struct Inspection {
    content: Content,
    notes: Notes,
    read: u64,
}

impl Inspection {
    /// A file of this nature, of `total` bytes where that is known. `None`: such files are not looked into.
    pub fn new(rules: &Arc<Rules>, nature: Nature, total: Option<u64>) -> Option<Self> {
        let content = match nature {
            Nature::Data => Content::file(total, true),
            Nature::Layer => Content::file(total, false),
            Nature::Template => Content::template(),
            Nature::Program => return None,
        };
        Some(Self { content, notes: Notes::new(Arc::clone(rules)), read: 0 })
    }

    /// Reads the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) -> Standing {
        self.read += bytes.len() as u64;
        self.content.feed(bytes, &mut self.notes);
        self.standing()
    }

    /// How many of the next bytes it does not need to see; they may be told to [`Inspection::pass`] instead.
    pub const fn skips(&self) -> u64 {
        self.content.skips()
    }

    /// Goes past bytes that it does not need to see.
    pub fn pass(&mut self, count: u64) {
        self.read = self.read.saturating_add(count);
        self.content.pass(count);
    }

    /// How far the verdict is.
    pub const fn standing(&self) -> Standing {
        match (self.notes.is_refused(), self.content.is_settled()) {
            (true, _) => Standing::Refused,
            (false, true) => Standing::Clear,
            (false, false) => Standing::Looking,
        }
    }

    /// How many bytes have come.
    pub const fn read(&self) -> u64 {
        self.read
    }

    /// What was found so far, when reading stops before the end.
    pub fn so_far(&self) -> Report {
        self.notes.report(self.content.is_settled())
    }

    /// All of it has come.
    pub fn finish(mut self) -> Report {
        self.content.finish(&mut self.notes);
        self.notes.report(true)
    }
}
