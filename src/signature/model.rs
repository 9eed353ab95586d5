//! Signed models: manifests of files and their digests by the OpenSSF's model signing (OMS) 1.0. Pure.
//!
//! A signature is a Sigstore bundle whose statement lists every file of a model with its digest. It is believed when somebody who is believed signed the statement, when the
//! statement is in order in itself, and when its digests can be held against those that a list of files names: SHA-256 of whole files. What lists files by shards or
//! by other digests is said to be beyond checking, never to be wrong. Left out: the files themselves, and where a signature is had from.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::bundle::Bundle;
use super::statement::{self, Statement};
use super::{Signer, Trust};

/// The one kind of statement that lists the files of a model.
const PREDICATE: &str = "https://model_signing/signature/v1.0";

/// What is never part of what is signed, at the top of a model.
const LEFT_OUT: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];

/// The SHA-256 of a file.
pub type Sha256Digest = [u8; 32];

/// A signature that is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Who signed: the identity that a certificate was given to, or `key:NAME`.
    pub signed_by: String,
    /// Until when that counts, in seconds of the epoch, where it does not for ever.
    pub until_secs: Option<u64>,
    pub manifest: Manifest,
}

/// The files that were signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    files: BTreeMap<String, Sha256Digest>,
    /// Paths of files and folders that whoever signed left out.
    left_out: Vec<String>,
}

/// What a manifest says of one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word<'a> {
    /// It was signed with these bytes.
    Signed(&'a Sha256Digest),
    /// Whoever signed left it out by name, or nobody ever signs it.
    LeftOut,
    /// It is none of the files.
    Unsigned,
}

/// Why a signature is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("its signature cannot be read: {0}")]
    Unreadable(String),
    #[error("its signature is of something else than a model: {0}")]
    Kind(String),
    #[error("its signature is not in order: {0}")]
    Disorder(String),
    #[error("its signature is not verified: {0}")]
    Signature(String),
    #[error("its signature cannot be checked by a list of files: {0}")]
    Beyond(String),
}

#[derive(Deserialize)]
struct Predicate {
    resources: Vec<Resource>,
    serialization: Serialization,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    digest: String,
    algorithm: String,
}

#[derive(Deserialize)]
struct Serialization {
    method: String,
    #[serde(default)]
    ignore_paths: Vec<String>,
}

/// Verifies a model's signature, and gives what it says.
///
/// # Errors
///
/// Why it is not believed, or cannot be used.
pub fn verify(trust: &Trust, signature: &[u8]) -> Result<Signed, Fault> {
    let bundle = Bundle::read(signature).map_err(Fault::Unreadable)?;
    let predicate = Predicate::read(bundle.statement())?;
    let signer = trust.signer(&bundle, &predicate.root()?).map_err(Fault::Signature)?;
    let Signer { signed_by, until_secs, .. } = signer;
    Ok(Signed { signed_by, until_secs, manifest: Manifest::of(predicate)? })
}

impl Predicate {
    /// Reads a statement about a model, and checks that the one digest it is about is that of its list.
    fn read(statement: &[u8]) -> Result<Self, Fault> {
        let unreadable = |error: serde_json::Error| Fault::Unreadable(error.to_string());
        let statement = Statement::read(statement).map_err(unreadable)?;
        if statement.kind != statement::V1 || statement.predicate_type != PREDICATE {
            return Err(Fault::Kind(format!("a statement of kind {:?}", statement.predicate_type)));
        }
        let predicate = statement.predicate.map_or("null", RawValue::get);
        let predicate: Self = serde_json::from_str(predicate).map_err(unreadable)?;
        let root = predicate.root()?;
        match statement.subject.as_slice() {
            [one] if one.has(&root) => Ok(predicate),
            [_] => Err(Fault::Disorder("its list has another digest than it says".to_owned())),
            several => Err(Fault::Disorder(format!("it is about {} things", several.len()))),
        }
    }

    /// The digest of the list: that of all digests in it, one behind the other.
    fn root(&self) -> Result<String, Fault> {
        let mut hash = Sha256::new();
        for resource in &self.resources {
            hash.update(resource.bytes()?);
        }
        Ok(hex::encode(hash.finalize()))
    }
}

impl Resource {
    fn bytes(&self) -> Result<Vec<u8>, Fault> {
        let odd =
            |_| Fault::Disorder(format!("the digest of {:?} is {:?}", self.name, self.digest));
        hex::decode(&self.digest).map_err(odd)
    }
}

