//! A Sigstore of one's own: an authority that gives out certificates for addresses, the log that they stand in, and the log of what was signed with them.
//!
//! Everything that it vouches for happened at one and the same second, within the time of its certificates, so that nothing here runs out.

use std::fs;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, PublicKeyData as _, SanType, SerialNumber,
    SigningKey as _, date_time_ymd,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// Who tells this Sigstore whose address it is.
const ISSUER: &str = "https://accounts.google.com";

/// The extensions of a certificate that name the issuer, and the timestamp of the log that it stands in.
const ISSUER_OID: [u64; 9] = [1, 3, 6, 1, 4, 1, 57264, 1, 8];
const TIMESTAMPS_OID: [u64; 10] = [1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];

/// When everything was signed.
const SECOND: u64 = 1_700_000_000;

const STATEMENT_TYPE: &str = "application/vnd.in-toto+json";

/// An authority with its two logs, and where its trust root lies.
pub struct Sigstore {
    authority: CertifiedIssuer<'static, KeyPair>,
    certificates: Log,
    signatures: Log,
    folder: TempDir,
}

/// The key of a log.
struct Log(KeyPair);

/// What was signed, with all that it takes to verify it.
struct Signed {
    certificate: Vec<u8>,
    entry: Value,
    statement: String,
    signature: Vec<u8>,
}

impl Sigstore {
    pub fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, "Authority");
        within(&mut parameters);
        let authority = CertifiedIssuer::self_signed(parameters, key());
        let authority = authority.expect("an authority can sign itself");
        let (certificates, signatures) = (Log(key()), Log(key()));
        let folder = TempDir::new().expect("a temporary folder can be made");
        let from = json!({ "start": "2020-01-01T00:00:00Z" });
        let root = json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [signatures.described()],
            "certificateAuthorities": [{
                "uri": "https://authority.example",
                "certChain": { "certificates": [{ "rawBytes": base64(authority.der()) }] },
                "validFor": from,
            }],
            "ctlogs": [certificates.described()],
            "timestampAuthorities": [],
        });
        let file = folder.path().join("trusted_root.json");
        fs::write(file, root.to_string()).expect("the folder can be written");
        Self { authority, certificates, signatures, folder }
    }

    /// The settings that believe it and no other.
    pub fn settings(&self) -> String {
        format!("[signature]\ntrust_root = {:?}\n", self.folder.path().join("trusted_root.json"))
    }

    /// A statement that the owner of an address signed, as a bundle.
    pub fn bundle(&self, address: &str, statement: &Value) -> Value {
        let signed = self.sign(address, statement);
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": { "rawBytes": base64(&signed.certificate) },
                "tlogEntries": [signed.entry],
            },
            "dsseEnvelope": {
                "payload": base64(signed.statement.as_bytes()),
                "payloadType": STATEMENT_TYPE,
                "signatures": [{ "sig": base64(&signed.signature), "keyid": "" }],
            },
        })
    }

    /// What an index publishes of a file that the owner of an address signed (PEP 740).
    pub fn provenance(&self, address: &str, filename: &str, sha256: &str) -> Value {
        let signed = self.sign(
            address,
            &json!({
                "_type": "https://in-toto.io/Statement/v1",
                "subject": [{ "name": filename, "digest": { "sha256": sha256 } }],
                "predicateType": "https://docs.example/attestations/publish/v1",
                "predicate": null,
            }),
        );
        json!({
            "version": 1,
            "attestation_bundles": [{
                "publisher": { "kind": "Google", "email": address },
                "attestations": [{
                    "version": 1,
                    "verification_material": {
                        "certificate": base64(&signed.certificate),
                        "transparency_entries": [signed.entry],
                    },
                    "envelope": {
                        "statement": base64(signed.statement.as_bytes()),
                        "signature": base64(&signed.signature),
                    },
                }],
            }],
        })
    }

    fn sign(&self, address: &str, statement: &Value) -> Signed {
        let key = key();
        let certificate = self.certificate(address, &key);
        let statement = statement.to_string();
        let kind = STATEMENT_TYPE;
        let message = format!("DSSEv1 {} {kind} {} {statement}", kind.len(), statement.len());
        let signature = key.sign(message.as_bytes()).expect("a key signs");
        let entry = self.signatures.entry(&json!({
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": { "algorithm": "sha256", "value": "0".repeat(64) },
                "payloadHash": { "algorithm": "sha256", "value": hex::encode(sha256(statement.as_bytes())) },
                "signatures": [{
                    "signature": base64(&signature),
                    "verifier": base64(pem(&certificate).as_bytes()),
                }],
            },
        }));
        Signed { certificate, entry, statement, signature }
    }

    /// A certificate for a key of the owner of an address, with the timestamp of the log that was shown the same certificate without one.
    fn certificate(&self, address: &str, key: &KeyPair) -> Vec<u8> {
        let mut parameters = CertificateParams::default();
        within(&mut parameters);
        parameters.serial_number = Some(SerialNumber::from(vec![1, 2, 3]));
        parameters.insert_extended_key_usage(ExtendedKeyUsagePurpose::CodeSigning);
        let address = Ia5String::try_from(address).expect("an address is ASCII");
        parameters.subject_alt_names.push(SanType::Rfc822Name(address));
        let issuer = der(0x0c, ISSUER.as_bytes());
        parameters.custom_extensions.push(CustomExtension::from_oid_content(&ISSUER_OID, issuer));
        let sign = |parameters: &CertificateParams| {
            let signed = parameters.signed_by(key, &self.authority);
            signed.expect("an authority signs").der().to_vec()
        };
        let timestamp = self.certificates.timestamp(
            &sha256(&self.authority.key().subject_public_key_info()),
            first(content(&sign(&parameters))),
        );
        let list = [vector(&vector(&timestamp))].concat();
        let list = CustomExtension::from_oid_content(&TIMESTAMPS_OID, der(0x04, &list));
        parameters.custom_extensions.push(list);
        sign(&parameters)
    }
}

