//! Whether somebody vouches for a repository's files: the signature that lies among them (OpenSSF model signing), where rules look at that.
//!
//! A commit is signed by the file `model.sig` at its top, which lists the others with their SHA-256. The tree names that of every large file, so what was signed is
//! told from what was not before a byte of it is fetched. Of a file within git the tree names no SHA-256: it is computed of what is kept, or of what is
//! fetched for it, once. A signature that was pulled with the other files is read from what is kept, too; it is verified off the request's way and the outcome kept in
//! memory with it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use crate::cache::lookup::{Demand, Document, Fresh, Keep, Kept, Parsed};
use crate::ecosystem::huggingface::file::{Content, FileFacts, blob_key};
use crate::ecosystem::huggingface::info::AdmitFacts;
use crate::ecosystem::huggingface::reach::Reading;
use crate::ecosystem::huggingface::repository::FilePath;
use crate::ecosystem::huggingface::settle::{Settled, need};
use crate::ecosystem::huggingface::tree::{self, Tree};
use crate::ecosystem::{Ask, Step};
use crate::policy::{Ecosystem, Fact, Facts, Ruleset};
use crate::signature::Trust;
use crate::signature::model::{self, Sha256Digest, Signed, Word};
use crate::types::{Algorithm, BlobId, CacheKey, Digest, Hasher, Timestamp};

/// Where a signature lies.
pub const PATH: &str = "model.sig";

/// The largest signature: of some fifty thousand files.
const LIMIT_BYTES: u64 = 16 << 20;

/// The largest file within git that is read to know its SHA-256; the hub wants larger ones outside.
const SMALL_BYTES: u64 = 16 << 20;

/// What is known from signatures.
const FACTS: [Fact; 4] =
    [Fact::Attested, Fact::AttestationVerified, Fact::AttestationFault, Fact::SignedBy];

/// What came of looking for a commit's signature.
#[derive(Debug, Clone, Default)]
pub enum Vouching {
    /// No rule looks at it.
    #[default]
    Unasked,
    /// There is none.
    Unsigned,
    /// There is one that is too large to be read.
    TooLarge,
    /// As it was read.
    Read(Parsed),
    /// It, or the list of files, could not be had just now.
    Pending,
    /// One of them cannot be had.
    Unknown,
}

/// A signature that was read and held against the tree of its commit.
#[derive(Debug)]
struct Outcome(Result<Signed, String>);

/// What is known of the SHA-256 of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    Is(Sha256Digest),
    /// It could not be had just now.
    Pending,
    /// Nobody asked, or it cannot be had.
    Unknown,
}

/// Goes on with a commit's signature, where rules look at it.
pub fn with(
    at: Settled,
    ask: Ask,
    then: impl FnOnce(Settled, Ask) -> Step + Send + 'static,
) -> Step {
    if !is_needed(&ask.rules) || !matches!(at.vouching, Vouching::Unasked) {
        return then(at, ask);
    }
    let document = tree::document(&at.reach, &at.repository, &at.commit);
    need(document, move |held| {
        let tree = match &held {
            Ok(held) => held.parsed.get::<Tree>().filter(|tree| at.covers(tree.kept())).cloned(),
            Err(failure) => {
                let vouching =
                    if failure.is_passing() { Vouching::Pending } else { Vouching::Unknown };
                return then(Settled { vouching, ..at }, ask);
            }
        };
        match tree {
            Some(tree) => read(at, ask, tree, then),
            None => then(Settled { vouching: Vouching::Unknown, ..at }, ask),
        }
    })
}

fn is_needed(rules: &Ruleset) -> bool {
    FACTS.iter().any(|fact| rules.needs(Ecosystem::Hf, *fact))
}

