//! How a box comes onto the allow-list: by a file, or over the network with a claim code.
//!
//! | module | holds |
//! | --- | --- |
//! | [`file`] | everything a box needs in one file, its secrets included |
//! | [`desk`] | invitations, claims, and an operator's decision |
//! | [`http`] | the listener that new boxes and renewals come to |
//!
//! Deliberately absent: the allow-list itself. See [`crate::inbox`] and [`crate::boxes`].

pub mod desk;
pub mod file;
pub mod http;

use std::net::SocketAddr;

use crate::broker::{self, BrokerError};
use crate::config::Config;
use crate::inbox::EnrolError;
use crate::keys::GatewayKeys;

const NAME_MAX_BYTES: usize = 64;

/// Where boxes connect, and what they trust there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meeting {
    /// Host and port.
    pub endpoint: String,
    /// The name that the certificate there bears.
    pub server_name: String,
    /// Certificate of the authority that it comes from, PEM.
    pub ca_pem: String,
    /// Where they enrol and renew their certificate, host and port; always at this gateway.
    pub renewal: String,
}

impl Meeting {
    /// At the external broker if there is one; at this gateway otherwise, which then listens on
    /// `listening`. Enrolment and renewal are at this gateway, which listens on `enrolling`.
    ///
    /// # Errors
    /// [`BrokerError`] when the certificate of the broker's authority cannot be read.
    pub fn of(
        config: &Config,
        keys: &GatewayKeys,
        listening: Option<SocketAddr>,
        enrolling: SocketAddr,
    ) -> Result<Self, BrokerError> {
        let renewal = config.enrol.endpoint.clone();
        let renewal = renewal.unwrap_or_else(|| enrolling.to_string());
        if let Some(broker) = &config.broker {
            return Ok(Self {
                endpoint: broker.address.to_string(),
                server_name: broker.server_name().to_owned(),
                ca_pem: broker::authority(broker, keys)?,
                renewal,
            });
        }
        let endpoint = config.mqtt.endpoint.clone();
        Ok(Self {
            endpoint: endpoint
                .or_else(|| listening.map(|at| at.to_string()))
                .unwrap_or_default(),
            server_name: config.names.first().cloned().unwrap_or_default(),
            ca_pem: keys.ca_pem().to_owned(),
            renewal,
        })
    }

    /// At another address, under the same name.
    #[must_use]
    pub fn moved_to(self, endpoint: Option<String>) -> Self {
        Self {
            endpoint: endpoint.unwrap_or(self.endpoint),
            ..self
        }
    }
}

/// Whether a text can name a box in paths, logs and certificates.
pub(crate) fn check_name(name: &str) -> Result<(), EnrolError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > NAME_MAX_BYTES || !name.chars().all(allowed) {
        return Err(EnrolError::BadName {
            name: name.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Config, GatewayKeys, Meeting};
    use cardio_core::clock::UtcMicros;
    use std::time::Duration;

    #[test]
    fn a_box_is_told_of_the_broker_and_its_authority_when_there_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let (life, now) = (
            Duration::from_secs(86_400),
            UtcMicros(1_790_000_000_000_000),
        );
        let keys = GatewayKeys::open_or_create(&dir.path().join("keys"), life, now).unwrap();
        let meeting = |text: &str| {
            let config = Config::from_toml(text, "test").unwrap();
            let at = |port: u16| ([127, 0, 0, 1], port).into();
            Meeting::of(&config, &keys, Some(at(8883)), at(8444)).unwrap()
        };
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, "another authority").unwrap();
        let text = format!(
            "[broker]\naddress = \"10.0.0.5:8884\"\nname = \"b.example\"\nca = \"{}\"",
            ca.display()
        );
        let there = meeting(&text);
        assert_eq!(
            (there.endpoint.as_str(), there.server_name.as_str()),
            ("10.0.0.5:8884", "b.example")
        );
        assert_eq!(there.ca_pem, "another authority");
        assert_eq!(there.renewal, "127.0.0.1:8444");
        assert_eq!(meeting("").ca_pem, keys.ca_pem());
        let moved = there.moved_to(Some("c.example:1".to_owned()));
        assert_eq!(moved.endpoint, "c.example:1");
        assert_eq!(moved.server_name, "b.example");
    }
}
