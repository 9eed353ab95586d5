//! The architecture as a test: reads the source and finds what the house plan forbids.
//!
//! Who may import whom, which layers do no I/O, where no ecosystem is named, how long a file may be, how it begins, and what no
//! tracked file may name at all. The rules are the tables below and in [`forbidden`]; [`tokens`] reads the files.

mod forbidden;
mod tokens;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tokens::{Code, Mention, What};

/// What each layer may import of ours. An entry with `::` allows only what lies below that path.
/// Files that are not listed (`app`, `banner`, `cli`, `config`, `fuzz`, `import`, `lib`, `main`) may import everything.
const IMPORTS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("clock", &["types"]),
    ("telemetry", &[]),
    ("semantics", &["types"]),
    ("formats", &[]),
    ("advisory", &["types"]),
    ("inspect", &["types", "formats"]),
    ("licence", &[]),
    ("signature", &[]),
    ("policy", &["types", "licence", "advisory"]),
    ("rulings", &["types", "clock", "advisory", "policy"]),
    ("store", &["types", "semantics"]),
    ("upstream", &["types"]),
    ("server", &[]),
    ("cache", &["types", "clock", "semantics", "inspect", "store", "upstream"]),
    (
        "ecosystem",
        &[
            "types",
            "semantics",
            "licence",
            "advisory",
            "signature",
            "policy",
            "upstream::request",
            "cache::lookup",
            "cache::failure",
        ],
    ),
    (
        "proxy",
        &[
            "types",
            "clock",
            "semantics",
            "policy",
            "upstream::request",
            "cache",
            "ecosystem",
            "rulings",
            "server",
            "trace::pulls",
        ],
    ),
    ("passport", &["types", "formats", "licence", "signature", "ecosystem::huggingface::record"]),
    ("bom", &["types", "licence", "passport"]),
    (
        "models",
        &[
            "types",
            "clock",
            "formats",
            "signature",
            "ecosystem::huggingface",
            "passport",
            "bom",
            "keep",
            "trace",
            "store::StoreError",
            "admin",
            "server",
        ],
    ),
    ("feed", &["types", "clock", "advisory", "upstream", "admin", "server"]),
    ("collect", &["types", "ecosystem"]),
    (
        "bundle",
        &[
            "types",
            "clock",
            "collect",
            "store",
            "upstream",
            "server",
            "cache",
            "ecosystem",
            "keep",
            "admin",
        ],
    ),
    (
        "heal",
        &["types", "clock", "store", "server", "cache", "ecosystem", "keep", "admin", "bundle"],
    ),
    ("snapshots", &["types", "store"]),
    ("identity", &["types", "cache", "ecosystem", "server", "admin"]),
    ("trace", &["types", "clock", "store", "cache", "server::Ended"]),
    ("keep", &["types", "clock", "store", "cache", "ecosystem"]),
    (
        "admin",
        &[
            "types",
            "clock",
            "cache",
            "keep",
            "store",
            "policy",
            "rulings",
            "server",
            "snapshots",
            "trace",
        ],
    ),
];

/// Layers that take the time and the bytes as arguments.
const PURE: &[&str] = &[
    "types",
    "collect",
    "semantics",
    "formats",
    "inspect",
    "licence",
    "advisory",
    "signature",
    "policy",
    "ecosystem",
    "passport",
    "bom",
];

/// What a pure layer does not name: a crate, a path, or the last part of one.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::process",
    "std::thread",
    "SystemTime::now",
    "Instant::now",
    "Clock::now",
    "Timestamp::now",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnixStream",
    "ToSocketAddrs",
    "tokio",
    "hyper",
    "hyper_util",
    "redb",
    "rustix",
];

/// Layers that every ecosystem shares and that therefore name none.
const NEUTRAL: &[&str] = &["types", "semantics", "store", "upstream", "server", "cache"];

/// Words that give an ecosystem away, beside the names of the folders in `src/ecosystem`.
const ECOSYSTEM_WORDS: &[&str] = &[
    "pypi",
    "pip",
    "wheel",
    "sdist",
    "huggingface",
    "hf",
    "xet",
    "oci",
    "docker",
    "ollama",
    "npm",
    "conda",
    "maven",
    "debian",
];

/// Most lines of production code in one file.
const MOST_LINES: usize = 500;

/// One source file.
struct Source<'a> {
    /// Relative to the repository, with forward slashes.
    path: &'a str,
    text: &'a str,
    /// Whether a `#[cfg(test)] mod` elsewhere declares the whole file.
    is_test: bool,
}

/// Finds what is wrong with a file of `src/`.
fn faults(source: &Source<'_>, ecosystem_words: &BTreeSet<String>) -> Vec<String> {
    let mut found = style_faults(source);
    let module = module_of(source.path);
    let layer = module.first().map_or("", String::as_str);
    let reading = match tokens::read(source.text, &module) {
        Ok(reading) => reading,
        Err(error) => return vec![format!("{}: {error}", source.path)],
    };
    let lines = source.text.lines().count() - reading.test_lines;
    if lines >= MOST_LINES && !source.is_test {
        found.push(format!(
            "{}: {lines} lines of production code, {MOST_LINES} are too many",
            source.path
        ));
    }
    let production = |mention: &&Mention| mention.code == Code::Production && !source.is_test;
    for mention in reading.mentions.iter().filter(production) {
        let objection = match &mention.what {
            What::Path(path) => import_fault(layer, path).or_else(|| purity_fault(layer, path)),
            What::Identifier(text) | What::Text(text) => naming_fault(layer, text, ecosystem_words),
        };
        found.extend(objection.map(|text| format!("{}:{}: {text}", source.path, mention.line)));
    }
    found
}

