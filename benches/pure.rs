//! What the pure parts cost: reading what upstream says, planning a request for it, rendering it; ranges, conditions, and the arithmetic of Xet.
//!
//! `cargo bench --bench pure [-- NAME]`. Criterion compares each figure with that of the run before. A request is walked as `proxy` does it, by the public
//! `Ecosystem`, with a scripted upstream in place of the cache: `merge` is what one answer of upstream costs, `read` what a kept document costs after a
//! start, `plan` all that is decided for a request whose documents are in memory, `render` the page that is made of them.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use larder::cache::failure::Failure;
use larder::cache::lookup::{Document, Fresh, Parsed};
use larder::config::{Config, Flags, Loaded, Sources};
use larder::ecosystem::huggingface::Hub;
use larder::ecosystem::huggingface::xet::reconstruction::{self, File, Version};
use larder::ecosystem::oci::Registries;
use larder::ecosystem::origin::SecretSource;
use larder::ecosystem::pypi::{Index, IndexConfig};
use larder::ecosystem::{Ask, Ecosystem, Held, Plan, Serve, Standing, Step, View};
use larder::inspect::{self, Inspection, Nature, Rules};
use larder::policy::{self, Fact, Facts, Point, Ruleset};
use larder::semantics::conditional::{self, Validators};
use larder::semantics::range;
use larder::types::{Algorithm, Digest, Head, Presence, Secret, Signer, Timestamp};
use serde_json::{Value, json};

#[expect(dead_code, reason = "the samples are for tests, too")]
#[path = "../src/inspect/samples.rs"]
mod samples;

/// 23 November 2026.
const NOW: Timestamp = Timestamp::from_secs(1_795_392_000);
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const SIMPLE_JSON: &str = "application/vnd.pypi.simple.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

criterion_group!(
    benches,
    pages,
    manifests,
    trees,
    requests,
    reconstructions,
    inspections,
    policies
);
criterion_main!(benches);

/// An upstream that answers every request alike, but for the tree of a commit.
struct Upstream {
    content_type: &'static str,
    body: Bytes,
    tree: Bytes,
}

impl Upstream {
    fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { content_type, body: body.into(), tree: Bytes::new() }
    }

    /// What becomes of the answer to a document's first request; nothing, if it is not to be fetched.
    fn merge(&self, document: &Document) -> Option<(Bytes, Parsed)> {
        let request = document.lookup.origins.first()?;
        let mut head = Head::new(StatusCode::OK);
        let content_type = HeaderValue::from_static(self.content_type);
        head.headers.insert(header::CONTENT_TYPE, content_type);
        head.headers.insert("x-repo-commit", HeaderValue::from_static(COMMIT));
        let is_tree = request.url.path().contains("/tree/");
        let body = if is_tree { &self.tree } else { &self.body };
        let fresh = Fresh { origin: 0, url: &request.url, head: &head, body, rest: &[], now: NOW };
        let kept = document.keep.merge(None, &fresh).expect("a good answer");
        Some((kept.bytes, kept.parsed))
    }

    fn held(&self, document: &Document) -> Option<Held> {
        let (_, parsed) = self.merge(document)?;
        Some(Held { parsed, version: 1, standing: standing() })
    }
}

/// A request's way to what is served with nothing kept, and the documents that it brought, in order.
struct Walk {
    plan: Plan,
    documents: Vec<(Document, Held)>,
}

impl Walk {
    fn of(ecosystem: &dyn Ecosystem, ask: &Ask, upstream: &Upstream) -> Self {
        let mut documents = Vec::new();
        let plan = walk(ecosystem.plan(ask), &mut |document| {
            let held = upstream.held(document)?;
            documents.push((document.clone(), held.clone()));
            Some(held)
        });
        Self { plan, documents }
    }

    /// What the cache has of it by now.
    fn kept(&self, document: &Document) -> Option<Held> {
        let mut kept = self.documents.iter();
        let (_, held) = kept.find(|(kept, _)| kept.lookup.key == document.lookup.key)?;
        Some(held.clone())
    }
}

/// Goes on until something is served; `hold` stands in for the cache.
fn walk(mut step: Step, hold: &mut dyn FnMut(&Document) -> Option<Held>) -> Plan {
    loop {
        step = match step {
            Step::Need { documents, then } => {
                let held = documents.iter().map(|document| hold(document).ok_or(Failure::NotKept));
                then(held.collect())
            }
            Step::Serve(plan) => return *plan,
            Step::Reply(reply) => panic!("{} {:?}", reply.status, reply.body),
            _ => panic!("a step of another kind"),
        };
    }
}

