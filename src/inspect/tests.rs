//! Files that do harm are refused and honest ones pass, in whatever pieces they come.

use super::samples::{self, Member};
use super::*;

fn rules(config: &Config) -> Arc<Rules> {
    Arc::new(Rules::new(config).expect("good settings").expect("inspection is on"))
}

fn enforced() -> Arc<Rules> {
    rules(&Config::default())
}

/// Reads a file in pieces of so many bytes.
fn report_of(rules: &Arc<Rules>, nature: Nature, file: &[u8], piece: usize) -> Report {
    let total = Some(file.len() as u64);
    let mut inspection = Inspection::new(rules, nature, total).expect("it is looked into");
    for piece in file.chunks(piece) {
        inspection.feed(piece);
    }
    inspection.finish()
}

fn refusal(rules: &Arc<Rules>, file: &[u8], piece: usize) -> Option<String> {
    match rules.ruling(&report_of(rules, Nature::Data, file, piece)) {
        Ruling::Refuse(why) => Some(why),
        Ruling::Pass | Ruling::Warn(_) => None,
    }
}

fn every_sample() -> impl Iterator<Item = (String, Vec<u8>)> {
    let named = samples::malicious().into_iter().map(|(name, file)| (name.to_owned(), file));
    named.chain(samples::honest())
}

#[test]
fn what_does_harm_is_refused() {
    let rules = enforced();
    let mut passed = Vec::new();
    for (name, file) in samples::malicious() {
        for piece in [file.len().max(1), 1, 7, 600] {
            if refusal(&rules, &file, piece).is_none() {
                passed.push(format!("{name} in pieces of {piece}"));
            }
        }
    }
    assert!(passed.is_empty(), "{passed:#?}");
}

