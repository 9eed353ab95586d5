//! What a draft of a policy would have done to a recorded day: a million decisions, read from disk as `larder policy replay` reads them, and judged again.
//!
//!     cargo bench --bench replay                        a million decisions
//!     cargo bench --bench replay -- FOLDER DECISIONS

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use larder::policy::{Config, Ecosystem, Fact, Facts, Point, Ruleset, file};
use larder::rulings::Record;
use larder::rulings::log::Log;
use larder::rulings::replay::replay;
use larder::types::Timestamp;

const DECISIONS: u64 = 1_000_000;

/// Rules of the draft.
const RULES: u64 = 50;

/// Decisions that are written down at once.
const TOGETHER: u64 = 10_000;

/// Room for the record.
const MOST_BYTES: u64 = 4 << 30;

fn rules(text: &str) -> Ruleset {
    let file = file::read(text).expect("good rules");
    Ruleset::new(Config::default(), file, Vec::new(), [text, ""])
}

/// What was decided of one file of an index.
fn record(old: &Ruleset, number: u64) -> Arc<Record> {
    let facts = Facts::of(Ecosystem::PyPi, format!("project-{}", number % 5000))
        .with(Fact::Version, format!("1.{number}"))
        .with(Fact::File, format!("project-1.{number}-py3-none-any.whl"))
        .with(Fact::Size, number)
        .with(Fact::Yanked, number.is_multiple_of(100))
        .with(Fact::Release, Timestamp::from_secs(number));
    let judged = old.judged(facts, Point::Content, Timestamp::from_secs(2_000_000));
    Arc::new(Record::of(&judged, judged.id()))
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let temporary = tempfile::tempdir().expect("there is room");
    let folder = arguments.next().map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let decisions =
        arguments.next().map_or(DECISIONS, |text| text.parse().expect("a number of decisions"));
    let log = Log::open(&folder, MOST_BYTES).expect("there is room for some");
    let old = rules("[[rule]]\nid = \"old\"\ndeny_if = { name_in = \"bad*\" }");
    for first in (0..decisions).step_by(TOGETHER as usize) {
        let last = decisions.min(first + TOGETHER);
        let records: Vec<_> = (first..last).map(|number| record(&old, number)).collect();
        log.append(&records).expect("they are written");
    }

    let rule = |number: u64| {
        let size = number * 1000;
        format!("[[rule]]\nid = \"r{number}\"\nhold_if = {{ yanked = true, size_gte = {size} }}\n")
    };
    let draft = rules(&(0..RULES).map(rule).collect::<String>());
    let start = Instant::now();
    let report = replay(log.records(), &draft, Timestamp(0));
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(report.decisions, decisions);
    println!("{decisions} decisions replayed through {RULES} rules: {seconds:.2} s");
}
