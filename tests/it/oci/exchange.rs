//! Larder's own token endpoint, and what stands before it: who is challenged, with what, and what credentials are good for there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use http::Method;

use super::setting::{HUB, PAST_FRESHNESS, REPOSITORY, Setting, TAG, assert_error, over};
use crate::support::child::Process;
use crate::support::client::{Client, Reply};
use crate::support::origin::{Fault, Origin};
use crate::support::registry::{
    Delivery, Door, FakeRegistry, Family, Image, Realm, Tokens, blob_path, manifest_path,
};

const SECRET: &str = "corp/secret";
const ALICE: &str = "alice:wonder";

/// A registry with a public repository and one that is Alice's.
async fn setting(more: &str) -> (Setting, Image) {
    let setting = Setting::with(more).await;
    setting.stock();
    let secret = Image::single(Family::Oci, 500);
    let registry = &setting.registry;
    registry.publish(SECRET, TAG, &secret);
    registry.restrict(SECRET, Some(&["alice"]));
    registry.admit("alice", "wonder");
    registry.admit("bob", "builder");
    registry.behave(|manners| {
        manners.door = Door::Bearer(Tokens { realm: Realm::Beside, ..Tokens::default() });
    });
    (setting, secret)
}

fn basic(user: &str) -> String {
    format!("Basic {}", STANDARD.encode(user))
}

/// Asks `/-/token` for something, as somebody perhaps.
async fn token(setting: &Setting, query: &str, user: Option<&str>) -> Reply {
    let ask = setting.larder.client.get(setting.larder.url(&format!("/-/token?{query}")));
    match user {
        Some(user) => ask.with("authorization", &basic(user)).send().await,
        None => ask.send().await,
    }
}

/// The value for `Authorization`, when there is a token in the answer.
fn bearer(reply: &Reply) -> Option<String> {
    let granted = reply.status.is_success().then(|| reply.json())?;
    assert_eq!(granted["token"], granted["access_token"]);
    assert!(granted["expires_in"].as_u64().is_some_and(|seconds| seconds >= 60), "{granted}");
    granted["token"].as_str().map(|token| format!("Bearer {token}"))
}

async fn status(setting: &Setting, path: &str, bearer: Option<&str>) -> u16 {
    let ask = setting.larder.client.get(setting.larder.url(path));
    match bearer {
        Some(bearer) => ask.with("authorization", bearer).send().await.status.as_u16(),
        None => ask.send().await.status.as_u16(),
    }
}

fn query(scope: &str) -> String {
    format!("service={HUB}&scope={scope}&account=alice&client_id=docker&offline_token=true")
}

fn parameter(challenge: &str, name: &str) -> String {
    let (_, rest) = challenge.split_once(&format!("{name}=\"")).expect("it is in the challenge");
    rest.split('"').next().unwrap_or_default().to_owned()
}

/// The scope is the name as the client wrote it, so that its token is asked for, and kept, under the name that it uses.
#[tokio::test]
async fn a_challenge_speaks_of_what_was_asked_for() {
    let (setting, _) = setting("").await;
    for (path, name) in [
        (manifest_path(SECRET, TAG), SECRET.to_owned()),
        (format!("{}?ns={HUB}", manifest_path(SECRET, TAG)), SECRET.to_owned()),
        (manifest_path(&format!("{HUB}/{SECRET}"), TAG), format!("{HUB}/{SECRET}")),
    ] {
        let refused = setting.get(&path).await;
        assert_error(&refused, &[401], &["UNAUTHORIZED"]);
        let challenge = refused.header("www-authenticate");
        assert!(challenge.starts_with("Bearer "), "{challenge}");
        assert_eq!(parameter(challenge, "scope"), format!("repository:{name}:pull"));
        assert_eq!(parameter(challenge, "realm"), setting.larder.url("/-/token"));
        let query = format!(
            "service={}&scope={}",
            parameter(challenge, "service"),
            parameter(challenge, "scope")
        );
        let bearer = bearer(&token(&setting, &query, Some(ALICE)).await);
        assert_eq!(status(&setting, &path, bearer.as_deref()).await, 200, "{path}");
    }
    // A repository for all is nobody's to be challenged for.
    assert_eq!(status(&setting, &manifest_path(REPOSITORY, TAG), None).await, 200);
}

