//! Licences: what people, cards, indexes and files call them, as SPDX expressions; and what they forbid.
//!
//! Whatever has an SPDX identifier is called by it. What has none, which is how most terms for models stand, is called `LicenseRef-HF-` and the identifier that
//! the hub has for it, so that it can stand in an expression and in a list of what is allowed. Left out: advice. A [`Tag`] says what a text is known
//! to forbid; that there is none says only that nothing is known.

use std::collections::BTreeSet;
use std::fmt;

use spdx::expression::{ExprNode, Operator};
use spdx::{Expression, LicenseReq, ParseMode};

mod hub;
mod tag;
mod text;

pub use tag::Tag;
pub use text::{Detected, detect, is_text_of};

/// One licence, or several joined by `AND`, `OR` and `WITH`.
#[derive(Debug, Clone)]
pub struct Licence {
    expression: Expression,
    /// As SPDX writes it.
    text: String,
}

/// A text that names no licence that is known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no licence: an SPDX expression, an identifier of the hub's, or LicenseRef-... is expected"
)]
pub struct Unreadable(String);

/// What identifiers that only the hub has begin with.
pub const HUB_PREFIX: &str = "LicenseRef-HF-";

/// The longest text that is taken for the name of a licence.
const MOST_BYTES: usize = 4096;

impl Licence {
    /// Reads an expression of SPDX identifiers, identifiers of the hub's, and common names, in any case.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let unreadable = || Unreadable(text.chars().take(80).collect());
        let trimmed = text.trim();
        if trimmed.is_empty() || trimmed.len() > MOST_BYTES {
            return Err(unreadable());
        }
        // A name in several words is no expression. Names of one word mean what the hub means by them.
        if let Some(id) = text::of_name(trimmed) {
            return Self::strict(id).ok_or_else(unreadable);
        }
        Self::strict(&spelt(trimmed)).ok_or_else(unreadable)
    }

    /// Reads the licence of a card, and its `license_name`, which says what `other` stands for. `None` where the card says that it is unknown, or nothing.
    pub fn of_card(id: &str, name: Option<&str>) -> Option<Self> {
        let id = id.trim().to_ascii_lowercase();
        match id.as_str() {
            "" | "unknown" => None,
            "other" => match name.map(str::trim).filter(|name| !name.is_empty()) {
                Some(name) => Self::parse(name).ok().or_else(|| Self::reference(name)),
                None => Self::reference(&id),
            },
            _ => Self::parse(&id).ok().or_else(|| Self::reference(&id)),
        }
    }

    /// Reads a classifier of a package index: `License :: OSI Approved :: MIT License`. `None` for one that names a family or nothing of the kind.
    pub fn of_classifier(classifier: &str) -> Option<Self> {
        let name = classifier.strip_prefix("License :: ")?;
        let name = name.strip_prefix("OSI Approved :: ").unwrap_or(name);
        text::of_classifier(name).and_then(Self::strict)
    }

    /// All of these at once. `None` for none.
    pub fn all(licences: impl IntoIterator<Item = Self>) -> Option<Self> {
        licences.into_iter().reduce(|one, other| one.and(&other))
    }

    /// Both at once, without what is there already.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut terms = terms(&self.expression);
        for term in self::terms(&other.expression) {
            if !terms.contains(&term) {
                terms.push(term);
            }
        }
        let joined = joined(&terms);
        Self::strict(&joined).unwrap_or_else(|| self.clone())
    }

    /// As SPDX writes it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The identifiers in it, each once, in their order, without exceptions.
    pub fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = Vec::new();
        for requirement in self.expression.requirements() {
            let id = id_of(&requirement.req);
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
    }

    /// Whether what it asks for can be met with licences of which each `allowed` says yes: all that `AND` joins, one of those that `OR` joins. Asked with
    /// the identifier alone, and with the exception where there is one.
    pub fn is_met(&self, allowed: impl Fn(&str) -> bool) -> bool {
        self.expression.evaluate(|requirement| {
            allowed(&id_of(requirement)) || allowed(&requirement.to_string())
        })
    }

    /// What it forbids or demands. Of those that `OR` joins, the mildest counts.
    pub fn tags(&self) -> BTreeSet<Tag> {
        let mut stack: Vec<BTreeSet<Tag>> = Vec::new();
        for node in self.expression.iter() {
            let tags = match node {
                ExprNode::Req(requirement) => tag::of(&id_of(&requirement.req)),
                ExprNode::Op(operator) => {
                    let (two, one) = (stack.pop().unwrap_or_default(), stack.pop());
                    let one = one.unwrap_or_default();
                    match operator {
                        Operator::And => one.union(&two).copied().collect(),
                        Operator::Or => tag::milder(one, two),
                    }
                }
            };
            stack.push(tags);
        }
        stack.pop().unwrap_or_default()
    }

    /// Whether everything that `other` names is named here, too: a detected text agrees with what was declared. That a version may be a later one makes
    /// no difference.
    pub fn names_all_of(&self, other: &Self) -> bool {
        let own: Vec<String> = self.ids().iter().map(|id| version_of(id).to_owned()).collect();
        other.ids().iter().all(|id| own.iter().any(|own| own == version_of(id)))
    }

    /// A licence that has no identifier but the name that somebody gave it.
    fn reference(name: &str) -> Option<Self> {
        let slug = hub::slug(name);
        if slug.is_empty() {
            return None;
        }
        Self::strict(&format!("{HUB_PREFIX}{slug}"))
    }

    fn strict(text: &str) -> Option<Self> {
        let canonical = Expression::canonicalize(text).ok()?;
        let text = canonical.as_deref().unwrap_or(text);
        let expression = Expression::parse_mode(text, ParseMode::LAX).ok()?;
        Some(Self { text: joined(&terms(&expression)), expression })
    }
}