fn standing() -> Standing {
    let fresh_until = NOW.plus(Duration::from_secs(600));
    Standing { validated: NOW, fresh_until, presence: Presence::Present, offline: false }
}

fn ask(prefix: &str, path: &str, query: Option<&str>, accept: &'static str) -> Ask {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
    Ask {
        method: Method::GET,
        path: path.to_owned(),
        query: query.map(str::to_owned),
        headers,
        prefix: prefix.to_owned(),
        base: "http://larder.example".to_owned(),
        credential: None,
        client: None,
        address: std::net::IpAddr::from([127, 0, 0, 1]),
        now: NOW,
        rules: Arc::default(),
        as_of: None,
    }
}

/// The default configuration: nothing here is asked, so that its addresses do not matter.
fn config() -> Config {
    let sources = Sources { file: None, environment: BTreeMap::new(), flags: Flags::default() };
    Loaded::read(&sources).expect("the defaults are in order").config
}

fn no_secret(_: &SecretSource) -> Result<Secret, String> {
    Err("there are no secrets here".to_owned())
}

fn index() -> Index {
    let settings = "upstream = \"https://index.example/simple/\"\nfile_hosts = [\"files.example\"]";
    let config: IndexConfig = toml::from_str(settings).expect("settings");
    Index::new(config.resolve("default", no_secret).expect("an index"))
}

fn registries() -> Registries {
    let settings = config().oci.resolve(no_secret);
    let settings = settings.expect("registries").expect("some");
    Registries::new(settings, Signer::new([7; 32]))
}

fn hub() -> Hub {
    let settings = config().huggingface.resolve(no_secret).expect("a hub");
    Hub::new(settings, Signer::new([7; 32]))
}

fn digest_of(number: usize) -> String {
    format!("{:064x}", (number as u128 + 1) * 0x9e37_79b9_7f4a_7c15_f39c)
}

/// A project's page in JSON with so many files.
fn json_page(files: usize) -> String {
    let file = |number: usize| {
        let name = file_name(number);
        json!({
            "filename": name, "url": format!("https://files.example/packages/{number}/{name}"),
            "hashes": { "sha256": digest_of(number) }, "size": 1_000_000 + number, "requires-python": ">=3.9",
            "upload-time": "2026-01-02T03:04:05.678901Z", "yanked": false, "core-metadata": false,
        })
    };
    let files: Vec<Value> = (0..files).map(file).collect();
    json!({ "meta": { "api-version": "1.1" }, "name": "demo", "versions": ["1.0"], "files": files })
        .to_string()
}

fn html_page(files: usize) -> String {
    let line = |number: usize| {
        let (name, digest) = (file_name(number), digest_of(number));
        format!(
            "<a href=\"https://files.example/packages/{number}/{name}#sha256={digest}\" data-requires-python=\"&gt;=3.9\">{name}</a><br/>\n"
        )
    };
    let lines: String = (0..files).map(line).collect();
    format!(
        "<!DOCTYPE html>\n<html><head><title>Links for demo</title></head><body><h1>Links for demo</h1>\n{lines}</body></html>\n"
    )
}

fn file_name(number: usize) -> String {
    format!("demo-1.{}.{}-cp312-cp312-manylinux_2_28_x86_64.whl", number / 8, number % 8)
}

/// Project pages, small and very large.
fn pages(criterion: &mut Criterion) {
    let index = index();
    for files in [50, 8000] {
        for (form, content_type, page) in
            [("JSON", SIMPLE_JSON, json_page(files)), ("HTML", "text/html", html_page(files))]
        {
            let mut group = criterion.benchmark_group(format!("page of {files} files, {form}"));
            group.throughput(Throughput::Bytes(page.len() as u64));
            let upstream = Upstream::new(content_type, page);
            let ask = ask("/simple/", "simple/demo/", None, content_type);
            let walked = Walk::of(&index, &ask, &upstream);
            let Serve::Document { document, render } = &walked.plan.serve else {
                panic!("no document")
            };
            let (bytes, parsed) = upstream.merge(document).expect("a page can be fetched");
            time(&mut group, "merge", || upstream.merge(black_box(document)));
            time(&mut group, "read", || document.keep.read(black_box(&bytes)));
            let view = View {
                document: &parsed,
                standing: standing(),
                now: NOW,
                is_kept: &|_| false,
                note: &|_| (),
            };
            time(&mut group, "render", || render.render(black_box(&view)));
            // What a request for a file costs: the page that must list it is in memory.
            let path =
                format!("files/files.example/packages/{0}/{1}", files - 1, file_name(files - 1));
            let file = self::ask("/pypi/default/", &path, None, "*/*");
            let held = || Held { parsed: parsed.clone(), version: 1, standing: standing() };
            time(&mut group, "plan of its last file", || {
                walk(index.plan(black_box(&file)), &mut |_| Some(held()))
            });
            group.finish();
        }
    }
}

