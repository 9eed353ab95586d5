//! Who vouches for a file: attestations as indexes publish them (PEP 740), verified without network. Pure.
//!
//! A provenance object holds attestations, each a statement about one file with a signature, the short-lived certificate that it was made with, and a proof that it
//! stands in a public log. It is believed when all of that holds by a trust root, when the statement names this very file and its digest, and when
//! the certificate was given to the publisher that the index says the file came from. The trust root of the Sigstore project is built in: what is signed by keys that
//! were added to it later cannot be verified, and counts as not verified, unless a newer one is named, or that of a Sigstore of one's own ([`Roots`]). What others sign
//! with keys or authorities of their own is believed by those that are named ([`Trust`]). Left out: where the objects are had from, and what follows from the outcome.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod authority;
pub mod bundle;
pub mod image;
mod key;
pub mod model;
mod publisher;
mod sigstore;
mod statement;
mod trust;

pub use authority::Authority;
pub use key::PublicKey;
pub use publisher::{Claims, Publisher};
pub use sigstore::Roots;
pub use trust::{Signer, Trust};

use statement::Statement;

/// Settings of signatures, `[signature]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A file with the trust root that signatures must lead back to, in Sigstore's own form (`trusted_root.json`). Unset: the one that is built in.
    pub trust_root: Option<PathBuf>,
    /// Public keys that are believed beside that, in PEM, each under the name that it is told by.
    pub keys: BTreeMap<String, PathBuf>,
    /// Files with certificates of authorities, in PEM: what is signed with a certificate that leads to one is believed, too.
    pub authorities: Vec<PathBuf>,
}

/// The kinds of statements that say something of a distribution; those of PyPI's own kind begin with the host of the index that defined them.
const PREDICATES: [&str; 2] = ["/attestations/publish/v1", "https://slsa.dev/provenance/v1"];

/// What was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched {
    /// Who published it, as `GitHub:owner/name`.
    pub publisher: String,
    /// The identity that the certificate was given to.
    pub signed_by: String,
}

/// Why nothing is verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    #[error("its provenance object cannot be read: {0}")]
    Unreadable(String),
    #[error("its provenance object holds no attestation")]
    Empty,
    /// A statement about something else.
    #[error("its attestation is of another file: {0}")]
    Subject(String),
    #[error("its attestation is not verified: {0}")]
    Signature(String),
    #[error("its attestation was signed by {signed_by}, not by its publisher {publisher}")]
    Identity { signed_by: String, publisher: String },
}

#[derive(Debug, Deserialize)]
struct Provenance {
    #[serde(default)]
    attestation_bundles: Vec<Bundle>,
}

#[derive(Debug, Deserialize)]
struct Bundle {
    publisher: Publisher,
    attestations: Vec<Attestation>,
}

#[derive(Debug, Deserialize)]
struct Attestation {
    version: u32,
    verification_material: Material,
    envelope: Envelope,
}

#[derive(Debug, Deserialize)]
struct Material {
    certificate: Encoded,
    transparency_entries: Vec<Value>,
}

#[derive(Debug, Deserialize)]
struct Envelope {
    statement: Encoded,
    signature: Encoded,
}

/// Bytes in Base64, in lines perhaps.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Encoded(Vec<u8>);

/// Verifies a provenance object for one file. All its attestations must hold: one that does not makes the others doubtful.
pub fn verify(
    roots: &Roots,
    provenance: &[u8],
    filename: &str,
    sha256: &str,
) -> Result<Vouched, Unverified> {
    let unreadable = |error: serde_json::Error| Unverified::Unreadable(error.to_string());
    let provenance: Provenance = serde_json::from_slice(provenance).map_err(unreadable)?;
    let mut vouched = None;
    for bundle in &provenance.attestation_bundles {
        for attestation in &bundle.attestations {
            check_subject(&attestation.envelope.statement.0, filename, sha256)?;
            let claims = attestation.claims(roots, sha256)?;
            let signed_by = claims.identity.clone().unwrap_or_default();
            let publisher = bundle.publisher.to_string();
            if !bundle.publisher.holds(&claims) {
                return Err(Unverified::Identity { signed_by, publisher });
            }
            vouched.get_or_insert(Vouched { publisher, signed_by });
        }
    }
    vouched.ok_or(Unverified::Empty)
}

