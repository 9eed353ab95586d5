//! What upstream's answer to a fill's question says of the body, against what was promised and what an earlier fill left. Pure.

use http::{StatusCode, header};

use crate::cache::failure::Failure;
use crate::cache::fill::identity::{Continuation, Identity};
use crate::cache::fill::state::Ending;
use crate::cache::fill::transfer::{Break, changed};
use crate::cache::lookup::{Accepted, Artifact};
use crate::store::Progress;
use crate::types::{Digest, Head};

/// What upstream's answer led to.
pub(super) struct Answer {
    pub(super) identity: Identity,
    /// Where its first byte belongs.
    pub(super) start: u64,
    pub(super) total: Option<u64>,
    pub(super) promised: Vec<Digest>,
    pub(super) framing: Framing,
}

/// Whether the end of a body can be told from a connection that closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Known,
    Unknown,
}

impl Answer {
    /// Reads upstream's head against what was promised, asked and noted.
    pub(super) fn read(
        artifact: &Artifact,
        head: &Head,
        accepted: &Accepted,
        noted: Option<&Progress>,
    ) -> Result<Self, Break> {
        let bad = |reason: String| Break::End(Ending::Failed(Failure::BadAnswer(reason)));
        let mut promised = artifact.digests.clone();
        promised.extend(accepted.promised.iter().filter(|new| !artifact.digests.contains(new)));
        if let Some((one, other)) = conflict(&promised) {
            return Err(bad(format!("two digests are promised, {one} and {other}")));
        }
        if let Some(coding) = coding(head) {
            return Err(bad(format!("it is encoded as {coding:?}, which was not asked for")));
        }
        let identity = Identity::of(head);
        let start = match (head.status, noted) {
            (StatusCode::PARTIAL_CONTENT, Some(noted)) => {
                resumed(head, noted, &promised)?;
                resume_at(noted)
            }
            (StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION, _) => 0,
            (status, _) => return Err(bad(format!("{status} in answer to a plain request"))),
        };
        if let (Some(is), Some(named)) = (identity.total, artifact.size)
            && is != named
        {
            return Err(bad(format!("it has {is} bytes where the index names {named}")));
        }
        let total = identity.total.or(artifact.size);
        let framing = match total {
            None if promised.is_empty() && !is_framed(head) => Framing::Unknown,
            _ => Framing::Known,
        };
        let identity = Identity { total, ..identity };
        Ok(Self { identity, start, total, promised, framing })
    }
}

/// Notes of an earlier fill, when its bytes can be continued.
pub(super) fn usable(noted: Option<Progress>, digests: &[Digest]) -> Option<Progress> {
    let noted = noted.filter(|noted| noted.prefix > 0)?;
    let fits = agrees(&noted.promised, digests);
    (fits && Identity::noted(&noted).can_continue(!digests.is_empty())).then_some(noted)
}

/// Checks that a part continues what an earlier fill left.
fn resumed(head: &Head, noted: &Progress, promised: &[Digest]) -> Result<(), Break> {
    let first = resume_at(noted);
    match Identity::noted(noted).continues(head, first, !promised.is_empty()) {
        Continuation::Part if agrees(&noted.promised, promised) => {
            metrics::counter!("larder_fill_resumed_total").increment(1);
            Ok(())
        }
        Continuation::Changed(how) => Err(changed(how)),
        _ => Err(changed("another digest is promised than before".to_owned())),
    }
}

/// Where to go on. A body of which every byte is there still needs a head: its last byte is asked for again.
pub(super) fn resume_at(noted: &Progress) -> u64 {
    match noted.total {
        Some(total) if noted.prefix >= total => total.saturating_sub(1),
        _ => noted.prefix,
    }
}

/// Whether noted digests contradict none of `digests`.
fn agrees(noted: &[String], digests: &[Digest]) -> bool {
    let noted = noted.iter().filter_map(|text| text.parse::<Digest>().ok());
    noted
        .into_iter()
        .all(|old| digests.iter().all(|new| new.algorithm() != old.algorithm() || *new == old))
}

fn conflict(promised: &[Digest]) -> Option<(Digest, Digest)> {
    promised.iter().find_map(|one| {
        let other =
            promised.iter().find(|other| other.algorithm() == one.algorithm() && *other != one)?;
        Some((*one, *other))
    })
}

fn coding(head: &Head) -> Option<String> {
    let codings: Vec<_> = head.headers.get_all(header::CONTENT_ENCODING).iter().collect();
    let plain = codings.iter().all(|value| value.is_empty() || *value == "identity");
    (!plain).then(|| format!("{codings:?}"))
}

/// Whether a body without a length has an end of its own.
fn is_framed(head: &Head) -> bool {
    head.headers.contains_key(header::TRANSFER_ENCODING)
}
