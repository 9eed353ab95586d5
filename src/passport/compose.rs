//! Composes a passport from what was gathered.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::content::{format_of, is_signature, manifest_root};
use super::naming::{purl, version};
use super::weights::{Weights, parameters};
use super::{
    Card, Content, DetectedText, FORM, File, Format, Identity, Lifecycle, Lineage, Passport,
    Precision, Quantization, Reference, Seen, Task, Training, Trust, lineage, signing,
};
use crate::ecosystem::huggingface::record::{Record, RecordFile};
use crate::types::Timestamp;
use crate::{licence, signature};

/// What a passport is composed from.
#[derive(Debug, Clone)]
pub struct Sources {
    pub record: Record,
    /// Whether the hub is the one that package URLs mean when they name none.
    pub is_known_hub: bool,
    /// Whom signatures must lead back to.
    pub trust: signature::Trust,
    /// Small files that are kept, whole.
    pub texts: Vec<Text>,
    /// What the beginnings of kept weights said, or what is wrong with them, by path.
    pub weights: Vec<(String, Result<Weights, String>)>,
    /// Nearest first.
    pub ancestors: Vec<Ancestor>,
}

/// A small file.
#[derive(Debug, Clone)]
pub struct Text {
    pub path: String,
    pub sha256: String,
    pub bytes: bytes::Bytes,
}

/// A model that another one was made from, as far as it is known.
#[derive(Debug, Clone, Default)]
pub struct Ancestor {
    pub repository: String,
    pub of: String,
    pub relation: Option<String>,
    pub commit: Option<String>,
    pub card: Option<Card>,
    /// Why nothing is known.
    pub unknown: Option<String>,
}

/// Composes the passport.
pub fn compose(sources: &Sources) -> Passport {
    let mut maker = Maker::new(sources);
    maker.identify();
    maker.list();
    maker.weigh();
    maker.read_config();
    maker.read_card();
    maker.trust();
    maker.name();
    maker.passport
}

/// A passport in the making.
struct Maker<'a> {
    sources: &'a Sources,
    record: &'a Record,
    config: Option<Value>,
    passport: Passport,
}

impl<'a> Maker<'a> {
    fn new(sources: &'a Sources) -> Self {
        let record = &sources.record;
        let config = sources.texts.iter().find(|text| text.path == "config.json");
        let config = config.and_then(|text| serde_json::from_slice(&text.bytes).ok());
        let as_of = time(record.validated);
        let passport = Passport { form: FORM, as_of, ..Passport::default() };
        Self { sources, record, config, passport }
    }

    /// Says why something is not known.
    fn unknown(&mut self, field: &str, reason: impl Into<String>) {
        self.passport.unknown.insert(field.to_owned(), reason.into());
    }

    /// Says where something is from.
    fn source(&mut self, field: &str, source: &str) {
        self.passport.sources.insert(field.to_owned(), source.to_owned());
    }

