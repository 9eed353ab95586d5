//! Cases that a policy must decide as they say: the tests of a policy file.
//!
//! ```toml
//! [[case]]
//! name = "young releases wait"
//! on = "pypi"
//! at = "content"
//! facts = { name = "six", version = "1.0", release_age = "2 days" }
//! expect = "hold"
//! rule = "cool-down"                     # who must have decided, if that matters
//! ```

use std::borrow::Cow;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::policy::fact::{Ecosystem, Fact, Facts, Kind, Point, Value as Known};
use crate::policy::read::{Fault, Reader, Value, joined};
use crate::policy::{Ruleset, Verdict, words};
use crate::types::{ByteSize, Timestamp};

/// One case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub line: usize,
    pub name: String,
    pub facts: Facts<'static>,
    pub at: Point,
    pub expect: Verdict,
    pub rule: Option<String>,
}

/// How a case came out otherwise.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Miss {
    pub line: usize,
    pub name: String,
    pub expected: String,
    pub got: String,
}

const KEYS: [&str; 6] = ["name", "on", "at", "facts", "expect", "rule"];

impl Case {
    /// What is wrong with what the rules say of it, dry runs counted as if they were carried out.
    pub fn miss(&self, rules: &Ruleset, now: Timestamp) -> Option<Miss> {
        let decision = rules.judge(&self.facts, self.at, now);
        let verdict = decision.in_earnest();
        let strictest = decision.fired.iter().filter(|fired| fired.verdict == verdict);
        let mut ids = strictest.map(|fired| fired.by.id());
        let is_right = match &self.rule {
            Some(rule) => verdict == self.expect && ids.any(|id| id == rule),
            None => verdict == self.expect,
        };
        let by = |verdict: Verdict, rule: Option<&str>| match rule {
            Some(rule) => format!("{} by rule {rule}", verdict.name()),
            None => verdict.name().to_owned(),
        };
        let first = decision.fired.iter().find(|fired| fired.verdict == verdict);
        (!is_right).then(|| Miss {
            line: self.line,
            name: self.name.clone(),
            expected: by(self.expect, self.rule.as_deref()),
            got: by(verdict, first.map(|fired| fired.by.id())),
        })
    }
}

/// Reads a file of cases. Ages are counted back from `now`.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn read(text: &str, now: Timestamp) -> Result<Vec<Case>, Vec<Fault>> {
    let mut reader = Reader::new(text);
    let Some(root) = reader.root() else { return Err(reader.faults) };
    let root = root.into_inner();
    let mut cases = Vec::new();
    for (key, value) in &root {
        match key.get_ref().as_ref() {
            "case" => {
                for (place, table) in reader.tables("case", value) {
                    cases.extend(case(&mut reader, &place, table, now));
                }
            }
            other => reader.unknown(&key.span(), "", other, ["case"]),
        }
    }
    if reader.faults.is_empty() { Ok(cases) } else { Err(reader.faults) }
}

fn case<'t>(
    reader: &mut Reader<'t>,
    place: &Range<usize>,
    table: &DeTable<'t>,
    now: Timestamp,
) -> Option<Case> {
    for (key, _) in table {
        if !KEYS.contains(&key.get_ref().as_ref()) {
            reader.unknown(&key.span(), "case", key.get_ref(), KEYS);
        }
    }
    let text = |reader: &mut Reader<'t>, key: &str| {
        table.get(key).and_then(|value| reader.text(&joined("case", key), value))
    };
    let ecosystems = Ecosystem::ALL.map(|one| (one.name(), one));
    let points = Point::ALL.map(|one| (one.name(), one));
    let verdicts = [Verdict::Allow, Verdict::Warn, Verdict::Hide, Verdict::Hold, Verdict::Deny];
    let verdicts = verdicts.map(|one| (one.name(), one));
    let on = table.get("on").and_then(|value| reader.word("case.on", value, &ecosystems));
    let expect = table.get("expect").and_then(|value| reader.word("case.expect", value, &verdicts));
    let at = table.get("at").and_then(|value| reader.word("case.at", value, &points));
    for key in ["on", "facts", "expect"] {
        if !table.contains_key(key) {
            reader.fault(place, "case", format!("needs `{key}`"));
        }
    }
    let name = text(reader, "name").unwrap_or_default();
    let rule = text(reader, "rule");
    let facts = reader.table("case.facts", table.get("facts")?)?;
    let mut all = Facts::of(on?, Known::Unknown);
    for (key, value) in facts {
        fact(reader, &mut all, key.get_ref(), &key.span(), value, now);
    }
    let line = reader.line(place);
    Some(Case { line, name, facts: all, at: at.unwrap_or(Point::Content), expect: expect?, rule })
}

