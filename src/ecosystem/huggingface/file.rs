//! What is known of one file at one commit, and the artifact that it is.
//!
//! A file is known from the tree of its commit, or, as long as that is not kept, from a `HEAD` of its own. Its bytes are kept under their digest alone,
//! shared by all repositories, revisions and protocols; the right to read them was settled before.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::cache::failure::Failure;
use crate::cache::lookup::{
    Accepted, Admission, Admit, Answer, Artifact, Assemble, Lookup, Nature, Stale,
};
use crate::ecosystem::huggingface::config::ID;
use crate::ecosystem::huggingface::head::{self, Seen, What};
use crate::ecosystem::huggingface::naming::SCHEME;
use crate::ecosystem::huggingface::repository::{FilePath, is_hex};
use crate::ecosystem::huggingface::settle::{Settled, need};
use crate::ecosystem::huggingface::tree::{self, Tree};
use crate::ecosystem::huggingface::xet::native::Native;
use crate::ecosystem::huggingface::{explain, resolve};
use crate::ecosystem::{Ask, Step};
use crate::types::{Algorithm, Audience, CacheKey, Digest};
use crate::upstream::request::OriginRequest;

/// One file at one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    pub path: FilePath,
    /// Its real size, not that of a pointer to it. `None`: the hub did not say.
    pub size: Option<u64>,
    pub content: Content,
    /// Present for a file that clients may fetch by Xet.
    pub xet_hash: Option<String>,
}

/// How the hub names a file's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Git's own name: the file is in the repository as it is.
    Git(Digest),
    /// A large file: git holds a pointer to these bytes.
    Large { sha256: Digest, pointer: Option<Pointer> },
    /// An entity tag of another kind, which proves nothing: kept for this path of this commit alone.
    Opaque(String),
}

/// The pointer that git holds in place of a large file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// Git's name of the pointer's text.
    pub oid: Digest,
    pub size: u64,
}

impl Content {
    /// Reads the entity tag of a resolved file, without quotes: git's name or a SHA-256.
    pub fn of_tag(tag: &str) -> Self {
        if is_hex(tag, 40)
            && let Ok(oid) = Digest::from_hex(Algorithm::GitSha1, tag)
        {
            return Self::Git(oid);
        }
        match Digest::from_hex(Algorithm::Sha256, tag) {
            Ok(sha256) => Self::Large { sha256, pointer: None },
            Err(_) => Self::Opaque(tag.to_owned()),
        }
    }

    /// The digest of the file's bytes.
    pub const fn digest(&self) -> Option<Digest> {
        match self {
            Self::Git(digest) | Self::Large { sha256: digest, .. } => Some(*digest),
            Self::Opaque(_) => None,
        }
    }

    /// The entity tag that the hub gives the file, without quotes: clients name their own copies by it.
    pub fn tag(&self) -> String {
        match self {
            Self::Git(digest) | Self::Large { sha256: digest, .. } => digest.to_hex(),
            Self::Opaque(tag) => tag.clone(),
        }
    }

    /// Whether it is kept outside of git.
    pub const fn is_large(&self) -> bool {
        matches!(self, Self::Large { .. })
    }
}

impl FileFacts {
    /// The file's bytes, to be had from the hub by `GET resolve` where they are not kept.
    pub fn artifact(&self, at: &Settled) -> Artifact {
        let (repository, commit) = (&at.repository, &at.commit);
        let path = format!("{}/resolve/{commit}/{}", repository.web_path(), self.path.encoded());
        let origin = at.files.get(&path);
        let key = match self.content.digest() {
            Some(digest) => blob_key(&digest),
            None => at.files.key(&format!("bytes/{repository}/{commit}/{}", self.path)),
        };
        let mut artifact = artifact(key, self.content.digest(), self.size, origin);
        let is_unverified = artifact.digests.is_empty();
        artifact.lookup.admit = Arc::new(AdmitFile { is_unverified, native: self.native(at) });
        artifact.nature = self.nature();
        artifact.subject =
            Some(format!("{SCHEME}:{}@{commit}/{}", repository.web_path(), self.path));
        artifact
    }

