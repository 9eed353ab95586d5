//! Plain values between an adapter's plan and the cache: what is wanted, whom to ask, and how to read the answer.

use std::any::Any;
use std::fmt;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

pub use crate::inspect::{Nature, Summary};
use crate::types::{Audience, CacheKey, Digest, Head, Timestamp, What};
use crate::upstream::{Hop, OriginRequest};

/// One thing to be had from the cache.
#[derive(Debug, Clone)]
pub struct Lookup {
    pub key: CacheKey,
    /// Requests to try in order. The first that is accepted wins; one that is genuinely absent leads to the next; one that fails ends
    /// the search, so that an outage never falls through to a less trusted upstream. Empty: only what is kept is served.
    pub origins: Vec<OriginRequest>,
    pub admit: Arc<dyn Admit>,
    /// Whether what is kept may be served when upstream cannot be asked or refuses. `Never` for a client's own audience without
    /// an offline grant: there, no answer means no.
    pub stale: Stale,
}

/// Whether stale entries may be served at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    Always,
    Never,
}

/// Reads an origin's heads. Pure.
pub trait Admit: Send + Sync + fmt::Debug {
    /// Judges the answer of `origins[index]`.
    fn admit(&self, index: usize, answer: &Answer<'_>) -> Admission;
}

/// The heads that an origin answered with.
#[derive(Debug)]
pub struct Answer<'a> {
    pub hops: &'a [Hop],
    pub head: &'a Head,
    pub now: Timestamp,
}

/// What an answer means.
#[derive(Debug, Clone)]
pub enum Admission {
    Accept(Accepted),
    /// Genuinely absent here (404, 410): ask the next origin.
    Absent,
    /// Refused to this credential (401, 403).
    Refused,
    /// It is there, and upstream does not give it as one body: how to put it together. Only for artifacts.
    Pieces(Accepted, Arc<dyn Assemble>),
    /// An outage or nonsense: keep what there is. `reason` is told to the operator and, when nothing is kept, to the client.
    Fail {
        reason: String,
    },
}

/// An answer worth keeping.
#[derive(Debug, Clone, Default)]
pub struct Accepted {
    /// How long to trust it. [`Duration::MAX`]: for ever.
    pub fresh_for: Duration,
    /// Digests that the heads promised, beside those the caller named already.
    pub promised: Vec<Digest>,
    /// Fields to keep and replay.
    pub headers: HeaderMap,
}

/// How a body is put together from parts of others. Pure; asked anew for every stretch, so that addresses which expire are fresh and a broken
/// transfer goes on where it stopped.
pub trait Assemble: Send + Sync + fmt::Debug {
    /// Length of the whole.
    fn length(&self) -> u64;

    /// What leads to the pieces from `at` on. `answers` are those to the questions so far. `Err`: they make no sense.
    fn next(&self, at: u64, answers: &[Page]) -> Result<Assembly, String>;
}

/// What putting a body together needs next.
#[derive(Debug)]
pub enum Assembly {
    /// An answer to this question, whatever its status.
    Ask(Box<OriginRequest>),
    /// These, one behind the other; they need not reach to the end.
    Pieces(Vec<Piece>),
}

/// A part of another body.
#[derive(Debug)]
pub struct Piece {
    pub request: OriginRequest,
    /// Reads what comes.
    pub decoder: Box<dyn Decode>,
    /// Of what is decoded, how much comes before this piece, and how much belongs to it.
    pub skip_bytes: u64,
    pub bytes: u64,
}

/// Turns what is sent into what is meant, as it comes.
pub trait Decode: Send + fmt::Debug {
    /// Takes what has come and gives what is whole by now. `Err`: it makes no sense.
    fn push(&mut self, arrived: &[u8]) -> Result<Vec<Bytes>, String>;
}

