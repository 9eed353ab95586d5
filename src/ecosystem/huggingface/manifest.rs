//! A manifest as the hub's registry face gives it: kept byte for byte, because its reader may check what it hashes to.
//!
//! Left out: who may read it and where it is asked for (`ollama`).

use bytes::Bytes;
use http::header;
use serde::{Deserialize, Serialize};

use crate::cache::lookup::{Fresh, Keep, Kept, Parsed};
use crate::ecosystem::huggingface::repository::Commit;
use crate::types::{BlobId, Digest};

/// The largest manifest.
pub const LIMIT_BYTES: u64 = 4 << 20;

/// What a manifest is where nothing says it.
const DEFAULT_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// A manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub media_type: String,
    pub bytes: Bytes,
    /// The commit that the repository was at: as long as it is, a tag means the same.
    pub commit: Option<Commit>,
}

impl Manifest {
    /// Reads a manifest. `Err`: it is none, or names a blob by no digest that could be checked.
    pub fn parse(media_type: Option<&str>, bytes: Bytes) -> Result<Self, String> {
        let parsed: Wire = serde_json::from_slice(&bytes)
            .map_err(|error| format!("this is no manifest: {error}"))?;
        let is_proof =
            |name: &str| name.parse::<Digest>().is_ok_and(|digest| digest.blob_id().is_some());
        let mut named = parsed.config.iter().chain(&parsed.layers);
        if let Some(blob) = named.find(|blob| !is_proof(&blob.digest)) {
            return Err(format!("the manifest names a blob {:?}", blob.digest));
        }
        let said = parsed.media_type.as_deref().or(media_type).unwrap_or(DEFAULT_TYPE);
        Ok(Self { media_type: said.to_owned(), bytes, commit: None })
    }

    /// Reads the kept form.
    pub fn read(kept: &Bytes) -> Result<Self, String> {
        let row: Row<'_> = postcard::from_bytes(kept).map_err(|error| error.to_string())?;
        let bytes = Bytes::copy_from_slice(row.bytes);
        let commit = row.commit.and_then(Commit::parse);
        Ok(Self { commit, ..Self::parse(Some(row.media_type), bytes)? })
    }

    /// The blobs that it names, with their sizes.
    pub fn blobs(&self) -> Vec<(Digest, Option<u64>)> {
        let Ok(wire) = serde_json::from_slice::<Wire>(&self.bytes) else { return Vec::new() };
        let named = wire.config.into_iter().chain(wire.layers);
        named.filter_map(|blob| Some((blob.digest.parse().ok()?, blob.size))).collect()
    }

    /// The digest that its bytes hash to.
    pub fn digest(&self) -> Digest {
        BlobId::of(&self.bytes).digest()
    }
}

/// Keeps a manifest as it came.
#[derive(Debug)]
pub struct KeepManifest {
    /// The digest that it was asked for by, if it was.
    pub digest: Option<Digest>,
    /// The commit that the repository is at now.
    pub commit: Option<Commit>,
}

impl Keep for KeepManifest {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        Manifest::read(kept).map(Parsed::new)
    }

    fn merge(&self, _: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        let media_type = fresh.head.text(&header::CONTENT_TYPE);
        let manifest = Manifest::parse(media_type, fresh.body.clone())?;
        let manifest = Manifest { commit: self.commit.clone(), ..manifest };
        match self.digest {
            Some(expected) if expected != manifest.digest() => {
                return Err(format!("expected {expected}, got {}", manifest.digest()));
            }
            _ => {}
        }
        let commit = manifest.commit.as_ref().map(Commit::as_str);
        let row = Row { media_type: &manifest.media_type, bytes: &manifest.bytes, commit };
        let bytes = postcard::to_stdvec(&row).expect("text and bytes have a form in postcard");
        Ok(Kept::alone(bytes.into(), Parsed::new(manifest)))
    }
}

#[derive(Serialize, Deserialize)]
struct Row<'a> {
    media_type: &'a str,
    bytes: &'a [u8],
    commit: Option<&'a str>,
}

#[derive(Deserialize)]
struct Wire {
    /// Present in every manifest and in no error.
    #[serde(rename = "schemaVersion")]
    _schema_version: u32,
    #[serde(default, rename = "mediaType")]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<Blob>,
    #[serde(default)]
    layers: Vec<Blob>,
}

#[derive(Deserialize)]
struct Blob {
    digest: String,
    #[serde(default)]
    size: Option<u64>,
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, StatusCode};

    use super::*;
    use crate::types::{Head, Timestamp};

    fn text(digest: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"sha256:{a}","size":5}},
            "layers":[{{"mediaType":"application/vnd.ollama.image.model","digest":"{digest}","size":7}}]}}"#,
            a = "aa".repeat(32)
        )
    }

    fn merged(keep: &KeepManifest, body: &str) -> Result<Kept, String> {
        let mut head = Head::new(StatusCode::OK);
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let url = url::Url::parse("http://hub.example/v2/o/m/manifests/latest").expect("a URL");
        let body = Bytes::copy_from_slice(body.as_bytes());
        let now = Timestamp(0);
        keep.merge(None, &Fresh { origin: 0, url: &url, head: &head, body: &body, rest: &[], now })
    }

    #[test]
    fn what_was_merged_is_read_back_byte_for_byte() {
        let digest = format!("sha256:{}", "bb".repeat(32));
        let keep = KeepManifest { digest: None, commit: Commit::parse(&"ab".repeat(20)) };
        let kept = merged(&keep, &text(&digest)).expect("a manifest");
        let read = keep.read(&kept.bytes).expect("what was written");
        let read = read.get::<Manifest>().expect("a manifest");
        assert_eq!(read.bytes, text(&digest).as_bytes());
        assert_eq!(read.media_type, "application/json");
        assert_eq!(Some(read), kept.parsed.get::<Manifest>());
    }

    #[test]
    fn what_is_no_manifest_replaces_none() {
        let keep = KeepManifest { digest: None, commit: None };
        for body in ["", "<html>", "[]", "{}", &text("md5:00"), &text("sha256:xyz")] {
            assert!(merged(&keep, body).is_err(), "{body}");
        }
        let whole = text(&format!("sha256:{}", "bb".repeat(32)));
        let other = KeepManifest { digest: Some(BlobId([1; 32]).digest()), commit: None };
        assert!(merged(&other, &whole).is_err());
        let right =
            KeepManifest { digest: Some(BlobId::of(whole.as_bytes()).digest()), commit: None };
        assert!(merged(&right, &whole).is_ok());
    }
}
