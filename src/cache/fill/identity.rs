//! Which upstream body a transfer is of, and whether a further answer still belongs to it (RFC 9110 sections 13.1.5, 14.4).

use http::{HeaderValue, StatusCode, header};

use crate::store::Progress;
use crate::types::Head;
use crate::upstream::OriginRequest;

/// What tells one upstream body from another under the same address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Identity {
    /// A strong entity tag. Weak ones do not tell bodies apart byte by byte.
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
    /// Length of the whole body.
    pub(super) total: Option<u64>,
}

/// Whether an origin gives parts of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ranges {
    /// It says so (RFC 9110 section 14.3), or has done it.
    Announced,
    /// It does not say; asking tells.
    Unknown,
    /// It says that it does not, or was asked and did not.
    No,
}

impl Ranges {
    /// What a head says.
    pub(super) fn of(head: &Head) -> Self {
        match head.text(&header::ACCEPT_RANGES) {
            _ if head.status == StatusCode::PARTIAL_CONTENT => Self::Announced,
            Some(unit) if unit.eq_ignore_ascii_case("bytes") => Self::Announced,
            Some(unit) if unit.eq_ignore_ascii_case("none") => Self::No,
            _ => Self::Unknown,
        }
    }
}

/// How an answer to a ranged request continues a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Continuation {
    /// It begins where it was asked to.
    Part,
    /// The origin sends the whole of the same body again.
    Whole,
    /// Another body, or one that cannot be told to be the same.
    Changed(String),
    /// No body at all: try again later.
    Status(u16),
}

impl Identity {
    /// What the head of a whole or partial answer says.
    pub(super) fn of(head: &Head) -> Self {
        let total = match head.status {
            StatusCode::PARTIAL_CONTENT => content_range(head).and_then(|(_, total)| total),
            _ => head.content_length(),
        };
        Self {
            etag: head.text(&header::ETAG).filter(|tag| tag.starts_with('"')).map(str::to_owned),
            last_modified: head.text(&header::LAST_MODIFIED).map(str::to_owned),
            total,
        }
    }

    /// What an earlier fill noted.
    pub(super) fn noted(progress: &Progress) -> Self {
        Self {
            etag: progress.etag.clone(),
            last_modified: progress.last_modified.clone(),
            total: progress.total,
        }
    }

    /// Whether a part can be asked for at all: something must tell a changed body, a validator now or a digest in the end.
    pub(super) const fn can_continue(&self, digest_promised: bool) -> bool {
        self.etag.is_some() || self.last_modified.is_some() || digest_promised
    }

    /// Makes `request` ask for the bytes from `first` on, up to and including `last` if given.
    pub(super) fn ask_for(&self, request: &mut OriginRequest, first: u64, last: Option<u64>) {
        let range = match last {
            Some(last) => format!("bytes={first}-{last}"),
            None => format!("bytes={first}-"),
        };
        let range = HeaderValue::try_from(range).expect("digits are a field value");
        request.headers.insert(header::RANGE, range);
        let validator = self.etag.as_ref().or(self.last_modified.as_ref());
        if let Some(value) = validator.and_then(|text| HeaderValue::from_str(text).ok()) {
            request.headers.insert(header::IF_RANGE, value);
        }
    }

    /// Reads an answer to [`Identity::ask_for`].
    pub(super) fn continues(&self, head: &Head, first: u64, promised: bool) -> Continuation {
        match head.status {
            StatusCode::PARTIAL_CONTENT => match content_range(head) {
                Some((start, _)) if start != first => {
                    Continuation::Changed(format!("asked for bytes from {first}, got from {start}"))
                }
                Some(_) => self.same(head).map_or(Continuation::Part, Continuation::Changed),
                None => Continuation::Changed("a part without a Content-Range".to_owned()),
            },
            StatusCode::OK => match self.same(head) {
                Some(change) => Continuation::Changed(change),
                None if promised || self.etag.is_some() && Self::of(head).etag == self.etag => {
                    Continuation::Whole
                }
                None => Continuation::Changed("the origin began again".to_owned()),
            },
            StatusCode::RANGE_NOT_SATISFIABLE => {
                Continuation::Changed("the body became shorter".to_owned())
            }
            status => Continuation::Status(status.as_u16()),
        }
    }

