//! Signatures of cosign's own, and others of which one thing is wrong.

use super::*;
use crate::signature::key::tests::Pair;
use crate::signature::{PublicKey, Roots};

const IMAGE: &str = "sha256:2f0249ebb962c1281b791aafe68ec39caa2751eecad1c6a5042cbdc43548d764";
const OTHER: &str = "sha256:c05263d2ff654c3a94243662440913f045075d59c436e2c69e9145ec2b87a321";

/// What cosign filed, with a key of its maker's.
const KEYED: &str = include_str!("../../../tests/fixtures/cosign/keyed.manifest.json");
const KEYED_PAYLOAD: &[u8] = include_bytes!("../../../tests/fixtures/cosign/keyed.payload.json");
const KEY: &str = include_str!("../../../tests/fixtures/cosign/keyed.pem");

/// What cosign filed, with a certificate of the public Sigstore.
#[cfg(feature = "signatures")]
const KEYLESS: &str = include_str!("../../../tests/fixtures/cosign/keyless.manifest.json");

fn one(manifest: &str) -> Voucher {
    let mut all = vouchers(manifest.as_bytes(), 8);
    assert_eq!(all.len(), 1, "{manifest}");
    all.remove(0)
}

fn trusting(keys: Vec<PublicKey>) -> Trust {
    Trust::new(Roots::default(), keys)
}

fn known() -> Trust {
    let key = PublicKey::from_pem("maker", KEY).expect("a key");
    trusting(vec![Pair::generate().public("spare"), key])
}

/// A payload for this digest, and the manifest it is filed in.
fn signed(pair: &Pair, digest: &str) -> (Voucher, Vec<u8>) {
    let payload = json!({"critical": {"image": {"docker-manifest-digest": digest}}}).to_string();
    let signature = BASE64_STANDARD.encode(pair.sign(payload.as_bytes()));
    let annotations = json!({"dev.cosignproject.cosign/signature": signature});
    let layer = json!({"mediaType": PAYLOAD, "digest": IMAGE, "annotations": annotations});
    (one(&json!({"layers": [layer]}).to_string()), payload.into_bytes())
}

#[test]
fn a_signature_of_cosigns_is_believed_by_its_key() {
    let voucher = one(KEYED);
    assert_eq!(voucher.size, Some(235));
    assert_eq!(voucher.digest, format!("sha256:{}", hex::encode(Sha256::digest(KEYED_PAYLOAD))));
    assert_eq!(voucher.names(KEYED_PAYLOAD).as_deref(), Some(IMAGE));
    assert_eq!(voucher.verify(&known(), KEYED_PAYLOAD, IMAGE).as_deref(), Ok("key:maker"));
    let nobodys = voucher.verify(&trusting(Vec::new()), KEYED_PAYLOAD, IMAGE);
    assert!(matches!(nobodys, Err(Unbelieved::Signature(_))), "{nobodys:?}");
    let others = trusting(vec![Pair::generate().public("other")]);
    let others = voucher.verify(&others, KEYED_PAYLOAD, IMAGE);
    assert!(matches!(others, Err(Unbelieved::Signature(_))), "{others:?}");
}

#[test]
fn a_signature_counts_for_the_image_that_it_names() {
    let other = one(KEYED).verify(&known(), KEYED_PAYLOAD, OTHER);
    assert_eq!(other, Err(Unbelieved::Subject(IMAGE.to_owned())));
    let pair = Pair::generate();
    let trust = trusting(vec![pair.public("team")]);
    let (voucher, payload) = signed(&pair, OTHER);
    assert!(voucher.verify(&trust, &payload, IMAGE).is_err());
    assert_eq!(voucher.verify(&trust, &payload, OTHER).as_deref(), Ok("key:team"));
}

