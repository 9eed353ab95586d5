//! The adapter between a client and a fake registry: each rule of it once, over real sockets.

mod lists;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use http::Method;

use crate::support::client::Reply;
use crate::support::larder::Larder;
use crate::support::origin::Fault;
use crate::support::registry::{
    Algorithm, Blob, Delivery, Door, FakeRegistry, Family, Head, Image, Limits, Named, Realm,
    Tokens, blob_path, manifest_path,
};
use crate::support::wait::{eventually, until};

const REPOSITORY: &str = "library/demo";

/// Settings of a Larder whose default registry, `hub.example`, is `registry`.
fn over(registry: &FakeRegistry, more: &str) -> String {
    let upstream = registry.front.url("/");
    format!(
        "[cache]\nrevalidate_budget = \"40s\"\n\
         [upstream]\nconnect_timeout = \"6s\"\nhead_timeout = \"6s\"\nread_timeout = \"6s\"\nretries = 0\n\
         breaker_pause = \"50ms\"\nbreaker_pause_max = \"50ms\"\n\
         [oci]\ndefault = \"hub.example\"\n\
         [oci.registries.\"hub.example\"]\nupstream = \"{upstream}\"\nnamespace = \"library\"\n\
         token_hosts = [\"127.0.0.3\"]\nblob_hosts = [\"127.0.0.2\"]\n{more}\n"
    )
}

struct World {
    registry: FakeRegistry,
    larder: Larder,
}

impl World {
    async fn new(more: &str) -> Self {
        let registry = FakeRegistry::start().await;
        let larder = Larder::start(&over(&registry, more)).await;
        Self { registry, larder }
    }

    async fn with(image: &Image, more: &str) -> Self {
        let world = Self::new(more).await;
        world.registry.publish(REPOSITORY, "1", image);
        world
    }

    async fn head(&self, path: &str) -> Reply {
        self.larder.client.head(self.larder.url(path)).send().await
    }

    async fn bearing(&self, path: &str, token: &str) -> Reply {
        let ask = self.larder.client.get(self.larder.url(path));
        ask.with("authorization", &format!("Bearer {token}")).send().await
    }

    async fn exchange(&self, user: &str, password: &str, scope: &str) -> Reply {
        let basic = STANDARD.encode(format!("{user}:{password}"));
        let url = format!("/-/token?service=hub.example&scope={scope}");
        let ask = self.larder.client.get(self.larder.url(&url));
        ask.with("authorization", &format!("Basic {basic}")).send().await
    }

    /// All of an image by digest, the bytes compared.
    async fn pull(&self, name: &str, image: &Image) {
        for manifest in image.manifests() {
            let reply = self.larder.get(&manifest_path(name, &manifest.digest)).await;
            let digest = &manifest.digest;
            assert_eq!(reply.status, 200, "{digest}: {reply:?}");
            assert_eq!(reply.body, manifest.body, "{digest}");
            assert_eq!(reply.header("content-type"), manifest.media_type);
            assert_eq!(reply.header("docker-content-digest"), manifest.digest);
        }
        for blob in &image.blobs {
            let reply = self.larder.get(&blob_path(name, &blob.digest)).await;
            assert_eq!(reply.status, 200, "{reply:?}");
            assert_eq!(Algorithm::Sha256.digest(&reply.body), blob.digest);
        }
    }
}

fn token_of(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["token"].as_str().expect("a token").to_owned()
}

#[tokio::test]
async fn an_image_is_pulled_in_all_three_ways_and_crosses_once() {
    let image = Image::multi(Family::Oci, 1);
    let world = World::with(&image, "").await;
    assert_eq!(world.larder.get("/v2/").await.status, 200);
    for (name, query) in [("demo", ""), ("hub.example/demo", ""), (REPOSITORY, "?ns=hub.example")] {
        let tag = world.larder.get(&format!("{}{query}", manifest_path(name, "1"))).await;
        assert_eq!((tag.status.as_u16(), &tag.body), (200, &image.root.body), "{name}: {tag:?}");
        assert_eq!(tag.header("docker-content-digest"), image.digest());
        assert_eq!(tag.header("content-encoding"), "");
        let echoed = if query.is_empty() { "" } else { "hub.example" };
        assert_eq!(tag.header("oci-namespace"), echoed);
        world.pull(name, &image).await;
    }
    world.pull("demo", &image).await;
    let by_path = format!("/hub.example{}", manifest_path("demo", "1"));
    assert_eq!(world.larder.get(&by_path).await.body, image.root.body);
    for blob in &image.blobs {
        assert_eq!(world.registry.crossings(&blob.digest).0, 1);
        let heads = world.registry.front.asked(&blob_path(REPOSITORY, &blob.digest)).len();
        assert_eq!(heads, 1, "a manifest has vouched for its blobs");
    }
    for manifest in image.manifests() {
        assert_eq!(world.registry.manifest_requests(&Method::GET, REPOSITORY, &manifest.digest), 1);
    }
    assert_eq!(world.registry.manifest_requests(&Method::HEAD, REPOSITORY, "1"), 1);
}

