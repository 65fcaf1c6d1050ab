//! Signed tokens: compact JWS (RFC 7515) of a JSON object, and the keys that they are checked
//! with (JWK, RFC 7517).
//!
//! * Which algorithms are taken is the reader's choice. What a token says of its own algorithm
//!   only picks one of them, and it must be the one that its key is made for: there is no `none`
//!   and no shared secret here at all.
//! * Keys come from the provider's set; what a token brings along (`jwk`, `jku`, `x5c`) is not
//!   looked at, and one that demands more than is understood (`crit`) is refused.
//!
//! Deliberately absent: time, network, and what the claims mean.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Longest token that is read, in bytes.
pub(super) const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Most keys that are kept of a set.
const KEYS_MAX: usize = 64;

/// A way to sign (RFC 7518, 3.1; RFC 8037, 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, keys of 2048 bits and more.
    RS256,
    /// ECDSA with P-256 and SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

impl Algorithm {
    /// All that are understood.
    pub const ALL: [Self; 3] = [Self::RS256, Self::ES256, Self::EdDSA];

    /// Its registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwsError {
    /// Not three parts of base64url, of which two hold JSON objects; or too long.
    #[error("it is no signed JSON in compact form ({part})")]
    Form {
        /// The part at fault.
        part: &'static str,
    },
    /// Signed in a way that is not taken, or not signed.
    #[error("it is signed in a way that is not taken here")]
    Algorithm,
    /// It demands what is not understood.
    #[error("it demands an extension (`crit`) that is not understood")]
    Critical,
    /// It is of another kind.
    #[error("it is a token of another kind (`typ`)")]
    Kind,
    /// No key of the set is the one it names.
    #[error("the provider has no such key")]
    UnknownKey,
    /// The signature is not that of the key.
    #[error("the signature is wrong")]
    Signature,
}

impl JwsError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Form { .. } => "openid.token.form",
            Self::Algorithm => "openid.token.algorithm",
            Self::Critical => "openid.token.critical",
            Self::Kind => "openid.token.kind",
            Self::UnknownKey => "openid.token.key",
            Self::Signature => "openid.token.signature",
        }
    }
}

/// A token whose form is good; nothing of it is believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Jws<'t> {
    algorithm: Algorithm,
    key: Option<String>,
    signed: &'t str,
    claims: Map<String, Value>,
    signature: Vec<u8>,
}

impl<'t> Jws<'t> {
    /// Reads a token that is signed in one of these ways and of one of these kinds (in lower
    /// case; the empty text stands for a token that says none).
    pub(super) fn read(
        token: &'t str,
        algorithms: &[Algorithm],
        kinds: &[&str],
    ) -> Result<Self, JwsError> {
        let form = |part| JwsError::Form { part };
        if token.len() > TOKEN_BYTES_MAX {
            return Err(form("length"));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(form("parts"))?;
        let (header, payload) = signed.split_once('.').ok_or(form("parts"))?;
        let header = object(header).ok_or(form("header"))?;
        let claims = object(payload).ok_or(form("payload"))?;
        let signature = URL_SAFE_NO_PAD.decode(signature);
        let signature = signature.map_err(|_| form("signature"))?;
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(JwsError::Critical);
        }
        let algorithm = header.get("alg").and_then(Value::as_str);
        let algorithm = algorithm.and_then(Algorithm::from_name);
        let algorithm = algorithm
            .filter(|one| algorithms.contains(one))
            .ok_or(JwsError::Algorithm)?;
        let kind = match header.get("typ") {
            None => String::new(),
            Some(Value::String(kind)) => kind.to_ascii_lowercase(),
            Some(_) => return Err(JwsError::Kind),
        };
        let kind = kind.strip_prefix("application/").unwrap_or(&kind);
        if !kinds.contains(&kind) {
            return Err(JwsError::Kind);
        }
        let key = match header.get("kid") {
            None => None,
            Some(Value::String(key)) => Some(key.clone()),
            Some(_) => return Err(form("header")),
        };
        Ok(Self {
            algorithm,
            key,
            signed,
            claims,
            signature,
        })
    }

    /// The claims, once a key of the set has signed them.
    pub(super) fn verified(&self, keys: &Keys) -> Result<&Map<String, Value>, JwsError> {
        let fitting = keys.0.iter();
        let mut fitting = fitting.filter(|key| key.is_for(self.algorithm, self.key.as_deref()));
        let first = fitting.next().ok_or(JwsError::UnknownKey)?;
        let others: Vec<&Key> = fitting.collect();
        if self.key.is_none() && !others.is_empty() {
            // Which of them it is meant to be, is not to be tried out.
            return Err(JwsError::UnknownKey);
        }
        let signed = self.signed.as_bytes();
        let is_good = std::iter::once(first)
            .chain(others)
            .any(|key| key.material.has_signed(signed, &self.signature));
        match is_good {
            true => Ok(&self.claims),
            false => Err(JwsError::Signature),
        }
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    let raw = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&raw).ok()
}

/// The provider's keys, as far as they are of use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Keys(Vec<Key>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    material: Material,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// Uncompressed point (SEC 1, 2.3.3).
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl Keys {
    /// Reads a JWK set. Keys that are not for signing, or of a kind that is not understood, are
    /// left out (RFC 7517, 5).
    pub(super) fn read(set: &Value) -> Option<Self> {
        let keys = set.get("keys")?.as_array()?;
        Some(Self(
            keys.iter().filter_map(Key::read).take(KEYS_MAX).collect(),
        ))
    }

    /// Whether there is none.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Key {
    fn read(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let raw = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        let (algorithm, material) = match (text("kty")?, text("crv")) {
            ("RSA", _) => {
                let (n, e) = (raw("n")?, raw("e")?);
                (Algorithm::RS256, Material::Rsa { n, e })
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (raw("x")?, raw("y")?);
                if x.len() != 32 || y.len() != 32 {
                    return None;
                }
                let point = [&[4][..], &x, &y].concat();
                (Algorithm::ES256, Material::P256(point))
            }
            ("OKP", Some("Ed25519")) => {
                let x = raw("x").filter(|x| x.len() == 32)?;
                (Algorithm::EdDSA, Material::Ed25519(x))
            }
            _ => return None,
        };
        let is_for_signing = text("use").is_none_or(|purpose| purpose == "sig");
        let is_of_kind = text("alg").is_none_or(|name| name == algorithm.name());
        (is_for_signing && is_of_kind).then(|| Self {
            id: text("kid").map(str::to_owned),
            algorithm,
            material,
        })
    }

    fn is_for(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        self.algorithm == algorithm && (id.is_none() || self.id.as_deref() == id)
    }
}

impl Material {
    fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let checked = match self {
            Self::Rsa { n, e } => RsaPublicKeyComponents { n, e }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                message,
                signature,
            ),
            Self::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Self::Ed25519(x) => UnparsedPublicKey::new(&ED25519, x).verify(message, signature),
        };
        checked.is_ok()
    }
}

#[cfg(test)]
mod tests;
