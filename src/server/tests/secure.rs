//! TLS: both protocols by ALPN, versions, and clients that do not speak it.

use std::path::Path;

use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

fn put_certificate(directory: &Path) -> (TlsConfig, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = directory.join("certificate.pem");
    let key = directory.join("key.pem");
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let config = TlsConfig { certificate: Some(certificate), key: Some(key) };
    (config, made.cert.der().clone())
}

async fn connect(
    server: &Running,
    trusted: &CertificateDer<'static>,
    alpn: &[&[u8]],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider().into();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, server.connect().await).await
}

#[tokio::test]
async fn both_protocols_are_spoken_over_tls() {
    let directory = tempfile::tempdir().unwrap();
    let (config, certificate) = put_certificate(directory.path());
    let server = Running::start(Config::default(), &config).await;

    for (alpn, version) in
        [(&[b"http/1.1".as_slice()][..], &rustls::version::TLS13), (&[], &rustls::version::TLS12)]
    {
        let mut client = connect(&server, &certificate, alpn, &[version]).await.unwrap();
        client.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let answer = read_all(&mut client).await;
        assert_eq!(statuses(&answer), [200], "{answer}");
    }

    let alpn: &[&[u8]] = &[b"h2", b"http/1.1"];
    let client = connect(&server, &certificate, alpn, rustls::ALL_VERSIONS).await.unwrap();
    assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(client.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client))
            .await
            .unwrap();
    server.tasks.spawn(connection);
    let request = Request::get("https://localhost/b").body(Full::new(Bytes::new())).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
}

/// The files are looked at every few seconds; with time standing still but for timers, the renewed certificate is there at the next look.
#[tokio::test(start_paused = true)]
async fn a_renewed_certificate_is_used_for_new_connections() {
    let directory = tempfile::tempdir().unwrap();
    let (config, first) = put_certificate(directory.path());
    let server = Running::start(Config::default(), &config).await;
    connect(&server, &first, &[], rustls::ALL_VERSIONS).await.unwrap();
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
    let directory = tempfile::tempdir().unwrap();
    let (config, _) = put_certificate(directory.path());
    let server = Running::start(Config::default(), &config).await;
    assert_eq!(server.exchange("").await, "");
    assert_eq!(server.exchange(b"\x16\x03\x01").await, "");
    let answer = server.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(statuses(&answer), [] as [u16; 0], "{answer:?}");
    assert!(server.orders().is_empty());
}
