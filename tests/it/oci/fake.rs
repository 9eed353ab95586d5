//! The fake registry is the ground that the other tests stand on: what it claims to do is tested straight, with nothing of ours in between.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;

use crate::support::client::{Client, Reply};
use crate::support::origin::Fault;
use crate::support::registry::image::{OCI_INDEX, OCI_MANIFEST, SCHEMA2};
use crate::support::registry::{
    Algorithm, Blob, Delivery, Door, FakeRegistry, Family, Form, Head, Image, Limits, Named, Realm,
    Tokens, blob_path, manifest_path,
};

const REPOSITORY: &str = "library/demo";

async fn stocked() -> (FakeRegistry, Image) {
    let registry = FakeRegistry::start().await;
    let image = Image::multi(Family::Oci, 1);
    registry.publish(REPOSITORY, "1.0", &image);
    (registry, image)
}

async fn get(registry: &FakeRegistry, path: &str, fields: &[(&'static str, &str)]) -> Reply {
    ask(registry, Method::GET, path, fields).await
}

async fn ask(
    registry: &FakeRegistry,
    method: Method,
    path: &str,
    fields: &[(&'static str, &str)],
) -> Reply {
    let ask = Client::new().ask(method, registry.front.url(path));
    fields.iter().fold(ask, |ask, (name, value)| ask.with(name, value)).send().await
}

#[tokio::test]
async fn images_are_whole_and_named_by_their_bytes() {
    for family in [Family::Oci, Family::Schema2] {
        let registry = FakeRegistry::start().await;
        let image = Image::multi(family, 7);
        registry.publish(REPOSITORY, "1.0", &image);
        let tag = get(&registry, &manifest_path(REPOSITORY, "1.0"), &[]).await;
        assert_eq!((tag.status.as_u16(), &tag.body), (200, &image.root.body));
        assert_eq!(tag.header("docker-content-digest"), image.digest());
        for manifest in image.manifests() {
            let reply = get(&registry, &manifest_path(REPOSITORY, &manifest.digest), &[]).await;
            assert_eq!(Algorithm::Sha256.digest(&reply.body), manifest.digest);
            assert_eq!(reply.header("content-type"), manifest.media_type);
        }
        for blob in &image.blobs {
            let reply = get(&registry, &blob_path(REPOSITORY, &blob.digest), &[]).await;
            assert_eq!(Algorithm::Sha256.digest(&reply.body), blob.digest);
            assert_eq!(registry.crossings(&blob.digest), (1, blob.length()));
        }
    }
}

#[tokio::test]
async fn layers_are_archives() {
    let layer = Blob::layer(Family::Oci, 3);
    let bytes = layer.content.at(0, usize::MAX);
    let mut archive = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut archive)
        .expect("it is gzip");
    assert_eq!((&archive[257..262], archive.len() % 512), (&b"ustar"[..], 0));
    assert!(archive.starts_with(b"etc/larder-3\0"));
}

#[tokio::test]
async fn accept_is_read_from_all_its_lines() {
    let (registry, _) = stocked().await;
    let path = manifest_path(REPOSITORY, "1.0");
    let check = async |lines: &[&str], status: u16| {
        let fields: Vec<_> = lines.iter().map(|line| ("accept", *line)).collect();
        assert_eq!(get(&registry, &path, &fields).await.status, status, "{lines:?}");
    };
    check(&[SCHEMA2], 404).await;
    check(&[SCHEMA2, OCI_INDEX], 200).await;
    check(&[&format!("{SCHEMA2};q=0.5, {OCI_INDEX};q=0.1")], 200).await;
    check(&[&format!("{OCI_MANIFEST}, */*")], 200).await;
}

#[tokio::test]
async fn heads_are_as_bad_as_they_are_meant_to_be() {
    let (registry, image) = stocked().await;
    let path = manifest_path(REPOSITORY, "1.0");
    let length = image.root.body.len().to_string();
    let head = async || ask(&registry, Method::HEAD, &path, &[]).await;
    assert_eq!(head().await.header("content-length"), length);
    registry.behave(|manners| manners.head = Head::WithoutLength);
    let bare = head().await;
    assert_eq!(
        (bare.header("content-length"), bare.header("docker-content-digest")),
        ("", image.digest())
    );
    registry.behave(|manners| manners.head = Head::NotAllowed);
    assert_eq!(head().await.status, 405);
    registry.behave(|manners| (manners.head, manners.named) = (Head::Whole, Named::Missing));
    assert_eq!(head().await.header("docker-content-digest"), "");
    registry.behave(|manners| manners.named = Named::Wrong);
    assert_ne!(head().await.header("docker-content-digest"), image.digest());
}

#[tokio::test]
async fn the_edge_takes_signed_links_and_nothing_else() {
    let (registry, image) = stocked().await;
    registry.behave(|manners| manners.blobs = Delivery::Redirected(307));
    let digest = &image.blobs[0].digest;
    let redirect = get(&registry, &blob_path(REPOSITORY, digest), &[]).await;
    assert_eq!(redirect.status, 307);
    let link = redirect.header("location").to_owned();
    let client = Client::new();
    let status = async |ask: crate::support::client::Ask| ask.send().await.status.as_u16();
    assert_eq!(status(client.get(&link)).await, 200);
    assert_eq!(status(client.get(&link).with("range", "bytes=1-2")).await, 206);
    assert_eq!(status(client.get(&link).with("authorization", "Bearer x")).await, 400);
    assert_eq!(status(client.head(&link)).await, 403);
    assert_eq!(status(client.get(link.split('?').next().expect("a path"))).await, 403);
    registry.behave(|manners| (manners.edge_encodes, manners.edge_heads) = (true, true));
    assert_eq!(client.get(&link).send().await.header("content-encoding"), "gzip");
    assert_eq!(status(client.head(&link)).await, 200);
    registry.expire_links();
    assert_eq!(status(client.get(&link)).await, 403);
    // HEAD is answered by the registry itself.
    assert_eq!(ask(&registry, Method::HEAD, &blob_path(REPOSITORY, digest), &[]).await.status, 200);
}

#[tokio::test]
async fn the_budget_counts_gets_of_manifests() {
    let (registry, image) = stocked().await;
    let limits = Limits { limit: 2, remaining: 2, retry_after_secs: Some(9) };
    registry.behave(|manners| manners.limits = Some(limits));
    let path = manifest_path(REPOSITORY, "1.0");
    let head = ask(&registry, Method::HEAD, &path, &[]).await;
    assert_eq!(
        (head.header("ratelimit-limit"), head.header("ratelimit-remaining")),
        ("2;w=21600", "2;w=21600")
    );
    assert_eq!(get(&registry, &path, &[]).await.header("ratelimit-remaining"), "1;w=21600");
    assert_eq!(get(&registry, &path, &[]).await.status, 200);
    let refused = get(&registry, &path, &[]).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "9"));
    assert_eq!(refused.json()["errors"][0]["code"], "TOOMANYREQUESTS");
    assert_eq!(registry.remaining(), Some(0));
    assert_eq!(ask(&registry, Method::HEAD, &path, &[]).await.status, 200);
    assert_eq!(
        get(&registry, &blob_path(REPOSITORY, &image.blobs[0].digest), &[]).await.status,
        200
    );
    let counted = |method| registry.manifest_requests(&method, REPOSITORY, "1.0");
    assert_eq!((counted(Method::GET), counted(Method::HEAD)), (3, 2));
}

#[tokio::test]
async fn lists_come_in_pages() {
    let (registry, image) = stocked().await;
    for tag in ["0.9", "1.1", "2.0"] {
        registry.tag(REPOSITORY, tag, image.digest());
    }
    registry.behave(|manners| manners.page = Some(3));
    let first = get(&registry, "/v2/library/demo/tags/list", &[]).await;
    assert_eq!(first.json()["tags"], serde_json::json!(["0.9", "1.0", "1.1"]));
    let link = first.header("link").to_owned();
    let next = link.trim_start_matches('<').split('>').next().expect("an address");
    let second = get(&registry, next, &[]).await;
    assert_eq!(
        (second.json()["tags"].clone(), second.header("link")),
        (serde_json::json!(["2.0"]), "")
    );
    let none = get(&registry, "/v2/library/demo/tags/list?n=0", &[]).await;
    assert_eq!((none.json()["tags"].clone(), none.header("link")), (serde_json::json!([]), ""));
}

#[tokio::test]
async fn referrers_are_found() {
    let (registry, image) = stocked().await;
    for number in 0..3 {
        registry.refer(REPOSITORY, &image.root, &format!("application/x.{number}"));
    }
    let path = format!("/v2/{REPOSITORY}/referrers/{}", image.digest());
    let all = get(&registry, &path, &[]).await;
    assert_eq!(
        (all.header("content-type"), all.json()["manifests"].as_array().map(Vec::len)),
        (OCI_INDEX, Some(3))
    );
    let one = get(&registry, &format!("{path}?artifactType=application/x.1"), &[]).await;
    assert_eq!(
        (one.header("oci-filters-applied"), one.json()["manifests"].as_array().map(Vec::len)),
        ("artifactType", Some(1))
    );
    registry.behave(|manners| manners.page = Some(2));
    assert!(get(&registry, &path, &[]).await.header("link").contains("rel=\"next\""));
    registry.behave(|manners| manners.referrers = false);
    assert_eq!(get(&registry, &path, &[]).await.status, 404);
    let signature = registry.sign(REPOSITORY, image.digest());
    let tag = format!("{}.sig", image.digest().replace(':', "-"));
    assert_eq!(
        get(&registry, &manifest_path(REPOSITORY, &tag), &[]).await.body,
        signature.root.body
    );
}

#[tokio::test]
async fn other_algorithms_name_things() {
    let registry = FakeRegistry::start().await;
    let image = Image::single_named_by(Algorithm::Sha512, 1);
    registry.publish(REPOSITORY, "1.0", &image);
    assert!(image.digest().starts_with("sha512:") && image.digest().len() == 7 + 128);
    let reply = get(&registry, &manifest_path(REPOSITORY, image.digest()), &[]).await;
    assert_eq!(Algorithm::Sha512.digest(&reply.body), image.digest());
    assert_eq!(
        get(&registry, &blob_path(REPOSITORY, &image.blobs[1].digest), &[]).await.status,
        200
    );
}

/// The parameters of a challenge.
fn parameter<'a>(challenge: &'a str, name: &str) -> &'a str {
    let (_, rest) = challenge.split_once(&format!("{name}=\"")).expect("the parameter is there");
    rest.split('"').next().unwrap_or_default()
}

