//! What was found in a file: plain values, kept by its digest, from which the rules draw a verdict.
//!
//! A report says what is there and knows no rule, so that a rule may change without the file being read again.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a file was found to be and to hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    pub format: Format,
    /// What pickles in it import, each as `module name`, in order, each once.
    pub globals: Vec<String>,
    /// What speaks against it beside its imports.
    pub findings: Vec<Finding>,
    /// Whether the file was read as far as there is something to be found. A file that was refused half-way was not.
    pub is_complete: bool,
}

/// What a file is, by its bytes; its name is not looked at.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Nothing that is looked into.
    #[default]
    Other,
    Pickle,
    /// The container of `torch.save`.
    Torch,
    /// Any other ZIP archive.
    Zip,
    Tar,
    /// One array of NumPy's.
    Npy,
    Safetensors,
    Gguf,
    Hdf5,
    Json,
    /// A chat template.
    Template,
}

/// A report in the words of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub format: &'static str,
    /// What speaks against the file, by kinds: `clean` where nothing does; `unsafe` beside whatever is more than that it could not be read.
    pub findings: Vec<&'static str>,
}

/// Something that speaks against a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub kind: Kind,
    /// Where: members of archives on the way, and the byte.
    pub place: String,
    /// What, in words for whoever is refused.
    pub what: String,
}

/// The kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It imports or calls something, and what that is does not stand in the file.
    Unresolved,
    /// It is broken, or ends too soon: others may read on where reading ended here.
    Unparsable,
    /// It has more in it than is looked at: instructions, inflated bytes, members, imports.
    Flood,
    /// Archives in archives, deeper than is looked at.
    Deep,
    /// Two readers may see two things in it.
    Ambiguous,
    /// Its chat template does what no template needs to do.
    Template,
}

impl Report {
    /// Whether it says nothing that a look at the first bytes would not say again.
    pub fn is_plain(&self) -> bool {
        self.format == Format::Other && self.globals.is_empty() && self.findings.is_empty()
    }

    /// Whether something in it could not be read to its end.
    pub fn is_unparsable(&self) -> bool {
        self.has(Kind::Unparsable) || self.has(Kind::Flood) || self.has(Kind::Deep)
    }

    pub fn has(&self, kind: Kind) -> bool {
        self.findings.iter().any(|finding| finding.kind == kind)
    }
}

impl Kind {
    /// The name in facts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unresolved => "unresolved",
            Self::Unparsable => "unparsable",
            Self::Flood => "flood",
            Self::Deep => "deep",
            Self::Ambiguous => "ambiguous",
            Self::Template => "template",
        }
    }

    /// Whether it only says that not everything could be read.
    pub const fn is_unread(self) -> bool {
        matches!(self, Self::Unparsable | Self::Flood | Self::Deep)
    }
}

impl Format {
    /// The name in facts, metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Pickle => "pickle",
            Self::Torch => "torch",
            Self::Zip => "zip",
            Self::Tar => "tar",
            Self::Npy => "npy",
            Self::Safetensors => "safetensors",
            Self::Gguf => "gguf",
            Self::Hdf5 => "hdf5",
            Self::Json => "json",
            Self::Template => "template",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}
