//! What is recorded of an answer: that it is a pull, or a refusal.
//!
//! Left out: how either is counted and written down (`trace::pulls`).

use std::sync::Arc;

use http::{Method, Response, StatusCode, header};

use crate::cache::lookup::Artifact;
use crate::ecosystem::{Ask, Ecosystem, Serve, Subject};
use crate::policy::{Fact, Judged, Point};
use crate::proxy::access::Refused;
use crate::proxy::deliver::Content;
use crate::server::{AccessNote, Ended};
use crate::trace::pulls::{Onward, Pulls, Refusal, Thing};
use crate::types::{Algorithm, Digest};

/// As where refusals are recorded that no mount was asked about.
const NO_MOUNT: &str = "larder";

/// What they are refusals of.
const ACCESS: &str = "larder:access";

/// The digest by which what is served is remembered: the one that clients know it by.
pub(crate) fn digest_of(serve: &Serve) -> Option<Digest> {
    let Serve::Artifact { artifact: Artifact { digests, .. }, .. } = serve else { return None };
    let best = digests.iter().find(|digest| digest.algorithm() == Algorithm::Sha256);
    best.or_else(|| digests.first()).copied()
}

/// Lets an answer that is a pull be counted when it ends.
pub(crate) fn pull(
    pulls: &Pulls,
    (mount, client): (&dyn Ecosystem, &str),
    ask: &Ask,
    (subject, digest): (&Subject, Option<Digest>),
    response: &mut Response<Content>,
) {
    let Some(judged) = subject.judged.as_ref().filter(|_| ask.method == Method::GET) else {
        return;
    };
    let is_start = match response.status() {
        StatusCode::OK => true,
        StatusCode::PARTIAL_CONTENT => {
            let range = response.headers().get(header::CONTENT_RANGE);
            range.is_some_and(|range| range.as_bytes().starts_with(b"bytes 0-"))
        }
        _ => return,
    };
    let known = judged.facts.digest.as_deref().map(str::to_owned);
    let digest = known.or_else(|| digest.map(|digest| digest.to_string()));
    if !is_pull(judged, digest.is_some()) {
        return;
    }
    let thing = Thing { mount: mount.id(), name: named(judged), digest, client };
    let Some(tally) = pulls.tally(&thing) else { return };
    if let Some(note) = response.extensions_mut().get_mut::<AccessNote>() {
        note.ended = Some(match is_start {
            true => tally as Arc<dyn Ended>,
            false => Arc::new(Onward(tally)),
        });
    }
}

/// Bytes that people come for; or what stands for all of them, and has a digest: the manifest of an image.
fn is_pull(judged: &Judged, has_digest: bool) -> bool {
    let is_one_file = judged.facts.text(Fact::File).is_some();
    match judged.point {
        Point::Content => true,
        Point::Metadata => has_digest && !is_one_file && !judged.facts.is_whole,
        Point::Listing => false,
    }
}

/// A subject as the command line names it, with the file that is meant.
fn named(judged: &Judged) -> String {
    let named = judged.facts.named();
    match judged.facts.text(Fact::File) {
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
    let subject =
        subject.judged.as_ref().map_or_else(|| mount.id().to_owned(), |judged| named(judged));
    let (mount, client) = (mount.id().to_owned(), client.to_owned());
    pulls.refused(Refusal { mount, subject, client, reason });
}

/// Records that a client lacks a grant.
pub(crate) fn not_granted(pulls: &Pulls, mount: &dyn Ecosystem, client: &str, subject: &Subject) {
    let subject =
        subject.judged.as_ref().map_or_else(|| mount.id().to_owned(), |judged| named(judged));
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
