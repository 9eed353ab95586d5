//! The rules of inspection: what pickles may import, what is refused, how much is looked at.
//!
//! Imports are judged by a list of what is allowed, by exact module and name; a list of what is dangerous would never be finished.
//! The list that is shipped (`allowed.txt`) holds what the usual libraries write and what does nothing by being made.

use std::collections::HashSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::report::{Kind, Report, Summary};
use crate::types::ByteSize;

/// What is allowed as shipped: a module and its names on each line.
const SHIPPED: &str = include_str!("allowed.txt");

/// Settings of inspection, `[inspect]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether files are looked into, and what comes of it.
    pub mode: Mode,
    /// What pickles may import beside what is shipped: `module.name`, or `module.*` for every name of exactly that module.
    pub allow: Vec<String>,
    /// What comes of a file that cannot be read to its end.
    pub unparsable: Action,
    /// So much of a file is held back until the verdict; of larger ones, what is read and found harmless so far goes on its way, but for the end.
    pub hold: ByteSize,
    /// So long a request waits for a verdict before its client is told to come again.
    #[serde(with = "humantime_serde")]
    pub wait: Duration,
    /// Bytes a second at which what was kept before it could be looked into is, in the background; 0: only when somebody asks for it.
    pub review_rate: ByteSize,
    /// Instructions of pickles that are read of one file.
    pub most_instructions: u64,
    /// Compressed members of archives, and compressed streams, are read up to this size, all of one file together.
    pub most_inflated: ByteSize,
}

/// Whether files are looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Off,
    /// What would be refused is logged, counted and marked, and passes.
    Warn,
    #[default]
    Enforce,
}

/// What comes of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Warn,
    #[default]
    Refuse,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            allow: Vec::new(),
            unparsable: Action::Refuse,
            hold: ByteSize::mib(1),
            wait: Duration::from_secs(5),
            review_rate: ByteSize::mib(32),
            most_instructions: 200_000_000,
            most_inflated: ByteSize::mib(64 << 10),
        }
    }
}

/// What is drawn from a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    Pass,
    /// It passes, and this is to be said of it.
    Warn(String),
    /// It does not, for this reason.
    Refuse(String),
}

/// The rules in force.
#[derive(Debug)]
pub struct Rules {
    mode: Mode,
    unparsable: Action,
    /// `module name`.
    exact: HashSet<String>,
    /// Modules of which every name is allowed.
    modules: HashSet<String>,
    /// The names that are allowed of any module.
    names: HashSet<String>,
    hold: u64,
    wait: Duration,
    pub(super) most_instructions: u64,
    pub(super) most_inflated: ByteSize,
}

