//! The pipeline: one request, no way back.
//!
//! ```text
//! admit -> route -> plan <-> documents -> access -> judge -> get -> deliver
//! ```
//!
//! `Pipeline::answer` and `Pipeline::serve` are that line, top to bottom. Apart from the server's own refusals, this is the only place where a failure becomes a
//! response, in the words that the mount's adapter chooses for its clients.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};

use crate::cache::Cache;
use crate::cache::artifact::Want;
use crate::cache::document::Got;
use crate::cache::failure::Failure;
use crate::cache::found::Found;
use crate::cache::lookup::{Artifact, Chunking, Demand, Document, Lookup};
use crate::clock::Clock;
use crate::ecosystem::{Ask, Ecosystem, Held, MOST_ROUNDS, Plan, Reply, Serve, Step};
use crate::proxy::access::Access;
use crate::proxy::identity::{Arrival, Identity};
use crate::proxy::rendering::Renderings;
use crate::proxy::routes::Routes;
use crate::semantics::cache_control::RequestDirectives;
use crate::semantics::range::{self, Selection};
use crate::server::{AccessNote, Body, Handler, Peer, RequestBody};
use crate::types::{ByteSize, CacheKey};

pub mod access;
pub mod deliver;
mod identity;
mod judge;
mod multipart;
mod rendering;
pub mod routes;
pub mod target;

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
    /// How the outside sees the root of this server, without a trailing slash.
    pub public_url: Option<String>,
    /// Keys the names of client credentials; must survive restarts.
    pub secret: [u8; 32],
    /// For rendered documents.
    pub memory: ByteSize,
}

/// Answers for Larder's own pages, by method and path; `None` where there is no such page.
pub type Own = Box<dyn Fn(&Method, &str) -> Option<Response<Body>> + Send + Sync>;

/// Where Larder's own pages are. A mount that needs an address that no origin can have takes one here by a route of its own.
const OWN_PREFIX: &str = "/-/";

struct Pipeline {
    cache: Cache,
    clock: Clock,
    routes: Routes,
    access: Access,
    own: Own,
    identity: Identity,
    renderings: Renderings,
}

/// A plan that is ready to be carried out, or an answer that needs none.
enum Planned {
    Reply(Reply),
    Serve(Box<Plan>),
}

/// Documents that planning has already got. Where one of them is what is served in the end, it came about as it did then: a miss
/// is not told as a hit.
type Seen = HashMap<(CacheKey, Demand), Got>;

impl Proxy {
    pub fn new(parts: Parts) -> Self {
        let Parts { cache, clock, routes, access, own, public_url, secret, memory } = parts;
        let identity = Identity::new(public_url, secret);
        let renderings = Renderings::new(memory);
        let pipeline = Pipeline { cache, clock, routes, access, own, identity, renderings };
        Self { pipeline: Arc::new(pipeline) }
    }
}

impl Handler for Proxy {
    fn handle(
        &self,
        request: Request<RequestBody>,
        peer: Peer,
    ) -> BoxFuture<'static, Response<Body>> {
        let pipeline = Arc::clone(&self.pipeline);
        async move { pipeline.answer(request, peer).await }.boxed()
    }
}

impl Pipeline {
    /// One request from top to bottom.
    async fn answer(&self, request: Request<RequestBody>, peer: Peer) -> Response<Body> {
        let path = request.uri().path();
        if let Err(error) = target::check(path, request.uri().query()) {
            return refusal(StatusCode::BAD_REQUEST, &error.to_string());
        }
        let admitted = match self.access.admit(peer.address.ip(), request.headers(), path) {
            Ok(admitted) => admitted,
            Err(refused) => return refused.into_response(),
        };
        let found = self.routes.find(identity::host(&request), admitted.path);
        let is_mounts =
            found.as_ref().is_some_and(|found| found.route.prefix.starts_with(OWN_PREFIX));
        if admitted.path.starts_with(OWN_PREFIX)
            && !is_mounts
            && let Some(page) = (self.own)(request.method(), admitted.path)
        {
            return page;
        }
        let Some(found) = found else {
            let detail = "Nothing is served at this address; /-/ says what is.";
            return refusal(StatusCode::NOT_FOUND, detail);
        };
        let mount = Arc::clone(&found.route.mount);
        let arrival = Arrival { peer: &peer, admitted: &admitted, now: self.clock.now() };
        let ask = self.identity.ask(&request, &arrival, &found);
        match self.serve(mount.as_ref(), &ask, request.into_body()).await {
            Ok(response) => response,
            Err(reply) => replied(reply, &ask.method, mount.id()),
        }
    }

