//! Bodies: what was found, or a range of it, as an HTTP body.
//!
//! Blobs are read from the page cache on the async worker; when the disk must be waited for, on a blocking thread, in chunks
//! that grow with a reader that takes them fast. A body holds one chunk at most. Left out: multipart framing and header fields, which are `proxy`'s.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;

use crate::cache::chunked::ChunkedSlice;
use crate::cache::failure::Failure;
use crate::cache::fill::state::Look;
use crate::cache::fill::{Reader, View};
use crate::cache::found::Source;
use crate::store::ReadAt;
use crate::upstream::{OriginBody, UpstreamError};

/// What is read at once where memory has it: more gains nothing, and every slow reader holds this much.
const CHUNK_BYTES: usize = 128 << 10;
/// A body in a file is taken into memory up to this size where it is given again and again.
const SMALL_BYTES: usize = 64 << 10;
/// What is read at once at most where the disk is waited for.
const MOST_CHUNK_BYTES: usize = 1 << 20;

/// A response body. Its length is known exactly wherever the source's is.
pub struct Body(Kind);

enum Kind {
    Memory(Bytes),
    Blob(BlobSlice),
    Fill(FillSlice),
    Stream(Passing),
    Chunked(Box<ChunkedSlice>),
    /// A body that cannot be had, read by mistake.
    Missing,
}

