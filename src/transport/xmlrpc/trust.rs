//! Whom `xmlrpcs:` trusts: the system's certificates, those of `?ca=FILE`, or anybody.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::grammar::Text;

/// What TLS is told; nothing for plain HTTP.
pub(super) struct Trust(Option<TlsConfig>);

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trust").field(&self.0.is_some()).finish()
    }
}

impl Trust {
    /// Reads the certificates that the socket needs.
    pub(super) fn read(url: &str, text: &Text) -> Result<Self, String> {
        if !url.starts_with("https:") {
            return Ok(Self(None));
        }
        let certificates = match (&text.ca, text.insecure) {
            (_, true) => Arc::default(),
            (Some(file), false) => Arc::new(from_file(file)?),
            (None, false) => system(),
        };
        if certificates.is_empty() && !text.insecure {
            return Err("there are no certificates to trust; name some with ?ca=FILE".to_owned());
        }
        let config = TlsConfig::builder()
            .root_certs(RootCerts::Specific(certificates))
            .disable_verification(text.insecure)
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
            .build();
        Ok(Self(Some(config)))
    }

    pub(super) fn config(&self) -> Option<TlsConfig> {
        self.0.clone()
    }
}

/// The system's certificates, read once.
fn system() -> Arc<Vec<Certificate<'static>>> {
    static SYSTEM: OnceLock<Arc<Vec<Certificate<'static>>>> = OnceLock::new();
    let read = || {
        let found = rustls_native_certs::load_native_certs().certs;
        Arc::new(found.iter().map(owned).collect())
    };
    Arc::clone(SYSTEM.get_or_init(read))
}

/// The certificates of a PEM file. What else it holds is nobody's business: errors do not say.
fn from_file(file: &str) -> Result<Vec<Certificate<'static>>, String> {
    let refuse = |_| format!("cannot read certificates in PEM form from {file:?}");
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_file_iter(file).map_err(refuse)? {
        let certificate = certificate.map_err(refuse)?;
        RootCertStore::empty()
            .add(certificate.clone())
            .map_err(|_| format!("{file:?} holds a certificate that nobody can trust"))?;
        certificates.push(owned(&certificate));
    }
    match certificates.is_empty() {
        true => Err(format!("{file:?} holds no certificate")),
        false => Ok(certificates),
    }
}

fn owned(certificate: &CertificateDer<'_>) -> Certificate<'static> {
    Certificate::from_der(certificate).to_owned()
}
