//! Who vouches for an image, for rules that look at that: its signatures, found and verified.
//!
//! They are looked for under the tag that is named after the image's manifest, and among what refers to it. Where none of its own is verified, an index speaks for the images that
//! it names: a signature of the whole is one of its parts, as long as the index is kept here; it is looked for among the first [`MOST_KEPT`] manifests that are kept of the
//! repository. A manifest of signatures is itself vouched for by whoever made one of them, so that clients who verify signatures get them. Every step is
//! bounded: whoever can write to a repository can file any number of signatures.

use std::any::Any;
use std::collections::BTreeSet;

use crate::cache::failure::Failure;
use crate::cache::lookup::Document;
use crate::ecosystem::oci::complete::Wish;
use crate::ecosystem::oci::manifest::{self, Manifest};
use crate::ecosystem::oci::name;
use crate::ecosystem::oci::pull::Pull;
use crate::ecosystem::oci::readers::kept_only;
use crate::ecosystem::oci::referrers::{self, Referrers};
use crate::ecosystem::oci::registry::Reader;
use crate::ecosystem::oci::scope::Scope;
use crate::ecosystem::oci::signatures::filed::Filed;
use crate::ecosystem::oci::signatures::payload::Payload;
use crate::ecosystem::oci::signatures::within::Within;
use crate::ecosystem::oci::tag::{self, Pointer};
use crate::ecosystem::{Held, Step};
use crate::policy::{Ecosystem, Fact, Facts, Ruleset};
use crate::signature::image::{self, Voucher};
use crate::types::{CacheKey, Digest};

mod filed;
mod payload;
pub(super) mod within;

/// The facts that only signatures know.
const OF_SIGNATURES: [Fact; 4] =
    [Fact::Attested, Fact::AttestationVerified, Fact::AttestationFault, Fact::SignedBy];

/// Manifests of signatures that are looked into.
const MOST_FILED: usize = 16;

/// Signatures that are verified.
const MOST_SIGNATURES: usize = 64;

/// Kept manifests of a repository among which an index is looked for.
const MOST_KEPT: usize = 1024;

/// Indexes that may speak for an image.
const MOST_INDEXES: usize = 4;

/// Whether rules look at who vouches for an image.
pub fn is_needed(rules: &Ruleset) -> bool {
    OF_SIGNATURES.iter().any(|fact| rules.needs(Ecosystem::Oci, *fact))
}

/// What was found of an image's signatures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signed {
    is_attested: bool,
    by: BTreeSet<String>,
    /// Why the first one that is not believed is not.
    fault: Option<String>,
    gap: Gap,
}

/// Whether all that there is was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    #[default]
    Nothing,
    /// Something could not be had, and will not be soon.
    Lasting,
    /// Something could not be had just now.
    Passing,
}

impl Signed {
    /// Adds what came of it to the facts of the image.
    pub fn add(&self, facts: &mut Facts<'_>) {
        let is_verified = !self.by.is_empty();
        let is_whole = self.gap == Gap::Nothing;
        if self.gap == Gap::Passing {
            facts.await_all(&OF_SIGNATURES);
        }
        if self.is_attested || is_whole {
            facts.set(Fact::Attested, self.is_attested);
        }
        if is_verified || is_whole {
            facts.set(Fact::AttestationVerified, is_verified);
        }
        // Those who are found out about later can only be more.
        if is_verified || is_whole {
            facts.set(Fact::SignedBy, self.by.iter().cloned().collect::<Vec<_>>());
        }
        if !is_verified && is_whole {
            facts.set(Fact::AttestationFault, self.fault.clone());
        }
    }

    fn miss(&mut self, failure: &Failure) {
        let gap = if failure.is_passing() { Gap::Passing } else { Gap::Lasting };
        self.gap = self.gap.max(gap);
    }

    /// A signature that is there and is not believed.
    fn doubt(&mut self, why: impl ToString) {
        self.is_attested = true;
        self.fault.get_or_insert_with(|| why.to_string());
    }

    /// A signature that is there, as somebody says, and cannot be had. What upstream answers in its place is a fault of the signature: whoever files it could make it so.
    fn lack(&mut self, failure: &Failure) {
        match failure {
            Failure::BadAnswer(why) => self.doubt(format!("its signature cannot be had: {why}")),
            Failure::Absent => self.doubt("its signature cannot be had: it is not there"),
            other => {
                self.is_attested = true;
                self.miss(other);
            }
        }
    }
}

type Then = Box<dyn FnOnce(Pull, Option<Signed>) -> Step + Send>;

