//! One visit at the gateway's entrance for enrolments and renewals: a TLS session to the
//! authority that this box was told of, and HTTPS requests in it.
//!
//! The authority is known by the SHA-256 of its certificate, which the gateway sends along. The
//! gateway's name is not checked: the authority gives the right to be a server to its gateway
//! only, never to a box. Deliberately absent: what is said ([`super::request`],
//! [`crate::renewal`]).

use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::Clock;
use cardio_wire::enrol::{BINDING_LABEL, Session};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Endpoint;
use crate::tls::{self, TlsError};

/// How long connecting, or one answer, may take.
const LIMIT: Duration = Duration::from_secs(20);
/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Why the entrance gives no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// TLS cannot be spoken with what this box holds.
    #[error("this box cannot speak TLS")]
    Tls(#[source] TlsError),
    /// The address does not answer.
    #[error("the gateway at {endpoint} does not answer")]
    Unreachable {
        /// Where it should be.
        endpoint: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Whoever answers does not come from the authority, or does not accept this box.
    #[error("no trusted connection to the gateway at {endpoint}")]
    Untrusted {
        /// Where it should be.
        endpoint: String,
        /// What the library said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It takes too long.
    #[error("the gateway at {endpoint} does not answer within {limit_s} s")]
    Slow {
        /// Where it should be.
        endpoint: String,
        /// The limit.
        limit_s: u64,
    },
    /// It turns this box away, without a reason.
    #[error("the gateway at {endpoint} turns this box away")]
    TurnedAway {
        /// Where it is.
        endpoint: String,
    },
    /// It is busy.
    #[error("the gateway at {endpoint} is busy (HTTP status {status})")]
    Busy {
        /// Where it is.
        endpoint: String,
        /// The status.
        status: u16,
    },
    /// The conversation broke off, or the answer is too long.
    #[error("the conversation with the gateway at {endpoint} broke off")]
    Broken {
        /// Where it is.
        endpoint: String,
        /// What the library said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl GateError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Tls(error) => error.code(),
            Self::Unreachable { .. } => "gate.unreachable",
            Self::Untrusted { .. } => "gate.untrusted",
            Self::Slow { .. } => "gate.slow",
            Self::TurnedAway { .. } => "gate.turned_away",
            Self::Busy { .. } => "gate.busy",
            Self::Broken { .. } => "gate.broken",
        }
    }

    /// Whether the same may succeed later.
    pub const fn is_retryable(&self) -> bool {
        !matches!(
            self,
            Self::Tls(_) | Self::Untrusted { .. } | Self::TurnedAway { .. }
        )
    }
}

/// How to get in.
pub(crate) struct Gate {
    pub(crate) endpoint: Endpoint,
    /// SHA-256 of the authority's certificate.
    pub(crate) authority: [u8; 32],
    /// What certificates are checked at, besides the clock.
    pub(crate) past: UnixTime,
    pub(crate) clock: Arc<dyn Clock>,
    /// Certificate and key of this box, PEM, once it has them.
    pub(crate) identity: Option<(String, zeroize::Zeroizing<String>)>,
}

/// One TLS session.
pub(crate) struct Visit {
    endpoint: String,
    sender: SendRequest<Full<Bytes>>,
    /// What binds a message to this session.
    pub(crate) session: Session,
    /// The authority's certificate, as the gateway showed it.
    pub(crate) authority: CertificateDer<'static>,
}

impl Gate {
    /// Opens a session.
    pub(crate) async fn enter(&self) -> Result<Visit, GateError> {
        let endpoint = self.endpoint.to_string();
        let limit_s = LIMIT.as_secs();
        tokio::time::timeout(LIMIT, self.shake_hands())
            .await
            .map_err(|_| GateError::Slow { endpoint, limit_s })?
    }

    fn config(&self) -> Result<rustls::ClientConfig, TlsError> {
        let refused = |source| TlsError::Refused { source };
        let builder = tls::builder(&self.clock, self.past)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(FromAuthority {
                authority: self.authority,
                algorithms: rustls::crypto::ring::default_provider()
                    .signature_verification_algorithms,
            }));
        let Some((certificate, key)) = &self.identity else {
            return Ok(builder.with_no_client_auth());
        };
        let pem = |what| TlsError::Pem { what };
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|_| pem("certificate of the box"))?;
        let key =
            PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| pem("key of the box"))?;
        builder
            .with_client_auth_cert(vec![certificate], key)
            .map_err(refused)
    }

    async fn shake_hands(&self) -> Result<Visit, GateError> {
        let endpoint = self.endpoint.to_string();
        let unreachable = |source| GateError::Unreachable {
            endpoint: endpoint.clone(),
            source,
        };
        let untrusted = |source: Box<dyn std::error::Error + Send + Sync>| GateError::Untrusted {
            endpoint: endpoint.clone(),
            source,
        };
        let connector = TlsConnector::from(Arc::new(self.config().map_err(GateError::Tls)?));
        let name = ServerName::try_from(self.endpoint.host.clone())
            .map_err(|err| untrusted(Box::new(err)))?;
        let address = (self.endpoint.host.as_str(), self.endpoint.port);
        let stream = TcpStream::connect(address).await.map_err(unreachable)?;
        let stream = connector
            .connect(name, stream)
            .await
            .map_err(|err| untrusted(Box::new(err)))?;
        let (_, connection) = stream.get_ref();
        let binding = connection
            .export_keying_material([0; 32], BINDING_LABEL, Some(&[]))
            .map_err(|err| untrusted(Box::new(err)))?;
        let shown = connection.peer_certificates().unwrap_or_default();
        let authority = shown.iter().find(|one| sha256(one) == self.authority);
        let authority = authority.cloned().ok_or_else(|| {
            let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
            untrusted(Box::new(unknown))
        })?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|err| broken(&endpoint, err))?;
        tokio::spawn(async move {
            // how the session ends shows in the answer that does not come
            let _ = driver.await;
        });
        Ok(Visit {
            endpoint,
            sender,
            session: Session {
                authority: self.authority,
                binding,
            },
            authority,
        })
    }
}

