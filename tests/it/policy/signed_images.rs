//! Images and who vouches for them.

use http::{Method, StatusCode};

use super::stand::{Stand, rule, said};
use crate::oci::setting::{HUB, PAST_FRESHNESS, REPOSITORY, TAG, over};
use crate::support::client::Reply;
use crate::support::origin::Fault;
use crate::support::registry::cosign::{self, Signature, Signer, file};
use crate::support::registry::{Blob, FakeRegistry, Family, Image, blob_path, manifest_path};

const UNSIGNED: &str = "attestation_verified = false";

fn at(reference: &str) -> String {
    format!("/v2/{HUB}/{REPOSITORY}/manifests/{reference}")
}

/// A registry with an image of one platform, and somebody who is known as `team`.
async fn stock() -> (FakeRegistry, Image, Signer) {
    let registry = FakeRegistry::start().await;
    let image = Image::single(Family::Oci, 1);
    registry.publish(REPOSITORY, TAG, &image);
    (registry, image, Signer::new())
}

async fn start(registry: &FakeRegistry, signer: &Signer, rules: &str) -> Stand {
    Stand::start(&format!("{}{}", over(registry, ""), signer.known_as("team")), rules).await
}

/// Asks for the tag anew, whatever is remembered.
async fn again(stand: &Stand) -> Reply {
    stand.larder.advance(PAST_FRESHNESS);
    stand.larder.get(&at(TAG)).await
}

#[tokio::test]
async fn nobody_asks_for_signatures_that_no_rule_looks_at() {
    let (registry, image, signer) = stock().await;
    signer.file(&registry, REPOSITORY, image.digest());
    let stand = start(&registry, &signer, &rule("deny", "license_in = \"GPL*\"")).await;
    assert_eq!(stand.larder.get(&at(TAG)).await.status, 200);
    let asked = registry.journal();
    let is_of_signatures = |one: &&String| one.contains(".sig") || one.contains("/referrers/");
    assert_eq!(asked.iter().filter(is_of_signatures).count(), 0, "{asked:?}");
}

#[tokio::test]
async fn an_image_that_nobody_signed_is_known_to_be_one_in_an_outage() {
    let (registry, image, signer) = stock().await;
    let stand = start(&registry, &signer, &rule("deny", UNSIGNED)).await;
    let reply = stand.larder.get(&at(TAG)).await;
    assert_eq!(reply.status, 403, "{reply:?}");
    assert!(said(&reply).contains("attestation_verified = false"), "{reply:?}");
    // What is refused has been kept all the same: a start again writes down what is under way.
    let mut stand = stand.with(&rule("warn", UNSIGNED)).await;
    stand.keep(&at(TAG)).await;
    stand.keep(&at(image.digest())).await;
    registry.refuse().await;
    for condition in [UNSIGNED, "attested = false", "signed_by_not_in = \"*\""] {
        stand = stand.with(&rule("deny", condition)).await;
        for reference in [TAG, image.digest()] {
            let reply = stand.larder.get(&at(reference)).await;
            assert_eq!(reply.status, 403, "{condition}: {reference}: {reply:?}");
        }
        assert_eq!(stand.head(&at(TAG)).await.status, 403, "{condition}");
    }
}

