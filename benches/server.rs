//! What the server's own layers cost, beside plain hyper with the same handler: 20 KB from memory, HTTP/1.1, cleartext, connections kept.
//!
//! Run: `cargo bench --bench server`. Each server runs alone on one thread, clients on another; many short rounds in turn, of which the best counts. The processor time of the server's thread for each request is the number to compare; requests a second depend on what
//! else the machine does. The access log has no subscriber here, the metrics no recorder.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use larder::server::{Body, Config, Handler, Peer, RequestBody, Server, TlsConfig};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const ROUNDS: usize = 40;
const CONNECTIONS: usize = 16;
const REQUESTS: usize = 500;
const REQUEST: &[u8] = b"GET /simple/some-project/ HTTP/1.1\r\nHost: 127.0.0.1:8484\r\nUser-Agent: client/1.0 {\"ci\":null}\r\n\
    Accept: application/vnd.pypi.simple.v1+json, text/html;q=0.1\r\nAccept-Encoding: gzip, deflate\r\nCache-Control: max-age=0\r\n\
    Connection: keep-alive\r\n\r\n";

static PAGE: [u8; 20_000] = [b'x'; 20_000];

fn main() {
    let mut plain = Vec::new();
    let mut ours = Vec::new();
    for _ in 0..ROUNDS {
        plain.push(measure("plain", serve_plain));
        ours.push(measure("larder", serve_ours));
    }
    let plain = report("plain hyper", &plain);
    let ours = report("larder", &ours);
    println!("larder needs {:+.1} % processor time", 100.0 * (ours / plain - 1.0));
}

/// One server's run.
struct Run {
    processor: Duration,
    wall: Duration,
}

/// The best round counts: whatever else the machine does can only add to it.
fn report(name: &str, runs: &[Run]) -> f64 {
    let requests = (CONNECTIONS * REQUESTS) as f64;
    let best = |time: fn(&Run) -> Duration| runs.iter().map(time).min().unwrap_or_default();
    let micros = 1e6 * best(|run| run.processor).as_secs_f64() / requests;
    let rate = requests / best(|run| run.wall).as_secs_f64();
    println!("{name}: {micros:.2} us of processor time a request, {rate:.0} requests/s");
    micros
}

fn measure(name: &str, serve: fn(Sender<SocketAddr>, CancellationToken)) -> Run {
    let (bound, address) = mpsc::channel();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    // Named, so that a profiler can tell them apart.
    let server = thread::Builder::new().name(name.to_owned()).spawn(move || {
        serve(bound, stopped);
        processor_time()
    });
    let server = server.expect("a thread");
    let address = address.recv().expect("the server is bound");
    let started = Instant::now();
    client(address);
    let wall = started.elapsed();
    stop.cancel();
    Run { processor: server.join().expect("the server ends"), wall }
}

/// Asks on all connections, then reads on all of them: enough in flight to keep the server busy, from one thread.
fn client(address: SocketAddr) {
    let connect = |_| TcpStream::connect(address).expect("connected");
    let mut sockets: Vec<_> = (0..CONNECTIONS).map(connect).collect();
    let mut buffer = vec![0; PAGE.len() + 4096];
    for _ in 0..REQUESTS {
        for socket in &mut sockets {
            socket.write_all(REQUEST).expect("sent");
        }
        for socket in &mut sockets {
            let mut filled = 0;
            loop {
                filled += socket.read(&mut buffer[filled..]).expect("an answer");
                let head = buffer[..filled].windows(4).position(|end| end == b"\r\n\r\n");
                if head.is_some_and(|head| filled == head + 4 + PAGE.len()) {
                    break;
                }
            }
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn page() -> Response<Body> {
    let body = Full::new(Bytes::from_static(&PAGE)).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert("content-type", http::HeaderValue::from_static("text/html"));
    headers.insert("etag", http::HeaderValue::from_static("\"0123456789abcdef\""));
    response
}

#[derive(Clone)]
struct Pages;

impl Handler for Pages {
    fn handle(&self, _: Request<RequestBody>, _: Peer) -> BoxFuture<'static, Response<Body>> {
        async { page() }.boxed()
    }
}

fn serve_ours(bound: Sender<SocketAddr>, stop: CancellationToken) {
    runtime().block_on(async {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Server::bind(Config::default(), &TlsConfig::default(), &[any]);
        let server = server.expect("a port");
        bound.send(server.local_addrs()[0]).expect("the client waits");
        server.run(Arc::new(Pages), TaskTracker::new(), stop).await;
    });
}

fn serve_plain(bound: Sender<SocketAddr>, stop: CancellationToken) {
    runtime().block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        bound.send(listener.local_addr().expect("an address")).expect("the client waits");
        let tasks = TaskTracker::new();
        // Every server has a timer somewhere; with none at all, the runtime waits for sockets by a cheaper call.
        tasks.spawn(tokio::time::sleep(Duration::from_secs(75)));
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            let (socket, _) = accepted.expect("a connection");
            socket.set_nodelay(true).expect("a socket");
            let handled = |_| async { async { Ok::<_, Infallible>(page()) }.boxed().await };
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service_fn(handled));
            tasks.spawn(connection);
        }
    });
}

/// What this thread has used, from the kernel's scheduler.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("the first number is the time"))
}
