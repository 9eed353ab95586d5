//! Which instant of the past a request is about: `/@2026-03-01/simple/`, `/@prod/...`, `at-2026-03-01.larder.example`.
//!
//! An instant is a date, a time, or the name of a snapshot. It stands first in the path, behind a token's prefix only, so that whatever is made of the address leads
//! back to the same instant; or in the first label of the host, for clients that take no path; or within a mount's own path, where an adapter finds it.
//! Left out: what was so then (`ecosystem::past`, and the adapters).

use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use percent_encoding::percent_decode_str;

use crate::ecosystem::past::{AT, Unknown};
use crate::ecosystem::{Ask, Ecosystem, Reply, Serve};
use crate::types::Timestamp;

/// Begins an instant in a path.
const PATH_PREFIX: &str = "/@";

/// The longest name of an instant.
const LONGEST_BYTES: usize = 128;

/// The instant that the name of a snapshot stands for.
pub type Named = Arc<dyn Fn(&str) -> Option<Timestamp> + Send + Sync>;

/// Reads instants.
pub(crate) struct Instants(Named);

/// An address taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address<'a> {
    pub(crate) path: &'a str,
    pub(crate) host: Option<&'a str>,
    /// As written, if one is.
    pub(crate) instant: Option<&'a str>,
    /// What stands before the path for it: `/@2026-03-01`.
    pub(crate) prefix: &'a str,
}

/// Why there is no answer as of what was written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InstantError {
    #[error(
        "{0:?} names no instant: write a date as in @2026-03-01, which means the end of that day (UTC), a time as in @2026-03-01T12:00:00Z, or the name \
         of a snapshot of this server"
    )]
    Unknown(String),
    #[error("{written:?} is not over yet: it ends at {}, and now it is {}", .at.to_rfc3339(), .now.to_rfc3339())]
    Future { written: String, at: Timestamp, now: Timestamp },
}

impl<'a> Address<'a> {
    /// Takes apart the path behind a token's prefix, and the host without its port.
    pub(crate) fn of(path: &'a str, host: Option<&'a str>) -> Self {
        if let Some(after) = path.strip_prefix(PATH_PREFIX) {
            let end = after.find('/').unwrap_or(after.len());
            let (prefix, rest) = path.split_at(PATH_PREFIX.len() + end);
            let rest = if rest.is_empty() { "/" } else { rest };
            return Self { path: rest, host, instant: Some(&after[..end]), prefix };
        }
        let label = |host: &'a str| {
            let (label, rest) = host.split_once('.')?;
            Some((label.strip_prefix(AT)?, rest))
        };
        match host.and_then(label) {
            Some((instant, rest)) => {
                Self { path, host: Some(rest), instant: Some(instant), prefix: "" }
            }
            None => Self { path, host, instant: None, prefix: "" },
        }
    }
}

impl Instants {
    pub(crate) fn new(named: Named) -> Self {
        Self(named)
    }

    /// The instant that a request for `mount` is about, if any: the one that its address has, else one within the mount's own path.
    pub(crate) fn meant(
        &self,
        written: Option<&str>,
        mount: &dyn Ecosystem,
        ask: &Ask,
    ) -> Result<Option<Timestamp>, Reply> {
        let Some(written) = written.or_else(|| mount.instant_in(&ask.path)) else {
            return Ok(None);
        };
        if !mount.has_past() {
            let detail = "No history is kept of what is served here; ask without an instant.";
            return Err(mount.refuse(ask, StatusCode::NOT_FOUND, detail));
        }
        match self.read(written, ask.now) {
            Ok(at) => {
                metrics::counter!("larder_past_requests_total").increment(1);
                Ok(Some(at))
            }
            Err(error) => Err(mount.refuse(ask, error.status(), &error.to_string())),
        }
    }

    /// The instant of this name.
    fn read(&self, written: &str, now: Timestamp) -> Result<Timestamp, InstantError> {
        let unknown = || InstantError::Unknown(written.chars().take(LONGEST_BYTES).collect());
        let text = percent_decode_str(written).decode_utf8().map_err(|_| unknown())?;
        if text.len() > LONGEST_BYTES {
            return Err(unknown());
        }
        let at = Timestamp::from_text(&text).or_else(|| (self.0)(&text)).ok_or_else(unknown)?;
        match at > now {
            true => Err(InstantError::Future { written: text.into_owned(), at, now }),
            false => Ok(at),
        }
    }
}

impl InstantError {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Future { .. } => StatusCode::BAD_REQUEST,
        }
    }
}

/// What passes through as it comes is of today: it is no answer to who asks for another day.
pub(crate) fn check(mount: &dyn Ecosystem, ask: &Ask, serve: &Serve) -> Result<(), Reply> {
    match (ask.as_of, serve) {
        (Some(at), Serve::Exchange { .. }) => {
            let unknown = Unknown::NoHistory;
            Err(mount.refuse(ask, unknown.status(), &unknown.detail("this", at)))
        }
        _ => Ok(()),
    }
}

impl fmt::Debug for Instants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Instants")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_stands_first_in_the_path_or_the_host() {
        let check = |path, host, expected: (&str, Option<&str>, Option<&str>, &str)| {
            let Address { path: rest, host: real, instant, prefix } = Address::of(path, host);
            assert_eq!((rest, real, instant, prefix), expected, "{path} {host:?}");
        };
        check("/simple/six/", Some("h.test"), ("/simple/six/", Some("h.test"), None, ""));
        check("/@2026-03-01/v2/", None, ("/v2/", None, Some("2026-03-01"), "/@2026-03-01"));
        check("/@prod", None, ("/", None, Some("prod"), "/@prod"));
        check("/@/x", None, ("/x", None, Some(""), "/@"));
        check("/x/@2026-03-01", None, ("/x/@2026-03-01", None, None, ""));
        check("/v2/", Some("at-prod.h.test"), ("/v2/", Some("h.test"), Some("prod"), ""));
        check("/v2/", Some("at-prod"), ("/v2/", Some("at-prod"), None, ""));
        check("/v2/", Some("data.at-x.test"), ("/v2/", Some("data.at-x.test"), None, ""));
        check("/@a/", Some("at-b.test"), ("/", Some("at-b.test"), Some("a"), "/@a"));
    }

    #[test]
    fn instants_are_dates_times_or_names() {
        let instants =
            Instants::new(Arc::new(|name| (name == "prod").then_some(Timestamp::from_secs(7))));
        let now = Timestamp::from_text("2026-03-02T12:00:00Z").expect("an instant");
        let check = |written: &str, expected: Option<u64>| {
            let read = instants.read(written, now).ok().map(Timestamp::secs);
            assert_eq!(read, expected, "{written}");
        };
        check("prod", Some(7));
        check("1970-01-01", Some(86_399));
        check("1970-01-01T00%3A01%3A00Z", Some(60));
        for wrong in ["", "none", "%ff", "2026-13-01", "2026-03-02", "2027-01-01"] {
            check(wrong, None);
        }
        check(&"a".repeat(1000), None);
    }
}