/// A manifest of an image with many layers.
fn manifests(criterion: &mut Criterion) {
    let layer = |number: usize| json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": format!("sha256:{}", digest_of(number)), "size": 1000 });
    let layers: Vec<Value> = (0..100).map(layer).collect();
    let body = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": format!("sha256:{}", digest_of(100)), "size": 2 },
        "layers": layers,
    });
    let body = Bytes::from(body.to_string());
    let path = format!("v2/library/demo/manifests/{}", larder::types::BlobId::of(&body).digest());
    documents(
        criterion,
        "manifest of 100 layers",
        &registries(),
        &ask("/v2/", &path, None, OCI_MANIFEST),
        &Upstream::new(OCI_MANIFEST, body),
    );
}

/// The list of a commit's files.
fn trees(criterion: &mut Criterion) {
    for files in [100, 100_000] {
        let entry = |number: usize| json!({ "type": "file", "oid": &digest_of(number)[..40], "size": 1000 + number, "path": format!("data/part-{number:06}.json") });
        let tree: Vec<Value> = (0..files).map(entry).collect();
        let info = json!({ "id": "org/demo", "sha": COMMIT, "private": false, "gated": false, "siblings": [] });
        let mut upstream = Upstream::new("application/json", info.to_string());
        upstream.tree = Bytes::from(Value::from(tree).to_string());
        let path = format!("api/models/org/demo/tree/{COMMIT}");
        documents(
            criterion,
            &format!("list of {files} files"),
            &hub(),
            &ask("/", &path, Some("recursive=true"), "*/*"),
            &upstream,
        );
    }
}

/// Merging and reading of each document that a request needs, and its plan with all of them at hand.
fn documents(
    criterion: &mut Criterion,
    name: &str,
    ecosystem: &dyn Ecosystem,
    ask: &Ask,
    upstream: &Upstream,
) {
    let walked = Walk::of(ecosystem, ask, upstream);
    let mut group = criterion.benchmark_group(name);
    for (number, (document, _)) in walked.documents.iter().enumerate() {
        let (bytes, _) = upstream.merge(document).expect("it was fetched before");
        time(&mut group, &format!("merge {number}"), || upstream.merge(black_box(document)));
        time(&mut group, &format!("read {number}"), || document.keep.read(black_box(&bytes)));
    }
    group.bench_function("plan", |bencher| {
        bencher
            .iter(|| walk(ecosystem.plan(black_box(ask)), &mut |document| walked.kept(document)));
    });
    group.finish();
}

/// One figure of a group.
fn time<T>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut work: impl FnMut() -> T) {
    group.bench_function(name, |bencher| bencher.iter(&mut work));
}

/// Ranges and preconditions of a request.
fn requests(criterion: &mut Criterion) {
    let fields = |name: header::HeaderName, value: &'static str| {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    };
    for (name, value) in [
        ("one", "bytes=1000-1999"),
        ("suffix", "bytes=-65536"),
        ("eight", "bytes=0-1,10-11,20-21,30-31,40-41,50-51,60-61,-2"),
    ] {
        let headers = fields(header::RANGE, value);
        criterion.bench_function(&format!("range/{name}"), |bencher| {
            bencher.iter(|| {
                range::select(range::parse(black_box(&headers)).as_deref(), 1_000_000_000)
            });
        });
    }
    let validators = Validators { etag: Some("\"0123456789abcdef\""), last_modified: Some(NOW) };
    let matching = fields(header::IF_NONE_MATCH, "\"fedcba9876543210\", W/\"0123456789abcdef\"");
    let dated = fields(header::IF_MODIFIED_SINCE, "Mon, 23 Nov 2026 00:00:00 GMT");
    for (name, headers) in [("if-none-match", matching), ("if-modified-since", dated)] {
        criterion.bench_function(&format!("condition/{name}"), |bencher| {
            bencher.iter(|| conditional::evaluate(&Method::GET, black_box(&headers), validators));
        });
    }
}

