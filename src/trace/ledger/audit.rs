//! Reads a whole ledger again and tells what is wrong with it. Pure: lines in, faults out; wherever they come from, nothing but the key is trusted.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::files::{SEGMENT_LEVEL, SEGMENT_RECORDS};
use crate::trace::merkle::{self, Frontier, Hash};
use crate::trace::note::Checkpoint;

/// Faults that are told one by one.
const MOST_FAULTS: usize = 20;

/// An audit under way.
#[derive(Debug)]
pub struct Audit {
    frontier: Frontier,
    /// The index that the next record should have.
    expected: u64,
    /// Roots at the sizes that somebody has a checkpoint of.
    roots: BTreeMap<u64, Option<Hash>>,
    /// Roots that full segments had, as the ledger itself says; they only help to find a fault.
    segments: Vec<Hash>,
    faults: Vec<String>,
    /// Faults beyond those told.
    more: u64,
}

/// The one member that every record has had from the beginning.
#[derive(Deserialize)]
struct Numbered {
    index: u64,
}

impl Audit {
    /// An audit that will be able to compare checkpoints of these sizes.
    pub fn new(sizes: impl IntoIterator<Item = u64>, segments: Vec<Hash>) -> Self {
        let frontier = Frontier::default();
        let mut roots: BTreeMap<u64, Option<Hash>> =
            sizes.into_iter().map(|size| (size, None)).collect();
        roots.entry(0).and_modify(|root| *root = Some(frontier.root()));
        Self { frontier, expected: 0, roots, segments, faults: Vec::new(), more: 0 }
    }

    /// Takes the next line, without its end.
    pub fn read(&mut self, line: &[u8]) {
        match serde_json::from_slice::<Numbered>(line) {
            Ok(Numbered { index }) => {
                self.number(index);
                self.expected = index.saturating_add(1);
            }
            Err(error) => {
                self.fault(format!("record {} is no JSON: {error}", self.expected));
                self.expected += 1;
            }
        }
        let full = self.frontier.push(merkle::leaf(line), SEGMENT_LEVEL);
        let size = self.frontier.size();
        if let Some(root) = full {
            let number = size / SEGMENT_RECORDS - 1;
            let known = usize::try_from(number).ok().and_then(|place| self.segments.get(place));
            if known.is_some_and(|known| *known != root) {
                let first = number * SEGMENT_RECORDS;
                self.fault(format!("a record from {first} to {} was changed", size - 1));
            }
        }
        if let Some(root) = self.roots.get_mut(&size) {
            *root = Some(self.frontier.root());
        }
    }

    fn number(&mut self, index: u64) {
        let expected = self.expected;
        if index > expected + 1 {
            self.fault(format!("records {expected} to {} are missing", index - 1));
        } else if index > expected {
            self.fault(format!("record {expected} is missing"));
        } else if index < expected {
            self.fault(format!("record {index} stands where record {expected} should be"));
        }
    }

    /// Compares the ledger with a checkpoint whose signature was checked; `named` is what to call it.
    pub fn compare(&mut self, checkpoint: &Checkpoint, named: &str) {
        match self.roots.get(&checkpoint.size) {
            Some(Some(root)) if *root == checkpoint.root => {}
            Some(Some(_)) => self.fault(format!(
                "the first {} records are not those that {named} was signed for",
                checkpoint.size
            )),
            _ => self.fault(format!(
                "there are {} records, and {named} was signed for {}",
                self.frontier.size(),
                checkpoint.size
            )),
        }
    }

    /// Records so far.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The root of all of them.
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// What is wrong.
    pub fn faults(mut self) -> Vec<String> {
        if self.more > 0 {
            self.faults.push(format!("and {} more", self.more));
        }
        self.faults
    }

    fn fault(&mut self, fault: String) {
        match self.faults.len() < MOST_FAULTS {
            true => self.faults.push(fault),
            false => self.more += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize) -> Vec<String> {
        (0..count).map(|index| format!(r#"{{"index":{index},"subject":"s"}}"#)).collect()
    }

    fn audit(lines: &[String], checkpoints: &[(u64, Hash)]) -> Vec<String> {
        let mut audit = Audit::new(checkpoints.iter().map(|(size, _)| *size), Vec::new());
        lines.iter().for_each(|line| audit.read(line.as_bytes()));
        for (size, root) in checkpoints {
            let origin = "log".to_owned();
            audit.compare(&Checkpoint { origin, size: *size, root: *root }, "the checkpoint");
        }
        audit.faults()
    }

    fn root(lines: &[String]) -> (u64, Hash) {
        let mut audit = Audit::new([], Vec::new());
        lines.iter().for_each(|line| audit.read(line.as_bytes()));
        (audit.size(), audit.root())
    }

    #[test]
    fn removed_changed_and_reordered_records_are_found() {
        let right = lines(20);
        let (earlier, now) = (root(&right[..13]), root(&right));
        let checkpoints = [earlier, now, root(&[])];
        assert_eq!(audit(&right, &checkpoints), Vec::<String>::new());
        let check = |change: &dyn Fn(&mut Vec<String>), expected: &[&str]| {
            let mut lines = right.clone();
            change(&mut lines);
            assert_eq!(audit(&lines, &checkpoints[..2]), expected);
        };
        let first = "the first 13 records are not those that the checkpoint was signed for";
        let all = "the first 20 records are not those that the checkpoint was signed for";
        let fewer = "there are 19 records, and the checkpoint was signed for 20";
        check(&|lines| drop(lines.remove(7)), &["record 7 is missing", first, fewer]);
        check(
            &|lines| drop(lines.drain(4..7)),
            &[
                "records 4 to 6 are missing",
                first,
                "there are 17 records, and the checkpoint was signed for 20",
            ],
        );
        check(
            &|lines| lines.swap(14, 15),
            &[
                "record 14 is missing",
                "record 14 stands where record 16 should be",
                "record 15 is missing",
                all,
            ],
        );
        check(&|lines| lines[15] = lines[15].replace("\"s\"", "\"t\""), &[all]);
        check(&|lines| lines[3] = lines[3].replace("\"s\"", "\"t\""), &[first, all]);
        check(&|lines| drop(lines.pop()), &[fewer]);
        check(
            &|lines| lines.insert(5, lines[5].clone()),
            &["record 5 stands where record 6 should be", first, all],
        );
        check(
            &|lines| lines[2] = "torn".to_owned(),
            &["record 2 is no JSON: expected ident at line 1 column 2", first, all],
        );
        // Whoever removes one and numbers the others anew is found by the root.
        check(&|lines| *lines = tests::lines(19), &[fewer]);
    }

    #[test]
    fn a_changed_record_is_found_by_its_segment_and_faults_are_bounded() {
        let right = lines(SEGMENT_RECORDS as usize * 2);
        let mut known = Frontier::default();
        let segments = right
            .iter()
            .filter_map(|line| known.push(merkle::leaf(line.as_bytes()), SEGMENT_LEVEL))
            .collect();
        let mut audit = Audit::new([], segments);
        for (index, line) in right.iter().enumerate() {
            match index {
                20 => audit.read(line.replace("\"s\"", "\"t\"").as_bytes()),
                _ => audit.read(line.as_bytes()),
            }
        }
        assert_eq!(audit.faults(), ["a record from 16 to 31 was changed"]);
        let faults = self::audit(&vec!["{}".to_owned(); 30], &[]);
        assert_eq!((faults.len(), faults[20].as_str()), (21, "and 10 more"));
    }
}
