//! Where an image's signatures are filed, if anywhere: the tag that is named after the image's manifest.
//!
//! Beside the tag itself, which is kept as any other is, this keeps that there is none: of an image that nobody signed, that must be known when its registry cannot be
//! asked, too. A tag that was there once is believed to be there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;

use crate::cache::lookup::{Admission, Admit, Answer, Document, Fresh, Keep, Kept, Parsed};
use crate::ecosystem::oci::admit::admission;
use crate::ecosystem::oci::name::{self, Tag};
use crate::ecosystem::oci::registry::Registry;
use crate::ecosystem::oci::scope::Scope;
use crate::ecosystem::oci::tag::content_digest;
use crate::types::{Digest, Timestamp};

/// What such tags end in.
const SUFFIX: &str = "sig";

/// The kept form of there being none.
const NONE: &[u8] = b"-";

/// The manifest that the tag stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filed(pub Option<Digest>);

#[derive(Debug)]
struct KeepFiled;

#[derive(Debug)]
struct AdmitFiled {
    registry: Arc<Registry>,
    fresh_for: Duration,
}

/// The tag under which the signatures of a manifest are filed.
pub fn tag(subject: &Digest) -> Tag {
    Tag::of_referrers(subject).with_suffix(SUFFIX)
}

/// Where the signatures of `subject` are filed, for a reader.
pub fn document(scope: &Scope, subject: &Digest) -> Document {
    let request = scope.manifest_request(Method::HEAD, tag(subject).as_str());
    let registry = Arc::clone(&scope.registry);
    let admit = Arc::new(AdmitFiled { registry, fresh_for: scope.fresh_for() });
    let name = format!("{}@{subject}", scope.name("filed"));
    scope.document(&name, vec![request], admit, Arc::new(KeepFiled))
}

impl Admit for AdmitFiled {
    fn admit(&self, _: usize, answer: &Answer<'_>) -> Admission {
        self.registry.budget.note(answer.head, answer.now);
        match admission(answer.head, self.fresh_for) {
            Admission::Accept(_) if content_digest(answer.head).is_none() => Admission::Fail {
                reason: "upstream names no digest for the tag of signatures".to_owned(),
            },
            admission => admission,
        }
    }
}

impl Keep for KeepFiled {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        if kept == NONE {
            return Ok(Parsed::new(Filed(None)));
        }
        let text = std::str::from_utf8(kept).map_err(|error| error.to_string())?;
        let digest = name::digest(text).map_err(|error| error.to_string())?;
        Ok(Parsed::new(Filed(Some(digest))))
    }

    fn merge(&self, _: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        let digest =
            content_digest(fresh.head).ok_or_else(|| "upstream names no digest".to_owned())?;
        Ok(Kept::alone(digest.to_string().into(), Parsed::new(Filed(Some(digest)))))
    }

    fn nothing(&self, _: Timestamp) -> Option<Kept> {
        Some(Kept::alone(Bytes::from_static(NONE), Parsed::new(Filed(None))))
    }
}