impl Manifest {
    fn of(predicate: Predicate) -> Result<Self, Fault> {
        let Predicate { resources, serialization } = predicate;
        if serialization.method != "files" {
            return Err(Fault::Beyond(format!("it was made by {:?}", serialization.method)));
        }
        if resources.is_empty() {
            return Err(Fault::Disorder("it lists nothing".to_owned()));
        }
        let mut files = BTreeMap::new();
        for resource in resources {
            if resource.algorithm != "sha256" {
                return Err(Fault::Beyond(format!("it has digests by {:?}", resource.algorithm)));
            }
            let odd = |what: &str| Fault::Disorder(format!("it lists {:?} {what}", resource.name));
            let digest = resource.bytes()?.try_into().map_err(|_| odd("with a cut digest"))?;
            if !is_path(&resource.name) {
                return Err(odd("as a file"));
            }
            if files.contains_key(&resource.name) {
                return Err(odd("twice"));
            }
            files.insert(resource.name, digest);
        }
        Ok(Self { files, left_out: serialization.ignore_paths })
    }

    /// Reads the statement of a signature, whoever signed it or did not.
    ///
    /// # Errors
    ///
    /// Why it cannot be used.
    pub fn read(statement: &[u8]) -> Result<Self, Fault> {
        Self::of(Predicate::read(statement)?)
    }

    /// What it says of a path. `own` is where the signature itself lies, which is never in it.
    pub fn word_on(&self, path: &str, own: &str) -> Word<'_> {
        if let Some(digest) = self.files.get(path) {
            return Word::Signed(digest);
        }
        let mut left_out = self.left_out.iter().map(String::as_str).chain(LEFT_OUT).chain([own]);
        let holds = |folder: &str| {
            path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        match left_out.any(|one| !one.is_empty() && holds(one)) {
            true => Word::LeftOut,
            false => Word::Unsigned,
        }
    }

    /// The paths of what was signed.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }
}