#[test]
fn a_flipped_byte_is_refused() {
    let (voucher, trust) = (one(KEYED), known());
    for at in 0..KEYED_PAYLOAD.len() {
        let mut payload = KEYED_PAYLOAD.to_vec();
        payload[at] ^= 1;
        assert!(voucher.verify(&trust, &payload, IMAGE).is_err(), "{at}");
    }
    let told = |signature: &str| {
        let mut manifest: Value = serde_json::from_str(KEYED).expect("JSON");
        manifest["layers"][0]["annotations"]["dev.cosignproject.cosign/signature"] =
            signature.into();
        one(&manifest.to_string()).verify(&trust, KEYED_PAYLOAD, IMAGE).expect_err("it is refused")
    };
    assert!(matches!(told("!"), Unbelieved::Unreadable(_)));
    assert!(matches!(told(""), Unbelieved::Signature(_)));
    assert!(matches!(told("AAAA"), Unbelieved::Signature(_)));
}

#[test]
fn what_is_no_manifest_of_signatures_has_none() {
    let layer = |kind: &str| json!({"mediaType": kind, "digest": IMAGE});
    let count = |manifest: Value| vouchers(manifest.to_string().as_bytes(), 3).len();
    assert_eq!(count(json!({"layers": [layer(PAYLOAD), layer(PAYLOAD)]})), 2);
    assert_eq!(count(json!({"layers": vec![layer(PAYLOAD); 400]})), 3);
    assert_eq!(
        count(json!({"layers": [layer("application/vnd.dev.sigstore.bundle.v0.3+json")]})),
        1
    );
    // A layer of another kind behind any number of signatures makes it something else.
    let mut layers = vec![layer(PAYLOAD); 400];
    layers.push(layer("application/vnd.oci.image.layer.v1.tar+gzip"));
    assert_eq!(count(json!({ "layers": layers })), 0);
    for more in ["manifests", "blobs", "fsLayers"] {
        assert_eq!(count(json!({"layers": [layer(PAYLOAD)], more: []})), 0, "{more}");
    }
    assert_eq!(count(json!({})), 0);
    assert_eq!(vouchers(b"<html>", 3), Vec::new());
    let odd = json!({"layers": [{"mediaType": PAYLOAD, "digest": IMAGE, "annotations": [1]}]});
    let odd = one(&odd.to_string()).verify(&known(), KEYED_PAYLOAD, IMAGE);
    assert!(matches!(odd, Err(Unbelieved::Signature(_))), "{odd:?}");
}

/// The newer form: a statement about the image in a bundle.
#[test]
fn a_bundle_is_believed_by_its_key() {
    use crate::signature::bundle::tests::keyed;
    let pair = Pair::generate();
    let trust = trusting(vec![pair.public("team")]);
    let outcome = |kind: &str, predicate: &str, sha256: &str, by: &Pair| {
        let statement = json!({
            "_type": kind, "predicateType": predicate,
            "subject": [{"digest": {"sha256": sha256}}], "predicate": {},
        });
        let bundle = keyed(&statement.to_string(), |message| by.sign(message)).to_string();
        let layer = json!({"mediaType": format!("{BUNDLE}.v0.3+json"), "digest": IMAGE});
        let voucher = one(&json!({"layers": [layer]}).to_string());
        voucher.verify(&trust, bundle.as_bytes(), IMAGE)
    };
    let ours = IMAGE.trim_start_matches("sha256:");
    let [statement, former] = STATEMENTS;
    for (kind, predicate) in
        [(statement, PREDICATES[0]), (statement, PREDICATES[1]), (former, PREDICATES[0])]
    {
        let told = outcome(kind, predicate, ours, &pair);
        assert_eq!(told.as_deref(), Ok("key:team"), "{kind} {predicate}");
    }
    let other = outcome(statement, PREDICATES[0], OTHER.trim_start_matches("sha256:"), &pair);
    assert!(matches!(other, Err(Unbelieved::Subject(_))), "{other:?}");
    let parts = outcome(statement, "https://cyclonedx.org/bom", ours, &pair);
    assert!(matches!(parts, Err(Unbelieved::Subject(_))), "{parts:?}");
    let stranger = outcome(statement, PREDICATES[0], ours, &Pair::generate());
    assert!(matches!(stranger, Err(Unbelieved::Signature(_))), "{stranger:?}");
    assert!(matches!(outcome("x", PREDICATES[0], ours, &pair), Err(Unbelieved::Subject(_))));
}