/// An immutable thing: bytes with a digest.
#[derive(Debug, Clone)]
pub struct Artifact {
    pub lookup: Lookup,
    /// Digests that the index, tree or manifest named. Every one is checked before the artifact can be seen. Empty: trusted on first use.
    pub digests: Vec<Digest>,
    /// Its size where the index names it.
    pub size: Option<u64>,
    /// What it is to those who look into what passes.
    pub nature: Nature,
    /// Whoever asks for it may have it whatever is in it: it is looked into, and refused for nothing that is found.
    pub is_excepted: bool,
    /// What people call it, where it is told when upstream sends other bytes than it promises.
    pub subject: Option<String>,
}

/// Artifacts of one nature, kept by their digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stock {
    /// What their keys begin with.
    pub under: CacheKey,
    pub nature: Nature,
}

/// Bytes before each chunk of a chunked view.
pub const CHUNK_HEADER_BYTES: u64 = 8;

/// A view of an artifact as a row of chunks with a header before each: a part of its bytes, cut every `chunk_bytes`. Positions are computed, so
/// that any range of the view can be had, from a transfer under way too, and nothing is stored twice.
#[derive(Debug, Clone)]
pub struct Chunking {
    /// Which bytes of the artifact. Never beyond its end.
    pub window: Range<u64>,
    /// Bytes of the artifact in every chunk but the last.
    pub chunk_bytes: NonZeroU32,
    /// The header of a chunk of this many bytes.
    pub header: fn(u32) -> [u8; CHUNK_HEADER_BYTES as usize],
}

/// A bounded, parsed, often mutable thing.
#[derive(Debug, Clone)]
pub struct Document {
    pub lookup: Lookup,
    pub keep: Arc<dyn Keep>,
    /// The largest body that is read, after content decoding.
    pub limit_bytes: u64,
    pub demand: Demand,
}

/// How current a document must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Demand {
    /// Within its freshness time, else revalidated within the time budget.
    Fresh,
    /// The client insists (`no-cache`, `max-age=0`): revalidated even when fresh, unless that was done just now.
    Revalidated,
    /// Whatever is kept will do; upstream is asked only when nothing is.
    AnyAge,
    /// Whatever is kept will do; when nothing is, upstream is waited for within the time budget only, for something else will do. The
    /// transfer goes on for whoever asks next. [`Failure::NotKept`](crate::cache::failure::Failure::NotKept) is that it took longer.
    Prompt,
}

/// An adapter's reading of a document. Pure; large ones are called off the async workers.
pub trait Keep: Send + Sync + fmt::Debug {
    /// Reads what [`Keep::merge`] wrote. `Err` makes the entry a miss that heals.
    fn read(&self, kept: &Bytes) -> Result<Parsed, String>;

    /// Merges a fresh answer into what is kept. `Err` is told to the operator, what was kept stays, and a client that has nothing
    /// kept gets it as a bad answer of upstream: an empty page, an error page, another project's page.
    fn merge(&self, previous: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String>;

    /// What a document vouches for: small documents that are kept beside it, for the same readers and as long, and found from then on as if each
    /// had been asked for itself.
    fn beside(&self, kept: &Parsed) -> Vec<Beside> {
        let _ = kept;
        Vec::new()
    }

    /// What belongs to a document and may not be kept yet, whether or not anything new came of it: named each time upstream gave or confirmed
    /// it, and when a follow-up met it, so that what an outage interrupted is taken up again.
    fn belongings(&self, kept: &Parsed) -> Vec<Follow> {
        let _ = kept;
        Vec::new()
    }

    /// Where the rest of an answer is, when it comes in pages: the address after `page`. All pages are fetched before [`Keep::merge`] sees
    /// any; one that fails fails the whole. It must be one that the origin allows.
    fn next_page(&self, page: &Page) -> Option<url::Url> {
        let _ = page;
        None
    }

    /// What the document is about, as [`What::subject`] names things. With it, that the document appears, vanishes, is withdrawn and comes back are
    /// events, which the cache tells of; an adapter that sees such in its answers tells of it in [`Kept::events`].
    fn subject(&self) -> Option<String> {
        None
    }

    /// The artifact whose bytes it is a reading of, where there is one: once that is kept, upstream is not asked for the same bytes again. The caller has settled
    /// that whoever reads the document may read that, too.
    fn bytes_of(&self) -> Option<CacheKey> {
        None
    }

    /// What to keep where upstream has nothing and nothing was kept, for what must be known when upstream cannot be asked, too. `None`: that there is none is
    /// remembered for a short while only.
    fn nothing(&self, now: Timestamp) -> Option<Kept> {
        let _ = now;
        None
    }

    /// Records within the document that upstream no longer has it (every origin said 404 or 410). `None`, as for most: the cache's own note of it
    /// ([`Presence`](crate::types::Presence)) says enough.
    fn absent(&self, previous: &Parsed, now: Timestamp) -> Option<Kept> {
        let _ = (previous, now);
        None
    }
}

/// A fresh answer of an origin, body decoded and complete.
#[derive(Debug)]
pub struct Fresh<'a> {
    /// Index into [`Lookup::origins`].
    pub origin: usize,
    /// The final address: what relative links resolve against.
    pub url: &'a url::Url,
    pub head: &'a Head,
    pub body: &'a Bytes,
    /// The pages after the first ([`Keep::next_page`]), in order.
    pub rest: &'a [Page],
    pub now: Timestamp,
}

