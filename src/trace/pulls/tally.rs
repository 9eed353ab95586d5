//! Counting pulls in memory.

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;

use super::Thing;
use crate::server::Ended;

/// Parts that are locked apart from each other.
const SHARDS: usize = 16;

/// Things and clients of one part that are counted at once; further ones are not.
const MOST_TALLIES: usize = 8192;

/// What was counted of one thing, digest and client since it was last written down.
#[derive(Debug)]
pub struct Tally {
    pub(super) mount: String,
    pub(super) name: String,
    pub(super) digest: Option<String>,
    pub(super) client: String,
    /// As it was when this began.
    pub(super) licence: Option<String>,
    pub(super) is_manifest: bool,
    pulls: AtomicU64,
    bytes: AtomicU64,
}

/// The tally of an answer that goes on where another one ended: its bytes count, and it is no pull of its own.
#[derive(Debug)]
pub struct Onward(pub Arc<Tally>);

/// What was counted.
#[derive(Debug, Clone)]
pub(super) struct Counted {
    pub(super) tally: Arc<Tally>,
    pub(super) pulls: u64,
    pub(super) bytes: u64,
}

/// All tallies.
#[derive(Default)]
pub(super) struct Tallies {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
}

/// Tallies by the hash of what they are of.
type Shard = HashMap<u64, Vec<Arc<Tally>>>;

impl Tally {
    fn is_of(&self, thing: &Thing<'_>) -> bool {
        self.name == thing.name
            && self.client == thing.client
            && self.digest == thing.digest
            && self.mount == thing.mount
    }

    /// Puts back what could not be written down.
    pub(super) fn restore(&self, pulls: u64, bytes: u64) {
        self.pulls.fetch_add(pulls, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Ended for Tally {
    fn ended(&self, bytes: u64, whole: bool) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if whole {
            self.pulls.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Ended for Onward {
    fn ended(&self, bytes: u64, _: bool) {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Tallies {
    /// The tally of a thing. `None`: too many are counted already.
    pub(super) fn of(&self, thing: &Thing<'_>) -> Option<Arc<Tally>> {
        let hash = self.hasher.hash_one((&thing.name, thing.client, &thing.digest));
        let shard = usize::try_from(hash >> 60).unwrap_or_default() % SHARDS;
        let mut shard = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tally) =
            shard.get(&hash).and_then(|alike| alike.iter().find(|one| one.is_of(thing)))
        {
            return Some(Arc::clone(tally));
        }
        if shard.len() >= MOST_TALLIES {
            metrics::counter!("larder_pulls_unrecorded_total").increment(1);
            return None;
        }
        let tally = Arc::new(Tally {
            mount: thing.mount.to_owned(),
            name: thing.name.clone(),
            digest: thing.digest.clone(),
            client: thing.client.to_owned(),
            licence: thing.licence.clone(),
            is_manifest: thing.is_manifest,
            pulls: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        shard.entry(hash).or_default().push(Arc::clone(&tally));
        Some(tally)
    }

    /// What was counted since it was last taken. Tallies that nobody holds and nothing was counted on are forgotten.
    pub(super) fn take(&self) -> Vec<Counted> {
        let mut counted = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|_, alike| {
                alike.retain(|tally| {
                    // Nobody can come to hold it meanwhile: that goes by the lock.
                    let is_held = Arc::strong_count(tally) > 1;
                    let pulls = tally.pulls.swap(0, Ordering::Relaxed);
                    let bytes = tally.bytes.swap(0, Ordering::Relaxed);
                    if pulls > 0 || bytes > 0 {
                        counted.push(Counted { tally: Arc::clone(tally), pulls, bytes });
                        return true;
                    }
                    is_held
                });
                !alike.is_empty()
            });
        }
        counted.sort_by(|one, other| {
            (&one.tally.name, &one.tally.client).cmp(&(&other.tally.name, &other.tally.client))
        });
        counted
    }
}

impl fmt::Debug for Tallies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tallies")
    }
}
