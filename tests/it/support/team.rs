//! People who sign models with a key of their own (OpenSSF model signing), as the reference implementation does it.

use std::fs;
use std::path::PathBuf;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::support::hub::Files;

/// A key and where its public half lies.
pub struct Team {
    pair: EcdsaKeyPair,
    folder: TempDir,
}

impl Team {
    pub fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING);
        let pair = pair.expect("the system has random numbers");
        let folder = TempDir::new().expect("a temporary folder can be made");
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a public key");
        let text = BASE64_STANDARD.encode(der.as_ref());
        let text = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
        fs::write(folder.path().join("team.pem"), text).expect("the folder can be written");
        Self { pair, folder }
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("team.pem")
    }

    /// The settings that believe it, as `key:team`.
    pub fn settings(&self) -> String {
        format!("[signature]\nkeys = {{ team = {:?} }}", self.key())
    }

    /// Signs these files, all but those that are left out.
    pub fn sign(&self, files: &Files, left_out: &[&str]) -> String {
        self.sign_statement(&statement(files, left_out))
    }

    /// Signs a list of files as it is.
    pub fn sign_list(&self, resources: Vec<Value>, left_out: &[&str]) -> String {
        self.sign_statement(&statement_of(resources, left_out))
    }

    /// Signs any statement.
    pub fn sign_statement(&self, statement: &Value) -> String {
        let text = statement.to_string();
        let message = format!("DSSEv1 28 application/vnd.in-toto+json {} {text}", text.len());
        let signed = self.pair.sign(&SystemRandom::new(), message.as_bytes());
        let bundle = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": { "publicKey": { "hint": "" }, "tlogEntries": [] },
            "dsseEnvelope": {
                "payload": BASE64_STANDARD.encode(&text),
                "payloadType": "application/vnd.in-toto+json",
                "signatures": [{ "sig": BASE64_STANDARD.encode(signed.expect("a key signs")), "keyid": "" }],
            },
        });
        bundle.to_string()
    }
}

/// What is signed of these files, all but those that are left out.
pub fn statement(files: &Files, left_out: &[&str]) -> Value {
    let is_in = |path: &str| !left_out.contains(&path) && !path.starts_with(".git");
    let of_file = |(path, file): (&String, &std::sync::Arc<crate::support::hub::File>)| json!({ "name": path, "digest": file.content.sha256(), "algorithm": "sha256" });
    let resources = files.iter().filter(|(path, _)| is_in(path)).map(of_file).collect();
    statement_of(resources, left_out)
}

fn statement_of(resources: Vec<Value>, left_out: &[&str]) -> Value {
    let digests = resources.iter().filter_map(|one| hex::decode(one["digest"].as_str()?).ok());
    let root = hex::encode(Sha256::digest(digests.collect::<Vec<_>>().concat()));
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "model", "digest": { "sha256": root } }],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "resources": resources,
            "serialization": {
                "method": "files", "hash_type": "sha256", "allow_symlinks": false, "ignore_paths": left_out,
            },
        },
    })
}
