//! `/v2/`: repositories of models as a container registry shows them, for Ollama and older llama.cpp; and Ollama's own library beside them.
//!
//! A tag is chosen and its manifest written by the hub, so manifests are kept as they came. The model itself is the very file that the repository has, under
//! the same key. A blob is served only where upstream has given it under this repository's name to this audience, which is a small fact of its own, and judged as
//! the file that it is.
//!
//! Ollama fetches a blob's ranges without credentials from wherever the first answer's `Location` leads, so every 200 has one: a ticket's address.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::cache::failure::Failure;
use crate::cache::lookup::{
    Accepted, Admission, Admit, Answer, Demand, Document, Fresh, Keep, Kept, Parsed, Stale,
};
use crate::ecosystem::huggingface::manifest::{self, KeepManifest, Manifest};
use crate::ecosystem::huggingface::reach::{self, Reach, Reading};
use crate::ecosystem::huggingface::repository::{
    MAIN, Repository, RepositoryType, Revision, encoded,
};
use crate::ecosystem::huggingface::route::RegistryRoute;
use crate::ecosystem::huggingface::settle::{Purpose, Settled, need, settle};
use crate::ecosystem::huggingface::ticket::{Bearer, Source, Ticket, library_request};
use crate::ecosystem::huggingface::tree::{self, Tree};
use crate::ecosystem::huggingface::word::ERROR_MESSAGE;
use crate::ecosystem::huggingface::{Hub, explain, judge, reword, xet};
use crate::ecosystem::{Access, Ask, Plan, Render, Rendered, Reply, Serve, Step, Subject, View};
use crate::policy::{self, Point};
use crate::types::Digest;
use crate::upstream::request::OriginRequest;

/// Where Ollama's own models are, which belong to no user.
const LIBRARY: &str = "library/";

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// What manifests are asked for as: Ollama's own words.
const ACCEPT: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Plans a request of a registry's client.
pub fn plan(hub: &Hub, ask: &Ask, route: RegistryRoute) -> Step {
    let step = match route {
        _ if !matches!(ask.method, Method::GET | Method::HEAD) => Step::Reply(problem(
            StatusCode::METHOD_NOT_ALLOWED,
            "UNSUPPORTED",
            "Larder keeps what others publish; push to the registry itself.",
        )),
        RegistryRoute::Ping => Step::Reply(ping()),
        RegistryRoute::Manifest { name, reference } => {
            shelved(hub, ask, &name, Wanted::Manifest(reference))
        }
        RegistryRoute::Blob { name, digest } => match digest.replacen('-', ":", 1).parse() {
            Ok(digest) => shelved(hub, ask, &name, Wanted::Blob(digest)),
            Err(_) => unknown("BLOB_UNKNOWN", "This is no digest."),
        },
        RegistryRoute::Unknown => unknown("NAME_UNKNOWN", "There is no such address."),
    };
    reword::replies(step, worded)
}

/// A failure as a registry's client reads it.
pub fn failure(ask: &Ask, failure: &Failure) -> Reply {
    match failure {
        Failure::Absent => problem(
            StatusCode::NOT_FOUND,
            "MANIFEST_UNKNOWN",
            "Upstream has no such model, tag or part of it.",
        ),
        other => worded(explain::failure(ask, other)),
    }
}

/// What of a model is wanted.
#[derive(Debug, Clone)]
enum Wanted {
    Manifest(String),
    Blob(Digest),
}

/// A model, and the way to where it is.
#[derive(Debug, Clone)]
struct Model {
    /// `org/name`, `library/name`.
    name: String,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    /// At the commit that its tags are of.
    Hub(Box<Settled>),
    Library(Reach),
}

/// Looks where a name belongs: Ollama's own models, which have no user, are in its library; a user's are the hub's, whatever the hub says of them. Names that
/// it shows to nobody are told to no third party.
fn shelved(hub: &Hub, ask: &Ask, name: &str, wanted: Wanted) -> Step {
    if name.starts_with(LIBRARY) && hub.settings.ollama.is_some() {
        let place = Place::Library(Reach::public(&hub.settings));
        return Model { name: name.to_owned(), place }.plan(hub, ask, wanted);
    }
    let Some(repository) = Repository::parse(RepositoryType::Models, name) else {
        return unknown("NAME_UNKNOWN", "No model can have this name.");
    };
    let main = Revision::Name(MAIN.into());
    let (hub, asked) = (hub.clone(), ask.clone());
    let settings = Arc::clone(&hub.settings);
    settle(&settings, ask, repository, main, Purpose::Files, move |settled| {
        Model::of(settled).plan(&hub, &asked, wanted)
    })
}

