//! The hub's API: information, references, commits, rights, lists and tokens.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::access::{Place, Purpose, Reader, open, problem, reader, revision, unauthenticated};
use super::repository::{Commit, Kind, Repository, Storage};
use super::{Asked, cas, decoded, encoded, files, json, tree};
use crate::support::origin::Answer;

/// What may follow a repository in the API.
const VERBS: [&str; 8] = [
    "revision",
    "tree",
    "paths-info",
    "refs",
    "commits",
    "xet-read-token",
    "xet-write-token",
    "auth-check",
];

pub fn answer(asked: &Asked<'_>, segments: &[&str]) -> Answer {
    let answered = match segments {
        ["resolve-cache", rest @ ..] => files::resolve_cache(asked, rest),
        ["whoami-v2"] => whoami(asked),
        ["telemetry", ..] => Ok(Answer::ok("application/json", "{}")),
        // What huggingface_hub 2.x asks first, and waits for three seconds at most.
        ["agent-harnesses"] => {
            Ok(json(asked, &json!({ "standardEnvVars": ["AI_AGENT"], "harnesses": {} })))
        }
        ["validate-yaml"] => Ok(json(asked, &json!({ "errors": [], "warnings": [] }))),
        ["models-tags-by-type" | "datasets-tags-by-type"] => {
            Ok(json(asked, &json!({ "license": [{ "id": "license:mit", "label": "mit" }] })))
        }
        [plural, rest @ ..] => match Kind::of(plural) {
            Some(kind) => repositories(asked, kind, plural, rest),
            None => Err(nothing(asked)),
        },
        [] => Err(nothing(asked)),
    };
    answered.unwrap_or_else(|refusal| refusal)
}

fn nothing(asked: &Asked<'_>) -> Answer {
    problem(asked, 404, None, "Sorry, we can't find the page you are looking for.")
}

fn repositories(
    asked: &Asked<'_>,
    kind: Kind,
    plural: &str,
    segments: &[&str],
) -> Result<Answer, Answer> {
    if segments.is_empty() {
        return list(asked, kind);
    }
    let before = format!("/api/{plural}/");
    let Some((place, rest)) = Place::find(kind, &before, segments, &VERBS) else {
        return Err(nothing(asked));
    };
    match rest {
        [] => info(asked, &place, "main"),
        ["revision", name] => info(asked, &place, name),
        ["tree", name, path @ ..] => tree::list(asked, &place, name, &decoded(&path.join("/"))),
        ["paths-info", name] => tree::paths(asked, &place, name),
        ["refs"] => references(asked, &place),
        ["commits", name] => commits(asked, &place, name),
        ["xet-read-token", name] => xet_token(asked, &place, name),
        ["xet-write-token", ..] => Err(problem(asked, 403, None, "This token cannot write.")),
        ["auth-check"] => {
            open(asked, &place, Purpose::Read)?;
            Ok(Answer::ok("text/plain; charset=utf-8", "OK"))
        }
        _ => Err(nothing(asked)),
    }
}

/// The information about a repository at a revision.
fn info(asked: &Asked<'_>, place: &Place, name: &str) -> Result<Answer, Answer> {
    let repository = open(asked, place, Purpose::Look)?;
    let commit = revision(asked, repository, name)?;
    let wanted: Vec<&str> = asked
        .query
        .iter()
        .filter(|(key, _)| key == "expand" || key == "expand[]")
        .map(|(_, value)| value.as_str())
        .collect();
    let mut told = described(repository, Some(commit));
    told.insert("siblings".to_owned(), siblings(commit, asked.says("blobs")));
    told.remove("securityRepoStatus");
    if asked.says("securityStatus") {
        told.insert(
            "securityRepoStatus".to_owned(),
            repository
                .more
                .get("securityRepoStatus")
                .cloned()
                .unwrap_or_else(|| json!({ "scansDone": true, "filesWithIssues": [] })),
        );
    }
    if !wanted.is_empty() {
        told.insert("xetEnabled".to_owned(), json!(true));
        told.retain(|key, _| {
            ["_id", "id"].contains(&key.as_str()) || wanted.contains(&key.as_str())
        });
    }
    Ok(json(asked, &Value::Object(told)))
}

