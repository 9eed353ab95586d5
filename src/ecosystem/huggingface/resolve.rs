//! `HEAD` and `GET` of files: 200 with the body at the same address, never a redirect.
//!
//! Everything that clients read from the head comes from what is known of the file, so that a `HEAD` never waits for a body.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::ecosystem::huggingface::config::Settings;
use crate::ecosystem::huggingface::file::{FileFacts, find};
use crate::ecosystem::huggingface::pass;
use crate::ecosystem::huggingface::repository::encoded;
use crate::ecosystem::huggingface::route::{FileRoute, OWN};
use crate::ecosystem::huggingface::settle::{Purpose, Settled, settle};
use crate::ecosystem::huggingface::{explain, judge};
use crate::ecosystem::{Access, Ask, Plan, Serve, Step, Subject};

pub(super) const REPO_COMMIT: HeaderName = HeaderName::from_static("x-repo-commit");
pub(super) const LINKED_ETAG: HeaderName = HeaderName::from_static("x-linked-etag");
pub(super) const LINKED_SIZE: HeaderName = HeaderName::from_static("x-linked-size");
pub(super) const XET_HASH: HeaderName = HeaderName::from_static("x-xet-hash");

/// Plans `resolve`.
pub fn plan(settings: &Arc<Settings>, ask: &Ask, file: FileRoute) -> Step {
    if !matches!(ask.method, Method::GET | Method::HEAD) {
        return pass::plan(settings, ask);
    }
    let FileRoute { repository, revision, path } = file;
    let asked = ask.clone();
    settle(settings, ask, repository, revision, Purpose::Files, move |at| {
        let ask = asked.clone();
        find(at, asked, path, move |at, facts| {
            let headers = resolved(&ask, &at, &facts);
            judge::judged(at, &ask, facts, move |at, facts, subject| {
                serve(subject, facts.artifact(&at), headers)
            })
        })
    })
}

/// Plans `raw`: the file as git has it.
pub fn plan_raw(settings: &Arc<Settings>, ask: &Ask, file: FileRoute) -> Step {
    if !matches!(ask.method, Method::GET | Method::HEAD) {
        return pass::plan(settings, ask);
    }
    let FileRoute { repository, revision, path } = file;
    let (asked, hub) = (ask.clone(), Arc::clone(settings));
    settle(settings, ask, repository, revision, Purpose::Files, move |at| {
        let ask = asked.clone();
        find(at, asked, path, move |at, facts| {
            let asked = ask.clone();
            judge::judged(at, &asked, facts, move |at, facts, subject| {
                match facts.raw_artifact(&at) {
                    _ if !subject.verdict.passes() => Step::Refuse(Box::new(subject)),
                    Some(artifact) => {
                        let mut headers = described(&at, &facts);
                        if let Some(digest) = artifact.digests.first() {
                            headers.insert(header::ETAG, quoted(&digest.to_hex()));
                        }
                        serve(subject, artifact, headers)
                    }
                    None => pass::plan(&hub, &ask),
                }
            })
        })
    })
}

fn serve(subject: Subject, artifact: crate::cache::lookup::Artifact, headers: HeaderMap) -> Step {
    Step::Serve(Box::new(Plan {
        access: Access::Public,
        subject,
        serve: Serve::Artifact { artifact, headers, chunking: None },
    }))
}

/// What a resolved file's head says. Xet is not offered to whom it would fail: its library shows no access token of Larder's, and no certificate.
pub(super) fn resolved(ask: &Ask, at: &Settled, facts: &FileFacts) -> HeaderMap {
    let mut headers = described(at, facts);
    let tag = quoted(&facts.content.tag());
    headers.insert(header::ETAG, tag.clone());
    if facts.content.is_large() || facts.xet_hash.is_some() {
        headers.insert(LINKED_ETAG, tag);
        if let Some(size) = facts.size {
            headers.insert(LINKED_SIZE, HeaderValue::from(size));
        }
    }
    if let Some(hash) = facts.xet_hash.as_ref().filter(|_| ask.is_admitted_by_address()) {
        let (base, repository, commit) = (&ask.base, &at.repository, &at.commit);
        let link = format!(
            "<{base}/{}/xet-read-token/{commit}>; rel=\"xet-auth\", \
             <{base}/{OWN}xet/v1/reconstructions/{hash}>; rel=\"xet-reconstruction-info\"",
            repository.api_path(),
        );
        insert(&mut headers, XET_HASH, hash);
        insert(&mut headers, header::LINK, &link);
    }
    headers
}

/// What any answer about a file says.
fn described(at: &Settled, facts: &FileFacts) -> HeaderMap {
    let mut headers = HeaderMap::new();
    insert(&mut headers, REPO_COMMIT, at.commit.as_str());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(facts)));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let name = facts.path.name();
    let plain: String = name
        .chars()
        .filter(|letter| letter.is_ascii_graphic() && !"\"\\".contains(*letter))
        .collect();
    let disposition = format!("inline; filename*=UTF-8''{}; filename=\"{plain}\";", encoded(name));
    insert(&mut headers, header::CONTENT_DISPOSITION, &disposition);
    let sharing = at.files.shareability();
    let control = match at.is_pinned {
        true => format!("{sharing}, max-age=31536000, immutable"),
        false => format!("{sharing}, no-cache"),
    };
    insert(&mut headers, header::CACHE_CONTROL, &control);
    at.marks.write(&mut headers);
    headers
}

/// As the hub says it: text is text, whatever it is written in, so that no browser runs it.
fn media_type(facts: &FileFacts) -> &'static str {
    let extension = facts.path.name().rsplit('.').next().unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        _ if facts.content.is_large() => "application/octet-stream",
        _ => "text/plain; charset=utf-8",
    }
}

pub(super) fn quoted(tag: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{tag}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Inserts a field whose value is made here; one that cannot be sent is left out.
pub(super) fn insert(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

/// The hub's words for a file that a commit does not have. Clients remember them for ever, so they are said only when the tree or the hub says so.
pub(super) fn no_entry(ask: &Ask, at: &Settled) -> Step {
    use crate::ecosystem::huggingface::word::ENTRY_NOT_FOUND;
    let mut reply =
        explain::error(ask, StatusCode::NOT_FOUND, Some(ENTRY_NOT_FOUND), "Entry not found");
    insert(&mut reply.headers, REPO_COMMIT, at.commit.as_str());
    at.marks.write(&mut reply.headers);
    Step::Reply(reply)
}
