//! [`Scripted`]: the twin of the client, for tests of everything above it.
//!
//! It answers from a script without a socket and keeps the contract of [`Upstream`]: addresses that the origin does not allow are refused,
//! an open circuit fails at once, a body ends cleanly only when it is whole. Bodies come in chunks, wait at a [`Gate`] until the
//! test opens it, break off where they are told to. Redirects are not followed but told: a [`Reply`] names the hops behind it.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use http::{HeaderMap, Method, Version};
use tokio::sync::watch;
use tokio::time::Instant;
use url::Url;

use super::{
    Availability, Framing, OriginBody, OriginRequest, OriginResponse, OutgoingBody, Upstream,
    UpstreamError,
};

mod reply;

pub use reply::Reply;
use reply::{Answer, Segment};

/// How long after [`Upstream::report_slow`] a background attempt is due.
pub const SLOW_PAUSE: Duration = Duration::from_secs(2);

/// An upstream that answers from a script. Clones share the script and the record.
#[derive(Clone, Default)]
pub struct Scripted(Arc<Inner>);

#[derive(Default)]
struct Inner {
    script: Mutex<Script>,
    record: Mutex<Vec<Recorded>>,
    slow: Mutex<Vec<Url>>,
    circuit: Mutex<Circuit>,
    delivered_bytes: Arc<AtomicU64>,
}

#[derive(Default)]
struct Script {
    once: HashMap<Url, VecDeque<Reply>>,
    routes: HashMap<Url, Route>,
    otherwise: Option<Route>,
}

type Route = Arc<dyn Fn(&OriginRequest) -> Reply + Send + Sync>;

#[derive(Default)]
struct Circuit {
    forced: Option<Duration>,
    slow_until: Option<Instant>,
}

/// A request that was sent.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    /// Whether the request, or its origin on its own host, brought credentials.
    pub authorised: bool,
    /// What the request carried, streamed or not.
    pub body: Bytes,
}

impl Scripted {
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers every request for `url` with `reply`, whatever its method.
    pub fn always(&self, url: &str, reply: Reply) {
        self.answer(url, move |_| reply.clone());
    }

    /// Answers the next request for `url` that no earlier `once` answers, before [`Scripted::always`] is asked.
    pub fn once(&self, url: &str, reply: Reply) {
        lock(&self.0.script).once.entry(address(url)).or_default().push_back(reply);
    }

    /// Answers every request for `url` with what `route` says.
    pub fn answer(
        &self,
        url: &str,
        route: impl Fn(&OriginRequest) -> Reply + Send + Sync + 'static,
    ) {
        lock(&self.0.script).routes.insert(address(url), Arc::new(route));
    }

    /// Answers requests that nothing else in the script answers. Without it they fail as [`UpstreamError::Malformed`], saying so.
    pub fn otherwise(&self, route: impl Fn(&OriginRequest) -> Reply + Send + Sync + 'static) {
        lock(&self.0.script).otherwise = Some(Arc::new(route));
    }

    /// Forgets every answer; the record stays. With [`Scripted::otherwise`] this is how an upstream disappears.
    pub fn clear(&self) {
        *lock(&self.0.script) = Script::default();
    }

    /// Opens the circuit until it is closed by hand, or closes it.
    pub fn set_availability(&self, availability: Availability) {
        let forced = match availability {
            Availability::Closed => None,
            Availability::Open { retry_after } => Some(retry_after),
        };
        *lock(&self.0.circuit) = Circuit { forced, slow_until: None };
    }

