//! Who sees what: every route, for every kind of caller, of public and private repositories, with upstream well and not.
//!
//! Everything private has been pulled by somebody who may, so all of it is on disk. What stands between it and everybody else is only the link
//! between repository and digest, and upstream's word for each caller. Knowing a digest is not a right (CVE-2024-39897).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;

use super::pull::{Puller, Source};
use super::setting::{HUB, PAST_FRESHNESS, REPOSITORY, Setting, TAG};
use crate::support::client::Reply;
use crate::support::origin::Fault;
use crate::support::registry::{
    Door, Family, Image, Realm, Tokens, blob_path, edge_path, manifest_path,
};

const SECRET: &str = "corp/secret";
const ALICE: (&str, &str) = ("alice", "wonder");
const BOB: (&str, &str) = ("bob", "builder");

/// A registry with a public and a private repository, each pulled through Larder by somebody who may.
struct Vault {
    setting: Setting,
    open: Image,
    secret: Image,
    /// What Alice's exchange gave her.
    alice: String,
}

impl Vault {
    async fn new(more: &str) -> Self {
        let setting = Setting::with(more).await;
        let registry = &setting.registry;
        registry.behave(|manners| {
            manners.door = Door::Bearer(Tokens { realm: Realm::Beside, ..Tokens::default() });
        });
        let open = setting.stock();
        let secret = Image::multi(Family::Oci, 500);
        registry.publish(SECRET, TAG, &secret);
        registry.refer(SECRET, &secret.root, "application/secret");
        registry.restrict(SECRET, Some(&[ALICE.0]));
        for (user, password) in [ALICE, BOB] {
            registry.admit(user, password);
        }
        let public = Puller::SkopeoAll.pull(&setting.by_prefix(), TAG).await;
        public.expect("it pulls").expect(Puller::SkopeoAll, &open);
        let path = manifest_path(SECRET, TAG);
        let alice = exchange(&setting, &path, Some(ALICE)).await.expect("a token for Alice");
        let source = Source {
            authorization: Some(alice.clone()),
            ..Source::new(&setting.larder.url("/"), SECRET)
        };
        let pulled = Puller::SkopeoAll.pull(&source, TAG).await.expect("Alice pulls");
        pulled.expect(Puller::SkopeoAll, &secret);
        Self { setting, open, secret, alice }
    }

    /// Every address below which something of the private repository could be had.
    fn routes(&self) -> Vec<(Method, String)> {
        let root = self.secret.digest();
        let child = &self.secret.children[0].digest;
        let layer = &self.secret.blobs[1].digest;
        let mut routes = Vec::new();
        for name in [SECRET.to_owned(), format!("{HUB}/{SECRET}")] {
            let mut paths =
                vec![format!("/v2/{name}/tags/list"), format!("/v2/{name}/referrers/{root}")];
            paths.extend([TAG, root, child].map(|reference| manifest_path(&name, reference)));
            paths.extend(self.secret.blobs.iter().map(|blob| blob_path(&name, &blob.digest)));
            for path in paths {
                for method in [Method::GET, Method::HEAD] {
                    routes.push((method.clone(), path.clone()));
                    routes.push((method, format!("{path}?ns={HUB}")));
                }
            }
        }
        // By way of a repository that is open to all, and of one that does not exist.
        for name in [REPOSITORY, "library/nothing"] {
            for path in
                [blob_path(name, layer), manifest_path(name, root), manifest_path(name, child)]
            {
                routes.push((Method::GET, path.clone()));
                routes.push((Method::HEAD, path));
            }
            routes.push((Method::GET, format!("/v2/{name}/referrers/{root}")));
        }
        routes.push((Method::GET, "/v2/_catalog".to_owned()));
        routes
    }

    async fn ask(&self, method: &Method, path: &str, authorization: Option<&str>) -> Reply {
        let ask = self.setting.larder.client.ask(method.clone(), self.setting.larder.url(path));
        match authorization {
            Some(value) => ask.with("authorization", value).send().await,
            None => ask.send().await,
        }
    }

