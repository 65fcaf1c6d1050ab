//! The certificate of this box is renewed after two thirds of its life.
//!
//! The box comes with its present certificate and a request for the same key; the new
//! certificate replaces the old one in the enrolment, and the next connection uses it. The old
//! one holds until it ends, so a renewal that fails changes nothing: it is tried again, at
//! least eight times within the time that is left, and `status` says so. A box whose certificate
//! has ended must be enrolled anew.
//!
//! Deliberately absent: a new key. The key of a box changes by enrolling it anew.

use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::{Clock, UtcMicros};
use cardio_wire::lane::Lane;
use cardio_wire::record::{BoxEventV1, Record, RecordHead};
use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::watch;
use zeroize::Zeroize;

use crate::enrolment::gate::{Gate, GateError, sha256};
use crate::enrolment::{Enrolment, EnrolmentError, EnrolmentFile, request};
use crate::ids::{Ids, RandomIds};
use crate::recorder::Sink;
use crate::sink::OutboxSink;
use crate::status::Board;
use crate::telemetry::Chain;

/// The clock may be set at any time, so it is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Longest wait between two tries.
const RETRY_MAX: Duration = Duration::from_secs(6 * 3600);
/// Shortest wait between two tries.
const RETRY_MIN: Duration = Duration::from_secs(1);

/// Why a certificate is not renewed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenewalError {
    /// The enrolment names no place to renew at.
    #[error("the enrolment names no place where the certificate is renewed")]
    NoPlace,
    /// The enrolment cannot be used or replaced.
    #[error("the enrolment cannot be renewed")]
    Enrolment(#[source] EnrolmentError),
    /// A key or certificate of the enrolment cannot be used.
    #[error("the enrolment holds no usable {what}")]
    Part {
        /// Which one.
        what: &'static str,
    },
    /// The gateway cannot be asked.
    #[error("cannot ask the gateway for a certificate")]
    Gate(#[source] GateError),
    /// What came is no certificate for this box, or ends no later than the present one.
    #[error("the gateway's answer is no newer certificate of this box")]
    Answer,
}

impl RenewalError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoPlace => "renewal.no_place",
            Self::Enrolment(error) => error.code(),
            Self::Part { .. } => "renewal.part",
            Self::Gate(error) => error.code(),
            Self::Answer => "renewal.answer",
        }
    }
}

/// The task that keeps the certificate alive.
pub struct Renewal {
    /// The enrolment.
    pub file: Arc<EnrolmentFile>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where it tells how it goes.
    pub board: Arc<Board>,
    /// Where it leaves a record when it fails, and when it succeeds after that.
    pub tell: OutboxSink,
    /// Becomes true when the task must end.
    pub stop: watch::Receiver<bool>,
}

impl std::fmt::Debug for Renewal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renewal").finish_non_exhaustive()
    }
}

impl Renewal {
    /// Runs until told to stop.
    pub async fn run(self) {
        let mut stop = self.stop.clone();
        loop {
            let wait = self.turn().await;
            let stopped = stop.wait_for(|stop| *stop);
            if tokio::time::timeout(wait, stopped).await.is_ok() {
                return;
            }
        }
    }

    /// Renews if it is time; gives how long to wait.
    async fn turn(&self) -> Duration {
        let (begin, end) = match self.file.enrolment() {
            Ok(enrolment) => enrolment.certificate_life,
            Err(_) => return LOOK_EVERY,
        };
        self.board.lines().certificate_until_us = Some(end.0);
        let now = self.now();
        let due = due(begin, end);
        if now < due {
            return between(now, due).min(LOOK_EVERY).max(RETRY_MIN);
        }
        match self.renew().await {
            Ok(()) => {
                let failed_before = self.board.lines().renewal_code.take();
                tracing::info!(event = "CertificateRenewed");
                if failed_before.is_some() {
                    self.record("certificate.renewed", String::new()).await;
                }
                RETRY_MIN
            }
            Err(err) => {
                let code = err.code();
                let known = self.board.lines().renewal_code.replace(code.to_owned());
                if known.as_deref() != Some(code) {
                    self.record("certificate.not_renewed", code.to_owned())
                        .await;
                }
                tracing::warn!(event = "CertificateRenewalError", code, why = %Chain(&err));
                let left = between(self.now(), end);
                (left / 8).clamp(RETRY_MIN, RETRY_MAX)
            }
        }
    }

    /// Leaves a technical fact for the gateway.
    async fn record(&self, code: &str, detail: String) {
        let at = self.clock.read();
        let record = Record::BoxEvent(BoxEventV1 {
            head: RecordHead {
                id: RandomIds::new().record(at.utc),
                at,
            },
            code: code.to_owned(),
            source: None,
            detail,
        });
        if let Err(refused) = self.tell.append(Lane::Log, record).await {
            tracing::error!(event = "OutboxRecordRefused", code = refused.code);
        }
    }

    /// The time that certificates are looked at.
    fn now(&self) -> UtcMicros {
        let past = i64::try_from(self.file.certainly_past().as_secs()).unwrap_or(i64::MAX);
        self.clock
            .read()
            .utc
            .max(UtcMicros(past.saturating_mul(1_000_000)))
    }

    async fn renew(&self) -> Result<(), RenewalError> {
        let enrolment = self.file.enrolment().map_err(RenewalError::Enrolment)?;
        let mut key = KeyPair::from_pem(&enrolment.client_key)
            .map_err(|_| RenewalError::Part { what: "key" })?;
        let csr = request::csr(&key).ok_or(RenewalError::Part { what: "request" });
        key.zeroize();
        let gate = self.gate(&enrolment)?;
        let mut visit = gate.enter().await.map_err(RenewalError::Gate)?;
        let answer = visit.post("/enrol/1/renew", csr?).await;
        let answer = answer.map_err(RenewalError::Gate)?;
        let pem = String::from_utf8(answer).map_err(|_| RenewalError::Answer)?;
        self.file.renew(&pem).map_err(|err| match err {
            EnrolmentError::Form { .. } => RenewalError::Answer,
            other => RenewalError::Enrolment(other),
        })
    }

    fn gate(&self, enrolment: &Enrolment) -> Result<Gate, RenewalError> {
        let authority = CertificateDer::from_pem_slice(enrolment.renewal_ca.as_bytes());
        let authority = authority.map_err(|_| RenewalError::Part { what: "authority" })?;
        Ok(Gate {
            endpoint: enrolment.renewal.clone().ok_or(RenewalError::NoPlace)?,
            authority: sha256(&authority),
            past: self.file.certainly_past(),
            clock: Arc::clone(&self.clock),
            identity: Some((
                enrolment.client_certificate.clone(),
                enrolment.client_key.clone(),
            )),
        })
    }
}

/// After two thirds of a life.
const fn due(begin: UtcMicros, end: UtcMicros) -> UtcMicros {
    let life = end.0.saturating_sub(begin.0);
    UtcMicros(begin.0.saturating_add(life / 3 * 2))
}

fn between(from: UtcMicros, to: UtcMicros) -> Duration {
    Duration::from_micros(u64::try_from(to.0.saturating_sub(from.0)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::{UtcMicros, due};

    #[test]
    fn ninety_days_are_renewed_at_sixty() {
        let day = 86_400_000_000;
        let due = due(UtcMicros(5 * day), UtcMicros(95 * day));
        assert_eq!(due, UtcMicros(65 * day));
    }
}
