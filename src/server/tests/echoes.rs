//! Answers that are given again beside hyper. The handler counts its calls and answers with the count, so that every answer shows whether it was asked.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::server::{Moment, Repeatable};

#[derive(Default)]
struct Counting {
    calls: AtomicU64,
    repeats: AtomicU64,
    second: AtomicU64,
    nobody: AtomicBool,
}

impl Handler for Counting {
    fn handle(&self, request: Request<RequestBody>, _: Peer) -> BoxFuture<'static, Response<Body>> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let body = Bytes::from(format!("call {call} "));
        let mut response = full(body.clone());
        response.headers_mut().insert("content-length", body.len().into());
        if request.uri().path() != "/once" {
            let moment = Moment { edition: 0, second: self.second.load(Ordering::SeqCst) };
            response.extensions_mut().insert(Repeatable { moment, body });
        }
        futures_util::future::ready(response).boxed()
    }

    fn moment(&self) -> Option<Moment> {
        Some(Moment { edition: 0, second: self.second.load(Ordering::SeqCst) })
    }

    fn class(&self, _: &Peer) -> Option<u64> {
        (!self.nobody.load(Ordering::SeqCst)).then_some(7)
    }

    fn note_repeat(&self) {
        self.repeats.fetch_add(1, Ordering::SeqCst);
    }
}

struct Counted {
    handler: Arc<Counting>,
    address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Counted {
    fn start() -> Self {
        let any = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        let server =
            Server::bind(Config::default(), &TlsConfig::default(), &[any]).expect("a port is free");
        let address = server.local_addrs()[0];
        let handler = Arc::new(Counting::default());
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(server.run(Arc::clone(&handler) as _, tasks.clone(), stop.clone()));
        Self { handler, address, stop, tasks }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("it listens")
    }

    fn counts(&self) -> (u64, u64) {
        let Counting { calls, repeats, .. } = &*self.handler;
        (calls.load(Ordering::SeqCst), repeats.load(Ordering::SeqCst))
    }
}

const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";

async fn ask(client: &mut TcpStream, request: &str) -> String {
    client.write_all(request.as_bytes()).await.expect("the server reads");
    read_one(client).await
}

#[tokio::test]
async fn the_same_bytes_get_the_same_bytes() {
    let server = Counted::start();
    let mut client = server.connect().await;
    let first = ask(&mut client, GET).await;
    assert!(first.ends_with("call 1 "), "{first}");
    for _ in 0..3 {
        let again = ask(&mut client, GET).await;
        let dated = |text: &str| text.lines().filter(|line| !line.starts_with("date: ")).count();
        assert!(again.ends_with("call 1 ") && again.starts_with("HTTP/1.1 200 OK\r\n"), "{again}");
        assert_eq!(dated(&again), dated(&first), "{again}");
        assert_eq!(again.matches("date: ").count(), 1, "{again}");
    }
    let mut other = server.connect().await;
    assert!(ask(&mut other, GET).await.ends_with("call 1 "), "for everybody of the class");
    assert_eq!(server.counts(), (1, 4));
}

#[tokio::test]
async fn anything_else_is_asked_for() {
    let server = Counted::start();
    let mut client = server.connect().await;
    ask(&mut client, GET).await;
    for (call, request) in [
        "GET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: b\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\r\nAccept: b\r\n\r\n",
        "GET /once HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /once HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
        "\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
    .iter()
    .enumerate()
    {
        let answer = ask(&mut client, request).await;
        assert!(answer.ends_with(&format!("call {} ", call + 2)), "{request}: {answer}");
    }
    server.handler.second.fetch_add(1, Ordering::SeqCst);
    assert!(ask(&mut client, GET).await.ends_with("call 10 "), "the moment is over");
    assert!(ask(&mut client, GET).await.ends_with("call 10 "), "another one has begun");
    server.handler.nobody.store(true, Ordering::SeqCst);
    let mut nobody = server.connect().await;
    for call in 11..13 {
        assert!(ask(&mut nobody, GET).await.ends_with(&format!("call {call} ")), "of no class");
    }
}

/// What was asked before must be answered before: only a connection that owes nothing goes past hyper.
#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = Counted::start();
    let mut client = server.connect().await;
    ask(&mut client, GET).await;
    let other = "GET /b HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = ask(&mut client, &format!("{other}{GET}{GET}")).await;
    assert!(answer.ends_with("call 2 "), "{answer}");
    assert!(read_one(&mut client).await.ends_with("call 3 "));
    assert!(read_one(&mut client).await.ends_with("call 4 "));
    // In one piece, in many, and behind a whole one.
    for piece in GET.as_bytes().chunks(5) {
        client.write_all(piece).await.expect("the server reads");
        tokio::task::yield_now().await;
    }
    assert!(read_one(&mut client).await.contains("call "));
    assert!(ask(&mut client, GET).await.contains("call "));
}

#[tokio::test]
async fn heads_without_bodies_are_given_again_without_them() {
    let server = Counted::start();
    let mut client = server.connect().await;
    for _ in 0..3 {
        client.write_all(b"HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("the server reads");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.expect("an answer begins"));
        }
        assert!(String::from_utf8(head).expect("ASCII").contains("content-length: 7\r\n"));
    }
    assert_eq!(server.counts(), (1, 2));
}

#[tokio::test]
async fn the_last_answer_of_a_connection_says_so() {
    let server = Counted::start();
    let last = "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for call in 1..3 {
        let mut client = server.connect().await;
        client.write_all(last.as_bytes()).await.expect("the server reads");
        let answer = read_all(&mut client).await;
        assert!(answer.ends_with(&format!("call {call} ")), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
    }
    let mut kept = server.connect().await;
    ask(&mut kept, GET).await;
    ask(&mut kept, GET).await;
    server.stop.cancel();
    server.tasks.close();
    server.tasks.wait().await;
    assert_eq!(read_all(&mut kept).await, "", "closed while it was idle");
}