    /// What it is to those who look into it. A template is text like any other but for its name.
    fn nature(&self) -> Nature {
        match self.path.to_string().ends_with(".jinja") {
            true => Nature::Template,
            false => Nature::Data,
        }
    }

    /// The file by its chunks, for when the hub does not give it whole.
    fn native(&self, at: &Settled) -> Option<Arc<Native>> {
        let api = at.repository.api_path();
        Some(Arc::new(Native {
            reach: at.files.clone(),
            token_path: format!("{api}/xet-read-token/{}", at.commit),
            hash: self.xet_hash.clone()?,
            size: self.size.filter(|size| *size > 0 && self.content.digest().is_some())?,
        }))
    }

    /// The file as git has it, to be had by `GET raw`: the same bytes, or a large file's pointer. `None` where that has no known name.
    pub fn raw_artifact(&self, at: &Settled) -> Option<Artifact> {
        let (oid, size) = match &self.content {
            Content::Git(oid) => (*oid, self.size),
            Content::Large { pointer: Some(pointer), .. } => (pointer.oid, Some(pointer.size)),
            Content::Large { pointer: None, .. } | Content::Opaque(_) => return None,
        };
        let (repository, commit) = (&at.repository, &at.commit);
        let path = format!("{}/raw/{commit}/{}", repository.web_path(), self.path.encoded());
        let origin = at.files.get(&path);
        let nature = self.nature();
        Some(Artifact { nature, ..artifact(blob_key(&oid), Some(oid), size, origin) })
    }
}

/// Finds out what is known of a file: from the tree of its commit if that is kept, else by asking for the file's own head. What cannot be found is
/// answered here.
pub fn find(
    at: Settled,
    ask: Ask,
    path: FilePath,
    then: impl FnOnce(Settled, FileFacts) -> Step + Send + 'static,
) -> Step {
    let document = tree::kept_document(&at.reach, &at.repository, &at.commit);
    need(document, move |held| {
        let tree = held.as_ref().ok().and_then(|held| held.parsed.get::<Tree>());
        match tree.filter(|tree| at.covers(tree.kept())) {
            Some(tree) => match tree.file(&path) {
                Some(facts) => then(at, facts),
                None => resolve::no_entry(&ask, &at),
            },
            None => find_by_head(at, ask, path, then),
        }
    })
}

fn find_by_head(
    at: Settled,
    ask: Ask,
    path: FilePath,
    then: impl FnOnce(Settled, FileFacts) -> Step + Send + 'static,
) -> Step {
    let document = head::document(&at, &path);
    need(document, move |held| {
        let held = match held {
            Ok(held) => held,
            Err(failure) => return Step::Reply(at.files.explain(&ask, &failure)),
        };
        match held.parsed.get::<Seen>() {
            Some(seen) if !at.covers(seen.kept) => {
                Step::Reply(at.files.explain(&ask, &Failure::NotKept))
            }
            Some(Seen { what: What::File(row), .. }) => {
                let facts = row.facts(path);
                then(at, facts)
            }
            Some(Seen { what: What::Nothing, .. }) => resolve::no_entry(&ask, &at),
            Some(Seen { what: What::Refused(word), .. }) => {
                Step::Reply(explain::refusal(&ask, word))
            }
            None => Step::Reply(explain::lost()),
        }
    })
}

/// Where bytes of this digest are kept, whatever they are called and whoever asked first.
pub fn blob_key(digest: &Digest) -> CacheKey {
    CacheKey::new(ID, &Audience::Public, &format!("blob/{digest}"))
}

/// What their keys begin with.
pub fn blobs() -> CacheKey {
    CacheKey::new(ID, &Audience::Public, "blob/")
}