fn broken(
    endpoint: &str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> GateError {
    GateError::Broken {
        endpoint: endpoint.to_owned(),
        source: source.into(),
    }
}

impl Visit {
    /// Posts a message; gives the body of the answer.
    pub(crate) async fn post(&mut self, path: &str, body: Vec<u8>) -> Result<Vec<u8>, GateError> {
        let endpoint = self.endpoint.clone();
        let limit_s = LIMIT.as_secs();
        tokio::time::timeout(LIMIT, self.exchange(path, body))
            .await
            .map_err(|_| GateError::Slow { endpoint, limit_s })?
    }

    async fn exchange(&mut self, path: &str, body: Vec<u8>) -> Result<Vec<u8>, GateError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, &self.endpoint)
            .header(CONTENT_TYPE, "application/cbor")
            .body(Full::new(Bytes::from(body)))
            .map_err(|err| broken(&self.endpoint, err))?;
        let answer = self
            .sender
            .send_request(request)
            .await
            .map_err(|err| broken(&self.endpoint, err))?;
        let endpoint = self.endpoint.clone();
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let status = answer.status().as_u16();
                return Err(GateError::Busy { endpoint, status });
            }
            _ => return Err(GateError::TurnedAway { endpoint }),
        }
        Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
            .map(|whole| whole.to_bytes().to_vec())
            .map_err(|err| broken(&self.endpoint, err))
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let raw = digest(&SHA256, bytes).as_ref().first_chunk().copied();
    raw.expect("invariant: SHA-256 has 32 bytes")
}

/// Accepts a server whose certificate comes from the one authority, whatever its name.
#[derive(Debug)]
struct FromAuthority {
    authority: [u8; 32],
    algorithms: rustls::crypto::WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for FromAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut shown = intermediates.iter();
        let authority = shown.find(|one| sha256(one) == self.authority).ok_or(
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer),
        )?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let server = rustls::server::ParsedCertificate::try_from(end_entity)?;
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &server,
            &roots,
            &[],
            now,
            self.algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
