//! One connection of an origin: requests in, answers out, with the fault that the request meets.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, header};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::{Answer, Content, Cut, Fault, Gate, Logged, State};

/// Bytes handed to the socket at once.
const PIECE: usize = 64 << 10;

/// Answers requests until either side closes.
pub async fn serve(mut stream: TcpStream, state: &State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = BytesMut::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await? {
        let logged = state.note(&request);
        let fault = state.faults.meet(request.uri().path());
        let answer = match fault {
            Some(Fault::Instead(ref answer)) => answer.clone(),
            _ => state.respond.respond(&request),
        };
        let last = request.headers().get(header::CONNECTION).is_some_and(|value| value == "close");
        let writer = Writer { stream: &mut stream, logged };
        if writer.answer(request.method(), answer, fault).await? == Afterwards::Close || last {
            return Ok(());
        }
    }
    Ok(())
}

#[derive(PartialEq, Eq)]
enum Afterwards {
    Next,
    Close,
}

struct Writer<'a> {
    stream: &'a mut TcpStream,
    logged: Arc<Logged>,
}

impl Writer<'_> {
    async fn answer(
        mut self,
        method: &Method,
        answer: Answer,
        fault: Option<Fault>,
    ) -> io::Result<Afterwards> {
        match &fault {
            Some(Fault::Silence) => {
                // Reads until the other side gives up, so that its giving up is noticed.
                while self.stream.read(&mut [0; 1024]).await? > 0 {}
                return Ok(Afterwards::Close);
            }
            Some(Fault::Wait(None, gate)) => gate.passed().await,
            Some(Fault::Raw(bytes)) => {
                self.stream.write_all(bytes).await?;
                return Ok(Afterwards::Close);
            }
            _ => {}
        }
        let answer = match &fault {
            Some(Fault::Resized(change)) if answer.content.length().is_some() => {
                Answer { content: answer.content.resized(*change), ..answer }
            }
            _ => answer,
        };
        let length = match fault {
            Some(Fault::ChunkedCut { .. }) => None,
            _ => answer.content.length(),
        };
        self.head(&answer, length).await?;
        if method == Method::HEAD || answer.status == 304 || answer.status == 204 {
            return Ok(Afterwards::Next);
        }
        match (&answer.content, fault) {
            (Content::Chunks(chunk), _) => self.chunks(chunk.as_ref()).await,
            (content, Some(Fault::ChunkedCut { after })) => self.cut_chunks(content, after).await,
            (content, fault) => self.whole(content, fault).await,
        }
    }

    async fn head(&mut self, answer: &Answer, length: Option<u64>) -> io::Result<()> {
        self.logged.status.store(answer.status.as_u16(), Ordering::Release);
        let mut head = format!("HTTP/1.1 {} Answer\r\n", answer.status.as_u16()).into_bytes();
        for (name, value) in &answer.headers {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        let framing = match length {
            _ if answer.status == 304 || answer.status == 204 => String::new(),
            Some(length) => format!("content-length: {length}\r\n"),
            None => "transfer-encoding: chunked\r\n".to_owned(),
        };
        head.extend_from_slice(framing.as_bytes());
        head.extend_from_slice(b"\r\n");
        self.stream.write_all(&head).await
    }

    async fn chunks(
        &mut self,
        chunk: &(dyn Fn(u64) -> Option<Bytes> + Send + Sync),
    ) -> io::Result<Afterwards> {
        let mut number = 0;
        while let Some(bytes) = chunk(number) {
            self.chunk(&bytes).await?;
            number += 1;
        }
        self.stream.write_all(b"0\r\n\r\n").await?;
        Ok(Afterwards::Next)
    }

    async fn cut_chunks(&mut self, content: &Content, after: u64) -> io::Result<Afterwards> {
        let mut offset = 0;
        while offset < after {
            let bytes = content.at(offset, (after - offset) as usize);
            if bytes.is_empty() {
                break;
            }
            offset += bytes.len() as u64;
            self.chunk(&bytes).await?;
        }
        Ok(Afterwards::Close)
    }

    async fn chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
        self.body(bytes).await?;
        self.stream.write_all(b"\r\n").await
    }

    /// Sends a body of known length, as far as the fault lets it.
    async fn whole(&mut self, content: &Content, fault: Option<Fault>) -> io::Result<Afterwards> {
        let length = content.length().expect("chunks are sent elsewhere");
        let (most, piece) = match &fault {
            Some(Fault::Cut { after, .. }) => (length.min(*after), PIECE),
            Some(Fault::Drip(_)) => (length, 1),
            _ => (length, PIECE),
        };
        let mut gate = match fault {
            Some(Fault::Wait(Some(after), ref gate)) => Some((after, gate.clone())),
            _ => None,
        };
        let mut offset = 0;
        if let Some((_, gate)) = gate.take_if(|(after, _)| *after == 0) {
            gate.passed().await;
        }
        while offset < most {
            let room = (most - offset).min(piece as u64).min(until_gate(&gate, offset));
            let mut bytes = content.at(offset, room as usize);
            offset += bytes.len() as u64;
            if offset == length && matches!(fault, Some(Fault::Corrupt)) {
                bytes = flip_last(&bytes);
            }
            self.body(&bytes).await?;
            if let Some(Fault::Drip(pause)) = fault {
                sleep(pause).await;
            }
            if let Some((_, gate)) = gate.take_if(|(after, _)| *after <= offset) {
                gate.passed().await;
            }
        }
        self.ending(fault).await
    }

    async fn ending(&mut self, fault: Option<Fault>) -> io::Result<Afterwards> {
        match fault {
            Some(Fault::Longer(extra)) => {
                self.stream.write_all(&vec![b'x'; extra]).await?;
                Ok(Afterwards::Close)
            }
            Some(Fault::Cut { how: Cut::Reset, .. }) => {
                self.stream.set_zero_linger()?;
                Ok(Afterwards::Close)
            }
            Some(Fault::Cut { how: Cut::Close, .. }) => Ok(Afterwards::Close),
            _ => Ok(Afterwards::Next),
        }
    }

    async fn body(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.logged.sent.fetch_add(bytes.len() as u64, Ordering::AcqRel);
        Ok(())
    }
}

