//! Sigstore bundles: a signed statement in one file with what it takes to verify it.
//!
//! Only statements in envelopes (DSSE) are read, not signatures that stand alone. What a bundle says of itself is not believed: [`Trust::signer`] tells who signed it.
//!
//! [`Trust::signer`]: super::Trust::signer

use serde::Deserialize;

use super::Encoded;

/// What bundles of all versions call themselves begins with this.
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle";

/// What an envelope holds when it holds a statement of in-toto.
const STATEMENT_TYPE: &str = "application/vnd.in-toto+json";

/// A bundle with a statement.
#[derive(Debug)]
pub struct Bundle {
    /// As it was written: for those who verify all of it.
    text: String,
    material: Material,
    /// Its certificates, where it is verified with a [`Material::Chain`].
    chain: Vec<Vec<u8>>,
    statement: Vec<u8>,
    signature: Vec<u8>,
}

/// What its signature is to be verified with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Material {
    /// A key that the reader must know.
    Key,
    /// A certificate that a Sigstore gave out for a few minutes.
    Certificate,
    /// Certificates of one's own authorities.
    Chain,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    media_type: String,
    verification_material: WireMaterial,
    dsse_envelope: Envelope,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireMaterial {
    public_key: Option<serde::de::IgnoredAny>,
    certificate: Option<serde::de::IgnoredAny>,
    x509_certificate_chain: Option<Chain>,
    #[serde(default)]
    tlog_entries: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Chain {
    certificates: Vec<Certificate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Certificate {
    raw_bytes: Encoded,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: Encoded,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    sig: Encoded,
}

impl Bundle {
    /// Reads a bundle.
    ///
    /// # Errors
    ///
    /// Why it is none, or not one with a statement.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let Wire { media_type, verification_material, dsse_envelope } =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        if !media_type.starts_with(MEDIA_TYPE) {
            return Err(format!("a bundle of the kind {media_type:?}"));
        }
        if dsse_envelope.payload_type != STATEMENT_TYPE {
            return Err(format!("an envelope with {:?}", dsse_envelope.payload_type));
        }
        let [Signature { sig }] =
            dsse_envelope.signatures.try_into().map_err(|signatures: Vec<Signature>| {
                format!("an envelope with {} signatures", signatures.len())
            })?;
        let material = verification_material.kind()?;
        let certificates = verification_material.x509_certificate_chain.map(|all| all.certificates);
        let certificates = certificates.unwrap_or_default().into_iter();
        Ok(Self {
            text: text.to_owned(),
            material,
            chain: certificates.map(|one| one.raw_bytes.0).collect(),
            statement: dsse_envelope.payload.0,
            signature: sig.0,
        })
    }

    /// What it is verified with.
    pub const fn material(&self) -> Material {
        self.material
    }

    /// The statement. Nobody has signed it until [`Trust::signer`] says who.
    ///
    /// [`Trust::signer`]: super::Trust::signer
    pub fn statement(&self) -> &[u8] {
        &self.statement
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    pub(super) fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// What was signed: the statement with its kind, each behind its length (DSSE's pre-authentication encoding).
    pub(super) fn signed(&self) -> Vec<u8> {
        let head =
            format!("DSSEv1 {} {STATEMENT_TYPE} {} ", STATEMENT_TYPE.len(), self.statement.len());
        [head.as_bytes(), &self.statement].concat()
    }
}

impl WireMaterial {
    /// A bundle names exactly one kind. A chain of one certificate that stands in a log is an older form of a Sigstore's.
    fn kind(&self) -> Result<Material, String> {
        match (&self.public_key, &self.certificate, &self.x509_certificate_chain) {
            (Some(_), None, None) => Ok(Material::Key),
            (None, Some(_), None) => Ok(Material::Certificate),
            (None, None, Some(_)) if !self.tlog_entries.is_empty() => Ok(Material::Certificate),
            (None, None, Some(chain)) if !chain.certificates.is_empty() => Ok(Material::Chain),
            _ => Err("a bundle that does not say what to verify it with".to_owned()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use serde_json::{Value, json};

    use super::*;

    /// A bundle of a statement that was signed with a key, with `sign` for the key.
    pub fn keyed(statement: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> Value {
        let head = format!("DSSEv1 28 application/vnd.in-toto+json {} ", statement.len());
        let signature = sign(&[head.as_bytes(), statement.as_bytes()].concat());
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": { "publicKey": { "hint": "" }, "tlogEntries": [] },
            "dsseEnvelope": {
                "payload": BASE64_STANDARD.encode(statement),
                "payloadType": "application/vnd.in-toto+json",
                "signatures": [{ "sig": BASE64_STANDARD.encode(signature), "keyid": null }],
            },
        })
    }

    #[test]
    fn what_is_no_bundle_is_refused() {
        let whole = keyed("{}", |message| message.to_vec());
        let bundle = Bundle::read(whole.to_string().as_bytes()).expect("a bundle");
        assert_eq!((bundle.material(), bundle.statement()), (Material::Key, b"{}".as_slice()));
        assert_eq!(bundle.signed(), bundle.signature());
        let refused = |place: &str, value: Value| {
            let mut changed = whole.clone();
            *changed.pointer_mut(place).expect("a place") = value;
            let read = Bundle::read(changed.to_string().as_bytes());
            assert!(read.is_err(), "{place}: {read:?}");
        };
        refused("/mediaType", json!("text/plain"));
        refused("/verificationMaterial", json!({}));
        refused("/verificationMaterial", json!({"x509CertificateChain": {"certificates": []}}));
        refused("/verificationMaterial", json!({"publicKey": {}, "certificate": {}}));
        refused("/dsseEnvelope/payloadType", json!("text/plain"));
        refused("/dsseEnvelope/payload", json!("!"));
        refused("/dsseEnvelope/signatures", json!([]));
        refused("/dsseEnvelope/signatures", json!([{"sig": ""}, {"sig": ""}]));
        refused("/dsseEnvelope", json!(null));
        let text = whole.to_string();
        for end in [0, 1, text.len() / 2, text.len() - 1] {
            assert!(Bundle::read(&text.as_bytes()[..end]).is_err(), "{end}");
        }
        assert!(Bundle::read(&[0xff, 0xfe]).is_err());
    }
}
