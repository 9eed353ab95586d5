//! The pipeline: one request, no way back.
//!
//! ```text
//! admit -> route -> plan <-> documents -> access -> judge -> get -> deliver
//!     └──▶ repeat
//! ```
//!
//! `Pipeline::answer` and `Pipeline::serve` are that line, top to bottom; `Pipeline::repeated` is the short way of a request that was answered in the same way
//! a moment ago. Apart from the server's own refusals, this is the only place where a failure becomes a
//! response, in the words that the mount's adapter chooses for its clients.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body::Body as _;

use crate::cache::Cache;
use crate::cache::artifact::Want;
use crate::cache::document::Got;
use crate::cache::failure::Failure;
use crate::cache::found::{Found, Trace};
use crate::cache::lookup::{Artifact, Chunking, Demand};
use crate::clock::Clock;
use crate::ecosystem::{Ask, Ecosystem, Plan, Reply, Serve, Subject};
use crate::proxy::access::Access;
use crate::proxy::deliver::Content;
use crate::proxy::identity::{Arrival, Identity};
use crate::proxy::past::{Address, Instants};
use crate::proxy::rendering::Renderings;
use crate::proxy::repeat::{Chance, Question, Repeats};
use crate::proxy::routes::Routes;
use crate::proxy::words::{explained, refusal, replied};
use crate::rulings::Rulings;
use crate::semantics::cache_control::RequestDirectives;
use crate::semantics::range::{self, Selection};
use crate::server::{Body, Handler, Moment, Peer, RequestBody};
use crate::trace::pulls::Pulls;
use crate::types::{ByteSize, CacheKey};

pub mod access;
pub mod deliver;
mod forwarded;
mod identity;
mod judge;
mod multipart;
mod past;
mod planning;
mod record;
mod rendering;
mod repeat;
pub mod routes;
pub mod target;
mod upload;
mod visit;
mod words;

pub use past::Named;
pub use visit::{Visit, Visitor};

/// The handler that turns requests into responses.
#[derive(Debug)]
pub struct Proxy {
    pipeline: Arc<Pipeline>,
}

/// What the pipeline is made of; built by `app`.
pub struct Parts {
    pub cache: Cache,
    pub clock: Clock,
    pub routes: Routes,
    pub access: Access,
    pub own: Own,
    /// What names of snapshots stand for.
    pub snapshots: Named,
    /// How the outside sees the root of this server, without a trailing slash.
    pub public_url: Option<String>,
    /// Keys the names of client credentials; must survive restarts.
    pub secret: [u8; 32],
    /// For rendered documents.
    pub memory: ByteSize,
    pub rulings: Rulings,
    pub pulls: Pulls,
}

/// Larder's own pages.
pub struct Own {
    /// Whether a path (without a token's prefix) is an address of theirs.
    pub claims: fn(&str) -> bool,
    pub answer: Box<dyn Fn(Visit) -> BoxFuture<'static, Response<Body>> + Send + Sync>,
}

struct Pipeline {
    cache: Cache,
    clock: Clock,
    routes: Routes,
    access: Access,
    own: Own,
    instants: Instants,
    identity: Identity,
    renderings: Renderings,
    repeats: Repeats,
    rulings: Rulings,
    pulls: Pulls,
}

/// A plan that is ready to be carried out, or an answer that needs none.
enum Planned {
    Reply(Reply),
    Serve(Box<Plan>),
    Refuse(Box<Subject>),
}

/// Documents that planning has already got. Where one of them is what is served in the end, it came about as it did then: a miss
/// is not told as a hit.
type Documents = HashMap<(CacheKey, Demand), Got>;

/// What came up on the way to an answer.
struct Seen {
    documents: Documents,
    /// All that shapes the answer was kept and fresh; nothing was asked or read for it.
    settled: bool,
    /// As what the client is remembered.
    client: String,
}

impl Proxy {
    pub fn new(parts: Parts) -> Self {
        let Parts { cache, clock, routes, access, own, snapshots, .. } = parts;
        let Parts { public_url, secret, memory, rulings, pulls, .. } = parts;
        let instants = Instants::new(snapshots);
        let identity = Identity::new(public_url, secret);
        let renderings = Renderings::new(memory, rulings.clone());
        let repeats = Repeats::new();
        let pipeline = Pipeline {
            cache,
            clock,
            routes,
            access,
            own,
            instants,
            identity,
            renderings,
            repeats,
            rulings,
            pulls,
        };
        Self { pipeline: Arc::new(pipeline) }
    }
}