#[tokio::test]
async fn nobody_gets_a_token_for_what_is_public_without_asking_anybody() {
    let (setting, _) = setting("").await;
    assert_eq!(status(&setting, &manifest_path(REPOSITORY, TAG), None).await, 200);
    setting.registry.refuse().await;
    let reply = token(&setting, &query(&format!("repository:{REPOSITORY}:pull")), None).await;
    let bearer = bearer(&reply);
    assert_eq!(status(&setting, &manifest_path(REPOSITORY, TAG), bearer.as_deref()).await, 200);
}

/// containerd tries a form first and falls back to `GET` only when that is refused in one of these ways. A token of nobody would mislead it.
#[tokio::test]
async fn forms_are_refused_so_that_clients_fall_back() {
    let (setting, _) = setting("").await;
    let form = format!(
        "grant_type=password&username=alice&password=wonder&service={HUB}&scope=repository%3A{}%3Apull&client_id=c",
        "corp%2Fsecret"
    );
    let ask = setting.larder.client.ask(Method::POST, setting.larder.url("/-/token"));
    let reply =
        ask.with("content-type", "application/x-www-form-urlencoded").body(form).send().await;
    match reply.status.as_u16() {
        200 => {
            let bearer = bearer(&reply);
            let path = manifest_path(SECRET, TAG);
            assert_eq!(status(&setting, &path, bearer.as_deref()).await, 200, "{reply:?}");
        }
        status => assert!(matches!(status, 400 | 401 | 404 | 405), "{reply:?}"),
    }
}

#[tokio::test]
async fn wrong_credentials_are_told_so() {
    let (setting, _) = setting("").await;
    let scope = query(&format!("repository:{SECRET}:pull"));
    for user in ["alice:wrong", "nobody:x", "bob:builder", ":", "alice"] {
        let reply = token(&setting, &scope, Some(user)).await;
        if let Some(bearer) = bearer(&reply) {
            let path = manifest_path(SECRET, TAG);
            assert_ne!(status(&setting, &path, Some(&bearer)).await, 200, "{user}");
        } else {
            assert_error(&reply, &[400, 401, 403], &[]);
        }
    }
    for header in ["Basic", "Basic !!!", "Basic ", "Bearer x", "Digest x", "Basic YWxpY2U="] {
        let ask = setting.larder.client.get(setting.larder.url(&format!("/-/token?{scope}")));
        let reply = ask.with("authorization", header).send().await;
        let bearer = bearer(&reply);
        assert_ne!(
            status(&setting, &manifest_path(SECRET, TAG), bearer.as_deref()).await,
            200,
            "{header}"
        );
    }
}

#[tokio::test]
async fn strange_scopes_open_nothing() {
    let (setting, secret) = setting("").await;
    let stranger = Origin::start("127.0.0.4", |_: &http::Request<bytes::Bytes>| {
        crate::support::origin::Answer::ok("application/json", "{\"token\":\"t\"}")
    })
    .await;
    let many = vec!["repository:corp/other:pull"; 200].join("+");
    for scope in [
        String::new(),
        "repository:corp/secret".to_owned(),
        "repository::pull".to_owned(),
        "repository:corp/secret:push".to_owned(),
        "repository:corp/secret:".to_owned(),
        "repository:../corp/secret:pull".to_owned(),
        "repository:Corp/Secret:pull".to_owned(),
        "registry:catalog:*".to_owned(),
        "repository(plugin):corp/secret:pull".to_owned(),
        format!("repository:{}/corp/secret:pull", stranger.address),
        "repository:other.example/corp/secret:pull".to_owned(),
        "repository:%00:pull".to_owned(),
        many,
    ] {
        let reply = token(&setting, &format!("service={HUB}&scope={scope}"), Some(ALICE)).await;
        assert!(reply.status.as_u16() < 500, "{scope}: {reply:?}");
        if let Some(bearer) = bearer(&reply) {
            for path in [manifest_path(SECRET, TAG), blob_path(SECRET, &secret.blobs[0].digest)] {
                assert_ne!(status(&setting, &path, Some(&bearer)).await, 200, "{scope}");
            }
        }
    }
    assert!(stranger.log().is_empty());
    // A service that is none of ours does not send the credentials anywhere else.
    let host = stranger.address.to_string();
    token(&setting, &format!("service={host}&scope=repository:{SECRET}:pull"), Some(ALICE)).await;
    assert!(stranger.log().is_empty());
}

