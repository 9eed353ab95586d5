//! What is odd about a policy that can be read: rules that never hold, lists that nobody uses, waivers that are of no use.

use std::collections::HashSet;
use std::time::Duration;

use crate::policy::fact::{Ecosystem, Fact, Kind, Point};
use crate::policy::file::PolicyFile;
use crate::policy::read::Fault;
use crate::policy::rule::{Check, Condition, Rule};
use crate::policy::ruleset::INSPECTION;
use crate::policy::waiver::Waiver;
use crate::types::Timestamp;

/// How long before its end a waiver is told of.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// What to tell of the rules. `is_licence` knows the names of licences.
pub fn rules(file: &PolicyFile, is_licence: &dyn Fn(&str) -> bool) -> Vec<Fault> {
    let mut found = Vec::new();
    for (place, rule) in file.rules.iter().enumerate() {
        let mut tell = |problem: String| {
            found.push(Fault { line: rule.line, key: format!("rule.{}", rule.id), problem });
        };
        unreachable(rule, &mut tell);
        contradictions(&rule.condition, &mut tell);
        let earlier = file.rules[..place].iter().find(|other| shadows(other, rule));
        if let Some(other) = earlier {
            tell(format!("never decides: rule `{}` says as much of the same", other.id));
        }
        if rule.unless.as_ref() == Some(&rule.condition) {
            tell("never holds: its exception is its condition".to_owned());
        }
        unknown_licences(rule, is_licence, &mut tell);
    }
    found.extend(file.unused_lists.iter().map(|(line, name)| Fault {
        line: *line,
        key: format!("lists.{name}"),
        problem: "no rule refers to it".to_owned(),
    }));
    found
}

/// What to tell of waivers at an instant: those that ended, end soon, or are for no rule of the policy, where there is one.
pub fn waivers(waivers: &[Waiver], policy: Option<&PolicyFile>, now: Timestamp) -> Vec<Fault> {
    let mut found = Vec::new();
    for waiver in waivers {
        let mut tell = |problem: &str| {
            let key = format!("waiver.{}", waiver.rule);
            found.push(Fault { line: waiver.line, key, problem: problem.to_owned() });
        };
        let rule = policy.map(|policy| policy.rules.iter().find(|rule| rule.id == waiver.rule));
        match rule.filter(|_| *waiver.rule != *INSPECTION) {
            Some(None) => tell("the policy has no such rule"),
            Some(Some(rule)) if !rule.is_waivable => tell("this rule may not be waived"),
            Some(Some(_)) | None => {}
        }
        if waiver.expires <= now {
            tell("it has ended");
        } else if waiver.expires.since(now) < SOON {
            tell("it ends within two weeks");
        }
    }
    found
}

fn unreachable(rule: &Rule, tell: &mut impl FnMut(String)) {
    for ecosystem in &rule.on {
        if Point::ALL.iter().any(|point| rule.applies(*ecosystem, *point)) {
            continue;
        }
        let known = |fact: &Fact| rule.at.iter().any(|point| fact.is_known(*ecosystem, *point));
        let unknown: HashSet<&str> =
            rule.facts().filter(|fact| !known(fact)).map(Fact::name).collect();
        let mut unknown: Vec<&str> = unknown.into_iter().collect();
        unknown.sort_unstable();
        // A rule that names no ecosystem is for all that it can be for.
        let is_for_all = rule.on == Ecosystem::ALL;
        let elsewhere = Ecosystem::ALL
            .iter()
            .any(|other| Point::ALL.iter().any(|point| rule.applies(*other, *point)));
        if !(is_for_all && elsewhere) {
            let facts = unknown.join(", ");
            tell(format!("never holds on {}: {facts} cannot be known there", ecosystem.name()));
        }
    }
}

/// Two limits on one fact that leave nothing between them.
fn contradictions(condition: &Condition, tell: &mut impl FnMut(String)) {
    if condition.is_any {
        return;
    }
    for test in &condition.tests {
        let same = condition.tests.iter().filter(|other| other.fact == test.fact);
        for other in same {
            let is_empty = match (&test.check, &other.check) {
                (Check::Below(below), Check::AtLeast(least)) => below <= least,
                (Check::Younger(span), Check::AtLeastOld(least)) => span <= least,
                _ => false,
            };
            if is_empty {
                tell(format!("never holds: nothing is within both limits of {}", test.fact.name()));
            }
        }
        if matches!(test.check, Check::Below(0) | Check::Younger(Duration::ZERO)) {
            tell(format!("never holds: no {} is less than nothing", test.fact.name()));
        }
    }
}