impl Log {
    fn id(&self) -> [u8; 32] {
        sha256(&self.0.subject_public_key_info())
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).expect("a key signs")
    }

    /// What a trust root says of it.
    fn described(&self) -> Value {
        json!({
            "baseUrl": "https://log.example",
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": base64(&self.0.subject_public_key_info()),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": { "start": "2020-01-01T00:00:00Z" },
            },
            "logId": { "keyId": base64(&self.id()) },
        })
    }

    /// The timestamp of a certificate (RFC 6962, section 3.2), given the hash of its issuer's key and what is signed of it.
    fn timestamp(&self, issuer: &[u8], certificate: &[u8]) -> Vec<u8> {
        let time = (SECOND * 1000).to_be_bytes();
        let length = u32::try_from(certificate.len()).expect("a certificate is small");
        let no_extensions: [u8; 2] = [0, 0];
        let (version, kind, precertificate) = ([0], [0], [0, 1]);
        let signed: [&[u8]; 8] = [
            &version,
            &kind,
            &time,
            &precertificate,
            issuer,
            &length.to_be_bytes()[1..],
            certificate,
            &no_extensions,
        ];
        let signature = vector(&self.sign(&signed.concat()));
        let sha256_and_ecdsa: [u8; 2] = [4, 3];
        [&version[..], &self.id(), &time, &no_extensions, &sha256_and_ecdsa, &signature].concat()
    }

    /// Its only entry, with the promise and the proof that it is in there.
    fn entry(&self, body: &Value) -> Value {
        let body = body.to_string();
        let root = sha256(&[&[0], body.as_bytes()].concat());
        let head = format!("log.example\n1\n{}\n", base64(&root));
        let signed = [&self.id()[..4], &self.sign(head.as_bytes())].concat();
        let id = hex::encode(self.id());
        let promise = format!(
            "{{\"body\":\"{}\",\"integratedTime\":{SECOND},\"logID\":\"{id}\",\"logIndex\":0}}",
            base64(body.as_bytes())
        );
        json!({
            "logIndex": "0",
            "logId": { "keyId": base64(&self.id()) },
            "kindVersion": { "kind": "dsse", "version": "0.0.1" },
            "integratedTime": SECOND.to_string(),
            "inclusionPromise": { "signedEntryTimestamp": base64(&self.sign(promise.as_bytes())) },
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": base64(&root),
                "treeSize": "1",
                "hashes": [],
                "checkpoint": { "envelope": format!("{head}\n— log.example {}\n", base64(&signed)) },
            },
            "canonicalizedBody": base64(body.as_bytes()),
        })
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("the system has random numbers")
}

/// A time that everything that is signed is in.
fn within(parameters: &mut CertificateParams) {
    parameters.not_before = date_time_ymd(2020, 1, 1);
    parameters.not_after = date_time_ymd(2040, 1, 1);
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

fn pem(certificate: &[u8]) -> String {
    let text = base64(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

/// Bytes behind their length in two (TLS).
fn vector(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("it is small");
    [&length.to_be_bytes()[..], bytes].concat()
}

/// A small value of a kind (DER).
fn der(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).expect("it is small");
    match length {
        ..0x80 => [&[tag, length], bytes].concat(),
        _ => [&[tag, 0x81, length], bytes].concat(),
    }
}

/// Where the content of a value begins, and how long it is (DER).
fn measure(value: &[u8]) -> (usize, usize) {
    match value[1] {
        length @ ..0x80 => (2, length.into()),
        long => {
            let begin = 2 + usize::from(long & 0x7f);
            (begin, value[2..begin].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
        }
    }
}

fn content(value: &[u8]) -> &[u8] {
    let (begin, length) = measure(value);
    &value[begin..begin + length]
}

/// The first value of several.
fn first(values: &[u8]) -> &[u8] {
    let (begin, length) = measure(values);
    &values[..begin + length]
}
