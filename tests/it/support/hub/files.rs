//! `resolve`, `raw` and `resolve-cache`: files by revision and path, with the metadata that clients read from heads.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Method, header};

use super::access::{Place, Purpose, no_entry, open, problem, revision};
use super::repository::{Commit, Entry, File, Kind, Repository, Storage};
use super::{Asked, LinkedSize, cdn, decoded, encoded_path, framed, git};
use crate::support::origin::{Answer, Content};

/// What may follow a repository in addresses of its files.
const VERBS: [&str; 4] = ["resolve", "raw", "blob", "info"];

pub fn answer(asked: &Asked<'_>, segments: &[&str]) -> Answer {
    let (kind, before, rest) = match segments {
        ["datasets", rest @ ..] => (Kind::Dataset, "/datasets/", rest),
        ["spaces", rest @ ..] => (Kind::Space, "/spaces/", rest),
        ["kernels", rest @ ..] => (Kind::Kernel, "/kernels/", rest),
        rest => (Kind::Model, "/", rest),
    };
    if let Some(answer) = git::answer(asked, kind, before, rest) {
        return answer;
    }
    let Some((place, rest)) = Place::find(kind, before, rest, &VERBS) else {
        return problem(asked, 404, None, "Not found");
    };
    let answered = match rest {
        [verb @ ("resolve" | "raw"), revision, path @ ..] => {
            file(asked, &place, verb, revision, &decoded(&path.join("/")))
        }
        [] => page(asked, &place),
        _ => Err(problem(asked, 404, None, "Not found")),
    };
    answered.unwrap_or_else(|refusal| refusal)
}

/// The page for people.
fn page(asked: &Asked<'_>, place: &Place) -> Result<Answer, Answer> {
    let repository = open(asked, place, Purpose::Look)?;
    let text = format!("<!doctype html><title>{}</title>", repository.id);
    Ok(Answer::ok("text/html; charset=utf-8", text))
}

fn file(
    asked: &Asked<'_>,
    place: &Place,
    verb: &str,
    name: &str,
    path: &str,
) -> Result<Answer, Answer> {
    let repository = open(asked, place, Purpose::Read)?;
    let commit = revision(asked, repository, name)?;
    let Some(Entry::File(file)) = commit.entry(path) else {
        return Err(no_entry(asked, commit));
    };
    Ok(match (verb, file.storage) {
        // Whatever is asked, `raw` sends the pointer, and never 304.
        ("raw", Storage::Plain) => {
            Answer::ok("text/plain; charset=utf-8", file.content.clone()).with("etag", &tag(file))
        }
        ("raw", _) => Answer::ok("text/plain; charset=utf-8", file.pointer()),
        (_, Storage::Plain) => small(asked, repository, commit, file, path),
        (_, storage) => large(asked, repository, commit, file, path, storage),
    })
}

fn tag(file: &File) -> String {
    format!("\"{}\"", file.tag())
}

fn not_modified(asked: &Asked<'_>, file: &File) -> bool {
    let known = asked.header(header::IF_NONE_MATCH).unwrap_or_default();
    let known = known.split(',').map(|tag| tag.trim().trim_start_matches("W/"));
    known.into_iter().any(|known| known == tag(file))
}

/// A small file is behind a redirect to an address that names its commit.
fn small(
    asked: &Asked<'_>,
    repository: &Repository,
    commit: &Commit,
    file: &File,
    path: &str,
) -> Answer {
    if not_modified(asked, file) {
        return Answer::new(304).with("etag", &tag(file)).with("x-repo-commit", &commit.sha);
    }
    let location = format!(
        "/api/resolve-cache/{}/{}/{}/{}?{}etag=%22{}%22",
        repository.kind.plural(),
        repository.id,
        commit.sha,
        encoded_path(path),
        asked.raw_query.map(|query| format!("{query}&")).unwrap_or_default(),
        file.tag(),
    );
    let text = format!("Temporary Redirect. Redirecting to {location}");
    described(Answer::new(307), file, commit, path)
        .with("content-type", "text/plain; charset=utf-8")
        .with("location", &location)
        .of(text)
}

