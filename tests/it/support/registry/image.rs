//! Images as a registry holds them: blobs, manifests over them, indexes over those. Layers are real archives, so that real clients can unpack them;
//! large ones are patterns, which nobody has to hold.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use crate::support::origin::{Content, Pattern};

/// Media types of the two families, and of what only one of them has.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const SCHEMA2: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const SCHEMA2_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const SCHEMA2_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const SCHEMA2_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// Which family of media types an image is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Oci,
    Schema2,
}

/// Which hash names things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    pub fn digest(self, bytes: &[u8]) -> String {
        match self {
            Self::Sha256 => format!("sha256:{}", hex::encode(Sha256::digest(bytes))),
            Self::Sha512 => format!("sha512:{}", hex::encode(Sha512::digest(bytes))),
        }
    }
}

/// Bytes with a digest.
#[derive(Clone)]
pub struct Blob {
    pub digest: String,
    pub content: Content,
    media_type: &'static str,
    /// The digest of what it unpacks to.
    diff_id: String,
    /// Where else it is said to be.
    urls: Vec<String>,
}

impl Blob {
    /// A layer that is a real archive with one file in it; `seed` makes its content.
    pub fn layer(family: Family, seed: u64) -> Self {
        let archive = archive(&format!("etc/larder-{seed}"), &Pattern::new(seed, 3000));
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&archive).expect("memory can be written");
        let packed = encoder.finish().expect("the stream can be closed");
        let media_type = match family {
            Family::Oci => OCI_LAYER,
            Family::Schema2 => SCHEMA2_LAYER,
        };
        let diff_id = Algorithm::Sha256.digest(&archive);
        Self { diff_id, ..Self::new(media_type, packed) }
    }

    /// A layer of any length, computed when asked for. No archive.
    pub fn opaque(family: Family, seed: u64, length: u64) -> Self {
        let media_type = match family {
            Family::Oci => OCI_LAYER,
            Family::Schema2 => SCHEMA2_LAYER,
        };
        let content = Content::from(Pattern::new(seed, length));
        let digest = format!("sha256:{}", content.sha256());
        Self { diff_id: digest.clone(), digest, content, media_type, urls: Vec::new() }
    }

    /// A layer that is said to be at `url`, too, and that registries need not have.
    pub fn foreign(seed: u64, url: &str) -> Self {
        Self {
            media_type: FOREIGN_LAYER,
            urls: vec![url.to_owned()],
            ..Self::layer(Family::Schema2, seed)
        }
    }

    /// A blob of any other kind: a chart, a model, a signature.
    pub fn new(media_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let digest = Algorithm::Sha256.digest(&bytes);
        Self {
            diff_id: digest.clone(),
            digest,
            content: Content::Bytes(bytes),
            media_type,
            urls: Vec::new(),
        }
    }

    /// The same under another algorithm's name.
    #[must_use]
    pub fn named_by(mut self, algorithm: Algorithm) -> Self {
        if let Content::Bytes(bytes) = &self.content {
            self.digest = algorithm.digest(bytes);
        }
        self
    }

    pub fn length(&self) -> u64 {
        self.content.length().expect("a blob has a length")
    }

    /// The pattern of an opaque layer.
    pub fn pattern(&self) -> Pattern {
        match &self.content {
            Content::Pattern(pattern) => pattern.clone(),
            _ => unreachable!("an opaque layer is a pattern"),
        }
    }

    fn descriptor(&self) -> Value {
        let mut descriptor =
            json!({ "mediaType": self.media_type, "size": self.length(), "digest": self.digest });
        if !self.urls.is_empty() {
            descriptor["urls"] = json!(self.urls);
        }
        descriptor
    }
}

/// A manifest or an index: exact bytes with a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub digest: String,
    pub media_type: String,
    pub body: Bytes,
    /// The digest that it refers to, and what kind of thing it says it is.
    pub subject: Option<String>,
    pub artifact_type: Option<String>,
}

impl Manifest {
    /// One with exactly these bytes.
    pub fn verbatim(media_type: &str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self {
            digest: Algorithm::Sha256.digest(&body),
            media_type: media_type.to_owned(),
            body,
            subject: None,
            artifact_type: None,
        }
    }

    /// A manifest over these blobs. Written with indentation, which nobody may normalise.
    pub fn over(family: Family, config: &Blob, layers: &[Blob]) -> Self {
        let media_type = match family {
            Family::Oci => OCI_MANIFEST,
            Family::Schema2 => SCHEMA2,
        };
        let layers: Vec<Value> = layers.iter().map(Blob::descriptor).collect();
        Self::written(
            media_type,
            &json!({
                "schemaVersion": 2,
                "mediaType": media_type,
                "config": config.descriptor(),
                "layers": layers,
            }),
        )
    }

    /// An index over manifests, each with its operating system and architecture.
    pub fn index(family: Family, children: &[(&Self, (&str, &str))]) -> Self {
        let media_type = match family {
            Family::Oci => OCI_INDEX,
            Family::Schema2 => SCHEMA2_LIST,
        };
        let entry = |(child, (os, architecture)): &(&Self, (&str, &str))| {
            let mut entry = child.descriptor();
            entry["platform"] = json!({ "os": os, "architecture": architecture });
            entry
        };
        let entries: Vec<Value> = children.iter().map(entry).collect();
        Self::written(
            media_type,
            &json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": entries }),
        )
    }