/// Whether an earlier rule says at least as much wherever the later one does.
fn shadows(earlier: &Rule, later: &Rule) -> bool {
    earlier.condition == later.condition
        && earlier.verdict >= later.verdict
        && (earlier.unless.is_none() || earlier.unless == later.unless)
        && (earlier.is_enforced || !later.is_enforced)
        && later.on.iter().all(|one| earlier.on.contains(one))
        && later.at.iter().all(|one| earlier.at.contains(one))
}

fn unknown_licences(rule: &Rule, is_licence: &dyn Fn(&str) -> bool, tell: &mut impl FnMut(String)) {
    let unless = rule.unless.iter().flat_map(|condition| &condition.tests);
    let tests = rule.condition.tests.iter().chain(unless);
    for test in tests.filter(|test| test.fact.kind() == Kind::Licence) {
        let (Check::In(list) | Check::NotIn(list)) = &test.check else { continue };
        let is_known = |name: &&str| name.contains('*') || is_licence(name);
        for name in list.written().filter(|name| !is_known(name)) {
            tell(format!("{name:?} is no SPDX identifier; `LicenseRef-` marks names of your own"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{file, waiver};

    #[test]
    fn what_never_holds_is_told() {
        let check = |text: &str, expected: &[&str]| {
            let file = file::read(text).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
            let told = rules(&file, &|name| name == "MIT");
            let told: Vec<String> = told.iter().map(ToString::to_string).collect();
            assert_eq!(told.len(), expected.len(), "{text}: {told:?}");
            for (told, expected) in told.iter().zip(expected) {
                assert!(told.contains(expected), "{told}");
            }
        };
        let rule = |id: &str, more: &str| format!("[[rule]]\nid = \"{id}\"\n{more}\n");
        check(&rule("a", "deny_if = { yanked = true }"), &[]);
        check(
            &rule("a", "on = \"hf\"\ndeny_if = { yanked = true }"),
            &["never holds on hf: yanked"],
        );
        check(
            &rule("a", "on = \"pypi\"\nat = \"listing\"\ndeny_if = { license_in = \"MIT\" }"),
            &["never holds on pypi: license"],
        );
        check(
            &rule("a", "deny_if = { size_lt = 5, size_gte = 5 }"),
            &["within both limits of size"],
        );
        check(&rule("a", "deny_if = { size_lt = 5, size_gte = 5, any = true }"), &[]);
        check(&rule("a", "deny_if = { likes_lt = 0 }"), &["less than nothing"]);
        check(
            &rule("a", "deny_if = { license_in = [\"MIT\", \"GPL-*\", \"GNU\"] }"),
            &["\"GNU\" is no SPDX"],
        );
        check(
            &rule("a", "on = \"hf\"\ndeny_if = { when = 'size > 1 && yanked' }"),
            &["never holds on hf: yanked"],
        );
        check(&rule("a", "on = [\"pypi\", \"hf\"]\ndeny_if = { when = 'yanked || gated' }"), &[]);
        let listed = "[lists]\nx = [\"a\"]\n".to_owned();
        check(&(listed + &rule("a", "deny_if = { when = 'name in lists.x' }")), &[]);
        check(
            &rule("a", "deny_if = { yanked = true }\nunless = { yanked = true }"),
            &["its exception"],
        );
        let both =
            rule("a", "deny_if = { yanked = true }") + &rule("b", "warn_if = { yanked = true }");
        check(&both, &["rule `a` says as much"]);
        check("[lists]\nx = [\"a\"]", &["no rule refers"]);
    }

    #[test]
    fn waivers_that_are_of_no_use_are_told() {
        let text = "[[rule]]\nid = \"a\"\ndeny_if = { yanked = true }\n[[rule]]\nid = \"b\"\nwaivable = false\ndeny_if = { size_lt = 1 }";
        let file = file::read(text).expect("a good file");
        let now = waiver::parse_end("2027-01-01T00:00:00Z").expect("an instant");
        let check = |rule: &str, expires: &str, expected: Option<&str>| {
            let text = format!(
                "[[waiver]]\nrule = \"{rule}\"\nwhat = \"pypi:x==1\"\nreason = \"r\"\nexpires = {expires}"
            );
            let told = waivers(&waiver::read(&text).expect("good"), Some(&file), now);
            assert_eq!(told.first().map(|fault| fault.problem.as_str()), expected, "{text}");
        };
        check("a", "2027-03-01", None);
        check("a", "2026-03-01", Some("it has ended"));
        check("a", "2027-01-03", Some("it ends within two weeks"));
        check("b", "2027-03-01", Some("this rule may not be waived"));
        check("c", "2027-03-01", Some("the policy has no such rule"));
    }
}