impl Model {
    fn of(settled: Settled) -> Self {
        let name = settled.repository.id().to_owned();
        Self { name, place: Place::Hub(Box::new(settled)) }
    }

    fn plan(self, hub: &Hub, ask: &Ask, wanted: Wanted) -> Step {
        match wanted {
            Wanted::Manifest(reference) => self.manifest(ask, &reference),
            Wanted::Blob(digest) => self.judged_blob(hub, ask, digest),
        }
    }

    /// A manifest of the commit that the repository is at is not asked for again; one of another commit is.
    fn manifest(self, ask: &Ask, reference: &str) -> Step {
        let kept = self.manifest_document(ask, reference, Demand::AnyAge);
        let Place::Hub(at) = &self.place else {
            return self.serve_manifest(self.manifest_document(ask, reference, reach::demand(ask)));
        };
        let (ask, reference, commit) = (ask.clone(), reference.to_owned(), at.commit.clone());
        need(kept.clone(), move |held| {
            let held = match held {
                Ok(held) => held,
                Err(why) => return Step::Reply(failure(&ask, &why)),
            };
            let manifest = held.parsed.get::<Manifest>();
            match manifest.is_some_and(|manifest| manifest.commit.as_ref() == Some(&commit)) {
                true => self.serve_manifest(kept),
                false => self.serve_manifest(self.manifest_document(
                    &ask,
                    &reference,
                    Demand::Revalidated,
                )),
            }
        })
    }

    fn manifest_document(&self, ask: &Ask, reference: &str, demand: Demand) -> Document {
        let agent = Agent::of(&ask.headers);
        let path = format!("v2/{}/manifests/{}", self.name, encoded(reference));
        let mut request = self.request(&path);
        if let Some(request) = &mut request {
            request.headers.insert(header::ACCEPT, HeaderValue::from_static(ACCEPT));
            if let Some(agent) = ask.headers.get(header::USER_AGENT) {
                request.headers.insert(header::USER_AGENT, agent.clone());
            }
        }
        let digest: Option<Digest> = reference.parse().ok();
        let fresh_for = match digest {
            Some(_) => Duration::MAX,
            None => self.reach().settings.ref_ttl,
        };
        let commit = match &self.place {
            Place::Hub(at) => Some(at.commit.clone()),
            Place::Library(_) => None,
        };
        let how = Reading {
            keep: Arc::new(KeepManifest { digest, commit }),
            admit: Arc::new(AdmitShelved { fresh_for }),
            limit_bytes: manifest::LIMIT_BYTES,
            demand,
        };
        let name = self.key(&format!("manifests/{reference}/{}", agent.name()));
        self.document(&name, request, how)
    }

    fn serve_manifest(&self, document: Document) -> Step {
        let shareability = self.reach().shareability();
        let serve = Serve::Document { document, render: Arc::new(RenderManifest { shareability }) };
        self::serve(Subject::default(), serve)
    }

    /// Goes on with what rules say of the file that a blob is. What the hub made for a manifest (parameters, a template) is no file: it goes with the repository,
    /// which is judged already, as all do in Ollama's library. Nobody is asked which files there are but where rules look at that.
    fn judged_blob(self, hub: &Hub, ask: &Ask, digest: Digest) -> Step {
        let Place::Hub(at) = &self.place else { return self.blob(hub, ask, digest, None) };
        let is_ruled = ask.rules.has_rules(policy::Ecosystem::Hf, Point::Content);
        let document = match is_ruled {
            true => tree::document(&at.reach, &at.repository, &at.commit),
            false => tree::kept_document(&at.reach, &at.repository, &at.commit),
        };
        let (at, hub, ask) = (Settled::clone(at), hub.clone(), ask.clone());
        need(document, move |held| {
            let held = match held {
                Err(why) if is_ruled => return Step::Reply(failure(&ask, &why)),
                held => held.ok(),
            };
            let tree = held.as_ref().and_then(|held| held.parsed.get::<Tree>());
            let tree = tree.filter(|tree| at.covers(tree.kept()));
            let Some(file) = tree.and_then(|tree| tree.files_of_sha256(&[digest]).pop()?) else {
                return self.blob(&hub, &ask, digest, None);
            };
            let asked = ask.clone();
            judge::judged(at, &asked, file, move |at, file, subject| {
                let known = Ticket::of_file(&at, &file).map(|ticket| (ticket, subject));
                self.blob(&hub, &ask, digest, known)
            })
        })
    }