    /// How `head` contradicts this identity; what it does not say contradicts nothing.
    fn same(&self, head: &Head) -> Option<String> {
        let other = Self::of(head);
        if let (Some(was), Some(is)) = (self.total, other.total)
            && was != is
        {
            return Some(format!("its length changed from {was} to {is}"));
        }
        match (&self.etag, &other.etag) {
            (Some(was), Some(is)) if was != is => {
                Some(format!("its entity tag changed from {was} to {is}"))
            }
            _ => None,
        }
    }
}

/// A part's head as that of the whole body: what an adapter judges.
pub(crate) fn as_whole(head: &Head) -> Head {
    let mut whole = Head { status: StatusCode::OK, headers: head.headers.clone() };
    whole.headers.remove(header::CONTENT_RANGE);
    whole.headers.remove(header::CONTENT_LENGTH);
    if let Some((_, Some(total))) = content_range(head) {
        whole.headers.insert(header::CONTENT_LENGTH, total.into());
    }
    whole
}

/// First byte and total of a `Content-Range`.
pub(super) fn content_range(head: &Head) -> Option<(u64, Option<u64>)> {
    let (range, total) =
        head.text(&header::CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _last) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((first.parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: u16, fields: &[(&'static str, &str)]) -> Head {
        let mut head = Head::new(StatusCode::from_u16(status).expect("a status"));
        for (name, value) in fields {
            head.headers.insert(*name, value.parse().expect("a field value"));
        }
        head
    }

    #[test]
    fn only_the_same_body_goes_on() {
        use Continuation::{Changed, Part, Status, Whole};
        let identity = Identity { etag: Some("\"a\"".into()), last_modified: None, total: Some(9) };
        let check = |status, fields: &[(&'static str, &str)], promised, expected| {
            let got = match identity.continues(&head(status, fields), 4, promised) {
                Changed(_) => Changed(String::new()),
                other => other,
            };
            assert_eq!(got, expected, "{status} {fields:?}");
        };
        let changed = || Changed(String::new());
        check(206, &[("content-range", "bytes 4-8/9"), ("etag", "\"a\"")], false, Part);
        check(206, &[("content-range", "bytes 4-8/*")], false, Part);
        check(206, &[("content-range", "bytes 4-8/9"), ("etag", "\"b\"")], true, changed());
        check(206, &[("content-range", "bytes 4-8/10")], true, changed());
        check(206, &[("content-range", "bytes 0-8/9")], true, changed());
        check(206, &[], true, changed());
        check(200, &[("content-length", "9"), ("etag", "\"a\"")], false, Whole);
        check(200, &[("content-length", "9")], false, changed());
        check(200, &[("content-length", "9")], true, Whole);
        check(200, &[("content-length", "8"), ("etag", "\"a\"")], true, changed());
        check(416, &[], true, changed());
        check(503, &[], true, Status(503));
    }

    #[test]
    fn weak_tags_do_not_identify_a_body() {
        let weak = Identity::of(&head(200, &[("etag", "W/\"a\"")]));
        assert!(!weak.can_continue(false) && weak.can_continue(true));
    }

    #[test]
    fn a_part_is_judged_as_the_whole() {
        let part = head(206, &[("content-range", "bytes 4-8/9"), ("content-length", "5")]);
        let whole = as_whole(&part);
        assert_eq!((whole.status, whole.content_length()), (StatusCode::OK, Some(9)));
        assert!(!whole.headers.contains_key(header::CONTENT_RANGE));
    }
}
