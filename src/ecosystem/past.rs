//! Answers as of an instant of the past: what a request names, what an answer rests on, and what to say where nothing is known.
//!
//! An answer follows from observations of Larder's own that were made up to that instant, so it stays the same for ever. Where upstream itself dates what it
//! offers, the time before the first observation is derived from that. Nothing that may have changed is asked for anew. Left out: what was seen, which every
//! adapter keeps with its documents (lists as `listed` has them), and rights and policy, which are those of today.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::types::Timestamp;

/// The instant that was asked for, and what the answer rests on: `2026-03-01T23:59:59.999Z; basis=observed`.
pub const AS_OF: HeaderName = HeaderName::from_static("larder-as-of");

/// When what is told was observed (RFC 7089 section 2.1.1).
pub const MEMENTO_DATETIME: HeaderName = HeaderName::from_static("memento-datetime");

/// Begins the name of an instant where an address cannot hold `@`: in names of images, and of hosts.
pub const AT: &str = "at-";

/// What an answer as of an instant rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    pub at: Timestamp,
    pub basis: Basis,
}

/// How it is known what was so at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Larder saw it: the last observation up to then.
    Observed { seen: Timestamp },
    /// Upstream dates what it offers, and Larder had not looked yet.
    Derived,
    /// It can never have been anything else: a commit, a digest.
    Immutable,
}

/// Why it is not known what was so at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// Larder never looked.
    Unseen,
    /// Larder looked for the first time later.
    SeenSince(Timestamp),
    /// There was more history than is kept; it begins here.
    CutBefore(Timestamp),
    /// It did not exist yet: it began then, by upstream's own word.
    Unborn(Timestamp),
    /// Of this kind of thing no history is kept.
    NoHistory,
}

impl Past {
    pub const fn immutable(at: Timestamp) -> Self {
        Self { at, basis: Basis::Immutable }
    }

    /// Tells it in a head.
    pub fn write(&self, headers: &mut HeaderMap) {
        let basis = match self.basis {
            Basis::Observed { seen } => {
                if let Ok(value) = HeaderValue::from_str(&seen.to_http_date()) {
                    headers.insert(MEMENTO_DATETIME, value);
                }
                "observed"
            }
            Basis::Derived => "derived",
            Basis::Immutable => "immutable",
        };
        let text = format!("{}; basis={basis}", self.at.to_rfc3339());
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(AS_OF, value);
        }
    }
}

impl Unknown {
    /// What does not exist is absent; what is not known is no reason to take it for absent.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Unborn(_) => StatusCode::NOT_FOUND,
            Self::Unseen | Self::SeenSince(_) | Self::CutBefore(_) | Self::NoHistory => {
                StatusCode::CONFLICT
            }
        }
    }

    /// In words for people; `what` is the name of the thing.
    pub fn detail(self, what: &str, at: Timestamp) -> String {
        let at = at.to_rfc3339();
        match self {
            Self::Unseen => {
                format!("Larder has never seen {what}, so what it was at {at} is not known.")
            }
            Self::SeenSince(first) => format!(
                "Larder first saw {what} at {}; what it was at {at} is not known.",
                first.to_rfc3339()
            ),
            Self::CutBefore(first) => format!(
                "Larder's history of {what} was cut and begins at {}; what it was at {at} is no longer known.",
                first.to_rfc3339()
            ),
            Self::Unborn(first) => {
                format!("{what} did not exist at {at}; it began at {}.", first.to_rfc3339())
            }
            Self::NoHistory => {
                format!("No history is kept of {what}, so what it was at {at} is not known.")
            }
        }
    }
}

/// A value that something had from an instant on.
pub trait Dated {
    fn from(&self) -> Timestamp;
}

/// The last of `history`, which is in order of time, up to an instant. `is_cut`: its beginning was dropped.
pub fn last_up_to<T: Dated>(history: &[T], is_cut: bool, at: Timestamp) -> Result<&T, Unknown> {
    let later = history.partition_point(|one| one.from() <= at);
    match (later.checked_sub(1).and_then(|last| history.get(last)), history.first()) {
        (Some(last), _) => Ok(last),
        (None, Some(first)) if is_cut => Err(Unknown::CutBefore(first.from())),
        (None, Some(first)) => Err(Unknown::SeenSince(first.from())),
        (None, None) => Err(Unknown::Unseen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Dated for Timestamp {
        fn from(&self) -> Timestamp {
            *self
        }
    }

    #[test]
    fn the_last_observation_counts() {
        let history = [Timestamp(10), Timestamp(20), Timestamp(20), Timestamp(30)];
        let check = |at, is_cut, expected: Result<u64, Unknown>| {
            let found = last_up_to(&history, is_cut, Timestamp(at)).map(|one| one.0);
            assert_eq!(found, expected, "{at}");
        };
        check(9, false, Err(Unknown::SeenSince(Timestamp(10))));
        check(9, true, Err(Unknown::CutBefore(Timestamp(10))));
        check(10, false, Ok(10));
        check(19, true, Ok(10));
        check(20, false, Ok(20));
        check(u64::MAX, false, Ok(30));
        assert_eq!(last_up_to::<Timestamp>(&[], false, Timestamp(1)), Err(Unknown::Unseen));
    }

    #[test]
    fn an_answer_says_what_it_rests_on() {
        let mut headers = HeaderMap::new();
        let at = Timestamp::from_secs(1_772_323_200);
        Past { at, basis: Basis::Observed { seen: Timestamp::from_secs(784_111_777) } }
            .write(&mut headers);
        assert_eq!(headers[AS_OF], "2026-03-01T00:00:00Z; basis=observed");
        assert_eq!(headers[MEMENTO_DATETIME], "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
