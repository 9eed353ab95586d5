//! Doors for fuzzers: every parser of what strangers write, as a function of bytes.
//!
//! A target must not panic, hang or grow beyond its input, whatever the bytes, and asserts what holds for all of them. `tests/fuzz` gives these targets to
//! libFuzzer; the test below tries the committed corpora and mutations of them, the same ones in every run. Built for tests alone.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use url::Url;

use crate::advisory::question::Query;
use crate::advisory::{Builder, Place};
use crate::bundle::archive;
use crate::bundle::record::Record;
use crate::collect::lists::List;
use crate::collect::rewrite::{self, Direction};
use crate::config::Loaded;
use crate::ecosystem::huggingface::xet::chunks;
use crate::ecosystem::huggingface::{links, route, tree};
use crate::ecosystem::oci::{manifest, name as image};
use crate::ecosystem::pypi::{name as project, parse_html, parse_json};
use crate::formats::{self, Reading};
use crate::inspect::{self, Inspection, Mode, Nature, Report, Rules};
use crate::licence::{self, Licence};
use crate::policy::rule::Turn;
use crate::policy::when::Expression;
use crate::policy::{self, Fact, Facts};
use crate::proxy::target;
use crate::semantics::cache_control::{RequestDirectives, ResponseDirectives};
use crate::semantics::range;
use crate::server::strict::{HeadLimits, HeadScan};
use crate::signature;
use crate::store::disk::{head, record};
use crate::types::{ByteSize, Timestamp};
use crate::upstream::auth::challenge;

/// A parser to be fuzzed.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of its corpus, too.
    pub name: &'static str,
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "simple_json", run: simple_json },
    Target { name: "simple_html", run: simple_html },
    Target { name: "tree", run: tree },
    Target { name: "kept_tree", run: kept_tree },
    Target { name: "manifest", run: manifest },
    Target { name: "chunks", run: chunks },
    Target { name: "names", run: names },
    Target { name: "range", run: range },
    Target { name: "link", run: link },
    Target { name: "www_authenticate", run: www_authenticate },
    Target { name: "cache_control", run: cache_control },
    Target { name: "path", run: path },
    Target { name: "instant", run: instant },
    Target { name: "request_head", run: request_head },
    Target { name: "config", run: config },
    Target { name: "record", run: record },
    Target { name: "head", run: head },
    Target { name: "lists", run: lists },
    Target { name: "bundle", run: bundle },
    Target { name: "inspect", run: inspect },
    Target { name: "chat_template", run: chat_template },
    Target { name: "safetensors", run: safetensors },
    Target { name: "gguf", run: gguf },
    Target { name: "licence", run: licence },
    Target { name: "advisory", run: advisory },
    Target { name: "attestation", run: attestation },
    Target { name: "model_signature", run: model_signature },
    Target { name: "image_signature", run: image_signature },
    Target { name: "when", run: when },
];

/// A record, what it says of a few versions, and the same bytes as a question.
fn advisory(bytes: &[u8]) {
    let mut builder = Builder::new(&[]);
    if builder.add(bytes, Place::default()).is_ok() {
        let advisories = builder.finish();
        for version in ["0", "1.0", "1.0+local", "2!3.0rc1.post2", "nonsense"] {
            let found = advisories.of("PyPI", "demo", version);
            assert!(found.len() <= advisories.len());
        }
    }
    if let Ok(query) = serde_json::from_slice::<Query>(bytes) {
        let _ = query.read();
    }
}

/// A provenance object, for the file that the one in the corpus is of and for another.
fn attestation(bytes: &[u8]) {
    let digest = "9bb1add04b1b4e182be6b0b80931593f7a291eb49d69b4fd728a5d4cbcdc4bd3";
    let roots = signature::Roots::default();
    let _ = signature::verify(&roots, bytes, "pypi_attestations-0.0.19.tar.gz", digest);
    assert!(signature::verify(&roots, bytes, "demo-1.0.tar.gz", digest).is_err());
}

