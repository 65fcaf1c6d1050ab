//! Settings of an OpenID Connect provider that vouches for people and programs beside the local
//! accounts.

use std::path::PathBuf;

use serde::Deserialize;

use crate::access::openid::Algorithm;
use crate::access::{NewAccount, Role};

/// Where a browser comes back to; the address of `redirect` ends so.
pub const BACK: &str = "/session/openid/back";
const GRANTS_MAX: usize = 256;

/// A provider, and what those it vouches for may do.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenIdConfig {
    /// Its issuer, exactly as it says it.
    pub issuer: String,
    /// Who this gateway is there.
    pub client_id: String,
    /// File that holds our secret there; a public client, by PKCE alone, when absent.
    pub client_secret_file: Option<PathBuf>,
    /// Where it sends browsers back to: this gateway as browsers reach it, and [`BACK`].
    pub redirect: String,
    /// Where a browser goes once somebody is logged in.
    #[serde(default = "landing")]
    pub landing: String,
    /// What is asked for beside `openid`.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Ways to sign that are taken.
    #[serde(default = "algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// The claim that holds the reference of the person, as `Practitioner/id`.
    pub practitioner_claim: Option<String>,
    /// Certificate of the authority that its certificate comes from, PEM; the public ones when
    /// absent.
    pub ca: Option<PathBuf>,
    /// Access tokens that programs present; none are taken when absent.
    pub bearer: Option<BearerConfig>,
    /// What claims grant.
    #[serde(default)]
    pub grant: Vec<GrantConfig>,
}

/// Access tokens (RFC 9068) of programs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BearerConfig {
    /// Whom they must be for: what this gateway is called there as a resource.
    pub audience: String,
    /// The clients that may present them.
    pub clients: Vec<String>,
}

/// What a claim grants.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantConfig {
    /// The claim, by its name or as a JSON pointer.
    pub claim: String,
    /// What it must be, or hold.
    pub value: String,
    /// What they are to the team.
    pub role: Role,
    /// The organizations whose patients they see.
    #[serde(default)]
    pub teams: Vec<String>,
    /// They see every patient.
    #[serde(default)]
    pub all_patients: bool,
}

fn landing() -> String {
    "/session".to_owned()
}

fn algorithms() -> Vec<Algorithm> {
    Algorithm::ALL.to_vec()
}

type Impossible = (&'static str, String, &'static str);

impl OpenIdConfig {
    /// What cannot be, with its key.
    pub(super) fn impossible(&self) -> Option<Impossible> {
        let quoted = |text: &str| format!("\"{text}\"");
        if !is_address(&self.issuer) {
            let why = "it is an address as https://id.example/realms/a, without ? and #";
            return Some(("access.openid.issuer", quoted(&self.issuer), why));
        }
        if !is_word(&self.client_id) {
            let why = "it is a word without spaces";
            return Some(("access.openid.client_id", quoted(&self.client_id), why));
        }
        if !is_address(&self.redirect) || !self.redirect.ends_with(BACK) {
            let why = "it is https://, the name of this gateway for browsers, and \
                       /session/openid/back";
            return Some(("access.openid.redirect", quoted(&self.redirect), why));
        }
        let is_here = self.landing.starts_with('/') && !self.landing.starts_with("//");
        let is_plain = self.landing.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain || !(is_here || is_address(&self.landing)) {
            let why = "it is a path of this gateway, or an address that begins with https://";
            return Some(("access.openid.landing", quoted(&self.landing), why));
        }
        if let Some(odd) = self.scopes.iter().find(|scope| !is_word(scope)) {
            let why = "it is a word without spaces";
            return Some(("access.openid.scopes", quoted(odd), why));
        }
        if self.algorithms.is_empty() {
            let why = "at least one of RS256, ES256 and EdDSA is needed";
            return Some(("access.openid.algorithms", "[]".to_owned(), why));
        }
        let bearer = self.bearer.as_ref();
        let bearer = bearer.and_then(|bearer| bearer.impossible(&self.client_id));
        bearer.or_else(|| self.grants_impossible())
    }

