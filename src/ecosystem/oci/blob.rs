//! Blobs: kept once for everybody, given out only through a repository.
//!
//! That a digest is known opens nothing. A blob is read through a link: a document that says that this repository has this blob for this
//! audience. Manifests bring the links of their blobs along; without one, the registry is asked whether the repository has the blob, as the reader.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::cache::lookup::{
    Accepted, Admission, Admit, Answer, Artifact, Demand, Document, Fresh, Keep, Kept, Lookup,
    Nature, Parsed, Stale,
};
use crate::ecosystem::oci::SPACE;
use crate::ecosystem::oci::admit::admission;
use crate::ecosystem::oci::naming::SCHEME;
use crate::ecosystem::oci::scope::Scope;
use crate::ecosystem::oci::tag::CONTENT_DIGEST;
use crate::types::{Audience, CacheKey, Digest};

/// That a repository has a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its size, where that is known.
    pub size: Option<u64>,
}

impl Link {
    pub fn to_bytes(self) -> Bytes {
        postcard::to_stdvec(&self).expect("a number can be written").into()
    }
}

/// Keeps a link.
#[derive(Debug)]
struct KeepLink;

/// Admits the answer to a `HEAD` for a blob. A redirect is a yes: where it leads is nobody's business, and often answers to `GET` only.
#[derive(Debug)]
struct AdmitLink {
    fresh_for: Duration,
}

/// Admits a blob's bytes: immutable, and named by a digest.
#[derive(Debug)]
struct AdmitBlob;

/// The name of a link within the space of registries.
pub fn link_name(scope: &Scope, digest: &Digest) -> String {
    format!("{}@{digest}", scope.name("link"))
}

/// Whether a repository has a blob, for a reader.
pub fn link(scope: &Scope, digest: Digest) -> Document {
    let request = scope.bare_request(Method::HEAD, &format!("blobs/{digest}"));
    let admit = Arc::new(AdmitLink { fresh_for: scope.reader.trust() });
    let name = link_name(scope, &digest);
    let document = scope.document(&name, vec![request], admit, Arc::new(KeepLink));
    // The length that such an answer announces is the blob's, and no body comes.
    Document { limit_bytes: u64::MAX, demand: Demand::AnyAge, ..document }
}

/// The bytes of a blob, to be fetched through a repository where they are not kept. The caller has settled that the reader may have them.
pub fn artifact(scope: &Scope, digest: Digest, size: Option<u64>) -> Artifact {
    let request = scope.request(Method::GET, &format!("blobs/{digest}"));
    let admit = Arc::new(AdmitBlob);
    let lookup = Lookup { key: key(&digest), origins: vec![request], admit, stale: Stale::Always };
    let Scope { registry, repository, .. } = scope;
    let subject = Some(format!("{SCHEME}:{}/{repository}@{digest}", registry.name));
    Artifact {
        lookup,
        digests: vec![digest],
        size,
        nature: Nature::Layer,
        is_excepted: false,
        subject,
    }
}

/// Where a blob's bytes are kept, for everybody who may read them.
pub fn key(digest: &Digest) -> CacheKey {
    CacheKey::new(SPACE, &Audience::Public, &format!("blob/{digest}"))
}

/// What their keys begin with.
pub fn blobs() -> CacheKey {
    CacheKey::new(SPACE, &Audience::Public, "blob/")
}

/// Fields of a blob's answer. One client (the model runner's) does without none of them: it wants a `Location` even where there is nothing to
/// be led to.
pub fn headers(digest: &Digest, location: HeaderValue) -> HeaderMap {
    let mut headers = digest_headers(digest);
    let kind = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::LOCATION, location);
    headers
}

/// Fields that follow from a digest alone.
pub fn digest_headers(digest: &Digest) -> HeaderMap {
    let text = |text: String| {
        HeaderValue::from_str(&text).expect("a digest in quotes or without is a field value")
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_DIGEST, text(digest.to_string()));
    headers.insert(header::ETAG, text(format!("\"{digest}\"")));
    let forever = HeaderValue::from_static("max-age=31536000, immutable, no-transform");
    headers.insert(header::CACHE_CONTROL, forever);
    headers
}

impl Keep for KeepLink {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        let link: Link = postcard::from_bytes(kept).map_err(|error| error.to_string())?;
        Ok(Parsed::new(link))
    }

    fn merge(&self, _: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        let is_whole = fresh.head.status == StatusCode::OK
            && !fresh.head.headers.contains_key(header::CONTENT_ENCODING);
        let size = fresh.head.content_length().filter(|size| is_whole && *size > 0);
        let link = Link { size };
        Ok(Kept::alone(link.to_bytes(), Parsed::new(link)))
    }
}

impl Admit for AdmitLink {
    fn admit(&self, _: usize, answer: &Answer<'_>) -> Admission {
        let is_redirect = answer.head.status.is_redirection()
            && answer.head.headers.contains_key(header::LOCATION);
        match is_redirect {
            true => {
                Admission::Accept(Accepted { fresh_for: self.fresh_for, ..Accepted::default() })
            }
            false => admission(answer.head, self.fresh_for),
        }
    }
}

impl Admit for AdmitBlob {
    fn admit(&self, _: usize, answer: &Answer<'_>) -> Admission {
        admission(answer.head, Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Head, Timestamp};

    #[test]
    fn a_redirect_is_a_yes() {
        let check = |status: u16, location: bool, expected: &str| {
            let mut head = Head::new(StatusCode::from_u16(status).expect("a status"));
            if location {
                let value = HeaderValue::from_static("https://files.example/x?signature=1");
                head.headers.insert(header::LOCATION, value);
            }
            let answer = Answer { hops: &[], head: &head, now: Timestamp(1) };
            let admit = AdmitLink { fresh_for: Duration::ZERO };
            let admission = format!("{:?}", admit.admit(0, &answer));
            assert!(admission.starts_with(expected), "{status}: {admission}");
        };
        check(200, false, "Accept");
        check(307, true, "Accept");
        check(302, true, "Accept");
        check(307, false, "Fail");
        check(404, false, "Absent");
        check(401, false, "Refused");
        check(403, true, "Refused");
        check(503, false, "Fail");
    }

    #[test]
    fn links_go_to_disk_and_back() {
        for link in [Link { size: None }, Link { size: Some(u64::MAX) }] {
            let read = KeepLink.read(&link.to_bytes()).expect("it reads");
            assert_eq!(read.get::<Link>(), Some(&link));
        }
    }
}
