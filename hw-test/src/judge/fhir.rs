//! The patient record as any other system sees it: FHIR R4 over HTTPS.
//!
//! Deliberately absent: any knowledge of how the gateway stores what it shows.

#![expect(
    clippy::indexing_slicing,
    reason = "an index into a JSON value gives null where nothing is, it cannot panic"
)]

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// The longest list that one search may give before something is wrong.
const MAX_PAGES: usize = 10_000;

/// The longest answer that is read, in bytes.
const ANSWER_MAX: u64 = 256 * 1024 * 1024;

/// A FHIR server, and the right to ask it.
pub(crate) struct FhirServer {
    agent: ureq::Agent,
    base: String,
    token: String,
}

impl FhirServer {
    /// A server at `base` (`https://host:port/fhir`), trusted by the authority in `ca`.
    pub(crate) fn new(base: &str, ca: &Path, token: &Path) -> anyhow::Result<Self> {
        let pem = std::fs::read(ca).with_context(|| format!("cannot read {}", ca.display()))?;
        let root = Certificate::from_pem(&pem).context("the authority's certificate is not PEM")?;
        let token = std::fs::read_to_string(token)
            .with_context(|| format!("cannot read {}", token.display()))?;
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&[root]))
            .build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build();
        Ok(Self {
            agent: config.into(),
            base: base.trim_end_matches('/').to_owned(),
            token: token.trim().to_owned(),
        })
    }

    /// Reads one resource, for instance `Patient/p1`, or `metadata`.
    pub(crate) fn read(&self, path: &str) -> anyhow::Result<Value> {
        self.get(&self.address(path))
    }

    /// The whole address of a search or a history.
    pub(crate) fn address(&self, query: &str) -> String {
        format!("{}/{query}", self.base)
    }

    /// One page, by its whole address.
    pub(crate) fn page(&self, url: &str) -> anyhow::Result<Value> {
        self.get(url)
    }

    /// All resources of a search, page after page.
    pub(crate) fn search(&self, query: &str) -> anyhow::Result<Vec<Value>> {
        let mut url = self.address(query);
        let mut found = Vec::new();
        for _ in 0..MAX_PAGES {
            let bundle = self.get(&url)?;
            if bundle["type"] != "searchset" {
                bail!("{url} gave no searchset but {}", bundle["resourceType"]);
            }
            let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
            found.extend(
                entries
                    .into_iter()
                    .map(|mut entry| entry["resource"].take()),
            );
            match next_page(&bundle) {
                Some(next) => url = next,
                None => return Ok(found),
            }
        }
        bail!("{query} has more than {MAX_PAGES} pages")
    }

    /// Creates or replaces a resource under the id that it states.
    pub(crate) fn put(&self, resource: &Value) -> anyhow::Result<()> {
        let kind = resource["resourceType"].as_str().unwrap_or_default();
        let id = resource["id"].as_str().unwrap_or_default();
        let url = format!("{}/{kind}/{id}", self.base);
        let mut response = self
            .agent
            .put(&url)
            .header("Authorization", format!("Bearer {}", self.token))
            .header("Content-Type", "application/fhir+json")
            .send(resource.to_string())
            .with_context(|| format!("cannot reach {url}"))?;
        let status = response.status();
        if !status.is_success() {
            let text = response.body_mut().read_to_string().unwrap_or_default();
            bail!("PUT {url} answered {status}: {text}");
        }
        Ok(())
    }

    /// The bytes of a Binary, as they are.
    pub(crate) fn bytes(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let url = self.address(path);
        let mut response = self
            .agent
            .get(&url)
            .header("Authorization", format!("Bearer {}", self.token))
            .header("Accept", "application/octet-stream")
            .call()
            .with_context(|| format!("cannot reach {url}"))?;
        let status = response.status();
        if !status.is_success() {
            bail!("GET {url} answered {status}");
        }
        let body = response.body_mut().with_config().limit(ANSWER_MAX);
        body.read_to_vec()
            .with_context(|| format!("cannot read the answer of {url}"))
    }

    /// The status of a read without the right to read.
    pub(crate) fn status_without_token(&self, path: &str) -> anyhow::Result<u16> {
        let url = format!("{}/{path}", self.base);
        let response = self
            .agent
            .get(&url)
            .call()
            .with_context(|| format!("cannot reach {url}"))?;
        Ok(response.status().as_u16())
    }

    fn get(&self, url: &str) -> anyhow::Result<Value> {
        let mut response = self
            .agent
            .get(url)
            .header("Authorization", format!("Bearer {}", self.token))
            .header("Accept", "application/fhir+json")
            .call()
            .with_context(|| format!("cannot reach {url}"))?;
        let status = response.status();
        let text = response
            .body_mut()
            .with_config()
            .limit(ANSWER_MAX)
            .read_to_string()
            .with_context(|| format!("cannot read the answer of {url}"))?;
        if !status.is_success() {
            bail!("GET {url} answered {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("{url} gave no JSON"))
    }
}

fn next_page(bundle: &Value) -> Option<String> {
    let links = bundle["link"].as_array()?;
    let next = links.iter().find(|link| link["relation"] == "next")?;
    next["url"].as_str().map(str::to_owned)
}
