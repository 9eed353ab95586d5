//! What is noted while a file is read: the report in the making, where reading is, and what may still be spent.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::report::{Finding, Format, Kind, Report};
use super::rules::Rules;

/// Imports and findings beyond these are counted as a flood: no honest file comes near.
const MOST_GLOBALS: usize = 512;
const MOST_FINDINGS: usize = 16;

/// The longest text that is quoted from a file.
const MOST_QUOTED: usize = 120;

/// Archives in archives are looked into down to here.
const MOST_DEPTH: usize = 4;

/// The report in the making.
#[derive(Debug)]
pub(super) struct Notes {
    rules: Arc<Rules>,
    format: Option<Format>,
    globals: BTreeSet<String>,
    findings: Vec<Finding>,
    /// Members on the way to where reading is.
    way: Vec<String>,
    /// Instructions and inflated bytes that may still be read.
    instructions: u64,
    inflated: u64,
    is_refused: bool,
}

impl Notes {
    pub(super) fn new(rules: Arc<Rules>) -> Self {
        let (instructions, inflated) = (rules.most_instructions, rules.most_inflated.bytes());
        Self {
            rules,
            format: None,
            globals: BTreeSet::new(),
            findings: Vec::new(),
            way: Vec::new(),
            instructions,
            inflated,
            is_refused: false,
        }
    }

    /// Whether what was noted is enough to refuse the file.
    pub(super) const fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Says what the file is. The first word counts: what is found in it is not what it is.
    pub(super) fn format(&mut self, format: Format) {
        if self.way.is_empty() {
            self.format.get_or_insert(format);
        }
    }

    /// Says more exactly what an archive is, once a member shows it.
    pub(super) fn refine(&mut self, format: Format) {
        if self.way.is_empty() {
            self.format = Some(format);
        }
    }

    /// Goes into a member. False when that is too deep; nothing is left then.
    pub(super) fn enter(&mut self, member: &str) -> bool {
        if self.way.len() >= MOST_DEPTH {
            return false;
        }
        self.way.push(quoted(member));
        true
    }

    pub(super) fn leave(&mut self) {
        self.way.pop();
    }

    /// Whether an import is allowed.
    pub(super) fn allows(&self, module: &str, name: &str) -> bool {
        self.rules.allows(module, name)
    }

    /// Whether a name is allowed of some module.
    pub(super) fn allows_name(&self, name: &str) -> bool {
        self.rules.allows_name(name)
    }

    /// Something is imported.
    pub(super) fn global(&mut self, module: &str, name: &str) {
        let text = format!("{} {}", quoted(module), quoted(name));
        if self.globals.contains(&text) {
            return;
        }
        self.is_refused |= !self.rules.only_warns() && !self.rules.allows(module, name);
        if self.globals.len() >= MOST_GLOBALS {
            self.find(Kind::Flood, 0, format!("it imports more than {MOST_GLOBALS} things"));
            return;
        }
        self.globals.insert(text);
    }

    /// Something speaks against the file, at byte `at` of the member that is being read.
    pub(super) fn find(&mut self, kind: Kind, at: u64, what: String) {
        self.is_refused |= self.rules.refuses(kind);
        if self.findings.len() >= MOST_FINDINGS {
            return;
        }
        let way = self.way.join(" in ");
        let place = if way.is_empty() { format!("byte {at}") } else { format!("{way}, byte {at}") };
        let finding = Finding { kind, place, what };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Counts instructions. False when there were too many.
    pub(super) const fn spend(&mut self, instructions: u64) -> bool {
        let is_enough = self.instructions >= instructions;
        self.instructions = self.instructions.saturating_sub(instructions);
        is_enough
    }

    /// Counts inflated bytes. False when there were too many.
    pub(super) const fn inflate(&mut self, bytes: u64) -> bool {
        let is_enough = self.inflated >= bytes;
        self.inflated = self.inflated.saturating_sub(bytes);
        is_enough
    }

    /// The report so far.
    pub(super) fn report(&self, is_complete: bool) -> Report {
        Report {
            format: self.format.unwrap_or_default(),
            globals: self.globals.iter().cloned().collect(),
            findings: self.findings.clone(),
            is_complete,
        }
    }
}

/// A text from a file, fit to be shown: short, and without characters that would disturb a line.
pub(super) fn quoted(text: &str) -> String {
    let shown = text.chars().take(MOST_QUOTED);
    shown.map(|letter| if letter.is_control() || letter == ' ' { '?' } else { letter }).collect()
}
