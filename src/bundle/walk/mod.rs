//! From a name to the files behind it, by the requests that its clients make.
//!
//! A walk asks for the small things (a branch, a list of files, a project's page, a manifest) and gives the large ones as [`Item`]s, which it does not
//! fetch. Walks of packages lead to further packages where what they require is wanted; [`Plan`] goes on until nothing is new. Which version of those
//! will be installed, only an installer knows: the newest is taken that every requirement met so far allows, and where a later one rules that out,
//! another is taken as well. That is more than one installer needs, and for all of them rather enough.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use futures_util::stream::{self, StreamExt};

use crate::bundle::{Door, DoorError};
use crate::collect::{Dependencies, Package, Want, What};
use crate::types::{Algorithm, Digest};

mod hub;
mod images;
mod packages;

/// Walks under way at once.
const AT_ONCE: usize = 8;

/// Most things that one list may lead to.
const MOST_WALKS: usize = 100_000;

/// A file to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it belongs to, as people write it: `hf:org/model@main`.
    pub of: String,
    /// Its name within that.
    pub name: String,
    /// Below Larder's root.
    pub address: String,
    /// What the request must accept.
    pub accept: Option<&'static str>,
    /// Digests that its list names, the strongest last.
    pub digests: Vec<Digest>,
    pub size: Option<u64>,
    /// The digest that a lock file names, if that is of another kind than those.
    pub locked: Option<Digest>,
    /// The walk itself has just fetched it: it was not kept before.
    pub fetched: bool,
}

impl Item {
    /// The digest that its list names, if that is one to know its bytes by.
    pub fn strong_digest(&self) -> Option<Digest> {
        self.digests.last().copied().filter(|digest| digest.algorithm() >= Algorithm::Sha256)
    }
}

/// What a walk led to.
#[derive(Debug, Clone)]
pub struct Walked {
    pub want: Want,
    /// The commit, version or digest that was meant.
    pub exact: What,
    pub items: Vec<Item>,
    /// What it requires.
    further: Vec<Package>,
    /// What is worth knowing and no fault.
    pub notes: Vec<String>,
}

/// What could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    pub what: String,
    pub error: DoorError,
}

/// All walks of a list.
#[derive(Debug, Default)]
pub struct Plan {
    pub walked: Vec<Walked>,
    pub missed: Vec<Miss>,
}

impl Plan {
    /// Walks everything that is wanted, and what that requires.
    pub async fn make(door: &dyn Door, wants: Vec<Want>) -> Self {
        let mut plan = Self::default();
        let mut pins = Pins::of(&wants);
        let mut next: VecDeque<Want> = wants.into();
        while !next.is_empty() && plan.walked.len() + plan.missed.len() < MOST_WALKS {
            let round: Vec<Want> = next.drain(..).collect();
            let walks = round.into_iter().map(|want| async move {
                let walked = walk(door, &want).await;
                (want, walked)
            });
            let mut walks = stream::iter(walks).buffered(AT_ONCE);
            while let Some((want, walked)) = walks.next().await {
                match walked {
                    Ok((walked, missed)) => {
                        next.extend(
                            walked.further.iter().filter_map(|package| pins.follow(package, &want)),
                        );
                        plan.walked.push(walked);
                        plan.missed.extend(missed);
                    }
                    Err(error) => plan.missed.push(Miss { what: want.what.to_string(), error }),
                }
            }
        }
        plan
    }

    /// The addresses of files that are not kept and that nobody misses: wherever one of them would be used, another one that is kept will do.
    pub fn spared(&self, is_kept: impl Fn(&Item) -> bool) -> HashSet<&str> {
        let (mut spared, mut needed) = (HashSet::new(), HashSet::new());
        for walked in &self.walked {
            let here: HashSet<&str> = match walked.exact {
                What::Package(_) => packages::spared(walked, &is_kept).collect(),
                What::Hub(_) | What::Image(_) => HashSet::new(),
            };
            let addresses = walked.items.iter().map(|item| item.address.as_str());
            needed.extend(addresses.filter(|address| !here.contains(address)));
            spared.extend(here);
        }
        // What one list does without, another one may need.
        spared.difference(&needed).copied().collect()
    }

