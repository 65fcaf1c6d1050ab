//! Passwords and tokens.
//!
//! * A password is kept as argon2id (RFC 9106) in a PHC string, with the parameters that OWASP's
//!   password storage cheat sheet names first for 19 MiB; a string with weaker ones is made anew
//!   when its password is next given.
//! * A token is 256 random bits, kept as SHA-256: nothing of that size is guessed, so it needs no
//!   slow hash.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Memory in KiB, passes, lanes.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;
const TOKEN_BYTES: usize = 32;
/// What tokens begin with, so that one in a log or a repository is noticed for what it is.
const TOKEN_PREFIX: &str = "cardio_";
/// Shortest password, in characters (NIST SP 800-63B-4 asks for 15 where nothing else protects;
/// attempts are few here, so 12).
pub const PASSWORD_MIN: usize = 12;
/// Longest password, in bytes.
pub const PASSWORD_MAX: usize = 256;

/// A text that is shown nowhere and wiped when dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Holds a text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        secret.text().to_owned()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// Why a password or token could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Too easy to guess, or too long to hash.
    #[error("a password has at least {PASSWORD_MIN} characters and at most {PASSWORD_MAX} bytes")]
    Length,
    /// The system gave no randomness.
    #[error("the system gives no random bytes")]
    NoRandomness,
    /// The library refused.
    #[error("the password cannot be hashed")]
    Hash,
}

impl SecretError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Length => "access.password",
            Self::NoRandomness => "access.randomness",
            Self::Hash => "access.hash",
        }
    }
}

fn hasher() -> Result<Argon2<'static>, SecretError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| SecretError::Hash)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// A password as it is kept. Takes tens of milliseconds.
///
/// # Errors
/// [`SecretError`] when it is too short or too long, or nothing random is to be had.
pub(super) fn hashed(password: &Secret) -> Result<String, SecretError> {
    let text = password.text();
    if text.chars().count() < PASSWORD_MIN || text.len() > PASSWORD_MAX {
        return Err(SecretError::Length);
    }
    let mut salt = [0; SALT_BYTES];
    let filled = SystemRandom::new().fill(&mut salt);
    filled.map_err(|_| SecretError::NoRandomness)?;
    let hashed = hasher()?.hash_password_with_salt(text.as_bytes(), &salt);
    hashed
        .map(|hash| hash.to_string())
        .map_err(|_| SecretError::Hash)
}

/// Whether a password is the one that is kept. Without one it takes as long, and is not.
pub(super) fn is_right(password: &Secret, kept: Option<&str>) -> bool {
    let (Ok(hasher), true) = (hasher(), password.text().len() <= PASSWORD_MAX) else {
        return false;
    };
    let given = password.text().as_bytes();
    match kept.and_then(|kept| PasswordHash::new(kept).ok()) {
        Some(kept) => hasher.verify_password(given, &kept).is_ok(),
        None => {
            let hashed = hasher.hash_password_with_salt(given, &[0; SALT_BYTES]);
            drop(std::hint::black_box(hashed));
            false
        }
    }
}

/// Whether a kept password is to be hashed anew, with parameters of today.
pub(super) fn is_outdated(kept: &str) -> bool {
    let Ok(hash) = PasswordHash::new(kept) else {
        return true;
    };
    let today = Params::new(MEMORY_KIB, PASSES, LANES, None);
    let (Ok(then), Ok(today)) = (Params::try_from(&hash), today) else {
        return true;
    };
    hash.algorithm != Algorithm::Argon2id.ident()
        || then.m_cost() < today.m_cost()
        || then.t_cost() < today.t_cost()
}

/// A new token, and the hash that is kept of it.
///
/// # Errors
/// [`SecretError::NoRandomness`].
pub(super) fn token() -> Result<(Secret, [u8; 32]), SecretError> {
    let mut raw = Zeroizing::new([0; TOKEN_BYTES]);
    let filled = SystemRandom::new().fill(&mut raw[..]);
    filled.map_err(|_| SecretError::NoRandomness)?;
    let text = format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(&raw[..]));
    let hash = fingerprint(&text);
    Ok((Secret::new(text), hash))
}

/// The hash that is kept of a token. Comparing hashes tells nothing of what they are made of.
pub(super) fn fingerprint(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::{Secret, fingerprint, hashed, is_outdated, is_right, token};

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn a_password_is_kept_as_argon2id_and_known_again() {
        let kept = hashed(&secret("correct horse battery")).unwrap();
        assert!(
            kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{kept}"
        );
        assert!(is_right(&secret("correct horse battery"), Some(&kept)));
        assert!(!is_right(&secret("correct horse batterz"), Some(&kept)));
        assert!(!is_right(&secret("correct horse battery"), None));
        assert!(!is_right(&secret(&"x".repeat(300)), Some(&kept)));
        assert_ne!(kept, hashed(&secret("correct horse battery")).unwrap());
    }

    #[test]
    fn a_short_password_is_refused() {
        assert!(hashed(&secret("eleven char")).is_err());
        assert!(hashed(&secret(&"x".repeat(257))).is_err());
    }

    #[test]
    fn weaker_parameters_of_before_are_noticed() {
        let kept = hashed(&secret("correct horse battery")).unwrap();
        assert!(!is_outdated(&kept));
        assert!(is_outdated(&kept.replace("m=19456", "m=9216")));
        assert!(is_outdated(&kept.replace("t=2", "t=1")));
        assert!(is_outdated(&kept.replace("argon2id", "argon2i")));
        assert!(is_outdated("plain"));
    }

    #[test]
    fn tokens_differ_and_are_kept_as_their_hash() {
        let (one, hash) = token().unwrap();
        let (other, _) = token().unwrap();
        assert_ne!(one, other);
        assert_eq!(one.text().len(), "cardio_".len() + 43);
        assert_eq!(hash, fingerprint(one.text()));
        assert_eq!(format!("{one:?}"), "Secret");
    }
}