#[tokio::test]
async fn tokens_open_what_they_were_asked_for() {
    let (registry, _) = stocked().await;
    let secret = Image::single(Family::Oci, 50);
    registry.publish("corp/secret", "1.0", &secret);
    registry.restrict("corp/secret", Some(&["alice"]));
    registry.admit("alice", "wonder");
    registry.behave(|manners| manners.door = Door::Bearer(Tokens::default()));
    assert_eq!(get(&registry, "/v2/", &[]).await.status, 401);

    let enter = async |repository: &str, basic: Option<&str>| {
        let path = manifest_path(repository, "1.0");
        let refused = get(&registry, &path, &[]).await;
        let challenge = refused.header("www-authenticate").to_owned();
        assert_eq!(
            (refused.status.as_u16(), refused.json()["errors"][0]["code"].clone()),
            (401, "UNAUTHORIZED".into())
        );
        let (realm, service) = (parameter(&challenge, "realm"), parameter(&challenge, "service"));
        let scope = parameter(&challenge, "scope");
        let client = Client::new();
        let ask = client.get(format!("{realm}?service={service}&scope={scope}&account=x"));
        let ask = match basic {
            Some(basic) => ask.with("authorization", &format!("Basic {}", STANDARD.encode(basic))),
            None => ask,
        };
        let granted = ask.send().await;
        if granted.status != 200 {
            return (granted.status.as_u16(), String::new());
        }
        let token = granted.json()["token"].as_str().unwrap_or_default().to_owned();
        let bearer = format!("Bearer {token}");
        (get(&registry, &path, &[("authorization", &bearer)]).await.status.as_u16(), bearer)
    };
    let (status, bearer) = enter(REPOSITORY, None).await;
    assert_eq!(status, 200);
    assert_eq!(enter("corp/secret", None).await.0, 401);
    assert_eq!(enter("corp/secret", Some("alice:wonder")).await.0, 200);
    assert_eq!(enter("corp/secret", Some("alice:wrong")).await.0, 401);
    assert_eq!(enter("corp/nothing", Some("alice:wonder")).await.0, 401);
    let other =
        get(&registry, &manifest_path("corp/secret", "1.0"), &[("authorization", &bearer)]).await;
    assert!(other.header("www-authenticate").contains("insufficient_scope"), "{other:?}");
    registry.revoke_tokens();
    let revoked =
        get(&registry, &manifest_path(REPOSITORY, "1.0"), &[("authorization", &bearer)]).await;
    assert!(revoked.header("www-authenticate").contains("invalid_token"), "{revoked:?}");
    registry.dismiss("alice");
    assert_eq!(enter("corp/secret", Some("alice:wonder")).await.0, 401);
    assert!(registry.token_requests().len() >= 5);
}