/// A look for signatures, under way.
struct Search {
    pull: Pull,
    scope: Scope,
    /// The manifest that is asked for.
    image: Digest,
    /// Whose signatures are looked for: its own, then those of indexes that name it.
    subjects: Vec<Digest>,
    is_of_indexes: bool,
    signed: Signed,
    then: Then,
}

/// A signature and the digest that it is to be of; `None`: of the one that it names.
type Sought = (Option<Digest>, Voucher);

impl Pull {
    /// Goes on with who vouches for an image, where rules look at that.
    pub(super) fn with_signatures(
        self,
        image: Digest,
        reader: Reader,
        then: impl FnOnce(Self, Option<Signed>) -> Step + Send + 'static,
    ) -> Step {
        if !is_needed(&self.ask.rules) {
            return then(self, None);
        }
        let document = self.manifest_document(image, &reader);
        let search = Search {
            scope: self.place.scope(&reader),
            pull: self,
            image,
            subjects: vec![image],
            is_of_indexes: false,
            signed: Signed::default(),
            then: Box::new(then),
        };
        need(vec![document], move |held| search.begin(held))
    }
}

impl Search {
    /// A manifest of signatures is looked into as it is; of any other one they are looked for.
    fn begin(mut self, held: Vec<Result<Held, Failure>>) -> Step {
        let held = match held.into_iter().next().unwrap_or(Err(Failure::NotKept)) {
            Ok(held) => held,
            Err(failure) => {
                self.signed.miss(&failure);
                return self.end();
            }
        };
        let own = held
            .parsed
            .get::<Manifest>()
            .map_or_else(Vec::new, |manifest| image::vouchers(&manifest.body, MOST_SIGNATURES + 1));
        if own.is_empty() {
            return self.look();
        }
        // Who vouches for it is in it: nobody else is asked.
        self.is_of_indexes = true;
        self.read(own.into_iter().map(|voucher| (None, voucher)).collect())
    }

    /// Looks where signatures of the subjects are filed.
    fn look(self) -> Step {
        let scope = &self.scope;
        let documents = self.subjects.iter().flat_map(|subject| {
            let tag = tag::document(scope, &filed::tag(subject), Wish::nothing());
            [
                filed::document(scope, subject),
                kept_only(tag),
                referrers::document(scope, subject, Wish::nothing()),
            ]
        });
        need(documents.collect(), move |held| self.looked(&held))
    }

    fn looked(mut self, held: &[Result<Held, Failure>]) -> Step {
        let mut found = Vec::new();
        let subjects = self.subjects.clone();
        for (subject, held) in subjects.into_iter().zip(held.chunks_exact(3)) {
            let [filed, tag, referrers] = held else { continue };
            let mut digests: Vec<Digest> = match (get::<Filed>(filed), get::<Pointer>(tag)) {
                (Ok(Filed(Some(digest))), _) => vec![*digest],
                (_, Ok(pointer)) => vec![pointer.digest],
                (Ok(Filed(None)), Err(_)) => Vec::new(),
                (Err(failure), Err(_)) => {
                    self.signed.miss(failure);
                    Vec::new()
                }
            };
            match get::<Referrers>(referrers) {
                Ok(all) => digests.extend(vouching(all)),
                Err(Failure::Absent) => {}
                Err(failure) => self.signed.miss(failure),
            }
            let mut seen = BTreeSet::new();
            digests.retain(|digest| seen.insert(digest.to_string()));
            found.extend(digests.into_iter().take(MOST_FILED).map(|digest| (subject, digest)));
        }
        if found.is_empty() {
            return self.end();
        }
        let documents = found.iter().map(|(_, digest)| self.manifest(*digest)).collect();
        need(documents, move |held| self.filed(&found, &held))
    }

    /// Reads the manifests of signatures that were found: of each, one more than is verified, to tell that there are too many.
    fn filed(mut self, found: &[(Digest, Digest)], held: &[Result<Held, Failure>]) -> Step {
        let mut sought = Vec::new();
        for ((subject, _), held) in found.iter().zip(held) {
            match get::<Manifest>(held) {
                Ok(manifest) => {
                    let vouchers = image::vouchers(&manifest.body, MOST_SIGNATURES + 1);
                    if vouchers.is_empty() {
                        self.signed.doubt("its signature is filed as something else");
                    }
                    sought.extend(vouchers.into_iter().map(|one| (Some(*subject), one)));
                }
                Err(failure) => self.signed.lack(failure),
            }
        }
        self.read(sought)
    }