/// Bytes with a digest that `origin` may be asked for.
pub fn artifact(
    key: CacheKey,
    digest: Option<Digest>,
    size: Option<u64>,
    origin: Option<OriginRequest>,
) -> Artifact {
    let mut origins: Vec<OriginRequest> = origin.into_iter().collect();
    for request in &mut origins {
        let identity = HeaderValue::from_static("identity");
        request.headers.insert(header::ACCEPT_ENCODING, identity);
    }
    let admit = Arc::new(AdmitFile { is_unverified: digest.is_none(), native: None });
    let lookup = Lookup { key, origins, admit, stale: Stale::Always };
    let digests = digest.into_iter().collect();
    Artifact { lookup, digests, size, nature: Nature::Data, is_excepted: false, subject: None }
}

/// Admits a file's bytes: immutable, so kept for ever.
#[derive(Debug)]
pub struct AdmitFile {
    /// Whether no digest is known that would tell a web page from the file.
    pub is_unverified: bool,
    /// How to put the file together where the hub's storage refuses to send it whole, as it does with the largest.
    pub native: Option<Arc<Native>>,
}

impl Admit for AdmitFile {
    fn admit(&self, _: usize, answer: &Answer<'_>) -> Admission {
        match answer.head.status {
            StatusCode::OK => {}
            StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::NOT_IMPLEMENTED
                if !answer.hops.is_empty()
                    && let Some(native) = &self.native =>
            {
                let accepted = Accepted { fresh_for: Duration::MAX, ..Accepted::default() };
                return Admission::Pieces(accepted, Arc::clone(native) as Arc<dyn Assemble>);
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if answer.hops.is_empty() => {
                return Admission::Refused;
            }
            // Behind a redirect it speaks of a signed address that ran out, not of anybody's rights. Nor is absence believed: the tree names
            // these bytes, and others may have them under another name.
            other => {
                return Admission::Fail { reason: format!("the hub's storage answered {other}") };
            }
        }
        let kind = answer.head.text(&header::CONTENT_TYPE).unwrap_or_default();
        if self.is_unverified && kind.trim_start().to_ascii_lowercase().starts_with("text/html") {
            let reason = "a web page came in place of a file whose digest is not known".to_owned();
            return Admission::Fail { reason };
        }
        Admission::Accept(Accepted {
            fresh_for: Duration::MAX,
            headers: HeaderMap::new(),
            ..Accepted::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_name_bytes() {
        let check = |tag: &str, algorithm: Option<Algorithm>| {
            let content = Content::of_tag(tag);
            assert_eq!(content.digest().map(|digest| digest.algorithm()), algorithm, "{tag}");
            assert_eq!(content.tag(), tag);
        };
        check(&"a1".repeat(20), Some(Algorithm::GitSha1));
        check(&"a1".repeat(32), Some(Algorithm::Sha256));
        check("a1-2", None);
        check("", None);
    }

    #[test]
    fn an_expired_signature_is_no_refusal() {
        use crate::types::{Head, Timestamp};
        use crate::upstream::request::Hop;
        let check = |status: u16, hops: usize, expected: &str| {
            let head = Head::new(StatusCode::from_u16(status).expect("a status"));
            let url = url::Url::parse("https://cdn.example/x").expect("an address");
            let hop = Hop { url, head: Head::new(StatusCode::FOUND) };
            let answer = Answer { hops: &vec![hop; hops], head: &head, now: Timestamp(0) };
            let admission = AdmitFile { is_unverified: false, native: None }.admit(0, &answer);
            let said = format!("{admission:?}");
            assert!(said.starts_with(expected), "{status} after {hops}: {said}");
        };
        check(200, 1, "Accept");
        check(403, 0, "Refused");
        check(403, 1, "Fail");
        check(404, 0, "Fail");
        check(503, 0, "Fail");
    }
}
