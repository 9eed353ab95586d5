//! Which repository has a name: the hub's own number for it, which a new one of the same name does not have.
//!
//! The number is remembered at first sight. When the name comes back with another, whoever had it has deleted or moved it, and somebody may have taken it: the
//! stranger's branches are not taken for moves of the known ones. What was kept is served on, as for a repository that was withdrawn, until
//! somebody accepts the stranger. A name that leads elsewhere by the hub's own redirect, to the same number, is another name of the same.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cache::lookup::{Document, Kept, Parsed};
use crate::ecosystem::huggingface::config::Settings;
use crate::ecosystem::huggingface::info::{self, Info, Rule};
use crate::ecosystem::huggingface::naming::SCHEME;
use crate::ecosystem::huggingface::reach::Reach;
use crate::ecosystem::huggingface::repository::{Repository, RepositoryType};
use crate::types::Timestamp;
use crate::types::event::{Kind, What};

/// The longest number that is believed.
const MOST_BYTES: usize = 64;

/// Dates before which the hub did not note when a repository was made begin so: it says this of all that were there.
const UNDATED: &str = "2022-03-02T23:29:0";

/// A repository, whatever it is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `_id` in the hub's descriptions.
    pub id: String,
    /// When it was made, where that is known.
    pub created: Option<Timestamp>,
}

/// A repository that has a known one's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stranger {
    pub identity: Identity,
    /// When it was first seen.
    pub seen: Timestamp,
}

/// What becomes of a name that another repository has taken, `identity` in the settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdentityRule {
    /// It stands for the known repository until somebody accepts the other.
    #[default]
    Pin,
    /// It stands for whatever has it.
    Follow,
}

impl Identity {
    /// Reads what the hub says. What is no plain word names nothing.
    pub fn of(id: Option<String>, created: Option<&str>) -> Option<Self> {
        let is_plain = |id: &String| {
            !id.is_empty()
                && id.len() <= MOST_BYTES
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let created = created.filter(|text| !text.starts_with(UNDATED));
        Some(Self { id: id.filter(is_plain)?, created: created.and_then(Timestamp::from_text) })
    }
}

/// What happened to the identity behind a name: another repository stands there, or the same one is called otherwise.
pub(super) fn changes(repository: &Repository, previous: Option<&Info>, now: &Info) -> Vec<What> {
    let Some(previous) = previous else { return Vec::new() };
    let subject = match repository.kind {
        RepositoryType::Models => format!("{SCHEME}:{}", repository.id()),
        _ => format!("{SCHEME}:{repository}"),
    };
    let id = |info: &Info| info.identity.as_ref().map(|identity| identity.id.clone());
    let newcomer = |info: &Info| info.stranger.as_ref().map(|one| one.identity.id.clone());
    let mut told = Vec::new();
    if let (Some(known), Some(stranger)) = (id(now), newcomer(now))
        && newcomer(previous).as_ref() != Some(&stranger)
    {
        let what = What::new(Kind::IdentityChanged, subject.clone()).before(known).after(stranger);
        told.push(what.detail("what was kept of the known repository is served on"));
    }
    if let (Some(known), Some(now_known)) = (id(previous), id(now))
        && known != now_known
    {
        let what = What::new(Kind::IdentityChanged, subject.clone()).before(known).after(now_known);
        told.push(what.detail("the other repository has taken over"));
    }
    if previous.text != now.text
        && let (Some(before), Some(after)) = (previous.called(), now.called())
        && before != after
    {
        told.push(What::new(Kind::Renamed, subject).before(before).after(after));
    }
    told
}

/// What is known of the identity behind a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub identity: Option<Identity>,
    pub stranger: Option<Stranger>,
    /// Whether the stranger was accepted, and takes over as soon as the hub is asked again.
    pub is_accepted: bool,
}

/// The documents that remember who has a name, as they are kept: that of everybody, and Larder's own where it asks with a token.
pub fn documents(settings: &Arc<Settings>, repository: &Repository) -> Vec<Document> {
    let service = settings.service.as_ref().map(|_| Reach::service(settings));
    let reaches = [Reach::public(settings)].into_iter().chain(service);
    reaches.map(|reach| info::kept_document(&reach, repository)).collect()
}

/// Reads one of [`documents`].
pub fn standing(parsed: &Parsed) -> Option<Standing> {
    let Info { identity, stranger, accepted, .. } = parsed.get::<Info>()?.clone();
    let is_accepted =
        stranger.as_ref().is_some_and(|one| accepted == Some(one.identity.id.clone()));
    Some(Standing { identity, stranger, is_accepted })
}

/// One of [`documents`] with a stranger let in: what the hub says of it next is taken over. `None`: no such stranger is at the door.
pub fn accepting(parsed: &Parsed, id: &str) -> Option<Kept> {
    let info = parsed.get::<Info>()?.clone();
    let stranger = info.stranger.as_ref().filter(|stranger| stranger.identity.id == id)?;
    let accepted = Some(stranger.identity.id.clone());
    let info = Info { accepted, ..info };
    Some(Kept::alone(info.to_bytes(), Parsed::new(info)))
}

impl Info {
    /// The repository that this description is of, if that is none of those that may have the name.
    pub(super) fn stranger(
        &self,
        previous: Option<&Self>,
        rule: &Rule,
        now: Timestamp,
    ) -> Option<Stranger> {
        let identity = self.identity.as_ref()?;
        let known = previous.and_then(|previous| previous.identity.as_ref());
        let known = rule.expected.as_ref().or_else(|| known.map(|known| &known.id))?;
        let accepted = previous.and_then(|previous| previous.accepted.as_ref());
        if rule.identity == IdentityRule::Follow
            || *known == identity.id
            || accepted == Some(&identity.id)
        {
            return None;
        }
        let seen = previous.and_then(|previous| previous.stranger.as_ref());
        let seen = seen.filter(|seen| seen.identity.id == identity.id).map(|seen| seen.seen);
        Some(Stranger { identity: identity.clone(), seen: seen.unwrap_or(now) })
    }
}