    /// Panics if an answer gives anything away that only readers of the private repository know.
    fn assert_nothing_of_it(&self, reply: &Reply, what: &str) {
        let text = reply.text();
        for secret in ["application/secret".to_owned(), format!("\"{HUB}/{SECRET}\"")] {
            assert!(!text.contains(&secret), "{what}: {reply:?}");
        }
        // Lists are given to everybody; what is on them is what counts.
        let is_list = text.contains("\"manifests\":[]") || text.contains("\"repositories\":");
        if reply.status.is_success() && is_list {
            return;
        }
        assert!(!reply.status.is_success(), "{what}: {reply:?}");
        let layer = self.secret.blobs[1].length().to_string();
        assert_ne!(reply.header("content-length"), layer, "{what}: {reply:?}");
        assert_eq!(reply.header("docker-content-digest"), "", "{what}: {reply:?}");
        assert_eq!(reply.header("etag"), "", "{what}: {reply:?}");
    }

    async fn assert_closed(&self, authorization: Option<&str>, who: &str) {
        for (method, path) in self.routes() {
            let reply = self.ask(&method, &path, authorization).await;
            self.assert_nothing_of_it(&reply, &format!("{who}: {method} {path}"));
        }
    }
}

/// Goes through the exchange as clients do: challenge, realm, token. The value for `Authorization`, if one was given.
async fn exchange(setting: &Setting, path: &str, user: Option<(&str, &str)>) -> Option<String> {
    let refused = setting.get(path).await;
    assert_eq!(refused.status, 401, "{refused:?}");
    let challenge = refused.header("www-authenticate");
    let parameter = |name: &str| {
        let (_, rest) =
            challenge.split_once(&format!("{name}=\"")).expect("it is in the challenge");
        rest.split('"').next().unwrap_or_default().to_owned()
    };
    let realm = parameter("realm");
    assert!(
        realm.starts_with(&setting.larder.url("/-/token")),
        "the realm is Larder's own: {realm}"
    );
    let mut address = url::Url::parse(&realm).expect("an address");
    address
        .query_pairs_mut()
        .append_pair("service", &parameter("service"))
        .append_pair("scope", &parameter("scope"));
    let ask = setting.larder.client.get(address.as_str());
    let ask = match user {
        Some((user, password)) => ask.with(
            "authorization",
            &format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))),
        ),
        None => ask,
    };
    let reply = ask.send().await;
    assert!(!reply.text().contains("upstream-secret-"), "upstream's token stays here: {reply:?}");
    assert!(reply.header("cache-control").contains("no-store"), "{reply:?}");
    let token = reply.status.is_success().then(|| reply.json())?;
    let token = token["token"].as_str().or_else(|| token["access_token"].as_str())?;
    Some(format!("Bearer {token}"))
}

#[tokio::test]
async fn public_things_need_nothing() {
    let vault = Vault::new("").await;
    for authorization in
        [None, Some(vault.alice.as_str()), Some("Bearer nonsense"), Some("Basic eDp5")]
    {
        for path in [
            manifest_path(REPOSITORY, TAG),
            blob_path(REPOSITORY, &vault.open.blobs[0].digest),
            "/v2/".to_owned(),
        ] {
            let reply = vault.ask(&Method::GET, &path, authorization).await;
            assert_eq!(reply.status, 200, "{authorization:?} {path}: {reply:?}");
        }
    }
}

#[tokio::test]
async fn alice_reads_what_is_hers() {
    let vault = Vault::new("").await;
    for (method, path) in [
        (Method::GET, manifest_path(SECRET, TAG)),
        (Method::HEAD, manifest_path(SECRET, vault.secret.digest())),
        (Method::GET, blob_path(SECRET, &vault.secret.blobs[0].digest)),
        (Method::GET, format!("/v2/{SECRET}/tags/list")),
        (Method::GET, format!("/v2/{SECRET}/referrers/{}", vault.secret.digest())),
    ] {
        let reply = vault.ask(&method, &path, Some(&vault.alice)).await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        // What was asked for with credentials is not kept by caches that others use, unless it says that it may be (RFC 9111, section 3.5).
        assert!(!reply.header("cache-control").contains("public"), "{path}: {reply:?}");
    }
    for blob in &vault.secret.blobs {
        assert_eq!(vault.setting.registry.crossings(&blob.digest).0, 1, "it is kept once, for all");
    }
}

