//! Pulls as they are written down: one row for each thing, digest and client, in a space of the store's index.
//!
//! A row's key is the thing's name, its digest and its client, with a tab between; its body is JSON. Rows are bounded: those not pulled for long go, and of too many
//! those that were pulled longest ago. A row of its own says since when nothing is missing.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::tally::Counted;
use crate::store::{Change, Entry, Store, StoreError, Stored};
use crate::types::{Audience, CacheKey, Timestamp};

/// The space of the keys of rows.
pub const SPACE: &str = "larder/pulls";

/// The space of the entry that says since when the rows are complete.
const SINCE_SPACE: &str = "larder/pulls-since";

/// Parts the fields of a key.
const TAB: char = '\t';

/// Keys that are looked at together, and changes that are committed together.
const RUN: usize = 512;

/// Time between two looks at whether there are too many rows.
const BOUNDED_EVERY: Duration = Duration::from_secs(3600);

/// Of the rows that may be there, how many are left when there are too many.
const LEFT_PERCENT: usize = 90;

/// What is known of the pulls of one thing by one client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub mount: String,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub digest: Option<String>,
    /// Empty: nobody in particular.
    pub client: String,
    /// RFC 3339.
    pub first: String,
    pub last: String,
    /// Answers that began at the first byte and were sent to their end.
    pub pulls: u64,
    pub bytes: u64,
    /// The licence that it was under when it was pulled last, as far as that was looked at.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub licence: Option<String>,
    /// It stands for bytes that are pulled on their own: an image's manifest.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub is_manifest: bool,
}

/// Which rows somebody wants to see.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Names that this says yes to.
    pub name: Option<fn(&str, &str) -> bool>,
    /// What the names are compared with.
    pub named: String,
    pub digest: Option<String>,
    pub client: Option<String>,
    /// Pulled since then, and first pulled before that.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub limit: usize,
}

/// What there is to write down.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    changes: Vec<(Counted, Change)>,
    /// Things that have no row yet.
    pub(super) first_served: Vec<Counted>,
    /// Since when nothing is missing, where that changes.
    since: Option<Change>,
    removals: Vec<Change>,
}

#[derive(Debug)]
pub(super) struct Rows {
    store: Arc<dyn Store>,
    most: usize,
    kept_for: Duration,
    /// When rows were last bounded.
    bounded: AtomicU64,
}

impl Rows {
    pub(super) fn new(store: Arc<dyn Store>, most: usize, kept_for: Duration) -> Self {
        Self { store, most, kept_for, bounded: AtomicU64::new(0) }
    }

    /// Adds what was counted to what is known. Blocking.
    pub(super) fn prepare(&self, counted: Vec<Counted>, now: Timestamp) -> Prepared {
        let mut prepared = Prepared::default();
        let mut new: HashSet<(String, Option<String>)> = HashSet::new();
        for one in counted {
            let tally = &one.tally;
            let key = key(&tally.name, tally.digest.as_deref(), &tally.client);
            let known = self.store.get(&key).ok().flatten();
            let known = known.and_then(|entry| Some((read(&entry)?, entry.first_kept)));
            if known.is_none() {
                let thing = (tally.name.clone(), tally.digest.clone());
                if !new.contains(&thing) && self.is_unheard_of(&thing.0, thing.1.as_deref()) {
                    prepared.first_served.push(one.clone());
                    new.insert(thing);
                }
            }
            let first = known.as_ref().map_or(now, |(_, first)| *first);
            let mut row = known.map(|(row, _)| row).unwrap_or_else(|| Row {
                mount: tally.mount.clone(),
                name: tally.name.clone(),
                digest: tally.digest.clone(),
                client: tally.client.clone(),
                first: now.to_rfc3339_millis(),
                last: String::new(),
                pulls: 0,
                bytes: 0,
                licence: None,
                is_manifest: tally.is_manifest,
            });
            row.licence = tally.licence.clone().or(row.licence);
            row.last = now.to_rfc3339_millis();
            row.pulls += one.pulls;
            row.bytes += one.bytes;
            let change = Change::Put { key, entry: Arc::new(entry(&row, first, now)) };
            prepared.changes.push((one, change));
        }
        let mut since = self.since_or(now).unwrap_or(now);
        let bounded = Timestamp(self.bounded.load(Ordering::Relaxed));
        if now.since(bounded) >= BOUNDED_EVERY {
            self.bounded.store(now.0, Ordering::Relaxed);
            // What was pulled just now is old only as it stands there yet.
            let renewed: HashSet<&str> =
                prepared.changes.iter().map(|(_, change)| named(change)).collect();
            let mut excess = self.excess(now).unwrap_or_default();
            excess.retain(|(_, key)| !renewed.contains(key.as_str()));
            let last = excess.iter().map(|(last, _)| Timestamp(last.0.saturating_add(1))).max();
            since = last.map_or(since, |last| last.max(since));
            let removal = |(_, key)| Change::Remove { key };
            prepared.removals = excess.into_iter().map(removal).collect();
        }
        let known = self.store.get(&since_key()).ok().flatten().map(|entry| entry.first_kept);
        if known != Some(since) {
            let entry = Arc::new(Entry {
                first_kept: since,
                ..Entry::new(Stored::Inline(bytes::Bytes::new()), now)
            });
            prepared.since = Some(Change::Put { key: since_key(), entry });
        }
        prepared
    }

