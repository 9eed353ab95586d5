//! Pulling: from a name and a reference to the bytes, on behalf of somebody who may read them.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method};

use crate::cache::failure::Failure;
use crate::cache::lookup::{Artifact, Demand, Document};
use crate::ecosystem::oci::complete::Wish;
use crate::ecosystem::oci::config::AfterWithdrawal;
use crate::ecosystem::oci::facts::{self, Image};
use crate::ecosystem::oci::image::{self, More};
use crate::ecosystem::oci::manifest::Manifest;
use crate::ecosystem::oci::name::{self, Reference, Tag};
use crate::ecosystem::oci::place::Place;
use crate::ecosystem::oci::readers::{self, First, Readable, kept_only};
use crate::ecosystem::oci::registry::Reader;
use crate::ecosystem::oci::render::{ManifestForm, NAMESPACE, Note, ReferrersForm, TagsForm};
use crate::ecosystem::oci::route::{self, What};
use crate::ecosystem::oci::tag::Pointer;
use crate::ecosystem::oci::tags_list::{self, Part};
use crate::ecosystem::oci::{access, blob, explain, manifest, past, referrers, tag};
use crate::ecosystem::past::{Past, Unknown};
use crate::ecosystem::{Access, Ask, Plan, Render, Serve, Standing, Step, Subject};
use crate::policy::{Facts, Point, State};
use crate::semantics::cache_control::RequestDirectives;
use crate::types::{Audience, Digest, Presence};

/// Digests that a tag stood for before, looked for when its present one cannot be had.
const MOST_TURNED_BACK: usize = 8;

/// One request for something of a repository.
#[derive(Clone)]
pub struct Pull {
    pub place: Place,
    pub ask: Ask,
    /// The client's own identity, when it showed a capability for this repository.
    pub identity: Option<[u8; 16]>,
}

/// How planning goes on with what an image says of itself; `None`: that could not be had, or nobody looks at it.
type WithImage = Box<dyn FnOnce(Pull, Option<Image>) -> Step + Send>;

/// A tag that was found.
pub(super) struct Tagged {
    pub(super) tag: Tag,
    pub(super) pointer: Pointer,
    pub(super) standing: Standing,
    pub(super) reader: Reader,
    pub(super) past: Option<Past>,
}

impl Tagged {
    fn has_moved(&self) -> bool {
        self.pointer.history.len() > 1
    }
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

    fn tag(self, tag: Tag) -> Step {
        let (demand, wish, as_of) = (self.demand_of(&tag), self.wish(), self.ask.as_of);
        let document = {
            let (place, tag) = (self.place.clone(), tag.clone());
            move |reader: &Reader| {
                let Place { registry, repository, .. } = &place;
                let document = tag::document(registry, repository, &tag, reader, wish);
                match as_of {
                    None => Document { demand, ..document },
                    Some(_) => past::remembered(document, reader),
                }
            }
        };
        self.find(First::Own, Arc::new(document), move |pull, found| {
            let Readable { reader, held } = found;
            let Some(pointer) = held.parsed.get::<Pointer>().cloned() else {
                return pull.failed(&Failure::Store("a kept tag is none".to_owned()));
            };
            let standing = held.standing;
            let tagged = Tagged { tag, pointer, standing, reader: reader.clone(), past: None };
            pull.guarded(&reader, standing, move |pull| match as_of {
                None => pull.pointed(tagged),
                Some(at) => pull.pointed_then(tagged, at),
            })
        })
    }

    /// Goes on from a tag to its manifest.
    fn pointed(self, tagged: Tagged) -> Step {
        let document = self.manifest_document(tagged.pointer.digest, &tagged.reader);
        let described = self.described(&tagged);
        let looked_for = match &described {
            Some(_) => kept_only(document.clone()),
            // What the tag stood for before is there to be served instead.
            None if tagged.has_moved() => Document { demand: Demand::Prompt, ..document.clone() },
            None => document.clone(),
        };
        Step::Need {
            documents: vec![looked_for],
            then: Box::new(move |held| {
                let held = held.into_iter().next().unwrap_or(Err(Failure::NotKept));
                match (held, described) {
                    (Ok(_), _) => {
                        let digest = tagged.pointer.digest;
                        self.serve_tagged(tagged, digest, document)
                    }
                    (Err(_), Some(serve)) => self.serve(self.subject(&tagged, None), serve),
                    (Err(Failure::Absent), None) => self.look_at_bytes(tagged),
                    (Err(failure), None) => self.turn_back(tagged, failure),
                }
            }),
        }
    }

