//! What the three hosts of a registry answer.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Method, Request, header};
use serde_json::{Value, json};

use super::door::{Caller, challenge, refusal};
use super::image::OCI_INDEX;
use super::{
    Delivery, Door, Head, Limits, Manifest, Manners, Named, Realm, Repository, Shelf, edge_path,
    lock,
};
use crate::support::origin::{Answer, Content, Respond};

/// The host of `/v2/`.
pub struct Front {
    pub shelf: Arc<Shelf>,
    /// The address of the edge.
    pub edge: String,
    /// The address of the token host's `/token`.
    pub tokens: String,
}

/// The host of blobs behind signed links.
pub struct Edge(pub Arc<Shelf>);

/// The host of tokens.
pub struct TokenHost(pub Arc<Shelf>);

/// What a path below `/v2/` asks for.
enum Wanted<'a> {
    Manifest(&'a str),
    Blob(&'a str),
    Tags,
    Referrers(&'a str),
}

impl Respond for Front {
    fn respond(&self, request: &Request<Bytes>) -> Answer {
        let manners = lock(&self.shelf.manners).clone();
        let path = request.uri().path();
        if path == "/token" {
            return token(&self.shelf, &manners, request);
        }
        let Some(rest) = path.strip_prefix("/v2/") else { return Answer::new(404) };
        let answer = self.below(rest, &manners, request);
        answer.with("docker-distribution-api-version", "registry/2.0")
    }
}

impl Front {
    fn below(&self, rest: &str, manners: &Manners, request: &Request<Bytes>) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return refusal(405, "UNSUPPORTED", "nothing is taken in");
        }
        if rest.is_empty() {
            return match self.objection(None, manners, request) {
                Some(answer) => answer,
                None => Answer::ok("application/json", "{}"),
            };
        }
        let Some((name, wanted)) = read(rest) else {
            return refusal(404, "NAME_INVALID", "no such route");
        };
        if let Some(answer) = self.objection(Some(name), manners, request) {
            return answer;
        }
        let Some(repository) = lock(&self.shelf.repositories).get(name).cloned() else {
            return refusal(404, "NAME_UNKNOWN", "repository name not known to registry");
        };
        match wanted {
            Wanted::Manifest(reference) => self.manifest(&repository, reference, manners, request),
            Wanted::Blob(digest) => self.blob(&repository, digest, manners, request),
            Wanted::Tags => tags(name, &repository, manners, request),
            Wanted::Referrers(digest) => referrers(name, &repository, digest, manners, request),
        }
    }

    /// What somebody gets who may not have what they ask for; a challenge says how to come to it.
    fn objection(
        &self,
        name: Option<&str>,
        manners: &Manners,
        request: &Request<Bytes>,
    ) -> Option<Answer> {
        let caller = self.shelf.register.caller(request.headers());
        let readable = |user: Option<&str>| {
            let repositories = lock(&self.shelf.repositories);
            name.is_none_or(|name| repositories.get(name).is_some_and(|held| held.is_read_by(user)))
        };
        match (&manners.door, caller) {
            (Door::Open, _) => {
                let hidden = name.is_some() && !readable(None);
                hidden
                    .then(|| refusal(404, "NAME_UNKNOWN", "repository name not known to registry"))
            }
            (Door::Basic, Caller::User(user)) => {
                let denied = !readable(Some(&user));
                denied.then(|| refusal(403, "DENIED", "requested access to the resource is denied"))
            }
            (Door::Basic, _) => Some(
                refusal(401, "UNAUTHORIZED", "authentication required")
                    .with("www-authenticate", "Basic realm=\"registry\""),
            ),
            (Door::Bearer(_), Caller::Bearer(covered))
                if name.is_none_or(|name| covered.contains(name)) =>
            {
                None
            }
            (Door::Bearer(tokens), caller) => {
                let (status, error) = match caller {
                    Caller::Bearer(_) => (tokens.uncovered, Some("insufficient_scope")),
                    Caller::Nobody => (401, None),
                    Caller::User(_) | Caller::Wrong => (401, Some("invalid_token")),
                };
                let code = if status == 401 { "UNAUTHORIZED" } else { "DENIED" };
                let realm = self.realm(&tokens.realm, request);
                Some(
                    refusal(status, code, "authentication required")
                        .with("www-authenticate", &challenge(&realm, name, error)),
                )
            }
        }
    }

    fn realm(&self, realm: &Realm, request: &Request<Bytes>) -> String {
        let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
        match realm {
            Realm::Here => format!("http://{}/token", host.unwrap_or_default()),
            Realm::Beside => self.tokens.clone(),
            Realm::At(address) => address.clone(),
        }
    }

    fn manifest(
        &self,
        repository: &Repository,
        reference: &str,
        manners: &Manners,
        request: &Request<Bytes>,
    ) -> Answer {
        let is_head = request.method() == Method::HEAD;
        if is_head && manners.head == Head::NotAllowed {
            return refusal(405, "UNSUPPORTED", "HEAD is not allowed");
        }
        let limits = match self.spend(is_head) {
            Ok(limits) => limits,
            Err(answer) => return answer,
        };
        let digest = repository.tags.get(reference).map_or(reference, String::as_str);
        let answer = match repository.manifests.get(digest) {
            Some(manifest) if accepts(request, &manifest.media_type) => {
                written(manifest, manners, is_head)
            }
            Some(_) => refusal(404, "MANIFEST_UNKNOWN", "the accept header does not support it"),
            None => refusal(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        };
        told(answer, limits)
    }

    /// Takes one from the budget, if there is one and it counts; the refusal when nothing is left.
    fn spend(&self, is_head: bool) -> Result<Option<Limits>, Answer> {
        let mut manners = lock(&self.shelf.manners);
        let Some(limits) = &mut manners.limits else { return Ok(None) };
        if is_head {
            return Ok(Some(*limits));
        }
        let Some(remaining) = limits.remaining.checked_sub(1) else {
            let answer = refusal(429, "TOOMANYREQUESTS", "you have reached your pull rate limit");
            let answer = match limits.retry_after_secs {
                Some(seconds) => answer.with("retry-after", &seconds.to_string()),
                None => answer,
            };
            return Err(told(answer, Some(*limits)));
        };
        limits.remaining = remaining;
        Ok(Some(*limits))
    }

    fn blob(
        &self,
        repository: &Repository,
        digest: &str,
        manners: &Manners,
        request: &Request<Bytes>,
    ) -> Answer {
        let content = lock(&self.shelf.blobs).get(digest).cloned();
        let Some(content) = content.filter(|_| repository.blobs.contains(digest)) else {
            return refusal(404, "BLOB_UNKNOWN", "blob unknown to registry");
        };
        let is_head = request.method() == Method::HEAD;
        match manners.blobs {
            Delivery::Redirected(status) if !is_head => {
                let number = self.shelf.links.fetch_add(1, Ordering::AcqRel);
                let link =
                    format!("{}{}?expires=600&signature={number}", self.edge, edge_path(digest));
                Answer::new(status).with("location", &link)
            }
            _ => delivered(content, manners, request)
                .with("docker-content-digest", digest)
                .with("etag", &format!("\"{digest}\""))
                .with("cache-control", "max-age=31536000"),
        }
    }
}

impl Respond for Edge {
    fn respond(&self, request: &Request<Bytes>) -> Answer {
        let manners = lock(&self.0.manners).clone();
        let error = |status, code: &str| {
            let body = format!("<Error><Code>{code}</Code></Error>");
            Answer::new(status).with("content-type", "application/xml").of(body)
        };
        if request.headers().contains_key(header::AUTHORIZATION) {
            return error(400, "InvalidArgument");
        }
        let signature = request.uri().query().and_then(|query| query.split_once("signature="));
        let number = signature.and_then(|(_, number)| number.parse::<u64>().ok());
        let expired = self.0.links_expired.load(Ordering::Acquire);
        if number.is_none_or(|number| number < expired) {
            return error(403, "AccessDenied");
        }
        if request.method() == Method::HEAD && !manners.edge_heads {
            return error(403, "SignatureDoesNotMatch");
        }
        let digest = request.uri().path().trim_start_matches("/store/");
        let Some(content) = lock(&self.0.blobs).get(digest).cloned() else {
            return error(404, "NoSuchKey");
        };
        let answer = match manners.edge_encodes {
            true => {
                let answer = Answer::ok("application/octet-stream", gzip(&content));
                answer.with("content-encoding", "gzip")
            }
            false => delivered(content, &manners, request),
        };
        answer
            .with("etag", &format!("\"{:.32}\"", digest.replace(':', "")))
            .with("x-amz-copy-source", "registry-bucket/secret/repository/name")
    }
}

impl Respond for TokenHost {
    fn respond(&self, request: &Request<Bytes>) -> Answer {
        let manners = lock(&self.0.manners).clone();
        match request.uri().path() {
            "/token" => token(&self.0, &manners, request),
            _ => Answer::new(404),
        }
    }
}

fn token(shelf: &Shelf, manners: &Manners, request: &Request<Bytes>) -> Answer {
    let Door::Bearer(tokens) = &manners.door else { return Answer::new(404) };
    shelf.register.token(tokens, request, |repository, user| {
        lock(&shelf.repositories).get(repository).is_some_and(|held| held.is_read_by(user))
    })
}

/// A blob, or the part of it that is asked for.
fn delivered(content: Content, manners: &Manners, request: &Request<Bytes>) -> Answer {
    let answer = Answer::ok("application/octet-stream", content);
    match manners.ranges {
        true => answer.ranged(request.headers()),
        false => answer,
    }
}

fn written(manifest: &Manifest, manners: &Manners, is_head: bool) -> Answer {
    let answer = Answer::ok(&manifest.media_type, manifest.body.clone());
    let answer = match manners.named {
        Named::Right => answer
            .with("docker-content-digest", &manifest.digest)
            .with("etag", &format!("\"{}\"", manifest.digest)),
        Named::Wrong => answer.with("docker-content-digest", &format!("sha256:{}", "0".repeat(64))),
        Named::Missing => answer,
    };
    match is_head && manners.head == Head::WithoutLength {
        true => Answer { content: Content::Chunks(Arc::new(|_| None)), ..answer },
        false => answer,
    }
}

/// Adds what is left of the budget.
fn told(answer: Answer, limits: Option<Limits>) -> Answer {
    let Some(limits) = limits else { return answer };
    answer
        .with("ratelimit-limit", &format!("{};w=21600", limits.limit))
        .with("ratelimit-remaining", &format!("{};w=21600", limits.remaining))
        .with("docker-ratelimit-source", "192.0.2.1")
}

fn tags(
    name: &str,
    repository: &Repository,
    manners: &Manners,
    request: &Request<Bytes>,
) -> Answer {
    let last = parameter(request, "last").unwrap_or_default();
    let later = repository.tags.keys().filter(|tag| **tag > last).cloned().collect();
    let (tags, next) = page(later, manners, request);
    let answer = Answer::ok("application/json", json!({ "name": name, "tags": tags }).to_string());
    match next.then(|| tags.last()).flatten() {
        Some(last) => {
            let count = tags.len();
            let link = format!("</v2/{name}/tags/list?last={last}&n={count}>; rel=\"next\"");
            answer.with("link", &link)
        }
        None => answer,
    }
}

fn referrers(
    name: &str,
    repository: &Repository,
    digest: &str,
    manners: &Manners,
    request: &Request<Bytes>,
) -> Answer {
    if !manners.referrers {
        return Answer::new(404).with("content-type", "text/plain").of("404 page not found\n");
    }
    let kind = parameter(request, "artifactType");
    let after = parameter(request, "after").unwrap_or_default();
    let named =
        repository.manifests.values().filter(|held| held.subject.as_deref() == Some(digest));
    let wanted =
        |held: &&Manifest| kind.is_none() || held.artifact_type.as_deref() == kind.as_deref();
    let found: Vec<Value> =
        named.filter(wanted).filter(|held| held.digest > after).map(Manifest::descriptor).collect();
    let (found, next) = page(found, manners, request);
    let last = found.last().and_then(|entry| entry["digest"].as_str()).map(str::to_owned);
    let document = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found });
    let answer = Answer::ok(OCI_INDEX, document.to_string());
    let answer = match &kind {
        Some(_) => answer.with("oci-filters-applied", "artifactType"),
        None => answer,
    };
    match last.filter(|_| next) {
        Some(last) => {
            let kind = kind.map(|kind| format!("&artifactType={kind}")).unwrap_or_default();
            let link = format!("</v2/{name}/referrers/{digest}?after={last}{kind}>; rel=\"next\"");
            answer.with("link", &link)
        }
        None => answer,
    }
}

