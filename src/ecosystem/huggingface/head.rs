//! What the head of a file says, asked for while the tree of its commit is not kept yet.
//!
//! One small question gives a cold client everything that it waits for. The answer is of a commit and therefore counts for ever, also that there is no such
//! file. The tree is fetched behind it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::cache::lookup::{
    Accepted, Admission, Admit, Answer, Demand, Document, Follow, Fresh, Keep, Kept, Parsed,
};
use crate::ecosystem::huggingface::file::{Content, FileFacts};
use crate::ecosystem::huggingface::info::{AdmitFacts, from_row, to_row};
use crate::ecosystem::huggingface::reach::Reading;
use crate::ecosystem::huggingface::repository::{Commit, FilePath, is_hex};
use crate::ecosystem::huggingface::resolve::{LINKED_ETAG, LINKED_SIZE, REPO_COMMIT, XET_HASH};
use crate::ecosystem::huggingface::settle::Settled;
use crate::ecosystem::huggingface::tree;
use crate::ecosystem::huggingface::word::{ENTRY_NOT_FOUND, ERROR_CODE, Word};
use crate::types::{Head, Timestamp};
use crate::upstream::request::Redirects;

/// What was seen of a file, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub kept: Timestamp,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    File(Row),
    /// The commit has no such file.
    Nothing,
    Refused(Word),
}

/// A file as its head describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The entity tag, without quotes.
    tag: String,
    size: Option<u64>,
    xet_hash: Option<String>,
}

impl Row {
    pub fn facts(&self, path: FilePath) -> FileFacts {
        FileFacts {
            path,
            size: self.size,
            content: Content::of_tag(&self.tag),
            xet_hash: self.xet_hash.clone(),
        }
    }

    /// Reads an answer to `HEAD resolve`, be it the file's own or a redirect to where its bytes are.
    fn of(head: &Head) -> Result<Self, String> {
        let tag = head.text(&LINKED_ETAG).or_else(|| head.text(&header::ETAG));
        let tag = tag.ok_or("the hub names no entity tag")?;
        let tag = tag.trim().trim_start_matches("W/").trim_matches('"');
        if tag.is_empty() {
            return Err("the hub names an empty entity tag".to_owned());
        }
        let linked = head.text(&LINKED_SIZE).and_then(|size| size.trim().parse().ok());
        // The length of a redirect is that of its own body.
        let own = head.content_length().filter(|_| head.status == StatusCode::OK);
        Ok(Self {
            tag: tag.to_owned(),
            size: linked.or(own),
            xet_hash: head.text(&XET_HASH).filter(|hash| is_hex(hash, 64)).map(str::to_owned),
        })
    }
}

/// The document of a file's head.
pub fn document(at: &Settled, path: &FilePath) -> Document {
    let (repository, commit) = (&at.repository, &at.commit);
    let address = format!("{}/resolve/{commit}/{}", repository.web_path(), path.encoded());
    let request = at.files.get(&address).map(|mut request| {
        request.method = Method::HEAD;
        request.redirects = Redirects::Within;
        let identity = HeaderValue::from_static("identity");
        request.headers.insert(header::ACCEPT_ENCODING, identity);
        request
    });
    let how = Reading {
        keep: Arc::new(KeepHead {
            commit: commit.clone(),
            tree: tree::document(&at.reach, repository, commit),
        }),
        admit: Arc::new(AdmitHead(AdmitFacts::of(&at.files, Duration::MAX))),
        // There is no body; the length that a head announces is the file's.
        limit_bytes: u64::MAX,
        demand: Demand::Fresh,
    };
    at.files.document(&format!("file/{repository}/{commit}/{path}"), request, how)
}

/// Admits the file's own head, and redirects to elsewhere that describe it.
#[derive(Debug)]
struct AdmitHead(AdmitFacts);

impl Admit for AdmitHead {
    fn admit(&self, index: usize, answer: &Answer<'_>) -> Admission {
        let head = answer.head;
        let is_entry = is_no_entry(head);
        if is_entry || head.status.is_redirection() && head.headers.contains_key(REPO_COMMIT) {
            return Admission::Accept(Accepted { fresh_for: Duration::MAX, ..Accepted::default() });
        }
        self.0.admit(index, answer)
    }
}

/// Whether the hub says that the commit, which it has, has no such file.
fn is_no_entry(head: &Head) -> bool {
    head.status == StatusCode::NOT_FOUND
        && head.text(&ERROR_CODE) == Some(ENTRY_NOT_FOUND)
        && head.headers.contains_key(REPO_COMMIT)
}

#[derive(Debug)]
struct KeepHead {
    commit: Commit,
    tree: Document,
}

impl Keep for KeepHead {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        from_row::<Seen>(kept).map(Parsed::new)
    }

    fn merge(&self, previous: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        let head = fresh.head;
        let is_known =
            is_no_entry(head) || head.status == StatusCode::OK || head.status.is_redirection();
        if !is_known {
            let word = Word::of(head, fresh.body);
            let known = previous.and_then(Parsed::get::<Seen>);
            let known = known.filter(|seen| !matches!(seen.what, What::Refused(_))).cloned();
            let (bytes, seen) = match known {
                Some(seen) => (to_row(&seen), seen),
                None => (Bytes::new(), Seen { kept: fresh.now, what: What::Refused(word) }),
            };
            return Ok(Kept::alone(bytes, Parsed::new(seen)));
        }
        if head.text(&REPO_COMMIT) != Some(self.commit.as_str()) {
            return Err(
                "the hub's answer is of another commit, or does not say of which".to_owned()
            );
        }
        let what = match is_no_entry(head) {
            true => What::Nothing,
            false => What::File(Row::of(head)?),
        };
        let seen = Seen { kept: fresh.now, what };
        let follow = vec![Follow::Document(self.tree.clone())];
        Ok(Kept { follow, ..Kept::alone(to_row(&seen), Parsed::new(seen)) })
    }
}
