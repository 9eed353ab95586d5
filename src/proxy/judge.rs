//! Two questions before anything is got: may this client have it, and may anybody.

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use crate::cache::failure::Failure;
use crate::cache::lookup::Artifact;
use crate::ecosystem::{Access, Ask, Ecosystem, Reply, Serve, Subject};
use crate::policy::judged::WHY;
use crate::policy::{Decision, INSPECTION, Judged, Point, Verdict};
use crate::proxy::deliver::Content;
use crate::proxy::words::{self, plain};
use crate::semantics::warning;

/// When a client is to ask again where a fact could not be found out, in seconds.
const RETRY_AFTER_SECS: u64 = 10;

/// Whether the client holds the grant that the plan asks for. Fails closed.
pub(crate) fn granted(access: &Access, ask: &Ask) -> Result<(), Reply> {
    let Access::Grant(grant) = access else { return Ok(()) };
    if grant.holds(ask) {
        return Ok(());
    }
    Err(Reply::problem(
        StatusCode::FORBIDDEN,
        "No grant for this index",
        "Larder asks upstream with a credential of its own here, and its configuration grants that to nobody, or not to \
         you. The setting is `grant` of this mount: a list of access token names and networks, or [\"*\"] for every client.",
    ))
}

/// Lets an artifact pass whatever is in it, where a waiver says so: one for what it belongs to, or one for its digest.
pub(crate) fn except(ask: &Ask, subject: &Subject, serve: &mut Serve) {
    let Serve::Artifact { artifact, .. } = serve else { return };
    let is_waived = |facts| ask.rules.waived(INSPECTION, facts, ask.now).is_some();
    artifact.is_excepted = subject.facts().is_some_and(is_waived) || is_excepted(ask, artifact);
}

/// Whether a waiver is bound to one of an artifact's digests.
pub(crate) fn is_excepted(ask: &Ask, artifact: &Artifact) -> bool {
    ask.rules.waived_by_digest(INSPECTION, &artifact.digests, ask.now)
}

/// What inspection refused is a decision like others, with an address that explains it: the failure with that, and the decision.
pub(crate) fn inspected(
    ask: &Ask,
    subject: &Subject,
    failure: Failure,
) -> (Failure, Option<Judged>) {
    let (Failure::Unsafe { reason }, Some(facts)) = (&failure, subject.facts()) else {
        return (failure, None);
    };
    let unjudged = || Judged {
        facts: facts.clone(),
        point: Point::Content,
        at: ask.now,
        epoch: ask.rules.epoch(),
        decision: Decision::default(),
    };
    let judged = subject.judged.as_deref().map_or_else(unjudged, Judged::clone);
    let judged = judged.refused_by_inspection(reason);
    let reason = format!("{reason} ({}{WHY}{})", ask.base, judged.id());
    (Failure::Unsafe { reason }, Some(judged))
}

/// The refusal in the words of the mount's clients; where it only waits for a fact, in a form that they try again after. pip shows nothing but the reason phrase of a
/// status, which HTTP/1 alone has.
pub(crate) fn refused(mount: &dyn Ecosystem, ask: &Ask, subject: &Subject) -> Response<Content> {
    metrics::counter!("larder_policy_refusals_total").increment(1);
    let reason = subject.reason.as_deref().unwrap_or("A rule of this server refuses it.");
    let waits = subject.judged.as_ref().is_some_and(|judged| judged.decision.is_pending());
    let status = if waits { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::FORBIDDEN };
    let mut reply = mount.refuse(ask, status, reason);
    reply.phrase = Some(reason.into());
    let mut response = words::replied(reply, &ask.method, mount.id());
    if waits {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_SECS.into());
    }
    response
}

/// Marks what passes with a warning, or although it is hidden elsewhere.
pub(crate) fn warn(field: Option<HeaderName>, subject: &Subject, headers: &mut HeaderMap) {
    if !matches!(subject.verdict, Verdict::Warn | Verdict::Hide) {
        return;
    }
    let reason = subject.reason.as_deref().unwrap_or("a rule warns of this");
    warning::warn(headers, reason);
    // The text before the semicolon groups warnings; a client shows one of each group.
    if let Some(field) = field
        && let Ok(value) = HeaderValue::from_str(&format!("policy; {}", plain(reason)))
    {
        headers.append(field, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_cannot_break_out_of_its_field() {
        let subject = Subject {
            verdict: Verdict::Warn,
            reason: Some("a \"b\"\r\nX: y".to_owned()),
            ..Subject::default()
        };
        let mut headers = HeaderMap::new();
        warn(Some(HeaderName::from_static("x-warning")), &subject, &mut headers);
        assert_eq!(headers["warning"], "299 - \"a 'b'X: y\"");
        assert_eq!(headers["x-warning"], "policy; a \"b\"X: y");
    }
}
