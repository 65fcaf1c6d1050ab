//! TLS 1.3 as this box speaks it, and the time that certificates are checked at.
//!
//! A box whose clock was never set would find every certificate not yet valid, so a
//! certificate is checked at the latest of: the clock, what is certainly past by the enrolment
//! ([`EnrolmentFile::certainly_past`]), and the time at which this program was built.
//! Deliberately absent: sockets.

use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::Clock;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use crate::enrolment::{Enrolment, EnrolmentFile};

/// When this program was built, in seconds since 1970 (`build.rs`).
const BUILT_S: &str = env!("CARDIO_BUILT_S");

/// Why TLS cannot be spoken with what the enrolment holds.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A certificate or key is no PEM.
    #[error("the enrolment holds no usable {what}")]
    Pem {
        /// Which one.
        what: &'static str,
    },
    /// The TLS library refuses them.
    #[error("the certificates of the enrolment cannot be used")]
    Refused {
        /// What it said.
        source: rustls::Error,
    },
}

impl TlsError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Pem { .. } => "enrolment.pem",
            Self::Refused { .. } => "enrolment.tls",
        }
    }
}

/// The time that certificates are checked at.
struct CertificateTime {
    clock: Arc<dyn Clock>,
    floor: UnixTime,
}

impl std::fmt::Debug for CertificateTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CertificateTime(not before {})", self.floor.as_secs())
    }
}

impl rustls::time_provider::TimeProvider for CertificateTime {
    fn current_time(&self) -> Option<UnixTime> {
        let micros = u64::try_from(self.clock.read().utc.0).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(Duration::from_micros(micros));
        Some(now.max(self.floor))
    }
}

/// A client that checks certificates at the latest of the clock, `past` and the build.
pub(crate) fn builder(
    clock: &Arc<dyn Clock>,
    past: UnixTime,
) -> Result<rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier>, TlsError> {
    let built = UnixTime::since_unix_epoch(Duration::from_secs(BUILT_S.parse().unwrap_or(0)));
    let time = CertificateTime {
        clock: Arc::clone(clock),
        floor: past.max(built),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_details(provider, Arc::new(time))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|source| TlsError::Refused { source })
}

/// A client with the certificate of this box, towards its own gateway.
///
/// # Errors
/// [`TlsError`] when the enrolment's certificates cannot be used.
pub(crate) fn as_box(
    enrolment: &Enrolment,
    file: &EnrolmentFile,
    clock: &Arc<dyn Clock>,
) -> Result<rustls::ClientConfig, TlsError> {
    let pem = |what| TlsError::Pem { what };
    let refused = |source| TlsError::Refused { source };
    let mut roots = rustls::RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(enrolment.ca_certificate.as_bytes())
        .map_err(|_| pem("certificate of the authority"))?;
    roots.add(ca).map_err(refused)?;
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(enrolment.client_certificate.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| pem("certificate of the box"))?;
    let key = PrivateKeyDer::from_pem_slice(enrolment.client_key.as_bytes())
        .map_err(|_| pem("key of the box"))?;
    builder(clock, file.certainly_past())?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::{BUILT_S, builder};
    use crate::testing::manual_clock;
    use cardio_core::clock::Clock;
    use rustls::pki_types::UnixTime;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn a_clock_that_was_never_set_finds_no_certificate_of_the_future() {
        let clock: Arc<dyn Clock> = manual_clock();
        let at = |past_s| {
            let past = UnixTime::since_unix_epoch(Duration::from_secs(past_s));
            let config = builder(&clock, past)
                .unwrap()
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
            config.time_provider.current_time().unwrap().as_secs()
        };
        let built: u64 = BUILT_S.parse().unwrap();
        assert!(built > 1_700_000_000, "{built}");
        assert_eq!(at(0), built);
        assert_eq!(at(built + 5), built + 5);
    }
}
