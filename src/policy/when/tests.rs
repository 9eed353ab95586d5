//! `when` expressions over facts: what they come to, and what is refused when they are read.

use std::time::Duration;

use super::*;
use crate::policy::fact::Value as Known;

const NOW: Timestamp = Timestamp::from_secs(1_795_392_000);
const DAY: Duration = Duration::from_secs(86_400);

fn lists(name: &str) -> Option<Vec<String>> {
    (name == "trusted").then(|| vec!["google".to_owned(), "Qwen*".to_owned()])
}

fn read(text: &str) -> Result<Expression, Problem> {
    Expression::read(text, &mut lists)
}

fn good(text: &str) -> Expression {
    read(text).unwrap_or_else(|problem| panic!("{text}: {problem:?}"))
}

/// A model of which some things are known.
fn model() -> Facts<'static> {
    Facts::of(Ecosystem::Hf, "google/Gem-7b")
        .with(Fact::Publisher, "google")
        .with(Fact::Size, 7_000)
        .with(Fact::Gated, true)
        .with(Fact::Cvss, 98)
        .with(Fact::Licence, "MIT OR GPL-3.0-only")
        .with(Fact::Release, NOW.minus(2 * DAY))
        .with(Fact::Project, NOW.minus(9 * DAY))
        .with(Fact::Tag, Known::Texts(vec!["en".into(), "license:mit".into()]))
        .with(Fact::Dataset, Known::Texts(Vec::new()))
}

#[test]
fn expressions_come_to_what_cel_says() {
    let check = |text: &str, expected: Outcome| {
        let found = good(text).outcome(&model(), NOW, &mut Turn::default());
        assert_eq!(found, expected, "{text}");
    };
    for text in [
        "gated",
        "gated == true && !(gated != true)",
        "size == 7000 && size != 7 && size > 6999.5 && size >= 7000 && size < 7001 && size <= 7000",
        "size + 1 - 2 * 3 == 6995 && size / 2 % 1000 == 500 && -size < 0",
        "double(size) / 2.0 == 3500.0",
        "cvss == 9.8 && cvss > 9",
        "publisher == 'google' && name.startsWith(publisher + '/')",
        "name.endsWith('7b') && name.contains('Gem') && name.lowerAscii().contains('gem')",
        "name.matches(r'-\\d+b$') && !name.matches('^Gem')",
        "name.like('GOOGLE/*') && name.like(['x', '*7b'])",
        "publisher in ['google', 'nvidia'] && publisher in lists.trusted && !('x' in lists.trusted)",
        "publisher.like(lists.trusted)",
        "size in [1, 7000] && 'en' in tag && publisher in [publisher]",
        "license.metBy(['MIT']) && !license.metBy('GPL-3.0-only ')",
        "tag.exists(t, t.startsWith('license:')) && !tag.all(t, t == 'en')",
        "dataset.all(d, d == 'x') && !dataset.exists(d, d == 'x')",
        "tag.exists(t, ['en', 'de'].exists(l, l == t))",
        "lists.trusted.exists(t, t == publisher)",
        "size(tag) == 2 && tag.size() == 2 && name.size() == 13",
        "now - release < duration('7 days') && now - release == duration('2d')",
        "release - project > duration('6d') && release + duration('1d') < now",
        "release > timestamp('2020-01-01T00:00:00Z')",
        "gated ? size > 1 : size < 1",
        "has(size) && !has(downloads)",
        "false || true && gated // a comment",
        "gated\n  && size > 1",
    ] {
        check(text, Outcome::Yes);
    }
    for text in
        ["!gated", "size > 1 && size < 1", "name == 'GOOGLE/gem-7b'", "gated ? size < 1 : gated"]
    {
        check(text, Outcome::No);
    }
}