    /// Since when nothing is missing: as it was written down, or else since the first row; `now` where there is none.
    pub(super) fn since_or(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        if let Some(entry) = self.store.get(&since_key())? {
            return Ok(entry.first_kept);
        }
        let mut first = now;
        let start = CacheKey::start_of_space(SPACE);
        self.each(&start, |_, entry| first = first.min(entry.first_kept))?;
        Ok(first)
    }

    /// Writes it all down. What cannot be is counted again next time.
    pub(super) async fn commit(&self, prepared: Prepared) {
        let Prepared { changes, since, removals, .. } = prepared;
        for part in changes.chunks(RUN) {
            let list = part.iter().map(|(_, change)| change.clone()).collect();
            if let Err(error) = self.store.commit(list).await {
                tracing::warn!(%error, "pulls could not be written down; they are counted on");
                part.iter().for_each(|(one, _)| one.tally.restore(one.pulls, one.bytes));
            }
        }
        // First: what is said to be missing may still be there, and not the other way round.
        if let Err(error) = self.store.commit(since.into_iter().collect()).await {
            tracing::warn!(%error, "since when pulls are recorded could not be written down");
            return;
        }
        for part in removals.chunks(RUN) {
            if let Err(error) = self.store.commit(part.to_vec()).await {
                tracing::warn!(%error, "old pulls could not be removed");
            }
        }
    }

    /// Rows that somebody wants to see, those pulled last first.
    pub(super) fn look(&self, wanted: &Wanted) -> Result<Vec<Row>, StoreError> {
        let mut found: Vec<(Timestamp, Row)> = Vec::new();
        self.each(&wanted.start(), |_, entry| {
            let Some(row) = read(entry) else { return };
            if wanted.fits(&row, entry) {
                found.push((entry.validated, row));
            }
        })?;
        found.sort_by(|(at, row), (other, other_row)| {
            other.cmp(at).then_with(|| row.name.cmp(&other_row.name))
        });
        Ok(found.into_iter().take(wanted.limit).map(|(_, row)| row).collect())
    }

    /// Whether no client has pulled a thing yet.
    fn is_unheard_of(&self, name: &str, digest: Option<&str>) -> bool {
        let start = key(name, digest, "");
        self.store.scan(start.as_str(), None, 1).is_ok_and(|keys| keys.is_empty())
    }

    /// Rows that are too old or too many.
    fn excess(&self, now: Timestamp) -> Result<Vec<(Timestamp, CacheKey)>, StoreError> {
        let oldest = now.minus(self.kept_for);
        let (mut gone, mut left) = (Vec::new(), Vec::new());
        self.each(&CacheKey::start_of_space(SPACE), |key, entry| {
            let list = if entry.validated < oldest { &mut gone } else { &mut left };
            list.push((entry.validated, key.clone()));
        })?;
        if left.len() > self.most {
            left.sort();
            let excess = left.len() - self.most * LEFT_PERCENT / 100;
            gone.extend(left.drain(..excess));
        }
        Ok(gone)
    }

    /// Visits the rows whose keys begin so.
    fn each(
        &self,
        start: &str,
        mut visit: impl FnMut(&CacheKey, &Entry),
    ) -> Result<(), StoreError> {
        let mut after: Option<CacheKey> = None;
        loop {
            let keys = self.store.scan(start, after.as_ref(), RUN)?;
            let Some(last) = keys.last() else { return Ok(()) };
            after = Some(last.clone());
            for key in &keys {
                if let Some(entry) = self.store.get(key)? {
                    visit(key, &entry);
                }
            }
        }
    }
}

impl Wanted {
    /// What the keys of all rows that fit begin with.
    fn start(&self) -> String {
        let known = self.name.map_or("", |_| self.named.split('*').next().unwrap_or_default());
        match known.contains(TAB) {
            true => CacheKey::start_of_space(SPACE),
            false => CacheKey::new(SPACE, &Audience::Public, known).as_str().to_owned(),
        }
    }

    fn fits(&self, row: &Row, entry: &Entry) -> bool {
        self.name.is_none_or(|fits| fits(&row.name, &self.named))
            && self.digest.as_ref().is_none_or(|digest| row.digest.as_ref() == Some(digest))
            && self.client.as_ref().is_none_or(|client| row.client == *client)
            && self.since.is_none_or(|since| entry.validated >= since)
            && self.until.is_none_or(|until| entry.first_kept < until)
    }
}

fn key(name: &str, digest: Option<&str>, client: &str) -> CacheKey {
    let plain = |text: &str| text.replace(TAB, " ");
    let digest = digest.unwrap_or("-");
    let name = format!("{}{TAB}{}{TAB}{}", plain(name), plain(digest), plain(client));
    CacheKey::new(SPACE, &Audience::Public, &name)
}

fn named(change: &Change) -> &str {
    let (Change::Put { key, .. } | Change::Remove { key } | Change::Pin { key, .. }) = change;
    key.as_str()
}

fn read(entry: &Entry) -> Option<Row> {
    match &entry.body {
        Stored::Inline(body) => serde_json::from_slice(body).ok(),
        Stored::None | Stored::Blob { .. } => None,
    }
}

fn since_key() -> CacheKey {
    CacheKey::new(SINCE_SPACE, &Audience::Public, "since")
}

fn entry(row: &Row, first: Timestamp, now: Timestamp) -> Entry {
    let body = serde_json::to_vec(row).expect("plain values have a form in JSON");
    Entry { first_kept: first, ..Entry::new(Stored::Inline(body.into()), now) }
}