fn fact<'t>(
    reader: &mut Reader<'t>,
    facts: &mut Facts<'static>,
    key: &str,
    place: &Range<usize>,
    value: &Value<'t>,
    now: Timestamp,
) {
    if key == "digest" {
        facts.digest = reader.text("case.facts.digest", value).map(Cow::Owned);
        return;
    }
    let known = |fact: &Fact| match fact.kind() {
        Kind::Time => format!("{}_age", fact.name()),
        _ => fact.name().to_owned(),
    };
    let path = joined("case.facts", key);
    let Some(fact) = Fact::ALL.iter().find(|fact| known(fact) == key) else {
        let names: Vec<String> = Fact::ALL.iter().map(known).collect();
        return reader.unknown(place, "case.facts", key, names.iter().map(String::as_str));
    };
    let read: Option<Known<'static>> = match (fact.kind(), value.get_ref()) {
        (Kind::Flag, DeValue::Boolean(flag)) => Some((*flag).into()),
        (Kind::Text | Kind::Licence, DeValue::String(text)) => Some(text.to_string().into()),
        (Kind::Texts | Kind::AnyOf, _) => {
            let texts = reader.texts(&path, value);
            Some(Known::Texts(texts.into_iter().map(|(_, text)| Cow::Owned(text)).collect()))
        }
        (Kind::Time, DeValue::String(text)) => {
            words::parse_span(text).map(|span| now.minus(span).into())
        }
        (Kind::Count | Kind::Bytes, DeValue::Integer(number)) => {
            u64::from_str_radix(number.as_str(), number.radix()).ok().map(Into::into)
        }
        (Kind::Count, DeValue::String(text)) => words::parse_count(text).map(Into::into),
        (Kind::Score, DeValue::Integer(number)) => {
            words::parse_score(number.as_str()).map(Into::into)
        }
        (Kind::Score, DeValue::Float(number)) => {
            words::parse_score(number.as_str()).map(Into::into)
        }
        (Kind::Bytes, DeValue::String(text)) => {
            text.parse::<ByteSize>().ok().map(|size| size.bytes().into())
        }
        _ => None,
    };
    match read {
        Some(read) => facts.set(*fact, read),
        None => reader.fault(&value.span(), path, "this fact has values of another kind"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Config, file};

    const NOW: Timestamp = Timestamp::from_secs(1_795_392_000);

    #[test]
    fn cases_that_come_out_otherwise_are_told() {
        let rules = "[[rule]]\nid = \"cool-down\"\nhold_if = { release_age_lt = \"7 days\" }";
        let file = file::read(rules).expect("good rules");
        let rules = Ruleset::new(Config::default(), file, Vec::new(), [rules, ""]);
        let check = |age: &str, expect: &str, rule: &str, missed: bool| {
            let text = format!(
                "[[case]]\non = \"pypi\"\nfacts = {{ name = \"six\", release_age = \"{age}\" }}\nexpect = \"{expect}\"\n{rule}"
            );
            let cases = read(&text, NOW).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
            assert_eq!(cases[0].miss(&rules, NOW).is_some(), missed, "{text}");
        };
        check("2 days", "hold", "", false);
        check("2 days", "hold", "rule = \"cool-down\"", false);
        check("2 days", "hold", "rule = \"other\"", true);
        check("2 days", "allow", "", true);
        check("8 days", "allow", "", false);
    }

    #[test]
    fn cases_know_facts_of_every_kind() {
        let rules = "[[rule]]\nid = \"w\"\ndeny_if = { when = 'cvss > 9.5 && size(vulnerability) == 2 && now - release < duration(\"3d\")' }";
        let file = file::read(rules).expect("good rules");
        let rules = Ruleset::new(Config::default(), file, Vec::new(), [rules, ""]);
        let check = |cvss: &str, expect: &str| {
            let text = format!(
                "[[case]]\non = \"pypi\"\nfacts = {{ name = \"six\", cvss = {cvss}, vulnerability = [\"a\", \"b\"], release_age = \"2 days\" }}\nexpect = \"{expect}\""
            );
            let cases = read(&text, NOW).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
            assert_eq!(cases[0].miss(&rules, NOW), None, "{text}");
        };
        check("9.8", "deny");
        check("10", "deny");
        check("9", "allow");
    }

    #[test]
    fn faults_name_their_line() {
        let check = |text: &str, expected: &str| {
            let faults = read(text, NOW).expect_err(text);
            let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
            assert!(told.iter().any(|one| one.contains(expected)), "{text}: {told:?}");
        };
        check("[[case]]\nexpect = \"deny\"", "line 1: case: needs `on`");
        check("[[case]]\nexpekt = \"deny\"", "`expect` is meant");
        let facts = |facts: &str| {
            format!("[[case]]\non = \"hf\"\nexpect = \"deny\"\nfacts = {{ {facts} }}")
        };
        check(&facts("yankd = true"), "`yanked` is meant");
        check(&facts("yanked = 1"), "values of another kind");
        check(&facts("release_age = \"soon\""), "values of another kind");
    }
}
