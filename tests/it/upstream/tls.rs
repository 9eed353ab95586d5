//! TLS and HTTP/2, straight and through a tunnel.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use larder::upstream::{Config, Connection, OriginRequest, Proxy, UpstreamError};
use rcgen::CertifiedKey;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::origin::{RawOrigin, answer};
use super::{get, read, send, settings};

/// An origin behind TLS that answers with the version and host it was asked in, and the authority that vouches for it.
struct TlsOrigin {
    port: u16,
    authority: NamedTempFile,
    _tasks: JoinSet<()>,
}

impl TlsOrigin {
    async fn start(name: &str) -> Self {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let mut config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key.into())
            .expect("a certificate and its key");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let authority = NamedTempFile::new().expect("a file");
        std::fs::write(authority.path(), cert.pem()).expect("a written file");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, TlsAcceptor::from(Arc::new(config))));
        Self { port, authority, _tasks: tasks }
    }

    fn url(&self, name: &str) -> String {
        format!("https://{name}:{}/", self.port)
    }

    fn trusted(&self) -> Config {
        Config { ca_file: Some(self.authority.path().to_owned()), ..settings() }
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            // Connections end as the client pleases.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service_fn(echo))
                .await;
        });
    }
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let host = request.uri().host().map(str::to_owned).or_else(|| {
        let host = request.headers().get("host")?.to_str().ok()?;
        Some(host.split(':').next().unwrap_or_default().to_owned())
    });
    let text = format!("{:?} {}", request.version(), host.unwrap_or_default());
    let mut response = Response::new(Full::from(text));
    if request.uri().path() == "/bomb" {
        let value = "x".repeat(200 << 10).parse().expect("a field value");
        response.headers_mut().insert("x-bomb", value);
    }
    Ok(response)
}

#[tokio::test]
async fn the_protocol_is_agreed_on_by_alpn() {
    let origin = TlsOrigin::start("index.example").await;
    for (http2, expected) in [(true, "HTTP/2.0 index.example"), (false, "HTTP/1.1 index.example")] {
        let config = Config { http2, ..origin.trusted() };
        let response = send(config, get(&origin.url("index.example"))).await.expect("an answer");
        assert_eq!(read(response.body).await.0, expected);
    }
}

/// What is fetched in parallel over one connection shares its place on the line.
#[tokio::test]
async fn a_request_may_have_a_connection_of_its_own() {
    let origin = TlsOrigin::start("index.example").await;
    let own = OriginRequest { connection: Connection::Own, ..get(&origin.url("index.example")) };
    let response = send(origin.trusted(), own).await.expect("an answer");
    assert_eq!(read(response.body).await.0, "HTTP/1.1 index.example");
}

#[tokio::test]
async fn a_head_beyond_the_limit_is_no_answer_in_http2_either() {
    let origin = TlsOrigin::start("index.example").await;
    let address = origin.url("index.example") + "bomb";
    let error = send(origin.trusted(), get(&address)).await.expect_err("a header bomb");
    assert!(matches!(error, UpstreamError::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn an_unknown_authority_a_wrong_name_and_no_tls_at_all_are_refused() {
    let origin = TlsOrigin::start("index.example").await;
    let plain = RawOrigin::always(answer("200 OK", "", "")).await;
    for (config, address) in [
        (settings(), origin.url("index.example")),
        (origin.trusted(), origin.url("files.example")),
        (origin.trusted(), origin.url("127.0.0.1")),
        (origin.trusted(), plain.url("/").replace("http:", "https:")),
    ] {
        let error = send(config, get(&address)).await.expect_err("no trust");
        assert!(matches!(error, UpstreamError::Tls { .. }), "{address}: {error}");
    }
}

#[tokio::test]
async fn tls_goes_through_a_tunnel_of_a_proxy() {
    let origin = TlsOrigin::start("far.example").await;
    let (proxy, _tasks) = tunnel_to(origin.port).await;
    let config = Config {
        proxy: Proxy::try_from(format!("http://127.0.0.1:{proxy}")).expect("an address"),
        ..origin.trusted()
    };
    // The name is known to the proxy alone.
    let response = send(config, get("https://far.example/")).await.expect("an answer");
    assert_eq!(read(response.body).await.0, "HTTP/2.0 far.example");
}

/// A proxy that digs every tunnel to `port` of this machine.
async fn tunnel_to(port: u16) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await.expect("a whole head"));
            }
            assert!(head.starts_with(b"CONNECT far.example:443 HTTP/1.1\r\n"));
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("an open connection");
            let mut origin = TcpStream::connect(("127.0.0.1", port)).await.expect("an origin");
            // Either side may end it.
            let _ = copy_bidirectional(&mut client, &mut origin).await;
        }
    });
    (address.port(), tasks)
}
