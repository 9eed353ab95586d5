//! The policy file: rules in TOML, read into [`Rule`]s or refused with every fault at once.
//!
//! ```toml
//! mode = "enforce"                       # or "dry-run": nothing is refused, everything is told
//!
//! [lists]
//! permissive = ["MIT", "Apache-2.0", "BSD-*"]
//!
//! [[rule]]
//! id = "cool-down"
//! on = ["pypi"]
//! hold_if = { release_age_lt = "7 days" }
//! unless = { name_in = ["acme-*"] }
//!
//! [[rule]]
//! id = "licences"
//! deny_if = { license_not_in = "@permissive" }
//! on_missing = "warn"
//! message = "{license} is not approved"
//!
//! [[rule]]
//! id = "large-and-unknown"               # `when` says what no key does: see [`crate::policy::when`]
//! warn_if = { when = 'size > 50000000000 || (downloads < 100 && !(publisher in lists.trusted))' }
//! ```

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::policy::Verdict;
use crate::policy::fact::{Ecosystem, Fact, Kind, Point};
use crate::policy::pattern::Patterns;
use crate::policy::read::{Fault, Reader, Value, joined};
use crate::policy::rule::{Check, Condition, Rule, Test, unknown_places};
use crate::policy::ruleset::INSPECTION;
use crate::policy::when::Expression;
use crate::policy::words;
use crate::types::ByteSize;

/// Most rules of one file: each is looked at for everything that is asked for.
pub const MOST_RULES: usize = 1000;

/// A policy file that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyFile {
    pub rules: Vec<Rule>,
    /// Names of lists that no rule refers to, with their lines.
    pub unused_lists: Vec<(usize, String)>,
}

const VERDICTS: [(&str, Verdict); 5] = [
    ("allow", Verdict::Allow),
    ("warn", Verdict::Warn),
    ("hide", Verdict::Hide),
    ("hold", Verdict::Hold),
    ("deny", Verdict::Deny),
];

const CONDITIONS: [(&str, Verdict); 4] = [
    ("warn_if", Verdict::Warn),
    ("hide_if", Verdict::Hide),
    ("hold_if", Verdict::Hold),
    ("deny_if", Verdict::Deny),
];

const MODES: [(&str, bool); 2] = [("enforce", true), ("dry-run", false)];

const RULE_KEYS: [&str; 12] = [
    "id",
    "on",
    "at",
    "warn_if",
    "hide_if",
    "hold_if",
    "deny_if",
    "unless",
    "on_missing",
    "mode",
    "waivable",
    "message",
];

/// Reads a policy file.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn read(text: &str) -> Result<PolicyFile, Vec<Fault>> {
    let mut reader = Reader::new(text);
    let Some(root) = reader.root() else { return Err(reader.faults) };
    let root = root.into_inner();
    let mut lists = Lists::default();
    let mut enforced = true;
    for (key, value) in &root {
        match key.get_ref().as_ref() {
            "mode" => enforced = reader.word("mode", value, &MODES).unwrap_or(true),
            "lists" => lists.read(&mut reader, value),
            "rule" => {}
            other => reader.unknown(&key.span(), "", other, ["mode", "lists", "rule"]),
        }
    }
    let tables = root.get("rule").map(|value| reader.tables("rule", value)).unwrap_or_default();
    let mut rules: Vec<Rule> = Vec::new();
    for (place, table) in tables {
        let read = RuleReader { reader: &mut reader, lists: &mut lists }.rule(&place, table);
        let Some(mut rule) = read else { continue };
        rule.is_enforced &= enforced;
        if rules.iter().any(|other| other.id == rule.id) {
            reader.fault(&place, joined("rule", &rule.id), "another rule has this `id`");
        }
        rules.push(rule);
    }
    if rules.len() > MOST_RULES {
        let problem = format!("{} rules, {MOST_RULES} at most are looked at", rules.len());
        reader.fault(&(0..0), "rule", problem);
    }
    let unused = lists.by_name.into_iter().filter(|(_, list)| !list.is_used);
    let unused_lists = unused.map(|(name, list)| (list.line, name)).collect();
    match reader.faults.is_empty() {
        true => Ok(PolicyFile { rules, unused_lists }),
        false => Err(reader.faults),
    }
}