#[tokio::test]
async fn token_servers_differ() {
    let (registry, _) = stocked().await;
    registry.admit("alice", "wonder");
    let token = async |tokens: Tokens| {
        let host = if tokens.realm == Realm::Beside { &registry.tokens } else { &registry.front };
        registry.behave(|manners| manners.door = Door::Bearer(tokens));
        Client::new().get(host.url("/token?scope=repository:library/demo:pull")).send().await
    };
    let both = token(Tokens::default()).await.json();
    assert_eq!(
        (both["token"] == both["access_token"], both["expires_in"].clone()),
        (true, 300.into())
    );
    let bare = Tokens {
        realm: Realm::Beside,
        form: Form::AccessToken,
        expires_in: None,
        issued_at: Some(String::new()),
        ..Tokens::default()
    };
    let bare = token(bare).await.json();
    assert!(bare["token"].is_null() && bare["expires_in"].is_null() && bare["issued_at"] == "");
    let shy = Tokens { form: Form::Token, anonymous: false, ..Tokens::default() };
    assert_eq!(token(shy).await.status, 401);
    let elsewhere =
        Tokens { realm: Realm::At("http://192.0.2.1/token".to_owned()), ..Tokens::default() };
    token(elsewhere).await;
    let challenge = get(&registry, "/v2/", &[]).await;
    assert!(challenge.header("www-authenticate").contains("http://192.0.2.1/token"));

    let post = async |post: Option<u16>| {
        registry
            .behave(|manners| manners.door = Door::Bearer(Tokens { post, ..Tokens::default() }));
        let form = "grant_type=password&username=alice&password=wonder&scope=repository%3Alibrary%2Fdemo%3Apull";
        let ask = Client::new().ask(Method::POST, registry.front.url("/token")).body(form);
        ask.send().await.status.as_u16()
    };
    assert_eq!((post(None).await, post(Some(404)).await), (200, 404));
}