fn read(
    at: Settled,
    ask: Ask,
    tree: Tree,
    then: impl FnOnce(Settled, Ask) -> Step + Send + 'static,
) -> Step {
    let file = FilePath::parse(PATH).and_then(|path| tree.file(&path));
    let document = match file.map(|file| (file.size, file.content.digest(), file)) {
        Some((Some(size), Some(digest), file)) if size <= LIMIT_BYTES => {
            let trust = at.files.settings.trust.clone();
            let keep = KeepSignature { trust, digest, tree };
            whole(&at, &file, "", Arc::new(keep), LIMIT_BYTES)
        }
        Some(_) => return then(Settled { vouching: Vouching::TooLarge, ..at }, ask),
        None => return then(Settled { vouching: Vouching::Unsigned, ..at }, ask),
    };
    need(document, move |held| {
        let vouching = match held {
            Ok(held) => Vouching::Read(held.parsed),
            Err(failure) if failure.is_passing() => Vouching::Pending,
            Err(_) => Vouching::Unknown,
        };
        then(Settled { vouching, ..at }, ask)
    })
}

/// Goes on with the SHA-256 of a file within git that was signed.
pub fn with_digest(
    at: Settled,
    file: FileFacts,
    then: impl FnOnce(Settled, FileFacts, Known) -> Step + Send + 'static,
) -> Step {
    let git = match (&file.content, at.vouching.word_on(&file)) {
        (Content::Git(git), Some(Word::Signed(_)))
            if file.size.is_some_and(|size| size <= SMALL_BYTES) =>
        {
            *git
        }
        _ => return then(at, file, Known::Unknown),
    };
    let name = format!("/{}", file.path);
    let document = whole(&at, &file, &name, Arc::new(KeepDigest { git }), SMALL_BYTES);
    need(document, move |held| {
        let known = match held {
            Ok(held) => held.parsed.get().copied().map_or(Known::Unknown, Known::Is),
            Err(failure) if failure.is_passing() => Known::Pending,
            Err(_) => Known::Unknown,
        };
        then(at, file, known)
    })
}

/// A whole file of a commit as a document: `name` goes on behind the commit. What is kept for its readers is not fetched again.
fn whole(
    at: &Settled,
    file: &FileFacts,
    name: &str,
    keep: Arc<dyn Keep>,
    limit_bytes: u64,
) -> Document {
    let (repository, commit) = (&at.repository, &at.commit);
    let address = format!("{}/resolve/{commit}/{}", repository.web_path(), file.path.encoded());
    let mut request = at.files.get(&address);
    if let Some(request) = &mut request {
        request.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    let admit = Arc::new(AdmitFacts::of(&at.files, Duration::MAX));
    let how = Reading { keep, admit, limit_bytes, demand: Demand::AnyAge };
    at.files.document(&format!("signature/{repository}/{commit}{name}"), request, how)
}

impl Vouching {
    fn outcome(&self) -> Option<&Result<Signed, String>> {
        let Self::Read(parsed) = self else { return None };
        parsed.get::<Outcome>().map(|Outcome(outcome)| outcome)
    }

    /// What a signature that is believed says of a file.
    fn word_on(&self, file: &FileFacts) -> Option<Word<'_>> {
        let signed = self.outcome()?.as_ref().ok()?;
        Some(signed.manifest.word_on(file.path.as_str(), PATH))
    }
}

