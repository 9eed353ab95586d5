//! Pulling: from a name and a reference to the bytes, on behalf of somebody who may read them.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use crate::cache::failure::Failure;
use crate::cache::lookup::{Artifact, Demand, Document, Summary};
use crate::ecosystem::oci::complete::Wish;
use crate::ecosystem::oci::config::AfterWithdrawal;
use crate::ecosystem::oci::facts;
use crate::ecosystem::oci::known::Known;
use crate::ecosystem::oci::name::{self, Reference, Tag};
use crate::ecosystem::oci::past::remembered;
use crate::ecosystem::oci::place::Place;
use crate::ecosystem::oci::readers::{self, First, Readable};
use crate::ecosystem::oci::referrers::{self, Referrers};
use crate::ecosystem::oci::registry::Reader;
use crate::ecosystem::oci::render::{ManifestForm, NAMESPACE, Note, ReferrersForm, TagsForm};
use crate::ecosystem::oci::route::{self, What};
use crate::ecosystem::oci::tagged::Tagged;
use crate::ecosystem::oci::tags_list::{self, Part, Tags};
use crate::ecosystem::oci::{access, blob, explain, manifest};
use crate::ecosystem::past::{Past, Unknown};
use crate::ecosystem::{
    Access, Ask, Held, Plan, Render, Serve, Standing, Step, Subject, add_findings,
};
use crate::policy::{Ecosystem, Facts, Point, State};
use crate::semantics::cache_control::RequestDirectives;
use crate::signature::Trust;
use crate::types::{Audience, Digest, Presence};

/// A list that is asked for.
struct List {
    /// What it is called.
    what: String,
    document: readers::DocumentOf,
    form: ListForm,
}

/// Finds the form of a list that is kept, as of the instant that is asked about.
type ListForm = Box<dyn FnOnce(&Held) -> Result<Arc<dyn Render>, Unknown> + Send>;

/// One request for something of a repository.
#[derive(Clone)]
pub struct Pull {
    pub place: Place,
    pub ask: Ask,
    /// The client's own identity, when it showed a capability for this repository.
    pub identity: Option<[u8; 16]>,
    /// Whose signatures are believed.
    pub trust: Trust,
}

impl Pull {
    /// Plans what `what` asks for.
    pub fn plan(self, what: What) -> Step {
        match what {
            What::Manifest(text) => match Reference::parse(&text) {
                Ok(Some(Reference::Tag(tag))) => self.tag(tag),
                Ok(Some(Reference::Digest(digest))) => self.manifest(digest),
                // A name that no tag can have is that of a tag that does not exist.
                Ok(None) => Step::Reply(explain::no_manifest(&text)),
                Err(fault) => Step::Reply(explain::bad_digest(&fault)),
            },
            What::Blob(text) => self.of_digest(&text, Self::blob),
            What::Referrers(text) => self.of_digest(&text, Self::referrers),
            What::Tags => self.tags(),
        }
    }

    fn of_digest(self, text: &str, plan: fn(Self, Digest) -> Step) -> Step {
        match name::digest(text) {
            Ok(digest) => plan(self, digest),
            Err(fault) => Step::Reply(explain::bad_digest(&fault)),
        }
    }

    fn manifest(self, digest: Digest) -> Step {
        let document = {
            let pull = self.clone();
            move |reader: &Reader| pull.manifest_document(digest, reader)
        };
        self.find(First::Kept, Arc::new(document), move |pull, found| {
            let Readable { reader, held } = found;
            let document = pull.manifest_document(digest, &reader);
            let again = reader.clone();
            pull.guarded(&reader, held.standing, move |pull| {
                pull.with_known(digest, None, again, move |pull, known| {
                    let render = Arc::new(pull.manifest_form(digest, None));
                    let subject = pull.by_digest(&digest, Point::Metadata, &known);
                    pull.serve(subject, Serve::Document { document, render })
                })
            })
        })
    }

    fn blob(self, digest: Digest) -> Step {
        let document = {
            let place = self.place.clone();
            move |reader: &Reader| blob::link(&place.scope(reader), digest)
        };
        self.find(First::Kept, Arc::new(document), move |pull, found| {
            let Readable { reader, held } = found;
            let size = held.parsed.get::<blob::Link>().and_then(|link| link.size);
            let artifact = blob::artifact(&pull.place.scope(&reader), digest, size);
            pull.guarded(&reader, held.standing, move |pull| {
                let mut headers = blob::headers(&digest, pull.here(&digest));
                if let Some(at) = pull.ask.as_of {
                    Past::immutable(at).write(&mut headers);
                }
                headers.extend(pull.namespace_header());
                pull.looked_into(artifact, move |pull, artifact, found| {
                    let subject = pull.of_blob(&digest, found.as_ref());
                    pull.serve(subject, Serve::Artifact { artifact, headers, chunking: None })
                })
            })
        })
    }