    /// Serves a blob that upstream has under this name; `known`: as the file that it is, and what rules say of it.
    fn blob(self, hub: &Hub, ask: &Ask, digest: Digest, known: Option<(Ticket, Subject)>) -> Step {
        let path = format!("v2/{}/blobs/{digest}", self.name);
        let mut request = self.request(&path);
        if let Some(request) = &mut request {
            request.method = Method::HEAD;
        }
        let how = Reading {
            keep: Arc::new(KeepSize),
            admit: Arc::new(AdmitShelved { fresh_for: Duration::MAX }),
            // The answer to a `HEAD` has the length of a body that does not come.
            limit_bytes: u64::MAX,
            demand: Demand::AnyAge,
        };
        let document = self.document(&self.key(&format!("blobs/{digest}")), request, how);
        let (hub, ask) = (hub.clone(), ask.clone());
        need(document, move |held| match held {
            Ok(held) => {
                let size = held.parsed.get::<Size>().and_then(|size| size.0);
                let known =
                    known.unwrap_or_else(|| (self.ticket(path, digest, size), Subject::default()));
                serve_blob(&hub, &ask, known)
            }
            Err(why) => Step::Reply(failure(&ask, &why)),
        })
    }

    /// A blob of which nothing is known but where it is.
    fn ticket(&self, path: String, digest: Digest, size: Option<u64>) -> Ticket {
        let source = match self.place {
            Place::Hub(_) => Source::Hub(path),
            Place::Library(_) => Source::Library(path),
        };
        Ticket { digest, size, source, bearer: Bearer::of(self.reach()) }
    }

    const fn reach(&self) -> &Reach {
        match &self.place {
            Place::Hub(at) => &at.files,
            Place::Library(reach) => reach,
        }
    }

    fn request(&self, path: &str) -> Option<OriginRequest> {
        match &self.place {
            Place::Hub(at) => at.files.get(path),
            Place::Library(reach) => library_request(&reach.settings, path),
        }
    }

    fn key(&self, what: &str) -> String {
        let place = match self.place {
            Place::Hub(..) => "v2",
            Place::Library(_) => "ollama",
        };
        format!("{place}/{}/{what}", self.name)
    }

    fn document(&self, name: &str, request: Option<OriginRequest>, how: Reading) -> Document {
        let mut document = self.reach().document(name, request, how);
        if matches!(self.place, Place::Library(_)) {
            document.lookup.stale = Stale::Always;
        }
        document
    }
}

/// Which form of a manifest the client gets: llama.cpp is told the file as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Agent {
    LlamaCpp,
    Other,
}

impl Agent {
    fn of(headers: &HeaderMap) -> Self {
        let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        match agent.is_some_and(|agent| agent.to_ascii_lowercase().contains("llama-cpp")) {
            true => Self::LlamaCpp,
            false => Self::Other,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::LlamaCpp => "llama-cpp",
            Self::Other => "any",
        }
    }
}

/// The size of a blob, as upstream told it.
#[derive(Debug, Clone, Copy)]
struct Size(Option<u64>);

/// Keeps that upstream has a blob under a name, and its size.
#[derive(Debug)]
struct KeepSize;

impl Keep for KeepSize {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        let size = postcard::from_bytes(kept).map_err(|error| error.to_string())?;
        Ok(Parsed::new(Size(size)))
    }

    fn merge(&self, _: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        let size = fresh.head.content_length();
        let bytes = postcard::to_stdvec(&size).expect("a number has a form in postcard");
        Ok(Kept::alone(bytes.into(), Parsed::new(Size(size))))
    }
}

