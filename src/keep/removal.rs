//! Removing by hand: first a plan, which can be looked at, then what it says.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::ecosystem::naming::{Role, Thing};
use crate::keep::pins::record_key;
use crate::keep::walk::{Aisle, Located, Named};
use crate::keep::{KeepError, Keeper, Parts, Sight, id_of};
use crate::store::lost::Loss;
use crate::types::event::Kind;
use crate::types::{BlobId, CacheKey};

/// How something is removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removal {
    /// Only says what would go.
    pub dry_run: bool,
    /// Also what is pinned.
    pub force: bool,
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    pub dry_run: bool,
    /// The things, by their best names.
    pub names: Vec<String>,
    pub entries: u64,
    /// Room that comes back: that of bytes which nothing else is kept under.
    pub bytes: u64,
    /// Entries that stay because something else is made up of them, too.
    pub shared: u64,
}

/// What is to go.
#[derive(Debug, Default)]
struct Plan {
    removed: Removed,
    keys: Vec<CacheKey>,
    /// Pins of what goes, and notes of what of it was lost to damage, so that it is not fetched again.
    records: Vec<CacheKey>,
    /// Blobs that nothing else names.
    blobs: Vec<BlobId>,
}

impl Keeper {
    /// Removes all that a name leads to, for everybody. What other things are made up of as well stays. Where the name is one of several of a thing, only the
    /// name goes.
    /// `by`: the name of whoever asks for it.
    pub async fn remove(
        &self,
        name: String,
        how: Removal,
        by: Option<&str>,
    ) -> Result<Removed, KeepError> {
        let plan = self.look(move |parts| parts.plan(&name, how)).await?;
        if how.dry_run {
            return Ok(plan.removed);
        }
        let keys: Vec<CacheKey> = plan.keys.into_iter().chain(plan.records).collect();
        self.0.cache.remove(&keys).await?;
        self.0.store.release(plan.blobs).await?;
        metrics::counter!("larder_removed_entries_total").increment(plan.removed.entries);
        tracing::info!(
            names = plan.removed.names.join(" "),
            entries = plan.removed.entries,
            bytes = plan.removed.bytes,
            "removed by hand"
        );
        let Removed { entries, bytes, names, .. } = &plan.removed;
        let told = format!("{entries} entries, {bytes} bytes");
        self.tell(Kind::Removed, names, by, &told).await;
        Ok(plan.removed)
    }
}

impl Parts {
    fn plan(&self, name: &str, how: Removal) -> Result<Plan, KeepError> {
        let named = self.named(name, Sight::Everything)?;
        let mut keys = HashSet::new();
        let mut shared = HashSet::new();
        let mut plan = Plan::default();
        for located in &named.things {
            let Located { aisle, thing } = located;
            plan.removed.names.push(thing.name.to_string());
            if let Some(version) = one_of_several(thing, named.version.as_deref()) {
                self.only_the_name(located, version, name, &mut keys)?;
                continue;
            }
            plan.records.push(record_key(aisle, thing));
            let kept = self.kept();
            aisle.words.parts(&aisle.shelf(&kept), thing, &mut |part| {
                match part.is_shared {
                    true => shared.insert(part.key),
                    false => keys.insert(part.key),
                };
            })?;
        }
        if named.version.is_none() {
            self.about(&named, &mut keys, &mut plan.removed.names)?;
        }
        let mut lost = self.lost(|key| keys.contains(key) || shared.contains(key))?;
        if !lost.is_empty() {
            self.spare(&named, &mut lost)?;
        }
        self.held(&mut shared)?;
        let candidates = shared.len();
        self.spare(&named, &mut shared)?;
        plan.removed.shared = (candidates - shared.len()) as u64;
        keys.extend(shared);
        self.held(&mut keys)?;
        if keys.is_empty() && lost.is_empty() {
            return Err(KeepError::Nothing(name.to_owned()));
        }
        if !how.force {
            self.check_pins(name, &keys)?;
        }
        plan.records.extend(lost.iter().map(Loss::place_of));
        self.weigh(&keys, &mut plan)?;
        plan.removed.dry_run = how.dry_run;
        plan.removed.entries = keys.len() as u64;
        plan.keys = keys.into_iter().collect();
        plan.keys.sort();
        Ok(plan)
    }

