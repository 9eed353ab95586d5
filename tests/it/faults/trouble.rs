//! The ways in which upstream fails: the rows of the table.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use rcgen::generate_simple_self_signed;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::stage::{BASE, Patience, Stage};
use crate::support::origin::{Answer, Cut, Fault};

/// One way to fail.
pub struct Row {
    pub name: &'static str,
    trouble: Trouble,
    pub class: Class,
    /// What of Larder's patience must be at an end before it is over.
    pub tries: Option<Patience>,
    /// How large a file must be to show it.
    pub bytes: u64,
}

/// What an honest answer calls it, when nothing is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Not now: 502, 503 or 504.
    Outage,
    /// Not there: 404, or upstream's own 410.
    Absence,
    /// Not for you: 401, 403, 404 or 451; 502 where the client can do nothing about it.
    Refusal,
    /// No failure to whoever waits.
    Health,
}

enum Trouble {
    /// Every host answers so.
    Fault(Fault),
    Refused,
    /// Connections are neither taken nor refused.
    BlackHole,
    NoName,
    /// A redirect to another port of upstream's, at which this is.
    Secure(Secure),
}

/// What goes wrong before the first byte of HTTP.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Secure {
    UnknownAuthority,
    Plain,
}

/// Larger than what is held back until a digest is known.
const LARGE: u64 = 2 << 20;
const SMALL: u64 = 600;

/// All rows, for documents of this type.
pub fn rows(document_type: &str) -> Vec<Row> {
    let row = |name, trouble, class| Row { name, trouble, class, tries: None, bytes: LARGE };
    let fault = |name, fault, class| row(name, Trouble::Fault(fault), class);
    let outage = |name, answer| fault(name, answer, Class::Outage);
    let slow = |patience, row: Row| Row { tries: Some(patience), ..row };
    let small = |row: Row| Row { bytes: SMALL, ..row };
    let (closed, reset) = (Cut::Close, Cut::Reset);
    vec![
        row("connection refused", Trouble::Refused, Class::Outage),
        slow(Patience::Connect, row("black hole", Trouble::BlackHole, Class::Outage)),
        row("no such name", Trouble::NoName, Class::Outage),
        row(
            "TLS of an unknown authority",
            Trouble::Secure(Secure::UnknownAuthority),
            Class::Outage,
        ),
        row("no TLS where it should be", Trouble::Secure(Secure::Plain), Class::Outage),
        slow(Patience::Head, outage("silence", Fault::Silence)),
        outage("400", Fault::status(400)),
        fault("401", Fault::status(401), Class::Refusal),
        fault("403", Fault::status(403), Class::Refusal),
        fault("404", Fault::status(404), Class::Absence),
        fault("410", Fault::status(410), Class::Absence),
        fault("451", Fault::status(451), Class::Refusal),
        outage("429", Fault::status(429)),
        outage("429 with Retry-After", Fault::retry_after(429, 3600)),
        outage("500", Fault::status(500)),
        outage("502", Fault::status(502)),
        outage("503", Fault::status(503)),
        outage("503 with Retry-After", Fault::retry_after(503, 3600)),
        outage("504", Fault::status(504)),
        outage("204", Fault::status(204)),
        outage(
            "206 unasked",
            Fault::Instead(Answer::new(206).with("content-range", "bytes 0-1/9").of("{}")),
        ),
        outage("empty 200", Fault::empty()),
        outage("error page with 200", Fault::error_page()),
        outage("reset at once", Fault::Cut { after: 0, how: reset }),
        outage("reset in the middle", Fault::Cut { after: 100, how: reset }),
        outage("truncated", Fault::Cut { after: 100, how: closed }),
        outage("truncated in chunks", Fault::ChunkedCut { after: 100 }),
        outage("shorter than promised", Fault::Resized(-50)),
        outage("longer than promised", Fault::Resized(50)),
        fault("more than announced", Fault::Longer(50), Class::Health),
        outage("wrong bytes", Fault::Corrupt),
        small(fault("slow drip", Fault::Drip(Duration::from_millis(1)), Class::Health)),
        slow(Patience::Read, outage("stall", Fault::stall(100))),
        outage("redirect loop", Fault::redirect("/loop")),
        outage("redirect to link-local", Fault::redirect("http://169.254.169.254/latest/")),
        outage("endless body", Fault::endless(document_type)),
        outage("head bomb", Fault::head_bomb(200)),
        outage("gzip bomb", Fault::gzip_bomb(document_type, 80)),
        outage(
            "unknown coding",
            Fault::Instead(Answer::ok(document_type, "?").with("content-encoding", "zz")),
        ),
    ]
}