/// The first entries, as many as client and registry agree on, and whether there are more.
fn page<T>(mut entries: Vec<T>, manners: &Manners, request: &Request<Bytes>) -> (Vec<T>, bool) {
    let asked = parameter(request, "n").and_then(|text| text.parse().ok());
    let most = asked.unwrap_or(usize::MAX).min(manners.page.unwrap_or(usize::MAX));
    let more = entries.len() > most && most > 0;
    entries.truncate(most);
    (entries, more)
}

fn parameter(request: &Request<Bytes>, name: &str) -> Option<String> {
    let query = request.uri().query().unwrap_or_default();
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Whether any line of `Accept` names the type, as distribution reads them: without weights.
fn accepts(request: &Request<Bytes>, media_type: &str) -> bool {
    let mut lines = request.headers().get_all(header::ACCEPT).iter().peekable();
    if lines.peek().is_none() {
        return true;
    }
    let covers = |part: &str| {
        let part = part.split(';').next().unwrap_or_default().trim();
        part == media_type || part == "*/*"
    };
    lines.filter_map(|line| line.to_str().ok()).any(|line| line.split(',').any(covers))
}

/// `library/x/manifests/1.0` as a name and what is wanted of it.
fn read(rest: &str) -> Option<(&str, Wanted<'_>)> {
    if let Some(name) = rest.strip_suffix("/tags/list") {
        return Some((name, Wanted::Tags));
    }
    let (before, last) = rest.rsplit_once('/')?;
    let (name, route) = before.rsplit_once('/')?;
    match route {
        "manifests" => Some((name, Wanted::Manifest(last))),
        "blobs" => Some((name, Wanted::Blob(last))),
        "referrers" => Some((name, Wanted::Referrers(last))),
        _ => None,
    }
}

fn gzip(content: &Content) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut offset = 0;
    loop {
        let piece = content.at(offset, 1 << 20);
        if piece.is_empty() {
            return encoder.finish().expect("the stream can be closed");
        }
        offset += piece.len() as u64;
        encoder.write_all(&piece).expect("memory can be written");
    }
}