#[tokio::test]
async fn names_and_passwords_open_the_other_door() {
    let (registry, _) = stocked().await;
    registry.admit("alice", "wonder");
    registry.restrict(REPOSITORY, Some(&["bob"]));
    registry.behave(|manners| manners.door = Door::Basic);
    let path = manifest_path(REPOSITORY, "1.0");
    assert!(get(&registry, &path, &[]).await.header("www-authenticate").starts_with("Basic "));
    let basic = format!("Basic {}", STANDARD.encode("alice:wonder"));
    let field = [("authorization", basic.as_str())];
    assert_eq!(get(&registry, &path, &field).await.status, 403);
    registry.restrict(REPOSITORY, None);
    assert_eq!(get(&registry, &path, &field).await.status, 200);
}

#[tokio::test]
async fn things_disappear() {
    let (registry, image) = stocked().await;
    let status = async |path: &str| get(&registry, path, &[]).await.status.as_u16();
    registry.delete_tag(REPOSITORY, "1.0");
    assert_eq!(status(&manifest_path(REPOSITORY, "1.0")).await, 404);
    assert_eq!(status(&manifest_path(REPOSITORY, image.digest())).await, 200);
    let blob = &image.blobs[0];
    registry.destroy_blob(&blob.digest);
    assert_eq!(status(&blob_path(REPOSITORY, &blob.digest)).await, 404);
    registry.restrict(REPOSITORY, Some(&[]));
    assert_eq!(status(&manifest_path(REPOSITORY, image.digest())).await, 404);
    registry.delete_repository(REPOSITORY);
    assert_eq!(status("/v2/library/demo/tags/list").await, 404);
    registry.refuse().await;
    assert!(tokio::net::TcpStream::connect(registry.front.address).await.is_err());
    registry.listen();
    assert_eq!(status("/v2/").await, 200);
    assert_eq!(registry.journal().len(), 6);
    registry.forget();
    assert!(registry.journal().is_empty());
}

#[tokio::test]
async fn layers_can_be_large_or_said_to_be_elsewhere() {
    let registry = FakeRegistry::start().await;
    let large = Blob::opaque(Family::Oci, 3, 1 << 20);
    let foreign = Blob::foreign(4, "http://layers.example/4");
    let image = Image::of_layers(Family::Schema2, "amd64", vec![large.clone(), foreign]);
    registry.publish(REPOSITORY, "1.0", &image);
    assert!(String::from_utf8_lossy(&image.root.body).contains("http://layers.example/4"));
    let path = blob_path(REPOSITORY, &large.digest);
    registry.front.fault("*", Fault::Corrupt);
    let wrong = get(&registry, &path, &[]).await;
    assert!(!large.pattern().matches(0, &wrong.body));
    registry.heal();
    assert!(large.pattern().matches(0, &get(&registry, &path, &[]).await.body));
    assert_eq!(registry.crossings(&large.digest), (2, 2 << 20));
}
