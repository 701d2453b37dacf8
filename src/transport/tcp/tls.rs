//! `tls:`: the same stream inside TLS 1.2 or 1.3 (rustls with ring).
//!
//! The receiver's certificate is verified, and must name the host of the socket string.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore};
use rustls::{Error, SignatureScheme};

use crate::os::Stream;
use crate::transport::socket::At;
use crate::transport::trust::{Certificates, Trust};

/// Bytes that may wait inside TLS: one record. The receiver can read a record as a whole or not at
/// all, so that what a broken connection left here was not received, and may be sent again.
const BUFFER: usize = 16 * 1024;

/// What a connection to one receiver needs to know.
#[derive(Debug)]
pub(in crate::transport) struct Client {
    name: ServerName<'static>,
    trust: Trust,
    config: OnceLock<Arc<ClientConfig>>,
}

/// How TLS is spoken, and with whom.
#[cfg(feature = "rabbitmq")]
pub(in crate::transport) type Parts = (Arc<ClientConfig>, ServerName<'static>);

impl Client {
    pub(in crate::transport) fn new(at: &At, trust: &Trust) -> Result<Arc<Self>, String> {
        let name = match at {
            At::Address(address) => ServerName::IpAddress(address.ip().into()),
            At::Host { host, .. } => ServerName::try_from(host.to_string())
                .map_err(|_| format!("{host:?} is not a name that a certificate can hold"))?,
        };
        Ok(Arc::new(Self {
            name,
            trust: trust.clone(),
            config: OnceLock::new(),
        }))
    }

    /// Reads the trusted certificates.
    pub(in crate::transport) fn prepare(&self) -> Result<(), String> {
        if self.config.get().is_some() {
            return Ok(());
        }
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous();
        let verifier: Arc<dyn ServerCertVerifier> = match self.trust.insecure {
            true => Arc::new(Anybody(provider)),
            false => known(&self.trust.certificates()?, provider)?,
        };
        let config = builder
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        // Another thread may have been as quick; both read the same.
        drop(self.config.set(Arc::new(config)));
        Ok(())
    }

    /// For clients that speak TLS by themselves, once it was prepared.
    #[cfg(feature = "rabbitmq")]
    pub(in crate::transport) fn parts(&self) -> Option<Parts> {
        Some((Arc::clone(self.config.get()?), self.name.clone()))
    }

    /// Speaks TLS on that connection.
    pub(super) fn wrap(&self, stream: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
        let config = self.config.get().ok_or(io::ErrorKind::NotConnected)?;
        let mut session =
            ClientConnection::new(Arc::clone(config), self.name.clone()).map_err(broken)?;
        session.set_buffer_limit(Some(BUFFER));
        Ok(Box::new(Tls {
            inner: Inner(stream),
            is_connected: false,
            session,
        }))
    }
}

fn known(
    certificates: &Certificates,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(
        certificates
            .iter()
            .map(|one| CertificateDer::from_slice(one)),
    );
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| error.to_string())
}

/// A TLS session on a connection.
struct Tls {
    inner: Inner,
    is_connected: bool,
    session: ClientConnection,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// The connection, as rustls wants it.
#[derive(Debug)]
struct Inner(Box<dyn Stream>);

impl Read for Inner {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.0.read(room)
    }
}

impl Write for Inner {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Tls {
    fn is_open(&mut self) -> io::Result<bool> {
        self.is_connected = self.is_connected || self.inner.0.is_open()?;
        if !self.is_connected {
            return Ok(false);
        }
        loop {
            let is_sent = self.flush()?;
            if !self.session.is_handshaking() {
                return Ok(is_sent);
            }
            match self.receive() {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.session.writer().write_vectored(pieces)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    fn flush(&mut self) -> io::Result<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.inner) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(room) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The end without a farewell is an end.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            if self.receive()? == 0 {
                return Ok(0);
            }
        }
    }

    fn finish(&mut self) {
        self.session.send_close_notify();
        // It may be broken already.
        drop(self.flush());
        self.inner.0.finish();
    }
}

impl Tls {
    /// Takes what came; 0 if no more will.
    fn receive(&mut self) -> io::Result<usize> {
        let count = self.session.read_tls(&mut self.inner)?;
        let taken = self.session.process_new_packets();
        // An answer of TLS itself, such as an alert that says what is wrong.
        let flushed = self.flush();
        taken.map_err(broken)?;
        flushed?;
        Ok(count)
    }
}

fn broken(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Verifies that the receiver holds the key of its certificate, whosever that is.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
