//! What is kept, for people: one line for each thing, or all there is to say of one.

use std::ops::ControlFlow;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::ecosystem::naming::{Account, Part, Role, Shelf, Thing};
use crate::keep::pins::record_key;
use crate::keep::walk::{Aisle, Located};
use crate::keep::{KeepError, Keeper, Parts, Sight};
use crate::store::Entry;
use crate::types::{Audience, CacheKey, Presence, Timestamp};

/// Parts of one thing that are told one by one; a data set may have half a million.
const MOST_PARTS: usize = 10_000;

/// What is to be listed.
#[derive(Debug, Clone)]
pub struct Query {
    /// What names begin with; empty for all.
    pub prefix: String,
    /// [`Page::next`] of the page before.
    pub after: Option<String>,
    /// A page ends behind the group with which it has so many.
    pub limit: usize,
    pub sight: Sight,
}

/// A page of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    pub entries: Vec<Item>,
    /// Where the next page begins, if there may be one.
    pub next: Option<String>,
}

/// A thing of which something is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// `hf:org/model@main`.
    pub name: String,
    /// Other versions by which it goes.
    pub also: Vec<String>,
    pub kind: String,
    /// A commit, a digest; empty where the name says it all.
    pub identity: String,
    /// `public`, `service` (opened by Larder's own credential) or `client` (by a client's).
    pub audience: String,
    /// Contents that it is made up of, as far as that is known, and those that are kept.
    pub files: u64,
    pub kept_files: u64,
    /// Their sizes, as far as they are known.
    pub bytes: u64,
    pub kept_bytes: u64,
    /// RFC 3339.
    pub first_kept: Option<String>,
    /// When upstream last confirmed any of it.
    pub validated: Option<String>,
    /// `present`, `gone` or `withdrawn`: the worst that upstream says of its parts.
    pub presence: String,
    pub pinned: bool,
}

/// All there is to say of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    #[serde(flatten)]
    pub item: Item,
    #[serde(default)]
    pub upstream: Upstream,
    pub parts: Vec<ShownPart>,
    /// Parts beyond those.
    pub more_parts: u64,
}

/// What upstream says of a thing, and has done with it since.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// As the thing declares it.
    pub licence: Option<String>,
    /// What upstream calls that which it belongs to, whatever its name is: a repository's number, a project's serial, a registry.
    pub identity: Option<String>,
    /// `present`, `moved`, `yanked`, `deleted`, `quarantined`, `gated`, `private`, `disabled`, `refused`, `replaced`; or `gone` and `withdrawn`, as for its parts.
    pub state: String,
    pub since: Option<String>,
    pub reason: Option<String>,
}

/// One entry that makes up a thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownPart {
    pub name: String,
    /// `reference`, `manifest`, `content` or `note`.
    pub role: String,
    pub digest: Option<String>,
    /// What is kept of it, or else as much as its manifest says.
    pub bytes: Option<u64>,
    pub kept: bool,
    pub pinned: bool,
    pub first_kept: Option<String>,
    pub validated: Option<String>,
    pub presence: Option<String>,
    /// Where it came from, when its name does not tell.
    pub origin: Option<String>,
}

/// What a name leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Showing {
    pub things: Vec<Shown>,
}

impl Keeper {
    /// A page of what is kept.
    pub async fn list(&self, query: Query) -> Result<Page, KeepError> {
        self.look(move |parts| parts.list(&query)).await
    }

    /// Everything that is kept under a name.
    pub async fn show(&self, name: String, sight: Sight) -> Result<Showing, KeepError> {
        self.look(move |parts| parts.show(&name, sight)).await
    }
}

impl Parts {
    fn list(&self, query: &Query) -> Result<Page, KeepError> {
        let cursor = query.after.as_deref().map(read_cursor).transpose()?;
        let scheme = query.prefix.split_once(':').map(|(scheme, _)| scheme);
        if scheme.is_some_and(|scheme| self.words.iter().all(|words| words.scheme() != scheme)) {
            return Err(self.no_name(&query.prefix));
        }
        let kept = self.kept();
        let mut page = Page { entries: Vec::new(), next: None };
        for aisle in self.aisles(scheme, query.sight)? {
            let start = aisle.place("");
            let after = match &cursor {
                Some(cursor) if cursor.as_str().starts_with(start.as_str()) => Some(cursor.name()),
                Some(cursor) if start < *cursor => continue,
                _ => None,
            };
            let walked = self.each_group(&aisle, after, |group| {
                if page.entries.len() >= query.limit {
                    return Ok(ControlFlow::Break(()));
                }
                let shelf = aisle.shelf(&kept);
                let is_told = query.sight == Sight::Everything || aisle.words.is_told(group);
                let things = is_told.then(|| aisle.words.things(&shelf, group)).transpose()?;
                for thing in things.into_iter().flatten() {
                    if fits(&thing, &query.prefix) {
                        page.entries.push(self.item(&aisle, &shelf, &thing, &mut |_, _| ())?);
                    }
                }
                page.next = Some(write_cursor(&aisle.place(group)));
                Ok(ControlFlow::Continue(()))
            });
            if walked?.is_break() {
                return Ok(page);
            }
        }
        page.next = None;
        Ok(page)
    }

    fn show(&self, name: &str, sight: Sight) -> Result<Showing, KeepError> {
        let named = self.named(name, sight)?;
        if named.things.is_empty() {
            return Err(KeepError::Nothing(name.to_owned()));
        }
        let shown = named.things.iter().map(|located| self.shown(located));
        Ok(Showing { things: shown.collect::<Result<_, _>>()? })
    }

