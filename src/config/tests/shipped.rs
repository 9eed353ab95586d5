//! What ships with the program is right: the defaults, the examples, and the files beside them.

use std::collections::BTreeSet;

use figment::error::Kind;

use super::*;
use crate::ecosystem::huggingface;
use crate::ecosystem::pypi::config::{IndexConfig, UpstreamConfig, UpstreamEntry};
use crate::types::ByteSize;

/// What the text ships and what the code falls back to are the same, so that neither can drift from the other. Only the text names a public
/// service.
#[test]
fn the_shipped_defaults_are_those_of_the_code() {
    let mut shipped = Case::default().config();
    let public = shipped.pypi.indexes.remove("default").expect("an index by default");
    let UpstreamEntry(upstream) = public.upstream.clone().expect("the public one");
    assert!(upstream.url.starts_with("https://"));
    assert_eq!(IndexConfig { upstream: None, ..public }, IndexConfig::default());
    let plain = UpstreamConfig { url: String::new(), file_hosts: Vec::new(), ..upstream };
    assert_eq!(plain, UpstreamConfig::default());
    let oci::Config { default, registries } = std::mem::take(&mut shipped.oci);
    assert!(registries.contains_key(&default), "{default}");
    for (name, public) in registries {
        assert!(public.upstream.starts_with("https://"), "{name}");
        let plain = oci::RegistryConfig {
            upstream: String::new(),
            aliases: Vec::new(),
            namespace: None,
            token_hosts: Vec::new(),
            blob_hosts: Vec::new(),
            ..public
        };
        assert_eq!(plain, oci::RegistryConfig::default(), "{name}");
    }
    let hub = std::mem::take(&mut shipped.huggingface);
    assert!(hub.upstream.starts_with("https://") && hub.is_on());
    let bare = huggingface::Config {
        upstream: String::new(),
        hosts: Vec::new(),
        aliases: Vec::new(),
        datasets_server: String::new(),
        ollama: String::new(),
        ..hub
    };
    assert_eq!(bare, huggingface::Config::default());
    assert_eq!(shipped, Config::default());
}

/// A setting that `default.toml` neither sets nor shows as an example would be one that nobody can find. For mounts, which may have things
/// in several forms, it is enough that the text speaks of it.
#[test]
fn every_setting_stands_in_the_shipped_text() {
    let text = Layer::text("text", &examples_uncommented()).expect("TOML");
    let shown: BTreeSet<String> = text.paths().map(|path| kind_of(path).join(".")).collect();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words: BTreeSet<&str> = DEFAULT_TOML.split(|c| !is_word(c)).collect();
    for section in sections(&text) {
        for key in known_keys(&section) {
            let path = joined(&kind_of(&section), key);
            let is_mount = path.contains('*') || path.starts_with("huggingface.");
            let stands = shown.contains(&path) || is_mount && words.contains(key);
            assert!(stands, "{path}");
        }
    }
}

/// Examples are meant to be copied, so they must be right.
#[test]
fn the_examples_in_the_shipped_text_can_be_used() {
    file(&examples_uncommented()).config();
}

/// The path with `*` in place of names that the operator chooses.
fn kind_of(path: &[String]) -> Vec<String> {
    let mut kind = path.to_vec();
    let chosen = match path.first().map(String::as_str) {
        Some("oci" | "pypi") => kind.get_mut(2),
        Some("generic") => kind.get_mut(1),
        _ => None,
    };
    if let Some(name) = chosen {
        *name = "*".to_owned();
    }
    kind
}

/// The shipped text with every `#key = value` and `#[section]` in force.
fn examples_uncommented() -> String {
    let uncommented = DEFAULT_TOML.lines().map(|line| match line.strip_prefix('#') {
        Some(example) if !example.starts_with(' ') => example,
        _ => line,
    });
    uncommented.collect::<Vec<_>>().join("\n")
}

/// Paths of all tables in a text; the root is the empty one.
fn sections(layer: &Layer) -> Vec<Vec<String>> {
    let settings = Settings::merge(vec![layer.clone()]);
    let is_table =
        |path: &&[String]| settings.value(path).is_some_and(|value| value.as_dict().is_some());
    let tables = layer.paths().filter(is_table).map(<[String]>::to_vec);
    std::iter::once(Vec::new()).chain(tables).collect()
}

/// The keys that a section may have, in the words of the type itself: it names them when it meets one that it does not know. Empty for
/// tables whose keys are names.
fn known_keys(section: &[String]) -> Vec<&'static str> {
    let path: Vec<&str> = section.iter().map(String::as_str).chain(["?"]).collect();
    let probe = Layer::single("probe", &path, Value::from(true));
    match Config::deserialize(Settings::merge(vec![probe]).tree()).map_err(|error| error.kind) {
        Err(Kind::UnknownField(_, known)) => known.to_vec(),
        _ => Vec::new(),
    }
}

fn joined(section: &[String], key: &str) -> String {
    section.iter().map(String::as_str).chain([key]).collect::<Vec<_>>().join(".")
}

/// What is meant to be copied, or to be put into a container, is right.
#[test]
fn the_files_beside_the_defaults_can_be_used() {
    for text in [
        include_str!("../../../config/example.toml"),
        include_str!("../../../deploy/container.toml"),
    ] {
        file(text).config();
    }
}

/// Whether nothing of something is a fault or a choice is not to be left to what the code makes of it: it is one, or the text says the other.
#[test]
fn nothing_is_a_fault_or_stands_in_the_shipped_text() {
    const ZEROS: [&str; 4] = ["\"0s\"", "\"0\"", " 0: ", "(0: "];
    let text = examples_uncommented();
    let lines: Vec<&str> = text.lines().collect();
    let (mut comment, mut seen) = (String::new(), 0);
    for (place, line) in lines.iter().enumerate() {
        if let Some(more) = line.strip_prefix('#') {
            // Settings that follow each other share what stands before them.
            if place > 0 && !lines[place - 1].starts_with('#') {
                comment.clear();
            }
            comment.push_str(more);
            continue;
        }
        let Some((key, value)) = line.split_once(" = ") else { continue };
        let nothing = match value.trim_matches('"') {
            number if number.replace('_', "").parse::<u64>().is_ok() => "0",
            size if value.starts_with('"') && size.parse::<ByteSize>().is_ok() => "\"0\"",
            span if humantime_serde::re::humantime::parse_duration(span).is_ok() => "\"0s\"",
            _ => continue,
        };
        seen += 1;
        let changed = format!("{key} = {nothing}");
        let whole = [&lines[..place], &[changed.as_str()], &lines[place + 1..]].concat();
        let read = Loaded::of_text(&whole.join("\n"));
        let is_said = ZEROS.iter().any(|zero| comment.contains(zero));
        assert_eq!(read.is_ok(), is_said, "{key}: {comment} {:?}", read.err());
    }
    assert!(seen > 60, "{seen}");
}