fn until_gate(gate: &Option<(u64, Gate)>, offset: u64) -> u64 {
    match gate {
        Some((after, _)) if *after > offset => after - offset,
        _ => u64::MAX,
    }
}

fn flip_last(bytes: &[u8]) -> Bytes {
    let mut wrong = bytes.to_vec();
    if let Some(last) = wrong.last_mut() {
        *last ^= 1;
    }
    wrong.into()
}

/// Reads one request with its body; `None` when the other side closed between two.
async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
) -> io::Result<Option<Request<Bytes>>> {
    let (mut request, head) = loop {
        if let Some(found) = parse_head(buffer)? {
            break found;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let _ = buffer.split_to(head);
    if request.headers().contains_key(header::EXPECT) {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    *request.body_mut() = read_body(&request, stream, buffer).await?;
    Ok(Some(request))
}

fn parse_head(buffer: &[u8]) -> io::Result<Option<(Request<Bytes>, usize)>> {
    let malformed = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Request::new(&mut fields);
    let head = match parsed.parse(buffer).map_err(|error| malformed(error.to_string()))? {
        httparse::Status::Complete(head) => head,
        httparse::Status::Partial => return Ok(None),
    };
    let mut request = Request::builder()
        .method(parsed.method.unwrap_or_default())
        .uri(parsed.path.unwrap_or_default());
    for field in parsed.headers.iter() {
        request = request.header(field.name, field.value);
    }
    let request = request.body(Bytes::new()).map_err(|error| malformed(error.to_string()))?;
    Ok(Some((request, head)))
}

async fn read_body(
    request: &Request<Bytes>,
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
) -> io::Result<Bytes> {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    if text(header::TRANSFER_ENCODING).is_some() {
        return read_chunks(stream, buffer).await;
    }
    let length = text(header::CONTENT_LENGTH).and_then(|text| text.parse().ok()).unwrap_or(0);
    fill(stream, buffer, length).await?;
    Ok(buffer.split_to(length).freeze())
}

async fn read_chunks(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<Bytes> {
    let mut body = BytesMut::new();
    loop {
        let line = loop {
            match buffer.windows(2).position(|pair| pair == b"\r\n") {
                Some(end) => break buffer.split_to(end + 2),
                None => fill(stream, buffer, buffer.len() + 1).await?,
            }
        };
        let size = std::str::from_utf8(&line)
            .ok()
            .and_then(|line| usize::from_str_radix(line.trim(), 16).ok());
        let size = size.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        fill(stream, buffer, size + 2).await?;
        body.extend_from_slice(&buffer.split_to(size + 2)[..size]);
        if size == 0 {
            return Ok(body.freeze());
        }
    }
}

/// Reads until `buffer` holds `length` bytes.
async fn fill(stream: &mut TcpStream, buffer: &mut BytesMut, length: usize) -> io::Result<()> {
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}
