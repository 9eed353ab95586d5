//! A client that speaks bytes, for what no HTTP library would send.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::wait::soon;

/// Sends `bytes` and reads until the other side ends the connection, as it must behind `Connection: close` and behind what it cannot read.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("somebody listens");
    // The other side may close before everything is sent: then its answer is what counts.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = soon("the end of the connection", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Statuses of all the responses in `answer`.
pub fn statuses(answer: &str) -> Vec<u16> {
    let status = |rest: &str| rest.get(2..5)?.parse().ok();
    answer.split("HTTP/1.").skip(1).filter_map(status).collect()
}
