//! How Larder comes by upstream's tokens, and whom it never gives credentials to.

use futures_util::future::join_all;

use super::pull::Puller;
use super::setting::{HUB, PAST_FRESHNESS, REPOSITORY, Setting, TAG, assert_error, over};
use crate::support::larder::{Larder, QUICK};
use crate::support::origin::{Answer, Fault, Origin};
use crate::support::registry::{
    Delivery, Door, FakeRegistry, Family, Form, Image, Realm, Tokens, blob_path, manifest_path,
};
use crate::support::wait::eventually;

/// What Larder is known by upstream, in the tests where it is known.
const USER: &str = "larder";
const PASSWORD: &str = "hunter2";
const BASIC: &str = "Basic bGFyZGVyOmh1bnRlcjI=";

/// A registry behind `door`, and a Larder that has a name there which opens everything to its clients.
async fn known(door: Door) -> (Setting, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).expect("the folder can be written");
    let more = format!(
        "credentials = {{ username = {USER:?}, password_file = {file:?} }}\ngrant = [\"*\"]"
    );
    let setting = Setting::with(&more).await;
    setting.registry.admit(USER, PASSWORD);
    setting.registry.behave(|manners| manners.door = door);
    (setting, folder)
}

#[tokio::test]
async fn tokens_of_every_kind_are_understood() {
    let standard = Tokens::default;
    for tokens in [
        standard(),
        Tokens { realm: Realm::Beside, ..standard() },
        Tokens { form: Form::Token, ..standard() },
        Tokens { form: Form::AccessToken, ..standard() },
        Tokens { expires_in: None, ..standard() },
        Tokens { expires_in: Some(0), ..standard() },
        Tokens { expires_in: Some(10), issued_at: Some(String::new()), ..standard() },
        Tokens { issued_at: Some("2027-01-15T08:00:00.123456789Z".to_owned()), ..standard() },
        Tokens { issued_at: Some("no date".to_owned()), ..standard() },
        Tokens { post: Some(404), ..standard() },
        Tokens { post: None, ..standard() },
        Tokens { uncovered: 403, ..standard() },
    ] {
        let setting = Setting::new().await;
        let image = setting.stock();
        setting.registry.behave(|manners| manners.door = Door::Bearer(tokens.clone()));
        for puller in [Puller::Docker, Puller::Containerd, Puller::SkopeoAll] {
            let pulled = puller.pull(&setting.by_default(), TAG).await;
            let pulled = pulled.unwrap_or_else(|error| panic!("{tokens:?}: {error}"));
            pulled.expect(puller, &image);
        }
    }
}

#[tokio::test]
async fn a_token_is_fetched_once_for_everybody() {
    let setting = Setting::new().await;
    let image = setting.stock();
    setting.registry.behave(|manners| manners.door = Door::Bearer(Tokens::default()));
    let source = setting.by_default();
    let pulls = join_all((0..8).map(|_| Puller::SkopeoAll.pull(&source, TAG)));
    for pulled in pulls.await {
        pulled.expect("it pulls").expect(Puller::SkopeoAll, &image);
    }
    assert_eq!(setting.registry.token_requests().len(), 1);
}

/// Larder thinks its token good, and upstream no longer does: a new one is fetched, and the client notices nothing.
#[tokio::test]
async fn a_token_that_is_taken_back_is_replaced() {
    let setting = Setting::new().await;
    setting.stock();
    setting.registry.behave(|manners| manners.door = Door::Bearer(Tokens::default()));
    Puller::SkopeoAll.pull(&setting.by_default(), TAG).await.expect("it pulls");
    setting.registry.revoke_tokens();
    let second = Image::single(Family::Oci, 70);
    setting.registry.publish(REPOSITORY, TAG, &second);
    eventually("a new token is fetched", async || {
        setting.larder.advance(PAST_FRESHNESS);
        let pulled = Puller::Podman.pull(&setting.by_prefix(), TAG).await;
        pulled.expect("it pulls").digest == second.digest()
    })
    .await;
    assert_eq!(setting.registry.token_requests().len(), 2);
}

