//! Reading tables of TOML by hand, so that every fault can be told at once, each with its line, its key and what was expected.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub line: usize,
    /// Such as `rule.cool-down.hold_if`. Empty when the file as a whole is meant.
    pub key: String,
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "line {}: {}", self.line, self.problem),
            key => write!(f, "line {}: {key}: {}", self.line, self.problem),
        }
    }
}

/// A text that is being read, and what was found wrong with it so far.
pub(super) struct Reader<'t> {
    text: &'t str,
    pub(super) faults: Vec<Fault>,
}

/// A value with its place.
pub(super) type Value<'t> = Spanned<DeValue<'t>>;

impl<'t> Reader<'t> {
    pub(super) const fn new(text: &'t str) -> Self {
        Self { text, faults: Vec::new() }
    }

    /// The whole file as a table; of a text that is no TOML only the first mistake is told, since what follows it is guesswork.
    pub(super) fn root(&mut self) -> Option<Spanned<DeTable<'t>>> {
        match DeTable::parse(self.text) {
            Ok(table) => Some(table),
            Err(error) => {
                self.fault(&error.span().unwrap_or(0..0), "", error.message());
                None
            }
        }
    }

    pub(super) fn line(&self, place: &Range<usize>) -> usize {
        1 + self.text.bytes().take(place.start).filter(|byte| *byte == b'\n').count()
    }

    pub(super) fn fault(
        &mut self,
        place: &Range<usize>,
        key: impl Into<String>,
        problem: impl Into<String>,
    ) {
        let fault = Fault { line: self.line(place), key: key.into(), problem: problem.into() };
        self.faults.push(fault);
    }

    /// Tells of a key that there is none of.
    pub(super) fn unknown<'k>(
        &mut self,
        place: &Range<usize>,
        path: &str,
        key: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) {
        let known: Vec<&str> = known.into_iter().collect();
        let close = known.iter().map(|one| (strsim::damerau_levenshtein(one, key), *one)).min();
        let problem = match close.filter(|(distance, _)| *distance <= 3) {
            Some((_, meant)) => format!("unknown key; `{meant}` is meant, perhaps"),
            None => format!("unknown key, expected one of {}", known.join(", ")),
        };
        self.fault(place, joined(path, key), problem);
    }

    pub(super) fn text(&mut self, path: &str, value: &Value<'t>) -> Option<String> {
        let text = value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            self.fault(&value.span(), path, "expected a text in quotes");
        }
        text
    }

    pub(super) fn flag(&mut self, path: &str, value: &Value<'t>) -> Option<bool> {
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.fault(&value.span(), path, "expected true or false");
        }
        flag
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        path: &str,
        value: &Value<'t>,
        words: &[(&str, T)],
    ) -> Option<T> {
        let text = self.text(path, value)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, one)| *one);
        if found.is_none() {
            let words: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            let problem = format!("found {text:?}, expected one of {}", words.join(", "));
            self.fault(&value.span(), path, problem);
        }
        found
    }

    /// Several texts; one alone need not stand in brackets.
    pub(super) fn texts(&mut self, path: &str, value: &Value<'t>) -> Vec<(Range<usize>, String)> {
        let item = |item: &Value<'t>| Some((item.span(), item.get_ref().as_str()?.to_owned()));
        let all = match value.get_ref() {
            DeValue::Array(items) => items.iter().map(item).collect(),
            _ => item(value).map(|one| vec![one]),
        };
        all.unwrap_or_else(|| {
            self.fault(&value.span(), path, "expected a list of texts in quotes");
            Vec::new()
        })
    }

    pub(super) fn table<'v>(
        &mut self,
        path: &str,
        value: &'v Value<'t>,
    ) -> Option<&'v DeTable<'t>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.fault(&value.span(), path, "expected a table");
        }
        table
    }

    /// The tables of `[[NAME]]`.
    pub(super) fn tables<'v>(
        &mut self,
        path: &str,
        value: &'v Value<'t>,
    ) -> Vec<(Range<usize>, &'v DeTable<'t>)> {
        let items = value.get_ref().as_array().map(|items| items.iter());
        let found: Option<Vec<_>> = items.and_then(|items| {
            items.map(|item| Some((item.span(), item.get_ref().as_table()?))).collect()
        });
        found.unwrap_or_else(|| {
            self.fault(&value.span(), path, format!("expected tables: [[{path}]]"));
            Vec::new()
        })
    }
}

/// The path of a key.
pub(super) fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