#[tokio::test]
async fn nobody_else_reads_it() {
    let vault = Vault::new("").await;
    vault.assert_closed(None, "nobody").await;
    let basic = |(user, password): (&str, &str)| {
        format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
    };
    // Not even with Alice's own password, outside the exchange: it may have been meant for another registry.
    for authorization in [
        basic(ALICE),
        basic(BOB),
        basic(("alice", "wrong")),
        "Bearer x".to_owned(),
        "Bearer ".to_owned(),
    ] {
        vault.assert_closed(Some(&authorization), &authorization).await;
    }
    let mut forged = vault.alice.clone();
    let last = forged.pop().expect("a token is no empty text");
    forged.push(if last == 'A' { 'B' } else { 'A' });
    vault.assert_closed(Some(&forged), "a forged token").await;
}

#[tokio::test]
async fn bob_gets_a_token_that_opens_nothing_or_none() {
    let vault = Vault::new("").await;
    let path = manifest_path(SECRET, TAG);
    for user in [None, Some(BOB), Some(("alice", "wrong")), Some(("", ""))] {
        if let Some(token) = exchange(&vault.setting, &path, user).await {
            vault.assert_closed(Some(&token), &format!("{user:?}")).await;
        }
    }
}

#[tokio::test]
async fn a_token_opens_its_own_repository_and_no_other() {
    let vault = Vault::new("").await;
    let registry = &vault.setting.registry;
    let other = Image::single(Family::Oci, 900);
    registry.publish("corp/other", TAG, &other);
    registry.restrict("corp/other", Some(&[ALICE.0]));
    let path = manifest_path("corp/other", TAG);
    let token = exchange(&vault.setting, &path, Some(ALICE)).await.expect("a token");
    assert_eq!(vault.ask(&Method::GET, &path, Some(&token)).await.status, 200);
    vault.assert_closed(Some(&token), "Alice's token for another repository").await;
    let reply = vault.ask(&Method::GET, &path, Some(&vault.alice)).await;
    assert!(!reply.status.is_success(), "{reply:?}");
}

#[tokio::test]
async fn a_token_ends() {
    let vault = Vault::new("").await;
    vault.setting.larder.advance(24 * 3600);
    vault.assert_closed(Some(&vault.alice), "Alice's token of yesterday").await;
}

/// In an outage nobody can say whether Alice may still read it: without an offline grant, that means no.
#[tokio::test]
async fn an_outage_opens_nothing() {
    for fault in
        [None, Some(Fault::status(503)), Some(Fault::status(429)), Some(Fault::status(500))]
    {
        let vault = Vault::new("").await;
        match &fault {
            None => vault.setting.registry.refuse().await,
            Some(fault) => {
                for origin in vault.setting.registry.origins() {
                    origin.fault("*", fault.clone());
                }
            }
        }
        vault.assert_closed(None, "nobody, in an outage").await;
        vault.assert_closed(Some("Basic YWxpY2U6d29uZGVy"), "Alice's password, in an outage").await;
        vault.setting.larder.advance(PAST_FRESHNESS);
        vault.assert_closed(Some(&vault.alice), "Alice's old token, in an outage").await;
        // What is public is there all the same.
        let open = vault.ask(&Method::GET, &manifest_path(REPOSITORY, TAG), None).await;
        assert_eq!((open.status.as_u16(), &open.body), (200, &vault.open.root.body));
    }
}

#[tokio::test]
async fn a_black_hole_opens_nothing() {
    let vault = Vault::new("").await;
    for origin in vault.setting.registry.origins() {
        origin.fault("*", Fault::Silence);
    }
    for path in [manifest_path(SECRET, TAG), blob_path(SECRET, &vault.secret.blobs[0].digest)] {
        for authorization in [None, Some("Bearer x")] {
            let reply = vault.ask(&Method::GET, &path, authorization).await;
            vault.assert_nothing_of_it(&reply, &path);
        }
    }
}