impl Rules {
    /// The rules of a configuration; `None` where files are not looked into.
    ///
    /// # Errors
    ///
    /// What of `allow` names nothing, one text for each.
    pub fn new(config: &Config) -> Result<Option<Self>, Vec<String>> {
        let (mut exact, mut modules) = (HashSet::new(), HashSet::new());
        for line in SHIPPED.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split_whitespace();
            let Some(module) = words.next() else { continue };
            exact.extend(words.map(|name| format!("{module} {name}")));
        }
        let mut faults = Vec::new();
        for entry in &config.allow {
            match entry.rsplit_once('.') {
                Some((module, "*")) if is_path(module) => drop(modules.insert(module.to_owned())),
                Some((module, name)) if is_path(module) && is_path(name) => {
                    exact.insert(format!("{module} {name}"));
                }
                _ => faults.push(format!(
                    "holds {entry:?}, expected `module.name`, or `module.*` for every name of a module"
                )),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let names =
            exact.iter().filter_map(|pair| pair.split_once(' ')).map(|(_, name)| name.to_owned());
        let names = names.collect();
        Ok((config.mode != Mode::Off).then_some(Self {
            mode: config.mode,
            unparsable: config.unparsable,
            exact,
            modules,
            names,
            hold: config.hold.bytes(),
            wait: config.wait,
            most_instructions: config.most_instructions,
            most_inflated: config.most_inflated,
        }))
    }

    /// Whether a pickle may import this.
    pub fn allows(&self, module: &str, name: &str) -> bool {
        // What TorchScript compiled. There is no such module in Python.
        let is_script = module == "__torch__" || module.starts_with("__torch__.");
        // A path of names is looked up step by step, so that it leads out of the module.
        let is_plain = !name.contains('.');
        is_plain
            && (is_script
                || self.modules.contains(module)
                || self.exact.contains(&format!("{module} {name}")))
    }

    /// Whether a name is allowed of some module.
    pub(super) fn allows_name(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// How much of a file is held back while it is looked into.
    pub const fn hold(&self) -> u64 {
        self.hold
    }

    /// How long a request waits for a verdict.
    pub const fn wait(&self) -> Duration {
        self.wait
    }

    /// Whether a finding of this kind alone refuses a file, now.
    pub(super) fn refuses(&self, kind: Kind) -> bool {
        self.mode == Mode::Enforce && self.action(kind) == Action::Refuse
    }

    /// Whether nothing may be refused.
    pub(super) fn only_warns(&self) -> bool {
        self.mode != Mode::Enforce
    }

    fn action(&self, kind: Kind) -> Action {
        match kind {
            kind if kind.is_unread() => self.unparsable,
            _ => Action::Refuse,
        }
    }

    /// The imports of a report that are not allowed.
    pub fn unlisted<'a>(&self, report: &'a Report) -> Vec<&'a str> {
        let is_unlisted = |global: &&str| match global.split_once(' ') {
            Some((module, name)) => !self.allows(module, name),
            None => true,
        };
        report.globals.iter().map(String::as_str).filter(is_unlisted).collect()
    }

    /// A report in the words of rules of one's own, whatever follows from it here.
    pub fn summary(&self, report: &Report) -> Summary {
        let mut findings: Vec<&str> = report.findings.iter().map(|one| one.kind.name()).collect();
        let has_import = !self.unlisted(report).is_empty();
        let is_unsafe = has_import || report.findings.iter().any(|one| !one.kind.is_unread());
        findings.extend(has_import.then_some("import"));
        findings.extend(is_unsafe.then_some("unsafe"));
        if findings.is_empty() {
            findings.push("clean");
        }
        findings.sort_unstable();
        findings.dedup();
        Summary { format: report.format.name(), findings }
    }

    /// What follows from a report.
    pub fn ruling(&self, report: &Report) -> Ruling {
        let mut refusals = Vec::new();
        let mut warnings = Vec::new();
        let unlisted = self.unlisted(report);
        if let Some(first) = unlisted.first() {
            let more = match unlisted.len() - 1 {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            refusals.push(format!(
                "it imports {}{more}, which files of models need not do (`inspect.allow` of this server lists what they may)",
                first.replace(' ', ".")
            ));
        }
        for finding in &report.findings {
            let list = match self.action(finding.kind) {
                Action::Refuse => &mut refusals,
                Action::Warn => &mut warnings,
            };
            list.push(finding.to_string());
        }
        let said = |list: &[String]| list.iter().take(3).cloned().collect::<Vec<_>>().join("; ");
        match (refusals.is_empty(), warnings.is_empty()) {
            (true, true) => Ruling::Pass,
            (true, false) => Ruling::Warn(said(&warnings)),
            (false, _) if self.only_warns() => Ruling::Warn(said(&refusals)),
            (false, _) => Ruling::Refuse(said(&refusals)),
        }
    }
}

/// Whether a text is a name, or a path of names.
fn is_path(text: &str) -> bool {
    let is_name = |part: &str| {
        let mut letters = part.chars();
        letters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
            && letters.all(|letter| letter.is_alphanumeric() || letter == '_')
    };
    !text.is_empty() && text.split('.').all(is_name)
}