#[tokio::test]
async fn undeclared_registries_and_bad_names_are_refused_without_a_question() {
    let world = World::with(&Image::single(Family::Oci, 1), "").await;
    for (path, status, code) in [
        ("/v2/library/demo/manifests/1?ns=evil.example", 404, "NAME_UNKNOWN"),
        ("/v2/evil.example/demo/manifests/1", 404, "NAME_UNKNOWN"),
        ("/v2/Demo/manifests/1", 400, "NAME_INVALID"),
        ("/v2/demo/manifests/.INVALID", 404, "MANIFEST_UNKNOWN"),
        ("/v2/demo/manifests/sha256:12", 400, "DIGEST_INVALID"),
        ("/v2/demo/blobs/sha256:12", 400, "DIGEST_INVALID"),
        ("/v2/demo/blobs/latest", 400, "DIGEST_INVALID"),
        ("/v2/demo/referrers/latest", 400, "DIGEST_INVALID"),
        ("/v2/demo", 404, "NAME_UNKNOWN"),
    ] {
        let reply = world.larder.get(path).await;
        assert_eq!(reply.status.as_u16(), status, "{path}: {reply:?}");
        assert_eq!(reply.json()["errors"][0]["code"], code, "{path}");
    }
    let push = world.larder.client.ask(Method::POST, world.larder.url("/v2/demo/blobs/uploads/"));
    let push = push.send().await;
    assert_eq!(
        (push.status.as_u16(), push.json()["errors"][0]["code"].as_str()),
        (405, Some("UNSUPPORTED"))
    );
    assert!(world.registry.journal().is_empty(), "{:?}", world.registry.journal());
}

#[tokio::test]
async fn a_warm_tag_costs_nothing_and_a_stale_one_a_head() {
    let world = World::with(&Image::single(Family::Oci, 1), "").await;
    let path = manifest_path("demo", "1");
    assert_eq!(world.larder.get(&path).await.status, 200);
    world.registry.forget();
    assert_eq!(world.larder.get(&path).await.status, 200);
    assert!(world.registry.journal().is_empty());
    world.larder.advance(61);
    assert_eq!(world.larder.get(&path).await.status, 200);
    assert_eq!(world.registry.journal(), [format!("HEAD {}", manifest_path(REPOSITORY, "1"))]);

    let moved = Image::single(Family::Schema2, 9);
    world.registry.publish(REPOSITORY, "1", &moved);
    world.larder.advance(61);
    assert_eq!(world.larder.get(&path).await.body, moved.root.body);
}

#[tokio::test]
async fn a_head_of_a_tag_does_not_count_as_a_pull() {
    let image = Image::single(Family::Oci, 1);
    let world = World::with(&image, "").await;
    let reply = world.head(&manifest_path("demo", "1")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("docker-content-digest"), image.digest());
    assert_eq!(reply.header("content-length"), image.root.body.len().to_string());
    assert_eq!(reply.header("content-type"), image.root.media_type);
    assert_eq!(world.registry.manifest_requests(&Method::GET, REPOSITORY, image.digest()), 0);
}

