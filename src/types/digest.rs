//! Digests that indexes, trees and manifests promise, and the hashers that check them.
//!
//! Left out: which digest an ecosystem trusts, and where blobs named by one live.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// A digest algorithm, ordered from the weakest to the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    Md5,
    Sha1,
    /// Git's object name of a blob: SHA-1 over `blob <length>\0` and the bytes.
    GitSha1,
    Sha224,
    Blake2b256,
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    /// The name registries write (`sha256`, `blake2b_256`, ...).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::GitSha1 => "gitsha1",
            Self::Sha224 => "sha224",
            Self::Blake2b256 => "blake2b_256",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of the digest in bytes.
    pub const fn length(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 | Self::GitSha1 => 20,
            Self::Sha224 => 28,
            Self::Blake2b256 | Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "md5" => Ok(Self::Md5),
            "sha1" => Ok(Self::Sha1),
            "gitsha1" => Ok(Self::GitSha1),
            "sha224" => Ok(Self::Sha224),
            "blake2b_256" => Ok(Self::Blake2b256),
            "sha256" => Ok(Self::Sha256),
            "sha384" => Ok(Self::Sha384),
            "sha512" => Ok(Self::Sha512),
            other => Err(DigestError::UnknownAlgorithm(other.to_owned())),
        }
    }
}

/// A digest of known algorithm and right length. Written `sha256:<hex>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    bytes: [u8; 64],
}

impl Digest {
    /// Takes raw bytes; fails when their number is not the algorithm's.
    pub fn new(algorithm: Algorithm, raw: &[u8]) -> Result<Self, DigestError> {
        if raw.len() != algorithm.length() {
            return Err(DigestError::WrongLength(algorithm));
        }
        let mut bytes = [0; 64];
        bytes[..raw.len()].copy_from_slice(raw);
        Ok(Self { algorithm, bytes })
    }

    /// Parses hexadecimal digits of either case.
    pub fn from_hex(algorithm: Algorithm, text: &str) -> Result<Self, DigestError> {
        let raw = hex::decode(text).map_err(|_| DigestError::NotHex)?;
        Self::new(algorithm, &raw)
    }

    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.length()]
    }

    /// Lower-case hexadecimal digits, without the algorithm.
    pub fn to_hex(&self) -> String {
        hex::encode(self.as_bytes())
    }

    /// The blob this digest names, when it is a SHA-256.
    pub fn blob_id(&self) -> Option<BlobId> {
        match self.algorithm {
            Algorithm::Sha256 => self.as_bytes().try_into().ok().map(BlobId),
            _ => None,
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, digits) = text.split_once(':').ok_or(DigestError::NotHex)?;
        Self::from_hex(name.parse()?, digits)
    }
}

/// The SHA-256 of a blob's bytes: its name in the store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlobId(pub [u8; 32]);

impl BlobId {
    /// The name these bytes are kept under.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    pub fn digest(self) -> Digest {
        Digest::new(Algorithm::Sha256, &self.0).expect("a blob id has the length of a SHA-256")
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Computes one digest over bytes given in order.
#[derive(Clone)]
pub struct Hasher {
    algorithm: Algorithm,
    state: State,
}

#[derive(Clone)]
enum State {
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Sha224(sha2::Sha224),
    Blake2b256(blake2::Blake2b256),
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// A hasher at offset 0. `Err` for [`Algorithm::GitSha1`], whose first bytes name the length: use
    /// [`Hasher::git_blob`].
    pub fn new(algorithm: Algorithm) -> Result<Self, DigestError> {
        let state = match algorithm {
            Algorithm::Md5 => State::Md5(md5::Md5::new()),
            Algorithm::Sha1 => State::Sha1(sha1::Sha1::new()),
            Algorithm::GitSha1 => return Err(DigestError::LengthNeeded),
            Algorithm::Sha224 => State::Sha224(sha2::Sha224::new()),
            Algorithm::Blake2b256 => State::Blake2b256(blake2::Blake2b256::new()),
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Sha384 => State::Sha384(sha2::Sha384::new()),
            Algorithm::Sha512 => State::Sha512(sha2::Sha512::new()),
        };
        Ok(Self { algorithm, state })
    }

    /// A hasher of Git's blob name for a body of exactly `length` bytes.
    pub fn git_blob(length: u64) -> Self {
        let mut inner = sha1::Sha1::new();
        inner.update(format!("blob {length}\0"));
        Self { algorithm: Algorithm::GitSha1, state: State::Sha1(inner) }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Md5(inner) => inner.update(bytes),
            State::Sha1(inner) => inner.update(bytes),
            State::Sha224(inner) => inner.update(bytes),
            State::Blake2b256(inner) => inner.update(bytes),
            State::Sha256(inner) => inner.update(bytes),
            State::Sha384(inner) => inner.update(bytes),
            State::Sha512(inner) => inner.update(bytes),
        }
    }

    pub fn finish(self) -> Digest {
        let raw = match self.state {
            State::Md5(inner) => inner.finalize().to_vec(),
            State::Sha1(inner) => inner.finalize().to_vec(),
            State::Sha224(inner) => inner.finalize().to_vec(),
            State::Blake2b256(inner) => inner.finalize().to_vec(),
            State::Sha256(inner) => inner.finalize().to_vec(),
            State::Sha384(inner) => inner.finalize().to_vec(),
            State::Sha512(inner) => inner.finalize().to_vec(),
        };
        Digest::new(self.algorithm, &raw).expect("a hasher yields its algorithm's length")
    }
}

/// Why a text or a run of bytes is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    #[error("unknown digest algorithm {0:?}")]
    UnknownAlgorithm(String),
    #[error("a {} digest has {} bytes", .0.name(), .0.length())]
    WrongLength(Algorithm),
    #[error("a digest is written in hexadecimal digits")]
    NotHex,
    #[error("this digest needs the length of the body first")]
    LengthNeeded,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(algorithm: Algorithm, expected: &str) {
        let mut hasher = match algorithm {
            Algorithm::GitSha1 => Hasher::git_blob(5),
            other => Hasher::new(other).expect("only git's digest needs a length"),
        };
        hasher.update(b"hel");
        hasher.update(b"lo");
        let digest = hasher.finish();
        assert_eq!(digest.to_hex(), expected);
        assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
    }

    #[test]
    fn hashers_agree_with_the_known_digests_of_hello() {
        check(Algorithm::Md5, "5d41402abc4b2a76b9719d911017c592");
        check(Algorithm::Sha1, "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d");
        check(Algorithm::GitSha1, "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0");
        check(
            Algorithm::Sha256,
            "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        );
        check(
            Algorithm::Blake2b256,
            "324dcf027dd4a30a932c441f365a25e86b173defa4b8e58948253471b81b72cf",
        );
    }

    #[test]
    fn malformed_digests_are_refused() {
        assert_eq!("sha256:00".parse::<Digest>(), Err(DigestError::WrongLength(Algorithm::Sha256)));
        assert_eq!("sha256:zz".parse::<Digest>(), Err(DigestError::NotHex));
        assert_eq!("sha256".parse::<Digest>(), Err(DigestError::NotHex));
        assert!(matches!("crc:00".parse::<Digest>(), Err(DigestError::UnknownAlgorithm(_))));
    }
}
