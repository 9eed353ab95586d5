//! `when`: conditions that the typed keys cannot say, written in the part of CEL (Common Expression Language) that a condition needs.
//!
//! ```text
//! format == "pickle" && !tag.exists(t, t == "approved") && now - release < duration("30 days")
//! ```
//!
//! Facts are variables with types: flags are `bool`, counts and bytes `int`, scores `double`, times `timestamp`, texts and licences `string`, sets of texts
//! `list(string)`. There are `now`, the policy's own `lists.NAME`, all operators, `in`, `size`, `contains`, `startsWith`, `endsWith`, `matches`, `lowerAscii`,
//! `double`, `timestamp`, `duration`, `exists` and `all`; beyond CEL `like` (the patterns of the typed keys) and `metBy` (licence expressions). `has(FACT)` asks
//! whether a fact is known.
//!
//! An [`Expression`] is checked when it is read: names, types, patterns, depth and length. Evaluating it costs a bounded number of steps and allocates only for
//! lists. A fact that is missing is a third value beside true and false, as everywhere in rules, and so is what cannot be computed: division by zero, an overflow,
//! too many steps. `&&` and `||` settle without it where they can, in either order. What compares with `now` notes the instant at which time alone changes that.
//!
//! The language is written here because of that: an interpreter of all of CEL tells wrong names and types when a rule is evaluated, not when it is read, and
//! cannot tell when a decision ends. `lex` and `parse` read a text, `check` gives its names their meaning, `evaluate` holds it against facts. Left out: maps,
//! bytes, unsigned numbers, other conversions, and macros that make lists.

use std::sync::Arc;

use crate::policy::fact::{Ecosystem, Fact, Facts, Point};
use crate::policy::rule::{Outcome, Turn};
use crate::types::Timestamp;

mod check;
mod evaluate;
mod lex;
mod parse;

pub use check::Kind;

use check::Node;
use evaluate::{Scope, Value};

/// The longest text that is read.
const MOST_BYTES: usize = 4096;

/// How deep an expression may be nested.
const MOST_DEPTH: usize = 32;

/// Most nodes of one.
const MOST_NODES: usize = 500;

/// Most steps of one evaluation; what takes more cannot be told.
const MOST_STEPS: u32 = 20_000;

/// How much of a text is shown to clients.
const MOST_SHOWN: usize = 120;

/// An expression that was checked. Cheap to clone; equal where its text is.
#[derive(Debug, Clone)]
pub struct Expression(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    text: Box<str>,
    node: Node,
    facts: Vec<Fact>,
}

/// What is wrong with a text, and at which of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub at: usize,
    pub text: String,
}

impl Problem {
    fn new(at: usize, text: impl Into<String>) -> Self {
        Self { at, text: text.into() }
    }
}

impl Expression {
    /// Reads and checks one. `lists` knows the policy's lists by name.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with it.
    pub fn read(
        text: &str,
        lists: &mut dyn FnMut(&str) -> Option<Vec<String>>,
    ) -> Result<Self, Problem> {
        if text.len() > MOST_BYTES {
            let problem = format!("{} bytes, {MOST_BYTES} at most are read", text.len());
            return Err(Problem::new(0, problem));
        }
        let tree = parse::tree(&lex::tokens(text)?)?;
        let (node, facts) = check::checked(&tree, lists)?;
        Ok(Self(Arc::new(Inner { text: text.trim().into(), node, facts })))
    }

    /// Whether it holds.
    pub fn outcome(&self, facts: &Facts<'_>, now: Timestamp, turn: &mut Turn) -> Outcome {
        match Scope::new(facts, now, turn).value(&self.0.node) {
            Some(Value::Bool(true)) => Outcome::Yes,
            Some(Value::Bool(false)) => Outcome::No,
            _ => Outcome::Missing,
        }
    }

    /// The facts that it names.
    pub fn facts(&self) -> &[Fact] {
        &self.0.facts
    }

    /// Whether it can be told at that place: what must be known for it can be known there.
    pub fn can_be_told(&self, ecosystem: Ecosystem, point: Point) -> bool {
        self.0.node.can_be_told(&|fact: Fact| fact.is_known(ecosystem, point))
    }

    /// What it comes to, in words for a client: the facts that are missing, or its text with what it rests on.
    pub fn tell(&self, facts: &Facts<'_>, outcome: Outcome, now: Timestamp) -> String {
        let known = |fact: &Fact| *facts.get(*fact) != crate::policy::fact::Value::Unknown;
        let names = |is_known: bool| -> Vec<String> {
            let named = self.0.facts.iter().filter(|fact| known(fact) == is_known);
            let told = |fact: &Fact| match facts.is_pending(*fact) {
                true => format!("{} could not be found out just now", fact.name()),
                false => {
                    let value = facts.get(*fact).told(fact.kind(), now);
                    format!("{} {value}", fact.name())
                }
            };
            named.map(told).collect()
        };
        let shown = self.shown();
        match outcome {
            Outcome::Missing if self.0.facts.iter().all(known) => {
                format!("`{shown}` cannot be computed")
            }
            Outcome::Missing => format!("`{shown}` cannot be told: {}", names(false).join(", ")),
            Outcome::Yes | Outcome::No => match names(true).join(", ") {
                told if told.is_empty() => format!("`{shown}`"),
                told => format!("`{shown}`: {told}"),
            },
        }
    }

    fn shown(&self) -> String {
        let words: Vec<&str> = self.0.text.split_whitespace().collect();
        let cut = words.join(" ");
        match cut.char_indices().nth(MOST_SHOWN) {
            Some((end, _)) => format!("{}…", &cut[..end]),
            None => cut,
        }
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for Expression {}

#[cfg(test)]
mod tests;
