//! Signatures of container images, as cosign writes them: who vouches for a manifest.
//!
//! A signature is filed as a manifest of its own, of which each layer is a voucher. In the older form the layer is a *payload* (simple signing) that names the digest of
//! the image's manifest, and the signature of those bytes stands in the layer's annotations, perhaps with the short-lived certificate that it was made with and the log's
//! promise to list it. In the newer one the layer is a Sigstore bundle around a statement about that digest. Both are believed by a public key that is named, or by
//! a certificate and a log that lead back to the trust root; of a payload that a known key has signed, the log is not asked for. What a payload calls the image
//! beside its digest is not looked at: copies of an image keep its signatures. Left out: where all this is had from, and attestations that say something of an
//! image without vouching for it, such as bills of materials.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::signature::Trust;
use crate::signature::bundle::Bundle;
use crate::signature::statement::{self, Statement};

/// Media type of a payload.
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// What the media types of bundles begin with.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";

/// What referrers of the older form call themselves.
const FILED: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";

/// The kinds of statements that vouch for an image: that it was signed, and how it was built.
const PREDICATES: [&str; 2] =
    ["https://sigstore.dev/cosign/sign/v1", "https://slsa.dev/provenance/v1"];

/// Of which kind statements may be.
const STATEMENTS: [&str; 2] = [statement::V1, statement::V0_1];

/// One signature, as the manifest that it is filed in describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voucher {
    /// The digest of its bytes, as it stands there.
    pub digest: String,
    pub size: Option<u64>,
    form: Form,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Payload(Box<Annotations>),
    Bundle,
}

/// What stands beside a payload.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
struct Annotations {
    /// In Base64.
    #[serde(default, rename = "dev.cosignproject.cosign/signature")]
    signature: String,
    /// In PEM.
    #[serde(default, rename = "dev.sigstore.cosign/certificate")]
    certificate: Option<String>,
    /// The log's promise, as JSON.
    #[serde(default, rename = "dev.sigstore.cosign/bundle")]
    promise: Option<String>,
}

/// Why a signature is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unbelieved {
    #[error("its signature cannot be read: {0}")]
    Unreadable(String),
    /// It says nothing of this image.
    #[error("its signature is of something else: {0}")]
    Subject(String),
    #[error("its signature is not verified: {0}")]
    Signature(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    #[serde(default)]
    layers: Vec<Layer>,
    /// What manifests of other kinds have: one that has some of it is more than signatures.
    manifests: Option<IgnoredAny>,
    blobs: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Layer {
    #[serde(default, rename = "mediaType")]
    media_type: String,
    digest: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    annotations: Option<Value>,
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// What a log promised, as cosign writes it down.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Promise {
    signed_entry_timestamp: String,
    payload: Entry,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    /// In Base64.
    body: String,
    integrated_time: i64,
    log_index: i64,
    /// In hexadecimal digits.
    #[serde(rename = "logID")]
    log_id: String,
}

/// The kind of an entry, as its body says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    kind: String,
    api_version: String,
}

/// Whether what refers to an image by this type may vouch for it.
pub fn is_voucher(artifact_type: &str) -> bool {
    artifact_type == FILED || artifact_type.starts_with(BUNDLE)
}

/// The signatures that a manifest holds, `most` at most. Empty: it is no manifest of signatures, or not of those alone.
pub fn vouchers(manifest: &[u8], most: usize) -> Vec<Voucher> {
    let Ok(Manifest { layers, manifests: None, blobs: None, fs_layers: None }) =
        serde_json::from_slice(manifest)
    else {
        return Vec::new();
    };
    let all: Option<Vec<Voucher>> = layers.into_iter().map(voucher).collect();
    let mut all = all.unwrap_or_default();
    all.truncate(most);
    all
}

fn voucher(layer: Layer) -> Option<Voucher> {
    let Layer { media_type, digest, size, annotations } = layer;
    let form = match media_type.as_str() {
        PAYLOAD => {
            // Annotations that cannot be read are those of a signature that is not believed.
            let annotations = annotations.and_then(|all| serde_json::from_value(all).ok());
            Form::Payload(Box::new(annotations.unwrap_or_default()))
        }
        bundle if bundle.starts_with(BUNDLE) => Form::Bundle,
        _ => return None,
    };
    Some(Voucher { digest, size, form })
}

impl Voucher {
    /// Stands for it and what it is verified by, beside its own bytes.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        if let Form::Payload(annotations) = &self.form {
            let Annotations { signature, certificate, promise } = &**annotations;
            for text in [Some(signature), certificate.as_ref(), promise.as_ref()] {
                let text = text.map_or("", String::as_str);
                hasher.update((text.len() as u64).to_le_bytes());
                hasher.update(text);
            }
        }
        hasher.finalize().into()
    }

    /// Who vouches by it for the manifest of `digest` (`sha256:…`). `body` are its bytes, which the caller has checked to be those of its own digest.
    ///
    /// # Errors
    ///
    /// Why nobody does.
    pub fn verify(&self, trust: &Trust, body: &[u8], digest: &str) -> Result<String, Unbelieved> {
        match &self.form {
            Form::Payload(annotations) => annotations.verify(trust, body, digest),
            Form::Bundle => verify_bundle(trust, body, digest),
        }
    }

    /// The manifest that it says it is of. Nobody has vouched for that yet.
    pub fn names(&self, body: &[u8]) -> Option<String> {
        match &self.form {
            Form::Payload(_) => Some(payload(body).ok()?.critical.image.digest),
            Form::Bundle => {
                let bundle = Bundle::read(body).ok()?;
                let statement = Statement::read(bundle.statement()).ok()?;
                statement.subject.first().map(|one| format!("sha256:{}", one.digest.sha256))
            }
        }
    }
}

