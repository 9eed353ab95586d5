//! Pins: things that no eviction takes, and that are removed by hand only by who insists.
//!
//! A pin is an entry of Larder's own beside the flags of the entries that it protects: it remembers which thing is meant, so that two pinned
//! things may share entries, and what comes to a thing later can be protected, too.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ecosystem::naming::{Contents, Thing};
use crate::keep::listing::Item;
use crate::keep::walk::{Aisle, Located};
use crate::keep::{KeepError, Keeper, Parts, Sight, id_of};
use crate::store::{Change, Entry, Stored};
use crate::types::event::Kind;
use crate::types::{Audience, CacheKey, Timestamp};

/// The space of Larder's own entries; no mount is called so.
const SPACE: &str = "larder";

/// Flags that one commit changes, so that the commits of clients have their turn in between.
const MOST_AT_ONCE: usize = 1024;

/// Pins looked at together.
const RUN: usize = 256;

/// A pin, as it is kept and as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The best name of the thing when it was pinned.
    pub name: String,
    /// What it is within its group.
    pub identity: String,
    /// Who asked for it: the name of an access token.
    pub by: Option<String>,
    /// Since when (RFC 3339).
    pub since: String,
    /// Space, audience and group, as a key.
    place: String,
}

/// What is pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pins {
    pub pins: Vec<Pin>,
}

/// What a change of pins came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// The things, as they are kept now: what is not kept is not protected.
    pub things: Vec<Item>,
    /// Entries whose protection changed.
    pub entries: u64,
}

/// The key of a thing's pin.
pub(super) fn record_key(aisle: &Aisle<'_>, thing: &Thing) -> CacheKey {
    key_of(&aisle.place(&thing.group), id_of(thing))
}

fn key_of(place: &CacheKey, identity: &str) -> CacheKey {
    // The separator within the place is replaced, so the text stays one part.
    CacheKey::new(SPACE, &Audience::Public, &format!("pin/{}#{identity}", place.as_str()))
}

/// Entries whose flags change.
struct Flags {
    items: Vec<Item>,
    /// Of the pins that are made or ended.
    names: Vec<String>,
    keys: Vec<CacheKey>,
    records: Vec<Change>,
}

impl Keeper {
    /// What is pinned.
    pub async fn pins(&self, sight: Sight) -> Result<Pins, KeepError> {
        let pins = self.look(move |parts| parts.pins()).await?;
        let is_seen = |pin: &Pin| {
            let place = CacheKey::from_encoded(&pin.place);
            sight == Sight::Everything || place.is_some_and(|place| place.is_public())
        };
        Ok(Pins { pins: pins.into_iter().filter(is_seen).collect() })
    }

    /// Protects all that is kept under a name.
    pub async fn pin(&self, name: String, by: Option<String>) -> Result<Pinned, KeepError> {
        let now = self.0.clock.now();
        let asker = by.clone();
        let flags = self.look(move |parts| parts.to_pin(&name, asker.as_deref(), now)).await?;
        let names = flags.names.clone();
        let pinned = self.change(flags, true).await?;
        self.tell(Kind::Pinned, &names, by.as_deref(), "").await;
        Ok(pinned)
    }

    /// Ends the protection of all that a name leads to, but for what another pin protects as well. `by`: the name of whoever asks for it.
    pub async fn unpin(&self, name: String, by: Option<&str>) -> Result<Pinned, KeepError> {
        let flags = self.look(move |parts| parts.to_unpin(&name)).await?;
        let names = flags.names.clone();
        let pinned = self.change(flags, false).await?;
        self.tell(Kind::Unpinned, &names, by, "").await;
        Ok(pinned)
    }

    /// Protects what has come to pinned things since, or has come back to them.
    pub async fn renew_pins(&self) -> Result<(), KeepError> {
        let keys = self.look(Parts::unprotected).await?;
        let flags = Flags { items: Vec::new(), names: Vec::new(), keys, records: Vec::new() };
        self.change(flags, true).await.map(|_| ())
    }

    async fn change(&self, flags: Flags, pinned: bool) -> Result<Pinned, KeepError> {
        let Flags { items, keys, records, .. } = flags;
        for some in keys.chunks(MOST_AT_ONCE) {
            let pin = |key: &CacheKey| Change::Pin { key: key.clone(), pinned };
            self.0.store.commit(some.iter().map(pin).collect()).await?;
        }
        // Last: a pin that is not remembered is made again, one that is remembered counts as done.
        self.0.store.commit(records).await?;
        Ok(Pinned { things: items, entries: keys.len() as u64 })
    }
}

