//! A record in the OSV format, read with patience: what is missing, null or unknown is passed over, and only a text without a name is no record.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::severity::{self, Score};
use crate::types::Timestamp;

/// A text that is no record.
#[derive(Debug, thiserror::Error)]
#[error("it is no record in the OSV format: {0}")]
pub struct Unreadable(String);

impl Unreadable {
    /// More than four gigabytes of names, or as many records.
    pub(super) fn too_many() -> Self {
        Self("there is no room for so many".to_owned())
    }
}

/// The parts of a record that are looked at.
#[derive(Debug, Deserialize)]
pub(super) struct Record {
    pub id: String,
    #[serde(default, deserialize_with = "time")]
    pub modified: Option<Timestamp>,
    #[serde(default, deserialize_with = "time")]
    pub withdrawn: Option<Timestamp>,
    #[serde(default, deserialize_with = "list")]
    pub aliases: Vec<String>,
    #[serde(default, deserialize_with = "list")]
    severity: Vec<WireSeverity>,
    #[serde(default, deserialize_with = "list")]
    pub affected: Vec<WireAffected>,
    #[serde(default)]
    database_specific: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WireSeverity {
    #[serde(rename = "type", default)]
    pub kind: String,
    #[serde(default)]
    pub score: String,
}

/// What a record says of one package.
#[derive(Debug, Deserialize)]
pub(super) struct WireAffected {
    #[serde(default)]
    pub package: Option<WirePackage>,
    #[serde(default, deserialize_with = "list")]
    pub ranges: Vec<WireRange>,
    #[serde(default, deserialize_with = "list")]
    pub versions: Vec<String>,
    #[serde(default, deserialize_with = "list")]
    severity: Vec<WireSeverity>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WirePackage {
    pub ecosystem: String,
    pub name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct WireRange {
    #[serde(rename = "type", default)]
    pub kind: String,
    #[serde(default, deserialize_with = "list")]
    pub events: Vec<WireEvent>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct WireEvent {
    #[serde(default)]
    pub introduced: Option<String>,
    #[serde(default)]
    pub fixed: Option<String>,
    #[serde(default)]
    pub last_affected: Option<String>,
    #[serde(default)]
    pub limit: Option<String>,
}

/// The one key of `database_specific` that means the same in several databases.
#[derive(Debug, Deserialize)]
struct Specific {
    severity: String,
}

impl Record {
    pub(super) fn read(text: &[u8]) -> Result<Self, Unreadable> {
        let record: Self =
            serde_json::from_slice(text).map_err(|error| Unreadable(error.to_string()))?;
        // The name becomes a part of addresses and of lines in logs.
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"/\\\"?#%".contains(&byte);
        match record.id.bytes().all(is_plain) && (1..=128).contains(&record.id.len()) {
            true => Ok(record),
            false => Err(Unreadable(format!("{:?} cannot be the name of one", record.id))),
        }
    }

    /// How bad it is, as far as it says so itself.
    pub(super) fn score(&self) -> Option<Score> {
        let of_packages = self.affected.iter().flat_map(|affected| &affected.severity);
        let by_word = || {
            let specific = self.database_specific.as_ref()?.get();
            let specific: Specific = serde_json::from_str(specific).ok()?;
            Score::of_word(&specific.severity)
        };
        severity::of_entries(self.severity.iter())
            .or_else(|| severity::of_entries(of_packages))
            .or_else(by_word)
    }
}

/// A list; null is an empty one.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(from)?.unwrap_or_default())
}

/// A time by RFC 3339; anything else is none.
fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    let time = text.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    Ok(time.and_then(|time| u64::try_from(time.as_millisecond()).ok()).map(Timestamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_record_is_refused() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"id": ""}"#,
            r#"{"id": "a/b"}"#,
            r#"{"id": "a\nb"}"#,
            r#"{"id": "a", "affected": 3}"#,
            "\u{feff}",
        ] {
            assert!(Record::read(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_missing_or_unknown_is_passed_over() {
        let text = r#"{"id": "X-1", "modified": "yesterday", "withdrawn": null, "aliases": null, "next": {"a": [1]},
            "affected": [{"package": null, "ranges": null}, {"versions": ["1"], "ranges": [{"events": [{"new": "1"}]}]}]}"#;
        let record = Record::read(text.as_bytes()).expect("a record");
        assert_eq!((record.modified, record.score()), (None, None));
        assert_eq!(record.affected.len(), 2);
    }

    #[test]
    fn severities_are_looked_for_in_three_places() {
        let vector =
            r#"[{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]"#;
        let check = |rest: &str, expected: Option<&str>| {
            let text = format!("{{\"id\": \"X-1\"{rest}}}");
            let record = Record::read(text.as_bytes()).expect("a record");
            assert_eq!(record.score().map(|s| s.to_string()).as_deref(), expected, "{rest}");
        };
        check("", None);
        check(", \"database_specific\": {\"severity\": 3}", None);
        check(", \"database_specific\": {\"severity\": \"HIGH\"}", Some("7.0"));
        check(&format!(", \"affected\": [{{\"severity\": {vector}}}]"), Some("9.8"));
        let both =
            format!(", \"severity\": {vector}, \"database_specific\": {{\"severity\": \"LOW\"}}");
        check(&both, Some("9.8"));
    }
}
