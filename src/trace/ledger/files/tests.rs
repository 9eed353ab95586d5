//! What is found of a ledger after crashes, failing disks, and hands that had no business there.

use std::ops::ControlFlow;

use tempfile::TempDir;

use super::*;
use crate::store::disk::tests::platter::{Chance, Luck};
use crate::store::disk::tests::simulated::{Disk, Failure};
use crate::trace::ledger::{Audit, View};
use crate::types::event::Kind;
use crate::types::{Timestamp, What};

fn event(number: u64) -> Event {
    let what = What::new(Kind::Moved, format!("thing:{number}")).after("x".repeat(90));
    what.at(Timestamp(1_700_000_000_000 + number), "test")
}

fn events(range: std::ops::Range<u64>) -> Vec<Event> {
    range.map(event).collect()
}

fn view(files: &Files) -> View {
    View {
        directory: Arc::new(files.directory.clone()),
        head: Arc::new(files.head.clone()),
        key: Arc::new(files.signer.verifier().clone()),
    }
}

fn subjects(files: &Files) -> Vec<String> {
    let mut subjects = Vec::new();
    let mut read = |_: u64, line: &[u8]| {
        let record: Record = serde_json::from_slice(line).expect("a record");
        subjects.push(record.subject);
        ControlFlow::Continue(())
    };
    view(files).lines(0..u64::MAX, &mut read).expect("it reads");
    subjects
}

/// What an audit finds wrong.
fn audited(files: &Files) -> Vec<String> {
    let view = view(files);
    let checkpoint = view.key.checkpoint(view.checkpoint()).expect("it is signed");
    let mut audit = Audit::new([checkpoint.size], view.segment_roots().expect("roots"));
    let mut read = |_: u64, line: &[u8]| {
        audit.read(line);
        ControlFlow::Continue(())
    };
    view.lines(0..u64::MAX, &mut read).expect("it reads");
    audit.compare(&checkpoint, "the head");
    audit.faults()
}

fn open(device: Arc<dyn Device>, root: &Path) -> (Files, Option<Damage>) {
    Files::open(device, &root.join("ledger")).expect("it opens")
}

fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    }
    .expect("there is room")
}

