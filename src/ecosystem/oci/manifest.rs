//! Manifests: kept as the very bytes that their digest names, with what they refer to read from them.
//!
//! A manifest vouches for the blobs that it names: with it a link is kept for each, and only by way of such a link is a blob given out
//! ([`super::blob`]).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use serde::Deserialize;

use crate::cache::lookup::{Beside, Demand, Document, Follow, Fresh, Keep, Kept, Parsed};
use crate::ecosystem::oci::admit::AdmitDocument;
use crate::ecosystem::oci::blob::{self, Link};
use crate::ecosystem::oci::catalog;
use crate::ecosystem::oci::complete::{self, Wish};
use crate::ecosystem::oci::name;
use crate::ecosystem::oci::scope::Scope;
use crate::ecosystem::oci::signatures::within;
use crate::types::{Audience, Digest, Hasher, Head};

/// What a manifest is called where its registry does not say.
const UNNAMED_TYPE: &str = "application/octet-stream";

/// The longest media type.
const LONGEST_TYPE_BYTES: usize = 255;

/// Blobs and children of one manifest that are read; what is beyond is still served, but not linked.
const MOST_DESCRIPTORS: usize = 4096;

/// A manifest as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub media_type: String,
    pub body: Bytes,
    pub content: Content,
}

/// What a manifest refers to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// Manifests of an index.
    pub children: Vec<Descriptor>,
    /// Configuration and layers.
    pub blobs: Vec<Descriptor>,
}

/// A reference to content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    pub digest: Digest,
    pub size: Option<u64>,
    /// `linux/arm64/v8`, for a manifest of an index.
    pub platform: Option<String>,
    /// The content is said to be elsewhere (foreign layers). Those addresses are never asked.
    pub is_foreign: bool,
}

/// Keeps one manifest.
#[derive(Debug)]
pub struct KeepManifest {
    pub scope: Scope,
    pub digest: Digest,
    pub wish: Wish,
}

/// The manifest of a digest, for a reader.
pub fn document(scope: &Scope, digest: Digest, wish: Wish) -> Document {
    let request = scope.manifest_request(Method::GET, &digest.to_string());
    let admit = AdmitDocument::of(scope, Duration::MAX);
    let keep = Arc::new(KeepManifest { scope: scope.clone(), digest, wish });
    let name = format!("{}{digest}", prefix(scope));
    let document = scope.document(&name, vec![request], admit, keep);
    Document { demand: Demand::AnyAge, ..document }
}

/// What the names of a repository's manifests begin with, before the digest.
pub fn prefix(scope: &Scope) -> String {
    format!("{}@", scope.name("manifest"))
}

impl Manifest {
    /// Reads a manifest. What is no JSON, or none of the known kinds, refers to nothing, and is kept all the same: its digest is right.
    pub fn new(media_type: String, body: Bytes) -> Self {
        let content = read(&body);
        Self { media_type, body, content }
    }

    /// Reads the kept form: the media type as postcard writes a text, then the manifest's bytes up to the end.
    pub fn read(kept: &Bytes) -> Result<Self, String> {
        let (media_type, body) = postcard::take_from_bytes::<String>(kept)
            .map_err(|error| format!("it does not begin with a media type: {error}"))?;
        Ok(Self::new(media_type, kept.slice_ref(body)))
    }
}

