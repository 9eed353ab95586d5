//! A load generator for what wrk cannot ask: any method, `HEAD` too, on connections that are kept. A program of `benches/run`, which builds it by itself.
//!
//! `load HOST:PORT CONNECTIONS SECONDS METHOD PATH [FIELD...]` prints one line of JSON. A thread for each connection, which blocks: that costs less for
//! each request than waiting for many sockets at once, as long as there are not many hundreds. Every answer must have the status of the first one.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

struct Question {
    bytes: Vec<u8>,
    is_head: bool,
}

#[derive(Default)]
struct Count {
    requests: u64,
    failed: u64,
}

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|text| text != "--bench").collect();
    let [host, connections, seconds, method, path, fields @ ..] = arguments.as_slice() else {
        // `cargo bench` runs every bench; alone this one has nothing to ask.
        println!("load HOST:PORT CONNECTIONS SECONDS METHOD PATH [FIELD...]");
        return;
    };
    let connections: usize = connections.parse().expect("a number of connections");
    let limit = Duration::from_secs(seconds.parse().expect("a number of seconds"));
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let bytes = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n").into_bytes();
    let question = Question { bytes, is_head: method == "HEAD" };
    let begun = Instant::now();
    let counts: Vec<Count> = thread::scope(|scope| {
        let client = || scope.spawn(|| ask_until(host, &question, begun + limit));
        let clients: Vec<_> = (0..connections).map(|_| client()).collect();
        clients.into_iter().map(|client| client.join().expect("a client")).collect()
    });
    let took = begun.elapsed().as_secs_f64();
    let requests: u64 = counts.iter().map(|count| count.requests).sum();
    let failed: u64 = counts.iter().map(|count| count.failed).sum();
    println!("{{\"requests\": {requests}, \"failed\": {failed}, \"seconds\": {took}}}");
}

/// Asks on one connection until the time is over; a fault ends it.
fn ask_until(host: &str, question: &Question, end: Instant) -> Count {
    let mut count = Count::default();
    let Ok(mut socket) = TcpStream::connect(host) else { return Count { requests: 0, failed: 1 } };
    let mut buffer = vec![0; 1 << 16];
    let mut expected = None;
    while Instant::now() < end {
        match ask(&mut socket, question, &mut buffer) {
            Ok(status) if status == *expected.get_or_insert(status) && status < 400 => {
                count.requests += 1;
            }
            _ => return Count { failed: 1, ..count },
        }
    }
    count
}

/// One question and its whole answer; answers the status.
fn ask(socket: &mut TcpStream, question: &Question, buffer: &mut [u8]) -> io::Result<u16> {
    socket.write_all(&question.bytes)?;
    let mut filled = 0;
    let head = loop {
        filled += read_some(socket, &mut buffer[filled..])?;
        if let Some(end) = buffer[..filled].windows(4).position(|end| end == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = std::str::from_utf8(&buffer[..head]).map_err(io::Error::other)?;
    let status: u16 =
        text.get(9..12).and_then(|text| text.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    let has_body = !question.is_head && status != 304 && status != 204;
    let mut left = if has_body { length(text).ok_or(io::ErrorKind::InvalidData)? } else { 0 };
    left = left.saturating_sub(filled - head);
    while left > 0 {
        left = left.saturating_sub(read_some(socket, buffer)?);
    }
    Ok(status)
}

fn read_some(socket: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    match socket.read(buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => Ok(count),
    }
}

fn length(head: &str) -> Option<usize> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    value.trim().parse().ok()
}
