//! Serving what cannot be stored: the disk is full, or nothing tells where the body ends.
//!
//! A digest that was promised is checked all the same, and so is what is in it: a small body is collected first, of a larger one the last bytes are held.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use http::{HeaderValue, StatusCode, header};

use crate::cache::Parts;
use crate::cache::artifact::trace;
use crate::cache::ask::{Answered, ask};
use crate::cache::failure::Failure;
use crate::cache::fill::SMALL_BYTES;
use crate::cache::found::{Found, Source};
use crate::cache::lookup::Artifact;
use crate::inspect::{Inspection, Report, Rules, Ruling, Standing};
use crate::semantics::cache_status::{CacheStatus, Forward};
use crate::types::{Digest, Hasher, Head};
use crate::upstream::{OriginBody, OriginRequest, OriginResponse, UpstreamError};

/// So much of a file is fetched to find out what it is, where only parts of it will be.
const BEGINNING_BYTES: u64 = 1 << 20;

/// Completes a request whose answer will not be stored.
pub(super) fn prepare(request: &mut OriginRequest) {
    request.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// Passes an answer through. `why` is told in `Cache-Status`.
pub(super) async fn pass(
    parts: &Arc<Parts>,
    artifact: &Artifact,
    answered: Answered,
    why: &'static str,
) -> Result<Found, Failure> {
    let Answered { response, accepted, .. } = answered;
    let OriginResponse { head, elapsed, body, .. } = response;
    let length = head.content_length();
    let mut promised = artifact.digests.clone();
    promised.extend(accepted.promised);
    let rules = parts.verdicts.rules(artifact.nature).filter(|_| !artifact.is_excepted);
    let inspection = rules.and_then(|rules| {
        Some((Arc::clone(rules), Inspection::new(rules, artifact.nature, length)?))
    });
    let body = checked(body, &promised, length, inspection);
    let source = match length {
        Some(length) if length <= SMALL_BYTES => Source::Memory(collect(body).await?),
        length => Source::stream(body, length),
    };
    let mut status = CacheStatus::forwarded(Forward::UriMiss).with_detail(why);
    status.forward_status = Some(head.status.as_u16());
    let mut trace = trace(status, parts.clock.now());
    trace.upstream_ms = u64::try_from(elapsed.as_millis()).ok();
    let head = Head { status: StatusCode::OK, headers: accepted.headers };
    Ok(Found { head, source, trace })
}

/// Passes a part through. No digest speaks of it, so it is not to be had where ranges must be verified.
pub(super) async fn pass_part(
    parts: &Arc<Parts>,
    artifact: &Artifact,
    window: &Range<u64>,
    why: &'static str,
) -> Result<Found, Failure> {
    if parts.config.verify_before_range {
        let reason = "there is no room to keep it, and a part of it cannot be verified".to_owned();
        return Err(Failure::Store(reason));
    }
    judge_beginning(parts, artifact).await?;
    let (first, length) = (window.start, window.end.saturating_sub(window.start));
    let part = format!("{first}-{}", (first + length).saturating_sub(1));
    let range = HeaderValue::try_from(format!("bytes={part}")).expect("digits are a field value");
    let asked = ask(parts, &artifact.lookup, |request| {
        prepare(request);
        request.headers.insert(header::RANGE, range.clone());
    });
    let Answered { response, accepted, .. } = asked.await?;
    let OriginResponse { head, elapsed, body, .. } = response;
    let given = head.text(&header::CONTENT_RANGE).unwrap_or_default();
    if head.status != StatusCode::PARTIAL_CONTENT || !given.starts_with(&format!("bytes {part}/")) {
        let reason = format!("{} in answer to a question for bytes {part}", head.status);
        return Err(Failure::BadAnswer(reason));
    }
    let mut status = CacheStatus::forwarded(Forward::UriMiss).with_detail(why);
    status.forward_status = Some(head.status.as_u16());
    let mut trace = trace(status, parts.clock.now());
    trace.upstream_ms = u64::try_from(elapsed.as_millis()).ok();
    let head = Head { status: StatusCode::OK, headers: accepted.headers };
    Ok(Found { head, source: Source::stream(body, Some(length)), trace })
}

/// Looks into the beginning of what will only be seen in parts, unless that was done: where it tells what the file is, parts may pass.
async fn judge_beginning(parts: &Arc<Parts>, artifact: &Artifact) -> Result<(), Failure> {
    let Some(rules) = parts.verdicts.rules(artifact.nature) else { return Ok(()) };
    if artifact.is_excepted || parts.is_cleared(artifact) {
        return Ok(());
    }
    let Some(mut inspection) = Inspection::new(rules, artifact.nature, artifact.size) else {
        return Ok(());
    };
    let part = HeaderValue::try_from(format!("bytes=0-{}", BEGINNING_BYTES - 1));
    let part = part.expect("digits are a field value");
    let asked = ask(parts, &artifact.lookup, |request| {
        prepare(request);
        request.headers.insert(header::RANGE, part.clone());
    });
    let mut body = asked.await?.response.body;
    let mut standing = inspection.standing();
    while standing == Standing::Looking
        && inspection.read() < BEGINNING_BYTES
        && let Some(chunk) = body.try_next().await?
    {
        standing = inspection.feed(&chunk);
    }
    let report = match standing {
        Standing::Looking if artifact.size == Some(inspection.read()) => inspection.finish(),
        Standing::Looking => {
            let reason = "there is no room to keep it, and no part of it can be judged alone";
            return Err(Failure::Store(reason.to_owned()));
        }
        Standing::Clear | Standing::Refused => inspection.so_far(),
    };
    let ruling = rules.ruling(&report);
    parts.note_report(artifact.nature, &artifact.digests, &Arc::new(report), false);
    match ruling {
        Ruling::Refuse(reason) => Err(Failure::Unsafe { reason }),
        Ruling::Pass | Ruling::Warn(_) => Ok(()),
    }
}

async fn collect(mut body: OriginBody) -> Result<Bytes, Failure> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = body.try_next().await? {
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// The same body, which breaks before its last chunk when a digest is wrong.
fn checked(
    body: OriginBody,
    promised: &[Digest],
    length: Option<u64>,
    inspection: Option<(Arc<Rules>, Inspection)>,
) -> OriginBody {
    let hashers = promised.iter().filter_map(|digest| match length {
        Some(length) if digest.algorithm() == crate::types::Algorithm::GitSha1 => {
            Some((*digest, Hasher::git_blob(length)))
        }
        _ => Hasher::new(digest.algorithm()).ok().map(|hasher| (*digest, hasher)),
    });
    let check = Check { body, hashers: hashers.collect(), inspection, held: None };
    let is_needless = check.hashers.is_empty() && check.inspection.is_none();
    if is_needless { check.body } else { check.stream() }
}

struct Check {
    body: OriginBody,
    hashers: Vec<(Digest, Hasher)>,
    inspection: Option<(Arc<Rules>, Inspection)>,
    held: Option<Bytes>,
}

impl Check {
    fn stream(self) -> BoxStream<'static, Result<Bytes, UpstreamError>> {
        stream::try_unfold(Some(self), |check| async move {
            match check {
                Some(check) => check.next().await,
                None => Ok(None),
            }
        })
        .boxed()
    }

    /// The chunk before the one just received; after the last, the last, if the digests are right.
    async fn next(mut self) -> Result<Option<(Bytes, Option<Self>)>, UpstreamError> {
        while let Some(chunk) = self.body.try_next().await? {
            if chunk.is_empty() {
                continue;
            }
            for (_, hasher) in &mut self.hashers {
                hasher.update(&chunk);
            }
            if let Some((rules, inspection)) = &mut self.inspection
                && inspection.feed(&chunk) == Standing::Refused
            {
                return Err(refused(rules, &inspection.so_far()));
            }
            if let Some(released) = self.held.replace(chunk) {
                return Ok(Some((released, Some(self))));
            }
        }
        for (expected, hasher) in self.hashers {
            let got = hasher.finish();
            if got != expected {
                metrics::counter!("larder_fill_failures_total", "kind" => "digest").increment(1);
                return Err(UpstreamError::Malformed {
                    host: "upstream".to_owned(),
                    detail: format!("expected {expected}, got {got}"),
                });
            }
        }
        if let Some((rules, inspection)) = self.inspection {
            let report = inspection.finish();
            if let Ruling::Refuse(_) = rules.ruling(&report) {
                return Err(refused(&rules, &report));
            }
        }
        Ok(self.held.map(|held| (held, None)))
    }
}

/// Cuts a body for what is in it.
fn refused(rules: &Rules, report: &Report) -> UpstreamError {
    metrics::counter!("larder_fill_failures_total", "kind" => "refused").increment(1);
    let detail = match rules.ruling(report) {
        Ruling::Refuse(reason) | Ruling::Warn(reason) => reason,
        Ruling::Pass => String::new(),
    };
    UpstreamError::Malformed { host: "upstream".to_owned(), detail }
}
