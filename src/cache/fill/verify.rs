//! Digests of a body in the making: the contiguous prefix is hashed as it arrives, from memory where it comes in order,
//! from the file where it does not. Who looks into the body sees it in the same order.

use std::io;

use std::sync::Arc;

use bytes::Bytes;

use crate::cache::fill::scan::Scan;
use crate::inspect::Report;
use crate::store::ReadAt;
use crate::types::{Algorithm, BlobId, Digest, Hasher};

/// How much is read at once when hashing from the file.
const READ_BYTES: usize = 1 << 20;

/// Hashes a body from its start and compares the digests with the promised ones.
pub(super) struct Verifier {
    at: u64,
    hashers: Vec<Hasher>,
    promised: Vec<Digest>,
    /// Git's digest begins with the length; when that is not known at the start, it is computed from the file at the end.
    git_later: bool,
    scan: Option<Scan>,
}

/// Digests of a whole body, all promises kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) blob: BlobId,
    pub(crate) length: u64,
    /// Beside the blob's SHA-256.
    pub(crate) digests: Vec<Digest>,
    /// What was found in it, if anybody looked.
    pub(crate) report: Option<Arc<Report>>,
}

/// A body with the right digests that may not pass all the same.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) digests: Vec<Digest>,
    pub(super) report: Arc<Report>,
    pub(super) reason: String,
}

/// Why a body could not be verified.
#[derive(Debug, thiserror::Error)]
pub(super) enum VerifyError {
    /// Other bytes than promised; says which digests.
    #[error("{0}")]
    Mismatch(String),
    /// What was promised, and refused for what is in it.
    #[error("{}", .0.reason)]
    Refused(Box<Refused>),
    #[error("reading back for hashing")]
    Read(#[from] io::Error),
}

impl Verifier {
    /// A verifier at offset 0. SHA-256 is always computed: it names the blob.
    pub(super) fn new(promised: Vec<Digest>, total: Option<u64>, scan: Option<Scan>) -> Self {
        let mut algorithms = vec![Algorithm::Sha256];
        for digest in &promised {
            if !algorithms.contains(&digest.algorithm()) {
                algorithms.push(digest.algorithm());
            }
        }
        let git = algorithms.contains(&Algorithm::GitSha1);
        let mut hashers: Vec<_> =
            algorithms.into_iter().filter_map(|name| Hasher::new(name).ok()).collect();
        if let Some(length) = total.filter(|_| git) {
            hashers.push(Hasher::git_blob(length));
        }
        Self { at: 0, hashers, promised, git_later: git && total.is_none(), scan }
    }

    /// Who looks into the body, if anybody does.
    pub(super) const fn scan(&self) -> Option<&Scan> {
        self.scan.as_ref()
    }

    /// How far the body is hashed.
    pub(super) const fn at(&self) -> u64 {
        self.at
    }

    /// Hashes `chunks` when they are the next bytes; otherwise they are read from the file later.
    pub(super) fn feed(&mut self, offset: u64, chunks: &[Bytes]) {
        if offset == self.at {
            for chunk in chunks {
                self.update(chunk);
            }
        }
    }

    /// Hashes from the file up to `end`. Blocking.
    pub(super) fn catch_up(&mut self, file: &dyn ReadAt, end: u64) -> io::Result<()> {
        while self.at < end {
            let chunk = read(file, self.at, end)?;
            self.update(&chunk);
        }
        Ok(())
    }

    /// Compares the digests of a body of `length` bytes, all of which are hashed.
    pub(super) fn finish(self, file: &dyn ReadAt, length: u64) -> Result<Verified, VerifyError> {
        debug_assert_eq!(self.at, length, "every byte is hashed before the digests are compared");
        let mut digests: Vec<_> = self.hashers.into_iter().map(Hasher::finish).collect();
        if self.git_later {
            digests.push(git_digest(file, length)?);
        }
        for expected in &self.promised {
            let got = digests.iter().find(|digest| digest.algorithm() == expected.algorithm());
            match got {
                Some(got) if got == expected => {}
                Some(got) => {
                    return Err(VerifyError::Mismatch(format!("expected {expected}, got {got}")));
                }
                None => return Err(io::Error::other("a digest was not computed").into()),
            }
        }
        let found = self.scan.map(Scan::end);
        if let Some((report, Some(reason))) = found {
            return Err(VerifyError::Refused(Box::new(Refused { digests, report, reason })));
        }
        let blob = digests.iter().find_map(Digest::blob_id).expect("SHA-256 is always computed");
        digests.retain(|digest| digest.algorithm() != Algorithm::Sha256);
        Ok(Verified { blob, length, digests, report: found.map(|(report, _)| report) })
    }

    fn update(&mut self, chunk: &[u8]) {
        for hasher in &mut self.hashers {
            hasher.update(chunk);
        }
        if let Some(scan) = &mut self.scan {
            scan.feed(chunk);
        }
        self.at += chunk.len() as u64;
    }
}

/// Verifies a complete body at rest against `promised`. Blocking.
pub(crate) fn verify_at_rest(
    file: &dyn ReadAt,
    length: u64,
    promised: Vec<Digest>,
) -> Result<Vec<Digest>, String> {
    let mut verifier = Verifier::new(promised, Some(length), None);
    verifier.catch_up(file, length).map_err(|error| error.to_string())?;
    let verified = verifier.finish(file, length).map_err(|error| error.to_string())?;
    Ok(verified.digests)
}

fn git_digest(file: &dyn ReadAt, length: u64) -> io::Result<Digest> {
    let mut hasher = Hasher::git_blob(length);
    let mut at = 0;
    while at < length {
        let chunk = read(file, at, length)?;
        hasher.update(&chunk);
        at += chunk.len() as u64;
    }
    Ok(hasher.finish())
}

fn read(file: &dyn ReadAt, at: u64, end: u64) -> io::Result<Bytes> {
    let length = usize::try_from(end - at).unwrap_or(READ_BYTES).min(READ_BYTES);
    match file.read(at, length)? {
        chunk if chunk.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
        chunk => Ok(chunk),
    }
}