#[test]
fn what_is_missing_or_cannot_be_computed_settles_nothing_by_itself() {
    let check = |text: &str, expected: Outcome| {
        let found = good(text).outcome(&model(), NOW, &mut Turn::default());
        assert_eq!(found, expected, "{text}");
    };
    check("downloads < 5", Outcome::Missing);
    check("downloads < 5 && gated", Outcome::Missing);
    check("gated && downloads < 5", Outcome::Missing);
    check("downloads < 5 && !gated", Outcome::No);
    check("!gated && downloads < 5", Outcome::No);
    check("downloads < 5 || gated", Outcome::Yes);
    check("!(downloads < 5)", Outcome::Missing);
    check("downloads < 5 ? gated : gated", Outcome::Missing);
    check("has(downloads) && downloads < 5", Outcome::No);
    check("tag.exists(t, t == 'en' || downloads < 5)", Outcome::Yes);
    check("tag.all(t, t == 'xx' || downloads < 5)", Outcome::Missing);
    for odd in ["size / 0 == 1", "size % 0 == 1", "size * 9223372036854775807 > 1"] {
        check(odd, Outcome::Missing);
    }
    check("-size - 9223372036854775807 < 0", Outcome::Missing);
}

#[test]
fn what_does_not_fit_together_is_refused_when_it_is_read() {
    let check = |text: &str, at: usize, expected: &str| {
        let problem = read(text).expect_err(text);
        assert!(problem.text.contains(expected), "{text}: {problem:?}");
        assert_eq!(problem.at, at, "{text}: {problem:?}");
    };
    check("", 0, "found the end, expected a value");
    check("gated &&", 8, "found the end");
    check("gated gated", 6, "found `gated`, expected the end");
    check("(gated", 6, "expected `)`");
    check("gated ? gated", 13, "expected `:`");
    check("yankd", 0, "`yanked` is meant, perhaps");
    check("gated && zzzzzzzzzzzz", 9, "`larder policy facts`");
    check("size", 0, "expected bool, found int");
    check("true", 0, "names no fact");
    check("size == 'big'", 8, "there is no int == string");
    check("gated < true", 8, "there is no bool < bool");
    check("size + cvss > 1", 7, "there is no int + double");
    check("gated && size", 9, "expected bool, found int");
    check("!size == 1", 1, "expected bool, found int");
    check("-name == 'x'", 1, "expected a number");
    check("size in tag", 8, "there is no int in list(string)");
    check("name in size", 8, "there is no string in int");
    check("name in lists.no", 14, "there is no list `no`");
    check("name.no == 'x'", 5, "expected texts in quotes, or lists.NAME");
    check("tag == ['en']", 7, "there is no list(string) == list(string)");
    check("name in []", 8, "an empty list");
    check("size in [1, 'a']", 12, "expected int, found string");
    check("name.matches('(')", 13, "no regular expression");
    check("name.matches('(\\\\w{100}){100}')", 13, "no regular expression");
    check("name.matches(publisher)", 13, "expected a pattern in quotes");
    check("name.startWith('x')", 5, "no function `startWith`, expected one of");
    check("name.startsWith()", 5, "does not take this many");
    check("sized(name) > 1", 0, "no function `sized`");
    check("size(name, name) > 1", 0, "takes one argument");
    check("has(size > 1)", 4, "expected the name of a fact");
    check("now - release < duration('soon')", 25, "expected a span");
    check("release > timestamp('x')", 20, "expected an instant");
    check("name.all(t, t == 'x')", 0, "expected a list, found string");
    check("tag.all(size, size == 'x')", 8, "has a meaning already");
    check("tag.all('t', gated)", 8, "expected a name");
    check("tag.all(a, tag.all(b, tag.all(c, c == a)))", 22, "too many lists within one another");
    check("t == 'en' || tag.exists(t, t == 'en')", 0, "unknown name `t`");
}

