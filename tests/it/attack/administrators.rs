//! What only administrators may do, tried by everybody else; and what is granted to networks, asked for from others.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use crate::support::index::{FakeIndex, Style, Upload};
use crate::support::larder::{Larder, QUICK, over};

/// Sends a head as it is from an address of this machine, and gives the status and the rest of the answer.
async fn raw(larder: &Larder, from: [u8; 4], head: &str) -> (u16, String) {
    let socket = TcpSocket::new_v4().expect("a socket");
    let from: IpAddr = Ipv4Addr::from(from).into();
    socket.bind(SocketAddr::new(from, 0)).expect("all of 127/8 is this machine");
    let mut stream = socket.connect(larder.address).await.expect("it listens");
    stream.write_all(head.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it answers");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status: {answer}")), answer)
}

/// A head with one more field than it needs.
fn head(method: &str, path: &str, host: &str, field: &str) -> String {
    let field = if field.is_empty() { String::new() } else { format!("{field}\r\n") };
    format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: 0\r\n{field}\r\n"
    )
}

const HERE: [u8; 4] = [127, 0, 0, 1];
const REMOVE: &str = "/-/api/v1/entries/pypi:six";

#[tokio::test]
async fn no_trick_makes_an_administrator() {
    let index = FakeIndex::start(Style::Full).await;
    index.publish("six", [Upload::wheel("six", "1.0")]);
    let larder = Larder::over(&index).await;
    larder.file("six", "six-1.0-py3-none-any.whl").await;
    let own = larder.address.to_string();
    let refused = async |method: &str, path: &str, host: &str, field: &str| {
        let (status, answer) = raw(&larder, HERE, &head(method, path, host, field)).await;
        assert_eq!(status, 403, "{method} {path} {host} {field}: {answer}");
    };
    for field in [
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-for: ",
        "forwarded: for=127.0.0.1",
        "x-real-ip: 127.0.0.1",
        "via: 1.1 proxy",
        "x-forwarded-host: localhost",
        "origin: http://evil.example",
        "origin: null",
        "sec-fetch-site: cross-site",
        "sec-fetch-site: same-site",
    ] {
        refused("DELETE", REMOVE, &own, field).await;
        refused("GET", "/-/api/v1/fills", &own, field).await;
        refused("POST", "/-/api/v1/gc", &own, field).await;
        refused("PUT", "/-/api/v1/pins/pypi:six", &own, field).await;
    }
    // A name of somebody else's that leads to this machine; a browser calls it the same site.
    for host in ["evil.example", "evil.example:80", "127.0.0.1.evil.example"] {
        refused("DELETE", REMOVE, host, "sec-fetch-site: same-origin").await;
        refused("GET", "/-/api/v1/fills", host, "sec-fetch-site: same-origin").await;
    }
    // Methods that only a field names, and paths that only somebody else would read so.
    for (method, path, field) in [
        ("GET", REMOVE, "x-http-method-override: DELETE"),
        ("GET", "/-/api/v1/entries/pypi:six?_method=DELETE", ""),
    ] {
        assert_eq!(raw(&larder, HERE, &head(method, path, &own, field)).await.0, 200, "{path}");
    }
    for path in ["//-/api/v1/gc", "/-//api/v1/gc", "/%2d/api/v1/gc", "/simple/../-/api/v1/gc"] {
        let (status, answer) = raw(&larder, HERE, &head("POST", path, &own, "")).await;
        assert!(status >= 400 && !answer.contains("orphans"), "{path}: {answer}");
    }
    let (status, shown) = raw(&larder, HERE, &head("GET", REMOVE, &own, "")).await;
    assert!(status == 200 && shown.contains("six-1.0"), "it is still kept: {shown}");
    assert_eq!(raw(&larder, HERE, &head("DELETE", REMOVE, &own, "")).await.0, 200);
}

#[tokio::test]
async fn a_token_administrates_only_where_the_settings_say_so() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let token = |name: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, format!("s3cret-{name}")).expect("the folder can be written");
        format!("{{ name = {name:?}, file = {file:?} }}")
    };
    let settings = format!(
        "{QUICK}[access]\nopen = true\ntrusted_proxies = [\"127.0.0.9\"]\ntokens = [{}, {}]\nadmins = [\"ops\"]\n\
         [generic.it]\nupstream = \"http://127.0.0.1:1/\"\n",
        token("ops"),
        token("ci")
    );
    let larder = Larder::start(&settings).await;
    let own = larder.address.to_string();
    // By way of a trusted proxy, so that nobody is on this machine.
    let gc = async |prefix: &str, field: &str| {
        let path = format!("{prefix}/-/api/v1/gc");
        let field = format!("x-forwarded-for: 192.0.2.1\r\n{field}").trim_end().to_owned();
        raw(&larder, [127, 0, 0, 9], &head("POST", &path, &own, &field)).await.0
    };
    assert_eq!(gc("", "authorization: Bearer s3cret-ops").await, 200);
    assert_eq!(gc("/-/t/s3cret-ops", "").await, 200);
    assert_eq!(gc("", "authorization: Bearer s3cret-ci").await, 403);
    assert_eq!(gc("/-/t/s3cret-ci", "").await, 403);
    // The prefix is what the client means; what it shows beside it adds nothing.
    assert_eq!(gc("/-/t/s3cret-ci", "authorization: Bearer s3cret-ops").await, 403);
    assert_eq!(gc("/-/t/s3cret-op", "").await, 401);
    assert_eq!(gc("/-/t/s3cret-ops%00", "").await, 400);
    assert_eq!(
        gc("", "authorization: Bearer s3cret-ops\r\nauthorization: Bearer s3cret-ci").await,
        401
    );
    assert_eq!(gc("", "").await, 401);
    assert_eq!(
        gc("", "authorization: Bearer s3cret-ops\r\norigin: http://evil.example").await,
        403
    );
}

/// What a network was granted is not given to another one, not even in the moment after the one got it.
#[tokio::test]
async fn a_grant_ends_at_the_border_of_its_network() {
    let index = FakeIndex::start(Style::Full).await;
    index.publish("six", [Upload::wheel("six", "1.0")]);
    index.require_basic("larder", "s3cret");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("password");
    std::fs::write(&file, "s3cret").expect("the folder can be written");
    let settings = format!(
        "{}credentials = {{ username = \"larder\", password_file = {file:?} }}\ngrant = [\"127.0.1.0/24\"]\n",
        over(&index)
    );
    let larder = Larder::start(&settings).await;
    let own = larder.address.to_string();
    let page = head("GET", "/simple/six/", &own, "");
    for _ in 0..4 {
        assert_eq!(raw(&larder, [127, 0, 1, 7], &page).await.0, 200);
        assert_eq!(raw(&larder, [127, 0, 2, 7], &page).await.0, 403);
        assert_eq!(raw(&larder, HERE, &page).await.0, 403);
    }
    let claimed = head("GET", "/simple/six/", &own, "x-forwarded-for: 127.0.1.7");
    assert_eq!(raw(&larder, HERE, &claimed).await.0, 403);
}
