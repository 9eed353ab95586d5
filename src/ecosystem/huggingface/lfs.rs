//! git-lfs: large files of a clone come from the store.
//!
//! A client asks for objects by their SHA-256 and is told addresses. Where the tree of the commit that it is on names them all, they are told from it,
//! and the hub is not asked; otherwise the hub is, and its addresses are replaced by tickets. Either way the bytes are the same as of
//! `resolve`, under the same key.
//!
//! Left out: uploads, which pass through to the hub's own host.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use url::Url;

use crate::cache::failure::Failure;
use crate::cache::lookup::{
    Accepted, Admission, Admit, Answer, Demand, Document, Fresh, Keep, Kept, Parsed,
};
use crate::ecosystem::huggingface::batch::{self, Heard, MEDIA_TYPE, Named, Place, Request, Told};
use crate::ecosystem::huggingface::info::{self, Info};
use crate::ecosystem::huggingface::reach::Reading;
use crate::ecosystem::huggingface::repository::{MAIN, Repository, Revision};
use crate::ecosystem::huggingface::settle::{Purpose, Settled, need, settle};
use crate::ecosystem::huggingface::ticket::{Bearer, Source, TICKET_SECS, Ticket};
use crate::ecosystem::huggingface::tree::{self, Tree};
use crate::ecosystem::huggingface::word::ERROR_MESSAGE;
use crate::ecosystem::huggingface::{Hub, explain, git, judge, reword, xet};
use crate::ecosystem::{Ask, ClientCredential, Held, Reply, Step};
use crate::types::{BlobId, Digest, Secret};
use crate::upstream::request::{OriginRequest, OutgoingBody};

/// The longest batch: clients send a hundred objects at a time.
const BATCH_LIMIT_BYTES: usize = 1 << 20;

/// The longest answer to one.
const ANSWER_LIMIT_BYTES: u64 = 4 << 20;

/// How long the hub's addresses are taken to be good; they are signed for longer.
const HEARD_FOR: Duration = Duration::from_secs(300);

/// How clients that know a password are asked for it.
const AUTHENTICATE: HeaderName = HeaderName::from_static("lfs-authenticate");

/// Plans a batch.
pub fn plan(hub: &Hub, ask: &Ask, repository: Repository) -> Step {
    if ask.method != Method::POST {
        let text = "Batches are sent with POST.";
        return Step::Reply(problem(StatusCode::METHOD_NOT_ALLOWED, text));
    }
    let (hub, ask) = (hub.clone(), ask.clone());
    Step::NeedBody {
        limit_bytes: BATCH_LIMIT_BYTES,
        then: Box::new(move |body| Batch::plan(hub, ask, repository, body)),
    }
}

/// How many commits are looked through for objects that the present one does not have.
const MOST_COMMITS: usize = 16;

/// What is told of objects whose place is known.
type Known = HashMap<Digest, Told>;

/// A batch that is being answered.
struct Batch {
    hub: Hub,
    ask: Ask,
    /// As the client sent it.
    body: Bytes,
    objects: Vec<(Named, Digest)>,
}

impl Batch {
    fn plan(hub: Hub, ask: Ask, repository: Repository, body: Bytes) -> Step {
        let request = match Request::parse(&body) {
            Ok(request) => request,
            Err(text) => return Step::Reply(problem(StatusCode::UNPROCESSABLE_ENTITY, &text)),
        };
        if !request.is_plain_download() {
            return git::pass_with(&hub, &ask, OutgoingBody::Bytes(body));
        }
        let named = request.objects.iter().cloned();
        let objects: Option<Vec<_>> =
            named.map(|named| Some((named.clone(), named.digest()?))).collect();
        let Some(objects) = objects else {
            let text = "Objects are named with 64 hexadecimal digits.";
            return Step::Reply(problem(StatusCode::UNPROCESSABLE_ENTITY, text));
        };
        let Some(revision) = Revision::parse(request.revision().unwrap_or(MAIN)) else {
            return Step::Reply(problem(StatusCode::UNPROCESSABLE_ENTITY, "This is no ref."));
        };
        let ask = as_hub_client(ask);
        let (settings, asked) = (Arc::clone(&hub.settings), ask.clone());
        let batch = Self { hub, ask, body, objects };
        let step =
            settle(&settings, &asked, repository, revision, Purpose::Files, move |settled| {
                batch.look(settled)
            });
        reword::replies(step, worded)
    }

