//! The same bytes again: answers of this very moment, given to requests that are the same byte for byte, beside the HTTP layer.
//!
//! Reading a head, calling the handler and writing a head cost more than the kernel's part of a small answer. A handler may mark a response as
//! [`Repeatable`]: until the [`Moment`] that it names is over, a peer of the same class that sends the same head gets the same answer. Then the head that
//! came and the head that went are kept as bytes in [`Echoes`]; the same bytes, arriving as all there is on a connection that owes no other answer, are answered from
//! there by its [`Echo`], without hyper seeing them.
//!
//! All else stays as it is: the first such request was inspected, admitted and answered like any other; each is counted and logged; a client that takes
//! nothing is cut; when the server stops, hyper closes the connection after the answer under way. Left out: requests with bodies, large heads, HTTP/1.0, HTTP/2
//! (whose heads are never the same bytes), answers that end their connection, answers without a body in memory.

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasher;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};
use foldhash::fast::RandomState;
use http::{HeaderMap, Method, Response, StatusCode, Uri, Version, header};
use tokio::io::AsyncWrite;

use super::AccessNote;
use super::access_log::Exchange;
use super::answer::Session;

/// Parts that are locked apart from each other.
const SHARDS: usize = 16;

/// What the answers of one part may cost, in bytes. Mostly they share their bodies with the handler's own memory.
const SHARD_BYTES: usize = 4 << 20;

/// Bodies up to this size are kept in one piece with their heads.
const SHORT_BODY_BYTES: usize = 4 << 10;

/// The longest head, either way.
const MOST_HEAD_BYTES: usize = 4 << 10;

/// A span in which the same request has the same answer. Equal ones are the same span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// Counts what was learnt.
    pub edition: u64,
    /// Of wall time, since the epoch.
    pub second: u64,
}

impl Moment {
    /// Whether this one came after `other`. A clock that was set back makes a new moment, too.
    pub const fn supersedes(self, other: Self) -> bool {
        self.edition > other.edition
            || (self.edition == other.edition && self.second != other.second)
    }
}

/// Put into a response's extensions: in this moment, every peer of the same class that sends the same request gets this response with this body.
#[derive(Debug, Clone)]
pub struct Repeatable {
    pub moment: Moment,
    pub body: Bytes,
}

/// Answers of this moment, of all connections.
#[derive(Default)]
pub(crate) struct Echoes {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
}

#[derive(Default)]
struct Shard {
    moment: Moment,
    answers: HashMap<u64, Arc<Answer>, RandomState>,
    bytes: usize,
}

/// Whom an answer is for: all that shaped it beside the request's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Audience {
    /// The peer's class, as the handler says.
    pub(crate) class: u64,
    pub(crate) local: SocketAddr,
    pub(crate) tls: bool,
}

struct Answer {
    asked: Bytes,
    audience: Audience,
    /// With the body, where that is short.
    head: Bytes,
    /// What is not with the head.
    body: Bytes,
    body_bytes: usize,
    method: Method,
    target: Uri,
    status: StatusCode,
    note: AccessNote,
}

impl Echoes {
    fn recall(&self, asked: &[u8], audience: Audience, moment: Moment) -> Option<Arc<Answer>> {
        let name = self.hasher.hash_one(asked);
        let shard = self.shard(name);
        let answer = shard.answers.get(&name).filter(|_| shard.moment == moment)?;
        (answer.asked == asked && answer.audience == audience).then(|| Arc::clone(answer))
    }

    fn keep(&self, answer: Answer, moment: Moment) {
        const OVERHEAD_BYTES: usize = 512;
        let name = self.hasher.hash_one(&*answer.asked);
        let cost = answer.asked.len() + answer.head.len() + answer.body.len() + OVERHEAD_BYTES;
        let mut shard = self.shard(name);
        if moment.supersedes(shard.moment) {
            shard.moment = moment;
            shard.answers.clear();
            shard.bytes = 0;
        }
        if shard.moment == moment && shard.bytes + cost <= SHARD_BYTES {
            shard.bytes += cost;
            shard.answers.insert(name, Arc::new(answer));
        }
    }

    fn shard(&self, name: u64) -> MutexGuard<'_, Shard> {
        // What a panic left half done is at worst an answer that is not kept. The low bits find the place within the map.
        let index = usize::try_from(name >> 60).unwrap_or_default() % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a response was to, for [`Echoes`].
pub(crate) struct Asked {
    head: Bytes,
    method: Method,
    target: Uri,
}

impl Session {
    /// What the request whose head hyper has just read was, if its answer may be kept as bytes. To be taken before it is answered.
    pub(crate) fn asked<B>(&self, request: &http::Request<B>) -> Option<Asked> {
        let head = self.last_head().take()?;
        let fits = request.version() == Version::HTTP_11
            && matches!(*request.method(), Method::GET | Method::HEAD)
            && is_keep_alive(request.headers());
        let (method, target) = (request.method().clone(), request.uri().clone());
        fits.then_some(Asked { head, method, target })
    }

