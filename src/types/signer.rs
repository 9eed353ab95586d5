//! Capabilities: short texts that Larder hands out and later believes, because only it can have written them.
//!
//! For addresses and tokens that must work without a client's own credentials. A capability is `CLAIMS.EXPIRY.MAC`: the claims as URL-safe
//! base64, the second after which it is void, and an HMAC-SHA256 (RFC 2104) under the data directory's key over a purpose and
//! both, so that what was made for one purpose is nothing for another. It can be read by whoever holds it; it hides nothing.
//!
//! A sealed capability hides its claims as well: those that carry a client's credential must not tell it to whoever sees an address in a log. It
//! is URL-safe base64 of the expiry, a nonce and the claims under AES-256-GCM-SIV (RFC 8452), whose key is derived from the data directory's. The
//! nonce is derived from the claims, so that nothing here needs dice; equal claims give equal texts, and that is all they tell.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::types::Timestamp;

/// Writes and reads capabilities. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Signer([u8; 32]);

/// Bytes of the expiry before a sealed capability's nonce.
const EXPIRY_BYTES: usize = 8;

/// Bytes of SHA-256's blocks, which HMAC pads keys to.
const BLOCK_BYTES: usize = 64;

impl Signer {
    /// The key must be secret, and survive restarts as what is signed should.
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// A capability for `purpose` (a fixed text, distinct for each use) that is void after `expires`, to the second.
    pub fn sign(&self, purpose: &str, claims: &[u8], expires: Timestamp) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(claims), expires.secs());
        let mac = self.mac(purpose, &signed);
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
    }

    /// The claims of a capability that was signed here for `purpose` and is not void yet.
    pub fn open(&self, purpose: &str, capability: &str, now: Timestamp) -> Option<Vec<u8>> {
        let (signed, mac) = capability.rsplit_once('.')?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        if !bool::from(self.mac(purpose, signed).ct_eq(&mac[..])) {
            return None;
        }
        let (claims, expires) = signed.split_once('.')?;
        let expires: u64 = expires.parse().ok()?;
        (now.secs() <= expires).then(|| URL_SAFE_NO_PAD.decode(claims).ok())?
    }

    /// Like [`Signer::sign`], and only this signer can read the claims.
    pub fn seal(&self, purpose: &str, claims: &[u8], expires: Timestamp) -> String {
        let (expires, nonce) = (expires.secs().to_be_bytes(), self.nonce(purpose, claims));
        let mut sealed = claims.to_vec();
        self.sealing_key(purpose)
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(expires),
                &mut sealed,
            )
            .expect("claims are far shorter than what one key may seal");
        URL_SAFE_NO_PAD.encode([&expires[..], &nonce, &sealed].concat())
    }

    /// The claims of a capability that was sealed here for `purpose` and is not void yet.
    pub fn unseal(&self, purpose: &str, capability: &str, now: Timestamp) -> Option<Vec<u8>> {
        let text = URL_SAFE_NO_PAD.decode(capability).ok()?;
        let (expires, rest) = text.split_first_chunk::<EXPIRY_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let key = self.sealing_key(purpose);
        let claims = key.open_in_place(nonce, Aad::from(*expires), &mut sealed).ok()?;
        (now.secs() <= u64::from_be_bytes(*expires)).then(|| claims.to_vec())
    }

    fn sealing_key(&self, purpose: &str) -> LessSafeKey {
        let key = UnboundKey::new(&AES_256_GCM_SIV, &self.mac("sealing key", purpose));
        LessSafeKey::new(key.expect("a MAC has the length of the key"))
    }

    fn nonce(&self, purpose: &str, claims: &[u8]) -> [u8; NONCE_LEN] {
        let hash = self.mac("nonce", &format!("{purpose}\0{}", hex::encode(claims)));
        let (nonce, _) = hash.split_first_chunk().expect("a MAC is longer than a nonce");
        *nonce
    }

    /// RFC 2104, with a key shorter than a block.
    fn mac(&self, purpose: &str, signed: &str) -> [u8; 32] {
        let pad = |byte: u8| {
            let mut block = [byte; BLOCK_BYTES];
            for (padded, key) in block.iter_mut().zip(self.0) {
                *padded ^= key;
            }
            Sha256::new().chain_update(block)
        };
        let inner = pad(0x36).chain_update(purpose).chain_update([0]).chain_update(signed);
        pad(0x5c).chain_update(inner.finalize()).finalize().into()
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn signer() -> Signer {
        Signer::new([7; 32])
    }

    #[test]
    fn what_was_signed_is_believed_until_it_expires() {
        let capability = signer().sign("xorb", b"sha256:aa 0-10", NOW);
        assert_eq!(
            signer().open("xorb", &capability, NOW).as_deref(),
            Some(&b"sha256:aa 0-10"[..])
        );
        let later = Timestamp(NOW.0 + 1000);
        assert_eq!(signer().open("xorb", &capability, later), None);
    }

    #[test]
    fn nothing_else_is_believed() {
        let capability = signer().sign("xorb", b"a", NOW);
        assert_eq!(signer().open("token", &capability, NOW), None, "another purpose");
        assert_eq!(Signer::new([8; 32]).open("xorb", &capability, NOW), None, "another key");
        for index in 0..capability.len() {
            let mut forged = capability.clone().into_bytes();
            forged[index] = if forged[index] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).expect("still ASCII");
            assert_eq!(signer().open("xorb", &forged, NOW), None, "{forged}");
        }
        for text in ["", ".", "..", "a.b", "a.1.c", "....."] {
            assert_eq!(signer().open("xorb", text, NOW), None, "{text}");
        }
    }

    #[test]
    fn sealed_claims_are_read_back_until_they_expire_and_by_nobody_else() {
        let sealed = signer().seal("xorb", b"hf_secret", NOW);
        let open = |signer: Signer, purpose, now| signer.unseal(purpose, &sealed, now);
        assert_eq!(open(signer(), "xorb", NOW).as_deref(), Some(&b"hf_secret"[..]));
        assert_eq!(open(signer(), "xorb", Timestamp(NOW.0 + 1000)), None, "expired");
        assert_eq!(open(signer(), "token", NOW), None, "another purpose");
        assert_eq!(open(Signer::new([8; 32]), "xorb", NOW), None, "another key");
        let plain = URL_SAFE_NO_PAD.decode(&sealed).expect("base64");
        assert!(!plain.windows(9).any(|window| window == b"hf_secret"));
        assert_eq!(signer().seal("xorb", b"hf_secret", NOW), sealed);
        for index in 0..plain.len() {
            let mut forged = plain.clone();
            forged[index] ^= 1;
            let forged = URL_SAFE_NO_PAD.encode(forged);
            assert_eq!(signer().unseal("xorb", &forged, NOW), None, "byte {index}");
        }
        for text in ["", "AAAA", "*", &sealed[..sealed.len() - 4]] {
            assert_eq!(signer().unseal("xorb", text, NOW), None, "{text}");
        }
        let signed = signer().sign("xorb", b"a", NOW);
        assert_eq!(signer().unseal("xorb", &signed, NOW), None);
    }

    #[test]
    fn the_mac_is_the_one_of_rfc_4231() {
        // Test case 1 of RFC 4231 has a key of 20 bytes; the rest of ours is zero, which is how HMAC pads it.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let signer = Signer::new(key);
        let inner = |pad: u8, data: &[u8]| {
            let mut block = [pad; BLOCK_BYTES];
            block.iter_mut().zip(key).for_each(|(padded, key)| *padded ^= key);
            Sha256::new().chain_update(block).chain_update(data).finalize()
        };
        let expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        assert_eq!(hex::encode(inner(0x5c, &inner(0x36, b"Hi There"))), expected);
        assert_eq!(signer.mac("Hi", "There")[..], inner(0x5c, &inner(0x36, b"Hi\0There"))[..]);
    }
}
