//! `/v2/`: models as a container registry shows them, for Ollama and older llama.cpp.

use http::header;
use serde_json::{Value, json};

use super::access::{Place, Purpose, open, problem};
use super::repository::{File, Kind, Repository};
use super::{Asked, cdn};
use crate::support::index::sha256;
use crate::support::origin::Answer;

/// Small blobs that every model has: its template, its settings, its licence.
const TEMPLATE: &str = "{{ .Prompt }}";
const SETTINGS: &str = r#"{"stop":["</s>"]}"#;

pub fn answer(asked: &Asked<'_>, segments: &[&str]) -> Answer {
    let answered = match segments {
        [""] | [] => Ok(Answer::ok("application/json", "{}")),
        [user, name, "manifests", tag] => manifest(asked, user, name, tag),
        [user, name, "blobs", digest] => blob(asked, user, name, digest),
        _ => Err(problem(asked, 404, None, "Not found")),
    };
    answered.unwrap_or_else(|refusal| refusal)
}

fn place(user: &str, name: &str, after: &str) -> Place {
    let (id, after) = (format!("{user}/{name}"), format!("/{after}"));
    Place { kind: Kind::Model, id, before: "/v2/".to_owned(), after }
}

/// The file that a tag means: one whose name holds it, or the first that is a model at all.
fn tagged<'a>(repository: &'a Repository, tag: &str) -> Option<(&'a str, &'a File)> {
    let commit = repository.revision("main")?;
    let models = commit.files.iter().filter(|(path, _)| path.ends_with(".gguf"));
    let named = |path: &str| path.to_lowercase().contains(&tag.to_lowercase());
    let mut models = models.filter(|(path, _)| tag == "latest" || named(path));
    models.next().map(|(path, file)| (path.as_str(), file.as_ref()))
}

fn manifest(asked: &Asked<'_>, user: &str, name: &str, tag: &str) -> Result<Answer, Answer> {
    let repository = open(asked, &place(user, name, &format!("manifests/{tag}")), Purpose::Read)?;
    let Some((path, file)) = tagged(repository, tag) else {
        return Err(problem(
            asked,
            404,
            None,
            "The specified tag is not available in the repository.",
        ));
    };
    let text = rendered(file);
    let agent = asked.header(header::USER_AGENT).unwrap_or_default();
    let mut told: Value = serde_json::from_str(&text).expect("it was just written");
    if agent.contains("llama-cpp") {
        told["ggufFile"] = json!({ "rfilename": path, "size": file.size });
    }
    Ok(Answer::ok(MANIFEST, told.to_string())
        .with("docker-content-digest", &format!("sha256:{}", sha256(text.as_bytes()))))
}

pub const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// The manifest of a model's file.
pub fn rendered(file: &File) -> String {
    let small = |media: &str, text: &str| json!({ "mediaType": media, "digest": format!("sha256:{}", sha256(text.as_bytes())), "size": text.len() });
    let told = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": small("application/vnd.docker.container.image.v1+json", &configuration(file)),
        "layers": [
            { "mediaType": "application/vnd.ollama.image.model", "digest": format!("sha256:{}", file.sha256), "size": file.size },
            small("application/vnd.ollama.image.template", TEMPLATE),
            small("application/vnd.ollama.image.params", SETTINGS),
        ],
    });
    told.to_string()
}

fn configuration(file: &File) -> String {
    json!({ "model_format": "gguf", "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", file.sha256)] } }).to_string()
}

/// A blob is behind a redirect to another host: Ollama follows until the host changes and then asks for parts there, without credentials.
fn blob(asked: &Asked<'_>, user: &str, name: &str, digest: &str) -> Result<Answer, Answer> {
    let repository = open(asked, &place(user, name, &format!("blobs/{digest}")), Purpose::Read)?;
    let files = repository.commits.iter().flat_map(|commit| commit.files.values());
    let of_model =
        |file: &File| digest == format!("sha256:{}", file.sha256) || is_small(file, digest);
    if !files.map(AsRef::as_ref).any(of_model) {
        return Err(problem(asked, 404, None, "Not found"));
    }
    Ok(redirected(asked, digest))
}

/// A redirect to the bytes of a digest.
pub fn redirected(asked: &Asked<'_>, digest: &str) -> Answer {
    let path = format!("/blobs/{}", digest.trim_start_matches("sha256:"));
    let location = format!("{}{}", asked.shelf.hosts().cdn, cdn::signed(asked, &path));
    Answer::new(307).with("location", &location).with("docker-content-digest", digest)
}

fn is_small(file: &File, digest: &str) -> bool {
    small_texts(file).iter().any(|text| digest == format!("sha256:{}", sha256(text.as_bytes())))
}

fn small_texts(file: &File) -> [String; 3] {
    [TEMPLATE.to_owned(), SETTINGS.to_owned(), configuration(file)]
}

/// A small blob by its sha256, as the CDN has it.
pub fn small_blob(asked: &Asked<'_>, digest: &str) -> Answer {
    let commits = asked.state.repositories.values().flat_map(|repository| &repository.commits);
    let files = commits.flat_map(|commit| commit.files.values());
    let files = files.chain(asked.state.models.iter().map(|model| &model.file));
    let found =
        files.flat_map(|file| small_texts(file)).find(|text| sha256(text.as_bytes()) == digest);
    found.map_or_else(
        || Answer::new(404),
        |text| Answer::ok("application/octet-stream", text).ranged(asked.headers),
    )
}