#[test]
fn length_depth_and_work_are_bounded() {
    let check = |text: String, expected: &str| {
        let problem = read(&text).expect_err("refused");
        assert!(problem.text.contains(expected), "{problem:?}");
    };
    check(format!("gated{}", " ".repeat(5000)), "4096 at most");
    for (open, close) in [("(", ")"), ("!", ""), ("!(", ")"), ("[", "]"), ("size(", ")"), ("-", "")]
    {
        let text = format!("{}gated{}", open.repeat(600), close.repeat(600));
        check(text, "nested deeper");
    }
    check(format!("size{} > 1", " + 1".repeat(40)), "nested deeper");
    check(format!("size in [1{}]", ", 1".repeat(600)), "too long");
    let nested = "gated ? gated : ".repeat(40) + "gated";
    check(nested, "nested deeper");
    let many: Vec<_> = (0..1000).map(|number| format!("t{number}").into()).collect();
    let facts = model().with(Fact::Tag, Known::Texts(many));
    let outcome = |text: &str| good(text).outcome(&facts, NOW, &mut Turn::default());
    assert_eq!(outcome("tag.exists(t, t == 't999')"), Outcome::Yes);
    assert_eq!(outcome("tag.exists(a, tag.exists(b, a + b == 'x'))"), Outcome::Missing);
}

#[test]
fn time_alone_changes_it_at_a_known_instant() {
    let check = |text: &str, outcome: Outcome, in_days: Option<u32>| {
        let mut turn = Turn::default();
        assert_eq!(good(text).outcome(&model(), NOW, &mut turn), outcome, "{text}");
        assert_eq!(turn.0, in_days.map(|days| NOW.plus(days * DAY)), "{text}");
    };
    check("now - release < duration('7d')", Outcome::Yes, Some(5));
    check("release + duration('7d') > now", Outcome::Yes, Some(5));
    check("now - release >= duration('1d')", Outcome::Yes, None);
    check("now < timestamp('2026-11-25T00:00:00Z') && gated", Outcome::Yes, Some(2));
    check(
        "now - release < duration('7d') && now - project < duration('12d')",
        Outcome::Yes,
        Some(3),
    );
    check("!gated && now - release < duration('7d')", Outcome::No, None);
    check("now - release + (now - project) < duration('13d')", Outcome::Yes, Some(1));
    // On the very instant it is about to change.
    let mut turn = Turn::default();
    let outcome = good("now - release <= duration('2d')").outcome(&model(), NOW, &mut turn);
    assert_eq!((outcome, turn.0), (Outcome::Yes, Some(Timestamp(NOW.0 + 1))));
}

#[test]
fn it_can_be_told_where_its_facts_can_be_known() {
    let check = |text: &str, expected: [bool; 3]| {
        let told = Ecosystem::ALL.map(|eco| good(text).can_be_told(eco, Point::Listing));
        assert_eq!(told, expected, "{text}");
    };
    check("name == 'x'", [true; 3]);
    check("yanked", [true, false, false]);
    check("yanked && gated", [false; 3]);
    check("yanked || gated", [true, true, false]);
    check("has(yanked)", [true, false, false]);
    check("name == 'x' ? yanked : gated", [true, true, false]);
    check("tag.exists(t, t == name)", [false, true, false]);
}

#[test]
fn it_is_told_with_what_it_rests_on() {
    let tell = |text: &str, outcome| good(text).tell(&model(), outcome, NOW);
    assert_eq!(
        tell("gated\n  && size > 1", Outcome::Yes),
        "`gated && size > 1`: gated true, size 7000"
    );
    assert_eq!(
        tell("downloads < 5 && gated", Outcome::Missing),
        "`downloads < 5 && gated` cannot be told: downloads unknown"
    );
    assert_eq!(tell("size / 0 == 1", Outcome::Missing), "`size / 0 == 1` cannot be computed");
    let long = format!("name in [{}'x']", "'abcdefghi', ".repeat(30));
    assert!(tell(&long, Outcome::Yes).contains("…`: name google/Gem-7b"));
}
