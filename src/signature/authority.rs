//! Certificates that authorities of one's own gave out, and what was signed with them.
//!
//! Nothing in such a signature says when it was made. So the chain must have held when the certificate began, as the reference implementation of model signing has it, and
//! until when the certificate is good is told, for the caller to hold against the time.

#[cfg(feature = "signatures")]
pub use real::Authority;

#[cfg(feature = "signatures")]
mod real {
    use std::fmt;
    use std::time::Duration;

    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
    use sigstore_verify::crypto::parse_certificate_info;
    use sigstore_verify::types::DerCertificate;
    use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

    use crate::signature::{PublicKey, Signer};

    /// What a certificate is for that says for what: signing of code (1.3.6.1.5.5.7.3.3).
    const CODE_SIGNING: &[u8] = &[43, 6, 1, 5, 5, 7, 3, 3];

    /// An authority that is believed.
    #[derive(Clone)]
    pub struct Authority(TrustAnchor<'static>);

    impl Authority {
        /// Reads all certificates of a file in PEM.
        ///
        /// # Errors
        ///
        /// What is wrong with one, or that there is none.
        pub fn all_from_pem(text: &str) -> Result<Vec<Self>, String> {
            let read = |certificate: Result<CertificateDer<'_>, _>| {
                let certificate =
                    certificate.map_err(|error| format!("is no certificate in PEM: {error}"))?;
                anchor_from_trusted_cert(&certificate)
                    .map(|anchor| Self(anchor.to_owned()))
                    .map_err(|error| format!("holds a certificate of no authority: {error}"))
            };
            let all: Vec<Self> = CertificateDer::pem_slice_iter(text.as_bytes())
                .map(read)
                .collect::<Result<_, String>>()?;
            match all.is_empty() {
                true => Err("holds no certificate in PEM".to_owned()),
                false => Ok(all),
            }
        }

        /// Who signed a message with the first certificate of a chain, if the rest of it leads to one of these.
        ///
        /// # Errors
        ///
        /// Why it does not.
        pub(in crate::signature) fn signer(
            all: &[Self],
            chain: &[Vec<u8>],
            message: &[u8],
            signature: &[u8],
        ) -> Result<Signer, String> {
            let [first, rest @ ..] = chain else { return Err("it has no certificate".to_owned()) };
            let info = parse_certificate_info(&DerCertificate::from_bytes(first))
                .map_err(|error| error.to_string())?;
            let signed_by = info
                .identity
                .map(|identity| identity.to_string())
                .ok_or_else(|| "its certificate names nobody by address".to_owned())?;
            let secs = |time: i64| u64::try_from(time).unwrap_or_default();
            let began =
                UnixTime::since_unix_epoch(Duration::from_secs(secs(info.not_before.as_second())));
            let leaf = CertificateDer::from(first.as_slice());
            let leaf = EndEntityCert::try_from(&leaf).map_err(|error| error.to_string())?;
            let anchors: Vec<TrustAnchor<'_>> = all.iter().map(|one| one.0.clone()).collect();
            let rest: Vec<CertificateDer<'_>> =
                rest.iter().map(|one| CertificateDer::from(one.as_slice())).collect();
            leaf.verify_for_usage(
                aws_lc_rs::default_provider().signature_verification_algorithms.all,
                &anchors,
                &rest,
                began,
                KeyUsage::required_if_present(CODE_SIGNING),
                None,
                None,
            )
            .map_err(|error| {
                format!("its certificate leads to none of `signature.authorities`: {error}")
            })?;
            let key = PublicKey::from_der(&signed_by, &leaf.subject_public_key_info())?;
            if !key.has_signed(message, signature) {
                return Err("it was not made with its certificate".to_owned());
            }
            let until_secs = Some(secs(info.not_after.as_second()));
            Ok(Signer { signed_by, claims: None, until_secs })
        }
    }

    impl fmt::Debug for Authority {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "Authority({})", hex::encode(&self.0.subject))
        }
    }
}

/// Without the feature no authority is believed.
#[cfg(not(feature = "signatures"))]
#[derive(Debug, Clone)]
pub struct Authority;

#[cfg(not(feature = "signatures"))]
impl Authority {
    /// Reads nothing.
    ///
    /// # Errors
    ///
    /// Always: there is nobody to verify by it.
    pub fn all_from_pem(_: &str) -> Result<Vec<Self>, String> {
        Err("cannot be used: this Larder was built without the feature `signatures`".to_owned())
    }

    pub(super) fn signer(
        _: &[Self],
        _: &[Vec<u8>],
        _: &[u8],
        _: &[u8],
    ) -> Result<super::Signer, String> {
        Err("this Larder was built without the feature `signatures`".to_owned())
    }
}
