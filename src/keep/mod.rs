//! Keeping by hand: what is kept, in the words of its registries; removing it, protecting it from eviction, tidying up.
//!
//! A [`Keeper`] knows no ecosystem: each mount's [`Naming`] maps between names and entries, and all else is the same for every one of them. Entries are shared
//! (one file of two models, one layer of two images), so that whoever removes or unpins a thing looks at all others of its mount first: what they
//! are made up of stays.
//!
//! - `contents`: the store as adapters read it; `walk`: from thing to thing
//! - `listing`: what is kept, for people; `removal`; `pins`; `fills`: what is on its way; `tell`: what was done is an event like others
//!
//! Left out: who may do it (`admin`), and what a client's request leads to (`proxy`).

use std::sync::Arc;

use crate::cache::Cache;
use crate::cache::witness::Witness;
use crate::clock::Clock;
use crate::ecosystem::naming::{Misnamed, Naming, Thing, Unreadable};
use crate::store::{Freed, Store, StoreError, Tidied, Tidy};
use crate::types::event::Kind;

pub mod contents;
pub mod fills;
pub mod listing;
pub mod pins;
pub mod removal;
mod tell;
#[cfg(test)]
mod tests;
mod walk;

pub use contents::Kept;

/// All that is kept, as what it is told that it was tidied.
const STORE: &str = "larder:store";

/// Keeps by hand. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keeper(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    store: Arc<dyn Store>,
    cache: Cache,
    /// Of every mount that has words, in the order of their spaces.
    words: Vec<Arc<dyn Naming>>,
    /// Who is told of what is done.
    witness: Arc<dyn Witness>,
    clock: Clock,
}

/// Whose things are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// What is kept for everybody. What is kept for somebody alone is not even named.
    Public,
    Everything,
}

/// Why something was not done, by what whoever asked does next.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The text names nothing: write another.
    #[error("{0}")]
    Misnamed(String),
    #[error("nothing is kept of {0}")]
    Nothing(String),
    #[error("{name} is pinned: unpin it first, or insist (--force)")]
    Pinned { name: String },
    #[error("{0} is not pinned")]
    NotPinned(String),
    /// It has several names, and this one is not kept as an entry of its own.
    #[error("{name} is also called {others}; to remove all of it, say {identity}")]
    OneOfSeveral { name: String, others: String, identity: String },
    #[error("a cursor is what an earlier answer gave as `next`")]
    Cursor,
    #[error("what is kept cannot be read: {0}")]
    Unreadable(#[from] Unreadable),
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl From<Misnamed> for KeepError {
    fn from(Misnamed(reason): Misnamed) -> Self {
        Self::Misnamed(reason)
    }
}

impl Keeper {
    pub fn new(
        store: Arc<dyn Store>,
        cache: Cache,
        mut words: Vec<Arc<dyn Naming>>,
        witness: Arc<dyn Witness>,
        clock: Clock,
    ) -> Self {
        words.sort_by(|one, other| one.space().cmp(other.space()));
        words.dedup_by(|one, other| one.space() == other.space());
        Self(Arc::new(Parts { store, cache, words, witness, clock }))
    }

    /// Does all of the upkeep now, once every pin protects what has come since it was made. `by`: the name of whoever asks for it.
    pub async fn tidy(&self, how: Tidy, by: Option<&str>) -> Result<Tidied, KeepError> {
        if how.dry_run {
            return Ok(self.0.store.tidy(how).await?);
        }
        self.renew_pins().await?;
        let tidied = self.0.store.tidy(how).await?;
        let of =
            |name: &str, freed: Freed| format!("{} {name} ({} bytes)", freed.count, freed.bytes);
        let freed = [tidied.orphans, tidied.partials, tidied.evicted];
        if freed.iter().all(|freed| *freed == Freed::default()) {
            return Ok(tidied);
        }
        let told = [
            of("orphans", tidied.orphans),
            of("interrupted transfers", tidied.partials),
            of("evicted", tidied.evicted),
        ];
        self.tell(Kind::Collected, &[STORE.to_owned()], by, &told.join(", ")).await;
        Ok(tidied)
    }

    /// Looks at what is kept where that holds up nobody.
    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Parts) -> Result<T, KeepError> + Send + 'static,
    ) -> Result<T, KeepError> {
        let parts = Arc::clone(&self.0);
        match tokio::task::spawn_blocking(move || look(&parts)).await {
            Ok(seen) => seen,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

/// What a thing is within its group, whatever names lead there.
fn id_of(thing: &Thing) -> &str {
    match thing.identity.is_empty() {
        true => thing.versions.first().map_or("", String::as_str),
        false => &thing.identity,
    }
}
