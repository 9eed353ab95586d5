//! Where responses are looked up, placed, and thrown away.
//!
//! A response can be found from the moment it is placed, before the store has it: `pending` holds what is being written down. That is what
//! lets waiters share a response whose body is still arriving, and what keeps an invalidation from being undone by a write that was under way.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, HeaderName, header};

use crate::cache::edition::Edition;
use crate::cache::exchange::kept::Kept;
use crate::cache::exchange::record::{Note, row_of, varies_entry};
use crate::semantics::vary::Selection;
use crate::store::{Change, Entry, Store, StoreError};
use crate::types::{CacheKey, Timestamp};

/// Responses of one target that are kept side by side; the one that was confirmed longest ago makes room.
pub(super) const MOST_VARIANTS: usize = 32;

/// Different `Vary` lists of one target that are looked through.
const MOST_LISTS: usize = 4;

/// Targets whose last invalidation is remembered, to keep out answers that were asked for before it.
const INVALIDATIONS_REMEMBERED: u64 = 16 << 10;

/// Kept responses.
pub(super) struct Shelf {
    pending: Mutex<BTreeMap<CacheKey, Pending>>,
    serial: AtomicU64,
    invalidated: moka::sync::Cache<CacheKey, u64>,
    edition: Edition,
}

/// When a question was sent, in the order of invalidations.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket(u64);

/// What a request finds.
#[derive(Debug, Clone, Default)]
pub(super) struct Selected {
    /// The response that its fields select.
    pub(super) kept: Option<Arc<Kept>>,
    /// By which fields the target's responses vary.
    pub(super) lists: Arc<[Vec<HeaderName>]>,
}

/// A placed response that the store does not have yet.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) kept: Arc<Kept>,
    target: CacheKey,
    serial: u64,
    /// The lists to write under the target, when they changed.
    lists: Option<Arc<[Vec<HeaderName>]>>,
    /// Whether variants lay beside what now lies there alone.
    replaces_variants: bool,
}

#[derive(Debug, Clone)]
enum Row {
    Response(Arc<Kept>),
    Varies(Arc<[Vec<HeaderName>]>),
}

#[derive(Debug)]
struct Pending {
    row: Row,
    serial: u64,
}

impl Shelf {
    pub(super) fn new(edition: Edition) -> Self {
        Self {
            pending: Mutex::default(),
            serial: AtomicU64::new(0),
            invalidated: moka::sync::Cache::new(INVALIDATIONS_REMEMBERED),
            edition,
        }
    }

    /// To be taken before upstream is asked.
    pub(super) fn ticket(&self) -> Ticket {
        Ticket(self.serial.load(Ordering::Acquire))
    }

    /// The response that `request` selects (RFC 9111 section 4.1); of several, the one confirmed last.
    pub(super) fn select(
        &self,
        store: &dyn Store,
        target: &CacheKey,
        request: &HeaderMap,
    ) -> Result<Selected, StoreError> {
        let lists = match self.row(store, target)? {
            None => return Ok(Selected::default()),
            Some(Row::Response(kept)) => {
                return Ok(Selected { kept: Some(kept), ..Selected::default() });
            }
            Some(Row::Varies(lists)) => lists,
        };
        let mut found: Option<Arc<Kept>> = None;
        for list in lists.iter() {
            let selection = Selection::of(list, request);
            if let Some(Row::Response(kept)) = self.row(store, &row_of(target, &selection))?
                && kept.selection == selection
                && found.as_ref().is_none_or(|best| best.entry.validated < kept.entry.validated)
            {
                found = Some(kept);
            }
        }
        if found.is_none() && lists.iter().flatten().any(|name| *name == header::ACCEPT_LANGUAGE) {
            found = self.in_wanted_language(store, target, request)?;
        }
        Ok(Selected { kept: found, lists })
    }

    /// A response in the one language that `request` wants most, though it was negotiated by another wish.
    fn in_wanted_language(
        &self,
        store: &dyn Store,
        target: &CacheKey,
        request: &HeaderMap,
    ) -> Result<Option<Arc<Kept>>, StoreError> {
        let suits = |kept: &Arc<Kept>| {
            let language = kept.entry.head.text(&header::CONTENT_LANGUAGE);
            kept.selection.suits(request, language)
        };
        Ok(self.variants(store, target)?.into_iter().find(suits))
    }

    /// All responses of a target.
    pub(super) fn all(
        &self,
        store: &dyn Store,
        target: &CacheKey,
    ) -> Result<Vec<Arc<Kept>>, StoreError> {
        match self.row(store, target)? {
            None => Ok(Vec::new()),
            Some(Row::Response(kept)) => Ok(vec![kept]),
            Some(Row::Varies(_)) => self.variants(store, target),
        }
    }

