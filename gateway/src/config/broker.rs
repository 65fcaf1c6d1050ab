//! Settings of the inlet from an external broker.

use std::path::PathBuf;

use serde::Deserialize;

/// An external MQTT 5 broker that boxes connect to instead of this gateway.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerConfig {
    /// Where it listens.
    pub address: Address,
    /// Who we are there: our client id, and the name in the certificate that our own authority
    /// issues. No two gateways have the same.
    #[serde(default = "user")]
    pub user: String,
    /// The name that its certificate bears, if it is not the host of `address`.
    pub name: Option<String>,
    /// Certificate of the authority that its certificate comes from, PEM; this gateway's own
    /// authority when absent.
    pub ca: Option<PathBuf>,
    /// Our certificate at the broker, PEM; issued at each start by our own authority when
    /// absent.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM; given together with it.
    pub key: Option<PathBuf>,
    /// What all topics start with, as the broker shows them to us.
    #[serde(default = "root")]
    pub root: String,
    /// Gateways that name the same share divide the work among them.
    #[serde(default = "share")]
    pub share: String,
}

impl BrokerConfig {
    /// The name that the broker's certificate must bear.
    pub fn server_name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.address.host)
    }

    /// What cannot be, with its key.
    pub(super) fn impossible(&self) -> Option<(&'static str, String, &'static str)> {
        if self.user.is_empty() || !self.user.chars().all(is_plain) {
            let why = "it is made of ASCII letters, digits, '-', '_' and '.'";
            return Some(("broker.user", format!("\"{}\"", self.user), why));
        }
        let wild = |text: &str| text.is_empty() || text.contains(['#', '+']);
        if wild(&self.root) {
            let why = "topics need a beginning without wildcards";
            return Some(("broker.root", format!("\"{}\"", self.root), why));
        }
        if wild(&self.share) || self.share.contains('/') {
            let why = "a share is one word without `/`, `+` and `#`";
            return Some(("broker.share", format!("\"{}\"", self.share), why));
        }
        if self.certificate.is_some() != self.key.is_some() {
            let why = "certificate and key are given together";
            return Some(("broker.certificate", "one of the two".to_owned(), why));
        }
        None
    }
}

const fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn user() -> String {
    "cardio-gateway".to_owned()
}

fn root() -> String {
    cardio_wire::topic::ROOT.to_owned()
}

fn share() -> String {
    "cardio".to_owned()
}

/// Host and port.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Address {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// Why a text is no [`Address`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`host:port` is expected, as in \"broker.example:8883\"")]
pub struct AddressError;

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        let (host, port) = text.rsplit_once(':').ok_or(AddressError)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(AddressError);
        }
        Ok(Self {
            host: host.to_owned(),
            port: port.parse().map_err(|_| AddressError)?,
        })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn a_broker_is_named_by_its_address_and_the_rest_has_defaults() {
        let config = Config::from_toml("[broker]\naddress = \"b.example:8883\"", "t").unwrap();
        let broker = config.broker.unwrap();
        assert_eq!(broker.address.to_string(), "b.example:8883");
        assert_eq!(broker.server_name(), "b.example");
        assert_eq!(
            [&broker.root, &broker.share, &broker.user],
            ["ecg/1", "cardio", "cardio-gateway"]
        );
        assert!(Config::from_toml("", "t").unwrap().broker.is_none());
    }

    #[test]
    fn a_broker_that_cannot_be_is_refused_by_its_key() {
        for (text, key) in [
            ("address = \"b\"", "broker.address"),
            ("address = \"b:1\"\nshare = \"a/b\"", "broker.share"),
            ("address = \"b:1\"\nroot = \"#\"", "broker.root"),
            ("address = \"b:1\"\nuser = \"a/b\"", "broker.user"),
            ("address = \"b:1\"\nkey = \"k.pem\"", "broker.certificate"),
        ] {
            let err = Config::from_toml(&format!("[broker]\n{text}"), "t").unwrap_err();
            assert!(err.to_string().contains(key), "{err}");
        }
    }
}