/// A statement counts for the file that it names, by name and digest both.
fn check_subject(statement: &[u8], filename: &str, sha256: &str) -> Result<(), Unverified> {
    let Statement { kind, subject, predicate_type, .. } =
        Statement::read(statement).map_err(|error| Unverified::Unreadable(error.to_string()))?;
    let is_known = PREDICATES.iter().any(|known| predicate_type.ends_with(known));
    if kind != statement::V1 || !is_known {
        return Err(Unverified::Subject(format!("a statement of kind {predicate_type:?}")));
    }
    match subject.as_slice() {
        [one] if one.name == filename && one.has(sha256) => Ok(()),
        [one] if one.name == filename => Err(Unverified::Subject(format!(
            "one of this name with the digest {}",
            one.digest.sha256
        ))),
        [one] => Err(Unverified::Subject(one.name.clone())),
        several => Err(Unverified::Subject(format!("{} files", several.len()))),
    }
}

impl Attestation {
    /// What the certificate claims, once everything else about the attestation holds.
    fn claims(&self, roots: &Roots, sha256: &str) -> Result<Claims, Unverified> {
        if self.version != 1 {
            return Err(Unverified::Unreadable(format!("version {} is not known", self.version)));
        }
        roots.verify(&self.as_bundle().to_string(), sha256).map_err(Unverified::Signature)
    }

    /// The same as a Sigstore bundle: PEP 740 names the parts of one otherwise.
    fn as_bundle(&self) -> Value {
        let encode = |bytes: &Encoded| BASE64_STANDARD.encode(&bytes.0);
        serde_json::json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": { "rawBytes": encode(&self.verification_material.certificate) },
                "tlogEntries": self.verification_material.transparency_entries,
            },
            "dsseEnvelope": {
                "payloadType": "application/vnd.in-toto+json",
                "payload": encode(&self.envelope.statement),
                "signatures": [{ "sig": encode(&self.envelope.signature) }],
            },
        })
    }
}

impl TryFrom<String> for Encoded {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let text: String = text.split_ascii_whitespace().collect();
        BASE64_STANDARD.decode(text).map(Self)
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `pypi_attestations-0.0.19.tar.gz`, as its index publishes it.
    const GITHUB: &str =
        include_str!("../../tests/fixtures/attestations/pypi_attestations-0.0.19.tar.gz.json");
    const GITHUB_FILE: &str = "pypi_attestations-0.0.19.tar.gz";
    const GITHUB_SHA256: &str = "9bb1add04b1b4e182be6b0b80931593f7a291eb49d69b4fd728a5d4cbcdc4bd3";
    const GOOGLE: &str =
        include_str!("../../tests/fixtures/attestations/gcb_attestation_test-0.0.0.tar.gz.json");

    fn changed(change: impl FnOnce(&mut Value)) -> String {
        let mut provenance: Value = serde_json::from_str(GITHUB).expect("JSON");
        change(&mut provenance);
        provenance.to_string()
    }

    fn outcome(provenance: &str) -> Result<Vouched, Unverified> {
        verify(&Roots::default(), provenance.as_bytes(), GITHUB_FILE, GITHUB_SHA256)
    }

    #[test]
    fn what_is_no_provenance_is_not_verified() {
        for text in ["", "3", "{\"attestation_bundles\": 3}", "{\"attestation_bundles\": [{}]}"] {
            assert!(matches!(outcome(text), Err(Unverified::Unreadable(_))), "{text}");
        }
        assert_eq!(outcome("{\"attestation_bundles\": []}"), Err(Unverified::Empty));
        let newer =
            changed(|all| all["attestation_bundles"][0]["attestations"][0]["version"] = 2.into());
        assert!(matches!(outcome(&newer), Err(Unverified::Unreadable(_))));
    }

    #[test]
    fn a_statement_of_another_file_is_refused() {
        let other =
            verify(&Roots::default(), GITHUB.as_bytes(), "other-0.0.19.tar.gz", GITHUB_SHA256);
        assert_eq!(other, Err(Unverified::Subject(GITHUB_FILE.to_owned())));
        let digest = "0".repeat(64);
        let other = verify(&Roots::default(), GITHUB.as_bytes(), GITHUB_FILE, &digest)
            .expect_err("another digest");
        assert!(matches!(other, Unverified::Subject(_)), "{other}");
    }

