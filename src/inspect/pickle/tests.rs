//! The machine, instruction by instruction, against what CPython does.

use std::sync::Arc;

use super::super::{Config, Inspection, Mode, Nature, Report, Rules};

fn report(file: &[u8]) -> Report {
    let config = Config { mode: Mode::Warn, ..Config::default() };
    let rules = Arc::new(Rules::new(&config).expect("good settings").expect("on"));
    let mut inspection =
        Inspection::new(&rules, Nature::Data, Some(file.len() as u64)).expect("looked into");
    inspection.feed(file);
    inspection.finish()
}

fn check(body: &[u8], globals: &[&str], found: &[&str]) {
    let report = report(&[b"\x80\x04", body].concat());
    let kinds: Vec<_> = report.findings.iter().map(|finding| finding.what.as_str()).collect();
    assert_eq!(report.globals, globals, "{body:?}: {kinds:?}");
    assert_eq!(kinds.len(), found.len(), "{body:?}: {kinds:?}");
    for (kind, expected) in kinds.iter().zip(found) {
        assert!(kind.contains(expected), "{body:?}: {kinds:?}");
    }
}

#[test]
fn operands_come_through_stack_and_memo() {
    check(b"\x8c\x01a\x8c\x01b\x93.", &["a b"], &[]);
    check(b"\x8c\x01a\x8c\x01b2\x930\x8c\x01c\x93.", &["a c", "b b"], &["calls"][..0]);
    check(b"\x8c\x01a\x94\x8c\x01b\x94h\0h\x01\x93.", &["a b"], &[]);
    check(b"\x8c\x01aq\x07\x8c\x01bq\x070h\x07\x8c\x01c\x93.", &["b c"], &[]);
    // `MEMOIZE` takes the number of places taken, not the one behind the highest.
    check(b"\x8c\x01aq\x09\x8c\x01b\x940h\x01\x8c\x01c\x93.", &["b c"], &[]);
    check(b"S'a'\nS'b'\n\x93.", &["a b"], &[]);
    check(b"T\x01\0\0\0aU\x01b\x93.", &["a b"], &[]);
    check(b"Va\nVb\n\x93.", &["a b"], &[]);
    check(b"\x8d\x01\0\0\0\0\0\0\0a\x8c\x01b\x93.", &["a b"], &[]);
    check(b"(\x8c\x01a\x8c\x01b1\x8c\x01c\x8c\x01d\x93.", &["c d"], &[]);
    check(b"\x8c\x01a(0\x8c\x01b\x93.", &["a b"], &[]);
}

#[test]
fn what_cannot_be_known_is_said() {
    check(b"N\x8c\x01b\x93.", &[], &["imports something whose name"]);
    check(b"\x8c\x01aK\x01\x93.", &[], &["imports something whose name"]);
    check(b"\x84\x01\0\0\0.", &[], &["imports something whose name"]);
    check(b"ca\nb\n)R)R.", &["a b"], &["did not import"]);
    check(b"N)R.", &[], &["calls a plain value"]);
    check(b"ca\nb\n}b.", &["a b"], &["changes a.b"]);
}

#[test]
fn it_breaks_where_cpython_breaks() {
    check(b"0.", &[], &["where there is none"]);
    check(b".", &[], &["where there is none"]);
    check(b"N(\x85.", &[], &["where there is none"]);
    check(b"t.", &[], &["no mark"]);
    check(b"h\x01.", &[], &["did not remember"]);
    check(b"g1_0\n.", &[], &["did not remember"]);
    check(b"gx\n.", &[], &["no number"]);
    check(b"\x80\x06N.", &[], &["protocol"]);
    check(b"\xffN.", &[], &["does not exist"]);
    check(b"T\xff\xff\xff\xffN.", &[], &["below zero"]);
    check(b"Iabc!\n.", &[], &["a number that is none"]);
    check(b"N", &[], &["without its last instruction"]);
    check(b"\x8c\x09a", &[], &["without its last instruction"]);
    check(b"ca\nb", &[], &["without its last instruction"]);
}

#[test]
fn every_instruction_leaves_the_stack_as_it_should() {
    // Each row must leave exactly one value more than before, so that the last instruction finds the two texts below it.
    let rows: &[&[u8]] = &[
        b"N",
        b"I1\n",
        b"I01\n",
        b"L1L\n",
        b"F1.5\n",
        b"J\0\0\0\0",
        b"K\0",
        b"M\0\0",
        b"G\0\0\0\0\0\0\0\0",
        b"\x88",
        b"\x89",
        b"\x8a\x01\0",
        b"\x8b\x01\0\0\0\0",
        b"]",
        b"}",
        b")",
        b"\x8f",
        b"(l",
        b"(d",
        b"(t",
        b"(\x91",
        b"B\0\0\0\0",
        b"C\0",
        b"\x8e\0\0\0\0\0\0\0\0",
        b"\x96\0\0\0\0\0\0\0\0",
        b"N\x85",
        b"NN\x86",
        b"NNN\x87",
        b"]Na",
        b"](NNe",
        b"}NNs",
        b"}(NNu",
        b"\x8f(N\x90",
        b"Px\n",
        b"NQ",
        b"cm\nn\n)R",
        b"cm\nn\n)\x81",
        b"cm\nn\n)}\x92",
        b"(cm\nn\no",
        b"(im\nn\n",
        b"cm\nn\n)R}b",
        b"\x97",
        b"\x97\x98",
        b"N2\x86",
        b"\x95\0\0\0\0\0\0\0\0N",
    ];
    for row in rows {
        let body = [b"\x8c\x01a\x8c\x01b", *row, b"0\x93."].concat();
        let report = report(&[b"\x80\x04", body.as_slice()].concat());
        assert!(report.globals.contains(&"a b".to_owned()), "{row:?}: {report:?}");
        assert!(report.findings.is_empty(), "{row:?}: {report:?}");
    }
}

/// Where a fault in a line was said to lie used to depend on how much of the line had come before.
#[test]
fn a_fault_in_a_line_lies_where_the_line_begins_however_it_comes() {
    let file = b"\x80\x02I1\np a place that is no number\n.";
    let whole = report(file);
    let config = Config { mode: Mode::Warn, ..Config::default() };
    let rules = Arc::new(Rules::new(&config).expect("good settings").expect("on"));
    for piece in [1, 7, 16] {
        let total = Some(file.len() as u64);
        let mut inspection = Inspection::new(&rules, Nature::Data, total).expect("looked into");
        for some in file.chunks(piece) {
            inspection.feed(some);
        }
        assert_eq!(inspection.finish(), whole, "in pieces of {piece}");
    }
    assert_eq!(whole.findings[0].place, "byte 6");
}
