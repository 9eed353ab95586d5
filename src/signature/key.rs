//! Public keys of people one knows, as `openssl` and others write them, and what they vouch for.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ED25519,
    ParsedPublicKey, VerificationAlgorithm,
};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;

/// Each kind of key with the one hash that goes with it, as Sigstore pairs them.
const KINDS: [&dyn VerificationAlgorithm; 4] =
    [&ECDSA_P256_SHA256_ASN1, &ECDSA_P384_SHA384_ASN1, &ECDSA_P521_SHA512_ASN1, &ED25519];

/// A public key under the name that it is told by.
#[derive(Clone)]
pub struct PublicKey {
    name: String,
    key: ParsedPublicKey,
}

impl PublicKey {
    /// Reads a key from PEM (`BEGIN PUBLIC KEY`).
    ///
    /// # Errors
    ///
    /// What is wrong with the text, or that the key is of a kind nothing is verified with.
    pub fn from_pem(name: &str, text: &str) -> Result<Self, String> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes())
            .map_err(|error| format!("is no public key in PEM: {error}"))?;
        Self::from_der(name, &der)
    }

    /// Reads a key as certificates hold it.
    ///
    /// # Errors
    ///
    /// That it is of a kind nothing is verified with.
    pub(super) fn from_der(name: &str, der: &[u8]) -> Result<Self, String> {
        let read = |kind: &'static dyn VerificationAlgorithm| ParsedPublicKey::new(kind, der).ok();
        let key = KINDS.into_iter().find_map(read).ok_or_else(|| {
            "is no key for ECDSA (P-256, P-384, P-521) and none for Ed25519".to_owned()
        })?;
        Ok(Self { name: name.to_owned(), key })
    }

    /// Who signed what this key verifies, as rules know it: `key:NAME`.
    pub fn signer(&self) -> String {
        format!("key:{}", self.name)
    }

    /// Whether `signature` was made of `message` with the other half of this key. ECDSA signatures are in ASN.1, as they are wherever Sigstore's formats are
    /// used.
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.signer())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
        ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
        KeyPair as _,
    };
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    /// Keys for tests of what is signed.
    pub struct Pair(EcdsaKeyPair);

    impl Pair {
        pub fn generate() -> Self {
            Self::of(&ECDSA_P256_SHA256_ASN1_SIGNING)
        }

        fn of(kind: &'static EcdsaSigningAlgorithm) -> Self {
            Self(EcdsaKeyPair::generate(kind).expect("the system has random numbers"))
        }

        pub fn sign(&self, message: &[u8]) -> Vec<u8> {
            let signed = self.0.sign(&SystemRandom::new(), message);
            signed.expect("a key signs").as_ref().to_vec()
        }

        pub fn public(&self, name: &str) -> PublicKey {
            let der: PublicKeyX509Der<'_> = self.0.public_key().as_der().expect("a public key");
            PublicKey::from_pem(name, &pem(der.as_ref())).expect("a key of a known kind")
        }
    }

    fn pem(der: &[u8]) -> String {
        let text = BASE64_STANDARD.encode(der);
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).expect("Base64 is ASCII"))
            .collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    #[test]
    fn a_key_knows_its_own_signatures_alone() {
        let kinds = [
            &ECDSA_P256_SHA256_ASN1_SIGNING,
            &ECDSA_P384_SHA384_ASN1_SIGNING,
            &ECDSA_P521_SHA512_ASN1_SIGNING,
        ];
        for kind in kinds {
            let (ours, theirs) = (Pair::of(kind), Pair::of(kind));
            let (key, signature) = (ours.public("ours"), ours.sign(b"text"));
            assert_eq!(key.signer(), "key:ours");
            assert!(key.has_signed(b"text", &signature));
            assert!(!key.has_signed(b"texts", &signature));
            assert!(!key.has_signed(b"text", &theirs.sign(b"text")));
            assert!(!key.has_signed(b"text", &signature[1..]));
            assert!(!key.has_signed(b"text", b""));
        }
        let pair = Ed25519KeyPair::generate().expect("the system has random numbers");
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a public key");
        let key = PublicKey::from_pem("ed", &pem(der.as_ref())).expect("a key of a known kind");
        assert!(key.has_signed(b"text", pair.sign(b"text").as_ref()));
        assert!(!key.has_signed(b"other", pair.sign(b"text").as_ref()));
    }

    #[test]
    fn what_is_no_key_is_told() {
        let check = |text: &str, expected: &str| {
            let told = PublicKey::from_pem("x", text).expect_err("it is refused");
            assert!(told.contains(expected), "{text}: {told}");
        };
        check("", "no public key in PEM");
        check("-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n", "no public key in PEM");
        check(&pem(b"not a key"), "no key for ECDSA");
    }
}
