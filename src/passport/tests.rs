//! Passports of made-up models.

use serde_json::{Value, json};

use super::change::{Class, Deed, between, class_of};
use super::*;
use crate::ecosystem::huggingface::record::{Record, RecordFile, Sighting};
use crate::types::Timestamp;

const COMMIT: &str = "9f8e7d6c5b4a39281706f5e4d3c2b1a090817263";

fn at(text: &str) -> Timestamp {
    Timestamp::from_text(text).expect("an instant")
}

fn record(description: Option<Value>, files: Option<Vec<RecordFile>>) -> Record {
    Record {
        hub: "https://hub.example/".to_owned(),
        repository: "models/org/name".to_owned(),
        asked: "main".to_owned(),
        commit: COMMIT.to_owned(),
        history: vec![Sighting { commit: COMMIT.to_owned(), at: at("2026-11-05T08:00:00Z") }],
        validated: at("2026-11-20T10:00:00Z"),
        gone_since: None,
        closed_since: None,
        is_offline: false,
        is_private: false,
        is_gated: false,
        is_disabled: false,
        refusal: None,
        identity: None,
        stranger: None,
        description,
        latest: None,
        files,
        more_files: 0,
    }
}

fn file(path: &str, size: u64, sha256: Option<&str>, is_kept: bool) -> RecordFile {
    RecordFile {
        path: path.to_owned(),
        size: Some(size),
        oid: Some("ab".repeat(20)),
        sha256: sha256.map(|digit| digit.repeat(64)),
        xet: None,
        is_kept,
    }
}

fn text(path: &str, content: &str) -> Text {
    use sha2::{Digest as _, Sha256};
    Text {
        path: path.to_owned(),
        sha256: hex::encode(Sha256::digest(content)),
        bytes: content.to_owned().into(),
    }
}

fn weights(path: &str, kind: Kind, numbers: &[(&str, u64)]) -> Weights {
    Weights {
        path: path.to_owned(),
        kind,
        numbers: numbers.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        file_type: None,
        architecture: None,
        context_length: None,
        has_template: false,
    }
}

fn description() -> Value {
    json!({
        "_id": "0123456789abcdef01234567", "id": "org/name", "author": "org", "sha": COMMIT,
        "createdAt": "2024-01-01T00:00:00.000Z", "lastModified": "2026-11-03T12:00:00.000Z",
        "pipeline_tag": "text-generation", "library_name": "transformers", "tags": ["license:llama3.1"],
        "cardData": {
            "license": "llama3.1", "base_model": ["base/one"], "base_model_relation": "finetune",
            "datasets": "org/data", "language": ["en", "de"],
        },
    })
}

fn sources(description: Option<Value>, files: Vec<RecordFile>) -> Sources {
    Sources {
        record: record(description, Some(files)),
        is_known_hub: true,
        trust: crate::signature::Trust::default(),
        texts: Vec::new(),
        weights: Vec::new(),
        ancestors: Vec::new(),
    }
}

