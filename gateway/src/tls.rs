//! TLS 1.3 for both listeners, and who may connect.
//!
//! A box is admitted when its certificate comes from this gateway's authority *and* its
//! public key is on the allow-list, which is asked at every handshake. Deliberately absent:
//! revocation lists. Taking a key off the allow-list revokes it.

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig,
    SignatureScheme,
};

use crate::boxes::Boxes;
use crate::keys::Issued;

/// Why a listener cannot offer TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A certificate or key that this program made cannot be read back.
    #[error("cannot read the {what} as PEM")]
    Pem {
        /// Which one.
        what: &'static str,
        /// What the library said.
        source: rustls::pki_types::pem::Error,
    },
    /// The verifier of client certificates could not be built.
    #[error("cannot check client certificates against this gateway's authority")]
    Verifier {
        /// What the library said.
        source: rustls::server::VerifierBuilderError,
    },
    /// The library refused the configuration.
    #[error("cannot offer TLS 1.3 with the server certificate")]
    Refused {
        /// What the library said.
        source: rustls::Error,
    },
}

impl TlsError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Pem { .. } => "tls.pem",
            Self::Verifier { .. } => "tls.verifier",
            Self::Refused { .. } => "tls.refused",
        }
    }
}

/// SHA-256 of a certificate's public key (SubjectPublicKeyInfo), or `None` when the
/// certificate cannot be read.
pub fn key_hash(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    digest(&SHA256, parsed.tbs_certificate.subject_pki.raw)
        .as_ref()
        .try_into()
        .ok()
}

/// TLS for boxes: client certificate required, key on the allow-list.
///
/// # Errors
/// [`TlsError`] when the keys of this gateway do not fit together.
pub fn for_boxes(
    server: &Issued,
    ca_pem: &str,
    boxes: Arc<Boxes>,
) -> Result<Arc<ServerConfig>, TlsError> {
    with_allow_list(server, ca_pem, boxes, true)
}

/// TLS for boxes that enrol or renew: a client certificate is not required, but one that is
/// presented must be on the allow-list. The authority's certificate is sent along, for a box
/// that knows only its hash.
///
/// # Errors
/// [`TlsError`] when the keys of this gateway do not fit together.
pub fn for_enrolment(
    server: &Issued,
    ca_pem: &str,
    boxes: Arc<Boxes>,
) -> Result<Arc<ServerConfig>, TlsError> {
    with_allow_list(server, ca_pem, boxes, false)
}

/// SHA-256 of an authority's certificate (DER), by which new boxes know it.
///
/// # Errors
/// [`TlsError::Pem`] when it is none.
pub fn authority_hash(ca_pem: &str) -> Result<[u8; 32], TlsError> {
    let ca = certificate(ca_pem, "authority's certificate")?;
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, &ca).as_ref());
    Ok(hash)
}

fn with_allow_list(
    server: &Issued,
    ca_pem: &str,
    boxes: Arc<Boxes>,
    required: bool,
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots
        .add(certificate(ca_pem, "authority's certificate")?)
        .map_err(|source| TlsError::Refused { source })?;
    let chain = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|source| TlsError::Verifier { source })?;
    let builder = versions()?.with_client_cert_verifier(Arc::new(AllowListed {
        chain,
        boxes,
        required,
    }));
    let further = if required { None } else { Some(ca_pem) };
    let mut config = finish(builder, server, further)?;
    if let Some(config) = Arc::get_mut(&mut config) {
        // A resumed session would not ask the allow-list again.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    }
    Ok(config)
}

/// TLS for readers of the record, who present a token instead of a certificate.
///
/// # Errors
/// [`TlsError`] when the server's certificate and key do not fit together.
pub fn for_readers(server: &Issued) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = finish(versions()?.with_no_client_auth(), server, None)?;
    if let Some(config) = Arc::get_mut(&mut config) {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    Ok(config)
}

type Versioned = rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>;

pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn versions() -> Result<Versioned, TlsError> {
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|source| TlsError::Refused { source })
}

fn finish(
    builder: rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>,
    server: &Issued,
    further: Option<&str>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut chain = vec![certificate(
        &server.certificate_pem,
        "server's certificate",
    )?];
    if let Some(pem) = further {
        chain.push(certificate(pem, "authority's certificate")?);
    }
    let key = PrivateKeyDer::from_pem_slice(server.key_pem.as_bytes()).map_err(|source| {
        TlsError::Pem {
            what: "server's key",
            source,
        }
    })?;
    builder
        .with_single_cert(chain, key)
        .map(Arc::new)
        .map_err(|source| TlsError::Refused { source })
}

fn certificate(pem: &str, what: &'static str) -> Result<CertificateDer<'static>, TlsError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|source| TlsError::Pem { what, source })
}

/// The authority's check, then the allow-list.
#[derive(Debug)]
struct AllowListed {
    chain: Arc<dyn ClientCertVerifier>,
    boxes: Arc<Boxes>,
    required: bool,
}

impl ClientCertVerifier for AllowListed {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self
            .chain
            .verify_client_cert(end_entity, intermediates, now)?;
        match key_hash(end_entity).and_then(|hash| self.boxes.admitted(&hash)) {
            Some(_) => Ok(verified),
            None => Err(rustls::Error::InvalidCertificate(CertificateError::Revoked)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