/// A large file is at the CDN.
fn large(
    asked: &Asked<'_>,
    repository: &Repository,
    commit: &Commit,
    file: &File,
    path: &str,
    storage: Storage,
) -> Answer {
    if not_modified(asked, file) {
        return Answer::new(304).with("etag", &tag(file)).with("x-repo-commit", &commit.sha);
    }
    let switches = asked.switches();
    let location = cdn::file_link(asked, repository, file, path);
    let text = format!("Found. Redirecting to {location}");
    let mut answer = described(Answer::new(302), file, commit, path)
        .with("content-type", "text/plain; charset=utf-8")
        .with("location", &location)
        .with("x-linked-etag", &tag(file))
        .of(text);
    match switches.linked_size {
        LinkedSize::True => answer = answer.with("x-linked-size", &file.size.to_string()),
        LinkedSize::Wrong(extra) => {
            answer = answer.with("x-linked-size", &(file.size + extra).to_string());
        }
        LinkedSize::Missing => {}
    }
    if storage == Storage::Xet && !switches.xet_hidden {
        let hosts = asked.shelf.hosts();
        let token = format!(
            "{}/api/{}/{}/xet-read-token/{}",
            hosts.hub,
            repository.kind.plural(),
            repository.id,
            commit.sha
        );
        let info = format!("{}/v1/reconstructions/{}", hosts.cas, file.xet);
        answer = answer.with("x-xet-hash", &file.xet).with(
            "link",
            &format!("<{token}>; rel=\"xet-auth\", <{info}>; rel=\"xet-reconstruction-info\""),
        );
    }
    answer
}

/// What every answer about a file says, whether it is the file or leads there.
fn described(answer: Answer, file: &File, commit: &Commit, path: &str) -> Answer {
    let name = path.rsplit('/').next().unwrap_or(path);
    answer
        .with("x-repo-commit", &commit.sha)
        .with("etag", &tag(file))
        .with("accept-ranges", "bytes")
        .with("content-disposition", &disposition(name))
}

pub fn disposition(name: &str) -> String {
    format!("inline; filename*=UTF-8''{}; filename=\"{name}\";", super::encoded(name))
}

/// `/api/resolve-cache/{kind}/{id}/{commit}/{path}`: only for commits in full.
pub fn resolve_cache(asked: &Asked<'_>, segments: &[&str]) -> Result<Answer, Answer> {
    let nothing =
        || problem(asked, 404, None, "Sorry, we can't find the page you are looking for.");
    let [plural, rest @ ..] = segments else { return Err(nothing()) };
    let kind = Kind::of(plural).ok_or_else(nothing)?;
    let is_commit = |text: &str| text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let words = match rest {
        [_, sha, ..] if is_commit(sha) => 1,
        [_, _, sha, ..] if is_commit(sha) => 2,
        _ => return Err(problem(asked, 400, None, "Invalid commit hash")),
    };
    let (id, rest) = rest.split_at(words);
    let before = format!("/api/resolve-cache/{plural}/");
    let after = format!("/{}", rest.join("/"));
    let place = Place { kind, id: decoded(&id.join("/")), before, after };
    let repository = open(asked, &place, Purpose::Read)?;
    let commit = revision(asked, repository, rest[0])?;
    let path = decoded(&rest[1..].join("/"));
    let Some(Entry::File(file)) = commit.entry(&path) else {
        return Err(no_entry(asked, commit));
    };
    if not_modified(asked, file) {
        return Ok(Answer::new(304).with("etag", &tag(file)).with("x-repo-commit", &commit.sha));
    }
    Ok(sent(asked, file, commit, &path))
}

/// The bytes of a small file: compressed for whoever can read that and wants all of it.
fn sent(asked: &Asked<'_>, file: &File, commit: &Commit, path: &str) -> Answer {
    let answer = described(
        Answer::ok("text/plain; charset=utf-8", file.content.clone()),
        file,
        commit,
        path,
    );
    let takes_gzip =
        asked.header(header::ACCEPT_ENCODING).is_some_and(|codings| codings.contains("gzip"));
    let whole = !asked.headers.contains_key(header::RANGE);
    if takes_gzip && whole && *asked.method == Method::GET && file.size > 512 {
        let mut answer = answer.of(gzip(&file.content)).with("content-encoding", "gzip");
        answer.headers.remove("accept-ranges");
        answer.headers.remove("etag");
        return answer.with("etag", &format!("W/{}", tag(file))).with("vary", "Accept-Encoding");
    }
    let mut answer = answer;
    answer.headers.remove("accept-ranges");
    framed(asked, answer.ranged(asked.headers))
}

fn gzip(content: &Content) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let length = content.length().unwrap_or_default() as usize;
    encoder.write_all(&super::read(content, 0, length)).expect("memory can be written");
    encoder.finish().expect("the stream can be closed")
}
