//! What was pulled in a stretch of time: one component for each thing, with those of its files that were pulled.
//!
//! The record of pulls has names and digests; what is known of a thing besides (its licence, a model's passport, which layers make up an image) the caller adds
//! where he knows it. Left out: who pulled it, which is no business of a bill's readers.

use std::collections::{BTreeMap, BTreeSet};

use super::component::Property;
use super::item::{Item, ItemFile};
use super::{Bom, Parts, assemble, model};
use crate::passport::Passport;
use crate::types::Timestamp;

/// One row of the record. Times are texts of RFC 3339 that sort as they follow each other.
#[derive(Debug, Clone, Default)]
pub struct Pull {
    /// As the command line names it, with the file: `pypi:six==1.17.0/six-1.17.0-py2.py3-none-any.whl`.
    pub name: String,
    pub digest: Option<String>,
    /// It stands for bytes that are pulled on their own: an image's manifest.
    pub is_manifest: bool,
    /// The licence that it was under then.
    pub licence: Option<String>,
    pub first: String,
    pub last: String,
    pub pulls: u64,
}

/// A stretch of time, and since when there is a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Range {
    pub since: String,
    pub until: String,
    pub recorded_since: String,
}

/// A thing that was pulled.
#[derive(Debug, Clone)]
pub struct Pulled {
    pub item: Item,
    /// What else is known of a model.
    pub passport: Option<Passport>,
    /// What became of it upstream, in one word.
    pub state: Option<String>,
    first: String,
    last: String,
    pulls: u64,
}

/// The things of some rows, in the order of their names. What was begun and never had to its end was not pulled.
pub fn things(pulls: &[Pull]) -> Vec<Pulled> {
    let mut all: BTreeMap<String, Pulled> = BTreeMap::new();
    for pull in pulls.iter().filter(|pull| pull.pulls > 0) {
        let (name, item, file) = read(pull);
        let thing = all.entry(name).or_insert_with(|| Pulled {
            item,
            passport: None,
            state: None,
            first: pull.first.clone(),
            last: String::new(),
            pulls: 0,
        });
        if thing.last <= pull.last {
            thing.item.licence = pull.licence.clone().or_else(|| thing.item.licence.take());
        }
        thing.first = thing.first.clone().min(pull.first.clone());
        thing.last = thing.last.clone().max(pull.last.clone());
        thing.pulls = thing.pulls.saturating_add(pull.pulls);
        thing.item.add(file);
    }
    all.into_values().collect()
}

/// Files layers under the images that they are parts of: `parts` has the digests of each image's parts, by [`Item::exact`]. A layer that is of none stays a component of
/// its own.
pub fn nest(things: &mut Vec<Pulled>, parts: &BTreeMap<String, BTreeSet<String>>) {
    let mut nested: BTreeSet<String> = BTreeSet::new();
    let loose: Vec<Item> =
        things.iter().filter(|one| one.item.is_file()).map(|one| one.item.clone()).collect();
    for thing in things.iter_mut() {
        let Some(own) = thing.item.exact().and_then(|exact| parts.get(&exact)) else { continue };
        for layer in &loose {
            let is_own = |file: &ItemFile| own.contains(&file.digest);
            if layer.is_beside(&thing.item) && layer.files.iter().any(is_own) {
                thing.item.add(layer.files.first().cloned());
                nested.insert(layer.name().to_owned());
            }
        }
    }
    things.retain(|thing| !(thing.item.is_file() && nested.contains(thing.item.name())));
}

/// The bill of what was pulled.
pub fn of_pulls(things: &[Pulled], range: &Range, now: Timestamp) -> Bom {
    let properties = [
        Property::new("pulled:since", &range.since),
        Property::new("pulled:until", &range.until),
        Property::new("pulled:recorded-since", &range.recorded_since),
    ];
    let parts = things.iter().map(|thing| thing.parts(range)).collect();
    assemble(parts, properties.to_vec(), now)
}

impl Pulled {
    fn parts(&self, range: &Range) -> Parts {
        let mut parts = match &self.passport {
            Some(passport) => model::parts(&self.of_pulled_files(passport)),
            None => self.item.parts(),
        };
        let licence = self.item.licence.clone().filter(|_| self.passport.is_some());
        // Between its first and its last pull nobody noted when it was pulled.
        let is_between = self.first < range.since && self.last >= range.until;
        let notes = [
            ("licence:when-pulled", licence),
            ("pulled:first", Some(self.first.clone())),
            ("pulled:last", Some(self.last.clone())),
            ("pulled:times", Some(self.pulls.to_string())),
            ("pulled:within", is_between.then(|| "unknown".to_owned())),
            ("state", self.state.clone().filter(|_| self.passport.is_none())),
        ];
        let note = |(name, value): (&str, Option<String>)| Some(Property::new(name, value?));
        parts.main.properties.extend(notes.into_iter().filter_map(note));
        parts
    }

    /// The passport, with no other files than those that were pulled.
    fn of_pulled_files(&self, passport: &Passport) -> Passport {
        let mut passport = passport.clone();
        let is_pulled = |path: &str| self.item.files.iter().any(|file| file.name == path);
        passport.content.files.retain(|file| is_pulled(&file.path));
        passport
    }
}

/// Takes a row apart: what groups it, the thing, and the file of it.
fn read(pull: &Pull) -> (String, Item, Option<ItemFile>) {
    let digest = pull.digest.clone().unwrap_or_default();
    let file = |name: &str| ItemFile { name: name.to_owned(), digest: digest.clone(), size: None };
    let known = match pull.is_manifest {
        true => image(&pull.name, &digest).map(|item| (item, None)),
        false => exact(&pull.name)
            .and_then(|(exact, path)| Some((Item::read(&exact, Vec::new()).ok()?, path)))
            .map(|(item, path)| (item, Some(file(&path)))),
    };
    match known.and_then(|(item, file)| Some((item.exact()?, item, file))) {
        Some(known) => known,
        None => {
            let item = Item::of_file(&pull.name);
            (pull.name.clone(), item, Some(file("")))
        }
    }
}

/// Parts the name of a thing from that of its file. `None`: it names no file of anything exact.
fn exact(name: &str) -> Option<(String, String)> {
    let (scheme, rest) = name.split_once(':')?;
    let (exact, path) = match scheme {
        "pypi" => {
            let (project, rest) = rest.split_once("==")?;
            let (version, file) = rest.split_once('/')?;
            // Indexes other than the first stand before the project.
            let project = project.rsplit('/').next().unwrap_or(project);
            (format!("pypi:{project}=={version}"), file)
        }
        "hf" => {
            let (repository, rest) = rest.split_once('@')?;
            let (commit, path) = rest.split_once('/')?;
            (format!("hf:{repository}@{commit}"), path)
        }
        _ => return None,
    };
    Some((exact, path.to_owned()))
}

/// An image by its digest, with the tag that it was pulled by.
fn image(name: &str, digest: &str) -> Option<Item> {
    let named = name.strip_prefix("oci:")?;
    let (image, tag) = match named.split_once('@') {
        Some((image, _)) => (image, None),
        None => named.rsplit_once(':').map(|(image, tag)| (image, Some(tag)))?,
    };
    let mut item = Item::read(&format!("oci:{image}@{digest}"), Vec::new()).ok()?;
    item.tag = tag.map(str::to_owned);
    Some(item)
}
