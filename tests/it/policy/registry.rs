//! Images under rules.

use http::Method;
use serde_json::json;

use super::stand::{Case, Stand, rule, said, warns_and_runs_dry};
use crate::oci::setting::{HUB, REPOSITORY, TAG, over};
use crate::support::registry::cosign::Signer;
use crate::support::registry::{FakeRegistry, Family, Image};

const EVERYWHERE: [bool; 3] = [true; 3];
/// What only the image itself tells.
const OF_IMAGE: [bool; 3] = [false, true, false];

/// Every key on images, with what the image is.
pub const CASES: [Case; 26] = [
    Case::new("name_in = \"hub.example/library/*\"", "name_in = \"library/demo\"", EVERYWHERE),
    Case::new("name_not_in = \"other.example/*\"", "name_not_in = \"*/demo\"", EVERYWHERE),
    Case::new("version_in = \"1.*\"", "version_in = \"2.*\"", [true, true, false]),
    Case::new("version_not_in = \"x\"", "version_in = \"x\"", EVERYWHERE),
    Case::new("upstream_in = \"hub.example\"", "upstream_in = \"other.example\"", EVERYWHERE),
    Case::new("upstream_not_in = \"other.example\"", "upstream_not_in = \"hub.*\"", EVERYWHERE),
    Case::new("publisher_in = \"library\"", "publisher_in = \"acme\"", EVERYWHERE),
    Case::new("publisher_not_in = \"acme\"", "publisher_not_in = \"library\"", EVERYWHERE),
    Case::new("official_image = true", "official_image = false", EVERYWHERE),
    Case::new("mutable_reference = true", "mutable_reference = false", OF_IMAGE),
    Case::new("license_in = \"GPL*\"", "license_in = \"MIT\"", OF_IMAGE),
    Case::new("license_not_in = \"MIT\"", "license_not_in = \"GPL-3.0-only\"", OF_IMAGE),
    Case::new("license_unknown = false", "license_unknown = true", OF_IMAGE),
    Case::new(
        "source_in = \"https://git.example/*\"",
        "source_in = \"https://other.example/*\"",
        OF_IMAGE,
    ),
    Case::new("source_not_in = \"https://other.example/*\"", "source_not_in = \"*git*\"", OF_IMAGE),
    Case::new("license_changed = false", "license_changed = true", OF_IMAGE),
    Case::new("attested = true", "attested = false", OF_IMAGE),
    Case::new("attestation_verified = true", "attestation_verified = false", OF_IMAGE),
    Case::new("signed_by_in = \"key:*\"", "signed_by_in = \"key:other\"", OF_IMAGE),
    Case::new("signed_by_not_in = \"key:other\"", "signed_by_not_in = \"key:team\"", OF_IMAGE),
    Case::new(
        r#"when = 'signed_by.exists(by, by == "key:team") && attested'"#,
        r#"when = 'signed_by.exists(by, by == "key:other") && attested'"#,
        OF_IMAGE,
    ),
    Case::new(
        r#"when = 'attestation_verified && !license_changed'"#,
        r#"when = '!attestation_verified || license_changed'"#,
        OF_IMAGE,
    ),
    Case::new("release_age_lt = \"30 days\"", "release_age_lt = \"1 day\"", OF_IMAGE),
    Case::new("release_age_gte = \"1 day\"", "release_age_gte = \"30 days\"", OF_IMAGE),
    Case::new(
        r#"when = 'name.matches("/library/[a-z]+$") && official_image'"#,
        r#"when = 'name.matches("^library/") && official_image'"#,
        EVERYWHERE,
    ),
    Case::new(
        r#"when = 'license.contains("GPL") ? mutable_reference : source == ""'"#,
        r#"when = 'license.contains("MIT") ? mutable_reference : source == ""'"#,
        OF_IMAGE,
    ),
];