    #[cfg(feature = "signatures")]
    #[test]
    fn what_was_tampered_with_is_refused() {
        let attestation = "/attestation_bundles/0/attestations/0";
        let part = |all: &mut Value, path: &str, value: Value| {
            let place = all.pointer_mut(&format!("{attestation}/{path}")).expect("a part");
            *place = value;
        };
        let other: Value = serde_json::from_str(GOOGLE).expect("JSON");
        let of_other =
            |path: &str| other.pointer(&format!("{attestation}/{path}")).expect("a part").clone();
        for path in [
            "envelope/signature",
            "verification_material/certificate",
            "verification_material/transparency_entries",
        ] {
            let text = changed(|all| part(all, path, of_other(path)));
            assert!(matches!(outcome(&text), Err(Unverified::Signature(_))), "{path}");
        }
        let unlogged = changed(|all| {
            part(all, "verification_material/transparency_entries", Value::Array(Vec::new()));
        });
        assert!(matches!(outcome(&unlogged), Err(Unverified::Signature(_))));
        let statement = format!(
            "{{\"_type\":\"{}\",\"subject\":[{{\"name\":\"{GITHUB_FILE}\",\"digest\":{{\"sha256\":\"{}\"}}}}],\
             \"predicateType\":\"https://slsa.dev/provenance/v1\",\"predicate\":null}}",
            statement::V1,
            "0".repeat(64)
        );
        let text = changed(|all| {
            part(all, "envelope/statement", BASE64_STANDARD.encode(statement).into());
        });
        let forged = verify(&Roots::default(), text.as_bytes(), GITHUB_FILE, &"0".repeat(64));
        assert!(matches!(forged, Err(Unverified::Signature(_))), "{forged:?}");
    }

    #[cfg(feature = "signatures")]
    #[test]
    fn another_publisher_than_the_certificates_is_refused() {
        for (key, value) in [("repository", "somebody/else"), ("workflow", "other.yml")] {
            let text = changed(|all| {
                all["attestation_bundles"][0]["publisher"][key] = value.into();
            });
            assert!(matches!(outcome(&text), Err(Unverified::Identity { .. })), "{key}");
        }
        let unknown = changed(|all| {
            all["attestation_bundles"][0]["publisher"]["kind"] = "Unheard of".into();
        });
        assert!(matches!(outcome(&unknown), Err(Unverified::Identity { .. })));
    }

    #[cfg(feature = "signatures")]
    #[test]
    fn real_attestations_are_verified() {
        let vouched = outcome(GITHUB).expect("it is verified");
        assert_eq!(vouched.publisher, "GitHub:trailofbits/pypi-attestations");
        assert!(vouched.signed_by.contains("/release.yml@"), "{vouched:?}");
        let sha256 = "461317362419124b6012e855423a9078d6de8aed3e74fa78cc74d669b23dc6cf";
        let google = verify(
            &Roots::default(),
            GOOGLE.as_bytes(),
            "gcb_attestation_test-0.0.0.tar.gz",
            sha256,
        );
        let google = google.expect("it is verified");
        assert_eq!(google.publisher, format!("Google:{}", google.signed_by));
        let circle = include_str!(
            "../../tests/fixtures/attestations/circleci_sign_publish_example-0.0.1.dev137-py3-none-any.whl.json"
        );
        let name = "circleci_sign_publish_example-0.0.1.dev137-py3-none-any.whl";
        let sha256 = "8cb34da1e27336f11a2c43f3f9c7433bd76f24f470c904724f06ad7f131d9e9f";
        let circle =
            verify(&Roots::default(), circle.as_bytes(), name, sha256).expect("it is verified");
        assert!(circle.publisher.starts_with("CircleCI:"), "{circle:?}");
    }

    /// Whoever runs a Sigstore of their own, or has a newer root than the one that is built in, names it; nothing else is trusted beside it.
    #[cfg(feature = "signatures")]
    #[test]
    fn signatures_lead_back_to_the_root_that_is_named() {
        use sigstore_verify::trust_root::SigstoreInstance;
        let outcome = |instance: SigstoreInstance| {
            let roots = Roots::read(instance.embedded_trusted_root_json()).expect("a trust root");
            verify(&roots, GITHUB.as_bytes(), GITHUB_FILE, GITHUB_SHA256)
        };
        assert!(outcome(SigstoreInstance::PublicGood).is_ok());
        for other in [SigstoreInstance::Staging, SigstoreInstance::GitHub] {
            let outcome = outcome(other);
            assert!(matches!(outcome, Err(Unverified::Signature(_))), "{outcome:?}");
        }
        for text in ["", "{}", "{\"mediaType\": 3}", "[]"] {
            assert!(Roots::read(text).is_err(), "{text}");
        }
    }

    #[cfg(not(feature = "signatures"))]
    #[test]
    fn without_the_feature_nothing_is_verified() {
        assert!(matches!(outcome(GITHUB), Err(Unverified::Signature(_))));
    }
}
