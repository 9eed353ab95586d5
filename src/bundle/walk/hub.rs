//! A repository of the hub: the commit of a revision, the list of its files, and each of them.

use http::StatusCode;
use serde::Deserialize;

use crate::bundle::walk::{Item, Walked};
use crate::bundle::{Answer, Door, DoorError};
use crate::collect::{Revision, Want, What};
use crate::ecosystem::huggingface::repository::{FilePath, encoded};
use crate::ecosystem::pypi::name::fits;
use crate::types::{Algorithm, Digest};

/// Most pages of one list: half a million files on the smallest pages that there are.
const MOST_PAGES: usize = 1000;

#[derive(Deserialize)]
struct Info {
    sha: String,
}

/// An entry of the list as the hub writes it.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    oid: String,
    size: u64,
    lfs: Option<Large>,
}

#[derive(Deserialize)]
struct Large {
    oid: String,
    size: u64,
}

pub(super) async fn walk(
    door: &dyn Door,
    want: &Want,
    revision: &Revision,
) -> Result<Walked, DoorError> {
    let Revision { repository, revision: name } = revision;
    let api = repository.api_path();
    let info = door.read(&format!("{api}/revision/{}", encoded(name)), None).await?;
    let Info { sha } = read(&info)?;
    // Some clients ask for the repository, or for its branches, before they ask for one; what they get for it is not ours to judge.
    for address in [api.clone(), format!("{api}/refs")] {
        let _ = door.read(&address, None).await;
    }
    let entries = list(door, &format!("{api}/tree/{sha}?recursive=true")).await?;
    let is_wanted = |path: &str| {
        want.include.is_empty() || want.include.iter().any(|pattern| fits(pattern, path))
    };
    let files = entries.into_iter().filter(|entry| entry.kind == "file" && is_wanted(&entry.path));
    let items = files.map(|entry| {
        let path = FilePath::parse(&entry.path).ok_or_else(|| {
            DoorError::Failed(format!("the list names {:?}, which is no path", entry.path))
        })?;
        let digest = match &entry.lfs {
            Some(large) => Digest::from_hex(Algorithm::Sha256, &large.oid),
            None => Digest::from_hex(Algorithm::GitSha1, &entry.oid),
        };
        Ok(Item {
            of: want.what.to_string(),
            address: format!("{}/resolve/{sha}/{}", repository.web_path(), path.encoded()),
            accept: None,
            digests: digest.into_iter().collect(),
            size: Some(entry.lfs.map_or(entry.size, |large| large.size)),
            name: entry.path,
            locked: None,
            fetched: false,
        })
    });
    let items: Vec<Item> = items.collect::<Result<_, DoorError>>()?;
    let mut notes = Vec::new();
    if items.is_empty() && !want.include.is_empty() {
        notes.push(format!("no file of {} fits {}", want.what, want.include.join(", ")));
    }
    let exact = What::Hub(Revision { repository: repository.clone(), revision: sha });
    Ok(Walked { want: want.clone(), exact, items, further: Vec::new(), notes })
}

/// All pages of a list.
async fn list(door: &dyn Door, first: &str) -> Result<Vec<Entry>, DoorError> {
    let mut entries = Vec::new();
    let mut address = first.to_owned();
    for _ in 0..MOST_PAGES {
        let answer = door.read(&address, None).await?;
        entries.extend(read::<Vec<Entry>>(&answer)?);
        let Some(link) = answer.text("link").and_then(next) else { return Ok(entries) };
        let elsewhere =
            || DoorError::Failed(format!("the list goes on at {link}, which is not here"));
        address = door.below(&address, link).ok_or_else(elsewhere)?;
    }
    Err(DoorError::Failed("the list of files has no end".to_owned()))
}

/// The target of `<...>; rel="next"`.
fn next(link: &str) -> Option<&str> {
    link.split(',').find_map(|one| {
        let (target, parameters) = one.split_once('>')?;
        parameters.contains("rel=\"next\"").then(|| target.trim_start().trim_start_matches('<'))
    })
}

fn read<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<T, DoorError> {
    debug_assert_eq!(answer.status, StatusCode::OK);
    serde_json::from_slice(&answer.body)
        .map_err(|error| DoorError::Failed(format!("what the hub says cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        assert_eq!(
            next("<http://hub.example/x?cursor=1>; rel=\"next\""),
            Some("http://hub.example/x?cursor=1")
        );
        assert_eq!(next("<a>; rel=\"prev\", <b>; rel=\"next\""), Some("b"));
        assert_eq!(next("<a>; rel=\"prev\""), None);
    }
}
