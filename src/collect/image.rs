//! What a manifest of a registry leads to: manifests for platforms, and blobs.

use serde_json::Value;

use crate::collect::Platform;
use crate::types::Digest;

/// What follows from a manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    pub manifests: Vec<Child>,
    pub blobs: Vec<Part>,
}

/// A manifest that an index names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    pub part: Part,
    /// Operating system, architecture, variant.
    platform: Option<(String, String, Option<String>)>,
    /// The manifest that it says something about, where it is none of an image itself.
    about: Option<Digest>,
}

/// Bytes with a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub digest: Digest,
    pub size: Option<u64>,
}

impl Parts {
    /// Reads a manifest or an index. What is neither leads nowhere.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        let json: Value = serde_json::from_slice(text)
            .map_err(|error| format!("the manifest cannot be read: {error}"))?;
        let list = |name: &str| json[name].as_array().cloned().unwrap_or_default();
        let manifests = list("manifests").iter().map(child).collect::<Result<_, _>>()?;
        let config = Some(json["config"].clone()).filter(Value::is_object);
        let layers = list("layers").into_iter().chain(list("blobs"));
        // What a registry may not hand out lies elsewhere, and no registry's client gets it from here.
        let is_here = |layer: &Value| {
            let kind = layer["mediaType"].as_str().unwrap_or_default();
            !kind.contains("foreign") && !kind.contains("nondistributable")
        };
        let blobs = config.into_iter().chain(layers.filter(is_here)).map(|one| part(&one));
        Ok(Self { manifests, blobs: blobs.collect::<Result<_, _>>()? })
    }

    /// The manifests that are for one of the platforms, and what is said about those; all of them where no platform is named.
    pub fn wanted(&self, platforms: &[Platform]) -> Vec<Part> {
        let is_for = |child: &&Child| match (&child.platform, platforms) {
            (_, []) | (None, _) => true,
            (Some((os, architecture, variant)), platforms) => {
                platforms.iter().any(|one| one.covers(os, architecture, variant.as_deref()))
            }
        };
        let images: Vec<Digest> = self
            .manifests
            .iter()
            .filter(|child| child.about.is_none())
            .filter(is_for)
            .map(|child| child.part.digest)
            .collect();
        let is_wanted = |child: &&Child| match child.about {
            Some(about) => platforms.is_empty() || images.contains(&about),
            None => images.contains(&child.part.digest),
        };
        self.manifests.iter().filter(is_wanted).map(|child| child.part).collect()
    }
}

fn child(json: &Value) -> Result<Child, String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let platform = &json["platform"];
    let about = json["annotations"]["vnd.docker.reference.digest"].as_str();
    Ok(Child {
        part: part(json)?,
        platform: text(&platform["os"])
            .zip(text(&platform["architecture"]))
            .map(|(os, architecture)| (os, architecture, text(&platform["variant"]))),
        about: about.and_then(|about| about.parse().ok()),
    })
}

fn part(json: &Value) -> Result<Part, String> {
    let digest = json["digest"].as_str().unwrap_or_default();
    let read =
        digest.parse().map_err(|_| format!("the manifest names {digest:?}, which is no digest"))?;
    Ok(Part { digest: read, size: json["size"].as_u64() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn digest(letter: &str) -> String {
        format!("sha256:{}", letter.repeat(64))
    }

    #[test]
    fn a_platform_brings_what_is_said_about_it() {
        let child = |letter: &str, architecture: &str| json!({ "digest": digest(letter), "size": 1, "platform": { "os": "linux", "architecture": architecture } });
        let mut about = child("c", "unknown");
        about["annotations"]["vnd.docker.reference.digest"] = json!(digest("b"));
        let index = json!({ "manifests": [child("a", "amd64"), child("b", "arm64"), about] });
        let parts = Parts::read(index.to_string().as_bytes()).expect("an index");
        let wanted = |platforms: &[&str]| {
            let platforms: Vec<Platform> =
                platforms.iter().map(|one| one.parse().expect("a platform")).collect();
            parts
                .wanted(&platforms)
                .iter()
                .map(|part| part.digest.to_hex()[..1].to_owned())
                .collect::<String>()
        };
        assert_eq!(wanted(&[]), "abc");
        assert_eq!(wanted(&["linux/amd64"]), "a");
        assert_eq!(wanted(&["linux/arm64"]), "bc");
        assert_eq!(wanted(&["linux/s390x"]), "");
    }

    #[test]
    fn blobs_are_those_that_a_registry_hands_out() {
        let manifest = json!({
            "config": { "digest": digest("a"), "size": 2 },
            "layers": [{ "digest": digest("b") }, { "digest": digest("c"), "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar" }],
        });
        let parts = Parts::read(manifest.to_string().as_bytes()).expect("a manifest");
        assert_eq!(parts.blobs.iter().map(|part| part.size).collect::<Vec<_>>(), [Some(2), None]);
        assert!(Parts::read(br#"{"layers":[{"digest":"../x"}]}"#).is_err());
        assert!(Parts::read(b"<html>").is_err());
    }
}
