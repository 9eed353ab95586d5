//! Git over HTTP, as far as a cache sees it: the list of references, a pack that is none, and the batches of git-lfs.

use http::{Method, header};
use serde_json::{Value, json};

use super::access::{Place, Purpose, open, problem};
use super::repository::{Kind, Repository, Storage};
use super::{Asked, cdn, decoded};
use crate::support::origin::Answer;

/// What git is told about a repository; `None` where the path is none of git's. The `.git` behind its name is optional, as at the real hub.
pub fn answer(asked: &Asked<'_>, kind: Kind, before: &str, segments: &[&str]) -> Option<Answer> {
    let words = match segments {
        [_, "info", "refs" | "lfs", ..] | [_, "git-upload-pack"] => 1,
        [_, _, "info", "refs" | "lfs", ..] | [_, _, "git-upload-pack"] => 2,
        _ => return None,
    };
    let (id, rest) = segments.split_at(words);
    let id = decoded(&id.join("/"));
    let id = id.strip_suffix(".git").unwrap_or(&id).to_owned();
    let place =
        Place { kind, id, before: before.to_owned(), after: format!("/{}", rest.join("/")) };
    let repository = match open(asked, &place, Purpose::Read) {
        Ok(repository) => repository,
        Err(refusal) if refusal.status == 401 => {
            // Git asks for a password only where it is asked for one.
            return Some(
                refusal.with("www-authenticate", "Basic realm=\"Authentication required\""),
            );
        }
        Err(refusal) => return Some(refusal),
    };
    Some(match rest {
        ["info", "refs"] => advertised(repository),
        ["git-upload-pack"] if *asked.method == Method::POST => {
            Answer::ok("application/x-git-upload-pack-result", "0008NAK\nPACK that is none")
                .with("cache-control", "no-cache")
        }
        ["info", "lfs", "objects", "batch"] => batch(asked, repository),
        _ => problem(asked, 404, None, "Not found"),
    })
}

fn advertised(repository: &Repository) -> Answer {
    let line = |text: String| format!("{:04x}{text}", text.len() + 4);
    let refs = repository.refs.iter().map(|(name, sha)| line(format!("{sha} {name}\n")));
    let text = format!(
        "{}0000{}0000",
        line("# service=git-upload-pack\n".to_owned()),
        refs.collect::<String>()
    );
    Answer::ok("application/x-git-upload-pack-advertisement", text)
        .with("cache-control", "no-cache")
}

/// Where the objects are that a batch names.
fn batch(asked: &Asked<'_>, repository: &Repository) -> Answer {
    const TYPE: &str = "application/vnd.git-lfs+json";
    let accepted = asked.header(header::ACCEPT).is_some_and(|text| text.contains(TYPE));
    let Ok(body) = serde_json::from_slice::<Value>(asked.body) else { return Answer::new(422) };
    if !accepted || body["operation"] != "download" {
        return Answer::new(403).with("content-type", TYPE).of(r#"{"message":"Forbidden"}"#);
    }
    let objects: Value = body["objects"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|object| located(asked, repository, object))
        .collect();
    Answer::ok(TYPE, json!({ "transfer": "basic", "objects": objects }).to_string())
}

fn located(asked: &Asked<'_>, repository: &Repository, object: &Value) -> Value {
    let oid = object["oid"].as_str().unwrap_or_default();
    let files = repository.commits.iter().flat_map(|commit| &commit.files);
    let mut files = files.filter(|(_, file)| file.storage != Storage::Plain);
    let Some((path, file)) = files.find(|(_, file)| file.sha256 == oid) else {
        return json!({
            "oid": oid, "size": object["size"],
            "error": { "code": 404, "message": "Object does not exist on the server" },
        });
    };
    let link = cdn::file_link(asked, repository, file, path);
    let seconds = asked.switches().link_seconds;
    json!({
        "oid": oid, "size": file.size, "authenticated": true,
        "actions": { "download": { "href": link, "header": {}, "expires_in": seconds } },
    })
}