    /// What the hub says of the repository, of whichever commit.
    fn of_repository(&self, field: &str) -> Option<&'a Value> {
        let of = |described: &'a Option<Value>| described.as_ref()?.get(field);
        of(&self.record.description).or_else(|| of(&self.record.latest))
    }

    /// What the hub says of this very commit.
    fn of_commit(&self, field: &str) -> Option<&'a Value> {
        self.record.description.as_ref()?.get(field)
    }

    fn identify(&mut self) {
        let record = self.record;
        let (kind, id) = record.repository.split_once('/').unwrap_or(("models", ""));
        let hub = (!self.sources.is_known_hub).then_some(record.hub.as_str());
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let called = text(self.of_repository("id")).filter(|called| called != id);
        self.passport.identity = Identity {
            purl: purl(id, Some(&record.commit), hub),
            upstream: record.hub.clone(),
            kind: kind.to_owned(),
            repository: id.to_owned(),
            id: record.identity.clone().or_else(|| text(self.of_repository("_id"))),
            namesake: record.stranger.clone(),
            author: text(self.of_repository("author")),
            created_at: text(self.of_repository("createdAt")),
            aliases: called.into_iter().collect(),
        };
        self.source("identity", "the hub's description");
        if self.passport.identity.id.is_none() {
            self.unknown("identity.id", "no description with it passed through");
        }
        let seen = |one: &crate::ecosystem::huggingface::record::Sighting| Seen {
            commit: one.commit.clone(),
            first_seen: time(one.at),
        };
        self.passport.reference = Reference {
            asked: record.asked.clone(),
            commit: record.commit.clone(),
            committed_at: text(self.of_commit("lastModified")),
            history: record.history.iter().map(seen).collect(),
        };
        self.source("reference.history", "what this Larder saw");
        if record.description.is_none() {
            self.unknown("reference.committed_at", NOT_DESCRIBED);
        }
        self.passport.lifecycle = lifecycle(record);
    }

    fn list(&mut self) {
        let Some(listed) = &self.record.files else {
            self.unknown("content.files", "the list of the commit's files is not kept");
            return;
        };
        let hashed: BTreeMap<&str, &str> = self
            .sources
            .texts
            .iter()
            .map(|text| (text.path.as_str(), text.sha256.as_str()))
            .collect();
        let files: Vec<File> = listed.iter().map(|file| entry(file, &hashed)).collect();
        let kept = || files.iter().filter(|file| file.is_kept);
        let more = self.record.more_files as u64;
        let root = match more {
            0 => manifest_root(&files),
            _ => Err("there are too many files to list".to_owned()),
        };
        let bytes = |all: &mut dyn Iterator<Item = &File>| {
            all.filter_map(|file| file.size).fold(0_u64, u64::saturating_add)
        };
        self.passport.content = Content {
            file_count: Some(files.len() as u64 + more),
            bytes: (more == 0).then(|| bytes(&mut files.iter())),
            kept_files: kept().count() as u64,
            kept_bytes: bytes(&mut kept()),
            manifest_root: root.as_ref().ok().cloned(),
            files,
        };
        self.source("content.files", "the hub's list of the commit's files");
        match root {
            Ok(_) => self.source("content.manifest_root", "SHA-256 digests of all files"),
            Err(reason) => self.unknown("content.manifest_root", reason),
        }
        if more > 0 {
            self.unknown("content.bytes", "there are too many files to list");
        }
    }

    /// What the beginnings of the weights say.
    fn weigh(&mut self) {
        let formats: BTreeSet<Format> =
            self.passport.content.files.iter().filter_map(|file| file.format).collect();
        let mut precision =
            Precision { formats: formats.into_iter().collect(), ..Precision::default() };
        for (path, read) in &self.sources.weights {
            match read {
                Ok(weights) => {
                    for (name, count) in &weights.numbers {
                        let sum = precision.types.entry(name.clone()).or_insert(0);
                        *sum = sum.saturating_add(*count);
                    }
                    if let Some(file_type) = &weights.file_type {
                        precision.file_types.insert(path.clone(), file_type.clone());
                    }
                }
                Err(fault) => {
                    self.passport.trust.broken.insert(path.clone(), fault.clone());
                }
            }
        }
        if precision.types.is_empty() {
            self.unknown("precision.types", "no weights in a format that tells are kept");
        } else {
            self.source("precision.types", "the beginnings of kept weights");
        }
        self.passport.precision = precision;
        self.count();
    }

    /// How many parameters there are.
    fn count(&mut self) {
        let stored = parameters(&self.sources.weights, &self.passport.content.files);
        let told = ["safetensors", "gguf"]
            .iter()
            .find_map(|format| self.of_commit(format)?.get("total")?.as_u64());
        let is_packed = self.packed();
        match (stored, told) {
            (Ok(_), _) if is_packed => {
                self.unknown(
                    "parameters.total",
                    "the weights are packed: several numbers are stored as one",
                );
            }
            (Ok(total), _) => {
                self.passport.parameters.total = Some(total);
                self.source("parameters.total", "the beginnings of kept weights");
            }
            (Err(_), Some(total)) => {
                self.passport.parameters.total = Some(total);
                self.source("parameters.total", "the hub's description");
            }
            (Err(reason), None) => self.unknown("parameters.total", reason),
        }
    }

    /// Whether weights are kept in which one number stands for several.
    fn packed(&self) -> bool {
        let quantized = self.quantization().is_some();
        let types = &self.passport.precision.types;
        quantized && ["U8", "I32", "U32", "I8"].iter().any(|packing| types.contains_key(*packing))
    }

    /// What the configuration says of quantization.
    fn quantization(&self) -> Option<Quantization> {
        let said = |config: &Value| {
            let said = config.get("quantization_config")?;
            let method = said.get("quant_method")?.as_str()?.to_owned();
            let flag = |name: &str| said.get(name).and_then(Value::as_bool) == Some(true);
            let bits = said.get("bits").and_then(Value::as_u64);
            let bits = bits.or_else(|| flag("load_in_4bit").then_some(4));
            Some(Quantization { method, bits: bits.or_else(|| flag("load_in_8bit").then_some(8)) })
        };
        self.config.as_ref().and_then(said).or_else(|| said(self.of_commit("config")?))
    }

    /// What the model is built like.
    fn read_config(&mut self) {
        let hub = self.of_commit("config").cloned();
        let from_config = self.config.is_some();
        let config = self.config.clone().or(hub).unwrap_or(Value::Null);
        let weights: Vec<&Weights> =
            self.sources.weights.iter().filter_map(|(_, read)| read.as_ref().ok()).collect();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let parameters = &mut self.passport.parameters;
        parameters.architecture =
            text(&config["architectures"][0]).or_else(|| text(&config["_class_name"]));
        parameters.family = text(&config["model_type"])
            .or_else(|| weights.iter().find_map(|one| one.architecture.clone()));
        parameters.context_length =
            context_length(&config).or_else(|| weights.iter().find_map(|one| one.context_length));
        let missing: Vec<&str> = [
            ("parameters.architecture", parameters.architecture.is_none()),
            ("parameters.family", parameters.family.is_none()),
            ("parameters.context_length", parameters.context_length.is_none()),
        ]
        .into_iter()
        .filter_map(|(field, is_missing)| is_missing.then_some(field))
        .collect();
        let reason = match from_config {
            true => "config.json does not say",
            false => "no config.json is kept, and no weights that say",
        };
        missing.into_iter().for_each(|field| self.unknown(field, reason));
        let source = if from_config { "config.json" } else { "the hub's description, and weights" };
        self.source("parameters", source);
        self.passport.precision.quantization = self.quantization();
        if self.passport.precision.quantization.is_none() && !from_config {
            self.unknown("precision.quantization", "no config.json is kept");
        }
    }

    fn read_card(&mut self) {
        let card = self.record.description.as_ref().and_then(Card::of);
        let Some(card) = card else {
            for field in ["task", "lineage", "training", "licence.declared"] {
                self.unknown(field, NOT_DESCRIBED);
            }
            self.licence(None);
            return;
        };
        for field in ["task", "lineage", "training", "licence.declared"] {
            self.source(field, "the card, as the hub read it");
        }
        self.passport.task = Task {
            pipeline: card.pipeline.clone(),
            library: card.library.clone(),
            languages: card.languages.clone(),
            tags: card.tags.clone(),
        };
        self.passport.training = Training { datasets: card.datasets.clone() };
        if card.datasets.is_empty() {
            self.unknown("training.datasets", "the card names none");
        }
        if card.base_models.is_empty() {
            self.unknown("lineage.ancestors", "the card names none");
        }
        self.licence(Some(card));
    }

    fn licence(&mut self, card: Option<Card>) {
        let ancestors = lineage::parents(&self.sources.ancestors);
        let licences = &mut self.passport.licence;
        licences.as_seen = card.is_some().then(|| time(self.record.validated));
        let said = card.as_ref().and_then(|card| card.licence_text.clone());
        licences.declared = card.and_then(|card| card.licence);
        for text in self.sources.texts.iter().filter(|text| licence::is_text_of(&text.path)) {
            let found = licence::detect(&String::from_utf8_lossy(&text.bytes));
            licences.detected.extend(found.map(|found| DetectedText {
                file: text.path.clone(),
                licence: found.licence,
                is_whole: found.is_whole,
            }));
        }
        lineage::settle(licences, &ancestors);
        let (is_declared, is_detected) =
            (licences.declared.is_some(), !licences.detected.is_empty());
        let is_effective = licences.effective.is_some();
        self.passport.lineage = Lineage { ancestors };
        if !is_declared && self.record.description.is_some() {
            let reason = match said {
                Some(said) => format!("the card says {said:?}"),
                None => "the card names no licence".to_owned(),
            };
            self.unknown("licence.declared", reason);
        }
        if !is_detected {
            self.unknown("licence.detected", "no text of a known licence is kept");
        }
        if !is_effective {
            self.unknown(
                "licence.effective",
                "neither the card nor a text says under which terms it is",
            );
        }
    }

    fn trust(&mut self) {
        let scan = self.of_commit("securityRepoStatus").cloned();
        let remote_code = self.config.as_ref().map(|config| config.get("auto_map").is_some());
        let paths = || self.passport.content.files.iter();
        let can_run_code = paths()
            .filter(|file| {
                file.format.is_some_and(Format::can_run_code) || file.path.ends_with(".py")
            })
            .map(|file| file.path.clone())
            .collect();
        let signatures =
            paths().filter(|file| is_signature(&file.path)).map(|file| file.path.clone()).collect();
        let broken = std::mem::take(&mut self.passport.trust.broken);
        self.passport.trust = Trust {
            is_gated: self.record.is_gated,
            is_private: self.record.is_private,
            scan,
            can_run_code,
            remote_code,
            signatures,
            signed: None,
            broken,
        };
        match self.signing() {
            Ok(signing) => self.passport.trust.signed = Some(signing),
            Err(reason) => self.unknown("trust.signed", reason),
        }
        if self.passport.trust.scan.is_none() {
            self.unknown("trust.scan", "no result of the hub's scanners passed through");
        }
        if remote_code.is_none() {
            self.unknown("trust.remote_code", "no config.json is kept");
        }
        self.unknown("usage", "pulls are recorded apart from what passed through");
    }

    /// What the signature of all files says.
    fn signing(&self) -> Result<signing::Signing, String> {
        let files = &self.passport.content.files;
        if self.record.files.is_none() || self.record.more_files > 0 {
            return Err("the list of the commit's files is not here as a whole".to_owned());
        }
        if files.iter().all(|file| file.path != signing::PATH) {
            return Err(format!("there is no {} among the files", signing::PATH));
        }
        let signature = self.sources.texts.iter().find(|text| text.path == signing::PATH);
        let signature = signature.ok_or_else(|| format!("{} is not kept", signing::PATH))?;
        signing::read(&self.sources.trust, &signature.bytes, files)
    }

    fn name(&mut self) {
        let passport = &self.passport;
        let seen = || Some(passport.reference.history.last()?.first_seen.as_str());
        let committed = passport.reference.committed_at.as_deref();
        let is_hubs = committed.is_some();
        let file_types: BTreeSet<&str> =
            passport.precision.file_types.values().map(String::as_str).collect();
        let quantization = passport.precision.quantization.as_ref().map(|said| match said.bits {
            Some(bits) => format!("{}-{bits}bit", said.method),
            None => said.method.clone(),
        });
        let quant = match (file_types.len(), quantization) {
            (1, _) => file_types.first().map(|name| (*name).to_owned()),
            (_, quantization) => quantization,
        };
        let name = version(
            &passport.identity.repository,
            committed.or_else(seen),
            &passport.reference.commit,
            quant.as_deref(),
        );
        self.passport.name = name;
        let source = match is_hubs {
            true => "the day of the commit",
            false => "the day on which the commit was first seen here",
        };
        self.source("name", source);
    }
}