    /// Reads the signatures themselves.
    fn read(mut self, mut sought: Vec<Sought>) -> Step {
        let is_cut = sought.len() > MOST_SIGNATURES;
        sought.truncate(MOST_SIGNATURES);
        if is_cut {
            self.signed.doubt(format!("more than {MOST_SIGNATURES} signatures are filed"));
        }
        let mut read = Vec::new();
        let mut documents = Vec::new();
        for (subject, voucher) in sought {
            match name::digest(&voucher.digest) {
                Ok(_) if voucher.size.is_some_and(|size| size > payload::LIMIT_BYTES) => {
                    self.signed.doubt("its signature is too large to be one");
                }
                Ok(digest) => {
                    documents.push(payload::document(&self.scope, digest));
                    read.push((subject, voucher));
                }
                Err(fault) => self.signed.doubt(fault),
            }
        }
        need(documents, move |held| self.verify(&read, &held))
    }

    fn verify(mut self, sought: &[Sought], held: &[Result<Held, Failure>]) -> Step {
        let trust = &self.pull.trust;
        for ((subject, voucher), held) in sought.iter().zip(held) {
            let payload = match get::<Payload>(held) {
                Ok(payload) => payload,
                Err(failure) => {
                    self.signed.lack(failure);
                    continue;
                }
            };
            let subject = match subject {
                Some(subject) => Some(subject.to_string()),
                None => voucher.names(&payload.bytes),
            };
            match payload.verified(voucher, trust, &subject.unwrap_or_default()) {
                Ok(signer) => {
                    self.signed.is_attested = true;
                    self.signed.by.insert(signer);
                }
                Err(fault) => self.signed.doubt(fault),
            }
        }
        self.end()
    }

    /// Goes on with what was found, unless an index may still speak for the image.
    fn end(self) -> Step {
        if self.is_of_indexes || !self.signed.by.is_empty() {
            return (self.then)(self.pull, Some(self.signed));
        }
        let within = within::document(&self.scope, &self.image);
        need(vec![within], move |held| {
            let noted = held.first().and_then(|held| get::<Within>(held).ok());
            let noted = noted.map(|Within(index)| *index);
            self.among_kept(noted)
        })
    }

    /// Looks for indexes that name the image: the one that is noted, and others among what is kept.
    fn among_kept(mut self, noted: Option<Digest>) -> Step {
        self.is_of_indexes = true;
        Step::Names {
            under: self.scope.key(&manifest::prefix(&self.scope)),
            after: None,
            limit: MOST_KEPT,
            then: Box::new(move |names| self.among(noted, &names)),
        }
    }

    fn among(mut self, noted: Option<Digest>, names: &[CacheKey]) -> Step {
        let kept = names.iter().filter_map(|key| key.name().rsplit_once('@'));
        let kept = kept.filter_map(|(_, digest)| name::digest(digest).ok());
        let kept = kept.filter(|digest| Some(*digest) != noted && *digest != self.image);
        let digests: Vec<Digest> = noted.into_iter().chain(kept).collect();
        let documents = digests.iter().map(|digest| kept_only(self.manifest(*digest))).collect();
        need(documents, move |held| {
            let image = self.image;
            let names_it = |held: &Result<Held, Failure>| {
                let children = get::<Manifest>(held).map(|manifest| &manifest.content.children);
                children.is_ok_and(|all| all.iter().any(|child| child.digest == image))
            };
            let indexes = digests.into_iter().zip(&held).filter(|(_, held)| names_it(held));
            self.subjects = indexes.map(|(digest, _)| digest).take(MOST_INDEXES).collect();
            match self.subjects.is_empty() {
                true => self.end(),
                false => self.look(),
            }
        })
    }

    fn manifest(&self, digest: Digest) -> Document {
        manifest::document(&self.scope, digest, Wish::nothing())
    }
}

/// What refers to an image and may vouch for it.
fn vouching(all: &Referrers) -> impl Iterator<Item = Digest> {
    let descriptors = all.descriptors(None).into_iter();
    descriptors.filter_map(|one| {
        let is_one = one["artifactType"].as_str().is_some_and(image::is_voucher);
        is_one.then(|| name::digest(one["digest"].as_str()?).ok()).flatten()
    })
}

/// A document of another kind is none.
fn get<T: Any + Send + Sync>(held: &Result<Held, Failure>) -> Result<&T, &Failure> {
    static NONE: Failure = Failure::NotKept;
    held.as_ref().and_then(|held| held.parsed.get().ok_or(&NONE))
}

fn need(
    documents: Vec<Document>,
    then: impl FnOnce(Vec<Result<Held, Failure>>) -> Step + Send + 'static,
) -> Step {
    Step::Need { documents, then: Box::new(then) }
}
