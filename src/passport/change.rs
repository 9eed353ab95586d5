//! What changed between two commits of a model, from the digests of their files: weights, behaviour, or documentation.
//!
//! A file's class follows from its name; bytes are not looked at. Weights are what the formats of weights are called, and the indexes that say which file holds which
//! tensor. Documentation is text and pictures for people, licences and git's own files. Everything else may change what the model does: configuration,
//! tokenizer, chat template, code. A file of an unknown kind is taken for weights where the hub keeps it outside of git, since that is done with what is
//! large, and for behaviour where it does not; [`Change::is_guessed`] says so.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{File, Passport, format_of};

/// What a change touches; the gravest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    Documentation,
    Behaviour,
    Weights,
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    Added,
    Removed,
    Changed,
    /// The same bytes under another name.
    Moved,
}

/// A file that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub path: String,
    pub deed: Deed,
    pub class: Class,
    /// The class is no more than likely: what kind of file this is, is not known.
    pub is_guessed: bool,
    /// Where a moved file was.
    pub from: Option<String>,
    pub size_before: Option<u64>,
    pub size_after: Option<u64>,
}

/// What is different between two commits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// The readable versions.
    pub from: String,
    pub to: String,
    pub from_commit: String,
    pub to_commit: String,
    /// The gravest of all; `None`: nothing is different.
    pub class: Option<Class>,
    pub files: Vec<Change>,
    /// What the card said of the licence, where that is different.
    pub licence_before: Option<String>,
    pub licence_after: Option<String>,
    pub is_licence_changed: bool,
    /// They are two repositories that had the same name, one after the other.
    pub is_other_repository: bool,
}

/// Two commits of which one's files are not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the list of files of {0} is not kept")]
pub struct Unlisted(String);

/// Compares two passports.
pub fn between(from: &Passport, to: &Passport) -> Result<Changes, Unlisted> {
    for passport in [from, to] {
        let listed = passport.content.files.len() as u64;
        if passport.content.file_count != Some(listed) {
            return Err(Unlisted(passport.name.clone()));
        }
    }
    let files = compare(&from.content.files, &to.content.files);
    let licence = |passport: &Passport| passport.licence.declared.as_ref().map(ToString::to_string);
    let (before, after) = (licence(from), licence(to));
    let ids = (&from.identity.id, &to.identity.id);
    Ok(Changes {
        from: from.name.clone(),
        to: to.name.clone(),
        from_commit: from.reference.commit.clone(),
        to_commit: to.reference.commit.clone(),
        class: files.iter().map(|change| change.class).max(),
        files,
        is_licence_changed: before != after,
        licence_before: before,
        licence_after: after,
        is_other_repository: matches!(ids, (Some(one), Some(other)) if one != other),
    })
}

/// The class of a file by its name, and whether that is no more than likely.
pub fn class_of(path: &str, is_large: bool) -> (Class, bool) {
    let lower = path.to_ascii_lowercase();
    let name = lower.rsplit('/').next().unwrap_or(&lower);
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    if format_of(path).is_some() || name.ends_with(".index.json") {
        return (Class::Weights, false);
    }
    if is_documentation(name, stem, extension) {
        return (Class::Documentation, false);
    }
    match extension {
        "json" | "jsonl" | "yaml" | "yml" | "toml" | "cfg" | "ini" | "py" | "jinja" | "jinja2"
        | "model" | "spm" | "tiktoken" | "vocab" | "bpe" | "sh" | "cpp" | "cu" | "txt" | "tsv"
        | "csv" | "lock" => (Class::Behaviour, false),
        // Older weights have nothing but `.bin` to their name.
        _ if is_large => (Class::Weights, true),
        _ => (Class::Behaviour, true),
    }
}

fn is_documentation(name: &str, stem: &str, extension: &str) -> bool {
    let begins = |word: &str| stem.starts_with(word) || name.starts_with(word);
    let words = ["readme", "license", "licence", "notice", "copying", "citation", "changelog"];
    matches!(name, ".gitattributes" | ".gitignore" | ".gitkeep")
        || words.iter().any(|word| begins(word))
            && matches!(extension, "" | "md" | "txt" | "rst" | "cff" | "bib" | "pdf")
        || matches!(
            extension,
            "md" | "rst" | "pdf" | "png" | "jpg" | "jpeg" | "gif" | "svg" | "webp" | "bib" | "mp4"
        )
}

fn compare(from: &[File], to: &[File]) -> Vec<Change> {
    let before: BTreeMap<&str, &File> =
        from.iter().map(|file| (file.path.as_str(), file)).collect();
    let after: BTreeMap<&str, &File> = to.iter().map(|file| (file.path.as_str(), file)).collect();
    let mut removed: Vec<&File> =
        from.iter().filter(|file| !after.contains_key(file.path.as_str())).collect();
    let mut changes = Vec::new();
    for file in to {
        match before.get(file.path.as_str()) {
            Some(old) if same(old, file) => {}
            Some(old) => changes.push(change(Deed::Changed, Some(old), Some(file))),
            None => {
                let moved = removed.iter().position(|old| same(old, file));
                match moved.map(|at| removed.remove(at)) {
                    Some(old) => changes.push(change(Deed::Moved, Some(old), Some(file))),
                    None => changes.push(change(Deed::Added, None, Some(file))),
                }
            }
        }
    }
    changes.extend(removed.into_iter().map(|old| change(Deed::Removed, Some(old), None)));
    changes
        .sort_by(|one, other| other.class.cmp(&one.class).then_with(|| one.path.cmp(&other.path)));
    changes
}

/// Whether two files have the same bytes. Where nothing names them, they count as different.
fn same(one: &File, other: &File) -> bool {
    match (&one.sha256, &other.sha256, &one.oid, &other.oid) {
        (Some(one), Some(other), ..) => one == other,
        (_, _, Some(one), Some(other)) => one == other,
        _ => false,
    }
}

fn change(deed: Deed, old: Option<&File>, new: Option<&File>) -> Change {
    let path = new.or(old).map(|file| file.path.clone()).unwrap_or_default();
    let is_large = [old, new].into_iter().flatten().any(|file| file.is_outside_git);
    let (class, is_guessed) = class_of(&path, is_large);
    Change {
        path,
        deed,
        class,
        is_guessed,
        from: old.filter(|_| deed == Deed::Moved).map(|old| old.path.clone()),
        size_before: old.and_then(|old| old.size),
        size_after: new.and_then(|new| new.size),
    }
}
