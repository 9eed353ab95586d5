//! Signed notes and checkpoints, as the C2SP specifications `signed-note` and `tlog-checkpoint` have them, so that other people's verifiers read them.
//!
//! A checkpoint says how large a log is and what its root is, and is signed with Ed25519. Whoever keeps one can tell later whether the log still begins with
//! what it held then. Left out: where the key is kept.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::merkle::Hash;

/// The kind of signature: Ed25519.
const ED25519_KIND: u8 = 1;

/// Begins the line of a signature.
const DASH: &str = "\u{2014} ";

/// Signs notes.
pub struct Signer {
    pair: Ed25519KeyPair,
    verifier: Verifier,
}

/// Checks the signatures of one signer. Written as `NAME+ID+KEY`, the form of verifier keys that other tools take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    key: [u8; 32],
}

/// How large a log is, and its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    pub size: u64,
    pub root: Hash,
}

/// Why a note is not believed, or a key not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error(
        "it is no verifier key: NAME+ID+KEY is one, as in larder/ledger-0a1b2c3d+4e5f6071+AbCd…"
    )]
    Key,
    #[error("it is no signed note: a text, an empty line, and lines of signatures")]
    Form,
    #[error("it is not signed by {0}")]
    Unsigned(String),
    #[error("its signature by {0} is wrong")]
    Forged(String),
    #[error("it is no checkpoint: a name, a size and a root, each on a line of its own")]
    Checkpoint,
}

impl Signer {
    /// The signer with this secret; a log's name follows from its key, so that two logs never have the same.
    pub fn new(seed: &[u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed)
            .expect("any 32 bytes are the seed of a key pair");
        let mut key = [0; 32];
        key.copy_from_slice(pair.public_key().as_ref());
        let digest = Sha256::digest(key);
        let name = format!("larder/ledger-{}", hex::encode(&digest[..4]));
        Self { pair, verifier: Verifier { name, key } }
    }

    pub const fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The checkpoint of this signer's log, signed.
    pub fn checkpoint(&self, size: u64, root: &Hash) -> String {
        let origin = self.verifier.name.clone();
        self.sign(&Checkpoint { origin, size, root: *root }.to_string())
    }

    /// Signs a text, which must end a line.
    fn sign(&self, text: &str) -> String {
        let mut signature = self.verifier.id().to_vec();
        signature.extend_from_slice(self.pair.sign(text.as_bytes()).as_ref());
        format!("{text}\n{DASH}{} {}\n", self.verifier.name, STANDARD.encode(signature))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.verifier)
    }
}

impl Verifier {
    pub fn name(&self) -> &str {
        &self.name
    }

    fn id(&self) -> [u8; 4] {
        let named = Sha256::new().chain_update(&self.name).chain_update(b"\n");
        let digest = named.chain_update([ED25519_KIND]).chain_update(self.key).finalize();
        [digest[0], digest[1], digest[2], digest[3]]
    }

    /// The text of a note that this signer has signed, among others perhaps.
    pub fn open<'a>(&self, note: &'a str) -> Result<&'a str, NoteError> {
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::Form)?;
        let text = note.get(..=text.len()).ok_or(NoteError::Form)?;
        for line in signatures.lines() {
            let line = line.strip_prefix(DASH).ok_or(NoteError::Form)?;
            let (name, signature) = line.split_once(' ').ok_or(NoteError::Form)?;
            let signature = STANDARD.decode(signature).map_err(|_| NoteError::Form)?;
            let (id, signature) = signature.split_at_checked(4).ok_or(NoteError::Form)?;
            if name != self.name || id != self.id() {
                continue;
            }
            let key = UnparsedPublicKey::new(&ED25519, self.key);
            let is_right = key.verify(text.as_bytes(), signature).is_ok();
            return match is_right {
                true => Ok(text),
                false => Err(NoteError::Forged(self.name.clone())),
            };
        }
        Err(NoteError::Unsigned(self.name.clone()))
    }

    /// The checkpoint that a note is.
    pub fn checkpoint(&self, note: &str) -> Result<Checkpoint, NoteError> {
        let checkpoint: Checkpoint = self.open(note)?.parse()?;
        match checkpoint.origin == self.name {
            true => Ok(checkpoint),
            false => Err(NoteError::Checkpoint),
        }
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key: Vec<u8> = [ED25519_KIND].iter().chain(&self.key).copied().collect();
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id()), STANDARD.encode(key))
    }
}

