//! HTTP/2 by hand: frames that no library would send.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::wait::soon;

/// Types of frames (RFC 9113 section 6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// A frame that came.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With this error code (RFC 9113 section 7).
    GoAway(u32),
    Closed,
}

/// A connection that speaks HTTP/2 by prior knowledge.
pub struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Connects and says hello.
    pub async fn open(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("somebody listens");
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("it reads");
        let mut connection = Self { stream };
        connection.send(SETTINGS, 0, 0, &[]).await.expect("it reads");
        connection
    }

    pub async fn send(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> io::Result<()> {
        self.stream.write_all(&frame(kind, flags, stream, payload)).await
    }

    /// Sends a whole request without a body.
    pub async fn request(&mut self, stream: u32, fields: &[(&str, &str)]) -> io::Result<()> {
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, &block(fields)).await
    }

    /// Sends bytes as they are: many frames at once.
    pub async fn send_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next frame; `None` at the end.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some(Frame { kind: head[3], stream, payload })
    }

    /// The next frame of this stream that is an answer or a reset; `None` when the connection ends first.
    pub async fn verdict(&mut self, stream: u32) -> Option<Frame> {
        loop {
            let frame = soon("a verdict", self.next()).await?;
            match frame.kind {
                GOAWAY => return None,
                HEADERS | RST_STREAM if frame.stream == stream => return Some(frame),
                _ => {}
            }
        }
    }

    /// Reads until the other side has had enough.
    pub async fn ending(&mut self) -> Ending {
        while let Some(frame) = soon("the end of the connection", self.next()).await {
            if frame.kind == GOAWAY {
                let code = frame.payload[4..8].try_into().expect("a code has four bytes");
                return Ending::GoAway(u32::from_be_bytes(code));
            }
        }
        Ending::Closed
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is short").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Fields as HPACK writes them without a table and without Huffman's code.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            put_length(&mut bytes, text.len());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

/// An integer with a prefix of seven bits (RFC 7541 section 5.1).
fn put_length(bytes: &mut Vec<u8>, length: usize) {
    if length < 127 {
        bytes.push(length as u8);
        return;
    }
    bytes.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        bytes.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    bytes.push(rest as u8);
}
