//! TLS towards origins: whom to trust and which protocols to offer.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::config::{Config, ConfigError};

/// The settings of the two kinds of TLS connections.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Towards origins: HTTP/2 is offered if the configuration says so.
    pub origin: Arc<ClientConfig>,
    /// HTTP/1.1 alone: towards a proxy, and where a request wants a connection to itself.
    pub unshared: Arc<ClientConfig>,
}

impl Tls {
    /// Trusts the authorities of the system and of the settings, and `known` besides.
    pub fn new(
        config: &Config,
        known: Option<CertificateDer<'static>>,
    ) -> Result<Self, ConfigError> {
        let roots = Arc::new(roots(config.ca_file.as_deref())?);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut unshared = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&roots))
            .with_no_client_auth();
        if let Some(certificate) = known {
            let algorithms = provider.signature_verification_algorithms;
            // Without any authority there is nobody but the known one to believe.
            let others = WebPkiServerVerifier::builder_with_provider(roots, provider).build().ok();
            let known = Known { certificate, others, algorithms };
            unshared.dangerous().set_certificate_verifier(Arc::new(known));
        }
        unshared.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut origin = unshared.clone();
        if config.http2 {
            origin.alpn_protocols.insert(0, b"h2".to_vec());
        }
        Ok(Self { origin: origin.into(), unshared: unshared.into() })
    }
}

/// Believes one certificate by whatever name, and every other as usual: what names a server's certificate on that server's own disk knows it better than
/// any authority.
#[derive(Debug)]
struct Known {
    certificate: CertificateDer<'static>,
    others: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.others {
            _ if *shown == self.certificate => Ok(ServerCertVerified::assertion()),
            Some(others) => others.verify_server_cert(shown, intermediates, name, ocsp, now),
            None => Err(rustls::CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, shown, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, shown, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The system's authorities and those of `extra`. Single unreadable ones of the system are left out, as everybody does; an `extra` that
/// adds nothing is an error.
fn roots(extra: Option<&Path>) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "a certificate authority of the system cannot be read");
    }
    roots.add_parsable_certificates(native.certs);
    if let Some(path) = extra {
        let fail = |detail: String| ConfigError::CaFile { path: path.to_owned(), detail };
        let found: Vec<_> = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| fail(error.to_string()))?;
        if found.is_empty() {
            return Err(fail("no CERTIFICATE section".to_owned()));
        }
        for certificate in found {
            roots.add(certificate).map_err(|error| fail(error.to_string()))?;
        }
    }
    if roots.is_empty() {
        tracing::warn!("no certificate authority is trusted: https origins will fail");
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_file_that_adds_nothing_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "no certificate here").expect("a file");
        for path in [empty, folder.path().join("absent.pem")] {
            let config = Config { ca_file: Some(path), ..Config::default() };
            assert!(matches!(Tls::new(&config, None), Err(ConfigError::CaFile { .. })));
        }
    }
}
