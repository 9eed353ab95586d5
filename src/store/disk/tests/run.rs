//! A seeded run of everything that a store does, and what is expected of it afterwards.

use std::collections::{BTreeMap, BTreeSet};

use super::platter::{Chance, Platter};
use super::simulated::Disk;
use super::*;
use crate::store::INLINE_LIMIT_BYTES;

/// Names of what is kept for its body, and of interrupted transfers.
const KEYS: u64 = 12;
pub(super) const TRANSFERS: u64 = 2;
/// More than this much of bodies is evicted.
const BUDGET: u64 = 300 << 10;

/// What is expected under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) body: Vec<u8>,
    pub(super) validated: Timestamp,
}

/// A change of one key: between which calls it was made. Without an end it was refused, and may have happened or not.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) from: usize,
    pub(super) until: Option<usize>,
    pub(super) group: u64,
    pub(super) value: Option<Expected>,
}

/// Everything that was asked of the store, by key.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) claims: BTreeMap<String, Vec<Claim>>,
    pub(super) groups: u64,
    /// Pinned for certain, and since when.
    pub(super) pinned: BTreeMap<String, usize>,
}

impl Model {
    pub(super) fn claim(&mut self, name: &str, claim: Claim) {
        self.claims.entry(name.to_owned()).or_default().push(claim);
    }

    /// What may be found under a key after `point` calls.
    pub(super) fn allowed(&self, name: &str, point: usize) -> Vec<Option<Expected>> {
        let mut allowed = vec![None];
        for claim in self.claims.get(name).into_iter().flatten() {
            if claim.until.is_some_and(|until| until <= point) {
                allowed = vec![claim.value.clone()];
            } else if claim.from <= point {
                allowed.push(claim.value.clone());
            }
        }
        allowed
    }

    /// The changes that were under way after `point` calls, by commit.
    pub(super) fn under_way(&self, point: usize) -> BTreeMap<u64, Vec<(&str, &Claim)>> {
        let mut groups: BTreeMap<u64, Vec<(&str, &Claim)>> = BTreeMap::new();
        for (name, claims) in &self.claims {
            let Some(claim) = claims.iter().rfind(|claim| claim.from <= point) else { continue };
            if claim.until.is_none_or(|until| until > point) {
                groups.entry(claim.group).or_default().push((name, claim));
            }
        }
        groups
    }
}

/// A store on a simulated disk, and what is expected of it.
pub(super) struct World {
    pub(super) directory: Arc<TempDir>,
    pub(super) disk: Disk,
    pub(super) now: Arc<AtomicU64>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    pub(super) store: DiskStore,
}

impl World {
    pub(super) fn open(
        directory: Arc<TempDir>,
        disk: Disk,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let config =
            Config { sweep_round: 1000 * HOUR, index_cache: ByteSize::mib(1), ..config(BUDGET) };
        let now = Arc::new(AtomicU64::new(now.0));
        let clock = Arc::clone(&now);
        let clock = Now(Arc::new(move || Timestamp(clock.load(Ordering::Relaxed))));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let device = Arc::new(disk.clone());
        let (store, writer) = DiskStore::prepare(directory.path(), &config, clock, device)?;
        store.start(
            writer,
            &Config { budget: None, scrub_rate: ByteSize(0), ..config },
            &tasks,
            &stop,
        )?;
        Ok(Self { directory, disk, now, tasks, stop, store })
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::Relaxed))
    }

    pub(super) async fn close(self) -> (Arc<TempDir>, Disk, Timestamp) {
        let now = self.now();
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        (self.directory, self.disk, now)
    }

    pub(super) fn found(&self, name: &str) -> Option<Expected> {
        let entry = self.store.get(&key(name)).expect("the index is read")?;
        let body = match &entry.body {
            Stored::None => Bytes::new(),
            Stored::Inline(body) => body.clone(),
            Stored::Blob { id, size } => {
                let reader = self.store.open(*id).expect("it is opened").expect("it is there");
                let body = reader.read(0, 1 << 20).expect("it is read");
                assert_eq!((body.len() as u64, BlobId::of(&body)), (*size, *id), "{name}");
                body
            }
        };
        Some(Expected { body: body.to_vec(), validated: entry.validated })
    }

    pub(super) fn kept(&self) -> BTreeSet<String> {
        let keys = self.store.scan("", None, 999).expect("the index is read");
        keys.iter().map(|key| key.name().to_owned()).collect()
    }

    /// Puts `body` under `name`, as a blob where it is long. `None`: it could not be sealed.
    pub(super) fn change(&self, name: &str, body: &[u8]) -> Result<Change, StoreError> {
        let stored = match body.len() {
            0 => Stored::None,
            length if length <= INLINE_LIMIT_BYTES => Stored::Inline(body.to_vec().into()),
            length => {
                let partial = self.store.partial(&key(name))?;
                partial.reserve(length as u64)?;
                let (first, second) = body.split_at(length / 2);
                partial.write(0, &[Bytes::copy_from_slice(first)])?;
                partial.checkpoint(&progress(first.len() as u64))?;
                partial.write(first.len() as u64, &[Bytes::copy_from_slice(second)])?;
                let id = BlobId::of(body);
                partial.seal(id, length as u64)?;
                Stored::Blob { id, size: length as u64 }
            }
        };
        Ok(put(name, Entry { body: stored, validated: self.now(), ..entry() }))
    }

    /// False when the disk failed: then nothing, a part or all of it has happened.
    pub(super) async fn evict(&self) -> bool {
        self.store.evictor(&self.tasks).make_room().await.is_ok()
    }

    pub(super) async fn sweep(&self) {
        let config = Config { partial_ttl: 1_000_000 * HOUR, ..Config::default() };
        let mut sweeper = self.store.sweeper(&config, &self.tasks);
        for _ in 0..=blobs::LAST_SHARD {
            let _ = sweeper.step().await;
        }
    }
}