#[test]
fn everything_that_passed_through_is_in_it() {
    let config = r#"{"architectures":["LlamaForCausalLM"],"model_type":"llama","max_position_embeddings":8192,"auto_map":{}}"#;
    let files = vec![
        file(".gitattributes", 9, None, false),
        file("config.json", config.len() as u64, None, true),
        file("model.safetensors", 100, Some("b"), true),
    ];
    let mut sources = sources(Some(description()), files);
    sources.texts = vec![text("config.json", config)];
    let read = weights("model.safetensors", Kind::Safetensors, &[("BF16", 40), ("F32", 2)]);
    sources.weights = vec![("model.safetensors".to_owned(), Ok(read))];
    let card = Card { licence: Licence::of_card("cc-by-nc-4.0", None), ..Card::default() };
    sources.ancestors = vec![Ancestor {
        repository: "base/one".to_owned(),
        of: "org/name".to_owned(),
        relation: Some("finetune".to_owned()),
        commit: Some("c".repeat(40)),
        card: Some(card),
        unknown: None,
    }];
    let passport = compose(&sources);
    assert_eq!(passport.name, "org/name@2026.11.03-9f8e7d6");
    assert_eq!(passport.identity.purl, format!("pkg:huggingface/org/name@{COMMIT}"));
    assert_eq!(passport.identity.id.as_deref(), Some("0123456789abcdef01234567"));
    assert_eq!(passport.reference.history[0].first_seen, "2026-11-05T08:00:00Z");
    assert_eq!((passport.content.file_count, passport.content.kept_files), (Some(3), 2));
    assert_eq!(passport.parameters.total, Some(42));
    assert_eq!(passport.parameters.architecture.as_deref(), Some("LlamaForCausalLM"));
    assert_eq!(passport.parameters.context_length, Some(8192));
    assert_eq!(passport.trust.remote_code, Some(true));
    assert_eq!(passport.training.datasets, ["org/data"]);
    let licence = &passport.licence;
    let effective = licence.effective.as_ref().map(Licence::as_str);
    assert_eq!(effective, Some("LicenseRef-HF-llama3.1 AND CC-BY-NC-4.0"));
    assert_eq!(licence.tags, [Tag::UseRestricted, Tag::Noncommercial]);
    assert!(licence.unknown_ancestors.is_empty());
    // The order of paths, without git's own file: the digest of config.json, then that of the weights.
    use sha2::{Digest as _, Sha256};
    let root = Sha256::new().chain_update(Sha256::digest(config)).chain_update([0xbb; 32]);
    assert_eq!(passport.content.manifest_root, Some(hex::encode(root.finalize())));
    let again: Passport =
        serde_json::from_value(serde_json::to_value(&passport).expect("JSON")).expect("a passport");
    assert_eq!(again, passport);
}

#[test]
fn what_is_not_known_is_null_with_a_reason() {
    let mut sources = sources(None, vec![file("model.safetensors", 9, Some("b"), false)]);
    let passport = compose(&sources);
    let check = |field: &str, expected: &str| {
        let reason = passport.unknown.get(field).map_or("", String::as_str);
        assert!(reason.contains(expected), "{field}: {reason:?}");
    };
    assert_eq!(passport.parameters.total, None);
    assert_eq!(passport.licence.effective, None);
    check("parameters.total", "model.safetensors is not kept");
    check("licence.declared", "description of this commit is not kept");
    check("licence.effective", "neither");
    check("task", "description");
    check("trust.scan", "no result");
    check("parameters.architecture", "no config.json is kept");
    assert_eq!(
        passport.content.manifest_root,
        Some(compose(&sources).content.manifest_root.expect("one file with a digest"))
    );
    assert_eq!(passport.name, "org/name@2026.11.05-9f8e7d6");
    sources.record.files = None;
    let passport = compose(&sources);
    assert!(passport.unknown["content.files"].contains("not kept"));
    assert_eq!(passport.content.file_count, None);
}

#[test]
fn a_missing_digest_leaves_no_root() {
    let files =
        vec![file("a", 1, Some("a"), true), file("b", 1, None, false), file("c", 1, None, false)];
    let passport = compose(&sources(Some(description()), files));
    assert_eq!(passport.content.manifest_root, None);
    let reason = &passport.unknown["content.manifest_root"];
    assert!(reason.contains("of b and 1 other files"), "{reason}");
}

#[test]
fn parameters_are_counted_once() {
    let check = |files: &[(&str, u64)], told: Option<u64>, expected: Option<u64>| {
        let listed = files.iter().map(|(path, _)| file(path, 9, Some("a"), true)).collect();
        let mut described = description();
        if let Some(total) = told {
            described["safetensors"] = json!({ "total": total });
        }
        let mut sources = sources(Some(described), listed);
        sources.weights = files
            .iter()
            .filter_map(|(path, count)| {
                let kind = Kind::of(path)?;
                Some(((*path).to_owned(), Ok(weights(path, kind, &[("F16", *count)]))))
            })
            .collect();
        assert_eq!(compose(&sources).parameters.total, expected, "{files:?}");
    };
    check(
        &[("model-00001-of-00002.safetensors", 3), ("model-00002-of-00002.safetensors", 4)],
        None,
        Some(7),
    );
    check(&[("model.safetensors", 7), ("consolidated.safetensors", 7)], None, Some(7));
    check(&[("model.safetensors", 7), ("other.safetensors", 1)], None, None);
    check(&[("model.safetensors", 7), ("other.safetensors", 1)], Some(8), Some(8));
    check(&[("a.Q4_K_M.gguf", 7), ("a.Q8_0.gguf", 7)], None, Some(7));
    check(&[("pytorch_model.bin", 0)], None, None);
    check(&[("pytorch_model.bin", 0)], Some(5), Some(5));
}

