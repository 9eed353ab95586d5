//! A list that is remembered: when each of its entries came and went, as far as somebody looked.
//!
//! So it can be told what was on it at an instant. A list that upstream did not change stays equal, and so do its bytes. Left out: what stands on it, and what it
//! is kept as.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ecosystem::past::{Basis, Past, Unknown};
use crate::types::Timestamp;

/// A list with its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed<T> {
    /// Since when its history is whole.
    since: Timestamp,
    /// What left it earlier was dropped.
    is_cut: bool,
    /// Those that stand on it now, in upstream's order, and behind them those that do not.
    stays: Vec<Stay<T>>,
}

/// A stretch of time in which an entry stood on the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stay<T> {
    value: T,
    from: Timestamp,
    end: Option<Timestamp>,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self::undated(Vec::new())
    }
}

impl<T> Listed<T> {
    /// A list of which is not known when anything came; as lists were kept before they were remembered.
    pub fn undated(values: Vec<T>) -> Self {
        let stay = |value| Stay { value, from: Timestamp::NEVER, end: None };
        let stays = values.into_iter().map(stay).collect();
        Self { since: Timestamp::NEVER, is_cut: false, stays }
    }

    /// What stands on it now.
    pub fn now(&self) -> impl Iterator<Item = &T> {
        self.stays.iter().filter(|stay| stay.end.is_none()).map(|stay| &stay.value)
    }

    /// What stood on it at an instant for which [`Listed::past`] is known.
    pub fn at(&self, at: Timestamp) -> impl Iterator<Item = &T> {
        let stood = move |stay: &&Stay<T>| stay.from <= at && stay.end.is_none_or(|end| end > at);
        self.stays.iter().filter(stood).map(|stay| &stay.value)
    }

    /// What is known of it at an instant, and since when it was so.
    pub fn past(&self, at: Timestamp) -> Result<Past, Unknown> {
        match self.since {
            Timestamp::NEVER => return Err(Unknown::Unseen),
            since if at < since && self.is_cut => return Err(Unknown::CutBefore(since)),
            since if at < since => return Err(Unknown::SeenSince(since)),
            _ => {}
        }
        let changes = self.stays.iter().flat_map(|stay| [Some(stay.from), stay.end]).flatten();
        let seen = changes.filter(|change| *change <= at).max().unwrap_or(self.since);
        Ok(Past { at, basis: Basis::Observed { seen: seen.max(self.since) } })
    }
}

impl<T: Clone + Ord> Listed<T> {
    /// The list as upstream has it now, with the history of the one before. Of entries that left it, at most `most` are remembered.
    #[must_use]
    pub fn succeed(previous: Option<&Self>, fresh: Vec<T>, now: Timestamp, most: usize) -> Self {
        let known = previous.filter(|known| known.since != Timestamp::NEVER);
        let stays = known.map_or(&[][..], |known| &known.stays);
        let mut open: BTreeMap<&T, Timestamp> = BTreeMap::new();
        for stay in stays.iter().filter(|stay| stay.end.is_none()) {
            open.insert(&stay.value, stay.from);
        }
        let mut next = Self {
            since: known.map_or(now, |known| known.since),
            is_cut: known.is_some_and(|known| known.is_cut),
            stays: Vec::with_capacity(fresh.len()),
        };
        for value in fresh {
            let from = open.remove(&value).unwrap_or(now);
            next.stays.push(Stay { value, from, end: None });
        }
        let left = |stay: &&Stay<T>| stay.end.is_some() || open.contains_key(&stay.value);
        let ended = |stay: &Stay<T>| Stay { end: Some(stay.end.unwrap_or(now)), ..stay.clone() };
        let mut gone: Vec<Stay<T>> = stays.iter().filter(left).map(ended).collect();
        gone.sort_by_key(|stay| std::cmp::Reverse(stay.end));
        for stay in gone.drain(most.min(gone.len())..) {
            next.is_cut = true;
            next.since = next.since.max(stay.end.unwrap_or(now));
        }
        next.stays.append(&mut gone);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(listed: &Listed<&'static str>, at: u64) -> Result<String, Unknown> {
        let at = Timestamp(at);
        let past = listed.past(at)?;
        let mut all: Vec<&str> = listed.at(at).copied().collect();
        all.sort_unstable();
        let Basis::Observed { seen } = past.basis else { return Ok("odd".to_owned()) };
        Ok(format!("{} since {}", all.join(" "), seen.0))
    }

    #[test]
    fn a_list_is_told_as_it_was() {
        let mut listed: Option<Listed<&'static str>> = None;
        for (at, all) in
            [(10, vec!["a", "b"]), (20, vec!["b", "c"]), (30, vec!["b", "c"]), (40, vec!["a"])]
        {
            listed = Some(Listed::succeed(listed.as_ref(), all, Timestamp(at), 10));
        }
        let listed = listed.expect("it was seen");
        let check = |at, expected: Result<&str, Unknown>| {
            assert_eq!(told(&listed, at), expected.map(str::to_owned), "{at}");
        };
        check(9, Err(Unknown::SeenSince(Timestamp(10))));
        check(10, Ok("a b since 10"));
        check(19, Ok("a b since 10"));
        check(20, Ok("b c since 20"));
        check(40, Ok("a since 40"));
        assert_eq!(listed.now().copied().collect::<Vec<_>>(), ["a"]);
        assert_eq!(Listed::succeed(Some(&listed), vec!["a"], Timestamp(50), 10), listed);
    }

    #[test]
    fn what_left_long_ago_is_dropped_and_said_to_be() {
        let mut listed: Option<Listed<&'static str>> = None;
        for (at, all) in [(10, vec!["a"]), (20, vec!["b"]), (30, vec!["c"]), (40, vec!["d"])] {
            listed = Some(Listed::succeed(listed.as_ref(), all, Timestamp(at), 1));
        }
        let listed = listed.expect("it was seen");
        assert_eq!(told(&listed, 29), Err(Unknown::CutBefore(Timestamp(30))));
        assert_eq!(told(&listed, 30), Ok("c since 30".to_owned()));
    }

    #[test]
    fn of_a_list_without_dates_nothing_is_known_until_it_is_seen_again() {
        let former = Listed::undated(vec!["a"]);
        assert_eq!(told(&former, 10), Err(Unknown::Unseen));
        assert_eq!(former.now().copied().collect::<Vec<_>>(), ["a"]);
        let seen = Listed::succeed(Some(&former), vec!["a"], Timestamp(20), 1);
        assert_eq!(told(&seen, 10), Err(Unknown::SeenSince(Timestamp(20))));
        assert_eq!(told(&seen, 20), Ok("a since 20".to_owned()));
    }
}
