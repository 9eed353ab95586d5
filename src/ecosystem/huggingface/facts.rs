//! What the hub's description of a repository, and the list of its files, say that rules may rest on.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use serde_json::Value as Json;

use crate::ecosystem::huggingface::file::FileFacts;
use crate::ecosystem::huggingface::info::Info;
use crate::ecosystem::huggingface::repository::{Commit, Repository};
use crate::ecosystem::huggingface::signed;
use crate::licence::{Licence, is_text_of};
use crate::policy::fact::Value;
use crate::policy::{Ecosystem, Fact, Facts};
use crate::types::{Algorithm, Timestamp};

/// What a description says, read once for all requests that rest on it.
#[derive(Clone, Default)]
pub struct Memo(OnceLock<Arc<Said>>);

impl PartialEq for Memo {
    /// It follows from what is beside it.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Memo {}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memo")
    }
}

/// What a description says that rules may look at.
#[derive(Debug, Clone, Default)]
pub struct Said {
    created: Option<Timestamp>,
    modified: Option<Timestamp>,
    downloads: Option<u64>,
    likes: Option<u64>,
    pipeline: Option<String>,
    library: Option<String>,
    base_models: Vec<String>,
    datasets: Vec<String>,
    tags: Vec<String>,
    licence: Option<String>,
    /// Files that are texts of licences, by their names.
    licence_texts: Vec<String>,
    /// Whether its card declares another one than when it was first seen.
    is_licence_changed: Option<bool>,
    brings_code: bool,
    /// Whether a signature lies among its files.
    is_signed: Option<bool>,
    parameters: Option<u64>,
    scans: Option<Scans>,
}

/// What the hub's scanners said.
#[derive(Debug, Clone, Default)]
struct Scans {
    done: bool,
    /// Paths with something about them, and how bad it is.
    issues: BTreeMap<String, String>,
}

/// The members of a description that are of interest.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Description {
    created_at: Option<String>,
    last_modified: Option<String>,
    downloads: Option<u64>,
    likes: Option<u64>,
    #[serde(rename = "pipeline_tag")]
    pipeline_tag: Option<String>,
    #[serde(rename = "library_name")]
    library_name: Option<String>,
    tags: Json,
    card_data: Json,
    config: Json,
    siblings: Json,
    safetensors: Json,
    security_repo_status: Json,
}

impl Info {
    /// What its text says.
    pub fn said(&self) -> &Said {
        let Memo(memo) = &self.memo;
        memo.get_or_init(|| {
            let said = Said::read(self.text.as_deref().unwrap_or_default());
            let now = self.declared_licence();
            let is_licence_changed = self.first_licence.as_ref().map(|first| *first != now);
            Arc::new(Said { is_licence_changed, ..said })
        })
    }
}

impl Said {
    /// The licence that the card declares.
    pub fn licence(&self) -> Option<&str> {
        self.licence.as_deref()
    }

    fn read(text: &str) -> Self {
        let read: Description = serde_json::from_str(text).unwrap_or_default();
        let card = &read.card_data;
        let mut tags = texts(&read.tags);
        let tagged = |prefix: &str| -> Vec<String> {
            let tags = tags.iter().filter_map(|tag| tag.strip_prefix(prefix));
            tags.map(str::to_owned).collect()
        };
        let or_tagged = |found: Vec<String>, prefix: &str| match found.is_empty() {
            true => tagged(prefix),
            false => found,
        };
        let base_models = or_tagged(texts(&card["base_model"]), "base_model:");
        let base_models = base_models.into_iter().filter(|name| !name.contains(':')).collect();
        let datasets = or_tagged(texts(&card["datasets"]), "dataset:");
        let licences = or_tagged(texts(&card["license"]), "license:");
        let name = card["license_name"].as_str();
        let licence = Licence::all(licences.iter().filter_map(|id| Licence::of_card(id, name)));
        let siblings = read.siblings.as_array().into_iter().flatten();
        let mut files = siblings.filter_map(|file| file["rfilename"].as_str());
        let licence_texts =
            files.clone().filter(|path| is_text_of(path)).map(str::to_owned).collect();
        let is_signed =
            read.siblings.is_array().then(|| files.clone().any(|path| path == signed::PATH));
        let brings_code = files.any(|path| has_end(path, ".py"))
            || !read.config["auto_map"].is_null()
            || tags.iter().any(|tag| tag == "custom_code");
        tags.truncate(MOST_TAGS);
        Self {
            created: instant(read.created_at.as_deref()),
            modified: instant(read.last_modified.as_deref()),
            downloads: read.downloads,
            likes: read.likes,
            pipeline: read.pipeline_tag,
            library: read.library_name.or_else(|| card["library_name"].as_str().map(str::to_owned)),
            base_models,
            datasets,
            tags,
            licence: licence.map(|licence| licence.as_str().to_owned()),
            licence_texts,
            is_licence_changed: None,
            brings_code,
            is_signed,
            parameters: read.safetensors["total"].as_u64(),
            scans: scans(&read.security_repo_status),
        }
    }

