//! What can be wrong with a setting, in words for whoever wrote it.

use std::fmt;

use figment::error::{Actual, Kind};

use super::layers::PREFIX;

/// One thing wrong with one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it was written: `FILE:LINE`, an environment variable, or a flag.
    pub source: String,
    /// Its path: `cache.memory`. Empty when the source as a whole is meant.
    pub key: String,
    /// What is wrong, and what was expected.
    pub problem: String,
}

impl Fault {
    pub fn new(
        source: impl Into<String>,
        key: impl Into<String>,
        problem: impl Into<String>,
    ) -> Self {
        Self { source: source.into(), key: key.into(), problem: problem.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.source, self.problem),
            key => write!(f, "{}: {key}: {}", self.source, self.problem),
        }
    }
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has a fault:")?,
            count => write!(f, "the configuration has {count} faults:")?,
        }
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl std::error::Error for Faults {}

/// A path as TOML wants it: parts that are not bare stand in quotes.
pub(super) fn key_of(path: &[String]) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let part = |part: &String| match !part.is_empty() && part.chars().all(is_bare) {
        true => part.clone(),
        false => format!("{part:?}"),
    };
    path.iter().map(part).collect::<Vec<_>>().join(".")
}

/// Words a failed reading of a value. Values of a wrong type are not repeated: the key may be a secret's.
pub(super) fn explain(kind: &Kind) -> String {
    match kind {
        Kind::UnknownField(name, known) => unknown(name, known),
        Kind::UnknownVariant(name, known) => {
            format!("found {name:?}, expected one of {}", list(known))
        }
        Kind::InvalidType(actual, expected) => {
            format!("found {}, expected {}", type_of(actual), plain(expected))
        }
        Kind::InvalidValue(actual, expected) => {
            format!("found {}, expected {}", value_of(actual), plain(expected))
        }
        Kind::InvalidLength(length, expected) => {
            format!("found {length} items, expected {}", plain(expected))
        }
        Kind::MissingField(name) => format!("needs `{name}`"),
        Kind::Message(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Words an unknown name at the root that is a section and a key of it with one underscore between them: in the environment there must be two.
pub(super) fn misplaced(name: &str, known: &[&str]) -> Option<String> {
    let section = known.iter().find(|section| {
        name.strip_prefix(**section).is_some_and(|rest| rest.len() > 1 && rest.starts_with('_'))
    })?;
    let key = &name[section.len() + 1..];
    let variable = format!("{PREFIX}{section}__{key}").to_ascii_uppercase();
    Some(format!(
        "unknown setting, did you mean `{section}.{key}`? In the environment it is {variable}"
    ))
}

fn unknown(name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(meant) => format!("unknown setting, did you mean `{meant}`?"),
        None => format!("unknown setting, expected one of {}", list(known)),
    }
}

/// The known name that `name` was probably meant to be: at most half of its letters differ.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), *candidate))
        .filter(|(distance, candidate)| distance * 2 <= candidate.len())
        .min()
        .map(|(_, candidate)| candidate)
}

fn list(names: &[&str]) -> String {
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    sorted.join(", ")
}

fn type_of(actual: &Actual) -> &'static str {
    match actual {
        Actual::Bool(_) => "true or false",
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) => "a number",
        Actual::Str(_) | Actual::Char(_) => "text",
        Actual::Seq => "a list",
        Actual::Map => "a table",
        _ => "something else",
    }
}

fn value_of(actual: &Actual) -> String {
    match actual {
        Actual::Str(text) => format!("{text:?}"),
        Actual::Unsigned(number) => number.to_string(),
        Actual::Signed(number) => number.to_string(),
        Actual::Float(number) => number.to_string(),
        Actual::Bool(truth) => truth.to_string(),
        other => type_of(other).to_owned(),
    }
}

/// Serde names Rust types; whoever edits a file knows TOML's.
fn plain(expected: &str) -> String {
    match expected {
        "a duration" => "a duration such as \"500ms\", \"10s\" or \"2h\"".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        "a string" | "path string" => "text in quotes".to_owned(),
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" | "u64" | "usize" => "a whole number of 0 or more".to_owned(),
        "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f64" => "a number".to_owned(),
        other if other.starts_with("struct ") => "a table".to_owned(),
        other if other.starts_with("enum ") => "text in quotes".to_owned(),
        other => other.to_owned(),
    }
}
