//! Power is lost at every point of a run, and every call fails once: what was acknowledged is there and right, and nothing else is to be seen.
//!
//! A run is a seeded row of fills, refreshes, removals, pins, evictions, sweeps, interrupted transfers and restarts over [`Disk`]. `LARDER_SEED` repeats
//! one, `LARDER_CRASH_POINTS` says how many of its points are tried (0: all of them).

use std::collections::{BTreeMap, BTreeSet};

use super::simulated::{Chance, Disk, Failure, Luck, Platter};
use super::*;

/// Names of what is kept for its body, and of interrupted transfers.
const KEYS: u64 = 12;
const TRANSFERS: u64 = 2;
/// More than this much of bodies is evicted.
const BUDGET: u64 = 300 << 10;
/// Calls in which the index is made.
const FIRST_START: usize = 40;
/// Reads of the index that opening it may take, whatever it holds.
const MOST_READS: u64 = 100;

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What is expected under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Expected {
    body: Vec<u8>,
    validated: Timestamp,
}

/// A change of one key: between which calls it was made. Without an end it was refused, and may have happened or not.
#[derive(Debug, Clone)]
struct Claim {
    from: usize,
    until: Option<usize>,
    group: u64,
    value: Option<Expected>,
}

/// Everything that was asked of the store, by key.
#[derive(Debug, Clone, Default)]
struct Model {
    claims: BTreeMap<String, Vec<Claim>>,
    groups: u64,
    /// Pinned for certain, and since when.
    pinned: BTreeMap<String, usize>,
}

impl Model {
    fn claim(&mut self, name: &str, claim: Claim) {
        self.claims.entry(name.to_owned()).or_default().push(claim);
    }

