//! One folder per protocol. Pure: a request's head in, a plan out; no I/O, no clock, nothing spawned.
//!
//! An adapter says what it needs ([`Step`]), the `proxy` gets it. Adding one is a folder here and two lines in `app`.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::cache::failure::Failure;
use crate::cache::lookup::{Artifact, Chunking, Document, Exchange, Parsed, Stock, Summary};
use crate::ecosystem::grant::Grant;
use crate::ecosystem::naming::Naming;
use crate::policy::fact::Value;
use crate::policy::{Fact, Facts, Judged, Ruleset, Verdict};
use crate::types::{CacheKey, Head, Presence, Secret, Timestamp};

pub mod generic;
pub mod grant;
pub mod huggingface;
pub mod listed;
pub mod naming;
pub mod oci;
pub mod origin;
pub mod past;
pub mod pypi;

/// A protocol on one mount.
pub trait Ecosystem: Send + Sync + fmt::Debug + 'static {
    /// The mount's name in logs, metrics and `Cache-Status` notes: `pypi/default`.
    fn id(&self) -> &str;

    /// Says what a request needs.
    fn plan(&self, ask: &Ask) -> Step;

    /// Words a failure for this protocol's clients.
    fn explain(&self, ask: &Ask, failure: &Failure) -> Reply;

    /// Words a refusal that was not the adapter's own for this protocol's clients: `detail` is the sentence that they are to show.
    fn refuse(&self, ask: &Ask, status: StatusCode, detail: &str) -> Reply {
        let _ = ask;
        Reply::problem(status, status.canonical_reason().unwrap_or("Refused"), detail)
    }

    /// The field beside `Warning` in which this protocol's clients look for a warning, if they do.
    fn warning_field(&self) -> Option<HeaderName> {
        None
    }

    /// Whether it heeds [`Ask::as_of`]. A mount that does not is never asked with one.
    fn has_past(&self) -> bool {
        false
    }

    /// The instant that a path below the mount names within itself, as it is written there: for clients that cannot put one before the mount.
    fn instant_in<'a>(&self, path: &'a str) -> Option<&'a str> {
        let _ = path;
        None
    }

    /// Where it keeps artifacts by their digests, for those who look into what was kept before they could. `None`: nowhere, or nothing is to be looked into.
    fn stock(&self) -> Option<Stock> {
        None
    }

    /// Its words for what it keeps. `None`: it keeps nothing that a person would name.
    fn naming(&self) -> Option<Arc<dyn Naming>> {
        None
    }
}

/// A request as an adapter sees it. The path was checked: no dot segments, no control characters, valid UTF-8 after decoding.
#[derive(Debug, Clone)]
pub struct Ask {
    pub method: Method,
    /// The path below the mount, still percent-encoded, without a leading slash: `simple/six/`.
    pub path: String,
    /// Without the question mark.
    pub query: Option<String>,
    pub headers: HeaderMap,
    /// The path prefix that led to the mount, with slashes at both ends: `/simple/`, `/pypi/default/`, or `/` on a host of its own.
    pub prefix: String,
    /// How the outside sees the root of this server, e.g. `http://127.0.0.1:8484`, with a token's path prefix if one was used, without a trailing slash.
    pub base: String,
    /// The client's own upstream credential, when it sent one that is not Larder's.
    pub credential: Option<ClientCredential>,
    /// What the configuration calls this client: the name of its access token, if it showed one.
    pub client: Option<String>,
    /// Where the client is, behind trusted proxies too.
    pub address: IpAddr,
    pub now: Timestamp,
    /// What is judged by.
    pub rules: Arc<Ruleset>,
    /// The instant, never later than `now`, as of which the client wants to be answered. `None`: now. Where the address has a prefix for it, `base` has it, too.
    pub as_of: Option<Timestamp>,
}

/// What stands before an access token in a path.
pub const TOKEN_PREFIX: &str = "/-/t/";

impl Ask {
    /// Whether requests to addresses below `base` are let in as this one was without showing anything: there is nothing to show, or it is in the address.
    pub fn is_admitted_by_address(&self) -> bool {
        self.client.is_none() || self.base.contains(TOKEN_PREFIX)
    }
}

/// An `Authorization` value meant for upstream.
#[derive(Debug, Clone)]
pub struct ClientCredential {
    /// A keyed hash, for [`crate::types::Audience::Credential`].
    pub id: [u8; 16],
    pub verbatim: Secret,
}

/// What a request needs next.
pub enum Step {
    /// Answered without I/O.
    Reply(Reply),
    /// These documents first; at most [`MOST_ROUNDS`] rounds.
    Need {
        documents: Vec<Document>,
        then: Continue,
    },
    /// The request's body first. A longer one than `limit_bytes` is answered 413. At most once.
    NeedBody {
        limit_bytes: usize,
        then: WithBody,
    },
    /// The names of what is kept, as far as they begin with `under` and come after `after`.
    Names {
        under: CacheKey,
        after: Option<CacheKey>,
        limit: usize,
        then: WithNames,
    },
    /// What is in an artifact first: it is looked into, and fetched for that where it is not kept. Where that takes long, the client is told to come
    /// again.
    Inspect {
        artifact: Box<Artifact>,
        then: WithFindings,
    },
    Serve(Box<Plan>),
    /// Policy refuses it before there is anything to serve.
    Refuse(Box<Subject>),
}

/// How planning goes on when the documents are there. Pure.
pub type Continue = Box<dyn FnOnce(Vec<Result<Held, Failure>>) -> Step + Send>;

/// How planning goes on when the request's body is there. Pure.
pub type WithBody = Box<dyn FnOnce(Bytes) -> Step + Send>;

