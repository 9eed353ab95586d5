//! One connection as the pool sees it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection as Pooled};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// A stream of bytes to an origin or a proxy, whatever it is made of.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// What was agreed on by ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// Whether requests are addressed to the other end or to a host behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// The origin itself, or a tunnel to it.
    Direct,
    /// A forward proxy: requests name the whole address.
    Proxy,
}

/// A connection ready for requests.
pub struct Connection {
    stream: TokioIo<Box<dyn Transport>>,
    protocol: Protocol,
    via: Via,
    history: History,
}

impl Connection {
    pub fn new(stream: Box<dyn Transport>, protocol: Protocol, via: Via) -> Self {
        Self { stream: TokioIo::new(stream), protocol, via, history: History::default() }
    }
}

/// Whether a connection has answered before. One that has and then breaks before a head was most likely closed by the host for idleness,
/// which says nothing about the host.
#[derive(Debug, Clone, Default)]
pub struct History(Arc<AtomicBool>);

impl History {
    pub fn note_answer(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub fn has_answered(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Pooled for Connection {
    fn connected(&self) -> Connected {
        let connected = Connected::new().proxy(self.via == Via::Proxy).extra(self.history.clone());
        match self.protocol {
            Protocol::Http1 => connected,
            Protocol::Http2 => connected.negotiated_h2(),
        }
    }
}

impl Read for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl Write for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }
}