/// Each is filed in place of a good signature; none is believed, and the client is told why.
#[tokio::test]
async fn what_is_no_signature_of_it_is_not_believed() {
    let (registry, image, signer) = stock().await;
    let digest = image.digest();
    let other = Image::single(Family::Oci, 2);
    let good = signer.of(digest);
    let replaced = Signature { payload: Blob::new("text/plain", "{}"), size: 2, ..good.clone() };
    let garbled = Signature { signature: format!("AAAA{}", &good.signature[4..]), ..good.clone() };
    let large = Signature { size: 2 << 20, ..good.clone() };
    let rules = rule("deny", UNSIGNED);
    let rules = format!("{rules}message = \"attested: {{attested}}, {{attestation_fault}}\"");
    let stand = start(&registry, &signer, &rules).await;
    let cases: [(&str, Vec<Signature>, &str); 6] = [
        ("another image's", vec![signer.of(other.digest())], "of something else"),
        ("a stranger's", vec![Signer::new().of(digest)], "`signature.keys`"),
        ("another payload", vec![replaced], "cannot be read"),
        ("flipped bytes", vec![garbled], "not verified"),
        ("too large", vec![large], "too large"),
        ("too many", vec![Signer::new().of(digest); 300], "more than 64 signatures"),
    ];
    for (case, signatures, told) in cases {
        file(&registry, REPOSITORY, digest, &signatures);
        let reply = again(&stand).await;
        assert_eq!(reply.status, 403, "{case}: {reply:?}");
        assert!(said(&reply).contains("attested: true"), "{case}: {reply:?}");
        assert!(said(&reply).contains(told), "{case}: {reply:?}");
    }
    // One that is good among others that are not is enough.
    file(&registry, REPOSITORY, digest, &[Signer::new().of(digest), signer.of(digest)]);
    let reply = again(&stand).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[tokio::test]
async fn hundreds_of_signatures_cost_no_more_than_some() {
    let (registry, image, signer) = stock().await;
    let signatures: Vec<Signature> =
        (0..300).map(|n| signer.of(&format!("sha256:{n:064x}"))).collect();
    file(&registry, REPOSITORY, image.digest(), &signatures);
    let stand = start(&registry, &signer, &rule("deny", UNSIGNED)).await;
    assert_eq!(stand.larder.get(&at(TAG)).await.status, 403);
    let asked = signatures.iter().filter(|one| registry.crossings(&one.payload.digest).0 > 0);
    assert_eq!(asked.count(), 64);
}

/// In the newer form, which has no tag; and by several people.
#[tokio::test]
async fn bundles_that_refer_to_an_image_vouch_for_it() {
    let (registry, image, signer) = stock().await;
    let bundle = signer.refer(&registry, REPOSITORY, &image.root);
    registry.refer(REPOSITORY, &image.root, "application/sbom");
    let stranger = Signer::new();
    stranger.file(&registry, REPOSITORY, image.digest());
    let rules = rule("warn", "signed_by_in = \"key:team\"");
    let stand = start(&registry, &signer, &rules).await;
    for reference in [TAG, image.digest(), &bundle.digest] {
        let reply = stand.larder.get(&at(reference)).await;
        assert_eq!(reply.status, 200, "{reference}: {reply:?}");
        assert!(reply.header("warning").contains("by rule it"), "{reference}: {reply:?}");
    }
    let both = format!("{}strange = {:?}\n", signer.known_as("team"), stranger.key());
    let settings = format!("{}{both}", over(&registry, ""));
    for (condition, expected) in [
        ("signed_by_not_in = \"key:strange\"", 200),
        ("signed_by_not_in = [\"key:team\", \"x\"]", 200),
        ("signed_by_not_in = \"key:other\"", 403),
        ("when = 'signed_by.exists(by, by == \"key:strange\")'", 403),
        ("when = 'signed_by.all(by, by == \"key:strange\")'", 200),
    ] {
        let stand = Stand::start(&settings, &rule("deny", condition)).await;
        let reply = stand.larder.get(&at(TAG)).await;
        assert_eq!(reply.status, expected, "{condition}: {reply:?}");
    }
}

/// A client pulls the index by its tag and the platform's manifest by its digest; cosign signs the former.
#[tokio::test]
async fn an_index_that_is_signed_speaks_for_its_images_while_it_is_kept() {
    let registry = FakeRegistry::start().await;
    let (image, unsigned) = (Image::multi(Family::Oci, 1), Image::multi(Family::Oci, 2000));
    registry.publish(REPOSITORY, TAG, &image);
    registry.publish(REPOSITORY, "2.0", &unsigned);
    let signer = Signer::new();
    signer.file(&registry, REPOSITORY, image.digest());
    let mut stand = start(&registry, &signer, &rule("deny", UNSIGNED)).await;
    let child = at(&image.children[0].digest);
    let reply = stand.larder.get(&child).await;
    assert_eq!(reply.status, 403, "its index is not known: {reply:?}");
    assert_eq!(stand.larder.get(&at(TAG)).await.status, 200);
    assert_eq!(stand.larder.get(&at("2.0")).await.status, 403);
    assert_eq!(stand.larder.get(&at(&unsigned.children[0].digest)).await.status, 403);
    for address in [&child, &at(image.digest()), &at(TAG)] {
        stand.keep(address).await;
    }
    registry.refuse().await;
    stand = stand.with(&rule("deny", "signed_by_not_in = \"key:team\"")).await;
    for address in [&child, &at(TAG), &at(image.digest())] {
        let reply = stand.larder.get(address).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

/// Whoever verifies signatures gets them through the same rules.
#[tokio::test]
async fn a_signature_passes_as_its_signer() {
    let (registry, image, signer) = stock().await;
    let filed = signer.file(&registry, REPOSITORY, image.digest());
    let stand = start(&registry, &signer, &rule("deny", "signed_by_not_in = \"key:team\"")).await;
    for reference in [&cosign::tag(image.digest()), &filed.digest] {
        let reply = stand.larder.get(&at(reference)).await;
        assert_eq!(reply.status, 200, "{reference}: {reply:?}");
    }
    let strange = Signer::new().file(&registry, REPOSITORY, image.digest());
    let reply = stand.larder.get(&at(&strange.digest)).await;
    assert_eq!(reply.status, 403, "{reply:?}");
}

#[tokio::test]
async fn what_cannot_be_found_out_just_now_is_held_until_it_can() {
    let (registry, image, signer) = stock().await;
    let signature = signer.of(image.digest());
    file(&registry, REPOSITORY, image.digest(), std::slice::from_ref(&signature));
    let tag = manifest_path(REPOSITORY, &cosign::tag(image.digest()));
    let payload = blob_path(REPOSITORY, &signature.payload.digest);
    let referrers = format!("/v2/{REPOSITORY}/referrers/{}", image.digest());
    let rules = format!("[[rule]]\nid = \"it\"\non_missing = \"hold\"\ndeny_if = {{ {UNSIGNED} }}");
    for (path, is_enough) in [(&tag, false), (&payload, false), (&referrers, true)] {
        registry.front.fault(path, Fault::status(500));
        let stand = start(&registry, &signer, &rules).await;
        let reply = stand.larder.get(&at(TAG)).await;
        let expected = if is_enough { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        assert_eq!(reply.status, expected, "{path}: {reply:?}");
        if !is_enough {
            assert!(said(&reply).contains("could not be found out just now"), "{reply:?}");
        }
        registry.heal();
        let reply = again(&stand).await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
    }
    // What a registry says is not there, and its own manifest says is, is no reason to wait.
    registry.destroy_blob(&signature.payload.digest);
    let stand = start(&registry, &signer, &rules).await;
    let reply = stand.larder.get(&at(TAG)).await;
    assert_eq!(reply.status, 403, "{reply:?}");
}

/// The labels of the image that a tag stands for now, and those of the one that it stood for before.
#[tokio::test]
async fn a_tag_that_moves_to_another_licence_is_told() {
    let registry = FakeRegistry::start().await;
    let licensed = |seed: u64, licence: &str| {
        let labels = serde_json::json!({ "org.opencontainers.image.licenses": licence });
        let config = serde_json::json!({ "config": { "Labels": labels } });
        Image::described(Family::Oci, seed, &config)
    };
    let images = [licensed(1, "MIT"), licensed(2, "MIT"), licensed(3, "BUSL-1.1")];
    registry.publish(REPOSITORY, TAG, &images[0]);
    let stand = Stand::start(&over(&registry, ""), &rule("deny", "license_changed = true")).await;
    assert_eq!(stand.larder.get(&at(TAG)).await.status, 200);
    registry.publish(REPOSITORY, TAG, &images[1]);
    assert_eq!(again(&stand).await.status, 200);
    registry.publish(REPOSITORY, TAG, &images[2]);
    let reply = again(&stand).await;
    assert_eq!(reply.status, 403, "{reply:?}");
    assert!(said(&reply).contains("license_changed = true"), "{reply:?}");
    assert_eq!(stand.head(&at(TAG)).await.status, 403);
    // Who names the image itself is not told of what a tag stood for.
    assert_eq!(stand.larder.get(&at(images[2].digest())).await.status, 200);
    registry.refuse().await;
    let stand = stand.with(&rule("deny", "license_changed = true")).await;
    assert_eq!(again(&stand).await.status, 403);
    let asked = stand.larder.client.ask(Method::HEAD, stand.larder.url(&at(TAG))).send().await;
    assert_eq!(asked.status, 403);
}