    /// Every request sent so far, in order; those that an open circuit or a forbidden address stopped were not sent.
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.0.record).clone()
    }

    /// How many requests went to `url`.
    pub fn count(&self, url: &str) -> usize {
        let url = address(url);
        lock(&self.0.record).iter().filter(|recorded| recorded.url == url).count()
    }

    /// Body bytes that readers have taken so far, over all answers.
    pub fn delivered_bytes(&self) -> u64 {
        self.0.delivered_bytes.load(Ordering::Acquire)
    }

    /// Addresses that were reported as slow, in order.
    pub fn slow_reports(&self) -> Vec<Url> {
        lock(&self.0.slow).clone()
    }

    fn reply(&self, request: &OriginRequest) -> Reply {
        let route = {
            let mut script = lock(&self.0.script);
            if let Some(reply) = script.once.get_mut(&request.url).and_then(VecDeque::pop_front) {
                return reply;
            }
            script.routes.get(&request.url).or(script.otherwise.as_ref()).cloned()
        };
        match route {
            Some(route) => route(request),
            None => Reply::error(UpstreamError::Malformed {
                host: host(request),
                detail: format!("nothing is scripted for {} {}", request.method, request.url),
            }),
        }
    }

    async fn exchange(self, request: OriginRequest) -> Result<OriginResponse, UpstreamError> {
        let host = host(&request);
        if !request.origin.allows(&request.url) {
            return Err(UpstreamError::ForbiddenAddress {
                origin: request.origin.id.to_string(),
                address: request.display_address(),
            });
        }
        let forced = lock(&self.0.circuit).forced;
        if let Some(retry_after) = forced {
            return Err(UpstreamError::CircuitOpen {
                host,
                retry_after,
                cause: "so it is scripted".into(),
            });
        }
        let body = upload(&request.body).await.map_err(|error| UpstreamError::Broken {
            host: host.clone(),
            detail: format!("the upload ended early: {error}"),
        })?;
        lock(&self.0.record).push(Recorded {
            method: request.method.clone(),
            url: request.url.clone(),
            headers: request.headers.clone(),
            authorised: request.credentials.is_some()
                || (request.origin.credentials.is_some() && request.origin.owns(&request.url)),
            body,
        });
        let sent = Instant::now();
        let answer = self.reply(&request).answer(&request).await?;
        lock(&self.0.circuit).slow_until = None;
        let Answer { head, hops, url, body } = answer;
        let body = self.deliver(host, body);
        let framing = Framing::of(Version::HTTP_11, &head);
        Ok(OriginResponse { head, hops, url, elapsed: sent.elapsed(), framing, body })
    }

    fn deliver(&self, host: String, segments: Vec<Segment>) -> OriginBody {
        let delivered = Arc::clone(&self.0.delivered_bytes);
        stream::iter(segments)
            .filter_map(move |segment| {
                let host = host.clone();
                async move {
                    match segment {
                        Segment::Bytes(bytes) => Some(Ok(bytes)),
                        Segment::Wait(gate) => {
                            gate.passed().await;
                            None
                        }
                        Segment::Pause(pause) => {
                            tokio::time::sleep(pause).await;
                            None
                        }
                        Segment::Break(detail) => {
                            Some(Err(UpstreamError::Broken { host, detail: detail.to_owned() }))
                        }
                        Segment::Fail(error) => Some(Err(error)),
                    }
                }
            })
            .inspect_ok(move |bytes| {
                delivered.fetch_add(bytes.len() as u64, Ordering::AcqRel);
            })
            .boxed()
    }
}

impl Upstream for Scripted {
    fn send(
        &self,
        request: OriginRequest,
    ) -> BoxFuture<'static, Result<OriginResponse, UpstreamError>> {
        self.clone().exchange(request).boxed()
    }

    fn availability(&self, _request: &OriginRequest) -> Availability {
        let circuit = lock(&self.0.circuit);
        let slow = circuit.slow_until.map(|until| until.saturating_duration_since(Instant::now()));
        match circuit.forced.or(slow) {
            Some(retry_after) => Availability::Open { retry_after },
            None => Availability::Closed,
        }
    }

    fn report_slow(&self, request: &OriginRequest) {
        lock(&self.0.slow).push(request.url.clone());
        lock(&self.0.circuit).slow_until = Some(Instant::now() + SLOW_PAUSE);
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted").field("requests", &lock(&self.0.record).len()).finish()
    }
}

/// A place where an answer waits until the test lets it pass. Clones are the same gate.
#[derive(Debug, Clone)]
pub struct Gate(Arc<GateState>);