    /// Something that belongs to another manifest: a signature, a list of parts.
    pub fn referrer(subject: &Self, artifact_type: &str, payload: &Blob) -> Self {
        let empty = Blob::new("application/vnd.oci.empty.v1+json", "{}");
        let written = Self::written(
            OCI_MANIFEST,
            &json!({
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "artifactType": artifact_type,
                "config": empty.descriptor(),
                "layers": [payload.descriptor()],
                "subject": subject.descriptor(),
            }),
        );
        Self {
            subject: Some(subject.digest.clone()),
            artifact_type: Some(artifact_type.to_owned()),
            ..written
        }
    }

    /// The same under another algorithm's name.
    #[must_use]
    pub fn named_by(mut self, algorithm: Algorithm) -> Self {
        self.digest = algorithm.digest(&self.body);
        self
    }

    pub fn descriptor(&self) -> Value {
        let mut descriptor = json!({
            "mediaType": self.media_type, "size": self.body.len(), "digest": self.digest,
        });
        if let Some(artifact_type) = &self.artifact_type {
            descriptor["artifactType"] = json!(artifact_type);
        }
        descriptor
    }

    fn written(media_type: &str, document: &Value) -> Self {
        let mut body = serde_json::to_vec_pretty(document).expect("a document can be written");
        body.extend_from_slice(b"\n\n");
        Self::verbatim(media_type, body)
    }
}

/// Everything that a tag leads to.
#[derive(Clone)]
pub struct Image {
    /// What the tag names.
    pub root: Manifest,
    /// Manifests below it, each by digest.
    pub children: Vec<Manifest>,
    pub blobs: Vec<Blob>,
}

impl Image {
    /// An image of one platform with two layers; `seed` makes its content.
    pub fn single(family: Family, seed: u64) -> Self {
        Self::of_layers(
            family,
            "amd64",
            vec![Blob::layer(family, seed), Blob::layer(family, seed + 1)],
        )
    }

    /// An image of one platform with these layers.
    pub fn of_layers(family: Family, architecture: &str, layers: Vec<Blob>) -> Self {
        let config = config(family, architecture, &layers);
        let root = Manifest::over(family, &config, &layers);
        let mut blobs = vec![config];
        blobs.extend(layers);
        Self { root, children: Vec::new(), blobs }
    }

    /// An image whose configuration says this of it.
    pub fn described(family: Family, seed: u64, more: &Value) -> Self {
        let layers = vec![Blob::layer(family, seed)];
        let config = config_with(family, "amd64", &layers, more);
        let root = Manifest::over(family, &config, &layers);
        Self { root, children: Vec::new(), blobs: [vec![config], layers].concat() }
    }

    /// An image for amd64 and arm64; in OCI's family with an attestation, as builders write them.
    pub fn multi(family: Family, seed: u64) -> Self {
        let amd64 = Self::single(family, seed);
        let arm64 = Self::of_layers(family, "arm64", vec![Blob::layer(family, seed + 2)]);
        let statement = Blob::new("application/vnd.in-toto+json", format!("{{\"seed\":{seed}}}"));
        let attestation = Self::of_layers(family, "unknown", vec![statement]);
        let mut parts = vec![(amd64, ("linux", "amd64")), (arm64, ("linux", "arm64"))];
        if family == Family::Oci {
            parts.push((attestation, ("unknown", "unknown")));
        }
        let entries: Vec<_> =
            parts.iter().map(|(part, platform)| (&part.root, *platform)).collect();
        let root = Manifest::index(family, &entries);
        let children = parts.iter().map(|(part, _)| part.root.clone()).collect();
        let blobs = parts.into_iter().flat_map(|(part, _)| part.blobs).collect();
        Self { root, children, blobs }
    }

    /// The same image whose manifests and blobs are named by another algorithm. For single images.
    pub fn single_named_by(algorithm: Algorithm, seed: u64) -> Self {
        let layers = vec![Blob::layer(Family::Oci, seed).named_by(algorithm)];
        let config = config(Family::Oci, "amd64", &layers).named_by(algorithm);
        let root = Manifest::over(Family::Oci, &config, &layers).named_by(algorithm);
        Self { root, children: Vec::new(), blobs: [vec![config], layers].concat() }
    }

    pub fn digest(&self) -> &str {
        &self.root.digest
    }

    /// The manifests, the root first.
    pub fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        std::iter::once(&self.root).chain(&self.children)
    }
}

fn config(family: Family, architecture: &str, layers: &[Blob]) -> Blob {
    config_with(family, architecture, layers, &Value::Null)
}

/// With more in it, or something else.
fn config_with(family: Family, architecture: &str, layers: &[Blob], more: &Value) -> Blob {
    let media_type = match family {
        Family::Oci => OCI_CONFIG,
        Family::Schema2 => SCHEMA2_CONFIG,
    };
    let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
    let mut document = json!({
        "architecture": architecture,
        "os": "linux",
        "config": { "Cmd": ["/bin/true"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        document[key.as_str()] = value.clone();
    }
    Blob::new(media_type, document.to_string())
}

/// A tape archive (POSIX ustar) with one file.
fn archive(name: &str, content: &Pattern) -> Vec<u8> {
    let length = content.length;
    let mut header = [0; 512];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{length:011o}\0"));
    put(136, "14000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    let content = Content::from(content.clone());
    while let piece = content.at((archive.len() - 512) as u64, 1 << 20)
        && !piece.is_empty()
    {
        archive.extend_from_slice(&piece);
    }
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}
