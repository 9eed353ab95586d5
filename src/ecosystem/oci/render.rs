//! Answers in the words of the distribution specification. Everything below `/v2/` is exact bytes: what names itself by an entity tag is
//! neither compressed nor changed on the way out.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;

use crate::ecosystem::oci::facts;
use crate::ecosystem::oci::manifest::{self, Manifest};
use crate::ecosystem::oci::place::Place;
use crate::ecosystem::oci::referrers::{INDEX_TYPE, Referrers};
use crate::ecosystem::oci::tags_list::{Part, Tags};
use crate::ecosystem::past::Past;
use crate::ecosystem::{Render, Rendered, Reply, View};
use crate::policy::{Ecosystem, Point, Ruleset, Verdict};
use crate::semantics::warning::warn;
use crate::types::{BlobId, Digest, Timestamp};

/// Tells the client that the registry it named beside the path was heeded.
pub const NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");

const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// A manifest's bytes.
#[derive(Debug)]
pub struct ManifestForm {
    pub digest: Digest,
    /// How its tag stands, when it was asked for by one.
    pub note: Option<Note>,
    pub namespace: Option<String>,
    /// What the answer rests on, where it is one as of an instant of the past.
    pub past: Option<Past>,
}

/// How a tag stands to upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    Current,
    /// Upstream could not be asked when it should have been.
    Unchecked,
    Gone,
    Withdrawn,
}

/// What refers to a manifest.
#[derive(Debug)]
pub struct ReferrersForm {
    pub artifact_type: Option<String>,
    pub namespace: Option<String>,
    /// What the answer rests on, where it is one as of an instant of the past.
    pub past: Option<Past>,
}

/// A part of a list of tags.
#[derive(Debug)]
pub struct TagsForm {
    /// The repository as the client wrote it.
    pub name: String,
    /// The path that was asked.
    pub path: String,
    pub part: Part,
    pub namespace: Option<String>,
    pub place: Place,
    pub rules: Arc<Ruleset>,
    /// What the answer rests on, where it is one as of an instant of the past.
    pub past: Option<Past>,
}

impl ManifestForm {
    /// The fields that do not follow from the bytes.
    pub fn own_headers(&self) -> HeaderMap {
        let mut headers = namespace_headers(self.namespace.as_deref());
        if let Some(past) = self.past {
            past.write(&mut headers);
        }
        let warning = match self.note {
            None => return headers,
            Some(Note::Current) => None,
            Some(Note::Unchecked) => {
                Some("response is stale: upstream could not say whether the tag has moved")
            }
            Some(Note::Gone) => {
                Some("gone upstream: the tag was deleted, this is what it stood for")
            }
            Some(Note::Withdrawn) => {
                Some("withdrawn upstream: it was for everybody when it was kept")
            }
        };
        // By its tag it may be another one the next time.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
        if let Some(warning) = warning {
            warn(&mut headers, warning);
        }
        headers
    }
}

impl Render for ManifestForm {
    fn variant(&self) -> String {
        format!("manifest/{:?}/{:?}/{:?}", self.note, self.namespace, self.past)
    }

    fn render(&self, view: &View<'_>) -> Rendered {
        let Some(manifest) = view.document.get::<Manifest>() else { return nothing_kept() };
        let mut headers = manifest::headers(&manifest.media_type, &self.digest);
        headers.extend(self.own_headers());
        rendered(headers, manifest.body.clone())
    }
}

impl ReferrersForm {
    /// The answer where there are none.
    pub fn nothing(&self) -> Reply {
        let body = Referrers::default().index(None, None);
        Reply { status: StatusCode::OK, headers: self.headers(&body), body, phrase: None }
    }

    fn headers(&self, body: &Bytes) -> HeaderMap {
        let mut headers = list_headers(INDEX_TYPE, body, self.namespace.as_deref());
        if self.artifact_type.is_some() {
            headers.insert(FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
        }
        if let Some(past) = self.past {
            past.write(&mut headers);
        }
        headers
    }
}

impl Render for ReferrersForm {
    fn variant(&self) -> String {
        format!("referrers/{:?}/{:?}/{:?}", self.artifact_type, self.namespace, self.past)
    }

