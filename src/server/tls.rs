//! TLS for the listeners: one certificate, read again when its files change.
//!
//! Only the certificate is exchanged on a change, under a configuration that stays, so that clients resume sessions across it. Left out: several
//! certificates by name, ACME; and whom a client's certificate makes it (`certificate`).

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::certificate::{self, ClientAuth};

/// Settings of TLS, `[tls]`. With both files named, every listener speaks TLS; with none, none does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// PEM file: the certificate, then those that lead to its root. Default: none.
    pub certificate: Option<PathBuf>,
    /// PEM file: the certificate's private key (PKCS 8, PKCS 1 or SEC 1). Default: none.
    pub key: Option<PathBuf>,
    /// PEM file: authorities whose certificates clients may show. Default: none, and clients are not asked for any.
    pub client_ca: Option<PathBuf>,
    /// Whether a client must show one. Default: `optional`.
    pub client_auth: ClientAuth,
}

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("tls.certificate and tls.key belong together: set both or none")]
    HalfConfigured,
    #[error("{}, which `[tls]` names, cannot be read", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}, which `[tls]` names, holds no {what} in PEM form", .path.display())]
    Pem { path: PathBuf, what: &'static str, source: pem::Error },
    #[error("tls.certificate {} and tls.key {} do not go together or cannot be used", .certificate.display(), .key.display())]
    Pair { certificate: PathBuf, key: PathBuf, source: rustls::Error },
    #[error("tls.client_ca is of no use without tls.certificate and tls.key: set them, too")]
    NobodyToAsk,
    #[error(
        "tls.client_auth asks for certificates of clients, but tls.client_ca names no authority for them"
    )]
    NoAuthority,
    #[error("tls.client_ca: {} cannot be used: {reason}", .path.display())]
    Authorities { path: PathBuf, reason: String },
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// TLS on a listener. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    pair: Arc<Pair>,
}

impl Tls {
    /// `None` when TLS is not configured.
    pub(crate) fn load(config: &TlsConfig) -> Result<Option<Self>, TlsError> {
        let (certificate, key) = match (&config.certificate, &config.key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (None, None) if config.client_ca.is_some() => return Err(TlsError::NobodyToAsk),
            (None, None) => return Ok(None),
            _ => return Err(TlsError::HalfConfigured),
        };
        let pair = Arc::new(Pair::load(certificate.clone(), key.clone())?);
        let server = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?;
        let server = match (&config.client_ca, config.client_auth) {
            (Some(authorities), auth) => {
                server.with_client_cert_verifier(certificate::verifier(authorities, auth)?)
            }
            (None, ClientAuth::Optional) => server.with_no_client_auth(),
            (None, ClientAuth::Required) => return Err(TlsError::NoAuthority),
        };
        let mut server = server.with_cert_resolver(Arc::clone(&pair) as _);
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        server.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Setup)?;
        Ok(Some(Self { acceptor: Arc::new(server).into(), pair }))
    }

    /// Looks at the files every few seconds until `stop`, and takes what is new and sound.
    pub(crate) async fn follow_files(self, tasks: TaskTracker, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let pair = Arc::clone(&self.pair);
            match tasks.spawn_blocking(move || pair.look()).await {
                Ok(Ok(Look::Same)) | Err(_) => {}
                Ok(Ok(Look::Renewed)) => {
                    let file = self.pair.certificate.display();
                    tracing::info!(tls.certificate = %file, "the certificate was read again");
                }
                Ok(Err(error)) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, cause, "the new certificate is not used; the old one stays");
                }
            }
        }
    }
}

/// The certificate and key in use, and the files that they came from.
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
    /// The files as they were when they were last looked at, sound or not.
    seen: Mutex<Option<[Stamp; 2]>>,
}

/// What changes about a file when it is written or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    length: u64,
    inode: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Same,
    Renewed,
}

impl Pair {
    fn load(certificate: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        // Stamped before they are read: what changes in between is seen at the next look.
        let seen = stamps(&certificate, &key)?;
        let current = read_pair(&certificate, &key)?;
        Ok(Self {
            certificate,
            key,
            current: RwLock::new(Arc::new(current)),
            seen: Mutex::new(Some(seen)),
        })
    }

