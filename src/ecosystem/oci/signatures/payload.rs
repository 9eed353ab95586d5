//! The bytes of a signature, as a document: planning looks into them, and they are small.
//!
//! They are those of a blob, which is kept for clients that verify signatures themselves; where it is, nobody is asked for them again. What came of verifying them
//! stays beside them for as long as they are in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use sha2::{Digest as _, Sha256};

use crate::cache::lookup::{Demand, Document, Fresh, Keep, Kept, Parsed};
use crate::ecosystem::oci::admit::AdmitDocument;
use crate::ecosystem::oci::scope::Scope;
use crate::ecosystem::oci::{blob, manifest};
use crate::signature::Trust;
use crate::signature::image::{Unbelieved, Voucher};
use crate::types::{CacheKey, Digest};

/// The largest signature that is looked into. Payloads have some hundreds of bytes, bundles some thousands.
pub const LIMIT_BYTES: u64 = 1 << 20;

/// Outcomes that are remembered of one payload: several people may have signed the same bytes.
const MOST_OUTCOMES: usize = 64;

/// A signature's bytes.
#[derive(Debug)]
pub struct Payload {
    pub bytes: Bytes,
    outcomes: Mutex<BTreeMap<[u8; 32], Result<String, Unbelieved>>>,
}

#[derive(Debug)]
struct KeepPayload {
    digest: Digest,
}

/// The bytes of a signature, for a reader who may read the manifest that it is filed in.
pub fn document(scope: &Scope, digest: Digest) -> Document {
    let request = scope.request(Method::GET, &format!("blobs/{digest}"));
    let admit = AdmitDocument::of(scope, Duration::MAX);
    let name = format!("{}@{digest}", scope.name("signature"));
    let document = scope.document(&name, vec![request], admit, Arc::new(KeepPayload { digest }));
    Document { demand: Demand::AnyAge, limit_bytes: LIMIT_BYTES, ..document }
}

impl Payload {
    fn new(bytes: Bytes) -> Self {
        Self { bytes, outcomes: Mutex::default() }
    }

    /// Who vouches by it for the manifest of `subject`.
    pub fn verified(
        &self,
        voucher: &Voucher,
        trust: &Trust,
        subject: &str,
    ) -> Result<String, Unbelieved> {
        let mut hasher = Sha256::new();
        hasher.update(voucher.fingerprint());
        hasher.update(subject);
        let name: [u8; 32] = hasher.finalize().into();
        let outcomes = || self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = outcomes().get(&name).cloned() {
            return known;
        }
        let outcome = voucher.verify(trust, &self.bytes, subject);
        let mut outcomes = outcomes();
        if outcomes.len() < MOST_OUTCOMES {
            outcomes.insert(name, outcome.clone());
        }
        outcome
    }
}

impl Keep for KeepPayload {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        Ok(Parsed::new(Payload::new(kept.clone())))
    }

    fn merge(&self, _: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        manifest::verify(fresh.body, &self.digest)?;
        let bytes = fresh.body.clone();
        Ok(Kept::alone(bytes.clone(), Parsed::new(Payload::new(bytes))))
    }

    fn bytes_of(&self) -> Option<CacheKey> {
        Some(blob::key(&self.digest))
    }
}