/// `[lists]`.
#[derive(Default)]
struct Lists {
    by_name: BTreeMap<String, List>,
}

struct List {
    line: usize,
    items: Vec<String>,
    is_used: bool,
}

impl Lists {
    fn read<'t>(&mut self, reader: &mut Reader<'t>, value: &Value<'t>) {
        let Some(table) = reader.table("lists", value) else { return };
        for (key, value) in table {
            let name = key.get_ref().to_string();
            let items = reader.texts(&joined("lists", &name), value);
            let items = items.into_iter().map(|(_, item)| item).collect();
            let line = reader.line(&key.span());
            self.by_name.insert(name, List { line, items, is_used: false });
        }
    }

    /// The items of one that a rule refers to.
    fn get(&mut self, name: &str) -> Option<Vec<String>> {
        let list = self.by_name.get_mut(name)?;
        list.is_used = true;
        Some(list.items.clone())
    }
}

struct RuleReader<'r, 't> {
    reader: &'r mut Reader<'t>,
    lists: &'r mut Lists,
}

impl<'t> RuleReader<'_, 't> {
    fn rule(&mut self, place: &Range<usize>, table: &DeTable<'t>) -> Option<Rule> {
        let before = self.reader.faults.len();
        let id = table.get("id").and_then(|value| self.reader.text("rule.id", value));
        let Some(id) = id.filter(|id| !id.is_empty()) else {
            self.reader.fault(
                place,
                "rule",
                "needs an `id`: a short name for messages and waivers",
            );
            return None;
        };
        let path = joined("rule", &id);
        if id == INSPECTION {
            let problem = "is the name of what `[inspect]` refuses; call the rule something else";
            self.reader.fault(place, &path, problem);
        }
        let mut rule = Rule {
            id: id.into(),
            line: self.reader.line(place),
            on: Ecosystem::ALL.to_vec(),
            at: Point::ALL.to_vec(),
            verdict: Verdict::Allow,
            condition: Condition::default(),
            unless: None,
            on_missing: Verdict::Allow,
            is_enforced: true,
            is_waivable: true,
            message: None,
        };
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let key_path = joined(&path, name);
            if let Some((_, verdict)) = CONDITIONS.iter().find(|(one, _)| *one == name) {
                if rule.verdict != Verdict::Allow {
                    let problem = "a rule has one condition: make two rules of it";
                    self.reader.fault(&key.span(), &key_path, problem);
                }
                rule.verdict = *verdict;
                rule.condition = self.condition(&key_path, value);
                continue;
            }
            self.setting(&mut rule, &path, key.span(), name, value);
        }
        if rule.verdict == Verdict::Allow {
            let problem = "needs a condition: one of `warn_if`, `hide_if`, `hold_if`, `deny_if`";
            self.reader.fault(place, path, problem);
        }
        (self.reader.faults.len() == before).then_some(rule)
    }

    fn setting(
        &mut self,
        rule: &mut Rule,
        path: &str,
        place: Range<usize>,
        name: &str,
        value: &Value<'t>,
    ) {
        let key = joined(path, name);
        match name {
            "id" => {}
            "on" => rule.on = self.several(&key, value, Ecosystem::parse, "pypi, hf, oci"),
            "at" => rule.at = self.several(&key, value, Point::parse, "listing, metadata, content"),
            "unless" => rule.unless = Some(self.condition(&key, value)),
            "on_missing" => {
                rule.on_missing = self.reader.word(&key, value, &VERDICTS).unwrap_or_default();
            }
            "mode" => rule.is_enforced = self.reader.word(&key, value, &MODES).unwrap_or(true),
            "waivable" => rule.is_waivable = self.reader.flag(&key, value).unwrap_or(true),
            "message" => {
                let text = self.reader.text(&key, value).unwrap_or_default();
                for odd in unknown_places(&text) {
                    let problem = format!("{{{odd}}} is no fact; `larder policy facts` lists them");
                    self.reader.fault(&value.span(), &key, problem);
                }
                rule.message = Some(text.into());
            }
            other => self.reader.unknown(&place, path, other, RULE_KEYS),
        }
    }

    fn several<T>(
        &mut self,
        path: &str,
        value: &Value<'t>,
        parse: impl Fn(&str) -> Option<T>,
        known: &str,
    ) -> Vec<T> {
        let mut found = Vec::new();
        for (place, text) in self.reader.texts(path, value) {
            match parse(&text) {
                Some(one) => found.push(one),
                None => {
                    let problem = format!("found {text:?}, expected some of {known}");
                    self.reader.fault(&place, path, problem);
                }
            }
        }
        found
    }

    fn condition(&mut self, path: &str, value: &Value<'t>) -> Condition {
        let mut condition = Condition::default();
        let before = self.reader.faults.len();
        let Some(table) = self.reader.table(path, value) else { return condition };
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let key_path = joined(path, name);
            if name == "any" {
                condition.is_any = self.reader.flag(&key_path, value).unwrap_or(false);
                continue;
            }
            if name == "when" {
                condition.when = self.expression(&key_path, value);
                continue;
            }
            match key_of(name) {
                Some((fact, form)) => {
                    let check = self.check(&key_path, fact, form, value);
                    condition.tests.extend(check.map(|check| Test { fact, check }));
                }
                None => {
                    let known = keys();
                    let known = known.iter().map(String::as_str);
                    self.reader.unknown(&key.span(), path, name, known);
                }
            }
        }
        let is_empty = condition.tests.is_empty() && condition.when.is_none();
        if is_empty && self.reader.faults.len() == before {
            self.reader.fault(&value.span(), path, "an empty condition");
        }
        condition
    }

    /// A `when`. What is wrong with it is told with the line of its text, and the column there.
    fn expression(&mut self, path: &str, value: &Value<'t>) -> Option<Expression> {
        let text = self.reader.text(path, value)?;
        let problem = match Expression::read(&text, &mut |name| self.lists.get(name)) {
            Ok(expression) => return Some(expression),
            Err(problem) => problem,
        };
        let before = text.get(..problem.at).unwrap_or(&text);
        let (line, column) = (before.matches('\n').count(), before.rsplit('\n').next());
        let column = 1 + column.map_or(0, |part| part.chars().count());
        let place = match line {
            0 => format!("at character {column}"),
            line => format!("at character {column} of its line {}", line + 1),
        };
        self.reader.fault(&value.span(), path, format!("{place}: {}", problem.text));
        None
    }

    fn check(&mut self, path: &str, fact: Fact, form: Form, value: &Value<'t>) -> Option<Check> {
        match form {
            Form::Is => self.reader.flag(path, value).map(Check::Is),
            Form::Below | Form::AtLeast if fact.kind() == Kind::Time => {
                let span = self.reader.text(path, value)?;
                let read = words::parse_span(&span);
                if read.is_none() {
                    let problem = format!("found {span:?}, expected a span such as \"7 days\"");
                    self.reader.fault(&value.span(), path, problem);
                }
                let younger = form == Form::Below;
                read.map(|span| match younger {
                    true => Check::Younger(span),
                    false => Check::AtLeastOld(span),
                })
            }
            Form::Below => self.number(path, fact, value).map(Check::Below),
            Form::AtLeast => self.number(path, fact, value).map(Check::AtLeast),
            Form::In => Some(Check::In(self.patterns(path, value))),
            Form::NotIn => Some(Check::NotIn(self.patterns(path, value))),
        }
    }

    fn number(&mut self, path: &str, fact: Fact, value: &Value<'t>) -> Option<u64> {
        if fact.kind() == Kind::Score {
            return self.score(path, value);
        }
        let is_bytes = fact.kind() == Kind::Bytes;
        let read = match value.get_ref() {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            DeValue::String(text) if is_bytes => text.parse::<ByteSize>().ok().map(ByteSize::bytes),
            DeValue::String(text) => words::parse_count(text),
            _ => None,
        };
        if read.is_none() {
            let example = if is_bytes { "\"5 GB\"" } else { "1000 or \"7B\"" };
            let problem = format!("expected a number, such as {example}");
            self.reader.fault(&value.span(), path, problem);
        }
        read
    }

    fn score(&mut self, path: &str, value: &Value<'t>) -> Option<u64> {
        let read = match value.get_ref() {
            DeValue::Integer(number) => words::parse_score(number.as_str()),
            DeValue::Float(number) => words::parse_score(number.as_str()),
            _ => None,
        };
        if read.is_none() {
            self.reader.fault(&value.span(), path, "expected a score from 0 to 10, such as 7.5");
        }
        read
    }

    /// Patterns, with the items of the lists that are named by `@NAME`.
    fn patterns(&mut self, path: &str, value: &Value<'t>) -> Patterns {
        let written = self.reader.texts(path, value);
        if written.is_empty() {
            self.reader.fault(&value.span(), path, "an empty list");
        }
        let mut items = Vec::new();
        for (place, text) in written {
            let Some(name) = text.strip_prefix('@') else {
                items.push(text);
                continue;
            };
            match self.lists.get(name) {
                Some(list) => items.extend(list),
                None => {
                    let problem = format!("there is no list `{name}` in [lists]");
                    self.reader.fault(&place, path, problem);
                }
            }
        }
        Patterns::of(items.iter().map(String::as_str))
    }
}

