//! What licences are known to forbid or demand, by their identifiers.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::HUB_PREFIX;
use Tag::{Custom, NoDerivatives, Noncommercial, ResearchOnly, ShareAlike, UseRestricted, Vague};

/// Something that a licence forbids or demands, the mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tag {
    /// Who passes on what was made of it must do so under the same terms.
    ShareAlike,
    /// Terms that are in no list: somebody must read them.
    Custom,
    /// A family of licences, without saying which.
    Vague,
    /// Certain uses are forbidden, or from a certain size of business on.
    UseRestricted,
    /// What was made of it may not be passed on.
    NoDerivatives,
    /// For research only.
    ResearchOnly,
    /// Not for business.
    Noncommercial,
}

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ShareAlike => "share-alike",
            Custom => "custom",
            Vague => "vague",
            UseRestricted => "use-restricted",
            NoDerivatives => "no-derivatives",
            ResearchOnly => "research-only",
            Noncommercial => "noncommercial",
        })
    }
}

/// Terms that SPDX has nothing for, without their prefix.
const HUB: &[(&str, &[Tag])] = &[
    ("apple-amlr", &[ResearchOnly, Noncommercial]),
    ("apple-ascl", &[]),
    ("bigcode-openrail-m", &[UseRestricted]),
    ("bigscience-bloom-rail-1.0", &[UseRestricted]),
    ("bigscience-openrail-m", &[UseRestricted]),
    ("bsd", &[Vague]),
    ("cc", &[Vague]),
    ("creativeml-openrail-m", &[UseRestricted]),
    ("deepfloyd-if-license", &[UseRestricted, ResearchOnly, Noncommercial]),
    ("deepseek", &[UseRestricted]),
    ("fair-noncommercial-research-license", &[UseRestricted, ResearchOnly, Noncommercial]),
    ("flux-1-dev-non-commercial-license", &[UseRestricted, Noncommercial]),
    ("gemma", &[UseRestricted]),
    ("gfdl", &[ShareAlike, Vague]),
    ("gpl", &[ShareAlike, Vague]),
    ("grok2-community", &[UseRestricted]),
    ("h-research", &[ResearchOnly, Noncommercial]),
    ("intel-research", &[ResearchOnly, Noncommercial]),
    ("lgpl", &[ShareAlike, Vague]),
    ("llama2", &[UseRestricted]),
    ("llama3", &[UseRestricted]),
    ("llama3.1", &[UseRestricted]),
    ("llama3.2", &[UseRestricted]),
    ("llama3.3", &[UseRestricted]),
    ("llama4", &[UseRestricted]),
    ("mnpl", &[ResearchOnly, Noncommercial]),
    ("mrl", &[ResearchOnly, Noncommercial]),
    ("nvidia-open-model-license", &[UseRestricted]),
    ("openmdw-1.0", &[]),
    ("openrail", &[UseRestricted]),
    ("openrail-plus-plus", &[UseRestricted]),
    ("qwen", &[UseRestricted]),
    ("qwen-research", &[ResearchOnly, Noncommercial]),
    ("stabilityai-ai-community", &[UseRestricted]),
    ("tongyi-qianwen", &[UseRestricted]),
];

/// What an identifier, as SPDX writes it, stands for.
pub(super) fn of(id: &str) -> BTreeSet<Tag> {
    if let Some(name) = id.strip_prefix(HUB_PREFIX) {
        return match HUB.iter().find(|(own, _)| *own == name) {
            Some((_, tags)) => tags.iter().copied().collect(),
            None => guessed(name),
        };
    }
    let Some(known) = spdx::license_id(id.trim_end_matches('+')) else { return guessed(id) };
    let mut tags = BTreeSet::new();
    let parts: Vec<&str> = known.name.split('-').collect();
    let has = |part: &str| parts.contains(&part);
    if known.is_copyleft() || (has("CC") && has("SA")) {
        tags.insert(ShareAlike);
    }
    if (has("CC") && has("NC")) || (has("PolyForm") && (has("Noncommercial") || has("Strict"))) {
        tags.insert(Noncommercial);
    }
    if (has("CC") && has("ND")) || (has("PolyForm") && has("Strict")) {
        tags.insert(NoDerivatives);
    }
    if has("BUSL") || has("Elastic") || has("Hippocratic") || has("PolyForm") {
        tags.insert(UseRestricted);
    }
    tags
}

/// What the name of unknown terms gives away. It may forbid more than its name says, hence [`Tag::Custom`].
fn guessed(name: &str) -> BTreeSet<Tag> {
    let name = name.to_ascii_lowercase();
    let mut tags = BTreeSet::from([Custom]);
    let words: Vec<&str> = name.split(['-', '.']).collect();
    if name.contains("non-commercial") || name.contains("noncommercial") || words.contains(&"nc") {
        tags.insert(Noncommercial);
    }
    if words.contains(&"research") {
        tags.insert(ResearchOnly);
    }
    tags
}

/// The one of two whose strictest demand is the milder one.
pub(super) fn milder(one: BTreeSet<Tag>, other: BTreeSet<Tag>) -> BTreeSet<Tag> {
    let weight = |tags: &BTreeSet<Tag>| tags.iter().rev().copied().collect::<Vec<Tag>>();
    if weight(&one) <= weight(&other) { one } else { other }
}