    fn shown(&self, located: &Located<'_>) -> Result<Shown, KeepError> {
        let kept = self.kept();
        let shelf = located.aisle.shelf(&kept);
        let (mut parts, mut more_parts) = (Vec::new(), 0);
        let item = self.item(
            &located.aisle,
            &shelf,
            &located.thing,
            &mut |part, entry| match parts.len() < MOST_PARTS {
                true => parts.push(self.shown_part(part, entry)),
                false => more_parts += 1,
            },
        )?;
        let account = located.aisle.words.account(&shelf, &located.thing)?;
        Ok(Shown { upstream: upstream(account, &item.presence), item, parts, more_parts })
    }

    fn shown_part(&self, part: &Part, entry: Option<&Entry>) -> ShownPart {
        ShownPart {
            name: part.name.clone(),
            role: part.role.name().to_owned(),
            digest: part.digest.map(|digest| digest.to_string()),
            bytes: entry.map(|entry| entry.body.len()).or(part.size),
            kept: entry.is_some(),
            pinned: entry.is_some() && self.store.is_pinned(&part.key).unwrap_or(false),
            first_kept: entry.map(|entry| entry.first_kept.to_rfc3339_millis()),
            validated: entry.map(|entry| entry.validated.to_rfc3339_millis()),
            presence: entry.map(|entry| presence_name(entry.presence).to_owned()),
            origin: entry.and_then(|entry| entry.origin.as_deref()).map(str::to_owned),
        }
    }

    /// Sums a thing up; `visit` sees each part with its entry.
    pub(super) fn item(
        &self,
        aisle: &Aisle<'_>,
        shelf: &Shelf<'_>,
        thing: &Thing,
        visit: &mut dyn FnMut(&Part, Option<&Entry>),
    ) -> Result<Item, KeepError> {
        let mut item = Item {
            name: thing.name.to_string(),
            also: thing.versions.iter().skip(1).cloned().collect(),
            kind: thing.kind.to_owned(),
            identity: thing.identity.clone(),
            audience: audience_name(&aisle.audience).to_owned(),
            files: 0,
            kept_files: 0,
            bytes: 0,
            kept_bytes: 0,
            first_kept: None,
            validated: None,
            presence: String::new(),
            pinned: self.store.get(&record_key(aisle, thing))?.is_some(),
        };
        let mut first_kept: Option<Timestamp> = None;
        let mut validated: Option<Timestamp> = None;
        let mut presence = Presence::Present;
        let mut failed = None;
        aisle.words.parts(shelf, thing, &mut |part| {
            let entry = match self.store.get(&part.key) {
                Ok(entry) => entry,
                Err(error) => {
                    failed.get_or_insert(error);
                    return;
                }
            };
            let entry = entry.as_deref();
            if part.role == Role::Content {
                item.files += 1;
                item.bytes +=
                    part.size.or_else(|| entry.map(|entry| entry.body.len())).unwrap_or(0);
            }
            if let Some(entry) = entry {
                if part.role == Role::Content {
                    item.kept_files += 1;
                    item.kept_bytes += entry.body.len();
                }
                let earliest = first_kept.map_or(entry.first_kept, |one| one.min(entry.first_kept));
                first_kept = Some(earliest);
                validated = validated.max(Some(entry.validated));
                presence = worse(presence, entry.presence);
            }
            visit(&part, entry);
        })?;
        item.first_kept = first_kept.map(Timestamp::to_rfc3339_millis);
        item.validated = validated.map(Timestamp::to_rfc3339_millis);
        item.presence = presence_name(presence).to_owned();
        failed.map_or(Ok(item), |error| Err(error.into()))
    }
}

fn upstream(account: Account, presence: &str) -> Upstream {
    let Account { licence, identity, state, since, reason } = account;
    let state = state.unwrap_or(presence).to_owned();
    Upstream { licence, identity, state, since: since.map(Timestamp::to_rfc3339_millis), reason }
}

/// Whether any name of a thing begins with a prefix, with or without its scheme.
fn fits(thing: &Thing, prefix: &str) -> bool {
    let name = &thing.name;
    let group = format!("{}:{}", name.scheme, name.group);
    let mark: String = name.version.chars().take_while(|one| "@:=".contains(*one)).collect();
    let mut names = thing
        .versions
        .iter()
        .map(|version| format!("{group}{mark}{version}"))
        .chain([name.to_string(), format!("{group}@{}", thing.identity)]);
    let bare = |full: &str| full.split_once(':').is_some_and(|(_, rest)| rest.starts_with(prefix));
    names.any(|full| full.starts_with(prefix) || bare(&full))
}

const fn audience_name(audience: &Audience) -> &'static str {
    match audience {
        Audience::Public => "public",
        Audience::Service => "service",
        Audience::Credential(_) => "client",
    }
}

const fn presence_name(presence: Presence) -> &'static str {
    match presence {
        Presence::Present => "present",
        Presence::Gone { .. } => "gone",
        Presence::Withdrawn { .. } => "withdrawn",
    }
}

const fn worse(one: Presence, other: Presence) -> Presence {
    match (one, other) {
        (Presence::Present, other) => other,
        (Presence::Gone { .. }, withdrawn @ Presence::Withdrawn { .. }) => withdrawn,
        (one, _) => one,
    }
}

fn write_cursor(place: &CacheKey) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(place.as_str())
}

fn read_cursor(text: &str) -> Result<CacheKey, KeepError> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| KeepError::Cursor)?;
    let text = String::from_utf8(bytes).map_err(|_| KeepError::Cursor)?;
    CacheKey::from_encoded(&text).ok_or(KeepError::Cursor)
}