/// Alice is thrown out upstream: what Larder remembers of her right ends soon after.
#[tokio::test]
async fn a_right_that_is_taken_back_ends() {
    let vault = Vault::new("").await;
    let registry = &vault.setting.registry;
    registry.restrict(SECRET, Some(&[BOB.0]));
    registry.revoke_tokens();
    vault.setting.larder.advance(PAST_FRESHNESS);
    vault.assert_closed(Some(&vault.alice), "Alice, thrown out").await;
    let path = manifest_path(SECRET, TAG);
    if let Some(token) = exchange(&vault.setting, &path, Some(ALICE)).await {
        vault.assert_closed(Some(&token), "Alice, thrown out, with a new token").await;
    }
    let bob = exchange(&vault.setting, &path, Some(BOB)).await.expect("a token for Bob");
    let reply = vault.ask(&Method::GET, &path, Some(&bob)).await;
    assert_eq!((reply.status.as_u16(), &reply.body), (200, &vault.secret.root.body));
}

/// The blobs of a public repository that becomes private are what was public: they follow `after_withdrawal`.
#[tokio::test]
async fn what_was_public_follows_the_rule_for_it() {
    for (rule, status) in [("serve", 200), ("deny", 401)] {
        let vault = Vault::new(&format!("after_withdrawal = {rule:?}")).await;
        vault.setting.registry.restrict(REPOSITORY, Some(&[ALICE.0]));
        vault.setting.registry.revoke_tokens();
        let path = manifest_path(REPOSITORY, TAG);
        crate::support::wait::eventually("the withdrawal is noticed", async || {
            vault.setting.larder.advance(PAST_FRESHNESS);
            let reply = vault.ask(&Method::GET, &path, None).await;
            let noticed = super::pull::warnings(&reply).contains("withdrawn");
            reply.status == status && (status != 200 || noticed)
        })
        .await;
    }
}

/// A repository that is private and one that does not exist look the same to those who may not know.
#[tokio::test]
async fn existence_is_not_told() {
    let vault = Vault::new("").await;
    let normal = |reply: &Reply, name: &str| {
        let mut fields: Vec<String> = reply
            .headers
            .iter()
            .filter(|(field, _)| !matches!(field.as_str(), "date" | "cache-status" | "age"))
            .map(|(field, value)| format!("{field}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        fields.sort();
        format!("{} {fields:?} {}", reply.status, reply.text()).replace(name, "NAME")
    };
    // Of the same length, so that lengths do not differ.
    let nothing = "corp/absent";
    for (private, absent) in [
        (manifest_path(SECRET, TAG), manifest_path(nothing, TAG)),
        (format!("/v2/{SECRET}/tags/list"), format!("/v2/{nothing}/tags/list")),
        (blob_path(SECRET, vault.secret.digest()), blob_path(nothing, vault.secret.digest())),
    ] {
        let private = vault.ask(&Method::GET, &private, None).await;
        let absent = vault.ask(&Method::GET, &absent, None).await;
        assert_eq!(normal(&private, SECRET), normal(&absent, nothing));
    }
}

/// Upstream's storage says more than it should; none of that is passed on.
#[tokio::test]
async fn fields_of_upstreams_storage_stay_there() {
    let setting = Setting::new().await;
    let image = setting.stock();
    setting.registry.behave(|manners| {
        manners.blobs = crate::support::registry::Delivery::Redirected(307);
    });
    let reply = setting.get(&blob_path(REPOSITORY, &image.blobs[0].digest)).await;
    assert_eq!(reply.status, 200);
    assert!(!setting.registry.edge.asked(&edge_path(&image.blobs[0].digest)).is_empty());
    assert!(reply.headers.keys().all(|name| !name.as_str().starts_with("x-amz")), "{reply:?}");
    assert!(!format!("{reply:?}").contains("signature="), "{reply:?}");
}