#[test]
fn what_was_appended_is_read_and_proved() {
    let root = directory();
    let machine: Arc<dyn Device> = Arc::new(device::Machine);
    let mut earlier = Vec::new();
    for (from, to) in [(0, 1), (1, 20), (20, 20), (20, 100), (100, 113)] {
        let (mut files, damage) = open(Arc::clone(&machine), root.path());
        assert_eq!(damage, None);
        let mut events = events(from..to);
        files.append(&mut events).expect("it is appended");
        assert_eq!((events.len(), files.head.frontier.size()), (0, to));
        earlier.push((to, files.head.frontier.root()));
    }
    let (files, _) = open(machine, root.path());
    assert_eq!(audited(&files), Vec::<String>::new());
    let view = view(&files);
    for index in 0..113 {
        let proof = view.prove(index).expect("it reads").expect("it is there");
        let record: Record = serde_json::from_str(&proof.record).expect("a record");
        assert_eq!((record.index, record.subject), (index, format!("thing:{index}")));
        let checkpoint = proof.check(None).expect("it proves");
        assert_eq!(checkpoint.size, 113);
        let other = Signer::new(&[1; 32]);
        assert!(proof.check(Some(other.verifier())).is_err(), "another key");
        let forged = crate::trace::ledger::Proof {
            record: proof.record.replace("moved", "yanked"),
            ..proof
        };
        assert!(forged.check(None).is_err());
    }
    assert_eq!(view.prove(113).expect("it reads"), None);
    let now = (113, &files.head.frontier.root());
    for (size, root) in &earlier {
        let path = view.prove_consistency(*size).expect("it reads").expect("it was that long");
        assert!(merkle::is_consistent((*size, root), now, &path), "{size}");
    }
    assert_eq!(view.prove_consistency(114).expect("it reads"), None);
    let mut last = Vec::new();
    let mut three = |index: u64, _: &[u8]| {
        last.push(index);
        if last.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    view.lines_backwards(&mut three).expect("it reads");
    assert_eq!(last, [112, 111, 110]);
}

/// Appends in steps over several segments; after each, how many calls there were and how many records were acknowledged.
fn run(disk: &Disk, root: &Path) -> Vec<(usize, u64)> {
    let (mut files, _) = open(Arc::new(disk.clone()), root);
    let mut acknowledged = Vec::new();
    for step in 0..18_u64 {
        let from = files.head.frontier.size();
        let mut events = events(from..from + step % 7 + 1);
        files.append(&mut events).expect("it is appended");
        acknowledged.push((disk.position(), files.head.frontier.size()));
    }
    acknowledged
}

#[test]
fn power_lost_at_any_point_loses_nothing_acknowledged() {
    let root = directory();
    let disk = Disk::over(root.path(), 1);
    let mut platter = disk.platter();
    let acknowledged = run(&disk, root.path());
    let mut chance = Chance(1);
    let ops = disk.ops();
    assert!(ops.len() > 60, "{}", ops.len());
    for point in 0..=ops.len() {
        if point > 0 {
            platter.apply(&ops[point - 1], &mut chance);
        }
        for luck in [Luck::Nothing, Luck::Some, Luck::Some, Luck::Everything] {
            let image = directory();
            platter.crash(image.path(), luck, &mut chance);
            let machine: Arc<dyn Device> = Arc::new(device::Machine);
            let (mut files, damage) = open(machine, image.path());
            assert_eq!(damage, None, "after {point} calls, {luck:?}");
            let certain = acknowledged.iter().rev().find(|(at, _)| *at <= point);
            let (size, certain) =
                (files.head.frontier.size(), certain.map_or(0, |(_, size)| *size));
            assert!(size >= certain, "{size} of {certain} after {point} calls, {luck:?}");
            files.append(&mut events(size..size + 20)).expect("it goes on");
            let expected: Vec<String> = (0..size + 20).map(|n| format!("thing:{n}")).collect();
            assert_eq!(subjects(&files), expected);
            assert_eq!(audited(&files), Vec::<String>::new());
        }
    }
}

#[test]
fn a_disk_that_fails_once_at_any_call_loses_nothing() {
    let calls = {
        let root = directory();
        let disk = Disk::over(root.path(), 1);
        run(&disk, root.path());
        disk.calls()
    };
    for failing in 0..calls {
        let root = directory();
        let disk = Disk::over(root.path(), 1);
        let mut platter = disk.platter();
        let how = if failing % 2 == 0 { Failure::Error } else { Failure::Full };
        disk.fail(failing, 1, how);
        let ledger = root.path().join("ledger");
        let (mut files, damage) = match Files::open(Arc::new(disk.clone()), &ledger) {
            Ok(opened) => opened,
            Err(_) => Files::open(Arc::new(disk.clone()), &ledger).expect("it opens now"),
        };
        assert_eq!(damage, None, "call {failing}");
        let mut told = events(0..66);
        for _ in 0..2 {
            if files.append(&mut told).is_ok() {
                break;
            }
        }
        assert_eq!(told.len(), 0, "call {failing}");
        assert_eq!(audited(&files), Vec::<String>::new());
        // And it is on the disk, not in the page cache alone.
        let mut chance = Chance(failing);
        disk.ops().iter().for_each(|op| platter.apply(op, &mut chance));
        let image = directory();
        platter.crash(image.path(), Luck::Nothing, &mut chance);
        let (files, damage) = open(Arc::new(device::Machine), image.path());
        assert_eq!((damage, subjects(&files).len()), (None, 66), "call {failing}");
        assert_eq!(audited(&files), Vec::<String>::new());
    }
}

#[test]
fn a_ledger_that_does_not_fit_its_head_is_moved_aside() {
    let check = |harm: &dyn Fn(&Path), expected: &str| {
        let root = directory();
        let machine: Arc<dyn Device> = Arc::new(device::Machine);
        let (mut files, _) = open(Arc::clone(&machine), root.path());
        files.append(&mut events(0..40)).expect("it is appended");
        let key = files.signer.verifier().to_string();
        drop(files);
        harm(&root.path().join("ledger"));
        let (mut files, damage) = open(Arc::clone(&machine), root.path());
        let told = damage.expect("it was harmed").told;
        assert!(told.contains(expected) && told.ends_with("ledger.damaged-1"), "{told}");
        assert!(root.path().join("ledger.damaged-1/00000000000000000000.jsonl").exists());
        assert_ne!(files.signer.verifier().to_string(), key, "another ledger has another name");
        files.append(&mut events(0..3)).expect("it goes on");
        drop(files);
        assert_eq!(open(machine, root.path()).1, None);
    };
    let cut = |path: PathBuf| {
        let file = File::options().write(true).open(path).expect("it is there");
        let length = file.metadata().expect("it is there").len();
        file.set_len(length - 1).expect("it is cut");
    };
    check(&|ledger| cut(ledger.join("00000000000000000032.jsonl")), "lacks its last records");
    check(
        &|ledger| fs::remove_file(ledger.join("00000000000000000032.jsonl")).expect("removed"),
        "lacks its last records",
    );
    check(&|ledger| fs::remove_file(ledger.join("head")).expect("removed"), "has lost its head");
    check(&|ledger| fs::remove_file(ledger.join("key")).expect("removed"), "has lost its key");
    check(&|ledger| cut(ledger.join("key")), "has a key that is none");
    check(&|ledger| cut(ledger.join("roots")), "lacks the roots");
    check(&|ledger| fs::write(ledger.join("key"), [1; 32]).expect("written"), "not its own");
}

#[test]
fn records_that_were_changed_on_the_disk_are_found() {
    let root = directory();
    let machine: Arc<dyn Device> = Arc::new(device::Machine);
    let (mut files, _) = open(Arc::clone(&machine), root.path());
    files.append(&mut events(0..40)).expect("it is appended");
    let first = root.path().join("ledger/00000000000000000000.jsonl");
    let text = fs::read_to_string(&first).expect("it reads");
    let check = |changed: String, expected: &[&str]| {
        fs::write(&first, changed).expect("it is written");
        assert_eq!(audited(&files), expected);
        fs::write(&first, &text).expect("it is written");
    };
    let head = "the first 40 records are not those that the head was signed for";
    let changed = "a record from 0 to 15 was changed";
    check(text.replacen("thing:7", "thing:8", 1), &[changed, head]);
    let lines: Vec<&str> = text.lines().collect();
    let swapped = [&lines[..3], &[lines[4], lines[3]], &lines[5..]].concat().join("\n") + "\n";
    check(
        swapped,
        &[
            "record 3 is missing",
            "record 3 stands where record 5 should be",
            "record 4 is missing",
            changed,
            head,
        ],
    );
    let removed = [&lines[..3], &lines[4..]].concat().join("\n") + "\n";
    let faults = {
        fs::write(&first, removed).expect("it is written");
        audited(&files)
    };
    assert_eq!(faults[0], "record 3 is missing");
}
