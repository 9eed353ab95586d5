//! Reads the heads of upstream's answers: what is worth keeping and for how long.

use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode, header};

use crate::cache::lookup::{Accepted, Admission, Admit, Answer};
use crate::semantics::cache_control::{Reach, ResponseDirectives};
use crate::types::Head;

/// The longest that upstream's own word on freshness counts.
const MOST_FRESH: Duration = Duration::from_secs(24 * 60 * 60);

/// What a 403 of an upstream means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forbidden {
    Refused,
    /// Storage buckets say 403 for what does not exist.
    Absent,
}

/// Admits pages and other documents. The content type does not matter: what the body is decides when it is read.
#[derive(Debug)]
pub struct AdmitDocument {
    /// What a 403 means, per origin.
    pub forbidden: Vec<Forbidden>,
    /// Freshness where upstream does not say.
    pub fresh_for: Duration,
}

/// Admits files and what lies beside them: immutable, so kept for ever.
#[derive(Debug)]
pub struct AdmitFile {
    pub forbidden: Vec<Forbidden>,
    /// Whether no digest is known that would tell a web page from the file.
    pub is_unverified: bool,
}

impl Admit for AdmitDocument {
    fn admit(&self, index: usize, answer: &Answer<'_>) -> Admission {
        match verdict(&self.forbidden, index, answer.head) {
            Ok(()) => Admission::Accept(Accepted {
                fresh_for: freshness(answer.head).unwrap_or(self.fresh_for),
                ..Accepted::default()
            }),
            Err(admission) => admission,
        }
    }
}

impl Admit for AdmitFile {
    fn admit(&self, index: usize, answer: &Answer<'_>) -> Admission {
        if let Err(admission) = verdict(&self.forbidden, index, answer.head) {
            return admission;
        }
        let kind = answer.head.text(&header::CONTENT_TYPE).unwrap_or_default();
        if self.is_unverified && kind.trim_start().to_ascii_lowercase().starts_with("text/html") {
            let reason = "a web page came in place of a file whose digest is not known".to_owned();
            return Admission::Fail { reason };
        }
        Admission::Accept(Accepted {
            fresh_for: Duration::MAX,
            headers: kept(answer.head, &[header::LAST_MODIFIED]),
            ..Accepted::default()
        })
    }
}

fn verdict(forbidden: &[Forbidden], index: usize, head: &Head) -> Result<(), Admission> {
    match head.status {
        StatusCode::OK => Ok(()),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(Admission::Absent),
        StatusCode::FORBIDDEN if forbidden.get(index) == Some(&Forbidden::Absent) => {
            Err(Admission::Absent)
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Admission::Refused),
        other => Err(Admission::Fail { reason: format!("upstream answered {other}") }),
    }
}

/// How long upstream wants it trusted (RFC 9111 section 4.2.1), less the time it spent in caches before us.
fn freshness(head: &Head) -> Option<Duration> {
    let said = ResponseDirectives::read(&head.headers);
    if said.no_store || said.no_cache == Reach::Everything {
        return Some(Duration::ZERO);
    }
    let lifetime = Duration::from_secs(said.s_maxage.or(said.max_age)?);
    let age = head.text(&header::AGE).and_then(|age| age.trim().parse().ok()).unwrap_or(0);
    Some(lifetime.saturating_sub(Duration::from_secs(age)).min(MOST_FRESH))
}

fn kept(head: &Head, names: &[HeaderName]) -> HeaderMap {
    let present =
        names.iter().filter_map(|name| Some((name.clone(), head.headers.get(name)?.clone())));
    present.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Timestamp;

    fn head(status: u16, fields: &[(HeaderName, &str)]) -> Head {
        let mut head = Head::new(StatusCode::from_u16(status).expect("a status"));
        for (name, value) in fields {
            head.headers.append(name, value.parse().expect("a field value"));
        }
        head
    }

    fn admitted(admit: &dyn Admit, head: &Head) -> Result<Duration, String> {
        match admit.admit(0, &Answer { hops: &[], head, now: Timestamp::from_secs(1) }) {
            Admission::Accept(accepted) => Ok(accepted.fresh_for),
            Admission::Absent => Err("absent".to_owned()),
            Admission::Refused => Err("refused".to_owned()),
            Admission::Fail { reason } => Err(reason),
            Admission::Pieces(..) => Err("pieces".to_owned()),
        }
    }

    #[test]
    fn statuses_are_told_apart() {
        let page = AdmitDocument { forbidden: vec![Forbidden::Refused], fresh_for: Duration::ZERO };
        let bucket =
            AdmitDocument { forbidden: vec![Forbidden::Absent], fresh_for: Duration::ZERO };
        for (status, expected, in_bucket) in [
            (404, "absent", "absent"),
            (410, "absent", "absent"),
            (401, "refused", "refused"),
            (403, "refused", "absent"),
            (204, "upstream answered 204 No Content", "upstream answered 204 No Content"),
            (
                429,
                "upstream answered 429 Too Many Requests",
                "upstream answered 429 Too Many Requests",
            ),
            (
                503,
                "upstream answered 503 Service Unavailable",
                "upstream answered 503 Service Unavailable",
            ),
        ] {
            let head = head(status, &[]);
            assert_eq!(admitted(&page, &head), Err(expected.to_owned()));
            assert_eq!(admitted(&bucket, &head), Err(in_bucket.to_owned()));
        }
    }

    #[test]
    fn freshness_is_upstreams_word_within_bounds() {
        let fallback = Duration::from_secs(600);
        let page = AdmitDocument { forbidden: Vec::new(), fresh_for: fallback };
        let check = |fields: &[(HeaderName, &str)], seconds: u64| {
            assert_eq!(
                admitted(&page, &head(200, fields)),
                Ok(Duration::from_secs(seconds)),
                "{fields:?}"
            );
        };
        check(&[], 600);
        check(&[(header::CACHE_CONTROL, "public")], 600);
        check(&[(header::CACHE_CONTROL, "max-age=60, public")], 60);
        check(&[(header::CACHE_CONTROL, "max-age=60"), (header::CACHE_CONTROL, "S-MaxAge=30")], 30);
        check(&[(header::CACHE_CONTROL, "max-age=600"), (header::AGE, "200")], 400);
        check(&[(header::CACHE_CONTROL, "max-age=600"), (header::AGE, "900")], 0);
        check(&[(header::CACHE_CONTROL, "max-age=99999999")], 86_400);
        check(&[(header::CACHE_CONTROL, "no-cache")], 0);
        check(&[(header::CACHE_CONTROL, "max-age=soon")], 0);
    }

    #[test]
    fn a_web_page_is_not_trusted_on_first_use() {
        let html = head(200, &[(header::CONTENT_TYPE, "Text/HTML; charset=utf-8")]);
        let file = |is_unverified| AdmitFile { forbidden: Vec::new(), is_unverified };
        assert!(admitted(&file(true), &html).is_err());
        assert_eq!(admitted(&file(false), &html), Ok(Duration::MAX));
        assert_eq!(admitted(&file(true), &head(200, &[])), Ok(Duration::MAX));
    }
}
