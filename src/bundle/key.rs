//! Who vouches for a bundle: an Ed25519 key (RFC 8032) of the data directory that it was made from.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// Makes signatures.
pub struct SigningKey(Ed25519KeyPair);

/// Checks them. Written `larder-bundle-key:BASE64`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// A text that is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no key of a Larder: it is written {PREFIX}BASE64, as `larder export --key` prints it"
)]
pub struct NoKey(String);

const PREFIX: &str = "larder-bundle-key:";

impl SigningKey {
    /// The key that belongs to a secret of 32 bytes.
    pub fn new(secret: &[u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(secret);
        Self(pair.expect("any 32 bytes are the seed of a key"))
    }

    /// What checks its signatures.
    pub fn public(&self) -> PublicKey {
        let bytes = self.0.public_key().as_ref();
        PublicKey(bytes.try_into().expect("a public key has 32 bytes"))
    }

    /// Vouches for a member of a bundle.
    pub fn sign(&self, bundle: &str, member: &str, content: &[u8]) -> String {
        STANDARD.encode(self.0.sign(&statement(bundle, member, content)))
    }
}

impl PublicKey {
    /// Whether this key vouches for a member.
    pub fn verifies(&self, bundle: &str, member: &str, content: &[u8], signature: &str) -> bool {
        let Ok(signature) = STANDARD.decode(signature.trim()) else { return false };
        let key = UnparsedPublicKey::new(&ED25519, self.0);
        key.verify(&statement(bundle, member, content), &signature).is_ok()
    }

    /// The keys of a text, one a line; empty lines and such that begin with `#` say nothing.
    pub fn read_all(text: &str) -> Result<Vec<Self>, NoKey> {
        let lines = text.lines().map(str::trim);
        lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::parse).collect()
    }
}

/// What is signed: that this is a bundle of Larder's, which, which member of it, and its bytes.
fn statement(bundle: &str, member: &str, content: &[u8]) -> Vec<u8> {
    let digest = hex::encode(Sha256::digest(content));
    format!("larder bundle 1\n{bundle}\n{member}\n{digest}\n").into_bytes()
}

impl FromStr for PublicKey {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let digits = text.trim().strip_prefix(PREFIX);
        let bytes = digits.and_then(|digits| STANDARD.decode(digits).ok());
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| NoKey(text.chars().take(100).collect()))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_member_of_one_bundle() {
        let key = SigningKey::new(&[7; 32]);
        let public = key.public();
        let signature = key.sign("id", "end.json", b"{}");
        assert!(public.verifies("id", "end.json", b"{}", &format!("{signature}\n")));
        assert!(!public.verifies("other", "end.json", b"{}", &signature));
        assert!(!public.verifies("id", "other.json", b"{}", &signature));
        assert!(!public.verifies("id", "end.json", b"{ }", &signature));
        assert!(!public.verifies("id", "end.json", b"{}", "nonsense"));
        assert!(!SigningKey::new(&[8; 32]).public().verifies("id", "end.json", b"{}", &signature));
    }

    #[test]
    fn the_key_is_the_one_of_rfc_8032() {
        // Test 1 of section 7.1.
        let secret =
            hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
                .expect("digits");
        let public = SigningKey::new(&secret.try_into().expect("32 bytes")).public();
        let expected = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(hex::encode(public.0), expected);
        assert_eq!(public.to_string().parse(), Ok(public));
        let file = format!("# ours\n\n{public}\n");
        assert_eq!(PublicKey::read_all(&file), Ok(vec![public]));
        assert!(PublicKey::read_all("ssh-ed25519 AAAA").is_err());
    }
}
