//! Files fetched through the mounts, as a client fetches them: verified, judged and kept on the one way there is.
//!
//! What is kept already is asked for one byte, so that going on after an interruption costs little; half of a file that an earlier attempt left is the
//! cache's to go on from. Left out: how that looks on a terminal (`cli`).

use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::stream::{self, StreamExt};
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::BodyStream;
use serde::Serialize;

use crate::bundle::door::{fields, whole};
use crate::bundle::walk::Item;
use crate::bundle::{Answer, Door, DoorError};
use crate::types::{Algorithm, Digest, Hasher};

/// Attempts at a transfer that breaks off; the cache goes on where it stopped.
const ATTEMPTS: usize = 3;

/// Pause before another one.
const PAUSE: Duration = Duration::from_millis(200);

/// How much of what is fetched is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What is kept is left alone.
    Missing,
    /// Every file's SHA-256 is wanted: those are read whole whose list does not name it.
    Digests,
}

/// How a file fared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "outcome")]
pub enum Fared {
    /// It was fetched now.
    New {
        bytes: u64,
    },
    /// It was kept before.
    Kept,
    Refused {
        reason: String,
    },
    Missing {
        reason: String,
    },
    Failed {
        reason: String,
    },
    /// It is not what a list or a lock file says.
    Mismatch {
        reason: String,
    },
}

impl Fared {
    /// Why it was not had; empty if it was.
    pub fn reason(&self) -> &str {
        match self {
            Self::New { .. } | Self::Kept => "",
            Self::Refused { reason }
            | Self::Missing { reason }
            | Self::Failed { reason }
            | Self::Mismatch { reason } => reason,
        }
    }
}

impl From<DoorError> for Fared {
    fn from(error: DoorError) -> Self {
        match error {
            DoorError::Refused(reason) => Self::Refused { reason },
            DoorError::Missing(reason) => Self::Missing { reason },
            DoorError::Failed(reason) => Self::Failed { reason },
            DoorError::Mismatch(reason) => Self::Mismatch { reason },
        }
    }
}

/// A file that was looked at.
#[derive(Debug, Clone)]
pub struct Taken {
    pub item: Item,
    pub fared: Fared,
    /// The digest of its bytes as far as it was wanted or is named, the strongest there is.
    pub digest: Option<Digest>,
    pub size: Option<u64>,
}

/// Who is told of bytes as they come.
pub type Progress<'a> = &'a (dyn Fn(&Item, u64) + Send + Sync);

/// Fetches files, `at_once` of them at a time; `told` hears of each when it is done.
pub async fn take_all(
    door: &dyn Door,
    items: Vec<Item>,
    depth: Depth,
    at_once: usize,
    progress: Progress<'_>,
    mut told: impl FnMut(&Taken),
) -> Vec<Taken> {
    let takes = items.into_iter().map(|item| take(door, item, depth, progress));
    let mut takes = stream::iter(takes).buffer_unordered(at_once.max(1));
    let mut all = Vec::new();
    while let Some(taken) = takes.next().await {
        told(&taken);
        all.push(taken);
    }
    all
}

async fn take(door: &dyn Door, item: Item, depth: Depth, progress: Progress<'_>) -> Taken {
    let named = item.digests.last().copied();
    let strong = item.strong_digest();
    let must_read = item.locked.is_some() || depth == Depth::Digests && strong.is_none();
    if !must_read && probe(door, &item).await.is_ok() {
        let size = item.size;
        let fared = match item.fetched {
            true => Fared::New { bytes: size.unwrap_or_default() },
            false => Fared::Kept,
        };
        return Taken { item, fared, digest: named, size };
    }
    let was_kept = must_read && !item.fetched && probe(door, &item).await.is_ok();
    let mut attempt = 1;
    loop {
        match fetch(door, &item, progress).await {
            Ok(read) => {
                let digest = strong.or(Some(read.sha256));
                let fared = match probe(door, &item).await {
                    Ok(()) if was_kept => Fared::Kept,
                    Ok(()) => Fared::New { bytes: read.bytes },
                    // It passed through: the disk is full, or its upstream forbids to keep it.
                    Err(_) => Fared::Failed { reason: "it came, and could not be kept".to_owned() },
                };
                return Taken { fared, digest, size: Some(read.bytes), item };
            }
            Err(DoorError::Failed(_)) if attempt < ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Taken { fared: error.into(), digest: None, size: None, item },
        }
    }
}

/// Looks for a file without anybody being asked.
pub async fn probe(door: &dyn Door, item: &Item) -> Result<(), DoorError> {
    let mut headers = fields(item.accept);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("only-if-cached"));
    if item.accept.is_none() {
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-0"));
    }
    let response = door.ask(Method::GET, item.address.clone(), headers).await?;
    let (head, body) = response.into_parts();
    // An empty file has no first byte.
    if head.status.is_success() || head.status == StatusCode::RANGE_NOT_SATISFIABLE {
        return Ok(());
    }
    let body = whole(body).await?;
    Err(Answer { status: head.status, headers: head.headers, body }.fault())
}

struct Read {
    bytes: u64,
    sha256: Digest,
}

async fn fetch(door: &dyn Door, item: &Item, progress: Progress<'_>) -> Result<Read, DoorError> {
    let response = door.ask(Method::GET, item.address.clone(), fields(item.accept)).await?;
    let (head, body) = response.into_parts();
    if !head.status.is_success() {
        let body = whole(body).await?;
        return Err(Answer { status: head.status, headers: head.headers, body }.fault());
    }
    let wanted: Vec<Digest> = item.digests.iter().chain(&item.locked).copied().collect();
    let length = head
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let mut hashers = vec![Hasher::new(Algorithm::Sha256).expect("it needs no length")];
    for digest in &wanted {
        let hasher = match digest.algorithm() {
            Algorithm::Sha256 => continue,
            Algorithm::GitSha1 => length.or(item.size).map(Hasher::git_blob),
            other => Hasher::new(other).ok(),
        };
        hashers.extend(hasher);
    }
    let broken = |error: crate::server::BodyError| {
        let cause = std::error::Error::source(error.as_ref()).map(|cause| format!(": {cause}"));
        DoorError::Failed(format!("it broke off: {error}{}", cause.unwrap_or_default()))
    };
    let mut frames = BodyStream::new(body);
    let mut bytes = 0;
    while let Some(frame) = frames.try_next().await.map_err(broken)? {
        let Ok(chunk) = frame.into_data() else { continue };
        bytes += chunk.len() as u64;
        hashers.iter_mut().for_each(|hasher| hasher.update(&chunk));
        progress(item, chunk.len() as u64);
    }
    let got: Vec<Digest> = hashers.into_iter().map(Hasher::finish).collect();
    for digest in &wanted {
        let same = got.iter().find(|one| one.algorithm() == digest.algorithm());
        if let Some(other) = same.filter(|one| *one != digest) {
            return Err(DoorError::Mismatch(format!(
                "its bytes have the digest {other}, not {digest}"
            )));
        }
    }
    let sha256 = got[0];
    Ok(Read { bytes, sha256 })
}
