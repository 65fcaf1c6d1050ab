//! A PostgreSQL server: where it is, and how it is connected to.
//!
//! Encrypted connections check the server's certificate in full, against the authority that was
//! named and against the host's name. Deliberately absent: trust in the system's authorities,
//! and connections that are encrypted but not checked.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use postgres::{Client, Config, NoTls, Socket};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as Encrypted;

/// What PostgreSQL is called where one port serves several protocols.
const PROTOCOL: &[u8] = b"postgresql";

/// Why the authority of a server's certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The text is no certificate.
    #[error("it holds no certificate as PEM")]
    Pem(#[source] rustls::pki_types::pem::Error),
    /// The certificate is none of an authority.
    #[error("its certificate cannot be that of an authority")]
    Refused(#[source] rustls::Error),
}

/// A server.
#[derive(Clone)]
pub struct Server {
    config: Config,
    tls: Option<Trust>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("name", &self.config.get_dbname())
            .field("encrypted", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.config.get_dbname().unwrap_or("of the default name");
        write!(f, "{name} of PostgreSQL")
    }
}

impl Server {
    /// A server that is spoken to as it is.
    pub const fn plain(config: Config) -> Self {
        Self { config, tls: None }
    }

    /// A server that is spoken to over TLS only; its certificate comes from an authority of
    /// `ca_pem` and bears the host's name.
    ///
    /// # Errors
    /// [`TrustError`] when `ca_pem` holds no certificate of an authority.
    pub fn encrypted(mut config: Config, ca_pem: &[u8]) -> Result<Self, TrustError> {
        config.ssl_mode(postgres::config::SslMode::Require);
        Ok(Self {
            config,
            tls: Some(Trust::of(ca_pem)?),
        })
    }

    /// Whether connections to it are encrypted.
    pub const fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Another database of it.
    #[cfg(test)]
    pub(crate) fn other_database(&self, name: &str) -> Self {
        let mut other = self.clone();
        other.config.dbname(name);
        other
    }

    /// Connects.
    pub(super) fn connect(&self) -> Result<Client, postgres::Error> {
        match &self.tls {
            Some(trust) => self.config.connect(trust.clone()),
            None => self.config.connect(NoTls),
        }
    }
}

/// Makes connections to a server whose certificate is checked.
#[derive(Clone)]
struct Trust(Arc<rustls::ClientConfig>);

impl Trust {
    fn of(ca_pem: &[u8]) -> Result<Self, TrustError> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem) {
            let certificate = certificate.map_err(TrustError::Pem)?;
            roots.add(certificate).map_err(TrustError::Refused)?;
        }
        if roots.is_empty() {
            return Err(TrustError::Pem(rustls::pki_types::pem::Error::NoItemsFound));
        }
        let mut config = rustls::ClientConfig::builder_with_provider(crate::tls::provider())
            .with_safe_default_protocol_versions()
            .map_err(TrustError::Refused)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

impl MakeTlsConnect<Socket> for Trust {
    type Stream = Stream;
    type TlsConnect = Handshake;
    type Error = InvalidDnsNameError;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Handshake, InvalidDnsNameError> {
        Ok(Handshake {
            connector: TlsConnector::from(Arc::clone(&self.0)),
            server: ServerName::try_from(domain.to_owned())?,
        })
    }
}

/// One connection that is to be encrypted.
struct Handshake {
    connector: TlsConnector,
    server: ServerName<'static>,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        let shaking = self.connector.connect(self.server, socket);
        Box::pin(async move { shaking.await.map(Stream) })
    }
}

/// An encrypted connection.
struct Stream(Encrypted<Socket>);

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        // The certificate was checked; binding the password to it as well would add nothing.
        ChannelBinding::none()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::Server;

    #[test]
    fn a_file_without_a_certificate_vouches_for_nobody() {
        for text in [
            "",
            "no certificate",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            assert!(
                Server::encrypted(postgres::Config::new(), text.as_bytes()).is_err(),
                "{text}"
            );
        }
    }
}