/// A run under way.
pub(super) struct Run {
    pub(super) world: World,
    pub(super) model: Model,
    pub(super) chance: Chance,
    pub(super) bodies: Vec<Vec<u8>>,
}

impl Run {
    pub(super) fn new(seed: u64, boot: u64) -> (Self, Platter) {
        Self::over(directory(), seed, boot, Model::default())
    }

    /// A run over what a directory holds already.
    pub(super) fn over(
        directory: Arc<TempDir>,
        seed: u64,
        boot: u64,
        model: Model,
    ) -> (Self, Platter) {
        let disk = Disk::over(directory.path(), boot);
        let platter = disk.platter();
        let world = World::open(directory, disk, START).expect("it opens");
        (Self { world, model, chance: Chance(seed), bodies: Vec::new() }, platter)
    }

    pub(super) fn position(&self) -> usize {
        self.world.disk.position()
    }

    fn some_key(&mut self) -> String {
        format!("k{}", self.chance.of(KEYS))
    }

    /// A body that was never seen before, or one that is kept under another key.
    fn some_body(&mut self) -> Vec<u8> {
        if self.chance.of(4) == 0 && !self.bodies.is_empty() {
            let which = self.chance.of(self.bodies.len() as u64);
            return self.bodies[which as usize].clone();
        }
        let length = match self.chance.of(3) {
            0 => self.chance.of(3000),
            _ => (17 << 10) + self.chance.of(50 << 10),
        };
        let salt = self.chance.of(1 << 30);
        let body: Vec<u8> = (0..length).map(|at| ((at * salt) >> 7) as u8 ^ at as u8).collect();
        self.bodies.push(body.clone());
        body
    }

    pub(super) async fn run(&mut self, steps: u64) {
        for _ in 0..steps {
            self.world
                .now
                .fetch_add(1 + self.chance.of(HOUR.as_millis() as u64), Ordering::Relaxed);
            match self.chance.of(20) {
                0..=6 => self.put(1).await,
                7..=9 => self.put(3).await,
                10..=11 => self.together().await,
                12 => self.remove().await,
                13 => self.pin().await,
                14..=15 => self.evict().await,
                16 => self.world.sweep().await,
                17..=18 => self.transfer(),
                _ => self.touch().await,
            }
        }
    }

    /// One commit of `many` keys.
    async fn put(&mut self, many: u64) {
        let names: BTreeSet<String> = (0..many).map(|_| self.some_key()).collect();
        let from = self.position();
        let (group, mut changes, mut values) = (self.group(), Vec::new(), Vec::new());
        for name in names {
            let body = self.some_body();
            let Ok(change) = self.world.change(&name, &body) else { return };
            changes.push(change);
            values.push((name, Expected { body, validated: self.world.now() }));
        }
        let done = self.world.store.commit(changes).await.is_ok();
        let until = done.then(|| self.position());
        for (name, value) in values {
            self.model.claim(&name, Claim { from, until, group, value: Some(value) });
        }
    }