#[tokio::test]
async fn one_token_may_open_several_repositories() {
    let (setting, _) = setting("").await;
    let other = Image::single(Family::Oci, 700);
    setting.registry.publish("corp/other", TAG, &other);
    setting.registry.restrict("corp/other", Some(&["alice"]));
    let query =
        format!("service={HUB}&scope=repository:{SECRET}:pull&scope=repository:corp/other:pull");
    let bearer = bearer(&token(&setting, &query, Some(ALICE)).await);
    for name in [SECRET, "corp/other"] {
        assert_eq!(
            status(&setting, &manifest_path(name, TAG), bearer.as_deref()).await,
            200,
            "{name}"
        );
    }
}

/// Upstream's token server cannot be asked: that is not the credentials' fault. Clients that bring them everywhere go on pulling what is public.
#[tokio::test]
async fn an_outage_is_no_refusal() {
    for fault in [Some(Fault::status(503)), Some(Fault::status(500)), Some(Fault::Silence), None] {
        let (setting, secret) = setting("").await;
        let public = manifest_path(REPOSITORY, TAG);
        assert_eq!(status(&setting, &public, None).await, 200);
        match fault {
            Some(fault) => {
                for origin in setting.registry.origins() {
                    origin.fault("*", fault.clone());
                }
            }
            None => setting.registry.refuse().await,
        }
        let scope = query(&format!("repository:{SECRET}:pull&scope=repository:{REPOSITORY}:pull"));
        let reply = token(&setting, &scope, Some(ALICE)).await;
        assert!(reply.status == 200 || reply.status.is_server_error(), "{reply:?}");
        let bearer = bearer(&reply);
        assert_eq!(status(&setting, &public, bearer.as_deref()).await, 200);
        for path in [manifest_path(SECRET, TAG), blob_path(SECRET, &secret.blobs[0].digest)] {
            assert!(status(&setting, &path, bearer.as_deref()).await >= 400, "{path}");
        }
    }
}

/// A build farm that starts at once has the same credentials many times over.
#[tokio::test]
async fn a_crowd_with_the_same_credentials_costs_little() {
    let (setting, _) = setting("").await;
    let scope = query(&format!("repository:{SECRET}:pull"));
    let asked = join_all((0..16).map(|_| token(&setting, &scope, Some(ALICE))));
    for reply in asked.await {
        let bearer = bearer(&reply);
        assert_eq!(status(&setting, &manifest_path(SECRET, TAG), bearer.as_deref()).await, 200);
    }
    let tokens = setting.registry.token_requests().len();
    assert!(tokens <= 3, "{tokens} token requests for one person");
    let manifests = setting.registry.manifest_requests(&Method::GET, SECRET, TAG);
    assert!(manifests <= 1, "{manifests} downloads");
}

/// Passwords go to where the registry's tokens are given out, and nowhere else.
#[tokio::test]
async fn passwords_go_to_the_token_host_only() {
    let (setting, secret) = setting("").await;
    setting.registry.behave(|manners| {
        manners.blobs = Delivery::Redirected(307);
    });
    let bearer =
        bearer(&token(&setting, &query(&format!("repository:{SECRET}:pull")), Some(ALICE)).await);
    assert_eq!(status(&setting, &manifest_path(SECRET, TAG), bearer.as_deref()).await, 200);
    for blob in &secret.blobs {
        assert_eq!(
            status(&setting, &blob_path(SECRET, &blob.digest), bearer.as_deref()).await,
            200
        );
    }
    let has = |origin: &Origin, value: &str| {
        origin
            .log()
            .iter()
            .any(|logged| logged.header("authorization").is_some_and(|sent| sent.contains(value)))
    };
    let password = STANDARD.encode(ALICE);
    assert!(has(&setting.registry.tokens, &password));
    assert!(!has(&setting.registry.front, &password) && !has(&setting.registry.edge, ""));
    let ours = bearer.as_deref().and_then(|value| value.split(' ').nth(1)).unwrap_or("none");
    assert!(setting.registry.origins().into_iter().all(|origin| !has(origin, ours)));
}

