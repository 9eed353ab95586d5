//! Secrets are planted everywhere that one may come from, and looked for everywhere that one might show: the log at its most talkative, metrics, errors, Larder's own
//! pages, what `larder config` prints, and every file of the data directory.

use std::fs;
use std::path::Path;
use std::process::Command;

use http::Method;

use crate::support::child::Process;
use crate::support::client::Client;
use crate::support::hub::{FakeHub, File, Kind, files};
use crate::support::index::{FakeIndex, Style, Upload};
use crate::support::origin::{Answer, Fault, Origin};
use crate::support::registry::{Door, FakeRegistry, Family, Image, Realm, Tokens, manifest_path};
use crate::support::wait::until;

/// Larder's own, from files.
const INDEX_PASSWORD: &str = "planted-index-password";
const HUB_TOKEN: &str = "hf_plantedhubtoken";
const REGISTRY_PASSWORD: &str = "planted-registry-password";
const ORIGIN_TOKEN: &str = "planted-origin-token";
const ACCESS_TOKEN: &str = "planted-access-token";
/// Clients'.
const CLIENT_TOKEN: &str = "hf_plantedclienttoken";
const CLIENT_PASSWORD: &str = "planted-client-password";
const COOKIE: &str = "planted-cookie";
const QUERY: &str = "planted-query-token";
/// Upstream's.
const SIGNATURE: &str = "planted-signature";
const SET_COOKIE: &str = "planted-set-cookie";

const ALL: [&str; 11] = [
    INDEX_PASSWORD,
    HUB_TOKEN,
    REGISTRY_PASSWORD,
    ORIGIN_TOKEN,
    ACCESS_TOKEN,
    CLIENT_TOKEN,
    CLIENT_PASSWORD,
    COOKIE,
    QUERY,
    SIGNATURE,
    SET_COOKIE,
];

/// The world outside, all of which asks for secrets.
struct World {
    index: FakeIndex,
    hub: FakeHub,
    registry: FakeRegistry,
    origin: Origin,
}

impl World {
    async fn new() -> Self {
        let index = FakeIndex::start(Style::Full).await;
        index.publish("six", [Upload::wheel("six", "1.0")]);
        index.require_basic("larder", INDEX_PASSWORD);
        let hub = FakeHub::start().await;
        for (id, user, token) in
            [("org/ours", "larder", HUB_TOKEN), ("org/theirs", "client", CLIENT_TOKEN)]
        {
            hub.model(
                id,
                files([
                    ("config.json", File::plain("{}")),
                    ("model.bin", File::xet("weights".repeat(9000))),
                ]),
            );
            hub.user(user, token);
            hub.make_private(Kind::Model, id, &[user]);
        }
        let registry = FakeRegistry::start().await;
        registry.behave(|manners| {
            manners.door = Door::Bearer(Tokens { realm: Realm::Beside, ..Tokens::default() });
        });
        registry.admit("larder", REGISTRY_PASSWORD);
        registry.publish("library/demo", "1.0", &Image::single(Family::Oci, 1));
        registry.restrict("library/demo", Some(&["larder"]));
        let location = format!("http://127.0.0.9:1/x?X-Amz-Signature={SIGNATURE}");
        let origin =
            Origin::start("127.0.0.1", move |request: &http::Request<bytes::Bytes>| match request
                .uri()
                .path()
            {
                "/redirect" => Answer::new(302).with("location", &location),
                "/refused" => Answer::new(403).of("no"),
                _ => Answer::new(200)
                    .with("set-cookie", SET_COOKIE)
                    .with("cache-control", "max-age=60")
                    .of("good"),
            })
            .await;
        Self { index, hub, registry, origin }
    }

