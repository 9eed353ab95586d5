//! Waivers: exceptions that somebody granted, from a file of their own that is fit for review.
//!
//! ```toml
//! [[waiver]]
//! rule = "licences"
//! what = "pypi:demo==1.0"                # or digest = "sha256:…", bound to the bytes
//! reason = "research only, ticket ML-812"
//! approved_by = "legal"
//! expires = 2027-02-01
//! ```
//!
//! A waiver is for one rule and one exact version or digest, says why, and ends. What a name stands for tomorrow, it never covers.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::policy::fact::{Ecosystem, Facts};
use crate::policy::read::{Fault, Reader, Value, joined};
use crate::types::{Digest, Timestamp};

/// One exception.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiver {
    pub line: usize,
    /// The rule that it excepts from.
    pub rule: Box<str>,
    pub what: What,
    pub reason: Box<str>,
    pub approved_by: Option<Box<str>>,
    /// It holds before this instant.
    pub expires: Timestamp,
}

/// What is excepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// `sha256:…`.
    Digest(Box<str>),
    /// An exact version, as [`Facts::named`] writes it.
    Named(Box<str>),
}

const KEYS: [&str; 6] = ["rule", "what", "digest", "reason", "approved_by", "expires"];

impl Waiver {
    /// Whether it is of this rule and subject, expired or not.
    pub fn covers(&self, rule: &str, facts: &Facts<'_>) -> bool {
        *self.rule == *rule
            && match &self.what {
                What::Digest(digest) => facts.digest.as_deref() == Some(digest),
                What::Named(name) => **name == *facts.named(),
            }
    }

    /// Whether it is bound to one of these digests.
    pub fn names(&self, digests: &[Digest]) -> bool {
        match &self.what {
            What::Digest(bound) => digests.iter().any(|digest| digest.to_string() == **bound),
            What::Named(_) => false,
        }
    }
}

/// Reads a file of waivers.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn read(text: &str) -> Result<Vec<Waiver>, Vec<Fault>> {
    let mut reader = Reader::new(text);
    let Some(root) = reader.root() else { return Err(reader.faults) };
    let root = root.into_inner();
    let mut waivers = Vec::new();
    for (key, value) in &root {
        match key.get_ref().as_ref() {
            "waiver" => {
                for (place, table) in reader.tables("waiver", value) {
                    waivers.extend(waiver(&mut reader, &place, table));
                }
            }
            other => reader.unknown(&key.span(), "", other, ["waiver"]),
        }
    }
    if reader.faults.is_empty() { Ok(waivers) } else { Err(reader.faults) }
}

fn waiver<'t>(
    reader: &mut Reader<'t>,
    place: &Range<usize>,
    table: &DeTable<'t>,
) -> Option<Waiver> {
    for (key, _) in table {
        if !KEYS.contains(&key.get_ref().as_ref()) {
            reader.unknown(&key.span(), "waiver", key.get_ref(), KEYS);
        }
    }
    let rule = required(reader, place, table, "rule", "the `id` of a rule");
    let reason = required(reader, place, table, "reason", "why this may be excepted");
    let approved_by =
        table.get("approved_by").and_then(|value| reader.text("waiver.approved_by", value));
    let expires = match table.get("expires") {
        Some(value) => date(reader, value),
        None => {
            let problem = "needs `expires`: a date such as 2027-02-01, at whose end it ends";
            reader.fault(place, "waiver", problem);
            None
        }
    };
    let what = what(reader, place, table);
    Some(Waiver {
        line: reader.line(place),
        rule: rule?.into(),
        what: what?,
        reason: reason?.into(),
        approved_by: approved_by.map(Into::into),
        expires: expires?,
    })
}

fn required<'t>(
    reader: &mut Reader<'t>,
    place: &Range<usize>,
    table: &DeTable<'t>,
    key: &str,
    meaning: &str,
) -> Option<String> {
    let text = match table.get(key) {
        Some(value) => reader.text(&joined("waiver", key), value)?,
        None => String::new(),
    };
    if text.trim().is_empty() {
        reader.fault(place, "waiver", format!("needs `{key}`: {meaning}"));
        return None;
    }
    Some(text)
}