/// The signature of a model, and the statement in one. Without a key nobody has signed with any.
fn model_signature(bytes: &[u8]) {
    let trust = signature::Trust::default();
    if let Ok(signed) = signature::model::verify(&trust, bytes) {
        assert!(!signed.signed_by.starts_with("key:"), "nobody's key is named");
    }
    if let Ok(manifest) = signature::model::Manifest::read(bytes) {
        assert!(manifest.paths().count() > 0, "an empty list is none");
        for path in manifest.paths() {
            assert!(matches!(
                manifest.word_on(path, "model.sig"),
                signature::model::Word::Signed(_)
            ));
        }
    }
}

/// A manifest of signatures, whose layers are given the manifest itself for their bytes, and a payload or bundle.
fn image_signature(bytes: &[u8]) {
    const PAYLOAD: &[u8] = include_bytes!("../tests/fixtures/cosign/keyless.manifest.json");
    let trust = signature::Trust::default();
    let verify = |vouchers: &[u8], body: &[u8]| {
        let vouchers = signature::image::vouchers(vouchers, 8);
        assert!(vouchers.len() <= 8);
        for voucher in vouchers {
            let named = voucher.names(body).unwrap_or_default();
            let _ = voucher.verify(&trust, body, &named);
        }
    };
    verify(bytes, bytes);
    verify(PAYLOAD, bytes);
}

fn address() -> Url {
    Url::parse("https://index.example/simple/six/").expect("an address")
}

/// `bytes` as the value of a field, if they can be one.
fn field(name: HeaderName, bytes: &[u8]) -> Option<HeaderMap> {
    let value = HeaderValue::from_bytes(bytes).ok()?;
    Some(HeaderMap::from_iter([(name, value)]))
}

fn simple_json(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if parse_json::page(text, &address()).is_ok() {
        serde_json::from_str::<serde_json::Value>(text).expect("what is taken for a page is JSON");
    }
}

fn simple_html(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let page = parse_html::page(text, &address());
    assert_eq!(
        page.is_ok(),
        parse_html::page(text, &address()).is_ok(),
        "it depends on nothing else"
    );
    parse_html::projects(text);
}

fn instant(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(at) = Timestamp::from_text(text) {
        assert_eq!(Timestamp::from_text(&at.to_rfc3339()), Some(at), "{text:?}");
    }
}

fn tree(bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    let Ok(kept) = tree::kept_form([&body].into_iter(), Timestamp(1)) else { return };
    let tree = tree::Tree::read(kept).expect("what was written can be read");
    for (_, entry) in tree.entries(tree.below(None)) {
        assert!(tree.find(entry.path).is_some(), "{:?} is listed and not found", entry.path);
    }
}

fn kept_tree(bytes: &[u8]) {
    let Ok(tree) = tree::Tree::read(Bytes::copy_from_slice(bytes)) else { return };
    tree.find("config.json");
    tree.file_of_xet("");
    tree.entries(tree.below(None)).for_each(drop);
}

fn manifest(bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    let read = manifest::Manifest::new(String::new(), body.clone());
    assert_eq!(read.body, body, "it is kept as it came");
    // What it is worth to keep is another question, whose answer is one or the other.
    drop(manifest::resembles(&body));
}

fn chunks(bytes: &[u8]) {
    /// The largest content of one chunk that its header can announce.
    const MOST: usize = 1 << 24;
    let mut whole = chunks::Decoder::behind(0);
    let Ok(decoded) = whole.decode(bytes) else { return };
    assert!(decoded.iter().all(|chunk| chunk.len() <= MOST), "a chunk is larger than any may be");
    let mut piecemeal = chunks::Decoder::behind(0);
    let mut pieces = Vec::new();
    for piece in bytes.chunks(7) {
        pieces.extend(piecemeal.decode(piece).expect("it was right as a whole"));
    }
    assert_eq!(pieces, decoded, "how it arrives does not matter");
}

fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let normal = project::normalised(text).into_owned();
    assert_eq!(project::normalised(&normal), normal, "what is normal stays so");
    project::is_valid(text);
    project::splits(text);
    project::version_of("six", text);
    if let Some(name) = image::Repository::parse(text) {
        assert_eq!(name.as_str(), text);
    }
    if let Some(tag) = image::Tag::parse(text) {
        assert_eq!(tag.as_str(), text);
    }
    if let Ok(digest) = image::digest(text) {
        assert_eq!(digest.to_string(), text);
    }
    drop(image::Reference::parse(text));
    route::route(text);
}

fn range(bytes: &[u8]) {
    let Some(headers) = field(header::RANGE, bytes) else { return };
    let Some(specs) = range::parse(&headers) else { return };
    for size in [0, 1, 1000, u64::MAX] {
        let parts = match range::select(Some(&specs), size) {
            range::Selection::Single(part) => vec![part],
            range::Selection::Several(parts) => parts,
            _ => Vec::new(),
        };
        for part in parts {
            assert!(part.start < part.end && part.end <= size, "{part:?} of {size}");
        }
    }
}

fn link(bytes: &[u8]) {
    let Some(headers) = field(header::LINK, bytes) else { return };
    let Some(next) = links::next_of(&headers) else { return };
    if let Ok(url) = address().join(&next) {
        links::transplanted(&url, &[address()], &address());
    }
}

fn www_authenticate(bytes: &[u8]) {
    if let Some(headers) = field(header::WWW_AUTHENTICATE, bytes) {
        challenge::read(&headers);
    }
}

fn cache_control(bytes: &[u8]) {
    if let Some(headers) = field(header::CACHE_CONTROL, bytes) {
        RequestDirectives::read(&headers);
        ResponseDirectives::read(&headers);
    }
}

fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if target::check(text, None).is_ok() {
        let decoded =
            percent_encoding::percent_decode_str(text).decode_utf8().expect("it was checked");
        assert!(!decoded.split('/').any(|part| part == "." || part == ".."), "{text}");
    }
}

fn request_head(bytes: &[u8]) {
    const LIMITS: HeadLimits = HeadLimits { bytes: 1 << 12, fields: 20 };
    let whole = HeadScan::default().advance(bytes, LIMITS);
    if let Ok(Some(head)) = &whole {
        assert!(head.length <= bytes.len() && bytes[..head.length].ends_with(b"\r\n\r\n"));
    }
    let mut scan = HeadScan::default();
    let piecemeal = (1..=bytes.len())
        .map(|end| scan.advance(&bytes[..end], LIMITS))
        .find(|step| !matches!(step, Ok(None)));
    assert_eq!(piecemeal.unwrap_or(Ok(None)), if bytes.is_empty() { Ok(None) } else { whole });
}

fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Loaded::of_text(text) {
        Ok(loaded) => drop(loaded.to_toml()),
        Err(faults) => assert!(!faults.to_string().is_empty(), "a fault without a word"),
    }
}

fn record(bytes: &[u8]) {
    let Ok(entry) = record::decode(bytes) else { return };
    record::links(bytes).expect("what can be read whole can be read in part");
    let again = record::decode(&record::encode(&entry)).expect("what was written can be read");
    assert_eq!(record::encode(&again), record::encode(&entry));
}

fn head(bytes: &[u8]) {
    let Some(read) = head::decode(bytes) else { return };
    let again = head::decode(&head::encode(&read)).expect("what was written can be read");
    assert_eq!((again.status, again.headers), (read.status, read.headers));
}