impl Keep for KeepManifest {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        Manifest::read(kept).map(Parsed::new)
    }

    fn merge(&self, _: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        verify(fresh.body, &self.digest)?;
        let media_type = media_type(fresh.head).unwrap_or_else(|| UNNAMED_TYPE.to_owned());
        let mut bytes = postcard::to_stdvec(&media_type).map_err(|error| error.to_string())?;
        bytes.extend_from_slice(fresh.body);
        let manifest = Manifest::new(media_type, fresh.body.clone());
        Ok(Kept::alone(bytes.into(), Parsed::new(manifest)))
    }

    fn beside(&self, kept: &Parsed) -> Vec<Beside> {
        let Some(manifest) = kept.get::<Manifest>() else { return Vec::new() };
        let link = |blob: &Descriptor| {
            let name = blob::link_name(&self.scope, &blob.digest);
            let link = Link { size: blob.size };
            Beside { name, bytes: link.to_bytes(), parsed: Parsed::new(link) }
        };
        let links = manifest.content.blobs.iter().map(link);
        let note = |child: &Descriptor| within::note(&self.scope, &child.digest, &self.digest);
        let notes = manifest.content.children.iter().map(note);
        let is_public = self.scope.reader.audience == Audience::Public;
        let listed = is_public.then(|| catalog::entry(&self.scope));
        links.chain(notes).chain(listed).collect()
    }

    /// What makes the image whole, as far as the settings wish for that.
    fn belongings(&self, kept: &Parsed) -> Vec<Follow> {
        let Some(Manifest { content, .. }) = kept.get() else { return Vec::new() };
        let Self { scope, digest, .. } = self;
        let mut follow = Vec::new();
        if self.wish.blobs() {
            let own = content.blobs.iter().filter(|blob| !blob.is_foreign);
            let artifact = |one: &Descriptor| blob::artifact(scope, one.digest, one.size);
            follow.extend(own.map(artifact).map(Follow::Artifact));
        }
        if let Some(children) = self.wish.of_children() {
            follow.extend(
                content
                    .children
                    .iter()
                    .map(|child| children.follow(document(scope, child.digest, children.wish))),
            );
        }
        if self.wish.companions() {
            follow.extend(complete::companions(scope, digest));
        }
        follow
    }
}

/// The media type of an answer, without parameters: clients compare it as a whole.
pub fn media_type(head: &Head) -> Option<String> {
    let text = head.text(&header::CONTENT_TYPE)?;
    let bare = text.split(';').next()?.trim();
    let fits = !bare.is_empty() && bare.len() <= LONGEST_TYPE_BYTES;
    fits.then(|| bare.to_owned())
}

/// Fields of a manifest's answer, the ones of its bytes alone.
pub fn headers(media_type: &str, digest: &Digest) -> HeaderMap {
    let mut headers = blob::digest_headers(digest);
    let kind = media_type.parse().unwrap_or(http::HeaderValue::from_static(UNNAMED_TYPE));
    headers.insert(header::CONTENT_TYPE, kind);
    headers
}

/// Whether bytes are those that a digest names.
pub fn verify(body: &Bytes, expected: &Digest) -> Result<(), String> {
    let got = digest_of(body, expected)?;
    match got == *expected {
        true => Ok(()),
        false => Err(format!("upstream's manifest has the digest {got}, not {expected}")),
    }
}

/// Whether bytes that no digest vouches for can be a manifest at all: a sign-in page is none, nor is an error.
pub fn resembles(body: &Bytes) -> Result<(), String> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body)
        .map_err(|error| format!("upstream's manifest is no JSON object: {error}"))?;
    let known = ["schemaVersion", "mediaType", "manifests", "layers", "blobs"];
    match known.iter().any(|member| object.contains_key(*member)) {
        true => Ok(()),
        false => Err("upstream's manifest has none of the members that one has".to_owned()),
    }
}

/// The digest of bytes, by the algorithm of another one.
pub fn digest_of(body: &Bytes, like: &Digest) -> Result<Digest, String> {
    let mut hasher = Hasher::new(like.algorithm()).map_err(|error| error.to_string())?;
    hasher.update(body);
    Ok(hasher.finish())
}

/// The members of manifests of all kinds that are of interest, as they stand there.
#[derive(Deserialize)]
struct Json {
    #[serde(default)]
    manifests: Vec<JsonDescriptor>,
    #[serde(default)]
    config: Option<JsonDescriptor>,
    #[serde(default)]
    layers: Vec<JsonDescriptor>,
    /// Of the artifact manifest that the image specification had for a while.
    #[serde(default)]
    blobs: Vec<JsonDescriptor>,
    /// Of the first schema.
    #[serde(default, rename = "fsLayers")]
    fs_layers: Vec<JsonLayer>,
}

#[derive(Deserialize)]
struct JsonDescriptor {
    digest: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    urls: Option<Vec<String>>,
    #[serde(default)]
    platform: Option<JsonPlatform>,
}

#[derive(Deserialize)]
struct JsonPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
}

#[derive(Deserialize)]
struct JsonLayer {
    #[serde(rename = "blobSum")]
    blob_sum: String,
}