#[test]
fn what_libraries_write_passes() {
    let rules = enforced();
    let all = samples::honest();
    assert!(all.len() > 200, "{} layouts", all.len());
    let refused = all.iter().filter_map(|(name, file)| {
        let mut pieces = [file.len().max(1), 1, 7, 600].into_iter();
        pieces.find_map(|piece| refusal(&rules, file, piece)).map(|why| format!("{name}: {why}"))
    });
    let refused: Vec<_> = refused.collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn how_a_file_arrives_makes_no_difference() {
    let rules = rules(&Config { mode: Mode::Warn, ..Config::default() });
    for (name, file) in every_sample() {
        let whole = report_of(&rules, Nature::Data, &file, file.len().max(1));
        for piece in [1, 3, 64, 511, 513] {
            let pieces = report_of(&rules, Nature::Data, &file, piece);
            assert_eq!(pieces, whole, "{name} in pieces of {piece}");
        }
    }
}

/// What is skipped by those who read from a disk must not change what is found.
#[test]
fn what_nobody_needs_may_be_skipped() {
    let rules = rules(&Config { mode: Mode::Warn, ..Config::default() });
    for (name, file) in every_sample() {
        let total = Some(file.len() as u64);
        let mut inspection = Inspection::new(&rules, Nature::Data, total).expect("looked into");
        let mut at = 0;
        while at < file.len() {
            let skip = usize::try_from(inspection.skips()).unwrap_or(usize::MAX);
            if skip > 0 {
                let skip = skip.min(file.len() - at);
                inspection.pass(skip as u64);
                at += skip;
                continue;
            }
            let end = (at + 100).min(file.len());
            inspection.feed(&file[at..end]);
            at = end;
        }
        let whole = report_of(&rules, Nature::Data, &file, file.len().max(1));
        assert_eq!(inspection.finish(), whole, "{name}");
    }
}

#[test]
fn a_verdict_comes_from_the_first_bytes_where_it_can() {
    let rules = enforced();
    let check = |file: Vec<u8>, most: usize, expected| {
        let mut inspection =
            Inspection::new(&rules, Nature::Data, Some(file.len() as u64)).expect("looked into");
        let standing = inspection.feed(&file[..most]);
        assert_eq!(standing, expected, "after {most} of {}", file.len());
    };
    check(samples::safetensors(100_000), 600, Standing::Clear);
    check(samples::noise(10_000, 1), 600, Standing::Clear);
    check(samples::npy("'<f8'", &samples::noise(10_000, 1)), 600, Standing::Clear);
    let evil = samples::calls("os", "system");
    check(samples::torch(&evil, 2, 100_000), 600, Standing::Refused);
    check([evil, samples::noise(10_000, 3)].concat(), 600, Standing::Refused);
    check(samples::torch(&samples::state_dict(2), 2, 100_000), 60_000, Standing::Looking);
}

#[test]
fn facts_are_named() {
    let rules = enforced();
    let check = |file: &[u8], format: &str, globals: &[&str]| {
        let report = report_of(&rules, Nature::Data, file, 4096);
        assert_eq!(report.format.name(), format);
        assert_eq!(report.globals, globals);
        assert!(report.is_complete);
    };
    let weights =
        ["collections OrderedDict", "torch FloatStorage", "torch._utils _rebuild_tensor_v2"];
    check(&samples::torch(&samples::state_dict(2), 2, 10), "torch", &weights);
    check(&samples::state_dict(2), "pickle", &weights);
    check(&samples::calls("os", "system"), "pickle", &["os system"]);
    check(&samples::zip(&[Member::new("a.txt", *b"x")]), "zip", &[]);
    check(&samples::safetensors(10), "safetensors", &[]);
    check(&samples::gguf("x"), "gguf", &[]);
    check(b"{}", "json", &[]);
    check(b"hello", "other", &[]);
}

#[test]
fn the_reason_names_what_was_found() {
    let rules = enforced();
    let check = |file: &[u8], expected: &str| {
        let why = refusal(&rules, file, 4096).expect("it is refused");
        assert!(why.contains(expected), "{why}");
    };
    check(&samples::calls("os", "system"), "it imports os.system, which");
    check(
        &samples::torch(&samples::pickle(&[b"\xff"]), 1, 1),
        "archive/data.pkl, byte 2: the pickle has",
    );
    check(&samples::gguf(samples::BAD_TEMPLATE), "tokenizer.chat_template reaches for __init__");
    check(&samples::torch(&samples::calls("a\u{1b}[31m", "b c"), 1, 1), "it imports a?[31m.b?c");
}

#[test]
fn settings_decide() {
    let check = |config: Config, file: &[u8], expected: &str| {
        let rules = rules(&config);
        let ruling = rules.ruling(&report_of(&rules, Nature::Data, file, 4096));
        assert!(format!("{ruling:?}").starts_with(expected), "{config:?}: {ruling:?}");
    };
    let allow = |entry: &str| Config { allow: vec![entry.to_owned()], ..Config::default() };
    let own = samples::calls("my.models", "Net");
    check(Config::default(), &own, "Refuse");
    check(allow("my.models.Net"), &own, "Pass");
    check(allow("my.models.*"), &own, "Pass");
    check(allow("my.*"), &own, "Refuse");
    check(allow("my.models.Other"), &own, "Refuse");
    let broken = samples::pickle(&[b"\xff"]);
    check(Config { unparsable: Action::Warn, ..Config::default() }, &broken, "Warn");
    check(Config { mode: Mode::Warn, ..Config::default() }, &own, "Warn");
    let flood = samples::pickle(&[&b"N0".repeat(10_000), b"N"]);
    check(Config { most_instructions: 5000, ..Config::default() }, &flood, "Refuse");
    check(Config::default(), &flood, "Pass");
    let faults = Rules::new(&allow("os")).expect_err("it names nothing");
    assert!(faults[0].starts_with("holds \"os\", expected"), "{faults:?}");
    assert!(Rules::new(&Config { mode: Mode::Off, ..Config::default() }).expect("good").is_none());
}

#[test]
fn a_nature_says_how_far_to_look() {
    let rules = enforced();
    let evil = samples::calls("os", "system");
    let layer = samples::tar(&[("x.pkl", &evil)]);
    assert!(report_of(&rules, Nature::Layer, &layer, 100).globals.is_empty());
    assert!(!report_of(&rules, Nature::Layer, &evil, 100).globals.is_empty());
    assert!(!report_of(&rules, Nature::Data, &layer, 100).globals.is_empty());
    assert!(Inspection::new(&rules, Nature::Program, None).is_none());
    let template = report_of(&rules, Nature::Template, samples::BAD_TEMPLATE.as_bytes(), 10);
    assert!(template.has(Kind::Template), "{template:?}");
}

/// Random numbers begin like a pickle now and then.
#[test]
fn tensors_that_look_like_pickles_pass() {
    let rules = enforced();
    let members = (0..20_u8).map(|seed| {
        let numbers = [&[0x80, 2 + seed % 4][..], &samples::noise(3000, u64::from(seed))].concat();
        Member::new(&format!("archive/data/{seed}"), numbers)
    });
    let members: Vec<_> = [Member::new("archive/data.pkl", samples::state_dict(20))]
        .into_iter()
        .chain(members)
        .collect();
    assert_eq!(refusal(&rules, &samples::zip(&members), 999), None);
    // So do bytes in a pickle, and numbers that hold the mark of an end.
    let numbers = [&b"\x80\x02"[..], &samples::noise(100, 1)].concat();
    assert_eq!(refusal(&rules, &samples::pickle(&[&samples::bytes(&numbers)]), 999), None);
    let marks = [&samples::noise(50, 1)[..], b"PK\x07\x08", &samples::noise(50, 2)].concat();
    let file = samples::zip(&[
        Member::new("data.pkl", samples::state_dict(1)),
        Member::new("data/0", marks),
    ]);
    assert_eq!(refusal(&rules, &file, 13), None);
}
