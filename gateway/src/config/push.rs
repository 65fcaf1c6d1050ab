//! Settings of another FHIR server that is to hold the record too.

use std::path::PathBuf;

use serde::Deserialize;

/// Most versions that travel together.
const BATCH_MAX: u32 = 200;

/// One other server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushConfig {
    /// What it is called here: how far it has the record is kept under this name.
    pub name: String,
    /// Its base address, below which types begin.
    pub base: String,
    /// File that holds a token for it.
    pub token_file: Option<PathBuf>,
    /// Certificate of the authority that its certificate comes from, PEM; the public ones when
    /// absent.
    pub ca: Option<PathBuf>,
    /// Whether it is spoken to without TLS, since the network between belongs to the two alone.
    #[serde(default)]
    pub plain: bool,
    /// Most versions in one transaction.
    #[serde(default = "batch")]
    pub batch: u32,
}

const fn batch() -> u32 {
    50
}

impl PushConfig {
    /// What cannot be, with its key.
    pub(super) fn impossible(&self) -> Option<(&'static str, String, &'static str)> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(plain) {
            let why = "a name is 1 to 64 ASCII letters, digits, '-' and '_'";
            return Some(("push.name", format!("\"{}\"", self.name), why));
        }
        let scheme = if self.plain { "http://" } else { "https://" };
        if !self.base.starts_with(scheme) || self.base.ends_with('/') {
            let why = "it is an address as https://fhir.example/r4, without a slash at its end; \
                       http:// only with `plain = true`";
            return Some(("push.base", format!("\"{}\"", self.base), why));
        }
        if !(1..=BATCH_MAX).contains(&self.batch) {
            let why = "it must lie between 1 and 200";
            return Some(("push.batch", self.batch.to_string(), why));
        }
        None
    }

    /// What cannot be in several of them together, with its key.
    pub(super) fn impossible_together(
        all: &[Self],
    ) -> Option<(&'static str, String, &'static str)> {
        let twice = all.iter().enumerate().find(|(n, one)| {
            let before = all.get(..*n).unwrap_or_default();
            before.iter().any(|other| other.name == one.name)
        });
        let twice = twice.map(|(_, one)| {
            let why = "two servers have this name";
            ("push.name", format!("\"{}\"", one.name), why)
        });
        all.iter().find_map(Self::impossible).or(twice)
    }
}
