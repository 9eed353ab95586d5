//! An HTTP/1.1 origin on a loopback socket, written by hand so that it can break every rule.
//!
//! It keeps connections alive, reads uploads, answers `HEAD`, and logs what it was asked and how many bytes it gave. Every [`Fault`] can
//! be switched per path while it runs; the whole origin can refuse connections or fall silent. What it answers when nothing is wrong
//! is a [`Respond`]'s.

pub mod answer;
mod connection;
pub mod fault;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;

pub use answer::{Answer, Content, Pattern};
pub use fault::{Cut, Fault, Gate};

use super::wait::until;
use fault::Switchboard;

/// Answers requests when nothing is wrong.
pub trait Respond: Send + Sync + 'static {
    fn respond(&self, request: &Request<Bytes>) -> Answer;
}

impl<F: Fn(&Request<Bytes>) -> Answer + Send + Sync + 'static> Respond for F {
    fn respond(&self, request: &Request<Bytes>) -> Answer {
        self(request)
    }
}

/// A running origin. Dropping it closes everything.
pub struct Origin {
    pub address: SocketAddr,
    state: Arc<State>,
    /// Keeps the port ours while nothing listens on it.
    _reservation: TcpSocket,
    tasks: Mutex<JoinSet<()>>,
}

struct State {
    respond: Box<dyn Respond>,
    faults: Switchboard,
    log: Mutex<Vec<Arc<Logged>>>,
}

/// A request as it came, and what it got.
pub struct Logged {
    pub method: Method,
    pub path: String,
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub body: Bytes,
    status: AtomicU16,
    sent: AtomicU64,
}

impl Logged {
    /// The status of the answer; 0 when there was none.
    pub fn status(&self) -> u16 {
        self.status.load(Ordering::Acquire)
    }

    /// Bytes of the body handed to the socket so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Origin {
    pub async fn start(ip: &str, respond: impl Respond) -> Self {
        let ip: IpAddr = ip.parse().expect("an address");
        let reservation = socket(SocketAddr::new(ip, 0));
        let address = reservation.local_addr().expect("a bound socket has an address");
        let state = State {
            respond: Box::new(respond),
            faults: Switchboard::default(),
            log: Mutex::default(),
        };
        let origin = Self {
            address,
            state: Arc::new(state),
            _reservation: reservation,
            tasks: Mutex::default(),
        };
        origin.listen();
        origin
    }

    /// The address of a path: `http://127.0.0.1:PORT/path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Puts a fault on `path`: exact, a prefix that ends in `*`, or `*` for everything.
    pub fn fault(&self, path: &str, fault: Fault) {
        self.state.faults.set(path, fault, usize::MAX);
    }

    /// Puts a fault on the next `times` requests of `path`.
    pub fn fault_times(&self, path: &str, times: usize, fault: Fault) {
        self.state.faults.set(path, fault, times);
    }

    /// Takes all faults away.
    pub fn heal(&self) {
        self.state.faults.clear();
    }

    /// Closes every connection and the socket: the next connection is refused.
    pub async fn refuse(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks());
        tasks.shutdown().await;
    }

    /// Closes every connection and takes new ones.
    pub async fn hang_up(&self) {
        self.refuse().await;
        self.listen();
    }

    /// Takes connections, again after [`Origin::refuse`].
    pub fn listen(&self) {
        let listener =
            socket(self.address).listen(1024).expect("the reserved port can be listened on");
        self.tasks().spawn(accept(listener, Arc::clone(&self.state)));
    }

    /// Requests so far, in order of arrival.
    pub fn log(&self) -> Vec<Arc<Logged>> {
        self.state.log().clone()
    }

    /// Requests for one path so far.
    pub fn asked(&self, path: &str) -> Vec<Arc<Logged>> {
        self.log().into_iter().filter(|logged| logged.path == path).collect()
    }

    /// Bytes of bodies sent for one path so far.
    pub fn sent(&self, path: &str) -> u64 {
        self.asked(path).iter().map(|logged| logged.sent()).sum()
    }

    pub fn forget(&self) {
        self.state.log().clear();
    }

    /// Waits until `path` has been asked for `times` times.
    pub async fn until_asked(&self, path: &str, times: usize) {
        until(&format!("{path} is asked for {times} times"), || self.asked(path).len() >= times)
            .await;
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn log(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Logged>>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, request: &Request<Bytes>) -> Arc<Logged> {
        let logged = Arc::new(Logged {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().map(str::to_owned),
            headers: request.headers().clone(),
            body: request.body().clone(),
            status: AtomicU16::new(0),
            sent: AtomicU64::new(0),
        });
        self.log().push(Arc::clone(&logged));
        logged
    }
}

/// A socket bound to `address` that shares the port with our other ones, of which one at a time listens.
fn socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket can be made");
    socket.set_reuseaddr(true).expect("the option is known");
    socket.bind(address).expect("the address is ours");
    socket
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        connections.spawn(async move {
            // A connection that breaks is the other side's affair, or a fault that a test asked for.
            let _ = connection::serve(stream, &state).await;
        });
    }
}