fn what<'t>(reader: &mut Reader<'t>, place: &Range<usize>, table: &DeTable<'t>) -> Option<What> {
    let problem = match (table.get("what"), table.get("digest")) {
        (Some(value), None) => {
            let name = reader.text("waiver.what", value)?;
            match is_exact(&name) {
                true => return Some(What::Named(name.into())),
                false => format!(
                    "{name:?} names no exact version: write pypi:NAME==VERSION, hf:ORG/NAME@COMMIT, oci:IMAGE@DIGEST"
                ),
            }
        }
        (None, Some(value)) => {
            let digest = reader.text("waiver.digest", value)?.to_ascii_lowercase();
            match is_digest(&digest) {
                true => return Some(What::Digest(digest.into())),
                false => {
                    format!("{digest:?} is no digest: write sha256: and 64 hexadecimal digits")
                }
            }
        }
        _ => "needs either `what`, an exact version, or `digest`".to_owned(),
    };
    reader.fault(place, "waiver", problem);
    None
}

/// Whether a name stands for the same thing for ever.
fn is_exact(name: &str) -> bool {
    let Some((ecosystem, rest)) = name.split_once(':') else { return false };
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match Ecosystem::parse(ecosystem) {
        Some(Ecosystem::PyPi) => rest.split_once("==").is_some_and(|(name, version)| {
            !name.is_empty() && !version.is_empty() && !rest.contains('*')
        }),
        Some(Ecosystem::Hf) => rest
            .split_once('@')
            .is_some_and(|(name, commit)| !name.is_empty() && commit.len() == 40 && is_hex(commit)),
        Some(Ecosystem::Oci) => {
            rest.split_once('@').is_some_and(|(name, digest)| !name.is_empty() && is_digest(digest))
        }
        None => false,
    }
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// A date counts to its end; an instant is one.
fn date<'t>(reader: &mut Reader<'t>, value: &Value<'t>) -> Option<Timestamp> {
    let text = match value.get_ref() {
        DeValue::Datetime(date) => date.to_string(),
        DeValue::String(text) => text.to_string(),
        _ => String::new(),
    };
    let end = parse_end(&text);
    if end.is_none() {
        let problem = "expected a date such as 2027-02-01, or an instant with its offset";
        reader.fault(&value.span(), "waiver.expires", problem);
    }
    end
}

/// The end of a day (UTC), or an instant.
pub fn parse_end(text: &str) -> Option<Timestamp> {
    let millis = match text.parse::<jiff::Timestamp>() {
        Ok(instant) => instant.as_millisecond(),
        Err(_) => {
            let day: jiff::civil::Date = text.parse().ok()?;
            let end = day.tomorrow().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
            end.timestamp().as_millisecond()
        }
    };
    u64::try_from(millis).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(more: &str) -> String {
        format!("[[waiver]]\nrule = \"r\"\nreason = \"because\"\n{more}")
    }

    #[test]
    fn a_waiver_is_bound_ends_and_says_why() {
        let check = |text: &str, expected: &str| {
            let faults = read(text).expect_err(text);
            let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
            assert!(told.iter().any(|one| one.contains(expected)), "{text}: {told:?}");
        };
        check(&file("what = \"pypi:six==1.0\""), "needs `expires`");
        check(&file("expires = 2027-01-01"), "needs either `what`");
        check(&file("expires = \"soon\"\nwhat = \"pypi:six==1.0\""), "expected a date");
        for open in
            ["pypi:six", "pypi:six==1.*", "hf:org/m@main", "oci:a:latest", "six", "npm:a==1"]
        {
            check(&file(&format!("expires = 2027-01-01\nwhat = \"{open}\"")), "no exact version");
        }
        check(&file("expires = 2027-01-01\ndigest = \"sha256:00\""), "is no digest");
        check("[[waiver]]\nexpires = 2027-01-01\nwhat = \"pypi:a==1\"", "needs `rule`");
        check("[[waiver]]\nexpires = 2027-01-01\nwhat = \"pypi:a==1\"", "needs `reason`");
        check(
            &file("expires = 2027-01-01\nwhat = \"pypi:a==1\"\nexpire = 1"),
            "`expires` is meant",
        );
    }

    #[test]
    fn a_date_counts_to_its_end() {
        let waivers = read(&file("expires = 2027-02-01\nwhat = \"pypi:six==1.0\"")).expect("good");
        let end: jiff::Timestamp = "2027-02-02T00:00:00Z".parse().expect("an instant");
        assert_eq!(waivers[0].expires.0 as i64, end.as_millisecond());
        let facts = Facts::of(Ecosystem::PyPi, "six").with(crate::policy::Fact::Version, "1.0");
        assert!(waivers[0].covers("r", &facts));
        assert!(!waivers[0].covers("other", &facts));
        let other = facts.with(crate::policy::Fact::Version, "1.0.1");
        assert!(!waivers[0].covers("r", &other));
    }
}
