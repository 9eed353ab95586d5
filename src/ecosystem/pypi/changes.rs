//! What has happened to a project since its page was seen before, told from the two pages. Pure.
//!
//! Files of one release that come, go or are yanked together are one event. A file whose name stands for other bytes now is an event of its own: that never happens
//! by mistake.

use std::collections::{BTreeMap, HashSet};

use crate::ecosystem::pypi::name;
use crate::ecosystem::pypi::page::{Attributes, Cause, End, File, Page, Spell, Yanked};
use crate::types::event::{Kind, What};
use crate::types::{Digest, Timestamp};

/// Names of files that one event tells of.
const MOST_FILES: usize = 10;

/// What is new on a page that was merged at `now`. `project` is what its events are about: `pypi:six`.
pub fn changes(project: &str, before: &Page, after: &Page, now: Timestamp) -> Vec<What> {
    let mut told = of_project(project, before, after);
    let mut replaced = HashSet::new();
    let mut together: BTreeMap<(String, Kind), Together<'_>> = BTreeMap::new();
    for file in &after.files {
        if let Some(what) = mutated(project, after, file, now) {
            replaced.insert(&*file.filename);
            told.push(what);
        }
    }
    // What vanished because other bytes came in its place did not vanish.
    for file in after.files.iter().filter(|file| !replaced.contains(&*file.filename)) {
        if let Some((kind, reason)) = of_file(file, now) {
            let release = release(project, after, file);
            let together = together.entry((release, kind)).or_default();
            together.files.push(&file.filename);
            together.reason = together.reason.or(reason);
        }
    }
    told.extend(
        together
            .into_iter()
            .map(|((release, kind), together)| What::new(kind, release).detail(together.told())),
    );
    told
}

/// Files of a release to which the same has happened.
#[derive(Default)]
struct Together<'a> {
    files: Vec<&'a str>,
    reason: Option<&'a str>,
}

impl Together<'_> {
    fn told(&self) -> String {
        let mut told = self.files[..self.files.len().min(MOST_FILES)].join(", ");
        if self.files.len() > MOST_FILES {
            told = format!("{told} and {} more", self.files.len() - MOST_FILES);
        }
        match self.reason {
            Some(reason) => format!("{told}: {reason}"),
            None => told,
        }
    }
}

fn of_project(project: &str, before: &Page, after: &Page) -> Vec<What> {
    let mut told = Vec::new();
    let status = |page: &Page| {
        let status = page.current_status();
        status.map_or_else(|| "active".to_owned(), |status| status.status.to_string())
    };
    if status(before) != status(after) {
        let is_quarantined = after.is_quarantined();
        let kind = if is_quarantined { Kind::Quarantined } else { Kind::StatusChanged };
        let what = What::new(kind, project).before(status(before)).after(status(after));
        let reason = after.current_status().and_then(|status| status.reason.as_deref());
        told.push(reason.into_iter().fold(what, What::detail));
    }
    let source = |page: &Page| page.sources.get(usize::from(page.source)).cloned();
    if let (Some(from), Some(to)) = (source(before), source(after))
        && from != to
    {
        let what = What::new(Kind::Moved, project).before(from).after(to);
        told.push(what.detail("another upstream has the project now"));
    }
    match (before.gone_since, after.gone_since) {
        (None, Some(_)) if after.notice != before.notice => {
            let notice = after.notice.as_deref().unwrap_or_default();
            told.push(What::new(Kind::Vanished, project).detail(notice));
        }
        _ => {}
    }
    told
}

/// That a file's name stands for other bytes than before.
fn mutated(project: &str, page: &Page, file: &File, now: Timestamp) -> Option<What> {
    if file.first_seen != now {
        return None;
    }
    let same = |other: &&File| {
        other.filename == file.filename
            && other.source == file.source
            && other.first_seen != now
            && other.hashes.contradict(&file.hashes)
    };
    let former = page.files.iter().rev().find(same)?;
    let what = What::new(Kind::Mutated, release(project, page, file)).detail(&*file.filename);
    Some(what.before(digest(former)).after(digest(file)))
}

/// The digest that says best what bytes a file has.
fn digest(file: &File) -> String {
    let known = file.hashes.digests().unwrap_or_default();
    known.iter().max_by_key(|digest| digest.algorithm()).map_or_else(String::new, Digest::to_string)
}

/// What has happened to a file, and why, where upstream says that.
fn of_file(file: &File, now: Timestamp) -> Option<(Kind, Option<&str>)> {
    let current = file.current();
    if let Some(End { at, cause }) = current.end {
        // That the whole project has vanished is told of the project.
        let is_news = at == now && cause == Cause::Deleted;
        return is_news.then_some((Kind::Vanished, None));
    }
    if current.from != now {
        return None;
    }
    let Some(former) = file.spells.len().checked_sub(2).map(|place| &file.spells[place]) else {
        return Some((Kind::Appeared, None)).filter(|_| file.first_seen == now);
    };
    // What came back with its project, or was released with it, is told of the project.
    match former.end?.cause {
        Cause::Deleted => return Some((Kind::Returned, None)),
        Cause::Changed => {}
        Cause::ProjectDeleted | Cause::Quarantined | Cause::Replaced => return None,
    }
    match (yanked(former), yanked(current)) {
        (None, Some(reason)) => Some((Kind::Yanked, reason)),
        (Some(_), None) => Some((Kind::Unyanked, None)),
        _ => None,
    }
}

/// Whether it was yanked, and why.
fn yanked(spell: &Spell<Attributes>) -> Option<Option<&str>> {
    match &spell.value.yanked {
        Yanked::No => None,
        Yanked::Yes => Some(None),
        Yanked::Because(reason) => Some(Some(reason)),
    }
}

fn release(project: &str, page: &Page, file: &File) -> String {
    match name::version_of(&page.name, &file.filename) {
        Some(version) => format!("{project}=={version}"),
        None => format!("{project}/{}", file.filename),
    }
}
