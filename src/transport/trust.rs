//! Whom TLS trusts: the system's certificates, since who runs the machine decides on those, only
//! the ones of `ca=FILE`, or with `insecure=1` anybody, which listings show.

#[cfg(feature = "tls")]
use std::borrow::Cow;
#[cfg(feature = "tls")]
use std::sync::OnceLock;

#[cfg(feature = "tls")]
use rustls::RootCertStore;
#[cfg(feature = "tls")]
use rustls::pki_types::CertificateDer;
#[cfg(feature = "tls")]
use rustls::pki_types::pem::PemObject;

/// Whom a socket trusts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Trust {
    /// A file of certificates, in place of the system's.
    pub(super) ca: Option<String>,
    /// Anybody.
    pub(super) insecure: bool,
}

impl Trust {
    /// Whether the socket says nothing about it.
    pub(super) fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Takes an option; false if it is none of these.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<bool, String> {
        let is_one = |known: &str| Err(format!("option {key}={value:?} must be {known}"));
        match (key, value) {
            ("ca", file) if file.starts_with('/') => self.ca = Some(file.to_owned()),
            ("ca", _) => return is_one("an absolute path"),
            ("insecure", "0") => self.insecure = false,
            ("insecure", "1") => self.insecure = true,
            ("insecure", _) => return is_one("0 or 1"),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The options that say so, in one order.
    pub(super) fn options(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let ca = self.ca.iter().map(|file| ("ca", &**file));
        ca.chain(self.insecure.then_some(("insecure", "1")))
    }

    /// Reads the certificates that are trusted: at least one, but where anybody is.
    #[cfg(feature = "tls")]
    pub(super) fn certificates(&self) -> Result<Certificates, String> {
        match (&self.ca, self.insecure) {
            (_, true) => Ok(Cow::Borrowed(&[])),
            (Some(file), false) => read(file).map(Cow::Owned),
            (None, false) => system().map(Cow::Borrowed),
        }
    }
}

/// Certificates that can vouch for others.
#[cfg(feature = "tls")]
pub(super) type Certificates = Cow<'static, [CertificateDer<'static>]>;

/// The system's certificates, read once. Some systems have a few that nobody can use.
#[cfg(feature = "tls")]
fn system() -> Result<&'static [CertificateDer<'static>], String> {
    static SYSTEM: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    let read = || {
        let mut found = rustls_native_certs::load_native_certs().certs;
        found.retain(is_usable);
        found
    };
    match &**SYSTEM.get_or_init(read) {
        [] => Err("there are no certificates to trust; name some with ?ca=FILE".to_owned()),
        certificates => Ok(certificates),
    }
}

/// The certificates of a PEM file. What else it holds is nobody's business: errors do not say.
#[cfg(feature = "tls")]
fn read(file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let refuse = |_| format!("cannot read certificates in PEM form from {file:?}");
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(refuse)?;
    if certificates.is_empty() {
        return Err(format!("{file:?} holds no certificate"));
    }
    match certificates.iter().all(is_usable) {
        true => Ok(certificates),
        false => Err(format!(
            "{file:?} holds a certificate that nobody can trust"
        )),
    }
}

#[cfg(feature = "tls")]
fn is_usable(certificate: &CertificateDer<'static>) -> bool {
    RootCertStore::empty().add(certificate.clone()).is_ok()
}
