//! Listings of a commit: a tree in pages, and single paths.

use http::header;
use serde_json::{Value, json};

use super::access::{Place, Purpose, no_entry, open, problem, revision};
use super::api::{date, offset, paged};
use super::repository::{Commit, Entry, File, Storage};
use super::{Asked, form, json};
use crate::support::index::sha256;
use crate::support::origin::Answer;

/// Entries on a page with details, of which the hub gives fewer at once.
const DETAILED: usize = 100;

pub fn list(
    asked: &Asked<'_>,
    place: &Place,
    name: &str,
    directory: &str,
) -> Result<Answer, Answer> {
    let repository = open(asked, place, Purpose::Look)?;
    let commit = revision(asked, repository, name)?;
    let directory = directory.trim_end_matches('/');
    if !directory.is_empty() && !matches!(commit.entry(directory), Some(Entry::Directory)) {
        return Err(no_entry(asked, commit));
    }
    let detailed = asked.says("expand");
    let entries: Vec<Value> = commit
        .below(directory, asked.says("recursive"))
        .iter()
        .filter_map(|path| described(asked, commit, path, detailed))
        .collect();
    let most = asked.switches().page_entries;
    let most = if detailed { most.min(DETAILED) } else { most };
    let limit = asked.query("limit").and_then(|text| text.parse().ok()).unwrap_or(most);
    let most = limit.clamp(1, most);
    let answer = paged(asked, &entries, most);
    let page = offset(asked) / most;
    if asked.switches().tree_fails_from.is_some_and(|first| page >= first) {
        return Err(problem(asked, 500, None, "Internal Error - We're working hard to fix this."));
    }
    Ok(answer.with("x-repo-commit", &commit.sha))
}

/// `POST paths-info`: what there is of the named paths, in a form or in JSON.
pub fn paths(asked: &Asked<'_>, place: &Place, name: &str) -> Result<Answer, Answer> {
    let repository = open(asked, place, Purpose::Look)?;
    let commit = revision(asked, repository, name)?;
    if *asked.method != http::Method::POST {
        return Err(problem(asked, 404, None, "Not found"));
    }
    let is_json = asked.header(header::CONTENT_TYPE).is_some_and(|text| text.contains("json"));
    let (paths, detailed) = if is_json {
        let body: Value = serde_json::from_slice(asked.body)
            .map_err(|_| problem(asked, 400, None, "Unexpected token in JSON"))?;
        let paths = body["paths"].as_array().cloned().unwrap_or_default();
        let paths = paths.iter().filter_map(|path| path.as_str().map(str::to_owned)).collect();
        (paths, body["expand"].as_bool().unwrap_or(false))
    } else {
        let fields = form(asked.body);
        let detailed = fields.iter().any(|(key, value)| key == "expand" && value == "True");
        let paths = fields.into_iter().filter(|(key, _)| key == "paths" || key == "paths[]");
        (paths.map(|(_, value)| value).collect::<Vec<_>>(), detailed)
    };
    let found: Value = paths
        .iter()
        .filter_map(|path| described(asked, commit, path.trim_end_matches('/'), detailed))
        .collect();
    Ok(json(asked, &found))
}

fn described(asked: &Asked<'_>, commit: &Commit, path: &str, detailed: bool) -> Option<Value> {
    let mut told = match commit.entry(path)? {
        Entry::File(file) => of_file(asked, path, file),
        Entry::Directory => {
            let oid = &sha256(format!("{} {path}", commit.sha).as_bytes())[..40];
            json!({ "type": "directory", "oid": oid, "size": 0, "path": path })
        }
    };
    if detailed {
        told["lastCommit"] =
            json!({ "id": commit.sha, "title": commit.title, "date": date(commit.at) });
        if told["type"] == "file" {
            told["securityFileStatus"] =
                json!({ "status": "safe", "avScan": null, "pickleImportScan": null });
        }
    }
    Some(told)
}

fn of_file(asked: &Asked<'_>, path: &str, file: &File) -> Value {
    let mut told = json!({ "type": "file", "oid": file.oid, "size": file.size, "path": path });
    if file.storage != Storage::Plain {
        told["lfs"] = json!({
            "oid": file.sha256, "size": file.size, "pointerSize": file.pointer().len(),
        });
    }
    if file.storage == Storage::Xet && !asked.switches().xet_hidden {
        told["xetHash"] = json!(file.xet);
    }
    told
}