const NOT_DESCRIBED: &str = "the hub's description of this commit is not kept";

fn entry(file: &RecordFile, hashed: &BTreeMap<&str, &str>) -> File {
    let read = || hashed.get(file.path.as_str()).map(|text| (*text).to_owned());
    File {
        path: file.path.clone(),
        size: file.size,
        sha256: file.sha256.clone().or_else(read),
        oid: file.oid.clone(),
        xet: file.xet.clone(),
        format: format_of(&file.path),
        is_outside_git: file.sha256.is_some(),
        is_kept: file.is_kept,
    }
}

fn lifecycle(record: &Record) -> Lifecycle {
    let refused = record.refusal.is_some() || record.closed_since.is_some();
    let (state, since) = match (record.is_disabled, record.gone_since, refused) {
        (true, ..) => ("disabled", record.closed_since),
        (_, Some(since), _) => ("gone", Some(since)),
        (_, None, true) => ("closed", record.closed_since),
        (_, None, false) => ("present", None),
    };
    let word = record.refusal.as_ref();
    Lifecycle {
        state: state.to_owned(),
        since: since.map(time),
        is_offline: record.is_offline,
        refusal: word.map(|word| {
            let said = word.message.as_deref().or(word.code.as_deref()).unwrap_or("refused");
            format!("{} {said}", word.status)
        }),
    }
}

/// The longest text that the model was made for, as the many families of models write it.
fn context_length(config: &Value) -> Option<u64> {
    const NAMES: [&str; 6] = [
        "max_position_embeddings",
        "n_positions",
        "max_sequence_length",
        "max_seq_len",
        "seq_length",
        "n_ctx",
    ];
    let own = NAMES.iter().find_map(|name| config.get(name)?.as_u64());
    own.or_else(|| {
        let inner = ["text_config", "llm_config", "language_config"];
        inner.iter().find_map(|inner| context_length(config.get(inner)?))
    })
}

/// RFC 3339.
fn time(at: Timestamp) -> String {
    at.to_rfc3339()
}