impl fmt::Display for Licence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Licence {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Licence {}

impl serde::Serialize for Licence {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for Licence {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// What `AND` joins at the top, each as SPDX writes it.
fn terms(expression: &Expression) -> Vec<String> {
    let mut stack: Vec<Vec<String>> = Vec::new();
    for node in expression.iter() {
        let terms = match node {
            ExprNode::Req(requirement) => vec![requirement.req.to_string()],
            ExprNode::Op(operator) => {
                let (two, one) = (stack.pop().unwrap_or_default(), stack.pop());
                let mut one = one.unwrap_or_default();
                match operator {
                    Operator::And => {
                        one.extend(two);
                        one
                    }
                    Operator::Or => vec![format!("{} OR {}", grouped(&one), grouped(&two))],
                }
            }
        };
        stack.push(terms);
    }
    stack.pop().unwrap_or_default()
}

/// Terms joined by `AND`.
fn joined(terms: &[String]) -> String {
    match terms {
        [one] => one.clone(),
        terms => {
            let operand = |term: &String| {
                if term.contains(" OR ") { format!("({term})") } else { term.clone() }
            };
            terms.iter().map(operand).collect::<Vec<_>>().join(" AND ")
        }
    }
}

fn id_of(requirement: &LicenseReq) -> String {
    requirement.license.to_string()
}

/// Without what it says of later versions.
fn version_of(id: &str) -> &str {
    let id = id.strip_suffix('+').unwrap_or(id);
    id.strip_suffix("-only").or_else(|| id.strip_suffix("-or-later")).unwrap_or(id)
}

/// Terms as one operand of `OR`.
fn grouped(terms: &[String]) -> String {
    match terms {
        [one] => one.clone(),
        terms => format!("({})", joined(terms)),
    }
}

/// An expression with each name in SPDX's spelling, as far as it is known.
fn spelt(text: &str) -> String {
    let mut spelt = String::with_capacity(text.len() + 16);
    let mut word = String::new();
    for letter in text.chars().chain([' ']) {
        if letter.is_whitespace() || matches!(letter, '(' | ')' | '/') {
            spelt.push_str(&hub::spelling(&word));
            word.clear();
            spelt.push(letter);
        } else {
            word.push(letter);
        }
    }
    spelt.trim().to_owned()
}

#[cfg(test)]
mod tests;