/// How planning goes on with the names of what is kept. Pure.
pub type WithNames = Box<dyn FnOnce(Vec<CacheKey>) -> Step + Send>;

/// How planning goes on with what is in an artifact, where anybody could look into it. Pure.
pub type WithFindings = Box<dyn FnOnce(Option<Summary>) -> Step + Send>;

/// How often a plan may ask for documents before it counts as a fault of ours.
pub const MOST_ROUNDS: usize = 24;

/// A document as the cache holds it.
#[derive(Debug, Clone)]
pub struct Held {
    pub parsed: Parsed,
    /// Changes whenever the document's content does.
    pub version: u64,
    pub standing: Standing,
}

/// How what is served stands to upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// When upstream last confirmed it.
    pub validated: Timestamp,
    /// Until when it is fresh.
    pub fresh_until: Timestamp,
    pub presence: Presence,
    /// Upstream could not be asked when it should have been.
    pub offline: bool,
}

/// What to get and how to give it; each field feeds one later stage.
#[derive(Debug)]
pub struct Plan {
    pub access: Access,
    pub subject: Subject,
    pub serve: Serve,
}

/// Who may have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Whoever may use this server.
    Public,
    /// Only those whom this names. For what a service credential opens.
    Grant(Grant),
}

/// What is judged, and the verdict that the adapter's facts led to.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    pub package: Option<String>,
    pub version: Option<String>,
    pub file: Option<String>,
    pub verdict: Verdict,
    /// Why, in words for the client, when the verdict is not `Allow`.
    pub reason: Option<String>,
    /// All that was looked at, for the record.
    pub judged: Option<Box<Judged>>,
    /// What it is, where it was judged before: that is what a pull of it is recorded as, and what a refusal for what is in it is told of.
    pub about: Option<Box<Facts<'static>>>,
}

impl Subject {
    /// A subject that was judged for a client that sees the root of this server at `base`.
    pub fn of(judged: Judged, base: &str) -> Self {
        let text = |fact| judged.facts.text(fact).map(str::to_owned);
        Self {
            package: text(Fact::Name),
            version: text(Fact::Version),
            file: text(Fact::File),
            verdict: judged.decision.verdict,
            reason: judged.sentence(base),
            judged: Some(Box::new(judged)),
            about: None,
        }
    }

    /// A subject that need not be judged again.
    pub fn about(facts: Facts<'static>) -> Self {
        Self { about: Some(Box::new(facts)), ..Self::default() }
    }

    /// What is known of it.
    pub fn facts(&self) -> Option<&Facts<'static>> {
        let judged = self.judged.as_ref().map(|judged| &judged.facts);
        judged.or(self.about.as_deref())
    }
}

/// Adds what was found in a file.
pub(crate) fn add_findings(facts: &mut Facts<'_>, found: Option<&Summary>) {
    let Some(Summary { format, findings }) = found else { return };
    facts.set(Fact::InspectedFormat, *format);
    facts
        .set(Fact::Inspection, Value::Texts(findings.iter().copied().map(Cow::Borrowed).collect()));
}

/// The three kinds of things that are served.
#[derive(Debug)]
pub enum Serve {
    /// Bytes with a digest. `headers` are added to what was kept (content type, cache-control). With `chunking`, not the bytes
    /// themselves but that view of them is delivered.
    Artifact { artifact: Artifact, headers: HeaderMap, chunking: Option<Chunking> },
    /// A document in one of its forms.
    Document { document: Document, render: Arc<dyn Render> },
    /// Any HTTP exchange, by the rules of RFC 9111. A body that planning has read ([`Step::NeedBody`]) is the adapter's to put back
    /// into the request; otherwise the client's body is passed on as it arrives.
    Exchange { exchange: Exchange, amend: Option<Arc<dyn Amend>> },
}

/// Changes the head of an exchange's answer for the client: links and redirects that would lead past Larder. Pure.
pub trait Amend: Send + Sync + fmt::Debug {
    fn amend(&self, head: &mut Head);
}

/// Turns a document into what one kind of client reads. Pure.
pub trait Render: Send + Sync + fmt::Debug {
    /// Everything of its own that shapes the output (representation, link form, policy epoch), as a short text: the output is memoised under it,
    /// the document's version and its standing.
    fn variant(&self) -> String;

    fn render(&self, view: &View<'_>) -> Rendered;
}

/// The inputs of a rendering.
pub struct View<'a> {
    pub document: &'a Parsed,
    pub standing: Standing,
    pub now: Timestamp,
    /// Whether an entry is kept under a key; for what may be advertised while upstream is away.
    pub is_kept: &'a dyn Fn(&CacheKey) -> bool,
    /// Takes note of what was judged and is not simply listed.
    pub note: &'a dyn Fn(Judged),
}

/// A rendered document.
#[derive(Debug, Clone)]
pub struct Rendered {
    pub reply: Reply,
    /// When the same inputs give something else because time has passed (a hold ends).
    pub valid_until: Option<Timestamp>,
}

/// A small answer held in memory.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// What stands in place of the status's own phrase, which HTTP/1 alone has: some clients show nothing else of an answer.
    pub phrase: Option<Box<str>>,
}

impl Reply {
    pub fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { status, headers, body: body.into(), phrase: None }
    }

    /// RFC 9457 problem details: uv prints `title` and `detail` when the type is exactly this one.
    pub fn problem(status: StatusCode, title: &str, detail: &str) -> Self {
        let body = serde_json::json!({
            "type": "about:blank", "status": status.as_u16(), "title": title, "detail": detail,
        });
        Self::new(status, "application/problem+json", body.to_string())
    }

    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}
