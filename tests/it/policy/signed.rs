//! Models that somebody signed, under rules that look at that: what was signed passes, what was not is refused before a byte of it is fetched, and why is told.

use http::Method;
use serde_json::{Value, json};

use super::stand::{Stand, rule};
use crate::support::client::Reply;
use crate::support::hub::{FakeHub, File, Files, files};
use crate::support::larder::over_hub;
use crate::support::sigstore::Sigstore;
use crate::support::team::{Team, statement};

const ID: &str = "org/model";
const CONFIG: &str = "{}\n";
const WEIGHTS: &str = "weights that somebody signed";
const VOCABULARY: &str = "one\ntwo\n";

/// What nobody signs.
const LEFT_OUT: [&str; 2] = ["README.md", "model.sig"];

/// What the reference implementation signed, by key and by certificate.
const KEY: &str = include_str!("../../fixtures/signed_models/key.pem");
const BY_KEY: &str = include_str!("../../fixtures/signed_models/key.sig");
const BY_CERTIFICATE: &str = include_str!("../../fixtures/signed_models/certificate.sig");
const AUTHORITY: &str = include_str!("../../fixtures/signed_models/authority.pem");
const OVER_SHARDS: &str = include_str!("../../fixtures/signed_models/shards.sig");

/// The model of the fixtures, as a hub has it.
fn model(signature: &str) -> Files {
    files([
        ("config.json", File::plain(CONFIG)),
        ("model.safetensors", File::xet(WEIGHTS)),
        ("sub/vocab.txt", File::plain(VOCABULARY)),
        ("README.md", File::plain("Left out by whoever signed.\n")),
        (".gitattributes", File::plain("*.safetensors filter=lfs\n")),
        ("model.sig", File::plain(signature.to_owned())),
    ])
}

fn with(mut files: Files, path: &str, file: std::sync::Arc<File>) -> Files {
    files.insert(path.to_owned(), file);
    files
}

fn resolve(file: &str) -> String {
    format!("/{ID}/resolve/main/{file}")
}

/// A rule that lets pass only what is verified.
fn only_verified() -> String {
    format!("{}on_missing = \"hold\"\n", rule("deny", "attestation_verified = false"))
}

async fn stand(hub: &FakeHub, team: &Team, rules: &str) -> Stand {
    Stand::start(&over_hub(hub, &team.settings()), rules).await
}

fn passes(reply: &Reply, why: &str) {
    assert_eq!(reply.status, 200, "{why}: {reply:?}");
}

/// A refusal, with what `/-/why` says of the facts.
async fn refused(stand: &Stand, reply: &Reply, fault: &str, why: &str) -> Value {
    assert_eq!(reply.status, 403, "{why}: {reply:?}");
    let told = stand.why(reply.header("x-error-message")).await;
    let text = told.to_string();
    assert!(text.contains(fault), "{why}: {text}");
    told
}

async fn get(stand: &Stand, path: &str) -> Reply {
    stand.larder.get(&resolve(path)).await
}

/// Every file of a model passes by HEAD and GET, cold and kept, and so does what was left out: signed by the reference implementation with a key and with a certificate of its own
/// authority, and with a certificate of a Sigstore.
#[tokio::test]
async fn what_somebody_signed_who_is_believed_passes_cold_and_kept() {
    let (folder, sigstore) = (tempfile::tempdir(), Sigstore::new());
    let folder = folder.expect("a temporary folder can be made");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("the folder can be written");
        path
    };
    let keys = format!("[signature]\nkeys = {{ team = {:?} }}", file("team.pem", KEY));
    let authority = file("authority.pem", AUTHORITY);
    let authorities = format!("[signature]\nauthorities = [{authority:?}]");
    let signed = sigstore.bundle("ci@team.example", &statement(&model(""), &LEFT_OUT)).to_string();
    let ways = [
        (BY_KEY, keys, "key:team"),
        (BY_CERTIFICATE, authorities, "release@team.example"),
        (&signed, sigstore.settings(), "ci@team.example"),
    ];
    for (signature, settings, by) in ways {
        let hub = FakeHub::start().await;
        hub.model(ID, model(signature));
        let by = format!("signed_by_not_in = \"{by}\"");
        let rules = [only_verified(), rule("deny", &by).replace("it", "by")].concat();
        let mut stand = Stand::start(&over_hub(&hub, &settings), &rules).await;
        for is_kept in [false, true] {
            for path in model(signature).keys() {
                let why = format!("{by}: {path}, kept: {is_kept}");
                passes(&stand.head(&resolve(path)).await, &why);
                passes(&get(&stand, path).await, &why);
                if !is_kept {
                    stand.keep(&resolve(path)).await;
                }
            }
            hub.refuse().await;
            stand = stand.with(&rules).await;
        }
        let stand = stand.with(&rule("deny", "signed_by_not_in = \"key:other\"")).await;
        let reply = get(&stand, "config.json").await;
        assert_eq!(reply.status, 403, "{by}: {reply:?}");
    }
}