#[tokio::test]
async fn what_was_kept_is_served_in_every_trouble_and_after_a_restart() {
    let image = Image::single(Family::Oci, 1);
    let mut world = World::with(&image, "").await;
    assert_eq!(world.larder.get(&manifest_path("demo", "1")).await.status, 200);
    world.pull("demo", &image).await;
    world.larder = world.larder.restart().await;
    for (fault, mark) in [
        (Some(Fault::status(503)), "stale"),
        (Some(Fault::status(429)), "stale"),
        (Some(Fault::status(401)), "withdrawn"),
        (Some(Fault::status(404)), "gone"),
        (None, "stale"),
    ] {
        world.registry.heal();
        world.larder.advance(3600);
        assert_eq!(world.larder.get(&manifest_path("demo", "1")).await.header("warning"), "");
        world.larder.advance(3600);
        match fault {
            Some(fault) => world.registry.front.fault("*", fault),
            None => world.registry.refuse().await,
        }
        let reply = world.larder.get(&manifest_path("demo", "1")).await;
        assert_eq!((reply.status.as_u16(), &reply.body), (200, &image.root.body), "{mark}");
        assert!(reply.header("warning").contains(mark), "{mark}: {:?}", reply.headers);
        world.pull("demo", &image).await;
    }
    let cold = world.larder.get(&manifest_path("other", "1")).await;
    assert_eq!(cold.status, 504, "{cold:?}");
}

#[tokio::test]
async fn eight_pulls_at_once_cross_once_also_through_signed_links() {
    let layers = vec![Blob::opaque(Family::Oci, 3, 3 << 20), Blob::layer(Family::Oci, 4)];
    let image = Image::of_layers(Family::Oci, "amd64", layers);
    let world = World::with(&image, "").await;
    world.registry.behave(|manners| {
        manners.blobs = Delivery::Redirected(307);
        manners.door = Door::Bearer(Tokens { realm: Realm::Beside, ..Tokens::default() });
    });
    join_all((0..8).map(|_| world.pull("demo", &image))).await;
    for blob in &image.blobs {
        assert_eq!(world.registry.crossings(&blob.digest), (1, blob.length()));
    }
    let got = world.registry.manifest_requests(&Method::GET, REPOSITORY, image.digest());
    assert!(got <= 2, "one that is challenged, one that is not: {got}");
    assert_eq!(world.registry.token_requests().len(), 1);
}

#[tokio::test]
async fn a_private_repository_is_read_with_credentials_that_were_exchanged_only() {
    let image = Image::single(Family::Oci, 1);
    let world = World::with(&image, "").await;
    world.registry.behave(|manners| manners.door = Door::Bearer(Tokens::default()));
    world.registry.admit("ann", "secret");
    world.registry.restrict(REPOSITORY, Some(&["ann"]));
    let path = manifest_path("demo", "1");
    let refused = world.larder.get(&path).await;
    let challenge = refused.header("www-authenticate");
    assert_eq!(refused.status, 401, "{refused:?}");
    let realm = format!("Bearer realm=\"{}\"", world.larder.url("/-/token"));
    assert!(challenge.starts_with(&realm), "{challenge}");
    assert!(challenge.contains("service=\"hub.example\""), "{challenge}");
    assert!(challenge.contains("scope=\"repository:demo:pull\""), "{challenge}");

    let wrong = world.exchange("ann", "guess", "repository:demo:pull").await;
    assert_eq!(wrong.status, 401, "{wrong:?}");
    let token = token_of(&world.exchange("ann", "secret", "repository:demo:pull").await);
    assert!(!token.contains("token-"), "upstream's token stays here");
    let reply = world.bearing(&path, &token).await;
    assert_eq!((reply.status.as_u16(), &reply.body), (200, &image.root.body), "{reply:?}");
    let blob = &image.blobs[1];
    let blobs = blob_path("demo", &blob.digest);
    assert_eq!(world.bearing(&blobs, &token).await.status, 200);

    let digest = manifest_path("demo", image.digest());
    for closed in [&path, &digest, &blobs, &"/v2/demo/tags/list".to_owned()] {
        assert_eq!(world.larder.get(closed).await.status, 401, "{closed}");
        assert_eq!(world.head(closed).await.status, 401, "{closed}");
        assert_eq!(world.bearing(closed, "forged").await.status, 401, "{closed}");
        let basic = format!("Basic {}", STANDARD.encode("ann:secret"));
        let unasked = world.larder.client.get(world.larder.url(closed));
        let unasked = unasked.with("authorization", &basic).send().await;
        assert_eq!(unasked.status, 401, "credentials outside the exchange are not used: {closed}");
    }
    // A digest that is known opens nothing in another repository.
    world.registry.publish("library/open", "1", &Image::single(Family::Oci, 77));
    let elsewhere = world.larder.get(&blob_path("open", &blob.digest)).await;
    assert_eq!(elsewhere.status, 404, "{elsewhere:?}");
    assert_eq!(world.head(&blob_path("open", &blob.digest)).await.status, 404);
    assert_eq!(world.bearing(&blob_path("open", &blob.digest), &token).await.status, 404);
    // An outage opens nothing either, nor does a capability that is older than it may be.
    world.larder.advance(120);
    world.registry.refuse().await;
    assert_eq!(world.bearing(&path, &token).await.status, 504);
    world.registry.listen();
    world.larder.advance(301);
    assert_eq!(world.bearing(&path, &token).await.status, 401);
}