/// The token ends while a large layer is on its way: what has begun goes on, and what follows gets a new one.
#[tokio::test]
async fn tokens_that_end_in_mid_image_do_no_harm() {
    let setting = Setting::new().await;
    let image = setting.stock();
    setting.registry.behave(|manners| manners.door = Door::Bearer(Tokens::default()));
    setting.get(&manifest_path(REPOSITORY, TAG)).await;
    for manifest in &image.children {
        setting.registry.revoke_tokens();
        let reply = setting.get(&manifest_path(REPOSITORY, &manifest.digest)).await;
        assert_eq!((reply.status.as_u16(), &reply.body), (200, &manifest.body));
    }
    for blob in &image.blobs {
        setting.registry.revoke_tokens();
        let reply = setting.get(&blob_path(REPOSITORY, &blob.digest)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

#[tokio::test]
async fn larders_own_name_opens_what_it_is_granted_for() {
    for door in [
        Door::Basic,
        Door::Bearer(Tokens::default()),
        Door::Bearer(Tokens { realm: Realm::Beside, anonymous: false, ..Tokens::default() }),
        Door::Bearer(Tokens { post: None, anonymous: false, ..Tokens::default() }),
    ] {
        let (setting, _folder) = known(door.clone()).await;
        let image = setting.stock();
        setting.registry.restrict(REPOSITORY, Some(&[USER]));
        setting.registry.behave(|manners| manners.blobs = Delivery::Redirected(307));
        let pulled = Puller::SkopeoAll.pull(&setting.by_prefix(), TAG).await;
        pulled
            .unwrap_or_else(|error| panic!("{door:?}: {error}"))
            .expect(Puller::SkopeoAll, &image);
        assert!(
            setting
                .registry
                .edge
                .log()
                .iter()
                .all(|logged| logged.header("authorization").is_none())
        );
        // A password goes where tokens are given out, and to registries that know nothing else.
        let told = |origin: &Origin, path: &str| {
            let log = origin.log();
            log.iter()
                .any(|logged| logged.path != path && logged.header("authorization") == Some(BASIC))
        };
        assert_eq!(told(&setting.registry.front, "/token"), door == Door::Basic, "{door:?}");
    }
}

/// CVE-2026-33540: a registry that names somebody else's realm must not get Larder's credentials sent there, nor anything else.
#[tokio::test]
async fn a_realm_on_another_host_gets_nothing() {
    let stranger = Origin::start("127.0.0.4", |_: &http::Request<bytes::Bytes>| {
        Answer::ok("application/json", "{\"token\":\"t\"}")
    })
    .await;
    let elsewhere = [
        stranger.url("/token"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "http://user:password@127.0.0.4/token".to_owned(),
        "//127.0.0.4/token".to_owned(),
        String::new(),
    ];
    for realm in elsewhere {
        let tokens = Tokens { realm: Realm::At(realm.clone()), ..Tokens::default() };
        let (setting, _folder) = known(Door::Bearer(tokens)).await;
        setting.stock();
        let reply = setting.get(&manifest_path(REPOSITORY, TAG)).await;
        assert_error(&reply, &[401, 403, 404, 502, 503], &[]);
        assert!(!reply.text().contains(PASSWORD), "{reply:?}");
        assert!(!reply.header("www-authenticate").contains("127.0.0.4"), "{reply:?}");
        assert!(stranger.log().is_empty(), "{realm}");
    }
}

/// The trust is in a pair: a host that gives out tokens of one registry gets nothing that belongs to another.
#[tokio::test]
async fn a_token_host_of_one_registry_is_none_of_the_others() {
    let (first, second) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("password");
    std::fs::write(&file, PASSWORD).expect("the folder can be written");
    // The second registry points at a host that only the first one's settings name.
    let tokens =
        Tokens { realm: Realm::At("http://127.0.0.5:9/token".to_owned()), ..Tokens::default() };
    second.behave(|manners| manners.door = Door::Bearer(tokens));
    second.publish(REPOSITORY, TAG, &Image::single(Family::Oci, 1));
    let stranger =
        Origin::start("127.0.0.5", |_: &http::Request<bytes::Bytes>| Answer::new(404)).await;
    second.behave(|manners| {
        let realm = Realm::At(stranger.url("/token"));
        manners.door = Door::Bearer(Tokens { realm, ..Tokens::default() });
    });
    let settings = format!(
        "{QUICK}[oci]\ndefault = {HUB:?}\n[oci.registries.{HUB:?}]\nupstream = {:?}\ntoken_hosts = [\"127.0.0.5\"]\n\
         [oci.registries.\"second.example\"]\nupstream = {:?}\ncredentials = {{ username = {USER:?}, password_file = {file:?} }}\n\
         grant = [\"*\"]\n",
        first.front.url(""),
        second.front.url(""),
    );
    let larder = Larder::start(&settings).await;
    let reply = larder.get("/v2/second.example/library/demo/manifests/1.0").await;
    assert!(!reply.status.is_success(), "{reply:?}");
    assert!(stranger.log().is_empty());
}

#[tokio::test]
async fn redirects_of_token_requests_are_not_followed() {
    let (setting, _folder) = known(Door::Bearer(Tokens::default())).await;
    setting.stock();
    let leads = setting.registry.edge.url("/token");
    setting.registry.front.fault("/token", Fault::redirect(&leads));
    let reply = setting.get(&manifest_path(REPOSITORY, TAG)).await;
    assert_error(&reply, &[401, 403, 404, 502, 503, 504], &[]);
    assert!(setting.registry.edge.log().is_empty());
}

/// Trouble at the token server is an outage, and no refusal. The faults are tried beside each other: each is waited for.
#[tokio::test]
async fn a_broken_token_server_is_an_outage() {
    let vast = "x".repeat(3 << 20);
    let told = |text: String| Fault::Instead(Answer::ok("application/json", text));
    let faults = [
        ("500", Fault::status(500)),
        ("503", Fault::status(503)),
        ("429", Fault::retry_after(429, 60)),
        ("silent", Fault::Silence),
        ("empty", Fault::empty()),
        ("page", Fault::error_page()),
        ("no token", told("{}".to_owned())),
        ("token of a wrong type", told("{\"token\":1}".to_owned())),
        ("token with a line feed", told("{\"token\":\"a\\r\\nx: y\"}".to_owned())),
        ("vast", told(format!("{{\"token\":\"{vast}\"}}"))),
    ];
    join_all(faults.map(|(name, fault)| survive_token_server(name, fault))).await;
}

async fn survive_token_server(name: &str, fault: Fault) {
    let setting = Setting::new().await;
    let image = setting.stock();
    setting.registry.behave(|manners| manners.door = Door::Bearer(Tokens::default()));
    setting.registry.front.fault("/token", fault.clone());
    let path = manifest_path(REPOSITORY, TAG);
    let reply = setting.get(&path).await;
    assert!(matches!(reply.status.as_u16(), 502..=504), "{name}: {reply:?}");
    setting.registry.heal();
    eventually(&format!("{name} heals"), async || {
        setting.larder.advance(61);
        setting.get(&path).await.status == 200
    })
    .await;
    // And once something is kept, it is served through it.
    setting.registry.revoke_tokens();
    setting.registry.front.fault("/token", fault);
    setting.larder.advance(PAST_FRESHNESS);
    let reply = setting.get(&path).await;
    assert_eq!((reply.status.as_u16(), &reply.body), (200, &image.root.body), "{name}");
}

/// Mirrors are sent credentials that belong to others (the engine sends the hub's). They are not used, not passed on, not challenged.
#[tokio::test]
async fn what_clients_send_unasked_stays_here() {
    for door in [Door::Open, Door::Bearer(Tokens::default()), Door::Basic] {
        let setting = Setting::new().await;
        let image = setting.stock();
        setting.registry.admit("alice", "wonder");
        setting.registry.restrict("corp/secret", Some(&["alice"]));
        setting.registry.publish("corp/secret", TAG, &Image::single(Family::Oci, 60));
        setting.registry.behave(|manners| manners.door = door.clone());
        for authorization in ["Basic YWxpY2U6d29uZGVy", "Bearer of-somebody", "Negotiate x"] {
            for path in [
                manifest_path(REPOSITORY, TAG),
                blob_path(REPOSITORY, &image.blobs[0].digest),
                "/v2/".to_owned(),
            ] {
                let ask = setting.larder.client.get(setting.larder.url(&path));
                let reply = ask.with("authorization", authorization).send().await;
                assert!(
                    door == Door::Basic || reply.status == 200,
                    "{door:?} {authorization}: {reply:?}"
                );
            }
            let ask =
                setting.larder.client.get(setting.larder.url(&manifest_path("corp/secret", TAG)));
            let reply = ask.with("authorization", authorization).send().await;
            assert!(!reply.status.is_success(), "{door:?}: {reply:?}");
        }
        let log: Vec<_> = setting.registry.origins().into_iter().flat_map(Origin::log).collect();
        for logged in log {
            let sent = logged.header("authorization").unwrap_or_default();
            assert!(
                !sent.contains("YWxpY2U6d29uZGVy")
                    && !sent.contains("of-somebody")
                    && !sent.starts_with("Negotiate"),
                "{sent}"
            );
        }
    }
}

#[tokio::test]
async fn without_a_grant_larders_own_name_opens_nothing_to_clients() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("password");
    std::fs::write(&file, PASSWORD).expect("the folder can be written");
    let registry = FakeRegistry::start().await;
    let more = format!("credentials = {{ username = {USER:?}, password_file = {file:?} }}");
    let larder = Larder::start(&over(&registry, &more)).await;
    let setting = Setting { registry, larder };
    setting.registry.admit(USER, PASSWORD);
    setting.registry.behave(|manners| manners.door = Door::Bearer(Tokens::default()));
    let image = Image::single(Family::Oci, 60);
    setting.registry.publish("corp/secret", TAG, &image);
    setting.registry.restrict("corp/secret", Some(&[USER]));
    let reply = setting.get(&manifest_path("corp/secret", TAG)).await;
    assert_error(&reply, &[401, 403, 404], &[]);
    for blob in &image.blobs {
        assert!(!setting.get(&blob_path("corp/secret", &blob.digest)).await.status.is_success());
    }
}
