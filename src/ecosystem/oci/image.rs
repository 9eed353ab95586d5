//! What an image says of itself, for rules that look at it: read from its configuration, a document of its own that is asked for only then.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::Value;

use crate::cache::lookup::{Demand, Document, Fresh, Keep, Kept, Parsed};
use crate::ecosystem::Step;
use crate::ecosystem::oci::admit::AdmitDocument;
use crate::ecosystem::oci::facts::{self, Image};
use crate::ecosystem::oci::manifest::{self, Manifest};
use crate::ecosystem::oci::pull::Pull;
use crate::ecosystem::oci::registry::Reader;
use crate::ecosystem::oci::scope::Scope;
use crate::types::Digest;

/// The document of a configuration's labels, for a reader.
pub fn document(scope: &Scope, config: Digest) -> Document {
    let request = scope.request(Method::GET, &format!("blobs/{config}"));
    let admit = AdmitDocument::of(scope, Duration::MAX);
    let name = format!("{}@{config}", scope.name("image"));
    let document = scope.document(&name, vec![request], admit, Arc::new(KeepImage { config }));
    Document { demand: Demand::AnyAge, ..document }
}

/// How planning goes on with what an image says of itself; `None`: that could not be had, or nobody looks at it.
type WithImage = Box<dyn FnOnce(Pull, Option<Image>) -> Step + Send>;

/// Where more of an image is to be learnt than its manifest says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum More {
    /// An index speaks by its first image.
    Child(Digest),
    Config(Digest),
}

/// What a manifest says itself, and where it says more.
pub fn of_manifest(manifest: &Manifest) -> (Image, Option<More>) {
    let json: Value = serde_json::from_slice(&manifest.body).unwrap_or_default();
    let more = match manifest.content.children.first() {
        Some(child) => Some(More::Child(child.digest)),
        None if json.get("config").is_some() => {
            manifest.content.blobs.first().map(|config| More::Config(config.digest))
        }
        None => None,
    };
    (Image::of_labels(&json["annotations"]), more)
}

impl Pull {
    /// Goes on with what an image says of itself, where rules look at that: by the manifest's annotations, then by the configuration's labels.
    pub(super) fn with_image(
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
                let (said, more) = of_manifest(manifest);
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
        let document = document(&self.place.scope(reader), config);
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
}

#[derive(Debug)]
struct KeepImage {
    config: Digest,
}

impl Keep for KeepImage {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        let image: Image = postcard::from_bytes(kept).map_err(|error| error.to_string())?;
        Ok(Parsed::new(image))
    }

    fn merge(&self, _: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        let got = manifest::digest_of(fresh.body, &self.config)?;
        if got != self.config {
            return Err(format!("the configuration has the digest {got}, not {}", self.config));
        }
        let json: Value = serde_json::from_slice(fresh.body).unwrap_or_default();
        let image = Image::of_config(&json);
        let bytes = postcard::to_stdvec(&image).map_err(|error| error.to_string())?;
        Ok(Kept::alone(bytes.into(), Parsed::new(image)))
    }
}