#[cfg(feature = "signatures")]
mod keyless {
    use super::*;

    fn payload() -> Vec<u8> {
        let text = include_str!("../../../tests/fixtures/cosign/keyless.payload.base64");
        let text: String = text.split_ascii_whitespace().collect();
        BASE64_STANDARD.decode(text).expect("Base64")
    }

    fn changed(change: impl FnOnce(&mut Value)) -> Voucher {
        let mut manifest: Value = serde_json::from_str(KEYLESS).expect("JSON");
        change(&mut manifest["layers"][0]["annotations"]);
        one(&manifest.to_string())
    }

    /// The signature of another payload than the certificate's holder has made, and so on: each is one thing changed.
    #[test]
    fn a_certificate_and_its_entry_in_the_log_are_believed() {
        let trust = Trust::default();
        let voucher = one(KEYLESS);
        let by = voucher.verify(&trust, &payload(), OTHER).expect("it is verified");
        assert!(by.contains("/.github/workflows/release.yaml@refs/tags/"), "{by}");
        assert_eq!(voucher.names(&payload()).as_deref(), Some(OTHER));
        assert!(voucher.verify(&trust, &payload(), IMAGE).is_err());
        let mut flipped = payload();
        flipped[20] ^= 1;
        assert!(voucher.verify(&trust, &flipped, OTHER).is_err());
    }

    #[test]
    fn each_part_of_it_is_needed() {
        let trust = Trust::default();
        let refused = |what: &str, voucher: &Voucher| {
            let outcome = voucher.verify(&trust, &payload(), OTHER);
            assert!(outcome.is_err(), "{what}: {outcome:?}");
        };
        for part in ["certificate", "bundle"] {
            let name = format!("dev.sigstore.cosign/{part}");
            refused(part, &changed(|all| all[&name] = Value::Null));
            refused(part, &changed(|all| all[&name] = "x".into()));
        }
        let keyed: Value = serde_json::from_str(KEYED).expect("JSON");
        let of_another = &keyed["layers"][0]["annotations"];
        for part in ["dev.sigstore.cosign/bundle", "dev.cosignproject.cosign/signature"] {
            refused(part, &changed(|all| all[part] = of_another[part].clone()));
        }
        let promise = |change: &dyn Fn(&mut Value)| {
            changed(|all| {
                let promise = &mut all["dev.sigstore.cosign/bundle"];
                let text = promise.as_str().expect("a text");
                let mut read: Value = serde_json::from_str(text).expect("JSON");
                change(&mut read);
                *promise = read.to_string().into();
            })
        };
        // The certificate had expired by then, so that the log's word on the time is not to be changed.
        refused("time", &promise(&|read| read["Payload"]["integratedTime"] = 1_800_000_000.into()));
        refused("index", &promise(&|read| read["Payload"]["logIndex"] = 1.into()));
        refused("log", &promise(&|read| read["Payload"]["logID"] = "00".into()));
        refused("word", &promise(&|read| read["SignedEntryTimestamp"] = "AAAA".into()));
        assert!(promise(&|_| ()).verify(&trust, &payload(), OTHER).is_ok());
    }

    #[test]
    fn who_leads_back_to_another_root_is_not_believed() {
        use sigstore_verify::trust_root::SigstoreInstance;
        let root = |instance: SigstoreInstance| {
            let roots = Roots::read(instance.embedded_trusted_root_json()).expect("a trust root");
            one(KEYLESS).verify(&Trust::new(roots, Vec::new()), &payload(), OTHER)
        };
        assert!(root(SigstoreInstance::PublicGood).is_ok());
        let staging = root(SigstoreInstance::Staging);
        assert!(matches!(staging, Err(Unbelieved::Signature(_))), "{staging:?}");
    }
}
