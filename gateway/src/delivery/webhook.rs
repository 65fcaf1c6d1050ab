//! A notice to a program of the person: a POST over HTTPS, signed.
//!
//! `X-Cardio-Signature: t=<seconds>,v1=<hex>` is the HMAC-SHA256 (RFC 2104) of `<seconds>.<body>`
//! under the shared secret: a receiver that checks it, and refuses old times, knows who wrote and
//! that nobody plays it back. `Idempotency-Key` is the same for the same alert and person.
//! Delivered means an answer of 200 to 299.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use cardio_alert::duty::Person;
use cardio_core::clock::Clock;
use ring::hmac;
use ureq::Agent;

use super::{DeliveryError, LIMIT, Notice, Unsent};
use crate::config::WebhookConfig;
use crate::outgoing::{OutgoingError, agent, read};

/// Least length of a secret, in bytes.
const SECRET_MIN: usize = 32;

/// What signs, and whom it believes.
pub(super) struct Webhook {
    agent: Agent,
    key: hmac::Key,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").finish_non_exhaustive()
    }
}

impl Webhook {
    pub(super) fn new(
        config: &WebhookConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DeliveryError> {
        let secret = read("delivery.webhook.secret_file", &config.secret_file)?;
        let secret = secret.trim_ascii();
        if secret.len() < SECRET_MIN {
            let why = "the secret needs at least 32 bytes";
            return Err(OutgoingError::impossible("delivery.webhook.secret_file", why).into());
        }
        let limit = LIMIT.saturating_sub(Duration::from_secs(1));
        let agent = agent(("delivery.webhook.ca", config.ca.as_deref()), false, limit)?;
        Ok(Self {
            agent,
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            clock,
        })
    }

    pub(super) async fn send(
        &self,
        person: &Person,
        notice: &Notice,
        link: Option<&str>,
    ) -> Result<(), Unsent> {
        let url = person.webhook.clone().unwrap_or_default();
        let body = notice.document(&person.who, link).to_string();
        let seconds = self.clock.read().utc.0.div_euclid(1_000_000);
        let signature = sign(&self.key, seconds, &body);
        let key = cardio_fhir::ids::communication(&notice.alert, &person.who);
        let agent = self.agent.clone();
        let post = move || {
            agent
                .post(&url)
                .header("Content-Type", "application/json")
                .header("X-Cardio-Signature", &signature)
                .header("Idempotency-Key", &key)
                .send(&body)
                .map(|answer| answer.status().as_u16())
        };
        let answered = tokio::task::spawn_blocking(post).await;
        match answered {
            Ok(Ok(200..=299)) => Ok(()),
            // Asked for too much, or too early: later. Any other refusal stays one.
            Ok(Ok(status @ (408 | 425 | 429 | 500..))) => Err(Unsent::for_now(
                "the receiver is not ready",
                status.to_string(),
            )),
            Ok(Ok(status)) => Err(Unsent::for_good(
                "the receiver refused it",
                status.to_string(),
            )),
            Ok(Err(error)) => Err(Unsent::for_now("the receiver cannot be reached", error)),
            Err(error) => Err(Unsent::for_now("the delivery was interrupted", error)),
        }
    }
}

fn sign(key: &hmac::Key, seconds: i64, body: &str) -> String {
    let tag = hmac::sign(key, format!("{seconds}.{body}").as_bytes());
    let mut text = format!("t={seconds},v1=");
    for byte in tag.as_ref() {
        // Writing to a text does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_that_openssl_gives() {
        // printf '1.{}' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef0123456789abcdef");
        assert_eq!(
            sign(&key, 1, "{}"),
            "t=1,v1=1642a706b2e4d9fa8663449a8826d942c133b097231992683d5a44c2afc57499"
        );
    }
}