    /// Commits at the same time, which may share a transaction.
    async fn together(&mut self) {
        let names: BTreeSet<String> = (0..4).map(|_| self.some_key()).collect();
        let from = self.position();
        let mut waiting = Vec::new();
        for name in names {
            let body = self.some_body();
            let Ok(change) = self.world.change(&name, &body) else { continue };
            let value = Expected { body, validated: self.world.now() };
            waiting.push((self.group(), name, value, self.world.store.commit(vec![change])));
        }
        let mut done = Vec::new();
        for (group, name, value, commit) in waiting {
            done.push((group, name, value, self.world.tasks.spawn(commit)));
        }
        for (group, name, value, commit) in done {
            let until = commit.await.expect("no panic").is_ok().then(|| self.position());
            self.model.claim(&name, Claim { from, until, group, value: Some(value) });
        }
    }

    async fn remove(&mut self) {
        let (name, from, group) = (self.some_key(), self.position(), self.group());
        self.model.pinned.remove(&name);
        let done = self.world.store.commit(vec![Change::Remove { key: key(&name) }]).await.is_ok();
        let until = done.then(|| self.position());
        self.model.claim(&name, Claim { from, until, group, value: None });
    }

    async fn pin(&mut self) {
        let name = self.some_key();
        let is_there = self.world.found(&name).is_some();
        let pinned = is_there && self.model.pinned.is_empty();
        self.model.pinned.remove(&name);
        let done = self.world.store.commit(vec![pin(&name, pinned)]).await.is_ok();
        if done && pinned {
            self.model.pinned.insert(name, self.position());
        }
    }

    async fn evict(&mut self) {
        self.world.now.fetch_add(3 * HOUR.as_millis() as u64, Ordering::Relaxed);
        let (before, from) = (self.world.kept(), self.position());
        let done = self.world.evict().await;
        let after = if done { self.world.kept() } else { BTreeSet::new() };
        let until = done.then(|| self.position());
        for name in before.difference(&after) {
            assert!(!done || !self.model.pinned.contains_key(name), "{name} was pinned");
            let group = self.group();
            self.model.claim(name, Claim { from, until, group, value: None });
        }
    }

    async fn touch(&mut self) {
        let name = self.some_key();
        let entry = self.world.store.get(&key(&name)).expect("the index is read");
        if let Some(blob) = entry.and_then(|entry| entry.body.blob()) {
            self.world.store.touch(blob);
        }
        self.world.store.jobs.send(Job::Flush).await.expect("the writer lives");
    }

    /// Begins a long transfer, goes on with it, or throws it away. What it wrote is told by its entity tag.
    fn transfer(&mut self) {
        let name = format!("t{}", self.chance.of(TRANSFERS));
        let generation = self.chance.of(1 << 20);
        let Ok(partial) = self.world.store.partial(&key(&name)) else { return };
        match partial.progress() {
            Some(_) if self.chance.of(2) == 0 => partial.discard(),
            Some(kept) => {
                check_transfer(&*partial, &kept);
                let _ = go_on(&*partial, tag(&kept), kept.prefix + (64 << 20));
            }
            None => {
                let far = if self.chance.of(3) == 0 { 1 << 20 } else { 64 << 20 };
                let _ = go_on(&*partial, generation, far);
            }
        }
    }

    fn group(&mut self) -> u64 {
        self.model.groups += 1;
        self.model.groups
    }
}

/// Writes a few blocks of a long body, as if it had all arrived up to `prefix`.
fn go_on(partial: &dyn Partial, generation: u64, prefix: u64) -> Result<(), StoreError> {
    for offset in marks(prefix) {
        partial.write(offset, &[mark(generation, offset)])?;
    }
    partial.checkpoint(&Progress { etag: Some(generation.to_string()), ..progress(prefix) })
}

fn marks(prefix: u64) -> impl Iterator<Item = u64> {
    (0..prefix / (1 << 20)).step_by(16).map(|mebibyte| mebibyte << 20).chain([prefix - 4000])
}

fn mark(generation: u64, offset: u64) -> Bytes {
    format!("{generation}@{offset};").repeat(40).into()
}

fn tag(kept: &Progress) -> u64 {
    kept.etag.as_deref().and_then(|tag| tag.parse().ok()).expect("the tests' own tag")
}

/// Whatever is said to have arrived is there.
pub(super) fn check_transfer(partial: &dyn Partial, kept: &Progress) {
    for offset in (0..kept.prefix.saturating_sub(8192) >> 20).step_by(16).map(|at| at << 20) {
        let expected = mark(tag(kept), offset);
        let found = partial.read(offset, expected.len()).expect("it is read");
        assert_eq!(found, expected, "a transfer of {} bytes, at {offset}", kept.prefix);
    }
}