#[tokio::test]
async fn a_realm_elsewhere_is_not_asked() {
    let image = Image::single(Family::Oci, 1);
    let world = World::with(&image, "").await;
    world.registry.behave(|manners| {
        let realm = Realm::At("http://127.0.0.9:1/token".to_owned());
        manners.door = Door::Bearer(Tokens { realm, ..Tokens::default() });
    });
    let reply = world.larder.get(&manifest_path("demo", "1")).await;
    assert_eq!(reply.status, 502, "{reply:?}");
    assert!(reply.text().contains("not declared"), "{}", reply.text());
}

#[tokio::test]
async fn registries_with_bad_manners_are_understood() {
    for (named, head) in [
        (Named::Missing, Head::Whole),
        (Named::Right, Head::NotAllowed),
        (Named::Right, Head::WithoutLength),
        (Named::Wrong, Head::Whole),
    ] {
        let image = Image::single(Family::Oci, 1);
        let world = World::with(&image, "").await;
        world.registry.behave(|manners| (manners.named, manners.head) = (named, head));
        let reply = world.larder.get(&manifest_path("demo", "1")).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.body),
            (200, &image.root.body),
            "{named:?} {head:?}: {reply:?}"
        );
        assert_eq!(reply.header("docker-content-digest"), image.digest());
    }
}

#[tokio::test]
async fn few_pulls_left_are_kept_for_what_is_not_kept() {
    let world = World::with(&Image::single(Family::Oci, 1), "").await;
    let limits = Limits { limit: 100, remaining: 6, retry_after_secs: None };
    world.registry.behave(|manners| manners.limits = Some(limits));
    let path = manifest_path("demo", "1");
    assert_eq!(world.larder.get(&path).await.status, 200);
    world.registry.forget();
    world.larder.advance(300);
    assert_eq!(world.larder.get(&path).await.status, 200);
    assert!(world.registry.journal().is_empty());
    world.larder.advance(600);
    assert_eq!(world.larder.get(&path).await.status, 200);
    assert_eq!(world.registry.journal().len(), 1);
}

#[tokio::test]
async fn images_are_made_whole_where_the_settings_say_so() {
    let image = Image::multi(Family::Oci, 1);
    let world = World::with(&image, "keep = \"all\"").await;
    let signature = world.registry.sign(REPOSITORY, image.digest());
    let bill = world.registry.refer(REPOSITORY, &image.root, "application/x.sbom");
    assert_eq!(world.larder.get(&manifest_path("demo", "1")).await.status, 200);
    for blob in image.blobs.iter().chain(&signature.blobs) {
        let url = world.larder.url(&blob_path("demo", &blob.digest));
        eventually(&format!("{} is kept", blob.digest), async || {
            let ask = world.larder.client.get(&url).with("cache-control", "only-if-cached");
            ask.send().await.status == 200
        })
        .await;
    }
    let asked = || world.registry.manifest_requests(&Method::GET, REPOSITORY, &bill.digest);
    until("the bill is fetched", || asked() == 1).await;
    let larder = world.larder.restart().await;
    world.registry.refuse().await;
    let world = World { larder, registry: world.registry };
    world.pull("demo", &image).await;
    world.pull("demo", &signature).await;
    let tag = format!("{}.sig", image.digest().replace(':', "-"));
    assert_eq!(world.larder.get(&manifest_path("demo", &tag)).await.status, 200);
}