impl Annotations {
    fn verify(&self, trust: &Trust, body: &[u8], digest: &str) -> Result<String, Unbelieved> {
        let named = payload(body)?.critical.image.digest;
        if named != digest {
            return Err(Unbelieved::Subject(clipped(&named)));
        }
        let signature = BASE64_STANDARD
            .decode(self.signature.trim())
            .map_err(|error| Unbelieved::Unreadable(error.to_string()))?;
        if let Some(key) = trust.key_of(body, &signature) {
            return Ok(key.signer());
        }
        let (Some(certificate), Some(promise)) = (&self.certificate, &self.promise) else {
            let told = "it was not made with a key that `signature.keys` names, and has no certificate that a log lists";
            return Err(Unbelieved::Signature(told.to_owned()));
        };
        let bundle = as_bundle(body, &signature, certificate, promise)?;
        let sha256 = hex::encode(Sha256::digest(body));
        let claims = trust.roots().verify(&bundle.to_string(), &sha256);
        let claims = claims.map_err(Unbelieved::Signature)?;
        claims.identity.ok_or_else(nobody)
    }
}

fn verify_bundle(trust: &Trust, body: &[u8], digest: &str) -> Result<String, Unbelieved> {
    let bundle = Bundle::read(body).map_err(Unbelieved::Unreadable)?;
    let Statement { kind, subject, predicate_type, .. } = Statement::read(bundle.statement())
        .map_err(|error| Unbelieved::Unreadable(error.to_string()))?;
    if !STATEMENTS.contains(&kind.as_str()) || !PREDICATES.contains(&predicate_type.as_str()) {
        let kind = clipped(&predicate_type);
        return Err(Unbelieved::Subject(format!("a statement of kind {kind:?}")));
    }
    let sha256 = digest.strip_prefix("sha256:").unwrap_or_default();
    if !subject.iter().any(|one| one.has(sha256)) {
        let named = subject.first().map_or("", |one| &one.digest.sha256);
        return Err(Unbelieved::Subject(clipped(named)));
    }
    let signer = trust.signer(&bundle, sha256).map_err(Unbelieved::Signature)?;
    // What counts for a while only would have to be verified again and again.
    match signer.until_secs {
        None => Ok(signer.signed_by),
        Some(_) => Err(Unbelieved::Signature(
            "its certificate is one of an authority of its own, which images are not believed by"
                .to_owned(),
        )),
    }
}

fn payload(body: &[u8]) -> Result<Payload, Unbelieved> {
    serde_json::from_slice(body).map_err(|error| Unbelieved::Unreadable(error.to_string()))
}

fn nobody() -> Unbelieved {
    Unbelieved::Signature("its certificate names nobody".to_owned())
}

/// What a payload and its annotations say, as a Sigstore bundle: the same things under other names.
fn as_bundle(
    body: &[u8],
    signature: &[u8],
    certificate: &str,
    promise: &str,
) -> Result<Value, Unbelieved> {
    let unreadable = |error: String| Unbelieved::Unreadable(error);
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes())
        .map_err(|error| unreadable(format!("its certificate: {error}")))?;
    let Promise { signed_entry_timestamp, payload } = serde_json::from_str(promise)
        .map_err(|error| unreadable(format!("its log entry: {error}")))?;
    let log_id = hex::decode(&payload.log_id)
        .map_err(|error| unreadable(format!("the name of its log: {error}")))?;
    let entry = BASE64_STANDARD
        .decode(&payload.body)
        .map_err(|error| unreadable(format!("its log entry: {error}")))?;
    let Kind { kind, api_version } = serde_json::from_slice(&entry)
        .map_err(|error| unreadable(format!("its log entry: {error}")))?;
    Ok(json!({
        "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1",
        "verificationMaterial": {
            "x509CertificateChain": {
                "certificates": [{ "rawBytes": BASE64_STANDARD.encode(&certificate) }],
            },
            "tlogEntries": [{
                "logIndex": payload.log_index.to_string(),
                "logId": { "keyId": BASE64_STANDARD.encode(log_id) },
                "kindVersion": { "kind": kind, "version": api_version },
                "integratedTime": payload.integrated_time.to_string(),
                "inclusionPromise": { "signedEntryTimestamp": signed_entry_timestamp },
                "canonicalizedBody": payload.body,
            }],
        },
        "messageSignature": {
            "messageDigest": {
                "algorithm": "SHA2_256",
                "digest": BASE64_STANDARD.encode(Sha256::digest(body)),
            },
            "signature": BASE64_STANDARD.encode(signature),
        },
    }))
}

/// A text of somebody else's, no longer than a digest is.
fn clipped(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
