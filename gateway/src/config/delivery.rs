//! Settings of the channels on which alerts travel to people.

use std::path::PathBuf;

use serde::Deserialize;

use super::Address;

/// The channels that are there; none without configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryConfig {
    /// Start of the address under which a person looks at an alert; its id follows.
    pub link: Option<String>,
    /// Mail.
    pub mail: Option<MailConfig>,
    /// Programs of people, over HTTPS.
    pub webhook: Option<WebhookConfig>,
}

/// A mail server that takes messages over.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailConfig {
    /// Where it listens.
    pub server: Address,
    /// Whether TLS begins with STARTTLS (RFC 3207) instead of with the connection.
    #[serde(default)]
    pub starttls: bool,
    /// Who the messages are from.
    pub from: String,
    /// Who we are there, if it asks.
    pub user: Option<String>,
    /// File that holds the password for that.
    pub password_file: Option<PathBuf>,
    /// Certificate of the authority that its certificate comes from, PEM; the public ones when
    /// absent.
    pub ca: Option<PathBuf>,
}

/// How notices to programs are signed and sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// File that holds the secret that notices are signed with, 32 bytes or more.
    pub secret_file: PathBuf,
    /// Certificate of the authority that receivers' certificates come from, PEM; the public
    /// ones when absent.
    pub ca: Option<PathBuf>,
}
