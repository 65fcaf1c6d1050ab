//! How long people stay logged in, and how often an account may ask.

use serde::Deserialize;

use super::{OpenIdConfig, Span};

/// Sessions and limits of accounts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessConfig {
    /// A session ends when nothing was asked in it for this long.
    pub idle: Span,
    /// A session ends after this long in any case.
    pub longest: Span,
    /// Requests of one account per second; four times as many at once.
    pub requests_per_s: u32,
    /// A provider that vouches for further people and programs.
    pub openid: Option<OpenIdConfig>,
}