/// As the beginning of a file of any size, and as a whole file.
/// Every kind of list; and where it has addresses, they go to Larder and come back as they were.
fn lists(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let map = rewrite::Map {
        larder: "http://larder.example".to_owned(),
        indexes: vec![("default".to_owned(), "https://index.example/simple/".to_owned())],
    };
    for name in
        ["requirements.txt", "uv.lock", "poetry.lock", "pylock.toml", "larder.toml", "larder.lock"]
    {
        let mut load = |_: &str| Err("there is nothing beside it".to_owned());
        if let Err(fault) = List::read(name, text, &mut load) {
            assert!(!fault.to_string().is_empty(), "a fault without a word");
        }
        if let Ok(there) = rewrite::rewrite(&map, Direction::ToLarder, name, text) {
            let again = rewrite::rewrite(&map, Direction::ToLarder, name, &there.text);
            assert_eq!(again.map(|again| again.replaced), Ok(0), "{name}");
        }
    }
}

/// A bundle's members, as far as they can be read.
fn bundle(bytes: &[u8]) {
    let source = stream::iter([Ok(Bytes::copy_from_slice(bytes))]).boxed();
    let mut reader = archive::Reader::new(source);
    while let Some(Ok(Some(member))) = reader.next().now_or_never() {
        if let Some(Ok(content)) = reader.whole(1 << 20).now_or_never() {
            assert_eq!(content.len() as u64, member.bytes);
        }
    }
    if let Ok(record) = serde_json::from_slice::<Record>(bytes) {
        let _ = record.read();
    }
}

fn safetensors(bytes: &[u8]) {
    let size = bytes.len() as u64;
    match formats::safetensors::read(bytes, None) {
        Reading::Needs(more) => assert!(more > size),
        Reading::Read(header) => assert!(header.data_at <= size),
        Reading::Broken(_) => {}
    }
    match formats::safetensors::read(bytes, Some(size)) {
        Reading::Needs(more) => panic!("{more} bytes of {size} are needed"),
        Reading::Read(header) => assert_eq!(header.data_at + header.data_bytes, size),
        Reading::Broken(_) => {}
    }
}

fn gguf(bytes: &[u8]) {
    let size = bytes.len() as u64;
    if let Reading::Needs(more) = formats::gguf::read(bytes, None) {
        assert!(more > size);
    }
    match formats::gguf::read(bytes, Some(size)) {
        Reading::Needs(more) => panic!("{more} bytes of {size} are needed"),
        Reading::Read(header) => assert!(header.tensors.is_empty() || header.data_at <= size),
        Reading::Broken(_) => {}
    }
}

/// As an expression, as what a card says, and as the text of a licence.
fn licence(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for read in [
        Licence::parse(&text).ok(),
        Licence::of_card(&text, Some("x")),
        Licence::of_card("other", Some(&text)),
    ] {
        let Some(read) = read else { continue };
        let again = Licence::parse(read.as_str()).expect("what is written can be read");
        assert_eq!(again, read);
        assert_eq!(read.and(&read), read.and(&again));
        read.tags();
    }
    licence::detect(&text);
}

/// As a condition of a draft that somebody has replayed, evaluated over facts of each kind.
fn when(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lists = &mut |name: &str| (name == "trusted").then(|| vec!["a*".to_owned()]);
    let Ok(expression) = Expression::read(&text, lists) else { return };
    let now = Timestamp::from_secs(1_795_392_000);
    let known = Facts::of(policy::Ecosystem::Hf, text.as_ref())
        .with(Fact::Size, u64::MAX)
        .with(Fact::Gated, true)
        .with(Fact::Cvss, 98)
        .with(Fact::Release, Timestamp(u64::MAX))
        .with(Fact::Project, now)
        .with(Fact::Licence, text.as_ref())
        .with(Fact::Tag, vec![String::new(), text.to_string()]);
    for facts in [known, Facts::of(policy::Ecosystem::PyPi, policy::fact::Value::Unknown)] {
        let mut turn = Turn::default();
        let outcome = expression.outcome(&facts, now, &mut turn);
        assert!(turn.0.is_none_or(|turn| turn > now), "what turns, turns later");
        expression.tell(&facts, outcome, now);
    }
}