/// Whether a name is the path of a file within a model.
fn is_path(name: &str) -> bool {
    name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::signature::bundle::tests::keyed;
    use crate::signature::key::tests::Pair;
    use crate::signature::{PublicKey, Roots};

    const KEY: &str = include_str!("../../tests/fixtures/signed_models/key.pem");
    const SIGNED: &str = include_str!("../../tests/fixtures/signed_models/key.sig");
    const SHARDS: &str = include_str!("../../tests/fixtures/signed_models/shards.sig");
    const BY_CERTIFICATE: &str = include_str!("../../tests/fixtures/signed_models/certificate.sig");
    #[cfg(feature = "signatures")]
    const AUTHORITY: &str = include_str!("../../tests/fixtures/signed_models/authority.pem");
    const BLAKE2: &str = include_str!("../../tests/fixtures/signed_models/blake2.sig");
    const ATTESTATION: &str =
        include_str!("../../tests/fixtures/attestations/pypi_attestations-0.0.19.tar.gz.json");

    fn trust() -> Trust {
        let key = PublicKey::from_pem("team", KEY).expect("a public key");
        Trust::new(Roots::default(), vec![key])
    }

    fn statement(resources: &[(&str, &str)]) -> Value {
        let listed = |(name, digest): &(&str, &str)| json!({ "name": name, "digest": digest, "algorithm": "sha256" });
        let all: Vec<u8> = resources
            .iter()
            .flat_map(|(_, digest)| hex::decode(digest).unwrap_or_default())
            .collect();
        let root = hex::encode(Sha256::digest(all));
        json!({
            "_type": statement::V1,
            "subject": [{ "name": "model", "digest": { "sha256": root } }],
            "predicateType": PREDICATE,
            "predicate": {
                "resources": resources.iter().map(listed).collect::<Vec<_>>(),
                "serialization": { "method": "files", "hash_type": "sha256", "allow_symlinks": false },
            },
        })
    }

    /// What comes of a statement that is signed by a key that is believed.
    fn outcome(statement: &Value) -> Result<Signed, Fault> {
        let pair = Pair::generate();
        let trust = Trust::new(Roots::default(), vec![pair.public("team")]);
        let bundle = keyed(&statement.to_string(), |message| pair.sign(message));
        verify(&trust, bundle.to_string().as_bytes())
    }

    #[test]
    fn what_the_reference_signs_is_verified() {
        let signed = verify(&trust(), SIGNED.as_bytes()).expect("it is verified");
        assert_eq!(signed.signed_by, "key:team");
        let paths: Vec<&str> = signed.manifest.paths().collect();
        assert_eq!(paths, ["config.json", "model.safetensors", "sub/vocab.txt"]);
        let word = |path: &str| signed.manifest.word_on(path, "model.sig");
        let expected: Sha256Digest = Sha256::digest("{}\n").into();
        assert_eq!(word("config.json"), Word::Signed(&expected));
        for path in ["model.sig", ".gitattributes", ".git/config", "README.md"] {
            assert_eq!(word(path), Word::LeftOut, "{path}");
        }
        for path in ["sub", "sub/.gitattributes", "model.signed", "other.bin", "README.md2"] {
            assert_eq!(word(path), Word::Unsigned, "{path}");
        }
    }

    #[test]
    fn another_key_and_a_changed_signature_are_refused() {
        let nobody = verify(&Trust::default(), SIGNED.as_bytes());
        assert!(matches!(nobody, Err(Fault::Signature(_))), "{nobody:?}");
        let other = Trust::new(Roots::default(), vec![Pair::generate().public("other")]);
        let other = verify(&other, SIGNED.as_bytes());
        assert!(matches!(other, Err(Fault::Signature(_))), "{other:?}");
        let stranger = verify(&trust(), BY_CERTIFICATE.as_bytes());
        assert!(matches!(stranger, Err(Fault::Signature(_))), "{stranger:?}");
        for end in [0, 1, SIGNED.len() / 2, SIGNED.trim_end().len() - 1] {
            let cut = verify(&trust(), &SIGNED.as_bytes()[..end]);
            assert!(matches!(cut, Err(Fault::Unreadable(_))), "{end}: {cut:?}");
        }
    }

    #[cfg(feature = "signatures")]
    #[test]
    fn a_certificate_of_an_authority_that_is_named_is_believed() {
        use crate::signature::Authority;
        let authorities = Authority::all_from_pem(AUTHORITY).expect("an authority");
        let trust = Trust::default().with_authorities(authorities);
        let signed = verify(&trust, BY_CERTIFICATE.as_bytes()).expect("it is verified");
        assert_eq!(signed.signed_by, "release@team.example");
        assert_eq!(signed.until_secs, Some(2_082_585_600), "ten years from the first of 2026");
        let changed = |change: fn(&mut Value)| {
            let mut bundle: Value = serde_json::from_str(BY_CERTIFICATE).expect("JSON");
            change(&mut bundle);
            let read = verify(&trust, bundle.to_string().as_bytes());
            assert!(matches!(read, Err(Fault::Signature(_))), "{read:?}");
        };
        changed(|bundle| {
            bundle
                .pointer_mut("/verificationMaterial/x509CertificateChain/certificates")
                .and_then(Value::as_array_mut)
                .expect("a list")
                .truncate(1);
        });
        changed(|bundle| {
            bundle
                .pointer_mut("/verificationMaterial/x509CertificateChain/certificates")
                .and_then(Value::as_array_mut)
                .expect("a list")
                .reverse();
        });
        changed(|bundle| {
            let other: Value = serde_json::from_str(SIGNED).expect("JSON");
            bundle["dsseEnvelope"] = other["dsseEnvelope"].clone();
        });
    }

    #[test]
    fn what_a_list_of_files_cannot_tell_is_beyond_checking() {
        for text in [SHARDS, BLAKE2] {
            let read = verify(&trust(), text.as_bytes());
            assert!(matches!(read, Err(Fault::Beyond(_))), "{read:?}");
        }
    }

    #[test]
    fn a_list_that_is_not_in_order_is_refused() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        assert!(outcome(&statement(&[("x", &a), ("y/z", &b)])).is_ok());
        let cut = &a[..62];
        for list in [
            &[][..],
            &[("x", a.as_str()), ("x", b.as_str())],
            &[("x", "zz")],
            &[("x", cut)],
            &[("../x", a.as_str())],
            &[("/x", a.as_str())],
            &[("", a.as_str())],
        ] {
            let read = outcome(&statement(list));
            assert!(matches!(read, Err(Fault::Disorder(_))), "{list:?}: {read:?}");
        }
        let changed = |place: &str, value: Value| {
            let mut changed = statement(&[("x", &a)]);
            *changed.pointer_mut(place).expect("a place") = value;
            outcome(&changed).expect_err(place)
        };
        let other = changed("/predicate/resources/0/digest", json!(b));
        assert!(matches!(other, Fault::Disorder(_)), "{other}");
        assert!(matches!(changed("/subject", json!([])), Fault::Disorder(_)));
        let earlier = "https://model_signing/Digests/v0.1";
        assert!(matches!(changed("/predicateType", json!(earlier)), Fault::Kind(_)));
        assert!(matches!(changed("/_type", json!("x")), Fault::Kind(_)));
        assert!(matches!(changed("/predicate", json!(null)), Fault::Unreadable(_)));
    }

    /// A real signature by a certificate of the public Sigstore, of a file and not of a model.
    #[test]
    fn a_signature_of_something_else_is_none_of_a_model() {
        let provenance: super::super::Provenance =
            serde_json::from_str(ATTESTATION).expect("a provenance object");
        let attestation = &provenance.attestation_bundles[0].attestations[0];
        let read = verify(&trust(), attestation.as_bundle().to_string().as_bytes());
        assert!(matches!(read, Err(Fault::Kind(_))), "{read:?}");
    }
}