    /// Every file once.
    pub fn items(&self) -> Vec<Item> {
        let mut seen = HashSet::new();
        let items = self.walked.iter().flat_map(|walked| &walked.items);
        items.filter(|item| seen.insert((&item.address, &item.locked))).cloned().collect()
    }
}

/// Which versions of packages were asked for so far.
struct Pins {
    /// By index and project.
    allowed: BTreeMap<(Option<String>, String), Asked>,
}

#[derive(Default)]
struct Asked {
    /// All that was ever asked for, joined.
    allowed: Vec<String>,
    extras: BTreeSet<String>,
    /// Whether the list itself says which version.
    is_pinned: bool,
}

impl Pins {
    fn of(wants: &[Want]) -> Self {
        let mut pins = Self { allowed: BTreeMap::new() };
        for want in wants {
            let What::Package(package) = &want.what else { continue };
            let asked = pins.entry(package);
            asked.extras.extend(package.extras.iter().cloned());
            asked.is_pinned |= package.pinned().is_some();
            asked.note(&package.allowed);
        }
        pins
    }

    fn entry(&mut self, package: &Package) -> &mut Asked {
        self.allowed.entry((package.index.clone(), package.name.clone())).or_default()
    }

    /// What to fetch for a requirement; `None`: what was asked for before will do.
    fn follow(&mut self, package: &Package, by: &Want) -> Option<Want> {
        let asked = self.entry(package);
        let extras: BTreeSet<String> = package.extras.iter().cloned().collect();
        let is_new = asked.allowed.is_empty() && asked.extras.is_empty() && !asked.is_pinned;
        let more_extras = !extras.is_subset(&asked.extras);
        let more_limits = asked.note(&package.allowed);
        asked.extras.extend(extras);
        // A version that the list names is what will be installed; what else it may be is no matter.
        if !(more_extras || !asked.is_pinned && (is_new || more_limits)) {
            return None;
        }
        let package = Package {
            extras: asked.extras.iter().cloned().collect(),
            allowed: asked.allowed.join(","),
            ..package.clone()
        };
        Some(Want {
            platforms: by.platforms.clone(),
            python: by.python.clone(),
            dependencies: Dependencies::Followed,
            ..Want::all_of(What::Package(package))
        })
    }
}

impl Asked {
    /// Whether this says something new.
    fn note(&mut self, allowed: &str) -> bool {
        let parts = allowed.split(',').filter(|part| !part.is_empty());
        let before = self.allowed.len();
        for part in parts {
            if !self.allowed.iter().any(|known| known == part) {
                self.allowed.push(part.to_owned());
            }
        }
        self.allowed.len() > before
    }
}

async fn walk(door: &dyn Door, want: &Want) -> Result<(Walked, Vec<Miss>), DoorError> {
    let mut walked = match &want.what {
        What::Hub(revision) => hub::walk(door, want, revision).await,
        What::Package(package) => packages::walk(door, want, package).await,
        What::Image(image) => images::walk(door, want, image).await,
    }?;
    let missed = compare(&mut walked);
    Ok((walked, missed))
}

