//! Judging repositories and their files, once the client's right is settled.
//!
//! A repository that rules refuse is refused wherever its files are read; it can still be looked at, so that clients get as far as a file and show why. Rules on
//! single files are asked for each of them.

use std::sync::Arc;

use http::Method;

use crate::cache::lookup::{Artifact, Demand, Summary};
use crate::ecosystem::huggingface::facts::{add_file, add_path, of_repository};
use crate::ecosystem::huggingface::file::FileFacts;
use crate::ecosystem::huggingface::info::{self, Info};
use crate::ecosystem::huggingface::reach::{self, Reach};
use crate::ecosystem::huggingface::repository::Repository;
use crate::ecosystem::huggingface::settle::{Admitted, Settled, need};
use crate::ecosystem::huggingface::signed::{self, Known};
use crate::ecosystem::huggingface::{licence_text, lineage};
use crate::ecosystem::{Ask, Held, Step, Subject, add_findings};
use crate::policy::{Ecosystem, Fact, Facts, INSPECTION, Judged, Point, Ruleset, Verdict};
use crate::types::Timestamp;

/// Where a repository as a whole is refused to the readers of its files.
pub fn refusal(ask: &Ask, admitted: &Admitted) -> Option<Step> {
    if !ask.rules.has_rules(Ecosystem::Hf, Point::Content) {
        return None;
    }
    let info = admitted.document.parsed.get::<Info>();
    let upstream = reach::host(&admitted.reach);
    let mut facts = of_repository(&admitted.repository, None, info, upstream);
    facts.set(Fact::Version, info.and_then(|info| info.commit.as_ref()).map(|one| one.as_str()));
    let decision = ask.rules.judge(&facts, Point::Content, ask.now);
    if decision.verdict.passes() {
        return None;
    }
    let (facts, epoch) = (facts.into_owned(), ask.rules.epoch());
    let judged = Judged { facts, point: Point::Content, at: ask.now, epoch, decision };
    Some(Step::Refuse(Box::new(Subject::of(judged, &ask.base))))
}

/// Goes on with what rules look at of a model beside its description: its lineage, the texts of its licences, and who signed it.
pub fn gathered(
    at: Settled,
    ask: Ask,
    then: impl FnOnce(Settled, Ask) -> Step + Send + 'static,
) -> Step {
    lineage::with(at, ask, |at, ask| {
        licence_text::with(at, ask, |at, ask| signed::with(at, ask, then))
    })
}

/// Goes on with the repository's description, where rules look at it and only a capability was settled.
pub fn with_description(
    at: Settled,
    ask: Ask,
    then: impl FnOnce(Settled, Ask) -> Step + Send + 'static,
) -> Step {
    let then = move |at, ask| gathered(at, ask, then);
    if at.described.is_some() || !ask.rules.has_rules(Ecosystem::Hf, Point::Content) {
        return then(at, ask);
    }
    let mut document = info::document(&at.reach, &at.repository, &ask);
    document.demand = Demand::AnyAge;
    need(document, move |held| {
        let described = held.ok();
        then(Settled { described, ..at }, ask)
    })
}

/// Goes on with what rules say of a file, with the scanners' word and the digest that was signed where they look at those.
pub fn judged(
    at: Settled,
    ask: &Ask,
    file: FileFacts,
    then: impl FnOnce(Settled, FileFacts, Subject) -> Step + Send + 'static,
) -> Step {
    let ask = ask.clone();
    signed::with_digest(at, file, move |at, file, sha256| {
        let asked = ask.clone();
        looked_into(at, &asked, file, move |at, file, found| {
            let asked = ask.clone();
            scanned(at, &asked, move |at, scanned| {
                let evidence = Evidence { sha256, found: found.as_ref(), scanned };
                let subject = subject(&at, &ask, &file, evidence);
                then(at, file, subject)
            })
        })
    })
}

