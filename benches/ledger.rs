//! The ledger with many records: appending them durably, reading all of it again as `larder log verify` does, and proving one.
//!
//!     cargo bench --bench ledger                        a million records
//!     cargo bench --bench ledger -- FOLDER RECORDS

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use larder::cache::witness::Witness;
use larder::clock::Clock;
use larder::trace::ledger::{Audit, Ledger};
use larder::types::event::Kind;
use larder::types::{Event, Timestamp, What};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const RECORDS: u64 = 1_000_000;

/// Events that are told at once.
const TOGETHER: u64 = 1000;

fn event(number: u64) -> Event {
    let what =
        What::new(Kind::Moved, format!("hf:organisation-{}/model-{number}@main", number % 97))
            .before(format!("{number:040x}"))
            .after(format!("{:040x}", number + 1));
    what.at(Timestamp(1_700_000_000_000 + number), "huggingface")
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let temporary = tempfile::tempdir().expect("there is room");
    let folder = arguments.next().map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let records =
        arguments.next().map_or(RECORDS, |text| text.parse().expect("a number of records"));
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let directory = folder.join("ledger");
    let open = || {
        let clock = Clock::manual(Timestamp(0));
        Ledger::open(&directory, 4096, clock, &tasks, &stop).expect("it opens")
    };
    let (ledger, scribe) = open();

    let start = Instant::now();
    for first in (0..records).step_by(TOGETHER as usize) {
        let events = (first..records.min(first + TOGETHER)).map(event).collect();
        scribe.witness(events).await;
    }
    println!("{records} records appended, {TOGETHER} at once, durably: {:.2?}", start.elapsed());

    let view = ledger.view();
    let start = Instant::now();
    let checkpoint = view.key().checkpoint(view.checkpoint()).expect("it is signed");
    let mut audit = Audit::new([checkpoint.size], view.segment_roots().expect("it reads"));
    let mut read = |_: u64, line: &[u8]| {
        audit.read(line);
        ControlFlow::Continue(())
    };
    view.lines(0..u64::MAX, &mut read).expect("it reads");
    audit.compare(&checkpoint, "the head");
    assert_eq!(audit.faults(), Vec::<String>::new());
    println!("{records} records verified: {:.2?}", start.elapsed());

    let start = Instant::now();
    let proof = view.prove(records / 3).expect("it reads").expect("it is there");
    proof.check(None).expect("it proves");
    println!("one record proved and checked: {:.2?}", start.elapsed());

    stop.cancel();
    tasks.close();
    tasks.wait().await;
    let start = Instant::now();
    let (again, _) = open();
    assert_eq!(again.view().size(), records);
    println!("opened again: {:.2?}", start.elapsed());
}