pub async fn stock() -> (FakeRegistry, Image, Signer) {
    let registry = FakeRegistry::start().await;
    let image = Image::described(
        Family::Oci,
        1,
        &json!({
            "created": "2027-01-01T00:00:00Z",
            "config": { "Labels": {
                "org.opencontainers.image.licenses": "GPL-3.0-only",
                "org.opencontainers.image.source": "https://git.example/demo",
            } },
        }),
    );
    registry.publish(REPOSITORY, TAG, &image);
    let signer = Signer::new();
    // Without a tag of its own, which would be on the list of tags.
    signer.refer(&registry, REPOSITORY, &image.root);
    (registry, image, signer)
}

pub fn settings(registry: &FakeRegistry, signer: &Signer) -> String {
    format!("{}{}", over(registry, ""), signer.known_as("team"))
}

#[tokio::test]
async fn every_key_decides_at_every_point_cold_and_kept() {
    let (registry, image, signer) = stock().await;
    let mut stand = Stand::start(&settings(&registry, &signer), "").await;
    let at = |rest: &str| format!("/v2/{HUB}/{REPOSITORY}/{rest}");
    let (manifest, tags) = (at(&format!("manifests/{TAG}")), at("tags/list"));
    let blob = at(&format!("blobs/{}", image.blobs[1].digest));
    for address in [&manifest, &tags, &blob] {
        stand.keep(address).await;
    }
    for is_kept in [false, true] {
        if is_kept {
            registry.refuse().await;
        }
        for case in CASES {
            for (condition, is_met) in [(case.met, true), (case.unmet, false)] {
                let why = format!("{condition}, kept: {is_kept}");
                stand = stand.with(&rule("deny", condition)).await;
                for (address, is_told) in [(&manifest, case.metadata), (&blob, case.content)] {
                    let reply = stand.larder.get(address).await;
                    match is_met && is_told {
                        true => {
                            assert_eq!(reply.status, 403, "{why}: {address}: {reply:?}");
                            let error = &reply.json()["errors"][0];
                            assert_eq!(error["code"], "DENIED", "{why}");
                            assert!(said(&reply).contains("by rule it"), "{why}: {error}");
                        }
                        false => assert_eq!(reply.status, 200, "{why}: {address}: {reply:?}"),
                    }
                }
                let list = stand.larder.get(&tags).await;
                let is_whole = list.status == 403;
                let shown =
                    !is_whole && list.json()["tags"].as_array().is_some_and(|all| !all.is_empty());
                assert_eq!(shown, !(is_met && case.listing), "{why}: {list:?}");
            }
        }
    }
}

#[tokio::test]
async fn every_key_warns_and_runs_dry() {
    let (registry, image, signer) = stock().await;
    let stand = Stand::start(&settings(&registry, &signer), "").await;
    let manifest = format!("/v2/{HUB}/{REPOSITORY}/manifests/{TAG}");
    let blob = format!("/v2/{HUB}/{REPOSITORY}/blobs/{}", image.blobs[1].digest);
    warns_and_runs_dry(stand, &CASES, (Method::GET, &manifest), &blob).await;
}

#[tokio::test]
async fn an_index_speaks_by_its_first_image_and_a_head_is_judged_as_a_get() {
    let registry = FakeRegistry::start().await;
    let image = Image::multi(Family::Oci, 1);
    registry.publish(REPOSITORY, TAG, &image);
    let rules = "[[rule]]\nid = \"it\"\ndeny_if = { license_unknown = true }";
    let stand = Stand::start(&over(&registry, ""), rules).await;
    let address = format!("/v2/{HUB}/{REPOSITORY}/manifests/{TAG}");
    assert_eq!(stand.head(&address).await.status, 403);
    assert_eq!(stand.larder.get(&address).await.status, 403);
    let stand = stand.with(&rule("deny", "license_in = \"MIT\"")).await;
    assert_eq!(stand.larder.get(&address).await.status, 200);
}