    /// Writes the secrets down as an operator does, and gives the settings.
    fn settings(&self, folder: &Path) -> String {
        let plant = |name: &str, secret: &str| {
            let path = folder.join(name);
            fs::write(&path, secret).expect("the folder can be written");
            path
        };
        let origin = self.origin.url("/");
        format!(
            "[log]\nfilter = \"trace\"\n[access]\ntokens = [{{ name = \"ci\", file = {:?} }}]\n\
             [upstream]\nproxy = \"none\"\nretries = 0\n\
             [pypi.indexes.default]\nupstream = {:?}\nfile_hosts = [\"{}\"]\ngrant = [\"*\"]\n\
             credentials = {{ username = \"larder\", password_file = {:?} }}\n\
             [huggingface]\nupstream = {:?}\nhosts = [\"{}\", \"{}\"]\ndatasets_server = \"\"\nollama = \"\"\n\
             auth = \"service\"\ntoken_file = {:?}\ngrant = [\"ci\"]\n\
             [oci]\ndefault = \"hub.example\"\n[oci.registries.\"hub.example\"]\nupstream = {:?}\ntoken_hosts = [\"{}\"]\n\
             grant = [\"*\"]\ncredentials = {{ username = \"larder\", password_file = {:?} }}\n\
             [generic.ours]\nupstream = {origin:?}\nredirects = \"follow\"\ngrant = [\"*\"]\ncredentials = {{ token_file = {:?} }}\n\
             [generic.theirs]\nupstream = {origin:?}\nredirects = \"follow\"\n",
            plant("access", ACCESS_TOKEN),
            self.index.simple(),
            self.index.files.address.ip(),
            plant("index", INDEX_PASSWORD),
            self.hub.endpoint(),
            self.hub.cdn.address.ip(),
            self.hub.cas.address.ip(),
            plant("hub", HUB_TOKEN),
            self.registry.front.url(""),
            self.registry.tokens.address.ip(),
            plant("registry", REGISTRY_PASSWORD),
            plant("origin", ORIGIN_TOKEN),
        )
    }
}

/// Everything that clients got: heads and bodies of answers.
async fn traffic(larder: &Process, world: &World) -> String {
    let client = Client::new();
    let mut heard = String::new();
    let manifest = manifest_path("library/demo", "1.0");
    let paths = [
        "/simple/six/",
        "/simple/absent/",
        "/api/models/org/ours",
        "/org/ours/resolve/main/model.bin",
        "/api/models/org/ours/xet-read-token/main",
        "/org/theirs/resolve/main/model.bin",
        "/v2/library/absent/manifests/1.0",
        manifest.as_str(),
        "/generic/ours/good",
        "/generic/ours/redirect",
        "/generic/ours/refused",
        "/generic/theirs/good",
        "/generic/theirs/redirect",
        "/generic/theirs/refused",
        "/-/metrics",
        "/-/api/v1/status",
        "/-/api/v1/entries?prefix=hf:",
        "/-/api/v1/entries?prefix=pypi:",
        "/-/api/v1/entries?prefix=oci:",
        "/-/api/v1/fills",
        "/-/api/v1/pins",
        "/-/",
        "/nowhere",
    ];
    for round in 0..2 {
        for path in paths {
            let mark = if path.contains('?') { '&' } else { '?' };
            let query = format!("{path}{mark}token={QUERY}");
            let by_path = format!("/-/t/{ACCESS_TOKEN}{path}");
            let by_wrong = format!("/-/t/{CLIENT_PASSWORD}{path}");
            for (target, authorization) in [
                (path, format!("Bearer {ACCESS_TOKEN}")),
                (query.as_str(), format!("Bearer {ACCESS_TOKEN}")),
                (path, format!("Bearer {CLIENT_TOKEN}")),
                (path, format!("Basic {CLIENT_PASSWORD}")),
                (by_path.as_str(), format!("Bearer {CLIENT_TOKEN}")),
                (by_wrong.as_str(), String::new()),
            ] {
                for method in [Method::GET, Method::HEAD, Method::POST] {
                    let ask = client.ask(method, larder.url(target)).with("cookie", COOKIE);
                    let ask = if authorization.is_empty() {
                        ask
                    } else {
                        ask.with("authorization", &authorization)
                    };
                    let reply = ask.send().await;
                    // Links go back to the client by the way that it came: its own prefix is no news to it.
                    let told = format!("{:?} {}\n", reply.headers, reply.text());
                    let is_own = path == "/generic/theirs/good" || path == "/generic/ours/good";
                    let told = told.replace(&format!("/-/t/{ACCESS_TOKEN}"), "");
                    heard.push_str(&if is_own { told.replace(SET_COOKIE, "") } else { told });
                }
            }
        }
        if round == 0 {
            for origin in [&world.index.pages, &world.hub.hub, &world.registry.front, &world.origin]
            {
                origin.fault("*", Fault::status(500));
            }
        }
    }
    heard
}

