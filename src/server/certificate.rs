//! Certificates of clients: which are asked for, and what their holders are called.
//!
//! A holder is called by the certificate's first alternative name, a DNS name or else a URI; where it has none, by its fingerprint. The subject's common name
//! counts for nothing: it has no form that could be relied on. Left out: lists of revoked certificates. Give out short-lived ones.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::tls::TlsError;

/// What the names of certificates' holders begin with.
const PREFIX: &str = "cert:";

/// Whether clients must have a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAuth {
    /// Who shows none is let in like anybody.
    #[default]
    Optional,
    /// Who shows none does not get as far as a request.
    Required,
}

/// Checks certificates against the authorities in a PEM file.
pub(crate) fn verifier(
    authorities: &Path,
    auth: ClientAuth,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let unusable = |reason: String| TlsError::Authorities { path: authorities.to_owned(), reason };
    let text = std::fs::read(authorities)
        .map_err(|source| TlsError::Read { path: authorities.to_owned(), source })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match auth {
        ClientAuth::Optional => builder.allow_unauthenticated(),
        ClientAuth::Required => builder,
    };
    builder.build().map_err(|error| unusable(error.to_string()))
}

/// What the holder of a certificate is called, which was checked before.
pub(crate) fn name_of(certificate: &CertificateDer<'_>) -> Arc<str> {
    let read = webpki::EndEntityCert::try_from(certificate).ok();
    let alternative = read.as_ref().and_then(|read| {
        let dns = read.valid_dns_names().next();
        dns.or_else(|| read.valid_uri_names().next()).map(str::to_owned)
    });
    let name = alternative
        .unwrap_or_else(|| format!("sha256:{}", hex::encode(Sha256::digest(certificate))));
    format!("{PREFIX}{name}").into()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn named(names: &[SanType]) -> CertificateDer<'static> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, "boss");
        parameters.subject_alt_names = names.to_vec();
        let key = KeyPair::generate().expect("keys can be made");
        parameters.self_signed(&key).expect("what is in it is right").der().clone()
    }

    #[test]
    fn holders_are_called_by_alternative_names_alone() {
        let dns = |text: &str| SanType::DnsName(text.try_into().expect("it is ASCII"));
        let uri = |text: &str| SanType::URI(text.try_into().expect("it is ASCII"));
        let check = |names: &[SanType], expected: &str| {
            assert_eq!(&*name_of(&named(names)), expected);
        };
        check(&[dns("ci.example"), dns("other.example")], "cert:ci.example");
        check(&[uri("spiffe://example/ci"), dns("ci.example")], "cert:ci.example");
        check(&[uri("spiffe://example/ci")], "cert:spiffe://example/ci");
        let nameless = named(&[]);
        let expected = format!("cert:sha256:{}", hex::encode(Sha256::digest(&nameless)));
        assert_eq!(*name_of(&nameless), *expected);
    }

    #[test]
    fn authorities_that_are_none_are_told() {
        let folder = tempfile::tempdir().expect("there is room");
        let file = folder.path().join("ca.pem");
        let read = || verifier(&file, ClientAuth::Optional);
        assert!(matches!(read(), Err(TlsError::Read { .. })));
        for text in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&file, text).expect("there is room");
            assert!(matches!(read(), Err(TlsError::Authorities { .. })), "{text:?}");
        }
    }
}