    /// The answer to a `HEAD` from what the registry said of the tag, so that asking where a tag points does not count as a pull.
    fn described(&self, tagged: &Tagged) -> Option<Serve> {
        let (Some(size), Some(media_type)) = (tagged.pointer.size, &tagged.pointer.media_type)
        else {
            return None;
        };
        // Once it has moved, its new manifest must be had before anybody is told of it: the old one is there to be served instead.
        let is_looked_into = facts::needs_image(&self.ask.rules);
        if self.ask.method != Method::HEAD || tagged.has_moved() || is_looked_into {
            return None;
        }
        let digest = tagged.pointer.digest;
        let document = self.manifest_document(digest, &tagged.reader);
        let mut lookup = document.lookup;
        lookup.key = lookup.key.sibling(&format!("described/{digest}"));
        let artifact = Artifact { lookup, digests: vec![digest], size: Some(size) };
        let mut headers = manifest::headers(media_type, &digest);
        headers.extend(self.manifest_form(digest, Some(tagged)).own_headers());
        Some(Serve::Artifact { artifact, headers, chunking: None })
    }

    /// The registry has no manifest of the digest that it named for the tag. Some name a wrong one; the manifest itself does not lie.
    fn look_at_bytes(self, tagged: Tagged) -> Step {
        let Place { registry, repository, .. } = &self.place;
        let by_bytes = tag::by_bytes(registry, repository, &tagged.tag, &tagged.reader);
        Step::Need {
            documents: vec![by_bytes],
            then: Box::new(move |held| {
                let held = held.into_iter().next().and_then(Result::ok);
                let read = held.as_ref().and_then(|held| held.parsed.get::<Pointer>());
                match read.map(|pointer| pointer.digest) {
                    Some(digest) if digest != tagged.pointer.digest => {
                        let document = self.manifest_document(digest, &tagged.reader);
                        self.serve_tagged(tagged, digest, document)
                    }
                    _ => self.turn_back(tagged, Failure::Absent),
                }
            }),
        }
    }

    /// The tag's manifest cannot be had: what the tag stood for before is better than nothing.
    fn turn_back(self, tagged: Tagged, failure: Failure) -> Step {
        let before = tagged.pointer.history.iter().rev().map(|one| one.digest);
        let before: Vec<Digest> = before
            .filter(|digest| *digest != tagged.pointer.digest)
            .take(MOST_TURNED_BACK)
            .collect();
        if before.is_empty() {
            return self.failed(&failure);
        }
        let documents: Vec<Document> =
            before.iter().map(|digest| self.manifest_document(*digest, &tagged.reader)).collect();
        Step::Need {
            documents: documents.iter().cloned().map(kept_only).collect(),
            then: Box::new(move |held| {
                let kept = held.into_iter().position(|held| held.is_ok());
                match kept.and_then(|at| Some((before.get(at)?, documents.get(at)?))) {
                    Some((digest, document)) => {
                        let mut tagged = tagged;
                        tagged.standing.offline = true;
                        self.serve_tagged(tagged, *digest, document.clone())
                    }
                    // It only took long, and there is nothing to serve instead: that is worth waiting for.
                    None if matches!(failure, Failure::NotKept) => {
                        let digest = tagged.pointer.digest;
                        let document = self.manifest_document(digest, &tagged.reader);
                        self.serve_tagged(tagged, digest, document)
                    }
                    None => self.failed(&failure),
                }
            }),
        }
    }

