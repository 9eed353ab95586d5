//! Whom signatures must lead back to, and who made one.

use std::sync::Arc;

use super::bundle::{Bundle, Material};
use super::{Authority, Claims, PublicKey, Roots};

/// Who is believed: a Sigstore, and keys and authorities of people one knows. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    roots: Roots,
    keys: Arc<[PublicKey]>,
    authorities: Arc<[Authority]>,
}

/// Who signed something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// As rules know it: the identity that a certificate was given to, or `key:NAME`.
    pub signed_by: String,
    /// What the certificate says beside that, where there is one.
    pub claims: Option<Claims>,
    /// Until when it counts, in seconds of the epoch, where it does not for ever: nothing says when it was made.
    pub until_secs: Option<u64>,
}

impl Trust {
    pub fn new(roots: Roots, keys: Vec<PublicKey>) -> Self {
        Self { roots, keys: keys.into(), authorities: Arc::default() }
    }

    /// The same, believing these authorities, too.
    #[must_use]
    pub fn with_authorities(self, authorities: Vec<Authority>) -> Self {
        Self { authorities: authorities.into(), ..self }
    }

    pub const fn roots(&self) -> &Roots {
        &self.roots
    }

    /// The first key that has signed a message.
    pub fn key_of(&self, message: &[u8], signature: &[u8]) -> Option<&PublicKey> {
        self.keys.iter().find(|key| key.has_signed(message, signature))
    }

    /// Who signed the statement of a bundle, if that is somebody who is believed. `sha256` is the digest of what the statement must be about; whether it says of that
    /// what is wanted is for the caller to see.
    ///
    /// # Errors
    ///
    /// Why it is not believed.
    pub fn signer(&self, bundle: &Bundle, sha256: &str) -> Result<Signer, String> {
        match bundle.material() {
            // The hint that a bundle gives is as good as its word: all keys are tried.
            Material::Key if self.keys.is_empty() => {
                Err("it was signed with a key, and `signature.keys` names none".to_owned())
            }
            Material::Key => {
                let key = self.key_of(&bundle.signed(), bundle.signature()).ok_or_else(|| {
                    "it was not signed with a key that `signature.keys` names".to_owned()
                })?;
                Ok(Signer { signed_by: key.signer(), claims: None, until_secs: None })
            }
            Material::Certificate => {
                let claims = self.roots.verify(bundle.text(), sha256)?;
                let signed_by = claims
                    .identity
                    .clone()
                    .ok_or_else(|| "its certificate names nobody".to_owned())?;
                Ok(Signer { signed_by, claims: Some(claims), until_secs: None })
            }
            Material::Chain => Authority::signer(
                &self.authorities,
                bundle.chain(),
                &bundle.signed(),
                bundle.signature(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::bundle::tests::keyed;
    use crate::signature::key::tests::Pair;

    fn read(text: &str) -> Bundle {
        Bundle::read(text.as_bytes()).expect("a bundle")
    }

    #[test]
    fn a_key_that_is_named_is_believed_and_no_other() {
        let (ours, theirs) = (Pair::generate(), Pair::generate());
        let keys = vec![Pair::generate().public("spare"), ours.public("team")];
        let trust = Trust::new(Roots::default(), keys);
        let by = |pair: &Pair| keyed("{}", |message| pair.sign(message));
        let signer = |bundle: &serde_json::Value| trust.signer(&read(&bundle.to_string()), "");
        let signed_by = signer(&by(&ours)).map(|signer| signer.signed_by);
        assert_eq!(signed_by.as_deref(), Ok("key:team"));
        let told = signer(&by(&theirs)).expect_err("another key");
        assert!(told.contains("`signature.keys`"), "{told}");
        let mut other = by(&ours);
        other["dsseEnvelope"]["payload"] = "e30K".into();
        assert!(signer(&other).is_err(), "another statement");
        let nobody = Trust::default().signer(&read(&by(&ours).to_string()), "");
        assert!(nobody.expect_err("no keys").contains("names none"));
    }

    #[test]
    fn who_brings_a_chain_of_its_own_is_not_believed() {
        let mut bundle = keyed("{}", |message| message.to_vec());
        bundle["verificationMaterial"] =
            serde_json::json!({ "x509CertificateChain": { "certificates": [{ "rawBytes": "" }] } });
        assert!(Trust::default().signer(&read(&bundle.to_string()), "").is_err());
    }
}