    /// All responses of a target that varies.
    pub(super) fn variants(
        &self,
        store: &dyn Store,
        target: &CacheKey,
    ) -> Result<Vec<Arc<Kept>>, StoreError> {
        let mut found = Vec::new();
        for key in self.variant_rows(store, target)? {
            if let Some(Row::Response(kept)) = self.row(store, &key)? {
                found.push(kept);
            }
        }
        Ok(found)
    }

    /// Lets a response be found under `target` from now on. `None`: the target was invalidated after `asked`, so that the
    /// response may describe what was there before.
    pub(super) fn place(
        &self,
        store: &dyn Store,
        target: &CacheKey,
        kept: Kept,
        asked: Ticket,
    ) -> Result<Option<Placed>, StoreError> {
        let before = self.row(store, target)?;
        let kept = Arc::new(kept);
        let serial = self.next_serial();
        let lists = lists_after(before.as_ref(), &kept.selection);
        let mut pending = self.lock();
        if self.invalidated.get(target).is_some_and(|at| at > asked.0) {
            return Ok(None);
        }
        if let Some(lists) = &lists {
            let row = Row::Varies(Arc::clone(lists));
            pending.insert(target.clone(), Pending { row, serial });
        }
        let row = Row::Response(Arc::clone(&kept));
        pending.insert(kept.row.clone(), Pending { row, serial });
        drop(pending);
        self.edition.turn();
        let replaces_variants = kept.selection.is_empty() && matches!(before, Some(Row::Varies(_)));
        Ok(Some(Placed { kept, target: target.clone(), serial, lists, replaces_variants }))
    }

