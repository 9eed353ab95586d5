//! What a registry lets us ask: its own count of pulls, shared by all who pull from it.
//!
//! A registry that limits pulls says in its answers how many are left (`ratelimit-remaining: 20;w=21600`). Below a reserve, kept tags are
//! served without asking, so that what is left is there for images that nobody has yet.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderName;

use crate::types::{Head, Timestamp};

const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");

/// How long a count is believed: then one question finds out how it stands. Such a question is free where counts are told.
const BELIEVED_FOR: Duration = Duration::from_secs(10 * 60);

/// How many pulls a registry has left for us, by its last word.
#[derive(Debug)]
pub struct Budget {
    registry: String,
    /// `u64::MAX`: it never said.
    remaining: AtomicU64,
    noted: AtomicU64,
}

impl Budget {
    pub fn new(registry: &str) -> Self {
        Self {
            registry: registry.to_owned(),
            remaining: AtomicU64::new(u64::MAX),
            noted: AtomicU64::new(0),
        }
    }

    /// Reads an answer's head.
    pub fn note(&self, head: &Head, now: Timestamp) {
        let Some(remaining) = head.text(&REMAINING).and_then(count) else { return };
        self.remaining.store(remaining, Ordering::Relaxed);
        self.noted.store(now.0, Ordering::Relaxed);
        let registry = self.registry.clone();
        metrics::gauge!("larder_oci_pulls_remaining", "registry" => registry).set(remaining as f64);
    }

    /// Whether fewer than `reserve` pulls are left, by a word that is still believed.
    pub fn is_low(&self, reserve: u64, now: Timestamp) -> bool {
        let noted = Timestamp(self.noted.load(Ordering::Relaxed));
        self.remaining.load(Ordering::Relaxed) < reserve && now.since(noted) < BELIEVED_FOR
    }
}

/// `20;w=21600` as 20.
fn count(text: &str) -> Option<u64> {
    text.split(';').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, StatusCode};

    use super::*;

    #[test]
    fn a_low_count_is_believed_for_a_while() {
        let budget = Budget::new("hub.example");
        let start = Timestamp::from_secs(1_000_000);
        let check = |told: Option<&'static str>, at: Timestamp, expected: bool| {
            let mut head = Head::new(StatusCode::OK);
            if let Some(told) = told {
                head.headers.insert(REMAINING, HeaderValue::from_static(told));
            }
            budget.note(&head, start);
            assert_eq!(budget.is_low(10, at), expected, "{told:?}");
        };
        check(None, start, false);
        check(Some("nonsense"), start, false);
        check(Some("20;w=21600"), start, false);
        check(Some("9;w=21600"), start, true);
        check(None, start, true);
        check(None, start.plus(BELIEVED_FOR), false);
        check(Some("10"), start, false);
    }
}
