//! Known vulnerabilities and malicious packages: records in the OSV format, held so that a package's are found at once. Pure.
//!
//! A [`Builder`] reads the records' texts and keeps of each what is asked for in passing: which versions of which packages it is about, how bad it is, where a fix
//! is. The texts themselves stay where they are ([`Place`]) and are read by whoever wants to show one. [`Advisories::package`] answers what is known of one package,
//! [`question`] reads what clients of the OSV API ask. Left out: files, folders and time, which are `feed`'s.
//!
//! Versions are ordered where their order is known, which is so for Python's (PEP 440). Of other ecosystems a record speaks of the versions that it names one by one,
//! or of all of them.

use serde::Serialize;

use crate::types::Timestamp;

pub mod question;
mod range;
mod record;
mod scheme;
mod severity;
mod shelf;

pub use record::Unreadable;
pub use severity::Score;
pub use shelf::{Advisories, Builder, Package};

/// What the names of records of malicious packages begin with.
pub const MALICIOUS: &str = "MAL-";

/// Where a record's text stands, in the terms of whoever gave it to the [`Builder`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// Which file.
    pub source: u32,
    /// Where in it the text begins.
    pub offset: u64,
    /// How long it is there, compressed perhaps.
    pub bytes: u32,
    pub form: Form,
}

/// How a text is written down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    #[default]
    Plain,
    /// Raw DEFLATE, as in zip files.
    Deflated,
}

/// Something that is known of a version of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding<'a> {
    /// The record's name: `GHSA-…`, `PYSEC-…`, `MAL-…`.
    pub id: &'a str,
    /// Its names elsewhere, such as the CVE's.
    pub aliases: Vec<&'a str>,
    /// How bad it is, where it or a record of the same thing says so.
    pub severity: Option<Score>,
    /// The first version after the one asked for in which it is mended.
    pub fix: Option<String>,
    /// Whether the package is malicious, not merely flawed.
    pub malicious: bool,
    #[serde(skip)]
    pub modified: Timestamp,
    #[serde(skip)]
    pub place: Place,
}

/// The worst of several findings, and the little that rules ask of all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    pub ids: Vec<String>,
    pub severity: Option<Score>,
    /// Whether all of them have a fix. `None`: there are none.
    pub fixed: Option<bool>,
    pub malicious: bool,
}

impl Summary {
    /// Names come with their aliases, so that a rule may name either.
    pub fn of(findings: &[Finding<'_>]) -> Self {
        let mut ids: Vec<String> = findings
            .iter()
            .flat_map(|one| std::iter::once(one.id).chain(one.aliases.iter().copied()))
            .map(str::to_owned)
            .collect();
        ids.sort_unstable();
        ids.dedup();
        Self {
            ids,
            severity: findings.iter().filter_map(|one| one.severity).max(),
            fixed: (!findings.is_empty()).then(|| findings.iter().all(|one| one.fix.is_some())),
            malicious: findings.iter().any(|one| one.malicious),
        }
    }
}