    /// Looks for the objects among the files of the commit.
    fn look(self, settled: Settled) -> Step {
        let document = tree::document(&settled.reach, &settled.repository, &settled.commit);
        need(document, move |held| {
            let told = self.told_of(&settled, [held]);
            self.go_on(settled, told, Self::look_back)
        })
    }

    /// Looks for the others among the files of commits that the branch led to before: what a forced push left behind is still checked out.
    fn look_back(self, settled: Settled, known: Known) -> Step {
        let document = info::document(&settled.reach, &settled.repository, &self.ask);
        need(document, move |held| {
            let seen = held.ok().and_then(|held| Some(held.parsed.get::<Info>()?.history.clone()));
            let seen = seen.unwrap_or_default().into_iter().rev().take(MOST_COMMITS);
            let trees = seen
                .filter(|seen| seen.commit != settled.commit)
                .map(|seen| tree::kept_document(&settled.reach, &settled.repository, &seen.commit));
            let documents: Vec<Document> = trees.collect();
            if documents.is_empty() {
                return self.ask_hub(settled, known);
            }
            let then = move |held| {
                let mut told = self.told_of(&settled, held);
                told.extend(known);
                self.go_on(settled, told, Self::ask_hub)
            };
            Step::Need { documents, then: Box::new(then) }
        })
    }

    /// Answers when all objects are known, else does what is `next`.
    fn go_on(
        self,
        settled: Settled,
        known: Known,
        next: impl FnOnce(Self, Settled, Known) -> Step,
    ) -> Step {
        let told = self
            .objects
            .iter()
            .map(|(named, digest)| Some((named.clone(), known.get(digest)?.clone())));
        match told.collect::<Option<Vec<_>>>() {
            Some(told) => Step::Reply(answered(&told)),
            None => next(self, settled, known),
        }
    }

    /// What trees tell of the objects.
    fn told_of(
        &self,
        settled: &Settled,
        trees: impl IntoIterator<Item = Result<Held, Failure>>,
    ) -> Known {
        let digests: Vec<Digest> = self.objects.iter().map(|(_, digest)| *digest).collect();
        let mut known = Known::new();
        for held in trees.into_iter().flatten() {
            let tree = held.parsed.get::<Tree>().filter(|tree| settled.covers(tree.kept()));
            let Some(tree) = tree else { continue };
            let found = digests.iter().zip(tree.files_of_sha256(&digests));
            for (digest, facts) in found {
                let Some(facts) = facts else { continue };
                let subject = judge::subject_of(settled, &self.ask, &facts);
                if !subject.verdict.passes() {
                    let message = subject.reason.unwrap_or_default();
                    known.insert(*digest, Told::Error { code: 403, message });
                } else if let Some(ticket) = Ticket::of_file(settled, &facts) {
                    known.insert(*digest, self.told(&ticket));
                }
            }
        }
        known
    }

    /// Asks the hub: the objects are of another commit, or the tree could not be had.
    fn ask_hub(self, settled: Settled, known: Known) -> Step {
        let path = format!("{}.git/info/lfs/objects/batch", settled.repository.web_path());
        let request = settled.files.get(&path).map(|request| self.request(request));
        let how = Reading {
            keep: Arc::new(KeepHeard),
            admit: Arc::new(AdmitBatch),
            limit_bytes: ANSWER_LIMIT_BYTES,
            demand: Demand::Fresh,
        };
        let name = format!("lfs/{}/{}", settled.repository, BlobId::of(&self.body));
        let document: Document = settled.files.document(&name, request, how);
        need(document, move |held| {
            let held = match held {
                Ok(held) => held,
                Err(failure) => return Step::Reply(explain::failure(&self.ask, &failure)),
            };
            match held.parsed.get::<Vec<Heard>>() {
                Some(heard) => Step::Reply(self.hub_says(&settled, &known, heard)),
                None => Step::Reply(explain::lost()),
            }
        })
    }

    fn request(&self, mut request: OriginRequest) -> OriginRequest {
        request.method = Method::POST;
        request.body = OutgoingBody::Bytes(self.body.clone());
        let media_type = HeaderValue::from_static(MEDIA_TYPE);
        request.headers.insert(header::ACCEPT, media_type.clone());
        request.headers.insert(header::CONTENT_TYPE, media_type);
        request
    }

