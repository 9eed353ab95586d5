//! How much memory this process has, and whom to turn away before there is none left.
//!
//! What nobody can count (buffers of connections and of bodies on their way, the allocator's own) is not counted: the kernel says what the process has, and
//! that is looked at every few milliseconds while requests come. Beyond the limit new ones get 503. A few are let in all the same: an allocator
//! does not give back all that it has, and a server that has become large once must not refuse everybody for ever.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};

/// Requests that may be under way whatever the memory is.
const FEW: usize = 8;

/// How long one look counts.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// No machine has as many bytes.
const UNLIMITED: u64 = 1 << 60;

/// Of what the system allows, the part that may be used: what is under way needs some more to come to its end.
const PERCENT: u64 = 85;

/// Watches the memory of the process.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Most bytes that are the process's own and in memory.
    most_resident: Option<u64>,
    /// Most bytes of addresses (`ulimit -v`): beyond them an allocation fails, and with it the process.
    most_addresses: Option<u64>,
    under_way: AtomicUsize,
    is_over: AtomicBool,
    began: Instant,
    /// When it was looked last, in milliseconds since it began; 0: never.
    looked: AtomicU64,
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Right(Option<Arc<Memory>>);

impl Memory {
    /// `configured`: the limit that the settings name; else what a control group allows, if one does.
    pub(crate) fn new(configured: Option<u64>) -> Self {
        let part = |bytes: u64| bytes / 100 * PERCENT;
        Self {
            most_resident: configured.or_else(|| of_groups().map(part)),
            most_addresses: getrlimit(Resource::As).current.map(part),
            under_way: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            began: Instant::now(),
            looked: AtomicU64::new(0),
        }
    }

    /// The limit, for the log.
    pub(crate) const fn limit(&self) -> Option<u64> {
        self.most_resident
    }

    /// Lets a request in. `None`: there is no memory for it.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Right> {
        if !self.is_limited() {
            return Some(Right(None));
        }
        if self.is_crowded() {
            return None;
        }
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Some(Right(Some(Arc::clone(self))))
    }

    /// Whether there is too little memory for more than a few.
    pub(crate) fn is_crowded(&self) -> bool {
        self.is_limited() && self.under_way.load(Ordering::Relaxed) >= FEW && self.is_over()
    }

    /// Whether there is too little memory for a connection beside `others`.
    pub(crate) fn is_crowded_by(&self, others: usize) -> bool {
        self.is_limited() && others >= FEW && self.is_over()
    }

    const fn is_limited(&self) -> bool {
        self.most_resident.is_some() || self.most_addresses.is_some()
    }

    fn is_over(&self) -> bool {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let looked = self.looked.load(Ordering::Relaxed);
        let is_due = looked == 0 || now >= looked + LOOK_EVERY.as_millis() as u64;
        if is_due && self.looked.swap(now, Ordering::Relaxed) == looked {
            let used = used(Path::new("/proc/self/statm"));
            let is_over = used.is_some_and(|used| {
                self.most_resident.is_some_and(|most| used.resident > most)
                    || self.most_addresses.is_some_and(|most| used.addresses > most)
            });
            if self.is_over.swap(is_over, Ordering::Relaxed) != is_over {
                let resident_bytes = used.map_or(0, |used| used.resident);
                match is_over {
                    true => tracing::warn!(
                        resident_bytes,
                        "memory runs short; new requests are refused"
                    ),
                    false => tracing::info!(resident_bytes, "there is memory again"),
                }
            }
        }
        self.is_over.load(Ordering::Relaxed)
    }
}

