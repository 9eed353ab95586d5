//! What an index says of a release, and has done with it since: from the project's page, the older JSON, and the metadata beside its files.

use serde_json::{Value, json};

use crate::ecosystem::naming::{Account, Shelf, Thing, Unreadable};
use crate::ecosystem::pypi::page::{Attributes, File, Page, Spell, Yanked};
use crate::ecosystem::pypi::{facts, listing};
use crate::policy::State;

/// The longest metadata that is read, in bytes.
const MOST_METADATA_BYTES: usize = 1 << 20;

/// The account of a release, whose files are `files`.
pub fn account(
    shelf: &Shelf<'_>,
    thing: &Thing,
    page: &Page,
    files: &[&File],
) -> Result<Account, Unreadable> {
    let mut account = state(page, files);
    account.identity = page
        .serial
        .as_ref()
        .map(|serial| format!("{serial}, the index's number of its last change"));
    for version in &thing.versions {
        if let Some(text) = shelf.body(&format!("legacy/{}/{version}", thing.group))? {
            let json: Value = serde_json::from_slice(&text).unwrap_or_default();
            account.licence = facts::licence(&json["info"]);
        }
    }
    for file in files {
        if account.licence.is_some() {
            break;
        }
        let sidecar = listing::sidecar_key(&listing::file_key(shelf.space, shelf.audience, file));
        account.licence = shelf.contents.body(&sidecar)?.and_then(|text| declared(&text));
    }
    Ok(account)
}

/// What has become of it: of files to which different things happened, the best off counts.
fn state(page: &Page, files: &[&File]) -> Account {
    let mut account = Account::default();
    let rank = |state: &State| match state {
        State::Listed => 0,
        State::Yanked => 1,
        State::Deleted { .. } | State::ProjectDeleted { .. } => 2,
        State::Quarantined | State::Malicious => 3,
    };
    let best = files.iter().map(|file| (page.state(file), file)).min_by_key(|(one, _)| rank(one));
    let Some((state, file)) = best else { return account };
    (account.state, account.since) = match state {
        State::Listed => (None, None),
        State::Yanked => (Some("yanked"), yanked_since(file)),
        State::Deleted { since } | State::ProjectDeleted { since } => {
            (Some("deleted"), Some(since))
        }
        State::Quarantined | State::Malicious => {
            (Some("quarantined"), page.status.last().map(|spell| spell.from))
        }
    };
    account.reason = match state {
        State::Yanked => match &file.attributes().yanked {
            Yanked::Because(reason) => Some(reason.to_string()),
            Yanked::Yes | Yanked::No => None,
        },
        State::Quarantined => {
            page.current_status().and_then(|one| one.reason.as_deref()).map(str::to_owned)
        }
        State::Deleted { .. } | State::ProjectDeleted { .. } => {
            page.notice.as_deref().map(str::to_owned)
        }
        State::Listed | State::Malicious => None,
    };
    account
}

/// Since when the index is known to advise against a file.
fn yanked_since(file: &File) -> Option<crate::types::Timestamp> {
    let is_yanked = |spell: &&Spell<Attributes>| spell.value.yanked != Yanked::No;
    file.spells.iter().rev().take_while(is_yanked).last().map(|spell| spell.from)
}

/// The licence that core metadata declares.
fn declared(metadata: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(metadata.get(..MOST_METADATA_BYTES).unwrap_or(metadata)).ok()?;
    let head = text.split("\n\n").next()?.split("\r\n\r\n").next()?;
    let (mut classifiers, mut info) = (Vec::new(), json!({}));
    for (name, value) in head.lines().filter_map(|line| line.split_once(':')) {
        match name.to_ascii_lowercase().as_str() {
            "classifier" => classifiers.push(value.trim()),
            "license-expression" => info["license_expression"] = value.trim().into(),
            "license" => info["license"] = value.trim().into(),
            _ => {}
        }
    }
    info["classifiers"] = classifiers.into();
    facts::licence(&info)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_declares_a_licence_as_the_older_json_does() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(declared(text.as_bytes()).as_deref(), expected, "{text}");
        };
        check("Name: six\nLicense: MIT\n\nLicense: X", Some("MIT"));
        check(
            "Name: six\r\nLicense-Expression: MIT OR Apache-2.0\r\nLicense: X\r\n\r\nbody",
            Some("MIT OR Apache-2.0"),
        );
        check(
            "Classifier: Topic :: X\nClassifier: License :: OSI Approved :: MIT License\n",
            Some("MIT"),
        );
        check("Name: six\nLicense: UNKNOWN\n", None);
        check("", None);
        assert_eq!(declared(b"License: \xff"), None);
    }
}
