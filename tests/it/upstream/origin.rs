//! An origin that writes bytes: what a request gets is spelled out, right or wrong.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// A step of an answer.
#[derive(Clone)]
pub enum Act {
    Send(String),
    /// Waits until the test adds a permit.
    Await(Arc<Semaphore>),
    /// Says nothing more and keeps the connection.
    Hang,
    /// Ends the connection orderly.
    Close,
    /// Resets the connection.
    Reset,
}

pub fn send(text: impl Into<String>) -> Act {
    Act::Send(text.into())
}

/// A whole answer with `Content-Length`, and the connection kept.
pub fn answer(status: &str, fields: &str, body: &str) -> Vec<Act> {
    vec![send(format!("HTTP/1.1 {status}\r\n{fields}content-length: {}\r\n\r\n{body}", body.len()))]
}

/// A listening origin. Dropping it closes everything.
pub struct RawOrigin {
    pub address: SocketAddr,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

type Script = dyn Fn(usize, &str) -> Vec<Act> + Send + Sync;

struct State {
    script: Box<Script>,
    connections: AtomicUsize,
    requests: Mutex<Vec<String>>,
}

impl RawOrigin {
    /// Answers each request with what `script` says of its number, from 0, and its text: head and, with `Content-Length` or in chunks, body.
    pub async fn start(script: impl Fn(usize, &str) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(State {
            script: Box::new(script),
            connections: AtomicUsize::new(0),
            requests: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&state)));
        Self { address, state, _tasks: tasks }
    }

    /// Answers every request alike.
    pub async fn always(acts: Vec<Act>) -> Self {
        Self::start(move |_, _| acts.clone()).await
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The same place under a name.
    pub fn url_at(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.address.port())
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Acquire)
    }

    /// The text of every request so far.
    pub fn requests(&self) -> Vec<String> {
        self.state.requests.lock().expect("no test panics here").clone()
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        state.connections.fetch_add(1, Ordering::AcqRel);
        connections.spawn(serve(stream, Arc::clone(&state)));
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let mut buffer = Vec::new();
    while let Some(request) = next_request(&mut stream, &mut buffer).await {
        let number = {
            let mut requests = state.requests.lock().expect("no test panics here");
            requests.push(request.clone());
            requests.len() - 1
        };
        for act in (state.script)(number, &request) {
            match act {
                Act::Send(text) => {
                    if stream.write_all(text.as_bytes()).await.is_err() {
                        return;
                    }
                }
                Act::Await(gate) => gate.acquire().await.expect("no test closes a gate").forget(),
                Act::Hang => std::future::pending().await,
                Act::Close => return,
                Act::Reset => {
                    stream.set_zero_linger().expect("the option is known");
                    return;
                }
            }
        }
    }
}

/// The next request's text; `None` when the other side is done.
async fn next_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(length) = request_length(buffer) {
            let rest = buffer.split_off(length);
            let request = std::mem::replace(buffer, rest);
            return Some(String::from_utf8_lossy(&request).into_owned());
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

fn request_length(buffer: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(buffer).expect("tests send text");
    let head = text.find("\r\n\r\n")? + 4;
    let fields = text[..head].to_ascii_lowercase();
    if fields.contains("transfer-encoding: chunked") {
        return Some(text[head..].find("0\r\n\r\n")? + head + 5);
    }
    let length = fields.split("content-length: ").nth(1).map_or(0, |rest| {
        rest.lines().next().and_then(|digits| digits.parse().ok()).expect("a length")
    });
    (buffer.len() >= head + length).then_some(head + length)
}