/// Admits what a registry has.
#[derive(Debug)]
struct AdmitShelved {
    fresh_for: Duration,
}

impl Admit for AdmitShelved {
    fn admit(&self, _: usize, answer: &Answer<'_>) -> Admission {
        match answer.head.status {
            StatusCode::OK => {
                Admission::Accept(Accepted { fresh_for: self.fresh_for, ..Accepted::default() })
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => Admission::Absent,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if answer.hops.is_empty() => {
                Admission::Refused
            }
            other => Admission::Fail { reason: format!("the registry answered {other}") },
        }
    }
}

/// Gives a manifest as it is kept.
#[derive(Debug)]
struct RenderManifest {
    shareability: &'static str,
}

impl Render for RenderManifest {
    fn variant(&self) -> String {
        "manifest".to_owned()
    }

    fn render(&self, view: &View<'_>) -> Rendered {
        let reply = match view.document.get::<Manifest>() {
            None => explain::lost(),
            Some(manifest) => {
                let mut reply =
                    Reply::new(StatusCode::OK, "application/json", manifest.bytes.clone());
                let digest = manifest.digest();
                let fields = [
                    (header::CONTENT_TYPE, manifest.media_type.clone()),
                    (header::CACHE_CONTROL, format!("{}, no-cache", self.shareability)),
                    (header::VARY, "Accept-Encoding, User-Agent".to_owned()),
                    (header::ETAG, format!("\"{digest}\"")),
                    (CONTENT_DIGEST, digest.to_string()),
                ];
                for (name, text) in fields {
                    if let Ok(value) = HeaderValue::try_from(text) {
                        reply.headers.insert(name, value);
                    }
                }
                reply
            }
        };
        Rendered { reply, valid_until: None }
    }
}

fn ping() -> Reply {
    Reply::new(StatusCode::OK, "application/json", "{}")
        .with(API_VERSION, HeaderValue::from_static("registry/2.0"))
}

fn unknown(code: &str, text: &str) -> Step {
    Step::Reply(problem(StatusCode::NOT_FOUND, code, text))
}

/// An error as registries write it.
fn problem(status: StatusCode, code: &str, text: &str) -> Reply {
    let body = serde_json::json!({ "errors": [{ "code": code, "message": text }] });
    Reply::new(status, "application/json", body.to_string())
        .with(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

/// A refusal or failure of the hub's in a registry's words; what is none stays as it is.
pub(super) fn worded(reply: Reply) -> Reply {
    let Some(message) = reply.headers.get(ERROR_MESSAGE) else { return reply };
    let code = match reply.status {
        StatusCode::UNAUTHORIZED => "UNAUTHORIZED",
        StatusCode::FORBIDDEN => "DENIED",
        StatusCode::NOT_FOUND => "NAME_UNKNOWN",
        StatusCode::TOO_MANY_REQUESTS => "TOOMANYREQUESTS",
        _ => "UNKNOWN",
    };
    let text = String::from_utf8_lossy(message.as_bytes()).into_owned();
    let mut told = problem(reply.status, code, &text);
    if let Some(wait) = reply.headers.get(header::RETRY_AFTER) {
        told.headers.insert(header::RETRY_AFTER, wait.clone());
    }
    told
}

fn serve_blob(hub: &Hub, ask: &Ask, (ticket, subject): (Ticket, Subject)) -> Step {
    let digest = ticket.digest;
    let mut headers = HeaderMap::new();
    let text = |text: String| HeaderValue::try_from(text).expect("an address or a digest");
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::ETAG, text(format!("\"{digest}\"")));
    headers.insert(CONTENT_DIGEST, text(digest.to_string()));
    headers.insert(header::LOCATION, text(xet::blob_address(hub, ask, &ticket)));
    let artifact = ticket.artifact(&hub.settings);
    serve(subject, Serve::Artifact { artifact, headers, chunking: None })
}

/// Who may have it was settled before.
fn serve(subject: Subject, serve: Serve) -> Step {
    Step::Serve(Box::new(Plan { access: Access::Public, subject, serve }))
}
