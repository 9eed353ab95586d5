//! What the hub says of a repository's commit, and has done with the repository since: from its descriptions as they are kept.

use crate::ecosystem::huggingface::info::{Info, Seen};
use crate::ecosystem::huggingface::repository::{MAIN, Repository};
use crate::ecosystem::huggingface::word::Word;
use crate::ecosystem::naming::{Account, Shelf, Thing, Unreadable};
use crate::types::Timestamp;

/// The account of a commit.
pub fn account(
    shelf: &Shelf<'_>,
    repository: &Repository,
    thing: &Thing,
) -> Result<Account, Unreadable> {
    let whole = shelf.read(&format!("repo/{repository}"), Info::read)?;
    let of_commit = shelf.read(&format!("commit/{repository}/{}", thing.identity), Info::read)?;
    let is_commit =
        |info: &Info| info.commit.as_ref().is_some_and(|commit| commit.as_str() == thing.identity);
    let mut described = of_commit.or_else(|| whole.clone().filter(|info| is_commit(info)));
    for version in &thing.versions {
        if described.is_none() {
            let named = shelf.read(&format!("rev/{repository}/{version}"), Info::read)?;
            described = named.filter(|info| is_commit(info));
        }
    }
    let licence = described.filter(|info| info.text.is_some());
    let mut account = Account {
        licence: licence.and_then(|info| info.said().licence().map(str::to_owned)),
        ..Account::default()
    };
    if let Some(whole) = whole {
        account.identity = whole.identity.as_ref().map(|identity| identity.id.clone());
        if let Some((state, since, reason)) = state(&whole, &thing.identity) {
            account.state = Some(state);
            account.since = since;
            account.reason = reason;
        }
    }
    Ok(account)
}

/// What has become of the repository, the worst first; or else that its main branch has gone on.
fn state(info: &Info, commit: &str) -> Option<(&'static str, Option<Timestamp>, Option<String>)> {
    if let Some(stranger) = &info.stranger {
        let reason = format!("another repository ({}) has its name", stranger.identity.id);
        return Some(("replaced", Some(stranger.seen), Some(reason)));
    }
    if let Some(word) = &info.refusal {
        let state = if word.is_absence() { "deleted" } else { "refused" };
        return Some((state, info.closed_since, Some(told(word))));
    }
    let closed = match info {
        Info { is_disabled: true, .. } => Some("disabled"),
        Info { is_private: true, .. } => Some("private"),
        Info { is_gated: true, .. } => Some("gated"),
        _ => None,
    };
    if let Some(state) = closed {
        return Some((state, info.closed_since, None));
    }
    let place = info.history.iter().rposition(|seen| seen.commit.as_str() == commit)?;
    let next: &Seen = info.history.get(place + 1)?;
    let reason = format!("{MAIN} leads to {} now", info.commit.as_ref()?);
    Some(("moved", Some(next.at), Some(reason)))
}

fn told(word: &Word) -> String {
    let said = word.message.as_deref().or(word.code.as_deref()).unwrap_or("without a word");
    format!("the hub answers {}: {said}", word.status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecosystem::huggingface::repository::Commit;

    #[test]
    fn the_worst_that_has_happened_is_told() {
        let commit =
            |letter: char| Commit::parse(&letter.to_string().repeat(40)).expect("a commit");
        let seen = |letter, at| Seen { commit: commit(letter), at: Timestamp(at) };
        let info = Info {
            text: Some("{}".to_owned()),
            commit: Some(commit('b')),
            history: vec![seen('a', 1), seen('b', 2)],
            closed_since: Some(Timestamp(3)),
            ..Info::default()
        };
        let check = |info: &Info, letter: char, expected: Option<(&str, u64)>| {
            let found = state(info, commit(letter).as_str());
            let found = found.map(|(state, since, _)| (state, since.map_or(0, |since| since.0)));
            assert_eq!(found, expected, "{letter}");
        };
        check(&info, 'b', None);
        check(&info, 'a', Some(("moved", 2)));
        check(&info, 'c', None);
        let gated = Info { is_gated: true, ..info };
        check(&gated, 'a', Some(("gated", 3)));
        let refused = |word| Info { refusal: Some(word), ..gated.clone() };
        check(&refused(Word::not_found()), 'b', Some(("deleted", 3)));
        check(&refused(Word::disabled()), 'b', Some(("refused", 3)));
    }
}
