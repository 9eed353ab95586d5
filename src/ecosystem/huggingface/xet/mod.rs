//! Xet: Larder is the chunk server of its clients.
//!
//! ```text
//! GET api/TYPE/ID/xet-read-token/REVISION   who may read is given a pass and the address of a chunk server, which is Larder
//! GET -/hf/xet/v2/reconstructions/HASH      with the pass: which chunks of which xorbs make up the file, all made up (layout)
//! GET -/hf/xet/xorb/TICKET/INDEX            without credentials: chunks, cut out of the plain file at delivery
//! ```
//!
//! So clients with default settings never leave Larder, and one stored form serves them and all others. The file behind a hash is
//! looked up in the tree of the commit that the pass names, so a pass opens nothing beyond it.
//!
//! In the other direction, files that the hub gives in chunks only are put together from them ([`native`]).
//!
//! Left out: uploads, and hashes of real chunks, which clients do not check.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::cache::failure::Failure;
use crate::ecosystem::huggingface::file::FileFacts;
use crate::ecosystem::huggingface::repository::{Repository, Revision, is_hex};
use crate::ecosystem::huggingface::route::OWN;
use crate::ecosystem::huggingface::settle::{Purpose, Settled, need, settle};
use crate::ecosystem::huggingface::ticket::{PASS_SECS, Pass, Ticket, after};
use crate::ecosystem::huggingface::tree::{self, Tree};
use crate::ecosystem::huggingface::{Hub, explain, judge};
use crate::ecosystem::{Access, Ask, Held, Plan, Reply, Serve, Step, Subject};
use crate::types::{Signer, Timestamp};

pub(crate) mod chunks;
pub mod layout;
pub mod native;
pub mod reconstruction;

use layout::{Layout, xorb_name};
use reconstruction::{File, Version};

/// What the hub's own library reads the answer from.
const CAS_URL: HeaderName = HeaderName::from_static("x-xet-cas-url");
const ACCESS_TOKEN: HeaderName = HeaderName::from_static("x-xet-access-token");
const TOKEN_EXPIRATION: HeaderName = HeaderName::from_static("x-xet-token-expiration");

/// Gives a pass to a client that may read a repository's files.
pub fn plan_token(hub: &Hub, ask: &Ask, repository: Repository, revision: Revision) -> Step {
    if let Some(reply) = only_read(ask) {
        return Step::Reply(reply);
    }
    let (signer, base, now) = (hub.signer.clone(), ask.base.clone(), ask.now);
    settle(&hub.settings, ask, repository, revision, Purpose::Files, move |settled| {
        Step::Reply(granted(&signer, &base, &settled, now))
    })
}

/// Describes a file by its Xet hash to who holds a pass.
pub fn plan_reconstruction(hub: &Hub, ask: &Ask, version: u8, hash: &str) -> Step {
    if let Some(reply) = only_read(ask) {
        return Step::Reply(reply);
    }
    let Some(pass) =
        bearer_token(&ask.headers).and_then(|text| Pass::unseal(&hub.signer, text, ask.now))
    else {
        let text = "This token was not made here, or has expired.";
        return refused(StatusCode::UNAUTHORIZED, text);
    };
    if !is_hex(hash, 64) {
        return refused(StatusCode::BAD_REQUEST, "A file is named with 64 hexadecimal digits.");
    }
    let settled = pass.settled(&hub.settings);
    let version = if version == 1 { Version::V1 } else { Version::V2 };
    let (hub, ask, hash) = (hub.clone(), ask.clone(), hash.to_owned());
    judge::with_description(settled, ask, move |settled, ask| {
        reconstruct(hub, ask, settled, hash, version)
    })
}

fn reconstruct(hub: Hub, ask: Ask, settled: Settled, hash: String, version: Version) -> Step {
    need(tree::document(&settled.reach, &settled.repository, &settled.commit), move |held| {
        match found(held, &settled, &hash) {
            Ok(Some(facts)) => {
                let asked = ask.clone();
                judge::judged(settled, &asked, facts, move |settled, facts, subject| match subject
                    .verdict
                    .passes()
                {
                    true => Step::Reply(described(&hub, &ask, &settled, &facts, version)),
                    false => Step::Refuse(Box::new(subject)),
                })
            }
            Ok(None) => {
                let text = "The commit that this token is for has no such file.";
                refused(StatusCode::NOT_FOUND, text)
            }
            Err(failure) => Step::Reply(explain::failure(&ask, &failure)),
        }
    })
}

