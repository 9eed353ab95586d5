//! Power is lost at every point of a run, and every call fails once: what was acknowledged is there and right, and nothing else is to be seen.
//!
//! A run is a seeded row of fills, refreshes, removals, pins, evictions, sweeps, interrupted transfers and restarts over [`Disk`]. `LARDER_SEED` repeats
//! one, `LARDER_CRASH_POINTS` says how many of its points are tried (0: all of them).

use std::collections::BTreeSet;

use super::platter::{Chance, Luck, Platter};
use super::run::{Claim, Expected, Model, Run, TRANSFERS, World, check_transfer};
use super::simulated::{Disk, Failure};
use super::*;

/// Calls in which the index is made.
const FIRST_START: usize = 40;
/// Reads of the index that opening it may take, whatever it holds.
const MOST_READS: u64 = 100;

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
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
    let (seed, points) = (variable("LARDER_SEED", 1), variable("LARDER_CRASH_POINTS", 40));
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