    fn referrers(self, subject: Digest) -> Step {
        let artifact_type = route::parameter(self.ask.query.as_deref(), "artifactType");
        let namespace = self.place.namespace.clone();
        let form = ReferrersForm { artifact_type, namespace, past: None };
        let nothing = form.nothing();
        let as_of = self.ask.as_of;
        let demand = self.demand();
        let document = {
            let place = self.place.clone();
            move |reader: &Reader| Document {
                demand,
                ..referrers::document(&place.scope(reader), &subject, Wish::nothing())
            }
        };
        let list = List {
            what: format!("what refers to {subject}"),
            document: Arc::new(document),
            form: Box::new(move |held| {
                let Referrers(all) = held.parsed.get().ok_or(Unknown::Unseen)?;
                let past = as_of.map(|at| all.past(at)).transpose()?;
                Ok(Arc::new(ReferrersForm { past, ..form }))
            }),
        };
        self.listed(list, move |failure| {
            // Where upstream has none, or does not know of such things, the answer is an empty list.
            matches!(failure, Failure::Absent).then_some(nothing)
        })
    }

    fn tags(self) -> Step {
        let form = TagsForm {
            name: self.place.written.clone(),
            path: explain::path(&self.ask, &format!("{}/tags/list", self.place.written)),
            part: Part::of(self.ask.query.as_deref()),
            namespace: self.place.namespace.clone(),
            place: self.place.clone(),
            rules: Arc::clone(&self.ask.rules),
            past: None,
        };
        let (demand, as_of) = (self.demand(), self.ask.as_of);
        let document = {
            let place = self.place.clone();
            move |reader: &Reader| Document { demand, ..tags_list::document(&place.scope(reader)) }
        };
        let list = List {
            what: format!("the list of tags of {}", self.place.written),
            document: Arc::new(document),
            form: Box::new(move |held| {
                let Tags(all) = held.parsed.get().ok_or(Unknown::Unseen)?;
                let past = as_of.map(|at| all.past(at)).transpose()?;
                Ok(Arc::new(TagsForm { past, ..form }))
            }),
        };
        self.listed(list, |_| None)
    }

    /// Serves a list; `otherwise` may have an answer where there is none. For the past, what is kept is taken as it is.
    fn listed(
        self,
        list: List,
        otherwise: impl FnOnce(&Failure) -> Option<crate::ecosystem::Reply> + Send + 'static,
    ) -> Step {
        let List { what, document: today, form } = list;
        let readers = self.readers();
        let is_past = self.ask.as_of.is_some();
        let document: readers::DocumentOf = Arc::new(move |reader: &Reader| match is_past {
            true => remembered(today(reader), reader),
            false => today(reader),
        });
        let again = Arc::clone(&document);
        readers::find(
            readers,
            First::Own,
            document,
            Box::new(move |found| match found {
                Ok(Readable { reader, held }) => {
                    let document = again(&reader);
                    let render = match form(&held) {
                        Ok(render) => render,
                        Err(unknown) => {
                            return Step::Reply(explain::unknown_then(&self.ask, &what, unknown));
                        }
                    };
                    self.guarded(&reader, held.standing, move |pull| {
                        let subject =
                            pull.judged(facts::of_name(&pull.place, None), Point::Listing);
                        pull.serve(subject, Serve::Document { document, render })
                    })
                }
                Err(failure) => match otherwise(&failure) {
                    Some(reply) => Step::Reply(reply),
                    None => self.failed(&failure),
                },
            }),
        )
    }

    /// Finds who may read something, and goes on.
    pub(super) fn find(
        self,
        first: First,
        document: readers::DocumentOf,
        then: impl FnOnce(Self, Readable) -> Step + Send + 'static,
    ) -> Step {
        let readers = self.readers();
        readers::find(
            readers,
            first,
            document,
            Box::new(move |found| match found {
                Ok(readable) => then(self, readable),
                Err(failure) => self.failed(&failure),
            }),
        )
    }

    /// Where the settings say that what was withdrawn is no longer served, upstream's word on the repository counts before what is kept.
    pub(super) fn guarded(
        self,
        reader: &Reader,
        standing: Standing,
        then: impl FnOnce(Self) -> Step + Send + 'static,
    ) -> Step {
        let is_strict = self.place.registry.after_withdrawal == AfterWithdrawal::Deny;
        if !is_strict || reader.audience != Audience::Public {
            return then(self);
        }
        if let Presence::Withdrawn { status, .. } = standing.presence {
            return self.failed(&Failure::Refused { status });
        }
        let asked = access::document(&self.place.scope(reader), Demand::Fresh);
        Step::Need {
            documents: vec![asked],
            then: Box::new(move |held| match held.into_iter().next() {
                Some(Err(failure @ Failure::Refused { .. })) => self.failed(&failure),
                Some(Ok(held)) => match held.standing.presence {
                    Presence::Withdrawn { status, .. } => self.failed(&Failure::Refused { status }),
                    Presence::Present | Presence::Gone { .. } => then(self),
                },
                Some(Err(_)) | None => then(self),
            }),
        }
    }

    /// On whose behalf upstream is asked, in order. Larder's own account comes first where the client was granted it: what it opens counts
    /// on that account and not on this machine's address.
    fn readers(&self) -> Vec<Reader> {
        let service = self.place.registry.service(&self.ask);
        let client = self.identity.map(Reader::client);
        service.into_iter().chain([Reader::public()]).chain(client).collect()
    }