    fn grants_impossible(&self) -> Option<Impossible> {
        if self.grant.is_empty() || self.grant.len() > GRANTS_MAX {
            let why = "nobody may do anything without 1 to 256 of them";
            return Some(("access.openid.grant", self.grant.len().to_string(), why));
        }
        let odd = self.grant.iter().find(|grant| !grant.is_possible())?;
        let why = "each has a claim, a value and a role; nurses and cardiologists see teams (as \
                   Organization/id) or all patients, technicians and admins neither";
        let value = format!("{} = \"{}\"", odd.claim, odd.value);
        Some(("access.openid.grant", value, why))
    }
}

impl BearerConfig {
    fn impossible(&self, client_id: &str) -> Option<Impossible> {
        let is_own = self.audience.is_empty() || self.audience == client_id;
        if is_own {
            let why = "it is the name of this gateway as a resource, and not its client_id: a \
                       token of a log-in must open nothing else";
            let value = format!("\"{}\"", self.audience);
            return Some(("access.openid.bearer.audience", value, why));
        }
        self.clients.is_empty().then(|| {
            let why = "name the clients whose tokens are taken";
            ("access.openid.bearer.clients", "[]".to_owned(), why)
        })
    }
}

impl GrantConfig {
    fn is_possible(&self) -> bool {
        let mut account = NewAccount::new("grant".to_owned(), self.role);
        account.teams.clone_from(&self.teams);
        account.all_patients = self.all_patients;
        !self.claim.is_empty() && !self.value.is_empty() && account.check_but_name().is_ok()
    }
}

/// Whether a text is an address over TLS, with neither query nor fragment.
pub(crate) fn is_address(text: &str) -> bool {
    let rest = text.strip_prefix("https://").unwrap_or_default();
    let host = rest.split('/').next().unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte);
    !host.is_empty() && !host.contains('@') && rest.bytes().all(is_plain)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    const GOOD: &str = r#"
        [access.openid]
        issuer = "https://id.example/realms/a"
        client_id = "gateway"
        redirect = "https://gateway.example:8443/session/openid/back"
        [access.openid.bearer]
        audience = "https://gateway.example/fhir"
        clients = ["dispatch"]
        [[access.openid.grant]]
        claim = "groups"
        value = "nurses"
        role = "nurse"
        teams = ["Organization/a"]
    "#;

    #[test]
    fn a_provider_that_can_be_is_taken() {
        let config = Config::from_toml(GOOD, "t").unwrap();
        let openid = config.access.openid.unwrap();
        assert_eq!(
            (openid.algorithms.len(), openid.landing.as_str()),
            (3, "/session")
        );
    }

    #[test]
    fn what_cannot_be_is_named_by_its_key() {
        for (from, to, key) in [
            ("https://id.example", "http://id.example", "issuer"),
            ("realms/a", "realms?a", "issuer"),
            ("https://id.example", "https://u@id.example", "issuer"),
            ("client_id = \"gateway\"", "client_id = \"\"", "client_id"),
            ("/session/openid/back", "/elsewhere", "redirect"),
            (
                "client_id",
                "landing = \"//evil.example\"\nclient_id",
                "landing",
            ),
            (
                "client_id",
                "landing = \"javascript:x\"\nclient_id",
                "landing",
            ),
            ("client_id", "scopes = [\"a b\"]\nclient_id", "scopes"),
            ("client_id", "algorithms = []\nclient_id", "algorithms"),
            ("https://gateway.example/fhir", "gateway", "bearer.audience"),
            ("[\"dispatch\"]", "[]", "bearer.clients"),
            ("teams = [\"Organization/a\"]", "", "grant"),
            ("Organization/a", "Patient/a", "grant"),
            ("\"nurse\"", "\"admin\"", "grant"),
            ("\"nurse\"", "\"gateway\"", "grant"),
            ("value = \"nurses\"", "value = \"\"", "grant"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD);
            let error = Config::from_toml(&text, "t").unwrap_err().to_string();
            assert!(
                error.contains(&format!("`access.openid.{key}`")),
                "{to}: {error}"
            );
        }
        let none = GOOD.split("[[").next().unwrap();
        assert!(
            Config::from_toml(none, "t")
                .unwrap_err()
                .to_string()
                .contains("grant")
        );
        for hmac in ["HS256", "none"] {
            let text = GOOD.replacen(
                "client_id",
                &format!("algorithms = [\"{hmac}\"]\nclient_id"),
                1,
            );
            let error = Config::from_toml(&text, "t").unwrap_err();
            assert_eq!(error.code(), "config.value.bad", "{error}");
        }
    }
}