impl Drop for Right {
    fn drop(&mut self) {
        if let Some(memory) = &self.0 {
            memory.under_way.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Used {
    addresses: u64,
    /// Without what is of files, which the kernel can take back.
    resident: u64,
}

/// What the kernel says (`proc_pid_statm(5)`). `None`: it says nothing, as on systems without `/proc`; then there is no limit.
fn used(statm: &Path) -> Option<Used> {
    let text = fs::read_to_string(statm).ok()?;
    let mut pages = text.split(' ').map_while(|field| field.trim().parse::<u64>().ok());
    let (addresses, resident, shared) = (pages.next()?, pages.next()?, pages.next()?);
    let page_bytes = rustix::param::page_size() as u64;
    Some(Used {
        addresses: addresses * page_bytes,
        resident: resident.saturating_sub(shared) * page_bytes,
    })
}

/// What the control groups around this process allow it, if anything.
fn of_groups() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    allowed(&groups, Path::new("/sys/fs/cgroup"))
}

/// The least limit of the groups that `/proc/self/cgroup` names, which are below `root`: `memory.max` in version 2, `memory.limit_in_bytes` in
/// version 1, where each controller has a tree of its own (`cgroups(7)`).
fn allowed(groups: &str, root: &Path) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        let group = group.trim_start_matches('/');
        match controllers.split(',').find(|name| name.is_empty() || *name == "memory")? {
            "" => least(root, &root.join(group), "memory.max"),
            tree => {
                let root = root.join(tree);
                least(&root, &root.join(group), "memory.limit_in_bytes")
            }
        }
    });
    limits.min()
}

/// The least limit from a group up to the root of its tree.
fn least(root: &Path, group: &Path, file: &str) -> Option<u64> {
    let within = group.ancestors().take_while(|group| group.starts_with(root));
    let limits = within.filter_map(|group| {
        let text = fs::read_to_string(group.join(file)).ok()?;
        // Version 1 writes "no limit" as the largest number of pages there is.
        text.trim().parse().ok().filter(|bytes| *bytes < UNLIMITED)
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(most_resident: Option<u64>) -> Arc<Memory> {
        let memory = Memory::new(most_resident.or(Some(u64::MAX)));
        Arc::new(Memory { most_addresses: None, ..memory })
    }

    #[test]
    fn beyond_the_limit_a_few_are_let_in_and_more_when_they_are_done() {
        let tight = memory(Some(1));
        let mut rights: Vec<Right> = (0..FEW).map_while(|_| tight.admit()).collect();
        assert_eq!(rights.len(), FEW);
        assert!(tight.admit().is_none() && tight.is_crowded());
        assert!(tight.is_crowded_by(FEW) && !tight.is_crowded_by(FEW - 1));
        rights.pop();
        assert!(!tight.is_crowded() && tight.admit().is_some());
        let ample = memory(None);
        let rights: Vec<Right> = (0..100).map_while(|_| ample.admit()).collect();
        assert_eq!((rights.len(), ample.is_crowded()), (100, false));
    }

    #[test]
    fn the_kernel_says_what_is_used() {
        let used = used(Path::new("/proc/self/statm")).expect("this system has /proc");
        assert!(used.resident > 1 << 20 && used.addresses > used.resident, "{used:?}");
        assert_eq!(super::used(Path::new("/nowhere")), None);
    }

    #[test]
    fn the_least_limit_of_all_groups_counts_in_both_layouts() {
        let check = |groups: &str, files: &[(&str, &str)], expected: Option<u64>| {
            let root = tempfile::tempdir().expect("a temporary folder can be made");
            for (file, text) in files {
                let file = root.path().join(file);
                fs::create_dir_all(file.parent().expect("it is in a folder")).expect("made");
                fs::write(file, text).expect("it can be written");
            }
            assert_eq!(allowed(groups, root.path()), expected, "{groups:?} {files:?}");
        };
        let second = "0::/a/b\n";
        check(second, &[], None);
        check(second, &[("a/b/memory.max", "max\n")], None);
        check(second, &[("a/memory.max", "1000\n"), ("a/b/memory.max", "5000\n")], Some(1000));
        let first = "5:cpu,memory:/a/b\n1:name=systemd:/c\n";
        let none = "9223372036854771712\n";
        let (outer, inner) = ("memory/a/memory.limit_in_bytes", "memory/a/b/memory.limit_in_bytes");
        check(first, &[("memory/memory.limit_in_bytes", none), (inner, none)], None);
        check(first, &[(outer, "1000\n"), (inner, "5000\n"), ("memory.max", "9\n")], Some(1000));
        // A container may see the tree's root in the place of its own group, which is named as the host has it.
        check(first, &[("memory/memory.limit_in_bytes", "700\n")], Some(700));
        let both = "4:memory:/a\n0::/a\n";
        check(both, &[(outer, "1000\n"), ("unified/a/memory.max", "9\n")], Some(1000));
        check("nonsense\n::\n", &[], None);
    }
}