    /// What of this was lost to damage and waits to be fetched again.
    fn lost(&self, is_meant: impl Fn(&CacheKey) -> bool) -> Result<HashSet<CacheKey>, KeepError> {
        const RUN: usize = 256;
        let (mut found, mut last) = (HashSet::new(), None);
        loop {
            let losses = Loss::scan(&*self.store, last.as_ref(), RUN)?;
            found.extend(losses.iter().filter_map(Loss::key).filter(&is_meant));
            match losses.into_iter().next_back() {
                Some(loss) => last = Some(loss),
                None => return Ok(found),
            }
        }
    }

    /// A name that is an entry of its own can go alone.
    fn only_the_name(
        &self,
        located: &Located<'_>,
        version: &str,
        asked: &str,
        keys: &mut HashSet<CacheKey>,
    ) -> Result<(), KeepError> {
        let Located { aisle, thing } = located;
        let kept = self.kept();
        let before = keys.len();
        aisle.words.parts(&aisle.shelf(&kept), thing, &mut |part| {
            if part.role == Role::Reference && part.name == version {
                keys.insert(part.key);
            }
        })?;
        if keys.len() > before {
            return Ok(());
        }
        let others = thing.versions.iter().filter(|other| *other != version).cloned();
        Err(KeepError::OneOfSeveral {
            name: asked.to_owned(),
            others: others.collect::<Vec<_>>().join(", "),
            identity: thing.identity.clone(),
        })
    }

    /// What is kept of whole groups.
    fn about(
        &self,
        named: &Named<'_>,
        keys: &mut HashSet<CacheKey>,
        names: &mut Vec<String>,
    ) -> Result<(), KeepError> {
        let kept = self.kept();
        for (aisle, group) in &named.groups {
            let before = keys.len();
            aisle.words.about(&aisle.shelf(&kept), group, &mut |key| {
                keys.insert(key);
            })?;
            let has_things = named.things.iter().any(|one| one.thing.group == *group);
            if keys.len() > before && !has_things {
                names.push(format!("{}:{group}", aisle.words.scheme()));
            }
        }
        Ok(())
    }

    /// Leaves those keys that have an entry.
    fn held(&self, keys: &mut HashSet<CacheKey>) -> Result<(), KeepError> {
        let mut failed = None;
        keys.retain(|key| match self.store.get(key) {
            Ok(entry) => entry.is_some(),
            Err(error) => {
                failed.get_or_insert(error);
                true
            }
        });
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Takes out of `shared` what things that stay are made up of.
    fn spare(&self, named: &Named<'_>, shared: &mut HashSet<CacheKey>) -> Result<(), KeepError> {
        let goes = |aisle: &Aisle<'_>, thing: &Thing| {
            named.things.iter().any(|one| {
                one.aisle.audience == aisle.audience
                    && one.thing.group == thing.group
                    && id_of(&one.thing) == id_of(thing)
            })
        };
        let spaces: HashSet<&str> =
            named.groups.iter().map(|(aisle, _)| aisle.words.space()).collect();
        let kept = self.kept();
        for space in spaces {
            self.each_of_space(space, |aisle, thing| {
                if shared.is_empty() {
                    return Ok(ControlFlow::Break(()));
                }
                if !goes(aisle, &thing) {
                    aisle.words.parts(&aisle.shelf(&kept), &thing, &mut |part| {
                        shared.remove(&part.key);
                    })?;
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(())
    }

    fn check_pins(&self, name: &str, keys: &HashSet<CacheKey>) -> Result<(), KeepError> {
        for key in keys {
            if self.store.is_pinned(key)? {
                return Err(KeepError::Pinned { name: name.to_owned() });
            }
        }
        Ok(())
    }

    /// What the removal of `keys` frees.
    fn weigh(&self, keys: &HashSet<CacheKey>, plan: &mut Plan) -> Result<(), KeepError> {
        let mut named: HashMap<BlobId, (usize, u64)> = HashMap::new();
        for key in keys {
            let Some(entry) = self.store.get(key)? else { continue };
            match entry.body.blob() {
                Some(blob) => named.entry(blob).or_insert((0, entry.body.len())).0 += 1,
                None => plan.removed.bytes += entry.body.len(),
            }
        }
        for (blob, (here, size)) in named {
            if self.store.namers(blob)? <= here {
                plan.removed.bytes += size;
                plan.blobs.push(blob);
            }
        }
        Ok(())
    }
}

/// The version that was asked for, where it is only one of the names of a thing.
fn one_of_several<'a>(thing: &Thing, version: Option<&'a str>) -> Option<&'a str> {
    let is_name = |version: &&str| thing.versions.iter().any(|one| one == version);
    version.filter(|version| thing.versions.len() > 1 && *version != thing.identity).filter(is_name)
}