/// Why a body was cut. The connection must break too: a clean end would pass for the whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyFault {
    #[error("reading what is kept")]
    Read(#[from] io::Error),
    /// The transfer that this body follows ended without it.
    #[error("the transfer failed")]
    Cut(#[source] Failure),
    #[error("upstream broke off")]
    Upstream(#[from] UpstreamError),
    #[error("this body has been read already, or was never there to be read")]
    Missing,
}

impl Source {
    /// Length of the body, when it is known.
    #[expect(clippy::len_without_is_empty, reason = "an unknown length is neither empty nor not")]
    pub fn len(&self) -> Option<u64> {
        match self {
            Self::Memory(bytes) => Some(bytes.len() as u64),
            Self::Blob { size, .. } | Self::Unread(size) => Some(*size),
            Self::Fill(reader) => reader.fill().total(),
            Self::Stream { length, .. } => *length,
            Self::Chunked { chunking, .. } => Some(chunking.len()),
        }
    }

    /// The body, or the part of it that is `range`, which must lie within [`Source::len`]. May be called for several parts. What passes
    /// through can be had once, and only whole: `range` is ignored there.
    pub fn body(&self, range: Option<Range<u64>>) -> Body {
        Body(match self {
            Self::Memory(bytes) => Kind::Memory(match range {
                Some(range) => bytes.slice(index(range.start)..index(range.end)),
                None => bytes.clone(),
            }),
            Self::Blob { reader, size } => Kind::Blob(BlobSlice {
                file: Arc::clone(reader),
                left: range.unwrap_or(0..*size),
                chunks: Chunks::default(),
            }),
            Self::Fill(reader) => {
                let reader = reader.clone();
                let view = reader.view(range.as_ref());
                let (at, end) = range.map_or((0, None), |range| (range.start, Some(range.end)));
                Kind::Fill(FillSlice { reader, at, end, view, chunks: Chunks::default() })
            }
            Self::Stream { body, length } => match body.take() {
                Some(body) => Kind::Stream(Passing { body, left: *length }),
                None => Kind::Missing,
            },
            Self::Chunked { inner, chunking } => {
                let range = range.unwrap_or(0..chunking.len());
                let content = inner.body(Some(chunking.content(&range)));
                Kind::Chunked(Box::new(ChunkedSlice::new(chunking.clone(), range, content)))
            }
            Self::Unread(_) => Kind::Missing,
        })
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let chunk = match &mut self.0 {
            Kind::Memory(bytes) => {
                let whole = std::mem::take(bytes);
                Poll::Ready((!whole.is_empty()).then_some(Ok(whole)))
            }
            Kind::Blob(slice) => slice.poll(context),
            Kind::Fill(slice) => slice.poll(context),
            Kind::Stream(passing) => passing.poll(context),
            Kind::Chunked(slice) => slice.poll(context),
            Kind::Missing => Poll::Ready(Some(Err(BodyFault::Missing))),
        };
        chunk.map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// How to have a body once more. Keeps no file open and no disk space from being freed.
#[derive(Debug, Clone)]
pub enum Again {
    Memory(Bytes),
    Blob(Weak<dyn ReadAt>, Range<u64>),
}

impl Again {
    /// The body from its beginning; `None` when its file has been let go of.
    pub fn body(&self) -> Option<Body> {
        Some(Body(match self {
            Self::Memory(bytes) => Kind::Memory(bytes.clone()),
            Self::Blob(file, range) => {
                let (file, left) = (file.upgrade()?, range.clone());
                Kind::Blob(BlobSlice { file, left, chunks: Chunks::default() })
            }
        }))
    }

    /// What keeping this costs in memory.
    pub const fn bytes(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::Blob(..) => 0,
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(Kind::Memory(bytes))
    }
}

impl Body {
    /// How to have what is left of this body once more, where it is at rest. A small one is taken into memory, if it need not be waited for.
    pub fn again(&self) -> Option<Again> {
        match &self.0 {
            Kind::Memory(bytes) => Some(Again::Memory(bytes.clone())),
            Kind::Blob(slice) => Some(match slice.small() {
                Some(bytes) => Again::Memory(bytes),
                None => Again::Blob(Arc::downgrade(&slice.file), slice.left.clone()),
            }),
            _ => None,
        }
    }

    /// The open file that this body is a part of, where it is one: who gets hold of it need not read the body.
    pub fn file(&self) -> Option<(Arc<dyn AsFd + Send + Sync>, Range<u64>)> {
        match &self.0 {
            Kind::Blob(slice) => Some((Arc::clone(&slice.file).descriptor()?, slice.left.clone())),
            _ => None,
        }
    }

    fn left(&self) -> Option<u64> {
        match &self.0 {
            Kind::Memory(bytes) => Some(bytes.len() as u64),
            Kind::Blob(slice) => Some(slice.left.end - slice.left.start),
            Kind::Fill(slice) => {
                let end = slice.end.or_else(|| slice.reader.fill().total())?;
                Some(end.saturating_sub(slice.at))
            }
            Kind::Stream(passing) => passing.left,
            Kind::Chunked(slice) => Some(slice.left()),
            Kind::Missing => None,
        }
    }
}

pub(super) type Chunk = Poll<Option<Result<Bytes, BodyFault>>>;

struct BlobSlice {
    file: Arc<dyn ReadAt>,
    left: Range<u64>,
    chunks: Chunks,
}

impl BlobSlice {
    /// All of it, when it is small and the page cache has it.
    fn small(&self) -> Option<Bytes> {
        let length = usize::try_from(self.left.end - self.left.start).ok()?;
        if length > SMALL_BYTES {
            return None;
        }
        let bytes = self.file.try_read(self.left.start, length).ok()??;
        // A copy, because what was read lies in a buffer that is larger and wanted back.
        (bytes.len() == length).then(|| Bytes::copy_from_slice(&bytes))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Chunk {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let chunk = ready!(self.chunks.poll(context, &self.file, self.left.clone()));
        Poll::Ready(Some(chunk.map_err(BodyFault::Read).inspect(|chunk| {
            self.left.start += chunk.len() as u64;
        })))
    }
}

/// A part of a body that may still be on its way.
struct FillSlice {
    reader: Reader,
    at: u64,
    /// The body's own end, which may not be known yet, when `None`.
    end: Option<u64>,
    view: View,
    chunks: Chunks,
}

impl FillSlice {
    fn poll(&mut self, context: &mut Context<'_>) -> Chunk {
        let look = ready!(self.reader.poll_look(context, self.at, self.end, self.view));
        let chunk = match look {
            Look::End => return Poll::Ready(None),
            Look::Cut(failure) => Err(BodyFault::Cut(failure)),
            Look::Memory(chunk) => Ok(chunk),
            Look::File(file, until) => {
                ready!(self.chunks.poll(context, &file, self.at..until)).map_err(BodyFault::Read)
            }
        };
        Poll::Ready(Some(chunk.inspect(|chunk| self.at += chunk.len() as u64)))
    }
}

/// What passes through.
struct Passing {
    body: OriginBody,
    left: Option<u64>,
}

impl Passing {
    fn poll(&mut self, context: &mut Context<'_>) -> Chunk {
        let item = ready!(self.body.as_mut().poll_next(context));
        Poll::Ready(item.map(|chunk| {
            let chunk = chunk?;
            if let Some(left) = &mut self.left {
                *left = left.saturating_sub(chunk.len() as u64);
            }
            Ok(chunk)
        }))
    }
}

/// Reads a file chunk by chunk.
#[derive(Default)]
struct Chunks {
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    /// How many chunks in a row the disk was waited for.
    waited: u32,
}

impl Chunks {
    /// The next chunk of `range`, never empty.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        file: &Arc<dyn ReadAt>,
        range: Range<u64>,
    ) -> Poll<io::Result<Bytes>> {
        if self.reading.is_none() {
            match file.try_read(range.start, length(&range, CHUNK_BYTES)) {
                Ok(Some(chunk)) => {
                    self.waited = 0;
                    return Poll::Ready(whole(chunk));
                }
                Ok(None) => self.start(file, &range),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        };
        let read = ready!(Pin::new(reading).poll(context));
        self.reading = None;
        Poll::Ready(match read {
            Ok(read) => read.and_then(whole),
            Err(error) => Err(io::Error::other(error)),
        })
    }

    /// Reads on a blocking thread: more each time, because a reader that comes back has taken what it got.
    fn start(&mut self, file: &Arc<dyn ReadAt>, range: &Range<u64>) {
        let most = (CHUNK_BYTES << (self.waited / 4).min(3)).min(MOST_CHUNK_BYTES);
        self.waited = self.waited.saturating_add(1);
        let (file, start, length) = (Arc::clone(file), range.start, length(range, most));
        self.reading = Some(tokio::task::spawn_blocking(move || file.read(start, length)));
    }
}

/// A read that yields nothing before the end means that the file is shorter than its entry says.
fn whole(chunk: Bytes) -> io::Result<Bytes> {
    if chunk.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(chunk) }
}

fn length(range: &Range<u64>, most: usize) -> usize {
    usize::try_from(range.end - range.start).unwrap_or(most).min(most)
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a range lies within the body in memory")
}
