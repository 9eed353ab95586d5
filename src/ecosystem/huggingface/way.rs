//! From what is kept back to the address at which clients ask for it.

use crate::ecosystem::huggingface::naming::{Words, split_commit, split_revision};
use crate::ecosystem::huggingface::repository::{FilePath, Repository, encoded};
use crate::ecosystem::naming::{Naming, Part, Role, Shelf, Thing, Unreadable, Way};
use crate::types::CacheKey;

/// Groups looked at together.
const RUN: usize = 256;

/// How a key is asked for. Bytes that are shared by all are looked for in every commit of which something is kept.
pub fn to(shelf: &Shelf<'_>, key: &CacheKey) -> Result<Option<Way>, Unreadable> {
    let Some((kind, rest)) = key.name().split_once('/') else { return Ok(None) };
    let address = match kind {
        "blob" => return to_blob(shelf, key),
        "repo" => rest.parse().ok().map(|repository: Repository| repository.api_path()),
        "rev" => split_revision(rest).map(|(repository, revision)| {
            format!("{}/revision/{}", repository.api_path(), encoded(revision))
        }),
        "commit" => split_commit(rest)
            .map(|(repository, commit, _)| format!("{}/revision/{commit}", repository.api_path())),
        "tree" => split_commit(rest).map(|(repository, commit, _)| {
            format!("{}/tree/{commit}?recursive=true", repository.api_path())
        }),
        "bytes" => split_commit(rest).and_then(|(repository, commit, path)| {
            at(&repository, "resolve", commit.as_str(), path)
        }),
        "raw" => (!rest.contains('#')).then(|| rest.to_owned()),
        _ => None,
    };
    Ok(address.map(Way::to))
}

fn to_blob(shelf: &Shelf<'_>, key: &CacheKey) -> Result<Option<Way>, Unreadable> {
    let mut after: Option<String> = None;
    loop {
        let groups = Words.groups(shelf, after.as_deref(), RUN)?;
        let Some(last) = groups.last() else { return Ok(None) };
        after = Some(last.clone());
        for group in &groups {
            for thing in Words.things(shelf, group)? {
                let mut found = None;
                Words.parts(shelf, &thing, &mut |part| {
                    if found.is_none() && part.key == *key {
                        found = in_thing(&thing, &part);
                    }
                })?;
                if let Some(address) = found {
                    return Ok(Some(Way::to(address)));
                }
            }
        }
    }
}

/// The address of a part of a commit. What a manifest names is no file, and has no address here.
fn in_thing(thing: &Thing, part: &Part) -> Option<String> {
    let repository: Repository = thing.group.parse().ok()?;
    if part.digest.is_some_and(|digest| digest.to_string() == part.name) {
        return None;
    }
    let form = if part.role == Role::Note { "raw" } else { "resolve" };
    at(&repository, form, &thing.identity, &part.name)
}

fn at(repository: &Repository, form: &str, commit: &str, path: &str) -> Option<String> {
    let path = FilePath::parse(path)?;
    Some(format!("{}/{form}/{commit}/{}", repository.web_path(), path.encoded()))
}
