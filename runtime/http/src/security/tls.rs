//! TLS: the service's certificate, which can be renewed while it runs.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustkernel_core::config::TlsConfig;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::trusted;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("TLS, {path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file holds something else.
    #[error("TLS, {path}: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// A certificate and its key, as connections get them from now on.
pub struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

/// What was read again, and is not used yet.
#[must_use = "it is used when it is put in place"]
pub struct FreshCertificate(Arc<CertifiedKey>);

impl Certificates {
    /// Those that a configuration names, if it names some.
    ///
    /// # Errors
    /// [`TlsError`] if they cannot be read, or do not belong together.
    pub fn of(config: &TlsConfig) -> Result<Option<Arc<Self>>, TlsError> {
        let (Some(certificate), Some(key)) = (&config.certificate, &config.key) else {
            return Ok(None);
        };
        let current = RwLock::new(read(certificate, key)?);
        Ok(Some(Arc::new(Self { certificate: certificate.clone(), key: key.clone(), current })))
    }

    /// Reads the files again. Nothing changes before what they hold is put [in place](Self::put_in_place).
    ///
    /// # Errors
    /// [`TlsError`] if they cannot be used.
    pub fn read_again(&self) -> Result<FreshCertificate, TlsError> {
        read(&self.certificate, &self.key).map(FreshCertificate)
    }

    /// Has what was read used by every connection from now on.
    pub fn put_in_place(&self, FreshCertificate(fresh): FreshCertificate) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
    }

    /// What a listener needs: TLS 1.2 and 1.3, with this certificate.
    ///
    /// # Errors
    /// [`TlsError`] if the library does not take what it has itself.
    pub fn server_config(self: &Arc<Self>) -> Result<ServerConfig, TlsError> {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| self.invalid(&error))?;
        let resolver = Arc::clone(self) as Arc<dyn ResolvesServerCert>;
        Ok(config.with_no_client_auth().with_cert_resolver(resolver))
    }

    fn invalid(&self, error: &rustls::Error) -> TlsError {
        TlsError::Invalid { path: self.certificate.clone(), reason: error.to_string() }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>, TlsError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| TlsError::Io { path, error }
    };
    let invalid = |path: &Path, reason: String| TlsError::Invalid { path: path.to_owned(), reason };
    let pem = trusted::read(certificate).map_err(io(certificate))?;
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|error| invalid(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(invalid(certificate, "it has no certificate in PEM".into()));
    }
    let pem = trusted::read_secret(key).map_err(io(key))?;
    let secret = PrivateKeyDer::from_pem_slice(&pem);
    let secret = secret.map_err(|_| invalid(key, "it has no private key in PEM".into()))?;
    let certified = CertifiedKey::from_der(chain, secret, &ring::default_provider());
    let certified = certified.map_err(|error| invalid(key, error.to_string()))?;
    Ok(Arc::new(certified))
}
