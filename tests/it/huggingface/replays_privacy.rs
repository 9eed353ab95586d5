//! A private repository is invisible to whoever has no right to it: routes x audiences x states of the hub, cold and after somebody with rights
//! has had everything. Invisible means: no byte and no name of it, and the answer is the one for a repository that never was.

use http::Method;
use serde_json::json;

use super::clients::{Sequence, Session, Wanted};
use crate::support::client::Reply;
use crate::support::hub::{FakeHub, File, Files, Kind, World, files};
use crate::support::larder::{HUB_NAME, Larder, over_hub};
use crate::support::origin::Pattern;

const SECRET: &str = "org/secret";
/// As long as the secret one's name, and nowhere.
const NOWHERE: &str = "org/nobody";
const NOTES: &str = "the treasure is under the third palm";

/// The one with rights, the one without, one whose token is nobody's, and nobody.
const ALICE: &str = "hf_alice";
const AUDIENCES: [&str; 3] = ["hf_bob", "hf_revoked", ""];

fn secrets() -> Files {
    files([
        ("notes.txt", File::plain(NOTES)),
        ("weights.Q4_K_M.gguf", File::xet(Pattern::new(77, 90_000))),
        ("old.bin", File::lfs(Pattern::new(78, 5_000))),
    ])
}

/// A request by method, path and body; `ID` stands for the repository.
struct Route {
    method: Method,
    path: String,
    host: Option<&'static str>,
    kind: &'static str,
    body: String,
}

fn routes(sha: &str) -> Vec<Route> {
    let weights = &secrets()["weights.Q4_K_M.gguf"];
    let get = |path: String| Route {
        method: Method::GET,
        path,
        host: None,
        kind: "",
        body: String::new(),
    };
    let mut routes: Vec<Route> = [
        "/ID/resolve/main/notes.txt".to_owned(),
        "/ID/resolve/main/weights.Q4_K_M.gguf".to_owned(),
        "/ID/resolve/main/none.txt".to_owned(),
        format!("/ID/resolve/{sha}/notes.txt"),
        format!("/ID/resolve/{sha}/weights.Q4_K_M.gguf"),
        "/ID/raw/main/notes.txt".to_owned(),
        "/ID/raw/main/old.bin".to_owned(),
        format!("/api/resolve-cache/models/ID/{sha}/notes.txt?etag=%22x%22"),
        "/api/models/ID".to_owned(),
        "/api/models/ID?blobs=true".to_owned(),
        "/api/models/ID?expand=sha".to_owned(),
        "/api/models/ID/revision/main".to_owned(),
        format!("/api/models/ID/revision/{sha}"),
        "/api/models/ID/tree/main".to_owned(),
        format!("/api/models/ID/tree/{sha}?recursive=true&expand=false"),
        "/api/models/ID/refs".to_owned(),
        "/api/models/ID/commits/main".to_owned(),
        "/api/models/ID/auth-check".to_owned(),
        format!("/api/models/ID/xet-read-token/{sha}"),
        "/api/models/ID/xet-read-token/main".to_owned(),
        "/api/models/ID/xet-write-token/main".to_owned(),
        "/api/models/ID/discussions".to_owned(),
        "/-/hf/record/models/ID?revision=main".to_owned(),
        "/-/api/v1/models/ID@main".to_owned(),
        "/-/api/v1/models/ID@main?fetch=true".to_owned(),
        "/-/api/v1/bom/ID@main".to_owned(),
        "/ID".to_owned(),
        "/ID.git/info/refs?service=git-upload-pack".to_owned(),
    ]
    .map(get)
    .into();
    let heads = ["/ID/resolve/main/notes.txt", "/ID/resolve/main/weights.Q4_K_M.gguf"];
    routes.extend(heads.map(|path| Route { method: Method::HEAD, ..get(path.to_owned()) }));
    routes.extend(
        ["manifests/latest", "manifests/Q4_K_M"]
            .map(|rest| Route { host: Some(HUB_NAME), ..get(format!("/v2/ID/{rest}")) }),
    );
    routes.push(Route {
        host: Some(HUB_NAME),
        ..get(format!("/v2/ID/blobs/sha256:{}", weights.sha256))
    });
    let post = |path: &str, kind: &'static str, body: String| Route {
        method: Method::POST,
        path: path.to_owned(),
        host: None,
        kind,
        body,
    };
    let form = "application/x-www-form-urlencoded";
    routes.push(post(
        "/api/models/ID/paths-info/main",
        form,
        "paths=notes.txt&expand=False".to_owned(),
    ));
    let paths = json!({ "paths": ["notes.txt"], "expand": true }).to_string();
    routes.push(post("/api/models/ID/paths-info/main", "application/json", paths));
    let batch = json!({
        "operation": "download", "transfers": ["basic"],
        "objects": [{ "oid": weights.sha256, "size": weights.size }],
    });
    let lfs = "application/vnd.git-lfs+json";
    routes.push(post("/ID.git/info/lfs/objects/batch", lfs, batch.to_string()));
    routes
}