    fn render(&self, view: &View<'_>) -> Rendered {
        let Some(all) = view.document.get::<Referrers>() else { return nothing_kept() };
        let body = all.index(self.artifact_type.as_deref(), self.past.map(|past| past.at));
        rendered(self.headers(&body), body)
    }
}

impl Render for TagsForm {
    fn variant(&self) -> String {
        let Self { name, path, part, namespace, rules, past, .. } = self;
        format!("tags/{name}/{path}/{part:?}/{namespace:?}/{:x}/{past:?}", rules.epoch())
    }

    fn render(&self, view: &View<'_>) -> Rendered {
        let Some(all) = view.document.get::<Tags>() else { return nothing_kept() };
        let all = all.sorted(self.past.map(|past| past.at));
        let (shown, valid_until) = self.shown(&all, view);
        let (tags, more) = self.part.select(&shown);
        let body: Bytes = json!({"name": self.name, "tags": tags}).to_string().into();
        let mut headers = list_headers("application/json", &body, self.namespace.as_deref());
        if let (true, Some(last)) = (more, tags.last()) {
            let link = next_link(&self.path, self.part.most, last, self.namespace.as_deref());
            headers.insert(header::LINK, link);
        }
        if let Some(past) = self.past {
            past.write(&mut headers);
        }
        Rendered { valid_until, ..rendered(headers, body) }
    }
}

impl TagsForm {
    /// The tags that rules do not hide, and when time alone shows others.
    fn shown<'a>(
        &self,
        all: &'a [String],
        view: &View<'_>,
    ) -> (Cow<'a, [String]>, Option<Timestamp>) {
        if !self.rules.has_rules(Ecosystem::Oci, Point::Listing) {
            return (Cow::Borrowed(all), None);
        }
        let mut valid_until: Option<Timestamp> = None;
        let mut is_shown = |tag: &&String| {
            let facts = facts::of_name(&self.place, Some(tag));
            let judged = self.rules.judged(facts, Point::Listing, view.now);
            valid_until = valid_until.into_iter().chain(judged.decision.valid_until).min();
            let is_shown = judged.decision.verdict <= Verdict::Warn;
            if !is_shown {
                (view.note)(judged);
            }
            is_shown
        };
        let shown: Vec<String> = all.iter().filter(|tag| is_shown(tag)).cloned().collect();
        (Cow::Owned(shown), valid_until)
    }
}

/// Where a list goes on: the same path with another query. With its path, since some clients take the reference apart instead of resolving it.
pub fn next_link(path: &str, most: usize, last: &str, namespace: Option<&str>) -> HeaderValue {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("n", &most.to_string()).append_pair("last", last);
    if let Some(namespace) = namespace {
        query.append_pair("ns", namespace);
    }
    HeaderValue::from_str(&format!("<{path}?{}>; rel=\"next\"", query.finish()))
        .unwrap_or(HeaderValue::from_static(""))
}

/// Fields of a list that was made here.
pub fn list_headers(
    content_type: &'static str,
    body: &Bytes,
    namespace: Option<&str>,
) -> HeaderMap {
    let mut headers = namespace_headers(namespace);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    let tag = format!("\"{}\"", BlobId::of(body).to_hex());
    let tag = HeaderValue::from_str(&tag).expect("hexadecimal digits in quotes are a field value");
    headers.insert(header::ETAG, tag);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers
}

fn namespace_headers(namespace: Option<&str>) -> HeaderMap {
    let value = namespace.map(HeaderValue::from_str);
    value.into_iter().flatten().map(|value| (NAMESPACE, value)).collect()
}

fn rendered(headers: HeaderMap, body: Bytes) -> Rendered {
    Rendered {
        reply: Reply { status: StatusCode::OK, headers, body, phrase: None },
        valid_until: None,
    }
}

/// A document that is none of ours was written under our key: never, but then an honest answer.
fn nothing_kept() -> Rendered {
    let (status, headers) = (StatusCode::INTERNAL_SERVER_ERROR, HeaderMap::new());
    Rendered {
        reply: Reply { status, headers, body: Bytes::new(), phrase: None },
        valid_until: None,
    }
}
