//! The verification itself, by the Sigstore project's own crate: certificate, signature, log entry and timestamps against the built-in trust root.

#[cfg(feature = "signatures")]
pub(super) use real::verify;

#[cfg(feature = "signatures")]
mod real {
    use std::sync::OnceLock;

    use serde_json::Value;
    use sigstore_verify::trust_root::{SigstoreInstance, TrustedRoot};
    use sigstore_verify::types::{Bundle, Sha256Hash};
    use sigstore_verify::{VerificationPolicy, Verifier};

    use crate::signature::Claims;

    /// The verifier, made once; a fault in the built-in root is told with every attempt.
    fn verifier() -> Result<&'static Verifier, String> {
        static MADE: OnceLock<Result<Verifier, String>> = OnceLock::new();
        let make = || {
            let root = TrustedRoot::from_embedded(SigstoreInstance::PublicGood)
                .map_err(|error| error.to_string())?;
            Verifier::new(&root).map_err(|error| error.to_string())
        };
        MADE.get_or_init(make).as_ref().map_err(Clone::clone)
    }

    /// What the certificate of a bundle claims, if the bundle is verified for what has this digest. Whether those claims are anybody's in particular is
    /// for the caller to say.
    pub(in crate::signature) fn verify(bundle: &Value, sha256: &str) -> Result<Claims, String> {
        let bundle = Bundle::from_json(&bundle.to_string()).map_err(|error| error.to_string())?;
        let digest = Sha256Hash::from_hex(sha256).map_err(|error| error.to_string())?;
        let anybody = VerificationPolicy::any_identity();
        let verified =
            verifier()?.verify(digest, &bundle, &anybody).map_err(|error| error.to_string())?;
        let certificate =
            verified.certificate().ok_or_else(|| "it carries no certificate".to_owned())?;
        let run = &certificate.ci_claims;
        Ok(Claims {
            identity: verified.identity().map(ToString::to_string),
            issuer: verified.issuer().map(str::to_owned),
            source_repository: run.source_repository_uri.clone(),
            source_digest: run.source_repository_digest.clone(),
            source_ref: run.source_repository_ref.clone(),
            build_config: run.build_config_uri.clone(),
            build_signer: run.build_signer_uri.clone(),
        })
    }
}

/// Without the feature nothing is verified.
#[cfg(not(feature = "signatures"))]
pub(super) fn verify(_: &serde_json::Value, _: &str) -> Result<super::Claims, String> {
    Err("this Larder was built without the feature `signatures`".to_owned())
}