async fn ask(larder: &Larder, route: &Route, id: &str, token: &str) -> Reply {
    let url = larder.url(&route.path.replace("ID", id));
    let mut ask = larder.client.ask(route.method.clone(), url).body(route.body.clone());
    if !token.is_empty() {
        ask = ask.with("authorization", &format!("Bearer {token}"));
    }
    if let Some(host) = route.host {
        ask = ask.with("host", host);
    }
    if !route.kind.is_empty() {
        ask = ask.with("content-type", route.kind).with("accept", route.kind);
    }
    ask.send().await
}

/// What of an answer a client can tell repositories apart by. An outage is one, whatever stands in the way of the hub just now.
fn seen(reply: &Reply, id: &str) -> String {
    let of = |name: &str| reply.header(name).replace(id, "ID");
    if reply.status.is_server_error() && of("x-error-code").is_empty() {
        return "outage".to_owned();
    }
    const FIELDS: [&str; 7] = [
        "x-error-code",
        "x-error-message",
        "content-type",
        "location",
        "etag",
        "link",
        "cache-control",
    ];
    let fields = FIELDS.map(|name| format!("{name}: {}", of(name)));
    format!("{} {} {}", reply.status, fields.join(" | "), reply.text().replace(id, "ID"))
}

/// Texts that only somebody with rights may be shown.
fn secret_texts(sha: &str) -> Vec<String> {
    let mut texts = vec![sha.to_owned(), NOTES.to_owned(), "weights.Q4_K_M.gguf\",".to_owned()];
    for file in secrets().values() {
        texts.extend([file.sha256.clone(), file.xet.clone(), file.oid.clone()]);
    }
    texts
}

/// A hub with a private repository and a public one, and a Larder over it.
async fn stand(more: &str) -> (FakeHub, Larder, String) {
    let hub = FakeHub::start().await;
    hub.user("alice", ALICE);
    hub.user("bob", "hf_bob");
    let sha = hub.model(SECRET, secrets());
    hub.make_private(Kind::Model, SECRET, &["alice"]);
    hub.model("org/public", files([("a.txt", File::plain("a")), ("w.bin", File::xet("weights"))]));
    let larder = Larder::start(&over_hub(&hub, more)).await;
    (hub, larder, sha)
}

/// The faults of every route for every audience without rights.
async fn leaks(larder: &Larder, sha: &str, when: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let texts = secret_texts(sha);
    for route in routes(sha) {
        for token in AUDIENCES {
            let name = format!("{when}: {} {} as {token:?}", route.method, route.path);
            let reply = ask(larder, &route, SECRET, token).await;
            if reply.status.is_success() || reply.status.is_redirection() {
                faults.push(format!("{name}: {}", reply.status));
            }
            let asked_for = format!("{} {}", route.path, route.body);
            let told = format!("{:?} {}", reply.headers, reply.text());
            let leaked =
                texts.iter().find(|text| told.contains(*text) && !asked_for.contains(*text));
            faults.extend(leaked.map(|text| format!("{name}: tells {text}")));
            let nowhere = ask(larder, &route, NOWHERE, token).await;
            let (secret, nowhere) = (seen(&reply, SECRET), seen(&nowhere, NOWHERE));
            if secret != nowhere {
                faults.push(format!("{name}: exists\n    {secret}\n    {nowhere}"));
            }
        }
    }
    faults
}

/// Everything once by the one who may; answers what did not work.
async fn read_by_alice(larder: &Larder, sha: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for route in routes(sha) {
        let reply = ask(larder, &route, SECRET, ALICE).await;
        let is_refused_to_all = ["none.txt", "xet-write-token", "discussions"]
            .iter()
            .any(|part| route.path.contains(part));
        if !reply.status.is_success() && !is_refused_to_all {
            faults.push(format!("{} {}: {reply:?}", route.method, route.path));
        }
    }
    faults
}

/// The same questions about what is nowhere. That somebody has asked for a name is told apart neither.
async fn search_for_nothing(larder: &Larder, sha: &str) {
    for route in routes(sha) {
        ask(larder, &route, NOWHERE, ALICE).await;
    }
}

