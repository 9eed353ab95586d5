//! Signatures as cosign files them: payloads under a tag that is made of the digest they are of, and bundles that refer to it.

use std::path::PathBuf;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::image::{Algorithm, Blob, Manifest, OCI_MANIFEST};
use super::{FakeRegistry, Image};

/// Media types of the two forms.
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// Somebody with a key, whose other half lies in a file.
pub struct Signer {
    pair: EcdsaKeyPair,
    folder: TempDir,
}

/// One layer of a manifest of signatures.
#[derive(Clone)]
pub struct Signature {
    pub payload: Blob,
    /// In Base64.
    pub signature: String,
    /// What the manifest says that the payload has.
    pub size: u64,
}

impl Signer {
    pub fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING);
        let pair = pair.expect("the system has random numbers");
        let folder = TempDir::new().expect("a temporary folder can be made");
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a public key");
        let text = STANDARD.encode(der.as_ref());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
        std::fs::write(folder.path().join("key.pem"), pem).expect("the folder can be written");
        Self { pair, folder }
    }

    /// Settings by which its key is known as `name`.
    pub fn known_as(&self, name: &str) -> String {
        format!("[signature.keys]\n{name} = {:?}\n", self.key())
    }

    /// Where the public half lies.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// A signature of an image.
    pub fn of(&self, digest: &str) -> Signature {
        let payload = json!({
            "critical": {
                "identity": { "docker-reference": "" },
                "image": { "docker-manifest-digest": digest },
                "type": "cosign container image signature",
            },
            "optional": null,
        });
        let payload = payload.to_string();
        let signature = STANDARD.encode(self.sign(payload.as_bytes()));
        let payload = Blob::new(PAYLOAD, payload);
        Signature { size: payload.length(), payload, signature }
    }

    /// Signs an image, in the older form.
    pub fn file(&self, registry: &FakeRegistry, repository: &str, digest: &str) -> Manifest {
        file(registry, repository, digest, &[self.of(digest)])
    }

    /// Signs an image, in the newer form.
    pub fn refer(&self, registry: &FakeRegistry, repository: &str, subject: &Manifest) -> Manifest {
        let sha256 = subject.digest.trim_start_matches("sha256:");
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "predicateType": "https://sigstore.dev/cosign/sign/v1",
            "subject": [{ "digest": { "sha256": sha256 }, "annotations": {} }],
            "predicate": {},
        });
        let statement = statement.to_string();
        let kind = "application/vnd.in-toto+json";
        let signed = format!("DSSEv1 {} {kind} {} {statement}", kind.len(), statement.len());
        let bundle = json!({
            "mediaType": BUNDLE,
            "verificationMaterial": { "publicKey": { "hint": "" }, "tlogEntries": [] },
            "dsseEnvelope": {
                "payload": STANDARD.encode(&statement),
                "payloadType": kind,
                "signatures": [{ "sig": STANDARD.encode(self.sign(signed.as_bytes())) }],
            },
        });
        let bundle = Blob::new(BUNDLE, bundle.to_string());
        let referrer = Manifest::referrer(subject, BUNDLE, &bundle);
        registry.add_blob(repository, &Blob::new("application/vnd.oci.empty.v1+json", "{}"));
        registry.add_blob(repository, &bundle);
        registry.add_manifest(repository, &referrer);
        referrer
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signed = self.pair.sign(&SystemRandom::new(), message);
        signed.expect("a key signs").as_ref().to_vec()
    }
}

/// Files signatures under the tag of an image.
pub fn file(
    registry: &FakeRegistry,
    repository: &str,
    digest: &str,
    signatures: &[Signature],
) -> Manifest {
    let config = Blob::new("application/vnd.oci.image.config.v1+json", "{}");
    registry.add_blob(repository, &config);
    let layer = |one: &Signature| -> Value {
        registry.add_blob(repository, &one.payload);
        json!({
            "mediaType": PAYLOAD,
            "size": one.size,
            "digest": one.payload.digest,
            "annotations": { "dev.cosignproject.cosign/signature": one.signature },
        })
    };
    let layers: Vec<Value> = signatures.iter().map(layer).collect();
    let body = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "size": 2,
            "digest": Algorithm::Sha256.digest(b"{}"),
        },
        "layers": layers,
    });
    let manifest = Manifest::verbatim(OCI_MANIFEST, body.to_string());
    let image = Image { root: manifest.clone(), children: Vec::new(), blobs: vec![config] };
    registry.publish(repository, &tag(digest), &image);
    manifest
}

/// The tag under which signatures of an image are filed.
pub fn tag(digest: &str) -> String {
    format!("{}.sig", digest.replace(':', "-"))
}
