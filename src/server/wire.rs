//! A connection's bytes: cleartext or TLS, what was read ahead of the protocol, files among what is written (`sendfile`), and the limit on a client
//! that reads nothing.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::sendfile::{self, Outbox};

/// The first bytes of every HTTP/2 connection (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// With more than this unsent, the kernel takes nothing further. It keeps the memory of slow clients small, and it makes a slow one
/// that reads on visible as such: without it, megabytes may have to go before the kernel asks for more.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 256 << 10;

/// Cleartext, or TLS.
pub(crate) type Transport = Either<TcpStream, TlsStream<TcpStream>>;

/// What the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// A connection that fails when its client takes nothing for too long while there is something for it.
pub(crate) struct Wire {
    transport: Transport,
    /// Read before the protocol was known; read again first.
    ahead: Bytes,
    patience: Duration,
    /// Runs while `blocked`; kept for the next time.
    stall: Option<Pin<Box<Sleep>>>,
    blocked: bool,
    /// Where the kernel can send files by itself.
    outbox: Option<Outbox>,
}

/// Sets what every connection needs. Failures are not fatal: such a connection is slower, or gone already.
pub(crate) fn tune(socket: &TcpStream) {
    let _ = socket.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(socket).set_tcp_notsent_lowat(UNSENT_BYTES);
}

impl Wire {
    pub(crate) const fn new(transport: Transport, patience: Duration) -> Self {
        Self { transport, ahead: Bytes::new(), patience, stall: None, blocked: false, outbox: None }
    }

    /// From now on takes stand-ins for files among the bytes, if the kernel can send files on this connection. For a protocol that passes on the very slices of a
    /// body: HTTP/1.
    pub(crate) fn take_files(&mut self) -> Option<Outbox> {
        if let Transport::Left(_) = self.transport {
            self.outbox = Some(Outbox::default());
        }
        self.outbox.clone()
    }

    /// Reads as far as it takes to tell the protocol; what was read is read again. `None`: closed without a byte.
    pub(crate) async fn sniff(&mut self) -> io::Result<Option<Protocol>> {
        let mut first = BytesMut::new();
        loop {
            let length = first.len().min(PREFACE.len());
            if first[..length] != PREFACE[..length] || length == PREFACE.len() {
                let is_http2 = first.starts_with(PREFACE);
                self.ahead = first.freeze();
                return Ok(Some(if is_http2 { Protocol::Http2 } else { Protocol::Http1 }));
            }
            first.reserve(1024);
            if self.transport.read_buf(&mut first).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Passes on what came of a write, unless nothing has come of it for too long.
    fn pace<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.blocked = false;
            return written;
        }
        let patience = self.patience;
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        if !self.blocked {
            self.blocked = true;
            stall.as_mut().reset(Instant::now() + patience);
        }
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads nothing")))
    }

    /// Writes bytes and files in the order of `slices`, at least one of which is a stand-in, until the socket takes no more.
    fn poll_write_files(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (Transport::Left(socket), Some(outbox)) = (&self.transport, &self.outbox) else {
            return Poll::Ready(Err(io::Error::other("no files can be sent here")));
        };
        let mut total = 0;
        for slice in slices.iter().filter(|slice| !slice.is_empty()) {
            let written = match sendfile::is_stand_in(slice) {
                true => outbox.poll_send(cx, socket, slice),
                false => sendfile::poll_send_before(cx, socket, slice),
            };
            match written {
                Poll::Ready(Ok(written)) => {
                    total += written;
                    if written < slice.len() {
                        break;
                    }
                }
                // What went before is told first; the rest comes again.
                _ if total > 0 => break,
                nothing => return nothing,
            }
        }
        Poll::Ready(Ok(total))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.has_remaining() {
            let length = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead.split_to(length));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.transport).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if sendfile::is_stand_in(bytes) {
            return self.poll_write_vectored(cx, &[IoSlice::new(bytes)]);
        }
        let written = Pin::new(&mut self.transport).poll_write(cx, bytes);
        self.pace(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match slices.iter().any(|slice| sendfile::is_stand_in(slice)) {
            true => self.poll_write_files(cx, slices),
            false => Pin::new(&mut self.transport).poll_write_vectored(cx, slices),
        };
        self.pace(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(outbox) = &self.outbox {
            outbox.expect_empty()?;
        }
        let flushed = Pin::new(&mut self.transport).poll_flush(cx);
        self.pace(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.transport).poll_shutdown(cx);
        self.pace(cx, closed)
    }
}