/// Serves a range of a virtual xorb to who holds a ticket.
pub fn plan_xorb(hub: &Hub, ask: &Ask, ticket: &str, index: &str) -> Step {
    if let Some(reply) = only_read(ask) {
        return Step::Reply(reply);
    }
    let Some(ticket) = Ticket::unseal(&hub.signer, ticket, ask.now) else {
        return refused(StatusCode::FORBIDDEN, "This address was not made here, or has expired.");
    };
    let index: Option<u64> = index.parse().ok();
    let chunking = index
        .zip(ticket.size)
        .and_then(|(index, size)| Some((index, Layout { size }.chunking(index)?)));
    let Some((index, chunking)) = chunking else {
        return refused(StatusCode::NOT_FOUND, "The file has no such part.");
    };
    let name = format!("\"{}\"", xorb_name(&ticket.digest, index));
    let mut headers = unshared();
    headers.insert(header::ETAG, HeaderValue::try_from(name).expect("digits are a field value"));
    let artifact = ticket.artifact(&hub.settings);
    let subject = ticket.facts().map(Subject::about).unwrap_or_default();
    serve(subject, Serve::Artifact { artifact, headers, chunking: Some(chunking) })
}

/// Serves a whole file, or ranges of it, to who holds a ticket.
pub fn plan_blob(hub: &Hub, ask: &Ask, ticket: &str) -> Step {
    if let Some(reply) = only_read(ask) {
        return Step::Reply(reply);
    }
    let Some(ticket) = Ticket::unseal(&hub.signer, ticket, ask.now) else {
        return refused(StatusCode::FORBIDDEN, "This address was not made here, or has expired.");
    };
    let mut headers = unshared();
    let name = format!("\"{}\"", ticket.digest.to_hex());
    headers.insert(header::ETAG, HeaderValue::try_from(name).expect("digits are a field value"));
    let artifact = ticket.artifact(&hub.settings);
    judge::judged_again(ask, artifact, ticket.facts(), move |artifact, subject| {
        serve(subject, Serve::Artifact { artifact, headers, chunking: None })
    })
}

/// The address of a whole file that works without credentials.
pub fn blob_address(hub: &Hub, ask: &Ask, ticket: &Ticket) -> String {
    format!("{}/{OWN}blob/{}", ask.base, ticket.seal(&hub.signer, ask.now))
}

/// The pass in the two forms that clients read: one of them looks at the fields, the other at the body.
fn granted(signer: &Signer, base: &str, settled: &Settled, now: Timestamp) -> Reply {
    let token = Pass::of(settled).seal(signer, now);
    let expires = after(now, PASS_SECS).secs();
    let server = format!("{base}/{OWN}xet");
    let body = serde_json::json!({ "casUrl": server, "accessToken": token, "exp": expires });
    let mut reply = json(StatusCode::OK, body.to_string().into_bytes());
    for (name, text) in
        [(CAS_URL, server), (ACCESS_TOKEN, token), (TOKEN_EXPIRATION, expires.to_string())]
    {
        if let Ok(value) = HeaderValue::from_str(&text) {
            reply.headers.insert(name, value);
        }
    }
    reply
}

/// The file of a hash, in a tree.
fn found(
    held: Result<Held, Failure>,
    settled: &Settled,
    hash: &str,
) -> Result<Option<FileFacts>, Failure> {
    let held = held?;
    match held.parsed.get::<Tree>().filter(|tree| settled.covers(tree.kept())) {
        Some(tree) => Ok(tree.file_of_xet(hash)),
        None => Err(Failure::NotKept),
    }
}

fn described(
    hub: &Hub,
    ask: &Ask,
    settled: &Settled,
    facts: &FileFacts,
    version: Version,
) -> Reply {
    let (Some(ticket), Some(size)) = (Ticket::of_file(settled, facts), facts.size) else {
        let text = "The hub names no digest of this file, so it cannot be served in chunks.";
        return refusal(StatusCode::BAD_GATEWAY, text);
    };
    let Some(range) = reconstruction::wanted(&ask.headers, size) else {
        return refusal(StatusCode::RANGE_NOT_SATISFIABLE, "The file ends before this range.");
    };
    let root = format!("{}/{OWN}xet/xorb/{}", ask.base, ticket.seal(&hub.signer, ask.now));
    let file = File { digest: &ticket.digest, size };
    let body = reconstruction::json(version, file, range, |index| format!("{root}/{index}"));
    json(StatusCode::OK, body)
}

/// The token of `Authorization: Bearer TOKEN`.
fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The refusal of anything but a read.
pub fn only_read(ask: &Ask) -> Option<Reply> {
    let reads = matches!(ask.method, Method::GET | Method::HEAD);
    (!reads).then(|| {
        refusal(StatusCode::METHOD_NOT_ALLOWED, "This address is read with GET.")
            .with(header::ALLOW, HeaderValue::from_static("GET, HEAD"))
    })
}

fn refused(status: StatusCode, text: &str) -> Step {
    Step::Reply(refusal(status, text))
}

fn refusal(status: StatusCode, text: &str) -> Reply {
    json(status, serde_json::json!({ "error": text }).to_string().into_bytes())
}

fn json(status: StatusCode, body: Vec<u8>) -> Reply {
    Reply::new(status, "application/json", body)
        .with(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

/// Fields of bytes that only the holder of their address may have.
fn unshared() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, immutable"));
    headers
}

/// Serves what a ticket names.
fn serve(subject: Subject, serve: Serve) -> Step {
    let plan = Plan { access: Access::Public, subject, serve };
    Step::Serve(Box::new(plan))
}
