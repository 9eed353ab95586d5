//! The listeners: bound first, served later, so that a busy address is known before anything else starts.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::Shared;
use super::limits::{Places, affordable, pause_after};
use super::tls::{Tls, TlsError};
use super::{Config, Handler, TlsConfig};

/// Connections that wait to be accepted, at most (the system may allow fewer).
const BACKLOG: u32 = 1024;

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("cannot listen on {address} (--listen or `listen` names another address)")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("TLS cannot be offered")]
    Tls(#[from] TlsError),
}

/// Bound listeners, ready to be run.
pub struct Server {
    config: Config,
    tls: Option<Tls>,
    listeners: Vec<Listener>,
}

struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Binds the addresses and reads the certificate. Must be called within a tokio runtime.
    pub fn bind(
        config: Config,
        tls: &TlsConfig,
        addresses: &[SocketAddr],
    ) -> Result<Self, ServerError> {
        let tls = Tls::load(tls)?;
        let listen =
            |&address| listen(address).map_err(|source| ServerError::Bind { address, source });
        let listeners = addresses.iter().map(listen).collect::<Result<_, _>>()?;
        Ok(Self { config, tls, listeners })
    }

    /// The addresses in the order given, with the ports that the system chose for port 0.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|listener| listener.address).collect()
    }

    /// Whether the listeners speak TLS.
    pub const fn speaks_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Serves until `stop` is cancelled; then stops accepting, lets answers under way end within `drain_deadline`, and returns when the
    /// last connection is gone. Everything runs on `tasks`.
    pub async fn run(self, handler: Arc<dyn Handler>, tasks: TaskTracker, stop: CancellationToken) {
        if let Some(tls) = self.tls.clone() {
            tasks.spawn(tls.follow_files(tasks.clone(), stop.clone()));
        }
        let most = affordable(self.config.max_connections);
        if most < self.config.max_connections {
            tracing::warn!(
                server.max_connections = most,
                "fewer connections are taken than configured: this process may hold too few descriptors"
            );
        }
        let places = Places::new(most, self.config.max_connections_per_address);
        let shared = Shared::new(self.config, handler, self.tls, tasks.clone(), stop.clone());
        let shared = Arc::new(shared);
        tracing::debug!(
            max_memory_bytes = shared.memory.limit(),
            "memory that this process may have"
        );
        // Every listener and connection holds a sender; when all are gone, so is the last connection.
        let (alive, mut all_gone) = mpsc::channel::<()>(1);
        for listener in self.listeners {
            let accepting = Accepting {
                shared: Arc::clone(&shared),
                places: places.clone(),
                tasks: tasks.clone(),
                alive: alive.clone(),
            };
            let stop = stop.clone();
            tasks.spawn(async move {
                let _ = stop.run_until_cancelled(accepting.accept_all(listener)).await;
            });
        }
        drop(alive);
        let _ = all_gone.recv().await;
    }
}

struct Accepting {
    shared: Arc<Shared>,
    places: Places,
    tasks: TaskTracker,
    alive: mpsc::Sender<()>,
}

impl Accepting {
    async fn accept_all(&self, listener: Listener) {
        loop {
            let (socket, client) = match listener.socket.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    let pause = pause_after(&error);
                    if !pause.is_zero() {
                        tracing::warn!(server.address = %listener.address, %error, "cannot accept");
                        tokio::time::sleep(pause).await;
                    }
                    continue;
                }
            };
            let memory = &self.shared.memory;
            let place = self.places.take(client, |others| memory.is_crowded_by(others));
            let Some(place) = place else { continue };
            let serving = Arc::clone(&self.shared).serve(socket, client, place);
            let alive = self.alive.clone();
            self.tasks.spawn(async move {
                serving.await;
                drop(alive);
            });
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<Listener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let socket = socket.listen(BACKLOG)?;
    let address = socket.local_addr()?;
    Ok(Listener { socket, address })
}