fn style_faults(source: &Source<'_>) -> Vec<String> {
    let opened = source.text.starts_with("//! ");
    (!opened).then(|| format!("{}: does not open with `//!`", source.path)).into_iter().collect()
}

/// Whether `layer` may name `path`, which is one of ours when it starts with `crate`.
fn import_fault(layer: &str, path: &[String]) -> Option<String> {
    let allowed = IMPORTS.iter().find(|(name, _)| *name == layer)?.1;
    let [first, imported, ..] = path else { return None };
    if first != "crate" || imported == layer || imported == "self" {
        return None;
    }
    let written = path[1..].join("::");
    let covers = |entry: &str| {
        written.strip_prefix(entry).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let fits = allowed.iter().any(|entry| covers(entry));
    (!fits).then(|| format!("`{layer}` imports `{written}`"))
}

fn purity_fault(layer: &str, path: &[String]) -> Option<String> {
    if !PURE.contains(&layer) {
        return None;
    }
    let names = |entry: &str| {
        let wanted: Vec<&str> = entry.split("::").collect();
        match wanted.as_slice() {
            [name] => path[0] == *name || path.last().is_some_and(|last| last == name),
            _ => path.windows(wanted.len()).any(|window| window == wanted),
        }
    };
    let named = IMPURE.iter().find(|entry| names(entry))?;
    Some(format!("`{layer}` is pure and names `{named}`"))
}

fn naming_fault(layer: &str, text: &str, ecosystem_words: &BTreeSet<String>) -> Option<String> {
    if !NEUTRAL.contains(&layer) {
        return None;
    }
    let word = words(text).find(|word| ecosystem_words.contains(word))?;
    Some(format!("`{layer}` names the ecosystem word `{word}`"))
}

/// `OciDigest`, `oci_digest` and `"oci digest"` alike as `oci`, `digest`.
fn words(text: &str) -> impl Iterator<Item = String> {
    let mut spaced = String::with_capacity(text.len() + 8);
    let mut previous_lower = false;
    for letter in text.chars() {
        if letter.is_uppercase() && previous_lower {
            spaced.push(' ');
        }
        previous_lower = letter.is_lowercase();
        spaced.extend(letter.to_lowercase());
    }
    let parts: Vec<String> =
        spaced.split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect();
    parts.into_iter().filter(|part| !part.is_empty())
}

/// `src/cache/fill/mod.rs` as `["cache", "fill"]`; the roots of the crate as nothing.
fn module_of(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut module: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        module.pop();
    }
    module
}

/// Every file of the repository but version control's and the build's own.
fn repository() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pending = vec![root.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository can be listed") {
            let path: PathBuf = entry.expect("an entry can be read").path();
            let name = path.strip_prefix(root).expect("it is below the root").to_string_lossy();
            let name = name.replace('\\', "/");
            if name == "target" || name == ".git" || name.ends_with("__pycache__") {
                continue;
            }
            if path.is_dir() {
                pending.push(path);
            } else {
                files.push((name, fs::read(&path).expect("a file of the repository can be read")));
            }
        }
    }
    files.sort();
    files
}

fn sources() -> Vec<(String, String)> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("source is UTF-8");
    let is_source = |name: &str| name.ends_with(".rs");
    repository()
        .into_iter()
        .filter(|(name, _)| is_source(name))
        .map(|(name, bytes)| (name, text(bytes)))
        .collect()
}

fn ecosystem_words(sources: &[(String, String)]) -> BTreeSet<String> {
    let folder = |name: &str| {
        name.strip_prefix("src/ecosystem/")?.split_once('/').map(|(folder, _)| folder.to_owned())
    };
    let mut words: BTreeSet<String> = sources
        .iter()
        .filter_map(|(name, _)| folder(name))
        .filter(|name| name != "generic")
        .collect();
    words.extend(ECOSYSTEM_WORDS.iter().map(|word| (*word).to_owned()));
    words
}

/// Files that some other file declares as `#[cfg(test)] mod name;`.
fn test_files(sources: &[(String, String)]) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for (path, text) in sources {
        let Ok(reading) = tokens::read(text, &module_of(path)) else { continue };
        let folder = match path.trim_end_matches(".rs") {
            inner if inner.ends_with("/mod") || inner.ends_with("/lib") => {
                inner.rsplit_once('/').map_or(inner, |(folder, _)| folder)
            }
            inner => inner,
        };
        for module in reading.test_modules {
            files.insert(format!("{folder}/{module}.rs"));
            files.insert(format!("{folder}/{module}/mod.rs"));
        }
    }
    files
}