    fn hub_says(&self, settled: &Settled, known: &Known, heard: &[Heard]) -> Reply {
        let told = heard.iter().map(|Heard { named, place }| {
            let digest = named.digest();
            if let Some(told) = digest.and_then(|digest| known.get(&digest)) {
                return (named.clone(), told.clone());
            }
            let told = match (place, digest) {
                (Place::Error { code, message }, _) => {
                    Told::Error { code: *code, message: message.clone() }
                }
                (Place::At(href), Some(digest)) => self.at(settled, named, digest, href),
                (Place::At(_), None) => Told::Error {
                    code: 502,
                    message: "the hub names this object by no SHA-256".to_owned(),
                },
            };
            (named.clone(), told)
        });
        answered(&told.collect::<Vec<_>>())
    }

    fn at(&self, settled: &Settled, named: &Named, digest: Digest, href: &str) -> Told {
        let url = Url::parse(href).ok().filter(|url| self.hub.settings.origin.allows(url));
        let Some(url) = url else {
            let message = "the hub leads to a host that is not declared for it".to_owned();
            return Told::Error { code: 502, message };
        };
        let bearer = Bearer::of(&settled.files);
        let size = Some(named.size);
        self.told(&Ticket { digest, size, source: Source::Address(url), bearer })
    }

    fn told(&self, ticket: &Ticket) -> Told {
        let href = xet::blob_address(&self.hub, &self.ask, ticket);
        Told::At { href, seconds: TICKET_SECS }
    }
}

/// The same request by a client of the hub's API: git sends the token as a password, and the hub takes it for the same right.
fn as_hub_client(mut ask: Ask) -> Ask {
    if let Some(credential) = &ask.credential
        && let Some(token) = password(credential.verbatim.expose())
    {
        let verbatim = Secret::new(format!("Bearer {token}"));
        ask.credential = Some(ClientCredential { id: credential.id, verbatim });
    }
    ask
}

/// The password of `Authorization: Basic ...`.
fn password(authorization: &str) -> Option<String> {
    let (scheme, text) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}

fn answered(told: &[(Named, Told)]) -> Reply {
    Reply::new(StatusCode::OK, MEDIA_TYPE, batch::answer(told))
        .with(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

/// An error as git-lfs shows it.
fn problem(status: StatusCode, message: &str) -> Reply {
    let body = serde_json::json!({ "message": message }).to_string();
    Reply::new(status, MEDIA_TYPE, body)
        .with(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

/// A refusal or failure of the hub's in git-lfs's words; what is none stays as it is.
pub(super) fn worded(reply: Reply) -> Reply {
    let Some(message) = reply.headers.get(ERROR_MESSAGE) else { return reply };
    let mut told = problem(reply.status, &String::from_utf8_lossy(message.as_bytes()));
    if let Some(wait) = reply.headers.get(header::RETRY_AFTER) {
        told.headers.insert(header::RETRY_AFTER, wait.clone());
    }
    if reply.status == StatusCode::UNAUTHORIZED {
        let realm = HeaderValue::from_static("Basic realm=\"The hub wants to know who you are\"");
        told.headers.insert(AUTHENTICATE, realm.clone());
        told.headers.insert(header::WWW_AUTHENTICATE, realm);
    }
    told
}

/// Keeps what the hub said of a batch.
#[derive(Debug)]
struct KeepHeard;

impl Keep for KeepHeard {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        let heard: Vec<Heard> = postcard::from_bytes(kept).map_err(|error| error.to_string())?;
        Ok(Parsed::new(heard))
    }

    fn merge(&self, _: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        let heard = batch::heard(fresh.body)?;
        let bytes = postcard::to_stdvec(&heard).expect("text and numbers have a form in postcard");
        Ok(Kept::alone(bytes.into(), Parsed::new(heard)))
    }
}

/// Admits the hub's answers to batches.
#[derive(Debug)]
struct AdmitBatch;

impl Admit for AdmitBatch {
    fn admit(&self, _: usize, answer: &Answer<'_>) -> Admission {
        match answer.head.status {
            StatusCode::OK => {
                Admission::Accept(Accepted { fresh_for: HEARD_FOR, ..Accepted::default() })
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => Admission::Absent,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Admission::Refused,
            other => Admission::Fail { reason: format!("the hub answered {other}") },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_where_git_puts_it() {
        let basic = format!("Basic {}", STANDARD.encode("me:hf_token"));
        assert_eq!(password(&basic).as_deref(), Some("hf_token"));
        assert_eq!(password("Bearer hf_token"), None);
        assert_eq!(password("Basic !"), None);
    }
}
