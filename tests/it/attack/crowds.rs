//! More clients than anybody wants: idle ones by the thousand, and more than the system has descriptors for.

use std::fmt::Write as _;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::child::Process;
use crate::support::client::Client;
use crate::support::raw;
use crate::support::wait::{eventually, soon};

/// Settings that reach nobody.
const ALONE: &str = "[huggingface]\nupstream = \"\"\n[oci]\ndefault = \"none.example\"\n[oci.registries.\"none.example\"]\nupstream = \"http://127.0.0.1:1/\"\n";

const HEALTH: &[u8] = b"GET /-/health HTTP/1.1\r\nHost: h\r\n\r\n";

fn idle_connections() -> usize {
    let wanted = std::env::var("LARDER_IDLE_CONNECTIONS").ok();
    wanted.map_or(10_000, |text| text.parse().expect("LARDER_IDLE_CONNECTIONS is a number"))
}

/// Raises this process's limit of descriptors as far as it goes.
fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .expect("the soft limit may be raised");
    limit.maximum.unwrap_or(u64::MAX)
}

/// A connection that has been served once and says no more.
async fn idle(address: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(HEALTH).await.ok()?;
    let mut answer = [0; 512];
    let read = soon("an answer", stream.read(&mut answer)).await.ok()?;
    answer[..read].starts_with(b"HTTP/1.1 200").then_some(stream)
}

/// Each costs little, and those who want something are served.
#[tokio::test]
async fn ten_thousand_idle_connections() {
    let most = usize::try_from(raise_limit() / 2 - 500).unwrap_or(usize::MAX);
    let wanted = idle_connections().min(most);
    let data = tempfile::tempdir().expect("a temporary folder can be made");
    let mut settings = String::new();
    write!(settings, "[server]\nidle_timeout = \"10m\"\nmax_connections = {0}\nmax_connections_per_address = {0}\n{ALONE}", wanted + 100)
        .expect("memory can be written");
    let larder = Process::start(data.path(), &settings);
    let address = larder.base.trim_start_matches("http://");
    let warm = idle(address).await.expect("it serves");
    let before = larder.resident_bytes();
    let mut connections = vec![warm];
    while connections.len() < wanted {
        let connection = idle(address).await;
        connections.push(
            connection.unwrap_or_else(|| panic!("connection {} is refused", connections.len())),
        );
    }
    let each = larder.resident_bytes().saturating_sub(before) / wanted as u64;
    assert!(each < 32 << 10, "{each} bytes for each idle connection");
    assert_eq!(Client::new().get(larder.url("/-/health")).send().await.status, 200);
    drop(connections);
    eventually("their places come back", async || {
        let metrics = Client::new().get(larder.url("/-/metrics")).send().await.text();
        open_connections(&metrics) < 100.0
    })
    .await;
}

fn open_connections(metrics: &str) -> f64 {
    let line = metrics.lines().find(|line| line.starts_with("larder_http_connections"));
    let value = line.and_then(|line| line.rsplit(' ').next()).and_then(|text| text.parse().ok());
    value.unwrap_or_else(|| panic!("no such metric in {metrics}"))
}

/// A process that is out of descriptors tells newcomers so and goes on; it does not die, spin or leave them waiting.
#[tokio::test]
async fn more_connections_than_descriptors() {
    raise_limit();
    let data = tempfile::tempdir().expect("a temporary folder can be made");
    let larder = Process::start_limited(data.path(), ALONE, "ulimit -n 200");
    let address = larder.base.trim_start_matches("http://").to_owned();
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..400 {
        match idle(&address).await {
            Some(connection) => held.push(connection),
            None => refused += 1,
        }
    }
    assert!(refused > 0 && held.len() > 20, "{} served, {refused} refused", held.len());
    let request = b"GET /-/health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let told = raw::exchange(address.parse().expect("an address"), request).await;
    assert_eq!(raw::statuses(&told), [503], "{told}");
    // Those inside are served on.
    for connection in held.iter_mut().take(20) {
        connection.write_all(HEALTH).await.expect("it reads");
        let mut answer = [0; 512];
        let read = soon("an answer", connection.read(&mut answer)).await.expect("it answers");
        assert!(answer[..read].starts_with(b"HTTP/1.1 200"));
    }
    drop(held);
    eventually("newcomers are served again", async || idle(&address).await.is_some()).await;
}