#[test]
fn the_source_keeps_to_the_plan() {
    let sources = sources();
    let words = ecosystem_words(&sources);
    let tests = test_files(&sources);
    let mut found = Vec::new();
    for (path, text) in &sources {
        let source = Source { path, text, is_test: tests.contains(path) };
        match path.starts_with("src/") {
            true => found.extend(faults(&source, &words)),
            false => found.extend(style_faults(&source)),
        }
    }
    assert!(found.is_empty(), "{} faults:\n{}", found.len(), found.join("\n"));
}

#[test]
fn each_fault_is_found() {
    let words = BTreeSet::from(["oci".to_owned(), "wheel".to_owned()]);
    let check = |path: &str, text: &str, expected: &str| {
        let found = faults(&Source { path, text, is_test: false }, &words);
        assert_eq!(found.len(), 1, "{path}: {text}: {found:?}");
        assert!(found[0].contains(expected), "{path}: {text}: {found:?}");
    };
    check(
        "src/store/disk.rs",
        "//! D.\nuse crate::cache::Cache;",
        "disk.rs:2: `store` imports `cache::Cache`",
    );
    check(
        "src/store/disk.rs",
        "//! D.\nuse crate::{types, upstream::Origin};",
        "`store` imports `upstream::Origin`",
    );
    check("src/store/disk.rs", "//! D.\nfn f() { crate::proxy::go() }", "imports `proxy::go`");
    check(
        "src/store/disk.rs",
        "//! D.\nfn f() { log!(\"{}\", crate::proxy::go()) }",
        "imports `proxy::go`",
    );
    check("src/store/disk.rs", "//! D.\nuse super::super::cache::Cache;", "imports `cache::Cache`");
    check(
        "src/store/disk.rs",
        "//! D.\nmod x { use super::super::super::cache::Cache; }",
        "imports `cache::Cache`",
    );
    check(
        "src/ecosystem/a/mod.rs",
        "//! A.\nuse crate::upstream::Origin;",
        "`ecosystem` imports `upstream::Origin`",
    );
    check("src/ecosystem/a/mod.rs", "//! A.\nuse std::fs;", "pure and names `std::fs`");
    check(
        "src/ecosystem/a/mod.rs",
        "//! A.\nuse std::{fmt, fs::File};",
        "pure and names `std::fs`",
    );
    check(
        "src/policy/mod.rs",
        "//! P.\nfn f() { SystemTime::now(); }",
        "pure and names `SystemTime::now`",
    );
    check("src/types/a.rs", "//! T.\nfn f() { tokio::time::sleep(x); }", "pure and names `tokio`");
    check("src/cache/mod.rs", "//! C.\nstruct OciDigest;", "names the ecosystem word `oci`");
    check(
        "src/cache/mod.rs",
        "//! C.\nconst A: &str = \"a wheel of\";",
        "names the ecosystem word `wheel`",
    );
    check("src/cache/mod.rs", "// C.\nstruct A;", "does not open");
    check("src/cache/mod.rs", "//! C.\nfn f( {", "cannot be read");
    let long = format!("//! C.\n{}", "const A: u8 = 0;\n".repeat(MOST_LINES));
    check("src/cache/mod.rs", &long, "501 lines of production code");
}

#[test]
fn what_is_allowed_is_not_a_fault() {
    let words = BTreeSet::from(["oci".to_owned()]);
    let check = |path: &str, text: &str, is_test: bool| {
        assert_eq!(
            faults(&Source { path, text, is_test }, &words),
            Vec::<String>::new(),
            "{path}: {text}"
        );
    };
    check("src/cache/mod.rs", "//! C.\nuse crate::store::Store;\nuse crate::cache::fill;", false);
    check(
        "src/cache/fill/mod.rs",
        "//! F.\nuse super::found::Found;\nuse super::super::store::Store;",
        false,
    );
    check("src/ecosystem/a/mod.rs", "//! A.\nuse crate::upstream::request::{Origin, Hop};", false);
    check("src/store/mod.rs", "//! S, as `oci` has it.\n/// See `oci`.\n// oci\nstruct A;", false);
    check("src/store/mod.rs", "//! S.\nfn associate_social() {}", false);
    check(
        "src/store/mod.rs",
        "//! S.\n#[cfg(test)]\nmod tests { use crate::app::App; const A: &str = \"oci\"; }",
        false,
    );
    check("src/store/suite.rs", "//! S.\nuse crate::app::App;", true);
    check("src/app.rs", "//! A.\nuse crate::ecosystem::oci::Oci;", false);
    let tests = "    fn a() {}\n".repeat(MOST_LINES);
    check("src/store/mod.rs", &format!("//! S.\n#[cfg(test)]\nmod tests {{\n{tests}}}\n"), false);
}

#[test]
fn a_file_declared_for_tests_is_known() {
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let sources =
        [file("src/store/mod.rs", "//! S.\npub mod a;\n#[cfg(test)]\npub(crate) mod b;\n")];
    let tests = test_files(&sources);
    assert!(tests.contains("src/store/b.rs") && !tests.contains("src/store/a.rs"), "{tests:?}");
}