    /// Its files that are texts of licences, by their names.
    pub fn licence_texts(&self) -> &[String] {
        &self.licence_texts
    }

    /// The models that it was made from.
    pub fn base_models(&self) -> &[String] {
        &self.base_models
    }
}

/// Tags that are looked at.
const MOST_TAGS: usize = 1000;

fn scans(status: &Json) -> Option<Scans> {
    let done = status["scansDone"].as_bool()?;
    let issues = status["filesWithIssues"].as_array().into_iter().flatten();
    let issue = |one: &Json| Some((one["path"].as_str()?.into(), one["level"].as_str()?.into()));
    Some(Scans { done, issues: issues.filter_map(issue).collect() })
}

/// One text or several.
fn texts(json: &Json) -> Vec<String> {
    match json {
        Json::String(text) => vec![text.clone()],
        Json::Array(all) => all.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

fn instant(text: Option<&str>) -> Option<Timestamp> {
    let millis = text?.parse::<jiff::Timestamp>().ok()?.as_millisecond();
    u64::try_from(millis).ok().map(Timestamp)
}

/// What is known of a repository at a commit.
pub fn of_repository<'a>(
    repository: &'a Repository,
    commit: Option<&'a Commit>,
    info: Option<&'a Info>,
    upstream: Option<&'a str>,
) -> Facts<'a> {
    let owner = repository.id().split_once('/').map(|(owner, _)| owner);
    let mut facts = Facts::of(Ecosystem::Hf, repository.web_path())
        .with(Fact::Version, commit.map(Commit::as_str))
        .with(Fact::Upstream, upstream)
        .with(Fact::Publisher, owner);
    let Some(info) = info.filter(|info| info.text.is_some()) else { return facts };
    let said = info.said();
    let list = |all: &'a [String]| {
        Value::Texts(all.iter().map(|one| Cow::Borrowed(one.as_str())).collect())
    };
    facts.set(Fact::Release, said.modified);
    facts.set(Fact::Project, said.created);
    facts.set(Fact::Downloads, said.downloads);
    facts.set(Fact::Likes, said.likes);
    facts.set(Fact::Gated, info.is_gated);
    facts.set(Fact::IdentityChanged, info.stranger.is_some());
    facts.set(Fact::Pipeline, said.pipeline.as_deref());
    facts.set(Fact::Library, said.library.as_deref());
    facts.set(Fact::BaseModel, list(&said.base_models));
    facts.set(Fact::Dataset, list(&said.datasets));
    facts.set(Fact::Tag, list(&said.tags));
    facts.set(Fact::Licence, said.licence.as_deref());
    facts.set(Fact::LicenceUnknown, said.licence.is_none());
    facts.set(Fact::LicenceChanged, said.is_licence_changed);
    facts.set(Fact::RemoteCode, said.brings_code);
    facts.set(Fact::Attested, said.is_signed);
    facts.set(Fact::Parameters, said.parameters);
    facts.is_whole = true;
    facts
}

/// Adds what is known of one of its files. `scanned` is a description with the scanners' word.
pub fn add_file<'a>(facts: &mut Facts<'a>, file: &'a FileFacts, scanned: Option<&'a Info>) {
    facts.is_whole = false;
    add_path(facts, file.path.as_str(), file.size);
    let digest = file.content.digest().filter(|digest| digest.algorithm() == Algorithm::Sha256);
    facts.digest = digest.map(|digest| Cow::Owned(digest.to_string()));
    let Some(scans) = scanned.and_then(|info| info.said().scans.as_ref()) else { return };
    let level = scans.issues.get(file.path.as_str()).map(String::as_str);
    facts.set(Fact::HubScan, level.unwrap_or(if scans.done { "safe" } else { "queued" }));
}

