//! What an image says of itself, for rules that look at it: read from its configuration, a document of its own that is asked for only then.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::Value;

use crate::cache::lookup::{Demand, Document, Fresh, Keep, Kept, Parsed};
use crate::ecosystem::oci::admit::AdmitDocument;
use crate::ecosystem::oci::facts::Image;
use crate::ecosystem::oci::manifest::{self, Manifest};
use crate::ecosystem::oci::name::Repository;
use crate::ecosystem::oci::registry::{MANIFEST_LIMIT_BYTES, Reader, Registry};
use crate::types::{Digest, Timestamp};

/// The document of a configuration's labels, for a reader.
pub fn document(
    registry: &Arc<Registry>,
    repository: &Repository,
    config: Digest,
    reader: &Reader,
) -> Document {
    let request = registry.request(Method::GET, repository, &format!("blobs/{config}"), reader);
    let admit = AdmitDocument::of(registry, reader, Duration::MAX);
    let name = format!("image/{}/{repository}@{config}", registry.name);
    let keep = Arc::new(KeepImage { config });
    let mut document = registry.document(&name, reader, vec![request], admit, keep);
    document.demand = Demand::AnyAge;
    document.limit_bytes = MANIFEST_LIMIT_BYTES;
    document
}

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

    fn absent(&self, _: &Parsed, _: Timestamp) -> Option<Kept> {
        None
    }
}
