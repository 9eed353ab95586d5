//! Bodies that upstream gives in pieces only: put together as they come, so that a transfer sees one body like any other.
//!
//! The adapter says which pieces ([`Assemble`]), stretch by stretch; they are fetched one after the other, and a piece that breaks is asked for
//! again from where it stopped. Left out: proving the result, which the digest of the whole does.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use http::{HeaderValue, StatusCode, header};

use crate::cache::Parts;
use crate::cache::lookup::{Assemble, Assembly, Decode, Page, Piece};
use crate::semantics::range::{self, Selection};
use crate::types::Head;
use crate::upstream::{
    Framing, OriginBody, OriginRequest, OriginResponse, Upstream, UpstreamError,
};

/// The largest answer to a question on the way to the pieces.
const ANSWER_LIMIT_BYTES: usize = 64 << 20;

/// Questions before the first piece of a stretch; more are a circle.
const MOST_QUESTIONS: usize = 8;

/// The answer that `refused` would have been: the whole, or what `request` asks for of it. Nothing is fetched before the body is read.
pub(crate) fn open(
    parts: &Parts,
    how: Arc<dyn Assemble>,
    request: &OriginRequest,
    refused: OriginResponse,
) -> OriginResponse {
    let length = how.length();
    let (status, part) = match range::select(range::parse(&request.headers).as_deref(), length) {
        Selection::Single(part) => (StatusCode::PARTIAL_CONTENT, part),
        _ => (StatusCode::OK, 0..length),
    };
    let mut head = Head::new(status);
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
        let range = HeaderValue::try_from(range).expect("digits are a field value");
        head.headers.insert(header::CONTENT_RANGE, range);
    }
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(part.end - part.start));
    head.headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
    let host = request.url.host_str().unwrap_or_default().to_owned();
    let assembling = Assembling {
        upstream: Arc::clone(&parts.upstream),
        attempts: parts.config.resume_attempts,
        how,
        host,
        at: part.start,
        end: part.end,
        pieces: VecDeque::new(),
        current: None,
        ready: VecDeque::new(),
        failures: 0,
    };
    OriginResponse { head, framing: Framing::Delimited, body: assembling.stream(), ..refused }
}

struct Assembling {
    upstream: Arc<dyn Upstream>,
    how: Arc<dyn Assemble>,
    host: String,
    /// How often in a row something may break.
    attempts: u32,
    failures: u32,
    /// What was given so far ends here.
    at: u64,
    end: u64,
    /// Pieces to come, of the stretch under way.
    pieces: VecDeque<Piece>,
    current: Option<Current>,
    /// Decoded and not given yet.
    ready: VecDeque<Bytes>,
}

/// The piece that is being read.
struct Current {
    body: OriginBody,
    decoder: Box<dyn Decode>,
    skip: u64,
    left: u64,
}

impl Assembling {
    fn stream(self) -> OriginBody {
        stream::try_unfold(self, |mut assembling| async move {
            Ok(assembling.give().await?.map(|bytes| (bytes, assembling)))
        })
        .boxed()
    }

    /// The next bytes; `None` at the end.
    async fn give(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
                let bytes = bytes.slice(..bytes.len().min(left));
                self.at += bytes.len() as u64;
                self.failures = 0;
                return Ok(Some(bytes));
            }
            if self.at >= self.end {
                return Ok(None);
            }
            if let Err(error) = self.advance().await {
                self.failures += 1;
                if self.failures > self.attempts {
                    return Err(error);
                }
                // From the start of the stretch that is missing, with new addresses.
                self.pieces.clear();
                self.current = None;
            }
        }
    }

    async fn advance(&mut self) -> Result<(), UpstreamError> {
        if let Some(mut current) = self.current.take() {
            let arrived = current.body.next().await;
            let Some(arrived) = arrived else {
                return Err(self.broken("a piece ended before it was whole"));
            };
            for chunk in current.decoder.push(&arrived?).map_err(|why| self.broken(&why))? {
                self.ready.extend(current.cut(chunk));
            }
            self.current = (current.left > 0).then_some(current);
            return Ok(());
        }
        match self.pieces.pop_front() {
            Some(piece) => self.begin(piece).await,
            None => self.plan().await,
        }
    }

    async fn begin(&mut self, piece: Piece) -> Result<(), UpstreamError> {
        let Piece { request, decoder, skip_bytes, bytes } = piece;
        let is_part = request.headers.contains_key(header::RANGE);
        let response = self.upstream.send(request).await?;
        let expected = if is_part { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        if response.head.status != expected {
            return Err(self.broken(&format!("a piece was answered {}", response.head.status)));
        }
        self.current =
            Some(Current { body: response.body, decoder, skip: skip_bytes, left: bytes });
        Ok(())
    }

    /// Finds out where the next pieces are.
    async fn plan(&mut self) -> Result<(), UpstreamError> {
        let mut answers = Vec::new();
        for _ in 0..MOST_QUESTIONS {
            match self.how.next(self.at, &answers).map_err(|why| self.broken(&why))? {
                Assembly::Ask(request) => {
                    answers.push(ask(self.upstream.send(*request), &self.host).await?);
                }
                Assembly::Pieces(pieces) if pieces.iter().all(|piece| piece.bytes > 0) => {
                    self.pieces = pieces.into();
                    return match self.pieces.is_empty() {
                        true => Err(self.broken("no pieces are named")),
                        false => Ok(()),
                    };
                }
                Assembly::Pieces(_) => return Err(self.broken("an empty piece is named")),
            }
        }
        Err(self.broken("the way to the pieces leads in a circle"))
    }

    fn broken(&self, detail: &str) -> UpstreamError {
        broken(&self.host, detail)
    }
}

/// A bounded answer.
async fn ask(
    sent: BoxFuture<'static, Result<OriginResponse, UpstreamError>>,
    host: &str,
) -> Result<Page, UpstreamError> {
    let mut response = sent.await?;
    let mut body = BytesMut::new();
    while let Some(chunk) = response.body.next().await {
        body.extend_from_slice(&chunk?);
        if body.len() > ANSWER_LIMIT_BYTES {
            return Err(broken(host, "the list of pieces is too long"));
        }
    }
    Ok(Page { url: response.url, head: response.head, body: body.freeze() })
}

fn broken(host: &str, detail: &str) -> UpstreamError {
    UpstreamError::Broken { host: host.to_owned(), detail: detail.to_owned() }
}

impl Current {
    /// What of a chunk belongs to the piece, if anything.
    fn cut(&mut self, mut chunk: Bytes) -> Option<Bytes> {
        let skipped = chunk.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
        let _ = chunk.split_to(skipped);
        self.skip -= skipped as u64;
        chunk.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= chunk.len() as u64;
        (!chunk.is_empty()).then_some(chunk)
    }
}
