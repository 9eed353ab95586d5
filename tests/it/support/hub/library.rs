//! Ollama's own library: models without a user, by tag.

use std::sync::Arc;

use super::registry::{MANIFEST, redirected, rendered};
use super::{Asked, File};
use crate::support::index::sha256;
use crate::support::origin::Answer;

/// A model of the library.
#[derive(Clone)]
pub struct LibraryModel {
    pub name: String,
    pub tag: String,
    pub file: Arc<File>,
}

pub fn answer(asked: &Asked<'_>) -> Answer {
    let missing = || {
        let body = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
        Answer::new(404).with("content-type", "application/json").of(body)
    };
    match asked.segments.as_slice() {
        ["v2", "library", name, "manifests", tag] => {
            let is_meant = |model: &&LibraryModel| model.name == *name && model.tag == *tag;
            let Some(model) = asked.state.models.iter().find(is_meant) else { return missing() };
            let text = rendered(&model.file);
            let digest = format!("sha256:{}", sha256(text.as_bytes()));
            Answer::ok(MANIFEST, text).with("docker-content-digest", &digest)
        }
        ["v2", "library", name, "blobs", digest] => {
            let is_known = asked.state.models.iter().any(|model| model.name == *name);
            if is_known { redirected(asked, digest) } else { missing() }
        }
        _ => missing(),
    }
}