    pub(super) fn serve_tagged(self, tagged: Tagged, digest: Digest, document: Document) -> Step {
        self.with_image(digest, tagged.reader.clone(), move |pull, image| {
            let form = Arc::new(pull.manifest_form(digest, Some(&tagged)));
            let subject = pull.subject(&tagged, image.as_ref());
            pull.serve(subject, Serve::Document { document, render: form })
        })
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
                pull.with_image(digest, again, move |pull, image| {
                    let render = Arc::new(pull.manifest_form(digest, None));
                    let subject = pull.by_digest(&digest, Point::Metadata, image.as_ref());
                    pull.serve(subject, Serve::Document { document, render })
                })
            })
        })
    }

    fn blob(self, digest: Digest) -> Step {
        let document = {
            let place = self.place.clone();
            move |reader: &Reader| blob::link(&place.registry, &place.repository, digest, reader)
        };
        self.find(First::Kept, Arc::new(document), move |pull, found| {
            let Readable { reader, held } = found;
            let size = held.parsed.get::<blob::Link>().and_then(|link| link.size);
            let Place { registry, repository, .. } = &pull.place;
            let artifact = blob::artifact(registry, repository, digest, size, &reader);
            pull.guarded(&reader, held.standing, move |pull| {
                let mut headers = blob::headers(&digest, pull.here(&digest));
                if let Some(at) = pull.ask.as_of {
                    Past::immutable(at).write(&mut headers);
                }
                headers.extend(pull.namespace_header());
                let subject = pull.by_digest(&digest, Point::Content, None);
                pull.serve(subject, Serve::Artifact { artifact, headers, chunking: None })
            })
        })
    }

    fn referrers(self, subject: Digest) -> Step {
        if self.ask.as_of.is_some() {
            let what = format!("what refers to {subject}");
            return Step::Reply(explain::unknown_then(&self.ask, &what, Unknown::NoHistory));
        }
        let artifact_type = route::parameter(self.ask.query.as_deref(), "artifactType");
        let form = ReferrersForm { artifact_type, namespace: self.place.namespace.clone() };
        let nothing = form.nothing();
        let demand = self.demand();
        let document = {
            let place = self.place.clone();
            move |reader: &Reader| Document {
                demand,
                ..referrers::document(
                    &place.registry,
                    &place.repository,
                    &subject,
                    reader,
                    Wish::nothing(),
                )
            }
        };
        self.listed(Arc::new(document), Arc::new(form), move |failure| {
            // Where upstream has none, or does not know of such things, the answer is an empty list.
            matches!(failure, Failure::Absent).then_some(nothing)
        })
    }

    fn tags(self) -> Step {
        if self.ask.as_of.is_some() {
            let what = format!("the list of tags of {}", self.place.written);
            return Step::Reply(explain::unknown_then(&self.ask, &what, Unknown::NoHistory));
        }
        let form = TagsForm {
            name: self.place.written.clone(),
            path: explain::path(&self.ask, &format!("{}/tags/list", self.place.written)),
            part: Part::of(self.ask.query.as_deref()),
            namespace: self.place.namespace.clone(),
            place: self.place.clone(),
            rules: Arc::clone(&self.ask.rules),
        };
        let demand = self.demand();
        let document = {
            let place = self.place.clone();
            move |reader: &Reader| Document {
                demand,
                ..tags_list::document(&place.registry, &place.repository, reader)
            }
        };
        self.listed(Arc::new(document), Arc::new(form), |_| None)
    }

    /// Serves a list; `otherwise` may have an answer where there is none.
    fn listed(
        self,
        document: readers::DocumentOf,
        render: Arc<dyn Render>,
        otherwise: impl FnOnce(&Failure) -> Option<crate::ecosystem::Reply> + Send + 'static,
    ) -> Step {
        let readers = self.readers();
        let again = Arc::clone(&document);
        readers::find(
            readers,
            First::Own,
            document,
            Box::new(move |found| match found {
                Ok(Readable { reader, held }) => {
                    let document = again(&reader);
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
    fn find(
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
    fn guarded(
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
        let Place { registry, repository, .. } = &self.place;
        let asked = access::document(registry, repository, reader, Demand::Fresh);
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
        let service = self.place.registry.service(self.ask.client.as_deref());
        let client = self.identity.map(Reader::client);
        service.into_iter().chain([Reader::public()]).chain(client).collect()
    }

    pub(super) fn manifest_document(&self, digest: Digest, reader: &Reader) -> Document {
        let Place { registry, repository, .. } = &self.place;
        manifest::document(registry, repository, digest, reader, self.wish())
    }

    /// What is to be fetched with what is asked for.
    fn wish(&self) -> Wish {
        Wish::asked(self.place.registry.completeness(self.place.repository.as_str()))
    }

    fn manifest_form(&self, digest: Digest, tagged: Option<&Tagged>) -> ManifestForm {
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

    fn serve(&self, subject: Subject, serve: Serve) -> Step {
        Step::Serve(Box::new(Plan { access: Access::Public, subject, serve }))
    }

    fn judged(&self, facts: Facts<'_>, point: Point) -> Subject {
        Subject::of(self.ask.rules.judged(facts, point, self.ask.now), &self.ask.base)
    }

    /// What is judged of a tag. Tags are deleted every day without a fault in what they stood for, so how young they were does not count.
    pub(super) fn subject(&self, tagged: &Tagged, image: Option<&Image>) -> Subject {
        let mut facts = facts::of_name(&self.place, Some(tagged.tag.as_str()));
        facts.digest = Some(tagged.pointer.digest.to_string().into());
        if let Some(image) = image {
            facts::add_image(&mut facts, image);
        }
        if let Presence::Gone { since, .. } = tagged.standing.presence {
            facts.state = Some((State::ProjectDeleted { since }, since));
        }
        self.judged(facts, Point::Metadata)
    }

    /// What is judged of a manifest or blob that was asked for by its digest.
    fn by_digest(&self, digest: &Digest, point: Point, image: Option<&Image>) -> Subject {
        let digest = digest.to_string();
        let mut facts = facts::of_name(&self.place, Some(&digest));
        if let Some(image) = image {
            facts::add_image(&mut facts, image);
        }
        self.judged(facts, point)
    }

    /// Goes on with what the image says of itself, where rules look at that: by the manifest's annotations, then by the configuration's labels.
    fn with_image(
        self,
        digest: Digest,
        reader: Reader,
        then: impl FnOnce(Self, Option<Image>) -> Step + Send + 'static,
    ) -> Step {
        match facts::needs_image(&self.ask.rules) {
            true => self.image(digest, reader, Image::default(), Box::new(then)),
            false => then(self, None),
        }
    }

    fn image(self, digest: Digest, reader: Reader, known: Image, then: WithImage) -> Step {
        let document = self.manifest_document(digest, &reader);
        Step::Need {
            documents: vec![document],
            then: Box::new(move |held| {
                let held = held.into_iter().next().and_then(Result::ok);
                let manifest = held.as_ref().and_then(|held| held.parsed.get::<Manifest>());
                // What cannot be had says nothing: the facts are missing then.
                let Some(manifest) = manifest else { return then(self, None) };
                let (said, more) = image::of_manifest(manifest);
                let known = known.or(said);
                match more {
                    Some(More::Child(child)) => self.image(child, reader, known, then),
                    Some(More::Config(config)) => self.config(config, &reader, known, then),
                    None => then(self, Some(known)),
                }
            }),
        }
    }

    fn config(self, config: Digest, reader: &Reader, known: Image, then: WithImage) -> Step {
        let Place { registry, repository, .. } = &self.place;
        let document = image::document(registry, repository, config, reader);
        Step::Need {
            documents: vec![document],
            then: Box::new(move |held| {
                let held = held.into_iter().next().and_then(Result::ok);
                let labels = held.as_ref().and_then(|held| held.parsed.get::<Image>());
                match labels {
                    Some(labels) => then(self, Some(known.or(labels.clone()))),
                    None => then(self, None),
                }
            }),
        }
    }

    /// How current a tag must be: the client's wish, unless it never moves or few pulls are left.
    fn demand_of(&self, tag: &Tag) -> Demand {
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

    fn failed(&self, failure: &Failure) -> Step {
        if let (Failure::NotKept, Some(_)) = (failure, self.ask.as_of) {
            let what = &self.place.written;
            return Step::Reply(explain::unknown_then(&self.ask, what, Unknown::Unseen));
        }
        Step::Reply(explain::failure(&self.ask, Some(&self.place), self.identity, failure))
    }
}