fn assert_none(place: &str, bytes: &[u8], secrets: &[&str]) {
    for secret in secrets {
        let Some(at) = memchr::memmem::find(bytes, secret.as_bytes()) else { continue };
        let (start, end) = (at.saturating_sub(200), (at + 100).min(bytes.len()));
        panic!("{secret} in {place}: {}", String::from_utf8_lossy(&bytes[start..end]));
    }
}

fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let paths = fs::read_dir(folder)
        .expect("it can be read")
        .map(|entry| entry.expect("it is there").path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn no_secret_shows() {
    let world = World::new().await;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let secrets = tempfile::tempdir().expect("a temporary folder can be made");
    let settings = world.settings(secrets.path());
    let larder = Process::start(folder.path(), &settings);
    let heard = traffic(&larder, &world).await;
    assert_none("answers", heard.as_bytes(), &ALL);
    // What was shown upstream is what was planted: the test would prove nothing if nothing had been used.
    for (origin, secret) in
        [(&world.hub.hub, HUB_TOKEN), (&world.origin, CLIENT_TOKEN), (&world.origin, ORIGIN_TOKEN)]
    {
        let used =
            origin.log().iter().any(|logged| format!("{:?}", logged.headers).contains(secret));
        assert!(used, "{secret} was not used");
    }
    let log = folder.path().join("log");
    until("the log is written", || fs::read(&log).is_ok_and(|text| text.len() > 10_000)).await;
    larder.kill();
    assert_none("the log", &fs::read(&log).expect("it is there"), &ALL);
    // The address of what was asked for is what it is kept by, query and all; the file is its owner's alone.
    let kept: Vec<&str> =
        ALL.into_iter().filter(|secret| *secret != QUERY && *secret != SET_COOKIE).collect();
    for file in files_below(&folder.path().join("data")) {
        assert_none(&file.display().to_string(), &fs::read(&file).expect("it can be read"), &kept);
    }
    let printed = Command::new(env!("CARGO_BIN_EXE_larder"))
        .args(["config", "--config"])
        .arg(folder.path().join("larder.toml"))
        .output()
        .expect("it runs");
    assert!(printed.status.success(), "{printed:?}");
    assert_none("larder config", &printed.stdout, &ALL);
}

/// A secret written where none belongs is refused without being repeated.
#[test]
fn secrets_in_addresses_are_refused_and_not_repeated() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for (section, key) in [
        ("pypi.indexes.default", "upstream"),
        ("huggingface", "upstream"),
        ("huggingface", "datasets_server"),
        ("huggingface", "ollama"),
        ("oci.registries.\"hub.example\"", "upstream"),
        ("generic.it", "upstream"),
        ("upstream", "proxy"),
    ] {
        let file = folder.path().join("larder.toml");
        let settings =
            format!("[{section}]\n{key} = \"https://user:{INDEX_PASSWORD}@host.example/\"\n");
        fs::write(&file, settings).expect("the folder can be written");
        let command = |name: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
            command.args([name, "--config"]).arg(&file);
            command
        };
        let printed = command("config").output().expect("it runs");
        assert_none(section, &[printed.stdout, printed.stderr].concat(), &ALL);
        if section == "upstream" {
            // A proxy's password has no other place.
            continue;
        }
        let mut serve = command("serve");
        serve.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path().join("data"));
        let started = serve.output().expect("it runs");
        assert!(!started.status.success(), "{section}.{key} is taken");
        assert_none(section, &[started.stdout, started.stderr].concat(), &ALL);
    }
}
