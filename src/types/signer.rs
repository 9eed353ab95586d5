//! Capabilities: short texts that Larder hands out and later believes, because only it can have written them.
//!
//! For addresses and tokens that must work without a client's own credentials. A capability is `CLAIMS.EXPIRY.MAC`: the claims as URL-safe
//! base64, the second after which it is void, and an HMAC-SHA256 (RFC 2104) under the data directory's key over a purpose and
//! both, so that what was made for one purpose is nothing for another. It can be read by whoever holds it; it hides nothing.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::types::Timestamp;

/// Writes and reads capabilities. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Signer([u8; 32]);

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
