//! What this program needs to speak to other machines: whom it believes there, and the files
//! that a configuration names for it.
//!
//! Deliberately absent: what is said. See [`crate::delivery`] and [`crate::push`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// Why what a configuration says of another machine cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutgoingError {
    /// A file cannot be read.
    #[error("cannot read {}, which `{key}` names", path.display())]
    Unreadable {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A value cannot be used.
    #[error("`{key}` cannot be used: {why}")]
    Impossible {
        /// The key of the configuration.
        key: &'static str,
        /// What is wrong.
        why: String,
    },
}

impl OutgoingError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "outgoing.unreadable",
            Self::Impossible { .. } => "outgoing.impossible",
        }
    }

    pub(crate) fn impossible(key: &'static str, why: impl Into<String>) -> Self {
        Self::Impossible {
            key,
            why: why.into(),
        }
    }
}

/// Reads a file that a key of the configuration names.
pub(crate) fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, OutgoingError> {
    std::fs::read(path).map_err(|source| OutgoingError::Unreadable {
        key,
        path: path.to_owned(),
        source,
    })
}

/// Percent-encodes everything but unreserved characters (RFC 3986, 2.3).
pub(crate) fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&crate::keys::hex(&[byte]).to_ascii_uppercase());
        }
        out
    })
}

/// A client that believes the authority of that file, or the public ones without a file. It
/// follows no redirection, and speaks TLS unless `plain` says that it need not.
pub(crate) fn agent(
    (key, ca): (&'static str, Option<&Path>),
    plain: bool,
    limit: Duration,
) -> Result<Agent, OutgoingError> {
    let mut tls = TlsConfig::builder();
    if let Some(path) = ca {
        let pem = read(key, path)?;
        let roots: Vec<Certificate<'static>> = parse_pem(&pem)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(one)) => Some(one),
                _ => None,
            })
            .collect();
        if roots.is_empty() {
            let why = "the file holds no certificate (PEM)";
            return Err(OutgoingError::impossible(key, why));
        }
        tls = tls.root_certs(RootCerts::new_with_certs(&roots));
    }
    Ok(Agent::config_builder()
        .tls_config(tls.build())
        .https_only(!plain)
        .max_redirects(0)
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .build()
        .new_agent())
}