/// Adds what the path and size of a file say.
pub fn add_path<'a>(facts: &mut Facts<'a>, path: &'a str, size: Option<u64>) {
    facts.is_whole = false;
    facts.set(Fact::File, path);
    facts.set(Fact::Size, size);
    facts.set(Fact::Format, format(path));
}

fn has_end(path: &str, end: &str) -> bool {
    let start = path.len().checked_sub(end.len());
    start.and_then(|start| path.get(start..)).is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

/// What a file is, by its name alone.
fn format(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let (_, extension) = name.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "safetensors" => "safetensors",
        "gguf" | "ggml" => "gguf",
        "bin" | "pt" | "pth" | "pkl" | "pickle" | "ckpt" | "joblib" | "dill" => "pickle",
        "onnx" => "onnx",
        "h5" | "hdf5" | "keras" => "keras",
        "pb" | "tflite" => "tensorflow",
        "msgpack" => "msgpack",
        "npy" | "npz" => "numpy",
        "parquet" | "arrow" | "csv" | "jsonl" => "table",
        "py" => "python",
        "json" | "yaml" | "yml" | "txt" | "md" | "jinja" => "text",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecosystem::huggingface::repository::RepositoryType;
    use serde_json::json;

    fn facts_of(description: Json) -> Facts<'static> {
        let info = Info { text: Some(description.to_string()), ..Info::default() };
        let repository = Repository::parse(RepositoryType::Models, "org/m").expect("a name");
        of_repository(&repository, None, Some(&info), None).into_owned()
    }

    #[test]
    fn a_description_is_read_card_first() {
        let facts = facts_of(json!({
            "id": "org/m", "downloads": 7, "likes": 3, "createdAt": "2026-01-02T00:00:00.000Z",
            "pipeline_tag": "text-generation", "library_name": "transformers",
            "tags": ["custom_code", "license:mit", "dataset:a/b", "base_model:quantized:x/y", "base_model:x/y"],
            "cardData": {"license": "apache-2.0", "base_model": "x/z"},
            "safetensors": {"total": 1000},
        }));
        assert_eq!(facts.text(Fact::Name), Some("org/m"));
        assert_eq!(facts.text(Fact::Publisher), Some("org"));
        assert_eq!(facts.text(Fact::Licence), Some("Apache-2.0"));
        assert_eq!(facts.text(Fact::Pipeline), Some("text-generation"));
        assert_eq!(*facts.get(Fact::BaseModel), Value::Texts(vec!["x/z".into()]));
        assert_eq!(*facts.get(Fact::Dataset), Value::Texts(vec!["a/b".into()]));
        assert_eq!(*facts.get(Fact::RemoteCode), Value::Flag(true));
        assert_eq!(*facts.get(Fact::Parameters), Value::Number(1000));
        let facts = facts_of(
            json!({"id": "org/m", "tags": ["base_model:quantized:x/y", "base_model:x/y"]}),
        );
        assert_eq!(*facts.get(Fact::BaseModel), Value::Texts(vec!["x/y".into()]));
        assert_eq!(*facts.get(Fact::LicenceUnknown), Value::Flag(true));
        assert_eq!(*facts.get(Fact::Downloads), Value::Unknown);
    }

    #[test]
    fn odd_descriptions_say_little() {
        for odd in [json!([]), json!({"tags": 1, "cardData": [], "siblings": {}}), json!(null)] {
            let facts = facts_of(odd);
            assert_eq!(*facts.get(Fact::Licence), Value::Unknown);
            assert_eq!(*facts.get(Fact::RemoteCode), Value::Flag(false));
        }
    }

    #[test]
    fn formats_are_told_by_names() {
        let check =
            |path: &str, expected: Option<&str>| assert_eq!(format(path), expected, "{path}");
        check("a/model.SafeTensors", Some("safetensors"));
        check("pytorch_model.bin", Some("pickle"));
        check("x.tar.gz", None);
        check("LICENSE", None);
    }
}
