//! Whether upstream lets somebody read a repository at all, by its word on the repository's list of tags.
//!
//! Asked where a yes must be had before anything else is at hand: when a client hands in credentials, and, where the settings say that what was withdrawn
//! is no longer served, before something kept is.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;

use crate::cache::lookup::{Demand, Document, Fresh, Keep, Kept, Parsed};
use crate::ecosystem::oci::admit::AdmitDocument;
use crate::ecosystem::oci::registry::MEMO;
use crate::ecosystem::oci::scope::Scope;

/// A yes needs no words.
#[derive(Debug)]
struct KeepAccess;

/// Whether a reader may read a repository: there is such a document if so, and upstream's refusal if not. Absent: upstream does not say.
pub fn document(scope: &Scope, demand: Demand) -> Document {
    let mut request = scope.request(Method::GET, "tags/list");
    request.url.query_pairs_mut().append_pair("n", "1");
    let admit = AdmitDocument::of(scope, scope.registry.tag_ttl.min(MEMO));
    let document =
        scope.document(&scope.name("access"), vec![request], admit, Arc::new(KeepAccess));
    Document { demand, ..document }
}

impl Keep for KeepAccess {
    fn read(&self, _: &Bytes) -> Result<Parsed, String> {
        Ok(Parsed::new(()))
    }

    fn merge(&self, _: Option<&Parsed>, _: &Fresh<'_>) -> Result<Kept, String> {
        Ok(Kept::alone(Bytes::from_static(b"yes"), Parsed::new(())))
    }
}
