//! What refers to a manifest: signatures, bills of materials, attestations. An index that upstream keeps, or the tag that stands in for it where upstream has
//! no such interface.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::cache::lookup::{
    Admission, Admit, Answer, Document, Follow, Fresh, Keep, Kept, Page, Parsed,
};
use crate::ecosystem::listed::Listed;
use crate::ecosystem::oci::admit::admission;
use crate::ecosystem::oci::complete::Wish;
use crate::ecosystem::oci::manifest;
use crate::ecosystem::oci::name::{self, Tag};
use crate::ecosystem::oci::registry::Registry;
use crate::ecosystem::oci::scope::Scope;
use crate::ecosystem::oci::tags_list::next_page;
use crate::types::{Digest, Timestamp};

/// Media type of the answer.
pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// The largest list, all pages together.
const LIMIT_BYTES: u64 = 32 << 20;

/// Descriptors of what refers to a manifest, and of what did, as upstream wrote them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Referrers(pub Listed<String>);

#[derive(Debug)]
struct KeepReferrers {
    scope: Scope,
    wish: Wish,
}

/// Admits lists, and sees to it that a registry without the interface is asked for the tag.
#[derive(Debug)]
struct AdmitReferrers {
    registry: Arc<Registry>,
    fresh_for: Duration,
}

/// What refers to `subject`, for a reader. Absent: upstream has neither the interface nor the tag, or has nothing.
pub fn document(scope: &Scope, subject: &Digest, wish: Wish) -> Document {
    let listed = scope.request(Method::GET, &format!("referrers/{subject}"));
    let tag = Tag::of_referrers(subject);
    let tagged = scope.manifest_request(Method::GET, tag.as_str());
    let keep = Arc::new(KeepReferrers { scope: scope.clone(), wish });
    let name = format!("{}@{subject}", scope.name("referrers"));
    let registry = Arc::clone(&scope.registry);
    let admit = Arc::new(AdmitReferrers { registry, fresh_for: scope.fresh_for() });
    let document = scope.document(&name, vec![listed, tagged], admit, keep);
    Document { limit_bytes: LIMIT_BYTES, ..document }
}

impl Referrers {
    /// Reads the kept form; before lists were remembered, it was that of the descriptors alone.
    fn read(kept: &[u8]) -> Result<Self, serde_json::Error> {
        match kept.first() {
            Some(b'[') => {
                let all: Vec<Value> = serde_json::from_slice(kept)?;
                Ok(Self(Listed::undated(all.iter().map(Value::to_string).collect())))
            }
            _ => serde_json::from_slice(kept).map(Self),
        }
    }

    /// The descriptors at an instant, or now.
    pub fn descriptors(&self, at: Option<Timestamp>) -> Vec<Value> {
        let read = |text: &String| serde_json::from_str(text).ok();
        match at {
            Some(at) => self.0.at(at).filter_map(read).collect(),
            None => self.0.now().filter_map(read).collect(),
        }
    }

    /// The answer's body: all of them, or those of one kind, at an instant, or now.
    pub fn index(&self, artifact_type: Option<&str>, at: Option<Timestamp>) -> Bytes {
        let fits = |one: &Value| {
            artifact_type.is_none_or(|wanted| one["artifactType"].as_str() == Some(wanted))
        };
        let mut manifests = self.descriptors(at);
        manifests.retain(fits);
        let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests});
        index.to_string().into()
    }
}

impl Admit for AdmitReferrers {
    fn admit(&self, index: usize, answer: &Answer<'_>) -> Admission {
        self.registry.budget.note(answer.head, answer.now);
        let is_unknown_interface = index == 0
            && matches!(
                answer.head.status,
                StatusCode::BAD_REQUEST
                    | StatusCode::METHOD_NOT_ALLOWED
                    | StatusCode::NOT_ACCEPTABLE
                    | StatusCode::NOT_IMPLEMENTED
            );
        if is_unknown_interface {
            return Admission::Absent;
        }
        admission(answer.head, self.fresh_for)
    }
}

impl Keep for KeepReferrers {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        Referrers::read(kept).map(Parsed::new).map_err(|error| error.to_string())
    }

    fn merge(&self, previous: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        let mut all = manifests(fresh.body)?;
        for page in fresh.rest {
            all.extend(manifests(&page.body)?);
        }
        let all = all.iter().map(Value::to_string).collect();
        let previous = previous.and_then(|parsed| parsed.get()).map(|Referrers(all)| all);
        let all = Referrers(Listed::succeed(previous, all, fresh.now, self.scope.registry.history));
        let bytes = serde_json::to_vec(&all.0).map_err(|error| error.to_string())?;
        Ok(Kept::alone(bytes.into(), Parsed::new(all)))
    }

    fn next_page(&self, page: &Page) -> Option<url::Url> {
        next_page(&self.scope.registry, page)
    }

    fn belongings(&self, kept: &Parsed) -> Vec<Follow> {
        let (Some(all), true) = (kept.get::<Referrers>(), self.wish.blobs()) else {
            return Vec::new();
        };
        let all = all.descriptors(None);
        let digests = all.iter().filter_map(|one| name::digest(one["digest"].as_str()?).ok());
        let manifest = |digest| manifest::document(&self.scope, digest, self.wish);
        digests.map(manifest).map(Follow::Document).collect()
    }

    /// That nothing refers to an image is worth remembering: rules may ask who vouches for it when its registry cannot be asked.
    fn nothing(&self, _: Timestamp) -> Option<Kept> {
        let all = Listed::default();
        let bytes = serde_json::to_vec(&all).ok()?;
        Some(Kept::alone(bytes.into(), Parsed::new(Referrers(all))))
    }
}

/// The descriptors of an index. Anything else is no list of referrers.
fn manifests(body: &Bytes) -> Result<Vec<Value>, String> {
    let mut index: Value = serde_json::from_slice(body)
        .map_err(|error| format!("upstream's list of referrers is no JSON: {error}"))?;
    match index.get_mut("manifests").map(Value::take) {
        Some(Value::Array(all)) => Ok(all),
        Some(Value::Null) => Ok(Vec::new()),
        _ => Err("upstream's list of referrers has no `manifests`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_filtered_by_kind() {
        let body =
            r#"{"manifests":[{"digest":"sha256:a","artifactType":"x/sig"},{"digest":"sha256:b"}]}"#;
        let all = manifests(&Bytes::from_static(body.as_bytes())).expect("an index");
        let former = serde_json::to_vec(&all).expect("JSON");
        let all = Referrers::read(&former).expect("the former form");
        let kept = serde_json::to_vec(&all.0).expect("JSON");
        assert_eq!(Referrers::read(&kept).expect("the form of today"), all);
        let count = |kind: Option<&str>| {
            let index: Value = serde_json::from_slice(&all.index(kind, None)).expect("JSON");
            index["manifests"].as_array().map(Vec::len)
        };
        assert_eq!(
            (count(None), count(Some("x/sig")), count(Some("x"))),
            (Some(2), Some(1), Some(0))
        );
        assert!(manifests(&Bytes::from_static(b"<html>")).is_err());
        assert!(manifests(&Bytes::from_static(b"{}")).is_err());
        assert_eq!(manifests(&Bytes::from_static(b"{\"manifests\":null}")), Ok(Vec::new()));
    }
}
