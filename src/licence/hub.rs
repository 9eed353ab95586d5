//! The identifiers that the hub has for licences, where they are not those of SPDX in lower case.

use super::HUB_PREFIX;

/// Identifiers of the hub's for what SPDX calls otherwise. That a version of the GNU licences may be a later one, the hub's identifier does not say: the stricter
/// reading counts.
const RENAMED: &[(&str, &str)] = &[
    ("agpl-3.0", "AGPL-3.0-only"),
    ("c-uda", "C-UDA-1.0"),
    ("gpl-2.0", "GPL-2.0-only"),
    ("gpl-3.0", "GPL-3.0-only"),
    ("lgpl-2.1", "LGPL-2.1-only"),
    ("lgpl-3.0", "LGPL-3.0-only"),
    ("lgpl-lr", "LGPLLR"),
    ("odbl", "ODbL-1.0"),
    ("odc-by", "ODC-By-1.0"),
    ("pddl", "PDDL-1.0"),
];

/// Identifiers of the hub's that SPDX has nothing for: terms for models, and families of licences.
const OWN: &[&str] = &[
    "apple-amlr",
    "apple-ascl",
    "bigcode-openrail-m",
    "bigscience-bloom-rail-1.0",
    "bigscience-openrail-m",
    "bsd",
    "cc",
    "creativeml-openrail-m",
    "deepfloyd-if-license",
    "fair-noncommercial-research-license",
    "gemma",
    "gfdl",
    "gpl",
    "grok2-community",
    "h-research",
    "intel-research",
    "lgpl",
    "llama2",
    "llama3",
    "llama3.1",
    "llama3.2",
    "llama3.3",
    "llama4",
    "openmdw-1.0",
    "openrail",
    "openrail++",
    "other",
];

/// One word of an expression as SPDX spells it; as it is, where it is not known.
pub(super) fn spelling(word: &str) -> String {
    if word.is_empty() || spdx::license_id(word).is_some_and(|id| !id.is_deprecated()) {
        return word.to_owned();
    }
    let lower = word.to_ascii_lowercase();
    if matches!(lower.as_str(), "and" | "or" | "with") {
        return lower.to_ascii_uppercase();
    }
    if let Some((_, spdx)) = RENAMED.iter().find(|(own, _)| *own == lower) {
        return (*spdx).to_owned();
    }
    if OWN.contains(&lower.as_str()) {
        return format!("{HUB_PREFIX}{}", slug(&lower));
    }
    let same = |known: &&spdx::License| known.name.eq_ignore_ascii_case(word);
    let known = spdx::identifiers::LICENSES.iter().find(same);
    known.map_or_else(|| word.to_owned(), |known| known.name.to_owned())
}

/// A name as the end of a `LicenseRef-`, which has letters, digits, dots and hyphens only.
pub(super) fn slug(name: &str) -> String {
    let spoken = name.trim().to_ascii_lowercase().replace("++", "-plus-plus");
    let mut slug = String::with_capacity(spoken.len());
    for letter in spoken.chars().take(100) {
        match letter {
            'a'..='z' | '0'..='9' | '.' => slug.push(letter),
            _ if slug.ends_with('-') || slug.is_empty() => {}
            _ => slug.push('-'),
        }
    }
    slug.trim_end_matches('-').to_owned()
}