/// With a grant for outages, whoever could read it lately still can; nobody else.
#[tokio::test]
async fn an_offline_grant_is_for_those_who_had_it() {
    let (setting, secret) = setting("offline_grant = true").await;
    let scope = query(&format!("repository:{SECRET}:pull"));
    let alice = bearer(&token(&setting, &scope, Some(ALICE)).await).expect("a token");
    let path = manifest_path(SECRET, TAG);
    assert_eq!(status(&setting, &path, Some(&alice)).await, 200);
    let blob = blob_path(SECRET, &secret.blobs[0].digest);
    assert_eq!(status(&setting, &blob, Some(&alice)).await, 200);
    setting.registry.refuse().await;
    // Past the tag's freshness, within the life of Alice's token.
    setting.larder.advance(200);
    for path in [&path, &blob] {
        assert_eq!(status(&setting, path, Some(&alice)).await, 200, "{path}");
        assert_ne!(status(&setting, path, None).await, 200, "{path}");
        assert_ne!(status(&setting, path, Some("Bearer x")).await, 200, "{path}");
    }
    for user in ["bob:builder", "alice:wrong"] {
        let bearer = bearer(&token(&setting, &scope, Some(user)).await);
        assert_ne!(status(&setting, &path, bearer.as_deref()).await, 200, "{user}");
    }
    setting.larder.advance(PAST_FRESHNESS);
    assert_ne!(status(&setting, &path, Some(&alice)).await, 200, "a token ends in an outage, too");
}

/// The engine brings the hub's credentials to whatever mirror challenges it, so it is not challenged.
#[tokio::test]
async fn the_engine_is_never_challenged_at_the_door() {
    let (setting, _) = setting("").await;
    for agent in [
        "docker/20.10.24+dfsg1 go/go1.19.8 git-commit/5d6db84 kernel/6.1.0 os/linux arch/amd64 UpstreamClient(Docker-Client/28.2.2 \\(linux\\))",
        "containerd/1.6.20~ds1",
        "curl/7.88.1",
    ] {
        let ask = setting.larder.client.get(setting.larder.url("/v2/")).with("user-agent", agent);
        let reply = ask.send().await;
        assert_eq!((reply.status.as_u16(), reply.header("www-authenticate")), (200, ""), "{agent}");
    }
}

/// Credentials and tokens are in no file and in no line of the log, however much is logged.
#[tokio::test]
async fn secrets_are_neither_logged_nor_stored() {
    let registry = FakeRegistry::start().await;
    registry.publish(SECRET, TAG, &Image::single(Family::Oci, 500));
    registry.restrict(SECRET, Some(&["alice"]));
    registry.admit("alice", "wonder-of-wonders");
    registry.behave(|manners| {
        manners.door = Door::Bearer(Tokens { realm: Realm::Beside, ..Tokens::default() });
        manners.blobs = Delivery::Redirected(307);
    });
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let settings = format!("[log]\nfilter = \"trace\"\n{}", over(&registry, ""));
    let larder = Process::start(folder.path(), &settings);

    let client = Client::new();
    let user = "alice:wonder-of-wonders";
    let query = query(&format!("repository:{SECRET}:pull"));
    let ask = client.get(larder.url(&format!("/-/token?{query}")));
    let reply = ask.with("authorization", &basic(user)).send().await;
    let bearer = bearer(&reply).expect("a token");
    let path = manifest_path(SECRET, TAG);
    for authorization in [bearer.as_str(), &basic(user)] {
        let ask = client.get(larder.url(&path));
        ask.with("authorization", authorization).send().await;
    }
    assert!(!registry.token_requests().is_empty());
    larder.kill();

    let token = bearer.trim_start_matches("Bearer ");
    let secrets =
        ["wonder-of-wonders", &STANDARD.encode(user), token, "upstream-secret-", "signature="];
    let mut pending = vec![folder.path().to_owned()];
    let mut read = 0;
    while let Some(place) = pending.pop() {
        if place.is_dir() {
            let entries = std::fs::read_dir(&place).expect("the folder can be listed");
            pending.extend(entries.map(|entry| entry.expect("an entry").path()));
            continue;
        }
        let bytes = std::fs::read(&place).expect("the file can be read");
        read += bytes.len();
        for secret in secrets {
            let found = memchr::memmem::find(&bytes, secret.as_bytes());
            assert_eq!(found, None, "{secret} is in {}", place.display());
        }
    }
    let logged = std::fs::metadata(folder.path().join("log")).expect("there is a log").len();
    assert!(logged > 1000 && read > 10_000, "{logged} {read}");
}