/// Goes on with the scanners' word, where rules look at that.
fn scanned(
    at: Settled,
    ask: &Ask,
    then: impl FnOnce(Settled, Scanned<'_>) -> Step + Send + 'static,
) -> Step {
    if !ask.rules.needs(Ecosystem::Hf, Fact::HubScan) {
        return then(at, Scanned::By(None));
    }
    let document = info::scanned_document(&at.reach, &at.repository, &at.commit);
    need(document, move |held| {
        let scanned = match &held {
            Ok(held) => Scanned::By(held.parsed.get::<Info>()),
            Err(failure) if failure.is_passing() => Scanned::Pending,
            Err(_) => Scanned::By(None),
        };
        then(at, scanned)
    })
}

/// Goes on with what is in a file, where its bytes are asked for and rules look at that.
fn looked_into(
    at: Settled,
    ask: &Ask,
    file: FileFacts,
    then: impl FnOnce(Settled, FileFacts, Option<Summary>) -> Step + Send + 'static,
) -> Step {
    if point(ask) != Point::Content || !ask.rules.looks_inside(Ecosystem::Hf) {
        return then(at, file, None);
    }
    let is_excepted = {
        let mut facts = of_settled(&at);
        add_file(&mut facts, &file, None);
        ask.rules.waived(INSPECTION, &facts, ask.now).is_some()
    };
    let artifact = Box::new(Artifact { is_excepted, ..file.artifact(&at) });
    Step::Inspect { artifact, then: Box::new(move |found| then(at, file, found)) }
}

/// What rules say of a file that somebody else had judged before its address was given out, by what is in it, where they look at that. All that the address
/// tells is known of it.
pub fn judged_again(
    ask: &Ask,
    artifact: Artifact,
    facts: Option<Facts<'static>>,
    then: impl FnOnce(Artifact, Subject) -> Step + Send + 'static,
) -> Step {
    let Some(mut facts) = facts else { return then(artifact, Subject::default()) };
    if point(ask) != Point::Content || !ask.rules.looks_inside(Ecosystem::Hf) {
        return then(artifact, Subject::about(facts));
    }
    let ask = ask.clone();
    let looked = Box::new(artifact.clone());
    let then = move |found: Option<Summary>| {
        add_findings(&mut facts, found.as_ref());
        let judged = ask.rules.judged(facts, Point::Content, ask.now);
        let subject = Subject::of(judged, &ask.base);
        match subject.verdict.passes() {
            true => then(artifact, subject),
            false => Step::Refuse(Box::new(subject)),
        }
    };
    Step::Inspect { artifact: looked, then: Box::new(then) }
}

/// A question for a file's head is about what describes it.
fn point(ask: &Ask) -> Point {
    if ask.method == Method::HEAD { Point::Metadata } else { Point::Content }
}

/// What rules say of a large file without the scanners' word, and without a look into it.
pub fn subject_of(at: &Settled, ask: &Ask, file: &FileFacts) -> Subject {
    let evidence = Evidence { sha256: Known::Unknown, found: None, scanned: Scanned::By(None) };
    subject(at, ask, file, evidence)
}

/// The scanners' word on a repository's files.
enum Scanned<'a> {
    /// As a description has it, if there is one.
    By(Option<&'a Info>),
    /// It could not be had just now.
    Pending,
}

/// What was found out about a file beside what lists say of it, as far as rules look at that.
struct Evidence<'a> {
    /// What its signature is held against.
    sha256: Known,
    /// What is in it.
    found: Option<&'a Summary>,
    scanned: Scanned<'a>,
}

fn subject(at: &Settled, ask: &Ask, file: &FileFacts, evidence: Evidence<'_>) -> Subject {
    let Evidence { sha256, found, scanned } = evidence;
    let mut facts = of_settled(at);
    add_findings(&mut facts, found);
    facts.set(Fact::MutableReference, !at.is_pinned);
    lineage::add(&mut facts, &at.inherited);
    licence_text::add(&mut facts, &at.texts);
    signed::add(&mut facts, &at.vouching, file, sha256, ask.now);
    match scanned {
        Scanned::By(scanned) => add_file(&mut facts, file, scanned),
        Scanned::Pending => {
            add_file(&mut facts, file, None);
            facts.await_all(&[Fact::HubScan]);
        }
    }
    Subject::of(ask.rules.judged(facts, point(ask), ask.now), &ask.base)
}

fn of_settled(at: &Settled) -> Facts<'_> {
    let info = at.described.as_ref().and_then(|held| held.parsed.get::<Info>());
    of_repository(&at.repository, Some(&at.commit), info, reach::host(&at.reach))
}

/// Which files of a repository are left out of lists.
#[derive(Debug, Clone)]
pub struct Hiding {
    rules: Arc<Ruleset>,
    repository: Repository,
    described: Option<Held>,
    upstream: Option<String>,
}

impl Hiding {
    /// `None`: there are no rules for lists.
    pub fn of(at: &Settled, ask: &Ask) -> Option<Self> {
        Self::new(&at.repository, at.described.as_ref(), &at.reach, ask)
    }

    /// The same before a commit was chosen.
    pub fn of_admitted(admitted: &Admitted, ask: &Ask) -> Option<Self> {
        Self::new(&admitted.repository, Some(&admitted.document), &admitted.reach, ask)
    }

    fn new(
        repository: &Repository,
        described: Option<&Held>,
        reach: &Reach,
        ask: &Ask,
    ) -> Option<Self> {
        ask.rules.has_rules(Ecosystem::Hf, Point::Listing).then(|| Self {
            rules: Arc::clone(&ask.rules),
            repository: repository.clone(),
            described: described.cloned(),
            upstream: reach::host(reach).map(str::to_owned),
        })
    }

    /// All that shapes what is hidden, for the names of renderings.
    pub fn variant(hiding: Option<&Self>) -> String {
        let of = |one: &Self| {
            let version = one.described.as_ref().map(|held| held.version);
            format!("{:x} {version:?}", one.rules.epoch())
        };
        hiding.map(of).unwrap_or_default()
    }

    /// Whether a file is left out. What is refused stays on lists, so that whoever asks for it is told why.
    pub fn hides(
        &self,
        path: &str,
        size: Option<u64>,
        now: Timestamp,
        turn: &mut Option<Timestamp>,
        note: &dyn Fn(Judged),
    ) -> bool {
        let info = self.described.as_ref().and_then(|held| held.parsed.get::<Info>());
        let mut facts = of_repository(&self.repository, None, info, self.upstream.as_deref());
        add_path(&mut facts, path, size);
        let judged = self.rules.judged(facts, Point::Listing, now);
        *turn = turn.take().into_iter().chain(judged.decision.valid_until).min();
        let is_hidden = judged.decision.verdict == Verdict::Hide;
        if is_hidden {
            note(judged);
        }
        is_hidden
    }
}