fn described(repository: &Repository, commit: Option<&Commit>) -> Map<String, Value> {
    let author = repository.id.split_once('/').map(|(author, _)| author);
    let gated = if repository.gated_to.is_some() { json!("manual") } else { json!(false) };
    let told = json!({
        "_id": repository.identity,
        "id": repository.id,
        "author": author,
        "sha": commit.map(|commit| &commit.sha),
        "private": repository.private_to.is_some(),
        "gated": gated,
        "disabled": repository.disabled,
        "lastModified": date(commit.map_or(0, |commit| commit.at)),
        "createdAt": date(1_780_000_000),
        "tags": [format!("license:{}", repository.card["license"].as_str().unwrap_or("unknown"))],
        "downloads": repository.downloads,
        "likes": 3,
        "cardData": repository.card,
        "usedStorage": commit.map_or(0, |commit| commit.files.values().map(|file| file.size).sum()),
    });
    let Value::Object(mut told) = told else { unreachable!("it is an object") };
    if repository.kind == Kind::Model {
        told.insert("modelId".to_owned(), json!(repository.id));
        told.insert("pipeline_tag".to_owned(), json!("text-generation"));
        told.insert("library_name".to_owned(), json!("transformers"));
    }
    told.extend(repository.more.clone());
    told.retain(|_, value| !value.is_null());
    told
}

fn siblings(commit: &Commit, with_blobs: bool) -> Value {
    let sibling = |(path, file): (&String, &std::sync::Arc<super::File>)| {
        let mut told = json!({ "rfilename": path });
        if with_blobs {
            told["size"] = json!(file.size);
            told["blobId"] = json!(file.oid);
            if file.storage != Storage::Plain {
                told["lfs"] = json!({
                    "size": file.size, "sha256": file.sha256, "pointerSize": file.pointer().len(),
                });
            }
        }
        told
    };
    commit.files.iter().map(sibling).collect()
}

/// A date as the hub writes it.
pub fn date(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).expect("a year that people live to see");
    let at = jiff::Timestamp::from_second(seconds).expect("a date");
    at.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()
}

fn references(asked: &Asked<'_>, place: &Place) -> Result<Answer, Answer> {
    let repository = open(asked, place, Purpose::Look)?;
    let below = |prefix: &str| -> Vec<Value> {
        let entry = |(name, sha): (&String, &String)| {
            let short = name.strip_prefix(prefix)?;
            Some(json!({ "name": short, "ref": name, "targetCommit": sha }))
        };
        repository.refs.iter().filter_map(entry).collect()
    };
    let mut told = json!({
        "branches": below("refs/heads/"),
        "converts": below("refs/convert/"),
        "tags": below("refs/tags/"),
    });
    if asked.says("include_prs") {
        told["pullRequests"] = json!(below("refs/pr/"));
    }
    Ok(json(asked, &told))
}

fn commits(asked: &Asked<'_>, place: &Place, name: &str) -> Result<Answer, Answer> {
    let repository = open(asked, place, Purpose::Look)?;
    let newest = revision(asked, repository, name)?;
    let formatted = asked.query("expand[]").is_some_and(|wanted| wanted == "formatted");
    let told: Vec<Value> = repository
        .history()
        .skip_while(|commit| commit.sha != newest.sha)
        .map(|commit| {
            let mut told = json!({
                "id": commit.sha, "title": commit.title, "message": "",
                "date": date(commit.at), "authors": [{ "user": "author", "avatar": "" }],
            });
            if formatted {
                told["formatted"] = json!({ "title": commit.title, "message": "" });
            }
            told
        })
        .collect();
    let total = told.len().to_string();
    Ok(paged(asked, &told, asked.switches().page_entries).with("x-total-count", &total))
}