/// Adds who vouches for a file. `known` is its SHA-256 where the tree does not name it.
pub fn add(
    facts: &mut Facts<'_>,
    vouching: &Vouching,
    file: &FileFacts,
    known: Known,
    now: Timestamp,
) {
    match vouching {
        Vouching::Unasked | Vouching::Unknown => return,
        Vouching::Pending => return facts.await_all(&FACTS),
        Vouching::Unsigned => {
            facts.set(Fact::Attested, false);
            return facts.set(Fact::AttestationVerified, false);
        }
        Vouching::TooLarge | Vouching::Read(_) => facts.set(Fact::Attested, true),
    }
    let mut fault = |told: String| {
        facts.set(Fact::AttestationVerified, false);
        facts.set(Fact::AttestationFault, told);
    };
    let signed = match vouching.outcome() {
        Some(Ok(signed)) => signed,
        Some(Err(told)) => return fault(told.clone()),
        None => return fault(format!("its signature is larger than {} MiB", LIMIT_BYTES >> 20)),
    };
    let by = &signed.signed_by;
    if signed.until_secs.is_some_and(|until| now.secs() > until) {
        return fault(format!("it was signed with a certificate of {by} that has run out"));
    }
    let known = match &file.content {
        Content::Large { sha256, .. } => {
            sha256.as_bytes().try_into().map_or(Known::Unknown, Known::Is)
        }
        Content::Git(_) | Content::Opaque(_) => known,
    };
    match (signed.manifest.word_on(file.path.as_str(), PATH), known) {
        (Word::Unsigned, _) => fault(format!("{by} signed other files of its commit and not it")),
        (Word::Signed(expected), Known::Is(digest)) if *expected != digest => fault(format!(
            "{by} signed it with the digest sha256:{}, and it has sha256:{}",
            hex::encode(expected),
            hex::encode(digest)
        )),
        (Word::Signed(_), Known::Pending) => {
            facts.await_all(&[Fact::AttestationVerified, Fact::AttestationFault, Fact::SignedBy]);
        }
        (Word::Signed(_), Known::Unknown) => {}
        (Word::Signed(_), Known::Is(_)) | (Word::LeftOut, _) => {
            facts.set(Fact::AttestationVerified, true);
            facts.set(Fact::SignedBy, vec![by.clone()]);
        }
    }
}

/// Keeps a signature as it came, if it is the file that the tree names, and verifies it.
#[derive(Debug)]
struct KeepSignature {
    trust: Trust,
    digest: Digest,
    tree: Tree,
}

impl KeepSignature {
    fn outcome(&self, text: &[u8]) -> Parsed {
        let verified = model::verify(&self.trust, text).map_err(|fault| fault.to_string());
        let is_lacking = |path: &&str| self.tree.find(path).is_none_or(|entry| entry.is_folder);
        Parsed::new(Outcome(verified.and_then(|signed| {
            let lacking = signed.manifest.paths().find(is_lacking).map(str::to_owned);
            match lacking {
                Some(path) => Err(format!(
                    "{} signed a model with the file {path:?}, which its commit does not have",
                    signed.signed_by
                )),
                None => Ok(signed),
            }
        })))
    }
}

impl Keep for KeepSignature {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        Ok(self.outcome(kept))
    }

    fn merge(&self, _: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        let body = right(fresh, &self.digest)?;
        Ok(Kept::alone(body.clone(), self.outcome(body)))
    }

    fn bytes_of(&self) -> Option<CacheKey> {
        Some(blob_key(&self.digest))
    }

    fn absent(&self, _: &Parsed, _: Timestamp) -> Option<Kept> {
        None
    }
}

/// Keeps the SHA-256 of a file, of which nothing else is kept here.
#[derive(Debug)]
struct KeepDigest {
    git: Digest,
}

impl Keep for KeepDigest {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        let digest = Sha256Digest::try_from(kept.as_ref()).map_err(|error| error.to_string())?;
        Ok(Parsed::new(digest))
    }

    fn merge(&self, _: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        let BlobId(digest) = BlobId::of(right(fresh, &self.git)?);
        Ok(Kept::alone(Bytes::copy_from_slice(&digest), Parsed::new(digest)))
    }

    fn bytes_of(&self) -> Option<CacheKey> {
        Some(blob_key(&self.git))
    }

    fn absent(&self, _: &Parsed, _: Timestamp) -> Option<Kept> {
        None
    }
}

/// The body, if it is the file that the tree names.
fn right<'a>(fresh: &Fresh<'a>, digest: &Digest) -> Result<&'a Bytes, String> {
    if fresh.head.status != StatusCode::OK {
        return Err(format!("the hub answered {}", fresh.head.status));
    }
    let mut hasher = match digest.algorithm() {
        Algorithm::GitSha1 => Hasher::git_blob(fresh.body.len() as u64),
        other => Hasher::new(other).map_err(|error| error.to_string())?,
    };
    hasher.update(fresh.body);
    match hasher.finish() {
        found if found == *digest => Ok(fresh.body),
        found => Err(format!("the tree names {digest}, and what came is {found}")),
    }
}
