//! The server over loopback sockets. Time stands still but for the timers that are due, so that no test waits for a time-out.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::until;

use super::{AccessNote, Body, BodyError, Config, Handler, Peer, RequestBody, Server, TlsConfig};

mod echoes;
mod ending;
mod files;
mod framing;
mod http2;
mod limits;
mod log;
mod secure;

/// A handler whose paths say what it does.
#[derive(Default)]
struct Kitchen {
    /// `METHOD TARGET` of every request that came this far.
    orders: Mutex<Vec<String>>,
    /// `/wait` answers when this is notified.
    ready: Notify,
    /// Notified when an endless body is dropped.
    cut: Notify,
}

struct Running {
    kitchen: Arc<Kitchen>,
    address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
    run: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn default() -> Self {
        Self::start(Config::default(), &TlsConfig::default()).await
    }

    async fn start(config: Config, tls: &TlsConfig) -> Self {
        log::heed_every_thread();
        let any = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        let server = Server::bind(config, tls, &[any, any]).expect("a port is free");
        let address = server.local_addrs()[1];
        let kitchen = Arc::new(Kitchen::default());
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let serving =
            server.run(Arc::new(Front(Arc::clone(&kitchen))), tasks.clone(), stop.clone());
        let run = tasks.spawn(serving);
        Self { kitchen, address, stop, tasks, run }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("it listens")
    }

    /// Sends bytes and reads until the server closes.
    async fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut client = self.connect().await;
        client.write_all(bytes.as_ref()).await.expect("the server reads");
        read_all(&mut client).await
    }

    async fn until_ordered(&self, orders: usize) {
        until("the handler has the requests", || self.orders().len() >= orders).await;
    }

    fn orders(&self) -> Vec<String> {
        self.kitchen.orders.lock().expect("nobody panics with the lock held").clone()
    }
}

async fn read_all(client: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut answer = Vec::new();
    // A connection that is cut ends in an error; what came before it counts.
    let _ = client.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads exactly one answer with a Content-Length.
async fn read_one(client: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut answer = Vec::new();
    loop {
        answer.push(client.read_u8().await.expect("an answer begins"));
        if answer.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8(answer).expect("ASCII");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap_or("0").parse().expect("a number")];
    client.read_exact(&mut body).await.expect("the whole body comes");
    head + &String::from_utf8(body).expect("text")
}

/// The statuses of the answers in what a server sent.
fn statuses(answers: &str) -> Vec<u16> {
    let status = |after: &str| after.get(..3)?.parse().ok();
    answers.split("HTTP/1.1 ").skip(1).filter_map(status).collect()
}

struct Front(Arc<Kitchen>);

impl Handler for Front {
    fn handle(
        &self,
        request: Request<RequestBody>,
        peer: Peer,
    ) -> BoxFuture<'static, Response<Body>> {
        let kitchen = Arc::clone(&self.0);
        let mut order = format!("{} {}", request.method(), request.uri());
        if let Some(certificate) = &peer.certificate {
            order = format!("{order} {certificate}");
        }
        kitchen.orders.lock().expect("nobody panics with the lock held").push(order.clone());
        async move {
            match request.uri().path() {
                "/read" => {
                    let body = Limited::new(request.into_body(), 1 << 20).collect_limited().await;
                    full(
                        body.map_or_else(
                            |error| error.to_string(),
                            |bytes| bytes.len().to_string(),
                        ),
                    )
                }
                "/wait" => {
                    kitchen.ready.notified().await;
                    full("waited")
                }
                "/endless" => Response::new(endless(kitchen)),
                "/large" => full(vec![b'x'; 4 << 20]),
                "/fails" => Response::new(failing()),
                "/noted" => {
                    let mut response = full("noted");
                    response.extensions_mut().insert(AccessNote {
                        cache: "larder; hit".into(),
                        mount: "generic/a".into(),
                        upstream_ms: Some(7),
                        ended: None,
                    });
                    response
                }
                path if path.starts_with("/file") => files::served(path),
                "/panics" => panic!("on purpose"),
                _ => full(format!("{order} host={}\n", host(request.headers()))),
            }
        }
        .boxed()
    }
}

trait CollectLimited {
    async fn collect_limited(self) -> Result<Bytes, BodyError>;
}

impl CollectLimited for Limited<RequestBody> {
    #[expect(clippy::disallowed_methods, reason = "it is limited")]
    async fn collect_limited(self) -> Result<Bytes, BodyError> {
        Ok(self.collect().await?.to_bytes())
    }
}

fn host(headers: &HeaderMap) -> &str {
    headers.get(http::header::HOST).map_or("-", |host| host.to_str().expect("ASCII"))
}

fn full(bytes: impl Into<Bytes>) -> Response<Body> {
    Response::new(Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync())
}

struct NotifyOnDrop(Arc<Kitchen>);

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        self.0.cut.notify_one();
    }
}

fn endless(kitchen: Arc<Kitchen>) -> Body {
    let notify = NotifyOnDrop(kitchen);
    let chunk = Bytes::from(vec![b'x'; 64 << 10]);
    let frames = futures_util::stream::repeat_with(move || {
        let _ = &notify;
        Ok::<_, BodyError>(Frame::data(chunk.clone()))
    });
    StreamBody::new(frames).boxed_unsync()
}

fn failing() -> Body {
    let frames = [Ok(Frame::data(Bytes::from_static(b"half"))), Err(BodyError::from("no more"))];
    StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
}