/// One page of many entries, with an absolute link to the next one.
pub fn paged(asked: &Asked<'_>, entries: &[Value], most: usize) -> Answer {
    let first = offset(asked);
    let end = (first + most).min(entries.len());
    let page: Value = entries.get(first.min(end)..end).unwrap_or_default().to_vec().into();
    let answer = json(asked, &page);
    if end == entries.len() {
        return answer;
    }
    let kept = asked.query.iter().filter(|(key, _)| key != "cursor");
    let kept: String =
        kept.map(|(key, value)| format!("{}={}&", encoded(key), encoded(value))).collect();
    let base = &asked.shelf.hosts().hub;
    let link =
        format!("<{base}{}?{kept}cursor={}>; rel=\"next\"", asked.path, encoded(&cursor(end)));
    answer.with("link", &link)
}

/// How many entries stand before the page that is asked for.
pub fn offset(asked: &Asked<'_>) -> usize {
    asked.query("cursor").and_then(uncursor).unwrap_or(0)
}

fn cursor(offset: usize) -> String {
    STANDARD.encode(format!("{{\"after\":{offset}}}"))
}

fn uncursor(cursor: &str) -> Option<usize> {
    let text = STANDARD.decode(cursor).ok()?;
    let cursor: Value = serde_json::from_slice(&text).ok()?;
    usize::try_from(cursor["after"].as_u64()?).ok()
}

/// Repositories that match, as far as the one who asks may see them.
fn list(asked: &Asked<'_>, kind: Kind) -> Result<Answer, Answer> {
    let reader = reader(asked);
    if reader == Reader::Unknown {
        return Err(unauthenticated(asked));
    }
    let search = asked.query("search").unwrap_or_default().to_lowercase();
    let author = asked.query("author");
    let meant = |repository: &&Repository| {
        let owner = repository.id.split_once('/').map(|(owner, _)| owner);
        let seen = match (&repository.private_to, reader) {
            (None, _) => true,
            (Some(users), Reader::User(user)) => users.contains(user),
            (Some(_), _) => false,
        };
        repository.kind == kind
            && seen
            && repository.id.to_lowercase().contains(&search)
            && author.is_none_or(|author| owner == Some(author))
    };
    let told = |repository: &Repository| {
        let mut told = described(repository, repository.revision("main"));
        if !asked.says("full") {
            told.remove("sha");
        }
        Value::Object(told)
    };
    let found: Vec<Value> = asked.state.repositories.values().filter(meant).map(told).collect();
    let limit = asked.query("limit").and_then(|text| text.parse().ok());
    Ok(paged(asked, &found, limit.unwrap_or_else(|| asked.switches().page_entries)))
}

fn whoami(asked: &Asked<'_>) -> Result<Answer, Answer> {
    let Reader::User(user) = reader(asked) else { return Err(unauthenticated(asked)) };
    let told = json!({
        "type": "user", "id": "6000", "name": user, "fullname": user, "email": null, "orgs": [],
        "isPro": false, "avatarUrl": "",
        "auth": { "type": "access_token", "accessToken": { "displayName": "it", "role": "read" } },
    });
    Ok(json(asked, &told))
}

/// The token by which Xet's service opens what this commit has: in the body for some clients, in the head for others.
fn xet_token(asked: &Asked<'_>, place: &Place, name: &str) -> Result<Answer, Answer> {
    let repository = open(asked, place, Purpose::Read)?;
    let commit = revision(asked, repository, name)?;
    let (token, expires) = cas::token(asked, repository.kind.plural(), &repository.id, &commit.sha);
    let cas = &asked.shelf.hosts().cas;
    let told = json!({ "casUrl": cas, "accessToken": token, "exp": expires });
    Ok(Answer::ok("application/json; charset=utf-8", told.to_string())
        .with("x-xet-cas-url", cas)
        .with("x-xet-access-token", &token)
        .with("x-xet-token-expiration", &expires.to_string()))
}
