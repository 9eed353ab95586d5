//! The verification itself, by the Sigstore project's own crate: certificate, signature, log entry and timestamps against a trust root.

#[cfg(feature = "signatures")]
pub use real::Roots;

#[cfg(feature = "signatures")]
mod real {
    use std::fmt;
    use std::sync::{Arc, OnceLock};

    use sigstore_verify::trust_root::{SigstoreInstance, TrustedRoot};
    use sigstore_verify::types::{Bundle, Sha256Hash};
    use sigstore_verify::{VerificationPolicy, Verifier};

    use crate::signature::Claims;

    /// Whom signatures must lead back to. Cheap to clone; the default is the trust root that is built in.
    #[derive(Clone, Default)]
    pub struct Roots {
        own: Option<Arc<Verifier>>,
    }

    impl Roots {
        /// Reads a trust root as Sigstore writes it.
        ///
        /// # Errors
        ///
        /// What it lacks, in the crate's words.
        pub fn read(json: &str) -> Result<Self, String> {
            let root = TrustedRoot::from_json(json).map_err(|error| error.to_string())?;
            if root.fulcio_certs().is_empty() {
                return Err("it names no certificate authority".to_owned());
            }
            let verifier = Verifier::new(&root).map_err(|error| error.to_string())?;
            Ok(Self { own: Some(Arc::new(verifier)) })
        }

        fn verifier(&self) -> Result<&Verifier, String> {
            match &self.own {
                Some(own) => Ok(own),
                None => built_in(),
            }
        }

        /// What the certificate of a bundle claims, if the bundle is verified for what has this digest. Whether those claims are anybody's in particular is
        /// for the caller to say.
        pub(in crate::signature) fn verify(
            &self,
            bundle: &str,
            sha256: &str,
        ) -> Result<Claims, String> {
            let bundle = Bundle::from_json(bundle).map_err(|error| error.to_string())?;
            let digest = Sha256Hash::from_hex(sha256).map_err(|error| error.to_string())?;
            let anybody = VerificationPolicy::any_identity();
            let verified = self
                .verifier()?
                .verify(digest, &bundle, &anybody)
                .map_err(|error| error.to_string())?;
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

    impl fmt::Debug for Roots {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(if self.own.is_some() { "Roots(own)" } else { "Roots(built in)" })
        }
    }

    /// The verifier of the root that is built in, made once; a fault in it is told with every attempt.
    fn built_in() -> Result<&'static Verifier, String> {
        static MADE: OnceLock<Result<Verifier, String>> = OnceLock::new();
        let make = || {
            let root = TrustedRoot::from_embedded(SigstoreInstance::PublicGood)
                .map_err(|error| error.to_string())?;
            Verifier::new(&root).map_err(|error| error.to_string())
        };
        MADE.get_or_init(make).as_ref().map_err(Clone::clone)
    }
}

/// Without the feature nothing is verified.
#[cfg(not(feature = "signatures"))]
#[derive(Debug, Clone, Default)]
pub struct Roots;

#[cfg(not(feature = "signatures"))]
impl Roots {
    /// Reads nothing.
    ///
    /// # Errors
    ///
    /// Always: there is nobody to verify by it.
    pub fn read(_: &str) -> Result<Self, String> {
        Err(WITHOUT.to_owned())
    }

    pub(super) fn verify(&self, _: &str, _: &str) -> Result<super::Claims, String> {
        Err(WITHOUT.to_owned())
    }
}

#[cfg(not(feature = "signatures"))]
const WITHOUT: &str = "this Larder was built without the feature `signatures`";
