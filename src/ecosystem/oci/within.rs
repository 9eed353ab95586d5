//! Which index names a manifest: noted with each index, so that a signed one can speak for its images from the moment it is there.
//!
//! Only the last one that came is noted. What other indexes there are is found among what is kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::cache::lookup::{Beside, Demand, Document, Fresh, Keep, Kept, Parsed};
use crate::ecosystem::oci::admit::AdmitDocument;
use crate::ecosystem::oci::name::{self, Repository};
use crate::ecosystem::oci::registry::{Reader, Registry};
use crate::types::{Digest, Timestamp};

/// The index that names a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Within(pub Digest);

#[derive(Debug)]
struct KeepWithin;

fn name_of(registry: &Registry, repository: &Repository, child: &Digest) -> String {
    format!("within/{}/{repository}@{child}", registry.name)
}

/// That `index` names `child`.
pub fn note(
    registry: &Registry,
    repository: &Repository,
    child: &Digest,
    index: &Digest,
) -> Beside {
    Beside {
        name: name_of(registry, repository, child),
        bytes: index.to_string().into(),
        parsed: Parsed::new(Within(*index)),
    }
}

/// The index that names `child`, as far as one is known; nobody is asked.
pub fn document(
    registry: &Arc<Registry>,
    repository: &Repository,
    child: &Digest,
    reader: &Reader,
) -> Document {
    let admit = AdmitDocument::of(registry, reader, Duration::MAX);
    let name = name_of(registry, repository, child);
    let document = registry.document(&name, reader, Vec::new(), admit, Arc::new(KeepWithin));
    Document { demand: Demand::AnyAge, ..document }
}

impl Keep for KeepWithin {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        let text = std::str::from_utf8(kept).map_err(|error| error.to_string())?;
        let digest = name::digest(text).map_err(|error| error.to_string())?;
        Ok(Parsed::new(Within(digest)))
    }

    fn merge(&self, _: Option<&Parsed>, _: &Fresh<'_>) -> Result<Kept, String> {
        Err("no registry tells which index names a manifest".to_owned())
    }

    fn absent(&self, _: &Parsed, _: Timestamp) -> Option<Kept> {
        None
    }
}