/// The forms that a condition's key has, by what stands behind the fact's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Is,
    Below,
    AtLeast,
    In,
    NotIn,
}

const fn forms(kind: Kind) -> &'static [(&'static str, Form)] {
    match kind {
        Kind::Flag => &[("", Form::Is)],
        Kind::Count | Kind::Bytes | Kind::Score => &[("_lt", Form::Below), ("_gte", Form::AtLeast)],
        Kind::Time => &[("_age_lt", Form::Below), ("_age_gte", Form::AtLeast)],
        Kind::Text | Kind::Texts | Kind::AnyOf | Kind::Licence => {
            &[("_in", Form::In), ("_not_in", Form::NotIn)]
        }
    }
}

fn key_of(name: &str) -> Option<(Fact, Form)> {
    Fact::ALL.iter().find_map(|fact| {
        let rest = name.strip_prefix(fact.name())?;
        let form = forms(fact.kind()).iter().find(|(suffix, _)| *suffix == rest)?.1;
        Some((*fact, form))
    })
}

/// The keys of conditions on a fact.
pub fn keys_of(fact: Fact) -> impl Iterator<Item = String> {
    forms(fact.kind()).iter().map(move |(suffix, _)| format!("{}{suffix}", fact.name()))
}

fn keys() -> Vec<String> {
    let ours = ["any", "when"].map(str::to_owned);
    Fact::ALL.iter().flat_map(|fact| keys_of(*fact)).chain(ours).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_their_line_and_what_was_expected() {
        let check = |text: &str, expected: &str| {
            let faults = read(text).expect_err(text);
            let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
            assert!(told.iter().any(|one| one.starts_with(expected)), "{text}: {told:?}");
        };
        check("x", "line 1: ");
        check("\nmodes = 1", "line 2: modes: unknown key; `mode` is meant");
        check(
            "mode = \"dry\"",
            "line 1: mode: found \"dry\", expected one of \"enforce\", \"dry-run\"",
        );
        check("rule = 1", "line 1: rule: expected tables: [[rule]]");
        check("[[rule]]\ndeny_if = { yanked = true }", "line 1: rule: needs an `id`");
        check("[[rule]]\nid = \"a\"", "line 1: rule.a: needs a condition");
        let rule = |more: &str| format!("[[rule]]\nid = \"a\"\n{more}");
        check(&rule("deny_if = {}"), "line 3: rule.a.deny_if: an empty condition");
        check(
            &rule("deny_if = { when = 'size > 5 && yankd' }"),
            "line 3: rule.a.deny_if.when: at character 13: unknown name `yankd`; `yanked` is meant",
        );
        check(
            &rule("[rule.deny_if]\nwhen = '''\nsize > 5\n  && size'''"),
            "line 4: rule.a.deny_if.when: at character 6 of its line 2: expected bool, found int",
        );
        check(
            &rule("deny_if = { when = 'name in lists.no' }"),
            "line 3: rule.a.deny_if.when: at character 15: there is no list `no` in [lists]",
        );
        check(
            &rule("deny_if = { whn = 'yanked' }"),
            "line 3: rule.a.deny_if.whn: unknown key; `when`",
        );
        check(
            &rule("deny_if = { yankd = true }"),
            "line 3: rule.a.deny_if.yankd: unknown key; `yanked`",
        );
        check(
            &rule("deny_if = { zzzzzzzzz = true }"),
            "line 3: rule.a.deny_if.zzzzzzzzz: unknown key, expected one of name_in",
        );
        check(
            &rule("deny_if = { yanked = 1 }"),
            "line 3: rule.a.deny_if.yanked: expected true or false",
        );
        check(
            &rule("deny_if = { size_lt = \"big\" }"),
            "line 3: rule.a.deny_if.size_lt: expected a number, such as \"5 GB\"",
        );
        check(
            &rule("deny_if = { release_age_lt = \"soon\" }"),
            "line 3: rule.a.deny_if.release_age_lt: found \"soon\", expected a span such as \"7 days\"",
        );
        check(
            &rule("deny_if = { name_in = \"@no\" }"),
            "line 3: rule.a.deny_if.name_in: there is no list `no` in [lists]",
        );
        check(&rule("deny_if = { name_in = [] }"), "line 3: rule.a.deny_if.name_in: an empty list");
        check(
            &rule("deny_if = { yanked = true }\nwarn_if = { yanked = true }"),
            "line 4: rule.a.warn_if: a rule has one condition",
        );
        check(
            &rule("deny_if = { yanked = true }\non = \"npm\""),
            "line 4: rule.a.on: found \"npm\", expected some of pypi, hf, oci",
        );
        check(
            &rule("deny_if = { yanked = true }\nmessage = \"{x}\""),
            "line 4: rule.a.message: {x} is no fact",
        );
        check(
            &rule("deny_if = { yanked = true }\n[[rule]]\nid = \"a\"\nhold_if = { yanked = true }"),
            "line 4: rule.a: another rule has this `id`",
        );
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let text =
            "mode = 1\n[[rule]]\nid = \"a\"\ndeny_if = { yankd = true }\n[[rule]]\nid = \"b\"";
        assert_eq!(read(text).expect_err("faults").len(), 3);
    }

    #[test]
    fn every_key_is_read() {
        for fact in Fact::ALL {
            let value = match fact.kind() {
                Kind::Flag => "true",
                Kind::Count | Kind::Bytes | Kind::Score => "5",
                Kind::Time => "\"7 days\"",
                Kind::Text | Kind::Texts | Kind::AnyOf | Kind::Licence => "[\"a\", \"@l\"]",
            };
            for key in keys_of(*fact) {
                let text = format!(
                    "[lists]\nl = [\"b\"]\n[[rule]]\nid = \"a\"\nwarn_if = {{ {key} = {value} }}"
                );
                let file = read(&text).unwrap_or_else(|faults| panic!("{key}: {faults:?}"));
                assert_eq!(file.rules[0].condition.tests[0].fact, *fact, "{key}");
            }
        }
    }

    #[test]
    fn dry_run_of_the_file_holds_for_all_its_rules() {
        let rules = "[[rule]]\nid = \"a\"\ndeny_if = { yanked = true }\n[[rule]]\nid = \"b\"\nmode = \"dry-run\"\ndeny_if = { yanked = true }";
        let enforced = |text: &str| -> Vec<bool> {
            let file = read(text).expect("a good file");
            file.rules.iter().map(|rule| rule.is_enforced).collect()
        };
        assert_eq!(enforced(rules), [true, false]);
        assert_eq!(enforced(&format!("mode = \"dry-run\"\n{rules}")), [false, false]);
    }
}