    /// Keeps a response as bytes, if its handler says that it may be given again.
    pub(crate) fn keep<B>(&self, asked: Option<Asked>, response: &mut Response<B>) {
        let repeatable = response.extensions_mut().remove::<Repeatable>();
        let (Some(asked), Some(repeatable), Some(audience)) = (asked, repeatable, self.audience)
        else {
            return;
        };
        let Repeatable { moment, body } = repeatable;
        let body = if asked.method == Method::HEAD { Bytes::new() } else { body };
        let Some(mut head) = written(response, body.len(), moment) else { return };
        let (body_bytes, mut body) = (body.len(), body);
        if body_bytes <= SHORT_BODY_BYTES {
            // One piece costs the kernel less than two.
            head.extend_from_slice(&body);
            body = Bytes::new();
        }
        let answer = Answer {
            asked: asked.head,
            audience,
            head: head.freeze(),
            body,
            body_bytes,
            method: asked.method,
            target: asked.target,
            status: response.status(),
            note: response.extensions().get::<AccessNote>().cloned().unwrap_or_default(),
        };
        self.echoes.keep(answer, moment);
    }
}

/// Whether all that `Connection` says is what goes without saying.
fn is_keep_alive(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONNECTION).iter();
    values.all(|value| value.as_bytes().eq_ignore_ascii_case(b"keep-alive"))
}

/// A head as hyper writes it. `None` for one that says more than a status, fields and the length of its body.
fn written<B>(response: &Response<B>, body_bytes: usize, moment: Moment) -> Option<BytesMut> {
    let (status, headers) = (response.status(), response.headers());
    let is_framed = match status {
        StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT => body_bytes == 0,
        _ => headers.contains_key(header::CONTENT_LENGTH),
    };
    let is_plain = !status.is_informational()
        && !headers.contains_key(header::CONNECTION)
        && !headers.contains_key(header::TRANSFER_ENCODING);
    if !is_framed || !is_plain {
        return None;
    }
    let mut head = BytesMut::with_capacity(1024);
    head.put_slice(b"HTTP/1.1 ");
    head.put_slice(status.as_str().as_bytes());
    head.put_u8(b' ');
    head.put_slice(status.canonical_reason().unwrap_or("").as_bytes());
    head.put_slice(b"\r\n");
    for (name, value) in headers {
        head.put_slice(name.as_str().as_bytes());
        head.put_slice(b": ");
        head.put_slice(value.as_bytes());
        head.put_slice(b"\r\n");
    }
    if !headers.contains_key(header::DATE) {
        let now = UNIX_EPOCH + Duration::from_secs(moment.second);
        head.put_slice(b"date: ");
        head.put_slice(httpdate::fmt_http_date(now).as_bytes());
        head.put_slice(b"\r\n");
    }
    head.put_slice(b"\r\n");
    (head.len() <= MOST_HEAD_BYTES).then_some(head)
}

/// One connection's way past hyper.
pub(crate) struct Echo {
    session: Arc<Session>,
    audience: Audience,
    /// Heads that went to hyper, and such as were answered from here.
    passed: u64,
    repeated: u64,
    /// hyper owes no answer and has nothing to write.
    idle: bool,
    reply: Option<Reply>,
}

/// An answer on its way.
struct Reply {
    answer: Arc<Answer>,
    written: usize,
    exchange: Exchange,
}

impl Echo {
    /// `None` for a peer that the handler says nothing of.
    pub(crate) fn new(session: &Arc<Session>) -> Option<Self> {
        let session = Arc::clone(session);
        let audience = session.audience?;
        Some(Self { session, audience, passed: 0, repeated: 0, idle: true, reply: None })
    }

    /// Takes a request that is to be answered from here. Otherwise its bytes are hyper's.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> bool {
        if !self.idle || bytes.len() > MOST_HEAD_BYTES || !bytes.ends_with(b"\r\n\r\n") {
            return false;
        }
        let Some(moment) = self.session.handler.moment() else { return false };
        let Some(answer) = self.session.echoes.recall(bytes, self.audience, moment) else {
            return false;
        };
        self.repeated += 1;
        let (method, target) = (answer.method.clone(), answer.target.clone());
        let mut exchange = Exchange::begin(Arc::clone(&self.session), method, target);
        exchange.repeat(answer.status, answer.note.clone());
        self.reply = Some(Reply { answer, written: 0, exchange });
        true
    }

    /// Notes what goes to hyper: a whole head alone, or something else; `heads` have come by now, those answered from here aside.
    pub(crate) fn pass(&mut self, alone: Option<&[u8]>, heads: u64) {
        let alone = alone.filter(|head| self.idle && head.len() <= MOST_HEAD_BYTES);
        *self.session.last_head() = alone.map(Bytes::copy_from_slice);
        self.passed = heads;
        self.idle = false;
    }

    /// Notes that hyper has written all that it had to.
    pub(crate) fn flushed(&mut self) {
        if !self.idle {
            self.idle = self.session.activity.is_done_with(self.passed + self.repeated);
        }
    }

    /// Writes what is left of the answer under way.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        let Some(reply) = &mut self.reply else { return Poll::Ready(Ok(())) };
        let (head, body) = (&reply.answer.head, &reply.answer.body);
        while reply.written < head.len() + body.len() {
            let head_left = &head[reply.written.min(head.len())..];
            let body_left = &body[reply.written.saturating_sub(head.len())..];
            let wire = Pin::new(&mut *wire);
            let written = match (head_left, body_left) {
                (only, []) | ([], only) => wire.poll_write(cx, only),
                _ => {
                    let both = [IoSlice::new(head_left), IoSlice::new(body_left)];
                    wire.poll_write_vectored(cx, &both)
                }
            };
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => reply.written += written,
            }
        }
        ready!(Pin::new(&mut *wire).poll_flush(cx))?;
        if let Some(mut reply) = self.reply.take() {
            reply.exchange.repeated(reply.answer.body_bytes);
            self.session.handler.note_repeat();
        }
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Echoes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Echoes")
    }
}
