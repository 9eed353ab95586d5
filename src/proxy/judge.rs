//! Two questions before anything is got: may this client have it, and may anybody.

use http::{HeaderMap, HeaderValue, StatusCode};

use crate::ecosystem::{Access, Ask, Reply, Subject};
use crate::policy::Verdict;

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

/// Whether the verdict lets the subject through.
pub(crate) fn passes(subject: &Subject) -> Result<(), Reply> {
    match subject.verdict {
        Verdict::Allow | Verdict::Warn | Verdict::Hide => Ok(()),
        Verdict::Hold | Verdict::Deny => {
            metrics::counter!("larder_policy_refusals_total").increment(1);
            let reason = subject.reason.as_deref().unwrap_or("A rule of this server refuses it.");
            Err(Reply::problem(StatusCode::FORBIDDEN, "Refused by policy", reason))
        }
    }
}

/// Marks what passes with a warning.
pub(crate) fn warn(subject: &Subject, headers: &mut HeaderMap) {
    if subject.verdict != Verdict::Warn {
        return;
    }
    let reason = subject.reason.as_deref().unwrap_or("a rule warns of this");
    let shown: String = reason.chars().filter(|c| c.is_ascii() && !c.is_control()).collect();
    let warning = format!("199 larder \"{}\"", shown.replace(['"', '\\'], "'"));
    if let Ok(value) = HeaderValue::from_str(&warning) {
        headers.append(http::header::WARNING, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_strict_verdicts_refuse() {
        let check = |verdict, refused: bool| {
            let subject = Subject { verdict, ..Subject::default() };
            assert_eq!(passes(&subject).is_err(), refused, "{verdict:?}");
        };
        check(Verdict::Allow, false);
        check(Verdict::Warn, false);
        check(Verdict::Hide, false);
        check(Verdict::Hold, true);
        check(Verdict::Deny, true);
    }

    #[test]
    fn a_warning_cannot_break_out_of_its_field() {
        let subject = Subject {
            verdict: Verdict::Warn,
            reason: Some("a \"b\"\r\nX: y".to_owned()),
            ..Subject::default()
        };
        let mut headers = HeaderMap::new();
        warn(&subject, &mut headers);
        assert_eq!(headers["warning"], "199 larder \"a 'b'X: y\"");
    }
}
