//! One connection, from its acceptance to its end: TLS, which protocol, hyper.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access_log::Metrics;
use super::answer::Session;
use super::certificate;
use super::drain::{Activity, Spans, drive};
use super::echo::{Audience, Echo, Echoes};
use super::inspect::Inspected;
use super::limits::{Admission, Place};
use super::memory::Memory;
use super::stream::StreamTasks;
use super::strict::HeadLimits;
use super::tls::Tls;
use super::wire::{self, Protocol, Transport, Wire};
use super::{Config, Handler, Peer};

/// HTTP/2 flow control for uploads, which are rare and small here.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// What one stream may have in the connection's buffer.
const SEND_BUFFER_BYTES: usize = 512 << 10;
const FRAME_BYTES: u32 = 64 << 10;

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tls: Option<Tls>,
    pub(crate) stop: CancellationToken,
    pub(crate) memory: Arc<Memory>,
    echoes: Arc<Echoes>,
    http1: http1::Builder,
    http2: http2::Builder<StreamTasks>,
}

/// A connection on which a request may come.
struct Opened {
    wire: Wire,
    protocol: Protocol,
    /// What the client's certificate calls it.
    certificate: Option<Arc<str>>,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        handler: Arc<dyn Handler>,
        tls: Option<Tls>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let streams = StreamTasks { tasks, patience: config.write_stall_timeout };
        Self {
            http1: http1_settings(&config),
            http2: http2_settings(&config, streams),
            metrics: Arc::new(Metrics::new()),
            memory: Arc::new(Memory::new(config.max_memory_bytes)),
            echoes: Arc::default(),
            config,
            handler,
            tls,
            stop,
        }
    }

    /// Serves a connection to its end. What goes wrong on the way there concerns this client alone.
    pub(crate) async fn serve(
        self: Arc<Self>,
        socket: TcpStream,
        client: SocketAddr,
        place: Place,
    ) {
        let Ok(local) = socket.local_addr() else { return };
        self.metrics.connections.increment(1.0);
        let peer = Peer { address: client, local, tls: self.tls.is_some(), certificate: None };
        if let Err(error) = self.serve_socket(socket, peer, &place).await {
            tracing::debug!(client.address = %client.ip(), %error, "a connection ended early");
        }
        self.metrics.connections.decrement(1.0);
    }

    async fn serve_socket(
        &self,
        socket: TcpStream,
        mut peer: Peer,
        place: &Place,
    ) -> io::Result<()> {
        wire::tune(&socket);
        let opened = timeout(self.config.header_timeout, self.open(socket)).await??;
        let Some(Opened { mut wire, protocol, certificate }) = opened else { return Ok(()) };
        peer.certificate = certificate;
        let outbox = match protocol {
            Protocol::Http1 => wire.take_files(),
            Protocol::Http2 => None,
        };
        let class = match place.admission {
            Admission::Admitted => self.handler.class(&peer),
            Admission::TurnedAway => None,
        };
        let audience = class.map(|class| Audience { class, local: peer.local, tls: peer.tls });
        let session = Arc::new(Session {
            handler: Arc::clone(&self.handler),
            metrics: Arc::clone(&self.metrics),
            peer,
            activity: Activity::new(),
            memory: Arc::clone(&self.memory),
            admission: place.admission,
            body_timeout: self.config.body_timeout,
            outbox,
            echoes: Arc::clone(&self.echoes),
            audience,
            head: Mutex::new(None),
        });
        let served = match protocol {
            Protocol::Http1 => Box::pin(self.serve_http1(wire, session)).await,
            Protocol::Http2 => Box::pin(self.serve_http2(wire, session)).await,
        };
        served.map_err(io::Error::other)
    }

    /// Finds out what the client speaks. `None`: it left without a word.
    async fn open(&self, socket: TcpStream) -> io::Result<Option<Opened>> {
        let (transport, certificate) = match &self.tls {
            None => (Transport::Left(socket), None),
            Some(tls) => {
                let stream = tls.acceptor.accept(socket).await?;
                let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let certificate = shown.map(certificate::name_of);
                (Transport::Right(stream), certificate)
            }
        };
        let mut wire = Wire::new(transport, self.config.write_stall_timeout);
        // Whatever was agreed by ALPN: a client that then speaks the other protocol gets an answer, too.
        let protocol = wire.sniff().await?;
        Ok(protocol.map(|protocol| Opened { wire, protocol, certificate }))
    }

    async fn serve_http1(&self, wire: Wire, session: Arc<Session>) -> Result<(), hyper::Error> {
        let Config { max_header_bytes: bytes, max_headers: fields, .. } = self.config;
        let limits = HeadLimits { bytes, fields };
        let echo = Echo::new(&session);
        let io = TokioIo::new(Inspected::new(wire, limits, self.config.header_timeout, echo));
        let service = service_fn(|request| Arc::clone(&session).answer(request));
        let connection = self.http1.serve_connection(io, service);
        // A child, because every poll of a token takes its lock: that of `stop` is shared by all connections.
        drive(connection, &session.activity, &self.stop.child_token(), self.spans()).await
    }

    async fn serve_http2(&self, wire: Wire, session: Arc<Session>) -> Result<(), hyper::Error> {
        let answering = Arc::clone(&session);
        let service = service_fn(move |request| Arc::clone(&answering).answer(request));
        let connection = self.http2.serve_connection(TokioIo::new(wire), service);
        drive(connection, &session.activity, &self.stop.child_token(), self.spans()).await
    }

    const fn spans(&self) -> Spans {
        Spans { idle: self.config.idle_timeout, drain: self.config.drain_deadline }
    }
}

fn http1_settings(config: &Config) -> http1::Builder {
    let mut http1 = http1::Builder::new();
    // Pipelined answers are not gathered (`pipeline_flush`): while requests are waiting, hyper would then buffer bodies without a limit.
    // Head and idle time-outs are kept in `inspect` and `drain`, without a timer for every request.
    http1.header_read_timeout(None).half_close(false).writev(true);
    if config.max_headers > 100 {
        // Only when it must be: room for another number than hyper's own is allocated for every request.
        http1.max_headers(config.max_headers);
    }
    if config.max_header_bytes > 256 << 10 {
        http1.max_buf_size(2 * config.max_header_bytes);
    }
    http1
}

fn http2_settings(config: &Config, streams: StreamTasks) -> http2::Builder<StreamTasks> {
    let mut http2 = http2::Builder::new(streams);
    http2
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(config.max_concurrent_streams)
        .max_header_list_size(u32::try_from(config.max_header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(256)
        .keep_alive_interval(config.idle_timeout)
        .keep_alive_timeout(config.header_timeout);
    http2
}