#[derive(Debug)]
struct GateState {
    open: watch::Sender<bool>,
    arrived: watch::Sender<usize>,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self(Arc::new(GateState {
            open: watch::Sender::new(false),
            arrived: watch::Sender::new(0),
        }))
    }

    /// Lets everybody pass who waits now or comes later.
    pub fn open(&self) {
        self.0.open.send_replace(true);
    }

    /// Waits until `count` answers in all have come to the gate.
    pub async fn reached(&self, count: usize) {
        let mut arrived = self.0.arrived.subscribe();
        arrived.wait_for(|seen| *seen >= count).await.expect("the gate holds the sender");
    }

    async fn passed(&self) {
        self.0.arrived.send_modify(|seen| *seen += 1);
        let mut open = self.0.open.subscribe();
        open.wait_for(|open| *open).await.expect("the gate holds the sender");
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

async fn upload(body: &OutgoingBody) -> Result<Bytes, std::io::Error> {
    let taken = match body {
        OutgoingBody::Empty => return Ok(Bytes::new()),
        OutgoingBody::Bytes(bytes) => return Ok(bytes.clone()),
        OutgoingBody::Stream(upload) => lock(upload).take(),
    };
    let parts: Vec<Bytes> = taken.expect("an upload is sent once").try_collect().await?;
    Ok(parts.concat().into())
}

fn host(request: &OriginRequest) -> String {
    request.url.host_str().unwrap_or_default().to_owned()
}

fn address(url: &str) -> Url {
    url.parse().expect("a script names absolute addresses")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds a lock of the script")
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use http::header::{CONTENT_RANGE, IF_NONE_MATCH, IF_RANGE, RANGE};

    use super::*;
    use crate::upstream::Origin;

    const FILE: &str = "http://files.example/f";

    fn request(headers: &[(http::HeaderName, &'static str)]) -> OriginRequest {
        let origin = Arc::new(Origin {
            id: "test".into(),
            base: address("http://files.example/"),
            hosts: Vec::new(),
            credentials: None,
            allow_private: false,
        });
        let mut request = OriginRequest::get(&origin, address(FILE));
        for (name, value) in headers {
            request.headers.insert(name, http::HeaderValue::from_static(value));
        }
        request
    }

    async fn read(body: OriginBody) -> (Vec<u8>, Option<UpstreamError>) {
        body.fold((Vec::new(), None), |(mut bytes, failure), item| async move {
            match item {
                Ok(part) => {
                    bytes.extend_from_slice(&part);
                    (bytes, failure)
                }
                Err(error) => (bytes, Some(error)),
            }
        })
        .await
    }

    #[tokio::test]
    async fn a_body_breaks_where_the_script_says() {
        let hello = || Reply::new(StatusCode::OK).body("hello");
        for (reply, bytes, whole) in [
            (hello(), "hello", true),
            (hello().cut_after(2), "he", false),
            (hello().announced(9), "hello", false),
            (hello().announced(3), "hel", true),
            (hello().chunks_of(2).without_length(), "hello", true),
        ] {
            let upstream = Scripted::new();
            upstream.once(FILE, reply);
            let response = upstream.send(request(&[])).await.expect("a head");
            let (got, failure) = read(response.body).await;
            assert_eq!((got.as_slice(), failure.is_none()), (bytes.as_bytes(), whole));
            assert_eq!(upstream.delivered_bytes(), bytes.len() as u64);
        }
    }

    #[tokio::test]
    async fn a_file_answers_conditions_and_ranges() {
        let upstream = Scripted::new();
        upstream.always(FILE, Reply::file("0123456789", "\"v1\""));
        for (headers, status, body, content_range) in [
            (vec![], 200, "0123456789", None),
            (vec![(IF_NONE_MATCH, "\"v1\"")], 304, "", None),
            (vec![(IF_NONE_MATCH, "\"v0\"")], 200, "0123456789", None),
            (vec![(RANGE, "bytes=2-4")], 206, "234", Some("bytes 2-4/10")),
            (vec![(RANGE, "bytes=7-")], 206, "789", Some("bytes 7-9/10")),
            (vec![(RANGE, "bytes=-2")], 206, "89", Some("bytes 8-9/10")),
            (vec![(RANGE, "bytes=10-")], 416, "", Some("bytes */10")),
            (vec![(RANGE, "bytes=7-"), (IF_RANGE, "\"v1\"")], 206, "789", Some("bytes 7-9/10")),
            (vec![(RANGE, "bytes=7-"), (IF_RANGE, "\"v0\"")], 200, "0123456789", None),
        ] {
            let response = upstream.send(request(&headers)).await.expect("a head");
            assert_eq!(response.head.status, status, "{headers:?}");
            assert_eq!(response.head.text(&CONTENT_RANGE), content_range, "{headers:?}");
            assert_eq!(read(response.body).await.0, body.as_bytes(), "{headers:?}");
        }
    }

    #[tokio::test]
    async fn a_gate_holds_the_body_until_it_is_opened() {
        let (upstream, gate) = (Scripted::new(), Gate::new());
        upstream.once(FILE, Reply::new(StatusCode::OK).body("hello").pause_at(2, &gate));
        let mut body = upstream.send(request(&[])).await.expect("a head").body;
        assert_eq!(body.next().await.expect("the first part").expect("unbroken"), "he");
        assert!(body.next().now_or_never().is_none());
        gate.reached(1).await;
        gate.open();
        assert_eq!(body.next().await.expect("the rest").expect("unbroken"), "llo");
        assert!(body.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_circuit_and_a_foreign_address_send_nothing() {
        let upstream = Scripted::new();
        upstream.always(FILE, Reply::new(StatusCode::OK));
        upstream.set_availability(Availability::Open { retry_after: SLOW_PAUSE });
        let refused = upstream.send(request(&[])).await;
        assert!(matches!(refused, Err(UpstreamError::CircuitOpen { .. })), "{refused:?}");
        upstream.set_availability(Availability::Closed);
        upstream.report_slow(&request(&[]));
        let wait = Availability::Open { retry_after: SLOW_PAUSE };
        assert_eq!(upstream.availability(&request(&[])), wait);
        let mut foreign = request(&[]);
        foreign.url = address("http://other.example/");
        let refused = upstream.send(foreign).await;
        assert!(matches!(refused, Err(UpstreamError::ForbiddenAddress { .. })), "{refused:?}");
        assert_eq!((upstream.requests().len(), upstream.slow_reports().len()), (0, 1));
    }
}