impl Handler for Proxy {
    fn handle(
        &self,
        request: Request<RequestBody>,
        peer: Peer,
    ) -> BoxFuture<'static, Response<Body>> {
        let chance = match self.pipeline.repeated(&request, &peer) {
            Ok(response) => return ready(deliver::finished(response)).boxed(),
            Err(chance) => chance,
        };
        let pipeline = Arc::clone(&self.pipeline);
        async move { deliver::finished(pipeline.answer(request, peer, chance).await) }.boxed()
    }

    fn moment(&self) -> Option<Moment> {
        Some(self.pipeline.moment())
    }

    fn class(&self, peer: &Peer) -> Option<u64> {
        if peer.certificate.is_some() {
            // Whom it names is looked at each time.
            return None;
        }
        let address = peer.address.ip();
        let network = self.pipeline.pulls.network(address).map_or(0, bits);
        Some(self.pipeline.access.class(address)? | network << access::CLASS_BITS)
    }

    fn note_repeat(&self) {
        self.pipeline.cache.count_repeat();
    }
}

impl Pipeline {
    /// The answer of a moment ago to the same request, if this client may have it. Failing that, the chance to remember the one that is made now.
    fn repeated(
        &self,
        request: &Request<RequestBody>,
        peer: &Peer,
    ) -> Result<Response<Content>, Option<Chance>> {
        let uri = request.uri();
        let is_fit =
            request.body().is_end_stream() && target::check(uri.path(), uri.query()).is_ok();
        let (address, headers) = (peer.address.ip(), request.headers());
        let certificate = peer.certificate.as_deref();
        let admitted = self.access.admit_certified(address, certificate, headers, uri.path());
        let admitted = admitted.ok().filter(|admitted| is_fit && admitted.class.is_some());
        let Some(admitted) = admitted else { return Err(None) };
        // Before anything is looked up: what is learnt from here on makes another answer.
        let moment = self.moment();
        let network = self.pulls.network(admitted.address);
        let question =
            Question::new(request.method(), uri, request.headers(), &admitted, peer).of(network);
        let response = self.repeats.recall(&question, moment)?;
        self.cache.count_repeat();
        Ok(response)
    }

    fn moment(&self) -> Moment {
        // Both only ever grow, so that their sum changes whenever one of them does.
        let edition = self.cache.edition() + self.rulings.generation();
        Moment { edition, second: self.clock.now().secs() }
    }

