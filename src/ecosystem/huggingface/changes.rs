//! What has happened to a repository or a branch since it was described before, told from the two descriptions. Pure.
//!
//! Left out: which repository it is (`identity`).

use serde::Deserialize;

use crate::ecosystem::huggingface::info::Info;
use crate::ecosystem::huggingface::repository::MAIN;
use crate::types::event::{Kind, What};

/// What a description is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Topic {
    /// A repository as a whole, and its main branch: `hf:org/model`.
    Repository(String),
    /// A branch or tag: `hf:org/model@v1`.
    Reference(String),
    /// A commit, which never changes.
    Commit,
}

impl Topic {
    /// What it is called.
    pub(super) fn subject(&self) -> Option<String> {
        match self {
            Self::Repository(subject) | Self::Reference(subject) => Some(subject.clone()),
            Self::Commit => None,
        }
    }

    /// What is new.
    pub(super) fn changes(&self, before: Option<&Info>, after: &Info) -> Vec<What> {
        let Some(before) = before.filter(|before| before.text.is_some()) else { return Vec::new() };
        let mut told = Vec::new();
        let reference = match self {
            Self::Repository(subject) => format!("{subject}@{MAIN}"),
            Self::Reference(subject) => subject.clone(),
            Self::Commit => return told,
        };
        if let (Some(from), Some(to)) = (&before.commit, &after.commit)
            && from != to
        {
            told.push(What::new(Kind::Moved, reference).before(from.as_str()).after(to.as_str()));
        }
        if let Self::Repository(subject) = self {
            told.extend(openness(subject, before, after));
            told.extend(licence(subject, before, after));
        }
        told
    }
}

/// That it is not open to everybody any more, or is again. That a stranger has taken its name is told with its identity.
fn openness(subject: &str, before: &Info, after: &Info) -> Option<What> {
    if before.is_open() == after.is_open() || before.stranger != after.stranger {
        return None;
    }
    if after.is_open() {
        return Some(What::new(Kind::Reopened, subject));
    }
    if let Some(word) = &after.refusal {
        let kind = if word.is_absence() { Kind::Vanished } else { Kind::Withdrawn };
        let message = word.message.as_deref().unwrap_or("without a word");
        let answered = format!("the hub answers {}: {message}", word.status);
        return Some(What::new(kind, subject).detail(answered));
    }
    let state = match after {
        Info { is_disabled: true, .. } => "disabled",
        Info { is_private: true, .. } => "private",
        _ => "gated",
    };
    Some(What::new(Kind::Withdrawn, subject).after(state))
}

fn licence(subject: &str, before: &Info, after: &Info) -> Option<What> {
    let (from, to) = (before.declared_licence(), after.declared_licence());
    let told = |licence: String| if licence.is_empty() { "none".to_owned() } else { licence };
    (from != to)
        .then(|| What::new(Kind::LicenceChanged, subject).before(told(from)).after(told(to)))
}

impl Info {
    /// The licence that its card declares, in the card's words; as the hub repeats it among the tags, where there is no card. Empty: none.
    pub(super) fn declared_licence(&self) -> String {
        licence_of(self).unwrap_or_default()
    }
}

fn licence_of(info: &Info) -> Option<String> {
    #[derive(Deserialize)]
    struct Said {
        #[serde(rename = "cardData", default)]
        card: Option<Card>,
        #[serde(default)]
        tags: Vec<String>,
    }
    #[derive(Deserialize)]
    struct Card {
        license: Option<serde_json::Value>,
    }
    let said: Said = serde_json::from_str(info.text.as_deref()?).ok()?;
    let declared = said.card.and_then(|card| card.license).map(|licence| match licence {
        serde_json::Value::String(licence) => licence,
        several => several.to_string(),
    });
    let tag = || said.tags.iter().find_map(|tag| tag.strip_prefix("license:")).map(str::to_owned);
    declared.or_else(tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecosystem::huggingface::repository::Commit;
    use crate::ecosystem::huggingface::word::Word;

    fn info(commit: char, rest: &str) -> Info {
        let commit = Commit::parse(&commit.to_string().repeat(40));
        Info { text: Some(format!("{{\"id\":\"o/m\"{rest}}}")), commit, ..Info::default() }
    }

    fn told(before: Option<&Info>, after: &Info) -> Vec<String> {
        let topic = Topic::Repository("hf:o/m".to_owned());
        let events = topic.changes(before, after).into_iter();
        let short =
            |text: Option<String>| text.unwrap_or_default().chars().take(7).collect::<String>();
        events
            .map(|what| {
                let (before, after) = (short(what.before), short(what.after));
                format!("{} {} {before} {after}", what.kind, what.subject).trim_end().to_owned()
            })
            .collect()
    }

    #[test]
    fn what_becomes_of_a_repository_is_told() {
        let open = info('a', r#","tags":["license:mit"]"#);
        let check = |before: &Info, after: &Info, expected: &[&str]| {
            assert_eq!(told(Some(before), after), expected);
        };
        check(&open, &open, &[]);
        check(
            &open,
            &info('b', r#","cardData":{"license":"mit"}"#),
            &["moved hf:o/m@main aaaaaaa bbbbbbb"],
        );
        let licensed =
            info('a', r#","cardData":{"license":["mit","other"]},"tags":["license:mit"]"#);
        check(&open, &licensed, &["licence-changed hf:o/m mit [\"mit\","]);
        check(&open, &info('a', ""), &["licence-changed hf:o/m mit none"]);
        let gated = Info { is_gated: true, ..open.clone() };
        check(&open, &gated, &["withdrawn hf:o/m  gated"]);
        check(&gated, &open, &["reopened hf:o/m"]);
        check(&gated, &Info { is_private: true, ..gated.clone() }, &[]);
        let refused = |word| Info { refusal: Some(word), ..open.clone() };
        check(&open, &refused(Word::not_found()), &["vanished hf:o/m"]);
        check(&open, &refused(Word::gated()), &["withdrawn hf:o/m"]);
        assert_eq!(told(None, &open), Vec::<String>::new(), "that it appeared the cache tells");
    }

    #[test]
    fn of_a_branch_only_moves_are_told_and_of_a_commit_nothing() {
        let (before, after) = (info('a', ""), Info { is_gated: true, ..info('b', "") });
        let branch = Topic::Reference("hf:o/m@v1".to_owned());
        let told = branch.changes(Some(&before), &after);
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].kind, told[0].subject.as_str()), (Kind::Moved, "hf:o/m@v1"));
        assert_eq!(Topic::Commit.changes(Some(&before), &after), []);
    }
}