fn read(body: &Bytes) -> Content {
    let Ok(json) = serde_json::from_slice::<Json>(body) else { return Content::default() };
    let first_schema = json.fs_layers.into_iter().map(|layer| JsonDescriptor {
        digest: layer.blob_sum,
        size: None,
        urls: None,
        platform: None,
    });
    let blobs = json.config.into_iter().chain(json.layers).chain(json.blobs).chain(first_schema);
    Content {
        children: json
            .manifests
            .into_iter()
            .filter_map(descriptor)
            .take(MOST_DESCRIPTORS)
            .collect(),
        blobs: blobs.filter_map(descriptor).take(MOST_DESCRIPTORS).collect(),
    }
}

/// A descriptor with a digest that can be checked.
fn descriptor(json: JsonDescriptor) -> Option<Descriptor> {
    let platform = json.platform.map(|platform| {
        let parts = [platform.os, platform.architecture, platform.variant];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join("/")
    });
    Some(Descriptor {
        digest: name::digest(&json.digest).ok()?,
        size: json.size,
        platform,
        is_foreign: json.urls.is_some_and(|urls| !urls.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn hex(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    #[test]
    fn all_kinds_of_manifests_are_read() {
        let (a, b) = (hex('a'), hex('b'));
        let check = |json: String, children: usize, blobs: usize| {
            let manifest = Manifest::new("x/y".to_owned(), json.clone().into());
            let content = manifest.content;
            assert_eq!((content.children.len(), content.blobs.len()), (children, blobs), "{json}");
        };
        check(
            format!(
                r#"{{"config":{{"digest":"sha256:{a}","size":2}},"layers":[{{"digest":"sha256:{b}","size":3}}]}}"#
            ),
            0,
            2,
        );
        check(
            format!(
                r#"{{"manifests":[{{"digest":"sha256:{a}","platform":{{"os":"linux","architecture":"arm64","variant":"v8"}}}}]}}"#
            ),
            1,
            0,
        );
        check(format!(r#"{{"fsLayers":[{{"blobSum":"sha256:{a}"}}]}}"#), 0, 1);
        check(format!(r#"{{"blobs":[{{"digest":"sha512:{a}{b}"}}]}}"#), 0, 1);
        check(r#"{"layers":[{"digest":"sha256:../../etc/passwd"}]}"#.to_owned(), 0, 0);
        check(r#"{"layers":"none"}"#.to_owned(), 0, 0);
        check("<html>".to_owned(), 0, 0);
    }

    #[test]
    fn pages_and_errors_are_told_from_manifests() {
        let check = |text: &'static str, expected: bool| {
            assert_eq!(resembles(&Bytes::from_static(text.as_bytes())).is_ok(), expected, "{text}");
        };
        check("{\"schemaVersion\":2}", true);
        check("{\"manifests\":[]}", true);
        check("{\"errors\":[]}", false);
        check("<!DOCTYPE html>", false);
        check("[]", false);
        check("", false);
    }

    #[test]
    fn platforms_and_foreign_layers_are_seen() {
        let json = format!(
            r#"{{"manifests":[{{"digest":"sha256:{a}","platform":{{"os":"linux","architecture":"arm64","variant":"v8"}}}}],
                "layers":[{{"digest":"sha256:{a}","urls":["http://169.254.169.254/"]}}]}}"#,
            a = hex('a')
        );
        let content = Manifest::new(String::new(), json.into()).content;
        assert_eq!(content.children[0].platform.as_deref(), Some("linux/arm64/v8"));
        assert!(content.blobs[0].is_foreign && !content.children[0].is_foreign);
    }

    #[test]
    fn a_media_type_has_no_parameters() {
        let check = |text: &str, expected: Option<&str>| {
            let mut head = Head::new(StatusCode::OK);
            head.headers.insert(header::CONTENT_TYPE, text.parse().expect("a field value"));
            assert_eq!(media_type(&head).as_deref(), expected, "{text}");
        };
        check(
            "application/vnd.oci.image.index.v1+json",
            Some("application/vnd.oci.image.index.v1+json"),
        );
        check("application/json; charset=utf-8", Some("application/json"));
        check("", None);
        assert_eq!(media_type(&Head::new(StatusCode::OK)), None);
    }
}