/// Holds what was found to what was locked, and drops what was not.
fn compare(walked: &mut Walked) -> Vec<Miss> {
    let mut missed = Vec::new();
    let locked = &walked.want.files;
    if locked.is_empty() {
        return missed;
    }
    let is_listed = |item: &&Item| {
        let has = |digest: &Digest| {
            locked.iter().any(|file| file.name.is_empty() && file.digest == digest.to_string())
        };
        locked.iter().any(|file| file.name == item.name) || item.digests.iter().any(has)
    };
    let listed: BTreeSet<String> =
        walked.items.iter().filter(is_listed).map(|item| item.name.clone()).collect();
    // The metadata beside a file is as good as locked: the file itself holds it.
    walked.items.retain(|item| {
        listed.contains(&item.name)
            || item.name.strip_suffix(".metadata").is_some_and(|file| listed.contains(file))
    });
    let what = walked.want.what.to_string();
    let mut miss = |name: &str, error| missed.push(Miss { what: format!("{what} {name}"), error });
    for file in locked.iter().filter(|file| !file.name.is_empty()) {
        let Some(at) = walked.items.iter().position(|item| item.name == file.name) else {
            // Only the files for some platforms were wanted: the others are not missed.
            let is_for = |platform: &crate::collect::Platform| platform.takes(&file.name);
            if walked.want.platforms.is_empty() || walked.want.platforms.iter().any(is_for) {
                miss(
                    &file.name,
                    DoorError::Missing("it is locked, and there is no such file".to_owned()),
                );
            }
            continue;
        };
        let Ok(digest) = file.digest.parse::<Digest>() else {
            miss(
                &file.name,
                DoorError::Failed(format!("{:?} is no digest that can be checked", file.digest)),
            );
            walked.items.remove(at);
            continue;
        };
        let item = &mut walked.items[at];
        match item.digests.iter().find(|known| known.algorithm() == digest.algorithm()) {
            Some(known) if *known == digest => {}
            Some(known) => {
                miss(
                    &file.name,
                    DoorError::Mismatch(format!("its digest is {known}, and {digest} is locked")),
                );
                let beside = format!("{}.metadata", file.name);
                walked.items.retain(|item| item.name != file.name && item.name != beside);
            }
            None => item.locked = Some(digest),
        }
    }
    let only_digests = locked.iter().all(|file| file.name.is_empty());
    if only_digests && walked.items.is_empty() {
        let error = DoorError::Mismatch("no file of it has a digest that is listed".to_owned());
        missed.push(Miss { what, error });
    }
    missed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::LockedFile;

    fn package(text: &str) -> Package {
        let Ok(What::Package(package)) = format!("pypi:{text}").parse() else { panic!("{text}") };
        package
    }

    #[test]
    fn requirements_are_followed_once_and_again_when_they_narrow() {
        let listed = Want::all_of(What::Package(package("a==1")));
        let mut pins = Pins::of(std::slice::from_ref(&listed));
        let mut follow =
            |text: &str| pins.follow(&package(text), &listed).map(|want| want.what.to_string());
        assert_eq!(follow("a>=0.5"), None, "it is pinned");
        assert_eq!(follow("a[x]").as_deref(), Some("pypi:a[x]==1,>=0.5"));
        assert_eq!(follow("b").as_deref(), Some("pypi:b"));
        assert_eq!(follow("c>=1").as_deref(), Some("pypi:c>=1"));
        assert_eq!(follow("c>=1"), None);
        assert_eq!(follow("c"), None);
        assert_eq!(follow("c<2").as_deref(), Some("pypi:c>=1,<2"));
    }

    #[test]
    fn what_is_locked_is_held_to() {
        let digest = |letter: &str| format!("sha256:{}", letter.repeat(64));
        let item = |name: &str, letter: &str| Item {
            of: "pypi:p==1".into(),
            name: name.into(),
            address: name.into(),
            accept: None,
            digests: vec![digest(letter).parse().expect("a digest")],
            size: None,
            locked: None,
            fetched: false,
        };
        let file =
            |name: &str, digest: String| LockedFile { name: name.into(), digest, size: None };
        let check = |files: Vec<LockedFile>, kept: &[&str], faults: &[&str]| {
            let what: What = "pypi:p==1".parse().expect("a name");
            let want = Want { files, ..Want::all_of(what.clone()) };
            let items = vec![item("a.zip", "a"), item("b.zip", "b")];
            let mut walked =
                Walked { want, exact: what, items, further: Vec::new(), notes: Vec::new() };
            let missed = compare(&mut walked);
            let names: Vec<&str> = walked.items.iter().map(|item| item.name.as_str()).collect();
            assert_eq!(names, kept);
            let said: Vec<String> =
                missed.iter().map(|miss| format!("{} {}", miss.what, miss.error)).collect();
            assert_eq!(said.len(), faults.len(), "{said:?}");
            assert!(said.iter().zip(faults).all(|(said, part)| said.contains(part)), "{said:?}");
        };
        check(Vec::new(), &["a.zip", "b.zip"], &[]);
        check(vec![file("a.zip", digest("a"))], &["a.zip"], &[]);
        check(vec![file("a.zip", digest("b"))], &[], &["pypi:p==1 a.zip its digest is sha256:aa"]);
        check(vec![file("c.zip", digest("b"))], &[], &["no such file"]);
        check(vec![file("a.zip", "crc:00".into())], &[], &["is no digest"]);
        check(vec![file("a.zip", format!("sha512:{}", "a".repeat(128)))], &["a.zip"], &[]);
        check(vec![file("", digest("b"))], &["b.zip"], &[]);
        check(vec![file("", digest("c"))], &[], &["no file of it"]);
    }
}