/// One page of an answer, body decoded and complete.
#[derive(Debug)]
pub struct Page {
    pub url: url::Url,
    pub head: Head,
    pub body: Bytes,
}

/// A document in the adapter's own form. Shared by all readers.
#[derive(Clone)]
pub struct Parsed(Arc<dyn Any + Send + Sync>);

impl Parsed {
    pub fn new<T: Any + Send + Sync>(value: T) -> Self {
        Self(Arc::new(value))
    }

    /// The value as the type that the same adapter put in.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for Parsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parsed")
    }
}

/// What to keep of a document.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The form that [`Keep::read`] understands. Equal documents give equal bytes. Empty: not worth a place in the store; it is remembered while there is
    /// memory for it.
    pub bytes: Bytes,
    pub parsed: Parsed,
    /// What belongs to it and should be kept with it: fetched in the background, where it is not kept yet.
    pub follow: Vec<Follow>,
    /// What has happened since what was kept before.
    pub events: Vec<What>,
}

impl Kept {
    /// A document that leads to nothing else.
    pub const fn alone(bytes: Bytes, parsed: Parsed) -> Self {
        Self { bytes, parsed, follow: Vec::new(), events: Vec::new() }
    }

    /// With what has happened.
    #[must_use]
    pub fn telling(mut self, events: Vec<What>) -> Self {
        self.events = events;
        self
    }
}

/// A small document that another one vouches for ([`Keep::beside`]).
#[derive(Debug, Clone)]
pub struct Beside {
    /// Its name, in the space and for the audience of the other one.
    pub name: String,
    /// The form that its own [`Keep::read`] understands; small enough to live in the index.
    pub bytes: Bytes,
    pub parsed: Parsed,
}

/// Something to keep that nobody has asked for yet.
#[derive(Debug, Clone)]
pub enum Follow {
    Document(Document),
    Artifact(Artifact),
}

/// An HTTP exchange by the rules of a shared cache (RFC 9111).
#[derive(Debug)]
pub struct Exchange {
    /// The primary key: the target, whatever the method.
    pub key: CacheKey,
    /// The client's request as it would be forwarded: method, address, end-to-end fields, body.
    pub request: OriginRequest,
    pub mode: Mode,
}

impl Exchange {
    /// An exchange whose primary key is the target of `request`, whatever its method.
    pub fn new(space: &str, audience: &Audience, request: OriginRequest, mode: Mode) -> Self {
        let key = CacheKey::new(space, audience, &target_name(&request.url));
        Self { key, request, mode }
    }
}

/// The name of a target within its origin: path and query, exactly as they are sent.
pub fn target_name(url: &url::Url) -> String {
    url[url::Position::BeforePath..url::Position::AfterQuery].to_owned()
}

/// By which rules an exchange is cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// RFC 9111, 5861, 8246 and 9213 to the letter.
    ByTheBook,
    /// Larder's promises: what was once public is served again, however old, when upstream cannot or will not give it.
    Keep,
}
