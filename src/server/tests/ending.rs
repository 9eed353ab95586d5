//! Shutting down.

use super::*;

#[tokio::test(start_paused = true)]
async fn answers_under_way_end_and_idle_connections_close() {
    let server = Running::default().await;
    let mut idle = server.connect().await;
    idle.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("the server reads");
    read_one(&mut idle).await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("the server reads");
    server.until_ordered(2).await;

    server.stop.cancel();
    assert_eq!(read_all(&mut idle).await, "", "closed");
    server.kitchen.ready.notify_one();
    let answer = read_all(&mut busy).await;
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("waited"), "{answer}");
    server.run.await.expect("it does not panic");
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
    server.tasks.close();
    server.tasks.wait().await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_in_time_is_cut() {
    let server = Running::default().await;
    let mut client = server.connect().await;
    client.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("the server reads");
    server.until_ordered(1).await;
    server.stop.cancel();
    assert_eq!(read_all(&mut client).await, "");
    server.run.await.expect("it does not panic");
    server.tasks.close();
    server.tasks.wait().await;
}

/// A large answer in hyper's buffers when the server stops must still arrive whole.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_all_of_its_answer() {
    let server = Running::default().await;
    let mut client = server.connect().await;
    client.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("the server reads");
    assert_eq!(client.read_u8().await.expect("an answer begins"), b'H');
    server.stop.cancel();
    let answer = read_all(&mut client).await;
    assert_eq!(answer.bytes().filter(|&byte| byte == b'x').count(), 4 << 20);
}

#[tokio::test]
async fn a_busy_address_is_named() {
    let server = Running::default().await;
    let error = Server::bind(Config::default(), &TlsConfig::default(), &[server.address]);
    let error = error.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.starts_with(&format!("cannot listen on {}", server.address)), "{error}");
}