/// A large file that was changed is refused by what the tree says of it: the hub is never asked for its bytes.
#[tokio::test]
async fn what_was_changed_is_refused_before_a_byte_is_fetched() {
    let (hub, team) = (FakeHub::start().await, Team::new());
    let signature = team.sign(&model(""), &LEFT_OUT);
    let changed =
        with(model(&signature), "model.safetensors", File::xet("weights that nobody signed"));
    let changed = with(changed, "config.json", File::plain("{\"a\": 1}\n"));
    let changed = with(changed, "extra.bin", File::lfs("more"));
    hub.model(ID, changed);
    let stand = stand(&hub, &team, &only_verified()).await;
    let fault = "key:team signed it with the digest sha256:";
    for path in ["model.safetensors", "config.json"] {
        let head = stand.head(&resolve(path)).await;
        refused(&stand, &head, fault, path).await;
        let told = refused(&stand, &get(&stand, path).await, fault, path).await;
        assert!(told.to_string().contains("attestation_fault"), "{told}");
    }
    let unsigned = get(&stand, "extra.bin").await;
    refused(&stand, &unsigned, "key:team signed other files of its commit and not it", "extra")
        .await;
    passes(&get(&stand, "sub/vocab.txt").await, "what was not changed");
    let log = hub.journal();
    for path in ["model.safetensors", "extra.bin"] {
        let asked: Vec<&String> =
            log.iter().filter(|line| line.contains("/resolve/") && line.contains(path)).collect();
        assert!(asked.is_empty(), "{asked:?}");
    }
    assert_eq!(hub.sent_by_cdn(), 0, "no bytes of large files were sent");
}

/// Whatever is wrong with a signature is wrong with every file of the model, and each is told its reason.
#[tokio::test]
async fn a_signature_that_is_not_believed_vouches_for_nothing() {
    let (hub, team) = (FakeHub::start().await, Team::new());
    let whole = model("");
    let good = team.sign(&whole, &LEFT_OUT);
    let listed =
        |path: &str| json!({ "name": path, "digest": "a".repeat(64), "algorithm": "sha256" });
    let many: Vec<Value> =
        (0..100_000).map(|number| listed(&format!("folder/{number:0100}"))).collect();
    let stranger = Sigstore::new().bundle("ci@team.example", &statement(&whole, &LEFT_OUT));
    let kind = json!({ "_type": "https://in-toto.io/Statement/v1", "subject": [], "predicateType": "https://slsa.dev/provenance/v1" });
    let cases = [
        ("other key", Team::new().sign(&whole, &["README.md"]), "`signature.keys`"),
        ("other sigstore", stranger.to_string(), "is not verified"),
        ("cut", good[..good.len() / 2].to_owned(), "cannot be read"),
        ("kind", team.sign_statement(&kind), "of something else than a model"),
        ("shards", OVER_SHARDS.to_owned(), "`signature.keys`"),
        ("missing", team.sign(&with(whole.clone(), "gone.txt", File::plain("x")), &[]), "gone.txt"),
        ("huge", team.sign_list(many, &[]), "is larger than 16 MiB"),
    ];
    for (name, signature, fault) in cases {
        let id = format!("org/{}", name.replace(' ', "-"));
        hub.model(&id, model(&signature));
        let stand = stand(&hub, &team, &only_verified()).await;
        for path in ["model.safetensors", "config.json"] {
            let reply = stand.larder.get(&format!("/{id}/resolve/main/{path}")).await;
            refused(&stand, &reply, fault, name).await;
        }
    }
    let unsigned = {
        let mut files = model("");
        files.remove("model.sig");
        files
    };
    hub.model("org/unsigned", unsigned);
    let stand = stand(&hub, &team, &rule("deny", "attested = false")).await;
    let reply = stand.larder.get("/org/unsigned/resolve/main/config.json").await;
    refused(&stand, &reply, "attested", "unsigned").await;
}