#[test]
fn quantization_names_the_version() {
    let check = |config: &str, file_type: Option<&str>, expected: &str| {
        let path = "m.gguf";
        let mut sources = sources(Some(description()), vec![file(path, 9, Some("a"), true)]);
        sources.texts = vec![text("config.json", config)];
        let mut read = weights(path, Kind::Gguf, &[("Q4_K", 5)]);
        read.file_type = file_type.map(str::to_owned);
        sources.weights = vec![(path.to_owned(), Ok(read))];
        let name = compose(&sources).name;
        assert_eq!(name.split_once("9f8e7d6").map(|(_, rest)| rest), Some(expected), "{name}");
    };
    check("{}", Some("Q4_K_M"), "+Q4_K_M");
    check("{}", None, "");
    check(r#"{"quantization_config":{"quant_method":"gptq","bits":4}}"#, None, "+gptq-4bit");
    check(r#"{"quantization_config":{"quant_method":"fp8"}}"#, None, "+fp8");
    check("no json", None, "");
}

#[test]
fn packed_numbers_are_no_parameters() {
    let mut sources =
        sources(Some(description()), vec![file("model.safetensors", 9, Some("a"), true)]);
    sources.texts =
        vec![text("config.json", r#"{"quantization_config":{"quant_method":"awq","bits":4}}"#)];
    let read = weights("model.safetensors", Kind::Safetensors, &[("I32", 5), ("F16", 1)]);
    sources.weights = vec![("model.safetensors".to_owned(), Ok(read))];
    let passport = compose(&sources);
    assert_eq!(passport.parameters.total, None);
    assert!(passport.unknown["parameters.total"].contains("packed"));
    assert_eq!(passport.precision.types["I32"], 5);
}

#[test]
fn a_text_that_says_something_else_counts_too() {
    let mut sources = sources(Some(description()), vec![file("LICENSE", 9, None, true)]);
    let mit = "Permission is hereby granted to deal in the Software without restriction, this permission notice shall be included";
    sources.texts = vec![text("LICENSE", mit)];
    let licence = compose(&sources).licence;
    assert!(licence.mismatch);
    let effective = licence.effective.as_ref().map(Licence::as_str);
    assert_eq!(effective, Some("LicenseRef-HF-llama3.1 AND MIT"));
    sources.record.description = Some(json!({ "tags": ["license:mit"] }));
    assert!(!compose(&sources).licence.mismatch);
    sources.record.description = Some(json!({ "tags": ["license:unknown"] }));
    let passport = compose(&sources);
    assert_eq!(passport.licence.declared, None);
    assert_eq!(passport.licence.effective.as_ref().map(Licence::as_str), Some("MIT"));
    assert!(passport.unknown["licence.declared"].contains("\"unknown\""));
}

#[test]
fn ancestors_without_terms_are_named() {
    let mut sources = sources(Some(description()), Vec::new());
    let unknown = Some("nothing of it passed through".to_owned());
    let repository = "base/one".to_owned();
    sources.ancestors = vec![Ancestor { repository, unknown, ..Ancestor::default() }];
    let passport = compose(&sources);
    assert_eq!(passport.licence.unknown_ancestors, ["base/one"]);
    assert!(passport.licence.effective.is_some());
    assert!(passport.lineage.ancestors[0].unknown.is_some());
}

#[test]
fn cards_are_read_as_authors_write_them() {
    let check = |description: Value, expected: (&[&str], Option<&str>, &[&str])| {
        let card = Card::of(&description).expect("a card");
        assert_eq!(card.base_models, expected.0, "{description}");
        assert_eq!(card.relation.as_deref(), expected.1, "{description}");
        assert_eq!(card.datasets, expected.2, "{description}");
    };
    check(
        json!({ "cardData": { "base_model": "a/b", "datasets": ["d"] } }),
        (&["a/b"], None, &["d"]),
    );
    let tags = ["base_model:a/b", "base_model:quantized:a/b", "dataset:x/y"];
    check(json!({ "tags": tags }), (&["a/b"], Some("quantized"), &["x/y"]));
    check(json!({ "cardData": { "base_model": [1, null, "a"] } }), (&["1", "a"], None, &[]));
    assert_eq!(Card::of(&json!({ "cardData": null })), None);
    assert_eq!(Card::of(&json!("text")), None);
    let both = Card::of(&json!({ "cardData": { "license": ["mit", "cc-by-nc-4.0"] } }));
    let licence = both.and_then(|card| card.licence).map(|licence| licence.to_string());
    assert_eq!(licence.as_deref(), Some("MIT AND CC-BY-NC-4.0"));
}

#[test]
fn the_hub_is_named_unless_everybody_knows_it() {
    assert_eq!(purl("gpt2", None, None), "pkg:huggingface/gpt2");
    let purl = purl("org/na me", Some("AB"), Some("https://hub.example/"));
    assert_eq!(purl, "pkg:huggingface/org/na%20me@ab?repository_url=https:%2F%2Fhub.example");
}

#[test]
fn files_are_classed_by_name() {
    let check = |path: &str, is_large: bool, expected: (Class, bool)| {
        assert_eq!(class_of(path, is_large), expected, "{path}");
    };
    for path in [
        "model.safetensors",
        "m.gguf",
        "pytorch_model.bin",
        "a/model.onnx",
        "model.safetensors.index.json",
    ] {
        check(path, false, (Class::Weights, false));
    }
    for path in [
        "config.json",
        "tokenizer.json",
        "chat_template.jinja",
        "modeling.py",
        "merges.txt",
        "requirements.txt",
    ] {
        check(path, false, (Class::Behaviour, false));
    }
    // A vocabulary is large and still no weights.
    check("tokenizer.json", true, (Class::Behaviour, false));
    for path in [
        "README.md",
        "LICENSE",
        "LICENSE.txt",
        "docs/a.png",
        ".gitattributes",
        "NOTICE",
        "CITATION.cff",
    ] {
        check(path, false, (Class::Documentation, false));
    }
    check("license_model.py", false, (Class::Behaviour, false));
    check("blob", true, (Class::Weights, true));
    check("blob", false, (Class::Behaviour, true));
}

#[test]
fn changes_are_found_by_digest() {
    let passport = |files: Vec<RecordFile>| compose(&sources(Some(description()), files));
    let git = |path: &str, digit: &str| RecordFile {
        oid: Some(digit.repeat(40)),
        ..file(path, 1, None, false)
    };
    let old = passport(vec![
        file("a.safetensors", 9, Some("1"), false),
        file("b.safetensors", 9, Some("2"), false),
        git("README.md", "3"),
        git("config.json", "4"),
    ]);
    let new = passport(vec![
        file("a.safetensors", 9, Some("1"), true),
        file("c.safetensors", 9, Some("2"), false),
        git("README.md", "5"),
        git("tokenizer.json", "6"),
    ]);
    let changes = between(&old, &new).expect("both are listed");
    let told: Vec<(&str, Deed, Class)> = changes
        .files
        .iter()
        .map(|change| (change.path.as_str(), change.deed, change.class))
        .collect();
    assert_eq!(
        told,
        [
            ("c.safetensors", Deed::Moved, Class::Weights),
            ("config.json", Deed::Removed, Class::Behaviour),
            ("tokenizer.json", Deed::Added, Class::Behaviour),
            ("README.md", Deed::Changed, Class::Documentation),
        ]
    );
    assert_eq!(changes.class, Some(Class::Weights));
    assert_eq!(changes.files[0].from.as_deref(), Some("b.safetensors"));
    let same = between(&old, &old).expect("both are listed");
    assert_eq!((same.class, same.files.len(), same.is_licence_changed), (None, 0, false));
    let mut unlisted = old.clone();
    unlisted.content.file_count = None;
    assert!(between(&old, &unlisted).is_err());
    let mut stranger = new;
    stranger.identity.id = Some("another".to_owned());
    assert!(between(&old, &stranger).expect("both are listed").is_other_repository);
}