    /// One request from top to bottom.
    async fn answer(
        self: &Arc<Self>,
        mut request: Request<RequestBody>,
        peer: Peer,
        chance: Option<Chance>,
    ) -> Response<Content> {
        let upload = std::mem::replace(request.body_mut(), Bytes::new().into());
        let path = request.uri().path();
        if let Err(error) = target::check(path, request.uri().query()) {
            return refusal(StatusCode::BAD_REQUEST, &error.to_string());
        }
        let (address, certificate) = (peer.address.ip(), peer.certificate.as_deref());
        let admitted = self.access.admit_certified(address, certificate, request.headers(), path);
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refused) => {
                record::not_admitted(&self.pulls, refused);
                return refused.into_response().map(Content::Made);
            }
        };
        let address = Address::of(admitted.path, identity::host(&request));
        let found = self.routes.find(address.host, address.path);
        let is_mounts = found.as_ref().is_ok_and(|found| found.has_claimed(address.path));
        let now = self.clock.now();
        let arrival = Arrival { peer: &peer, admitted: &admitted, address: &address, now };
        if !is_mounts && (self.own.claims)(address.path) {
            if address.instant.is_some() {
                return refusal(StatusCode::NOT_FOUND, "Larder's own pages have no past.");
            }
            let visit = Visit::new(self, &request, upload, &arrival);
            return (self.own.answer)(visit).await.map(Content::Made);
        }
        let found = match found {
            Ok(found) => found,
            Err(vacant) => return refusal(StatusCode::NOT_FOUND, &vacant.to_string()),
        };
        let mount = Arc::clone(&found.route.mount);
        let mut ask = self.identity.ask(&request, &arrival, &found, self.rulings.current());
        match self.instants.meant(address.instant, mount.as_ref(), &ask) {
            Ok(as_of) => ask.as_of = as_of,
            Err(reply) => return replied(reply, &ask.method, mount.id()),
        }
        let client = self.pulls.client(admitted.client, admitted.address);
        let mut seen = Seen { documents: Documents::new(), settled: true, client };
        let mut response = match self.serve(mount.as_ref(), &ask, upload, &mut seen).await {
            Ok(response) => response,
            Err(reply) => return replied(reply, &ask.method, mount.id()),
        };
        if let Some(chance) = chance
            && seen.settled
        {
            let question =
                Question::new(&ask.method, request.uri(), &ask.headers, &admitted, &peer)
                    .of(self.pulls.network(admitted.address));
            self.repeats.remember(chance, &question, &mut response);
        }
        response
    }

    /// From the plan to the response. `Err` is a refusal or a failure, worded for the client.
    async fn serve(
        &self,
        mount: &dyn Ecosystem,
        ask: &Ask,
        upload: RequestBody,
        seen: &mut Seen,
    ) -> Result<Response<Content>, Reply> {
        let mut upload = Some(upload);
        let plan = match self.plan(mount, ask, seen, &mut upload).await? {
            Planned::Reply(reply) => return Ok(replied(reply, &ask.method, mount.id())),
            Planned::Serve(plan) => plan,
            Planned::Refuse(subject) => return Ok(self.refused(mount, ask, &subject, seen)),
        };
        let Plan { access, subject, mut serve } = *plan;
        judge::granted(&access, ask).inspect_err(|_| {
            record::not_granted(&self.pulls, mount, &seen.client, &subject);
        })?;
        if !subject.verdict.passes() {
            return Ok(self.refused(mount, ask, &subject, seen));
        }
        let bytes = record::Bytes::of(&serve);
        self.note(&subject);
        past::check(mount, ask, &serve)?;
        judge::except(ask, &subject, &mut serve);
        let found = self.get(serve, ask, upload, &mut seen.documents).await;
        let found = found.map_err(|failure| {
            let (failure, judged) = judge::inspected(ask, &subject, failure);
            judged.iter().for_each(|judged| self.rulings.note(judged));
            record::failed(&self.pulls, mount, &seen.client, &subject, &failure);
            explained(mount, ask, &failure)
        })?;
        seen.settled &= is_settled(&found.trace);
        let mut response = deliver::deliver(&ask.method, &ask.headers, found, mount.id(), ask.now);
        judge::warn(mount.warning_field(), &subject, response.headers_mut());
        let who = (mount, seen.client.as_str());
        record::pull(&self.pulls, who, ask, (&subject, bytes), &mut response);
        Ok(response)
    }

    fn refused(
        &self,
        mount: &dyn Ecosystem,
        ask: &Ask,
        subject: &Subject,
        seen: &mut Seen,
    ) -> Response<Content> {
        seen.settled = false; // Each is recorded, so none is answered from memory.
        self.note(subject);
        record::refused(&self.pulls, mount, &seen.client, subject);
        judge::refused(mount, ask, subject)
    }

    fn note(&self, subject: &Subject) {
        if let Some(judged) = &subject.judged {
            self.rulings.note(judged);
        }
    }

    async fn get(
        &self,
        serve: Serve,
        ask: &Ask,
        upload: Option<RequestBody>,
        seen: &mut Documents,
    ) -> Result<Found, Failure> {
        match serve {
            Serve::Artifact { mut artifact, headers, chunking } => {
                if only_if_cached(ask) {
                    artifact.lookup.origins.clear();
                }
                let window = chunking.as_ref().map(|chunking| shown(chunking, &ask.headers));
                let mut found = self.artifact(&artifact, window, headers, ask).await?;
                if let Some(chunking) = chunking {
                    found.source = found.source.chunked(chunking);
                }
                Ok(found)
            }
            Serve::Document { mut document, render } => {
                if only_if_cached(ask) {
                    document.lookup.origins.clear();
                }
                let got = match seen.remove(&planning::demanded(&document)) {
                    Some(got) => got,
                    None => self.cache.document(&document).await?,
                };
                let key = &document.lookup.key;
                Ok(self.renderings.get(&self.cache, key, got, render, &ask.headers, ask.now).await)
            }
            Serve::Exchange { mut exchange, amend } => {
                if let Some(upload) = upload {
                    exchange.request.body = identity::upload(upload);
                }
                let mut found = self.cache.exchange(exchange).await?;
                if let Some(amend) = amend {
                    amend.amend(&mut found.head);
                }
                Ok(found)
            }
        }
    }

    async fn artifact(
        &self,
        artifact: &Artifact,
        window: Option<Range<u64>>,
        headers: HeaderMap,
        ask: &Ask,
    ) -> Result<Found, Failure> {
        let ranges = range::parse(&ask.headers);
        let want = Want { method: ask.method.clone(), ranges, window };
        let mut found = self.cache.artifact(artifact, want).await?;
        if found.head.status == StatusCode::OK {
            found.head.headers.extend(headers);
        }
        Ok(found)
    }
}

/// A network's address as a number; those of different networks differ.
fn bits(network: IpAddr) -> u64 {
    match network {
        IpAddr::V4(network) => network.to_bits().into(),
        IpAddr::V6(network) => (network.to_bits() >> 80) as u64 | 1 << 48,
    }
}

/// Which bytes of the artifact an answer with this view of it shows.
fn shown(chunking: &Chunking, headers: &HeaderMap) -> Range<u64> {
    let length = chunking.len();
    match range::select(range::parse(headers).as_deref(), length) {
        Selection::Single(part) => chunking.content(&part),
        _ => chunking.content(&(0..length)),
    }
}

/// RFC 9111 section 5.2.1.7: the client wants no question asked.
fn only_if_cached(ask: &Ask) -> bool {
    ask.headers.contains_key(header::CACHE_CONTROL)
        && RequestDirectives::read(&ask.headers).only_if_cached
}

/// Whether it was served as it is kept, with nothing to be said about it: the same would be done again.
fn is_settled(trace: &Trace) -> bool {
    trace.status.is_hit() && trace.status.detail.is_none() && trace.upstream_ms.is_none()
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("routes", &self.routes).finish_non_exhaustive()
    }
}
