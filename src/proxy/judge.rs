//! Two questions before anything is got: may this client have it, and may anybody.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use hyper::ext::ReasonPhrase;

use crate::ecosystem::{Access, Ask, Ecosystem, Reply, Subject};
use crate::policy::Verdict;
use crate::proxy::deliver::Content;
use crate::proxy::words;

/// When a client is to ask again where a fact could not be found out, in seconds.
const RETRY_AFTER_SECS: u64 = 10;

/// The longest reason that is put into a head.
const MOST_CHARACTERS: usize = 600;

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

/// The refusal in the words of the mount's clients; where it only waits for a fact, in a form that they try again after. pip shows nothing but the reason phrase of a
/// status, which HTTP/1 alone has.
pub(crate) fn refused(mount: &dyn Ecosystem, ask: &Ask, subject: &Subject) -> Response<Content> {
    metrics::counter!("larder_policy_refusals_total").increment(1);
    let reason = subject.reason.as_deref().unwrap_or("A rule of this server refuses it.");
    let waits = subject.judged.as_ref().is_some_and(|judged| judged.decision.is_pending());
    let status = if waits { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::FORBIDDEN };
    let reply = mount.refuse(ask, status, reason);
    let mut response = words::replied(reply, &ask.method, mount.id());
    if waits {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_SECS.into());
    }
    if let Ok(phrase) = ReasonPhrase::try_from(Bytes::from(plain(reason))) {
        response.extensions_mut().insert(phrase);
    }
    response
}

/// Marks what passes with a warning, or although it is hidden elsewhere.
pub(crate) fn warn(field: Option<HeaderName>, subject: &Subject, headers: &mut HeaderMap) {
    if !matches!(subject.verdict, Verdict::Warn | Verdict::Hide) {
        return;
    }
    let shown = plain(subject.reason.as_deref().unwrap_or("a rule warns of this"));
    let warning = format!("199 larder \"{}\"", shown.replace(['"', '\\'], "'"));
    if let Ok(value) = HeaderValue::from_str(&warning) {
        headers.append(header::WARNING, value);
    }
    // The text before the semicolon groups warnings; a client shows one of each group.
    if let Some(field) = field
        && let Ok(value) = HeaderValue::from_str(&format!("policy; {shown}"))
    {
        headers.append(field, value);
    }
}

/// A text as it can stand in a head.
fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii() && !c.is_control()).take(MOST_CHARACTERS).collect()
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
        assert_eq!(headers["warning"], "199 larder \"a 'b'X: y\"");
        assert_eq!(headers["x-warning"], "policy; a \"b\"X: y");
    }
}
