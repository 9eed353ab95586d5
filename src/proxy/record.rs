//! What is recorded of an answer: that it is a pull, or a refusal, by a rule, for want of a right, or for what was found in a file.
//!
//! Left out: how either is counted and written down (`trace::pulls`).

use std::sync::Arc;

use http::{HeaderValue, Method, Response, StatusCode, header};

use crate::cache::failure::Failure;
use crate::cache::lookup::Artifact;
use crate::ecosystem::{Ask, Ecosystem, Serve, Subject};
use crate::policy::{Fact, Facts, Point};
use crate::proxy::access::Refused;
use crate::proxy::deliver::Content;
use crate::server::{AccessNote, Ended};
use crate::trace::pulls::{Onward, Pulls, Refusal, Thing};
use crate::types::{Algorithm, CacheKey, Digest};

/// As where refusals are recorded that no mount was asked about.
const NO_MOUNT: &str = "larder";

/// What they are refusals of.
const ACCESS: &str = "larder:access";

/// An artifact that is served.
pub(crate) struct Bytes {
    key: CacheKey,
    /// The digest that clients know it by.
    digest: Option<Digest>,
    /// What is shown of it begins where it does.
    is_first_part: bool,
}

impl Bytes {
    /// `None`: something else is served.
    pub(crate) fn of(serve: &Serve) -> Option<Self> {
        let Serve::Artifact { artifact, chunking, .. } = serve else { return None };
        let Artifact { lookup, digests, .. } = artifact;
        let best = digests.iter().find(|digest| digest.algorithm() == Algorithm::Sha256);
        Some(Self {
            key: lookup.key.clone(),
            digest: best.or_else(|| digests.first()).copied(),
            is_first_part: chunking.as_ref().is_none_or(|chunking| chunking.window.start == 0),
        })
    }
}

/// Lets an answer that is a pull be counted when it ends.
pub(crate) fn pull(
    pulls: &Pulls,
    (mount, client): (&dyn Ecosystem, &str),
    ask: &Ask,
    (subject, bytes): (&Subject, Option<Bytes>),
    response: &mut Response<Content>,
) {
    let is_start = match response.status() {
        _ if ask.method != Method::GET => return,
        StatusCode::OK => true,
        StatusCode::PARTIAL_CONTENT => {
            let range = response.headers().get(header::CONTENT_RANGE);
            let range = range.map(HeaderValue::as_bytes).unwrap_or_default();
            // Nobody comes for a first byte alone: who asks for that wants to know whether there are more.
            if range.starts_with(b"bytes 0-0/") && range != b"bytes 0-0/1" {
                return;
            }
            range.starts_with(b"bytes 0-")
        }
        _ => return,
    };
    // Who fetches a large file in parts pulls one file.
    let is_start = is_start && bytes.as_ref().is_none_or(|bytes| bytes.is_first_part);
    let thing = thing((mount, client), subject, bytes);
    let Some(tally) = thing.and_then(|thing| pulls.tally(&thing)) else { return };
    if let Some(note) = response.extensions_mut().get_mut::<AccessNote>() {
        note.ended = Some(match is_start {
            true => tally as Arc<dyn Ended>,
            false => Arc::new(Onward(tally)),
        });
    }
}

/// What is pulled by its name, and the digest of its bytes. Bytes that are asked for by nothing but their digest are named by that.
fn thing<'a>(
    (mount, client): (&'a dyn Ecosystem, &'a str),
    subject: &Subject,
    bytes: Option<Bytes>,
) -> Option<Thing<'a>> {
    let of = |name: String, digest: Option<String>| Thing {
        mount: mount.id(),
        name,
        digest,
        client,
        licence: None,
        is_manifest: false,
    };
    let promised = bytes.as_ref().and_then(|bytes| bytes.digest.as_ref()).map(Digest::to_string);
    let Some(facts) = subject.facts() else {
        let name = mount.naming()?.name_of(&bytes?.key)?;
        return Some(of(name.to_string(), promised));
    };
    let digest = facts.digest.as_deref().map(str::to_owned).or(promised);
    // What was judged before its address was given out is the bytes.
    let point = subject.judged.as_ref().map_or(Point::Content, |judged| judged.point);
    is_pull(facts, point, digest.is_some()).then(|| Thing {
        licence: facts.text(Fact::Licence).map(str::to_owned),
        is_manifest: point == Point::Metadata,
        ..of(named(facts), digest)
    })
}

/// Bytes that people come for; or what stands for all of them, and has a digest: the manifest of an image.
fn is_pull(facts: &Facts<'_>, point: Point, has_digest: bool) -> bool {
    let is_one_file = facts.text(Fact::File).is_some();
    match point {
        Point::Content => true,
        Point::Metadata => has_digest && !is_one_file && !facts.is_whole,
        Point::Listing => false,
    }
}

/// A subject as the command line names it, with the file that is meant.
fn named(facts: &Facts<'_>) -> String {
    let named = facts.named();
    match facts.text(Fact::File) {
        Some(file) => format!("{named}/{file}"),
        None => named,
    }
}

/// Records that policy refused something.
pub(crate) fn refused(pulls: &Pulls, mount: &dyn Ecosystem, client: &str, subject: &Subject) {
    let reason = match &subject.judged {
        Some(judged) => format!("{}; decision {}", judged.voices().join(", "), judged.id()),
        None => subject.reason.clone().unwrap_or_default(),
    };
    let subject = subject.facts().map_or_else(|| mount.id().to_owned(), named);
    let (mount, client) = (mount.id().to_owned(), client.to_owned());
    pulls.refused(Refusal { mount, subject, client, reason });
}

/// Records that something could not be given, where that is a refusal: for what was found in it.
pub(crate) fn failed(
    pulls: &Pulls,
    mount: &dyn Ecosystem,
    client: &str,
    subject: &Subject,
    failure: &Failure,
) {
    let Failure::Unsafe { reason } = failure else { return };
    let subject = subject.facts().map_or_else(|| mount.id().to_owned(), named);
    let (mount, client) = (mount.id().to_owned(), client.to_owned());
    pulls.refused(Refusal { mount, subject, client, reason: format!("inspection: {reason}") });
}

/// Records that a client lacks a grant.
pub(crate) fn not_granted(pulls: &Pulls, mount: &dyn Ecosystem, client: &str, subject: &Subject) {
    let subject = subject.facts().map_or_else(|| mount.id().to_owned(), named);
    let (mount, client) = (mount.id().to_owned(), client.to_owned());
    pulls.refused(Refusal { mount, subject, client, reason: "it lacks a grant".to_owned() });
}

/// Records that a client was not let in.
pub(crate) fn not_admitted(pulls: &Pulls, refused: Refused) {
    let reason = match refused {
        Refused::Network(address) => match pulls.network(address) {
            Some(network) => format!("the network of {network} may not use this server"),
            None => "its network may not use this server".to_owned(),
        },
        Refused::Unidentified => "the proxy in front names no address".to_owned(),
        Refused::Token => "it shows no token of ours".to_owned(),
    };
    pulls.refused(Refusal {
        mount: NO_MOUNT.to_owned(),
        subject: ACCESS.to_owned(),
        client: String::new(),
        reason,
    });
}
