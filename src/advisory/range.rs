//! Ranges of versions, as records give them: events along the order of versions, at which something begins or ends.

use std::cmp::Ordering;

use super::record::WireEvent;
use super::scheme::{Scheme, Version};

/// What one range covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Range {
    /// Every version there is. Most records of malicious packages are so, and need no memory for it.
    Everything,
    /// In order of versions.
    Events(Box<[Event]>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    kind: Kind,
    /// `None`: before all versions.
    at: Option<Version>,
}

/// In the order in which those of one version count: what ends there ends before anything begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Fixed,
    LastAffected,
    Introduced,
    /// Only versions below one of these are spoken of at all.
    Limit,
}

impl Range {
    /// Reads a range's events; `None` for one that covers nothing that can be told here.
    pub(super) fn read(events: &[WireEvent], scheme: Scheme) -> Option<Self> {
        let mut read: Vec<Event> = events.iter().flat_map(|event| one(event, scheme)).collect();
        let is_start = |event: &Event| event.kind == Kind::Introduced && event.at.is_none();
        if !read.iter().any(|event| event.kind == Kind::Introduced) {
            return None;
        }
        if read.iter().all(is_start) {
            return Some(Self::Everything);
        }
        if scheme == Scheme::Exact {
            return None;
        }
        read.sort_by(|one, other| match (&one.at, &other.at) {
            (None, None) => one.kind.cmp(&other.kind),
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => {
                a.order(b).unwrap_or(Ordering::Equal).then(one.kind.cmp(&other.kind))
            }
        });
        Some(Self::Events(read.into()))
    }

    /// Whether it covers a version, by the algorithm of the OSV schema. One that has no place in the order is covered by what covers everything alone.
    pub(super) fn covers(&self, version: &Version) -> bool {
        let events = match (self, version) {
            (Self::Everything, _) => return true,
            (Self::Events(_), Version::Text(_)) => return false,
            (Self::Events(events), Version::Python(_)) => events,
        };
        let mut is_covered = false;
        let mut limits = events.iter().filter(|event| event.kind == Kind::Limit).peekable();
        let is_limited = limits.peek().is_some()
            && !limits.any(|limit| limit.compared(version) == Some(Ordering::Less));
        for event in events {
            let Some(order) = event.compared(version) else { continue };
            match event.kind {
                Kind::Introduced if order != Ordering::Less => is_covered = true,
                Kind::Fixed if order != Ordering::Less => is_covered = false,
                Kind::LastAffected if order == Ordering::Greater => is_covered = false,
                _ => {}
            }
        }
        is_covered && !is_limited
    }

    /// The first version after `version` at which it ends by a fix.
    pub(super) fn fix_after(&self, version: &Version) -> Option<&Version> {
        let Self::Events(events) = self else { return None };
        let fixes = events.iter().filter(|event| event.kind == Kind::Fixed);
        let mut later =
            fixes.filter(|event| event.compared(version).is_some_and(|order| order.is_lt()));
        later.next()?.at.as_ref()
    }
}

impl Event {
    /// Where a version stands to it. One that speaks of local builds compares them; for all others a local build is what it was made from.
    fn compared(&self, version: &Version) -> Option<Ordering> {
        match &self.at {
            None => Some(Ordering::Greater),
            Some(at) if at.is_local() => version.order(at),
            Some(at) => version.public().order(at),
        }
    }
}

/// The events that an entry stands for: one by the schema. A version that cannot be read begins and ends nothing.
fn one(wire: &WireEvent, scheme: Scheme) -> Vec<Event> {
    let mut found = Vec::with_capacity(1);
    let mut add = |kind, text: &Option<String>| {
        let Some(text) = text.as_deref() else { return };
        let at = match (kind, text, scheme) {
            (Kind::Introduced, "0", _) => None,
            (Kind::Limit, "*", _) => return,
            (_, text, Scheme::Exact) => Some(Version::Text(text.into())),
            (_, text, Scheme::Python) => match scheme.version(text) {
                Version::Text(_) => return,
                version => Some(version),
            },
        };
        found.push(Event { kind, at });
    };
    add(Kind::Introduced, &wire.introduced);
    add(Kind::Fixed, &wire.fixed);
    add(Kind::LastAffected, &wire.last_affected);
    add(Kind::Limit, &wire.limit);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(events: &str) -> Option<Range> {
        let events: Vec<WireEvent> = serde_json::from_str(events).expect("events");
        Range::read(&events, Scheme::Python)
    }

    fn covered(events: &str, versions: &[&str]) -> Vec<bool> {
        let range = range(events).expect("a range");
        versions.iter().map(|text| range.covers(&Scheme::Python.version(text))).collect()
    }

    #[test]
    fn what_says_nothing_is_no_range() {
        for events in [
            "[]",
            "[{}]",
            r#"[{"fixed": "1"}]"#,
            r#"[{"introduced": "not a version"}, {"fixed": "1"}]"#,
        ] {
            assert_eq!(range(events), None, "{events}");
        }
        let events: Vec<WireEvent> =
            serde_json::from_str(r#"[{"introduced": "0"}, {"fixed": "1"}]"#).expect("events");
        assert_eq!(Range::read(&events, Scheme::Exact), None, "no order, no range");
    }

    #[test]
    fn versions_between_events_are_covered() {
        let check = |events: &str, versions: &[&str], expected: &[bool]| {
            assert_eq!(covered(events, versions), expected, "{events}");
        };
        check(r#"[{"introduced": "0"}]"#, &["0.0.1", "99", "2004d"], &[true, true, true]);
        check(
            r#"[{"introduced": "0"}, {"fixed": "1.2"}]"#,
            &["1.1", "1.2rc1", "1.2", "1.2.0", "1.2+cu118", "1.1+cu118", "2004d"],
            &[true, true, false, false, false, true, false],
        );
        check(
            r#"[{"introduced": "2"}, {"last_affected": "2.5"}]"#,
            &["1.9", "2.0", "2.5", "2.5+local", "2.5.1"],
            &[false, true, true, true, false],
        );
        check(
            r#"[{"fixed": "4"}, {"introduced": "3"}, {"introduced": "0"}, {"fixed": "1"}]"#,
            &["0.5", "1", "2", "3", "3.9", "4"],
            &[true, false, false, true, true, false],
        );
        check(
            r#"[{"introduced": "0"}, {"fixed": "1"}, {"introduced": "1"}]"#,
            &["1", "2"],
            &[true, true],
        );
        check(
            r#"[{"introduced": "0"}, {"limit": "2"}, {"limit": "1"}]"#,
            &["0.1", "1.5", "2"],
            &[true, true, false],
        );
        check(r#"[{"introduced": "0"}, {"limit": "*"}]"#, &["9"], &[true]);
        check(
            r#"[{"introduced": "0"}, {"fixed": "1+patch2"}]"#,
            &["1", "1+patch1", "1+patch2"],
            &[true, true, false],
        );
        check(r#"[{"introduced": "0"}, {"fixed": "nonsense"}]"#, &["9"], &[true]);
    }

    #[test]
    fn the_next_fix_is_told() {
        let range =
            range(r#"[{"introduced": "0"}, {"fixed": "1"}, {"introduced": "3"}, {"fixed": "4"}]"#);
        let check = |version: &str, expected: Option<&str>| {
            let version = Scheme::Python.version(version);
            let fix = range.as_ref().and_then(|range| range.fix_after(&version));
            assert_eq!(fix.map(Version::spelling).as_deref(), expected, "{version:?}");
        };
        check("0.5", Some("1"));
        check("3.1", Some("4"));
        check("4", None);
    }
}
