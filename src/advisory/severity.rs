//! How bad something is: a CVSS score, from its vector, or from a word where there is no vector.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::record::WireSeverity;

/// A CVSS score, from 0.0 to 10.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score(u8);

/// The least score of each word by the CVSS rating scale; `MODERATE` is what GitHub's advisories say for it.
const WORDS: [(&str, u8); 5] =
    [("CRITICAL", 90), ("HIGH", 70), ("MODERATE", 40), ("MEDIUM", 40), ("LOW", 1)];

impl Score {
    /// In tenths; beyond 10.0 it is 10.0.
    pub fn of_tenths(tenths: u64) -> Self {
        Self(u8::try_from(tenths.min(100)).unwrap_or(100))
    }

    pub const fn tenths(self) -> u64 {
        self.0 as u64
    }

    /// The score of a vector of CVSS 2, 3 or 4. One that comes to nothing lacks something, and is none.
    pub fn of_vector(vector: &str) -> Option<Self> {
        let score = cvss::Cvss::from_str(vector.trim()).ok()?.score();
        // Between 0 and 100 by the standard; a cast saturates, so nothing else can come of it.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
        let tenths = (score * 10.0).round() as u64;
        (tenths > 0).then(|| Self::of_tenths(tenths))
    }

    /// The least score that a word stands for.
    pub fn of_word(word: &str) -> Option<Self> {
        let known = WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word.trim()));
        known.map(|(_, tenths)| Self(*tenths))
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 10, self.0 % 10)
    }
}

impl Serialize for Score {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / 10.0)
    }
}

/// The score that entries say: of the newest version of CVSS among them, the highest.
pub(super) fn of_entries<'a>(entries: impl Iterator<Item = &'a WireSeverity>) -> Option<Score> {
    let scored = entries.filter_map(|entry| Some((&entry.kind, Score::of_vector(&entry.score)?)));
    scored.max().map(|(_, score)| score)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_vector_has_no_score() {
        for text in ["", "9.8", "CVSS:3.1/AV:N", "CVSS:9.0/AV:N/AC:L"] {
            assert_eq!(Score::of_vector(text), None, "{text}");
        }
        assert_eq!(Score::of_word("URGENT"), None);
    }

    #[test]
    fn vectors_and_words_come_to_scores() {
        let check = |vector: &str, expected: &str| {
            let score = Score::of_vector(vector).map(|score| score.to_string());
            assert_eq!(score.as_deref(), Some(expected), "{vector}");
        };
        check("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "9.8");
        check("CVSS:3.0/AV:L/AC:H/PR:L/UI:R/S:U/C:L/I:N/A:N", "2.2");
        check("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", "10.0");
        check("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", "9.3");
        assert_eq!(Score::of_word("moderate"), Some(Score(40)));
    }

    #[test]
    fn the_newest_standard_speaks() {
        let entry = |kind: &str, score: &str| WireSeverity {
            kind: kind.to_owned(),
            score: score.to_owned(),
        };
        let entries = [
            entry("CVSS_V3", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"),
            entry("CVSS_V4", "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"),
            entry("CVSS_V5", "nonsense"),
        ];
        assert_eq!(of_entries(entries.iter()), Some(Score(93)));
    }
}
