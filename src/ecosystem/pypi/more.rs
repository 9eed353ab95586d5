//! What rules look at that a project's page does not say: documents of the release that is asked for, and of those before it.

use crate::cache::failure::Failure;
use crate::cache::lookup::{Demand, Document, Parsed};
use crate::ecosystem::Held;
use crate::ecosystem::pypi::page::{File, Page, Provenance};
use crate::ecosystem::pypi::reach::Reach;
use crate::ecosystem::pypi::{facts, legacy, name, provenance};
use crate::policy::fact::Value;
use crate::policy::{Ecosystem, Fact, Facts, Ruleset};

/// What a document is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Release,
    Provenance,
    FormerRelease,
    FormerProvenance,
}

/// The documents that rules need, and the releases before that they are compared with.
#[derive(Default)]
pub struct More {
    parts: Vec<Part>,
    got: Vec<Result<Held, Failure>>,
    /// Whether there is a release before this one.
    has_former: bool,
    /// The newest file of an earlier release that somebody vouches for.
    vouched: Option<File>,
}

impl More {
    /// Finds out what is needed for a file of a page. `provenance_of` knows the document of a file's provenance object.
    pub fn wanted(
        reach: &Reach,
        page: &Page,
        file: &File,
        rules: &Ruleset,
        provenance_of: impl Fn(&File) -> Option<Document>,
    ) -> (Self, Vec<Document>) {
        let mut more = Self::default();
        let mut documents = Vec::new();
        let mut add = |part: Part, document: Option<Document>| {
            if let Some(document) = document {
                more.parts.push(part);
                documents.push(document);
            }
        };
        let release = |file: &File| {
            let version = name::version_of(&page.name, &file.filename)?;
            legacy::document(reach, page, Some(version), Demand::AnyAge)
        };
        let needs = |fact| rules.needs(Ecosystem::PyPi, fact);
        if facts::needs_release(rules) {
            add(Part::Release, release(file));
        }
        if provenance::is_needed(rules) {
            add(Part::Provenance, provenance_of(file));
        }
        let mut has_former = false;
        if needs(Fact::LicenceChanged)
            && let Some(former) = newest_before(page, file, |_| true)
        {
            has_former = true;
            add(Part::FormerRelease, release(former));
        }
        let vouched = match needs(Fact::PublisherChanged) {
            true => newest_before(page, file, |one| {
                matches!(one.attributes().provenance, Provenance::At(_))
            }),
            false => None,
        };
        if let Some(former) = vouched {
            add(Part::FormerProvenance, provenance_of(former));
        }
        more.has_former = has_former;
        more.vouched = vouched.cloned();
        (more, documents)
    }

    /// With the documents that were wanted, in their order.
    #[must_use]
    pub fn with(self, got: Vec<Result<Held, Failure>>) -> Self {
        Self { got, ..self }
    }

    /// Adds what they say to the facts of a file.
    pub fn add(&self, facts: &mut Facts<'_>, file: &File, rules: &Ruleset) {
        if let Some(release) = self.document(Part::Release) {
            facts::add_release(facts, release);
        } else if self.may_come(Part::Release) {
            facts.await_all(&facts::OF_RELEASE);
        }
        if provenance::is_needed(rules) {
            provenance::add(facts, self.document(Part::Provenance), file);
            if self.may_come(Part::Provenance) {
                facts.await_all(&provenance::VERIFIED);
            }
        }
        if rules.needs(Ecosystem::PyPi, Fact::LicenceChanged) {
            self.compare_licences(facts);
        }
        if rules.needs(Ecosystem::PyPi, Fact::PublisherChanged) {
            self.compare_publishers(facts, file);
        }
    }

    fn compare_licences(&self, facts: &mut Facts<'_>) {
        if self.document(Part::Release).is_none() {
            return;
        }
        if !self.has_former {
            return facts.set(Fact::LicenceChanged, false);
        }
        match self.document(Part::FormerRelease).and_then(facts::licence_of_release) {
            Some(former) => {
                let is_other = former.as_deref() != facts.text(Fact::Licence);
                facts.set(Fact::LicenceChanged, is_other);
            }
            None if self.may_come(Part::FormerRelease) => {
                facts.await_all(&[Fact::LicenceChanged]);
            }
            None => {}
        }
    }

    /// Where somebody vouched for an earlier release, another one who does for this one is a change, and nobody at all is one, too.
    fn compare_publishers(&self, facts: &mut Facts<'_>, file: &File) {
        let Some(former) = &self.vouched else {
            return facts.set(Fact::PublisherChanged, false);
        };
        let mut then = Facts::of(Ecosystem::PyPi, Value::Unknown);
        then.digest = former.hashes.sha256().map(|digest| format!("sha256:{digest}").into());
        provenance::add(&mut then, self.document(Part::FormerProvenance), former);
        if self.may_come(Part::FormerProvenance) {
            facts.await_all(&[Fact::PublisherChanged]);
        }
        let Some(before) = then.text(Fact::AttestedPublisher) else { return };
        // Where the page names an object for a file of an earlier release, it would name one for this file, too.
        let is_unvouched = !matches!(file.attributes().provenance, Provenance::At(_));
        let is_other = match facts.text(Fact::AttestedPublisher) {
            Some(now) => Some(now != before),
            None => is_unvouched.then_some(true),
        };
        facts.set(Fact::PublisherChanged, is_other);
    }

    fn got(&self, part: Part) -> Option<&Result<Held, Failure>> {
        let place = self.parts.iter().position(|one| *one == part)?;
        self.got.get(place)
    }

    fn document(&self, part: Part) -> Option<&Parsed> {
        self.got(part)?.as_ref().ok().map(|held| &held.parsed)
    }

    /// Whether it could not be had just now.
    fn may_come(&self, part: Part) -> bool {
        matches!(self.got(part), Some(Err(failure)) if failure.is_passing())
    }
}

/// The file of the highest version below a file's own that was published no later: what its release is compared with.
fn newest_before<'a>(
    page: &'a Page,
    file: &File,
    fits: impl Fn(&File) -> bool,
) -> Option<&'a File> {
    let version = |file: &File| -> Option<pep440_rs::Version> {
        name::version_of(&page.name, &file.filename)?.parse().ok()
    };
    let (own, published) = (version(file)?, file.published());
    let earlier = page.listed().filter(|one| one.is_live() && fits(one));
    let earlier = earlier.filter(|one| one.published() <= published);
    let versions = earlier.filter_map(|one| Some((version(one)?, one)));
    let below = versions.filter(|(version, _)| *version < own);
    below.max_by(|(one, _), (other, _)| one.cmp(other)).map(|(_, one)| one)
}
