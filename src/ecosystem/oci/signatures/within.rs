//! Which index names a manifest: noted with each index, so that a signed one can speak for its images from the moment it is there.
//!
//! Only the last one that came is noted. What other indexes there are is found among what is kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::cache::lookup::{Beside, Demand, Document, Fresh, Keep, Kept, Parsed};
use crate::ecosystem::oci::admit::AdmitDocument;
use crate::ecosystem::oci::name;
use crate::ecosystem::oci::scope::Scope;
use crate::types::Digest;

/// The index that names a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Within(pub Digest);

#[derive(Debug)]
struct KeepWithin;

fn name_of(scope: &Scope, child: &Digest) -> String {
    format!("{}@{child}", scope.name("within"))
}

/// That `index` names `child`.
pub fn note(scope: &Scope, child: &Digest, index: &Digest) -> Beside {
    Beside {
        name: name_of(scope, child),
        bytes: index.to_string().into(),
        parsed: Parsed::new(Within(*index)),
    }
}

/// The index that names `child`, as far as one is known; nobody is asked.
pub fn document(scope: &Scope, child: &Digest) -> Document {
    let admit = AdmitDocument::of(scope, Duration::MAX);
    let document = scope.document(&name_of(scope, child), Vec::new(), admit, Arc::new(KeepWithin));
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
}