    /// What may be found under a key after `point` calls.
    fn allowed(&self, name: &str, point: usize) -> Vec<Option<Expected>> {
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
    fn under_way(&self, point: usize) -> BTreeMap<u64, Vec<(&str, &Claim)>> {
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
struct World {
    directory: Arc<TempDir>,
    disk: Disk,
    now: Arc<AtomicU64>,
    tasks: TaskTracker,
    stop: CancellationToken,
    store: DiskStore,
}

impl World {
    fn open(directory: Arc<TempDir>, disk: Disk, now: Timestamp) -> Result<Self, StoreError> {
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

    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::Relaxed))
    }

    async fn close(self) -> (Arc<TempDir>, Disk, Timestamp) {
        let now = self.now();
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        (self.directory, self.disk, now)
    }

    fn found(&self, name: &str) -> Option<Expected> {
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

    fn kept(&self) -> BTreeSet<String> {
        let keys = self.store.scan("", None, 999).expect("the index is read");
        keys.iter().map(|key| key.name().to_owned()).collect()
    }

    /// Puts `body` under `name`, as a blob where it is long. `None`: it could not be sealed.
    fn change(&self, name: &str, body: &[u8]) -> Result<Change, StoreError> {
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
    async fn evict(&self) -> bool {
        self.store.evictor(&self.tasks).make_room().await.is_ok()
    }

    async fn sweep(&self) {
        let config = Config { partial_ttl: 1_000_000 * HOUR, ..Config::default() };
        let mut sweeper = self.store.sweeper(&config, &self.tasks);
        for _ in 0..=blobs::LAST_SHARD {
            let _ = sweeper.step().await;
        }
    }
}

/// A run under way.
struct Run {
    world: World,
    model: Model,
    chance: Chance,
    bodies: Vec<Vec<u8>>,
}

impl Run {
    fn new(seed: u64, boot: u64) -> (Self, Platter) {
        Self::over(directory(), seed, boot, Model::default())
    }

    /// A run over what a directory holds already.
    fn over(directory: Arc<TempDir>, seed: u64, boot: u64, model: Model) -> (Self, Platter) {
        let disk = Disk::over(directory.path(), boot);
        let platter = disk.platter();
        let world = World::open(directory, disk, START).expect("it opens");
        (Self { world, model, chance: Chance(seed), bodies: Vec::new() }, platter)
    }

    fn position(&self) -> usize {
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

    async fn run(&mut self, steps: u64) {
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
fn check_transfer(partial: &dyn Partial, kept: &Progress) {
    for offset in (0..kept.prefix.saturating_sub(8192) >> 20).step_by(16).map(|at| at << 20) {
        let expected = mark(tag(kept), offset);
        let found = partial.read(offset, expected.len()).expect("it is read");
        assert_eq!(found, expected, "a transfer of {} bytes, at {offset}", kept.prefix);
    }
}

/// Looks at what is found after a crash and goes on with it.
async fn check(image: Arc<TempDir>, model: &Model, point: usize, boot: u64) {
    let disk = Disk::over(image.path(), boot);
    let world = World::open(image, disk, START).expect("a crash never keeps it from opening");
    assert_eq!(world.disk.repairs.load(Ordering::Relaxed), 0, "opening repaired something");
    let reads = world.disk.reads.load(Ordering::Relaxed);
    assert!(reads <= MOST_READS, "opening read {reads} pages");
    compare(&world, model, point);
    only_whole_blobs(&world);
    for transfer in 0..TRANSFERS {
        let partial = world.store.partial(&key(&format!("t{transfer}"))).expect("it opens");
        if let Some(kept) = partial.progress() {
            check_transfer(&*partial, &kept);
        }
    }
    // It goes on: space is made, but not of what is pinned, and new things are kept.
    world.now.fetch_add(100 * HOUR.as_millis() as u64, Ordering::Relaxed);
    world.evict().await;
    for (name, since) in &model.pinned {
        let certain = *since <= point && !model.allowed(name, point).contains(&None);
        assert!(!certain || world.found(name).is_some(), "{name} was pinned");
    }
    let body = vec![7; 40_000];
    let change = world.change("afterwards", &body).expect("there is room");
    world.store.commit(vec![change]).await.expect("the store takes writes");
    assert_eq!(world.found("afterwards").map(|found| found.body), Some(body));
    world.close().await;
}

/// Each key has what it should have, or what was about to replace that; a commit is there as a whole or not at all.
fn compare(world: &World, model: &Model, point: usize) {
    for name in world.kept() {
        assert!(model.claims.contains_key(&name), "{name} was never kept");
    }
    for name in model.claims.keys() {
        let (found, allowed) = (world.found(name), model.allowed(name, point));
        let told = |value: &Option<Expected>| {
            value.as_ref().map(|value| (value.body.len(), value.validated))
        };
        let expected: Vec<_> = allowed.iter().map(told).collect();
        assert!(allowed.contains(&found), "{name}: {:?} not in {expected:?}", told(&found));
    }
    for claims in model.under_way(point).values() {
        let applied: BTreeSet<bool> =
            claims.iter().map(|(name, claim)| world.found(name) == claim.value).collect();
        let names: Vec<_> = claims.iter().map(|(name, _)| name).collect();
        assert!(applied.len() < 2, "half a commit: {names:?}");
    }
}

/// Whatever has a blob's name has its bytes.
fn only_whole_blobs(world: &World) {
    for shard in fs::read_dir(world.directory.path().join("blobs")).expect("it is there") {
        for file in fs::read_dir(shard.expect("it is read").path()).expect("it is there") {
            let file = file.expect("it is read");
            let bytes = fs::read(file.path()).expect("it is read");
            assert_eq!(BlobId::of(&bytes).to_hex(), *file.file_name().to_string_lossy());
        }
    }
}

/// Tries `most` points of a record, or all of them; after some the run goes on and is cut off again.
async fn crash_everywhere(run: Run, mut platter: Platter, seed: u64, most: u64) {
    let Run { world, model, mut chance, .. } = run;
    let ops = world.disk.ops();
    world.close().await;
    let stride = (ops.len() as u64).checked_div(most).unwrap_or(1).max(1);
    let (offset, is_new) = (chance.of(stride), platter.is_new());
    let mut faults = Chance(seed ^ 0xf417);
    for point in 0..=ops.len() {
        if point > 0 {
            platter.apply(&ops[point - 1], &mut faults);
        }
        // The first start is short, and every point of it counts.
        let is_first = is_new && point < FIRST_START;
        if point as u64 % stride != offset && !is_first {
            continue;
        }
        let lucks = [Luck::Some, Luck::Nothing, Luck::Some, Luck::Everything];
        let luck = lucks[if is_first { point % 4 } else { point / stride as usize % 4 }];
        let image = directory();
        platter.crash(image.path(), luck, &mut chance);
        eprintln!("LARDER_SEED={seed}: after {point} of {} calls, {luck:?}", ops.len());
        check(image, &model, point, 2).await;
    }
}

#[tokio::test]
async fn power_lost_at_any_point_loses_nothing_acknowledged() {
    let (seed, points) = (variable("LARDER_SEED", 1), variable("LARDER_CRASH_POINTS", 150));
    let (mut run, platter) = Run::new(seed, 1);
    run.run(70).await;
    crash_everywhere(run, platter, seed, points).await;
}

#[tokio::test]
async fn power_lost_again_after_a_crash_loses_nothing_either() {
    let (seed, points) = (variable("LARDER_SEED", 1), variable("LARDER_CRASH_POINTS", 60));
    let rounds = if points == 0 { 40 } else { 3 };
    let (mut run, mut platter) = Run::new(seed, 1);
    run.run(40).await;
    let Run { world, model, mut chance, .. } = run;
    let ops = world.disk.ops();
    world.close().await;
    let points: BTreeSet<usize> =
        (0..rounds).map(|_| 600 + chance.of(ops.len() as u64 - 600) as usize).collect();
    for (position, op) in ops.iter().enumerate() {
        platter.apply(op, &mut chance);
        if !points.contains(&(position + 1)) {
            continue;
        }
        let image = directory();
        platter.crash(image.path(), Luck::Some, &mut chance);
        let settled = settled(&image, &model, position + 1).await;
        let (mut second, platter) = Run::over(image, seed + position as u64, 2, settled);
        second.run(12).await;
        crash_everywhere(second, platter, seed, variable("LARDER_CRASH_POINTS", 60) / 4).await;
    }
}

/// What a crash has decided: from here on it is what was acknowledged.
async fn settled(image: &TempDir, model: &Model, point: usize) -> Model {
    let copy = directory();
    copy_all(image.path(), copy.path()).expect("there is room");
    let disk = Disk::over(copy.path(), 2);
    let world = World::open(copy, disk, START).expect("it opens");
    compare(&world, model, point);
    let mut settled = Model::default();
    for name in model.claims.keys() {
        let value = world.found(name);
        settled.claim(name, Claim { from: 0, until: Some(0), group: 0, value });
    }
    world.close().await;
    settled
}

#[tokio::test]
async fn a_call_that_fails_is_told_and_never_believed() {
    let (seed, points) = (variable("LARDER_SEED", 1), variable("LARDER_CRASH_POINTS", 60));
    let (mut healthy, _) = Run::new(seed, 1);
    let first = healthy.world.disk.calls();
    healthy.run(25).await;
    let last = healthy.world.disk.calls();
    healthy.world.close().await;
    let stride = (last - first).checked_div(points).unwrap_or(1).max(1);
    for (round, call) in (first..last).step_by(stride as usize).enumerate() {
        let (many, how) = match round % 4 {
            0 => (1, Failure::Error),
            1 => (1, Failure::Full),
            2 => (3, Failure::Error),
            _ => (u64::MAX, Failure::Full),
        };
        eprintln!("LARDER_SEED={seed}: {many} calls fail from {call} on, {how:?}");
        let (mut run, mut platter) = Run::new(seed, 1);
        run.world.disk.fail(call, many, how);
        run.run(25).await;
        run.world.disk.heal();
        run.world.store.jobs.send(Job::Reopen).await.expect("the writer lives");
        run.run(3).await;
        assert!(run.world.store.usage().writable);
        let end = run.position();
        compare(&run.world, &run.model, end);
        let Run { world, model, mut chance, .. } = run;
        let ops = world.disk.ops();
        world.close().await;
        ops[..end].iter().for_each(|op| platter.apply(op, &mut chance));
        let image = directory();
        platter.crash(image.path(), Luck::Some, &mut chance);
        check(image, &model, end, 2).await;
    }
}

/// A process that is killed after a blob has its name and before the name is durable leaves a file that the next one may take for its own.
#[tokio::test]
async fn a_name_that_a_killed_process_left_is_made_durable_before_it_is_relied_on() {
    let (run, mut platter) = Run::new(1, 1);
    let (world, body) = (run.world, vec![5; 20_000]);
    let blob = BlobId::of(&body);
    let left = world.directory.path().join("partials").join("left");
    let file = world.disk.open(&left).expect("there is room");
    world.disk.write(&file, &[IoSlice::new(&body)], 0).expect("there is room");
    world.disk.sync(&file).expect("nothing fails");
    world.disk.rename(&left, &world.store.shared.blobs.path(blob)).expect("nothing fails");
    world.store.commit(vec![put("a", entry_of(blob, 20_000))]).await.expect("it is whole");
    let mut chance = Chance(1);
    world.disk.ops().iter().for_each(|op| platter.apply(op, &mut chance));
    world.close().await;
    let image = directory();
    platter.crash(image.path(), Luck::Nothing, &mut chance);
    let world = World::open(Arc::clone(&image), Disk::over(image.path(), 2), START);
    let world = world.expect("it opens");
    assert_eq!(world.found("a").map(|found| found.body), Some(body));
    world.close().await;
}