#[tokio::test]
async fn withdrawn_images_are_closed_where_the_settings_say_so() {
    let image = Image::single(Family::Oci, 1);
    let world = World::with(&image, "after_withdrawal = \"deny\"").await;
    world.registry.behave(|manners| manners.door = Door::Bearer(Tokens::default()));
    world.pull("demo", &image).await;
    world.registry.restrict(REPOSITORY, Some(&[]));
    world.registry.revoke_tokens();
    world.larder.advance(120);
    for path in [
        manifest_path("demo", image.digest()),
        manifest_path("demo", "1"),
        blob_path("demo", &image.blobs[0].digest),
    ] {
        assert_eq!(world.larder.get(&path).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn ranges_are_served_of_what_arrives() {
    let layer = Blob::opaque(Family::Oci, 3, 3 << 20);
    let image = Image::of_layers(Family::Oci, "amd64", vec![layer.clone()]);
    let world = World::with(&image, "").await;
    assert_eq!(world.larder.get(&manifest_path("demo", image.digest())).await.status, 200);
    let path = blob_path("demo", &layer.digest);
    let head = world.head(&path).await;
    assert_eq!(head.header("content-length"), layer.length().to_string(), "{head:?}");
    assert_eq!(head.header("accept-ranges"), "bytes");
    let ask = world.larder.client.get(world.larder.url(&path)).with("range", "bytes=1000-1999");
    let part = ask.send().await;
    assert_eq!((part.status.as_u16(), part.body.len()), (206, 1000), "{part:?}");
    assert!(layer.pattern().matches(1000, &part.body));
    let whole = world.larder.get(&path).await;
    assert_eq!(whole.header("location"), path);
    assert_eq!(whole.header("etag"), format!("\"{}\"", layer.digest));
    assert_eq!(world.registry.crossings(&layer.digest), (1, layer.length()));
    world.larder.stop().await;
}

#[tokio::test]
async fn what_an_outage_interrupted_is_taken_up_again() {
    let image = Image::multi(Family::Oci, 1);
    let world = World::with(&image, "keep = \"all\"").await;
    let last = image.blobs.last().expect("blobs");
    let path = blob_path(REPOSITORY, &last.digest);
    world.registry.front.fault(&path, Fault::status(503));
    assert_eq!(world.larder.get(&manifest_path("demo", "1")).await.status, 200);
    world.registry.front.until_asked(&path, 1).await;
    world.registry.heal();
    world.larder.advance(120);
    assert_eq!(world.larder.get(&manifest_path("demo", "1")).await.status, 200);
    until("the rest is fetched", || world.registry.crossings(&last.digest).0 == 1).await;
}

#[tokio::test]
async fn a_blob_behind_a_link_for_get_alone_is_described() {
    let layer = Blob::opaque(Family::Oci, 3, 3 << 20);
    let image = Image::of_layers(Family::Oci, "amd64", vec![layer.clone()]);
    let world = World::with(&image, "").await;
    world.registry.behave(|manners| manners.blobs = Delivery::Redirected(307));
    let reply = world.head(&blob_path("demo", &layer.digest)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("content-length"), layer.length().to_string());
    assert_eq!(reply.header("docker-content-digest"), layer.digest);
}

#[tokio::test]
async fn clients_that_learn_of_challenges_from_the_ping_alone_are_told_there() {
    let image = Image::single(Family::Oci, 1);
    let world = World::with(&image, "").await;
    world.registry.behave(|manners| manners.door = Door::Bearer(Tokens::default()));
    let ping = |agent: &'static str| {
        world.larder.client.get(world.larder.url("/v2/")).with("user-agent", agent)
    };
    assert_eq!(ping("docker/20.10.24").send().await.status, 200);
    let told = ping("skopeo/1.9.3").send().await;
    let realm = format!("Bearer realm=\"{}\"", world.larder.url("/-/token"));
    assert_eq!(told.status, 401, "{told:?}");
    assert!(told.header("www-authenticate").starts_with(&realm), "{told:?}");
    let scope = "/-/token?service=larder&scope=repository:hub.example/library/demo:pull";
    let token = token_of(&world.larder.get(scope).await);
    assert!(world.registry.journal().is_empty(), "nobody is asked for nobody");
    let again = ping("skopeo/1.9.3").with("authorization", &format!("Bearer {token}"));
    assert_eq!(again.send().await.status, 200);
    let path = manifest_path("hub.example/demo", "1");
    assert_eq!(world.bearing(&path, &token).await.status, 200);

    // Credentials are not shown for what is public, and an outage does not keep anybody from what is kept.
    world.registry.forget();
    token_of(&world.exchange("ann", "other-registry", "repository:demo:pull").await);
    let shown = world.registry.token_requests();
    assert!(shown.iter().all(|asked| asked.header("authorization").is_none()));
    world.larder.advance(120);
    world.registry.refuse().await;
    let token = token_of(&world.exchange("ann", "secret", "repository:demo:pull").await);
    assert_eq!(world.bearing(&path, &token).await.status, 200);
}
