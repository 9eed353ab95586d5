//! TLS: both protocols by ALPN, versions, and clients that do not speak it.

use std::path::Path;

use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::ClientAuth;
use super::*;

fn put_certificate(directory: &Path) -> (TlsConfig, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])
        .expect("a name is all that it takes");
    let certificate = directory.join("certificate.pem");
    let key = directory.join("key.pem");
    std::fs::write(&certificate, made.cert.pem()).expect("there is room");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("there is room");
    let config =
        TlsConfig { certificate: Some(certificate), key: Some(key), ..TlsConfig::default() };
    (config, made.cert.der().clone())
}

async fn connect(
    server: &Running,
    trusted: &CertificateDer<'static>,
    alpn: &[&[u8]],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("a certificate");
    let provider = rustls::crypto::aws_lc_rs::default_provider().into();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, server.connect().await).await
}

#[tokio::test]
async fn both_protocols_are_spoken_over_tls() {
    let directory = tempfile::tempdir().expect("there is room");
    let (config, certificate) = put_certificate(directory.path());
    let server = Running::start(Config::default(), &config).await;

    for (alpn, version) in
        [(&[b"http/1.1".as_slice()][..], &rustls::version::TLS13), (&[], &rustls::version::TLS12)]
    {
        let mut client =
            connect(&server, &certificate, alpn, &[version]).await.expect("the handshake is done");
        client
            .write_all(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await
            .expect("the server reads");
        let answer = read_all(&mut client).await;
        assert_eq!(statuses(&answer), [200], "{answer}");
    }

    let alpn: &[&[u8]] = &[b"h2", b"http/1.1"];
    let client = connect(&server, &certificate, alpn, rustls::ALL_VERSIONS)
        .await
        .expect("the handshake is done");
    assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(client.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client))
            .await
            .expect("the handshake is done");
    server.tasks.spawn(connection);
    let request =
        Request::get("https://localhost/b").body(Full::new(Bytes::new())).expect("a request");
    assert_eq!(sender.send_request(request).await.expect("an answer comes").status(), 200);
}

/// The files are looked at every few seconds; with time standing still but for timers, the renewed certificate is there at the next look.
#[tokio::test(start_paused = true)]
async fn a_renewed_certificate_is_used_for_new_connections() {
    let directory = tempfile::tempdir().expect("there is room");
    let (config, first) = put_certificate(directory.path());
    let server = Running::start(Config::default(), &config).await;
    connect(&server, &first, &[], rustls::ALL_VERSIONS).await.expect("the handshake is done");
    let (_, second) = put_certificate(directory.path());
    for _ in 0..100 {
        if connect(&server, &second, &[], rustls::ALL_VERSIONS).await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    panic!("the old certificate is still shown");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_finish_the_handshake_is_cut() {
    let directory = tempfile::tempdir().expect("there is room");
    let (config, _) = put_certificate(directory.path());
    let server = Running::start(Config::default(), &config).await;
    assert_eq!(server.exchange("").await, "");
    assert_eq!(server.exchange(b"\x16\x03\x01").await, "");
    let answer = server.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(statuses(&answer), [] as [u16; 0], "{answer:?}");
    assert!(server.orders().is_empty());
}

/// An authority, and the certificate of a client that it made out.
struct Clients {
    authority: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Clients {
    fn new() -> Self {
        let mut parameters = rcgen::CertificateParams::default();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("keys can be made");
        Self {
            authority: rcgen::CertifiedIssuer::self_signed(parameters, key)
                .expect("what is in it is right"),
        }
    }

    fn put(&self, directory: &Path) -> Option<std::path::PathBuf> {
        let file = directory.join("clients.pem");
        std::fs::write(&file, self.authority.pem()).expect("there is room");
        Some(file)
    }

    /// Asks for `/a` as a client of this name, over HTTP/1.1; nothing when the handshake fails.
    async fn ask(&self, server: &Running, trusted: &CertificateDer<'static>, name: &str) -> String {
        let parameters = rcgen::CertificateParams::new([name.to_owned()]).expect("a name");
        let key = rcgen::KeyPair::generate().expect("keys can be made");
        let certificate =
            parameters.signed_by(&key, &self.authority).expect("what is in it is right");
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).expect("a certificate");
        let provider = rustls::crypto::aws_lc_rs::default_provider().into();
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .expect("the provider has them")
            .with_root_certificates(roots)
            .with_client_auth_cert(
                vec![certificate.der().clone()],
                rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
            )
            .expect("the key is that of the certificate");
        let server_name = ServerName::try_from("localhost").expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        match connector.connect(server_name, server.connect().await).await {
            Ok(mut client) => {
                // Who is refused hears of it when it reads.
                let request = b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
                let _ = client.write_all(request).await;
                read_all(&mut client).await
            }
            Err(_) => String::new(),
        }
    }
}

#[tokio::test]
async fn clients_are_called_what_their_certificates_say() {
    let directory = tempfile::tempdir().expect("there is room");
    let (config, certificate) = put_certificate(directory.path());
    let (clients, strangers) = (Clients::new(), Clients::new());
    let client_ca = clients.put(directory.path());
    for client_auth in [ClientAuth::Optional, ClientAuth::Required] {
        let config = TlsConfig { client_ca: client_ca.clone(), client_auth, ..config.clone() };
        let server = Running::start(Config::default(), &config).await;
        let answer = clients.ask(&server, &certificate, "ci.example").await;
        assert_eq!(statuses(&answer), [200], "{answer}");
        // One of another authority is not taken for none.
        let answer = strangers.ask(&server, &certificate, "ci.example").await;
        assert_eq!(statuses(&answer), [] as [u16; 0], "{answer}");
        let mut answer = String::new();
        if let Ok(mut client) = connect(&server, &certificate, &[], rustls::ALL_VERSIONS).await {
            let _ =
                client.write_all(b"GET /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
            answer = read_all(&mut client).await;
        }
        let is_let_in = client_auth == ClientAuth::Optional;
        assert_eq!(statuses(&answer).contains(&200), is_let_in, "{client_auth:?}: {answer}");
        let mut expected = vec!["GET /a cert:ci.example"];
        expected.extend(is_let_in.then_some("GET /b"));
        assert_eq!(server.orders(), expected, "{client_auth:?}");
    }
}

#[test]
fn halves_of_settings_for_client_certificates_are_told() {
    let directory = tempfile::tempdir().expect("there is room");
    let (config, _) = put_certificate(directory.path());
    let any = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let check = |config: TlsConfig, expected: &str| {
        let bound = Server::bind(Config::default(), &config, &[any]);
        let error = bound
            .err()
            .map(|error| std::error::Error::source(&error).expect("it has a cause").to_string());
        assert!(error.as_ref().is_some_and(|error| error.contains(expected)), "{error:?}");
    };
    let client_ca = Clients::new().put(directory.path());
    check(TlsConfig { client_ca, ..TlsConfig::default() }, "without tls.certificate");
    check(TlsConfig { client_auth: ClientAuth::Required, ..config }, "no authority");
}
