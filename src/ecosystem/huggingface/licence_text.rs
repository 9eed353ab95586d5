//! Texts of licences among a model's files, held against what its card declares, where rules look at that.
//!
//! Of a text only what it was found to be is kept. One that is not there any more, or that nobody here knows, contradicts nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use crate::cache::failure::Failure;
use crate::cache::lookup::{Demand, Document, Fresh, Keep, Kept, Parsed};

use crate::ecosystem::huggingface::info::{AdmitFacts, Info, from_row, to_row};
use crate::ecosystem::huggingface::reach::Reading;
use crate::ecosystem::huggingface::repository::FilePath;
use crate::ecosystem::huggingface::settle::Settled;
use crate::ecosystem::{Ask, Step};
use crate::licence::{self, Licence};
use crate::policy::{Ecosystem, Fact, Facts};

/// Texts of one model that are looked at.
const MOST_TEXTS: usize = 3;

/// The largest text.
const LIMIT_BYTES: u64 = 1 << 20;

/// The licences that texts were found to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Texts {
    /// No rule looks at them.
    #[default]
    Unasked,
    Known(Vec<Licence>),
    /// One could not be had just now.
    Pending,
}

/// Goes on with what the texts of a model's licences are, where rules look at them.
pub fn with(
    at: Settled,
    ask: Ask,
    then: impl FnOnce(Settled, Ask) -> Step + Send + 'static,
) -> Step {
    let is_needed = ask.rules.needs(Ecosystem::Hf, Fact::LicenceMismatch);
    let said = at.described.as_ref().and_then(|held| held.parsed.get::<Info>()).map(Info::said);
    let Some(said) = said.filter(|_| is_needed && at.texts == Texts::Unasked) else {
        return then(at, ask);
    };
    let paths = said.licence_texts().iter().take(MOST_TEXTS);
    let documents: Vec<Document> =
        paths.filter_map(|path| Some(document(&at, &FilePath::parse(path)?))).collect();
    if documents.is_empty() {
        return then(Settled { texts: Texts::Known(Vec::new()), ..at }, ask);
    }
    let then = Box::new(move |held: Vec<Result<crate::ecosystem::Held, Failure>>| {
        let is_pending =
            held.iter().any(|held| held.as_ref().is_err_and(|failure| failure.is_passing()));
        let found = held.iter().filter_map(|held| {
            let Detected(text) = held.as_ref().ok()?.parsed.get()?;
            Licence::parse(text.as_deref()?).ok()
        });
        let texts = if is_pending { Texts::Pending } else { Texts::Known(found.collect()) };
        then(Settled { texts, ..at }, ask)
    });
    Step::Need { documents, then }
}

/// Adds whether a text is of another licence than the declared one.
pub fn add(facts: &mut Facts<'_>, texts: &Texts) {
    match texts {
        Texts::Known(found) => {
            let declared = facts.text(Fact::Licence).and_then(|text| Licence::parse(text).ok());
            let differs =
                |declared: &Licence| found.iter().any(|text| !declared.names_all_of(text));
            let is_mismatch = declared.as_ref().is_some_and(differs);
            facts.set(Fact::LicenceMismatch, is_mismatch);
        }
        Texts::Pending => facts.await_all(&[Fact::LicenceMismatch]),
        Texts::Unasked => {}
    }
}

/// What a text is, as a document: a commit's files never change.
fn document(at: &Settled, path: &FilePath) -> Document {
    let (repository, commit) = (&at.repository, &at.commit);
    let address = format!("{}/raw/{commit}/{}", repository.web_path(), path.encoded());
    let how = Reading {
        keep: Arc::new(KeepDetected),
        admit: Arc::new(AdmitFacts::of(&at.files, Duration::MAX)),
        limit_bytes: LIMIT_BYTES,
        demand: Demand::AnyAge,
    };
    let name = format!("licence/{repository}/{commit}/{path}");
    at.files.document(&name, at.files.get(&address), how)
}

/// The licence that a text was found to be, if one that is known.
#[derive(Debug)]
struct Detected(Option<String>);

#[derive(Debug)]
struct KeepDetected;

impl Keep for KeepDetected {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        from_row::<Option<String>>(kept).map(|text| Parsed::new(Detected(text)))
    }

    fn merge(&self, _: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        if fresh.head.status != StatusCode::OK {
            return Ok(Kept::alone(Bytes::new(), Parsed::new(Detected(None))));
        }
        let found = licence::detect(&String::from_utf8_lossy(fresh.body));
        let found = found.map(|found| found.licence.as_str().to_owned());
        Ok(Kept::alone(to_row(&found), Parsed::new(Detected(found))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fact::Value;

    #[test]
    fn a_text_must_be_named_by_what_is_declared() {
        let check = |declared: Option<&str>, texts: &[&str], expected: bool| {
            let mut facts = Facts::of(Ecosystem::Hf, "o/m").with(Fact::Licence, declared);
            let parse = |text: &&str| Licence::parse(text).expect("a licence");
            add(&mut facts, &Texts::Known(texts.iter().map(parse).collect()));
            let found = facts.get(Fact::LicenceMismatch);
            assert_eq!(*found, Value::Flag(expected), "{declared:?} {texts:?}");
        };
        check(Some("MIT"), &[], false);
        check(Some("MIT"), &["MIT"], false);
        check(Some("MIT OR Apache-2.0"), &["MIT", "Apache-2.0"], false);
        check(Some("MIT"), &["MIT", "Apache-2.0"], true);
        check(Some("MIT"), &["GPL-3.0-only"], true);
        check(None, &["MIT"], false);
        let mut facts = Facts::of(Ecosystem::Hf, "o/m");
        add(&mut facts, &Texts::Pending);
        assert!(facts.is_pending(Fact::LicenceMismatch));
    }
}