fn inspect(bytes: &[u8]) {
    let whole = inspected(Nature::Data, bytes, bytes.len().max(1), Skips::Read);
    assert_eq!(inspected(Nature::Data, bytes, 7, Skips::Read), whole, "how it arrives matters");
    assert_eq!(inspected(Nature::Data, bytes, 64, Skips::Pass), whole, "what is skipped matters");
    inspected(Nature::Layer, bytes, 4096, Skips::Read);
}

fn chat_template(bytes: &[u8]) {
    let report = inspected(Nature::Template, bytes, 100, Skips::Read);
    assert!(report.globals.is_empty(), "a template imports nothing");
}

/// What becomes of bytes that nobody needs to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skips {
    Read,
    Pass,
}

/// Looks into a file that comes in pieces of this size. The bounds are low, so that what runs into one is seen, too.
fn inspected(nature: Nature, bytes: &[u8], piece: usize, skips: Skips) -> Report {
    static RULES: OnceLock<Arc<Rules>> = OnceLock::new();
    let rules = RULES.get_or_init(|| {
        let config = inspect::Config {
            mode: Mode::Warn,
            most_instructions: 10_000,
            most_inflated: ByteSize::mib(1),
            ..inspect::Config::default()
        };
        Arc::new(Rules::new(&config).expect("good settings").expect("it is on"))
    });
    let total = Some(bytes.len() as u64);
    let mut inspection = Inspection::new(rules, nature, total).expect("looked into");
    let mut at = 0;
    while at < bytes.len() {
        let skip = usize::try_from(inspection.skips()).unwrap_or(usize::MAX).min(bytes.len() - at);
        if skips == Skips::Pass && skip > 0 {
            inspection.pass(skip as u64);
            at += skip;
            continue;
        }
        let end = (at + piece).min(bytes.len());
        inspection.feed(&bytes[at..end]);
        at = end;
    }
    inspection.finish()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Mutations of each committed input.
    const MUTATIONS: usize = 100;

    /// What breaks parsers, to be put anywhere.
    const WORDS: [&[u8]; 12] = [
        b"\0",
        b"\xff\xff\xff\xff",
        b"\r\n",
        b"\"",
        b"\\",
        b"{",
        b"[",
        b"<",
        b"%2e",
        b"-1",
        b"18446744073709551616",
        b"\xc3\xa9",
    ];

    fn mutated(input: &[u8], dice: &mut fastrand::Rng) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..dice.usize(1..5) {
            let at = dice.usize(0..=bytes.len());
            match dice.u8(0..5) {
                0 => bytes.truncate(at),
                1 => drop(bytes.splice(at..at, WORDS[dice.usize(0..WORDS.len())].iter().copied())),
                2 if at < bytes.len() => bytes[at] ^= 1 << dice.u8(0..8),
                3 if at < bytes.len() => {
                    drop(bytes.drain(at..(at + dice.usize(1..9)).min(bytes.len())));
                }
                _ => {
                    let from = dice.usize(0..=at);
                    let piece = bytes[from..at].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        bytes
    }

    /// The short form of fuzzing. A target that fails names the input, in hexadecimal.
    #[test]
    fn no_input_breaks_a_parser() {
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
        for target in TARGETS {
            let folder = corpora.join(target.name);
            let mut files: Vec<_> = fs::read_dir(&folder)
                .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
                .map(|file| file.expect("it can be read").path())
                .collect();
            files.sort();
            assert!(!files.is_empty(), "{} has no corpus", target.name);
            let mut dice = fastrand::Rng::with_seed(1);
            for file in files {
                let input = fs::read(&file).expect("it can be read");
                let inputs = std::iter::once(input.clone())
                    .chain((0..MUTATIONS).map(|_| mutated(&input, &mut dice)));
                for input in inputs {
                    let result = std::panic::catch_unwind(|| (target.run)(&input));
                    assert!(result.is_ok(), "{} fails with {}", target.name, hex::encode(&input));
                }
            }
        }
    }
}
