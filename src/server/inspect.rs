//! Reads every HTTP/1 head on a connection before hyper does.
//!
//! [`Inspected`] sits between the connection and hyper. Bytes are read straight into hyper's buffer and looked at there: a head that arrives in one piece,
//! as nearly all do, is never copied. Incomplete heads are held back until they are whole or out of time. On the
//! first offence nothing more is passed on; hyper gets in its place a request that asks for the refusal, so that it is answered in its turn behind
//! requests that came before it, counted and logged like any other. No client can write such a request over HTTP/1: its method is in lower case,
//! which is itself an offence.
//!
//! Bodies with a length are counted, so that the next head is found where hyper will look for it. After a head that announces chunks everything
//! passes unread: `answer` makes that request the last on its connection, so nothing behind it can be taken for a request.

use std::io::{self, IoSlice};
use std::mem::{self, MaybeUninit};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{Method, Request, Version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::echo::Echo;
use super::refusal::Refusal;
use super::strict::{Framing, HeadLimits, HeadScan};

/// The method of the request that stands in for a refused one.
const STAND_IN: &str = "refuse";

/// After the last answer, up to this much of what the client still sends is read and dropped, for at most this long: closing
/// with bytes unread makes the kernel reset the connection, and the client may lose the answer that it was about to read.
const LINGER_BYTES: usize = 1 << 20;
const LINGER: Duration = Duration::from_secs(2);

/// An HTTP/1 connection whose heads are all faultless.
pub(crate) struct Inspected<S> {
    wire: S,
    limits: HeadLimits,
    head_timeout: Duration,
    phase: Phase,
    scan: HeadScan,
    /// A head that is not whole yet.
    held: BytesMut,
    /// Inspected, to be read by hyper first.
    cleared: Bytes,
    /// Runs while a head is held, and while lingering.
    clock: Option<Pin<Box<Sleep>>>,
    /// How much more is dropped before closing; set once the write side is shut.
    lingering: Option<usize>,
    /// Heads that have been let through.
    heads: u64,
    /// Answers what was answered in the same way a moment ago.
    echo: Option<Echo>,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Head,
    Body(u64),
    Chunks,
    Refused,
}

impl<S> Inspected<S> {
    pub(crate) fn new(
        wire: S,
        limits: HeadLimits,
        head_timeout: Duration,
        echo: Option<Echo>,
    ) -> Self {
        Self {
            wire,
            limits,
            head_timeout,
            phase: Phase::Head,
            scan: HeadScan::default(),
            held: BytesMut::new(),
            cleared: Bytes::new(),
            clock: None,
            lingering: None,
            heads: 0,
            echo,
        }
    }

    /// How many of the next bytes may pass. What is left over is an incomplete head, or nobody's.
    fn inspect(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while passed < bytes.len() {
            let rest = &bytes[passed..];
            match self.phase {
                Phase::Refused => break,
                Phase::Chunks => passed = bytes.len(),
                Phase::Body(left) => {
                    let taken = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    passed += taken;
                    self.phase = match left - taken as u64 {
                        0 => Phase::Head,
                        left => Phase::Body(left),
                    };
                }
                Phase::Head => match self.scan.advance(rest, self.limits) {
                    Ok(None) => break,
                    Ok(Some(head)) => {
                        passed += head.length;
                        self.heads += 1;
                        self.scan = HeadScan::default();
                        self.phase = match head.body {
                            Framing::Nothing => Phase::Head,
                            Framing::Length(length) => Phase::Body(length),
                            Framing::Chunks => Phase::Chunks,
                        };
                    }
                    Err(refusal) => self.refuse(refusal),
                },
            }
        }
        passed
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.phase = Phase::Refused;
        self.heads += 1;
        let number = refusal.number();
        let line = format!("{STAND_IN} /{number} HTTP/1.1\r\nhost: -\r\nconnection: close\r\n\r\n");
        self.cleared = [&self.cleared[..], line.as_bytes()].concat().into();
    }

    /// Inspects what is held, passes on what is faultless and keeps the rest.
    fn inspect_held(&mut self) {
        let mut held = mem::take(&mut self.held);
        let passed = self.inspect(&held);
        if let Some(echo) = &mut self.echo {
            echo.pass(None, self.heads);
        }
        if passed > 0 {
            let rest = mem::take(&mut self.cleared);
            let passed = held.split_to(passed).freeze();
            self.cleared =
                if rest.is_empty() { passed } else { [&passed[..], &rest[..]].concat().into() };
        }
        if self.phase != Phase::Refused && !held.is_empty() {
            self.held = held;
        }
        if passed > 0 || self.phase == Phase::Refused {
            self.clock = None;
        }
    }
}

/// The refusal that a request stands in for.
pub(crate) fn refusal_of<B>(request: &Request<B>) -> Option<Refusal> {
    if request.version() != Version::HTTP_11 || request.method().as_str() != STAND_IN {
        return None;
    }
    Refusal::from_number(request.uri().path().strip_prefix('/')?.parse().ok()?)
}

/// Whether a request stands in for one whose method and target are not known.
pub(crate) fn is_stand_in(method: &Method) -> bool {
    method.as_str() == STAND_IN
}

impl<S: AsyncRead + Unpin> Inspected<S> {
    /// Reads more of the head that is held. `Ready(0)`: the client is gone.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut piece = ReadBuf::uninit(&mut space);
        if let Poll::Ready(read) = Pin::new(&mut self.wire).poll_read(cx, &mut piece) {
            read?;
            self.held.extend_from_slice(piece.filled());
            return Poll::Ready(Ok(piece.filled().len()));
        }
        let timeout = self.head_timeout;
        let clock = self.clock.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(clock.as_mut().poll(cx));
        self.refuse(Refusal::SlowHead);
        self.held.clear();
        Poll::Ready(Ok(1))
    }

    /// Reads into hyper's buffer and takes back what must not pass. `Ready(0)`: the client is gone.
    fn poll_fresh(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let start = buf.filled().len();
        ready!(Pin::new(&mut self.wire).poll_read(cx, buf))?;
        let read = buf.filled().len() - start;
        let is_new = self.phase == Phase::Head;
        if is_new && self.echo.as_mut().is_some_and(|echo| echo.take(&buf.filled()[start..])) {
            buf.set_filled(start);
            return Poll::Ready(Ok(read));
        }
        let heads = self.heads;
        let passed = self.inspect(&buf.filled()[start..]);
        if let Some(echo) = &mut self.echo {
            let is_alone =
                is_new && (self.phase, self.heads, passed) == (Phase::Head, heads + 1, read);
            echo.pass(is_alone.then(|| &buf.filled()[start..]), self.heads);
        }
        if passed < read {
            if self.phase != Phase::Refused {
                self.held.extend_from_slice(&buf.filled()[start + passed..]);
            }
            buf.set_filled(start + passed);
        }
        Poll::Ready(Ok(read))
    }

    /// Reads and drops what the client still sends, within bounds.
    fn poll_linger(&mut self, cx: &mut Context<'_>, mut left: usize) -> Poll<()> {
        let mut space = [MaybeUninit::uninit(); 4096];
        while left > 0 {
            let mut piece = ReadBuf::uninit(&mut space);
            match Pin::new(&mut self.wire).poll_read(cx, &mut piece) {
                Poll::Ready(Ok(())) if !piece.filled().is_empty() => {
                    left = left.saturating_sub(piece.filled().len());
                    self.lingering = Some(left);
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    let clock =
                        self.clock.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
                    return clock.as_mut().poll(cx);
                }
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Inspected<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let start = buf.filled().len();
        loop {
            if let Some(echo) = &mut this.echo {
                ready!(echo.poll_write(cx, &mut this.wire))?;
            }
            if this.cleared.has_remaining() {
                let length = this.cleared.len().min(buf.remaining());
                buf.put_slice(&this.cleared.split_to(length));
                return Poll::Ready(Ok(()));
            }
            if this.phase == Phase::Refused {
                // hyper has all that it gets. It must not see an end, which would count as the client's.
                return Poll::Pending;
            }
            let read = if this.held.is_empty() {
                ready!(this.poll_fresh(cx, buf))?
            } else {
                let read = ready!(this.poll_held(cx))?;
                this.inspect_held();
                read
            };
            if read == 0 || buf.filled().len() > start {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Inspected<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.wire).poll_flush(cx))?;
        if let Some(echo) = &mut self.echo {
            echo.flushed();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(echo) = &mut this.echo {
            ready!(echo.poll_write(cx, &mut this.wire))?;
        }
        let left = match this.lingering {
            Some(left) => left,
            None => {
                ready!(Pin::new(&mut this.wire).poll_shutdown(cx))?;
                let expects_more = this.phase != Phase::Head || !this.held.is_empty();
                this.clock = None;
                *this.lingering.insert(if expects_more { LINGER_BYTES } else { 0 })
            }
        };
        this.poll_linger(cx, left).map(Ok)
    }
}