    /// From the plan to the response. `Err` is a refusal or a failure, worded for the client.
    async fn serve(
        &self,
        mount: &dyn Ecosystem,
        ask: &Ask,
        upload: RequestBody,
    ) -> Result<Response<Body>, Reply> {
        let mut seen = Seen::new();
        let mut upload = Some(upload);
        let plan = match self.plan(mount, ask, &mut seen, &mut upload).await? {
            Planned::Reply(reply) => return Ok(replied(reply, &ask.method, mount.id())),
            Planned::Serve(plan) => plan,
        };
        let Plan { access, subject, serve } = *plan;
        judge::granted(&access, ask)?;
        judge::passes(&subject)?;
        let found = self.get(serve, ask, upload, seen).await;
        let found = found.map_err(|failure| explained(mount, ask, &failure))?;
        let mut response = deliver::deliver(&ask.method, &ask.headers, found, mount.id(), ask.now);
        judge::warn(&subject, response.headers_mut());
        Ok(response)
    }

    /// Plans in rounds: each gets the documents that the adapter named and lets it go on.
    async fn plan(
        &self,
        mount: &dyn Ecosystem,
        ask: &Ask,
        seen: &mut Seen,
        upload: &mut Option<RequestBody>,
    ) -> Result<Planned, Reply> {
        let mut step = mount.plan(ask);
        for _ in 0..MOST_ROUNDS {
            match step {
                Step::Reply(reply) => return Ok(Planned::Reply(reply)),
                Step::Serve(plan) => return Ok(Planned::Serve(plan)),
                Step::Need { mut documents, then } => {
                    if only_if_cached(ask) {
                        documents
                            .iter_mut()
                            .for_each(|document| forget_origins(&mut document.lookup));
                    }
                    let got = documents.iter().map(|document| self.cache.document(document));
                    let got = join_all(got).await;
                    let keys = documents.iter().map(demanded);
                    let held = got.iter().map(held).collect();
                    seen.extend(keys.zip(got).filter_map(|(key, got)| Some((key, got.ok()?))));
                    step = then(held);
                }
                Step::Names { under, after, limit, then } => {
                    let names = self.cache.names(&under, after.as_ref(), limit);
                    step = then(names.map_err(|failure| explained(mount, ask, &failure))?);
                }
                Step::NeedBody { limit_bytes, then } => {
                    step = then(collected(upload.take(), limit_bytes).await?);
                }
            }
        }
        tracing::error!(mount = mount.id(), path = %ask.path, "a plan asked for documents too often");
        Err(Reply::problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Larder could not decide how to answer",
            "This is a fault of Larder's; its log has more.",
        ))
    }

    async fn get(
        &self,
        serve: Serve,
        ask: &Ask,
        upload: Option<RequestBody>,
        mut seen: Seen,
    ) -> Result<Found, Failure> {
        match serve {
            Serve::Artifact { mut artifact, headers, chunking } => {
                if only_if_cached(ask) {
                    forget_origins(&mut artifact.lookup);
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
                    forget_origins(&mut document.lookup);
                }
                let got = match seen.remove(&demanded(&document)) {
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

/// Which bytes of the artifact an answer with this view of it shows.
fn shown(chunking: &Chunking, headers: &HeaderMap) -> Range<u64> {
    let length = chunking.len();
    match range::select(range::parse(headers).as_deref(), length) {
        Selection::Single(part) => chunking.content(&part),
        _ => chunking.content(&(0..length)),
    }
}

/// A request's body, whole.
async fn collected(upload: Option<RequestBody>, limit_bytes: usize) -> Result<Bytes, Reply> {
    let Some(upload) = upload else { return Ok(Bytes::new()) };
    #[expect(clippy::disallowed_methods, reason = "the body is limited")]
    let whole = Limited::new(upload, limit_bytes).collect().await;
    match whole {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let detail = format!("This address takes bodies of at most {limit_bytes} bytes.");
            Err(Reply::problem(StatusCode::PAYLOAD_TOO_LARGE, "Too large", &detail))
        }
        Err(error) => {
            let detail = format!("The request's body could not be read: {error}.");
            Err(Reply::problem(StatusCode::BAD_REQUEST, "Bad request", &detail))
        }
    }
}

/// RFC 9111 section 5.2.1.7: the client wants no question asked.
fn only_if_cached(ask: &Ask) -> bool {
    ask.headers.contains_key(header::CACHE_CONTROL)
        && RequestDirectives::read(&ask.headers).only_if_cached
}

/// Leaves what is kept as the only place to look.
fn forget_origins(lookup: &mut Lookup) {
    lookup.origins.clear();
}

fn demanded(document: &Document) -> (CacheKey, Demand) {
    (document.lookup.key.clone(), document.demand)
}

/// What an adapter sees of a document.
fn held(got: &Result<Got, Failure>) -> Result<Held, Failure> {
    let got = got.as_ref().map_err(Failure::clone)?;
    Ok(Held {
        parsed: got.loaded.parsed.clone(),
        version: got.loaded.version,
        standing: rendering::standing(got),
    })
}

/// A failure in the words of the mount's clients, with its `Cache-Status`.
fn explained(mount: &dyn Ecosystem, ask: &Ask, failure: &Failure) -> Reply {
    let mut reply = mount.explain(ask, failure);
    let status = match failure {
        Failure::Absent => "larder; fwd=uri-miss; fwd-status=404",
        Failure::Refused { .. } => "larder; fwd=uri-miss; detail=refused",
        Failure::NotKept => "larder; fwd=request; detail=not-kept",
        Failure::Unreachable(_) | Failure::Unavailable { .. } => {
            "larder; fwd=uri-miss; detail=upstream-unreachable"
        }
        Failure::BadAnswer(_) => "larder; fwd=uri-miss; detail=upstream-bad-answer",
        Failure::Store(_) => "larder; fwd=uri-miss; detail=store-failed",
    };
    reply.headers.insert("cache-status", HeaderValue::from_static(status));
    reply
}

/// A small answer as a response.
fn replied(reply: Reply, method: &Method, mount: &str) -> Response<Body> {
    let Reply { status, headers, body } = reply;
    let mut response = deliver::empty(status);
    *response.headers_mut() = headers;
    let cache = match response.headers().get("cache-status").map(HeaderValue::to_str) {
        Some(Ok(given)) => given.to_owned(),
        _ => "larder; detail=generated".to_owned(),
    };
    if let Ok(value) = HeaderValue::from_str(&cache) {
        response.headers_mut().insert("cache-status", value);
    }
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    if *method != Method::HEAD {
        *response.body_mut() = Body::new(Full::new(body).map_err(|never| match never {}));
    }
    response.extensions_mut().insert(AccessNote {
        cache,
        mount: mount.to_owned(),
        upstream_ms: None,
    });
    response
}

/// A refusal before any mount was found.
fn refusal(status: StatusCode, detail: &str) -> Response<Body> {
    let title = status.canonical_reason().unwrap_or("Refused");
    replied(Reply::problem(status, title, detail), &Method::GET, "")
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("routes", &self.routes).finish_non_exhaustive()
    }
}
