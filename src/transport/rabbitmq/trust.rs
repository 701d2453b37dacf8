//! Whom a connection trusts: nobody has to be, without TLS.

use std::io;

use tokio::net::TcpStream;

use super::account::Account;
use super::kit::Line;
#[cfg(feature = "tls")]
use crate::transport::tcp::tls::{Client, Parts};

/// How TLS is spoken, if it is.
#[derive(Debug)]
pub(super) struct Trust {
    #[cfg(feature = "tls")]
    tls: Option<Parts>,
}

#[cfg(not(feature = "tls"))]
impl Trust {
    pub(super) fn read(_: &Account) -> Result<Self, String> {
        Ok(Self {})
    }

    pub(super) async fn wrap(&self, stream: TcpStream) -> io::Result<Line> {
        Ok(Line::Plain(stream))
    }
}

#[cfg(feature = "tls")]
impl Trust {
    /// Reads the trusted certificates.
    pub(super) fn read(account: &Account) -> Result<Self, String> {
        if !account.tls {
            return Ok(Self { tls: None });
        }
        let client = Client::new(&account.at, &account.trust)?;
        client.prepare()?;
        Ok(Self {
            tls: client.parts(),
        })
    }

    /// Speaks TLS on that connection, if that is wanted.
    pub(super) async fn wrap(&self, stream: TcpStream) -> io::Result<Line> {
        let Some((config, name)) = &self.tls else {
            return Ok(Line::Plain(stream));
        };
        let connector = tokio_rustls::TlsConnector::from(config.clone());
        let stream = connector.connect(name.clone(), stream).await?;
        Ok(Line::Tls(Box::new(stream)))
    }
}