/// Where the signature cannot be had just now, clients are told to come again; what was judged is served on in an outage.
#[tokio::test]
async fn an_outage_is_no_missing_signature() {
    let (hub, team) = (FakeHub::start().await, Team::new());
    hub.model(ID, model(&team.sign(&model(""), &LEFT_OUT)));
    let plain = stand(&hub, &team, "").await;
    plain.keep(&resolve("model.safetensors")).await;
    hub.refuse().await;
    let stand = plain.with(&only_verified()).await;
    let reply = get(&stand, "model.safetensors").await;
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(!reply.header("retry-after").is_empty(), "{reply:?}");
}

/// A model that was pulled with its signature before any rule looked at that is judged by what is kept, without the hub.
#[tokio::test]
async fn a_signature_that_was_pulled_tells_in_an_outage() {
    let (hub, team) = (FakeHub::start().await, Team::new());
    let signature = team.sign(&model(""), &LEFT_OUT);
    let changed = File::plain("nobody signed this\n");
    hub.model(ID, with(model(&signature), "sub/vocab.txt", changed));
    let plain = stand(&hub, &team, "").await;
    let tree = format!("/api/models/{ID}/tree/main?recursive=true");
    plain.keep(&tree).await;
    for path in ["model.safetensors", "config.json", "sub/vocab.txt", "model.sig"] {
        plain.keep(&resolve(path)).await;
    }
    hub.refuse().await;
    let stand = plain.with(&only_verified()).await;
    for path in ["model.safetensors", "config.json", "model.sig"] {
        passes(&get(&stand, path).await, path);
    }
    refused(&stand, &get(&stand, "sub/vocab.txt").await, "key:team signed it", "changed").await;
}

/// By git's own protocol for large files, and by Xet.
#[tokio::test]
async fn no_other_way_leads_around_it() {
    let (hub, team) = (FakeHub::start().await, Team::new());
    let signature = team.sign(&model(""), &LEFT_OUT);
    let other = "weights that nobody signed";
    hub.model(ID, with(model(&signature), "model.safetensors", File::xet(other)));
    let open = stand(&hub, &team, "").await;
    let hash = open.head(&resolve("model.safetensors")).await.header("x-xet-hash").to_owned();
    let token = open.larder.get(&format!("/api/models/{ID}/xet-read-token/main")).await;
    let bearer = format!("Bearer {}", token.header("x-xet-access-token"));
    let stand = open.with(&only_verified()).await;
    let address = stand.larder.url(&format!("/-/hf/xet/v2/reconstructions/{hash}"));
    let reply = stand.larder.client.get(address).with("authorization", &bearer).send().await;
    refused(&stand, &reply, "key:team signed it", "reconstruction").await;
    let batch = json!({
        "operation": "download", "transfers": ["basic"],
        "objects": [{ "oid": crate::support::index::sha256(other.as_bytes()), "size": other.len() }],
    });
    let address = stand.larder.url(&format!("/{ID}.git/info/lfs/objects/batch"));
    let asked = stand.larder.client.ask(Method::POST, address);
    let asked = asked.with("content-type", "application/vnd.git-lfs+json");
    let reply = asked.body(batch.to_string()).send().await;
    assert!(String::from_utf8_lossy(&reply.body).contains("by rule it"), "{reply:?}");
}