/// What keeps a trouble going; dropping it does not mend anything.
pub struct Ongoing {
    _hole: Option<BlackHole>,
    _listener: JoinSet<()>,
}

impl Row {
    /// Breaks every host of the stage.
    pub async fn begin(&self, stage: &Stage) -> Ongoing {
        let mut ongoing = Ongoing { _hole: None, _listener: JoinSet::new() };
        match &self.trouble {
            Trouble::Fault(fault) => put_everywhere(stage, fault),
            Trouble::Refused => {
                for origin in stage.origins() {
                    origin.refuse().await;
                }
            }
            Trouble::BlackHole => {
                let ports = stage.origins().iter().map(|origin| origin.address.port()).collect();
                let hole = BlackHole::of(ports).await;
                stage.bind_names_to(&hole.address.to_string());
                ongoing._hole = Some(hole);
                for origin in stage.origins() {
                    origin.hang_up().await;
                }
            }
            Trouble::NoName => {
                stage.forget_names();
                for origin in stage.origins() {
                    origin.hang_up().await;
                }
            }
            Trouble::Secure(what) => {
                let port = listen_securely(*what, &mut ongoing._listener).await;
                put_everywhere(stage, &Fault::redirect(&format!("https://{BASE}:{port}/x")));
            }
        }
        ongoing
    }

    /// Whether a question reaches upstream, so that it is there that those who share it meet the trouble.
    pub fn is_met(&self) -> bool {
        matches!(self.trouble, Trouble::Fault(_) | Trouble::Secure(_))
    }

    pub fn end(&self, stage: &Stage) {
        for origin in stage.origins() {
            match self.trouble {
                Trouble::Refused => origin.listen(),
                _ => origin.heal(),
            }
        }
        stage.bind_names();
    }
}

fn put_everywhere(stage: &Stage, fault: &Fault) {
    for origin in stage.origins() {
        origin.fault("*", fault.clone());
    }
}

/// Holes so far: each has an address of its own, since two hosts on different addresses may have the same port.
static HOLES: AtomicU16 = AtomicU16::new(0);

/// Ports whose queues of connections are full: the kernel drops what else knocks, as a broken firewall does.
struct BlackHole {
    address: Ipv4Addr,
    _ports: Vec<(TcpListener, Vec<TcpStream>)>,
}

impl BlackHole {
    async fn of(ports: BTreeSet<u16>) -> Self {
        let [high, low] = HOLES.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let address = Ipv4Addr::new(127, 9, high, low);
        let clogged = join_all(ports.into_iter().map(|port| clogged((address, port).into()))).await;
        Self { address, _ports: clogged }
    }
}

/// Listens, and fills the queue until nothing more is taken. Should a slow machine look like a full queue, the connection that it leaves room for finds
/// silence.
async fn clogged(address: SocketAddr) -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().expect("a socket can be made");
    socket.set_reuseaddr(true).expect("the option is known");
    socket.bind(address).expect("nobody else is there");
    let listener = socket.listen(0).expect("it can be listened on");
    let mut queue = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        queue.push(stream.expect("it is taken into the queue"));
    }
    (listener, queue)
}

async fn listen_securely(what: Secure, tasks: &mut JoinSet<()>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    let acceptor = acceptor();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            match what {
                Secure::UnknownAuthority => drop(acceptor.accept(stream).await),
                Secure::Plain => {
                    let page = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n";
                    // Who does not want to hear it has gone already.
                    let _ = stream.write_all(page).await;
                }
            }
        }
    });
    port
}

fn acceptor() -> TlsAcceptor {
    let made = generate_simple_self_signed([BASE.to_owned()]).expect("a certificate can be made");
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .expect("they fit");
    TlsAcceptor::from(Arc::new(config))
}