    /// Writes down what was placed; `entry` is it with its body.
    pub(super) async fn write(
        &self,
        store: &dyn Store,
        placed: &Placed,
        entry: Arc<Entry>,
    ) -> Result<(), StoreError> {
        let changes = self.changes(store, placed, entry);
        let written = match changes {
            Ok(changes) if self.stands(placed) => store.commit(changes).await,
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if self.settle(placed) || written.is_err() || !self.is_invalidated(placed) {
            // What replaced it meanwhile is written after it, and must not be removed in its stead.
            return written;
        }
        // It was thrown away while it was written: it must not be found again.
        store.commit(vec![Change::Remove { key: placed.kept.row.clone() }]).await
    }

    /// Takes back what was placed and turned out not to be whole.
    pub(super) fn withdraw(&self, placed: &Placed) {
        self.settle(placed);
        self.edition.turn();
    }

    /// Throws away every response of a target. Answers to questions sent before are not kept either.
    pub(super) async fn invalidate(
        &self,
        store: &dyn Store,
        target: &CacheKey,
    ) -> Result<(), StoreError> {
        let rows = match self.row(store, target)? {
            None => Vec::new(),
            Some(Row::Response(_)) => vec![target.clone()],
            Some(Row::Varies(_)) => {
                let mut rows = self.variant_rows(store, target)?;
                rows.push(target.clone());
                rows
            }
        };
        {
            let mut pending = self.lock();
            self.invalidated.insert(target.clone(), self.next_serial());
            for row in &rows {
                pending.remove(row);
            }
        }
        let removed = match rows.is_empty() {
            true => Ok(()),
            false => {
                store.commit(rows.into_iter().map(|key| Change::Remove { key }).collect()).await
            }
        };
        self.edition.turn();
        removed
    }

    /// Throws away one response.
    pub(super) async fn remove(&self, store: &dyn Store, row: &CacheKey) -> Result<(), StoreError> {
        {
            let mut pending = self.lock();
            self.invalidated.insert(row.clone(), self.next_serial());
            pending.remove(row);
        }
        let removed = store.commit(vec![Change::Remove { key: row.clone() }]).await;
        self.edition.turn();
        removed
    }

    fn row(&self, store: &dyn Store, key: &CacheKey) -> Result<Option<Row>, StoreError> {
        if let Some(pending) = self.lock().get(key) {
            return Ok(Some(pending.row.clone()));
        }
        let Some(entry) = store.get(key)? else { return Ok(None) };
        Ok(match Note::decode(&entry.note) {
            Some(Note::Response { freshness, selection }) => {
                Kept::open(store, key, entry, freshness, selection)?
                    .map(|kept| Row::Response(Arc::new(kept)))
            }
            Some(Note::Varies(lists)) => Some(Row::Varies(parse_lists(&lists))),
            None => None,
        })
    }

    fn variant_rows(
        &self,
        store: &dyn Store,
        target: &CacheKey,
    ) -> Result<Vec<CacheKey>, StoreError> {
        let prefix = target.variant("");
        let mut rows = store.scan(prefix.as_str(), None, MOST_VARIANTS * 2)?;
        let pending = self.lock();
        let later = pending.range((Bound::Excluded(&prefix), Bound::Unbounded));
        let fresh = later
            .map(|(key, _)| key)
            .take_while(|key| key.as_str().starts_with(prefix.as_str()))
            .filter(|key| !rows.contains(key))
            .cloned()
            .collect::<Vec<_>>();
        rows.extend(fresh);
        Ok(rows)
    }

    fn changes(
        &self,
        store: &dyn Store,
        placed: &Placed,
        entry: Arc<Entry>,
    ) -> Result<Vec<Change>, StoreError> {
        let mut changes = Vec::new();
        if let Some(lists) = &placed.lists {
            let entry = Arc::new(varies_entry(write_lists(lists), entry.validated));
            changes.push(Change::Put { key: placed.target.clone(), entry });
        }
        let row = &placed.kept.row;
        if placed.replaces_variants {
            let rows = self.variant_rows(store, &placed.target)?;
            changes.extend(rows.into_iter().map(|key| Change::Remove { key }));
        } else if !placed.kept.selection.is_empty() {
            changes.extend(self.oldest_beyond_limit(store, placed)?);
        }
        changes.push(Change::Put { key: row.clone(), entry });
        Ok(changes)
    }

    fn oldest_beyond_limit(
        &self,
        store: &dyn Store,
        placed: &Placed,
    ) -> Result<Vec<Change>, StoreError> {
        let mut rows = self.variant_rows(store, &placed.target)?;
        rows.retain(|row| *row != placed.kept.row);
        if rows.len() < MOST_VARIANTS {
            return Ok(Vec::new());
        }
        let mut aged: Vec<(Timestamp, CacheKey)> = Vec::new();
        for row in rows {
            let validated = store.get(&row)?.map_or(Timestamp(0), |entry| entry.validated);
            aged.push((validated, row));
        }
        aged.sort_unstable();
        let surplus = aged.len() + 1 - MOST_VARIANTS;
        Ok(aged.into_iter().take(surplus).map(|(_, key)| Change::Remove { key }).collect())
    }

    fn stands(&self, placed: &Placed) -> bool {
        self.lock().get(&placed.kept.row).is_some_and(|pending| pending.serial == placed.serial)
    }

    /// Whether what was placed has been thrown away since.
    fn is_invalidated(&self, placed: &Placed) -> bool {
        let since = |key: &CacheKey| self.invalidated.get(key).is_some_and(|at| at > placed.serial);
        since(&placed.target) || since(&placed.kept.row)
    }

    /// Ends the wait for the store; tells whether what was placed still stood.
    fn settle(&self, placed: &Placed) -> bool {
        let mut pending = self.lock();
        let mut stood = false;
        for key in [&placed.target, &placed.kept.row] {
            if pending.get(key).is_some_and(|found| found.serial == placed.serial) {
                pending.remove(key);
                stood |= *key == placed.kept.row;
            }
        }
        stood
    }

    fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<CacheKey, Pending>> {
        // Every change to the map is made by one call; a panic elsewhere leaves it whole.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Selected {
    /// Where the response to `request` would lie as far as is known: what concurrent requests have in common.
    pub(super) fn flight_key(&self, target: &CacheKey, request: &HeaderMap) -> CacheKey {
        let mut fields: Vec<HeaderName> = self.lists.iter().flatten().cloned().collect();
        fields.sort_unstable_by(|left, right| left.as_str().cmp(right.as_str()));
        fields.dedup();
        row_of(target, &Selection::of(&fields, request))
    }
}

/// The lists to write when a response with `selection` joins what lay under the target; `None`: nothing to change.
fn lists_after(before: Option<&Row>, selection: &Selection) -> Option<Arc<[Vec<HeaderName>]>> {
    if selection.is_empty() {
        return None;
    }
    let list: Vec<HeaderName> = selection.fields().collect();
    let known: &[Vec<HeaderName>] = match before {
        Some(Row::Varies(lists)) => lists,
        _ => &[],
    };
    if known.first() == Some(&list) {
        return None;
    }
    let others = known.iter().filter(|other| **other != list).cloned();
    Some(std::iter::once(list.clone()).chain(others).take(MOST_LISTS).collect())
}

fn parse_lists(lists: &[Vec<String>]) -> Arc<[Vec<HeaderName>]> {
    let list = |names: &Vec<String>| names.iter().filter_map(|name| name.parse().ok()).collect();
    lists.iter().map(list).collect()
}

fn write_lists(lists: &[Vec<HeaderName>]) -> Vec<Vec<String>> {
    let list =
        |names: &Vec<HeaderName>| names.iter().map(|name| name.as_str().to_owned()).collect();
    lists.iter().map(list).collect()
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("pending", &self.lock().len()).finish_non_exhaustive()
    }
}