fn wanted() -> Wanted {
    let (kind, id, revision) = (Kind::Model, SECRET.to_owned(), "main".to_owned());
    Wanted { kind, id, revision, pointers: std::collections::BTreeMap::new() }
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[tokio::test]
async fn the_one_with_rights_gets_everything() {
    let (_hub, larder, sha) = stand("").await;
    assert_none(&read_by_alice(&larder, &sha).await);
    for sequence in [Sequence::Siblings, Sequence::Tree, Sequence::Xet, Sequence::FirstByte] {
        let session = Session::new(&larder.url("")).with_token(ALICE);
        let got = session.run(sequence, &wanted()).await;
        let got = got.unwrap_or_else(|told| panic!("{sequence:?}: {told}"));
        assert_eq!(got["notes.txt"], secrets()["notes.txt"].sha256, "{sequence:?}");
        assert_eq!(got.len(), 3, "{sequence:?}");
    }
}

async fn table(world: World) {
    let (hub, larder, sha) = stand("").await;
    let mut faults = Vec::new();
    if world == World::Up {
        faults.extend(leaks(&larder, &sha, "cold").await);
    }
    faults.extend(read_by_alice(&larder, &sha).await);
    search_for_nothing(&larder, &sha).await;
    hub.turn(world, Kind::Model, "org/public", Files::new()).await;
    faults.extend(leaks(&larder, &sha, "warm").await);
    larder.advance(3600);
    faults.extend(leaks(&larder, &sha, "stale").await);
    let larder = larder.restart().await;
    faults.extend(leaks(&larder, &sha, "restarted").await);
    assert_none(&faults);
}

#[tokio::test]
async fn nothing_is_seen_while_the_hub_is_up() {
    table(World::Up).await;
}

#[tokio::test]
async fn nothing_is_seen_while_the_hub_refuses_connections() {
    table(World::Refused).await;
}

#[tokio::test]
async fn nothing_is_seen_while_the_hub_is_silent() {
    table(World::BlackHoled).await;
}

#[tokio::test]
async fn nothing_is_seen_while_the_hub_answers_503() {
    table(World::Unavailable).await;
}

#[tokio::test]
async fn nothing_is_seen_while_the_hub_answers_429() {
    table(World::RateLimited).await;
}

/// Without an offline grant rights end when the hub cannot confirm them: for the one who has them, too.
#[tokio::test]
async fn rights_that_cannot_be_confirmed_are_none() {
    for world in [World::Refused, World::BlackHoled, World::Unavailable, World::RateLimited] {
        let (hub, larder, sha) = stand("").await;
        assert_none(&read_by_alice(&larder, &sha).await);
        hub.turn(world, Kind::Model, SECRET, Files::new()).await;
        larder.advance(3600);
        for route in routes(&sha) {
            let reply = ask(&larder, &route, SECRET, ALICE).await;
            let (status, name) = (reply.status.as_u16(), format!("{world:?}: {}", route.path));
            // Larder's own pages tell that nothing is kept which they may tell.
            let is_own = route.path.starts_with("/-/api/") && status == 404;
            // A page that is passed through is refused in the hub's own words.
            assert!(status >= 500 || status == 429 || is_own, "{name}: {reply:?}");
            assert_eq!(reply.header("x-error-code"), "", "{name}");
        }
        let public = larder.get("/org/public/resolve/main/a.txt").await;
        assert!(public.status.as_u16() >= 500, "{world:?}: it was never fetched");
    }
}

#[tokio::test]
async fn an_offline_grant_holds_for_whom_it_was_given_and_as_long() {
    let (hub, larder, sha) = stand("offline_grant = \"1day\"").await;
    assert_none(&read_by_alice(&larder, &sha).await);
    search_for_nothing(&larder, &sha).await;
    hub.turn(World::Refused, Kind::Model, SECRET, Files::new()).await;
    larder.advance(3600);
    let file = format!("/ID/resolve/{sha}/notes.txt");
    let route = || Route {
        method: Method::GET,
        path: file.clone(),
        host: None,
        kind: "",
        body: String::new(),
    };
    assert_eq!(ask(&larder, &route(), SECRET, ALICE).await.text(), NOTES);
    assert_none(&leaks(&larder, &sha, "granted to another").await);
    larder.advance(2 * 86_400);
    assert!(ask(&larder, &route(), SECRET, ALICE).await.status.as_u16() >= 500);
}

/// Rights that were taken away are gone once the memo is.
#[tokio::test]
async fn rights_end_with_the_memo() {
    let (hub, larder, sha) = stand("").await;
    assert_none(&read_by_alice(&larder, &sha).await);
    hub.make_private(Kind::Model, SECRET, &[]);
    larder.advance(600);
    for route in routes(&sha) {
        let reply = ask(&larder, &route, SECRET, ALICE).await;
        assert!(!reply.status.is_success(), "{}: {reply:?}", route.path);
        assert!(!reply.text().contains(NOTES));
    }
}

/// A gate closes the bytes and leaves the list of files open.
#[tokio::test]
async fn a_gate_closes_the_bytes_alone() {
    for world in [World::Up, World::Unavailable] {
        let (hub, larder, sha) = stand("").await;
        hub.make_public(Kind::Model, SECRET);
        hub.gate(Kind::Model, SECRET, &["alice"]);
        assert_none(&read_by_alice(&larder, &sha).await);
        hub.turn(world, Kind::Model, "org/public", Files::new()).await;
        let mut faults = Vec::new();
        for route in routes(&sha).iter().filter(|route| route.method != Method::POST) {
            let is_open = ["/api/models/ID?", "revision", "tree", "refs", "commits", "/-/api/"]
                .iter()
                .any(|part| route.path.contains(part) && !route.path.contains(".git"));
            if is_open || route.path == "/api/models/ID" || route.path == "/ID" {
                continue;
            }
            for token in AUDIENCES {
                let reply = ask(&larder, route, SECRET, token).await;
                let told = format!("{:?} {}", reply.headers, reply.text());
                if reply.status.is_success()
                    || reply.status.is_redirection()
                    || told.contains(NOTES)
                {
                    faults
                        .push(format!("{world:?}, {} as {token:?}: {}", route.path, reply.status));
                }
            }
        }
        assert_none(&faults);
        if world == World::Up {
            let gated = larder.get("/org/secret/resolve/main/notes.txt").await;
            let told = (gated.status.as_u16(), gated.header("x-error-code"));
            assert_eq!(told, (401, "GatedRepo"), "{gated:?}");
        }
    }
}

/// A token for one repository opens no file of another one, though the hash of it is known.
#[tokio::test]
async fn a_xet_token_opens_its_own_repository_alone() {
    let (_hub, larder, sha) = stand("").await;
    assert_none(&read_by_alice(&larder, &sha).await);
    let token = larder.get("/api/models/org/public/xet-read-token/main").await;
    let cas = token.header("x-xet-cas-url").to_owned();
    let bearer = format!("Bearer {}", token.header("x-xet-access-token"));
    let hash = secrets()["weights.Q4_K_M.gguf"].xet.clone();
    for version in ["v1", "v2"] {
        let url = format!("{cas}/{version}/reconstructions/{hash}");
        for authorization in [bearer.as_str(), "Bearer forged", "Bearer hf_bob"] {
            let reply = larder.client.get(&url).with("authorization", authorization).send().await;
            assert!(reply.status.is_client_error(), "{version}, {authorization}: {reply:?}");
        }
        assert!(larder.client.get(&url).send().await.status.is_client_error());
    }
    let own = File::xet("weights").xet.clone();
    let url = format!("{cas}/v1/reconstructions/{own}");
    let reply = larder.client.get(&url).with("authorization", &bearer).send().await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

/// Credentials go to the hub, and nowhere else; those that are none of the hub's go nowhere.
#[tokio::test]
async fn credentials_go_to_the_hub_alone() {
    let (hub, larder, sha) = stand("").await;
    assert_none(&read_by_alice(&larder, &sha).await);
    for host in [&hub.cdn, &hub.viewer, &hub.library] {
        let leaked = host.log().into_iter().find(|logged| logged.header("authorization").is_some());
        assert!(leaked.is_none(), "{:?}", leaked.map(|logged| logged.path.clone()));
    }
    hub.forget();
    let url = larder.url("/org/public/resolve/main/a.txt");
    for authorization in ["Basic YWxpY2U6c2VjcmV0", "Bearer eyJhbGciOiJub25lIn0", "Digest x"] {
        let reply = larder.client.get(&url).with("authorization", authorization).send().await;
        assert_eq!(reply.status, 200, "{authorization}: {reply:?}");
    }
    let leaked = hub.hub.log().into_iter().find(|logged| logged.header("authorization").is_some());
    assert!(leaked.is_none(), "{:?}", leaked.map(|logged| logged.path.clone()));
}

/// A public repository is everybody's, whatever token came with the request: nobody's token costs a second transfer.
#[tokio::test]
async fn a_public_repository_is_shared_whatever_the_token() {
    let (hub, larder, _) = stand("").await;
    for token in [ALICE, "hf_bob", ""] {
        let session = Session::new(&larder.url("")).with_token(token);
        let main = Wanted { id: "org/public".to_owned(), ..wanted() };
        session.run(Sequence::Tree, &main).await.unwrap_or_else(|told| panic!("{token}: {told}"));
    }
    assert_eq!(hub.sent_by_cdn(), "weights".len() as u64);
    let questions = hub.hub.log().iter().filter(|logged| logged.path.contains("/tree/")).count();
    assert_eq!(questions, 1);
}