    /// Reads the files again if they changed. On an error the pair in use stays, and the same files are not tried again.
    fn look(&self) -> Result<Look, TlsError> {
        let stamps = stamps(&self.certificate, &self.key);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamps.as_ref().ok().copied();
        if *seen == now {
            return Ok(Look::Same);
        }
        *seen = now;
        drop(seen);
        stamps?;
        let fresh = Arc::new(read_pair(&self.certificate, &self.key)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(Look::Renewed)
    }
}

impl ResolvesServerCert for Pair {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

fn read_pair(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let not_pem = |path: &Path, what, source| TlsError::Pem { path: path.to_owned(), what, source };
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
        .map_err(|error| not_pem(certificate, "certificate", error))?;
    let private = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|error| not_pem(key, "private key", error))?;
    CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider()).map_err(|source| {
        TlsError::Pair { certificate: certificate.to_owned(), key: key.to_owned(), source }
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn stamps(certificate: &Path, key: &Path) -> Result<[Stamp; 2], TlsError> {
    Ok([stamp(certificate)?, stamp(key)?])
}

fn stamp(path: &Path) -> Result<Stamp, TlsError> {
    use std::os::unix::fs::MetadataExt;

    let stamp = fs::metadata(path).and_then(|metadata| {
        let modified = metadata.modified()?;
        Ok(Stamp { modified, length: metadata.len(), inode: metadata.ino() })
    });
    stamp.map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files {
        directory: tempfile::TempDir,
    }

    impl Files {
        fn new() -> Self {
            Self { directory: tempfile::tempdir().expect("there is room") }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        /// Puts a file in place the way certificate tools do, by renaming.
        fn put(&self, name: &str, text: &str) {
            let fresh = self.path("fresh");
            fs::write(&fresh, text).expect("there is room");
            fs::rename(fresh, self.path(name)).expect("it was just written");
        }

        fn put_pair(&self) -> Vec<u8> {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])
                .expect("a name is all that it takes");
            self.put("certificate", &made.cert.pem());
            self.put("key", &made.signing_key.serialize_pem());
            made.cert.der().to_vec()
        }

        fn load(&self) -> Result<Pair, TlsError> {
            Pair::load(self.path("certificate"), self.path("key"))
        }
    }

    fn shown(pair: &Pair) -> Vec<u8> {
        pair.current.read().expect("nobody panics with the lock held").cert[0].to_vec()
    }

    #[test]
    fn what_cannot_be_used_is_said_at_start() {
        let files = Files::new();
        assert!(matches!(files.load(), Err(TlsError::Read { .. })), "no file");
        files.put_pair();
        files.put("key", "no key");
        assert!(matches!(files.load(), Err(TlsError::Pem { what: "private key", .. })));
        files.put_pair();
        files.put("certificate", "");
        assert!(matches!(files.load(), Err(TlsError::Pem { what: "certificate", .. })));
        let certificate = Some(files.path("certificate"));
        let half = TlsConfig { certificate, ..TlsConfig::default() };
        assert!(matches!(Tls::load(&half), Err(TlsError::HalfConfigured)));
        assert!(matches!(Tls::load(&TlsConfig::default()), Ok(None)));
    }

    #[test]
    fn a_broken_pair_leaves_the_old_one_in_place_and_the_next_good_one_is_taken() {
        let files = Files::new();
        let first = files.put_pair();
        let pair = files.load().expect("the files are right");
        assert!(matches!(pair.look(), Ok(Look::Same)));

        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()])
            .expect("a name is all that it takes");
        files.put("certificate", &other.cert.pem());
        assert!(matches!(pair.look(), Err(TlsError::Pair { .. })), "the key is not there yet");
        assert!(matches!(pair.look(), Ok(Look::Same)), "it is said once");
        assert_eq!(shown(&pair), first);

        files.put("key", &other.signing_key.serialize_pem());
        assert!(matches!(pair.look(), Ok(Look::Renewed)));
        assert_eq!(shown(&pair), other.cert.der().to_vec());

        fs::remove_file(files.path("key")).expect("it is there");
        assert!(matches!(pair.look(), Err(TlsError::Read { .. })));
        assert!(matches!(pair.look(), Ok(Look::Same)), "it is said once");
        assert_eq!(shown(&pair), other.cert.der().to_vec());

        let third = files.put_pair();
        assert!(matches!(pair.look(), Ok(Look::Renewed)));
        assert_eq!(shown(&pair), third);
    }
}