    pub(super) fn manifest_document(&self, digest: Digest, reader: &Reader) -> Document {
        manifest::document(&self.place.scope(reader), digest, self.wish())
    }

    /// What is to be fetched with what is asked for.
    pub(super) fn wish(&self) -> Wish {
        Wish::asked(self.place.registry.completeness(self.place.repository.as_str()))
    }

    pub(super) fn manifest_form(&self, digest: Digest, tagged: Option<&Tagged>) -> ManifestForm {
        let note = tagged.map(|tagged| match tagged.standing.presence {
            Presence::Withdrawn { .. } => Note::Withdrawn,
            Presence::Gone { .. } => Note::Gone,
            Presence::Present if tagged.standing.offline => Note::Unchecked,
            Presence::Present => Note::Current,
        });
        let past = match tagged {
            Some(tagged) => tagged.past,
            None => self.ask.as_of.map(Past::immutable),
        };
        ManifestForm { digest, note, namespace: self.place.namespace.clone(), past }
    }

    pub(super) fn serve(&self, subject: Subject, serve: Serve) -> Step {
        Step::Serve(Box::new(Plan { access: Access::Public, subject, serve }))
    }

    fn judged(&self, facts: Facts<'_>, point: Point) -> Subject {
        Subject::of(self.ask.rules.judged(facts, point, self.ask.now), &self.ask.base)
    }

    /// What is judged of a tag. Tags are deleted every day without a fault in what they stood for, so how young they were does not count.
    pub(super) fn subject(&self, tagged: &Tagged, known: &Known) -> Subject {
        let mut facts = facts::of_name(&self.place, Some(tagged.tag.as_str()));
        facts.digest = Some(tagged.pointer.digest.to_string().into());
        known.add(&mut facts);
        if let Presence::Gone { since, .. } = tagged.standing.presence {
            facts.state = Some((State::ProjectDeleted { since }, since));
        }
        self.judged(facts, Point::Metadata)
    }

    /// Goes on with what is in a blob, where rules look at that.
    fn looked_into(
        self,
        artifact: Artifact,
        then: impl FnOnce(Self, Artifact, Option<Summary>) -> Step + Send + 'static,
    ) -> Step {
        if !self.ask.rules.looks_inside(Ecosystem::Oci) {
            return then(self, artifact, None);
        }
        let looked = Box::new(artifact.clone());
        Step::Inspect { artifact: looked, then: Box::new(move |found| then(self, artifact, found)) }
    }

    /// What is judged of a blob: what was found in it, once somebody looked.
    fn of_blob(&self, digest: &Digest, found: Option<&Summary>) -> Subject {
        let digest = digest.to_string();
        let mut facts = facts::of_name(&self.place, Some(&digest));
        add_findings(&mut facts, found);
        self.judged(facts, Point::Content)
    }

    /// What is judged of a manifest that was asked for by its digest.
    fn by_digest(&self, digest: &Digest, point: Point, known: &Known) -> Subject {
        let digest = digest.to_string();
        let mut facts = facts::of_name(&self.place, Some(&digest));
        known.add(&mut facts);
        self.judged(facts, point)
    }

    /// How current a tag must be: the client's wish, unless it never moves or few pulls are left.
    pub(super) fn demand_of(&self, tag: &Tag) -> Demand {
        let Place { registry, repository, .. } = &self.place;
        match registry.is_immutable(repository.as_str(), tag.as_str()) {
            true => Demand::AnyAge,
            false => self.demand(),
        }
    }

    fn demand(&self) -> Demand {
        let registry = &self.place.registry;
        if registry.budget.is_low(registry.pull_reserve, self.ask.now) {
            return Demand::AnyAge;
        }
        let said = RequestDirectives::read(&self.ask.headers);
        match said.no_cache || said.max_age == Some(0) {
            true => Demand::Revalidated,
            false => Demand::Fresh,
        }
    }

    /// The address of a blob, as it was asked.
    fn here(&self, digest: &Digest) -> HeaderValue {
        let query = self.place.namespace.as_ref().map_or_else(String::new, |name| {
            let pairs = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("ns", name)
                .finish();
            format!("?{pairs}")
        });
        let path = explain::path(&self.ask, &format!("{}/blobs/{digest}", self.place.written));
        HeaderValue::from_str(&format!("{path}{query}")).unwrap_or(HeaderValue::from_static(""))
    }

    fn namespace_header(&self) -> HeaderMap {
        let value = self.place.namespace.as_deref().map(HeaderValue::from_str);
        value.into_iter().flatten().map(|value| (NAMESPACE, value)).collect()
    }

    pub(super) fn failed(&self, failure: &Failure) -> Step {
        if let (Failure::NotKept, Some(_)) = (failure, self.ask.as_of) {
            let what = &self.place.written;
            return Step::Reply(explain::unknown_then(&self.ask, what, Unknown::Unseen));
        }
        Step::Reply(explain::failure(&self.ask, Some(&self.place), self.identity, failure))
    }
}
