//! How the client of `xmlrpcs:` speaks TLS.

use std::borrow::Cow;
use std::sync::Arc;

use rustls::crypto::ring;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::transport::trust::Trust;

/// What the client is told, with the certificates that it trusts.
pub(super) fn config(trust: &Trust) -> Result<TlsConfig, String> {
    let certificates = match trust.certificates()? {
        Cow::Borrowed(system) => system
            .iter()
            .map(|one| Certificate::from_der(one))
            .collect(),
        Cow::Owned(read) => {
            let owned = |one| Certificate::from_der(one).to_owned();
            read.iter().map(|one| owned(one)).collect()
        }
    };
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(certificates)))
        .disable_verification(trust.insecure)
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .build())
}