impl Parts {
    /// All pins, in the order of their places.
    fn pins(&self) -> Result<Vec<Pin>, KeepError> {
        let prefix = CacheKey::new(SPACE, &Audience::Public, "pin/");
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let keys = self.store.scan(prefix.as_str(), after.as_ref(), RUN)?;
            let Some(last) = keys.last() else { return Ok(found) };
            for key in &keys {
                let body = self.kept().body(key)?;
                let read = body.and_then(|body| serde_json::from_slice::<Pin>(&body).ok());
                found.extend(read);
            }
            after = Some(last.clone());
        }
    }

    fn to_pin(&self, name: &str, by: Option<&str>, now: Timestamp) -> Result<Flags, KeepError> {
        let named = self.named(name, Sight::Everything)?;
        if named.things.is_empty() {
            return Err(KeepError::Nothing(name.to_owned()));
        }
        let mut keys = HashSet::new();
        let (mut items, mut names, mut records) = (Vec::new(), Vec::new(), Vec::new());
        for Located { aisle, thing } in &named.things {
            self.protected(aisle, thing, &mut keys)?;
            let kept = self.kept();
            let item = self.item(aisle, &aisle.shelf(&kept), thing, &mut |_, _| ())?;
            items.push(Item { pinned: true, ..item });
            let pin = Pin {
                name: thing.name.to_string(),
                identity: id_of(thing).to_owned(),
                by: by.map(str::to_owned),
                since: now.to_rfc3339_millis(),
                place: aisle.place(&thing.group).as_str().to_owned(),
            };
            names.push(pin.name.clone());
            records.push(Change::Put { key: record_key(aisle, thing), entry: entry(&pin, now) });
        }
        let mut keys: Vec<CacheKey> = keys.into_iter().collect();
        self.retain(&mut keys, |is_pinned| !is_pinned)?;
        Ok(Flags { items, names, keys, records })
    }

    fn to_unpin(&self, name: &str) -> Result<Flags, KeepError> {
        let named = self.named(name, Sight::Everything)?;
        let meant: HashSet<CacheKey> =
            named.things.iter().map(|one| record_key(&one.aisle, &one.thing)).collect();
        let key = |pin: &Pin| {
            CacheKey::from_encoded(&pin.place).map(|place| key_of(&place, &pin.identity))
        };
        // A thing may be gone by now, and its pin be all that is left.
        let is_meant =
            |pin: &Pin| pin.name == name || key(pin).is_some_and(|key| meant.contains(&key));
        let (end, stay): (Vec<Pin>, Vec<Pin>) = self.pins()?.into_iter().partition(is_meant);
        if end.is_empty() {
            return Err(KeepError::NotPinned(name.to_owned()));
        }
        let (mut keys, mut others) = (HashSet::new(), HashSet::new());
        for pin in &end {
            self.of_pin(pin, &mut keys)?;
        }
        for pin in &stay {
            self.of_pin(pin, &mut others)?;
        }
        let mut keys: Vec<CacheKey> = keys.difference(&others).cloned().collect();
        self.retain(&mut keys, |is_pinned| is_pinned)?;
        let kept = self.kept();
        let ended = named.things.iter().filter(|one| {
            end.iter().any(|pin| key(pin) == Some(record_key(&one.aisle, &one.thing)))
        });
        let items = ended.map(|Located { aisle, thing }| {
            let item = self.item(aisle, &aisle.shelf(&kept), thing, &mut |_, _| ())?;
            Ok(Item { pinned: false, ..item })
        });
        let items = items.collect::<Result<_, KeepError>>()?;
        let records = end.iter().filter_map(key).map(|key| Change::Remove { key }).collect();
        let names = end.into_iter().map(|pin| pin.name).collect();
        Ok(Flags { items, names, keys, records })
    }

    /// Entries of pinned things that are not protected yet.
    fn unprotected(&self) -> Result<Vec<CacheKey>, KeepError> {
        let mut keys = HashSet::new();
        for pin in self.pins()? {
            self.of_pin(&pin, &mut keys)?;
        }
        let mut keys: Vec<CacheKey> = keys.into_iter().collect();
        self.retain(&mut keys, |is_pinned| !is_pinned)?;
        Ok(keys)
    }

    /// What a pin protects.
    fn of_pin(&self, pin: &Pin, keys: &mut HashSet<CacheKey>) -> Result<(), KeepError> {
        let Some(place) = CacheKey::from_encoded(&pin.place) else { return Ok(()) };
        let words = self.words.iter().find(|words| words.space() == place.space());
        let (Some(words), Some(audience)) = (words, place.audience()) else { return Ok(()) };
        let aisle = Aisle { words: &**words, audience };
        let kept = self.kept();
        let things = aisle.words.things(&aisle.shelf(&kept), place.name())?;
        let meant = things.iter().filter(|thing| id_of(thing) == pin.identity);
        meant.into_iter().try_for_each(|thing| self.protected(&aisle, thing, keys))
    }

    /// The entries of a thing, and of its group as a whole: without the page that lists it, a file is not found.
    fn protected(
        &self,
        aisle: &Aisle<'_>,
        thing: &Thing,
        keys: &mut HashSet<CacheKey>,
    ) -> Result<(), KeepError> {
        let kept = self.kept();
        let shelf = aisle.shelf(&kept);
        aisle.words.parts(&shelf, thing, &mut |part| {
            keys.insert(part.key);
        })?;
        aisle.words.about(&shelf, &thing.group, &mut |key| {
            keys.insert(key);
        })?;
        Ok(())
    }

    /// Leaves the keys of entries whose flag is as wanted.
    fn retain(
        &self,
        keys: &mut Vec<CacheKey>,
        is_wanted: impl Fn(bool) -> bool,
    ) -> Result<(), KeepError> {
        let mut left = Vec::with_capacity(keys.len());
        for key in keys.drain(..) {
            if self.store.get(&key)?.is_some() && is_wanted(self.store.is_pinned(&key)?) {
                left.push(key);
            }
        }
        left.sort();
        *keys = left;
        Ok(())
    }
}

fn entry(pin: &Pin, now: Timestamp) -> Arc<Entry> {
    let text = serde_json::to_vec(pin).expect("texts have a form in JSON");
    Arc::new(Entry::new(Stored::Inline(text.into()), now))
}