impl FromStr for Verifier {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let (name, rest) = text.trim().split_once('+').ok_or(NoteError::Key)?;
        let (id, key) = rest.split_once('+').ok_or(NoteError::Key)?;
        let key = STANDARD.decode(key).map_err(|_| NoteError::Key)?;
        let key = match key.split_first() {
            Some((&ED25519_KIND, key)) => key.try_into().map_err(|_| NoteError::Key)?,
            _ => return Err(NoteError::Key),
        };
        let verifier = Self { name: name.to_owned(), key };
        match hex::encode(verifier.id()) == id && !name.is_empty() {
            true => Ok(verifier),
            false => Err(NoteError::Key),
        }
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, STANDARD.encode(self.root))
    }
}

impl FromStr for Checkpoint {
    type Err = NoteError;

    /// Reads the first three lines; what follows is for others.
    fn from_str(text: &str) -> Result<Self, NoteError> {
        let mut lines = text.lines();
        let mut line = || lines.next().ok_or(NoteError::Checkpoint);
        let (origin, size, root) = (line()?.to_owned(), line()?, line()?);
        let plain = size == "0" || !size.starts_with(['0', '+']);
        let size = size.parse().ok().filter(|_| plain).ok_or(NoteError::Checkpoint)?;
        let root = STANDARD.decode(root).map_err(|_| NoteError::Checkpoint)?;
        let root = root.try_into().map_err(|_| NoteError::Checkpoint)?;
        Ok(Self { origin, size, root })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the first implementation of signed notes documents itself with.
    const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn notes_of_others_are_read() {
        let verifier: Verifier = KEY.parse().expect("a key");
        assert_eq!(verifier.to_string(), KEY);
        assert!(verifier.open(NOTE).expect("it is signed").ends_with("problem is.\n"));
        let forged = NOTE.replace("answer", "Answer");
        assert_eq!(verifier.open(&forged), Err(NoteError::Forged("PeterNeumann".to_owned())));
        let ours = Signer::new(&[7; 32]);
        let unsigned = ours.verifier().open(NOTE);
        assert_eq!(unsigned, Err(NoteError::Unsigned(ours.verifier().name().to_owned())));
        assert_eq!(verifier.open("nothing"), Err(NoteError::Form));
        assert_eq!(verifier.open("a\n\nb\n"), Err(NoteError::Form));
    }

    #[test]
    fn checkpoints_go_both_ways_and_no_byte_of_them_may_change() {
        let signer = Signer::new(&[7; 32]);
        let note = signer.checkpoint(12, &[9; 32]);
        let verifier: Verifier = signer.verifier().to_string().parse().expect("a key");
        let checkpoint = verifier.checkpoint(&note).expect("it is signed");
        assert_eq!((checkpoint.size, checkpoint.root), (12, [9; 32]));
        assert_eq!(checkpoint.origin, verifier.name());
        for (at, _) in note.char_indices() {
            let mut forged = note.clone().into_bytes();
            forged[at] ^= 1;
            if let Ok(forged) = String::from_utf8(forged) {
                assert!(verifier.checkpoint(&forged).is_err(), "{at}");
            }
        }
        for text in ["", "a\n", "a\n1\n", "a\n01\nAAAA\n", "a\n-1\nAAAA\n", "a\n1\nAAAA\n"] {
            assert_eq!(text.parse::<Checkpoint>(), Err(NoteError::Checkpoint), "{text:?}");
        }
    }

    #[test]
    fn keys_are_checked_against_their_id() {
        for text in
            ["", "a", "a+b", "a+b+c", &KEY.replace("c74f", "c74e"), &KEY.replace("Peter", "")]
        {
            assert_eq!(text.parse::<Verifier>(), Err(NoteError::Key), "{text:?}");
        }
    }
}