/// How a large file is made of xorbs, as clients ask for it.
fn reconstructions(criterion: &mut Criterion) {
    let digest = Digest::new(Algorithm::Sha256, &[7; 32]).expect("32 bytes");
    for (name, size) in [("100 MB", 100_000_000), ("60 GB", 60_000_000_000)] {
        let file = File { digest: &digest, size };
        criterion.bench_function(&format!("reconstruction of {name}"), |bencher| {
            let address = |xorb: u64| format!("http://larder.example/-/xorb/{xorb}");
            bencher.iter(|| reconstruction::json(Version::V2, black_box(file), 0..size, address));
        });
    }
}

/// Judging with 200 rules, none of which refuses: what every request costs that is planned anew.
fn policies(criterion: &mut Criterion) {
    let conditions = [
        "release_age_lt = \"7 days\", downloads_lt = 1000",
        "name_in = [\"bad-*\", \"worse*\", \"evil\"]",
        "license_not_in = [\"MIT\", \"Apache-2.0\", \"BSD-*\", \"ISC\", \"MPL-2.0\"]",
        "yanked = true, newer_version = true",
        "format_in = \"pickle\", publisher_not_in = [\"org\", \"other\"]",
        "size_gte = \"50 GB\"",
        "file_in = [\"*.exe\", \"*setup*.py\", \"*.msi\"]",
        "base_model_in = \"base/*\", dataset_in = \"data/*\"",
    ];
    let rule = |number: usize| {
        let condition = conditions[number % conditions.len()];
        format!("[[rule]]\nid = \"rule-{number}\"\ndeny_if = {{ {condition} }}\n")
    };
    let text: String = (0..200).map(rule).collect();
    let file = policy::file::read(&text).expect("good rules");
    let rules = Ruleset::new(policy::Config::default(), file, Vec::new(), [&text, ""]);
    let package = Facts::of(policy::Ecosystem::PyPi, "six")
        .with(Fact::Version, "1.17.0")
        .with(Fact::File, "six-1.17.0-py2.py3-none-any.whl")
        .with(Fact::Size, 11_050)
        .with(Fact::Format, "wheel")
        .with(Fact::Yanked, false)
        .with(Fact::Licence, "MIT OR Apache-2.0")
        .with(Fact::Release, NOW.minus(Duration::from_secs(400 * 86_400)));
    let model = Facts::of(policy::Ecosystem::Hf, "org/model")
        .with(Fact::Version, COMMIT)
        .with(Fact::File, "model-00001-of-00030.safetensors")
        .with(Fact::Publisher, "org")
        .with(Fact::Size, 5_000_000_000)
        .with(Fact::Format, "safetensors")
        .with(Fact::Licence, "Apache-2.0")
        .with(Fact::Downloads, 70_000)
        .with(Fact::Release, NOW.minus(Duration::from_secs(400 * 86_400)));
    let mut group = criterion.benchmark_group("policy, 200 rules");
    for (name, facts) in [("package", package), ("model", model)] {
        group.bench_function(format!("judge/{name}"), |bencher| {
            bencher.iter(|| rules.judge(black_box(&facts), Point::Content, NOW));
        });
    }
    group.finish();
}

/// Looking into files as they come, in the pieces that transfers have.
fn inspections(criterion: &mut Criterion) {
    const PIECE: usize = 256 << 10;
    let rules = Rules::new(&inspect::Config::default()).expect("good settings").expect("on");
    let rules = Arc::new(rules);
    let tensors = 64 << 20;
    let dense = samples::pickle(&[b"](", &b"K\x01K\x02\x86q\x05".repeat(1 << 20), b"e"]);
    let files = [
        ("torch, 64 MiB of tensors", samples::torch(&samples::state_dict(16), 16, tensors / 16)),
        ("safetensors, 64 MiB", samples::safetensors(tensors)),
        (
            "GGUF, 64 MiB",
            [samples::gguf(samples::GOOD_TEMPLATE), samples::noise(tensors, 1)].concat(),
        ),
        ("data.pkl of 2000 tensors", samples::state_dict(2000)),
        ("pickle of 4 million instructions", dense),
        ("noise, 64 MiB", samples::noise(tensors, 3)),
    ];
    let mut group = criterion.benchmark_group("inspect");
    for (name, file) in files {
        group.throughput(Throughput::Bytes(file.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let total = Some(file.len() as u64);
                let mut inspection =
                    Inspection::new(&rules, Nature::Data, total).expect("looked into");
                for piece in black_box(&file).chunks(PIECE) {
                    inspection.feed(piece);
                }
                let report = inspection.finish();
                assert!(report.findings.is_empty(), "{report:?}");
            });
        });
    }
    group.finish();
}
