//! From a tag to the manifest that it stands for, or to what it stood for before where that cannot be had.

use std::sync::Arc;

use http::Method;

use crate::cache::failure::Failure;
use crate::cache::lookup::{Artifact, Demand, Document, Nature};
use crate::ecosystem::oci::known::{self, Known};
use crate::ecosystem::oci::name::Tag;
use crate::ecosystem::oci::pull::Pull;
use crate::ecosystem::oci::readers::{First, Readable, kept_only};
use crate::ecosystem::oci::registry::Reader;
use crate::ecosystem::oci::tag::Pointer;
use crate::ecosystem::oci::{manifest, past, tag};
use crate::ecosystem::past::Past;
use crate::ecosystem::{Serve, Standing, Step};
use crate::types::Digest;

/// Digests that a tag stood for before, looked for when its present one cannot be had.
const MOST_TURNED_BACK: usize = 8;

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
    /// What a tag stands for.
    pub(super) fn tag(self, tag: Tag) -> Step {
        let (demand, wish, as_of) = (self.demand_of(&tag), self.wish(), self.ask.as_of);
        let document = {
            let (place, tag) = (self.place.clone(), tag.clone());
            move |reader: &Reader| {
                let document = tag::document(&place.scope(reader), &tag, wish);
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
                    (Err(_), Some(serve)) => {
                        self.serve(self.subject(&tagged, &Known::default()), serve)
                    }
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
        let is_looked_into = known::is_needed(&self.ask.rules);
        if self.ask.method != Method::HEAD || tagged.has_moved() || is_looked_into {
            return None;
        }
        let digest = tagged.pointer.digest;
        let document = self.manifest_document(digest, &tagged.reader);
        let mut lookup = document.lookup;
        lookup.key = lookup.key.sibling(&format!("described/{digest}"));
        let artifact = Artifact {
            lookup,
            digests: vec![digest],
            size: Some(size),
            nature: Nature::Program,
            is_excepted: false,
            subject: None,
        };
        let mut headers = manifest::headers(media_type, &digest);
        headers.extend(self.manifest_form(digest, Some(tagged)).own_headers());
        Some(Serve::Artifact { artifact, headers, chunking: None })
    }

    /// The registry has no manifest of the digest that it named for the tag. Some name a wrong one; the manifest itself does not lie.
    fn look_at_bytes(self, tagged: Tagged) -> Step {
        let by_bytes = tag::by_bytes(&self.place.scope(&tagged.reader), &tagged.tag);
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
        let former = tagged.pointer.before(&digest);
        self.with_known(digest, former, tagged.reader.clone(), move |pull, known| {
            let form = Arc::new(pull.manifest_form(digest, Some(&tagged)));
            let subject = pull.subject(&tagged, &known);
            pull.serve(subject, Serve::Document { document, render: form })
        })
    }
}
